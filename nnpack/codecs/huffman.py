"""Huffman codes of at most 12 bits, canonical, in lanes (SPEC 11.6).

After D. Huffman, "A method for the construction of minimum-redundancy codes" (1952); lengths by
package-merge, L. Larmore and D. Hirschberg, "A fast algorithm for optimal length-limited Huffman
codes" (1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from nnpack.abc import TableCodec
from nnpack.dtypes import Array
from nnpack.errors import error
from nnpack.lanes import (
    PRECISION,
    SLOTS,
    SYMBOLS,
    WORD,
    LaneCodec,
    Steps,
    Words,
    pack_symbols,
    parse_symbols,
)

_WORD_BITS: Final = np.uint32(16)
_WIDTH, _MASK = np.uint32(PRECISION), np.uint32(SLOTS - 1)
_LENGTH: Final = np.uint32(0xFF)


class Huffman(TableCodec):
    """Canonical Huffman codes of bytes, at most 12 bits long.

    Args:
        log2_lanes: base-2 logarithm of the symbols that can be decoded side by side, 0 to 14; each
            lane costs about 2 bytes a block.
    """

    id: ClassVar[int] = 4
    name: ClassVar[str] = "huffman"

    def __init__(self, log2_lanes: int = 5) -> None:
        """Hold what encoding needs; decoding needs nothing."""
        self.log2_lanes = log2_lanes

    def make_table(self, counts: Array) -> bytes:
        """Return the code lengths for a plane whose bytes were counted."""
        present = counts > 0
        lengths = code_lengths(counts[present].tolist())
        lengths += [0] * (len(lengths) % 2)
        halves = zip(lengths[::2], lengths[1::2], strict=True)
        return pack_symbols(self.log2_lanes, present) + bytes(a | b << 4 for a, b in halves)

    def with_table(self, table: memoryview) -> LaneCodec:
        """Return the coder of the planes that share a table."""
        lanes, symbols, rest = parse_symbols(table)
        if len(rest) != -(-len(symbols) // 2):
            raise error("bad-stream", f"{len(rest)} bytes for {len(symbols)} code lengths")
        lengths = np.frombuffer(rest, np.uint8).repeat(2)
        lengths[1::2] >>= 4
        lengths &= 15
        if lengths[len(symbols) :].any() or lengths.max() > PRECISION:
            raise error("bad-stream", f"a code of more than {PRECISION} bits, or one too many")
        lengths = lengths[: len(symbols)]
        if (SLOTS >> lengths.astype(np.int64)).sum() != SLOTS:
            raise error("bad-stream", "codes that leave something over, or take too much")
        return _Huffman(lanes, symbols, lengths)


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Return the best lengths for symbols that occur so often, at most 12; 0 for a single one."""
    coins = sorted((count, (symbol,)) for symbol, count in enumerate(counts))
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(PRECISION):
        pairs = zip(packages[::2], packages[1::2], strict=False)
        packages = sorted([*coins, *((a[0] + b[0], a[1] + b[1]) for a, b in pairs)])
    lengths = [0] * len(counts)
    for _, symbols in packages[: 2 * len(counts) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


class _Huffman(LaneCodec):
    id: ClassVar[int] = Huffman.id
    name: ClassVar[str] = Huffman.name

    def __init__(self, lanes: int, symbols: Array, lengths: Array) -> None:
        super().__init__(lanes)
        order = np.argsort(lengths, kind="stable")
        symbols, lengths = symbols[order], lengths[order].astype(np.uint32)
        slots = np.uint32(SLOTS) >> lengths
        # A slot's symbol and its length, in one word.
        self._slots = np.repeat(symbols.astype(np.uint32) << 24 | lengths, slots)
        self._lengths = np.full(SYMBOLS, _LENGTH, np.uint32)
        self._lengths[symbols] = lengths
        self._codes = np.zeros(SYMBOLS, np.uint32)
        self._codes[symbols] = (np.cumsum(slots) - slots) >> (_WIDTH - lengths)

    def encode_many(self, planes: Array) -> list[bytes]:
        return [self._encode(plane) for plane in planes]

    def _encode(self, plane: Array) -> bytes:
        """Return a block coded: each lane's bits, cut into words in the order of their reading."""
        steps = -(-len(plane) // self.lanes)
        lengths = np.zeros((self.lanes, steps), np.uint32)
        codes = np.zeros_like(lengths)
        there = np.zeros(lengths.shape, np.bool_)
        for table, dealt in ((self._lengths, lengths), (self._codes, codes)):
            cells = np.zeros(steps * self.lanes, np.uint32)
            cells[: len(plane)] = table[plane]
            dealt[:] = cells.reshape(steps, self.lanes).T
        if (lengths == _LENGTH).any():
            return b""
        at = np.arange(steps * self.lanes).reshape(steps, self.lanes)
        there[:] = (at < len(plane)).T
        before = np.cumsum(lengths, axis=1, dtype=np.uint32) - lengths
        # Words that a lane has taken when it reads a symbol: room for the longest code.
        taken = (before + np.uint32(PRECISION + 15)) >> 4
        taken[~there] = 0
        new = np.diff(taken, axis=1, prepend=np.uint32(0))
        new = there & (new != 0)
        of_lane = taken.max(axis=1)
        start = np.cumsum(of_lane) - of_lane
        words = np.zeros(int(of_lane.sum()) + 2, np.uint32)
        place = (start[:, None] + (before >> 4)).reshape(-1)
        shift = np.uint32(32) - (before & np.uint32(15)) - lengths
        bits = (codes.astype(np.uint64) << shift.astype(np.uint64)).astype(np.uint32).reshape(-1)
        cuts = np.flatnonzero(np.diff(place, prepend=-1))
        words[place[cuts]] = np.bitwise_or.reduceat(bits >> 16, cuts)
        words[place[cuts] + 1] |= np.bitwise_or.reduceat(bits & np.uint32(0xFFFF), cuts)
        order = (start[:, None] + taken - 1).T[new.T]
        return bytes(words[order].astype(WORD))

    def decode_many(self, stored: Sequence[memoryview], out: Array) -> None:
        words = Words(stored)
        states = np.zeros((2, len(out), self.lanes), np.uint32)  # bits, and how many
        self.decode_steps(states, words, out)
        bits, held = states
        words.finish()
        if (bits & ((np.uint32(1) << held) - np.uint32(1))).any():
            raise error("bad-stream", "bits behind a lane's last symbol are not zero")

    def steps(self, states: Array, words: Words, out: Array) -> None:
        bits, held = states.reshape(2, -1)
        ends = np.arange(states.shape[-1], bits.size + 1, states.shape[-1])
        few = np.empty(bits.shape, np.bool_)
        slot, found = np.empty_like(bits), np.empty_like(bits)
        symbols = found.view(np.uint8)[3::4]
        steps = Steps(out)
        for step in range(steps.count):
            np.less(held, _WIDTH, few)
            places = few.nonzero()[0]
            some = bits[places]
            np.left_shift(some, _WORD_BITS, some)
            np.bitwise_or(some, words.take(places, ends), some)
            bits[places] = some
            held[places] += _WORD_BITS
            np.subtract(held, _WIDTH, slot)
            np.right_shift(bits, slot, slot)
            np.bitwise_and(slot, _MASK, slot)
            self._slots.take(slot, out=found, mode="wrap")
            steps.row(step)[:] = symbols
            np.bitwise_and(found, _LENGTH, found)
            np.subtract(held, found, held)
        steps.finish()

    def one_by_one(self, states: Array, words: Words, out: Array) -> None:
        slots = self._slots.tolist()
        for block in range(len(out)):
            left, taken, cells = words.rest(block), 0, bytearray()
            bits, held = states[:, block].tolist()
            for _ in range(out.shape[1]):
                for lane, (code, size) in enumerate(zip(bits, held, strict=True)):
                    if size < PRECISION:
                        word = left[taken] if taken < len(left) else 0
                        code, size, taken = code << 16 | word, size + 16, taken + 1  # noqa: PLW2901
                    found = slots[code >> size - PRECISION]
                    cells.append(found >> 24)
                    size -= found & 15  # noqa: PLW2901
                    bits[lane], held[lane] = code & (1 << size) - 1, size
            words.skip(block, taken)
            states[:, block] = bits, held
            out[block] = np.frombuffer(cells, np.uint8).reshape(out.shape[1:])
