"""The codecs, by id (SPEC 11). To teach nnpack another: `codecs=CODECS | {200: Mine()}`."""

from __future__ import annotations

from typing import Final

from nnpack.abc import AnyCodec
from nnpack.codecs.brotli import Brotli
from nnpack.codecs.deflate import Deflate
from nnpack.codecs.gzip import Gzip
from nnpack.codecs.huffman import Huffman
from nnpack.codecs.lz4 import Lz4
from nnpack.codecs.lzo1x import Lzo1x
from nnpack.codecs.lzw import Lzw
from nnpack.codecs.rans import Rans
from nnpack.codecs.raw import Raw
from nnpack.codecs.snappy import Snappy
from nnpack.codecs.zstd import Zstd

_OURS: Final = (Raw(), Zstd(), Lz4(), Deflate(), Huffman(), Rans())
_REGISTERED: Final = (Snappy(), Brotli(), Lzo1x(), Gzip(), Lzw())
CODECS: Final[dict[int, AnyCodec]] = {codec.id: codec for codec in (*_OURS, *_REGISTERED)}
"""All that have an id of their own; `is_installed` tells which of them can be used here."""
TABLED: Final = frozenset({Huffman.id, Rans.id})
"""Those of which a plane has a table."""
