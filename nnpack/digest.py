"""The logical digest: what a tensor is, however it is stored (SPEC 13.2)."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from nnpack.abc import PIECE, Node, read_range
from nnpack.bindings import FIRST_PRIVATE
from nnpack.nodes.dense import Dense
from nnpack.transforms import TRANSFORMS

PREFIX: Final = b"nnpack tensor 1\n"
_HEAD: Final = struct.Struct("<BBBBB3sII")


def logical_digest(node: Node) -> str:
    """Return the hex SHA-256 over a tree's heads and its leaves' packed cells.

    Raises:
        ValueError: a private kind is in the tree: its id means something else in other files.
    """
    import hashlib

    total = hashlib.sha256(PREFIX)
    _update(total, node, 0)
    return total.hexdigest()


def _update(total: Any, node: Node, role: int) -> None:
    if node.id >= FIRST_PRIVATE:
        raise ValueError(f"a tensor of the private kind {node.name} has no logical digest")
    parameters = node.parameters()
    total.update(
        _HEAD.pack(
            node.id,
            role,
            node.cell.id,
            len(node.shape),
            len(node.parts()),
            bytes(3),
            len(parameters),
            0,
        )
    )
    total.update(struct.pack(f"<{len(node.shape)}Q", *node.shape))
    total.update(parameters)
    if isinstance(node, Dense):
        step = max(PIECE, node.grain)  # whole bytes of packed cells: both are powers of two
        for start in range(0, node.size, step):
            cells = read_range(node, start, min(start + step, node.size))
            (plane,) = TRANSFORMS[0].split(cells, node.cell)
            total.update(np.ascontiguousarray(plane))
    for number, part in node.parts():
        _update(total, part, number)
