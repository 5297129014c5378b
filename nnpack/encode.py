"""How a leaf is stored: the profiles' choice of transform and codecs, and the encoding itself."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import IO, Final, Self

import numpy as np

from nnpack.abc import Codec, Transform
from nnpack.codecs import CODECS
from nnpack.codecs.zstd import WEIGHTS, Zstd
from nnpack.dtypes import Array, DType
from nnpack.limits import MAX_PLANE_BLOCK
from nnpack.nodes.dense import Dense, InMemory
from nnpack.stream import CELLS, RAW, StreamHead
from nnpack.transforms import TRANSFORMS
from nnpack.wire import crc32, up8

BLOCK_LOG2: Final = 18
"""Cells in a block: temporaries stay in the second-level cache."""
LARGE_BLOCK_LOG2: Final = 20
LARGE: Final = 1 << 30
"""Bytes above which larger blocks keep the block table small."""
SPOOL: Final = 256 << 20
"""Payload bytes held in memory; what is more waits in a temporary file."""
SAMPLE_BLOCKS: Final = 4
SAMPLE_CELLS: Final = 1 << 16
PAYS: Final = 0.98
"""A codec that does not save this much costs more time than it is worth."""
SMALL_LEAF: Final = 64
"""Bytes below which no codec is tried."""

AHEAD: Final = 8 << 20
"""Bytes of cells that may be on the way to be encoded, besides the block that is next."""

PROFILES: Final = ("raw", "balanced")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the blocks of one leaf are encoded.

    Attributes:
        transform: of the cells.
        codecs: one a plane.
        log2: of the cells in a block.
    """

    transform: Transform
    codecs: tuple[Codec, ...]
    log2: int

    @property
    def is_raw(self) -> bool:
        """Whether it leaves the cells in one piece, which can be mapped."""
        return self.transform.id == CELLS and self.codecs[0].id == RAW


def raw_plan(dtype: DType, cells: int) -> Plan:
    """Return the plan that leaves a leaf mappable; with it a file is in canonical form."""
    return Plan(TRANSFORMS[CELLS], (CODECS[RAW],), _log2(dtype, cells))


def choose(profile: str, leaf: Dense, *, text: bool = False) -> Plan:
    """Return the plan that a profile has for a leaf.

    Args:
        profile: one of `PROFILES`.
        leaf: the cells, of which a few blocks are tried.
        text: whether the cells are bytes with repeated passages (JSON, blobs, directory).
    """
    dtype, cells = leaf.cell, leaf.size
    plain = raw_plan(dtype, cells)
    if profile == "raw" or leaf.nbytes < SMALL_LEAF:
        return plain
    if text:
        return Plan(plain.transform, (Zstd(),), LARGE_BLOCK_LOG2)
    candidates = [CELLS] if dtype.bits <= 8 else [1, 2] if dtype.is_integer else [1]
    samples = [*_samples(leaf, 1 << plain.log2)]
    best = plain
    least = PAYS * sum(plain.transform.plane_lengths(len(s), dtype)[0] for s in samples)
    for number in candidates:
        transform = TRANSFORMS[number]
        planes = [transform.split(sample, dtype) for sample in samples]
        picked = [_pick_codec([split[k] for split in planes]) for k in range(len(planes[0]))]
        total = sum(size for _, size in picked)
        if total < least:
            best = Plan(transform, tuple(codec for codec, _ in picked), plain.log2)
            least = total
    return best


def _pick_codec(planes: list[Array]) -> tuple[Codec, float]:
    """Return the codec that stores sampled blocks of a plane smallest, and their size."""
    size = sum(plane.nbytes for plane in planes)
    best: tuple[Codec, float] = (CODECS[RAW], float(size))
    for codec in (Zstd(WEIGHTS), Zstd()):
        coded = sum(min(len(codec.encode(plane.data)), plane.nbytes) for plane in planes)
        if coded < PAYS * best[1]:
            best = codec, float(coded)
    return best


def _samples(leaf: Dense, block: int) -> Iterator[Array]:
    """Yield the beginnings of a few blocks, spread over the leaf."""
    blocks = -(-leaf.size // block)
    for index in sorted({blocks * i // SAMPLE_BLOCKS for i in range(SAMPLE_BLOCKS)}):
        start = index * block
        stop = min(start + SAMPLE_CELLS, leaf.size)
        out = np.empty(stop - start, leaf.cell.numpy)
        leaf.window(start, stop)(start, stop, out)
        yield out


def _log2(dtype: DType, cells: int) -> int:
    log2 = LARGE_BLOCK_LOG2 if cells * dtype.itemsize > LARGE else BLOCK_LOG2
    while dtype.itemsize << log2 > MAX_PLANE_BLOCK:
        log2 -= 1
    return log2


class Payload:
    """The encoded bytes of one section, in memory up to a size and then in a temporary file."""

    def __init__(self, directory: str | None) -> None:
        """Spool into `directory`, or where the system has its temporary files."""
        self.size = 0
        self._chunks: list[bytes | memoryview] = []
        self._held = 0
        self._directory = directory
        self._spool: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunks = []
        if self._spool:
            self._spool.close()

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes that may be kept until the payload is written."""
        self.size += len(data)
        self._add(data, len(data))

    def borrow(self, data: memoryview) -> None:
        """Add bytes that stay as they are in the caller's memory, and cost none here."""
        self.size += len(data)
        self._add(data, 0)

    def _add(self, data: bytes | memoryview, cost: int) -> None:
        if self._spool is None and self._held + cost > SPOOL:
            self._spool = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            for chunk in self._chunks:
                self._spool.write(chunk)
            self._chunks, self._held = [], 0
        if self._spool is None:
            self._chunks.append(data)
            self._held += cost
        else:
            self._spool.write(data)

    def pad(self, end: int) -> None:
        """Add zeros up to `end` bytes."""
        if end > self.size:
            self.append(bytes(end - self.size))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order."""
        if self._spool is None:
            yield from self._chunks
        else:
            self._spool.seek(0)
            while data := self._spool.read(1 << 20):
                yield data


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
        cuts = [data[start : start + step] for start in range(0, len(data), step)]
        sums = pool.map(crc32, cuts) if pool else map(crc32, cuts)
        entries = [(len(piece), crc) for piece, crc in zip(cuts, sums, strict=True)]
        payload.borrow(data)
    else:
        for planes in _encoded_blocks(leaf, plan, pool):
            for plane, crc in planes:
                payload.pad(up8(payload.size))
                payload.append(plane)
                entries.append((len(plane), crc))
    table = np.array(entries, np.uint32).reshape(-1, 2)
    codecs = tuple(codec.id for codec in plan.codecs)
    return StreamHead(plan.transform.id, plan.log2, 0, codecs, table[:0], table)


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
    for codec, plane in zip(plan.codecs, plan.transform.split(cells, dtype), strict=True):
        coded = b"" if codec.id == RAW else codec.encode(plane.data)
        # A copy: codecs allocate for the worst case, and the rest of that would stay in use.
        data = bytes(memoryview(coded)) if 0 < len(coded) < len(plane) else plane.data
        stored.append((data, crc32(data)))
    return stored
