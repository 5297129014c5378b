"""Zstandard (RFC 8878), one frame a plane-block."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error
from nnpack.limits import MAX_WINDOW

if TYPE_CHECKING:
    import zstandard

FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_DESCRIPTOR_AT, _DICTIONARY, _CHECKSUM = 4, 0x03, 0x04
"""The byte of a frame head that says which fields follow (RFC 8878, 3.1.1.1.1)."""
WEIGHTS: Final = -1
"""The level that asks for Huffman coding without a search for matches: weights have none."""


class Zstd(Codec):
    """One zstd frame that declares its content size (SPEC 11.2).

    Args:
        level: 1-22 as in zstd, or `WEIGHTS`.
    """

    id: ClassVar[int] = 1
    name: ClassVar[str] = "zstd"

    def __init__(self, level: int = 3) -> None:
        """Hold what encoding needs; decoding needs nothing."""
        self.level = level

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one frame without checksum or dictionary."""
        import zstandard

        return zstandard.ZstdCompressor(
            compression_params=_weights()
            if self.level == WEIGHTS
            else zstandard.ZstdCompressionParameters.from_level(
                self.level, source_size=len(data), write_content_size=True
            )
        ).compress(data)

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the frame's content, which must be exactly `size` bytes."""
        import zstandard

        if bytes(data[:4]) != FRAME_MAGIC:
            raise error("bad-stream", "no zstd frame")
        try:
            frame = zstandard.get_frame_parameters(data)
            # `max_output_size` does not bound a frame that declares its size, so compare first.
            if frame.content_size != size:
                raise error("bad-stream", f"the zstd frame does not declare {size} bytes")
            fields = data[_DESCRIPTOR_AT] & (_DICTIONARY | _CHECKSUM)
            if fields or frame.window_size > MAX_WINDOW:
                raise error("bad-stream", "a zstd frame with dictionary, checksum or large window")
            content = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as bad:
            raise error("bad-stream", f"bad zstd frame: {bad}") from bad
        if len(content) != size:
            raise error("bad-stream", f"the zstd frame holds {len(content)} bytes, not {size}")
        return content


def _weights() -> zstandard.ZstdCompressionParameters:
    """Return the parameters that make zstd a Huffman coder.

    A target length above 0 (every negative level) would turn Huffman coding off; a smaller
    window would make smaller zstd blocks, whose tables cost more.
    """
    import zstandard

    return zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        window_log=17,
        hash_log=6,
        chain_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
        write_checksum=0,
        write_content_size=1,
    )
