"""LZW (SPEC 11.8.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conformance.generator.encoders.bits import Bits

CLEAR, END = 256, 257


def greedy(data: bytes, *, clear: bool = True) -> Iterator[int]:
    """Return codes of the longest strings, with a clear code where the table is full."""
    table: dict[bytes, int] = {}
    at = k = 0
    while at < len(data):
        size = 1
        while at + size < len(data) and data[at : at + size + 1] in table:
            size += 1
        string = data[at : at + size]
        yield string[0] if size == 1 else table[string]
        at += size
        if 258 + k <= 4095:
            table[data[at - size : at + 1]] = 258 + k
        elif clear:
            yield CLEAR
            table, k = {}, -1
        k += 1
    yield END


def stored(codes: Iterable[int]) -> bytes:
    """Return codes, each in the bits that its place gives it."""
    bits, k = Bits(), 0
    for code in codes:
        bits.add(code, min(257 + k, 4095).bit_length())
        k = 0 if code == CLEAR else k + 1
    return bits.bytes()
