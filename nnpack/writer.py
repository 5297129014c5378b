"""Writing files: sections in order, then the directory and the trailer (SPEC 5)."""

from __future__ import annotations

import errno
import hashlib
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np

from nnpack import container, graph, jsontext
from nnpack.abc import AnyCodec, Node
from nnpack.arguments import check_binary_writer, check_plugins
from nnpack.atomic import AtomicFile
from nnpack.bindings import FIRST_PRIVATE, LAST_PRIVATE, SECTION_TYPE, pack_names, parse_names
from nnpack.codecs import CODECS
from nnpack.container import Section, Trailer
from nnpack.directory import pack_directory
from nnpack.duplicates import Duplicates, glance
from nnpack.encode import encode
from nnpack.errors import Invalid, located
from nnpack.kept import checked
from nnpack.limits import MAX_DEPTH, MAX_HEAD, MAX_NODES, MAX_SECTIONS
from nnpack.metadata import is_key, with_deduplicated
from nnpack.names import check_name, is_private_name
from nnpack.nodes import KINDS
from nnpack.nodes.dense import Dense, as_node
from nnpack.payload import Payload
from nnpack.profiles import PROFILES, Plan, choose, choose_text
from nnpack.sections import parse_payload
from nnpack.simplify import simplify
from nnpack.source import CHUNK, ROOT_PREFIX, Source
from nnpack.taps import Crc, Digests
from nnpack.tensor import Tensor
from nnpack.threads import whole_threads
from nnpack.tree import CODEC, KIND, leaves, pack_tree
from nnpack.wire import U64, up8, up_align

DEFAULT_ALIGNMENT: Final = 64
"""A cache line, and the widest vector register."""
_ALIGNMENTS: Final = {1 << n for n in range(3, 17)}
TOGETHER: Final = 1 << 16
"""Bytes that are written at once, where they come in small chunks."""
SMALL_PAYLOAD: Final = 4096
"""Raw payloads below this are aligned to 8 only: padding would cost more than it gains."""


class Sink(Protocol):
    """What a file can be written to."""

    def write(self, data: bytes | memoryview, /) -> Any:
        """Take the bytes."""


class Writer:
    """Writes one file, section by section; holds at most one section's encoded payload.

    As a context manager it closes the file at the end, or discards it if there was an exception:
    nothing appears at a target path before.

    Args:
        target: a path, or any object with `write` (a pipe, a socket's file, BytesIO).
        profile: "raw" (mappable, canonical), "fast", "balanced" (smaller) or "small" (slower).
        digests: write SHA-256 digests, so that `root` authenticates every part of the file.
        alignment: of raw tensors in the file, a power of two from 8 to 65536; 64 by default,
            8 for tensors under 4 KiB.
        threads: for encoding; 1 stays on the caller's thread; None: one a core, at most 8. The
            bytes are the same for any number.
        codecs: plug-ins besides `nnpack.codecs.CODECS`.
        kinds: plug-ins besides `nnpack.nodes.KINDS`.
        deduplicate: store arrays that are equal to the last bit once, the others as aliases, which
            the metadata list; holds on to the values, which must stay as they are, but for those
            that `add` is told do not.
        bindings: names of private ids besides those of the plug-ins, as `Reader.bindings` has
            them, for tensors that `copy` writes.

    Attributes:
        root: 64 hex digits that authenticate the file, for `nnpack.open(path, expect=root)`; set
            when the file is closed, None before and without `digests`.

    Raises:
        ValueError: an option that cannot be.
        TypeError: `target` is neither a path nor has `write`.
        OSError: the path cannot be written.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Sink,
        *,
        profile: str = "balanced",
        digests: bool = False,
        alignment: int | None = None,
        threads: int | None = None,
        codecs: Mapping[int, AnyCodec] | None = None,
        kinds: Mapping[int, type[Node]] | None = None,
        deduplicate: bool = False,
        bindings: Mapping[tuple[int, int], str] | None = None,
    ) -> None:
        """Begin the file."""
        if profile not in [*PROFILES]:  # a list, because what is passed may have no hash
            raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
        alignment = None if alignment is None else _whole("alignment", alignment)
        if alignment is not None and alignment not in _ALIGNMENTS:
            raise ValueError(f"an alignment is a power of two from 8 to 65536, not {alignment}")
        check_plugins(codecs, kinds, decoders=False)
        self._profile, self._alignment = profile, alignment
        self._threads = whole_threads(threads)
        self._pool: ThreadPoolExecutor | None = None
        self._bindings = private_names(codecs or CODECS, kinds or KINDS)
        for key, bound in (bindings or {}).items():
            if self._bindings.setdefault(key, bound) != bound:
                raise ValueError(f"{bound} and {self._bindings[key]} cannot both have id {key[1]}")
        self._digests = Digests() if digests else None
        self._taps: list[Callable[[bytes | memoryview], None]] = []
        if self._digests:
            self._taps.append(self._digests.update)
        self._sections: list[Section] = []
        self._types: dict[str, int] = {}
        self._used: list[str] = []
        self._metadata: bytes | None = None
        self._duplicates = Duplicates() if deduplicate else None
        self.root: str | None = None
        self._file: AtomicFile | None = None
        self._spool: str | None = None
        if isinstance(target, str | os.PathLike):
            self._file = AtomicFile(target)
            self._spool = str(self._file.target.parent)
            self._write_out: Callable[[Any], Any] = self._file.write
        else:
            check_binary_writer(target)
            self._write_out = target.write
        self._offset = 0
        self._open = True
        self._failed = False
        self._emit(container.HEADER)
        if self._bindings:
            self._section(container.NAMES, "", pack_names(self._bindings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def add(self, name: str, value: Any, *, lasting: bool = True) -> None:
        """Write a tensor.

        Args:
            name: 1 to 1024 bytes of UTF-8, unlike all others in the file.
            value: a value such as `Csr` or `Quantized`, a tensor of an open file, a numpy array,
                or anything with shape, dtype and slicing, which is read piece by piece.
            lasting: whether the value stays readable, and as it is, until the file is closed; if
                not, it is not held, and equal ones that come later are not made its aliases.

        Raises:
            TypeError: the value's type cannot be stored.
            ValueError: the name or the value cannot be, or the file is closed.
            NnpackError: a tensor of an open file is damaged or not supported.
        """
        self._check_name(name)
        try:
            if isinstance(value, Tensor):  # what is wrong with it is its file's fault
                with located(value.section.offset, value.name):
                    self._tensor(name, value.node, lasting=lasting)
            else:
                self._tensor(name, as_node(value), lasting=lasting)
        except Invalid as bad:
            raise Invalid(bad.error_class, f"{name!a}: {bad.message}", bad.hint) from bad
        except TypeError as bad:
            raise TypeError(f"{name!a}: {bad}") from bad

    def add_alias(self, name: str, target: str) -> None:
        """Give the tensor called `target`, written before, a second name."""
        self._check_name(name)
        if self._duplicates:
            target = self._duplicates.firsts.get(target, target)
        if self._types.get(target) != container.TENSOR:
            raise ValueError(f"an alias needs a tensor written before it; {target!a} is none")
        self._section(container.ALIAS, name, container.pack_alias(target))
        self._types[name] = container.ALIAS

    def add_blob(self, name: str, data: bytes | bytearray | memoryview) -> None:
        """Write bytes that ride along, such as a tokenizer.

        Raises:
            TypeError: `data` is not bytes-like.
        """
        self._check_name(name)
        try:
            held = memoryview(data)
        except TypeError:
            kind = type(data).__name__
            raise TypeError(f"a blob is bytes, not {kind}: text needs .encode()") from None
        self._bytes(container.BLOB, name, bytes(held))
        self._types[name] = container.BLOB

    def add_graph(self, name: str, value: Mapping[str, Any] | str) -> None:
        """Write a graph (SPEC 12.2), a mapping or a JSON text, which is kept as it is.

        Raises:
            ValueError, TypeError: it is not one; or, from `close`, it uses a name that no tensor
                of the file has.
        """
        self._check_name(name)
        data, held = _json(value, "a graph")
        used = graph.check(held)
        self._bytes(container.GRAPH, name, data)
        self._used += used
        self._types[name] = container.GRAPH

    def set_metadata(self, value: Mapping[str, Any] | str) -> None:
        """Set the file's metadata, a JSON object; it is written last, near the directory.

        A JSON text is kept as it is, unless the writer has something to add.

        Raises:
            ValueError, TypeError: it is not strict JSON, or has a key of nnpack's own that SPEC
                12.1 does not define.
        """
        self._check_open()
        data, held = _json(value, "metadata")
        foreign = [key for key in held if not is_key(key)]
        if foreign:
            raise ValueError(f"the key {foreign[0]!a} is nnpack's: keys of yours begin otherwise")
        self._metadata = data

    def copy(self, section: Section, source: Source, name: str | None = None) -> None:
        """Write a section of an open file as it is; only its head is issued anew, for its place.

        The caller has checked it, checksums and contents: here its payload is moved in pieces and
        not looked at, so that parts which nobody here can decode are copied too.

        Args:
            section: head of the original; no metadata, digests or directory.
            source: bytes of the file that it stands in.
            name: of the copy, if it is to have another.

        Raises:
            ValueError: it has a private id that is not bound here (see `bindings`; names are bound
                too by a names section that is copied first), it is an alias of no tensor written
                before it, or a section that writers make themselves.
            NnpackError: its head breaks a rule.
        """
        self._check_open()
        kind = section.type
        if name is not None and kind not in container.NAMED:
            raise ValueError(f"the section {section.label!a} has no name to change")
        name = section.name if name is None else name
        if kind in container.NAMED:
            self._check_name(name)
        if kind in {container.METADATA, container.DIGESTS, container.DIRECTORY}:
            raise ValueError(f"{section.label} is not copied: the writer makes its own")
        if kind == container.NAMES:
            self._take_names(section)
        elif kind == container.ALIAS:
            target = container.parse_alias(section)
            if self._types.get(target) != container.TENSOR:
                raise ValueError(f"{target!a} is no tensor written before its alias {name!a}")
        else:
            self._check_ids(name, section)
        length = section.payload_length
        spans = ((at, min(CHUNK, length - at)) for at in range(0, length, CHUNK))
        chunks = (source.read(section.payload_offset + at, size) for at, size in spans)
        moved = section._replace(name=name, offset=self._offset)
        self._put(moved, chunks)
        if kind in container.NAMED:
            self._types[name] = kind

    def _take_names(self, section: Section) -> None:
        """Bind what a names section binds, which is the first."""
        if self._sections:
            raise ValueError("a names section is copied before all others, or not at all")
        self._bindings = parse_names(section)

    def _check_ids(self, name: str, section: Section) -> None:
        """Check that the private ids of a section have their names in the file."""
        private = [] if section.type in container.TYPE_NAMES else [(SECTION_TYPE, section.type)]
        if section.payload_length or section.type in container.TYPE_NAMES:
            private += parse_payload(section).ids()
        for key in private:
            if FIRST_PRIVATE <= key[1] <= LAST_PRIVATE and key not in self._bindings:
                raise ValueError(f"{name!a} has the private id {key[1]}: pass its bindings")

    def close(self) -> None:
        """Write metadata, digests, directory and trailer; let the file appear."""
        if not self._open:
            return
        try:
            self._check_open()
            self._finish()
        except BaseException:
            self.discard()
            raise
        self._shut()
        if self._file:
            self._file.commit()

    def discard(self) -> None:
        """Give the file up: nothing appears at the target path."""
        if self._open and self._file:
            self._file.discard()
        self._shut()

    def _shut(self) -> None:
        self._open = False
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _finish(self) -> None:
        tensors = {container.TENSOR, container.ALIAS}
        missing = [name for name in self._used if self._types.get(name) not in tensors]
        if missing:
            raise ValueError(f"a graph uses {missing[0]!a}, which no node, input or tensor gives")
        if self._duplicates and self._duplicates.firsts:
            held = jsontext.parse(self._metadata) if self._metadata else {}
            self._metadata = jsontext.dump(with_deduplicated(held, self._duplicates.firsts))
        if self._metadata is not None:
            self._bytes(container.METADATA, "", self._metadata)
        root = None
        if self._digests:
            digests = b"".join(self._digests.finish())
            root = hashlib.sha256(ROOT_PREFIX + U64.pack(self._offset))
            self._taps = [root.update]
            leaf = Dense(np.frombuffer(digests, np.uint8).reshape(-1, 32))
            self._leaf_section(container.DIGESTS, "", leaf, "raw")
        start, checksum = self._offset, Crc(container.HEADER)
        self._taps.append(checksum.update)
        listing = np.frombuffer(pack_directory(self._sections), np.uint8)
        self._leaf_section(container.DIRECTORY, "", Dense(listing), self._profile)
        length = self._offset - start
        checksum.update(U64.pack(start) + U64.pack(length))
        self._emit(Trailer(start, length, checksum.value).pack())
        self.root = root.hexdigest() if root else None

    def _emit(self, data: bytes | memoryview) -> None:
        """Write bytes, and show them to whoever counts or digests them."""
        rest = memoryview(data).cast("B")
        self._offset += len(rest)
        for tap in self._taps:
            tap(rest)
        while len(rest):
            count = self._write_out(rest)
            if count == 0:
                raise OSError(errno.EIO, "the target takes no more bytes")
            rest = rest[len(rest) if count is None else count :]

    def _section(
        self, kind: int, name: str, body: bytes, payload: Payload | None = None, alignment: int = 3
    ) -> None:
        """Write a whole section."""
        size = payload.size if payload else 0
        flags = container.ANCILLARY if kind == container.DIGESTS else 0
        alignment = alignment if size else 3
        self._put(Section(kind, flags, name, alignment, self._offset, size, body), payload or ())

    def _put(self, section: Section, chunks: Iterable[bytes | memoryview]) -> None:
        """Write a section with the head and the payload that are given."""
        if len(self._sections) >= MAX_SECTIONS - 1:
            raise ValueError(f"a file has fewer than {MAX_SECTIONS} sections")
        head = section.head()
        if len(head) > MAX_HEAD:
            raise ValueError(f"the head of {section.name!a} passes 64 MiB: split the tensor")
        self._check_open()
        self._failed = True  # until all is written: half a section cannot be taken back
        stop = section.offset + len(head)
        start = up_align(stop, section.alignment)
        end = start + section.payload_length
        for chunk in joined([head, bytes(start - stop)], chunks, [bytes(-end & 7)]):
            self._emit(chunk)
        self._sections.append(section)
        self._failed = False

    def _bytes(self, kind: int, name: str, data: bytes) -> None:
        self._leaf_section(kind, name, Dense(np.frombuffer(data, np.uint8)), self._profile)

    def _leaf_section(self, kind: int, name: str, leaf: Dense, profile: str) -> None:
        """Write a section whose body is one leaf of bytes."""
        plan = choose_text(profile, leaf, listing=kind == container.DIRECTORY)
        with Payload(self._spool) as payload:
            head = encode(leaf, plan, payload, self._workers(leaf, plan))
            self._section(kind, name, pack_tree(leaf, 0, lambda _: head.pack()), payload)

    def simplify(self, node: Node) -> Node:
        """Return what is stored for a value: the same elements, told more shortly perhaps."""
        if self._profile == "raw" or not isinstance(node, Dense):
            return node
        return simplify(self._profile, node)

    def plan(self, leaf: Dense) -> Plan:
        """Return how a leaf of a tensor is stored; a subclass may decide otherwise."""
        return choose(self._profile, leaf)

    def _tensor(self, name: str, node: Node, *, lasting: bool) -> None:
        """Write a tree's section, or an alias of one that is equal."""
        key = glance(node) if self._duplicates else None
        if self._duplicates is None or key is None:
            self._checked(name, node)
            return
        first = self._duplicates.find(key, node)
        if first is None:
            self._checked(name, node)
            if lasting:
                self._duplicates.remember(key, name, node)
        else:
            self._section(container.ALIAS, name, container.pack_alias(first))
            self._types[name] = container.ALIAS
            self._duplicates.firsts[name] = first

    def _checked(self, name: str, node: Node) -> None:
        """Check a tree and write its section."""
        _check_tree(node)
        # Even what is in memory: since it was built its arrays may have changed.
        with checked(node, self._spool) as tree:
            self._encoded(name, self.simplify(tree))

    def _encoded(self, name: str, node: Node) -> None:
        """Encode the leaves of a checked tree and write its section."""
        found = [*leaves(node)]
        plans = [self.plan(leaf) for leaf in found]
        raw = sum(leaf.nbytes for leaf, plan in zip(found, plans, strict=True) if plan.is_raw)
        alignment = self._alignment or DEFAULT_ALIGNMENT
        if not raw or (self._alignment is None and raw < SMALL_PAYLOAD):
            alignment = 8
        self._check_bound(node, plans)
        log2 = alignment.bit_length() - 1
        with Payload(self._spool, lends=len(found) == 1) as payload:
            heads: list[bytes] = []
            for leaf, plan in zip(found, plans, strict=True):
                if leaf.size:
                    payload.pad(up_align(payload.size, log2) if plan.is_raw else up8(payload.size))
                heads.append(encode(leaf, plan, payload, self._workers(leaf, plan)).pack())
            heads.reverse()
            body = pack_tree(node, 0, lambda _: heads.pop())
            self._section(container.TENSOR, name, body, payload, log2)
        self._types[name] = container.TENSOR

    def _check_bound(self, node: Node, plans: Iterable[Plan]) -> None:
        """Check that private kinds and codecs have their names in the file."""
        used = [(CODEC, codec.id, codec.name) for plan in plans for codec in plan.codecs]
        level = [node]
        while level:
            used += [(KIND, inner.id, inner.name) for inner in level]
            level = [part for inner in level for _, part in inner.parts()]
        for number, key, name in used:
            if key >= FIRST_PRIVATE and self._bindings.get((number, key)) != name:
                raise ValueError(f"{name} with id {key} is not bound: pass it as a plug-in")

    def _workers(self, leaf: Dense, plan: Plan) -> ThreadPoolExecutor | None:
        """Return the threads for a leaf, if it has blocks for several."""
        if self._threads == 1 or leaf.size <= 1 << plan.log2:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "nnpack-writer")
        return self._pool

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("the file is closed")
        if self._failed:
            raise ValueError("a write failed: the file cannot be finished")

    def _check_name(self, name: str) -> None:
        self._check_open()
        if not isinstance(name, str):
            raise TypeError(f"a name is a str, not {type(name).__name__}: the name comes first")
        check_name(name)
        if name in self._types:
            raise ValueError(f"the file has a section called {name!a} already")


def joined(*series: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes in fewer chunks: small ones together, large ones as they are."""
    small: list[bytes | memoryview] = []
    size = 0
    for chunk in chain(*series):
        if size and size + len(chunk) > TOGETHER:
            yield b"".join(small)
            small, size = [], 0
        if len(chunk) > TOGETHER:
            yield chunk
        elif len(chunk):
            small.append(chunk)
            size += len(chunk)
    if small:
        yield b"".join(small)


def _check_tree(root: Node) -> None:
    """Check the bounds on a tree's size before any of it is encoded."""
    level, nodes, depth = [root], 0, 0
    while level and depth < MAX_DEPTH:
        nodes += len(level)
        depth += 1
        level = [part for node in level for _, part in node.parts()]
    if level or nodes > MAX_NODES:
        raise Invalid("bad-node", f"a tensor has at most {MAX_DEPTH} levels and {MAX_NODES} nodes")


def private_names(
    codecs: Mapping[int, AnyCodec], kinds: Mapping[int, type[Node]]
) -> dict[tuple[int, int], str]:
    """Return the names to bind for the private ids among plug-ins; ValueError if one has none."""
    bindings: dict[tuple[int, int], str] = {}
    for number, things in ((KIND, kinds), (CODEC, codecs)):
        for key, thing in things.items():
            if key < FIRST_PRIVATE:
                continue
            if key > LAST_PRIVATE or not is_private_name(thing.name):
                raise ValueError(
                    f"the plug-in {thing.name!r} with id {key} needs an id from 128 "
                    "to 255 and a reverse-DNS name"
                )
            bindings[number, key] = thing.name
    return bindings


def _whole(name: str, value: int) -> int:
    """Return an option as an int."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, not {value!r}") from None


def _json(value: Mapping[str, Any] | str, what: str) -> tuple[bytes, dict[str, Any]]:
    """Return a JSON object as text and as a value."""
    if isinstance(value, str):
        data = value.encode()
        return data, jsontext.parse(data)
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is a mapping or a JSON text, not {type(value).__name__}")
    held = jsontext.plain(value)
    return jsontext.dump(held), held
