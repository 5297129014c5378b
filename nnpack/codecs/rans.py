"""Asymmetric numeral systems with ranges: whole symbols in fractions of a bit (SPEC 11.7).

After J. Duda, "Asymmetric numeral systems" (arXiv:1311.2540), interleaved as F. Giesen describes
(arXiv:1402.3392).
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
    by_block,
    pack_symbols,
    parse_symbols,
)

STATE: Final = np.dtype("<u4")
LEAST: Final = 1 << 16
"""Of a state; the one that encoding begins and decoding ends with."""
_LONG: Final = 128
"""First byte of a frequency that takes two."""
_WIDTH, _MASK = np.uint32(PRECISION), np.uint32(SLOTS - 1)
_LEAST, _WORD_BITS = np.uint32(LEAST), np.uint32(16)


class Rans(TableCodec):
    """rANS of bytes with 12-bit frequencies, 32-bit states and 16-bit words.

    Args:
        log2_lanes: base-2 logarithm of the symbols that can be decoded side by side, 0 to 14; each
            lane costs 4 bytes a block.
    """

    id: ClassVar[int] = 5
    name: ClassVar[str] = "rans"

    def __init__(self, log2_lanes: int = 5) -> None:
        """Hold what encoding needs; decoding needs nothing."""
        self.log2_lanes = log2_lanes

    def make_table(self, counts: Array) -> bytes:
        """Return the frequencies for a plane whose bytes were counted."""
        frequencies = normalise(counts)
        present = frequencies > 0
        less = (int(f) - 1 for f in frequencies[present])
        varied = [bytes([f]) if f < _LONG else bytes([_LONG + (f >> 8), f & 255]) for f in less]
        return pack_symbols(self.log2_lanes, present) + b"".join(varied)

    def with_table(self, table: memoryview) -> LaneCodec:
        """Return the coder of the planes that share a table."""
        lanes, symbols, rest = parse_symbols(table)
        frequencies = np.zeros(SYMBOLS, np.int64)
        at = 0
        for symbol in symbols:
            first = rest[at] if at < len(rest) else _LONG
            size = 1 if first < _LONG else 2
            if at + size > len(rest):
                raise error("bad-stream", "a table that ends among its frequencies")
            frequency = first if first < _LONG else (first - _LONG) << 8 | rest[at + 1]
            if size == 2 and frequency < _LONG:
                raise error("bad-stream", "a frequency in more bytes than it needs")
            frequencies[symbol] = frequency + 1
            at += size
        if at < len(rest) or frequencies.sum() != SLOTS:
            raise error("bad-stream", f"frequencies that do not add up to {SLOTS}")
        return _Rans(lanes, frequencies)


def normalise(counts: Array) -> Array:
    """Return frequencies that add up to 4096, at least 1 for what occurs, nearly the best."""
    present = np.flatnonzero(counts)
    wanted = counts[present].astype(np.float64)
    found = np.maximum(1, np.rint(wanted * (SLOTS / wanted.sum()))).astype(np.int64)
    while surplus := int(found.sum()) - SLOTS:
        # One less costs about count / (frequency - 1/2), one more gains count / (frequency + 1/2).
        if surplus > 0:
            cost = np.where(found > 1, wanted / (found - 0.5), np.inf)
            picked = np.argsort(cost, kind="stable")[: min(surplus, np.count_nonzero(found > 1))]
            found[picked] -= 1
        else:
            picked = np.argsort(-wanted / (found + 0.5), kind="stable")[:-surplus]
            found[picked] += 1
    frequencies = np.zeros(SYMBOLS, np.int64)
    frequencies[present] = found
    return frequencies


class _Rans(LaneCodec):
    id: ClassVar[int] = Rans.id
    name: ClassVar[str] = Rans.name

    def __init__(self, lanes: int, frequencies: Array) -> None:
        super().__init__(lanes)
        self._frequencies = frequencies.astype(np.uint32)
        self._starts = (np.cumsum(frequencies) - frequencies).astype(np.uint32)
        # A slot's symbol, its frequency less 1 and its place among the symbol's, in one word.
        symbols = np.repeat(np.arange(SYMBOLS, dtype=np.uint32), frequencies)
        place = np.arange(SLOTS, dtype=np.uint32) - self._starts[symbols]
        self._slots = symbols << 24 | (self._frequencies[symbols] - 1) << 12 | place

    def encode_many(self, planes: Array) -> list[bytes]:
        blocks, size = planes.shape
        if not self._frequencies[planes].all():
            return [b""] * blocks
        lanes, steps = self.lanes, -(-size // self.lanes)
        # The greatest state that has room for a symbol.
        room = (self._frequencies.astype(np.uint64) << np.uint64(20)) - np.uint64(1)
        room = room.astype(np.uint32)
        states = np.full((blocks, lanes), LEAST, np.uint32)
        wanted, words = np.zeros((steps, blocks), np.int64), []
        for step in reversed(range(steps)):
            symbols = planes[:, step * lanes : (step + 1) * lanes]
            x = states[:, : symbols.shape[1]]
            full = x > room[symbols]
            spilt = x[full]
            words.append(spilt.astype(WORD))
            wanted[step] = np.count_nonzero(full, axis=1)
            x[full] = spilt >> _WORD_BITS
            frequency = self._frequencies[symbols]
            quotient = x // frequency
            x += quotient * (np.uint32(SLOTS) - frequency) + self._starts[symbols]
        words.reverse()
        bodies = by_block(wanted, np.concatenate(words))
        heads = states.astype(STATE)
        return [head.tobytes() + body for head, body in zip(heads, bodies, strict=True)]

    def decode_many(self, stored: Sequence[memoryview], out: Array) -> None:
        head = STATE.itemsize * self.lanes
        if any(len(block) < head for block in stored):
            raise error("bad-stream", f"no room for the states of {self.lanes} lanes")
        words = Words([block[head:] for block in stored])
        states = np.stack([np.frombuffer(block, STATE, self.lanes) for block in stored])
        states = states.astype(np.uint32)
        if (states < _LEAST).any():
            raise error("bad-stream", "a state below 2^16")
        self.decode_steps(states, words, out)
        words.finish()
        if (states != _LEAST).any():
            raise error("bad-stream", "a lane does not end where it began")

    def steps(self, states: Array, words: Words, out: Array) -> None:
        x = states.reshape(-1)
        slot, found, factor = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        symbols = found.view(np.uint8)[3::4]
        few = np.empty(x.shape, np.bool_)
        ends = np.arange(states.shape[1], x.size + 1, states.shape[1])
        steps = Steps(out)
        for step in range(steps.count):
            np.bitwise_and(x, _MASK, slot)
            self._slots.take(slot, out=found, mode="wrap")
            steps.row(step)[:] = symbols
            np.right_shift(x, _WIDTH, x)
            np.right_shift(found, _WIDTH, factor)
            np.bitwise_and(factor, _MASK, factor)
            np.multiply(factor, x, factor)
            np.add(x, factor, x)
            np.bitwise_and(found, _MASK, found)
            np.add(x, found, x)
            np.less(x, _LEAST, few)
            places = few.nonzero()[0]
            small = x[places]
            np.left_shift(small, _WORD_BITS, small)
            np.bitwise_or(small, words.take(places, ends), small)
            x[places] = small
        steps.finish()

    def one_by_one(self, states: Array, words: Words, out: Array) -> None:
        slots = self._slots.tolist()
        for block, lanes in enumerate(states):
            left, taken, cells = words.rest(block), 0, bytearray()
            now = lanes.tolist()
            for _ in range(out.shape[1]):
                for lane, x in enumerate(now):
                    found = slots[x & SLOTS - 1]
                    cells.append(found >> 24)
                    x = ((found >> PRECISION & SLOTS - 1) + 1) * (x >> PRECISION)  # noqa: PLW2901
                    x += found & SLOTS - 1  # noqa: PLW2901
                    if x < LEAST:
                        word = left[taken] if taken < len(left) else 0
                        x, taken = x << 16 | word, taken + 1  # noqa: PLW2901
                    now[lane] = x
            words.skip(block, taken)
            lanes[:] = now
            out[block] = np.frombuffer(cells, np.uint8).reshape(out.shape[1:])
