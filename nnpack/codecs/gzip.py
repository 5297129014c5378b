"""gzip (RFC 1952): deflate with a checksum and a length."""

from __future__ import annotations

import struct
import zlib
from typing import ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error
from nnpack.wire import crc32

RAW, WRAPPED = -15, 31
"""zlib's spellings of a raw and of a gzip stream with the full window."""
_HEAD: Final = b"\x1f\x8b\x08\0" + bytes(5) + b"\xff"
"""Deflate, no flags, no time, no statement of effort, no system."""
_PLAIN: Final = 4
"""Bytes of it that a reader compares."""
_TAIL: Final = struct.Struct("<II")


class Gzip(Codec):
    """One gzip member, which the input is exactly (SPEC 11.8.4)."""

    id: ClassVar[int] = 19
    name: ClassVar[str] = "gzip"

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one member; the library's own head differs between systems."""
        deflater = zlib.compressobj(wbits=RAW)
        body = deflater.compress(data) + deflater.flush()
        return _HEAD + body + _TAIL.pack(crc32(data), len(data))

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the member's content, or a byte more than `size` of it."""
        if data[:_PLAIN] != _HEAD[:_PLAIN]:
            raise error("bad-stream", "no gzip member, or one with flags")
        inflater = zlib.decompressobj(wbits=WRAPPED)
        try:
            # One byte more than asked shows a member that goes on.
            content = inflater.decompress(data, size + 1)
        except zlib.error as bad:
            raise error("bad-stream", f"bad gzip member: {bad}") from bad
        if not inflater.eof or inflater.unused_data:
            raise error("bad-stream", f"the gzip member does not end with {size} bytes")
        return content
