"""Loading all tensors at once: many that are alike are not parsed one by one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from nnpack.container import ALIAS, TENSOR, Section, unlike
from nnpack.dtypes import Array, count
from nnpack.errors import located
from nnpack.nodes.dense import Dense
from nnpack.scratch import lent
from nnpack.sections import but_checksum
from nnpack.source import SMALL
from nnpack.stream import ENTRY, Stream, check_crc
from nnpack.tensor import Tensor
from nnpack.tree import one_block
from nnpack.wire import U32, up8

if TYPE_CHECKING:
    from nnpack.reader import Reader


class Form:
    """What leaves of one block have in common whose heads differ in room and block table alone.

    Room is the transform parameter, which is seldom the same.
    """

    def __init__(self, tensor: Tensor, stream: Stream) -> None:
        """Take what the first of them has, which is parsed and checked."""
        self.shape, self.charge = tensor.shape, tensor.charge
        self._streams = {stream.head.transform_parameter: stream}
        self._first = stream
        self.raw = stream.head.is_raw and not stream.dtype.packed
        self._possible: set[tuple[int, tuple[int, ...]]] = set()

    @classmethod
    def of(cls, tensor: Tensor) -> Self | None:
        """Return the form of a tensor; None if others like it have to be parsed."""
        node = tensor.node if tensor.supported else None
        stream = node.source if isinstance(node, Dense) else None
        if not isinstance(stream, Stream) or len(stream.head.shared):
            return None
        return cls(tensor, stream)

    def fits(self, section: Section, parameter: int, entries: tuple[int, ...]) -> bool:
        """Return whether this parameter and block table can be a section's."""
        lengths = entries[::2]
        if (parameter, lengths) not in self._possible:
            stream = self._streams.get(parameter) or self._first.with_parameter(parameter)
            if stream is None or not stream.fits(lengths):
                return False
            self._streams[parameter] = stream
            self._possible.add((parameter, lengths))
        return sum(map(up8, lengths[:-1])) + lengths[-1] == section.payload_length

    def read(
        self, reader: Reader, section: Section, parameter: int, entries: Entries, room: Room
    ) -> Array:
        """Return a tensor, its head compared and its bytes checked."""
        if self.raw:
            return self._read_raw(reader, section, entries[1], room)
        stream = self._streams[parameter]
        out = room.empty(self.shape, stream.dtype.numpy)
        at, start = section.offset, section.payload_offset
        with located(at, section.name), lent() as scratch:
            whole = stream.source.borrow(at, start - at + section.payload_length, scratch)
            _compare(section, whole[: start - at])
            pairs = [*zip(entries[::2], entries[1::2], strict=True)]
            stream.decode_stored(whole[start - at :], pairs, start, out.reshape(-1), scratch)
        return out

    def _read_raw(self, reader: Reader, section: Section, crc: int, room: Room) -> Array:
        stream, at, start = self._first, section.offset, section.payload_offset
        if section.payload_length > SMALL:
            reader.compared(section)
            out = room.empty(self.shape, stream.dtype.numpy)
            with located(at, section.name):
                stream.read_raw(start, crc, out.reshape(-1))
            return out
        whole = stream.source.read(at, start - at + section.payload_length)
        _compare(section, whole[: start - at])
        data = bytearray(whole[start - at :])
        check_crc(data, crc, start, section.name)
        return np.ndarray(self.shape, stream.dtype.numpy, data)


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


def _compare(section: Section, inline: memoryview) -> None:
    """Compare the head and its padding with the directory's."""
    head = section.head()
    if inline != head.ljust(len(inline), b"\0"):
        raise unlike(section, head, bytes(inline))


Entries = tuple[int, ...]
"""A block table's lengths and checksums, in turn."""


def load_all(reader: Reader) -> dict[str, Array]:
    """Return all tensors as arrays, each with memory of its own.

    Sections that differ in nothing but their place, name, transform parameter, block table and
    payload keep the same rules but for those of these: the first of each form is parsed and
    checked, of the others the rest is only compared with it.
    """
    forms: dict[tuple[bytes, bytes, int], Form | None] = {}
    plain: dict[tuple[bytes, int, int], Form] = {}  # raw ones, of which there may be a million
    found: dict[str, tuple[Form, Section, int, Entries] | Tensor] = {}
    charge = stored = 0
    for section in reader.directory:
        if section.type not in {TENSOR, ALIAS}:
            continue
        stored += section.payload_length
        body = section.body
        same = but_checksum(section)
        form = plain.get(same) if section.type == TENSOR else None
        if form:
            crc = U32.unpack(body[-U32.size :])[0]
            found[section.name] = form, section, 0, (section.payload_length, crc)
            charge += form.charge
            continue
        at, planes = one_block(body) if section.type == TENSOR else (0, 0)
        table = len(body) - ENTRY * planes
        key = body[: at + 3], body[at + 4 : table], section.alignment
        form = forms.get(key) if planes else None
        if form:
            parameter = body[at + 3]
            entries = struct.unpack_from(f"<{2 * planes}I", body, table)
            if form.fits(section, parameter, entries):
                found[section.name] = form, section, parameter, entries
                charge += form.charge
                continue
        tensor = found[section.name] = reader[section.name]
        charge += tensor.charge
        if planes and key not in forms:
            form = forms[key] = Form.of(tensor)
            if form and form.raw:
                plain[same] = form
    reader.limits.check_request(charge, stored)
    # One after the other, large ones in pieces side by side: small tensors on several threads were
    # slower than on one, since each call into numpy is short.
    room = Room(charge)
    return {
        name: _read_tree(item, room)
        if isinstance(item, Tensor)
        else item[0].read(reader, *item[1:], room)
        for name, item in found.items()
    }


def _read_tree(tensor: Tensor, room: Room) -> Array:
    if tensor.nbytes <= SMALL:
        return tensor.read()
    return tensor.read(room.empty(tensor.shape, tensor.node.cell.numpy))
