"""One save or load of one contestant, in a process of its own; prints the seconds that it took.

`compare.py` runs it. Memory that a process gave back is quicker to have again than fresh memory,
so that what others did before in the same process would count.

    python benchmarks/contestant.py save PACKAGE NAME CASE PATH
    python benchmarks/contestant.py load PACKAGE NAME CASE PATH THREADS

The case is a file of `keep`. Before it is timed a small case is saved, or loaded from `small`, so
that modules are there; and memory is taken from the system and given back. A virtual machine hands
memory that nobody used for a second or two to its host: having it again takes up to ten times as
long, and would fall to one contestant or another by chance.
"""

from __future__ import annotations

import gc
import mmap
import pickle
import sys
import time
from pathlib import Path

import ml_dtypes  # noqa: F401 - the types of pickled arrays
import numpy as np
import peers
from peers import Arrays, Case, Peer

FEW, ROWS = 4, 64
"""Arrays of a small case, and their rows."""
SPARE = 32 << 20
"""Memory that is touched before, besides as much as a case has."""
STEADY, TIMES = 1.3, 10
"""It is touched until that takes about as long as the shortest time, or so often."""


def main() -> None:
    """Do what the command line says."""
    task, package, name, kept, path = sys.argv[1:6]
    peer = next(peer for peer in peers.made(package) if peer.name == name)
    if task == "save":
        seconds = save(peer, read(Path(kept)), Path(path))
    else:
        seconds = load(peer, like(Path(kept)), Path(path), int(sys.argv[6]))
    print(seconds)


def save(peer: Peer, case: Case, path: Path) -> float:
    """Save a small case beside the path and then the case there; return the seconds of that."""
    peer.save(small(path), first(case))
    touch(case)
    start = time.perf_counter()
    peer.save(path, case)
    return time.perf_counter() - start


def load(peer: Peer, case: Case, path: Path, threads: int) -> float:
    """Load the small case and then the case; return the seconds of that."""
    peer.load(small(path), first(case), threads)
    touch(case)
    start = time.perf_counter()
    found = peer.load(path, case, threads)
    seconds = time.perf_counter() - start
    del found
    return seconds


def touch(case: Case) -> None:
    """Let the system have memory for a case that it can give at once, in large and small pages."""
    gc.collect()
    size = sum(array.nbytes for array in case.bits.values()) + SPARE
    took = [taken(size)]
    while len(took) < 2 or (took[-1] > STEADY * min(took) and len(took) < TIMES):
        took.append(taken(size))


def taken(size: int) -> float:
    """Take memory and give it back; return the seconds."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if sys.platform != "win32" else {}
    start = time.perf_counter()
    with mmap.mmap(-1, size, **private) as large, mmap.mmap(-1, size, **private) as small:
        if sys.platform == "linux":  # only private memory has large pages
            large.madvise(mmap.MADV_HUGEPAGE)
            small.madvise(mmap.MADV_NOHUGEPAGE)
        for memory in (large, small):
            memory[:: mmap.PAGESIZE] = bytes(len(range(0, size, mmap.PAGESIZE)))
    return time.perf_counter() - start


def small(path: Path) -> Path:
    """Return where the small case is that belongs to a case's file."""
    return path.with_suffix(".small")


def first(case: Case) -> Case:
    """Return the first rows of the first arrays."""

    def cut(arrays: Arrays) -> Arrays:
        return {name: arrays[name][:ROWS] for name in [*arrays][:FEW]}

    return Case(case.dtype, cut(case.arrays), cut(case.bits))


def keep(case: Case, path: Path) -> None:
    """Write a case for `save`, and its shapes for `load`."""
    with path.open("wb") as file:
        pickle.dump(tuple(case), file, protocol=5)
    shapes = [(name, array.dtype.str, array.shape) for name, array in case.bits.items()]
    path.with_suffix(".shapes").write_bytes(pickle.dumps((case.dtype, shapes)))


def read(path: Path) -> Case:
    """Return a case that was kept."""
    with path.open("rb") as file:  # array by array: what is freed here would be had again
        return Case(*pickle.load(file))  # noqa: S301 - our own


def like(path: Path) -> Case:
    """Return arrays of its shapes and types that take no memory."""
    dtype, shapes = pickle.loads(path.with_suffix(".shapes").read_bytes())  # noqa: S301 - our own
    bits = {n: np.broadcast_to(np.zeros((), kind), shape) for n, kind, shape in shapes}
    return Case(dtype, {}, bits)


if __name__ == "__main__":
    main()
