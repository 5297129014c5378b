"""Operations on valid files, and the repair of checksums behind them.

A file is taken apart into sections, changed, and put together again: heads, directory and trailer
then have right checksums and lengths, so that what is refused is what was changed. An operation is
a JSON object:

    {"op": "section", "index", "field", "value"}     in the inline head and in the directory
    {"op": "inline",  "index", "field", "value"}     in the inline head alone
    {"op": "listed",  "index", "field", "value"}     in the directory alone
    {"op": "splice",  "index", "field", "at", "old", "new"}   in the name, body or payload
    {"op": "text",    "index", "value"}              the bytes of a byte leaf, raw, its body remade
    {"op": "store",   "index", "entry", "at", "old", "new"}   in the bytes stored for an entry:
                                                     their length and what follows move along
    {"op": "drop", "index"}   {"op": "copy", "index", "to"}   {"op": "move", "index", "to"}
    {"op": "add", "to", "section": {"type", "name", "body", "payload", "flags", "alignment"}}
    {"op": "header", "at", "old", "new"}             of the 16 bytes
    {"op": "directory", "at", "old", "new"}          of the decoded directory
    {"op": "leaf", "field", "at", "old", "new"}      of the directory's own body or payload
    {"op": "last", "field", "value"}                 of the directory's own head
    {"op": "trailer", "at", "old", "new"}            its checksum is right if `at` is below 16
    {"op": "file", "at", "old", "new"}               of the finished bytes, nothing repaired
    {"op": "cut", "at"}                              the finished bytes end there

Bytes are hex; `old` must stand at `at` and may be shorter or longer than `new`; a negative `at`
counts from the end, and `null` is the end. Fields are those of `assemble.Section` and, for one side
alone, of its `inline` and `listed`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.generator.assemble import (
    DENSE,
    DIGESTS,
    DIRECTORY,
    HEADER,
    Section,
    assemble,
    byte_leaf,
    up8,
)

Operation = dict[str, Any]
_BYTES = {"name", "body", "payload", "lead", "tail", "sync"}


@dataclass
class Parsed:
    """A valid file's parts; its directory is remade."""

    header: bytes = HEADER
    sections: list[Section] = field(default_factory=list)
    directory: list[Operation] = field(default_factory=list)
    last: list[Operation] = field(default_factory=list)
    trailer: list[Operation] = field(default_factory=list)
    file: list[Operation] = field(default_factory=list)


def parse(data: bytes) -> Parsed:
    """Take a valid file apart by its inline heads; ValueError if they lead nowhere."""
    found, at = Parsed(data[:16]), 16
    while True:
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


def nodes(body: bytes, at: int = 0, level: int = 1, end: int | None = None) -> list[Node]:
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


def entries(body: bytes, alignment: int = 3) -> list[tuple[int, int]]:
    """Return (offset in the body, position in the payload) of the entries of all leaves."""
    found, position = [], 0
    for one in nodes(body):
        if one.kind != DENSE:
            continue
        transform, _, planes, _, codec = body[one.parameters : one.parameters + 5]
        unit = 1 << alignment if (transform, planes, codec) == (0, 1, 0) else 8
        for entry in range(one.parameters + up8(4 + planes), one.end, 8):
            position += -position % unit
            unit = 8
            found.append((entry, position))
            position += struct.unpack_from("<I", body, entry)[0]
    return found


def stored(section: Section, operation: Operation) -> Section:
    """Return a section with other bytes behind one of its entries, its block table fitting."""
    body, payload = bytearray(section.body), bytearray()
    pieces = [
        section.payload[position:][: struct.unpack_from("<I", body, entry)[0]]
        for entry, position in entries(section.body, section.alignment)
    ]
    changed = operation["entry"]
    pieces[changed] = splice(pieces[changed], operation)
    entry, _ = entries(section.body)[changed]
    struct.pack_into("<I", body, entry, len(pieces[changed]))
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
    except (ValueError, IndexError):
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
    plain = assemble(*before, header=header)
    covered = plain[: struct.unpack_from("<Q", plain, len(plain) - 32)[0]]
    pieces = (covered[at : at + (1 << 20)] for at in range(0, len(covered), 1 << 20))
    rows = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    return [*before, repaired(replace(last, payload=rows))]


def splice(data: bytes, operation: Operation) -> bytes:
    """Return bytes with `old` replaced by `new`."""
    at = operation["at"]
    at = len(data) if at is None else at + len(data) if at < 0 else at
    old, new = (bytes.fromhex(operation[key]) for key in ("old", "new"))
    if data[at : at + len(old)] != old:
        raise ValueError(f"{data[at : at + len(old)].hex()} stands at {at}, not {old.hex()}")
    return data[:at] + new + data[at + len(old) :]


def _value(name: str, value: Any) -> Any:
    return bytes.fromhex(value) if name in _BYTES else value


def change(file: Parsed, operation: Operation) -> None:
    """Make one operation on a file that is taken apart."""
    kind, index = operation["op"], operation.get("index", 0)
    sections = file.sections
    if kind == "section":
        name = operation["field"]
        changed = {name: _value(name, operation["value"])}
        sections[index] = replace(sections[index], **changed)
    elif kind in {"inline", "listed"}:
        name = operation["field"]
        said = {**getattr(sections[index], kind), name: _value(name, operation["value"])}
        sections[index] = replace(sections[index], **{kind: said})
    elif kind == "splice":
        name = operation["field"]
        old = getattr(sections[index], name)
        sections[index] = replace(sections[index], **{name: splice(old, operation)})
    elif kind == "text":
        data = bytes.fromhex(operation["value"])
        sections[index] = replace(sections[index], body=byte_leaf(data), payload=data)
    elif kind == "store":
        sections[index] = stored(sections[index], operation)
    elif kind == "drop":
        del sections[index]
    elif kind == "copy":
        sections.insert(operation["to"], sections[index])
    elif kind == "move":
        sections.insert(operation["to"], sections.pop(index))
    elif kind == "add":
        given = {name: _value(name, value) for name, value in operation["section"].items()}
        sections.insert(operation["to"], Section(**given))
    elif kind == "header":
        file.header = splice(file.header, operation)
    else:
        later = {"directory": file.directory, "leaf": file.last, "last": file.last,
                 "trailer": file.trailer, "file": file.file, "cut": file.file}  # fmt: skip
        later[kind].append(operation)


_INLINE = {"length", "head_length", "name_length", "sync", "zero15", "zero24", "checksum"}


def _directory(data: bytes, operations: Iterable[Operation]) -> Section:
    """Return the directory's section, changed by operations on it alone."""
    section = Section(DIRECTORY, b"", byte_leaf(data), data)
    for operation in operations:
        name = operation["field"]
        if operation["op"] == "leaf":
            section = replace(section, **{name: splice(getattr(section, name), operation)})
        elif name in _INLINE:
            said = {**section.inline, name: _value(name, operation["value"])}
            section = replace(section, inline=said)
        else:
            section = replace(section, **{name: _value(name, operation["value"])})
    return section


def apply(data: bytes, operations: Iterable[Operation], repair: Sequence[str] = ()) -> bytes:
    """Return what operations make of a valid file.

    Args:
        data: the file; its directory must be raw.
        operations: applied in order.
        repair: "planes" gives the block tables of all sections the checksums of what is stored,
            "digests" those of a digests section at the end that it had before.
    """
    file = parse(data)
    for operation in operations:
        change(file, operation)
    return build(file, repair)


def build(file: Parsed, repair: Sequence[str] = ()) -> bytes:
    """Put a file together again."""
    sections = file.sections
    if "planes" in repair:
        sections = [repaired(s) if s.payload and s.body else s for s in sections]
    if "digests" in repair:
        sections = digested(sections, file.header)

    def listing(directory: bytes) -> bytes:
        for operation in file.directory:
            directory = splice(directory, operation)
        return directory

    def trailer(end: bytes) -> bytes:
        for operation in file.trailer:
            end = splice(end, operation)
        return end

    whole = assemble(
        *sections,
        header=file.header,
        listing=listing,
        directory=lambda data: _directory(data, file.last),
        trailer=trailer,
    )
    if any(operation["at"] is not None and 0 <= operation["at"] < 16 for operation in file.trailer):
        start = whole.rfind(b"\x89SEC" + struct.pack("<H", DIRECTORY))
        covered = whole[:16] + whole[start:-32] + whole[-32:-16]
        whole = whole[:-16] + struct.pack("<I", zlib.crc32(covered)) + whole[-12:]
    for operation in file.file:
        cut = operation["op"] == "cut"
        whole = whole[: operation["at"]] if cut else splice(whole, operation)
    return whole
