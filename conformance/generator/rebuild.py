"""Valid files taken apart, and put together again with right checksums behind what was changed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeVar

from conformance.generator.assemble import (
    DENSE,
    DIGESTS,
    DIRECTORY,
    HEADER,
    TENSOR,
    Section,
    assemble,
    byte_leaf,
    digest_rows,
    up8,
)

T = TypeVar("T")
Change = Callable[[T], T]


@dataclass
class Parsed:
    """A valid file's parts, and what is to be changed of those that are remade."""

    header: bytes = HEADER
    sections: list[Section] = field(default_factory=list)
    directory: list[Change[bytes]] = field(default_factory=list)
    """Of the decoded directory."""
    last: list[Change[Section]] = field(default_factory=list)
    """Of the directory's section."""
    pointers: list[Change[bytes]] = field(default_factory=list)
    """Of the trailer's first 16 bytes, before its checksum is taken."""
    trailer: list[Change[bytes]] = field(default_factory=list)
    finished: list[Change[bytes]] = field(default_factory=list)


def parse(data: bytes) -> Parsed:
    """Take a valid file apart by its inline heads; ValueError if they lead nowhere."""
    found, at = Parsed(data[:16]), 16
    while at + 32 <= len(data):
        kind, flags, length, name, alignment = struct.unpack_from("<HHIHB", data, at + 4)
        size = struct.unpack_from("<Q", data, at + 16)[0]
        if kind == DIRECTORY:
            return found
        start = -(-(at + length) // (1 << alignment)) << alignment
        if length < 32 + up8(name) or start + size > len(data):
            raise ValueError(f"no section stands at {at}")
        found.sections.append(
            Section(
                kind,
                data[at + 32 : at + 32 + name],
                data[at + 32 + up8(name) : at + length],
                data[start : start + size],
                flags,
                alignment,
            )
        )
        at = up8(start + size)
    raise ValueError("there is no directory")


@dataclass(frozen=True)
class Node:
    """Where a node stands in a body."""

    kind: int
    at: int
    shape: int
    """Offset of the first dimension."""
    parameters: int
    """Offset of the parameters."""
    end: int
    """Offset behind the parameters."""
    level: int


def nodes(
    body: bytes | bytearray, at: int = 0, level: int = 1, end: int | None = None
) -> list[Node]:
    """Return the nodes of a tree in pre-order (SPEC 8.1); ValueError if lengths do not nest."""
    end = len(body) if end is None else end
    if at + 16 > end:
        raise ValueError(f"no node at {at}")
    kind, _, _, rank, many = body[at : at + 5]
    size, length = struct.unpack_from("<II", body, at + 8)
    start = at + 16 + 8 * rank
    inner, end = start + size, min(at + length, end)
    if inner > end:
        raise ValueError(f"the node at {at} does not hold its parameters")
    found = [Node(kind, at, at + 16, start, inner, level)]
    for _ in range(many):
        found += nodes(body, inner, level + 1, end)
        inner += struct.unpack_from("<I", body, inner + 12)[0]
    return found


def entries(body: bytes | bytearray, alignment: int = 3) -> list[tuple[int, int]]:
    """Return (offset in the body, position in the payload) of the entries of all leaves.

    ValueError if the body is no tree, or a leaf ends within an entry.
    """
    found, position = [], 0
    for one in nodes(body):
        if one.kind != DENSE:
            continue
        transform, _, planes, _, codec = body[one.parameters : one.parameters + 5]
        unit = 1 << alignment if (transform, planes, codec) == (0, 1, 0) else 8
        for entry in range(one.parameters + up8(4 + planes), one.end, 8):
            if entry + 8 > one.end:
                raise ValueError(f"the entry at {entry} is cut off")
            position += -position % unit
            unit = 8
            found.append((entry, position))
            position += struct.unpack_from("<I", body, entry)[0]
    return found


def stored(section: Section, which: int, changed: Change[bytes]) -> Section:
    """Return a section with other bytes behind one of its entries, its block table fitting."""
    body, payload = bytearray(section.body), bytearray()
    found = entries(section.body, section.alignment)
    pieces = [
        section.payload[position:][: struct.unpack_from("<I", body, entry)[0]]
        for entry, position in found
    ]
    pieces[which] = changed(pieces[which])
    struct.pack_into("<I", body, found[which][0], len(pieces[which]))
    for (_, position), piece in zip(entries(body, section.alignment), pieces, strict=True):
        if position > len(section.payload) + (1 << 20):
            raise ValueError(f"an entry stands at {position}, far behind the payload")
        payload += bytes(position - len(payload)) + piece
    return replace(section, body=bytes(body), payload=bytes(payload))


def repaired(section: Section) -> Section:
    """Return a section whose block tables have the checksums of what is stored.

    A body that is no tree has no block tables.
    """
    body = bytearray(section.body)
    try:
        found = entries(section.body, section.alignment)
    except (ValueError, RecursionError):
        return section
    for entry, position in found:
        length = struct.unpack_from("<I", body, entry)[0]
        crc = zlib.crc32(section.payload[position : position + length])
        struct.pack_into("<I", body, entry + 4, crc)
    return replace(section, body=bytes(body))


def digested(sections: Sequence[Section], header: bytes = HEADER) -> list[Section]:
    """Return sections of which the digests, if they end in some, are right (SPEC 13.1)."""
    if not sections or sections[-1].type != DIGESTS:
        return [*sections]
    *before, last = sections
    return [*before, repaired(replace(last, payload=digest_rows(*before, header=header)))]


def build(file: Parsed, repair: Sequence[str] = ()) -> bytes:
    """Put a file together again; heads, directory and trailer get right checksums and lengths.

    Args:
        file: the parts.
        repair: "planes" gives the block tables of all sections the checksums of what is stored,
            "digests" those of a digests section at the end that it had before.
    """
    sections = file.sections
    if "planes" in repair:
        sections = [repaired(s) if s.payload or s.type == TENSOR else s for s in sections]
    if "digests" in repair:
        sections = digested(sections, file.header)
    whole = assemble(
        *sections,
        header=file.header,
        listing=partial(_after, file.directory),
        directory=lambda data: _after(file.last, Section(DIRECTORY, b"", byte_leaf(data), data)),
        pointers=partial(_after, file.pointers),
        trailer=partial(_after, file.trailer),
    )
    return _after(file.finished, whole)


def _after(changes: Iterable[Change[T]], value: T) -> T:
    """Return what changes make of a value, one after the other."""
    return reduce(lambda made, changed: changed(made), changes, value)
