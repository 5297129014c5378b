"""What is written: the elements of tensors in order, to files that appear whole or not at all."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from nnpack.abc import PIECE, Node, pieces
from nnpack.atomic import AtomicFile
from nnpack.convert.model import Model, Options, Summary, blame
from nnpack.convert.source import Stored
from nnpack.dtypes import BYTE, Array
from nnpack.nodes.dense import Dense
from nnpack.payload import SPOOL
from nnpack.sequential import Item
from nnpack.source import ObjectSource
from nnpack.tensor import Tensor
from nnpack.writer import Sink

Target = str | os.PathLike[str] | Sink


class Output:
    """A file object that takes all that is written to it, even a raw pipe."""

    def __init__(self, file: Sink) -> None:
        """Write to a file object, which stays the caller's."""
        self._file = file

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest):
            count = self._file.write(rest)
            rest = rest[len(rest) if count is None else count :]
        return size

    def flush(self) -> None:
        """Hold nothing back."""


@contextmanager
def opened(target: Target) -> Iterator[IO[bytes] | Output]:
    """Open a target: a path appears whole or not at all, a file object is written in order."""
    if not isinstance(target, str | os.PathLike):
        yield Output(target)
        return
    file = AtomicFile(target)
    try:
        yield file.file
    except BaseException:
        file.discard()
        raise
    file.commit()


def folder_of(target: Target) -> str | None:
    """Return the folder that has room for a target, for temporary files."""
    if not isinstance(target, str | os.PathLike):
        return None
    return str(Path(os.path.realpath(target)).parent)


def _check_cost(value: Any, node: Node, options: Options) -> None:
    """Check what decoding all elements costs; some pieces are held at a time."""
    if isinstance(value, Tensor):
        options.limits.check_expansion(value.charge, value.stored_nbytes)
    grain = math.lcm(node.grain, BYTE)
    cells = min(grain * max(1, PIECE // grain) * options.threads, node.size)
    held = cells * node.cell.itemsize + node.overhead(cells)
    options.limits.check_request(held, held)


def chunks(node: Node, threads: int) -> Iterator[Array]:
    """Yield the elements in order, in flat arrays; all but the last have a multiple of 8."""
    if not node.size:
        return
    fill = node.window(0, node.size)

    def read(cut: tuple[int, int]) -> Array:
        out = np.empty(cut[1] - cut[0], node.cell.numpy)
        fill(*cut, out)
        return out

    cuts = pieces(0, node.size, math.lcm(node.grain, BYTE))
    if threads == 1 or len(cuts) == 1:
        yield from map(read, cuts)
        return
    with ThreadPoolExecutor(threads, "nnpack") as pool:
        for at in range(0, len(cuts), threads):
            yield from pool.map(read, cuts[at : at + threads])


@contextmanager
def gathered(
    model: Model, options: Options, summary: Summary
) -> Iterator[tuple[dict[str, Node], dict[str, Any]]]:
    """Return the tensors and the metadata, for a format that needs to know all before it writes.

    Aliases become tensors, typed values dense ones; graphs and blobs are lost. What does not
    last is held in a temporary file.
    """
    nodes: dict[str, Node] = {}
    metadata: dict[str, Any] = {}
    with tempfile.SpooledTemporaryFile(SPOOL, dir=options.spool) as held:
        for kind, name, value in model.items:
            if kind == "tensor":
                with blame(name):
                    node: Node = value if isinstance(value, Node) else value.node
                    _check_cost(value, node, options)
                    if not isinstance(node, Dense):
                        summary.note(f"{node.name} written dense", name)
                    nodes[name] = node if model.lasting else _hold(node, held, options.threads)
            elif kind == "alias":
                summary.note("alias written as a tensor of its own", name)
                nodes[name] = nodes[value]
            elif kind == "metadata":
                metadata = value
            else:
                summary.lose(kind, name)
        yield nodes, metadata


def _hold(node: Node, held: Any, threads: int) -> Dense:
    """Write the elements to a temporary file, and return them as they stand there."""
    offset = held.tell()
    for part in chunks(node, threads):
        held.write(part.view(np.uint8).data)
    return Dense.of_source(Stored(ObjectSource(held), offset), node.shape, node.cell)


def as_items(nodes: dict[str, Node]) -> Iterator[Item]:
    """Yield nodes as items."""
    return (Item("tensor", name, node) for name, node in nodes.items())
