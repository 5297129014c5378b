"""Compare runs: python conformance/matrix.py A.ndjson B.ndjson --out matrix.html."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from runner import matrix, results
from runner.vectors import KitError, load


def main() -> int:
    """Write the page; 2 if a report is damaged."""
    parser = argparse.ArgumentParser("matrix.py", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="results.ndjson of each run")
    parser.add_argument("--out", type=Path, default=Path("matrix.html"))
    parser.add_argument("--vectors", type=Path, default=Path(__file__).parent / "vectors")
    options = parser.parse_args()
    try:
        runs = [results.read(path) for path in options.results]
        page = matrix.page(runs, load(options.vectors))
    except (KitError, OSError, ValueError) as bad:
        sys.stderr.write(f"matrix.py: {bad}\n")
        return 2
    options.out.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
