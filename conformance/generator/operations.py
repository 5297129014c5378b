"""Operations on valid files: their language, their constructors, and what they change.

A file is taken apart into sections, changed, and put together again (rebuild.py), so that what is
refused is what was changed. An operation is a JSON object:

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
    {"op": "trailer", "at", "old", "new"}            its checksum is right if `at` is below 16,
                                                     where `old` ends as well
    {"op": "file", "at", "old", "new"}               of the finished bytes, nothing repaired
    {"op": "cut", "at"}                              the finished bytes end there

Bytes are hex; `old` must stand at `at` and may be shorter or longer than `new`; a negative `at`
counts from the end, and `null` is the end. Fields are those of `assemble.Section` and, for one side
alone, of its `inline` and `listed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.generator.assemble import Section, byte_leaf
from conformance.generator.rebuild import Parsed, build, parse, stored

Operation = dict[str, Any]


def _op(op: str, **given: Any) -> Operation:
    return {"op": op, **{k: v.hex() if isinstance(v, bytes) else v for k, v in given.items()}}


def section(index: int, field: str, value: Any) -> Operation:
    """Change a field in the inline head and in the directory."""
    return _op("section", index=index, field=field, value=value)


def inline(index: int, field: str, value: Any) -> Operation:
    """Change a field in the inline head alone."""
    return _op("inline", index=index, field=field, value=value)


def listed(index: int, field: str, value: Any) -> Operation:
    """Change a field in the directory alone."""
    return _op("listed", index=index, field=field, value=value)


def both(index: int, field: str, value: Any) -> list[Operation]:
    """Change what both heads say, not where anything stands."""
    return [inline(index, field, value), listed(index, field, value)]


def splice(index: int, field: str, at: int | None, old: bytes, new: bytes) -> Operation:
    """Change bytes of a section's name, body or payload."""
    return _op("splice", index=index, field=field, at=at, old=old, new=new)


def store(index: int, entry: int, at: int, old: bytes, new: bytes) -> Operation:
    """Change bytes that are stored for an entry."""
    return _op("store", index=index, entry=entry, at=at, old=old, new=new)


def text(index: int, value: bytes) -> Operation:
    """Give a byte leaf other bytes."""
    return _op("text", index=index, value=value)


def drop(index: int) -> Operation:
    """Leave a section out."""
    return _op("drop", index=index)


def copy(index: int, to: int) -> Operation:
    """Repeat a section."""
    return _op("copy", index=index, to=to)


def move(index: int, to: int) -> Operation:
    """Put a section elsewhere."""
    return _op("move", index=index, to=to)


def add(to: int, type: int, **fields: Any) -> Operation:
    """Put a section in."""
    given = {name: v.hex() if isinstance(v, bytes) else v for name, v in fields.items()}
    return _op("add", to=to, section={"type": type, **given})


def header(at: int, old: bytes, new: bytes) -> Operation:
    """Change bytes of the header."""
    return _op("header", at=at, old=old, new=new)


def directory(at: int | None, old: bytes, new: bytes) -> Operation:
    """Change bytes of the decoded directory."""
    return _op("directory", at=at, old=old, new=new)


def leaf(field: str, at: int | None, old: bytes, new: bytes) -> Operation:
    """Change bytes of the directory's own body or payload."""
    return _op("leaf", field=field, at=at, old=old, new=new)


def last(field: str, value: Any) -> Operation:
    """Change a field of the directory's own head."""
    return _op("last", field=field, value=value)


def trailer(at: int, old: bytes, new: bytes) -> Operation:
    """Change bytes of the trailer."""
    return _op("trailer", at=at, old=old, new=new)


def file(at: int | None, old: bytes, new: bytes) -> Operation:
    """Change finished bytes; no checksum is made right."""
    return _op("file", at=at, old=old, new=new)


def cut(at: int) -> Operation:
    """End the file there."""
    return _op("cut", at=at)


def change(file: Parsed, operation: Operation) -> None:
    """Make one operation on a file that is taken apart."""
    sections = file.sections
    edit = partial(spliced, operation=operation)
    match operation:
        case {"op": "drop", "index": index}:
            del sections[index]
        case {"op": "copy", "index": index, "to": to}:
            sections.insert(to, sections[index])
        case {"op": "move", "index": index, "to": to}:
            sections.insert(to, sections.pop(index))
        case {"op": "add", "to": to, "section": given}:
            sections.insert(to, Section(**{name: _value(name, v) for name, v in given.items()}))
        case {"op": "header"}:
            file.header = edit(file.header)
        case {"op": "directory"}:
            file.directory.append(edit)
        case {"op": "leaf" | "last"}:
            file.last.append(partial(_of_directory, operation=operation))
        case {"op": "trailer", "at": at}:
            checked = at is not None and 0 <= at < 16
            (file.pointers if checked else file.trailer).append(edit)
        case {"op": "file"}:
            file.finished.append(edit)
        case {"op": "cut", "at": at}:
            file.finished.append(lambda data: data[:at])
        case _:
            index = operation["index"]
            sections[index] = _of_section(sections[index], operation)


def _of_section(section: Section, operation: Operation) -> Section:
    """Return a section, changed by an operation on it alone."""
    match operation:
        case {"op": "section", "field": name, "value": value}:
            return _with(section, name, _value(name, value))
        case {"op": "inline" | "listed" as side, "field": name, "value": value}:
            return _with(section, side, {**getattr(section, side), name: _value(name, value)})
        case {"op": "splice", "field": name}:
            return _with(section, name, spliced(getattr(section, name), operation))
        case {"op": "text", "value": value}:
            data = bytes.fromhex(value)
            return replace(section, body=byte_leaf(data), payload=data)
        case {"op": "store", "entry": entry}:
            return stored(section, entry, partial(spliced, operation=operation))
    raise ValueError(f"no operation: {operation}")


_INLINE = {"length", "head_length", "name_length", "sync", "zero15", "zero24", "checksum"}


def _of_directory(section: Section, operation: Operation) -> Section:
    """Return the directory's section, which has no second head, changed by `leaf` or `last`."""
    if operation["op"] == "leaf":
        return _of_section(section, {**operation, "op": "splice"})
    side = "inline" if operation["field"] in _INLINE else "section"
    return _of_section(section, {**operation, "op": side})


def _with(section: Section, field: str, value: Any) -> Section:
    return replace(section, **{field: value})


def spliced(data: bytes, operation: Operation) -> bytes:
    """Return bytes with `old` replaced by `new`."""
    at = operation["at"]
    at = len(data) if at is None else at + len(data) if at < 0 else at
    old, new = (bytes.fromhex(operation[key]) for key in ("old", "new"))
    if data[at : at + len(old)] != old:
        raise ValueError(f"{data[at : at + len(old)].hex()} stands at {at}, not {old.hex()}")
    return data[:at] + new + data[at + len(old) :]


_BYTES = {"name", "body", "payload", "lead", "tail", "sync"}


def _value(name: str, value: Any) -> Any:
    return bytes.fromhex(value) if name in _BYTES else value


def apply(data: bytes, operations: Iterable[Operation], repair: Sequence[str] = ()) -> bytes:
    """Return what operations make of a valid file, whose directory must be raw.

    Args:
        data: the file.
        operations: applied in order.
        repair: what `rebuild.build` is to make right.
    """
    file = parse(data)
    for operation in operations:
        change(file, operation)
    return build(file, repair)
