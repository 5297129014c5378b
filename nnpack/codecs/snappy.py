"""Snappy's raw format, without the framing that streams have."""

from __future__ import annotations

from typing import ClassVar

from nnpack.abc import Codec
from nnpack.errors import error


class Snappy(Codec):
    """One Snappy block, which states its length (SPEC 11.8.1)."""

    id: ClassVar[int] = 16
    name: ClassVar[str] = "snappy"
    library: ClassVar[str] = "cramjam"

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one block."""
        import cramjam

        return bytes(cramjam.snappy.compress_raw(data))

    def decode(self, data: memoryview, size: int) -> memoryview:
        """Return the block's content, which must be exactly `size` bytes."""
        out = memoryview(bytearray(size))
        self.decode_into(data, out)
        return out

    def decode_into(self, data: memoryview, out: memoryview) -> None:
        """Fill `out` with the block's content."""
        import cramjam

        try:
            size = cramjam.snappy.decompress_raw_into(data, out)
        except cramjam.DecompressionError as bad:
            raise error("bad-stream", f"bad Snappy block: {bad}") from bad
        if size != len(out):
            raise error("bad-stream", f"the Snappy block holds {size} bytes, not {len(out)}")
