"""The parameters of a leaf: how its cells are cut, transformed and coded (SPEC 9.1)."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Final

import numpy as np

from nnpack.codecs import CODECS, TABLED
from nnpack.dtypes import Array
from nnpack.errors import error
from nnpack.limits import MAX_BLOCK_LOG2, MAX_PLANE_BLOCK, MAX_PLANES, MIN_BLOCK_LOG2
from nnpack.wire import pad8, up8

_HEAD: Final = struct.Struct("<BBBB")
ENTRY: Final = 8
"""Bytes of a block table entry: stored length, CRC-32."""
FEW: Final = 64
"""Rows of a block table that are added up faster one by one."""
CELLS, RAW = 0, 0
"""Ids of the transform and the codec that leave a leaf mappable."""


class StreamHead:
    """A leaf's parameters, decoded."""

    def __init__(
        self,
        transform: int,
        log2: int,
        transform_parameter: int,
        codecs: tuple[int, ...],
        shared: Array,
        table: Array,
    ) -> None:
        """Hold what the parameters say.

        Args:
            transform: its id.
            log2: of the cells in a block.
            transform_parameter: of the transform.
            codecs: id of the codec of each plane.
            shared: entries (stored length, CRC-32) of tables shared by all blocks, [tables, 2].
            table: entries of the plane-blocks, [blocks * planes, 2].
        """
        self.transform, self.log2 = transform, log2
        self.transform_parameter, self.codecs = transform_parameter, codecs
        self.shared, self.table = shared, table

    @property
    def is_raw(self) -> bool:
        """Whether the stored bytes are the packed cells in one piece."""
        return self.transform == CELLS and self.codecs == (RAW,)

    @property
    def stored(self) -> int:
        """Stored bytes, gaps not counted."""
        return int(self.table[:, 0].sum(dtype=np.int64) + self.shared[:, 0].sum(dtype=np.int64))

    @cached_property
    def starts(self) -> Array:
        """Where each stored piece starts, counted from the first; shared tables come first."""
        lengths = self.table[:, 0]
        if len(self.shared):
            lengths = np.concatenate([self.shared[:, 0], lengths])
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum((lengths.astype(np.int64) + 7) & -8, out=starts[1:])
        return starts

    def span(self) -> int:
        """Bytes from the leaf's first to its last stored one, gaps counted."""
        entries = self.table if len(self.table) else self.shared
        if not len(entries):
            return 0
        last = int(entries[-1, 0])
        if len(self.table) <= FEW and not len(self.shared):
            return sum(map(up8, self.table[:-1, 0].tolist())) + last
        return int(self.starts[-2]) + last

    def pack(self) -> bytes:
        """Return the parameters of the dense node."""
        fixed = _HEAD.pack(self.transform, self.log2, len(self.codecs), self.transform_parameter)
        fixed += bytes(self.codecs)
        entries = [table.astype("<u4", copy=False).tobytes() for table in (self.shared, self.table)]
        return b"".join([pad8(fixed), *entries])

    @classmethod
    def parse(cls, data: bytes, cells: int, offset: int) -> StreamHead:
        """Decode a dense node's parameters, which stand at `offset` in the file."""
        if len(data) < _HEAD.size:
            raise error("bad-node", "a stream without its head", offset=offset)
        transform, log2, planes, parameter = _HEAD.unpack_from(data)
        fixed = up8(_HEAD.size + planes)
        if not MIN_BLOCK_LOG2 <= log2 <= MAX_BLOCK_LOG2 or not 1 <= planes <= MAX_PLANES:
            raise error("bad-value", f"blocks of 2^{log2} cells in {planes} planes", offset=offset)
        codecs = tuple(data[_HEAD.size : _HEAD.size + planes])
        blocks = (cells + (1 << log2) - 1) >> log2
        entries = (len(data) - fixed) // ENTRY
        shared = entries - blocks * planes
        tables, unknown = (sum(c in TABLED for c in codecs), sum(c not in CODECS for c in codecs))
        if not (tables <= shared <= tables + unknown if cells else shared == 0):
            raise error(
                "bad-node",
                f"a block table of {len(data) - fixed} bytes for {blocks} "
                f"blocks of {planes} planes",
                offset=offset,
            )
        if any(data[_HEAD.size + planes : fixed]):
            raise error("bad-layout", "padding behind the codecs", offset=offset)
        table = np.frombuffer(data, "<u4", 2 * entries, fixed).reshape(-1, 2)
        if len(table) and (int(table[:, 0].max()) > MAX_PLANE_BLOCK or not table[:shared, 0].all()):
            raise error("bad-value", "a stored length above 8 MiB, or no table", offset=offset)
        return cls(transform, log2, parameter, codecs, table[:shared], table[shared:])
