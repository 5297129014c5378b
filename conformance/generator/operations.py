"""The operations of `mutate` by name; bytes are turned into hex."""

from __future__ import annotations

from typing import Any

from conformance.generator.mutate import Operation


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
