"""ZIP archives, strictly: one story in the central directory, the local headers and the bytes.

Members tile the file: nothing before, between or behind them. Encryption, several disks, comments
of the archive and methods other than stored and deflated are refused. Names are data: nothing is
ever extracted to a path.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from nnpack.convert.source import PIECE, slices, spooled
from nnpack.errors import error
from nnpack.limits import Limits
from nnpack.source import Source
from nnpack.wire import U64, crc32

STORED, DEFLATED = 0, 8
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ZIP64: Final = 1
_DESCRIBED, _UTF8 = 1 << 3, 1 << 11
_FLAGS: Final = 1 << 1 | 1 << 2 | _DESCRIBED | _UTF8
"""How deflate was run, a data descriptor, UTF-8; any other flag is refused."""
_VERSION: Final = 45
"""Of the ZIP specification: the one that brought 64-bit sizes."""
_MAX_COMMENT: Final = 65535


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Attributes:
        name: as the archive has it.
        method: `STORED` or `DEFLATED`.
        crc: CRC-32 of the content.
        size: of the content.
        stored: its bytes in the file.
        offset: of the local header.
        start: of the stored bytes.
    """

    name: str
    method: int
    crc: int
    size: int
    stored: int
    offset: int
    start: int


def members(source: Source, limits: Limits) -> list[Member]:
    """Return the members of an archive in the order of its central directory, checked."""
    count, size, start = _end(source)
    limits.check("directory_bytes", size, "the archive's directory")
    limits.check("sections", count, "the number of members")
    data = bytes(source.read(start, size))
    rows: list[_Row] = []
    at = 0
    for _ in range(count):
        row, at = _central(data, at, start)
        rows.append(row)
    if at != size:
        raise error("mismatch", "the directory is longer than its members", offset=start + at)
    names = [row.name for row in rows]
    if len({*names}) != len(names):
        raise error("duplicate", "two members have the same name", offset=start)
    order = sorted(range(count), key=lambda index: rows[index].offset)
    ends = [*(rows[index].offset for index in order), start]
    if ends[0] != 0:
        raise error("bad-layout", "the archive does not start with a member", offset=0)
    starts = {
        index: _local(source, rows[index], stop)
        for index, (_, stop) in zip(order, pairwise(ends), strict=True)
    }
    return [row.member(starts[index]) for index, row in enumerate(rows)]


def _end(source: Source) -> tuple[int, int, int]:
    """Return count, size and offset of the central directory."""
    at = source.size - _END.size
    if at < 0:
        raise error("truncated", "the file is too short for an archive", offset=source.size)
    magic, *disks, here, count, size, start, comment = _END.unpack(source.read(at, _END.size))
    if magic != b"PK\5\6":
        tail = bytes(source.read(low := max(at - _MAX_COMMENT, 0), source.size - low))
        found = "trailing-data" if b"PK\5\6" in tail else "truncated"
        raise error(found, "the file does not end with an archive's end", offset=source.size)
    if comment:
        raise error("truncated", f"a comment of {comment} bytes is missing", offset=at)
    if any(disks) or here != count:
        raise error("unsupported", "an archive on several disks", offset=at)
    if count == _MAX16 or _MAX32 in {size, start}:
        at, count, size, start = _end64(source, at, count, size, start)
    if start + size != at:
        raise error("bad-layout", "the central directory is not before the end", offset=at)
    return count, size, start


def _end64(
    source: Source, end: int, count: int, size: int, start: int
) -> tuple[int, int, int, int]:
    """Return what the 64-bit end record says, and where it is, if the archive has one."""
    at = end - _LOCATOR.size
    magic, disk, offset, disks = (
        _LOCATOR.unpack(source.read(at, _LOCATOR.size)) if at >= 0 else (b"", 0, 0, 0)
    )
    if magic != b"PK\6\7":
        return end, count, size, start
    if disk or disks != 1:
        raise error("unsupported", "an archive on several disks", offset=at)
    if offset + _END64.size != at:
        raise error("bad-layout", "the 64-bit end record is not before its locator", offset=at)
    fields = _END64.unpack(source.read(offset, _END64.size))
    magic, length, _, _, disk, first, here, *wide = fields
    if magic != b"PK\6\6" or length != _END64.size - 12:
        raise error("bad-layout", "no 64-bit end record here", offset=offset)
    if disk or first or here != wide[0]:
        raise error("unsupported", "an archive on several disks", offset=offset)
    for told, value, unused in zip(
        (count, size, start), wide, (_MAX16, _MAX32, _MAX32), strict=True
    ):
        if told not in {value, unused}:
            raise error("mismatch", "the two end records differ", offset=offset)
    return offset, *wide


@dataclass(frozen=True, slots=True)
class _Row:
    """One entry of the central directory."""

    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    offset: int

    def member(self, start: int) -> Member:
        return Member(self.name, self.method, self.crc, self.size, self.stored, self.offset, start)


def _central(data: bytes, at: int, base: int) -> tuple[_Row, int]:
    """Decode one entry of the central directory, and return where it ends."""
    here = base + at
    if len(data) - at < _CENTRAL.size:
        raise error("mismatch", "the directory is shorter than its members", offset=here)
    fields = _CENTRAL.unpack_from(data, at)
    magic, _, version, flags, method, _, _, crc, stored, size, *lengths, disk, _, _, offset = fields
    at += _CENTRAL.size
    end = at + sum(lengths)
    if magic != b"PK\1\2" or end > len(data):
        raise error("bad-layout", "no member of the directory here", offset=here)
    raw = data[at : at + lengths[0]]
    extra = data[at + lengths[0] : at + lengths[0] + lengths[1]]
    size, stored, offset = _wide(extra, [size, stored, offset], here)
    simple = version & 0xFF <= _VERSION and not flags & ~_FLAGS and not disk
    if not simple or method not in {STORED, DEFLATED}:
        raise error(
            "unsupported",
            f"a member of version {version & 0xFF}, method {method}, flags {flags:#x}, disk {disk}",
            offset=here,
        )
    if method == STORED and size != stored:
        raise error("mismatch", "a stored member of two sizes", offset=here)
    return _Row(raw, _text(raw, flags, here), flags, method, crc, stored, size, offset), end


def _text(raw: bytes, flags: int, offset: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as bad:
        raise error("bad-text", f"a name is not UTF-8: {bad.reason}", offset=offset) from bad


def _wide(extra: bytes, fields: list[int], offset: int) -> list[int]:
    """Return fields, those that say so replaced by the 64-bit ones of the extra field."""
    at, wide = 0, b""
    while at < len(extra):
        if len(extra) - at < 4:
            raise error("bad-layout", "an extra field is cut short", offset=offset)
        number, length = struct.unpack_from("<2H", extra, at)
        at += 4 + length
        if at > len(extra) or (number == _ZIP64 and wide):
            raise error("bad-layout", "extra fields do not fit", offset=offset)
        wide = extra[at - length : at] if number == _ZIP64 else wide
    if wide and len(wide) != U64.size * fields.count(_MAX32):
        raise error("bad-layout", "a 64-bit field of another length", offset=offset)
    values = iter(struct.unpack(f"<{len(wide) // U64.size}Q", wide))
    return [next(values, value) if value == _MAX32 else value for value in fields]


def _local(source: Source, row: _Row, stop: int) -> int:
    """Compare a local header with the directory; return where the content starts."""
    at = row.offset
    if stop - at < _LOCAL.size:
        raise error("bad-layout", "members overlap", offset=at)
    magic, _, flags, method, _, _, crc, stored, size, name_length, extra_length = _LOCAL.unpack(
        source.read(at, _LOCAL.size)
    )
    start = at + _LOCAL.size + name_length + extra_length
    if magic != b"PK\3\4" or start + row.stored > stop:
        raise error("bad-layout", "no member here, or members overlap", offset=at)
    rest = bytes(source.read(at + _LOCAL.size, name_length + extra_length))
    size, stored = _wide(rest[name_length:], [size, stored], at)
    told = (crc, size, stored)
    same = told == (row.crc, row.size, row.stored)
    if flags & _DESCRIBED:
        same = same or not any(told)
    if not same or (rest[:name_length], flags, method) != (row.raw, row.flags, row.method):
        raise error("mismatch", "the local header differs from the directory", offset=at)
    _described(source, row, start + row.stored, stop)
    return int(start)


def _described(source: Source, row: _Row, start: int, stop: int) -> None:
    """Compare what stands behind a member's content with the directory."""
    described = (row.crc, row.stored, row.size)
    allowed = [b""]
    if row.flags & _DESCRIBED:
        forms = ["<3I", "<I2Q"] if max(described) <= _MAX32 else ["<I2Q"]
        plain = [struct.pack(form, *described) for form in forms]
        allowed = plain + [b"PK\7\x08" + form for form in plain]
    if not any(len(form) == stop - start for form in allowed):
        raise error("bad-layout", "bytes between two members", offset=start)
    if bytes(source.read(start, stop - start)) not in allowed:
        raise error("mismatch", "the data descriptor differs from the directory", offset=start)


def beginning(source: Source, member: Member, size: int) -> bytes:
    """Return up to `size` bytes of a member's content, not yet checked."""
    if member.method == STORED:
        return bytes(source.read(member.start, min(size, member.size)))
    try:
        coded = source.read(member.start, min(member.stored, PIECE))
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(coded, size)
    except zlib.error as bad:
        raise error("bad-stream", f"deflate: {bad}", offset=member.start) from bad


@contextmanager
def content(source: Source, member: Member, folder: str | None) -> Iterator[tuple[Source, int]]:
    """Return where a member's content is, its CRC-32 checked; inflated into a temporary file."""
    if member.method == STORED:
        _check_crc(member, slices(source, member.start, member.stored))
        yield source, member.start
        return
    with spooled(_inflated(source, member), folder) as inflated:
        yield inflated, 0


def _check_crc(member: Member, pieces: Iterator[memoryview]) -> None:
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    _compare_crc(member, crc)


def _compare_crc(member: Member, crc: int) -> None:
    if crc != member.crc:
        raise error("bad-checksum", "the CRC-32 of a member differs", offset=member.start)


def _inflated(source: Source, member: Member) -> Iterator[bytes]:
    """Yield the content of a deflated member; never more than it should have."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    size = crc = 0
    try:
        for piece in slices(source, member.start, member.stored):
            rest: bytes | memoryview = piece
            if decoder.eof:
                raise error("bad-stream", "bytes follow the deflate stream", offset=member.start)
            while rest and not decoder.eof:
                out = decoder.decompress(rest, PIECE)
                rest = decoder.unconsumed_tail
                size, crc = size + len(out), crc32(out, crc)
                if size > member.size:
                    raise error("mismatch", "a member is longer than it says", offset=member.start)
                yield out
    except zlib.error as bad:
        raise error("bad-stream", f"deflate: {bad}", offset=member.start) from bad
    out = decoder.flush()
    yield out
    if not decoder.eof or decoder.unused_data:
        raise error("bad-stream", "the deflate stream does not end here", offset=member.start)
    if size + len(out) != member.size:
        raise error("mismatch", "a member is shorter than it says", offset=member.start)
    _compare_crc(member, crc32(out, crc))
