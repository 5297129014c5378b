"""Grids of groups: which scale or table belongs to which element (SPEC 8.6.1)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nnpack.abc import PIECE
from nnpack.dtypes import Array, count
from nnpack.errors import Invalid, shown

Expand = Callable[[int, int], Array]
"""expand(start, stop): for each element of a range of the flattened tensor, its group's value.

It takes memory for a few times the range, so that a caller asks for pieces.
"""
ReadGrid = Callable[[int, int], Array]
"""read(start, stop): values of a range of the flattened grid."""
Convert = Callable[[Array], Array]
"""Values as they are computed with. Only those of a piece are converted: they may grow by that."""


def grid_shape(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """Return the number of groups along each axis; a block of 0 is the whole axis.

    Raises:
        Invalid: a block that is not below its dimension, or not one for each axis.
    """
    if len(block) != len(shape):
        raise Invalid("bad-shape", f"{len(block)} block sizes for {len(shape)} axes")
    for size, dim in zip(block, shape, strict=True):
        if size and not 1 <= size < dim:
            raise Invalid(
                "bad-value", f"a block of {size} along an axis of {dim}: 0 means the whole axis"
            )
    return tuple(-(-dim // size) if size else 1 for size, dim in zip(block, shape, strict=True))


def as_block(block: Any, shape: Sequence[int], *, flat: bool = False) -> tuple[int, ...]:
    """Return the block sizes that a caller gave as ints; a single one is of a single axis.

    Raises:
        TypeError: they are no ints.
        ValueError: it is one, and there are several axes.
    """
    if not isinstance(block, Iterable):
        block = (block,)
        if len(shape) > 1 and not flat:
            along = ", ".join(["1"] * (len(shape) - 1) + [str(block[0])])
            raise ValueError(
                f"block={block[0]} for {len(shape)} axes: give each axis its own, as "
                f"block=({along}) for runs along the last one; 0 is a whole axis"
            )
    try:
        return tuple(operator.index(size) for size in block)
    except TypeError:
        raise TypeError(f"block sizes are integers, not {shown(block)}") from None


def check_axes(
    shape: Sequence[int], grid: Sequence[int], what: str, *, of: Sequence[int] | None = None
) -> None:
    """Refuse what has one axis, as long as one of several, and say how it gets the others.

    Args:
        shape: of the elements.
        grid: of the part called `what`.
        what: in the message.
        of: the grid that the part must have, if it is known.

    Raises:
        ValueError: it has only that axis.
    """
    rank = len(shape)
    fitting = [axis for axis, dim in enumerate(shape) if (dim,) == tuple(grid)]
    if of is not None:
        fitting = [
            axis
            for axis in fitting
            if tuple(of) == tuple(dim if at == axis else 1 for at, dim in enumerate(shape))
        ]
    if fitting and rank > 1:
        ways = [
            f"{what}[{', '.join(':' if at == axis else 'None' for at in range(rank))}] "
            f"for one a position of axis {axis}"
            for axis in fitting
        ]
        raise ValueError(
            f"{what} for {tuple(grid)} of {rank} axes {tuple(shape)}: pass {' or '.join(ways)}"
        )


def infer_block(
    shape: Sequence[int], grid: Sequence[int], what: str, hint: str = ""
) -> tuple[int, ...]:
    """Return the block sizes that give this grid, where each divides exactly.

    Raises:
        ValueError: there are none; the message calls the grid's owner `what` and ends in `hint`.
    """
    check_axes(shape, grid, what)
    if len(grid) != len(shape) or any(
        groups != 1 and (not groups or dim % groups)
        for dim, groups in zip(shape, grid, strict=False)
    ):
        raise ValueError(
            f"{what}: a grid of shape {tuple(grid)} does not divide a tensor of shape "
            f"{tuple(shape)}: pass block=, the elements along each axis that share a {what}{hint}"
        )
    return tuple(
        0 if groups == 1 else dim // groups for dim, groups in zip(shape, grid, strict=True)
    )


class Grid:
    """Maps ranges of elements to groups.

    Args:
        shape: of the elements.
        block: sizes along each axis, 0 for the whole axis.
        index: with `axis`, the group along that axis of each position, in place of
            position // block.
        axis: that axis.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        block: tuple[int, ...],
        index: Array | None = None,
        axis: int = 0,
    ) -> None:
        """Take the geometry, checked before."""
        self.shape, self.block = shape, block
        self.grid = grid_shape(shape, block)
        self.index, self.axis = index, axis

    @property
    def _row(self) -> tuple[int, int]:
        """Elements and groups along the last axis."""
        return (self.shape[-1], self.grid[-1]) if self.shape else (1, 1)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Bound the groups of elements [start, stop), a range of the flattened grid."""
        width, groups = self._row
        first, last = self._grid_rows(start // width, -(-stop // width))
        return first * groups, last * groups

    def window(self, start: int, stop: int, read: ReadGrid, convert: Convert) -> Expand:
        """Read the grid values that elements [start, stop) need, and return how to expand them."""
        groups = self._row[1]
        low, high = self.span(start, stop)
        first, values = low // groups, read(low, high).reshape(-1, groups)

        def pick(rows: Array, columns: Array | slice) -> Array:
            rows = rows - first
            return convert(values[rows if isinstance(columns, slice) else rows[:, None], columns])

        return self._expander(pick)

    def numbers(self) -> Expand:
        """Return how to expand the groups' own numbers in the flattened grid; without an index."""
        groups = self._row[1]
        return self._expander(
            lambda rows, columns: rows[:, None] * groups + np.arange(columns.start, columns.stop)
        )

    def _expander(self, pick: Callable[[Array, Any], Array]) -> Expand:
        """Return how to expand what `pick` gives for rows and columns of the grid."""
        width = self._row[0]

        def rows_of(row: int, end: int, left: int, right: int) -> Array:
            rows = self._groups_of_rows(row, end)
            if self.index is not None and self.axis == len(self.shape) - 1:
                return pick(rows, self.index[left:right])
            block = self.block[-1] if self.block and self.block[-1] else width
            columns = slice(left // block, -(-right // block))
            return _repeat(pick(rows, columns), block, left, right)

        def expand(a: int, b: int) -> Array:
            row, end = a // width, -(-b // width)
            if end - row == 1:
                return rows_of(row, end, a - row * width, b - row * width).reshape(-1)
            if width <= PIECE:
                return rows_of(row, end, 0, width).reshape(-1)[a - row * width : b - row * width]
            cuts = [a, *range((row + 1) * width, b, width), b]  # rows too long to be had whole
            return np.concatenate([expand(low, high) for low, high in pairwise(cuts)])

        return expand

    def _grid_rows(self, row: int, end: int) -> tuple[int, int]:
        """Bound the rows of the grid (all axes but the last) that rows of elements need."""
        total = math.prod(self.grid[:-1])
        if len(self.shape) < 2 or (self.index is not None and self.axis == 0):
            return 0, total
        inner = math.prod(self.shape[1:-1])
        block = self.block[0] or max(self.shape[0], 1)
        per_group = total // self.grid[0]
        return row // inner // block * per_group, ((end - 1) // inner // block + 1) * per_group

    def _groups_of_rows(self, row: int, end: int) -> Array:
        """Return the grid row of each row of elements."""
        found = np.zeros(end - row, np.int64)
        inner = count(self.shape[:-1])
        for axis, dim in enumerate(self.shape[:-1]):
            inner //= dim
            found *= self.grid[axis]
            index = self.index if axis == self.axis else None
            if index is not None or self.grid[axis] > 1:
                place = np.arange(row, end) // inner % dim
                found += place // self.block[axis] if index is None else index[place]
        return found


def _repeat(values: Array, block: int, left: int, right: int) -> Array:
    """Repeat each column `block` times; the first stands for what begins the block of `left`.

    No more is made than the columns [left, right) of the elements: a block may be of any length.
    """
    first = left // block
    if values.shape[1] == 1:
        return np.repeat(values, right - left, axis=1)
    if block <= PIECE:
        wide = np.repeat(values, block, axis=1) if block > 1 else values
        return wide[:, left - first * block : right - first * block]
    times = np.full(values.shape[1], block)
    times[0] -= left - first * block
    times[-1] = right - (first + len(times) - 1) * block
    return np.repeat(values, times, axis=1)


def flat_window(block: int, start: int, stop: int, read: ReadGrid, convert: Convert) -> Expand:
    """As `Grid.window`, for blocks that run over the flattened tensor."""
    first = start // block
    values = read(first, -(-stop // block))

    def expand(a: int, b: int) -> Array:
        picked = convert(values[a // block - first : -(-b // block) - first])
        return _repeat(picked.reshape(1, -1), block, a, b).reshape(-1)

    return expand
