"""Codebook: indices into a table of shared values, or one table a group."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np

from nnpack.abc import MAX_GRAIN, PIECE, Fill, Node, pieces, read_range
from nnpack.dtypes import Array, DType, check_shape, check_unsigned, count, integers
from nnpack.errors import Invalid
from nnpack.grid import Grid, as_block, grid_shape, infer_block
from nnpack.limits import MAX_VECTOR
from nnpack.nodes.dense import as_node
from nnpack.wire import Cursor

_HEAD: Final = struct.Struct("<II")
WORDS: Final = (1, 2, 4, 8)
"""Bytes that are moved as one integer."""


class Codebook(Node):
    """element = table[group, index] (SPEC 8.5).

    Args:
        table: [K] or, with `block`, grid + [K]; with `vector_axis` a last axis of V elements more.
        indices: unsigned, in the tensor's shape; with `vector_axis` that axis is V times shorter.
        block: elements that share a table along each axis, 0 for the whole axis, as an int where
            there is one axis; None: one table for all, or what the table's shape says where it
            divides exactly.
        vector_axis: the axis along which one index stands for V elements.

    Raises:
        TypeError: the type of a part cannot be stored.
        ValueError: the parts do not fit each other.

    >>> table, indices = np.float32([-1, 0, 1]), np.array([[0, 2], [1, 1]], np.uint8)
    >>> Codebook(table, indices).to_numpy().tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """

    __slots__ = ("block", "indices", "table", "vector_axis", "vector_length")

    id: ClassVar[int] = 4
    name: ClassVar[str] = "codebook"
    roles: ClassVar[Mapping[int, str]] = {1: "table", 2: "indices"}

    table: Node
    indices: Node
    block: tuple[int, ...]
    vector_length: int
    vector_axis: int | None

    def __init__(
        self,
        table: Any,
        indices: Any,
        *,
        block: Sequence[int] | int | None = None,
        vector_axis: int | None = None,
    ) -> None:
        """Check that the parts fit each other."""
        table, indices = as_node(table), as_node(indices)
        rank = len(indices.shape)
        own = 1 if vector_axis is None else 2
        vector = 1 if vector_axis is None else table.shape[-1] if table.shape else 0
        if rank and len(table.shape) == own:
            table = _reshaped(table, (*[1] * rank, *table.shape))
        shape = _whole(indices.shape, vector, vector_axis)
        grid = table.shape[: len(table.shape) - own]
        if block is None:
            vectors = own == 1 and len(table.shape) == 2
            hint = "; where its rows are vectors, pass vector_axis=" if vectors else ""
            block = infer_block(shape, grid, "table", hint)
        self._build(shape, table, indices, as_block(block, shape), vector, vector_axis)
        if self.in_memory:
            self.check_contents()

    def _build(
        self,
        shape: tuple[int, ...],
        table: Node,
        indices: Node,
        block: tuple[int, ...],
        vector: int,
        axis: int | None,
    ) -> None:
        check_unsigned("indices", indices.cell)
        if not 1 <= vector <= MAX_VECTOR or (axis is None) != (vector == 1):
            raise Invalid("bad-value", f"a vector length of {vector}")
        check_shape(shape, table.cell)
        grid = grid_shape(shape, block)
        if axis is not None and (
            not 0 <= axis < len(shape) or shape[axis] % vector or block[axis] % vector
        ):
            raise Invalid("bad-value", f"vectors of {vector} do not divide axis {axis} of {shape}")
        if _whole(indices.shape, vector, axis) != shape:
            raise Invalid("bad-shape", f"indices of shape {indices.shape} for {shape}")
        tail = table.shape[len(grid) :]
        if table.shape[: len(grid)] != grid or tail[1:] != (() if axis is None else (vector,)):
            raise Invalid("bad-shape", f"a table of shape {table.shape} for a grid of {grid}")
        if not tail or not 1 <= tail[0] <= 1 << indices.cell.bits:
            raise Invalid("bad-shape", f"a table of shape {table.shape} for {indices.dtype}")
        self._set(
            shape=shape,
            dtype=table.dtype,
            table=table,
            indices=indices,
            block=block,
            vector_length=vector,
            vector_axis=axis,
        )

    def parameters(self) -> bytes:
        """Vector length, vector axis, block."""
        return _HEAD.pack(self.vector_length, self.vector_axis or 0) + struct.pack(
            f"<{len(self.block)}Q", *self.block
        )

    @classmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Read vector length, vector axis, block."""
        vector, axis = parameters.fields(_HEAD, "vector length and axis")
        block = parameters.u64s(len(shape), "the block")
        if vector == 1 and axis:
            raise Invalid("bad-value", "a vector axis without vectors")
        if parts[1].dtype != dtype.name:
            raise Invalid("bad-dtype", f"a table of {parts[1].dtype} in a {dtype.name} codebook")
        node = object.__new__(cls)
        node._build(shape, parts[1], parts[2], block, vector, axis if vector != 1 else None)
        return node

    def checked_parts(self) -> list[tuple[Node, int]]:
        """The indices, in pieces."""
        return [(self.indices, min(self.indices.size, max(PIECE, self.indices.grain)))]

    def check_contents(self) -> None:
        """Check that every index is below K."""
        size = self.indices.size
        if not size:
            return
        read = self.indices.window(0, size)
        for start, stop in pieces(0, size, self.indices.grain):
            codes = np.empty(stop - start, self.indices.cell.numpy)
            read(start, stop, codes)
            self._checked(codes)

    def _checked(self, codes: Array) -> Array:
        """Return indices as integers."""
        index = integers(codes, self.indices.cell)
        if int(index.max()) >= self.entries:
            raise Invalid("bad-index", f"an index of {index.max()} into {self.entries} entries")
        return index

    @property
    def entries(self) -> int:
        """K: elements, or vectors, of one table."""
        return self.table.shape[len(self.shape)]

    @property
    def _inner(self) -> int:
        """Elements between neighbours of one vector."""
        return 1 if self.vector_axis is None else count(self.shape[self.vector_axis + 1 :])

    @property
    def _slab(self) -> int:
        """Elements that one run of `inner` indices stands for; 1 where there are none at all."""
        return max(self._inner * self.vector_length, 1)

    @property
    def grain(self) -> int:
        """Whole slabs, as many as the indices are best read in."""
        slab = self._slab
        if slab > PIECE:
            return 1
        whole = self.indices.grain * self.vector_length // slab * slab
        return whole if slab <= whole <= MAX_GRAIN else slab

    def overhead(self, wanted: int) -> int:
        """The tables that the grid may need whole, and the indices of all slabs in between."""
        return self._overhead_of_last((wanted // self._slab + 2) * self._inner + 2 * self.grain)

    def window(self, start: int, stop: int) -> Fill:
        """Read the tables that the range needs; then indices piece by piece."""
        return _Lookup(self, start, stop).fill


class _Lookup:
    """What a window on a codebook holds; a slab is what one run of `inner` indices stands for."""

    def __init__(self, node: Codebook, start: int, stop: int) -> None:
        self.node, self.slab, self.inner = node, node._slab, node._inner  # noqa: SLF001
        self.vector, entries = node.vector_length, node.entries
        first, last = start // self.slab * self.inner, -(-stop // self.slab) * self.inner
        block = [*node.block]
        if node.vector_axis is not None:
            block[node.vector_axis] //= self.vector
        grid = Grid(node.indices.shape, tuple(block))
        self.lowest, highest = grid.span(first, last)
        row = entries * self.vector
        cells = read_range(node.table, self.lowest * row, highest * row)
        size = node.cell.itemsize
        self.rows = cells.view(np.dtype((np.void, self.vector * size)))
        self.word = np.dtype(f"u{size}" if size in WORDS else (np.void, size))
        self.cells = cells.view(self.word).reshape(-1, self.vector)
        self.expand = grid.numbers() if highest - self.lowest > 1 else None
        self.read = node.indices.window(first, last)

    def fill(self, a: int, b: int, out: Array) -> None:
        """Read indices as they are best read, and look up a piece of them at once."""
        if self.slab > PIECE:
            for low, high in pieces(a, b, min(self.inner, PIECE)):
                self._fill_cut(low, high, out[low - a : high - a])
            return
        inner, slab = self.inner, self.slab
        low, high = a // slab, -(-b // slab)
        together, step = max(PIECE, self.node.indices.grain) // inner, PIECE // slab
        for left in range(low, high, together):
            right = min(left + together, high)
            codes = np.empty((right - left) * inner, self.node.indices.cell.numpy)
            self.read(left * inner, right * inner, codes)
            for top in range(left, right, step):
                end = min(top + step, right)
                first, last = max(a, top * slab), min(b, end * slab)
                some = codes[(top - left) * inner : (end - left) * inner]
                self._fill_slabs(top, some, first, last, out[first - a : last - a])

    def _fill_slabs(self, top: int, codes: Array, a: int, b: int, out: Array) -> None:
        """Fill a range of the whole slabs that start with number `top`."""
        found = _take(self.rows, self._rows_at(top * self.inner, codes))
        if self.inner > 1 and self.vector > 1:
            found = found.view(self.word).reshape(-1, self.inner, self.vector).transpose(0, 2, 1)
        flat = found.reshape(-1).view(self.word)
        out.view(self.word)[:] = flat[a - top * self.slab : b - top * self.slab]

    def _fill_cut(self, a: int, b: int, out: Array) -> None:
        """Fill a piece of slabs too long to be had whole: a run of each component in turn."""
        target = out.view(self.word)
        while a < b:
            number, within = divmod(a, self.slab)
            component, at = divmod(within, self.inner)
            run = min(self.inner - at, b - a)
            codes = np.empty(run, self.node.indices.cell.numpy)
            low = number * self.inner + at
            self.read(low, low + run, codes)
            many = 1  # components, where their runs are whole
            if run == self.inner:
                many = min((b - a) // run, self.vector - component)
            rows = self._rows_at(low, codes)
            found = self.cells[rows, component : component + many]
            target[: run * many].reshape(many, run)[:] = found.T
            target, a = target[run * many :], a + run * many

    def _rows_at(self, low: int, codes: Array) -> Array:
        """Return which row of the tables the indices from `low` on stand for."""
        index = self.node._checked(codes)  # noqa: SLF001
        if self.expand is None:
            return index
        group = self.expand(low, low + len(codes)) - self.lowest
        return group * self.node.entries + index


def _take(rows: Array, index: Array) -> Array:
    """Gather rows, moved as integers where they have the width of one; indices are checked."""
    size = rows.dtype.itemsize
    if size in WORDS:
        rows = rows.view(np.dtype(f"u{size}"))
    return np.take(rows, index, mode="wrap" if rows.dtype.kind == "u" else "raise")


def _whole(indices: tuple[int, ...], vector: int, axis: int | None) -> tuple[int, ...]:
    """Return the tensor's shape for that of the indices."""
    if axis is None or not 0 <= axis < len(indices):
        return indices
    return (*indices[:axis], indices[axis] * vector, *indices[axis + 1 :])


def _reshaped(node: Node, shape: tuple[int, ...]) -> Node:
    """Return an in-memory leaf in another shape; other kinds must have the right one."""
    if node.name != "dense" or not node.in_memory:
        raise ValueError(f"a table that is not an array must have the shape {shape}")
    return type(node)(node.array.reshape(shape), node.dtype)  # type: ignore[attr-defined,call-arg]
