"""Loading and saving a 100 MB model without compression, beside safetensors.

Run as `python benchmarks/raw.py`; needs the extra `bench`. Files to load are in the page cache, and
nnpack checks every checksum. Saving, nnpack waits until the file is on the disk and never leaves
half a file, which safetensors does not do; so theirs is shown with an fsync too, and both as they
write a file without one, and into memory. Files are saved under new names while the disk is idle:
what a file system needs to free an old file of the same name is its own affair.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from rounds import race, table, versions

import nnpack

LAYERS, SIDE = 25, 1000


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    tensors = {
        f"layers.{i}.weight": rng.standard_normal((SIDE, SIDE), np.float32) for i in range(LAYERS)
    }
    size = sum(array.nbytes for array in tensors.values())
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, new = Path(folder, "t.nnpk"), Path(folder, "t.safetensors"), Path(folder, "n")
        nnpack.save_file(tensors, ours, profile="raw")
        safetensors.numpy.save_file(tensors, theirs)

        def clean() -> None:
            new.unlink(missing_ok=True)
            os.sync()

        contestants = {
            "save, on the disk": lambda: nnpack.save_file(tensors, new, profile="raw"),
            "their save, on the disk": lambda: _sync(tensors, new),
            "save, no fsync": lambda: _save_open(tensors, new),
            "their save": lambda: safetensors.numpy.save_file(tensors, new),
            "to memory": lambda: _save(tensors),
            "their to memory": lambda: safetensors.numpy.save(tensors),
            "load": lambda: nnpack.load_file(ours),
            "load, 1 thread": lambda: _load(ours),
            "their load": lambda: safetensors.numpy.load_file(theirs),
        }
        found = race(contestants, before=clean)
    print(versions("nnpack-format", "safetensors", "numpy"))
    rows = [
        (name, f"{1e3 * seconds:.1f}", f"{size / seconds / 1e9:.2f}")
        for name, seconds in found.items()
    ]
    print(table(("", "ms", "GB/s"), rows))


def _sync(tensors: dict[str, np.ndarray], path: Path) -> None:
    safetensors.numpy.save_file(tensors, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _save_open(tensors: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb", buffering=0) as file, nnpack.Writer(file, profile="raw") as writer:
        for name, array in tensors.items():
            writer.add(name, array)


def _save(tensors: dict[str, np.ndarray]) -> bytes:
    target = io.BytesIO()
    with nnpack.Writer(target, profile="raw") as writer:
        for name, array in tensors.items():
            writer.add(name, array)
    return target.getvalue()


def _load(path: Path) -> dict[str, np.ndarray]:
    with nnpack.open(path, threads=1) as reader:
        return reader.load()


if __name__ == "__main__":
    main()
