"""Test a reader: python conformance/run.py [options] -- TESTEE COMMAND... (see README.md)."""

from __future__ import annotations

from runner.main import main

if __name__ == "__main__":
    raise SystemExit(main())
