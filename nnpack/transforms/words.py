"""Words that hold parts of two cells, one from each half of a block (SPEC 10.4)."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnpack.dtypes import Array
from nnpack.scratch import Scratch


def _words(bits: int) -> tuple[Array, Array, Array]:
    """Return half a word's width, a mask of its low half and one of its high half."""
    word = np.dtype(f"<u{bits // 8}")
    low = (1 << bits // 2) - 1
    return np.array(bits // 2, word), np.array(low, word), np.array(low << bits // 2, word)


_WORDS: Final = {bits: _words(bits) for bits in (16, 32)}
_BYTE, _UPPER = np.array(0xFF, "<u2"), np.array(0xFF00, "<u2")
_ONE, _SEVEN = np.array(1, "<u2"), np.array(7, "<u2")
_REST: Final = np.array(0x807F, "<u2")
"""Sign and mantissa of a bfloat16."""


def split_halves(x: Array, hot: Array, rest: Array, scratch: Scratch) -> None:
    """Write the high halves of x[0] and x[1] as one word each, and what the low ones need."""
    a, b = x
    width, low, high = _WORDS[8 * x.itemsize]
    spare = scratch.take("halves", hot.nbytes).view(x.dtype).reshape(hot.shape)
    np.right_shift(a, width, hot)
    np.bitwise_and(b, high, spare)
    np.bitwise_or(hot, spare, hot)
    np.bitwise_xor(b, hot, rest)
    np.left_shift(rest, width, rest)
    np.bitwise_and(a, low, spare)
    np.bitwise_or(rest, spare, rest)


def join_halves(hot: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = hot << w/2 ^ rest's low half; x[h + j] = hot ^ rest >> w/2."""
    half = len(hot)
    first, second = out[:half], out[half:]
    width, low, _ = _WORDS[8 * out.itemsize]
    spare = scratch.take("halves", hot.nbytes).view(out.dtype)
    np.left_shift(hot, width, first)
    np.bitwise_and(rest, low, spare)
    np.bitwise_xor(first, spare, first)
    np.right_shift(rest, width, spare)
    np.bitwise_xor(hot, spare, second)


def split_exponents(x: Array, pairs: Array, rest: Array, scratch: Scratch) -> None:
    """Write the exponents of x[0] and x[1] side by side, and what the rest needs."""
    a, b = x
    spare = scratch.take("exponents", pairs.nbytes).view("<u2")
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


def join_exponents(exponents: Array, rest: Array, out: Array, scratch: Scratch) -> None:
    """x[j] = pair << 7 ^ rest & 0x807F; x[h + j] = pair >> 1 ^ swapped rest & 0x807F."""
    half = len(out) // 2
    pairs = exponents.view("<u2")
    spare = scratch.take("exponents", 2 * half).view("<u2")
    first, second = out[:half], out[half:]
    np.left_shift(pairs, _SEVEN, spare)
    np.bitwise_and(rest, _REST, first)
    np.bitwise_xor(first, spare, first)
    np.copyto(second, rest.view(">u2"))
    np.bitwise_and(second, _REST, second)
    np.right_shift(pairs, _ONE, spare)
    np.bitwise_xor(second, spare, second)
