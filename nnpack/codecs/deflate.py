"""Raw deflate (RFC 1951), without zlib's or gzip's wrapping."""

from __future__ import annotations

from typing import ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error

try:
    from isal import isal_zlib as inflate
    from isal.igzip_lib import IsalError as InflateError
except ImportError:  # a platform without a wheel
    import zlib as inflate  # type: ignore[no-redef]
    from zlib import error as InflateError  # type: ignore[assignment] # noqa: N812

RAW: Final = -15
"""zlib's spelling of a raw stream with the full window."""


class Deflate(Codec):
    """One deflate stream, which the input is exactly (SPEC 11.4)."""

    id: ClassVar[int] = 3
    name: ClassVar[str] = "deflate"

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one stream."""
        deflater = inflate.compressobj(wbits=RAW)
        return bytes(deflater.compress(data) + deflater.flush())

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the stream's content, or a byte more than `size` of it."""
        inflater = inflate.decompressobj(wbits=RAW)
        try:
            # One byte more than asked shows a stream that goes on.
            content = inflater.decompress(data, size + 1)
        except InflateError as bad:  # type: ignore[misc] # isal's stub makes it an instance
            raise error("bad-stream", f"bad deflate stream: {bad}") from bad
        if not inflater.eof or inflater.unused_data:
            raise error("bad-stream", f"the deflate stream does not end with {size} bytes")
        return bytes(content)
