"""Slicing 1 % of the rows of a compressed matrix of 1 GB, beside safetensors.

Run as `python benchmarks/slices.py [GIGABYTES]`; needs the extra `bench` and three times as much
in the temporary folder. Files are in the page cache; one thread; nnpack checks the checksum of all
that it decodes, and opening is not timed. One row in a hundred meets every block; small, which
takes long to decode, is left out there. Bytes read are those that a file object was asked for;
of safetensors, which maps the file, the bytes of the rows.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
from lazy import Weights, write_safetensors
from rounds import race, table, versions

import nnpack
from nnpack.profiles import PROFILES

DTYPES = ("float32", "bfloat16")


class Counting(io.RawIOBase):
    """A file that counts the bytes it is asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read from an open file."""
        self.count = 0
        self._file = file

    def seekable(self) -> bool:
        """Can."""
        return True

    def readable(self) -> bool:
        """Can."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """Read and count."""
        data = self._file.read(size)
        self.count += len(data)
        return data


def main() -> None:
    """Print the table."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rows = []
    for dtype in DTYPES:
        weights = Weights(gigabytes * 1e9, dtype)
        with tempfile.TemporaryDirectory() as folder:
            for name, row in measure(Path(folder), weights).items():
                rows.append((dtype, *name, *row))
    print(versions("nnpack-format", "safetensors", "numpy"))
    head = ("cells", "rows", "from", "file, MB", "wanted, MB", "read, MB", "ms", "of safetensors")
    print(table(head, rows))


def measure(folder: Path, weights: Weights) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return sizes and times of each way to have rows from each file."""
    theirs = folder / "w.safetensors"
    write_safetensors(theirs, weights)
    ours = {profile: folder / f"{profile}.nnpk" for profile in PROFILES}
    for profile, path in ours.items():
        with path.open("wb") as file, nnpack.Writer(file, profile=profile) as writer:
            writer.add("w", weights)
    few = weights.shape[0] // 100
    middle = weights.shape[0] // 2
    picks = {"1 % in a row": slice(middle, middle + few), "every 100th": slice(0, None, 100)}
    readers = {profile: nnpack.open(path, threads=1) for profile, path in ours.items()}
    found = {}
    with safetensors.safe_open(theirs, "numpy") as file:
        tensor = file.get_slice("w")
        for name, rows in picks.items():
            wanted = _theirs(tensor, rows)
            contestants = {"safetensors": lambda rows=rows: _theirs(tensor, rows)}
            read = {"safetensors": wanted.nbytes}
            for profile, reader in readers.items():
                if profile == "small" and rows.step:
                    continue
                contestants[profile] = lambda reader=reader, rows=rows: reader["w"][rows]
                read[profile], same = _read(ours[profile], rows)
                if same.tobytes() != wanted.tobytes():
                    raise AssertionError(f"{profile} changed the rows")
            took = race(contestants)
            for who, seconds in took.items():
                path = ours.get(who, theirs)
                sizes = (path.stat().st_size, wanted.nbytes, read[who])
                found[name, who] = (
                    *(f"{size / 1e6:.1f}" for size in sizes),
                    f"{1e3 * seconds:.1f}", f"{seconds / took['safetensors']:.1f}x",
                )  # fmt: skip
    for reader in readers.values():
        reader.close()
    return found


def _theirs(tensor: Any, rows: slice) -> np.ndarray:
    """Return rows; safetensors slices without a step."""
    if rows.step is None:
        return tensor[rows]
    picked = range(*rows.indices(tensor.get_shape()[0]))
    return np.concatenate([tensor[row : row + 1] for row in picked])


def _read(path: Path, rows: slice) -> tuple[int, np.ndarray]:
    """Return the bytes that are read for rows once the file is open, and the rows."""
    with path.open("rb", buffering=0) as file:
        counting = Counting(file)
        with nnpack.open(counting) as reader:
            tensor = reader["w"]
            before = counting.count
            found = tensor[rows]
            return counting.count - before, found


if __name__ == "__main__":
    main()
