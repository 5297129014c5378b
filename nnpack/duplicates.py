"""Equal tensors are stored once: found by a few of their bytes, then compared."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import numpy as np

from nnpack.abc import Node, pieces, read_range
from nnpack.dtypes import Array
from nnpack.nodes.dense import Dense
from nnpack.wire import crc32

GLANCE: Final = 256
"""Cells at the start, in the middle and at the end that decide whether two are compared."""
SMALL: Final = 256
"""Bytes below which an alias is not smaller."""


def deduplicates(profile: str) -> bool:
    """Return whether what saves a whole model stores equal tensors once.

    Not in the profile raw: there each tensor has a place of its own, to be mapped.
    """
    return profile != "raw"


def glance(node: Node) -> Hashable | None:
    """Return what equal tensors have in common, cheap to find; None for what is not compared."""
    if not isinstance(node, Dense) or node.nbytes < SMALL:
        return None
    last = max(node.size - GLANCE, 0)
    parts = [_cells(node, at, min(at + GLANCE, node.size)) for at in (0, last // 2, last)]
    return node.shape, node.dtype, crc32(np.concatenate(parts))


class Duplicates:
    """Tensors written so far. Their values must stay readable, and as they are."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: dict[Hashable, list[tuple[str, Dense]]] = {}
        self.firsts: dict[str, str] = {}
        """The aliases that were made, with the names of the tensors that they stand for."""

    def find(self, key: Hashable, node: Node) -> str | None:
        """Return the name of a tensor that is equal to the last bit, or None.

        Args:
            key: what `glance` returned for the node.
            node: the tensor; it is not remembered, for it may never be written.
        """
        if not isinstance(node, Dense):
            return None
        known = self._seen.get(key, ())
        return next((name for name, other in known if _same(node, other)), None)

    def remember(self, key: Hashable, name: str, node: Node) -> None:
        """Let others be aliases of a tensor, which has been written."""
        if isinstance(node, Dense):
            self._seen.setdefault(key, []).append((name, node))


def _same(a: Dense, b: Dense) -> bool:
    return all(
        np.array_equal(_cells(a, start, stop), _cells(b, start, stop))
        for start, stop in pieces(0, a.size, max(a.grain, b.grain))
    )


def _cells(leaf: Dense, start: int, stop: int) -> Array:
    """Return cells as bytes."""
    if leaf.in_memory:
        return leaf.array.reshape(-1)[start:stop].view(np.uint8)
    return read_range(leaf, start, stop).view(np.uint8)
