"""Constant: one cell that every element is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from nnpack.abc import Fill, Node
from nnpack.dtypes import Array, DType, as_shape, check_shape, named, of_numpy
from nnpack.nodes.cell import cell_bytes, one_cell, read_cell
from nnpack.wire import Cursor


class Constant(Node):
    """One cell repeated (SPEC 8.3).

    Args:
        value: the element; an array of one, to be sure of its bits.
        shape: of the tensor.
        dtype: name of the element type; of `value` if None.
    """

    __slots__ = ("value",)

    id: ClassVar[int] = 2
    name: ClassVar[str] = "constant"

    value: Array
    """The element as an array of shape (1,)."""

    def __init__(self, cell: Any, shape: Sequence[int], dtype: str | None = None) -> None:
        """Hold the cell."""
        element = of_numpy(np.asarray(cell).dtype) if dtype is None else named(dtype)
        shape = as_shape(shape)
        check_shape(shape, element)
        self._set(shape=shape, dtype=element.name, value=one_cell(cell, element))

    def parameters(self) -> bytes:
        """The cell, packed."""
        return cell_bytes(self.value, self.cell)

    @classmethod
    def from_parts(
        cls,
        shape: tuple[int, ...],
        dtype: DType,
        parameters: Cursor,
        parts: dict[int, Node],  # noqa: ARG003
    ) -> Self:
        """Read the cell."""
        node = object.__new__(cls)
        node._set(shape=shape, dtype=dtype.name, value=read_cell(parameters, dtype))
        return node

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Repeat the cell's bytes."""
        bits = self.value.view(np.uint8)

        def fill(a: int, b: int, out: Array) -> None:  # noqa: ARG001
            out.view(np.uint8).reshape(-1, len(bits))[:] = bits

        return fill
