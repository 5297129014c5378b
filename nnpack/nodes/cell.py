"""One cell among a node's parameters: of a constant, and what csr does not store (SPEC 7)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnpack.dtypes import Array, DType, from_cells, pack, packed_size, to_cells, unmasked, unpack
from nnpack.errors import Invalid
from nnpack.wire import Cursor, pad8


def one_cell(value: Any, dtype: DType) -> Array:
    """Return a value as an array of one cell; ValueError if it is not one or does not fit."""
    array = unmasked(value)
    if array.size != 1:
        raise Invalid("bad-value", f"one element is needed, not {array.size}")
    if array.dtype == dtype.numpy:
        cell = array.reshape(1).copy()
    else:
        lost = array.dtype.kind == "O" or (array.dtype.kind == "c" and dtype.family != "complex")
        with np.errstate(all="ignore"):
            cell = np.zeros(1, dtype.numpy) if lost else array.reshape(1).astype(dtype.numpy)
        if lost or not _same(cell, array):
            raise Invalid("bad-value", f"{value!r} is not exactly one {dtype.name}")
    to_cells(cell, dtype)
    return cell


def _same(cell: Array, value: Array) -> bool:
    """Return whether a converted cell is the value, NaN for NaN; compared as Python's numbers."""
    if cell.dtype.kind == "V" or value.dtype.kind == "V":
        cell, value = cell.astype(np.float64), value.astype(np.float64)
    a, b = cell.item(), value.item()
    return bool(a == b or (a != a and b != b))  # noqa: PLR0124 - NaN is what differs from itself


def cell_bytes(cell: Array, dtype: DType) -> bytes:
    """Return the cell packed, and zeros to 8 bytes."""
    raw = pack(to_cells(cell, dtype), dtype.bits) if dtype.packed else cell.view(np.uint8)
    return pad8(raw.tobytes())


def read_cell(parameters: Cursor, dtype: DType) -> Array:
    """Read a cell as `cell_bytes` writes it."""
    raw = np.frombuffer(parameters.take(packed_size(1, dtype.bits), "a cell"), np.uint8)
    parameters.zeros_to_8("a cell")
    cell = np.empty(1, dtype.numpy)
    if dtype.packed:
        from_cells(unpack(raw, 1, dtype.bits), dtype, cell)
    else:
        cell.view(np.uint8)[:] = raw
    return cell
