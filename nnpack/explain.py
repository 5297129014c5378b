"""What every byte of a file is, for people who write readers: the fields in order, with offsets.

Works along the inline heads, one section at a time, and on damaged files as far as it gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import IO, Any, Final, NamedTuple

import numpy as np

from nnpack import container
from nnpack.arguments import check_limits
from nnpack.bindings import FIRST_PRIVATE, LAST_PRIVATE, NAME_CLASSES
from nnpack.codecs import CODECS
from nnpack.container import Section, Trailer
from nnpack.dtypes import BY_ID, count
from nnpack.errors import NnpackError
from nnpack.limits import MAX_DEPTH, MAX_HEAD, MAX_RANK, Limits
from nnpack.nodes import KINDS
from nnpack.nodes.cell import read_cell
from nnpack.nodes.quantized import DIVIDE, FLAT
from nnpack.sections import directory_leaf, parse_payload, read_bytes
from nnpack.source import Source, open_source
from nnpack.streamhead import ENTRY
from nnpack.transforms import TRANSFORMS
from nnpack.tree import NodeHead
from nnpack.walk import Finder
from nnpack.wire import Cursor, up8

SHOWN: Final = 8
"""Bytes of a field that a row holds."""
LISTED: Final = 4
"""Entries of a block table, and values of a column, that are shown."""
TEXT: Final = 60
"""Characters of a text that are shown."""
FAULT: Final = "!!"
"""Field of a row that says what is wrong."""
_COLUMNS: Final = (
    ("offset", "<u8"),
    ("payload length", "<u8"),
    ("head length", "<u4"),
    ("type", "<u2"),
    ("flags", "<u2"),
    ("name length", "<u2"),
    ("alignment", "u1"),
)


class Row(NamedTuple):
    """One field.

    Attributes:
        offset: of its first byte.
        size: in bytes; 0 in headings and remarks.
        data: the first of its bytes, at most `SHOWN`.
        field: its name as in SPEC.md; `FAULT`; empty in a heading.
        value: what it says.
        decoded: whether the offset counts in the decoded directory, not in the file.
    """

    offset: int
    size: int
    data: bytes
    field: str
    value: str
    decoded: bool = False


Rows = Iterator[Row]


def explain(
    source: str | os.PathLike[str] | IO[bytes] | bytes | bytearray | memoryview,
    *,
    limits: Limits | None = None,
) -> Rows:
    """Yield the fields of a file in order; one section's head is held at a time.

    Checksums of heads and of the trailer are compared; those of payloads are for `verify`.
    """
    limits = check_limits(limits)
    return _file(open_source(source, mapped=False), limits)


class _CutError(Exception):
    """Fields run over the end of what holds them."""


class _Pen:
    """Reads fields in order out of bytes that stand at an offset, and notes a row for each."""

    def __init__(
        self, data: bytes | memoryview, offset: int, position: int = 0, *, decoded: bool = False
    ) -> None:
        self.data, self.offset, self.position = memoryview(data), offset, position
        self.path = ""
        self._decoded = decoded
        self._rows: list[Row] = []

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int, field: str, say: Callable[[bytes], str] = lambda _: "") -> bytes:
        """Return the bytes of a field."""
        if size > self.left:
            raise _CutError(f"{field} runs over the end by {size - self.left} bytes")
        data = bytes(self.data[self.position : self.position + size])
        self._row(size, data[:SHOWN], f"{self.path} {field}".strip(), say(data))
        self.position += size
        return data

    def number(self, size: int, field: str, say: Callable[[int], str] = str) -> int:
        """Return an integer field."""
        data = self.take(size, field, lambda data: say(int.from_bytes(data, "little")))
        return int.from_bytes(data, "little")

    def zeros(self, size: int | None = None, field: str = "zeros") -> None:
        """Take bytes that must be zero, by default up to a multiple of 8."""
        size = -self.position & 7 if size is None else size
        if size and any(self.take(size, field)):
            self.fault("not zero")

    def rest(self, field: str) -> None:
        """Take what is left."""
        if self.left:
            self.take(self.left, field, lambda data: _bytes(len(data)))

    def fault(self, what: str) -> None:
        """Note what is wrong here."""
        self._row(0, b"", FAULT, what)

    def _row(self, size: int, data: bytes, field: str, value: str) -> None:
        self._rows.append(Row(self.offset + self.position, size, data, field, value, self._decoded))

    def flush(self, cut: _CutError | None = None) -> list[Row]:
        """Return the rows noted since the last time, and why there are no more."""
        if cut:
            self.fault(str(cut))
        rows, self._rows = self._rows, []
        return rows


def _file(source: Source, limits: Limits) -> Rows:
    try:
        yield Row(0, 0, b"", "", "header")
        pen = _Pen(source.read(0, min(container.HEADER_SIZE, source.size)), 0)
        is_ours = _header(pen) or _has_sync(source, container.HEADER_SIZE)
        yield from pen.flush()
        if is_ours:
            yield from _sections(source, limits)
    finally:
        source.close()


def _header(pen: _Pen) -> bool:
    """Explain the first 16 bytes; return whether they are nnpack's."""
    try:
        if pen.take(len(container.MAGIC), "magic") != container.MAGIC:
            pen.fault("not nnpack's magic bytes")
            return False
        pen.number(2, "major")
        pen.number(2, "minor")
        pen.zeros(4, "reserved")
    except _CutError as cut:
        pen.fault(str(cut))
    return True


def _sections(source: Source, limits: Limits) -> Rows:
    """Explain sections along the chain, then the trailer."""
    at, number = container.HEADER_SIZE, 0
    finder = Finder(source)
    while at < source.size and not _is_trailer(source, at):
        following = yield from _section(source, at, number, limits, finder)
        if following is None:
            following, what = finder.next_head(at + 8), "the next section head"
            if following is None:
                following, what = source.size - container.TRAILER_SIZE, "the trailer"
            if following <= at or (what == "the trailer" and not _ends_well(source)):
                following, what = source.size, "the end"
            yield Row(at, 0, b"", FAULT, f"{_bytes(following - at)} up to {what} skipped")
        at, number = following, number + 1
    if at < source.size:
        yield from _trailer(source, at, limits)
    else:
        yield Row(source.size, 0, b"", FAULT, "the file ends here, without a trailer")


def _is_trailer(source: Source, at: int) -> bool:
    """Return whether a trailer stands here, which others may have appended to."""
    end = at + container.TRAILER_SIZE
    if end > source.size or _has_sync(source, at):
        return False
    return end == source.size or _ends_well(source, end)


def _ends_well(source: Source, end: int | None = None) -> bool:
    """Return whether the end magic stands before `end`, by default that of the file."""
    size = len(container.END_MAGIC)
    at = (source.size if end is None else end) - size
    return bytes(source.read(at, size)) == container.END_MAGIC


def _has_sync(source: Source, at: int) -> bool:
    size = len(container.SYNC)
    return source.size - at >= size and bytes(source.read(at, size)) == container.SYNC


def _section(
    source: Source, at: int, number: int, limits: Limits, finder: Finder
) -> Generator[Row, None, int | None]:
    """Explain one section; return where the next one stands, None if that cannot be told."""
    fixed = bytes(source.read(at, min(container.HEAD_SIZE, source.size - at)))
    if not _has_sync(source, at) or len(fixed) < container.HEAD_SIZE:
        yield Row(at, len(fixed), fixed[:SHOWN], FAULT, "no whole section head stands here")
        return None
    pen = _Pen(fixed, at)
    pen.take(4, "sync")
    kind = pen.number(2, "type", _of(container.TYPE_NAMES))
    pen.number(2, "flags", lambda flags: "1 = ancillary" if flags == 1 else str(flags))
    length = pen.number(4, "head length")
    name_length = pen.number(2, "name length")
    alignment = pen.number(1, "alignment", "2^{}".format)
    pen.zeros(1, "reserved")
    payload = pen.number(8, "payload length")
    pen.zeros(4, "reserved")
    crc = pen.number(4, "checksum", "{:08x}".format)
    body_at = container.HEAD_SIZE + up8(name_length)
    if not body_at <= length <= MAX_HEAD or length & 7:
        pen.fault("a head of this length cannot be")
        head = fixed
    elif not finder.spend(0 if number == 0 else min(length, source.size - at)):
        pen.fault("heads overlap here too often to look at each")
        head = fixed
    else:
        head = bytes(source.read(at, min(length, source.size - at)))
    right = len(head) == length and container.head_crc(at, head) == crc
    if not right:
        pen.fault("not the checksum of this head in this place")
    name = head[container.HEAD_SIZE : container.HEAD_SIZE + name_length].decode(errors="replace")
    alignment = min(alignment, container.MAX_ALIGNMENT_LOG2)
    section = Section(kind, 0, name, alignment, at, payload, head[body_at:])
    title = container.TYPE_NAMES.get(kind, f"type {kind}")
    yield Row(at, 0, b"", "", f"section {number}: {title} {_quoted(name) if name else ''}".strip())
    yield from pen.flush()
    has_tree = kind in container.TYPE_NAMES or payload > 0
    yield from _head(_Pen(head, at, container.HEAD_SIZE), kind, name_length, has_tree=has_tree)
    if section.head_length != length:  # cut, or its name is no text
        return None
    yield from _payload(source, section, limits)
    is_next = _has_sync(source, section.end) or _is_trailer(source, section.end)
    return section.end if right or is_next else None


def _head(pen: _Pen, kind: int, name_length: int, *, has_tree: bool) -> Rows:
    """Explain what follows the fixed part of a head."""
    try:
        if name_length:
            name = pen.take(name_length, "name", _text)
            if name.decode(errors="replace").encode() != name:
                pen.fault("not UTF-8")
            pen.zeros()
        if kind == container.ALIAS:
            pen.take(pen.number(2, "target length"), "target", _text)
            pen.zeros()
        elif kind == container.NAMES:
            yield from _names(pen)
        elif has_tree:
            yield from _node(pen, "", {}, 1)
        pen.rest("body")
        yield from pen.flush()
    except _CutError as cut:
        yield from pen.flush(cut)


def _names(pen: _Pen) -> Rows:
    while pen.left:
        pen.number(1, "class", _of(NAME_CLASSES))
        pen.number(1, "id")
        pen.take(pen.number(2, "name length"), "name", _text)
        pen.zeros()
        yield from pen.flush()


def _node(pen: _Pen, path: str, roles: Mapping[int, str], depth: int) -> Rows:
    """Explain a node and its parts; `path` is the roles that lead to it."""
    if depth > MAX_DEPTH:
        raise _CutError(f"more than {MAX_DEPTH} levels of nodes")
    pen.path = path
    kind = pen.number(1, "kind", _of({key: known.name for key, known in KINDS.items()}))
    pen.number(1, "role", _of(roles) if roles else str)
    dtype = pen.number(1, "dtype", lambda key: f"{key:#04x} = {_dtype(key)}")
    rank = pen.number(1, "rank")
    parts = pen.number(1, "part count")
    pen.zeros(3, "reserved")
    length = pen.number(4, "parameter length")
    pen.number(4, "node length")
    if rank > MAX_RANK:
        raise _CutError(f"a rank above {MAX_RANK}")
    shape = [pen.number(8, f"dim {axis}") for axis in range(rank)]
    yield from pen.flush()
    inner = _Pen(pen.data[: pen.position + length], pen.offset, pen.position)
    inner.path = path
    try:
        if kind in _PARAMETERS:
            _PARAMETERS[kind](inner, dtype, shape)
        inner.rest("parameters")
        yield from inner.flush()
    except _CutError as cut:
        yield from inner.flush(cut)
    if length > pen.left:
        raise _CutError(f"parameters run over the end by {length - pen.left} bytes")
    pen.position += length
    below = KINDS[kind].roles if kind in KINDS else {}
    for _ in range(parts):
        if pen.left < 2:
            raise _CutError("a part runs over the end")
        role = pen.data[pen.position + 1]
        yield from _node(pen, f"{path}.{_role(kind, role)}".lstrip("."), below, depth + 1)


def _dense(pen: _Pen, _: int, shape: list[int]) -> None:
    pen.number(1, "transform", _of({key: known.name for key, known in TRANSFORMS.items()}))
    log2 = pen.number(1, "block", "2^{} cells".format)
    planes = pen.number(1, "planes")
    pen.number(1, "transform parameter")
    codec = _of({key: known.name for key, known in CODECS.items()})
    pen.take(planes, "codecs", lambda data: ", ".join(map(codec, data)))
    pen.zeros()
    entries = pen.left // ENTRY
    shared = entries - -(-count(shape) >> log2) * planes
    for index in range(min(entries, LISTED)):
        pen.take(ENTRY, _entry_name(index, shared, planes), _entry)
    if entries > LISTED:
        more = entries - LISTED
        pen.take(more * ENTRY, "entries", lambda _: f"{more:,} more")


def _entry(data: bytes) -> str:
    length, crc = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
    return f"{_bytes(length)}, CRC-32 {crc:08x}"


def _cell(pen: _Pen, dtype: int, field: str) -> None:
    """Explain one cell and the zeros behind it."""
    cell = BY_ID.get(dtype)
    if cell is None:
        return

    def say(data: bytes) -> str:
        try:
            return str(read_cell(Cursor(data, 0), cell)[0])
        except NnpackError as bad:
            return bad.message

    pen.take(up8(cell.itemsize), field, say)


def _constant(pen: _Pen, dtype: int, _: list[int]) -> None:
    _cell(pen, dtype, "cell")


def _csr(pen: _Pen, dtype: int, _: list[int]) -> None:
    pen.number(8, "row length")
    _cell(pen, dtype, "fill")


def _block(pen: _Pen, axes: int) -> None:
    for axis in range(axes):
        pen.number(8, f"block {axis}", lambda size: str(size) if size else "0 = the whole axis")


def _codebook(pen: _Pen, _: int, shape: list[int]) -> None:
    pen.number(4, "vector length")
    pen.number(4, "vector axis")
    _block(pen, len(shape))


def _quantized(pen: _Pen, _: int, shape: list[int]) -> None:
    names = {0: "multiply", FLAT: "flat", DIVIDE: "divide", FLAT | DIVIDE: "flat, divide"}
    flags = pen.number(1, "flags", _of(names))
    pen.number(1, "group axis")
    pen.number(1, "step", lambda key: f"{key:#04x} = {_dtype(key) if key else 'float32'}")
    pen.zeros(5, "reserved")
    _block(pen, 1 if flags & FLAT else len(shape))


def _concat(pen: _Pen, *_: Any) -> None:
    pen.number(8, "axis")


def _opaque(pen: _Pen, *_: Any) -> None:
    name = pen.number(2, "format name length")
    pen.zeros(2, "reserved")
    parameters = pen.number(4, "format parameter length")
    pen.take(name, "format name", _text)
    if parameters:
        pen.take(parameters, "format parameters", lambda data: _bytes(len(data)))
    pen.zeros()


_PARAMETERS: Final[dict[int, Callable[[_Pen, int, list[int]], None]]] = {
    1: _dense,
    2: _constant,
    3: _csr,
    4: _codebook,
    5: _quantized,
    6: _concat,
    7: _opaque,
}


def _payload(source: Source, section: Section, limits: Limits) -> Rows:
    """Explain the bytes from the head to the next one."""
    at = section.offset + section.head_length
    if section.payload_end > source.size:
        missing = section.payload_end - source.size
        yield Row(source.size, 0, b"", FAULT, f"{missing:,} bytes of the payload are missing")
    columns = section.type == container.DIRECTORY
    ranges: list[tuple[int, int, str]] = []
    if section.payload_length:
        try:
            root = parse_payload(section)
            ranges = [*_leaves(root)]
            columns &= root.stream is not None and root.stream.is_raw
        except NnpackError as bad:
            yield Row(section.payload_offset, 0, b"", FAULT, str(bad))
    if section.payload_length and not ranges:
        ranges = [(section.payload_offset, section.payload_length, "")]
    for start, size, what in ranges:
        yield from _zeros(source, at, start)
        stop = min(start + size, source.size)
        if columns:
            yield from _directory(source, section, limits, start)
        elif start < stop:
            data = bytes(source.read(start, min(SHOWN, stop - start)))
            yield Row(start, stop - start, data, "payload", what or _bytes(stop - start))
        at = start + size
    yield from _zeros(source, at, section.end)
    if section.type == container.DIRECTORY and not columns:
        yield Row(section.payload_offset, 0, b"", "", "directory, decoded: offsets count in it")
        yield from _directory(source, section, limits, None)


def _leaves(node: NodeHead, path: str = "") -> Iterator[tuple[int, int, str]]:
    """Yield place, size and meaning of what a tree's leaves store."""
    stream = node.stream
    if stream and stream.is_raw and stream.stored:
        blocks = len(stream.table)
        what = f"{blocks:,} blocks" if blocks > 1 else "1 block"
        yield node.start, stream.span(), f"{path} {what}, {_bytes(stream.stored)}".strip()
    elif stream and stream.stored:
        at, end = node.start, node.start + stream.span()
        entries, planes = [*stream.shared, *stream.table[:LISTED]], len(stream.codecs)
        for index, (length, _) in enumerate(entries[:LISTED]):
            what = _entry_name(index, len(stream.shared), planes)
            yield at, int(length), f"{path} {what}, {_bytes(int(length))}".strip()
            at = up8(at + int(length))
        if at < end:
            yield at, end - at, f"{path} {_bytes(end - at)} more".strip()
    for part in node.parts:
        yield from _leaves(part, f"{path}.{_role(node.kind, part.role)}".lstrip("."))


def _entry_name(index: int, shared: int, planes: int) -> str:
    if index < shared:
        return f"shared table {index}"
    block, plane = divmod(index - shared, max(planes, 1))
    return f"block {block} plane {plane}" if planes > 1 else f"block {block}"


def _zeros(source: Source, start: int, stop: int) -> Rows:
    stop = min(stop, source.size)
    if start < stop:
        data = bytes(source.read(start, stop - start))
        yield Row(start, len(data), data[:SHOWN], "zeros", "")
        if data.strip(b"\0"):
            yield Row(start, 0, b"", FAULT, "not zero")


def _directory(source: Source, section: Section, limits: Limits, start: int | None) -> Rows:
    """Explain the columns, which stand raw at `start` or are decoded."""
    try:
        limits.check("directory_bytes", section.payload_length, "the directory")
        data = read_bytes(section, directory_leaf(section, source, limits))
    except NnpackError as bad:
        yield Row(section.payload_offset, 0, b"", FAULT, str(bad))
        return
    pen = _Pen(data, start or 0, decoded=start is None)
    try:
        sections = pen.number(8, "sections")
        name_lengths = 0
        for name, kind in _COLUMNS:
            width = np.dtype(kind).itemsize
            raw = pen.take(sections * width, f"column {name}", _values(kind)) if sections else b""
            if name == "name length":
                name_lengths = int(np.frombuffer(raw, kind).sum(dtype=np.int64))
        if sections:
            pen.take(name_lengths + sections - 1, "names", _text)
        pen.rest("bodies")
        yield from pen.flush()
    except _CutError as cut:
        yield from pen.flush(cut)


def _values(kind: str) -> Callable[[bytes], str]:
    def say(data: bytes) -> str:
        column = np.frombuffer(data, kind)
        more = ", …" if len(column) > LISTED else ""
        return ", ".join(map(str, column[:LISTED].tolist())) + more

    return say


def _trailer(source: Source, at: int, limits: Limits) -> Rows:
    yield Row(at, 0, b"", "", "trailer")
    data = bytes(source.read(at, container.TRAILER_SIZE))
    pen = _Pen(data, at)
    start = pen.number(8, "directory offset")
    length = pen.number(8, "directory length")
    pen.number(4, "checksum", "{:08x}".format)
    pen.zeros(4, "reserved")
    pen.take(8, "end magic")
    end = at + container.TRAILER_SIZE
    if end < source.size:
        pen.fault(f"{_bytes(source.size - end)} follow the trailer")
    try:
        trailer = Trailer.parse(data, end)
        limits.check("directory_bytes", length, "the directory")
        header = bytes(source.read(0, container.HEADER_SIZE))
        trailer.check(header, source.read(start, length))
    except NnpackError as bad:
        pen.fault(str(bad))
    yield from pen.flush()


def _of(names: Mapping[int, str]) -> Callable[[int], str]:
    """Return a function that says what an id stands for."""

    def say(key: int) -> str:
        private = "private" if FIRST_PRIVATE <= key <= LAST_PRIVATE else None
        return f"{key} = {names.get(key, private or 'unknown')}"

    return say


def _dtype(key: int) -> str:
    known = BY_ID.get(key)
    return known.name if known else "private" if key >= FIRST_PRIVATE else "unknown"


def _role(kind: int, role: int) -> str:
    names = KINDS[kind].roles if kind in KINDS else {}
    return names.get(role, f"part {role}")


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"


def _text(data: bytes) -> str:
    return _quoted(data.decode(errors="replace"))


def _quoted(text: str) -> str:
    return f'"{text[:TEXT]}…"' if len(text) > TEXT else f'"{text}"'
