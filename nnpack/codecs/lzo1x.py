"""LZO1X, the variant of LZO that is in use."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error

END: Final = b"\x11\0\0"


class Lzo1x(Codec):
    """One LZO1X stream with its end marker, its size not stored (SPEC 11.8.3)."""

    id: ClassVar[int] = 18
    name: ClassVar[str] = "lzo1x"
    library: ClassVar[str] = "lzokay"

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one stream."""
        import lzokay

        coded: bytes = lzokay.compress(bytes(data))
        return coded

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the stream's content, which must be exactly `size` bytes."""
        import lzokay

        stream = bytes(data)
        try:
            content: bytes = lzokay.decompress(stream, size)
        except lzokay.LzokayError as bad:
            raise error("bad-stream", f"bad LZO stream: {bad}") from bad
        # The library takes bits in the end marker that mean nothing.
        if not stream.endswith(END):
            raise error("bad-stream", "an LZO stream with another end marker than 11 00 00")
        # It fills up with zeros, without an error, where a stream ends early.
        if content.endswith(b"\0"):
            with suppress(lzokay.OutputOverrunError):
                lzokay.decompress(stream, size - 1)
                raise error("bad-stream", f"the LZO stream holds less than {size} bytes")
        return content
