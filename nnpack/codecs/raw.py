"""No coding: the stored bytes are the plane."""

from __future__ import annotations

from typing import ClassVar

from nnpack.abc import Codec


class Raw(Codec):
    """The plane itself (SPEC 11.1)."""

    id: ClassVar[int] = 0
    name: ClassVar[str] = "raw"

    def encode(self, data: memoryview) -> bytes:
        """Return the bytes."""
        return bytes(data)

    def decode(self, data: memoryview, size: int) -> memoryview:  # noqa: ARG002
        """Return the bytes."""
        return data
