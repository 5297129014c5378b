"""The names section: private ids, bound to names that no two vendors share (SPEC 5.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from nnpack.container import Section
from nnpack.errors import error
from nnpack.names import is_private_name
from nnpack.wire import pad8, up8

Bindings = Mapping[tuple[int, int], str]
"""(class, private id) -> reverse-DNS name."""

FIRST_PRIVATE, LAST_PRIVATE = 128, 255
SECTION_TYPE: Final = 1
NAME_CLASSES: Final = {
    SECTION_TYPE: "section type",
    2: "kind",
    3: "dtype",
    4: "transform",
    5: "codec",
}
_BINDING: Final = struct.Struct("<BBH")


def pack_names(bindings: dict[tuple[int, int], str]) -> bytes:
    """Return the body of the names section: private (class, id) -> reverse-DNS name."""
    return b"".join(
        pad8(_BINDING.pack(*key, len(name)) + name.encode())
        for key, name in sorted(bindings.items())
    )


def parse_names(section: Section) -> dict[tuple[int, int], str]:
    """Decode and check the names section."""
    body, at = section.body, section.offset
    if section.payload_length or not body:
        raise error("bad-layout", "a names section without entries or with a payload", offset=at)
    bindings: dict[tuple[int, int], str] = {}
    last, position = (0, 0), 0
    while position < len(body):
        kind, number, size = _BINDING.unpack_from(body, position)
        start, stop = position + _BINDING.size, position + _BINDING.size + size
        position += up8(_BINDING.size + size)
        raw = body[start:stop]
        if position > len(body):
            raise error("bad-node", "an entry runs over the names section", offset=at)
        if any(body[stop:position]):
            raise error("bad-layout", "padding in the names section", offset=at)
        if kind not in NAME_CLASSES or not number >= FIRST_PRIVATE:
            raise error("bad-value", f"class {kind}, id {number} cannot be bound", offset=at)
        if not raw.isascii() or not is_private_name(raw.decode("ascii")):
            raise error("bad-text", f"{raw!a} is no reverse-DNS name", offset=at)
        if (kind, number) <= last:
            raise error("bad-layout", "the names section is not strictly ascending", offset=at)
        last = (kind, number)
        bindings[last] = raw.decode("ascii")
    return bindings


def check_bindings(types: np.ndarray[Any, np.dtype[Any]], bindings: Bindings, at: int) -> None:
    """Check that private section types have names."""
    for kind in np.unique(types[types >= FIRST_PRIVATE]).tolist():
        if kind <= LAST_PRIVATE and (SECTION_TYPE, kind) not in bindings:
            raise error("missing", f"no name is bound to the section type {kind}", offset=at)
