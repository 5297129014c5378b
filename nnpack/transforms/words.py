"""Words that hold parts of two cells, one from each half of a block (SPEC 10.4)."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnpack.dtypes import Array
from nnpack.scratch import Scratch


def _words(bits: int) -> tuple[Array, Array, Array]:
    """Return half a word's width, what shifts left by it, and a mask of the high half."""
    word, times = np.dtype(f"<u{bits // 8}"), 1 << bits // 2
    return np.array(bits // 2, word), np.array(times, word), np.array((times - 1) * times, word)


_WORDS: Final = {bits: _words(bits) for bits in (16, 32)}
_ONE, _SEVEN = (np.array(shift, "<u2") for shift in (1, 7))
# Products of 16 bits take half the time of shifts to the left.
_TIMES_2, _TIMES_128 = (np.array(1 << shift, "<u2") for shift in (1, 7))
_BYTE, _UPPER = np.array(0xFF, "<u2"), np.array(0xFF00, "<u2")
_OWN: Final = np.array(0xFF7F, "<u2")
"""The bits of the rest that are x[j]'s; the other one is the sign of x[h + j]."""
_SWAPPED: Final = np.array(0xFF80, "<u2")
"""The bits of the rest that x[h + j] is in, its bytes swapped."""
_REST: Final = np.array(0x807F, "<u2")
"""Sign and mantissa of a bfloat16."""


def split_halves(x: Array, hot: Array, rest: Array, scratch: Scratch) -> None:
    """Write the high halves of x[0] and x[1] as one word each, and what the low ones need.

    The rest is x[0] ^ x[1] << w/2.
    """
    a, b = x
    width, times, high = _WORDS[8 * x.itemsize]
    spare = scratch.take("spare", hot.nbytes).view(x.dtype)
    np.right_shift(a, width, hot)
    np.bitwise_and(b, high, spare)
    np.bitwise_or(hot, spare, hot)
    np.multiply(b, times, rest)
    np.bitwise_xor(rest, a, rest)


def join_halves(hot: Array, rest: Array, out: Array) -> None:
    """x[h + j] = hot ^ rest >> w/2; x[j] = rest ^ x[h + j] << w/2.

    The hot words may be the second half of `out`.
    """
    half = hot.shape[-1]
    first, second = out[..., :half], out[..., half:]
    width, times, _ = _WORDS[8 * out.itemsize]
    np.right_shift(rest, width, first)
    np.bitwise_xor(hot, first, second)
    np.multiply(second, times, first)
    np.bitwise_xor(first, rest, first)


def split_exponents(x: Array, pairs: Array, rest: Array, scratch: Scratch) -> None:
    """Write the exponents of x[0] and x[1] side by side, and what the rest needs.

    The rest is x[0] ^ x[1] << 8, but for bit 7, which is the sign of x[1].
    """
    a, b = x
    spare = scratch.take("spare", pairs.nbytes).view("<u2")
    np.right_shift(a, _SEVEN, pairs)
    np.bitwise_and(pairs, _BYTE, pairs)
    np.multiply(b, _TIMES_2, spare)
    np.bitwise_and(spare, _UPPER, spare)
    np.bitwise_or(pairs, spare, pairs)
    np.copyto(rest, b.view(">u2"))
    np.bitwise_and(rest, _SWAPPED, rest)
    np.bitwise_and(a, _OWN, spare)
    np.bitwise_xor(rest, spare, rest)


def join_exponents(exponents: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = pair << 7 ^ rest & 0x807F; x[h + j] = pair >> 1 ^ swapped rest & 0x807F.

    The exponents may be the second half of `out`.
    """
    half = out.shape[-1] // 2
    pairs = exponents.view("<u2")
    spare = scratch.take("spare", pairs.nbytes).view("<u2").reshape(pairs.shape)
    first, second = out[..., :half], out[..., half:]
    np.multiply(pairs, _TIMES_128, first)
    np.bitwise_and(rest, _REST, spare)
    np.bitwise_xor(first, spare, first)
    np.right_shift(pairs, _ONE, second)
    np.copyto(spare, rest.view(">u2"))
    np.bitwise_and(spare, _REST, spare)
    np.bitwise_xor(second, spare, second)
