"""Quantized: codes with a scale, and a zero point, bias or minimum."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np

from nnpack.abc import PIECE, Fill, Node, pieces, read_range
from nnpack.dtypes import (
    BY_ID,
    Array,
    DType,
    check_operand,
    check_shape,
    check_unsigned,
    integers,
    named,
)
from nnpack.errors import Invalid, error
from nnpack.grid import (
    Convert,
    Expand,
    Grid,
    as_block,
    check_axes,
    flat_window,
    grid_shape,
    infer_block,
)
from nnpack.limits import MAX_U64
from nnpack.nodes.dense import Dense, as_node
from nnpack.wire import Cursor

FLAT, DIVIDE = 1, 2
_HEAD: Final = struct.Struct("<BBB5s")
RESULTS: Final = ("float16", "bfloat16", "float32")
STEPS: Final = ("float16", "bfloat16")
NAN_BITS: Final = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000}
"""The positive quiet NaN with payload zero, which every NaN of arithmetic becomes."""
EXACT_BITS: Final = 16
"""Integers up to this width subtract exactly in 32 bits."""


class Quantized(Node):
    """(codes − zero) · scale, or codes · scale + bias, or codes · scale − min (SPEC 8.6).

    One binary32 operation at a time, rounded to nearest even, and one rounding to `dtype`;
    the difference of two integers is exact. Every NaN that comes out is the canonical one.

    Args:
        codes: bools, integers or floats of at most 32 bits.
        scale: of the grid's shape, as are the next three, or of rank 0: one for all.
        zero: subtracted from the codes first.
        bias: added last.
        min: subtracted last.
        block: elements that share a scale along each axis, 0 for the whole axis; None: what the
            scale's shape says, if each of its dimensions is 1 or divides the codes' exactly.
        flat: blocks run over the flattened tensor; block is their one length.
        group_index: [dim of group_axis] the group of each position along that axis.
        group_axis: the axis that `group_index` is about.
        divide: divide by the scale.
        step: "float16" or "bfloat16", or None: every operation's result is rounded to it.
        dtype: "float16", "bfloat16" or "float32", or numpy's type of that name.

    Raises:
        TypeError: the type of a part cannot be stored.
        ValueError: the parts do not fit each other.

    >>> codes = np.arange(-4, 4, dtype=np.int8).reshape(2, 4)
    >>> per_channel = Quantized(codes, np.float32([[0.5], [2]]))  # one scale a row
    >>> per_channel.to_numpy().tolist()
    [[-2.0, -1.5, -1.0, -0.5], [0.0, 2.0, 4.0, 6.0]]
    >>> wide = np.ones((2, 64), np.int8)
    >>> groups = Quantized(wide, np.ones((2, 2), np.float16), block=(1, 32))  # 32 in a row
    >>> groups
    Quantized(float32[2, 64], scale=Dense(float16[2, 2]), codes=Dense(int8[2, 64]))
    """

    __slots__ = (
        "bias",
        "block",
        "codes",
        "divide",
        "flat",
        "group_axis",
        "group_index",
        "min",
        "scale",
        "step",
        "zero",
    )

    id: ClassVar[int] = 5
    name: ClassVar[str] = "quantized"
    roles: ClassVar[Mapping[int, str]] = {
        1: "scale",
        2: "zero",
        3: "bias",
        4: "min",
        5: "group_index",
        6: "codes",
    }
    optional: ClassVar[frozenset[int]] = frozenset({2, 3, 4, 5})

    codes: Node
    scale: Node
    zero: Node | None
    bias: Node | None
    min: Node | None
    block: tuple[int, ...]
    flat: bool
    group_index: Node | None
    group_axis: int | None
    divide: bool
    step: str | None

    def __init__(
        self,
        codes: Any,
        scale: Any,
        *,
        zero: Any = None,
        bias: Any = None,
        min: Any = None,  # noqa: A002 - the word for it
        block: Sequence[int] | int | None = None,
        flat: bool = False,
        group_index: Any = None,
        group_axis: int | None = None,
        divide: bool = False,
        step: Any = None,
        dtype: Any = "float32",
    ) -> None:
        """Check that the parts fit each other."""
        step = step if step is None or isinstance(step, str) else named(step).name
        codes, scale = as_node(codes), as_node(scale)
        if block is None:
            if flat or group_index is not None:
                raise ValueError("flat blocks and group_index need block=")
            per_tensor = scale.shape == ()
            block = (
                (0,) * len(codes.shape)
                if per_tensor
                else infer_block(codes.shape, scale.shape, "scale")
            )
        block = as_block(block, codes.shape, flat=flat)
        grid = _grid(codes.shape, block, flat)
        parts = {"scale": scale}
        for role, part in (("zero", zero), ("bias", bias), ("min", min)):
            parts[role] = None if part is None else as_node(part)
        for role, part in parts.items():
            parts[role] = part and _per_tensor(part, grid)
            if part is not None and not flat and part.shape != grid:
                check_axes(codes.shape, part.shape, role, of=grid)
        index = None if group_index is None else as_node(group_index)
        self._build(
            codes,
            parts | {"group_index": index},
            block,
            flat,
            group_axis,
            divide,
            step,
            named(dtype),
        )
        if self.in_memory:
            self.check_contents()

    def _build(
        self,
        codes: Node,
        parts: Mapping[str, Node | None],
        block: tuple[int, ...],
        flat: bool,
        axis: int | None,
        divide: bool,
        step: str | None,
        dtype: DType,
    ) -> None:
        grid = _grid(codes.shape, block, flat)
        check_shape(codes.shape, dtype)
        if dtype.name not in RESULTS:
            raise Invalid("bad-dtype", f"results are {', '.join(RESULTS)}, not {dtype.name}")
        if step is not None and step not in STEPS:
            raise Invalid("bad-value", f"steps are {', '.join(STEPS)}, not {step}")
        check_operand("codes", codes.cell, "use .astype('int8'), or as wide as they are")
        operands = {role: part for role, part in parts.items() if part and role != "group_index"}
        if len(operands) > 2:
            raise Invalid("bad-node", f"at most one of zero, bias, min, not {[*operands][1:]}")
        for role, part in operands.items():
            if part.shape != grid:
                raise Invalid("bad-shape", f"{role} of shape {part.shape} for a grid of {grid}")
            one = "int8" if role == "zero" else "float32"
            check_operand(
                role, part.cell, f"pass np.{one}(...), or np.asarray(..., '{one}') for several"
            )
        self._check_index(codes.shape, parts.get("group_index"), axis, flat)
        self._set(
            shape=codes.shape,
            dtype=dtype.name,
            codes=codes,
            scale=parts["scale"],
            zero=parts.get("zero"),
            bias=parts.get("bias"),
            min=parts.get("min"),
            block=block,
            flat=flat,
            group_index=parts.get("group_index"),
            group_axis=axis,
            divide=divide,
            step=step,
        )

    @staticmethod
    def _check_index(
        shape: tuple[int, ...], index: Node | None, axis: int | None, flat: bool
    ) -> None:
        if (index is None) != (axis is None):
            raise Invalid("bad-value", "group_index and group_axis go together")
        if index is None or axis is None:
            return
        if flat or not 0 <= axis < len(shape):
            raise Invalid("bad-value", f"group_index along axis {axis} of {shape}, flat={flat}")
        check_unsigned("group_index", index.cell)
        if index.shape != (shape[axis],):
            raise Invalid("bad-shape", f"group_index of shape {index.shape} for {shape[axis]}")

    def parameters(self) -> bytes:
        """Flags, group axis, step, block."""
        flags = (FLAT if self.flat else 0) | (DIVIDE if self.divide else 0)
        step = named(self.step).id if self.step else 0
        return _HEAD.pack(flags, self.group_axis or 0, step, bytes(5)) + struct.pack(
            f"<{len(self.block)}Q", *self.block
        )

    @classmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Read flags, group axis, step, block."""
        at = parameters.here
        flags, axis, step, zeros = _HEAD.unpack(parameters.take(_HEAD.size, "the flags"))
        if any(zeros) or flags & ~(FLAT | DIVIDE):
            raise error("reserved-nonzero", "a reserved field is set", offset=at)
        flat = bool(flags & FLAT)
        block = parameters.u64s(1 if flat else len(shape), "the block")
        named_parts = {cls.roles[role]: part for role, part in parts.items()}
        codes = named_parts.pop("codes")
        indexed = "group_index" in named_parts
        if axis and not indexed:
            raise Invalid("bad-value", "a group axis without group_index")
        if codes.shape != shape:
            raise Invalid("bad-shape", f"codes of shape {codes.shape} in a node of {shape}")
        node = object.__new__(cls)
        node._build(
            codes,
            named_parts,
            block,
            flat,
            axis if indexed else None,
            bool(flags & DIVIDE),
            _step(step),
            dtype,
        )
        return node

    @property
    def grain(self) -> int:
        """That of the codes."""
        return self.codes.grain

    def overhead(self, wanted: int) -> int:
        """What the grid may need whole, and a share of the rest."""
        return self._overhead_of_last(wanted + 2 * self.grain)

    def window(self, start: int, stop: int) -> Fill:
        """Read the scales that the range needs; then codes piece by piece."""
        index = self._read_group_index()
        scale = self._expand(self.scale, index, start, stop)
        zero = None if self.zero is None else self._expand_zero(self.zero, index, start, stop)
        bias = None if self.bias is None else self._expand(self.bias, index, start, stop)
        least = None if self.min is None else self._expand(self.min, index, start, stop)
        read = self.codes.window(start, stop)

        def fill(a: int, b: int, out: Array) -> None:
            for first, last in pieces(a, b, self.grain):
                codes = np.empty(last - first, self.codes.cell.numpy)
                read(first, last, codes)
                for low in range(first, last, PIECE):
                    high = min(low + PIECE, last)
                    compute(low, high, codes[low - first : high - first], out[low - a : high - a])

        def compute(a: int, b: int, codes: Array, out: Array) -> None:
            with np.errstate(all="ignore"):
                value = self._minus_zero(codes, zero(a, b) if zero else None)
                value = self._rounded(value / scale(a, b) if self.divide else value * scale(a, b))
                if bias:
                    value = self._rounded(value + bias(a, b))
                if least:
                    value = self._rounded(value - least(a, b))
                out[:] = value
            odd = np.isnan(value)
            if odd.any():
                out.view(self.cell.uint)[odd] = NAN_BITS[self.dtype]

        return fill

    def _minus_zero(self, codes: Array, zero: Array | None) -> Array:
        if zero is None:
            return _binary32(codes, self.codes.cell)
        if zero.dtype.kind == "f":
            return self._rounded(_binary32(codes, self.codes.cell) - zero)
        # `zero` has the width in which the difference is exact.
        exact = integers(codes, self.codes.cell).astype(zero.dtype) - zero
        return self._rounded(exact.astype(np.float32))

    def _rounded(self, value: Array) -> Array:
        if self.step is None:
            return value
        return value.astype(named(self.step).numpy).astype(np.float32)

    def _expand(self, part: Node, index: Array | None, start: int, stop: int) -> Expand:
        """Expand a part's values, as binary32, over elements."""
        return self._over(part, index, start, stop, lambda cells: _binary32(cells, part.cell))

    def _expand_zero(self, part: Node, index: Array | None, start: int, stop: int) -> Expand:
        """As `_expand`, but integers stay integers where the codes are integers too."""
        both = [self.codes.cell, part.cell]
        if any(cell.family == "float" for cell in both):
            return self._expand(part, index, start, stop)
        kind = np.int32 if all(cell.bits <= EXACT_BITS for cell in both) else np.int64
        return self._over(
            part, index, start, stop, lambda cells: integers(cells, part.cell).astype(kind)
        )

    def _over(
        self, part: Node, index: Array | None, start: int, stop: int, convert: Convert
    ) -> Expand:
        def read(a: int, b: int) -> Array:
            return read_range(part, a, b)

        if self.flat:
            return flat_window(self.block[0], start, stop, read, convert)
        axis = self.group_axis or 0
        return Grid(self.shape, self.block, index, axis).window(start, stop, read, convert)

    def checked_parts(self) -> list[tuple[Node, int]]:
        """The groups, all at once."""
        return [] if self.group_index is None else [(self.group_index, self.group_index.size)]

    def check_contents(self) -> None:
        """Check that every group is on the grid."""
        self._read_group_index()

    def _read_group_index(self) -> Array | None:
        """Return the group of each position along the group axis, checked."""
        part = self.group_index
        if part is None:
            return None
        index = integers(read_range(part, 0, part.size), part.cell)
        groups = grid_shape(self.shape, self.block)[self.group_axis or 0]
        if index.size and int(index.max()) >= groups:
            raise Invalid("bad-index", f"group {index.max()} of {groups}")
        return index


def _step(number: int) -> str | None:
    """Return the name of a step's data type, whatever it is; None for 0."""
    dtype = BY_ID.get(number)
    return dtype.name if dtype else hex(number) if number else None


def _grid(shape: tuple[int, ...], block: tuple[int, ...], flat: bool) -> tuple[int, ...]:
    """Return the shape that scale, zero, bias and min have."""
    if not flat:
        return grid_shape(shape, block)
    if len(block) != 1 or not 1 <= block[0] < MAX_U64:
        raise Invalid("bad-value", f"flat blocks have one length of at least 1, not {block}")
    return (-(-int(np.prod(shape, dtype=object)) // block[0]),)


def _per_tensor(part: Node, grid: tuple[int, ...]) -> Node:
    """Return an array of rank 0 in the grid's shape: one for all groups."""
    if part.shape or not isinstance(part, Dense) or not part.in_memory:
        return part
    return Dense(np.full(grid, part.array), part.dtype)


def _binary32(array: Array, dtype: DType) -> Array:
    """Convert operands; exact for all but integers beyond 24 bits, which round to nearest even."""
    if dtype.family == "float":
        return array.astype(np.float32)
    return integers(array, dtype).astype(np.float32)
