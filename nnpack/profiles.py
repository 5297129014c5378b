"""The profiles: how each leaf is stored, decided on a sample of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from nnpack.abc import Codec, Transform
from nnpack.codecs import CODECS
from nnpack.codecs.zstd import WEIGHTS, Zstd
from nnpack.dtypes import Array, DType
from nnpack.limits import MAX_PLANE_BLOCK
from nnpack.nodes.dense import Dense
from nnpack.stream import CELLS, RAW
from nnpack.transforms import TRANSFORMS
from nnpack.transforms.pair import Pair

PROFILES: Final = ("raw", "fast", "balanced")
BLOCK_LOG2: Final = 18
"""Cells in a block: temporaries stay in the second-level cache."""
LARGE_BLOCK_LOG2: Final = 20
LARGE: Final = 1 << 30
"""Bytes above which larger blocks keep the block table small."""
SAMPLES: Final = 4
SAMPLE_CELLS: Final = 1 << 12
"""Pieces of a leaf that are tried, and their cells."""
PAYS: Final = 0.98
"""A codec that does not save this much costs more time than it is worth."""
SMALL_LEAF: Final = 64
"""Bytes below which no codec is tried."""
NOISE: Final = 7.8
"""Bits of entropy a byte above which no codec is tried."""
BYTES, DELTA, PAIR = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How the blocks of one leaf are encoded.

    Attributes:
        transform: of the cells.
        codecs: one a plane.
        log2: of the cells in a block.
        parameter: of the transform.
    """

    transform: Transform
    codecs: tuple[Codec, ...]
    log2: int
    parameter: int = 0

    @property
    def is_raw(self) -> bool:
        """Whether it leaves the cells in one piece, which can be mapped."""
        return self.transform.id == CELLS and self.codecs[0].id == RAW


def raw_plan(dtype: DType, cells: int) -> Plan:
    """Return the plan that leaves a leaf mappable; with it a file is in canonical form."""
    return Plan(TRANSFORMS[CELLS], (CODECS[RAW],), _log2(dtype, cells))


def choose(profile: str, leaf: Dense, *, text: bool = False) -> Plan:
    """Return the plan that a profile has for a leaf.

    Args:
        profile: one of `PROFILES`.
        leaf: the cells, of which a few pieces are tried.
        text: whether the cells are bytes with repeated passages (JSON, blobs, directory).
    """
    dtype = leaf.cell
    plain = raw_plan(dtype, leaf.size)
    if profile == "raw" or leaf.nbytes < SMALL_LEAF:
        return plain
    if text:
        return Plan(plain.transform, (Zstd(),), LARGE_BLOCK_LOG2)
    samples = [*_samples(leaf, 1 << plain.log2)]
    best = plain
    least = PAYS * sum(plain.transform.plane_lengths(len(s), dtype)[0] for s in samples)
    for transform in _candidates(dtype):
        parameter = _room(transform, samples, dtype, leaf.size, plain.log2)
        split = [_copies(transform.split(sample, dtype, parameter)) for sample in samples]
        picked = [
            _pick_codec(profile, [planes[k] for planes in split]) for k in range(len(split[0]))
        ]
        if transform.forms > 1:  # its first plane is the same few bytes in every block
            picked[0] = CODECS[RAW], 0.0
        total = sum(size for _, size in picked)
        if total < least:
            codecs = tuple(codec for codec, _ in picked)
            best, least = Plan(transform, codecs, plain.log2, parameter), PAYS * total
    return best


def _candidates(dtype: DType) -> list[Transform]:
    """Return the transforms that are worth a try, the simplest first."""
    if dtype.packed:
        return [TRANSFORMS[CELLS]]
    if TRANSFORMS[PAIR].accepts(dtype):
        return [TRANSFORMS[CELLS], TRANSFORMS[PAIR], TRANSFORMS[BYTES]]
    return [TRANSFORMS[key] for key in (BYTES, DELTA) if TRANSFORMS[key].accepts(dtype)]


def _room(transform: Transform, samples: list[Array], dtype: DType, cells: int, log2: int) -> int:
    """Return the parameter that makes room for a block's exceptions."""
    if not isinstance(transform, Pair) or not transform.max_parameter(dtype):
        return 0
    found = sum(transform.exceptions(sample, dtype) for sample in samples)
    block = min(cells, 1 << log2)
    tried = sum(len(sample) for sample in samples)
    expected = 2 * (found + 1) * max(1, block // max(tried, 1))
    return min(-(-expected // 4), transform.max_parameter(dtype))


def _pick_codec(profile: str, planes: list[Array]) -> tuple[Codec, float]:
    """Return the codec that a profile has for a plane of which these are pieces, and their size."""
    size = sum(plane.nbytes for plane in planes)
    best: tuple[Codec, float] = (CODECS[RAW], float(size))
    if profile == "fast" or not size:
        return best
    entropy = _entropy(planes)
    if entropy < NOISE * size / 8:
        best = Zstd(WEIGHTS), entropy
    matches, weights = (
        sum(min(len(codec.encode(plane.data)), plane.nbytes) for plane in planes[:1])
        for codec in (Zstd(), Zstd(WEIGHTS))
    )
    if matches < PAYS * weights and matches < PAYS * planes[0].nbytes:
        return Zstd(), best[1] * matches / weights
    return best


def _entropy(planes: list[Array]) -> float:
    """Return the bytes that a perfect code for single bytes would need, and a table."""
    found = np.bincount(np.concatenate(planes), minlength=256)
    found = found[found > 0]
    total = int(found.sum())
    return float(total * np.log2(total) - (found * np.log2(found)).sum()) / 8 + len(found) / 4


def _copies(planes: list[Array]) -> list[Array]:
    """Return planes that outlive the next block's."""
    return [plane.copy() for plane in planes]


def _samples(leaf: Dense, block: int) -> Iterator[Array]:
    """Yield the beginnings of a few blocks, or pieces of the only one."""
    step = max(block, 1) if leaf.size > SAMPLES * block else -(-leaf.size // SAMPLES)
    starts = range(0, leaf.size, max(step, SAMPLE_CELLS))
    picks = sorted({len(starts) * i // SAMPLES for i in range(SAMPLES)})
    for start in (starts[pick] for pick in picks):
        stop = min(start + SAMPLE_CELLS, leaf.size)
        out = np.empty(stop - start, leaf.cell.numpy)
        leaf.window(start, stop)(start, stop, out)
        yield out


def _log2(dtype: DType, cells: int) -> int:
    log2 = LARGE_BLOCK_LOG2 if cells * dtype.itemsize > LARGE else BLOCK_LOG2
    while dtype.itemsize << log2 > MAX_PLANE_BLOCK:
        log2 -= 1
    return log2
