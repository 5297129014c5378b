"""Arrays that say little, told as what they are: one value, a few distinct ones, or mostly one."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnpack.abc import PIECE, Fill, Node, read_range
from nnpack.codecs.zstd import Zstd
from nnpack.dtypes import Array, named
from nnpack.nodes.codebook import Codebook
from nnpack.nodes.constant import Constant
from nnpack.nodes.csr import Csr, narrow
from nnpack.nodes.dense import Dense
from nnpack.profiles import estimate

SMALL: Final = 64
"""Cells below which nothing is gained."""
GLANCE: Final = 600
"""Cells that are looked at first at most: most arrays show there that they are neither."""
ENOUGH: Final = 8
"""Cells for each distinct one that is too many, where no more have to be looked at."""
FIRST: Final = 1 << 12
"""Cells of the first piece in which distinct ones are counted."""
LONG: Final = 16
"""Cells for each entry of a table: shorter arrays are as small in another form."""
HEADS: Final = 100
"""Bytes of the heads of a codebook's parts."""
PAYS: Final = 0.97
"""A codebook that does not save this much is not worth another kind."""
NARROW: Final = 2
"""Bytes of cells whose bit patterns are few enough to be looked up in an array of all."""
MANY: Final = 1 << 12
"""Cells below which places are not told apart from cells."""
SHARE: Final = 0.3
"""Of the commonest cell among the first, from which the places of the others may be smaller."""
FILLED: Final = 64
"""Cells that a row of a csr stores, about, so that their number costs little."""
PAYS_CSR: Final = 0.92
"""As `PAYS`, since elements have to be put in their places."""
HELD: Final = 1 << 28
"""Bytes of gaps and values that are held while a csr is made; an array with more stays dense."""
GOLDEN: Final = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd."""
HASH: Final = 16
"""Bits of the place of a wider cell."""
TRIES: Final = 32
"""Bound of the odd multiples of it that are tried."""
WORD: Final = 8
"""Bytes of the widest cells that are compared as one number."""


def simplify(profile: str, leaf: Dense, *, csr: bool = True) -> Node:
    """Return a constant, codebook or csr with the same bits where that is smaller, or the leaf.

    Args:
        profile: whose sizes count.
        leaf: the cells.
        csr: whether it may become one, as the values of a csr may not.
    """
    cell, cells = leaf.cell, leaf.size
    if cells < SMALL or cell.packed or cell.itemsize > WORD:
        return leaf
    most = max(1, min(256 if cell.itemsize > 1 else 16, cells // LONG))
    csr = csr and profile != "fast" and cells >= MANY
    glance = _glance(leaf, GLANCE if csr else min(GLANCE, ENOUGH * most))
    if np.count_nonzero(glance[1:] != glance[:-1]) >= most and not (csr and _has_long_run(glance)):
        return leaf
    table, often = _count(glance)
    found = _distinct(leaf, table, most) if len(table) <= most else None
    if found is not None and len(found) == 1:
        return Constant(found.view(cell.numpy), leaf.shape, leaf.dtype)
    share = often.max() / len(glance)
    csr = csr and share > SHARE
    if found is None and not csr:
        return leaf
    best: Node = leaf
    cost = estimate(profile, leaf)
    if found is not None:
        codebook, size = _codebook(profile, leaf, found)
        if size < PAYS * cost:
            best, cost = codebook, size
    if csr:
        cost = PAYS_CSR * min(cost, _repeated(leaf))
        best = _csr(profile, leaf, table[often.argmax()], 1 - share, cost) or best
    return best


def _codebook(profile: str, leaf: Dense, found: Array) -> tuple[Codebook, float]:
    """Return a leaf told by indices into its distinct bit patterns, and what it takes."""
    width = next(bits for bits in (1, 2, 4, 8) if len(found) <= 1 << bits)
    indices = Dense.of_source(_Indices(leaf, found), leaf.shape, named(f"uint{width}"))
    shape = (*[1] * len(leaf.shape), len(found))
    node = Codebook(Dense(found.view(leaf.cell.numpy).reshape(shape), leaf.dtype), indices)
    return node, _size(profile, node)


def _csr(profile: str, leaf: Dense, fill: np.generic, share: float, most: float) -> Csr | None:
    """Return a leaf told by the places of what is not the fill; None if it takes more than `most`.

    Args:
        profile: whose sizes count.
        leaf: the cells.
        fill: the commonest bit pattern.
        share: of the others, about.
        most: bytes.
    """
    last = max(leaf.shape[-1], 1) if leaf.shape else 1
    row = last * max(1, -(-int(FILLED / max(share, 1 / leaf.size)) // last))
    for size in sorted({min(leaf.size, PIECE), leaf.size}):
        plain = _sparse(leaf, fill, row, size)
        node = plain and _with_values(profile, plain)
        if node is None or _size(profile, node) * leaf.size > most * size:
            return None
    return node


def _repeated(leaf: Dense) -> float:
    """Return the bytes that a leaf takes, about, if its long runs and repeated passages are found.

    A sample of short pieces shows too little of these.
    """
    start = _bits(leaf, 0, min(leaf.size, PIECE))
    return len(Zstd().encode(start.view(np.uint8).data)) * leaf.size / len(start)


def _with_values(profile: str, node: Csr) -> Csr:
    """Return a csr whose values are told as what they are, too."""
    values = node.values
    if isinstance(values, Dense):
        values = simplify(profile, values, csr=False)
    return node.replace_parts(lambda part: values if part is node.values else part)


def _size(profile: str, node: Node) -> float:
    """Return the bytes that a tree takes, about, besides its root's head."""
    if isinstance(node, Dense):
        return estimate(profile, node)
    return HEADS + sum(_size(profile, part) for _, part in node.parts())


def _sparse(leaf: Dense, fill: np.generic, row: int, size: int) -> Csr | None:
    """Return the first cells of a leaf as a csr of rows of so many cells; None if it is large."""
    counts = np.zeros(-(-size // row), np.int64)
    gaps: list[Array] = []
    values: list[Array] = []
    last, held = -1, 0
    for start in range(0, size, PIECE):
        if held > HELD:
            return None
        bits = _bits(leaf, start, min(start + PIECE, size))
        stored = np.flatnonzero(bits != fill)
        places = stored + start
        rows = places // row
        counts += np.bincount(rows, minlength=len(counts))
        before = np.concatenate([[last], places[:-1]])[: len(places)]
        gap = places - np.maximum(before + 1, rows * row)
        gaps.append(gap.astype(np.uint32))
        values.append(bits[stored])
        held += gaps[-1].nbytes + values[-1].nbytes
        last = int(places[-1]) if len(places) else last
    shape = leaf.shape if size == leaf.size else (size,)
    cells = Dense(np.concatenate(values).view(leaf.cell.numpy), leaf.dtype)
    return Csr(narrow(counts), narrow(np.concatenate(gaps)), cells, shape,
               np.array([fill]).view(leaf.cell.numpy)[0], row)  # fmt: skip


def _distinct(leaf: Dense, table: Array, most: int) -> Array | None:
    """Return all distinct bit patterns, ascending; None if there are too many.

    Too many show early: in memory the first pieces are short.
    """
    start, size = 0, FIRST if leaf.in_memory else PIECE
    while start < leaf.size:
        bits = _bits(leaf, start, min(start + size, leaf.size))
        new = bits[_lookup(table, bits)[1]]
        if len(new):
            table = _count(np.sort(np.concatenate([table, new])))[0]
            if len(table) > most:
                return None
        start, size = start + size, min(8 * size, PIECE)
    return table


def _lookup(table: Array, bits: Array) -> tuple[Array, Array]:
    """Return where bit patterns stand in a sorted table, and which do not."""
    if len(table) == 1:
        return np.zeros(len(bits), np.intp), bits != table[0]
    if bits.itemsize <= NARROW:
        places = np.full(1 << 8 * bits.itemsize, -1, np.int16)
        places[table] = np.arange(len(table))
        narrow = places[bits]
        return narrow, narrow < 0
    found = _by_hash(table, bits)
    if found is None:
        found = np.minimum(np.searchsorted(table, bits), len(table) - 1)
    return found, table.take(found, mode="wrap") != bits


def _by_hash(table: Array, bits: Array) -> Array | None:
    """Return where wider bit patterns stand in a table, if they do; None if there is no way.

    The upper bits of a product (D. Knuth, The Art of Computer Programming 3, 6.4) are a place for
    each value, if no two of them have the same.
    """
    for odd in range(1, TRIES, 2):
        factor = table.dtype.type(GOLDEN * odd & (1 << 8 * bits.itemsize) - 1)
        shift = table.dtype.type(8 * bits.itemsize - HASH)
        hashes = (table * factor >> shift).astype(np.intp)
        places = np.zeros(1 << HASH, np.int16)
        places[hashes] = np.arange(len(table))
        if np.array_equal(places[hashes], np.arange(len(table))):
            found: Array = places.take((bits * factor >> shift).astype(np.intp), mode="wrap")
            return found
    return None


def _glance(leaf: Dense, cells: int) -> Array:
    """Return the bit patterns, ascending, of cells at the start and in the middle."""
    starts = (0, leaf.size // 2) if leaf.in_memory else (0,)  # slicing may be slow
    few = [_bits(leaf, at, min(at + cells // 2, leaf.size)) for at in starts]
    found = np.concatenate(few)
    found.sort()
    return found


def _has_long_run(ordered: Array) -> bool:
    """Return whether one of ascending bit patterns may make up more than `SHARE` of them."""
    few = ordered[:: max(1, int(SHARE / 2 * len(ordered)))]
    return bool((few[1:] == few[:-1]).any())


def _count(bits: Array) -> tuple[Array, Array]:
    """Return the distinct ones of ascending bit patterns, and how often each occurs."""
    last = np.ones(len(bits), np.bool_)
    np.not_equal(bits[1:], bits[:-1], last[:-1])
    ends = last.nonzero()[0]
    often = ends.copy()
    often[0] += 1
    often[1:] -= ends[:-1]
    return bits[ends], often


def _bits(leaf: Dense, start: int, stop: int) -> Array:
    """Return the bit patterns of cells."""
    if leaf.in_memory:
        return leaf.array.reshape(-1)[start:stop].view(leaf.cell.uint)
    return read_range(leaf, start, stop).view(leaf.cell.uint)


class _Indices:
    """Where the cells of a leaf stand in a table; looked up when they are asked for."""

    in_memory = False

    def __init__(self, leaf: Dense, table: Array) -> None:
        self._leaf, self._table = leaf, table
        self.grain = leaf.grain

    def window(self, start: int, stop: int) -> Fill:
        """Look cells up."""
        read = self._leaf.window(start, stop)

        def fill(a: int, b: int, out: Array) -> None:
            cells = np.empty(b - a, self._leaf.cell.numpy)
            read(a, b, cells)
            places, missing = _lookup(self._table, cells.view(self._leaf.cell.uint))
            if missing.any():
                raise ValueError("a lazy array gave other elements the second time")
            out.view(np.uint8)[:] = places

        return fill
