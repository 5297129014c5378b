"""Opening files: all that an open checks, and sections on demand (SPEC 5.8)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from nnpack import container
from nnpack.abc import PIECE, AnyCodec, Node, pieces
from nnpack.arguments import check_limits, check_plugins
from nnpack.bindings import check_bindings, parse_names
from nnpack.bulk import load_all
from nnpack.container import Section, Trailer
from nnpack.directory import Directory
from nnpack.errors import error
from nnpack.limits import DEFAULT_LIMITS, Limits
from nnpack.nodes.dense import Dense
from nnpack.plugins import Plugins
from nnpack.sections import (
    bytes_leaf,
    check_names,
    digests_leaf,
    directory_leaf,
    open_tree,
    parse_json,
    read_bytes,
    read_directory,
    read_root,
)
from nnpack.source import AuthenticatedSource, BufferSource, Source, open_source
from nnpack.stream import Stream
from nnpack.tensor import Tensor
from nnpack.threads import whole_threads
from nnpack.tree import NodeHead

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Path = str | os.PathLike[str]
ROOT_SIZE: Final = 32


class Reader(Mapping[str, Tensor]):
    """An open file: a mapping of its tensors and aliases, in file order.

    Opening checks the directory; a section is compared with it when it is first touched, and
    each block's checksum is checked before the block is decoded. `nnpack verify` checks all.
    """

    def __init__(
        self,
        source: Path | IO[bytes] | bytes | bytearray | memoryview,
        *,
        limits: Limits | None = None,
        codecs: Mapping[int, AnyCodec] | None = None,
        kinds: Mapping[Any, Any] | None = None,
        threads: int | None = None,
        mmap: Literal["auto", "always", "never"] = "auto",
        expect: str | bytes | None = None,
    ) -> None:
        """See `open`."""
        if mmap not in {"auto", "always", "never"}:
            raise ValueError(f'mmap is "auto", "always" or "never", not {mmap!r}')
        self.limits = DEFAULT_LIMITS if limits is None else check_limits(limits)
        check_plugins(codecs, kinds)
        self._threads = whole_threads(threads)
        self._pool: ThreadPoolExecutor | None = None
        self._lock, self._closed = Lock(), False
        self._tensors: dict[int, tuple[Section, NodeHead, Node | None, list[str]]] = {}
        self._metadata: dict[str, Any] | None = None
        wanted = None if expect is None else root_bytes(expect)
        self._source: Source = open_source(source, mapped=mmap != "never")
        try:
            self._directory = open_directory(self._source, self.limits)
            if mmap == "always":
                self._source.view(0, 0)
            if wanted is not None:
                self._source = self._authenticated(wanted)
                self._directory = open_directory(self._source, self.limits)
            self.plugins = Plugins(codecs, kinds).bound(self._names())
            check_bindings(self._directory.types, self.bindings, self._directory.offset)
        except BaseException:
            self._source.close()
            raise
        self._rows = self._rows_of(container.TENSOR, container.ALIAS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nnpack.Reader with {len(self)} tensors>"

    def close(self) -> None:
        """Close the file: nothing more can be read from it.

        What other threads are reading is read to its end, or is a ValueError there.
        """
        with self._lock:
            self._closed = True
            pool = self._pool
        if pool:
            pool.shutdown()
        self._source.close()

    def __getitem__(self, name: str) -> Tensor:
        return self._tensor(name, self._rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    @property
    def sections(self) -> list[Section]:
        """All section heads but the directory's, in file order."""
        return [*self._directory]

    @property
    def aliases(self) -> dict[str, str]:
        """The names that are aliases, with the tensors they stand for."""
        kinds = self._directory.types.tolist()
        return {
            name: self._directory.names[self._target(row)]
            for name, row in self._rows.items()
            if kinds[row] == container.ALIAS
        }

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata object; empty if the file has none."""
        if self._metadata is None:
            rows = self._rows_of(container.METADATA)
            self._metadata = self._json(rows[""]) if rows else {}
        return self._metadata

    @property
    def graphs(self) -> Mapping[str, dict[str, Any]]:
        """Graphs by name, decoded when looked up."""
        return _Lazy(self._rows_of(container.GRAPH), self._json)

    @property
    def blobs(self) -> Mapping[str, bytes]:
        """Blobs by name, read when looked up."""
        return _Lazy(self._rows_of(container.BLOB), lambda row: bytes(self._bytes(row)))

    @property
    def root(self) -> str | None:
        """Hex digest that authenticates the whole file, for `expect=`; None without digests."""
        section = self._digests()
        if section is None:
            return None
        return read_root(section, self._source)[0].hex()

    @property
    def source(self) -> Source:
        """The file's bytes."""
        return self._source

    @property
    def directory(self) -> Directory:
        """The heads of all sections but the directory's own, in file order."""
        return self._directory

    @property
    def bindings(self) -> Mapping[tuple[int, int], str]:
        """(class, private id) -> name, of the names section."""
        return self.plugins.bindings

    def section(self, row: int) -> Section:
        """Return a section's head, compared with the inline one and the padding behind it."""
        section = self._directory[row]
        size = section.payload_offset - section.offset
        container.check_inline(section, self._source.read(section.offset, size))
        return section

    def load(self) -> dict[str, Any]:
        """Return all tensors as arrays, each with memory of its own."""
        return load_all(self)

    def _rows_of(self, *types: int) -> dict[str, int]:
        """Return the names and rows of sections of some types."""
        fits = np.logical_or.reduce([self._directory.types == one for one in types])
        if fits.all() and len(self._directory.by_name) == len(fits):
            return self._directory.by_name
        names = self._directory.names
        return {names[row]: row for row in np.flatnonzero(fits).tolist()}

    def _names(self) -> dict[tuple[int, int], str]:
        if not len(self._directory) or self._directory.types[0] != container.NAMES:
            return {}
        return parse_names(self.section(0))

    def _digests(self) -> Section | None:
        last = len(self._directory) - 1
        if last < 0 or self._directory.types[last] != container.DIGESTS:
            return None
        return self.section(last)

    def _authenticated(self, expected: bytes) -> Source:
        """Return the source of which every byte is checked against the expected root."""
        section = self._digests()
        if section is None:
            raise error("bad-digest", "a root is expected, but the file has no digests")
        at = section.offset
        root, tail = read_root(section, self._source)
        if root != expected:
            raise error(
                "bad-digest", "the file is not the one that the expected root names", offset=at
            )
        leaf = digests_leaf(section, BufferSource(tail, at))
        return AuthenticatedSource(self._source, read_bytes(section, leaf), at, tail)

    def _tensor(self, name: str, row: int) -> Tensor:
        if self._directory.types[row] == container.ALIAS:
            row = self._target(row)
        found = self._tensors.get(row)
        if found is None:
            section = self.section(row)
            found = self._tensors[row] = section, *open_tree(section, self.plugins, self._source)
        return Tensor(name, self._source, *found, self.limits, self._run)

    def _target(self, row: int) -> int:
        """Return the row of the tensor that an alias stands for."""
        section = self.section(row)
        target = container.parse_alias(section)
        found = self._directory.by_name.get(target, row)
        kind = int(self._directory.types[found]) if found < row else None
        container.check_alias(section, target, kind)
        return found

    def _bytes(self, row: int, limit: str | None = None) -> memoryview:
        section = self.section(row)
        leaf = bytes_leaf(section, self.plugins, self._source)
        if limit:
            self.limits.check(limit, leaf.size, section.label)
        self.limits.check_request(leaf.size, section.payload_length)
        return read_bytes(section, leaf)

    def _json(self, row: int) -> dict[str, Any]:
        section = self._directory[row]
        value, names = parse_json(section, self._bytes(row, "json_bytes"))
        check_names(section, names, self._rows)
        return value

    def _run(
        self, task: Callable[[tuple[int, int]], None], node: Node, start: int, stop: int
    ) -> None:
        """Call the task for each piece of a range, on threads if there are several of both."""
        if self._source.closed:
            raise ValueError("the file is closed")
        leaf = node.source if isinstance(node, Dense) else None
        threads, size = self._threads, PIECE
        if isinstance(leaf, Stream):
            threads, size = leaf.shares(stop - start, threads)
        todo = pieces(start, stop, node.grain, size)
        if threads == 1 or len(todo) == 1:
            for piece in todo:
                task(piece)
            return
        for _ in self._submit(task, todo):
            pass

    def _submit(
        self, task: Callable[[tuple[int, int]], None], todo: list[tuple[int, int]]
    ) -> Iterator[None]:
        """Give pieces to the threads; none of it happens while the file is being closed."""
        with self._lock:
            if self._closed:
                raise ValueError("the file is closed")
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._threads, "nnpack")
            return self._pool.map(task, todo)


class _Lazy(Mapping[str, Any]):
    """Sections by name, decoded when looked up."""

    def __init__(self, rows: Mapping[str, int], read: Callable[[int], Any]) -> None:
        self._rows, self._read = rows, read

    def __getitem__(self, name: str) -> Any:
        return self._read(self._rows[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows


def open_directory(source: Source, limits: Limits) -> Directory:
    """Check size, header, trailer and directory, in SPEC's order, and decode the directory."""
    header = bytes(source.read(0, min(container.HEADER_SIZE, source.size)))
    container.check_header(header, source.size)
    end = source.size - container.TRAILER_SIZE
    trailer = Trailer.parse(bytes(source.read(end, container.TRAILER_SIZE)), source.size)
    at, length = trailer.directory_offset, trailer.directory_length
    head = container.head_lengths(bytes(source.read(at, container.HEAD_SIZE)), at)
    if head > length:
        raise error("mismatch", "the directory is longer than the trailer says", offset=at)
    section = container.parse_directory_head(source.read(at, head), at, length)
    limits.check("directory_bytes", section.payload_length, "the directory")
    stored = source.read(at, length)
    leaf = directory_leaf(section, BufferSource(stored, at), limits)
    trailer.check(header, stored)
    container.check_directory_padding(section, stored)
    return read_directory(section, leaf, limits)


def root_bytes(expect: str | bytes) -> bytes:
    """Return the 32 bytes of a root given as such or as hex."""
    try:
        root = bytes.fromhex(expect) if isinstance(expect, str) else bytes(expect)
    except ValueError:
        root = b""
    if len(root) != ROOT_SIZE:
        raise ValueError(f"expect= is 64 hex digits or 32 bytes, not {expect!r}")
    return root


def open(  # noqa: A001 - called as nnpack.open
    source: Path | IO[bytes] | bytes | bytearray | memoryview,
    *,
    limits: Limits | None = None,
    codecs: Mapping[int, AnyCodec] | None = None,
    kinds: Mapping[Any, Any] | None = None,
    threads: int | None = None,
    mmap: Literal["auto", "always", "never"] = "auto",
    expect: str | bytes | None = None,
) -> Reader:
    """Open an nnpack file; nothing but its directory is read.

    Args:
        source: a path, a bytes-like object or a seekable binary file; pipes: `read_stream`.
        limits: what the file may cost; `Limits()` by default.
        codecs: plug-ins by id, besides or instead of those in `nnpack.codecs.CODECS`; private
            ids go by their names.
        kinds: plug-ins by id, besides `nnpack.nodes.KINDS`, and by name decoders for `Opaque`
            tensors: decode(data, parameters, dtype, shape) -> array.
        threads: for decoding; 1 stays on the caller's thread; None: one a core, at most 8.
        mmap: "auto" maps the file only for `Tensor.view`; "never" refuses even that, and then no
            change of the file by others can end the process; "always" maps at once.
        expect: the root (hex or 32 bytes), from a source that you trust; every byte is
            authenticated before it is used.

    Raises:
        NnpackError: the file is damaged, unsupported, above the limits or not the expected one.
        OSError: the path cannot be read.
        TypeError, ValueError: an argument cannot be.
    """
    return Reader(
        source, limits=limits, codecs=codecs, kinds=kinds, threads=threads, mmap=mmap, expect=expect
    )
