"""Walking a file along its inline heads, where its directory cannot be trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from nnpack import container
from nnpack.container import Section, Trailer
from nnpack.directory import Directory
from nnpack.errors import NnpackError, error
from nnpack.limits import MAX_HEAD, Limits
from nnpack.sections import directory_leaf, read_directory
from nnpack.source import CHUNK, BufferSource, Source
from nnpack.wire import U64, up8

SCAN_BUDGET: Final = 4
"""Bytes tried while looking for heads, per byte of the file: a hostile file is full of them."""
TRIAL: Final = 4096
"""Bytes that looking at one possible head counts, besides its own."""
_EXTENT: Final = struct.Struct("<BxQ4xI")
_EXTENT_AT: Final = 14
"""Alignment, payload length and checksum among the fixed fields of a head."""


def find_directory(source: Source, limits: Limits) -> Directory | None:
    """Return the directory, if its own bytes are whole; header and trailer need not be.

    It stands where the trailer says, or else where the chain of heads or the file ends.
    """
    for at in _directory_offsets(source, limits):
        try:
            section = read_head(source, at)
            if section.type == container.DIRECTORY:
                limits.check("directory_bytes", section.payload_length, "the directory")
                held = BufferSource(source.read(at, section.end - at), at)
                return read_directory(section, directory_leaf(section, held, limits), limits)
        except NnpackError:
            continue
    return None


def _directory_offsets(source: Source, limits: Limits) -> Iterator[int]:
    """Yield where the directory may be."""
    end = source.size - container.TRAILER_SIZE
    if end < container.HEADER_SIZE:
        return
    with suppress(NnpackError):
        yield Trailer.parse(bytes(source.read(end, container.TRAILER_SIZE)), source.size)[0]
    if not starts_chain(source) and bytes(source.read(0, 8)) != container.MAGIC:
        return
    broken = False
    for found in walk(source, limits):
        if isinstance(found, NnpackError):
            broken = True
        elif found.type == container.DIRECTORY and (found.end >= end or not broken):
            yield found.offset


def why_not_open(source: Source, limits: Limits, bad: NnpackError) -> NnpackError:
    """Return why a file does not open, told better if only its end is not where it should be.

    The class stays that of SPEC 14.3: a random-access reader looks for the trailer at the end.
    """
    if (bad.offset or 0) < source.size - container.TRAILER_SIZE or bad.section is not None:
        return bad
    end = _trailer_end(source, limits)
    if end is not None:
        more = source.size - end
        what = f"{more:,} byte{'' if more == 1 else 's'} after the trailer, which ends a file"
        return error(bad.error_class, what, offset=end)
    moved = displaced(source, limits)
    return bad if moved is None else error(bad.error_class, moved.text, offset=bad.offset)


def _trailer_end(source: Source, limits: Limits) -> int | None:
    """Return where the trailer ends that stands behind an unbroken chain, if more follows it."""
    try:
        for found in walk(source, limits):
            if isinstance(found, NnpackError):
                return None
            end = found.end + container.TRAILER_SIZE
            if found.type == container.DIRECTORY and end < source.size:
                Trailer.parse(bytes(source.read(found.end, container.TRAILER_SIZE)), end)
                return end
    except NnpackError:
        pass
    return None


class Displaced(NamedTuple):
    """Sections whose heads are whole, but not in the place that their checksums bind.

    Attributes:
        by: bytes that came in before them; negative if bytes are gone.
        behind: where the first of them stands.
    """

    by: int
    behind: int

    @property
    def text(self) -> str:
        """What happened, for people."""
        size = abs(self.by)
        came = f"{size:,} byte{' was' if size == 1 else 's were'}"
        how = "inserted" if self.by > 0 else "removed"
        return (
            f"sections behind byte {self.behind} are whole but not in their place, to which they "
            f"are bound: {came} {how} before them"
        )


def displaced(source: Source, limits: Limits) -> Displaced | None:
    """Return how far the end of a file has moved, if trailer and directory still fit each other.

    Nothing may be read from sections that are not in their place; this only says that they exist.
    """
    end = source.size - container.TRAILER_SIZE
    if end < container.HEADER_SIZE:
        return None
    raw = bytes(source.read(end, container.TRAILER_SIZE))
    at, length = U64.unpack_from(raw)[0], U64.unpack_from(raw, U64.size)[0]
    by = end - at - length
    if not by or at + by < container.HEADER_SIZE:
        return None
    try:
        Trailer.parse(raw, at + length + container.TRAILER_SIZE)
        limits.check("directory_bytes", length, "the directory")
        stored = source.read(at + by, length)
        section = container.parse_directory_head(stored, at, length)
        container.check_directory_padding(section, stored)
        leaf = directory_leaf(section, BufferSource(stored, at), limits)
        directory = read_directory(section, leaf, limits)
    except NnpackError:
        return None
    behind = at + by
    for row in reversed(range(len(directory))):
        head, place = directory[row].head(), directory[row].offset + by
        if place < container.HEADER_SIZE or source.read(place, len(head)) != head:
            break
        behind = place
    return Displaced(by, behind)


def starts_chain(source: Source) -> bool:
    """Return whether the first head is whole."""
    try:
        read_head(source, container.HEADER_SIZE)
    except NnpackError:
        return False
    return True


def read_head(source: Source, offset: int) -> Section:
    """Decode and check the inline head at an offset."""
    cut = error("truncated", "the file ends inside a section head", offset=offset)
    if offset + container.HEAD_SIZE > source.size:
        raise cut
    fixed = bytes(source.read(offset, container.HEAD_SIZE))
    length = container.head_lengths(fixed, offset)
    if offset + length > source.size:
        raise cut
    return container.parse_head(bytes(source.read(offset, length)), offset)


def walk(source: Source, limits: Limits) -> Iterator[Section | NnpackError]:
    """Yield the inline heads from the first one on, and what is wrong where the chain breaks.

    Behind a break the next head is looked for. Its checksum binds its place, so that a file
    inside a blob is not taken for its host's sections; and payloads of sections whose head is
    whole are not looked into.
    """
    at, count, broken = container.HEADER_SIZE, 0, False
    finder = Finder(source)
    while at < source.size:
        try:
            section = read_head(source, at)
        except NnpackError as bad:
            yield bad
            broken = True
            following = finder.end_of_bad_head(at) or finder.next_head(at + 8)
            if following is None:
                return
            at = following
            continue
        count += 1
        limits.check("sections", count, "the number of sections")
        yield section
        at = section.end
        at_end = source.size - at <= container.TRAILER_SIZE or not broken
        if section.type == container.DIRECTORY and at_end:
            return


class Finder:
    """Looks for heads at multiples of 8, within a budget of bytes that may be looked at in vain."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._budget = MAX_HEAD + SCAN_BUDGET * source.size

    def spend(self, size: int) -> bool:
        """Count what looking at a possible head of so many bytes costs; False: no more is left."""
        self._budget -= TRIAL + size
        return self._budget >= 0

    def next_head(self, start: int) -> int | None:
        """Return where the next head stands whose checksum is right there."""
        for at in _syncs(self._source, start):
            length = self._length(at)
            if not self.spend(length or 0):
                return None
            if length is None:
                continue
            try:
                read_head(self._source, at)
            except NnpackError:
                continue
            return at
        return None

    def end_of_bad_head(self, at: int) -> int | None:
        """Return where a section ends whose head breaks a rule, if its checksum says it was meant.

        Both counts: that its reader has looked at it, and that this does.
        """
        length = self._length(at)
        if length is None or not self.spend(2 * length):
            return None
        head = bytes(self._source.read(at, length))
        alignment, payload, crc = _EXTENT.unpack_from(head, _EXTENT_AT)
        if container.head_crc(at, head) != crc:
            return None
        alignment = min(alignment, container.MAX_ALIGNMENT_LOG2)
        return Section(0, 0, "", alignment, at, payload, head[container.HEAD_SIZE :]).end

    def _length(self, at: int) -> int | None:
        """Return how long a head is by its own word; None if there can be no such head."""
        try:
            fixed = bytes(self._source.read(at, container.HEAD_SIZE))
            length = container.head_lengths(fixed, at)
        except NnpackError:
            return None
        return length if at + length <= self._source.size else None


def _syncs(source: Source, start: int) -> Iterator[int]:
    """Yield the multiples of 8 from `start` where the sync bytes stand."""
    for low in range(up8(start), source.size, CHUNK):
        window = bytes(source.read(low, min(CHUNK, source.size - low)))
        found = window.find(container.SYNC)
        while found >= 0:
            if found % 8 == 0:
                yield low + found
            found = window.find(container.SYNC, found + 1)
