"""The hot halves of two cells side by side: what compresses in one plane, the noise in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType
from nnpack.errors import error
from nnpack.scratch import Scratch

TILE: Final = 64
"""Cells beyond the last multiple of these in a block are stored as they are."""
HEAD: Final = 4
"""Form, base, number of exceptions."""
ENTRY: Final = 12
"""Bytes of four exceptions, which a unit of the transform parameter makes room for."""
NIBBLES, BYTES = 0, 1
"""Forms: exponents as half bytes, or as bytes where too many do not fit."""
_EXPONENTS: Final = ("bfloat16", "float32")
_HALVES: Final = ("int8", "uint8", "float16")
MOST_GAP: Final = 0xFFFF


def _words(bits: int) -> tuple[Array, Array, Array]:
    """Return half a word's width, a mask of its low half and one of its high half."""
    word = np.dtype(f"<u{bits // 8}")
    low = (1 << bits // 2) - 1
    return np.array(bits // 2, word), np.array(low, word), np.array(low << bits // 2, word)


_WORDS: Final = {bits: _words(bits) for bits in (16, 32)}
_FOUR: Final = np.array(4, "<u2")
_LOW: Final = np.array(0x0F0F, "<u2")
_HIGH: Final = np.array(0xF0F0, "<u2")
_BYTE, _UPPER = np.array(0xFF, "<u2"), np.array(0xFF00, "<u2")
_ONE, _SEVEN = np.array(1, "<u2"), np.array(7, "<u2")
_REST: Final = np.array(0x807F, "<u2")
"""Sign and mantissa of a bfloat16."""
_TO_TOP: Final = [np.array(7 - bit, "<u8") for bit in range(8)]
_TOP: Final = np.array(0x8080808080808080, "<u8")


class Pair(Transform):
    """Cell j of the first half of a block shares words with cell j of the second (SPEC 10.4)."""

    id: ClassVar[int] = 3
    name: ClassVar[str] = "pair"
    forms: ClassVar[int] = 2

    def accepts(self, dtype: DType) -> bool:
        """bfloat16, float16, float32, int8, uint8, and float8 with a sign."""
        return dtype.name in {*_EXPONENTS, *_HALVES} or _is_float8(dtype)

    def max_parameter(self, dtype: DType) -> int:
        """Room for so many times four exceptions, where exponents are half bytes."""
        return 255 if dtype.name in _EXPONENTS else 0

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """Control, hot, rest."""
        tail = cells % TILE
        main = cells - tail
        control = HEAD + ENTRY * parameter + tail * dtype.itemsize
        if _is_float8(dtype):
            return [control, main, main // 8]
        if dtype.name in _HALVES:
            half = main * dtype.itemsize // 2
            return [control, half, half]
        return [control, main if form == BYTES else main // 2, main * (dtype.itemsize - 1)]

    @staticmethod
    def exceptions(control: Array) -> int | None:
        """Return how many exceptions a control plane lists; None if the exponents are bytes."""
        return int(control[2]) | int(control[3]) << 8 if control[0] == NIBBLES else None

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the planes."""
        scratch = scratch or Scratch()
        bits = cells.view(dtype.uint)
        main = len(bits) // TILE * TILE
        control = np.zeros(HEAD + ENTRY * parameter, np.uint8)
        if _is_float8(dtype):
            hot, rest = _split_signs(bits[:main])
        elif dtype.name in _HALVES:
            hot, rest = _split_halves(bits[:main], scratch)
        elif dtype.itemsize == 2:
            hot, rest = _split_exponents(bits[:main], control, scratch)
        else:
            high, low = _split_halves(bits[:main], scratch)
            hot, top = _split_exponents(high.view("<u2"), control, scratch)
            rest = np.concatenate([top.view(np.uint8), low.view(np.uint8)])
        tail = bits[main:].view(np.uint8)
        return [np.concatenate([control, tail]), hot.view(np.uint8), rest.view(np.uint8)]

    def join(
        self,
        planes: Sequence[Array],
        dtype: DType,
        out: Array,
        parameter: int = 0,
        scratch: Scratch | None = None,
    ) -> None:
        """Write the cells."""
        scratch = scratch or Scratch()
        control, hot, rest = planes
        bits = out.view(dtype.uint)
        main = len(bits) // TILE * TILE
        head = HEAD + ENTRY * parameter
        bits[main:].view(np.uint8)[:] = control[head:]
        control = control[:head]
        if dtype.name not in _EXPONENTS and control.any():
            raise error("bad-value", f"a pair of {dtype.name} with exponents")
        if not main:
            _join_exponents(hot, rest, control, bits[:0].view("<u2"), scratch)
        elif _is_float8(dtype):
            _join_signs(hot, rest, bits[:main], scratch)
        elif dtype.itemsize == 1:
            _join_nibbles(hot, rest, bits[:main], scratch)
        elif dtype.name in _HALVES:
            _join_halves(hot.view(bits.dtype), rest.view(bits.dtype), bits[:main], scratch)
        elif dtype.itemsize == 2:
            _join_exponents(hot, rest.view("<u2"), control, bits[:main], scratch)
        else:
            high = scratch.take("pair high", 2 * main).view("<u2")
            _join_exponents(hot, rest[:main].view("<u2"), control, high, scratch)
            _join_halves(high.view("<u4"), rest[main:].view("<u4"), bits[:main], scratch)


def _is_float8(dtype: DType) -> bool:
    return dtype.name.startswith("float8") and dtype.name != "float8_e8m0fnu"


def _split_halves(x: Array, scratch: Scratch) -> tuple[Array, Array]:
    """Return the high halves of x[j] and x[h + j] as one word, and what the low ones need."""
    half = len(x) // 2
    if x.itemsize == 1:
        a, b = x[:half].view("<u2"), x[half:].view("<u2")
        hot = (a >> _FOUR & _LOW) | (b & _HIGH)
        return hot.view(np.uint8), ((a & _LOW) | ((b ^ hot) << _FOUR & _HIGH)).view(np.uint8)
    width, low, high = _WORDS[8 * x.itemsize]
    a, b = x[:half], x[half:]
    hot, rest, spare = (scratch.take(f"pair half {k}", a.nbytes).view(x.dtype) for k in range(3))
    np.right_shift(a, width, hot)
    np.bitwise_and(b, high, spare)
    np.bitwise_or(hot, spare, hot)
    np.bitwise_xor(b, hot, rest)
    np.left_shift(rest, width, rest)
    np.bitwise_and(a, low, spare)
    np.bitwise_or(rest, spare, rest)
    return hot, rest


def _join_halves(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = hot << w/2 ^ rest's low half; x[h + j] = hot ^ rest >> w/2."""
    half = len(hot)
    first, second = out[:half], out[half:]
    width, low, _ = _WORDS[8 * out.itemsize]
    spare = scratch.take("pair", hot.nbytes).view(out.dtype)
    np.left_shift(hot, width, first)
    np.bitwise_and(rest, low, spare)
    np.bitwise_xor(first, spare, first)
    np.right_shift(rest, width, spare)
    np.bitwise_xor(hot, spare, second)


def _join_nibbles(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """As `_join_halves`, two bytes at a time: shifts of bytes are slow."""
    half = len(hot)
    first, second = out[:half].view("<u2"), out[half:].view("<u2")
    hot, rest = hot.view("<u2"), rest.view("<u2")
    spare = scratch.take("pair", half).view("<u2")
    np.left_shift(hot, _FOUR, first)
    np.bitwise_and(first, _HIGH, first)
    np.bitwise_and(rest, _LOW, spare)
    np.bitwise_xor(first, spare, first)
    np.right_shift(rest, _FOUR, spare)
    np.bitwise_and(spare, _LOW, spare)
    np.bitwise_xor(hot, spare, second)


def _split_signs(x: Array) -> tuple[Array, Array]:
    """Return the low seven bits, and the signs of eight strips as the bits of bytes."""
    words = x.view("<u8")
    signs = np.zeros(len(words) // 8, "<u8")
    for strip, shift in zip(words.reshape(8, -1), _TO_TOP, strict=True):
        signs |= (strip & _TOP) >> shift
    return (words & ~_TOP).view(np.uint8), signs.view(np.uint8)


def _join_signs(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[i] = hot[i] ^ its sign; eight cells at a time."""
    signs = rest.view("<u8")
    spare = scratch.take("pair", rest.nbytes).view("<u8")
    strips = zip(
        hot.view("<u8").reshape(8, -1), out.view("<u8").reshape(8, -1), _TO_TOP, strict=True
    )
    for strip, target, shift in strips:
        np.left_shift(signs, shift, spare)
        np.bitwise_and(spare, _TOP, spare)
        np.bitwise_xor(strip, spare, target)


def _split_exponents(x: Array, control: Array, scratch: Scratch) -> tuple[Array, Array]:
    """Return the coded exponents and the words that hold the rest; fill in the control plane."""
    half = len(x) // 2
    a, b = x[:half], x[half:]
    pairs, spare, rest = (scratch.take(f"pair {k}", x.nbytes // 2).view("<u2") for k in range(3))
    np.right_shift(a, _SEVEN, pairs)
    np.bitwise_and(pairs, _BYTE, pairs)
    np.left_shift(b, _ONE, spare)
    np.bitwise_and(spare, _UPPER, spare)
    np.bitwise_or(pairs, spare, pairs)
    np.right_shift(pairs, _ONE, spare)
    np.bitwise_xor(spare, b, spare)
    np.copyto(rest, spare.view(">u2"))
    np.left_shift(pairs, _SEVEN, spare)
    np.bitwise_xor(spare, a, spare)
    np.bitwise_or(rest, spare, rest)
    return _split_nibbles(pairs.view(np.uint8), control, scratch), rest


def _split_nibbles(exponents: Array, control: Array, scratch: Scratch) -> Array:
    """Return two exponents a byte, or the exponents if too many are far from the others."""
    half = len(exponents) // 2
    room = (len(control) - HEAD) // 3
    nibbles = scratch.take("pair nibbles", len(exponents))
    odd = scratch.take("pair odd", len(exponents)).view(np.bool_)
    for base in _bases(exponents):
        np.subtract(exponents, np.uint8(base), nibbles)
        np.greater(nibbles, 15, odd)
        if np.count_nonzero(odd) > room:
            continue
        places = _true(odd)
        nibbles[places] = 0
        places = _without_long_gaps(places)
        if len(places) > room:
            break
        control[:HEAD] = [NIBBLES, base, *divmod(len(places), 256)[::-1]]
        control[HEAD : HEAD + 2 * room].view("<u2")[: len(places)] = _gaps(places)
        control[HEAD + 2 * room :][: len(places)] = exponents[places]
        low, high = nibbles[:half].view("<u2"), nibbles[half:].view("<u2")
        np.left_shift(high, _FOUR, high)
        np.bitwise_or(low, high, low)
        return low.view(np.uint8)
    control[:HEAD] = [BYTES, 0, 0, 0]
    return exponents


def _true(rare: Array) -> Array:
    """Return where a few are true; eight at a time, for that is most of the time for none."""
    words = np.flatnonzero(rare.view("<u8") != 0)
    rows, columns = np.nonzero(rare.reshape(-1, 8)[words])
    return words[rows] * 8 + columns


def _bases(exponents: Array) -> Iterator[int]:
    """Yield the exponents that a block of 16 may start with: below the greatest, then the best."""
    top = int(exponents.max(initial=15))
    yield max(top - 15, 0)
    sample = exponents[:: max(1, len(exponents) >> 12)]
    found = np.bincount(sample, minlength=256 + 15)
    sums = np.cumsum(np.concatenate([[0], found]))
    yield int((sums[16:] - sums[:-16]).argmax())


def _gaps(places: Array) -> Array:
    """Return how many exponents stand before each place, behind the one before."""
    gaps = places.copy()
    gaps[1:] -= places[:-1] + 1
    return gaps


def _without_long_gaps(places: Array) -> Array:
    """Return the places with others between them, which state what is there already."""
    gaps = _gaps(places)
    if not len(gaps) or gaps.max() <= MOST_GAP:
        return places
    between = [
        np.arange(place - gap + MOST_GAP, place, MOST_GAP + 1)
        for place, gap in zip(places.tolist(), gaps.tolist(), strict=True)
        if gap > MOST_GAP
    ]
    return np.sort(np.concatenate([places, *between]))


def _join_exponents(hot: Array, rest: Array, control: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = pair << 7 ^ rest & 0x807F; x[h + j] = pair >> 1 ^ swapped rest & 0x807F."""
    half = len(out) // 2
    pairs = _join_bytes(hot, control, 2 * half, scratch).view("<u2")
    spare = scratch.take("pair spare", 2 * half).view("<u2")
    first, second = out[:half], out[half:]
    np.left_shift(pairs, _SEVEN, spare)
    np.bitwise_and(rest, _REST, first)
    np.bitwise_xor(first, spare, first)
    np.copyto(second, rest.view(">u2"))
    np.bitwise_and(second, _REST, second)
    np.right_shift(pairs, _ONE, spare)
    np.bitwise_xor(second, spare, second)


def _join_bytes(hot: Array, control: Array, size: int, scratch: Scratch) -> Array:
    """Return the exponents, in pairs."""
    form, base = int(control[0]), control[1]
    room = (len(control) - HEAD) // 3
    listed = int(control[2]) | int(control[3]) << 8
    unused = control[HEAD + 2 * listed : HEAD + 2 * room].tobytes()
    unused += control[HEAD + 2 * room + listed :].tobytes()
    if listed > room or unused.strip(b"\0"):
        raise error("bad-value", f"{listed} exceptions in {room} places")
    if form == BYTES:
        if base or listed:
            raise error("bad-value", "exceptions among exponents that are bytes")
        return hot
    exponents = scratch.take("pair exponents", size)
    low, high = exponents[: len(hot)], exponents[len(hot) :]
    np.bitwise_and(hot.view("<u2"), _LOW, low.view("<u2"))
    np.right_shift(hot.view("<u2"), _FOUR, high.view("<u2"))
    np.bitwise_and(high.view("<u2"), _LOW, high.view("<u2"))
    np.add(exponents, base, exponents)
    if listed:
        places = np.cumsum(control[HEAD : HEAD + 2 * listed].view("<u2") + np.int64(1)) - 1
        if places[-1] >= size:
            raise error("bad-index", f"an exception at {places[-1]} of {size} exponents")
        exponents[places] = control[HEAD + 2 * room :][:listed]
    return exponents
