"""Loading all tensors at once: many that are alike are not parsed one by one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from nnpack.container import ALIAS, TENSOR, Section, check_inline
from nnpack.dtypes import Array, count
from nnpack.errors import located
from nnpack.nodes.dense import Dense
from nnpack.scratch import Scratch, lent
from nnpack.sections import but_checksum
from nnpack.source import SMALL, Source
from nnpack.stream import Block, Entries, Stream, check_crc
from nnpack.streamhead import ENTRY
from nnpack.tensor import Tensor
from nnpack.tree import one_block
from nnpack.wire import U32, up8

if TYPE_CHECKING:
    from nnpack.reader import Reader

TOGETHER: Final = 1 << 20
"""Bytes of small tensors, stored and decoded, that are held to be decoded together."""
BLOCK: Final = 1 << 8
"""Bytes that a block takes besides."""
_ENTRY: Final = struct.Struct("<II")


class Form:
    """What leaves of one block have in common whose heads differ in room and block table alone.

    Room is the transform parameter, which is seldom the same.
    """

    def __init__(self, tensor: Tensor, stream: Stream) -> None:
        """Take what the first of them has, which is parsed and checked."""
        self.shape, self.charge, self.memory = tensor.shape, tensor.charge, stream.dtype.numpy
        self.raw = stream.is_plain
        cellwise = stream.transform.cellwise(stream.dtype)
        self.together = cellwise and not self.raw and tensor.nbytes <= SMALL
        self.first = stream
        self.streams = {stream.head.transform_parameter: stream}
        self._possible: set[tuple[int, tuple[int, ...]]] = set()

    @classmethod
    def of(cls, tensor: Tensor) -> Self | None:
        """Return the form of a tensor; None if others like it have to be parsed."""
        node = tensor.node if tensor.supported else None
        stream = node.source if isinstance(node, Dense) else None
        if not isinstance(stream, Stream) or len(stream.head.shared):
            return None
        return cls(tensor, stream)

    def fits(self, section: Section, parameter: int, entries: Entries) -> bool:
        """Return whether this parameter and block table can be a section's."""
        lengths = tuple([length for length, _ in entries])
        if (parameter, lengths) not in self._possible:
            stream = self.streams.get(parameter) or self.first.with_parameter(parameter)
            if stream is None or not stream.fits(lengths, stream.cells):
                return False
            self.streams[parameter] = stream
            self._possible.add((parameter, lengths))
        return sum(map(up8, lengths[:-1])) + lengths[-1] == section.payload_length


class Member(NamedTuple):
    """A tensor of a form, and what it does not share."""

    form: Form
    section: Section
    parameter: int
    entries: Entries

    def read(self, source: Source, room: Room) -> Array:
        """Return the tensor, its head compared and its bytes checked."""
        form, section, entries = self.form, self.section, self.entries
        at, start, size = section.offset, section.payload_offset, section.payload_length
        head = start - at
        if form.raw and size > SMALL:
            check_inline(section, source.read(at, head))
            out = room.empty(form.shape, form.memory)
            with located(at, section.name):
                form.first.read_raw(start, entries[0][1], out.reshape(-1))
            return out
        if form.raw:
            whole = source.read(at, head + size)
            check_inline(section, whole[:head])
            data = bytearray(whole[head:])
            check_crc(data, entries[0][1], start, section.name)
            return np.ndarray(form.shape, form.memory, data)
        out = room.empty(form.shape, form.memory)
        with located(at, section.name), lent() as scratch:
            block = self.borrow(source, scratch)
            form.streams[self.parameter].decode_block(block, out.reshape(-1), scratch)
        return out

    def borrow(self, source: Source, scratch: Scratch) -> Block:
        """Return the only block, perhaps in scratch memory, the head before it compared."""
        section = self.section
        at, start = section.offset, section.payload_offset
        whole = source.borrow(at, start - at + section.payload_length, scratch)
        check_inline(section, whole[: start - at])
        return Block(whole[start - at :], self.entries, start)


class Together:
    """Small tensors: read in the file's order, decoded together with those of their form."""

    def __init__(self, source: Source, room: Room) -> None:
        """Begin with none."""
        self._source, self._room, self._size = source, room, 0
        self._waiting: dict[Form, dict[str, Block]] = {}

    def read(self, member: Member) -> bool:
        """Read one; return whether it is time to decode."""
        form, section = member.form, member.section
        with located(section.offset, section.name), lent() as scratch:
            stored, entries, start = member.borrow(self._source, scratch)
            held = memoryview(bytes(stored))  # a copy: all that was read with it would be held
        self._waiting.setdefault(form, {})[section.name] = Block(held, entries, start)
        self._size += form.charge + len(held) + BLOCK
        return self._size >= TOGETHER

    def decode(self) -> dict[str, Array]:
        """Return those that were read."""
        found: dict[str, Array] = {}
        for form, blocks in self._waiting.items():
            out = self._room.empty((len(blocks), *form.shape), form.memory)
            form.first.decode_alike(blocks, out.reshape(len(blocks), -1))
            for row, name in enumerate(blocks):
                found[name] = out[row, ...]
        self._waiting, self._size = {}, 0
        return found


class Room:
    """Memory for many arrays: small ones stand side by side in a few large pieces.

    The system gives one large piece at less than half of what as many small ones cost. A piece is
    freed with the last of its arrays.
    """

    PIECE: Final = 16 << 20
    OWN: Final = 4 << 20
    """Bytes from which an array has a piece of its own."""
    LINE: Final = 64

    def __init__(self, size: int) -> None:
        """Begin with none; all arrays together will have about so many bytes."""
        self._left, self._piece, self._at = size, np.empty(0, np.uint8), 0

    def empty(self, shape: tuple[int, ...], memory: np.dtype[Any]) -> Array:
        """Return an array whose content is undefined."""
        size = count(shape) * memory.itemsize
        if not 0 < size < self.OWN:
            return np.empty(shape, memory)
        size = (size + self.LINE - 1) // self.LINE * self.LINE
        if self._at + size > len(self._piece):
            self._piece, self._at = np.empty(max(min(self.PIECE, self._left), size), np.uint8), 0
        at = self._at
        self._at, self._left = at + size, self._left - size
        return np.ndarray(shape, memory, self._piece, at)


def load_all(reader: Reader) -> dict[str, Array]:
    """Return all tensors as arrays, each with memory of its own."""
    items, directory, source = _items(reader), reader.directory, reader.source
    charge = sum([i.charge if isinstance(i, Tensor) else i.form.charge for i in items.values()])
    stored = int(directory.payloads[directory.types == TENSOR].sum(dtype=np.int64))
    reader.limits.check_request(charge, stored)
    # One after the other, large ones in pieces side by side: small tensors on several threads were
    # slower than on one, since each call into numpy is short.
    room = Room(charge)
    together = Together(source, room)
    found: dict[str, Array] = {}
    for name, item in items.items():
        if isinstance(item, Tensor):
            found[name] = _read_tree(item, room)
        elif not item.form.together:
            found[name] = item.read(source, room)
        elif together.read(item):
            found |= together.decode()
    found |= together.decode()
    return {name: found[name] for name in items}


def _items(reader: Reader) -> dict[str, Member | Tensor]:
    """Return all tensors; those that have no form, or do not fit it, are parsed one by one.

    Sections that differ in nothing but their place, name, transform parameter, block table and
    payload keep the same rules but for those of these: the first of each form is parsed and
    checked, of the others the rest is only compared with it.
    """
    forms: dict[tuple[bytes, bytes, int], Form | None] = {}
    plain: dict[tuple[bytes, int, int], Form] = {}  # raw ones, of which there may be a million
    found: dict[str, Member | Tensor] = {}
    for section in reader.directory:
        name, body = section.name, section.body
        if section.type != TENSOR:
            if section.type == ALIAS:
                found[name] = reader[name]
            continue
        same = but_checksum(section)
        form = plain.get(same)
        if form:
            entry = section.payload_length, U32.unpack(body[-U32.size :])[0]
            found[name] = Member(form, section, 0, (entry,))
            continue
        at, planes = one_block(body)
        if not planes:
            found[name] = reader[name]
            continue
        table = len(body) - ENTRY * planes
        key = body[: at + 3], body[at + 4 : table], section.alignment
        if key in forms:
            form = forms[key]
        else:
            form = forms[key] = Form.of(reader[name])
            if form and form.raw:
                plain[same] = form
        entries = tuple(_ENTRY.iter_unpack(body[table:]))
        if form and form.fits(section, body[at + 3], entries):
            found[name] = Member(form, section, body[at + 3], entries)
        else:
            found[name] = reader[name]
    return found


def _read_tree(tensor: Tensor, room: Room) -> Array:
    if tensor.nbytes <= SMALL:
        return tensor.read()
    return tensor.read(room.empty(tensor.shape, tensor.node.cell.numpy))
