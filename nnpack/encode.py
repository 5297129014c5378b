"""Encoding a leaf as its plan says: cells to planes to stored bytes, block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import numpy as np

from nnpack.abc import Codec, TableCodec
from nnpack.codecs.raw import Raw
from nnpack.dtypes import Array, DType
from nnpack.nodes.dense import Dense, InMemory
from nnpack.payload import Payload
from nnpack.profiles import Plan
from nnpack.scratch import Scratch, lent
from nnpack.streamhead import RAW, StreamHead
from nnpack.wire import crc32, up8

_T = TypeVar("_T")
AHEAD: Final = 8 << 20
"""Bytes of cells that may be on the way to be encoded, besides the block that is next."""
TOGETHER: Final = 4 << 20
"""Bytes of the cells of blocks that a codec with a table encodes together."""


def encode(leaf: Dense, plan: Plan, payload: Payload, pool: Executor | None = None) -> StreamHead:
    """Append a leaf's stored bytes to the payload, and return the parameters that describe them.

    Args:
        leaf: the cells; they are read on the caller's thread, twice if a codec has a table.
        plan: how to store them.
        payload: takes the bytes.
        pool: encodes blocks side by side; the result is the same.

    Raises:
        ValueError: a lazy array holds a cell that does not fit its dtype.
    """
    if payload.scratch and 0 < leaf.size <= 1 << plan.log2:
        coders = [codec for codec in plan.codecs if isinstance(codec, Codec)]
        if len(coders) == len(plan.codecs):
            return _encode_alone(leaf, plan, coders, payload, payload.scratch)
    entries: list[tuple[int, int]] = []
    parameter = plan.parameter
    tables = _tables(leaf, plan, pool)
    for table in tables.values():
        payload.pad(up8(payload.size))
        payload.append(table)
        entries.append((len(table), crc32(table)))
    if leaf.size and plan.is_raw and not leaf.cell.packed and isinstance(leaf.source, InMemory):
        data = leaf.source.array.reshape(-1).view(np.uint8).data
        step = leaf.cell.itemsize << plan.log2
        # On this thread: threads cost more than they save where memory is the limit.
        cuts = (data[start : start + step] for start in range(0, len(data), step))
        entries = [(len(piece), crc32(piece)) for piece in cuts]
        payload.borrow(data)
    else:
        for used, planes in _stored_blocks(leaf, plan, tables, pool):
            parameter = used
            for plane, crc in planes:
                payload.pad(up8(payload.size))
                payload.append(plane)
                entries.append((len(plane), crc))
    rows = np.array(entries, np.uint32).reshape(-1, 2)
    codecs = tuple(_coder(plan, number, tables).id for number in range(len(plan.codecs)))
    shared = len(tables)
    transform, log2 = plan.transform.id, plan.log2
    return StreamHead(transform, log2, parameter, codecs, rows[:shared], rows[shared:])


def _encode_alone(
    leaf: Dense, plan: Plan, coders: list[Codec], payload: Payload, scratch: Scratch
) -> StreamHead:
    """As `encode` a leaf of one block, whose planes need not be copied."""
    cell, parameter = leaf.cell, plan.parameter
    if leaf.in_memory:
        cells = leaf.array.reshape(-1)
    else:
        cells = np.empty(leaf.size, cell.numpy)
        leaf.window(0, leaf.size)(0, leaf.size, cells)
    planes = plan.transform.split(cells, cell, parameter, scratch)
    if parameter:
        planes[0], parameter = plan.transform.without_room(planes[0], parameter)
    table = np.empty((len(planes), 2), np.uint32)
    for number, (codec, plane) in enumerate(zip(coders, planes, strict=True)):
        data = plane.data
        coded = b"" if codec.id == RAW else codec.encode(data)
        if 0 < len(coded) < len(data):
            data = memoryview(coded)
        payload.pad(up8(payload.size))
        payload.borrow(data)
        table[number] = len(data), crc32(data)
    codecs = tuple([codec.id for codec in coders])
    return StreamHead(plan.transform.id, plan.log2, parameter, codecs, table[:0], table)


def _coder(plan: Plan, number: int, tables: Mapping[int, bytes]) -> Codec:
    """Return the codec of a plane, with its table; raw, if there was nothing to make one of."""
    codec = plan.codecs[number]
    if not isinstance(codec, TableCodec):
        return codec
    table = tables.get(number)
    return Raw() if table is None else codec.with_table(memoryview(table))


def _tables(leaf: Dense, plan: Plan, pool: Executor | None) -> dict[int, bytes]:
    """Return the table of each plane whose codec has one."""
    tabled = {k: codec for k, codec in enumerate(plan.codecs) if isinstance(codec, TableCodec)}
    if not tabled:
        return {}
    counts = {number: np.zeros(256, np.int64) for number in tabled}
    for found in _each_block(leaf, plan, partial(_count, dtype=leaf.cell, plan=plan), pool):
        for number in counts:
            counts[number] += found[number]
    return {k: tabled[k].make_table(total) for k, total in counts.items() if total.any()}


def _count(cells: Array, dtype: DType, plan: Plan) -> list[Array]:
    """Return how often each plane of a block holds each byte."""
    with lent() as scratch:
        planes = plan.transform.split(cells, dtype, plan.parameter, scratch)
        return [np.bincount(plane, minlength=256) for plane in planes]


Stored = tuple[int, list[tuple[bytes | memoryview, int]]]
"""The transform's parameter, and a block's planes as they are stored, each with its CRC-32."""


def _stored_blocks(
    leaf: Dense, plan: Plan, tables: Mapping[int, bytes], pool: Executor | None
) -> Iterator[Stored]:
    """Yield the stored planes of each block, in order."""
    coders = [_coder(plan, number, tables) for number in range(len(plan.codecs))]
    early = [Raw() if number in tables else coder for number, coder in enumerate(coders)]
    alone = leaf.size <= 1 << plan.log2
    work = partial(_encode_block, dtype=leaf.cell, plan=plan, coders=early, alone=alone)
    blocks = _each_block(leaf, plan, work, pool)
    if not tables:
        yield from blocks
        return
    many = max(1, TOGETHER // leaf.cell.itemsize >> plan.log2)
    while group := [*islice(blocks, many)]:
        for number in tables:
            _encode_together(group, number, coders[number])
        yield from group


def _each_block(
    leaf: Dense, plan: Plan, work: Callable[[Array], _T], pool: Executor | None
) -> Iterator[_T]:
    """Yield what work makes of the cells of each block, in order."""
    if not leaf.size:
        return
    block = 1 << plan.log2
    depth = max(1, AHEAD // (leaf.cell.itemsize * block))
    fill = leaf.window(0, leaf.size)
    ahead: deque[Future[_T]] = deque()
    held = leaf.array.reshape(-1) if leaf.in_memory else None
    for start in range(0, leaf.size, block):
        stop = min(start + block, leaf.size)
        if held is None:
            cells = np.empty(stop - start, leaf.cell.numpy)
            fill(start, stop, cells)
        else:
            cells = held[start:stop]
        if pool is None:
            yield work(cells)
            continue
        ahead.append(pool.submit(work, cells))
        if len(ahead) > depth:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _encode_block(
    cells: Array, dtype: DType, plan: Plan, coders: list[Codec], *, alone: bool
) -> Stored:
    """Return the planes of a block, each coded if that is smaller.

    The block that stands alone in its leaf decides on the transform's parameter.
    """
    stored: list[tuple[bytes | memoryview, int]] = []
    parameter = plan.parameter
    with lent() as scratch:
        planes = plan.transform.split(cells, dtype, parameter, scratch)
        if alone and parameter:
            planes[0], parameter = plan.transform.without_room(planes[0], parameter)
        for codec, plane in zip(coders, planes, strict=True):
            coded = b"" if codec.id == RAW else codec.encode(plane.data)
            # A copy of a plane because it may be scratch memory; and of what a codec gave because
            # codecs allocate for the worst case, and the rest of that would stay in use.
            data = bytes(memoryview(coded)) if 0 < len(coded) < len(plane) else plane.tobytes()
            stored.append((data, crc32(data)))
    return parameter, stored


def _encode_together(blocks: list[Stored], number: int, coder: Codec) -> None:
    """Encode one plane of several blocks, each if that is smaller."""
    lengths = {len(planes[number][0]) for _, planes in blocks} - {0}
    for length in sorted(lengths):
        same = [planes for _, planes in blocks if len(planes[number][0]) == length]
        together = np.stack([np.frombuffer(planes[number][0], np.uint8) for planes in same])
        for planes, coded in zip(same, coder.encode_many(together), strict=True):
            if 0 < len(coded) < length:
                planes[number] = coded, crc32(coded)
