"""The profiles: how each leaf is stored, decided on a sample of its cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from nnpack.abc import AnyCodec, Codec, Transform
from nnpack.codecs.huffman import code_lengths
from nnpack.codecs.lz4 import Lz4
from nnpack.codecs.rans import Rans
from nnpack.codecs.raw import Raw
from nnpack.codecs.zstd import WEIGHTS, Zstd
from nnpack.dtypes import Array, DType
from nnpack.limits import MAX_PLANE_BLOCK
from nnpack.nodes.dense import Dense
from nnpack.streamhead import CELLS, ENTRY, RAW
from nnpack.transforms import TRANSFORMS
from nnpack.transforms.control import exceptions

PROFILES: Final = ("raw", "fast", "balanced", "small")
BLOCK_LOG2: Final = 18
"""Cells in a block: temporaries stay in the second-level cache."""
LARGE_BLOCK_LOG2: Final = 20
LARGE: Final = 1 << 30
"""Bytes above which larger blocks keep the block table small."""
SAMPLES: Final = 4
SAMPLE_CELLS: Final = 1 << 11
"""Pieces of a leaf that are tried, and their cells."""
PAYS: Final = 0.98
"""A codec that does not save this much costs more time than it is worth."""
PAYS_FAST: Final = 0.9
"""As `PAYS`, where speed is what counts."""
PAYS_SMALL: Final = 0.999
"""As `PAYS`, where size is."""
SMALL_SAMPLE_CELLS: Final = 1 << 13
"""As `SAMPLE_CELLS`, where time is no matter."""
LEVEL: Final = 19
"""Of zstd, where time is no matter."""
TABLE: Final = 150
"""Bytes that a frame of zstd spends on its head and table at most, about."""
LISTING: Final = 1 << 16
LISTING_LEVEL: Final = 12
"""Of zstd, for directories of fewer bytes: 5 % shorter, after a millisecond or two."""
GLIMPSE: Final = 4
"""Of zstd: the lowest that finds matches of four bytes."""
MATCHED: Final = 0.25
"""Of a byte: symbols of less entropy may be shorter in matches even where `GLIMPSE` has none."""
MANY_CELLS: Final = 1 << 22
"""Cells from which rans has enough lanes in all blocks together to be decoded in good time."""
LANES_LOG2: Final = 6
RARE: Final = 16
"""A plane that takes less than one in so many of its bytes is left to zstd's matches."""
PAYS_RANS: Final = 0.996
"""rans is several times slower than Huffman codes."""
FEW_CELLS: Final = 1 << 12
"""Floats below which a trial, and putting halves of cells together, take longer than coding.

Nor do transforms with a control plane pay for it there."""
FEWEST_CELLS: Final = 128
"""Floats below which planes and their tables take what coding saves, about."""
UNEVEN: Final = 1.25
"""Times as many equal pairs of symbols as chance makes, above which they are not noise."""
SMALL_LEAF: Final = 64
"""Bytes below which no codec is tried."""
NOISE: Final = 7.8
"""Bits of entropy a byte above which no codec is tried."""
BYTES, DELTA, PAIR, FLOAT, FLOAT5 = 1, 2, 3, 4, 5
EXPONENTS: Final = ("bfloat16", "float32")
USUAL: Final = (*EXPONENTS, "float16")
NIBBLES: Final = 16
MANY_SYMBOLS: Final = 64
"""Distinct cells from which zstd finds no short matches that do harm."""
REPEATS: Final = 0.7
"""Where zstd's matches make less than this of whole cells, something is repeated."""


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
    codecs: tuple[AnyCodec, ...]
    log2: int
    parameter: int = 0

    @property
    def is_raw(self) -> bool:
        """Whether it leaves the cells in one piece, which can be mapped."""
        return self.transform.id == CELLS and self.codecs[0].id == RAW


def raw_plan(dtype: DType, cells: int) -> Plan:
    """Return the plan that leaves a leaf mappable; with it a file is in canonical form."""
    return Plan(TRANSFORMS[CELLS], (Raw(),), _log2(dtype, cells))


def choose(profile: str, leaf: Dense) -> Plan:
    """Return the plan that a profile, one of `PROFILES`, has for a leaf: a few pieces are tried."""
    return _choose(profile, leaf)[0]


def choose_text(profile: str, leaf: Dense, *, listing: bool = False) -> Plan:
    """Return the plan that a profile has for bytes with repeated passages.

    Args:
        profile: one of `PROFILES`.
        leaf: JSON, a blob or the directory.
        listing: whether it is the directory.
    """
    if profile == "raw" or leaf.nbytes < SMALL_LEAF:
        return raw_plan(leaf.cell, leaf.size)
    if profile == "small":
        codec = Zstd(LEVEL)
    else:
        codec = Zstd(LISTING_LEVEL) if listing and leaf.nbytes < LISTING else Zstd()
    return Plan(TRANSFORMS[CELLS], (codec,), LARGE_BLOCK_LOG2)


def estimate(profile: str, leaf: Dense) -> float:
    """Return the bytes that a leaf will take, about, as its profile stores it."""
    plan, cost = _choose(profile, leaf)
    if cost is not None:
        return cost
    return _few_cost(plan, leaf) if leaf.size < FEW_CELLS else _usual_cost(profile, leaf)


def _choose(profile: str, leaf: Dense) -> tuple[Plan, float | None]:
    """Return the plan for a leaf, and the bytes that it will take, about; None if it is usual."""
    dtype = leaf.cell
    plain = raw_plan(dtype, leaf.size)
    if profile == "raw" or leaf.nbytes < SMALL_LEAF:
        return plain, float(leaf.nbytes)
    small = profile == "small"
    if not small and dtype.name in USUAL and leaf.size < FEW_CELLS:
        return _few(profile, leaf, plain), None
    sample = _sample(leaf, 1 << plain.log2, SMALL_SAMPLE_CELLS if small else SAMPLE_CELLS)
    usual = None if small else _usual(profile, sample, leaf, plain.log2)
    if usual is not None:
        return usual, None
    signed = _signed(sample, leaf, plain.log2) if profile == "balanced" else None
    if signed is not None:
        return signed
    pays = PAYS_SMALL if small else PAYS
    blocks = -(-leaf.size >> plain.log2)
    scale = leaf.size / len(sample)
    best = plain
    cost = leaf.size * dtype.bits / 8
    for transform in _candidates(profile, leaf):
        tried = _tried(transform, sample, leaf, plain.log2)
        if tried is None:
            continue
        parameter, planes = tried
        many = leaf.size >= MANY_CELLS
        picked = [_smallest(plane, many) if small else _pick(profile, plane) for plane in planes]
        total = scale * sum(size for _, size in picked) + blocks * ENTRY * (len(planes) - 1)
        if transform.forms > 1:  # its first plane is raw, and as long in every block
            picked.insert(0, (Raw(), 0.0))
            total += blocks * (ENTRY + transform.plane_lengths(0, dtype, parameter)[0])
        if total < pays * cost:
            codecs = tuple(codec for codec, _ in picked)
            best, cost = Plan(transform, codecs, plain.log2, parameter), total
        if transform.id == PAIR and picked[-1][0].id == RAW and dtype.bits > 8:
            break  # what is noise here is noise in every other transform
    return best, cost


def _few(profile: str, leaf: Dense, plain: Plan) -> Plan:
    """Return the plan for a few floats: bytes apart, each plane coded if that is smaller."""
    if profile == "fast" or leaf.size < FEWEST_CELLS:
        return plain
    codecs = (Zstd(WEIGHTS),) * leaf.cell.itemsize
    return Plan(TRANSFORMS[BYTES], codecs, plain.log2)


def _few_cost(plan: Plan, leaf: Dense) -> float:
    """Return the bytes that a few cells take."""
    planes = plan.transform.split(leaf.to_numpy().reshape(-1), leaf.cell)
    coders = [codec for codec in plan.codecs if isinstance(codec, Codec)]
    return sum(
        min(len(coder.encode(plane.data)), len(plane))
        for coder, plane in zip(coders, planes, strict=True)
    )


def _usual(profile: str, sample: Array, leaf: Dense, log2: int) -> Plan | None:
    """Return the plan for weights as training leaves them; None for others.

    Their exponents are few and their mantissas noise. Most leaves are such, and a look at the
    exponents alone takes a fraction of the time of a trial.
    """
    cell, cells = leaf.cell, len(sample)
    if cell.name not in USUAL:
        return None
    hot = _hot(sample, cell)
    parameter: int | None = 0
    if cell.name in EXPONENTS:
        outside = _outside(hot)
        parameter = _room(outside, leaf, cells, log2) if outside * 512 <= cells else None
    elif profile == "fast" or _is_even(hot[:SAMPLE_CELLS], 256):
        return None
    if parameter is None or not _is_noise(sample.view(cell.uint), cell.bits):
        return None
    start = sample[:SAMPLE_CELLS].view(np.uint8)
    if len(Zstd().encode(start.data)) < REPEATS * len(start):
        return None
    codec = Raw() if profile == "fast" else Zstd(WEIGHTS)
    return Plan(TRANSFORMS[PAIR], (Raw(), codec, Raw()), log2, parameter)


def _usual_cost(profile: str, leaf: Dense) -> float:
    """Return the bytes that such weights take, about."""
    cell = leaf.cell
    sample = _sample(leaf, 1 << _log2(cell, leaf.size), SAMPLE_CELLS)
    bits = _bits_of(np.bincount(_hot(sample, cell))) / len(sample)
    return leaf.size * ((4.0 if profile == "fast" else bits) + cell.bits - 8) / 8


def _signed(sample: Array, leaf: Dense, log2: int) -> tuple[Plan, float] | None:
    """Return the plan for float8 weights with signs like noise, and what it takes; None for others.

    One histogram tells what trials of the cells and of their planes would. Signs that are noise in
    the sample are raw in every block.
    """
    cell, cells = leaf.cell, len(sample)
    pair = TRANSFORMS[PAIR]
    if cell.bits != 8 or cell.family != "float" or not pair.accepts(cell) or cells < SAMPLE_CELLS:
        return None
    held = sample.view(np.uint8)
    counts = np.bincount(held, minlength=256)
    together, apart = _codes(counts), _codes(counts[:128] + counts[128:]) + cells / 8
    if np.count_nonzero(counts) < MANY_SYMBOLS or apart > PAYS * cells or together < PAYS * apart:
        return None
    signs = np.packbits(held >> 7)
    if len(Zstd().encode(signs.data)) < len(signs) or len(Zstd().encode(held.data)) < PAYS * apart:
        return None
    return Plan(pair, (Raw(), Zstd(WEIGHTS), Raw()), log2), leaf.size * apart / cells


def _hot(cells: Array, cell: DType) -> Array:
    """Return what compresses: exponents, or the high bytes of float16."""
    shift = cell.bits - (9 if cell.name in EXPONENTS else 8)
    return (cells.view(cell.uint) >> shift).astype(np.uint8)


def _outside(exponents: Array) -> int:
    """Return how many exponents are not among those that half a byte can count from a base."""
    if int(exponents.max()) - int(exponents.min()) < NIBBLES:
        return 0
    inside = np.cumsum(np.bincount(exponents, minlength=256 + NIBBLES))
    return len(exponents) - int((inside[NIBBLES:] - inside[:-NIBBLES]).max())


def _is_noise(bits: Array, width: int) -> bool:
    """Return whether mantissas look as if they were drawn at random."""
    few = bits[:: max(1, len(bits) // SAMPLE_CELLS)]
    if not _is_even((few >> width - 16).astype(np.uint8) & 127, 128):
        return False
    return width == 16 or _is_even(few.astype(np.uint8), 256)


def _is_even(symbols: Array, kinds: int) -> bool:
    """Return whether symbols are about as frequent as each other, as far as so few tell."""
    total, counts = len(symbols), np.bincount(symbols, minlength=kinds)
    return int(counts @ counts) < total + UNEVEN * total * total / kinds


def _room(exceptions: int, leaf: Dense, tried: int, log2: int) -> int | None:
    """Return the parameter with room for twice the exceptions that a block should have.

    None if they are too many.
    """
    expected = 2 * (exceptions + 1) * max(1, min(leaf.size, 1 << log2) // tried)
    parameter = -(-expected // 4)
    return parameter if parameter <= TRANSFORMS[PAIR].max_parameter(leaf.cell) else None


def _tried(
    transform: Transform, sample: Array, leaf: Dense, log2: int
) -> tuple[int, list[Array]] | None:
    """Return the parameter for a leaf, and a sample's planes, but for one that tells the form.

    None if there cannot be room for the exceptions: other transforms do as well then.
    """
    most = transform.max_parameter(leaf.cell)
    planes = transform.split(sample, leaf.cell, most)
    if transform.forms == 1:
        return 0, planes
    control, *others = planes
    if not most:
        return 0, others
    found = exceptions(control)
    parameter = None if found is None else _room(found, leaf, len(sample), log2)
    return None if parameter is None else (parameter, others)


def _candidates(profile: str, leaf: Dense) -> list[Transform]:
    """Return the transforms that are worth a try, the fastest first."""
    dtype = leaf.cell
    if dtype.packed:
        keys: tuple[int, ...] = (CELLS,) if profile == "fast" else (CELLS, BYTES)
    elif dtype.name in USUAL and leaf.size < FEW_CELLS:
        keys = (BYTES, FLOAT, CELLS)
    elif profile == "small":
        keys = (FLOAT5, PAIR, BYTES, DELTA, FLOAT, CELLS)
    elif dtype.bits == 8:
        keys = (PAIR, CELLS)
    else:
        keys = (PAIR, BYTES, DELTA, FLOAT, CELLS)
    return [TRANSFORMS[key] for key in keys if TRANSFORMS[key].accepts(dtype)]


def _smallest(plane: Array, many: bool) -> tuple[AnyCodec, float]:
    """Return the codec that makes least of a sample of a plane, and how much.

    Args:
        plane: bytes.
        many: whether the leaf has so many cells that rans is an option.
    """
    size = plane.nbytes
    if not size:
        return Raw(), 0.0
    counts = np.bincount(plane, minlength=256)
    found = counts[counts > 0]
    table = len(found) / 2
    entropy = _bits_of(counts) / 8
    # What rans saves is the difference between Huffman codes and the entropy.
    codes = float(found @ np.array(code_lengths(found.tolist()))) / 8 if many else entropy
    best: AnyCodec = Zstd(WEIGHTS)
    cost = _with_weights(plane, codes + table)
    # The long search for matches is left to planes in which a short one finds some, or whose
    # symbols take so few bits that even short matches may be shorter.
    few_bits, matched = entropy < MATCHED * size, cost < entropy
    if few_bits or matched or len(Zstd(GLIMPSE).encode(plane.data)) < min(cost, size):
        longest = float(len(Zstd(LEVEL).encode(plane.data)))
        if longest < cost:
            best, cost = Zstd(LEVEL), longest
    if size <= cost:
        best, cost = Raw(), float(size)
    rans = entropy + table
    # Of rare symbols a sample shows too few, and each of them takes a share of the table.
    if many and size / RARE < rans < PAYS_RANS * cost:
        return Rans(LANES_LOG2), rans
    return best, cost


def _pick(profile: str, plane: Array) -> tuple[AnyCodec, float]:
    """Return the codec that a profile has for a plane, and the bytes that it makes of a sample."""
    size = plane.nbytes
    if profile == "fast":
        coded = len(Lz4().encode(plane.data))
        return (Lz4(), coded) if coded < PAYS_FAST * size else (Raw(), float(size))
    matches = len(Zstd().encode(plane.data))
    few = size < SAMPLE_CELLS
    entropy = float(size) if few else _codes(np.bincount(plane, minlength=256))
    if matches >= PAYS * size and entropy > NOISE / 8 * size:
        return (Zstd(WEIGHTS) if few else Raw()), float(size)
    weights = _with_weights(plane, entropy)
    return (Zstd(), float(matches)) if matches < PAYS * weights else (Zstd(WEIGHTS), weights)


def _with_weights(plane: Array, entropy: float) -> float:
    """Return the bytes that zstd's Huffman codes need for a sample, if its table cost nothing.

    The library finds matches even where it is told not to search: long runs that help, and in
    planes of few symbols short ones that do harm.
    """
    coded = len(Zstd(WEIGHTS).encode(plane.data))
    return float(coded) if coded < entropy else max(entropy, coded - TABLE)


def _codes(found: Array) -> float:
    """Return the bytes that Huffman codes need for bytes counted so, about, and their table.

    That is the entropy, unless one byte is more than half of all: its code cannot be shorter than
    a bit.
    """
    total = int(found.sum())
    bits = _bits_of(found)
    most = int(found.max()) / total
    if 0.5 < most < 1:
        bits += total * (1 + most * math.log2(most) + (1 - most) * math.log2(1 - most))
    return bits / 8 + np.count_nonzero(found) / 4


def _bits_of(counts: Array) -> float:
    """Return the bits that a perfect code needs for symbols counted so."""
    found = counts[counts > 0]
    total = int(found.sum())
    return float(total * math.log2(total) - found @ np.log2(found))


def _sample(leaf: Dense, block: int, cells: int) -> Array:
    """Return the beginnings of a few blocks, or pieces of the only one, or all of a small leaf."""
    size = leaf.size
    step = block if size > SAMPLES * block else -(-size // SAMPLES)
    if size <= SAMPLES * cells:
        ranges = [(0, size)]
    else:
        count = -(-size // step)
        starts = [count * i // SAMPLES * step for i in range(SAMPLES)]
        ranges = [(start, min(start + cells, size)) for start in starts]
    if leaf.in_memory:
        flat = leaf.array.reshape(-1)
        return np.concatenate([flat[start:stop] for start, stop in ranges])
    out = np.empty(sum(stop - start for start, stop in ranges), leaf.cell.numpy)
    at = 0
    for start, stop in ranges:
        leaf.window(start, stop)(start, stop, out[at : at + stop - start])
        at += stop - start
    return out


def _log2(dtype: DType, cells: int) -> int:
    log2 = LARGE_BLOCK_LOG2 if cells * dtype.itemsize > LARGE else BLOCK_LOG2
    while dtype.itemsize << log2 > MAX_PLANE_BLOCK:
        log2 -= 1
    return log2
