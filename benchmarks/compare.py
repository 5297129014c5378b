"""nnpack's profiles and its peers on real weights: size, encoding, and file to array.

Run as `python benchmarks/compare.py`; needs the extra `compare`. One run, everything interleaved:
each round saves and loads every case once with every contestant, each time in a process of its
own (`contestant.py`), as a model is loaded. Files are in the page cache, arrays are fresh, nnpack
checks all its checksums. Writes a table and a picture to `benchmarks/results/`, and says of each
point of a peer which profile dominates it: at least as small (within 0.1 point), and at least as
fast to decode. `--cases` measures some again and keeps what was found of the others.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import contestant
import ml_dtypes
import numpy as np
import peers
import weights
from peers import Arrays, Case, Peer

import nnpack

RESULTS = Path(__file__).parent / "results"
POINT = 0.1
"""Points of size that count as equal."""
THREADED = ("nnpack", "zipnn", "blosc2")
GROUP = 32
LARGE = 200_000_000


class Speed(NamedTuple):
    """MB/s of arrays: the median of all rounds, and what three quarters of them reach."""

    median: float
    mostly: float

    @classmethod
    def of(cls, size: int, seconds: list[float]) -> Speed:
        """Return the speed of so many bytes in each round's seconds."""
        speeds = [size / one / 1e6 for one in seconds]
        quartiles = statistics.quantiles(speeds, method="inclusive")
        return cls(statistics.median(speeds), quartiles[0])

    def __str__(self) -> str:
        return f"{self.median:.0f} ({self.mostly:.0f})"


class Point(NamedTuple):
    """What one contestant does on one case: percent, and speeds by the number of threads."""

    case: str
    name: str
    size: float
    encode: Speed
    decode: dict[int, Speed]

    @classmethod
    def of(
        cls, case: str, name: str, size: float, encode: list[float], decode: dict[str, list[float]]
    ) -> Point:
        """Return a point that was written as JSON."""
        speeds = {int(threads): Speed(*speed) for threads, speed in decode.items()}
        return cls(case, name, size, Speed(*encode), speeds)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--cases",
        nargs="*",
        choices=cases(),
        help="measured again; none: only the report",
    )
    options = parser.parse_args()
    held = RESULTS / "compare.json"
    kept = [] if options.cases is None else json.loads(held.read_text())
    points = {name: [Point.of(*row) for row in kept if row[0] == name] for name in cases()}
    RESULTS.mkdir(exist_ok=True)
    for name, make in cases().items():
        if options.cases is None or name in options.cases:
            points[name] = measure(name, make(), options.rounds)
            rows = ",\n".join(json.dumps(point) for point in chain(*points.values()))
            held.write_text(f"[{rows}]\n")
    found = [*chain(*points.values())]
    report = render(found, options.rounds)
    print(report)
    (RESULTS / "compare.md").write_text(report)
    draw(found, RESULTS / "compare.png")


def cases() -> dict[str, Callable[[], Case]]:
    """Return what is stored."""
    return {
        "bf16": lambda: case("bfloat16", cast("bfloat16")),
        "fp32": lambda: case("float32", weights.load()),
        "fp16": lambda: case("float16", cast("float16")),
        "fp8": lambda: case("float8_e4m3fn", fp8()),
        "int8 per row": lambda: case("int8", int8()),
        "int4 groups of 32": lambda: case("uint4", int4()),
        "bf16, 200 MB": lambda: case("bfloat16", large()),
        "bf16 Gauss": lambda: case("bfloat16", drawn(lambda rng, n: rng.standard_normal(n))),
        "bf16 Laplace": lambda: case("bfloat16", drawn(lambda rng, n: rng.laplace(size=n))),
        "bf16 Student t, 4": lambda: case("bfloat16", drawn(lambda rng, n: rng.standard_t(4, n))),
    }


def case(dtype: str, arrays: Arrays) -> Case:
    """Return arrays with their bits in types that every peer knows."""
    views = {"bfloat16": np.uint16, "float8_e4m3fn": np.uint8}
    view = views.get(dtype)
    bits = {name: array.view(view) if view else array for name, array in arrays.items()}
    if dtype == "uint4":  # two in a byte, as peers would ship them
        bits = {name: array.view(np.uint8) for name, array in arrays.items()}
        bits = {name: array[..., ::2] | array[..., 1::2] << 4 for name, array in bits.items()}
    return Case(dtype, arrays, bits)


def matrices() -> Arrays:
    """Return the weights that are quantized: those of rank 2."""
    return {name: array for name, array in weights.load().items() if array.ndim == 2}


def cast(dtype: str) -> Arrays:
    """Return all weights, rounded."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    return {name: array.astype(kind) for name, array in weights.load().items()}


def fp8() -> Arrays:
    """Return the matrices scaled to the range of e4m3 by their greatest weight."""
    kind = ml_dtypes.float8_e4m3fn
    most = float(ml_dtypes.finfo(kind).max)
    return {name: (w * (most / np.abs(w).max())).astype(kind) for name, w in matrices().items()}


def int8() -> Arrays:
    """Return the matrices with a scale for each row."""
    scaled = {n: w / (np.abs(w).max(1, keepdims=True) / 127) for n, w in matrices().items()}
    return {name: np.rint(w).astype(np.int8) for name, w in scaled.items()}


def int4() -> Arrays:
    """Return the matrices with a scale for each 32 weights, as 0 to 15."""
    found = {}
    for name, w in matrices().items():
        groups = w.reshape(-1, GROUP)
        codes = np.rint(groups / (np.abs(groups).max(1, keepdims=True) / 7)) + 8
        found[name] = codes.reshape(w.shape).astype(ml_dtypes.uint4)
    return found


def large() -> Arrays:
    """Return the model many times over, its rows in another order each time."""
    rng, found, size, copy = np.random.default_rng(0), {}, 0, 0
    model = cast("bfloat16")
    while size < LARGE:
        for name, array in model.items():
            found[f"{copy}.{name}"] = rng.permutation(array)
            size += array.nbytes
        copy += 1
    return found


def drawn(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Arrays:
    """Return independent weights of a known distribution."""
    rng = np.random.default_rng(1)
    kind = ml_dtypes.bfloat16
    return {f"w{i}": (draw(rng, 1 << 20) * 0.02).astype(kind).reshape(1024, -1) for i in range(8)}


def entropy(case: Case) -> float:
    """Return the entropy of all cells together, if each were drawn alone: percent of the size."""
    cells = np.concatenate([array.reshape(-1) for array in case.bits.values()])
    if cells.itemsize > 2:
        return float("nan")
    found = np.unique(cells, return_counts=True)[1] / len(cells)
    return float(-(found * np.log2(found)).sum() / (8 * cells.itemsize) * 100)


def measure(name: str, case: Case, rounds: int) -> list[Point]:
    """Return the points of a case."""
    raw = sum(array.nbytes for array in case.bits.values())
    print(f"{name}: {raw / 1e6:.1f} MB, entropy of a cell {entropy(case):.2f} %", flush=True)
    encode: dict[str, list[float]] = {}
    decode: dict[tuple[str, int], list[float]] = {}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "case")
        contestant.keep(case, kept)
        runs = [run for run in everyone(Path(folder)) if able(run, case)]
        for run in runs:
            sizes[run.name] = 100 * run.path.stat().st_size / raw
        for _ in range(rounds):
            for run in runs:
                run.path.unlink()
                encode.setdefault(run.name, []).append(timed(run, "save", kept))
                for threads in run.threads:
                    took = timed(run, "load", kept, threads)
                    decode.setdefault((run.name, threads), []).append(took)
    return [
        Point(
            name,
            run.name,
            sizes[run.name],
            Speed.of(raw, encode[run.name]),
            {threads: Speed.of(raw, decode[run.name, threads]) for threads in run.threads},
        )
        for run in runs
    ]


class Run(NamedTuple):
    """A contestant, its package, and its file."""

    package: str
    peer: Peer
    path: Path

    @property
    def name(self) -> str:
        """The contestant's."""
        return self.peer.name

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that it can load with."""
        return (1, 2) if self.name.startswith(THREADED) else (1,)


def everyone(folder: Path) -> list[Run]:
    """Return all contestants that are installed, with files in a folder."""
    found = [(package, peer) for package in peers.MAKERS for peer in peers.made(package)]
    return [Run(*one, folder / f"{number}.model") for number, one in enumerate(found)]


def able(run: Run, case: Case) -> bool:
    """Return whether a contestant can store a case; what it gives back is compared."""
    try:
        run.peer.save(run.path, case)
    except Exception as refused:
        # Peers say no to a type by whatever they raise: each is told, and has no row. Only saving
        # may be refused; what was saved has to come back.
        if run.package == "nnpack":
            raise
        print(f"  {run.name}: {refused}")
        return False
    for threads in run.threads:
        check(run.peer, case, run.peer.load(run.path, case, threads))
    return True


def timed(run: Run, task: str, kept: Path, *threads: int) -> float:
    """Return the seconds of a save or load in a process of its own."""
    words = [task, run.package, run.name, kept, run.path, *threads]
    command = [sys.executable, contestant.__file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise RuntimeError(f"{run.name} failed to {task}:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def check(peer: Peer, case: Case, found: Arrays) -> None:
    """Compare every bit."""
    wanted = case.arrays if peer.name.startswith("nnpack") else case.bits
    for name, array in wanted.items():
        same = np.asarray(found[name]).view(np.uint8) == array.view(np.uint8)
        if not same.all():
            raise AssertionError(f"{peer.name} changed {name}")


def render(points: list[Point], rounds: int) -> str:
    """Return the tables and the verdicts as Markdown."""
    lines = [
        "# nnpack and its peers",
        "",
        f"Python {platform.python_version()}, nnpack {nnpack.__version__}, {peers.versions()}.",
        f"Medians of {rounds} interleaved rounds, each save and load in a process of its own.",
        "Size in percent of the arrays; speeds in MB/s of arrays, from file to fresh arrays,",
        "and in brackets what three quarters of the rounds reach.",
        "Dominated by: for one thread and then for two, where the peer was timed with two, the",
        f"fastest profile of nnpack among those that are at most {POINT} points larger than the",
        'peer, and its decoding speed over the peer\'s; "no" where that is below 1, so that it is',
        'not dominated; "none" where every profile is larger still, and by how much the least.',
        f"Not installed: {', '.join(peers.missing()) or 'none'}.",
    ]
    absent = cases().keys() - {point.case for point in points}
    if absent:
        lines.append(f"Not measured: {'; '.join(sorted(absent))}.")
    for case in dict.fromkeys(point.case for point in points):
        lines += ["", f"## {case}", ""]
        lines += ["| | size % | encode | decode, 1 thread | 2 threads | dominated by |"]
        lines += ["|---|---|---|---|---|---|"]
        rows = [point for point in points if point.case == case]
        for point in sorted(rows, key=lambda point: point.size):
            one, two = point.decode[1], point.decode.get(2, "–")
            verdict = "" if point.name.startswith("nnpack") else dominance(point, rows)
            cells = [point.name, f"{point.size:.2f}", point.encode, one, two, verdict]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def dominance(peer: Point, rows: list[Point]) -> str:
    """Say which profile dominates a peer's point, or by how much the nearest does not."""
    said = []
    for threads in peer.decode:
        small = [
            row for row in rows if row.name.startswith("nnpack") and row.size <= peer.size + POINT
        ]
        if not small:
            least = min(row.size for row in rows if row.name.startswith("nnpack"))
            said.append(f"none, {least - peer.size:.2f} points larger")
            continue
        best = max(small, key=lambda row: row.decode[threads].median)
        ratio = best.decode[threads].median / peer.decode[threads].median
        said.append(f"{best.name.split()[1]} {ratio:.2f}x" if ratio >= 1 else f"no, {ratio:.2f}x")
    return ", ".join(said)


def draw(points: list[Point], path: Path) -> None:
    """Draw size against decoding speed, one picture a case."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [*dict.fromkeys(point.case for point in points)]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6 * columns, 4.5 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        for point in points:
            if point.case != name or point.size > 101:
                continue
            own = point.name.startswith("nnpack")
            place = point.size, point.decode[1].median
            axis.plot(*place, "o" if own else "s", color="C3" if own else "C7")
            axis.annotate(
                point.name,
                place,
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
                color="C3" if own else "0.3",
            )
        axis.set(title=name, xlabel="size, % (left is better)", ylabel="MB/s, 1 thread")
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
