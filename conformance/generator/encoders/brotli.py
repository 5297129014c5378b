"""The simplest compressed Brotli stream (RFC 7932)."""

from __future__ import annotations

from conformance.generator.encoders.bits import Bits

WINDOW, LARGE_WINDOW = ((0, 1),), ((0x11, 7), (0, 1), (24, 6))
"""The first fields of a stream: a window of 2^16, and one that the RFC does not have.

A library that takes the latter has more distances, so that one takes 8 bits and not 6."""


def run(
    byte: int, count: int, *, size: int | None = None, window: tuple[tuple[int, int], ...] = WINDOW,
    unused: int = 0,
) -> bytes:  # fmt: skip
    """Return a stream of one byte 58 to 73 times: four literals and a copy at the last distance, 4.

    Args:
        byte: which.
        count: how often.
        size: what the meta-block says of that.
        window: the stream's first fields.
        unused: the bits behind the end.
    """
    bits = Bits()
    for value, width in (
        *window,
        (1, 1), (0, 1),  # the last meta-block, and not empty
        (0, 2), ((count if size is None else size) - 1, 16),  # four nibbles of its length
        (0, 1), (0, 1), (0, 1),  # one block type of literals, commands and distances
        (0, 2), (0, 4),  # no postfix bits, no direct distances
        (0, 2), (0, 1), (0, 1),  # context mode, one tree of literals, one of distances
        (1, 2), (0, 2), (byte, 8),  # codes of one symbol: the literal,
        (1, 2), (0, 2), (64 + 8 * 4 + 7, 10),  # the command: 4 literals, copy 54 to 69,
        (1, 2), (0, 2), (0, 8 if window is LARGE_WINDOW else 6),  # and the distance
        (count - 4 - 54, 4),
    ):  # fmt: skip
        bits.add(value, width)
    left = -bits.count % 8
    bits.add(unused & (1 << left) - 1, left)
    return bits.bytes()
