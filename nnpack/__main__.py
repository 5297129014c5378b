"""`python -m nnpack` and the command `nnpack`."""

from __future__ import annotations

from nnpack.cli import main

if __name__ == "__main__":
    main(prog_name="nnpack")
