"""The directory: the heads of all sections, one column a field (SPEC 5.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from nnpack.container import (
    ANCILLARY,
    DIGESTS,
    DIRECTORY,
    HEAD_SIZE,
    HEADER_SIZE,
    MAX_ALIGNMENT_LOG2,
    METADATA,
    MIN_ALIGNMENT_LOG2,
    NAMED,
    NAMES,
    TENSOR,
    TYPE_NAMES,
    Section,
    check_type,
)
from nnpack.errors import error
from nnpack.limits import MAX_HEAD, MAX_NAME, MAX_SECTIONS
from nnpack.names import check_name_characters, decode_name
from nnpack.wire import U64, up8

Column = np.ndarray[Any, np.dtype[Any]]


class Columns(NamedTuple):
    """What the directory says of each section in numbers, in stored order."""

    offsets: Column
    payloads: Column
    heads: Column
    types: Column
    flags: Column
    name_lengths: Column
    alignments: Column


_STORED: Final = [np.dtype(t) for t in ("<u8", "<u8", "<u4", "<u2", "<u2", "<u2", "u1")]
_ROW_SIZE: Final = sum(column.itemsize for column in _STORED)


class Directory:
    """The heads of all sections, one column a field (SPEC 5.5); checked when decoded."""

    def __init__(
        self,
        offset: int,
        names: list[str],
        columns: Columns,
        bodies: memoryview,
        body_ends: Column,
        by_name: dict[str, int],
    ) -> None:
        """Hold what was checked.

        Args:
            offset: of the directory section's head.
            names: of the sections.
            columns: their other fields.
            bodies: one after the other.
            body_ends: where each ends there.
            by_name: rows of the sections that share the namespace.
        """
        self.offset, self.names, self.by_name = offset, names, by_name
        self.offsets, self.payloads = columns.offsets, columns.payloads
        self.types, self.flags, self.alignments = columns.types, columns.flags, columns.alignments
        self._bodies, self._body_ends = bodies, body_ends

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Section:
        start = int(self._body_ends[index - 1]) if index else 0
        return Section(
            int(self.types[index]),
            int(self.flags[index]),
            self.names[index],
            int(self.alignments[index]),
            int(self.offsets[index]),
            int(self.payloads[index]),
            bytes(self._bodies[start : int(self._body_ends[index])]),
        )

    def __iter__(self) -> Iterator[Section]:
        ends = self._body_ends.tolist()
        bodies = map(bytes, map(self._bodies.__getitem__, map(slice, [0, *ends[:-1]], ends)))
        return map(
            Section,
            self.types.tolist(),
            self.flags.tolist(),
            self.names,
            self.alignments.tolist(),
            self.offsets.tolist(),
            self.payloads.tolist(),
            bodies,
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
    columns = zip(*rows, strict=True) if rows else [()] * len(_STORED)
    return b"".join(
        [
            U64.pack(len(sections)),
            *(np.array(*column).tobytes() for column in zip(columns, _STORED, strict=True)),
            b"\n".join(names),
            *(section.body for section in sections),
        ]
    )


def count_sections(data: memoryview, end: int) -> int:
    """Return how many sections a directory of this length lists; its own head stands at `end`."""
    if len(data) < U64.size:
        raise error("mismatch", "the directory is too short for its count", offset=end)
    (count,) = U64.unpack(data[: U64.size])
    if count >= MAX_SECTIONS or len(data) < U64.size + count * _ROW_SIZE:
        raise error(
            "mismatch", f"a directory of {len(data)} bytes cannot list {count} sections", offset=end
        )
    return int(count)


def parse_directory(data: bytes | memoryview, end: int) -> Directory:
    """Decode and check the directory's payload; its own head stands at `end`.

    Checked here, for all sections at once: lengths, types, names, order, the chain of offsets.
    """
    data = memoryview(data)
    count = count_sections(data, end)
    at = U64.size
    found: list[Column] = []
    for stored in _STORED:
        found.append(np.frombuffer(data, stored, count, at))
        at += found[-1].nbytes
    columns = Columns(*found)
    _check_rows(columns, end)
    lengths = columns.name_lengths.astype(np.int64)
    name_bytes = int(lengths.sum()) + max(count - 1, 0)
    body_lengths = columns.heads.astype(np.int64) - HEAD_SIZE - ((lengths + 7) & -8)
    body_ends = np.cumsum(body_lengths)
    if len(data) != at + name_bytes + (int(body_ends[-1]) if count else 0):
        raise error("mismatch", "the directory's length differs from its columns", offset=end)
    names = _split_names(data[at : at + name_bytes], lengths, end)
    by_name = _index_names(names, columns.types, end)
    return Directory(end, names, columns, data[at + name_bytes :], body_ends, by_name)


def _check_rows(columns: Columns, end: int) -> None:
    """Check every column and the chain; all in vectors, since a file may have a million rows."""
    offsets, payloads, heads, types, flags, name_lengths, alignments = columns

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
    text = decode_name(bytes(joined), end)
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
