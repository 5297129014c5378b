"""Differences of neighbours: for integers that ascend, such as offsets and positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType, from_cells, to_cells
from nnpack.errors import error
from nnpack.scratch import Scratch


class Delta(Transform):
    """Wrapping difference to the cell before, 0 before a block's first, then bytes (SPEC 10.3)."""

    id: ClassVar[int] = 2
    name: ClassVar[str] = "delta"

    def accepts(self, dtype: DType) -> bool:
        """Integers."""
        return dtype.is_integer

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """As many planes as a cell has bytes."""
        return [cells] * dtype.itemsize

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the byte planes of the differences."""
        bits = to_cells(cells, dtype)
        steps = bits.copy()
        steps[1:] -= bits[:-1]
        if dtype.packed:
            steps &= (1 << dtype.bits) - 1
        rows = steps.view(np.uint8).reshape(-1, dtype.itemsize)
        return [np.ascontiguousarray(rows[:, k]) for k in range(dtype.itemsize)]

    def join(
        self,
        planes: Sequence[Array],
        dtype: DType,
        out: Array,
        parameter: int = 0,
        scratch: Scratch | None = None,
    ) -> None:
        """Write the running sums."""
        steps = np.empty(len(out), dtype.uint)
        rows = steps.view(np.uint8).reshape(-1, dtype.itemsize)
        for k, plane in enumerate(planes):
            rows[:, k] = plane
        if dtype.packed and steps.size and steps.max() >> dtype.bits:
            raise error("bad-value", f"a difference of {dtype.name} has bits beyond its width")
        bits = np.cumsum(steps, dtype=dtype.uint)
        if dtype.packed:
            bits &= (1 << dtype.bits) - 1
        from_cells(bits, dtype, out)
