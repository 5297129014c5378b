"""Dense: every element stored; the leaf that all other kinds end in."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import numpy as np

from nnpack.abc import Fill, Node
from nnpack.dtypes import (
    Array,
    DType,
    as_shape,
    check_shape,
    count,
    named,
    of_numpy,
    to_cells,
    unmasked,
)
from nnpack.errors import Invalid
from nnpack.wire import Cursor


class Source(Protocol):
    """Where a leaf's cells come from: memory, something that can be sliced, or a file."""

    in_memory: bool

    @property
    def grain(self) -> int:
        """Cells that are best read together."""

    def window(self, start: int, stop: int) -> Fill:
        """Prepare to read cells [start, stop)."""


class InMemory:
    """Cells of a numpy array."""

    in_memory = True
    grain = 1

    def __init__(self, array: Array) -> None:
        """Hold a C-contiguous array."""
        self.array = array

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Copy bytes: an assignment of floats might change a NaN."""
        flat = self.array.reshape(-1).view(np.uint8)
        size = self.array.itemsize

        def fill(a: int, b: int, out: Array) -> None:
            out.view(np.uint8)[:] = flat[a * size : b * size]

        return fill


class Sliced:
    """Cells of anything with a shape that slices into arrays: bigger than memory, perhaps."""

    in_memory = False
    grain = 1

    def __init__(self, lazy: Any, shape: tuple[int, ...], memory: np.dtype[Any]) -> None:
        """Hold what can be sliced into arrays of the memory type."""
        self.lazy, self.shape, self.memory = lazy, shape, memory

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Slice when asked."""

        def fill(a: int, b: int, out: Array) -> None:
            self._fill((), self.shape, a, b, out)

        return fill

    def _fill(
        self, prefix: tuple[Any, ...], shape: tuple[int, ...], start: int, stop: int, out: Array
    ) -> None:
        """Read a flat range below an index prefix; a row longer than the range is cut further."""
        row = count(shape[1:])
        if not shape:
            self._copy(self.lazy[prefix], 0, out)
        elif row > stop - start:
            for index in range(start // row, -(-stop // row)):
                a, b = max(start, index * row), min(stop, (index + 1) * row)
                self._fill(
                    (*prefix, index),
                    shape[1:],
                    a - index * row,
                    b - index * row,
                    out[a - start : b - start],
                )
        else:
            first = start // row
            rows = slice(first, -(-stop // row))
            self._copy(self.lazy[(*prefix, rows)], start - first * row, out)

    def _copy(self, piece: Any, skip: int, out: Array) -> None:
        flat = np.ascontiguousarray(unmasked(piece)).reshape(-1)
        if flat.dtype != self.memory:
            raise TypeError(f"a slice of a lazy array is {flat.dtype}, not {self.memory}")
        if len(flat) < skip + len(out):
            raise Invalid(
                "bad-shape",
                f"a slice of a lazy array has {len(flat)} elements, {skip + len(out)} are needed",
            )
        out.view(np.uint8)[:] = flat[skip : skip + len(out)].view(np.uint8)


class Dense(Node):
    """All elements, in C order (SPEC 8.2).

    Args:
        array: a numpy array, what numpy makes into one, or anything with shape, dtype and slicing
            that gives arrays (read piece by piece when it is written).
        dtype: name of the element type where the array's does not tell it: 1-, 3-, 5-, 6- and
            7-bit integers, which are (u)int8 in memory.

    Raises:
        TypeError: the array's type cannot be stored, it has a mask, or it is a lazy one that is
            not little-endian (others are converted).
        ValueError: a cell does not fit its dtype.

    >>> four_bits = np.array([[0, 15], [7, 8]], np.uint8)
    >>> Dense(four_bits, dtype="uint4")
    Dense(uint4[2, 2])
    """

    __slots__ = ("source",)

    id: ClassVar[int] = 1
    name: ClassVar[str] = "dense"

    source: Source

    def __init__(self, array: Any, dtype: str | None = None) -> None:
        """Hold the array; it is not copied if it is in C order."""
        if hasattr(array, "tocsr"):
            raise TypeError("a scipy sparse matrix is no array: use nnpack.Csr.from_scipy")
        lazy = not isinstance(array, np.ndarray | np.generic) and all(
            hasattr(array, name) for name in ("shape", "dtype", "__getitem__")
        )
        if not lazy:
            array = _little(unmasked(array))
        shape, cell = as_shape(array.shape), _cell(array.dtype, dtype)
        check_shape(shape, cell)
        source: Source
        if lazy:
            source = Sliced(array, shape, cell.numpy)
        else:
            array = _narrow(array, cell) if cell.packed else array.view(cell.numpy)
            source = InMemory(array)
        self._set(shape=shape, dtype=cell.name, source=source)

    @classmethod
    def of_source(cls, source: Source, shape: tuple[int, ...], dtype: DType) -> Self:
        """Return the leaf over cells that stand in a file."""
        leaf = object.__new__(cls)
        leaf._set(shape=shape, dtype=dtype.name, source=source)
        return leaf

    @property
    def array(self) -> Array:
        """The elements; the very array, if it is in memory."""
        source = self.source
        return source.array if isinstance(source, InMemory) else self.to_numpy()

    @property
    def grain(self) -> int:
        """Cells of a stored block."""
        return self.source.grain

    @property
    def in_memory(self) -> bool:
        """Whether the cells are a numpy array."""
        return self.source.in_memory

    def parameters(self) -> bytes:
        """Have none of their own: a leaf's are its stream's (SPEC 9.1)."""
        return b""

    @classmethod
    def from_parts(
        cls,
        shape: tuple[int, ...],  # noqa: ARG003
        dtype: DType,  # noqa: ARG003
        parameters: Cursor,  # noqa: ARG003
        parts: dict[int, Node],  # noqa: ARG003
    ) -> Self:
        """Cannot be: a leaf is made by `of_source`."""
        raise TypeError("a dense node is made from its stream")

    def window(self, start: int, stop: int) -> Fill:
        """Read cells."""
        return self.source.window(start, stop)

    def to_numpy(self) -> Array:
        """Return a copy of the elements."""
        return self.array.copy() if self.in_memory else super().to_numpy()

    def load(self) -> Self:
        """Return the leaf with its cells in memory."""
        if self.in_memory:
            return self
        return self.of_source(InMemory(self.to_numpy()), self.shape, self.cell)


def _little(array: Array) -> Array:
    """Return the array in C order and little-endian, bits kept."""
    if array.dtype.byteorder == ">":
        array = array.byteswap().view(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(array.shape)


def _cell(memory: Any, name: str | None) -> DType:
    """Return the element type of an array's dtype, or of its dtype's name, and a name."""
    given = named(memory) if isinstance(memory, str) and name is None else None
    if given is not None:
        return given
    try:
        memory = np.dtype(memory)
    except TypeError as bad:
        raise TypeError(
            f"arrays of {memory} cannot be stored; torch tensors: see nnpack.torch"
        ) from bad
    if memory.byteorder == ">":
        raise TypeError(f"a lazy array of {memory} is big-endian: let it give little-endian slices")
    if name is None:
        return of_numpy(memory)
    cell = named(name)
    if cell.numpy != memory and not (cell.packed and memory.name in {"uint8", "int8"}):
        raise TypeError(
            f"{cell.name} is {cell.numpy} in memory, not {memory}: use .astype('{cell.memory}')"
        )
    return cell


def _narrow(array: Array, cell: DType) -> Array:
    """Return narrow cells in their memory type, checked in pieces that need little memory.

    Bytes are bit patterns, signed bytes are values.
    """
    if array.dtype == np.int8 and cell.numpy != np.int8:
        least, most = int(array.min(initial=0)), int(array.max(initial=0))
        low, high = cell.range
        if not cell.is_integer or least < low or most > high:
            raise Invalid("bad-value", f"a cell is out of the range of {cell.name}")
        array = array.view(np.uint8) & ((1 << cell.bits) - 1)
    elif array.dtype == np.uint8 and array.size and int(array.max()) >> cell.bits:
        raise Invalid("bad-value", f"a byte has bits beyond the width of {cell.name}")
    array = array.view(cell.numpy)
    flat = array.reshape(-1)
    for start in range(0, flat.size, 1 << 20):
        to_cells(flat[start : start + (1 << 20)], cell)
    return array


def as_node(value: Any) -> Node:
    """Return a value as it is, and anything else as `Dense`."""
    return value if isinstance(value, Node) else Dense(value)
