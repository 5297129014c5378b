"""What the scheme tests share: frozen oracles, unpacking of bit fields, and the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import nnpack

Array = np.ndarray
Value = Any
Fixture = dict[str, Array]


def load(name: str) -> Fixture:
    """The fixture that freeze.py wrote: a scheme's stored components and `want`, cells as bits."""
    with np.load(Path(__file__).parent / f"{name}.npz") as stored:
        return dict(stored)


def fields(raw: Array, width: int, count: int | None = None) -> Array:
    """Unsigned fields of `width` bits, LSB first along the last axis of bytes or wider words."""
    bits = np.unpackbits(np.ascontiguousarray(raw).view(np.uint8), axis=-1, bitorder="little")
    whole = bits[..., : bits.shape[-1] // width * width]
    cells = whole.reshape(*bits.shape[:-1], -1, width) @ (1 << np.arange(width))
    return cells[..., :count].astype(np.uint8)


def stripes(raw: Array, width: int) -> Array:
    """Fields of `width` bits, first the lowest of every byte of the last axis, then the next."""
    parts = [raw >> shift & (1 << width) - 1 for shift in range(0, 8, width)]
    return np.concatenate(parts, axis=-1)


def bfloat16(raw: Array) -> Array:
    """Bits as bfloat16."""
    return raw.view(ml_dtypes.bfloat16)


def unsigned(codes: Array, width: int) -> Value:
    """Codes as an nnpack leaf of unsigned integers of a width."""
    return nnpack.Dense(codes, f"uint{width}")


def signed(codes: Array, width: int) -> Value:
    """Two's complement fields as an nnpack leaf of signed integers of a width."""
    sign = 1 << width - 1
    cells = ((codes.astype(np.int16) ^ sign) - sign).astype(np.int8)
    return nnpack.Dense(cells.astype(getattr(ml_dtypes, f"int{width}", np.int8)), f"int{width}")


def constant(cell: int, grid: tuple[int, ...], width: int) -> Value:
    """One zero point for all groups."""
    return nnpack.Constant(cell, grid, f"uint{width}")


def check(value: Value, want: Array, dtype: str = "float32") -> None:
    """A value's cells must have these bits, in memory and after a trip through a file."""
    reader = nnpack.open(nnpack.save({"w": value}))
    for got in (value.to_numpy(), reader["w"].read(), reader["w"].value().to_numpy()):
        assert got.dtype.name == dtype
        assert got.shape == want.shape
        assert np.array_equal(np.ascontiguousarray(got).view(want.dtype), want)
