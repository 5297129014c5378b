"""One plane for each byte of a cell: the bytes that compress stand apart from the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType, from_cells, to_cells
from nnpack.errors import error
from nnpack.scratch import Scratch


def component_size(dtype: DType) -> int:
    """Return the bytes of a cell, or of one component of a complex one."""
    return dtype.itemsize // 2 if dtype.family == "complex" else dtype.itemsize


class Bytes(Transform):
    """Plane k holds byte k of every cell, the lowest first (SPEC 10.2)."""

    id: ClassVar[int] = 1
    name: ClassVar[str] = "bytes"

    def accepts(self, dtype: DType) -> bool:
        """Every type."""
        return True

    def cellwise(self, dtype: DType) -> bool:
        """Cells of whole bytes."""
        return not dtype.packed

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """As many planes as a component has bytes."""
        size = component_size(dtype)
        return [cells * dtype.itemsize // size] * size

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the planes; a narrow cell is zero-extended."""
        if dtype.packed:
            return [to_cells(cells, dtype)]
        rows = cells.view(np.uint8).reshape(-1, component_size(dtype))
        return [np.ascontiguousarray(rows[:, k]) for k in range(rows.shape[1])]

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
            if planes[0].size and planes[0].max() >> dtype.bits:
                raise error("bad-value", f"a cell of {dtype.name} has bits beyond its width")
            from_cells(planes[0], dtype, out)
            return
        rows = out.view(np.uint8).reshape(-1, component_size(dtype))
        for k, plane in enumerate(planes):
            rows[:, k] = plane
