"""Loading all tensors at once: a hundred thousand small ones are not parsed one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from nnpack.container import ALIAS, TENSOR, Section
from nnpack.dtypes import Array
from nnpack.nodes.dense import Dense
from nnpack.sections import but_checksum, is_one_block
from nnpack.source import Source
from nnpack.stream import Stream, check_crc
from nnpack.tensor import Tensor
from nnpack.wire import U32

if TYPE_CHECKING:
    from nnpack.reader import Reader


class Plain(NamedTuple):
    """What tensors of one form have in common if each is one raw block of whole bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    charge: int

    @classmethod
    def of(cls, tensor: Tensor) -> Self | None:
        """Return what a tensor has in common with others of its form; None if it is not plain."""
        node = tensor.node if tensor.supported else None
        stream = node.source if isinstance(node, Dense) else None
        if not isinstance(stream, Stream) or not stream.head.is_raw or stream.dtype.packed:
            return None
        if not is_one_block(tensor.head):
            return None
        return cls(tensor.shape, stream.dtype.numpy, tensor.charge)

    def read(self, section: Section, source: Source) -> Array:
        """Return one tensor, its bytes checked."""
        start = section.payload_offset
        data = bytearray(source.read(start, section.payload_length))
        check_crc(data, U32.unpack(section.body[-U32.size :])[0], start, section.name)
        return np.ndarray(self.shape, self.dtype, data)


def load_all(reader: Reader) -> dict[str, Array]:
    """Return all tensors as arrays, each with memory of its own.

    Sections that differ in nothing but their place, name and one checksum keep the same rules:
    the first of each form is parsed and checked, the others are only compared with it.
    """
    forms: dict[tuple[bytes, int, int], Plain | None] = {}
    found: dict[str, tuple[Section, Plain] | Tensor] = {}
    charge = stored = 0
    for section in reader.directory:
        if section.type not in {TENSOR, ALIAS}:
            continue
        form = but_checksum(section)
        plain = forms.get(form) if section.type == TENSOR else None
        if plain:
            found[section.name] = reader.compared(section), plain
            charge += plain.charge
        else:
            tensor = found[section.name] = reader[section.name]
            charge += tensor.charge
            if section.type == TENSOR and form not in forms:
                forms[form] = Plain.of(tensor)
        stored += section.payload_length
    reader.limits.check_request(charge, stored)
    # One after the other, large ones in pieces side by side: small tensors on several threads were
    # slower than on one, since each call into numpy is short.
    return {
        name: item.read() if isinstance(item, Tensor) else item[1].read(item[0], reader.source)
        for name, item in found.items()
    }
