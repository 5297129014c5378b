"""Mutations of plain bytes, as operations `file` (conformance/generator/operations.py)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conformance.generator.operations import Operation, file, spliced

EDGES = sorted(
    {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 255, 256, 1 << 53, 1 << 62}
    | {(1 << bits) + by for bits in (10, 16, 18, 20, 23, 31, 32, 63, 64) for by in (-1, 0, 1)}
)
"""Numbers at which lengths, bounds and widths end."""
LONGEST = 64
"""Bytes that one splice takes or puts, mostly."""
_DIGITS = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def number(rng: random.Random, size: int, near: int | None = None) -> int:
    """Return a number of so many bytes: at an edge, next to another one, or any."""
    top = (1 << 8 * size) - 1
    way = rng.random()
    if near is not None and way < 0.5:
        flipped = near ^ 1 << rng.randrange(8 * size)
        return (
            rng.choice((near + 1, near - 1, near + 8, near - 8, near * 2, near // 2, flipped)) & top
        )
    if way < 0.9:
        return rng.choice(EDGES) & top
    return rng.getrandbits(8 * size)


@dataclass(frozen=True)
class Havoc:
    """Draws splices of bytes.

    Attributes:
        tokens: what the format is made of.
    """

    tokens: Sequence[bytes] = ()

    def draw(
        self, data: bytes, rng: random.Random, donors: Sequence[bytes] = ()
    ) -> tuple[int, bytes, bytes]:
        """Return a place, the bytes that stand there and those to put in their place."""
        return rng.choice(_WAYS)(self, data, rng, donors)

    def mutate(
        self, data: bytes, rng: random.Random, donors: Sequence[bytes] = ()
    ) -> tuple[bytes, list[Operation]]:
        """Return other bytes, and the operations that make them."""
        operations: list[Operation] = []
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
            operation = file(*self.draw(data, rng, donors))
            operations.append(operation)
            data = spliced(data, operation)
        return data, operations


Draw = Callable[[Havoc, bytes, random.Random, Sequence[bytes]], tuple[int, bytes, bytes]]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    at = rng.randrange(len(data) + 1)
    return at, min(len(data), at + rng.choice((1, 1, 2, 4, 8, 16, rng.randrange(1, LONGEST + 1))))


def _flip(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    if not data:
        return 0, b"", b"\0"
    at = rng.randrange(len(data))
    return at, data[at : at + 1], bytes([data[at] ^ 1 << rng.randrange(8)])


def _byte(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    at = rng.randrange(len(data) + 1)
    old = data[at : at + 1]
    return at, old, bytes([number(rng, 1, old[0] if old else None)])


def _word(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    size = rng.choice((2, 4, 8))
    at = rng.randrange(len(data) + 1)
    at -= at % size if rng.random() < 0.7 else 0
    old = data[at : at + size]
    new = number(rng, size, int.from_bytes(old, "little"))
    return at, old, new.to_bytes(size, "little")


def _delete(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    at, stop = _span(data, rng)
    stop = len(data) if rng.random() < 0.1 else stop
    return at, data[at:stop], b""


def _insert(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    size = rng.randrange(1, 1 + rng.choice((2, 8, LONGEST)))
    new = rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size))
    return rng.randrange(len(data) + 1), b"", new


def _again(
    _: Havoc, data: bytes, rng: random.Random, __: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    """Copy bytes to another place, instead of those there or before them."""
    at, stop = _span(data, rng)
    piece = data[at:stop] * rng.choice((1, 1, 1, 2, 40))
    to = rng.randrange(len(data) + 1)
    return to, data[to : to + len(piece)] if rng.random() < 0.5 else b"", piece


def _token(
    self: Havoc, data: bytes, rng: random.Random, donors: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    if not self.tokens:
        return _insert(self, data, rng, donors)
    new = rng.choice(self.tokens)
    at = rng.randrange(len(data) + 1)
    return at, data[at : at + len(new)] if rng.random() < 0.5 else b"", new


def _decimal(
    self: Havoc, data: bytes, rng: random.Random, donors: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    """Write another number in digits where one stands."""
    found = [*_DIGITS.finditer(data)]
    if not found:
        return _token(self, data, rng, donors)
    match = rng.choice(found)
    new = rng.choice((b"-%d", b"%d", b"%d", b"%d.0", b"%de9", b"0%d", b"%d" + b"0" * 40))
    return match.start(), match.group(), new % number(rng, 8)


def _donor(
    self: Havoc, data: bytes, rng: random.Random, donors: Sequence[bytes]
) -> tuple[int, bytes, bytes]:
    """Take bytes of another input: some, or all behind a place."""
    if not donors:
        return _again(self, data, rng, donors)
    other = rng.choice(donors)
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.3:
        return at, data[at:], other[rng.randrange(len(other) + 1) :]
    start, stop = _span(other, rng)
    piece = other[start:stop]
    return at, data[at : at + len(piece)] if rng.random() < 0.5 else b"", piece


_WAYS: tuple[Draw, ...] = (
    *(_flip, _flip, _byte, _byte, _word, _word, _delete, _insert, _again),
    *(_token, _token, _decimal, _donor),
)
