"""The three things that nnpack can be taught: a codec, a transform, a kind of node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from nnpack.dtypes import BY_NAME, Array, DType, count
from nnpack.errors import error
from nnpack.scratch import Scratch
from nnpack.wire import Cursor

Fill = Callable[[int, int, Array], None]
"""fill(start, stop, out): write elements [start, stop) of the flattened node into flat `out`."""


class Codec(ABC):
    """Bytes to fewer bytes and back; it knows nothing of tensors (SPEC 11)."""

    id: ClassVar[int]
    name: ClassVar[str]
    """A private codec's (id 128-255) is a reverse-DNS name, which decides, not the id."""
    library: ClassVar[str] = ""
    """The module that it needs and the extra `codecs` installs."""

    @property
    def is_installed(self) -> bool:
        """Whether what it needs is there, which is not imported for that."""
        if not self.library:
            return True
        from importlib.util import find_spec

        return find_spec(self.library) is not None

    @abstractmethod
    def encode(self, data: memoryview) -> bytes:
        """Return `data` coded; the writer keeps it only if it is smaller."""

    @abstractmethod
    def decode(self, data: memoryview, size: int) -> bytes | memoryview:
        """Return the content, or raise `FormatError` for a stream that is not one of `size` bytes.

        Content of another length is refused by who asks (`decode_into`), so that a decoder may
        return what it has, or a byte more.
        """

    def decode_into(self, data: memoryview, out: memoryview) -> None:
        """Fill `out`; a codec that needs no memory of its own for that says how."""
        content = self.decode(data, len(out))
        if len(content) != len(out):
            raise error(
                "bad-stream", f"the codec {self.name} gave {len(content)} bytes, not {len(out)}"
            )
        out[:] = content

    def encode_many(self, planes: Array) -> list[bytes]:
        """Return blocks coded, uint8 [blocks, length]; a codec may gain by having them together."""
        return [self.encode(plane.data) for plane in planes]

    def decode_many(self, stored: Sequence[memoryview], out: Array) -> None:
        """Fill blocks, uint8 [blocks, length]; a codec may gain by having them together."""
        for data, plane in zip(stored, out, strict=True):
            self.decode_into(data, plane.data)


class TableCodec(ABC):
    """A codec of which the blocks of a plane share a table, which is stored once (SPEC 9.1)."""

    id: ClassVar[int]
    name: ClassVar[str]

    @abstractmethod
    def make_table(self, counts: Array) -> bytes:
        """Return the table for a plane, given how often it holds each byte, int64[256]."""

    @abstractmethod
    def with_table(self, table: memoryview) -> Codec:
        """Return the codec of a plane with this table; `FormatError` if it is none."""


AnyCodec = Codec | TableCodec


class Transform(ABC):
    """A block of cells to byte planes of known length and back (SPEC 10)."""

    id: ClassVar[int]
    name: ClassVar[str]
    forms: ClassVar[int] = 1
    """Ways to spell a block; if there are several, the first plane is raw and begins with which."""
    rows: ClassVar[bool] = False
    """Whether `join` takes several blocks at once, a row for each; of one form and without tails.

    Forms whose planes are as long as each other's count as one."""

    @abstractmethod
    def accepts(self, dtype: DType) -> bool:
        """Return whether cells of this type can be transformed."""

    def max_parameter(self, dtype: DType) -> int:  # noqa: ARG002
        """Return the greatest parameter for cells of this type."""
        return 0

    def cellwise(self, dtype: DType) -> bool:  # noqa: ARG002
        """Return whether planes of several blocks, in turn, are those of all their cells.

        Such planes join to cells whatever they hold, and have neither forms nor a parameter.
        """
        return False

    @abstractmethod
    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """Return the bytes of each plane of a block of so many cells."""

    @abstractmethod
    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the planes, uint8 each, of a flat array in its memory type.

        They may be views of the cells or of `scratch`, which the next call may change.
        """

    @staticmethod
    def without_room(control: Array, parameter: int) -> tuple[Array, int]:
        """Return a block's first plane, and the parameter, with no more room than it needs."""
        return control, parameter

    @abstractmethod
    def join(
        self,
        planes: Sequence[Array],
        dtype: DType,
        out: Array,
        parameter: int = 0,
        scratch: Scratch | None = None,
    ) -> None:
        """Write the cells into `out`, flat and in its memory type.

        Where there are `rows`, planes may be [blocks, bytes], and `out` is [blocks, cells] then.
        """


class Node(ABC):
    """A typed value: what numbers mean, whether they stand in memory or in a file (SPEC 8).

    A node is frozen. Its parts are nodes; the leaves are `Dense`.

    Attributes:
        shape: of the elements that it stands for.
        dtype: their type's name.
    """

    __slots__ = ("dtype", "shape")

    id: ClassVar[int]
    name: ClassVar[str]
    roles: ClassVar[Mapping[int, str]] = {}
    """Role id -> attribute that holds the part."""
    optional: ClassVar[frozenset[int]] = frozenset()
    """Roles that may be missing."""

    shape: tuple[int, ...]
    dtype: str

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: make a new one to change {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={part!r}" for name, part in self.named_parts())
        return f"{type(self).__name__}({self.dtype}{list(self.shape)}{inner and ', ' + inner})"

    def _set(self, **fields: object) -> None:
        """Set fields, while being built."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def cell(self) -> DType:
        """The element type."""
        return BY_NAME[self.dtype]

    @property
    def size(self) -> int:
        """Number of elements."""
        return count(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements in memory."""
        return self.size * self.cell.itemsize

    @property
    def grain(self) -> int:
        """Elements that are best read together: ranges should start at its multiples.

        A kind of which more than `MAX_GRAIN` belong together reads them in pieces all the same.
        """
        return max((part.grain for _, part in self.parts()), default=1)

    def parts(self) -> list[tuple[int, Node]]:
        """Return the parts with their roles, in ascending order."""
        if not self.roles:
            return []
        found = ((role, getattr(self, attribute)) for role, attribute in self.roles.items())
        return [(role, part) for role, part in found if part is not None]

    def named_parts(self) -> list[tuple[str, Node]]:
        """Return the parts with their names."""
        return [(self.roles[role], part) for role, part in self.parts()]

    def replace_parts(self, change: Callable[[Node], Node]) -> Self:
        """Return this value with each part changed into one of the same shape and dtype."""
        new = object.__new__(type(self))
        for base in type(self).__mro__:
            for slot in getattr(base, "__slots__", ()):
                object.__setattr__(new, slot, getattr(self, slot))
        for name, value in getattr(self, "__dict__", {}).items():  # a plug-in without slots
            object.__setattr__(new, name, value)
        for attribute, part in self.named_parts():
            object.__setattr__(new, attribute, change(part))
        return new

    @abstractmethod
    def parameters(self) -> bytes:
        """Return the parameters as they stand in a node head, a multiple of 8 bytes."""

    @classmethod
    @abstractmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Build the node from its head; break no rule silently.

        Raises:
            Invalid: what the head says cannot be.
            NnpackError: the parameters are malformed.
        """

    @abstractmethod
    def window(self, start: int, stop: int) -> Fill:
        """Prepare to read elements of [start, stop), not empty; return the function that does.

        The function may run in several threads. It checks what it reads: a part that breaks a
        rule about its contents raises `Invalid`. Whatever the range, it takes memory of its own
        for a few pieces only (`PIECE`).
        """

    def check_contents(self) -> None:  # noqa: B027 - most kinds have no such rules
        """Check what the parts hold, as far as the kind has rules about it; raise `Invalid`."""

    def check(self) -> None:
        """Check the contents of the whole tree."""
        for _, part in self.parts():
            part.check()
        self.check_contents()

    def checked_parts(self) -> list[tuple[Node, int]]:
        """Return the parts that `check_contents` reads, and how many elements of each at once.

        Unless a kind knows better: all of all, if it has rules about them.
        """
        if type(self).check_contents is Node.check_contents:
            return []
        return [(part, part.size) for _, part in self.parts()]

    def check_memory(self) -> int:
        """Bound the bytes that `check` holds at once, besides a few pieces."""
        held = [cells * part.cell.itemsize + part.overhead(cells)
                for part, cells in self.checked_parts() if cells > PIECE]  # fmt: skip
        return max([sum(held), *(part.check_memory() for _, part in self.parts())])

    def check_work(self) -> int:
        """Bound the bytes that `check` decodes or computes, each as often as it is read."""
        own = sum(part.charge for part, _ in self.checked_parts())
        return own + sum(part.check_work() for _, part in self.parts())

    @property
    def charge(self) -> int:
        """Bytes of the elements of all nodes of the tree (SPEC 8.1)."""
        return self.nbytes + sum(part.charge for _, part in self.parts())

    def overhead(self, wanted: int) -> int:
        """Bound the bytes that reading `wanted` neighbouring elements may take besides them.

        What a few pieces take is not counted. Unless a kind knows better: all parts.
        """
        del wanted
        return sum(part.nbytes + part.overhead(part.size) for _, part in self.parts())

    def _overhead_of_last(self, cells: int) -> int:
        """Bound it for a kind that reads so many cells of its last part, and the others whole."""
        *small, (_, last) = self.parts()
        cells = min(last.size, cells)
        whole = sum(part.nbytes + part.overhead(part.size) for _, part in small)
        return whole + cells * last.cell.itemsize + last.overhead(cells)

    @property
    def in_memory(self) -> bool:
        """Whether all leaves are numpy arrays."""
        return all(part.in_memory for _, part in self.parts())

    def to_numpy(self) -> Array:
        """Return the elements as an array (C order); lossless but for stated rounding."""
        out = np.empty(self.size, self.cell.numpy)
        fill_all(self, out)
        return out.reshape(self.shape)

    def load(self) -> Self:
        """Return the same value with every leaf in memory."""
        return self.replace_parts(lambda part: part.load())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"a {type(self).__name__} cannot be had as an array without a copy")
        return self.to_numpy() if dtype is None else self.to_numpy().astype(dtype)


PIECE = 1 << 18
"""Elements evaluated at once: temporaries stay in the second-level cache."""
MAX_GRAIN = 1 << 21
"""What a grain is at most: two of the largest blocks."""


def pieces(start: int, stop: int, grain: int, size: int = PIECE) -> list[tuple[int, int]]:
    """Cut a range at multiples of `grain`, into pieces of about `size` elements."""
    step = grain * max(1, size // grain)
    cuts = [start, *range((start // step + 1) * step, stop, step), stop]
    return [*pairwise(cuts)] if stop > start else []


def fill_all(node: Node, out: Array) -> None:
    """Write all elements of a node into flat `out`, piece by piece."""
    if node.size:
        fill = node.window(0, node.size)
        for start, stop in pieces(0, node.size, node.grain):
            fill(start, stop, out[start:stop])


def read_range(node: Node, start: int, stop: int) -> Array:
    """Return elements [start, stop) of the flattened node."""
    out = np.empty(stop - start, node.cell.numpy)
    if start < stop:
        fill = node.window(start, stop)
        for a, b in pieces(start, stop, node.grain):
            fill(a, b, out[a - start : b - start])
    return out
