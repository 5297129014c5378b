"""Zstandard (RFC 8878), one frame a plane-block."""

from __future__ import annotations

from threading import local
from typing import TYPE_CHECKING, ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error
from nnpack.limits import MAX_WINDOW

if TYPE_CHECKING:
    import zstandard

FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_DESCRIPTOR_AT, _DICTIONARY, _CHECKSUM = 4, 0x03, 0x04
"""The byte of a frame head that says which fields follow (RFC 8878, 3.1.1.1.1)."""
_BLOCK_HEAD: Final = 3
_REPEATED: Final = 1
"""The type of a block that is one byte repeated (RFC 8878, 3.1.1.2)."""
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
        return _CONTEXTS.compressor(self.level).compress(data)

    def decode(self, data: memoryview, size: int) -> memoryview:
        """Return the frame's content, which must be exactly `size` bytes."""
        out = memoryview(bytearray(size))
        self.decode_into(data, out)
        return out

    def decode_into(self, data: memoryview, out: memoryview) -> None:
        """Fill `out` with the frame's content."""
        import zstandard

        if bytes(data[:4]) != FRAME_MAGIC:
            raise error("bad-stream", "no zstd frame")
        try:
            frame = zstandard.get_frame_parameters(data)
            if frame.content_size != len(out):
                raise error("bad-stream", f"the zstd frame does not declare {len(out)} bytes")
            fields = data[_DESCRIPTOR_AT] & (_DICTIONARY | _CHECKSUM)
            if fields or frame.window_size > MAX_WINDOW:
                raise error("bad-stream", "a zstd frame with dictionary, checksum or large window")
            if _frame_size(data) != len(data):
                raise error("bad-stream", "the zstd frame does not end where its bytes do")
            # A whole frame and room for just what it declares: the library decodes in one pass,
            # and fails if the blocks hold less or more.
            with _CONTEXTS.decompressor().stream_reader(data) as reader:
                reader.readinto(out)
        except zstandard.ZstdError as bad:
            raise error("bad-stream", f"bad zstd frame: {bad}") from bad


def _frame_size(data: memoryview) -> int:
    """Return where a frame ends, along the heads of its blocks: the library does not tell."""
    import zstandard

    at, last = zstandard.frame_header_size(data), False
    while not last and at + _BLOCK_HEAD <= len(data):
        head = int.from_bytes(data[at : at + _BLOCK_HEAD], "little")
        last = bool(head & 1)
        at += _BLOCK_HEAD + (1 if head >> 1 & 3 == _REPEATED else head >> 3)
    return at if last else -1


class _Contexts(local):
    """The library's contexts, one of each a thread: making them costs more than a small frame."""

    def __init__(self) -> None:
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self._decompressor: zstandard.ZstdDecompressor | None = None

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self._compressors:
            import zstandard

            self._compressors[level] = (
                zstandard.ZstdCompressor(compression_params=_weights())
                if level == WEIGHTS
                else zstandard.ZstdCompressor(level)
            )
        return self._compressors[level]

    def decompressor(self) -> zstandard.ZstdDecompressor:
        if self._decompressor is None:
            import zstandard

            self._decompressor = zstandard.ZstdDecompressor()
        return self._decompressor


_CONTEXTS: Final = _Contexts()


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
