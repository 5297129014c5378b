"""Saving what is whole of a damaged file, into a new one; the old one is never touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from nnpack import container
from nnpack.arguments import check_limits
from nnpack.check import Checker, Progress
from nnpack.container import Section, Trailer
from nnpack.errors import FormatError, NnpackError, error
from nnpack.limits import Limits
from nnpack.metadata import SALVAGED as KEY
from nnpack.metadata import is_key
from nnpack.reader import open_directory
from nnpack.sections import bytes_leaf, parse_json, read_bytes
from nnpack.source import Source, open_source
from nnpack.walk import Displaced, displaced, find_directory, read_head, walk, why_not_open
from nnpack.writer import Writer

MAX_LISTED: Final = 10_000
"""Losses named in the metadata; more are counted."""


class Lost(NamedTuple):
    """A section that is not in the new file.

    Attributes:
        name: its name or, in parentheses, its type; None where only a place is known.
        offset: of its head in the old file, or of the bytes that are no head.
        reason: why.
    """

    name: str | None
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `salvage` did.

    Attributes:
        kept: labels of the sections in the new file, in order.
        lost: what is not, in the old file's order.
        complete: whether kept and lost are all that the old file held; if its directory is lost
            and its chain is broken, nobody can know.
        digests: whether the old file had digests; they and its root are not those of the new one.
        displaced: where the end of the old file would be whole, had nothing come in or gone
            before it; None if it is in its place, or not there.
        behind_damage: label and offset of each section of `kept` that was found behind a break of
            the chain, with no directory that names it: it may have been bytes inside a section
            whose head is lost, put there by whoever made that section's payload.
    """

    kept: tuple[str, ...]
    lost: tuple[Lost, ...]
    complete: bool
    digests: bool
    displaced: Displaced | None = None
    behind_damage: tuple[tuple[str, int], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing but digests can have been lost."""
        return self.complete and not self.lost


def salvage(
    source: str | os.PathLike[str] | IO[bytes] | bytes | bytearray | memoryview,
    target: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Recovered:
    """Copy the sections of a damaged or truncated file that are whole to a new file.

    A section is bound to its place (SPEC 5.2), so that no file inside a file is taken for its
    host's sections: where bytes came in or went, nothing behind them is copied.

    If the directory is whole, it says what is a section and what the heads are. If not, the chain
    of inline heads does; where it breaks, the next head is looked for. What is found behind a
    break is kept, but nothing vouches for it: where the head of a blob is lost, and the directory
    too, bytes inside the blob that look like a section in this place are taken for one. So these
    sections are named in the result, and in the new file's metadata with their old offsets.

    Args:
        source: the damaged file.
        target: path of the new file, which must not exist; it appears whole or not at all.
        limits: what the damaged file may cost.
        progress: called as progress(done bytes, size of the damaged file, section's label).

    Raises:
        FileExistsError: there is something at the target.
        NnpackError: nothing is left to be saved.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    with closing(open_source(source, mapped=False)) as opened:
        return _Salvage(opened, check_limits(limits), progress).run(Path(target))


class _Salvage:
    """One pass over a damaged file."""

    def __init__(self, source: Source, limits: Limits, progress: Progress | None) -> None:
        self._source, self._limits = source, limits
        self._directory = find_directory(source, limits)
        self._displaced = None if self._directory is not None else displaced(source, limits)
        self._end = _directory_offset(source)
        self._checker = Checker(source, limits, progress)
        self._tensors = self._checker.tensors = set[str]()
        self._metadata: dict[str, Any] = {}
        self._kept: list[str] = []
        self._lost: list[Lost] = []
        self._once: set[int] = set()
        self._behind: dict[int, str] = {}
        self._first: Exception | None = None
        self._digests = False
        self._complete = self._directory is not None

    def run(self, target: Path) -> Recovered:
        """Copy what is whole."""
        with Writer(target) as writer:
            graphs = []  # they need the tensors that they use
            for section in self._found():
                if section.type == container.GRAPH:
                    graphs.append(section)
                elif section.type == container.DIGESTS:
                    self._digests = True
                else:
                    self._take(section, writer)
            for section in graphs:
                self._take(section, writer)
            if not self._kept:
                self._give_up()
            writer.set_metadata(self._metadata | {KEY: self._summary()})
        self._lost.sort(key=lambda lost: lost.offset)
        return Recovered(
            tuple(self._kept),
            tuple(self._lost),
            self._complete,
            self._digests,
            self._displaced,
            tuple((label, offset) for offset, label in self._behind.items()),
        )

    def _give_up(self) -> None:
        """Raise what is wrong with a file of which nothing can be kept, if it is not just empty."""
        try:
            open_directory(self._source, self._limits)
        except NnpackError as bad:
            raise why_not_open(self._source, self._limits, bad) from None
        if self._lost:
            raise self._first or error("mismatch", self._lost[0].reason)

    def _found(self) -> Iterator[Section]:
        """Yield what may be sections of this file."""
        if self._directory is not None:
            yield from self._directory
            return
        broken = False
        for found in walk(self._source, self._limits):
            if isinstance(found, NnpackError):
                broken = True
                if found.offset != self._end:
                    self._lost.append(Lost(None, found.offset or 0, _reason(found)))
            elif found.type == container.DIRECTORY:
                self._complete = not broken
            else:
                if broken and found.type != container.DIGESTS:
                    self._behind[found.offset] = found.label
                yield found

    def _take(self, section: Section, writer: Writer) -> None:
        """Copy a section, or note why it cannot be."""
        try:
            reason = self._why_not(section)
        except OSError as bad:  # the disk cannot read it
            self._first = self._first or bad
            reason = bad.strerror or str(bad)
        if reason is not None:
            self._lost.append(Lost(section.label, section.offset, reason))
            self._behind.pop(section.offset, None)
            return
        if section.type == container.METADATA:
            leaf = bytes_leaf(section, self._checker.plugins, self._source)
            metadata, _ = parse_json(section, read_bytes(section, leaf))
            for key in [key for key in metadata if not is_key(key)]:
                del metadata[key]
                reason = f"nnpack's key {key!a} is of a later version"
                self._lost.append(Lost(section.label, section.offset, reason))
            self._metadata = metadata
        else:
            writer.copy(section, self._source)
        self._kept.append(section.label)
        if section.type in container.NAMED:
            self._checker.types[section.name] = section.type
        elif section.type in container.TYPE_NAMES:
            self._once.add(section.type)
        if section.type in {container.TENSOR, container.ALIAS}:
            self._tensors.add(section.name)

    def _why_not(self, section: Section) -> str | None:
        """Return why a section cannot be kept, or None."""
        named = section.type in container.NAMED
        if section.name in self._checker.types if named else section.type in self._once:
            return f"duplicate: there is another {section.label!a}"
        if self._directory is not None and self._differs(section):
            return "mismatch: the directory and the head in its place differ"
        for bad in self._checker.contents(section):
            if isinstance(bad, FormatError) or section.type == container.METADATA:
                self._first = self._first or bad
                return _reason(bad)
        return None

    def _differs(self, section: Section) -> bool:
        """Return whether a whole inline head tells another story than the directory.

        A damaged one is no loss: the directory's takes its place.
        """
        try:
            return read_head(self._source, section.offset) != section
        except NnpackError:
            return False

    def _summary(self) -> dict[str, Any]:
        """Return what the new file says about its making, and what an earlier salvage lost."""
        before = self._metadata.get(KEY)
        names: list[Any] = []
        if isinstance(before, dict) and isinstance(before.get("lost"), list):
            names += before["lost"]
        names += [lost.offset if lost.name is None else lost.name for lost in self._lost]
        summary: dict[str, Any] = {"kept": len(self._kept), "lost": names[:MAX_LISTED]}
        if self._behind:
            found = [[label, offset] for offset, label in self._behind.items()]
            summary["behind_damage"] = found[:MAX_LISTED]
        more = len(names) - MAX_LISTED
        return summary | {"more": more} if more > 0 else summary


def _reason(bad: NnpackError) -> str:
    return f"{bad.error_class}: {bad.message}"


def _directory_offset(source: Source) -> int | None:
    """Return where the trailer says that the directory stands, if it can be read."""
    at = source.size - container.TRAILER_SIZE
    try:
        trailer = bytes(source.read(at, container.TRAILER_SIZE)) if at >= 0 else b""
        return Trailer.parse(trailer, source.size).directory_offset if trailer else None
    except NnpackError:
        return None
