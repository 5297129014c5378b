"""A page."""
def page(results, vectors): return ""
