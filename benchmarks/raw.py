"""Loading and saving a 100 MB model without compression, beside safetensors.

Run as `python benchmarks/raw.py`; needs the extra `bench`. Files are in the page cache. nnpack
checks every checksum when it loads. When it saves it waits until the file is on the disk, which
safetensors does not; so theirs is shown with an fsync too, and both are shown as they write a new
file without one, and into memory.
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
        ours, theirs = Path(folder, "t.nnpk"), Path(folder, "t.safetensors")
        found = race({
            "save, on the disk": lambda: nnpack.save_file(tensors, ours, profile="raw"),
            "their save, on the disk": lambda: _sync(tensors, theirs),
            "save, new file, no fsync": lambda: _save_new(tensors, Path(folder, "new.nnpk")),
            "their save, new file": lambda: _their_new(tensors, Path(folder, "new.safetensors")),
            "to memory": lambda: _save(tensors),
            "their to memory": lambda: safetensors.numpy.save(tensors),
            "load": lambda: nnpack.load_file(ours),
            "load, 1 thread": lambda: _load(ours),
            "their load": lambda: safetensors.numpy.load_file(theirs),
        })  # fmt: skip
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


def _save_new(tensors: dict[str, np.ndarray], path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file, nnpack.Writer(file, profile="raw") as writer:
        for name, array in tensors.items():
            writer.add(name, array)


def _their_new(tensors: dict[str, np.ndarray], path: Path) -> None:
    path.unlink(missing_ok=True)
    safetensors.numpy.save_file(tensors, path)


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
