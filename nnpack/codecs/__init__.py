"""The codecs, by id (SPEC 11). To teach nnpack another: `codecs=CODECS | {200: Mine()}`."""

from __future__ import annotations

from typing import Final

from nnpack.abc import AnyCodec
from nnpack.codecs.deflate import Deflate
from nnpack.codecs.huffman import Huffman
from nnpack.codecs.lz4 import Lz4
from nnpack.codecs.rans import Rans
from nnpack.codecs.raw import Raw
from nnpack.codecs.zstd import Zstd

CODECS: Final[dict[int, AnyCodec]] = {
    codec.id: codec for codec in (Raw(), Zstd(), Lz4(), Deflate(), Huffman(), Rans())
}
TABLED: Final = frozenset({Huffman.id, Rans.id})
"""Those of which a plane has a table."""
