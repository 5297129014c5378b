"""What every format is read into and written from: items in order, their tensors still unread."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nnpack.abc import Fill, Node, pieces
from nnpack.atomic import AtomicFile
from nnpack.dtypes import BYTE, Array, DType, from_cells, packed_size, unpack
from nnpack.encode import SPOOL
from nnpack.errors import Invalid, NnpackError, error
from nnpack.limits import Limits
from nnpack.nodes.dense import Dense
from nnpack.sequential import Item
from nnpack.sequential import Pipe as InOrder
from nnpack.source import ObjectSource, Source, open_source

Target = str | os.PathLike[str] | IO[bytes]
Progress = Callable[[int, int | None, str], None]
"""progress(done, total, name): decoded bytes before tensor `name`, which is empty at the end."""

ORIGIN: Final = "nnpack.origin"
"""The metadata key that says what tensors were in a foreign format (SPEC 12.1)."""
PIECE: Final = 1 << 20
"""Bytes moved at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller of a conversion asked for.

    Attributes:
        want: whether a tensor of this name is converted.
        limits: what the source may cost.
        profile, digests: of an nnpk target.
        threads: that decode.
        spool: folder for temporary files; None is the system's.
        progress: called before each tensor.
    """

    want: Callable[[str], bool]
    limits: Limits
    profile: str
    digests: bool
    threads: int
    spool: str | None
    progress: Progress | None


@dataclass(slots=True)
class Summary:
    """What a conversion did.

    Attributes:
        source_format, target_format: names of formats.
        tensors, aliases: how many were written.
        notes: what changed its form but not its values -> names of tensors or keys.
        lost: what the target has no place for -> names.
        root: of an nnpk target with digests.
    """

    source_format: str
    target_format: str
    tensors: int = 0
    aliases: int = 0
    notes: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)
    root: str | None = None

    def note(self, what: str, name: str) -> None:
        """Record a change of form."""
        self.notes.setdefault(what, []).append(name)

    def lose(self, what: str, name: str) -> None:
        """Record a loss."""
        self.lost.setdefault(what, []).append(name)


@dataclass(frozen=True, slots=True)
class Model:
    """A network on its way from one format to another.

    Attributes:
        items: its sections in order, as `nnpack.read_stream` yields them; the value of a tensor
            is a `Node`, or has one as `.node`.
        total: decoded bytes of the tensors; None where only the end will tell.
        lasting: whether a tensor can still be read once the next item was asked for.
    """

    items: Iterator[Item]
    total: int | None
    lasting: bool


class Pipe:
    """A source that is read in order, its first bytes put back."""

    def __init__(self, file: InOrder, head: bytes) -> None:
        """Continue a file of which `head` has been read."""
        self._file, self._head = file, head
        self.offset = 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._file.read(size)
        self.offset += len(data)
        return data

    def pieces(self, size: int | None) -> Iterator[bytes]:
        """Yield the next `size` bytes piece by piece, or all that come."""
        left = size
        while left is None or left:
            data = self.read(PIECE if left is None else min(left, PIECE))
            if not data and left is None:
                return
            if not data:
                raise error("truncated", f"the stream ends {left} bytes early", offset=self.offset)
            left = None if left is None else left - len(data)
            yield data

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Read past so many bytes."""
        for _ in self.pieces(size):
            pass

    @contextmanager
    def spool(self, size: int | None, folder: str | None) -> Iterator[Source]:
        """Hold the next `size` bytes, or all that come, where they can be read in any order."""
        with spooled(self.pieces(size), folder) as source:
            yield source


Origin = str | os.PathLike[str] | IO[bytes] | Pipe
"""What is converted: a regular file, a seekable file object, or a pipe."""


@contextmanager
def spooled(data: Iterable[bytes], folder: str | None) -> Iterator[Source]:
    """Hold bytes in memory, or if they are many in a temporary file."""
    with tempfile.SpooledTemporaryFile(SPOOL, dir=folder) as file:
        for piece in data:
            file.write(piece)
        yield ObjectSource(file)  # type: ignore[arg-type]


@contextmanager
def random_access(origin: Origin, folder: str | None) -> Iterator[Source]:
    """Read an origin by offsets; a pipe is spooled whole."""
    if isinstance(origin, Pipe):
        with origin.spool(None, folder) as source:
            yield source
        return
    source = open_source(origin, mapped=False)
    try:
        yield source
    finally:
        source.close()


class Stored:
    """The cells of a leaf as a foreign file has them: in C order, packed or whole bytes each."""

    in_memory = False
    grain = 1

    def __init__(self, source: Source, offset: int, cells: int, *, swapped: bool = False) -> None:
        """Read `cells` cells at an offset; swapped if they are big-endian."""
        self._source, self._offset, self._cells = source, offset, cells
        self._swapped = swapped

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Read bytes straight into the array: no conversion touches them."""
        return self._fill

    def _fill(self, start: int, stop: int, out: Array) -> None:
        size = out.itemsize
        self._source.read_into(self._offset + start * size, memoryview(out.view(np.uint8)))
        if self._swapped:
            component = size // 2 if out.dtype.kind == "c" else size
            out.view(f"<u{component}").byteswap(inplace=True)


class Packed(Stored):
    """Cells narrower than a byte, packed as SPEC 6.2 has them: the first in the lowest bits."""

    def __init__(self, source: Source, offset: int, cells: int, dtype: DType) -> None:
        """Read cells of `dtype`."""
        super().__init__(source, offset, cells)
        self._dtype = dtype

    def _fill(self, start: int, stop: int, out: Array) -> None:
        bits = self._dtype.bits
        first = start // BYTE * BYTE
        last = min(-(-stop // BYTE) * BYTE, self._cells)
        size = packed_size(last - first, bits)
        data = np.frombuffer(self._source.read(self._offset + first * bits // BYTE, size), np.uint8)
        cells = unpack(data, last - first, bits)
        from_cells(cells[start - first : stop - first], self._dtype, out)


def are_bools(source: Source, offset: int, size: int) -> bool:
    """Return whether all bytes are 0 or 1."""
    return all(max(piece) <= 1 for piece in slices(source, offset, size))


def slices(source: Source, offset: int, size: int) -> Iterator[memoryview]:
    """Yield bytes of a source piece by piece."""
    for start in range(offset, offset + size, PIECE):
        yield source.read(start, min(PIECE, offset + size - start))


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Turn what a tensor's bytes did wrong into a `NnpackError` that names the tensor."""
    try:
        yield
    except Invalid as bad:
        raise error(bad.error_class, str(bad), section=name) from bad
    except NnpackError as bad:
        raise bad.at(section=name) from None


def chunks(node: Node, threads: int) -> Iterator[Array]:
    """Yield the elements in order, in flat arrays; all but the last have a multiple of 8."""
    if not node.size:
        return
    fill = node.window(0, node.size)

    def read(cut: tuple[int, int]) -> Array:
        out = np.empty(cut[1] - cut[0], node.cell.numpy)
        fill(*cut, out)
        return out

    cuts = pieces(0, node.size, math.lcm(node.grain, BYTE))
    if threads == 1 or len(cuts) == 1:
        yield from map(read, cuts)
        return
    with ThreadPoolExecutor(threads, "nnpack") as pool:
        for at in range(0, len(cuts), threads):
            yield from pool.map(read, cuts[at : at + threads])


def reported(items: Iterable[Item], total: int | None, progress: Progress | None) -> Iterator[Item]:
    """Yield items, and tell the caller of the conversion how far it has come."""
    done = 0
    for item in items:
        if item.type == "tensor" and progress:
            progress(done, total, item.name)
        yield item
        if item.type == "tensor":
            done += item.value.nbytes
    if progress:
        progress(done, total, "")


@contextmanager
def gathered(
    model: Model, options: Options, summary: Summary
) -> Iterator[tuple[dict[str, Node], dict[str, Any]]]:
    """Return the tensors and the metadata, for a format that needs to know all before it writes.

    Aliases become tensors, typed values dense ones; graphs and blobs are lost. What does not
    last is held in a temporary file.
    """
    nodes: dict[str, Node] = {}
    metadata: dict[str, Any] = {}
    with tempfile.SpooledTemporaryFile(SPOOL, dir=options.spool) as held:
        for kind, name, value in model.items:
            if kind == "tensor":
                with blame(name):
                    node: Node = value if isinstance(value, Node) else value.node
                    if not isinstance(node, Dense):
                        summary.note(f"{node.name} written dense", name)
                    nodes[name] = node if model.lasting else _hold(node, held, options.threads)
            elif kind == "alias":
                summary.note("alias written as a tensor of its own", name)
                nodes[name] = nodes[value]
            elif kind == "metadata":
                metadata = value
            else:
                summary.lose(kind, name)
        yield nodes, metadata


def _hold(node: Node, held: Any, threads: int) -> Dense:
    """Write the elements to a temporary file, and return them as they stand there."""
    offset = held.tell()
    for part in chunks(node, threads):
        held.write(part.view(np.uint8).data)
    return Dense.of_source(Stored(ObjectSource(held), offset, node.size), node.shape, node.cell)


def as_items(nodes: dict[str, Node]) -> Iterator[Item]:
    """Yield nodes as items."""
    return (Item("tensor", name, node) for name, node in nodes.items())


def foreign(metadata: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split off what `nnpack.origin` says about tensors of a foreign format.

    Returns:
        tensor -> what is said of it, and the metadata without that.
    """
    origin = metadata.get(ORIGIN)
    if not isinstance(origin, dict):
        return {}, metadata
    own = {
        tensor: said
        for tensor, said in origin.items()
        if isinstance(said, dict) and said.get("format") == name
    }
    rest = {tensor: said for tensor, said in origin.items() if tensor not in own}
    metadata = {key: value for key, value in metadata.items() if key != ORIGIN}
    return own, metadata | {ORIGIN: rest} if rest else metadata


class Output:
    """A file object that takes all that is written to it, even a raw pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to a file object, which stays the caller's."""
        self._file = file

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it."""
        rest = memoryview(data).cast("B")
        while len(rest):
            count = self._file.write(rest)
            rest = rest[len(rest) if count is None else count :]
        return len(data)

    def flush(self) -> None:
        """Hold nothing back."""


@contextmanager
def opened(target: Target) -> Iterator[IO[bytes] | Output]:
    """Open a target: a path appears whole or not at all, a file object is written in order."""
    if not isinstance(target, str | os.PathLike):
        yield Output(target)
        return
    file = AtomicFile(target)
    try:
        yield file.file
    except BaseException:
        file.discard()
        raise
    file.commit()


def folder_of(target: Target) -> str | None:
    """Return the folder that has room for a target, for temporary files."""
    if isinstance(target, str | os.PathLike):
        return str(Path(os.path.realpath(target)).parent)
    return None
