"""An unchecked assembler: files from sections, invalid ones too, with right checksums (SPEC 5)."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

MAGIC = b"\x89NNP\r\n\x1a\n"
HEADER = MAGIC + struct.pack("<HHI", 1, 0, 0)
SYNC = b"\x89SEC"
END = b"\x89NNPEND\n"
TENSOR, GRAPH, METADATA, ALIAS, BLOB, NAMES, DIRECTORY, DIGESTS = range(1, 9)
CHUNK = 1 << 20
"""Bytes that each row of the digests covers (SPEC 13.1)."""
DENSE, CONSTANT, CSR, CODEBOOK, QUANTIZED, CONCAT, OPAQUE = range(1, 8)


def up8(size: int) -> int:
    """Return the multiple of 8 that is not below a size."""
    return (size + 7) & -8


def node(
    kind: int,
    dtype: int,
    shape: Sequence[int] = (),
    parameters: bytes = b"",
    parts: Iterable[bytes] = (),
    *,
    role: int = 0,
    **override: Any,
) -> bytes:
    """Return a node's bytes (SPEC 8.1).

    `override` replaces what follows from the rest: rank, count (of parts), zeros, plen, length.
    """
    parts = [*parts]
    behind = b"".join(parts)
    fields = {
        "rank": len(shape),
        "count": len(parts),
        "zeros": bytes(3),
        "plen": len(parameters),
        "length": 16 + 8 * len(shape) + len(parameters) + len(behind),
        **override,
    }
    head = struct.pack("<BBBBB3sII", kind, role, dtype, fields["rank"], fields["count"],
                       fields["zeros"], fields["plen"], fields["length"])  # fmt: skip
    return head + struct.pack(f"<{len(shape)}Q", *shape) + parameters + behind


def stream(
    blocks: Iterable[bytes],
    *,
    transform: int = 0,
    log2: int = 18,
    codecs: Sequence[int] = (0,),
    parameter: int = 0,
    shared: Iterable[bytes] = (),
) -> bytes:
    """Return a dense node's parameters for stored plane-blocks and shared tables (SPEC 9.1)."""
    fixed = bytes([transform, log2, len(codecs), parameter, *codecs])
    stored = [*shared, *blocks]
    entries = b"".join(struct.pack("<II", len(data), zlib.crc32(data)) for data in stored)
    return fixed.ljust(up8(len(fixed)), b"\0") + entries


@dataclass(frozen=True)
class Section:
    """One section before it has a place."""

    type: int
    name: bytes = b""
    body: bytes = b""
    payload: bytes = b""
    flags: int = 0
    alignment: int = 3
    lead: bytes | None = None
    """What stands between head and payload instead of the padding of the chain (SPEC 5.7)."""
    tail: bytes | None = None
    """What stands behind the payload instead of that."""
    listed: dict[str, Any] = field(default_factory=dict)
    """What the directory alone says: offset, length (of the payload), head_length, name_length, a
    field of this class, or times: how many rows there are."""
    inline: dict[str, Any] = field(default_factory=dict)
    """What the inline head alone says: a field of this class, or length, head_length, name_length,
    sync, zero15, zero24, checksum."""

    def head(self, offset: int) -> bytes:
        """Return the head as it stands at an offset (SPEC 5.2)."""
        said = self.inline
        seen = _with(self, said)
        name = seen.name.ljust(up8(len(seen.name)), b"\0")
        length = 32 + len(name) + len(seen.body)
        fixed = struct.pack(
            "<4sHHIHBBQI",
            said.get("sync", SYNC),
            seen.type,
            seen.flags,
            said.get("head_length", length),
            said.get("name_length", len(seen.name)),
            seen.alignment,
            said.get("zero15", 0),
            said.get("length", len(seen.payload)),
            said.get("zero24", 0),
        )
        whole = fixed + bytes(4) + name + seen.body
        crc = said.get("checksum", zlib.crc32(whole, zlib.crc32(struct.pack("<Q", offset))))
        return fixed + struct.pack("<I", crc) + whole[32:]


_FIELDS = {"type", "name", "body", "flags", "alignment"}


def _with(section: Section, said: dict[str, Any]) -> Section:
    """Return a section as one of its two heads tells it."""
    changed = {name: value for name, value in said.items() if name in _FIELDS}
    return replace(section, **changed) if changed else section


def byte_leaf(data: bytes, **options: Any) -> bytes:
    """Return the body of one dense uint8 node of rank 1, raw unless told otherwise."""
    blocks = [data[at : at + (1 << 18)] for at in range(0, len(data), 1 << 18)]
    return node(DENSE, 0x18, (len(data),), stream(blocks, **options))


def text(type: int, name: bytes, data: bytes) -> Section:
    """Return a graph, metadata or blob section."""
    return Section(type, name, byte_leaf(data), data)


def alias(name: bytes, target: bytes) -> Section:
    """Return an alias section."""
    raw = struct.pack("<H", len(target)) + target
    return Section(ALIAS, name, raw.ljust(up8(len(raw)), b"\0"))


def names(*entries: tuple[int, int, bytes]) -> Section:
    """Return a names section of entries (class, id, name)."""
    raw = (struct.pack("<BBH", kind, number, len(name)) + name for kind, number, name in entries)
    return Section(NAMES, b"", b"".join(one.ljust(up8(len(one)), b"\0") for one in raw))


def columns(rows: Sequence[tuple[int, Section]]) -> bytes:
    """Return the decoded directory of sections at offsets (SPEC 5.5)."""
    seen = [
        (
            section.listed.get("offset", offset),
            section.listed.get("length", len(section.payload)),
            _with(section, section.listed),
        )
        for offset, section in rows
        for _ in range(section.listed.get("times", 1))
    ]
    out = [struct.pack("<Q", len(seen))]
    for form, value in _COLUMNS:
        out.append(struct.pack(f"<{len(seen)}{form}", *map(value, seen)))
    out += [b"\n".join(one.name for _, _, one in seen), *(one.body for _, _, one in seen)]
    return b"".join(out)


def _head_length(section: Section) -> int:
    return 32 + up8(len(section.name)) + len(section.body)


_COLUMNS: tuple[tuple[str, Callable[[Any], int]], ...] = (
    ("Q", lambda row: row[0]),
    ("Q", lambda row: row[1]),
    ("I", lambda row: row[2].listed.get("head_length", _head_length(row[2]))),
    ("H", lambda row: row[2].type),
    ("H", lambda row: row[2].flags),
    ("H", lambda row: row[2].listed.get("name_length", len(row[2].name))),
    ("B", lambda row: row[2].alignment),
)


def assemble(
    *sections: Section,
    header: bytes = HEADER,
    listing: Callable[[bytes], bytes] | None = None,
    directory: Callable[[bytes], Section] | None = None,
    pointers: Callable[[bytes], bytes] | None = None,
    trailer: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Return the file.

    Args:
        sections: in order, all but the directory.
        header: the first 16 bytes.
        listing: changes the decoded directory before it is stored.
        directory: makes the directory's section of its decoded bytes, by default raw.
        pointers: changes the trailer's first 16 bytes before its checksum is taken.
        trailer: changes the trailer of 32 bytes.
    """
    out, rows = bytearray(header), []
    for section in sections:
        rows.append((len(out), section))
        _put(out, section)
    data = columns(rows)
    data = listing(data) if listing else data
    last = directory(data) if directory else Section(DIRECTORY, b"", byte_leaf(data), data)
    offset = len(out)
    _put(out, last)
    end = struct.pack("<QQ", offset, len(out) - offset)
    end = pointers(end) if pointers else end
    end += struct.pack("<II", zlib.crc32(out[:16] + out[offset:] + end), 0) + END
    return bytes(out + (trailer(end) if trailer else end))


def digest_rows(*sections: Section, header: bytes = HEADER) -> bytes:
    """Return the rows of a digests section behind all other sections (SPEC 13.1)."""
    whole = assemble(*sections, header=header)
    covered = whole[: struct.unpack_from("<Q", whole, len(whole) - 32)[0]]
    pieces = (covered[at : at + CHUNK] for at in range(0, len(covered), CHUNK))
    return b"".join(hashlib.sha256(piece).digest() for piece in pieces)


def _put(out: bytearray, section: Section) -> None:
    """Append a section by the chain (SPEC 5.7)."""
    out += section.head(len(out))
    padding = bytes(-len(out) % (1 << section.alignment))
    out += (padding if section.lead is None else section.lead) + section.payload
    out += bytes(-len(out) & 7) if section.tail is None else section.tail
