"""Equal tensors are stored once: found by a few of their bytes, then compared."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import numpy as np

from nnpack.abc import Node, pieces, read_range
from nnpack.dtypes import Array
from nnpack.nodes.dense import Dense
from nnpack.wire import crc32

ORIGIN: Final = "nnpack.origin"
GLANCE: Final = 256
"""Cells at the start, in the middle and at the end that decide whether two are compared."""
SMALL: Final = 256
"""Bytes below which an alias is not smaller."""


class Duplicates:
    """Tensors seen so far. Their values must stay readable, and as they are."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: dict[Hashable, list[tuple[str, Dense]]] = {}
        self.firsts: dict[str, str] = {}
        """The names to make aliases of, with those of the tensors that they stand for."""

    def find(self, name: str, node: Node) -> str | None:
        """Return the name of a tensor seen before that is equal to the last bit, or None.

        If there is one, `name` is to be its alias; if not, it is remembered.
        """
        if not isinstance(node, Dense) or node.nbytes < SMALL:
            return None
        known = self._seen.setdefault(_key(node), [])
        for first, other in known:
            if _same(node, other):
                self.firsts[name] = first
                return first
        known.append((name, node))
        return None

    def noted(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return metadata whose `nnpack.origin` says which aliases were made here (SPEC 12.1)."""
        said = metadata.get(ORIGIN, {})
        made = {name: {**said.get(name, {}), "deduplicated": True} for name in self.firsts}
        return {**metadata, ORIGIN: {**said, **made}}


def _key(leaf: Dense) -> Hashable:
    """Return what equal leaves have in common, cheap to find."""
    last = max(leaf.size - GLANCE, 0)
    parts = [_cells(leaf, at, min(at + GLANCE, leaf.size)) for at in (0, last // 2, last)]
    return leaf.shape, leaf.dtype, crc32(np.concatenate(parts))


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
