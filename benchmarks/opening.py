"""Opening files of many tiny tensors, and reading them all, beside safetensors.

Run as `python benchmarks/opening.py`; needs the extra `bench` and 200 MB in the temporary folder.
nnpack's opening checks the directory's checksum, the chain of sections, bounds, UTF-8 and that
names differ; node trees are checked on first touch, which reading includes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from rounds import race, table, versions

import nnpack

COUNTS = (1_000, 10_000, 100_000)


def main() -> None:
    """Print the table."""
    rows = []
    for count in COUNTS:
        tensors = {
            f"model.layers.{i // 100}.block.{i % 100}.w": np.full((2, 2), i, np.float32)
            for i in range(count)
        }
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Path(folder, "t.nnpk"), Path(folder, "t.safetensors")
            nnpack.save_file(tensors, ours)
            safetensors.numpy.save_file(tensors, theirs)
            found = race({
                "open": lambda path=ours: list(nnpack.open(path)),
                "their open": lambda path=theirs: _names(path),
                "read": lambda path=ours: nnpack.load_file(path),
                "their read": lambda path=theirs: safetensors.numpy.load_file(path),
            })  # fmt: skip
        opening = found["their open"] / found["open"]
        reading = found["read"] / found["their read"]
        rows.append((
            f"{count:,}",
            f"{1e3 * found['open']:.1f}", f"{1e3 * found['their open']:.1f}", f"{opening:.1f}x",
            f"{1e3 * found['read']:.0f}", f"{1e3 * found['their read']:.0f}", f"{reading:.2f}x",
        ))  # fmt: skip
    print(versions("nnpack-format", "safetensors", "numpy"))
    head = ("tensors", "open, ms", "safetensors", "faster", "read all, ms", "safetensors", "time")
    print(table(head, rows))


def _names(path: Path) -> list[str]:
    with safetensors.safe_open(path, "numpy") as file:
        return list(file.keys())


if __name__ == "__main__":
    main()
