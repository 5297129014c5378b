"""Exponents with the mantissa's two highest bits in bytes; signs and five bits as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType
from nnpack.scratch import Scratch
from nnpack.transforms import control as plane
from nnpack.transforms.control import BYTES, ENTRY, HEAD, TILE
from nnpack.transforms.words import join_exponents, join_halves, split_exponents, split_halves

WINDOW: Final = 64
"""Exponents that a byte can say."""
_SHIFT: Final = [np.array(shift, "<u2") for shift in range(8)]
# Instead of shifts to the left, as in `words`.
_TIMES_2, _TIMES_8, _TIMES_32 = (np.array(1 << shift, "<u2") for shift in (1, 3, 5))
_BYTE, _UPPER = np.array(0xFF, "<u2"), np.array(0xFF00, "<u2")
_REST: Final = np.array(0x801F, "<u2")
"""Sign and low mantissa bits; in two bytes side by side they leave bits 5 and 6 of each unused."""
_FREE, _FREE_5, _FREE_6 = (np.array(bits, "<u2") for bits in (0x6060, 0x2020, 0x4040))
_ABOVE: Final = np.array(0x6000, "<u2")
"""Where a cell whose exponent is counted from the base has zeros."""
_NO_EXPONENT: Final = np.array(0x807F, "<u2")


class Float5(Transform):
    """Byte k of the rest has low bits of the cell of byte k of hot (SPEC 10.6)."""

    id: ClassVar[int] = 5
    name: ClassVar[str] = "float5"
    forms: ClassVar[int] = 2
    rows: ClassVar[bool] = True

    def accepts(self, dtype: DType) -> bool:
        """bfloat16 and float32."""
        return dtype.name in {"bfloat16", "float32"}

    def max_parameter(self, dtype: DType) -> int:
        """Room for so many times four exceptions."""
        return 255

    def plane_lengths(
        self, cells: int, dtype: DType, parameter: int = 0, form: int = 0
    ) -> list[int]:
        """Control, hot, rest."""
        tail = cells % TILE
        main = cells - tail
        top = main if form == BYTES else main // 4 * 3
        control = HEAD + ENTRY * parameter + tail * dtype.itemsize
        return [control, main, top + main * (dtype.itemsize - 2)]

    exceptions = staticmethod(plane.exceptions)
    without_room = staticmethod(plane.without_room)

    def split(
        self, cells: Array, dtype: DType, parameter: int = 0, scratch: Scratch | None = None
    ) -> list[Array]:
        """Return the planes."""
        scratch = scratch or Scratch()
        bits = cells.view(dtype.uint)
        main = len(bits) // TILE * TILE
        control = np.zeros(HEAD + ENTRY * parameter, np.uint8)
        if dtype.itemsize == 2:
            hot, rest = _split(bits[:main], control, scratch)
        else:
            high, low = scratch.take("float5 halves", 4 * main).view("<u4").reshape(2, -1)
            split_halves(bits[:main].reshape(2, -1), high, low, scratch)
            hot, top = _split(high.view("<u2"), control, scratch)
            rest = np.concatenate([top, low.view(np.uint8)])
        return [np.concatenate([control, bits[main:].view(np.uint8)]), hot, rest]

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
        main = bits.shape[-1] // TILE * TILE
        head = HEAD + ENTRY * parameter
        bits[..., main:].view(np.uint8)[...] = control[..., head:]
        control, bits = control[..., :head], bits[..., :main]
        if dtype.itemsize == 2:
            _join(hot, rest, control, bits, scratch)
        else:
            high = scratch.take("float5 high", 2 * hot.size).view("<u2").reshape(hot.shape)
            top = rest.shape[-1] - 2 * main
            _join(hot, rest[..., :top], control, high, scratch)
            join_halves(high.view("<u4"), rest[..., top:].view("<u4"), bits)


def _split(x: Array, control: Array, scratch: Scratch) -> tuple[Array, Array]:
    """Return hot and rest of 16 bits a cell; fill in the control plane."""
    base = _base(x)
    z = scratch.take("float5 z", x.nbytes).view("<u2")
    np.subtract(x, np.array(base << 7, "<u2"), z)
    places = _outside(z, plane.room(control), scratch)
    if places is None:
        control[0] = BYTES
        pairs, rest = scratch.take("float5 bytes", x.nbytes).view("<u2").reshape(2, -1)
        split_exponents(x.reshape(2, -1), pairs, rest, scratch)
        return pairs.view(np.uint8), rest.view(np.uint8)
    plane.write(control, base, places, z[places] >> _SHIFT[7] & _BYTE)
    a, b = z[: len(z) // 2], z[len(z) // 2 :]
    pairs, spare = (scratch.take(f"float5 {k}", a.nbytes).view("<u2") for k in range(2))
    np.right_shift(a, _SHIFT[5], pairs)
    np.bitwise_and(pairs, _BYTE, pairs)
    np.multiply(b, _TIMES_8, spare)
    np.bitwise_and(spare, _UPPER, spare)
    np.bitwise_or(pairs, spare, pairs)
    np.right_shift(pairs, _SHIFT[3], spare)
    np.bitwise_xor(b, spare, b)
    return pairs.view(np.uint8), _pack(a, b, scratch)


def _join(hot: Array, rest: Array, control: Array, out: Array, scratch: Scratch) -> None:
    """z[j] = pair's low byte << 5 ^ R[2j]; z[h + j] = pair >> 3 ^ R[2j + 1]; x = z + base << 7."""
    half = out.shape[-1] // 2
    based = control.flat[0] != BYTES
    if based:
        a, b, pairs = out[..., :half], out[..., half:], hot.view("<u2")
        _unpack(rest, a, b, scratch)
        spare = scratch.take("spare", pairs.nbytes).view("<u2").reshape(pairs.shape)
        np.bitwise_and(pairs, _BYTE, spare)
        np.multiply(spare, _TIMES_32, spare)
        np.bitwise_xor(a, spare, a)
        np.right_shift(pairs, _SHIFT[3], spare)
        np.bitwise_xor(b, spare, b)
    else:
        join_exponents(hot, rest.view("<u2"), out, scratch)
    for z, places, exponents in plane.each(control, out):
        z[places] = z[places] & _NO_EXPONENT | exponents.astype("<u2") << _SHIFT[7]
    if based:
        np.add(out, control[..., 1:2].astype("<u2") << _SHIFT[7], out)


def _pack(a: Array, b: Array, scratch: Scratch) -> Array:
    """Return three quarters of r, whose words from byte 0 on hold a's bits, from byte 1 on b's."""
    size = a.nbytes
    held = scratch.take("float5 bytes", size + 1)
    np.bitwise_and(b, _REST, b)
    held[1:] = b.view(np.uint8)
    held[0] = held[size]
    words = held[:size].view("<u2")
    np.bitwise_and(a, _REST, a)
    np.bitwise_or(words, a, words)
    first, second, third, last = words.reshape(4, -1)
    spare = scratch.take("float5", last.nbytes).view("<u2")
    _mix(first, second, third, spare, scratch)
    np.bitwise_xor(last, spare, last)
    first |= last * _TIMES_2 & _FREE_5 | last >> _SHIFT[1] & _FREE_6
    second |= last * _TIMES_32 & _FREE
    third |= last * _TIMES_8 & _FREE
    return held[: size // 4 * 3]


def _unpack(rest: Array, a: Array, b: Array, scratch: Scratch) -> None:
    """Write the words of r from byte 0 on, and those from byte 1 on, but for other cells' bits."""
    size = 2 * a.shape[-1]
    room = *a.shape[:-1], size + TILE  # a byte more is needed; so rows begin at cache lines
    held = scratch.take("float5 bytes", math.prod(room)).reshape(room)
    held[..., : rest.shape[-1]] = rest
    words = held[..., :size].view("<u2")
    part = size // 8
    first, second, third, last = (words[..., k * part : (k + 1) * part] for k in range(4))
    _mix(first, second, third, last, scratch)
    held[..., size] = held[..., 0]
    b.view(np.uint8)[...] = held[..., 1 : size + 1]
    np.bitwise_and(b, _REST, b)
    np.bitwise_and(words, _REST, a)


def _mix(first: Array, second: Array, third: Array, out: Array, scratch: Scratch) -> None:
    """Write the last quarter of the words, each of whose needed bits a free one decides."""
    spare = scratch.take("spare", out.nbytes).view("<u2").reshape(out.shape)
    np.right_shift(first, _SHIFT[1], out)
    np.multiply(first, _TIMES_2, spare)
    np.bitwise_xor(out, spare, out)
    np.right_shift(second, _SHIFT[5], spare)
    np.bitwise_xor(out, spare, out)
    np.right_shift(third, _SHIFT[3], spare)
    np.bitwise_xor(out, spare, out)


def _outside(z: Array, room: int, scratch: Scratch) -> Array | None:
    """Return the places of exceptions; None if there is no room for so many."""
    if not np.bitwise_or.reduce(z) & _ABOVE:
        return np.empty(0, np.int64)
    spare = scratch.take("float5 above", z.nbytes).view("<u2")
    odd = scratch.take("float5 odd", len(z)).view(np.bool_)
    np.bitwise_and(z, _ABOVE, spare)
    np.not_equal(spare, 0, odd)
    places = plane.find(odd.view(np.uint8), 0, room)
    if places is None:
        return None
    places = plane.without_long_gaps(places)
    return places if len(places) <= room else None


def _base(x: Array) -> int:
    """Return the exponent that the window begins with: the roundest of the best in a sample.

    Most blocks of a leaf have it in common then, and their hot bytes the same meaning.
    """
    sample = x[:: max(1, len(x) >> 12)]
    found = np.bincount(sample >> _SHIFT[7] & _BYTE, minlength=256 + WINDOW)
    sums = np.cumsum(np.concatenate([[0], found]))
    inside = sums[WINDOW:] - sums[:-WINDOW]
    best = np.flatnonzero(inside == inside.max())
    return int(best[(best & -best).argmax()]) if best[0] else 0
