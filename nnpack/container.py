"""Where things sit in a file (SPEC 5): header, section heads, chain, directory, trailer."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from nnpack.errors import Invalid, NnpackError, error
from nnpack.limits import MAX_HEAD, MAX_NAME, MAX_SECTIONS, MAX_U64
from nnpack.wire import U16, U32, U64, crc32, pad8, up8, up_align

Column = np.ndarray[Any, np.dtype[Any]]

MAGIC: Final = b"\x89NNP\r\n\x1a\n"
END_MAGIC: Final = b"\x89NNPEND\n"
SYNC: Final = b"\x89SEC"
MAJOR, MINOR = 1, 0

_HEADER: Final = struct.Struct("<8sHHI")
_HEAD: Final = struct.Struct("<4sHHIHBBQII")
_TRAILER: Final = struct.Struct("<QQII8s")
HEADER_SIZE: Final = _HEADER.size
HEAD_SIZE: Final = _HEAD.size
_CRC_AT: Final = 28
TRAILER_SIZE: Final = _TRAILER.size
SMALLEST_FILE: Final = 128
"""Header, directory of no sections, trailer."""

TENSOR, GRAPH, METADATA, ALIAS, BLOB, NAMES, DIRECTORY, DIGESTS = range(1, 9)
TYPE_NAMES: Final = {
    TENSOR: "tensor",
    GRAPH: "graph",
    METADATA: "metadata",
    ALIAS: "alias",
    BLOB: "blob",
    NAMES: "names",
    DIRECTORY: "directory",
    DIGESTS: "digests",
}
NAMED: Final = (TENSOR, GRAPH, ALIAS, BLOB)
"""Types with a name, which share one namespace."""
ANCILLARY: Final = 1
"""The flag of a section that a reader may skip."""
FIRST_PRIVATE, LAST_PRIVATE = 128, 255
MIN_ALIGNMENT_LOG2, MAX_ALIGNMENT_LOG2 = 3, 16

HEADER: Final = _HEADER.pack(MAGIC, MAJOR, MINOR, 0)


class Section(NamedTuple):
    """One section's head, decoded.

    Attributes:
        type: section type (SPEC 5.3).
        flags: bit 0 is set if a reader that does not know the type may skip the section.
        name: empty for types without a name.
        alignment: log2 of what the payload's offset is a multiple of.
        offset: of the head in the file.
        payload_length: in bytes.
        body: what follows the name in the head.
    """

    type: int
    flags: int
    name: str
    alignment: int
    offset: int
    payload_length: int
    body: bytes

    @property
    def head_length(self) -> int:
        """Bytes of the head: fixed part, name, padding, body."""
        name = self.name
        size = len(name) if name.isascii() else len(name.encode())
        return HEAD_SIZE + up8(size) + len(self.body)

    @property
    def payload_offset(self) -> int:
        """Offset of the payload in the file."""
        return up_align(self.offset + self.head_length, self.alignment)

    @property
    def payload_end(self) -> int:
        """Offset behind the payload's last byte."""
        return self.payload_offset + self.payload_length

    @property
    def end(self) -> int:
        """Offset of what follows the section."""
        return up8(self.payload_end)

    @property
    def label(self) -> str:
        """The name, or for sections without one their type."""
        return self.name or f"({TYPE_NAMES.get(self.type, f'type {self.type}')})"

    def head(self) -> bytes:
        """Return the head as it stands in the file."""
        name = self.name.encode()
        size = len(name)
        rest = name + bytes(-size & 7) + self.body
        length = HEAD_SIZE + len(rest)
        kind, flags, alignment, payload = self.type, self.flags, self.alignment, self.payload_length
        fixed = _HEAD.pack(SYNC, kind, flags, length, size, alignment, 0, payload, 0, 0)
        crc = crc32(rest, crc32(fixed, crc32(U64.pack(self.offset))))
        return fixed[:_CRC_AT] + U32.pack(crc) + rest


def head_crc(offset: int, head: bytes) -> int:
    """CRC-32 of the head's place and bytes, its own field as zero (SPEC 5.2)."""
    return int(crc32(head[:_CRC_AT] + bytes(4) + head[HEAD_SIZE:], crc32(U64.pack(offset))))


def unlike(section: Section, head: bytes, inline: bytes) -> NnpackError:
    """Return the error for an inline head, and its padding, that differ from the directory's."""
    found = inline[: len(head)]
    if found == head:
        error_class, what = "bad-layout", "padding behind a head is not zero"
    elif head_crc(section.offset, found) != U32.unpack_from(found, _CRC_AT)[0]:
        error_class, what = "bad-checksum", "the CRC-32 of a section head differs"
    else:
        error_class, what = "mismatch", "the directory states another head than stands here"
    return error(error_class, what, offset=section.offset, section=section.label)


def head_lengths(fixed: bytes, offset: int) -> int:
    """Check the fixed part of an inline head as far as its length can be trusted; return that."""
    sync, _, _, head_length, name_length, *_ = _HEAD.unpack(fixed)
    if sync != SYNC:
        raise error("bad-layout", "no section head here", offset=offset)
    if not HEAD_SIZE + up8(name_length) <= head_length <= MAX_HEAD or head_length & 7:
        raise error("bad-layout", f"a head of {head_length} bytes cannot be", offset=offset)
    return int(head_length)


def parse_head(head: bytes, offset: int) -> Section:
    """Decode and check a whole inline head; the chain is the caller's to check."""
    _, kind, flags, _, name_length, alignment, zero, payload, zeros, stored = _HEAD.unpack(
        head[:HEAD_SIZE]
    )
    if head_crc(offset, head) != stored:
        raise error("bad-checksum", "the CRC-32 of a section head differs", offset=offset)
    if zero or zeros or flags & ~ANCILLARY:
        raise error("reserved-nonzero", "a reserved field of a head is set", offset=offset)
    name_end = HEAD_SIZE + name_length
    if any(head[name_end : HEAD_SIZE + up8(name_length)]):
        raise error("bad-layout", "padding behind a name is not zero", offset=offset)
    name = _text(head[HEAD_SIZE:name_end], offset)
    section = Section(
        kind, flags, name, alignment, offset, payload, head[HEAD_SIZE + up8(name_length) :]
    )
    if name:
        check_name_characters(name, offset)
    if payload >= MAX_U64:
        raise error("bad-layout", "a payload length is not below 2^62", offset=offset)
    check_type(kind, flags, len(name.encode()), offset)
    lowest = MIN_ALIGNMENT_LOG2
    if not lowest <= alignment <= (MAX_ALIGNMENT_LOG2 if payload else lowest):
        raise error("bad-layout", f"alignment 2^{alignment} cannot be here", offset=offset)
    return section


def parse_directory_head(stored: memoryview, offset: int) -> Section:
    """Decode the head of the directory section, whose bytes these are."""
    length = head_lengths(bytes(stored[:HEAD_SIZE]), offset)
    if length > len(stored):
        raise error("mismatch", "the directory is longer than the trailer says", offset=offset)
    section = parse_head(bytes(stored[:length]), offset)
    if section.type != DIRECTORY:
        raise error("bad-layout", "the trailer does not point to a directory", offset=offset)
    if section.end - offset != len(stored):
        raise error("mismatch", "the directory's length is not the trailer's", offset=offset)
    start, stop = section.payload_offset - offset, section.payload_end - offset
    if any(stored[length:start]) or any(stored[stop:]):
        raise error("bad-layout", "padding of the directory is not zero", offset=offset)
    return section


def _text(data: bytes, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as bad:
        raise error("bad-text", f"a name is not UTF-8: {bad.reason}", offset=offset) from bad


# Controls; characters that reorder, hide or break lines (SPEC 5.4).
_FORBIDDEN: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def check_name_characters(name: str, offset: int | None = None) -> None:
    """Check which characters a name has."""
    found = _FORBIDDEN.search(name)
    if found:
        raise error("bad-text", f"a name holds the character {found.group()!a}", offset=offset)


def check_name(name: str) -> None:
    """Check the name that a caller gives to a section (SPEC 5.4); ValueError if it cannot be."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as bad:
        raise Invalid("bad-text", f"{name!a} is not Unicode text: {bad.reason}") from bad
    if not 1 <= size <= MAX_NAME:
        raise Invalid("bad-text", f"a name takes 1 to {MAX_NAME} bytes, not {size}")
    found = _FORBIDDEN.search(name)
    if found:
        raise Invalid("bad-text", f"{name!a} holds the character {found.group()!a}")


def check_type(kind: int, flags: int, name_length: int, offset: int) -> None:
    """Check that type, ancillary bit and name length fit each other (SPEC 5.3)."""
    ancillary = bool(flags & ANCILLARY)
    if kind in TYPE_NAMES:
        what = TYPE_NAMES[kind]
        if ancillary != (kind == DIGESTS):
            raise error("bad-layout", f"{what} section with a wrong ancillary bit", offset=offset)
        if (name_length > 0) != (kind in NAMED):
            raise error(
                "bad-text", f"{what} section with a name of {name_length} bytes", offset=offset
            )
    elif not kind:
        raise error("bad-layout", "a section of type 0", offset=offset)
    elif not ancillary:
        raise error("unknown-section", f"critical section of unknown type {kind}", offset=offset)
    if name_length > MAX_NAME:
        raise error("bad-text", f"a name of {name_length} bytes", offset=offset)


def check_header(data: bytes, size: int) -> None:
    """Check the file's size and its first 16 bytes (SPEC 5.1)."""
    if data[:8] != MAGIC[: len(data)] or not data:
        if not data:
            raise error("truncated", "the file is empty", offset=0)
        raise error("not-nnpack", "the file does not start with nnpack's magic bytes", offset=0)
    if size < SMALLEST_FILE:
        raise error("truncated", f"{size} bytes are less than the smallest file", offset=size)
    _, major, _, zero = _HEADER.unpack(data)
    if major != MAJOR:
        raise error("unsupported-version", f"version {major}, this reader knows {MAJOR}", offset=8)
    if zero:
        raise error("reserved-nonzero", "reserved bytes of the header are set", offset=12)


class Trailer(NamedTuple):
    """The last 32 bytes of a file (SPEC 5.6)."""

    directory_offset: int
    directory_length: int
    crc: int

    @classmethod
    def parse(cls, data: bytes, size: int) -> Trailer:
        """Decode the last 32 of a file's `size` bytes."""
        offset, length, crc, zero, magic = _TRAILER.unpack(data)
        here = size - TRAILER_SIZE
        if magic != END_MAGIC:
            raise error(
                "truncated",
                "the file does not end with a trailer: it was cut short, "
                "or its writing never finished (`nnpack salvage` may help)",
                offset=size,
            )
        if zero:
            raise error("reserved-nonzero", "reserved bytes of the trailer are set", offset=here)
        if offset < HEADER_SIZE or length < HEAD_SIZE or offset + length != here or offset & 7:
            raise error("bad-layout", "the trailer points outside the file", offset=here)
        return cls(offset, length, crc)

    def pack(self) -> bytes:
        """Return the trailer as it stands in the file."""
        return _TRAILER.pack(*self, 0, END_MAGIC)

    def check(self, header: bytes, directory: bytes | memoryview) -> None:
        """Compare the CRC-32 of header, directory section and the trailer's first 16 bytes."""
        pointers = U64.pack(self.directory_offset) + U64.pack(self.directory_length)
        if crc32(pointers, crc32(directory, crc32(header))) != self.crc:
            raise error(
                "bad-checksum",
                "the CRC-32 of header and directory differs",
                offset=self.directory_offset,
            )


_COLUMNS: Final = ("<u8", "<u8", "<u4", "<u2", "<u2", "<u2", "u1")
_ROW_SIZE: Final = 27


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """The heads of all sections, one column a field (SPEC 5.5); checked when decoded."""

    offset: int
    names: list[str]
    offsets: Column
    payloads: Column
    heads: Column
    types: Column
    flags: Column
    alignments: Column
    bodies: memoryview
    body_ends: Column
    by_name: dict[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Section:
        start = int(self.body_ends[index - 1]) if index else 0
        return Section(
            int(self.types[index]),
            int(self.flags[index]),
            self.names[index],
            int(self.alignments[index]),
            int(self.offsets[index]),
            int(self.payloads[index]),
            bytes(self.bodies[start : int(self.body_ends[index])]),
        )

    def __iter__(self) -> Iterator[Section]:
        columns = (self.types, self.flags, self.alignments, self.offsets, self.payloads)
        kinds, flags, alignments, offsets, payloads = (column.tolist() for column in columns)
        bodies = map(
            self.bodies.__getitem__, map(slice, [0, *self.body_ends[:-1].tolist()], self.body_ends)
        )
        return map(
            Section, kinds, flags, self.names, alignments, offsets, payloads, map(bytes, bodies)
        )


def pack_directory(sections: list[Section]) -> bytes:
    """Return the decoded payload of the directory section."""
    names = [section.name.encode() for section in sections]
    rows = [
        (
            s.offset,
            s.payload_length,
            HEAD_SIZE + up8(len(name)) + len(s.body),
            s.type,
            s.flags,
            len(name),
            s.alignment,
        )
        for s, name in zip(sections, names, strict=True)
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
    return b"".join(
        [
            U64.pack(len(sections)),
            *(
                np.array(column, kind).tobytes()
                for column, kind in zip(columns, _COLUMNS, strict=True)
            ),
            b"\n".join(names),
            *(section.body for section in sections),
        ]
    )


def parse_directory(data: bytes | memoryview, end: int) -> Directory:
    """Decode and check the directory's payload; its own head stands at `end`.

    Checked here, for all sections at once: lengths, types, names, order, the chain of offsets.
    """
    data = memoryview(data)
    if len(data) < U64.size:
        raise error("mismatch", "the directory is too short for its count", offset=end)
    (count,) = U64.unpack(data[:8])
    at = U64.size
    if count >= MAX_SECTIONS or len(data) < at + count * _ROW_SIZE:
        raise error(
            "mismatch", f"a directory of {len(data)} bytes cannot list {count} sections", offset=end
        )
    columns: list[Column] = []
    for kind in _COLUMNS:
        columns.append(np.frombuffer(data, kind, count, at))
        at += columns[-1].nbytes
    offsets, payloads, heads, types, flags, name_lengths, alignments = columns
    _check_rows(offsets, payloads, heads, types, flags, name_lengths, alignments, end)
    lengths = name_lengths.astype(np.int64)
    name_bytes = int(lengths.sum()) + max(count - 1, 0)
    body_lengths = heads.astype(np.int64) - HEAD_SIZE - ((lengths + 7) & -8)
    body_ends = np.cumsum(body_lengths)
    if len(data) != at + name_bytes + (int(body_ends[-1]) if count else 0):
        raise error("mismatch", "the directory's length differs from its columns", offset=end)
    names = _split_names(data[at : at + name_bytes], lengths, end)
    by_name = _index_names(names, types, end)
    return Directory(
        end,
        names,
        offsets,
        payloads,
        heads,
        types,
        flags,
        alignments,
        data[at + name_bytes :],
        body_ends,
        by_name,
    )


def _check_rows(
    offsets: Column,
    payloads: Column,
    heads: Column,
    types: Column,
    flags: Column,
    name_lengths: Column,
    alignments: Column,
    end: int,
) -> None:
    """Check every column and the chain; all in vectors, since a file may have a million rows."""

    def require(good: Column, error_class: str, what: str) -> None:
        if not good.all():
            row = int(np.argmin(good))
            raise error(
                error_class,
                f"{what} in row {row} of the directory",
                offset=int(offsets[row]) if offsets[row] < end else end,
            )

    if not len(offsets):
        if end != HEADER_SIZE:
            raise error("bad-layout", "bytes that belong to no section", offset=HEADER_SIZE)
        return
    require((offsets < end) & (payloads < end), "bad-layout", "an offset or length out of the file")
    require(flags <= ANCILLARY, "reserved-nonzero", "a reserved flag")
    named = name_lengths > 0
    forms, rows = np.unique(types.astype(np.uint32) << 2 | flags << 1 | named, return_index=True)
    for form, row in zip(forms.tolist(), rows.tolist(), strict=True):
        check_type(form >> 2, form >> 1 & 1, form & 1, int(offsets[row]))
    require(name_lengths <= MAX_NAME, "bad-text", "a name that is too long")
    require(
        (alignments >= MIN_ALIGNMENT_LOG2)
        & (alignments <= MAX_ALIGNMENT_LOG2)
        & ((payloads > 0) | (alignments == MIN_ALIGNMENT_LOG2)),
        "bad-layout",
        "an alignment that cannot be",
    )
    named_heads = HEAD_SIZE + ((name_lengths.astype(np.int64) + 7) & -8)
    require(
        (heads <= MAX_HEAD) & (heads % 8 == 0) & (heads >= named_heads),
        "bad-layout",
        "a head length that cannot be",
    )
    start = offsets.astype(np.int64) + heads
    unit = np.left_shift(1, alignments.astype(np.int64))
    after = (((start + unit - 1) & -unit) + payloads.astype(np.int64) + 7) & -8
    follows = np.empty(len(offsets), np.int64)
    follows[:-1] = offsets[1:]
    follows[-1] = end
    if offsets[0] != HEADER_SIZE:
        raise error(
            "bad-layout", "the first section does not follow the header", offset=HEADER_SIZE
        )
    require(after == follows, "bad-layout", "a section that does not end where the next begins")
    _check_order(types, end)


def _check_order(types: Column, end: int) -> None:
    """Check which types may stand how often and where (SPEC 5.3)."""
    for kind, place in ((NAMES, 0), (METADATA, None), (DIGESTS, len(types) - 1), (DIRECTORY, -1)):
        rows = np.flatnonzero(types == kind)
        if len(rows) > 1 and place != -1:
            raise error("duplicate", f"{len(rows)} {TYPE_NAMES[kind]} sections", offset=end)
        if len(rows) and place is not None and rows[0] != place:
            raise error("bad-layout", f"{TYPE_NAMES[kind]} section out of its place", offset=end)


def _split_names(joined: memoryview, lengths: Column, end: int) -> list[str]:
    """Split names joined by LF and check their characters."""
    if not len(lengths):
        return []
    raw = np.frombuffer(joined, np.uint8)
    feeds = np.flatnonzero(raw == ord("\n"))
    if not np.array_equal(feeds, (np.cumsum(lengths + 1) - 1)[:-1]):
        raise error("bad-text", "names do not split at their lengths", offset=end)
    text = _text(bytes(joined), end)
    plain = (raw >= 0x20) & (raw < 0x7F)
    if int(plain.sum()) != len(raw) - len(feeds):
        check_name_characters(text.replace("\n", ""), end)
    return text.split("\n")


def _index_names(names: list[str], types: Column, end: int) -> dict[str, int]:
    """Map names to rows, for the types that share the namespace."""
    if (types == TENSOR).all():
        by_name = dict(zip(names, range(len(names)), strict=True))
        expected = len(names)
    else:
        rows = np.flatnonzero(np.isin(types, NAMED)).tolist()
        by_name = {names[row]: row for row in rows}
        expected = len(rows)
    if len(by_name) != expected:
        used = [name for name, kind in zip(names, types.tolist(), strict=True) if kind in NAMED]
        twice = Counter(used).most_common(1)[0][0]
        raise error("duplicate", f"two sections are called {twice!a}", offset=end)
    return by_name


def pack_alias(target: str) -> bytes:
    """Return the body of an alias section (SPEC 5.3)."""
    name = target.encode()
    return pad8(U16.pack(len(name)) + name)


def parse_alias(section: Section) -> str:
    """Return the name of the tensor that an alias stands for."""
    body, at = section.body, section.offset
    if section.payload_length:
        raise error("bad-layout", "an alias has a payload", offset=at, section=section.name)
    size = U16.unpack(body[:2])[0] if len(body) >= U16.size else 0
    if not 1 <= size <= MAX_NAME or len(body) != up8(2 + size):
        raise error("mismatch", "an alias whose lengths differ", offset=at, section=section.name)
    if any(body[2 + size :]):
        raise error("bad-layout", "padding of an alias", offset=at, section=section.name)
    target = _text(body[2 : 2 + size], at)
    check_name_characters(target, at)
    return target


SECTION_TYPE: Final = 1
NAME_CLASSES: Final = {
    SECTION_TYPE: "section type",
    2: "kind",
    3: "dtype",
    4: "transform",
    5: "codec",
}
REVERSE_DNS: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
MAX_PRIVATE_NAME: Final = 255
_BINDING: Final = struct.Struct("<BBH")


def pack_names(bindings: dict[tuple[int, int], str]) -> bytes:
    """Return the body of the names section: private (class, id) -> reverse-DNS name."""
    return b"".join(
        pad8(_BINDING.pack(*key, len(name)) + name.encode())
        for key, name in sorted(bindings.items())
    )


def parse_names(section: Section) -> dict[tuple[int, int], str]:
    """Decode and check the names section."""
    body, at = section.body, section.offset
    if section.payload_length or not body:
        raise error("bad-layout", "a names section without entries or with a payload", offset=at)
    bindings: dict[tuple[int, int], str] = {}
    last, position = (0, 0), 0
    while position < len(body):
        kind, number, size = _BINDING.unpack_from(body, position)
        start, stop = position + _BINDING.size, position + _BINDING.size + size
        position += up8(_BINDING.size + size)
        raw = body[start:stop]
        if position > len(body):
            raise error("bad-node", "an entry runs over the names section", offset=at)
        if any(body[stop:position]):
            raise error("bad-layout", "padding in the names section", offset=at)
        if kind not in NAME_CLASSES or not number >= FIRST_PRIVATE:
            raise error("bad-value", f"class {kind}, id {number} cannot be bound", offset=at)
        if not raw.isascii() or not is_private_name(raw.decode("ascii")):
            raise error("bad-text", f"{raw!a} is no reverse-DNS name", offset=at)
        if (kind, number) <= last:
            raise error("bad-layout", "the names section is not strictly ascending", offset=at)
        last = (kind, number)
        bindings[last] = raw.decode("ascii")
    return bindings


def check_bindings(types: Column, bindings: Mapping[tuple[int, int], str], at: int) -> None:
    """Check that private section types have names."""
    for kind in np.unique(types[types >= FIRST_PRIVATE]).tolist():
        if kind <= LAST_PRIVATE and (SECTION_TYPE, kind) not in bindings:
            raise error("missing", f"no name is bound to the section type {kind}", offset=at)


def is_private_name(name: str) -> bool:
    """Return whether this is a reverse-DNS name as plug-ins and foreign formats have them."""
    return len(name) <= MAX_PRIVATE_NAME and REVERSE_DNS.fullmatch(name) is not None
