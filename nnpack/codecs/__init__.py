"""The codecs, by id (SPEC 11). To teach nnpack another: `codecs=CODECS | {200: Mine()}`."""

from __future__ import annotations

from typing import Final

from nnpack.abc import Codec
from nnpack.codecs.deflate import Deflate
from nnpack.codecs.lz4 import Lz4
from nnpack.codecs.raw import Raw
from nnpack.codecs.zstd import Zstd

CODECS: Final[dict[int, Codec]] = {codec.id: codec for codec in (Raw(), Zstd(), Lz4(), Deflate())}
