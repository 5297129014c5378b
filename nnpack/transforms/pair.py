"""The hot halves of two cells side by side: what compresses in one plane, the noise in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np

from nnpack.abc import Transform
from nnpack.dtypes import Array, DType
from nnpack.errors import error
from nnpack.scratch import Scratch
from nnpack.transforms import control as plane
from nnpack.transforms.control import BYTES, ENTRY, HEAD, TILE
from nnpack.transforms.words import join_exponents, join_halves, split_exponents, split_halves

_EXPONENTS: Final = ("bfloat16", "float32")
_HALVES: Final = ("int8", "uint8", "float16")
_FOUR: Final = np.array(4, "<u2")
_TIMES_16: Final = np.array(16, "<u2")  # takes half the time of a shift to the left
_LOW: Final = np.array(0x0F0F, "<u2")
_HIGH: Final = np.array(0xF0F0, "<u2")
_TO_TOP: Final = np.array([[7 - bit] for bit in range(8)], "<u8")
_TOP: Final = np.array(0x8080808080808080, "<u8")


class Pair(Transform):
    """Cell j of the first half of a block shares words with cell j of the second (SPEC 10.4)."""

    id: ClassVar[int] = 3
    name: ClassVar[str] = "pair"
    forms: ClassVar[int] = 2
    rows: ClassVar[bool] = True

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
        x, tail = bits[:main], bits[main:].view(np.uint8)
        if _is_float8(dtype):
            hot, rest = _split_signs(x, scratch)
        elif dtype.itemsize == 1:
            hot, rest = _split_bytes(x)
        elif dtype.name in _HALVES:
            hot, rest = scratch.take("pair halves", 2 * main).view(x.dtype).reshape(2, -1)
            split_halves(x.reshape(2, -1), hot, rest, scratch)
        else:
            rest = scratch.take("pair rest", main * (dtype.itemsize - 1))
            if dtype.itemsize == 4:
                high = scratch.take("pair high", 2 * main)
                low = rest[main:].view("<u4")
                split_halves(x.reshape(2, -1), high.view("<u4"), low, scratch)
                x = high.view("<u2")
            exponents = scratch.take("pair exponents", main)
            top = rest[:main].view("<u2")
            split_exponents(x.reshape(2, -1), exponents.view("<u2"), top, scratch)
            hot = _split_nibbles(exponents, control)
        control = np.concatenate([control, tail]) if len(tail) else control
        return [control, hot.view(np.uint8), rest.view(np.uint8)]

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
        head, size = HEAD + ENTRY * parameter, bits.shape[-1]
        main = size // TILE * TILE
        if main < size:
            bits[..., main:].view(np.uint8)[...] = control[..., head:]
            control, bits = control[..., :head], bits[..., :main]
        if dtype.name in _EXPONENTS:  # each step writes where the next one needs its result least
            high = bits if dtype.itemsize == 2 else bits[..., main // 2 :].view("<u2")
            exponents = _join_nibbles(hot, control, high[..., main // 2 :].view(np.uint8))
            join_exponents(exponents, rest[..., :main].view("<u2"), high, scratch)
            if dtype.itemsize == 4:
                join_halves(high.view("<u4"), rest[..., main:].view("<u4"), bits)
        elif control.any():
            raise error("bad-value", f"a pair of {dtype.name} with exponents")
        elif _is_float8(dtype):
            _join_signs(hot, rest, bits, scratch)
        elif dtype.itemsize == 1:
            _join_bytes(hot, rest, bits, scratch)
        else:
            join_halves(hot.view(bits.dtype), rest.view(bits.dtype), bits)


def _is_float8(dtype: DType) -> bool:
    return dtype.name.startswith("float8") and dtype.name != "float8_e8m0fnu"


def _split_bytes(x: Array) -> tuple[Array, Array]:
    """As `split_halves`, two bytes at a time: shifts of bytes are slow."""
    half = len(x) // 2
    a, b = x[:half].view("<u2"), x[half:].view("<u2")
    hot = (a >> _FOUR & _LOW) | (b & _HIGH)
    return hot, (a & _LOW) | ((b ^ hot) * _TIMES_16 & _HIGH)


def _join_bytes(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = hot << 4 ^ rest & 15; x[h + j] = hot ^ rest >> 4."""
    half = hot.shape[-1]
    first, second = out[..., :half].view("<u2"), out[..., half:].view("<u2")
    hot, rest = hot.view("<u2"), rest.view("<u2")
    spare = scratch.take("spare", hot.nbytes).view("<u2").reshape(hot.shape)
    np.multiply(hot, _TIMES_16, first)
    np.bitwise_and(first, _HIGH, first)
    np.bitwise_and(rest, _LOW, spare)
    np.bitwise_xor(first, spare, first)
    np.right_shift(rest, _FOUR, spare)
    np.bitwise_and(spare, _LOW, spare)
    np.bitwise_xor(hot, spare, second)


def _split_signs(x: Array, scratch: Scratch) -> tuple[Array, Array]:
    """Return the low seven bits, and the signs of eight strips as the bits of bytes."""
    words = x.view("<u8").reshape(8, -1)
    hot, spare = scratch.take("pair signs", 2 * x.nbytes).view("<u8").reshape(2, 8, -1)
    np.bitwise_and(words, _TOP, spare)
    np.bitwise_xor(words, spare, hot)
    np.right_shift(spare, _TO_TOP, spare)
    return hot.reshape(-1), np.bitwise_or.reduce(spare)


def _join_signs(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[i] = hot[i] ^ its sign; eight cells at a time, in eight strips."""
    strips = *hot.shape[:-1], 8, -1
    spare = scratch.take("spare", hot.nbytes).view("<u8").reshape(strips)
    np.left_shift(rest.view("<u8")[..., None, :], _TO_TOP, spare)
    np.bitwise_and(spare, _TOP, spare)
    np.bitwise_xor(hot.view("<u8").reshape(strips), spare, out.view("<u8").reshape(strips))


def _split_nibbles(exponents: Array, control: Array) -> Array:
    """Return two exponents a byte, or the exponents if too many are far from the others."""
    half, room = len(exponents) // 2, plane.room(control)
    for base in _bases(exponents):
        np.subtract(exponents, base, exponents)
        far = plane.find(exponents, 15, room)
        places = far if far is None else plane.without_long_gaps(far)
        if places is not None and len(places) <= room:
            plane.write(control, base, places, exponents[places] + np.uint8(base))
            exponents[far] = 0
            low, high = exponents[:half].view("<u2"), exponents[half:].view("<u2")
            np.multiply(high, _TIMES_16, high)
            np.bitwise_or(low, high, low)
            return exponents[:half]
        np.add(exponents, base, exponents)
    control[0] = BYTES
    return exponents


def _bases(exponents: Array) -> Iterator[int]:
    """Yield the exponents that a block of 16 may start with: below the greatest, then the best."""
    top = int(exponents.max(initial=15))
    yield max(top - 15, 0)
    sample = exponents[:: max(1, len(exponents) >> 12)]
    found = np.bincount(sample, minlength=256 + 15)
    sums = np.cumsum(np.concatenate([[0], found]))
    yield int((sums[16:] - sums[:-16]).argmax())


def _join_nibbles(hot: Array, control: Array, out: Array) -> Array:
    """Return the exponents, which are in `out` if they were half bytes."""
    based = control.flat[0] != BYTES
    if based:
        half = out.shape[-1] // 2
        pairs, low, high = hot.view("<u2"), out[..., :half].view("<u2"), out[..., half:].view("<u2")
        np.bitwise_and(pairs, _LOW, low)
        np.right_shift(pairs, _FOUR, high)
        np.bitwise_and(high, _LOW, high)
        np.add(out, control[..., 1:2], out)
    for exponents, places, stated in plane.each(control, out):
        exponents[places] = stated
    return out if based else hot
