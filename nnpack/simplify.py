"""Arrays that say little: one value everywhere, or a few distinct ones; told as what they are."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnpack.abc import PIECE, Fill, Node, read_range
from nnpack.dtypes import Array, named
from nnpack.nodes.codebook import Codebook
from nnpack.nodes.constant import Constant
from nnpack.nodes.dense import Dense
from nnpack.profiles import estimate

SMALL: Final = 64
"""Cells below which nothing is gained."""
GLANCE: Final = 600
"""Cells that are looked at first: most arrays show there that they are neither."""
LONG: Final = 16
"""Cells for each entry of a table: shorter arrays are as small in another form."""
HEADS: Final = 100
"""Bytes of the heads of a codebook's parts."""
PAYS: Final = 0.97
"""A codebook that does not save this much is not worth another kind."""
WORD: Final = 8
"""Bytes of the widest cells that are compared as one number."""


def simplify(profile: str, leaf: Dense) -> Node:
    """Return a constant or a codebook with the same bits where that is smaller, or the leaf."""
    if leaf.size < SMALL or leaf.cell.packed or leaf.cell.itemsize > WORD:
        return leaf
    most = max(1, min(256 if leaf.cell.itemsize > 1 else 16, leaf.size // LONG))
    table = _glance(leaf)
    if len(table) > most:
        return leaf
    found = _distinct(leaf, table, most)
    if found is None:
        return leaf
    if len(found) == 1:
        return Constant(found.view(leaf.cell.numpy), leaf.shape, leaf.dtype)
    width = next(bits for bits in (1, 2, 4, 8) if len(found) <= 1 << bits)
    source = _Indices(leaf, found)
    indices = Dense.of_source(source, leaf.shape, named(f"uint{width}"))
    codebook = estimate(profile, indices) + found.nbytes + HEADS
    if codebook > PAYS * estimate(profile, leaf):
        return leaf
    shape = (*[1] * len(leaf.shape), len(found))
    return Codebook(Dense(found.view(leaf.cell.numpy).reshape(shape), leaf.dtype), indices)


def _distinct(leaf: Dense, table: Array, most: int) -> Array | None:
    """Return all distinct bit patterns, ascending; None if there are too many."""
    for start in range(0, leaf.size, PIECE):
        bits = _bits(leaf, start, min(start + PIECE, leaf.size))
        new = bits[_lookup(table, bits)[1]]
        if len(new):
            table = _ascending(np.concatenate([table, new]))
            if len(table) > most:
                return None
    return table


def _lookup(table: Array, bits: Array) -> tuple[Array, Array]:
    """Return where bit patterns stand in a sorted table, and which do not."""
    if len(table) == 1:
        return np.zeros(len(bits), np.intp), bits != table[0]
    places = np.minimum(np.searchsorted(table, bits), len(table) - 1)
    return places, table[places] != bits


def _glance(leaf: Dense) -> Array:
    """Return the bit patterns, ascending, of cells side by side at the start and in the middle."""
    starts = (0, leaf.size // 2) if leaf.in_memory else (0,)  # slicing may be slow
    few = [_bits(leaf, at, min(at + GLANCE // 2, leaf.size)) for at in starts]
    return _ascending(np.concatenate(few))


def _ascending(bits: Array) -> Array:
    """Return what `numpy.unique` does, which needs several times as long for a few."""
    bits.sort()
    new = np.empty(len(bits), np.bool_)
    new[0] = True
    np.not_equal(bits[1:], bits[:-1], new[1:])
    return bits[new]


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
