"""What was checked is what is read: lazy leaves that may say something else the next time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from nnpack.abc import PIECE, Fill, Node, pieces
from nnpack.dtypes import Array
from nnpack.nodes.dense import Dense
from nnpack.payload import SPOOL
from nnpack.stream import Stream


@contextmanager
def checked(root: Node, folder: str | None) -> Iterator[Node]:
    """Check the contents of a tree; return one that holds what was checked.

    Cells that the check read from a lazy leaf, such as indices, are kept in a temporary file in
    `folder`. The leaves of an nnpack file need it not: they have checksums. Nor does a leaf alone:
    no rule reads its cells.
    """
    if root.in_memory or isinstance(root, Dense):
        root.check()
        yield root
        return
    with tempfile.SpooledTemporaryFile(SPOOL, dir=folder) as file:
        kept: list[Kept] = []

        def change(node: Node) -> Node:
            if not isinstance(node, Dense):
                return node.replace_parts(change)
            if node.in_memory or isinstance(node.source, Stream):
                return node
            kept.append(Kept(node, file))
            return Dense.of_source(kept[-1], node.shape, node.cell)

        tree = change(root)
        tree.check()
        for source in kept:
            source.keeping = False
        yield tree


class Kept:
    """Cells of a lazy leaf; those that are read while `keeping` are the same ever after.

    It is read on one thread, as `encode` does: the file has one position.
    """

    in_memory = False

    def __init__(self, leaf: Dense, file: IO[bytes]) -> None:
        """Keep cells at the end of a file, which several leaves may share."""
        self.keeping = True
        self._leaf, self._file = leaf, file
        self._places: dict[int, int] = {}

    @property
    def grain(self) -> int:
        """The leaf's own."""
        return self._leaf.grain

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002 - whole pieces are kept
        """Read from the file what is kept, and the rest from the leaf."""
        size = self._leaf.cell.itemsize
        read = self._leaf.window(0, self._leaf.size)

        def fill(a: int, b: int, out: Array) -> None:
            for low, high in pieces(a, b, 1):
                index, target = low // PIECE, out[low - a : high - a]
                if self.keeping and index not in self._places:
                    self._keep(index, read)
                if index in self._places:
                    self._file.seek(self._places[index] + low % PIECE * size)
                    data = self._file.read((high - low) * size)
                    target.view(np.uint8)[:] = np.frombuffer(data, np.uint8)
                else:
                    read(low, high, target)

        return fill

    def _keep(self, index: int, read: Fill) -> None:
        start = index * PIECE
        cells = np.empty(min(PIECE, self._leaf.size - start), self._leaf.cell.numpy)
        read(start, start + len(cells), cells)
        self._places[index] = self._file.seek(0, 2)
        self._file.write(cells.view(np.uint8).data)
