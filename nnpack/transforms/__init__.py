"""The transforms, by id (SPEC 10)."""

from __future__ import annotations

from typing import Final

from nnpack.abc import Transform
from nnpack.transforms.bytes import Bytes
from nnpack.transforms.cells import Cells
from nnpack.transforms.delta import Delta
from nnpack.transforms.float import Float
from nnpack.transforms.float5 import Float5
from nnpack.transforms.pair import Pair

TRANSFORMS: Final[dict[int, Transform]] = {
    transform.id: transform for transform in (Cells(), Bytes(), Delta(), Pair(), Float(), Float5())
}
