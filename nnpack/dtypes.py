"""Element types, their cells in memory and packed (SPEC 6)."""

from __future__ import annotations

import math
import operator
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from nnpack.errors import Invalid, error, shown
from nnpack.limits import MAX_RANK, MAX_U64

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]

BYTE: Final = 8
POSITION_BITS: Final = 32
"""Of the widest integers that say where something stands."""


class DType(NamedTuple):
    """One element type.

    Attributes:
        id: its number in a file.
        name: numpy's or ml_dtypes' name.
        bits: width of a cell.
        family: "bool", "uint", "int", "float" or "complex".
        memory: name of the numpy or ml_dtypes type that holds it in memory, a byte or more each.
    """

    id: int
    name: str
    bits: int
    family: str
    memory: str

    @property
    def packed(self) -> bool:
        """Whether cells are narrower than a byte."""
        return self.bits < BYTE

    @property
    def itemsize(self) -> int:
        """Bytes of one cell in memory."""
        return -(-self.bits // BYTE)

    @property
    def is_unsigned(self) -> bool:
        """Whether a cell is an unsigned integer."""
        return self.family == "uint"

    @property
    def is_integer(self) -> bool:
        """Whether a cell is an integer (bool is not)."""
        return self.family in {"uint", "int"}

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest value of an integer."""
        if self.family == "uint":
            return 0, (1 << self.bits) - 1
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @property
    def is_operand(self) -> bool:
        """Whether dequantization can compute with it (SPEC 8.6): real, at most 32 bits."""
        return self.family != "complex" and self.bits <= 32

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type that holds cells in memory."""
        return _numpy(self.memory)

    @property
    def uint(self) -> np.dtype[Any]:
        """Unsigned integer of the same width, to move bits with; of 128 bits, half."""
        return _UINTS[min(self.itemsize, 8)]


_UINTS: Final = {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}
DTYPES: Final[tuple[DType, ...]] = (
    DType(0x01, "bool", 1, "bool", "bool"),
    DType(0x11, "uint1", 1, "uint", "uint8"),
    DType(0x12, "uint2", 2, "uint", "uint2"),
    DType(0x13, "uint3", 3, "uint", "uint8"),
    DType(0x14, "uint4", 4, "uint", "uint4"),
    DType(0x15, "uint5", 5, "uint", "uint8"),
    DType(0x16, "uint6", 6, "uint", "uint8"),
    DType(0x17, "uint7", 7, "uint", "uint8"),
    DType(0x18, "uint8", 8, "uint", "uint8"),
    DType(0x19, "uint16", 16, "uint", "uint16"),
    DType(0x1A, "uint32", 32, "uint", "uint32"),
    DType(0x1B, "uint64", 64, "uint", "uint64"),
    DType(0x22, "int2", 2, "int", "int2"),
    DType(0x23, "int3", 3, "int", "int8"),
    DType(0x24, "int4", 4, "int", "int4"),
    DType(0x25, "int5", 5, "int", "int8"),
    DType(0x26, "int6", 6, "int", "int8"),
    DType(0x27, "int7", 7, "int", "int8"),
    DType(0x28, "int8", 8, "int", "int8"),
    DType(0x29, "int16", 16, "int", "int16"),
    DType(0x2A, "int32", 32, "int", "int32"),
    DType(0x2B, "int64", 64, "int", "int64"),
    DType(0x39, "float16", 16, "float", "float16"),
    DType(0x3A, "float32", 32, "float", "float32"),
    DType(0x3B, "float64", 64, "float", "float64"),
    DType(0x49, "bfloat16", 16, "float", "bfloat16"),
    DType(0x5B, "complex64", 64, "complex", "complex64"),
    DType(0x5C, "complex128", 128, "complex", "complex128"),
    DType(0x64, "float4_e2m1fn", 4, "float", "float4_e2m1fn"),
    DType(0x66, "float6_e2m3fn", 6, "float", "float6_e2m3fn"),
    DType(0x6E, "float6_e3m2fn", 6, "float", "float6_e3m2fn"),
    DType(0x70, "float8_e3m4", 8, "float", "float8_e3m4"),
    DType(0x71, "float8_e4m3", 8, "float", "float8_e4m3"),
    DType(0x72, "float8_e4m3b11fnuz", 8, "float", "float8_e4m3b11fnuz"),
    DType(0x73, "float8_e4m3fn", 8, "float", "float8_e4m3fn"),
    DType(0x74, "float8_e4m3fnuz", 8, "float", "float8_e4m3fnuz"),
    DType(0x75, "float8_e5m2", 8, "float", "float8_e5m2"),
    DType(0x76, "float8_e5m2fnuz", 8, "float", "float8_e5m2fnuz"),
    DType(0x77, "float8_e8m0fnu", 8, "float", "float8_e8m0fnu"),
)
"""The table of SPEC 6.1. ml_dtypes has some of the narrow integers; others live in whole bytes."""
BY_ID: Final = {dtype.id: dtype for dtype in DTYPES}
BY_NAME: Final = {dtype.name: dtype for dtype in DTYPES}


@cache
def _numpy(memory: str) -> np.dtype[Any]:
    try:
        return np.dtype(memory)
    except TypeError:  # no type of numpy's own
        import ml_dtypes

        own: np.dtype[Any] = np.dtype(getattr(ml_dtypes, memory))
        return own


def named(name: Any) -> DType:
    """Return the element type of a name, or of a numpy or ml_dtypes type.

    Raises:
        TypeError: it is neither.
        ValueError: there is none of that name.
    """
    if isinstance(name, np.dtype) or (isinstance(name, type) and issubclass(name, np.generic)):
        name = np.dtype(name).name
    if not isinstance(name, str):
        raise TypeError(f"a dtype is a name such as 'float32', or numpy's type, not {shown(name)}")
    if name not in BY_NAME:
        import difflib  # only a mistake needs it

        close = difflib.get_close_matches(name, BY_NAME, 3, 0.5)
        near = f"{', '.join(close)} {'is' if len(close) == 1 else 'are'} close, " if close else ""
        raise ValueError(f"no dtype is called {shown(name)}: {near}the README lists all")
    return BY_NAME[name]


@cache
def of_numpy(dtype: np.dtype[Any]) -> DType:
    """Return the element type that holds a numpy array's cells; TypeError if none does."""
    found = BY_NAME.get(dtype.name)
    if found is None or found.memory != found.name:
        numeric = dtype.kind in "biufc" or dtype.name.startswith(("float", "int", "uint"))
        wide = {"f": "float64", "c": "complex128"}.get(dtype.kind, "float32")
        advice = f"use .astype('{wide}')" if numeric else "a tensor holds numbers"
        raise TypeError(
            f"arrays of {dtype} cannot be stored: {advice}; the README lists the element types"
        )
    return found


def check_unsigned(what: str, dtype: DType) -> None:
    """Check the type of positions: indices, counts, gaps (SPEC 6.1)."""
    if not dtype.is_unsigned or dtype.bits > POSITION_BITS:
        raise Invalid(
            "bad-dtype",
            f"{what} must be unsigned integers, uint1 to uint{POSITION_BITS}, not {dtype.name}",
            "shift them so that the least is 0, then use .astype('uint8'), or as wide as they need"
            if dtype.family == "int" and what == "indices"
            else "use .astype('uint32')",
        )


def check_operand(what: str, dtype: DType, hint: str) -> None:
    """Check a type that dequantization computes with (SPEC 8.6)."""
    if not dtype.is_operand:
        raise Invalid(
            "bad-dtype",
            f"{what} must be bools, integers or floats of at most 32 bits, not {dtype.name}",
            hint,
        )


def unmasked(value: Any) -> Array:
    """Return what numpy makes of a value, unless that would forget which elements are masked."""
    if hasattr(value, "filled"):
        raise TypeError("a masked array would lose its mask: pass array.filled(value)")
    return np.asarray(value)


def count(shape: Sequence[int]) -> int:
    """Return the number of elements, in unbounded integers."""
    return math.prod(shape)


def as_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape that a caller gave, in Python's ints; TypeError if it is not made of ints."""
    try:
        return tuple(operator.index(dim) for dim in shape)
    except TypeError:
        raise TypeError(f"a shape is a tuple of ints, not {shown(shape)}") from None


def check_shape(shape: Sequence[int], dtype: DType | None) -> None:
    """Check that sizes stay below 2^62 even where a dimension of zero would hide the others."""
    bits = BYTE if dtype is None else dtype.bits
    if len(shape) > MAX_RANK or any(dim < 0 for dim in shape):
        raise Invalid(
            "bad-shape", f"no tensor has the shape {tuple(shape)}; rank is 0 to {MAX_RANK}"
        )
    if math.prod(max(dim, 1) for dim in shape) * -(-bits // BYTE) >= MAX_U64:
        raise Invalid("bad-shape", f"a tensor of shape {tuple(shape)} passes 2^62 bytes")


def packed_size(cells: int, bits: int) -> int:
    """Return the bytes of so many packed cells."""
    return -(-cells * bits // BYTE)


def to_cells(array: Array, dtype: DType) -> Array:
    """Return the bit patterns of a flat array as unsigned integers, one a cell.

    Cells under a byte are zero-extended; 128-bit ones are two cells.

    Raises:
        Invalid: a cell does not fit its dtype.
    """
    if not dtype.packed:
        return array.view(dtype.uint)
    cells = array.view(np.uint8)
    high = 1 << (dtype.bits - 1)
    if dtype.memory != dtype.name:
        values = array.view(dtype.numpy)
        low, top = dtype.range
        if values.size and (int(values.min()) < low or int(values.max()) > top):
            raise Invalid("bad-value", f"a cell is out of the range of {dtype.name}")
    if dtype.family == "int":
        return cells & (2 * high - 1)  # two's complement: the low bits
    if cells.size and cells.max() >= 2 * high:
        raise Invalid("bad-value", f"a cell of {dtype.name} has bits beyond its width")
    return cells


def from_cells(cells: Array, dtype: DType, out: Array) -> None:
    """Write bit patterns, as `to_cells` gives them, into a flat array of the memory type."""
    target = out.view(dtype.uint)
    if dtype.family == "int" and dtype.packed and dtype.memory != dtype.name:
        high = 1 << (dtype.bits - 1)
        np.subtract((cells ^ high).view(np.int8), high, out=target.view(np.int8))
    else:
        target[:] = cells


def integers(array: Array, dtype: DType) -> Array:
    """Return bools or integers as a native numpy integer type of the same values."""
    if dtype.family == "int" and dtype.packed:
        high = 1 << (dtype.bits - 1)
        cells = array.view(np.uint8) & (2 * high - 1)
        return np.subtract((cells ^ high).view(np.int8), high, dtype=np.int8)
    return array.view(np.uint8) if dtype.packed else array


@cache
def _group(bits: int) -> tuple[int, int, list[tuple[int, int]]]:
    """Return how packed cells become a byte each, in words of as many bytes.

    Returns:
        the cells that fill whole bytes, how many bytes, and the steps. A step moves the upper
        half of each group of cells so far up, whose bits are these; then each half is a group.
    """
    cells = BYTE // math.gcd(bits, BYTE)
    steps, half = [], cells // 2
    while half:
        width, room = half * bits, half * BYTE
        upper = sum((1 << width) - 1 << at + width for at in range(0, cells * BYTE, 2 * room))
        steps.append((room - width, upper))
        half //= 2
    return cells, bits * cells // BYTE, steps


def pack(cells: Array, bits: int) -> Array:
    """Pack narrow cells (uint8, below 2^bits) into bytes, the first cell in the lowest bits."""
    if bits == 1:
        return np.packbits(cells, bitorder="little")
    group, width, steps = _group(bits)
    words = np.concatenate([cells, np.zeros(-len(cells) % group, np.uint8)]).view(f"<u{group}")
    for shift, upper in reversed(steps):
        moved = words & (upper << shift)
        words ^= moved
        words |= moved >> shift
    packed = np.ascontiguousarray(words.view(np.uint8).reshape(-1, group)[:, :width])
    return packed.reshape(-1)[: packed_size(len(cells), bits)]


def unpack(data: Array, size: int, bits: int) -> Array:
    """Return `size` narrow cells out of packed bytes.

    Raises:
        NnpackError: the unused bits behind the last cell are not zero.
    """
    spare = len(data) * BYTE - size * bits
    if spare and int(data[-1]) >> (BYTE - spare):
        raise error("bad-value", "unused bits behind the last cell are not zero")
    if bits == 1:
        return np.unpackbits(data, count=size, bitorder="little")
    group, width, steps = _group(bits)
    if width == 1:
        words = data.astype(f"<u{group}")
    else:
        whole = len(data) // width
        rows = np.zeros((-(-len(data) // width), group), np.uint8)
        rows[:whole, :width] = data[: whole * width].reshape(whole, width)
        rows[whole:, : len(data) - whole * width] = data[whole * width :]
        words = rows.reshape(-1).view(f"<u{group}")
    for shift, upper in steps:
        words += (words & upper) * ((1 << shift) - 1)  # adds it there, takes it off here
    return words.view(np.uint8)[:size]
