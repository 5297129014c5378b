"""Test a reader: python conformance/run.py [options] -- TESTEE COMMAND... (see README.md)."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from runner.main import main

if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):  # where it is not UTF-8, no word may end the run
        sys.stdout.reconfigure(errors="backslashreplace")
    raise SystemExit(main())
