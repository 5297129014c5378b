"""Byte planes of floats whose sign has moved to the other end: the highest is the exponent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType
from nnpack.scratch import Scratch


class Float(Transform):
    """Byte k of every cell, rotated left by one bit, in plane k (SPEC 10.5)."""

    id: ClassVar[int] = 4
    name: ClassVar[str] = "float"

    def accepts(self, dtype: DType) -> bool:
        """float16, bfloat16, float32, float64."""
        return dtype.family == "float" and dtype.bits >= 16

    def cellwise(self, dtype: DType) -> bool:
        """Each byte of a cell is in a plane of its own."""
        return self.accepts(dtype)

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """As many planes as a cell has bytes."""
        return [cells] * dtype.itemsize

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the planes."""
        bits = cells.view(dtype.uint)
        rows = (bits << 1 | bits >> dtype.bits - 1).view(np.uint8).reshape(-1, dtype.itemsize)
        return [np.ascontiguousarray(rows[:, k]) for k in range(dtype.itemsize)]

    def join(
        self,
        planes: Sequence[Array],
        dtype: DType,
        out: Array,
        parameter: int = 0,
        scratch: Scratch | None = None,
    ) -> None:
        """Write the cells."""
        bits = out.view(dtype.uint)
        rows = bits.view(np.uint8).reshape(-1, dtype.itemsize)
        for k, plane in enumerate(planes):
            rows[:, k] = plane
        low = (scratch or Scratch()).take("spare", bits.nbytes).view(bits.dtype)
        np.bitwise_and(bits, 1, low)
        np.left_shift(low, dtype.bits - 1, low)
        np.right_shift(bits, 1, bits)
        np.bitwise_or(bits, low, bits)
