"""No coding: the stored bytes are the plane."""

from __future__ import annotations

from typing import ClassVar

from nnpack.abc import Codec
from nnpack.errors import error


class Raw(Codec):
    """The plane itself (SPEC 11.1)."""

    id: ClassVar[int] = 0
    name: ClassVar[str] = "raw"

    def encode(self, data: memoryview) -> bytes:
        """Return the bytes."""
        return bytes(data)

    def decode(self, data: memoryview, size: int) -> memoryview:
        """Return the bytes, which must be `size`."""
        if len(data) != size:
            raise error("mismatch", f"a raw plane of {size} bytes is stored in {len(data)}")
        return data
