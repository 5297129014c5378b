"""Streams: a leaf's cells as blocks of planes, coded or raw (SPEC 9). Here codecs meet cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from threading import Lock
from typing import Final, NamedTuple

import numpy as np

from nnpack.abc import PIECE, AnyCodec, Codec, Fill, TableCodec, Transform
from nnpack.dtypes import Array, DType
from nnpack.errors import NnpackError, error, located
from nnpack.limits import MAX_PLANE_BLOCK
from nnpack.scratch import Scratch, lent
from nnpack.source import Source
from nnpack.streamhead import RAW, StreamHead
from nnpack.wire import crc32, up8

ROWS: Final = 1 << 12
"""Rows of the block table that are Python objects at once."""
AHEAD: Final = 11 << 19
"""Bytes of planes that are decoded together where a codec has a table: its lanes are few.

A group, what is stored of it and what a block needs stay below 16 MiB."""
TOGETHER: Final = 3 << 20
"""Bytes of cells, or of planes, that are joined together where there are several blocks: threads
that call numpy for a little work each spend their time on waiting for each other.

So much is held of what is stored, of its planes, and of a join's own."""
SEVERAL: Final = 3
"""Blocks from which on that is faster: their planes are copied once more."""
NOTHING: Final[Mapping[int, Array]] = {}

Entries = Sequence[Sequence[int]]
"""Stored length and CRC-32 of each plane of a block."""


class Block(NamedTuple):
    """A block as it is stored.

    Attributes:
        stored: its bytes: the planes, and zeros between them; more may follow.
        entries: of its planes.
        start: offset in the file of its first byte.
    """

    stored: memoryview
    entries: Entries
    start: int


class Stream:
    """The cells of a stored leaf: the source of a `Dense` that stands in a file."""

    in_memory = False

    def __init__(
        self,
        head: StreamHead,
        dtype: DType,
        cells: int,
        start: int,
        transform: Transform,
        codecs: Sequence[AnyCodec],
        source: Source,
    ) -> None:
        """Check the head against the transform and the codecs.

        Args:
            head: the parameters.
            dtype: of the cells.
            cells: their number.
            start: offset in the file of the first stored byte.
            transform: the one that the head names.
            codecs: of each plane.
            source: the file's bytes.
        """
        self.head, self.dtype, self.cells, self.start = head, dtype, cells, start
        self.transform, self.codecs, self.source = transform, codecs, source
        self.block = 1 << head.log2
        self._known_lengths: dict[tuple[int, int, int], list[int]] = {}
        planes = len(head.codecs)
        if not transform.accepts(dtype):
            raise error("bad-dtype", f"the transform {transform.name} of {dtype.name}")
        parameter = head.transform_parameter
        if parameter > transform.max_parameter(dtype) or planes != len(self._lengths(0)):
            raise error(
                "bad-value",
                f"{planes} planes, parameter {parameter}: "
                f"not what {transform.name} makes of {dtype.name}",
            )
        if transform.forms > 1 and head.codecs[0] != RAW:
            raise error("bad-value", f"the first plane of {transform.name} is coded")
        tables = sum(isinstance(codec, TableCodec) for codec in codecs)
        if tables != len(head.shared) and cells:
            raise error("bad-node", f"{len(head.shared)} tables for {tables} codecs that share one")
        if dtype.itemsize << head.log2 > MAX_PLANE_BLOCK:
            raise error("bad-value", f"blocks of {self.block} {dtype.name} pass 8 MiB")
        self._check_table()

    @cached_property
    def _coders(self) -> list[Codec]:
        """Return the codec of each plane with its table, which is read and checked."""
        at, tables = self.start, iter(self.head.shared.tolist())
        coders: list[Codec] = []
        for codec in self.codecs:
            if not isinstance(codec, TableCodec):
                coders.append(codec)
                continue
            length, crc = next(tables)
            table = memoryview(bytes(self.source.read(at, length)))
            check_crc(table, crc, at)
            with located(at):
                coders.append(codec.with_table(table))
            at = up8(at + length)
        return coders

    def with_parameter(self, parameter: int) -> Stream | None:
        """Return the stream of another leaf that differs in it; None if that cannot be."""
        if parameter > self.transform.max_parameter(self.dtype):
            return None
        other, head = copy(self), copy(self.head)
        head.transform_parameter = parameter
        other.head = head
        return other

    def _lengths(self, cells: int, form: int = 0) -> list[int]:
        """Return the lengths of the planes of a block."""
        key = cells, self.head.transform_parameter, form
        found = self._known_lengths.get(key)
        if found is None:
            found = self.transform.plane_lengths(cells, self.dtype, *key[1:])
            self._known_lengths[key] = found
        return found

    def _check_table(self) -> None:
        """Check that nothing is stored in more bytes than it has, and raw planes in as many."""
        if not self.cells:
            return
        stored = self.head.table[:, 0].reshape(-1, len(self.codecs))
        whole, last = divmod(self.cells, self.block)
        for rows, cells in ((stored[:whole], self.block), (stored[whole:], last)):
            for start in range(0, len(rows), ROWS):
                for lengths in {*map(tuple, rows[start : start + ROWS].tolist())}:
                    if not self.fits(lengths, cells):
                        sizes = self._lengths(cells)
                        raise error(
                            "bad-value" if 0 in lengths and all(sizes) else "mismatch",
                            f"planes of {sizes} bytes stored in {[*lengths]}",
                        )

    def fits(self, lengths: Sequence[int], cells: int) -> bool:
        """Return whether the planes of a block of so many cells can be stored in these lengths."""
        for form in range(self.transform.forms):
            sizes = self._lengths(cells, form)
            for length, size, codec in zip(lengths, sizes, self.head.codecs, strict=True):
                if length != size and (codec == RAW or not 0 < length < size):
                    break
            else:
                return True
        return False

    @property
    def grain(self) -> int:
        """A block."""
        return self.block

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the cells as they are in memory."""
        return self.head.is_raw and not self.dtype.packed

    @cached_property
    def share(self) -> int:
        """Cells of the blocks that are joined together; of one block if that cannot be."""
        able = self.transform.rows or self.transform.cellwise(self.dtype)
        if self.is_plain or len(self.head.shared) or not able:
            return self.block
        sizes = [sum(self._lengths(self.block, form)) for form in range(self.transform.forms)]
        many = TOGETHER // max(*sizes, self.block * self.dtype.itemsize)
        return self.block * (many if many >= SEVERAL else 1)

    def shares(self, cells: int, threads: int) -> tuple[int, int]:
        """Return how many threads so many cells are worth, and the cells that one takes at once.

        Each has as many turns. A few blocks are read sooner by one thread. Blocks of a codec with
        a table are decoded together, which one thread does as soon, with half the memory.
        """
        threads = min(threads, cells // max(SEVERAL * self.block, PIECE))
        if threads < 2 or len(self.head.shared):
            return 1, PIECE
        turns = -(-cells // (threads * self.share))
        return threads, max(PIECE, -(-cells // (threads * turns)) + self.block - 1)

    @property
    def stored(self) -> int:
        """Stored bytes."""
        return self.head.stored

    def stored_between(self, start: int, stop: int) -> int:
        """Return the stored bytes of the blocks that hold cells [start, stop)."""
        planes = len(self.codecs)
        rows = self.head.table[start // self.block * planes : -(-stop // self.block) * planes, 0]
        return int(rows.sum(dtype=np.int64))

    def view(self) -> Array:
        """Return the cells of a raw stream of whole bytes, neither copied nor checked."""
        if not self.cells:
            return np.empty(0, self.dtype.numpy)
        data = self.source.view(self.start, self.cells * self.dtype.itemsize)
        return np.frombuffer(data, np.uint8).view(self.dtype.numpy)

    def window(self, start: int, stop: int) -> Fill:
        """Decode blocks when asked; the last one is kept for the next range."""
        kept: list[tuple[int, Array]] = []
        blocks = range(start >> self.head.log2, -(-stop >> self.head.log2))
        ahead = _Ahead(self, blocks) if len(self.head.shared) and len(blocks) > 1 else None

        def fill(a: int, b: int, out: Array) -> None:
            left = a
            while left < b:
                done = self._decode_together(left, b, out[left - a :])
                if done:
                    left += done
                    continue
                index = left >> self.head.log2
                low, high = index * self.block, min((index + 1) * self.block, self.cells)
                right = min(b, high)
                target = out[left - a : right - a]
                if (left, right) == (low, high):
                    self.decode(index, target, ahead.pop(index) if ahead else NOTHING)
                else:
                    have = next((cells for number, cells in kept if number == index), None)
                    if have is None:
                        have = np.empty(high - low, self.dtype.numpy)
                        self.decode(index, have, ahead.get(index) if ahead else NOTHING)
                        kept[:] = [(index, have)]
                    target.view(np.uint8)[:] = have[left - low : right - low].view(np.uint8)
                left = right

        return fill

    def _place(self, index: int) -> tuple[int, Entries]:
        """Return where the stored bytes of a block start, and length and CRC-32 of its planes."""
        return self._places(range(index, index + 1))

    def _places(self, indices: range) -> tuple[int, Entries]:
        """Return where neighbouring blocks start, and length and CRC-32 of all their planes."""
        planes = len(self.codecs)
        first = indices.start * planes
        before = len(self.head.shared) + first
        at = self.start + (int(self.head.starts[before]) if before else 0)
        return at, self.head.table[first : indices.stop * planes].tolist()

    def decode(self, index: int, out: Array, known: Mapping[int, Array] = NOTHING) -> None:
        """Read, check and decode one block into `out`, flat and in its memory type.

        Planes that are known are decoded already.
        """
        if self.is_plain:
            at, entries = self._place(index)
            self.read_raw(at, entries[0][1], out)
            return
        with lent() as scratch:
            (block,) = self._borrow(range(index, index + 1), scratch)
            self.decode_block(block, out, scratch, known)

    def _borrow(self, indices: range, scratch: Scratch) -> list[Block]:
        """Return neighbouring blocks as they are stored, perhaps in scratch memory."""
        start, entries = self._places(indices)
        planes, at = len(self.codecs), start
        blocks = []
        for first in range(0, len(entries), planes):
            block = entries[first : first + planes]
            blocks.append((at, block))
            at += sum([up8(length) for length, _ in block])
        if indices.stop * self.block >= self.cells:  # nothing stands behind the last plane
            at -= -entries[-1][0] & 7
        stored = self.source.borrow(start, at - start, scratch)
        return [Block(stored[place - start :], block, place) for place, block in blocks]

    def read_raw(self, at: int, crc: int, out: Array) -> None:
        """Read and check a block that stands at `at` as its cells are in memory."""
        target = out.view(np.uint8).data
        self.source.read_into(at, target)
        check_crc(target, crc, at)

    def decode_block(
        self, block: Block, out: Array, scratch: Scratch, known: Mapping[int, Array] = NOTHING
    ) -> None:
        """Check and decode a block into `out`; planes that are known are checked already."""
        planes = self._planes(block, len(out), scratch, known)
        self.transform.join(planes, self.dtype, out, self.head.transform_parameter, scratch)

    def decode_alike(self, blocks: Mapping[str, Block], out: Array) -> None:
        """Check and decode the only blocks of streams that differ in their block tables alone.

        Args:
            blocks: small ones, by the name of the section.
            out: [blocks, cells]; the transform is cellwise for their type.
        """
        with lent() as scratch:

            def planes() -> Iterator[list[Array]]:
                for name, block in blocks.items():
                    with located(block.start, name):
                        yield self._planes(block, self.cells, scratch)

            self._join_rows(planes(), out, scratch)

    def _decode_together(self, start: int, stop: int, out: Array) -> int:
        """Decode what whole blocks a range begins with, if there are several; count their cells."""
        first, last = start >> self.head.log2, stop >> self.head.log2
        done, many = 0, self.share >> self.head.log2
        if start % self.block:
            return 0
        for index in range(first, last, many):
            some = range(index, min(index + many, last))
            if len(some) < SEVERAL:
                break
            rows = out[done : done + len(some) * self.block].reshape(len(some), -1)
            try:
                with lent() as scratch:
                    blocks = self._borrow(some, scratch)
                    planes = (self._planes(block, self.block, scratch) for block in blocks)
                    self._join_rows(planes, rows, scratch)
            except NnpackError:
                for number, row in zip(some, rows, strict=True):
                    self.decode(number, row)  # tells which of them it is
            done += rows.size
        return done

    def _join_rows(self, found: Iterable[list[Array]], out: Array, scratch: Scratch) -> None:
        """Join the planes of each block to a row of `out`; of neighbours of one form together."""
        planes: list[Array] = []
        form: list[int] = []
        first = 0

        def join(stop: int) -> None:
            rows, cells = [plane[: stop - first] for plane in planes], out[first:stop]
            if self.transform.cellwise(self.dtype):
                rows, cells = [plane.reshape(-1) for plane in rows], cells.reshape(-1)
            self.transform.join(rows, self.dtype, cells, self.head.transform_parameter, scratch)

        for row, block in enumerate(found):
            lengths = [len(plane) for plane in block]
            if lengths != form:
                if row:
                    join(row)
                first, form = row, lengths
                planes = _rows(lengths, len(out) - row, scratch)
            for plane, one in zip(planes, block, strict=True):
                plane[row - first] = one
        join(len(out))

    def _planes(
        self, block: Block, cells: int, scratch: Scratch, known: Mapping[int, Array] = NOTHING
    ) -> list[Array]:
        """Return the planes of a block, checked."""
        data, entries, at = block
        coders, planes = self._coders, list[Array]()
        position = 0
        try:
            for number, (length, crc) in enumerate(entries):
                stored, end = data[position : position + length], up8(length)
                if number not in known:
                    check_crc(stored, crc, at + position)
                if end != length and any(data[position + length : position + end]):
                    raise error("bad-layout", "bytes between planes are not zero")
                if not number:
                    sizes = self._sizes(stored, cells)
                plane = known.get(number)
                if plane is None:
                    plane = _plane(coders[number], stored, sizes[number], number, scratch)
                planes.append(plane)
                position += end
        except NnpackError as bad:
            raise bad.at(offset=at + position) from None
        return planes

    def _sizes(self, first: memoryview, cells: int) -> list[int]:
        """Return the lengths of the planes of a block whose first one is stored so."""
        form = first[0] if self.transform.forms > 1 else 0
        if form >= self.transform.forms:
            raise error("bad-value", f"form {form} of {self.transform.name}")
        return self._lengths(cells, form)

    def decode_planes(self, number: int, indices: Iterable[int]) -> dict[int, Array]:
        """Return one plane of those blocks in which it is coded, uint8 each, decoded together."""
        together: dict[int, list[tuple[int, int, memoryview]]] = {}
        for index in indices:
            at, entries = self._place(index)
            cells = min(self.block, self.cells - index * self.block)
            first = memoryview(b"")
            if self.transform.forms > 1:
                first = self.source.read(at, entries[0][0])
                check_crc(first, entries[0][1], at)
            with located(at):
                size = self._sizes(first, cells)[number]
            at += sum(up8(length) for length, _ in entries[:number])
            length, crc = entries[number]
            if length < size:
                stored = memoryview(bytes(self.source.read(at, length)))
                check_crc(stored, crc, at)
                together.setdefault(size, []).append((index, at, stored))
        codec = self._coders[number]
        found: dict[int, Array] = {}
        for size, blocks in together.items():
            out = np.empty((len(blocks), size), np.uint8)
            try:
                codec.decode_many([stored for _, _, stored in blocks], out)
            except NnpackError:
                for plane, (_, at, stored) in zip(out, blocks, strict=True):
                    with located(at):  # tells which of them it is
                        codec.decode_into(stored, plane.data)
            found |= {index: plane for (index, _, _), plane in zip(blocks, out, strict=True)}
        return found


class _Ahead:
    """The planes of several blocks that are decoded together, by codecs with tables."""

    KEPT: Final = 2
    """Groups of blocks at most: threads are in one or the next, a slice goes to and fro."""

    def __init__(self, stream: Stream, blocks: range) -> None:
        """Decode for these blocks, when the first of a group is asked for."""
        self._stream, self._blocks = stream, blocks
        numbers = [k for k, codec in enumerate(stream.codecs) if isinstance(codec, TableCodec)]
        self._numbers = numbers
        self._many = max(1, AHEAD // len(numbers) >> stream.head.log2)
        self._groups: dict[int, dict[int, dict[int, Array]]] = {}
        self._lock = Lock()

    def get(self, index: int) -> Mapping[int, Array]:
        """Return the planes of a block by their number, of which more may be asked for."""
        with self._lock:
            return self._group(index).get(index, NOTHING)

    def pop(self, index: int) -> Mapping[int, Array]:
        """Return the planes of a block as `get` does, the last time; with it goes its group."""
        with self._lock:
            group = self._group(index)
            planes = group.pop(index, NOTHING)
            if not group:
                del self._groups[self._key(index)]
            return planes

    def _key(self, index: int) -> int:
        return (index - self._blocks.start) // self._many

    def _group(self, index: int) -> dict[int, dict[int, Array]]:
        """Return what is left of a block's group."""
        key = self._key(index)
        if key not in self._groups:
            while len(self._groups) >= _Ahead.KEPT:
                del self._groups[next(iter(self._groups))]
            start = self._blocks.start + key * self._many
            blocks = range(start, min(start + self._many, self._blocks.stop))
            group: dict[int, dict[int, Array]] = {index: {} for index in blocks}
            for number in self._numbers:
                for block, plane in self._stream.decode_planes(number, blocks).items():
                    group[block][number] = plane
            self._groups[key] = group
        return self._groups[key]


def _rows(lengths: Sequence[int], rows: int, scratch: Scratch) -> list[Array]:
    """Return memory for so many rows of each plane."""
    held, at, planes = scratch.take("planes", rows * sum(lengths)), 0, []
    for length in lengths:
        planes.append(held[at : at + rows * length].reshape(rows, length))
        at += rows * length
    return planes


def _plane(codec: Codec, stored: memoryview, size: int, number: int, scratch: Scratch) -> Array:
    """Return a plane, as it is stored or in scratch memory."""
    if len(stored) == size:
        return np.frombuffer(stored, np.uint8) if size else np.empty(0, np.uint8)
    if len(stored) > size or codec.id == RAW:
        raise error("mismatch", f"a plane of {size} bytes stored in {len(stored)}")
    plane = scratch.take(f"plane {number}", size)
    codec.decode_into(stored, plane.data)
    return plane


def check_crc(
    data: memoryview | bytearray, stored: int, offset: int, section: str | None = None
) -> None:
    """Compare the CRC-32 of stored bytes with the block table's."""
    found = crc32(data)
    if found != stored:
        raise error(
            "bad-checksum",
            f"CRC-32 {found:08x}, the block table says {stored:08x}",
            offset=offset,
            section=section,
        )
