"""Memory that each thread keeps for its temporaries: fresh pages cost more than the work."""

from __future__ import annotations

from threading import local
from typing import Final

import numpy as np

from nnpack.dtypes import Array


class _Buffers(local):
    def __init__(self) -> None:
        self.by_role: dict[str, Array] = {}


_BUFFERS: Final = _Buffers()


def scratch(role: str, size: int) -> Array:
    """Return bytes whose content is undefined; the next call for the role gives them again.

    A role is used by one function, which neither keeps the bytes nor calls itself.
    """
    held = _BUFFERS.by_role.get(role)
    if held is None or len(held) < size:
        held = _BUFFERS.by_role[role] = np.empty(size, np.uint8)
    return held[:size]
