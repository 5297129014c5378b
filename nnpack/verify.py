"""Checking a whole file: every rule and every checksum, and all faults, not only the first.

A file whose directory is damaged is walked along the inline heads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, Any, Final, Literal

import numpy as np

from nnpack import container
from nnpack.abc import AnyCodec
from nnpack.arguments import check_limits
from nnpack.check import Checker, Progress
from nnpack.container import Section
from nnpack.directory import Directory
from nnpack.errors import FormatError, NnpackError, error
from nnpack.limits import Limits
from nnpack.reader import open_directory, root_bytes
from nnpack.sections import read_root
from nnpack.source import Source, open_source
from nnpack.walk import find_directory, starts_chain, walk, why_not_open

__all__ = ["MAX_FAULTS", "Progress", "Report", "verify"]

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
        root: the file's root, hex; None without digests, and where the file does not open: what
            has been added to its end would change it.
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
        """Whether a fault was found besides that it is not the expected file."""
        return any(bad.error_class != "bad-digest" or bad.section for bad in self.faults)

    @property
    def verdict(self) -> Literal["damaged", "unexpected", "intact", "authentic"]:
        """How far the file can be trusted: it is whole, or it is even the expected one.

        "unexpected" is a file in which nothing is wrong but that its root is another one.
        """
        if self.faults:
            return "damaged" if self.broken else "unexpected"
        return "authentic" if self.authentic else "intact"


def verify(
    source: str | os.PathLike[str] | IO[bytes] | bytes | bytearray | memoryview,
    *,
    expect: str | bytes | None = None,
    limits: Limits | None = None,
    codecs: Mapping[int, AnyCodec] | None = None,
    kinds: Mapping[Any, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check everything that a file promises, in bounded memory.

    Args:
        source: a path, a bytes-like object or a seekable binary file.
        expect: the root (hex or 32 bytes) that the file should have.
        limits: what the file may cost; tensors are decoded in pieces, so that `memory` is asked
            for pieces only.
        codecs: plug-ins, as in `nnpack.open`.
        kinds: plug-ins, as in `nnpack.open`.
        progress: called as progress(done bytes, size of the file, section's label).

    Raises:
        UnsupportedError, LimitError: the file as a whole cannot be read here, damaged or not.
        FormatError: it is not an nnpack file (`not-nnpack`), not even a damaged one.
        OSError: the path cannot be read.
    """
    wanted = None if expect is None else root_bytes(expect)
    with closing(open_source(source, mapped=False)) as opened:
        limits = check_limits(limits)
        checker = Checker(opened, limits, progress, codecs, kinds)
        return _Verification(opened, limits, checker).report(wanted)


@dataclass(slots=True)
class _Verification:
    """One pass over a file."""

    source: Source
    limits: Limits
    checker: Checker
    checked: int = 0
    intact: list[str] = field(default_factory=list)
    faults: list[NnpackError] = field(default_factory=list)
    more: int = 0
    unchecked: list[NnpackError] = field(default_factory=list)

    def report(self, wanted: bytes | None) -> Report:
        """Check all, and say what was found."""
        directory = self._open()
        opens = not self.faults
        self._sections(walk(self.source, self.limits) if directory is None else directory)
        root = self._root(directory, wanted) if directory is not None and opens else None
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
            if directory is None and not self._is_ours(bad):
                raise
            region = self._region(bad, directory)
            told = why_not_open(self.source, self.limits, bad)
            self.faults.append(told.at(section=region))
            return directory

    def _is_ours(self, bad: NnpackError) -> bool:
        """Return whether a file that does not open is one of nnpack's all the same."""
        if bad.error_class == "not-nnpack":
            return starts_chain(self.source)
        return isinstance(bad, FormatError)

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
        if isinstance(found, Directory):
            self.checker.tensors = _tensors(found)
        for section in found:
            if isinstance(section, NnpackError):
                if section.offset != self.faults[0].offset:  # why the file does not open
                    self._note(section)
                continue
            before = len(self.faults) + self.more
            for bad in self.checker.faults(section):
                self._note(bad)
            if section.type != container.DIRECTORY:
                self.checked += 1
                sound = len(self.faults) + self.more == before
                self.intact += [section.label] if sound else []

    def _root(self, directory: Directory, wanted: bytes | None) -> bytes | None:
        """Return the file's root, and compare it with the wanted one."""
        last = len(directory) - 1
        at = int(directory.offsets[last]) if last >= 0 else 0
        root, what = None, "it has no digests"
        if last >= 0 and directory.types[last] == container.DIGESTS:
            root = self._read_root(directory[last])
            what = "its digests are damaged" if root is None else f"its root is {root.hex()}"
        if wanted is not None and root != wanted:
            self._note(error("bad-digest", f"not the expected file: {what}", offset=at))
        return root

    def _read_root(self, section: Section) -> bytes | None:
        """Return the root, or None if the digests section cannot be one."""
        try:
            return read_root(section, self.source)[0]
        except NnpackError:  # which the checker has noted
            return None


def _tensors(directory: Directory) -> set[str]:
    """Return the names that graphs may use."""
    rows = np.isin(directory.types, (container.TENSOR, container.ALIAS)).nonzero()[0]
    return {directory.names[row] for row in rows.tolist()}
