"""Plain encoders, for right streams and for wrong ones: written from SPEC 10 and 11 alone."""
