"""Peak anonymous memory of encoding, decoding and converting one large tensor.

Run as `python benchmarks/memory.py [GIGABYTES]`, of float32, by default 1; needs the extra `bench`
and three times as much in the temporary folder. Linux only: it reads /proc. Each task has a
process of its own; what was in use before it is not counted, which is the interpreter, numpy,
nnpack and the array that is decoded into. What is encoded or converted is read piece by piece.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import zstandard  # noqa: F401 - not to be counted
from lazy import Weights, write_safetensors
from rounds import packages, table

import nnpack
import nnpack.convert.nnpk
import nnpack.convert.safetensors
from nnpack.profiles import PROFILES

THREADS: Final = (1, 2)
A_THREAD: Final = 16 << 20
"""Bytes that a thread should do with."""
Task = Callable[[], object]


def main() -> None:
    """Print the tables."""
    nbytes = 1e9 * (float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    print(packages("nnpack-format", "numpy", "zstandard"))
    with tempfile.TemporaryDirectory() as folder:
        head = ("task", "profile", "threads", "tensor, MB", "payload, MB", "peak, MB", "goal, MB")
        print(table(head, coding(Path(folder), nbytes)), "\n")
        head = ("conversion", "payload, MB", "peak, MB")
        print(table(head, converting(Path(folder), nbytes)))


def coding(folder: Path, nbytes: float) -> list[tuple[str, ...]]:
    """Return the rows of encoding a tensor, one whose payload stays in memory too, and decoding."""
    rows = []
    for size in (nbytes, nbytes / 4):
        for profile in PROFILES:
            path = folder / "w.nnpk"
            for threads in THREADS:
                path.unlink(missing_ok=True)
                peak = peak_of(encode, path, size, profile, threads)
                with nnpack.open(path) as reader:
                    payload = reader["w"].stored_nbytes
                rows.append(_row("encode", profile, threads, size, payload, peak, payload))
            for threads in THREADS if size == nbytes else ():
                peak = peak_of(decode, path, threads)
                rows.append(_row("decode", profile, threads, size, payload, peak, 0))
            path.unlink()
    return rows


def _row(
    task: str, profile: str, threads: int, size: float, payload: int, peak: int, goal: int
) -> tuple[str, ...]:
    sizes = (size, payload, peak, goal + threads * A_THREAD)
    return (task, profile, str(threads), *(f"{size / 1e6:.0f}" for size in sizes))


def converting(folder: Path, nbytes: float) -> list[tuple[str, ...]]:
    """Return the rows of `nnpack convert`."""
    source, packed, back = (folder / name for name in ("a.safetensors", "b.nnpk", "c.safetensors"))
    write_safetensors(source, Weights(nbytes, "float32"))
    rows = []
    for profile in ("raw", "balanced"):
        packed.unlink(missing_ok=True)
        peak = peak_of(convert, source, packed, profile)
        with nnpack.open(packed) as reader:
            stored = reader["w"].stored_nbytes
        name = f"safetensors to nnpk, {profile}"
        rows.append((name, f"{stored / 1e6:.0f}", f"{peak / 1e6:.0f}"))
    peak = peak_of(convert, packed, back, "raw")
    rows.append(("nnpk to safetensors", f"{stored / 1e6:.0f}", f"{peak / 1e6:.0f}"))
    return rows


def encode(path: Path, nbytes: float, profile: str, threads: int) -> Task:
    """Return what writes a file; the weights are at hand before."""
    weights = Weights(nbytes, "float32")

    def run() -> None:
        with nnpack.Writer(path, profile=profile, threads=threads) as writer:
            writer.add("w", weights)

    return run


def decode(path: Path, threads: int) -> Task:
    """Return what reads a file into an array that is in use already."""
    with nnpack.open(path) as reader:
        out = np.ones(reader["w"].shape, np.float32)

    def run() -> None:
        with nnpack.open(path, threads=threads) as reader:
            reader["w"].read(out=out)

    return run


def convert(source: Path, target: Path, profile: str) -> Task:
    """Return what converts a file."""
    return lambda: nnpack.convert.convert(str(source), str(target), profile=profile)


def peak_of(prepare: Callable[..., Task], *arguments: object) -> int:
    """Return the bytes that a task takes at most in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_watch, (prepare, arguments))


def _watch(prepare: Callable[..., Task], arguments: tuple[object, ...]) -> int:
    task = prepare(*arguments)
    before = peak = _anonymous()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        task()
    finally:
        done.set()
        watcher.join()
    return peak - before


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
