"""LZ4's block format."""

from __future__ import annotations

from typing import ClassVar

from nnpack.abc import Codec
from nnpack.errors import error


class Lz4(Codec):
    """One LZ4 block, its size not stored (SPEC 11.3)."""

    id: ClassVar[int] = 2
    name: ClassVar[str] = "lz4"

    def encode(self, data: memoryview) -> bytes:
        """Return `data` as one block."""
        import lz4.block

        block: bytes = lz4.block.compress(data, store_size=False)
        return block

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the block's content; the library stops without an error where it ends early."""
        import lz4.block

        try:
            content: bytes = lz4.block.decompress(data, uncompressed_size=size)
        except lz4.block.LZ4BlockError as bad:
            raise error("bad-stream", f"bad LZ4 block: {bad}") from bad
        return content
