"""Memory for temporaries that is lent again and again: fresh pages cost more than the work."""

from __future__ import annotations

from threading import local
from typing import Final

import numpy as np

from nnpack.dtypes import Array

STEP: Final = 1 << 18
"""Bytes by which a large buffer grows: what is a little longer next time needs no other pages."""


class Scratch:
    """Buffers by role, for one piece of work at a time; a role's bytes are its caller's alone."""

    def __init__(self) -> None:
        """Begin with none."""
        self._held: dict[str, Array] = {}

    def take(self, role: str, size: int) -> Array:
        """Return bytes whose content is undefined; the next call for the role may change them."""
        held = self._held.get(role)
        if held is None or len(held) < size:
            more = -size % STEP if size > STEP else 0
            held = self._held[role] = np.empty(size + more, np.uint8)
        return held[:size]


class _Spare(local):
    def __init__(self) -> None:
        self.scratches: list[Scratch] = []


_SPARE: Final = _Spare()


class lent:  # noqa: N801 - used as a statement
    """Give the thread's scratch memory until the end of the block.

    Whoever comes in between (a codec that reads a file, a signal handler) is lent another.
    """

    __slots__ = ("_scratch",)

    def __enter__(self) -> Scratch:
        try:
            self._scratch = _SPARE.scratches.pop()
        except IndexError:
            self._scratch = Scratch()
        return self._scratch

    def __exit__(self, *_: object) -> None:
        if not _SPARE.scratches:  # one a thread is enough
            _SPARE.scratches.append(self._scratch)
