"""Reading from a pipe: sections as they arrive, without seeking (SPEC 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, NamedTuple, Protocol

from nnpack import container
from nnpack.abc import AnyCodec, Node, pieces
from nnpack.arguments import check_binary_reader, check_limits, check_plugins
from nnpack.bindings import check_bindings, parse_names
from nnpack.container import Section, Trailer
from nnpack.errors import error
from nnpack.limits import Limits
from nnpack.plugins import Plugins
from nnpack.sections import (
    bytes_leaf,
    check_digests,
    check_leaf,
    check_names,
    check_stored,
    digest_faults,
    directory_leaf,
    open_tree,
    parse_json,
    parse_payload,
    read_bytes,
    read_directory,
)
from nnpack.source import BufferSource
from nnpack.taps import Digests
from nnpack.tensor import Tensor

PIECE: Final = 1 << 20
"""Read at once: a length that lies costs no more memory than the bytes that arrive."""


class Pipe(Protocol):
    """What can be read in order."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class Item(NamedTuple):
    """One section of a stream.

    Attributes:
        type: "tensor", "alias", "graph", "metadata" or "blob".
        name: of the section; empty for metadata.
        value: a `Tensor`, the alias's target, a dict (graph, metadata) or bytes (blob); None for
            one of the last three in a codec that is not known here.
    """

    type: str
    name: str
    value: Any


def read_stream(
    file: Pipe,
    *,
    limits: Limits | None = None,
    codecs: Mapping[int, AnyCodec] | None = None,
    kinds: Mapping[Any, Any] | None = None,
) -> Iterator[Item]:
    """Read sections from a pipe in order as they arrive, without seeking.

    Every checksum of a section is checked before it is yielded. Whether the file as a whole is
    what it says is known only at its end: treat nothing as final before the iterator is exhausted
    without an error.

    Args:
        file: anything with `read(size)`.
        limits: what the file may cost; a section's payload is held in memory.
        codecs: as in `nnpack.open`.
        kinds: as in `nnpack.open`.

    Yields:
        an `Item` for each tensor, alias, graph, blob and the metadata.

    Raises:
        NnpackError: what `nnpack.open` raises, or the directory tells another story than the
            sections that came before it.
        TypeError: an argument cannot be, such as a path or a text file; at once.
    """
    check_binary_reader(file)
    check_plugins(codecs, kinds)
    return Stream(file, check_limits(limits), codecs, kinds).items()


class Stream:
    """One pass over a file; see `read_stream`."""

    def __init__(
        self,
        file: Pipe,
        limits: Limits,
        codecs: Mapping[int, AnyCodec] | None = None,
        kinds: Mapping[Any, Any] | None = None,
    ) -> None:
        """Begin with the next byte."""
        self._file, self._limits = file, limits
        self._plugins = Plugins(codecs, kinds)
        self._offset = 0
        self._digests = Digests()
        self._seen: list[Section] = []
        self._types: dict[str, int] = {}
        self._graphs: list[tuple[Section, list[str]]] = []

    def items(self) -> Iterator[Item]:
        """Yield sections, then compare them with the directory."""
        header = self._take(container.HEADER_SIZE, at_start=True)
        whole = len(header) == container.HEADER_SIZE
        container.check_header(header, container.SMALLEST_FILE if whole else len(header))
        self._digests.update(header)
        while True:
            section, raw = self._head()
            if section.type == container.DIRECTORY:
                self._finish(header, section, raw)
                return
            if section.type != container.DIGESTS:  # which cover what stands before them
                self._digests.update(raw)
            self._limits.check("sections", len(self._seen) + 1, "the number of sections")
            item = self._section(section)
            self._seen.append(section)
            if item:
                yield item

    def has(self, kind: int) -> bool:
        """Return whether a section of a type has come by."""
        return any(section.type == kind for section in self._seen)

    def _take(self, size: int, *, at_start: bool = False) -> bytes:
        """Read exactly so many bytes."""
        parts: list[bytes] = []
        left = size
        while left:
            data = self._file.read(min(left, PIECE))
            if not data:
                break
            parts.append(data)
            left -= len(data)
        if left and not at_start:
            raise error(
                "truncated",
                f"the stream ends {left} bytes early",
                offset=self._offset + size - left,
            )
        self._offset += size - left
        return b"".join(parts)

    def _head(self) -> tuple[Section, bytes]:
        """Read a head and the padding behind it."""
        at = self._offset
        fixed = self._take(container.HEAD_SIZE)
        raw = fixed + self._take(container.head_lengths(fixed, at) - container.HEAD_SIZE)
        section = container.parse_head(raw, at)
        raw += self._take(section.payload_offset - self._offset)
        if any(raw[section.head_length :]):
            raise error("bad-layout", "padding behind a head is not zero", offset=at)
        return section, raw

    def _payload(self, section: Section) -> BufferSource:
        """Read a payload and the padding behind it."""
        start = section.payload_offset
        self._limits.check_request(section.payload_length, section.payload_length)
        data = self._take(section.end - start)
        if section.type != container.DIGESTS:
            self._digests.update(data)
        return BufferSource(data, start)

    def _section(self, section: Section) -> Item | None:
        """Read a section's payload, check it, and say what it holds."""
        if section.name and section.type in container.NAMED:
            if section.name in self._types:
                raise error(
                    "duplicate", f"two sections are called {section.name!a}", offset=section.offset
                )
            self._types[section.name] = section.type
        if section.type == container.NAMES:
            self._plugins = self._plugins.bound(parse_names(section))
            return None
        if section.type == container.ALIAS:
            return self._alias(section)
        payload = self._payload(section)
        if not section.payload_length and section.type not in container.TYPE_NAMES:
            return None
        if section.type == container.TENSOR:
            tree = open_tree(section, self._plugins, payload)
            check_stored(section, tree[0], payload)
            tensor = Tensor(section.name, payload, section, *tree, self._limits, _run)
            return Item("tensor", section.name, tensor)
        root = parse_payload(section)
        if section.type in container.TYPE_NAMES:
            check_leaf(section, root)
        check_stored(section, root, payload)
        unknown = self._plugins.unknown(root)
        if section.type not in container.TYPE_NAMES:
            return None
        return self._leaf(section, payload, supported=not unknown)

    def _leaf(self, section: Section, payload: BufferSource, *, supported: bool) -> Item | None:
        """Decode a section that is a leaf of bytes."""
        kind, name = container.TYPE_NAMES[section.type], section.name
        if not supported:
            return Item(kind, name, None)
        leaf = bytes_leaf(section, self._plugins, payload)
        if section.type == container.DIGESTS:
            check_digests(section, leaf)
            rows = read_bytes(section, leaf)
            for bad in digest_faults(section, rows, self._digests.finish()):
                raise bad
            return None
        if section.type == container.BLOB:
            self._limits.check_request(leaf.size, section.payload_length)
            return Item(kind, name, bytes(read_bytes(section, leaf)))
        self._limits.check("json_bytes", leaf.size, section.label)
        value, names = parse_json(section, read_bytes(section, leaf))
        self._graphs.append((section, names))
        return Item(kind, name, value)

    def _alias(self, section: Section) -> Item:
        target = container.parse_alias(section)
        container.check_alias(section, target, self._types.get(target))
        return Item("alias", section.name, target)

    def _finish(self, header: bytes, section: Section, raw: bytes) -> None:
        """Read the directory and the trailer, and compare them with what was seen."""
        self._limits.check("directory_bytes", section.payload_length, "the directory")
        payload = self._take(section.end - self._offset)
        stored = memoryview(raw + payload)
        end = self._take(container.TRAILER_SIZE)
        trailer = Trailer.parse(end, self._offset)
        if trailer.directory_offset != section.offset:
            raise error("bad-layout", "the trailer points elsewhere", offset=section.end)
        if self._file.read(1):
            raise error("trailing-data", "bytes follow the trailer", offset=self._offset)
        trailer.check(header, stored)
        container.check_directory_padding(section, stored)
        leaf = directory_leaf(section, BufferSource(stored, section.offset), self._limits)
        directory = read_directory(section, leaf, self._limits)
        check_bindings(directory.types, self._plugins.bindings, section.offset)
        for listed, seen in zip_longest(directory, self._seen):
            if listed != seen:
                one = seen or listed
                raise error(
                    "mismatch",
                    "the directory states another head than stood here",
                    offset=one.offset,
                    section=one.label,
                )
        tensors = {n for n, t in self._types.items() if t in {container.TENSOR, container.ALIAS}}
        for seen, names in self._graphs:
            check_names(seen, names, tensors)


def _run(task: Callable[[tuple[int, int]], None], node: Node, start: int, stop: int) -> None:
    for piece in pieces(start, stop, node.grain):
        task(piece)
