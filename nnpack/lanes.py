"""What huffman and rans share: symbols dealt to lanes, and the words that all lanes read in turn.

Symbol i of a plane belongs to lane i mod L and step i // L. A decoder goes step by step and within
a step from lane to lane, and all lanes of a block take their 16-bit words from one series. Here
a step is one pass over the lanes of many blocks (SPEC 11.5).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from nnpack.abc import Codec
from nnpack.dtypes import Array
from nnpack.errors import error

PRECISION: Final = 12
"""Bits of a probability: the slots of a table are 2^12."""
SLOTS: Final = 1 << PRECISION
MAX_LOG2_LANES: Final = 14
SYMBOLS: Final = 256
_BITMAP: Final = 32
"""Bytes that say which symbols there are."""
GATHER: Final = 1 << 18
"""Symbols that are held before they are put in their places."""
FEW: Final = 32
"""Lanes of all blocks up to which symbols are taken one by one: a pass over so few costs more."""
WORD: Final = np.dtype("<u2")


def pack_symbols(log2: int, present: Array) -> bytes:
    """Return the head of a table: lanes, and a bit for each symbol that there is."""
    return bytes([log2]) + np.packbits(present, bitorder="little").tobytes()


def parse_symbols(table: memoryview) -> tuple[int, Array, memoryview]:
    """Return the lanes of a table, its symbols in ascending order, and what is behind them."""
    if len(table) <= _BITMAP or table[0] > MAX_LOG2_LANES:
        raise error("bad-stream", "a table without lanes and symbols")
    bits = np.frombuffer(table, np.uint8, _BITMAP, 1)
    symbols = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
    if not len(symbols):
        raise error("bad-stream", "a table without symbols")
    return 1 << table[0], symbols, table[1 + _BITMAP :]


class LaneCodec(Codec):
    """A codec with its table; its blocks go through each step together."""

    def __init__(self, lanes: int) -> None:
        """Hold the number of lanes."""
        self.lanes = lanes

    def encode(self, data: memoryview) -> bytes:
        """Return a plane coded."""
        return self.encode_many(np.frombuffer(data, np.uint8)[None])[0]

    def decode(self, data: memoryview, size: int) -> memoryview:
        """Return a plane."""
        out = memoryview(bytearray(size))
        self.decode_into(data, out)
        return out

    def decode_into(self, data: memoryview, out: memoryview) -> None:
        """Fill a plane."""
        self.decode_many([data], np.frombuffer(out, np.uint8)[None])

    @abstractmethod
    def encode_many(self, planes: Array) -> list[bytes]:
        """Return blocks coded, uint8 [blocks, symbols]; empty if a symbol is not in the table."""

    @abstractmethod
    def decode_many(self, stored: Sequence[memoryview], out: Array) -> None:
        """Fill blocks of one length, uint8 [blocks, symbols]."""

    def decode_steps(self, states: Array, words: Words, out: Array) -> None:
        """Fill blocks and move the states, [..., blocks, lanes]; the last step may be a part."""
        whole = out.shape[1] // self.lanes
        if whole:
            cells = out[:, : whole * self.lanes].reshape(len(out), whole, self.lanes)
            take = self.one_by_one if len(out) * self.lanes <= FEW else self.steps
            take(states, words, cells)
        rest = out[:, whole * self.lanes :]
        if rest.size:
            some = states[..., : rest.shape[1]].copy()
            self.steps(some, words, rest[:, None])
            states[..., : rest.shape[1]] = some

    @abstractmethod
    def steps(self, states: Array, words: Words, out: Array) -> None:
        """Fill steps of all lanes, uint8 [blocks, steps, lanes], and move the states."""

    @abstractmethod
    def one_by_one(self, states: Array, words: Words, out: Array) -> None:
        """Do what `steps` does, a symbol at a time."""


class Steps:
    """Takes the symbols of each step, and puts them where they belong, many steps at once.

    Blocks stand far apart in memory, mostly by a power of two: writing a few bytes into each of
    them in every step would defeat the caches.
    """

    def __init__(self, out: Array) -> None:
        """Fill `out`, uint8 [blocks, steps, lanes]."""
        self._out = out
        blocks, self.count, lanes = out.shape
        many = max(1, min(self.count, GATHER // (blocks * lanes)))
        self._held = np.empty((many, blocks * lanes), np.uint8)

    def row(self, step: int) -> Array:
        """Return the memory for the symbols of all lanes of a step, block by block."""
        many = len(self._held)
        if step and not step % many:
            self.put(step - many, step)
        held: Array = self._held[step % many]
        return held

    def put(self, start: int, stop: int) -> None:
        """Write the steps of a range."""
        blocks, _, lanes = self._out.shape
        held = self._held[: stop - start].reshape(-1, blocks, lanes)
        self._out[:, start:stop] = held.transpose(1, 0, 2)

    def finish(self) -> None:
        """Write the last steps."""
        many = len(self._held)
        self.put((self.count - 1) // many * many, self.count)


class Words:
    """The words of several blocks, which each takes in its own order."""

    def __init__(self, blocks: Sequence[memoryview]) -> None:
        """Hold what is stored behind the states."""
        if any(len(block) % WORD.itemsize for block in blocks):
            raise error("bad-stream", "half a word")
        self._words = np.frombuffer(b"".join([*blocks, bytes(WORD.itemsize)]), WORD)
        lengths = np.array([len(block) // WORD.itemsize for block in blocks])
        self._ends = np.cumsum(lengths)
        self._next = self._ends - lengths

    def take(self, places: Array, ends: Array) -> Array:
        """Return a word for each of the lanes at `places`, in order.

        Args:
            places: ascending, among the lanes of all blocks.
            ends: where the lanes of each block end.

        A block that runs out is given other words here, and is refused by `finish`.
        """
        until = places.searchsorted(ends)
        counts = until.copy()
        counts[1:] -= until[:-1]
        self._next += counts
        found = np.repeat(self._next - until, counts)
        found += np.arange(len(places))
        return self._words.take(found, mode="clip")

    def rest(self, block: int) -> list[int]:
        """Return the words that a block has left; `skip` tells how many of them it took."""
        left: list[int] = self._words[self._next[block] : self._ends[block]].tolist()
        return left

    def skip(self, block: int, count: int) -> None:
        """Count words as taken; more than there were are refused by `finish`."""
        self._next[block] += count

    def finish(self) -> None:
        """Check that every block took the words that it has, neither more nor fewer."""
        if not np.array_equal(self._next, self._ends):
            raise error("bad-stream", "words are missing, or left over")


def by_block(wanted: Array, words: Array) -> list[bytes]:
    """Return the words of each block.

    Args:
        wanted: how many words each step of each block takes, [steps, blocks].
        words: the words, step by step, in each step block by block.
    """
    ends = np.cumsum(wanted.reshape(-1)).reshape(wanted.shape)
    first = (ends - wanted).T.reshape(-1)
    counts = wanted.T.reshape(-1)
    places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(words))
    cuts = np.cumsum(wanted.sum(axis=0))[:-1]
    return [piece.tobytes() for piece in np.split(words[places], cuts)]
