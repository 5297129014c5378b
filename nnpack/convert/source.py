"""What is read: pipes and files of foreign formats, and leaves whose cells stay in them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final

import numpy as np

from nnpack import sequential
from nnpack.abc import Fill
from nnpack.dtypes import BYTE, Array, DType, from_cells, packed_size, unpack
from nnpack.errors import error
from nnpack.payload import SPOOL
from nnpack.source import ObjectSource, Source, open_source

PIECE: Final = 1 << 20
"""Bytes moved at once."""


class Pipe:
    """A file that is read in order, its first bytes put back."""

    def __init__(self, file: sequential.Pipe, head: bytes) -> None:
        """Continue a file of which `head` has been read."""
        self._file, self._head = file, head
        self.offset = 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._file.read(size)
        self.offset += len(data)
        return data

    def pieces(self, size: int | None) -> Iterator[bytes]:
        """Yield the next `size` bytes piece by piece, or all that come."""
        left = size
        while left is None or left:
            data = self.read(PIECE if left is None else min(left, PIECE))
            if not data and left is None:
                return
            if not data:
                raise error("truncated", f"the stream ends {left} bytes early", offset=self.offset)
            left = None if left is None else left - len(data)
            yield data

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Read past so many bytes."""
        for _ in self.pieces(size):
            pass


Origin = str | os.PathLike[str] | IO[bytes] | Pipe
"""What is converted: the path of a regular file, a seekable file object, or a pipe."""


@contextmanager
def spooled(data: Iterable[bytes], folder: str | None) -> Iterator[Source]:
    """Hold bytes in memory, or if they are many in a temporary file."""
    with tempfile.SpooledTemporaryFile(SPOOL, dir=folder) as file:
        for piece in data:
            file.write(piece)
        yield ObjectSource(file)


@contextmanager
def random_access(origin: Origin, folder: str | None) -> Iterator[Source]:
    """Read an origin by offsets; a pipe is spooled whole."""
    if isinstance(origin, Pipe):
        with spooled(origin.pieces(None), folder) as held:
            yield held
        return
    source = open_source(origin, mapped=False)
    try:
        yield source
    finally:
        source.close()


def slices(source: Source, offset: int, size: int) -> Iterator[memoryview]:
    """Yield bytes of a source piece by piece."""
    for start in range(offset, offset + size, PIECE):
        yield source.read(start, min(PIECE, offset + size - start))


def are_bools(source: Source, offset: int, size: int) -> bool:
    """Return whether all bytes are 0 or 1."""
    return all(np.frombuffer(piece, np.uint8).max() <= 1 for piece in slices(source, offset, size))


class Stored:
    """The cells of a leaf as a foreign file has them: in C order, whole bytes each."""

    in_memory = False
    grain = 1

    def __init__(self, source: Source, offset: int, *, swapped: bool = False) -> None:
        """Read cells that start at an offset; swapped if they are big-endian."""
        self._source, self._offset, self._swapped = source, offset, swapped

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Read bytes straight into the array: no conversion touches them."""
        return self._fill

    def _fill(self, start: int, stop: int, out: Array) -> None:  # noqa: ARG002
        size = out.itemsize
        self._source.read_into(self._offset + start * size, out.view(np.uint8).data)
        if self._swapped:
            component = size // 2 if out.dtype.kind == "c" else size
            out.view(f"<u{component}").byteswap(inplace=True)


class Packed:
    """Cells narrower than a byte, packed as SPEC 6.2 has them: the first in the lowest bits."""

    in_memory = False
    grain = BYTE

    def __init__(self, source: Source, offset: int, cells: int, dtype: DType) -> None:
        """Read `cells` cells, which fill whole bytes together."""
        self._source, self._offset = source, offset
        self._cells, self._dtype = cells, dtype

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Read and unpack."""
        return self._fill

    def _fill(self, start: int, stop: int, out: Array) -> None:
        bits = self._dtype.bits
        first = start // BYTE * BYTE
        last = min(-(-stop // BYTE) * BYTE, self._cells)
        size = packed_size(last - first, bits)
        data = np.frombuffer(self._source.read(self._offset + first * bits // BYTE, size), np.uint8)
        cells = unpack(data, last - first, bits)
        from_cells(cells[start - first : stop - first], self._dtype, out)
