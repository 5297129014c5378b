"""Where things sit in a file (SPEC 5): header, section heads and their chain, trailer."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nnpack.errors import error, located
from nnpack.limits import MAX_HEAD, MAX_NAME, MAX_U64
from nnpack.names import check_name_characters, decode_name
from nnpack.wire import U16, U32, U64, crc32, pad8, up8, up_align

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
        crc = crc32(U64.pack(self.offset) + fixed + rest)
        return fixed[:_CRC_AT] + U32.pack(crc) + rest


def head_crc(offset: int, head: bytes) -> int:
    """CRC-32 of the head's place and bytes, its own field as zero (SPEC 5.2)."""
    return int(crc32(U64.pack(offset) + head[:_CRC_AT] + bytes(4) + head[HEAD_SIZE:]))


def check_inline(section: Section, inline: bytes | memoryview) -> None:
    """Check that an inline head and its padding are the directory's."""
    head = section.head()
    if inline == head.ljust(len(inline), b"\0"):
        return
    found = bytes(inline[: len(head)])
    with located(section.offset, section.label):
        if found == head:
            raise error("bad-layout", "padding behind a head is not zero")
        if head_crc(section.offset, found) != U32.unpack_from(found, _CRC_AT)[0]:
            raise error("bad-checksum", "the CRC-32 of a section head differs")
        raise error("mismatch", "the directory states another head than stands here")


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
    name = decode_name(head[HEAD_SIZE:name_end], offset)
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


def parse_directory_head(stored: bytes | memoryview, offset: int, length: int) -> Section:
    """Decode the head that begins these bytes; the directory section has `length` of them."""
    section = parse_head(bytes(stored[: head_lengths(bytes(stored[:HEAD_SIZE]), offset)]), offset)
    if section.type != DIRECTORY:
        raise error("bad-layout", "the trailer does not point to a directory", offset=offset)
    if section.end - offset != length:
        raise error("mismatch", "the directory's length is not the trailer's", offset=offset)
    return section


def check_directory_padding(section: Section, stored: memoryview) -> None:
    """Check what stands beside head and payload in the directory section."""
    start, stop = section.payload_offset - section.offset, section.payload_end - section.offset
    if any(stored[section.head_length : start]) or any(stored[stop:]):
        raise error("bad-layout", "padding of the directory is not zero", offset=section.offset)


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
                "the file does not end with a trailer: it was cut short, its writing never "
                "finished, or bytes follow it (`nnpack salvage` may help)",
                offset=size,
            )
        if zero:
            raise error("reserved-nonzero", "reserved bytes of the trailer are set", offset=here)
        if length < HEAD_SIZE or offset + length != here or offset & 7:
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
    target = decode_name(body[2 : 2 + size], at)
    check_name_characters(target, at)
    return target


def check_alias(section: Section, target: str, kind: int | None) -> None:
    """Check that an alias stands for a tensor before it (SPEC 5.3).

    Args:
        section: the alias.
        target: the name that it gives.
        kind: type of the section of that name, None if none came before the alias.
    """
    if kind != TENSOR:
        raise error(
            "bad-reference",
            f"an alias of {target!a}, which is no tensor before it",
            offset=section.offset,
            section=section.name,
        )
