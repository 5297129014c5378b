"""How near files come to the entropy of their planes, and how far random bits exceed raw ones.

Run as `python benchmarks/entropy.py`; needs the weights that `benchmarks/weights.py` trains. Sizes
are the same on every machine that has the same weights. Of the coded plane-blocks with 2^18 cells
the stored bytes are compared with the entropy of the plane's bytes, each on its own, and for codecs
that have them the table and the states of the lanes. An entropy below one bit a byte is stated
apart: a Huffman code takes at least a bit. Matches may make a file smaller than that entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np
import weights
from rounds import packages, table
from sizes import BLOCK_LOG2, bits_of, order0, save

import nnpack
from nnpack.codecs.rans import STATE
from nnpack.dtypes import DTYPES, DType, from_cells
from nnpack.nodes.dense import Dense
from nnpack.profiles import PROFILES
from nnpack.stream import Stream
from nnpack.tree import leaves

CELLS = 1 << 22
"""Of tensors that are drawn: small has rans only from these on."""
SOME = (1, 100, 10_000, 1_000_000)
"""Cells of random bits."""
Arrays = dict[str, np.ndarray]


def main() -> None:
    """Print the tables."""
    print(f"{packages('nnpack-format', 'numpy', 'zstandard')}\n")
    rows = []
    for name, make in CASES.items():
        arrays = make()
        raw = sum(array.nbytes for array in arrays.values())
        for profile in PROFILES[1:]:
            file = save(arrays, profile)
            found = [*plane_blocks(file)]
            rows.append((
                name, profile, f"{100 * len(file) / raw:.2f}", _entropy(arrays, raw),
                str(len(found)),
                *_ratios([row for row in found if row[2] >= 1]),
                *_ratios([row for row in found if row[2] < 1]),
            ))  # fmt: skip
    head = ("weights", "profile", "file, %", "entropy of cells, %", "coded plane-blocks")
    ratios = ("stored / entropy", "worst", "stored / entropy, below 1 bit", "worst")
    print(table((*head, *ratios), rows), "\n")
    rows = [(profile, *map(str, worst_excess(profile))) for profile in PROFILES]
    print(
        table(
            ("profile", "random bits: most bytes a tensor above raw + 0.1 %", "dtype", "cells"),
            rows,
        )
    )


def plane_blocks(file: bytes) -> Iterator[tuple[float, float, float]]:
    """Yield the stored bytes, their limit and the bits a byte of each coded plane-block."""
    with nnpack.open(file) as reader:
        for tensor in reader.values():
            for leaf in leaves(tensor.node):
                if isinstance(leaf.source, Stream):
                    yield from _coded(leaf.source)


def _coded(stream: Stream) -> Iterator[tuple[float, float, float]]:
    blocks = range(stream.cells >> stream.head.log2 if stream.head.log2 >= BLOCK_LOG2 else 0)
    lengths = stream.head.table[:, 0].reshape(-1, len(stream.codecs))
    tables = iter(stream.head.shared[:, 0].tolist())
    for number, codec in enumerate(stream.codecs):
        shared = next(tables) / len(lengths) if hasattr(codec, "make_table") else 0
        if codec.name == "raw":
            continue
        coder = stream._coders[number]  # noqa: SLF001
        states = STATE.itemsize * coder.lanes if codec.name == "rans" else 0
        for index, plane in stream.decode_planes(number, blocks).items():
            entropy = order0(plane)
            stored = int(lengths[index, number]) + shared
            yield stored, entropy + shared + states, 8 * entropy / plane.size


def _ratios(found: list[tuple[float, float, float]]) -> tuple[str, str]:
    """Return the ratio of all together, and the worst."""
    if not found:
        return "–", "–"
    stored, limits, _ = np.array(found).T
    return f"{stored.sum() / limits.sum():.4f}", f"{(stored / limits).max():.4f}"


def _entropy(arrays: Arrays, raw: int) -> str:
    """Return the percent that cells of one or two bytes need if each is drawn alone."""
    total = 0.0
    for array in arrays.values():
        if array.itemsize > 2:  # too few to know how often each occurs
            return "–"
        found = np.unique(array.reshape(-1).view(f"u{array.itemsize}"), return_counts=True)[1]
        total += bits_of(found / array.size) * array.size / 8
    return f"{100 * total / raw:.2f}"


def worst_excess(profile: str) -> tuple[int, str, int]:
    """Return the bytes by which a tensor makes a file longer than its packed cells and 0.1 %."""
    rng = np.random.default_rng(0)
    found, empty = [], len(save({}, profile))
    for dtype in DTYPES:
        for cells in SOME:
            size = -(-cells * dtype.bits // 8)
            taken = len(save({"w": random_bits(rng, dtype, cells)}, profile)) - empty
            found.append((taken - size - size // 1000, dtype.name, cells))
    return max(found)


def random_bits(rng: np.random.Generator, dtype: DType, cells: int) -> Dense:
    """Return cells of an element type of which every bit is drawn."""
    array = np.empty(cells, dtype.numpy)
    if dtype.packed:
        from_cells(rng.integers(0, 1 << dtype.bits, cells, np.uint8), dtype, array)
    else:
        array.view(np.uint8)[:] = np.frombuffer(rng.bytes(array.nbytes), np.uint8)
    return Dense(array, dtype.name)


def trained(dtype: str) -> Arrays:
    """Return the trained weights, rounded."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    return {name: array.astype(kind) for name, array in weights.load().items()}


def drawn() -> np.ndarray:
    """Return Gaussian weights."""
    return np.random.default_rng(0).standard_normal(CELLS, np.float32) / 50


def int8() -> Arrays:
    """Return the trained matrices with a scale for each row."""
    matrices = {name: w for name, w in weights.load().items() if w.ndim == 2}
    scaled = {name: w / (np.abs(w).max(1, keepdims=True) / 127) for name, w in matrices.items()}
    return {name: np.rint(w).astype(np.int8) for name, w in scaled.items()}


def ternary(zeros: float) -> Arrays:
    """Return -1, 0 and 1 with a share of zeros."""
    ones = (1 - zeros) / 2
    rng = np.random.default_rng(0)
    return {"w": rng.choice(np.array([-1, 0, 1], np.int8), CELLS, p=[ones, zeros, ones])}


def nearly_zero() -> Arrays:
    """Return bytes of which one in a thousand is not 0."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, CELLS, np.uint8)
    return {"w": cells * (rng.random(CELLS) < 1e-3)}


CASES: dict[str, Callable[[], Arrays]] = {
    "bf16": lambda: trained("bfloat16"),
    "fp32": lambda: trained("float32"),
    "bf16, drawn": lambda: {"w": drawn().astype(ml_dtypes.bfloat16)},
    "fp32, drawn": lambda: {"w": drawn()},
    "int8 per row": int8,
    "ternary, 50 % zero": lambda: ternary(0.5),
    "ternary, 80 % zero": lambda: ternary(0.8),
    "ternary, 95 % zero": lambda: ternary(0.95),
    "bytes, 99.9 % zero": nearly_zero,
}


if __name__ == "__main__":
    main()
