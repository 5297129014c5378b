"""Loading all tensors at once: a hundred thousand small ones are not parsed one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from nnpack.abc import PIECE
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

GROUP: Final = 1 << 20
"""Bytes of small tensors that one task reads."""


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
    arrays: dict[str, Any] = dict.fromkeys(found)  # in their order, whichever is read first

    def read(names: list[str]) -> None:
        for name in names:
            item = found[name]
            arrays[name] = (
                item.read() if isinstance(item, Tensor) else item[1].read(item[0], reader.source)
            )

    small, large = _groups(found)
    reader.run(read, small)  # tensors side by side
    for name in large:  # pieces side by side
        read([name])
    return arrays


def _groups(
    found: Mapping[str, tuple[Section, Plain] | Tensor],
) -> tuple[list[list[str]], list[str]]:
    """Return names of small tensors, in groups that are worth a task, and of large ones."""
    groups: list[list[str]] = []
    large: list[str] = []
    held = GROUP
    for name, item in found.items():
        if isinstance(item, Tensor) and item.size > PIECE:
            large.append(name)
            continue
        if held >= GROUP:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += item.charge if isinstance(item, Tensor) else item[1].charge
    return groups, large
