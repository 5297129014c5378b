"""Concat: parts side by side along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from nnpack.abc import Fill, Node
from nnpack.dtypes import Array, DType, check_shape, count
from nnpack.errors import Invalid
from nnpack.limits import MAX_PARTS
from nnpack.nodes.dense import as_node
from nnpack.wire import U64, Cursor


class Concat(Node):
    """Parts that differ only along one axis (SPEC 8.7).

    Args:
        parts: 1 to 63 arrays or values of one dtype and rank.
        axis: the axis along which they follow each other.
    """

    __slots__ = ("axis", "pieces")

    id: ClassVar[int] = 6
    name: ClassVar[str] = "concat"
    roles: ClassVar[Mapping[int, str]] = {role: f"part {role}" for role in range(1, MAX_PARTS + 1)}
    optional: ClassVar[frozenset[int]] = frozenset(range(2, MAX_PARTS + 1))

    pieces: tuple[Node, ...]
    axis: int

    def __init__(self, parts: Sequence[Any], axis: int) -> None:
        """Check that the parts fit each other."""
        self._build(tuple(as_node(part) for part in parts), axis)

    def _build(self, pieces: tuple[Node, ...], axis: int) -> None:
        if not 1 <= len(pieces) <= MAX_PARTS:
            raise Invalid("bad-node", f"{len(pieces)} parts, not 1 to {MAX_PARTS}")
        first = pieces[0]
        if not 0 <= axis < len(first.shape):
            raise Invalid("bad-value", f"axis {axis} of rank {len(first.shape)}")
        for piece in pieces:
            if piece.dtype != first.dtype:
                raise Invalid("bad-dtype", f"parts of {first.dtype} and {piece.dtype}")
            if (*piece.shape[:axis], *piece.shape[axis + 1 :]) != (
                *first.shape[:axis],
                *first.shape[axis + 1 :],
            ) or len(piece.shape) != len(first.shape):
                raise Invalid("bad-shape", f"parts of shapes {first.shape} and {piece.shape}")
        along = sum(piece.shape[axis] for piece in pieces)
        shape = (*first.shape[:axis], along, *first.shape[axis + 1 :])
        check_shape(shape, first.cell)
        self._set(shape=shape, dtype=first.dtype, pieces=pieces, axis=axis)

    def parts(self) -> list[tuple[int, Node]]:
        """Return the parts; a role is the position, from 1."""
        return [*enumerate(self.pieces, 1)]

    def replace_parts(self, change: Any) -> Self:
        """Return the value with each part changed."""
        return type(self)([change(piece) for piece in self.pieces], self.axis)

    def parameters(self) -> bytes:
        """The axis."""
        return U64.pack(self.axis)

    @classmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Read the axis and compare what the parts give with what the head says."""
        (axis,) = parameters.u64s(1, "the axis")
        if sorted(parts) != [*range(1, len(parts) + 1)]:
            raise Invalid("bad-node", "roles of a concat are 1, 2, 3, in order")
        node = object.__new__(cls)
        node._build(tuple(parts[role] for role in sorted(parts)), axis)
        if node.shape != shape:
            raise Invalid("bad-shape", f"parts give {node.shape}, the node states {shape}")
        if node.dtype != dtype.name:
            raise Invalid("bad-dtype", f"parts are {node.dtype}, the node states {dtype.name}")
        return node

    def overhead(self, wanted: int) -> int:
        """The rows that the elements touch, twice: as read, and laid side by side."""
        row = count(self.shape[self.axis :])
        cells = min(self.size, wanted + 2 * row)
        inner = sum(piece.overhead(min(piece.size, cells)) for piece in self.pieces)
        return 2 * cells * self.cell.itemsize + inner

    def window(self, start: int, stop: int) -> Fill:
        """Read each part's share of the rows that the range touches.

        A row here is what one position of the axes before `axis` spans; with axis 0 there is one.
        """
        inner = count(self.shape[self.axis + 1 :])
        widths = [piece.shape[self.axis] * inner for piece in self.pieces]
        offsets = [sum(widths[:i]) for i in range(len(widths))]
        row = sum(widths)
        shares = [*zip(self.pieces, widths, offsets, strict=True)]

        def share(first: int, last: int, width: int, offset: int) -> tuple[int, int]:
            """Part elements that rows of [first, last) need; one row is cut more finely."""
            top, end = first // row, -(-last // row)
            if end - top > 1:
                return top * width, end * width
            low, high = (min(max(at - top * row - offset, 0), width) for at in (first, last))
            return top * width + low, top * width + high

        needs = [share(start, stop, width, offset) for _, width, offset in shares]
        fills = [
            piece.window(*need) if need[0] < need[1] else None
            for piece, need in zip(self.pieces, needs, strict=True)
        ]

        def fill(a: int, b: int, out: Array) -> None:
            top, end = a // row, -(-b // row)
            target = out.view(np.uint8).reshape(b - a, -1)
            if end - top > 1:
                target = np.empty(((end - top) * row, target.shape[1]), np.uint8)
            for read, (_, width, offset) in zip(fills, shares, strict=True):
                low, high = share(a, b, width, offset)
                if read is None or low == high:
                    continue
                flat = np.empty(high - low, out.dtype)
                read(low, high, flat)
                cells = flat.view(np.uint8).reshape(high - low, target.shape[1])
                if end - top > 1:
                    rows = target.reshape(end - top, row, -1)
                    rows[:, offset : offset + width] = cells.reshape(end - top, width, -1)
                else:
                    at = top * row + offset - a + low - top * width
                    target[at : at + high - low] = cells
            if end - top > 1:
                out.view(np.uint8).reshape(b - a, -1)[:] = target[a - top * row : b - top * row]

        return fill
