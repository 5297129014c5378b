"""Concat: parts side by side along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from nnpack.abc import PIECE, Fill, Node
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

    __slots__ = ("axis", "members")

    id: ClassVar[int] = 6
    name: ClassVar[str] = "concat"
    roles: ClassVar[Mapping[int, str]] = {role: f"part {role}" for role in range(1, MAX_PARTS + 1)}
    optional: ClassVar[frozenset[int]] = frozenset(range(2, MAX_PARTS + 1))

    members: tuple[Node, ...]
    """The parts, in order."""
    axis: int

    def __init__(self, parts: Sequence[Any], axis: int) -> None:
        """Check that the parts fit each other."""
        self._build(tuple(as_node(part) for part in parts), axis)

    def _build(self, members: tuple[Node, ...], axis: int) -> None:
        if not 1 <= len(members) <= MAX_PARTS:
            raise Invalid("bad-node", f"{len(members)} parts, not 1 to {MAX_PARTS}")
        first = members[0]
        if not 0 <= axis < len(first.shape):
            raise Invalid("bad-value", f"axis {axis} of rank {len(first.shape)}")
        for part in members:
            if part.dtype != first.dtype:
                raise Invalid("bad-dtype", f"parts of {first.dtype} and {part.dtype}")
            if (*part.shape[:axis], *part.shape[axis + 1 :]) != (
                *first.shape[:axis],
                *first.shape[axis + 1 :],
            ) or len(part.shape) != len(first.shape):
                raise Invalid("bad-shape", f"parts of shapes {first.shape} and {part.shape}")
        along = sum(part.shape[axis] for part in members)
        shape = (*first.shape[:axis], along, *first.shape[axis + 1 :])
        check_shape(shape, first.cell)
        self._set(shape=shape, dtype=first.dtype, members=members, axis=axis)

    def parts(self) -> list[tuple[int, Node]]:
        """Return the parts; a role is the position, from 1."""
        return [*enumerate(self.members, 1)]

    def replace_parts(self, change: Any) -> Self:
        """Return the value with each part changed."""
        return type(self)([change(part) for part in self.members], self.axis)

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
        """The elements as the parts give them, and what the parts take."""
        inner = sum(part.overhead(min(part.size, wanted)) for part in self.members)
        return min(self.size, wanted) * self.cell.itemsize + inner

    def window(self, start: int, stop: int) -> Fill:
        """Read each part's share of the range.

        A row here is what one position of the axes before `axis` spans; with axis 0 there is one.
        """
        row, size = count(self.shape[self.axis :]), self.cell.itemsize
        offset = 0
        shares: list[tuple[Fill, int, int]] = []
        for part in self.members:
            width = count(part.shape[self.axis :])
            low, high = (_before(at, row, offset, width) for at in (start, stop))
            if low < high:
                shares.append((part.window(low, high), offset, width))
            offset += width

        def fill(a: int, b: int, out: Array) -> None:
            # A cut row goes straight to its place; only whole rows are read aside, to be woven, and
            # no more of them at once than a piece.
            for left, right in pairwise(_cuts(a, b, row, max(1, PIECE // row) * row)):
                target = out[left - a : right - a]
                for read, offset, width in shares:
                    low, high = (_before(at, row, offset, width) for at in (left, right))
                    if low == high:
                        continue
                    if right - left <= row:
                        at = max(offset - left % row, 0)
                        read(low, high, target[at : at + high - low])
                        continue
                    cells = np.empty(high - low, out.dtype)
                    read(low, high, cells)
                    rows = target.view(np.uint8).reshape(-1, row * size)
                    columns = slice(offset * size, (offset + width) * size)
                    rows[:, columns] = cells.view(np.uint8).reshape(len(rows), -1)

        return fill


def _cuts(start: int, stop: int, row: int, band: int) -> list[int]:
    """Cut a range where its first whole row begins, every `band` from there, and at its last."""
    first, last = -(-start // row) * row, stop // row * row
    return sorted({start, *range(first, last, band), max(min(first, stop), last), stop})


def _before(at: int, row: int, offset: int, width: int) -> int:
    """Return how many elements of a part stand before a place in the whole.

    In every `row` elements of the whole the part has `width`, from `offset` on.
    """
    above, column = divmod(at, row)
    return above * width + min(max(column - offset, 0), width)
