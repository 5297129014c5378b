"""Encoding a leaf as its plan says: cells to planes to stored bytes, block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Final

import numpy as np

from nnpack.dtypes import Array, DType
from nnpack.nodes.dense import Dense, InMemory
from nnpack.payload import Payload
from nnpack.profiles import Plan
from nnpack.scratch import lent
from nnpack.stream import RAW, StreamHead
from nnpack.wire import crc32, up8

AHEAD: Final = 8 << 20
"""Bytes of cells that may be on the way to be encoded, besides the block that is next."""


def encode(leaf: Dense, plan: Plan, payload: Payload, pool: Executor | None = None) -> StreamHead:
    """Append a leaf's stored bytes to the payload, and return the parameters that describe them.

    Args:
        leaf: the cells; they are read on the caller's thread.
        plan: how to store them.
        payload: takes the bytes.
        pool: encodes blocks side by side; the result is the same.

    Raises:
        ValueError: a lazy array holds a cell that does not fit its dtype.
    """
    entries: list[tuple[int, int]] = []
    if leaf.size and plan.is_raw and not leaf.cell.packed and isinstance(leaf.source, InMemory):
        data = leaf.source.array.reshape(-1).view(np.uint8).data
        step = leaf.cell.itemsize << plan.log2
        # On this thread: threads cost more than they save where memory is the limit.
        cuts = (data[start : start + step] for start in range(0, len(data), step))
        entries = [(len(piece), crc32(piece)) for piece in cuts]
        payload.borrow(data)
    else:
        for planes in _encoded_blocks(leaf, plan, pool):
            for plane, crc in planes:
                payload.pad(up8(payload.size))
                payload.append(plane)
                entries.append((len(plane), crc))
    table = np.array(entries, np.uint32).reshape(-1, 2)
    codecs = tuple(codec.id for codec in plan.codecs)
    return StreamHead(plan.transform.id, plan.log2, plan.parameter, codecs, table[:0], table)


Stored = list[tuple[bytes | memoryview, int]]
"""The planes of a block as they are stored, each with its CRC-32."""


def _encoded_blocks(leaf: Dense, plan: Plan, pool: Executor | None) -> Iterator[Stored]:
    """Yield the stored planes of each block, in order."""
    if not leaf.size:
        return
    block = 1 << plan.log2
    fill = leaf.window(0, leaf.size)
    depth = max(1, AHEAD // (leaf.cell.itemsize * block))
    ahead: deque[Future[Stored]] = deque()
    for start in range(0, leaf.size, block):
        cells = np.empty(min(block, leaf.size - start), leaf.cell.numpy)
        fill(start, start + len(cells), cells)
        if pool is None:
            yield _encode_block(cells, leaf.cell, plan)
            continue
        ahead.append(pool.submit(_encode_block, cells, leaf.cell, plan))
        if len(ahead) > depth:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _encode_block(cells: Array, dtype: DType, plan: Plan) -> Stored:
    """Return the planes of a block, each coded if that is smaller."""
    stored: Stored = []
    with lent() as scratch:
        planes = plan.transform.split(cells, dtype, plan.parameter, scratch)
        for codec, plane in zip(plan.codecs, planes, strict=True):
            coded = b"" if codec.id == RAW else codec.encode(plane.data)
            # A copy of a plane because it may be scratch memory; and of what a codec gave because
            # codecs allocate for the worst case, and the rest of that would stay in use.
            data = bytes(memoryview(coded)) if 0 < len(coded) < len(plane) else plane.tobytes()
            stored.append((data, crc32(data)))
    return stored
