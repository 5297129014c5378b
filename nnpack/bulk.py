"""Loading all tensors at once: many that are alike are not parsed one by one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Self

import numpy as np

from nnpack.container import ALIAS, TENSOR, Section, unlike
from nnpack.dtypes import Array
from nnpack.errors import located
from nnpack.nodes.dense import Dense
from nnpack.scratch import lent
from nnpack.source import SMALL
from nnpack.stream import ENTRY, Stream, check_crc
from nnpack.tensor import Tensor
from nnpack.tree import one_block
from nnpack.wire import up8

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
        self._raw = stream.head.is_raw and not stream.dtype.packed
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

    def read(self, reader: Reader, section: Section, parameter: int, entries: Entries) -> Array:
        """Return a tensor, its head compared and its bytes checked."""
        stream = self._streams[parameter]
        out = np.empty(self.shape, stream.dtype.numpy)
        cells, at, start = out.reshape(-1), section.offset, section.payload_offset
        with located(at, section.name):
            if self._raw and section.payload_length > SMALL:
                reader.compared(section)
                stream.read_raw(start, entries[1], cells)
                return out
            head, gap = section.head(), start - at
            with lent() as scratch:
                whole = stream.source.borrow(at, gap + section.payload_length, scratch)
                if whole[:gap] != head.ljust(gap, b"\0"):
                    raise unlike(section, head, bytes(whole[:gap]))
                stored = whole[gap:]
                if self._raw:
                    check_crc(stored, entries[1], start)
                    cells.view(np.uint8)[:] = stored
                else:
                    pairs = [*zip(entries[::2], entries[1::2], strict=True)]
                    stream.decode_stored(stored, pairs, start, cells, scratch)
        return out


Entries = tuple[int, ...]
"""A block table's lengths and checksums, in turn."""


def load_all(reader: Reader) -> dict[str, Array]:
    """Return all tensors as arrays, each with memory of its own.

    Sections that differ in nothing but their place, name, transform parameter, block table and
    payload keep the same rules but for those of these: the first of each form is parsed and
    checked, of the others the rest is only compared with it.
    """
    forms: dict[tuple[bytes, bytes, int], Form | None] = {}
    found: dict[str, tuple[Form, Section, int, Entries] | Tensor] = {}
    charge = stored = 0
    for section in reader.directory:
        if section.type not in {TENSOR, ALIAS}:
            continue
        stored += section.payload_length
        body = section.body
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
            forms[key] = Form.of(tensor)
    reader.limits.check_request(charge, stored)
    # One after the other, large ones in pieces side by side: small tensors on several threads were
    # slower than on one, since each call into numpy is short.
    return {
        name: item.read() if isinstance(item, Tensor) else item[0].read(reader, *item[1:])
        for name, item in found.items()
    }
