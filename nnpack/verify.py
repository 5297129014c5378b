"""Checking a whole file: every rule and every checksum, and all faults, not only the first.

A file whose directory is damaged is walked along the inline heads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, Final, Literal

import numpy as np

from nnpack import container
from nnpack.abc import Node, pieces, read_range
from nnpack.bindings import check_bindings, parse_names
from nnpack.container import Section
from nnpack.directory import Directory
from nnpack.errors import FormatError, Invalid, NnpackError, error
from nnpack.limits import DEFAULT_LIMITS, Limits
from nnpack.nodes.dense import Dense
from nnpack.nodes.opaque import Opaque
from nnpack.nodes.quantized import Quantized
from nnpack.plugins import Plugins, split_plugins
from nnpack.reader import open_directory, root_bytes
from nnpack.sections import (
    build,
    bytes_leaf,
    check_digests,
    check_names,
    check_zeros,
    parse_json,
    parse_payload,
    read_bytes,
    stored_pieces,
)
from nnpack.source import CHUNK, Source, compute_root, open_source
from nnpack.stream import Stream, check_crc
from nnpack.tree import NodeHead, leaves
from nnpack.walk import find_directory, starts_chain, walk

Progress = Callable[[int, int | None, str], None]
"""progress(done, total, name): bytes of the file, and the section they are in."""
Faults = Iterator[NnpackError]

MAX_FAULTS: Final = 1000
"""Faults listed; a file of a million sections may have as many."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Attributes:
        size: of the file in bytes.
        directory: whether the directory could be read; if not, sections are what was found along
            the inline heads.
        sections: how many were checked.
        intact: labels of those in which nothing is wrong, in file order.
        faults: what is wrong, at most `MAX_FAULTS`.
        more: faults beyond those.
        unchecked: what this reader cannot decode, though its checksums are right; as many at most.
        root: the file's root, hex; None without digests.
        authentic: whether the root is the expected one, and the file intact.
    """

    size: int
    directory: bool
    sections: int
    intact: tuple[str, ...]
    faults: tuple[NnpackError, ...]
    more: int
    unchecked: tuple[NnpackError, ...]
    root: str | None
    authentic: bool

    @property
    def broken(self) -> bool:
        """Whether a fault was found besides that it is not the file that is expected."""
        return any(bad.error_class != "bad-digest" or bad.section for bad in self.faults)

    @property
    def verdict(self) -> Literal["damaged", "intact", "authentic"]:
        """How far the file can be trusted: no fault was found, or it is even the one expected."""
        if self.faults:
            return "damaged"
        return "authentic" if self.authentic else "intact"


def verify(
    source: str | os.PathLike[str] | IO[bytes] | bytes | bytearray | memoryview,
    *,
    expect: str | bytes | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check everything that a file promises, in bounded memory.

    Args:
        source: a path, a bytes-like object or a seekable binary file.
        expect: the root (hex or 32 bytes) that the file should have.
        limits: what the file may cost; tensors are decoded in pieces, so that `memory` is asked
            for pieces only.
        progress: called as progress(done bytes, size of the file, section's label).

    Raises:
        UnsupportedError, LimitError: the file as a whole cannot be read here, damaged or not.
        OSError: the path cannot be read.
    """
    wanted = None if expect is None else root_bytes(expect)
    with closing(open_source(source, mapped=False)) as opened:
        return _Verification(opened, limits or DEFAULT_LIMITS, progress).report(wanted)


@dataclass(slots=True)
class _Verification:
    """One pass over a file."""

    source: Source
    limits: Limits
    progress: Progress | None
    checked: int = 0
    intact: list[str] = field(default_factory=list)
    faults: list[NnpackError] = field(default_factory=list)
    more: int = 0
    unchecked: list[NnpackError] = field(default_factory=list)

    def report(self, wanted: bytes | None) -> Report:
        """Check all, and say what was found."""
        directory = self._open()
        if directory is not None:
            self._sections(directory)
        elif self.faults[0].error_class != "not-nnpack" or starts_chain(self.source):
            self._sections(walk(self.source, self.limits))
        root = None if directory is None else self._root(directory, wanted)
        return Report(
            self.source.size,
            directory is not None,
            self.checked,
            tuple(self.intact),
            tuple(self.faults),
            self.more,
            tuple(self.unchecked),
            None if root is None else root.hex(),
            wanted is not None and root == wanted and not self.faults,
        )

    def _open(self) -> Directory | None:
        """Return the directory; if the file does not open, note why and look for it."""
        try:
            return open_directory(self.source, self.limits)
        except NnpackError as bad:
            directory = find_directory(self.source, self.limits)
            if directory is None and not isinstance(bad, FormatError):
                raise
            self.faults.append(bad.at(section=self._region(bad, directory)))
            return directory

    def _region(self, bad: NnpackError, directory: Directory | None) -> str:
        """Name the part of the file that keeps it from opening."""
        offset = bad.offset or 0
        if offset < container.HEADER_SIZE:
            return "(header)"
        if offset >= self.source.size - container.TRAILER_SIZE:
            return "(trailer)"
        if directory is None or bad.error_class != "bad-checksum":
            return "(directory)"
        # The directory is whole, so that its checksum with the header's is what differs.
        header = bytes(self.source.read(0, container.HEADER_SIZE))
        return "(trailer)" if header == container.HEADER else "(header)"

    def _note(self, bad: NnpackError) -> None:
        if not isinstance(bad, FormatError):
            self.unchecked += [bad] if len(self.unchecked) < MAX_FAULTS else []
        elif len(self.faults) < MAX_FAULTS:
            self.faults.append(bad)
        else:
            self.more += 1

    def _sections(self, found: Directory | Iterator[Section | NnpackError]) -> None:
        checker = Checker(self.source, self.limits, self.progress)
        if isinstance(found, Directory):
            checker.tensors = _tensors(found)
        for section in found:
            if isinstance(section, NnpackError):
                if section.offset != self.faults[0].offset:  # why the file does not open
                    self._note(section)
                continue
            before = len(self.faults) + self.more
            for bad in checker.faults(section):
                self._note(bad)
            if section.type != container.DIRECTORY:
                self.checked += 1
                sound = len(self.faults) + self.more == before
                self.intact += [section.label] if sound else []

    def _root(self, directory: Directory, wanted: bytes | None) -> bytes | None:
        """Return the file's root, and compare it with the wanted one."""
        last = len(directory) - 1
        at = int(directory.offsets[last]) if last >= 0 else 0
        root = None
        if last >= 0 and directory.types[last] == container.DIGESTS:
            root = compute_root(bytes(self.source.read(at, self.source.size - at)), at)
        if wanted is not None and root != wanted:
            what = "it has no digests" if root is None else f"its root is {root.hex()}"
            self._note(error("bad-digest", f"not the file that is expected: {what}", offset=at))
        return root


class Checker:
    """Checks sections in file order.

    Attributes:
        plugins: what can be decoded, with the names that the names section binds.
        types: of the named sections checked so far: what an alias may stand for.
        tensors: names of the file's tensors and aliases, which graphs may use; None if they are
            not known.
    """

    def __init__(self, source: Source, limits: Limits, progress: Progress | None) -> None:
        """Check sections of `source`."""
        self.source, self.limits = source, limits
        self.plugins = Plugins(*split_plugins(None, None), {})
        self.types: dict[str, int] = {}
        self.tensors: Container[str] | None = None
        self._progress = progress

    def faults(self, section: Section) -> Faults:
        """Yield all that is wrong with a section, the zeros around its payload included.

        An `UnsupportedError` or `LimitError` among them says what could not be checked.
        """
        yield from self._placement(section)
        yield from self.contents(section)
        if section.name and section.type in container.NAMED:
            self.types.setdefault(section.name, section.type)

    def _placement(self, section: Section) -> Faults:
        """Compare the inline head with the directory's, and look at the padding."""
        try:
            head = section.head()
            inline = bytes(self.source.read(section.offset, len(head)))
            if inline != head:
                yield container.unlike(section, head, inline)
            head_end = section.offset + section.head_length
            for start, stop in (
                (head_end, section.payload_offset),
                (section.payload_end, section.end),
            ):
                check_zeros(self.source, start, min(stop, self.source.size))
        except NnpackError as bad:
            yield bad.at(section=section.label)

    def contents(self, section: Section) -> Faults:
        """Yield what is wrong with a section's body and payload."""
        checks = {
            container.TENSOR: self._tensor,
            container.ALIAS: self._alias,
            container.NAMES: self._names,
        }
        known = self._leaf if section.type in container.TYPE_NAMES else self._unknown
        try:
            if section.payload_end > self.source.size:
                missing = section.payload_end - self.source.size
                raise error(
                    "truncated",
                    f"the file ends {missing} bytes before the section does",
                    offset=self.source.size,
                )
            yield from checks.get(section.type, known)(section)
        except Invalid as bad:
            yield error(
                bad.error_class, str(bad), offset=section.payload_offset, section=section.label
            )
        except NnpackError as bad:
            yield bad.at(offset=section.offset, section=section.label)
        self._advance(section.end, section)

    def _advance(self, offset: int, section: Section) -> None:
        if self._progress:
            self._progress(min(offset, self.source.size), self.source.size, section.label)

    def _names(self, section: Section) -> Faults:
        bindings = parse_names(section)
        if section.offset != container.HEADER_SIZE:
            raise error("bad-layout", "names section out of its place")
        self.plugins = Plugins(*split_plugins(None, None), bindings)
        yield from ()

    def _alias(self, section: Section) -> Faults:
        target = container.parse_alias(section)
        if self.types.get(target) != container.TENSOR:
            raise error("bad-reference", f"an alias of {target!a}, which is no tensor before it")
        yield from ()

    def _unknown(self, section: Section) -> Faults:
        """Check a section of a type that is skipped: its payload is described all the same."""
        kind = np.array([section.type])
        check_bindings(kind, self.plugins.bindings, section.offset)
        if section.payload_length:
            root = parse_payload(section)
            self.plugins.unknown(root)
            yield from self._stored(section, root)

    def _tensor(self, section: Section) -> Faults:
        root = parse_payload(section)
        missing = self.plugins.unknown(root)
        node = None if missing else build(section, root, self.plugins, self.source)
        sound = yield from self._stored(section, root)
        if node is None:
            raise error("unsupported", f"this reader does not know {', '.join(missing)}")
        if not sound:
            return
        self._check_cost(section, root, node)
        for leaf in leaves(node):
            if isinstance(leaf, Dense):
                sound &= yield from self._cells(section, leaf)
        if sound:
            node.check()

    def _leaf(self, section: Section) -> Faults:
        """Check a section whose body is one leaf of bytes."""
        root = parse_payload(section)
        sound = yield from self._stored(section, root)
        leaf = bytes_leaf(section, self.plugins, self.source)
        if not sound:
            return
        if section.type in {container.GRAPH, container.METADATA}:
            self.limits.check("json_bytes", leaf.size, section.label)
            _, names = parse_json(section, read_bytes(section, leaf))
            check_names(section, names, names if self.tensors is None else self.tensors)
        elif section.type == container.DIGESTS:
            check_digests(section, leaf)
            yield from self._digests(section, read_bytes(section, leaf))
        else:
            self._check_cost(section, root, leaf)
            yield from self._cells(section, leaf)

    def _stored(self, section: Section, root: NodeHead) -> Generator[NnpackError, None, bool]:
        """Check each stored piece of a payload, and the zeros between; return if all are good."""
        sound = True
        at = section.payload_offset
        for start, length, crc in stored_pieces(root):
            try:
                check_zeros(self.source, at, start)
                check_crc(self.source.read(start, length), crc, start)
            except NnpackError as bad:
                sound = False
                yield bad.at(offset=start, section=section.label)
            at = start + length
        return sound

    def _check_cost(self, section: Section, root: NodeHead, node: Node) -> None:
        """Check what decoding costs; only pieces of a tensor are held at a time."""
        parts = [*root.walk()] if root.stream else [*root.walk()][1:]
        charge = sum(part.decoded_size for part in parts)
        self.limits.check_expansion(charge, section.payload_length)
        held = _held(node)
        self.limits.check_request(held, held)

    def _cells(self, section: Section, leaf: Dense) -> Generator[NnpackError, None, bool]:
        """Decode a leaf, piece by piece; return whether all of it is good."""
        sound = True
        stream = leaf.source
        start = stream.start if isinstance(stream, Stream) else section.payload_offset
        for low, high in pieces(0, leaf.size, leaf.grain):
            try:
                read_range(leaf, low, high)
            except NnpackError as bad:
                sound = False
                yield bad.at(offset=start, section=section.label)
            if isinstance(stream, Stream):
                start += stream.stored_between(low, high)
            self._advance(start, section)
        return sound

    def _digests(self, section: Section, rows: memoryview | bytes) -> Faults:
        """Compare the SHA-256 of each MiB before the section."""
        for index, start in enumerate(range(0, section.offset, CHUNK)):
            stop = min(start + CHUNK, section.offset)
            found = hashlib.sha256(self.source.read(start, stop - start)).digest()
            if found != rows[32 * index : 32 * index + 32]:
                yield error(
                    "bad-digest",
                    f"the SHA-256 of bytes {start} to {stop} is not the one stored",
                    offset=start,
                    section=section.label,
                )


def _tensors(directory: Directory) -> set[str]:
    """Return the names that graphs may use."""
    rows = np.isin(directory.types, (container.TENSOR, container.ALIAS)).nonzero()[0]
    return {directory.names[row] for row in rows.tolist()}


def _held(node: Node) -> int:
    """Return the bytes that checking a tree's contents holds: whole grains of what it reads."""
    most = 0
    for _, part in node.parts():
        whole = isinstance(node, Quantized) and part is node.group_index
        if not isinstance(node, Opaque):
            cells = part.size if whole else min(part.grain, part.size)
            most = max(most, cells * part.cell.itemsize)
        most = max(most, _held(part))
    return most
