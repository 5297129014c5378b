"""How one value is spelled (SPEC 2): little-endian fields, padding, and a bounded cursor."""

from __future__ import annotations

import struct
from typing import Final

from nnpack.errors import error
from nnpack.limits import MAX_U64

try:
    from isal.isal_zlib import crc32
except ImportError:  # a platform without a wheel: the same function, slower
    from zlib import crc32

__all__ = ["Cursor", "crc32", "pad8", "up8", "up_align"]

U16: Final = struct.Struct("<H")
U32: Final = struct.Struct("<I")
U64: Final = struct.Struct("<Q")


def up8(size: int) -> int:
    """Round up to a multiple of 8."""
    return (size + 7) & -8


def up_align(offset: int, log2: int) -> int:
    """Round up to a multiple of 2^log2."""
    return (offset + (1 << log2) - 1) & -(1 << log2)


def pad8(data: bytes) -> bytes:
    """Append zeros up to a multiple of 8."""
    return data + bytes(-len(data) & 7)


class Cursor:
    """Reads fields in order out of a bounded piece of bytes; running over the end is an error."""

    __slots__ = ("data", "end", "offset", "position")

    def __init__(
        self, data: bytes | memoryview, offset: int, start: int = 0, end: int | None = None
    ) -> None:
        """Read data[start:end]; data[0] stands at `offset` in the file, for messages."""
        self.data = data
        self.offset = offset
        self.position = start
        self.end = len(data) if end is None else end

    @property
    def here(self) -> int:
        """Offset in the file of the next byte."""
        return self.offset + self.position

    @property
    def left(self) -> int:
        """Bytes up to the end."""
        return self.end - self.position

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes."""
        if size > self.left:
            raise error(
                "bad-node",
                f"{what} runs over its end by {size - self.left} bytes",
                offset=self.here,
            )
        start = self.position
        self.position = start + size
        return bytes(self.data[start : self.position])

    def fields(self, layout: struct.Struct, what: str) -> tuple[int, ...]:
        """Return the next fields of a fixed layout."""
        return layout.unpack(self.take(layout.size, what))

    def u64s(self, count: int, what: str) -> tuple[int, ...]:
        """Return the next `count` u64, each below 2^62."""
        values = struct.unpack(f"<{count}Q", self.take(8 * count, what))
        if values and max(values) >= MAX_U64:
            raise error("bad-value", f"{what} is not below 2^62", offset=self.here - 8 * count)
        return values

    def zeros_to_8(self, what: str) -> None:
        """Skip padding to a multiple of 8 from the start of the data, which must be zero."""
        if any(self.take(-self.position & 7, what)):
            raise error("bad-layout", f"padding after {what} is not zero", offset=self.here)

    def finish(self, what: str) -> None:
        """Require that everything was read."""
        if self.left:
            raise error("bad-node", f"{self.left} bytes too many in {what}", offset=self.here)
