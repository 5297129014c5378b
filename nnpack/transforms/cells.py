"""Cells as they are, narrow ones packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType, from_cells, pack, packed_size, to_cells, unpack
from nnpack.scratch import Scratch


class Cells(Transform):
    """One plane: the packed cells (SPEC 10.1)."""

    id: ClassVar[int] = 0
    name: ClassVar[str] = "cells"

    def accepts(self, dtype: DType) -> bool:
        """Every type."""
        return True

    def cellwise(self, dtype: DType) -> bool:
        """Cells of whole bytes."""
        return not dtype.packed

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """One plane."""
        return [packed_size(cells, dtype.bits)]

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the packed cells; whole bytes are not copied."""
        if dtype.packed:
            return [pack(to_cells(cells, dtype), dtype.bits)]
        return [cells.view(np.uint8)]

    def join(
        self,
        planes: Sequence[Array],
        dtype: DType,
        out: Array,
        parameter: int = 0,
        scratch: Scratch | None = None,
    ) -> None:
        """Write the cells."""
        if dtype.packed:
            from_cells(unpack(planes[0], len(out), dtype.bits), dtype, out)
        else:
            out.view(np.uint8)[:] = planes[0]
