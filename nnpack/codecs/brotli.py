"""Brotli (RFC 7932)."""

from __future__ import annotations

from typing import ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error

_WINDOW, _LARGE = 0x7F, 0x11
"""The bits of the first byte that tell of a window larger than the RFC has."""
LEVEL: Final = 5
"""Level 9 makes the exponents of weights 2 % smaller, at a tenth of the speed."""


class Brotli(Codec):
    """One Brotli stream, which the input is exactly (SPEC 11.8.2).

    Args:
        level: 0-11 as in Brotli.
    """

    id: ClassVar[int] = 17
    name: ClassVar[str] = "brotli"
    library: ClassVar[str] = "cramjam"

    def __init__(self, level: int = LEVEL) -> None:
        """Hold what encoding needs; decoding needs nothing."""
        self.level = level

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one stream."""
        import cramjam

        return bytes(cramjam.brotli.compress(data, self.level))

    def decode(self, data: memoryview, size: int) -> memoryview:
        """Return the stream's content, which must be exactly `size` bytes."""
        out = memoryview(bytearray(size))
        self.decode_into(data, out)
        return out

    def decode_into(self, data: memoryview, out: memoryview) -> None:
        """Fill `out` with the stream's content."""
        if data and data[0] & _WINDOW == _LARGE:
            raise error("bad-stream", "no Brotli stream, or one with a large window")
        # The library drops what follows a stream: it ends here if it does not end earlier.
        if _length(data, out) != len(out) or _length(data[:-1], out) is not None:
            raise error("bad-stream", f"the Brotli stream is not exactly {len(out)} bytes")


def _length(data: memoryview, out: memoryview) -> int | None:
    """Decode into `out`; return how many bytes, None if that is no stream or has no room."""
    import cramjam

    try:
        return cramjam.brotli.decompress_into(data, out)
    except cramjam.DecompressionError:
        return None
