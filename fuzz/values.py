"""Values of every kind, drawn from bytes: any bytes are a value, and small changes small ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

import nnpack
from nnpack.abc import Node
from nnpack.codecs import CODECS
from nnpack.dtypes import BY_NAME, DTYPES, Array, DType, count, from_cells
from nnpack.nodes.dense import Dense
from nnpack.profiles import Plan
from nnpack.streamhead import RAW
from nnpack.transforms import TRANSFORMS
from nnpack.writer import Writer

T = TypeVar("T")
MOST = 3000
"""Elements of a tensor: blocks hold 1,024 at least, and there should be several."""
OPERANDS = tuple(dtype for dtype in DTYPES if dtype.is_operand)
POSITIONS = ("uint8", "uint16", "uint32")
RESULTS = ("float16", "bfloat16", "float32")
INSTALLED = tuple(c for c in CODECS.values() if getattr(c, "is_installed", True))


class Draw:
    """Takes decisions from bytes, and zeros where they end."""

    def __init__(self, data: bytes) -> None:
        """Begin with the first byte."""
        self._data, self._at = data, 0

    def bytes(self, size: int) -> bytes:
        """Return so many bytes; those of a short rest again and again."""
        rest = self._data[self._at : self._at + size]
        self._at += size
        return (rest * (size // max(1, len(rest)) + 1) or bytes(size))[:size].ljust(size, b"\0")

    def number(self, low: int, high: int) -> int:
        """Return a number of a range, both ends in it."""
        span = high - low + 1
        size = (span.bit_length() + 7) // 8
        data = self._data[self._at : self._at + size]
        self._at += size
        return low + int.from_bytes(data, "little") % span

    def pick(self, some: Sequence[T]) -> T:
        """Return one of them."""
        return some[self.number(0, len(some) - 1)]

    def shape(self) -> tuple[int, ...]:
        """Return a shape of few elements, sometimes of many."""
        rank = self.number(0, 4)
        shape = tuple(self.number(0, 9) for _ in range(rank))
        if self.number(0, 7) == 0:
            shape = (self.number(0, MOST),)
        return shape if count(shape) <= MOST else ()


def array(draw: Draw, dtype: DType, shape: Sequence[int]) -> Array:
    """Return cells of any bits."""
    size = count(shape)
    raw = np.frombuffer(draw.bytes(size * dtype.itemsize), np.uint8)
    out = np.empty(size, dtype.numpy)
    if dtype.packed:
        from_cells(raw & ((1 << dtype.bits) - 1), dtype, out)
    else:
        out.view(np.uint8)[:] = raw
    return out.reshape(shape)


def value(draw: Draw) -> Node:
    """Return a value of any kind."""
    dtype = draw.pick(DTYPES)
    if draw.number(0, 9) == 0:
        raw = draw.bytes(draw.number(0, 40))
        return nnpack.Opaque(raw, "org.example.x", draw.shape(), dtype.name, draw.bytes(5))
    return node(draw, dtype, draw.shape(), 3)


def node(draw: Draw, dtype: DType, shape: tuple[int, ...], depth: int) -> Node:
    """Return a tree of a type and a shape."""
    kinds = [_dense, _constant, *([_csr, _codebook] if depth else [])]
    kinds += [_concat] if depth and shape else []
    kinds += [_quantized, _quantized] if depth and dtype.name in RESULTS else []
    return draw.pick(kinds)(draw, dtype, shape, depth - 1)


def _dense(draw: Draw, dtype: DType, shape: tuple[int, ...], _: int) -> Node:
    return Dense(array(draw, dtype, shape), dtype.name)


def _constant(draw: Draw, dtype: DType, shape: tuple[int, ...], _: int) -> Node:
    return nnpack.Constant(array(draw, dtype, (1,)), shape, dtype.name)


def _csr(draw: Draw, dtype: DType, shape: tuple[int, ...], depth: int) -> Node:
    size = count(shape)
    row = draw.number(1, max(size, 1)) if shape else 1
    lengths = [min(row, size - start) for start in range(0, size, row)]
    counts = [draw.number(0, min(length, 12)) for length in lengths]
    gaps: list[int] = []
    for length, many in zip(lengths, counts, strict=True):
        room = length - many
        for _ in range(many):
            gap = draw.number(0, room)
            room -= gap
            gaps.append(gap)
    widths = [draw.pick(POSITIONS[max([0, *some]).bit_length() > 8 :]) for some in (counts, gaps)]
    parts = (np.array(some, width) for some, width in zip((counts, gaps), widths, strict=True))
    values = node(draw, dtype, (len(gaps),), depth)
    return nnpack.Csr(*parts, values, shape, array(draw, dtype, (1,)), row)


def _codebook(draw: Draw, dtype: DType, shape: tuple[int, ...], depth: int) -> Node:
    block = _blocks(draw, shape)
    grid = _grid(shape, block)
    entries = draw.number(1, 5)
    width = BY_NAME[draw.pick(("uint3", "uint4", "uint8", "uint16", "uint32"))]
    codes = np.frombuffer(draw.bytes(count(shape)), np.uint8) % entries
    indices = np.empty(count(shape), width.numpy)
    from_cells(codes, width, indices)
    table = node(draw, dtype, (*grid, entries), depth)
    return nnpack.Codebook(table, Dense(indices.reshape(shape), width.name), block=block)


def _blocks(draw: Draw, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(draw.number(0, max(dim - 1, 0)) for dim in shape)


def _grid(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-dim // size) if size else 1 for dim, size in zip(shape, block, strict=True))


def _concat(draw: Draw, dtype: DType, shape: tuple[int, ...], depth: int) -> Node:
    axis = draw.number(0, len(shape) - 1)
    cut = draw.number(0, shape[axis])
    halves = ((*shape[:axis], dim, *shape[axis + 1 :]) for dim in (cut, shape[axis] - cut))
    return nnpack.Concat([node(draw, dtype, half, depth) for half in halves], axis)


def _quantized(draw: Draw, dtype: DType, shape: tuple[int, ...], depth: int) -> Node:
    options: dict[str, Any] = {"divide": draw.number(0, 1) == 1, "dtype": dtype.name,
                               "step": draw.pick((None, "float16", "bfloat16"))}  # fmt: skip
    block: tuple[int, ...] = _blocks(draw, shape)
    grid = _grid(shape, block)
    if draw.number(0, 3) == 0:
        block = (draw.number(1, 40),)
        grid, options["flat"] = (-(-count(shape) // block[0]),), True
    elif shape and draw.number(0, 1):
        axis = draw.number(0, len(shape) - 1)
        groups = [draw.number(0, grid[axis] - 1) if grid[axis] else 0 for _ in range(shape[axis])]
        options |= {"group_index": np.array(groups, np.uint32), "group_axis": axis}
    offset = draw.pick((None, "zero", "bias", "min"))
    if offset:
        options[offset] = node(draw, draw.pick(OPERANDS), grid, depth)
    codes = node(draw, draw.pick(OPERANDS), shape, depth)
    return nnpack.Quantized(
        codes, node(draw, draw.pick(OPERANDS), grid, depth), block=block, **options
    )


class Laid(Writer):
    """A writer of what it is given, in the layouts that are drawn."""

    def __init__(self, target: Any, draw: Draw | None, **options: Any) -> None:
        """Write to `target`; without `draw` in the layout of the profile."""
        self._draw = draw
        super().__init__(target, **options)

    def simplify(self, node: Node) -> Node:
        """Return the value as it is."""
        return node

    def plan(self, leaf: Dense) -> Plan:
        """Return any transform that takes the cells, and any codecs."""
        if self._draw is None:
            return super().plan(leaf)
        fits = [transform for transform in TRANSFORMS.values() if transform.accepts(leaf.cell)]
        transform = self._draw.pick(fits)
        planes = len(transform.plane_lengths(1, leaf.cell))
        codecs = [self._draw.pick(INSTALLED) for _ in range(planes)]
        if transform.forms > 1:
            codecs[0] = CODECS[RAW]
        room = self._draw.number(0, transform.max_parameter(leaf.cell))
        return Plan(transform, tuple(codecs), self._draw.number(10, 12), room)
