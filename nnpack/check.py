"""Checking one section after the other: every rule, every checksum, all that is decoded."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Mapping
from typing import Any, Final

import numpy as np

from nnpack import container
from nnpack.abc import AnyCodec, Node, pieces, read_range
from nnpack.bindings import check_bindings, parse_names
from nnpack.container import Section
from nnpack.errors import Invalid, NnpackError, error
from nnpack.limits import Limits
from nnpack.nodes.dense import Dense
from nnpack.plugins import Plugins
from nnpack.sections import (
    but_checksum,
    bytes_leaf,
    check_digests,
    check_memory,
    check_names,
    check_zeros,
    digest_faults,
    digests_of,
    is_one_block,
    open_tree,
    parse_json,
    parse_payload,
    read_bytes,
    stored_pieces,
)
from nnpack.source import Source
from nnpack.stream import Stream, check_crc
from nnpack.tree import NodeHead, leaves
from nnpack.wire import U32, up8, up_align

Progress = Callable[[int, int | None, str], None]
"""progress(done, total, name): bytes of the file, and the section they are in."""
Faults = Iterator[NnpackError]
Found = Generator[NnpackError, None, bool]
"""Faults; returns whether there were none."""

MAX_ALIKE: Final = 1 << 12
"""Forms of tensors that are remembered: a network has a few hundred."""


class Checker:
    """Checks sections in file order.

    Attributes:
        plugins: what can be decoded, with the names that the names section binds.
        types: of the named sections checked so far: what an alias may stand for.
        tensors: names of the file's tensors and aliases, which graphs may use; None if they are
            not known.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits,
        progress: Progress | None,
        codecs: Mapping[int, AnyCodec] | None = None,
        kinds: Mapping[Any, Any] | None = None,
    ) -> None:
        """Check sections of `source`."""
        self.source, self.limits = source, limits
        self.plugins = Plugins(codecs, kinds)
        self.types: dict[str, int] = {}
        self.tensors: Container[str] | None = None
        self._progress = progress
        self._plain: set[tuple[bytes, int, int]] = set()
        self._work = 0

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
            head_end = section.offset + section.head_length
            inline = self.source.read(section.offset, section.head_length)
            try:
                container.check_inline(section, inline)
            except NnpackError as bad:  # the padding can be looked at all the same
                yield bad
            payload = up_align(head_end, section.alignment)
            end = payload + section.payload_length
            for start, stop in ((head_end, payload), (end, up8(end))):
                if start < stop:
                    check_zeros(self.source, start, min(stop, self.source.size))
        except NnpackError as bad:
            yield bad.at(section=section.label)

    def contents(self, section: Section) -> Faults:
        """Yield what is wrong with a section's body and payload."""
        try:
            if section.payload_end > self.source.size:
                raise error(
                    "truncated",
                    f"the file ends {section.payload_end - self.source.size} bytes before the "
                    "section does",
                    offset=self.source.size,
                )
            match section.type:
                case container.TENSOR:
                    yield from self._tensor(section)
                case container.ALIAS:
                    self._alias(section)
                case container.NAMES:
                    self._names(section)
                case kind if kind in container.TYPE_NAMES:
                    yield from self._leaf(section)
                case _:
                    yield from self._unknown(section)
        except Invalid as bad:
            yield error(
                bad.error_class, bad.message, offset=section.payload_offset, section=section.label
            )
        except NnpackError as bad:
            yield bad.at(offset=section.offset, section=section.label)
        if self._progress:
            self._advance(section.end, section)

    def _advance(self, offset: int, section: Section) -> None:
        if self._progress:
            self._progress(min(offset, self.source.size), self.source.size, section.label)

    def _names(self, section: Section) -> None:
        bindings = parse_names(section)
        if section.offset != container.HEADER_SIZE:
            raise error("bad-layout", "names section out of its place")
        self.plugins = self.plugins.bound(bindings)

    def _alias(self, section: Section) -> None:
        target = container.parse_alias(section)
        container.check_alias(section, target, self.types.get(target))

    def _unknown(self, section: Section) -> Faults:
        """Check a section of a type that is skipped: its payload is described all the same."""
        kind = np.array([section.type])
        check_bindings(kind, self.plugins.bindings, section.offset)
        if section.payload_length:
            root = parse_payload(section)
            self.plugins.unknown(root)
            yield from self._stored(section, root)

    def _tensor(self, section: Section) -> Faults:
        form = but_checksum(section)
        if form in self._plain:  # all that can differ is the checksum of its one raw block
            start = section.payload_offset
            data = self.source.read(start, section.payload_length)
            check_crc(data, U32.unpack(section.body[-U32.size :])[0], start)
            return
        root, node, missing = open_tree(section, self.plugins, self.source)
        sound = yield from self._stored(section, root)
        if node is None:
            raise error("unsupported", f"this reader lacks {', '.join(missing)}")
        if not sound:
            return
        self._check_cost(section, root, node)
        for leaf in leaves(node):
            sound &= yield from self._cells(section, leaf)
        if sound:
            node.check()
        if sound and is_one_block(root) and _is_plain(node) and len(self._plain) < MAX_ALIKE:
            self._plain.add(form)

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
            found = digests_of(self.source, section.offset)
            yield from digest_faults(section, read_bytes(section, leaf), found)
        else:
            self._check_cost(section, root, leaf)
            yield from self._cells(section, leaf)

    def _stored(self, section: Section, root: NodeHead) -> Found:
        """Check each stored piece of a payload, and the zeros between."""
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
        check_memory(section, root, node, self.limits)
        work = sum(leaf.nbytes for leaf in leaves(node) if not _is_plain(leaf))
        work += self._work + node.check_work()
        self.limits.check_ratio(work, self.source.size)
        self._work = work

    def _cells(self, section: Section, leaf: Dense) -> Found:
        """Decode a leaf, piece by piece, unless its checksums have said all."""
        if _is_plain(leaf):
            return True
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


def _is_plain(node: Node) -> bool:
    """Return whether a node is a leaf whose stored bytes are its cells: any bytes are right."""
    if not isinstance(node, Dense):
        return False
    stream = node.source
    return isinstance(stream, Stream) and stream.is_plain
