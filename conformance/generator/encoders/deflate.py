"""DEFLATE blocks (RFC 1951), bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conformance.generator.encoders.bits import Bits

Token = int | tuple[int, int]
"""A literal (or a symbol from 256 on, as it is), or the length and distance of a match."""
END = 256
FIXED = {s: 8 if s < 144 else 9 if s < 256 else 7 if s < 280 else 8 for s in range(288)}
FIXED_DISTANCES = dict.fromkeys(range(32), 5)
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
PLAIN = {**dict.fromkeys(range(16), 4), 16: 0, 17: 0, 18: 0}
"""A code for code lengths: four bits each, without repetitions."""


def codes(lengths: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return code and length of each symbol (RFC 1951, 3.2.2)."""
    found, code, last = {}, 0, 0
    for symbol in sorted((s for s in lengths if lengths[s]), key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - last
        last = lengths[symbol]
        found[symbol] = (code, last)
        code += 1
    return found


def _bases(groups: int, per: int, start: int) -> list[tuple[int, int]]:
    """Return (base, extra bits) of lengths or distances."""
    found = [(start + i, 0) for i in range(2 * per)]
    base = start + 2 * per
    for extra in range(1, groups):
        for _ in range(per):
            found.append((base, extra))
            base += 1 << extra
    return found


LENGTHS = [*_bases(6, 4, 3)[:28], (258, 0)]
DISTANCES = _bases(14, 2, 1)


def _place(bases: list[tuple[int, int]], value: int) -> int:
    return max(i for i, (base, _) in enumerate(bases) if base <= value)


def stored(bits: Bits, data: bytes, *, final: bool = False, inverse: int = 0xFFFF) -> None:
    """Append a stored block; its second length is the first xor `inverse`."""
    bits.add(final, 3)
    bits.align()
    bits.add(len(data), 16)
    bits.add(len(data) ^ inverse, 16)
    bits.add(int.from_bytes(data, "little"), 8 * len(data))


def _tokens(
    bits: Bits, tokens: Iterable[Token], literals: Mapping[int, int], distances: Mapping[int, int]
) -> None:
    symbols, far = codes(literals), codes(distances)
    for token in tokens:
        if isinstance(token, int):
            bits.code(*symbols[token])
            continue
        for value, bases, table, first in (
            (token[0], LENGTHS, symbols, 257),
            (token[1], DISTANCES, far, 0),
        ):
            symbol = _place(bases, value)
            bits.code(*table[first + symbol])
            bits.add(value - bases[symbol][0], bases[symbol][1])


def fixed(bits: Bits, tokens: Iterable[Token], *, final: bool = False) -> None:
    """Append a block of the fixed code; it ends with `END` only if the tokens do."""
    bits.add(final | 1 << 1, 3)
    _tokens(bits, tokens, FIXED, FIXED_DISTANCES)


def dynamic(
    bits: Bits,
    tokens: Iterable[Token],
    literals: Mapping[int, int],
    distances: Mapping[int, int],
    *,
    final: bool = False,
    lengths: Mapping[int, int] = PLAIN,
    written: Iterable[int] | None = None,
) -> None:
    """Append a block of codes of its own.

    Args:
        bits: of the stream.
        tokens: with `END`.
        literals: lengths of codes by symbol.
        distances: the same.
        final: whether the block is the last.
        lengths: lengths of the codes for those lengths.
        written: what is written with them, if it is not the lengths themselves.
    """
    many = max(257, *(symbol + 1 for symbol in literals))
    far = max(1, *(symbol + 1 for symbol in distances), 1)
    bits.add(final | 2 << 1, 3)
    bits.add(many - 257, 5)
    bits.add(far - 1, 5)
    bits.add(15, 4)
    for symbol in ORDER:
        bits.add(lengths.get(symbol, 0), 3)
    plain = [literals.get(s, 0) for s in range(many)] + [distances.get(s, 0) for s in range(far)]
    table = codes(lengths)
    for symbol in plain if written is None else written:
        bits.code(*table[symbol])
    _tokens(bits, tokens, literals, distances)
