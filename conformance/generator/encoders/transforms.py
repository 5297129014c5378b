"""Planes of a block of cells, by each transform (SPEC 10)."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from typing import Any

from conformance.generator import dtypes

CELLS, BYTES, DELTA, PAIR, FLOAT, FLOAT5 = range(6)
PROFILES = ("R1", "R1", "R3", "R2", "R2", "R3")
Exception_ = tuple[int, int]
"""The place of an exception and its exponent."""


def planes(transform: int, dtype: str, image: bytes, **options: Any) -> list[bytes]:
    """Return the planes of one block, given as an image.

    Options of pair and float5: `form`, `base`, `room` (the transform parameter) and, of pair,
    `exact`: places that are exceptions without need.
    """
    packed = dtypes.pack(dtype, image)
    if transform == CELLS:
        return [packed]
    if transform == BYTES:
        return _bytes(dtype, image)
    cells = dtypes.cells(dtype, image)
    if transform == DELTA:
        mask = (1 << dtypes.bits(dtype)) - 1
        differences = (x - last & mask for last, x in pairwise([0, *cells]))
        return _bytes(dtype, _words(dtype, differences))
    if transform == FLOAT:
        width = dtypes.bits(dtype)
        mask = (1 << width) - 1
        return _bytes(dtype, _words(dtype, (x << 1 & mask | x >> width - 1 for x in cells)))
    return _pair(dtype, cells, **options) if transform == PAIR else _float5(dtype, cells, **options)


def _words(dtype: str, cells: Iterable[int]) -> bytes:
    width = dtypes.width(dtype)
    return b"".join(cell.to_bytes(width, "little") for cell in cells)


def _bytes(dtype: str, image: bytes) -> list[bytes]:
    width = dtypes.width(dtype) // (2 if dtype.startswith("complex") else 1)
    mask = (1 << min(dtypes.bits(dtype), 8)) - 1
    return [bytes(byte & mask for byte in image[k::width]) for k in range(width)]


def control(
    form: int, base: int, exceptions: Sequence[Exception_], room: int, tail: bytes
) -> bytes:
    """Return a control plane (SPEC 10.4); `room` is the transform parameter."""
    places = [-1, *(place for place, _ in exceptions)]
    gaps = [place - last - 1 for last, place in pairwise(places)]
    pad = 4 * room - len(gaps)
    return (
        struct.pack("<BBH", form, base, len(gaps))
        + struct.pack(f"<{4 * room}H", *gaps, *[0] * pad)
        + bytes([*(exponent for _, exponent in exceptions), *[0] * pad])
        + tail
    )


def unhalves(x: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """Return H and R of words (SPEC 10.4, halves)."""
    half, k = len(x) // 2, width // 2
    low = (1 << k) - 1
    high = [x[j] >> k | x[half + j] & ~low for j in range(half)]
    rest = [x[j] & low | ((x[half + j] ^ high[j]) & low) << k for j in range(half)]
    return high, rest


def unexponents(y: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return q and W of words of 16 bits (SPEC 10.4, exponents)."""
    half = len(y) // 2
    q = [0] * len(y)
    words = []
    for j in range(half):
        q[2 * j], q[2 * j + 1] = y[j] >> 7 & 255, y[half + j] >> 7 & 255
        both = q[2 * j] + 256 * q[2 * j + 1]
        first = (y[j] ^ both << 7) & 0x807F
        second = (y[half + j] ^ both >> 1) & 0x807F
        words.append(first | (second & 255) << 8 | second >> 8)
    return q, words


def _pack(width: int, words: Iterable[int]) -> bytes:
    return b"".join(word.to_bytes(width, "little") for word in words)


def _upper(dtype: str, cells: Sequence[int]) -> tuple[list[int], bytes]:
    """Return words of 16 bits that hold the exponents, and the rest behind theirs."""
    if dtype == "bfloat16":
        return [*cells], b""
    high, rest = unhalves(cells, 32)
    return [part for word in high for part in (word & 0xFFFF, word >> 16)], _pack(4, rest)


def _pair(
    dtype: str, cells: list[int], *, form: int = 0, base: int = 0, room: int = 0,
    exact: Container[int] = (),
) -> list[bytes]:  # fmt: skip
    width, t = dtypes.width(dtype), len(cells) % 64
    m = len(cells) - t
    cells, tail = cells[:m], _words(dtype, cells[m:])
    if dtype.startswith("float8"):
        signs = bytearray(m // 8)
        for i, cell in enumerate(cells):
            signs[i % (m // 8)] |= (cell >> 7) << 8 * i // m
        return [control(0, 0, (), 0, tail), bytes(cell & 127 for cell in cells), bytes(signs)]
    if dtype in {"int8", "uint8", "float16"}:
        high, low = unhalves(cells, 8 * width)
        return [control(0, 0, (), 0, tail), _pack(width, high), _pack(width, low)]
    y, behind = _upper(dtype, cells)
    q, words = unexponents(y)
    rest = _pack(2, words) + behind
    if form == 1:
        return [control(1, 0, (), room, tail), bytes(q), rest]
    n = [(exponent - base) % 256 for exponent in q]
    found = [(k, q[k]) for k in range(m) if n[k] > 15 or k in exact]
    n = [0 if one > 15 else one for one in n]
    hot = bytes(n[i] | n[m // 2 + i] << 4 for i in range(m // 2))
    return [control(0, base, found, room, tail), hot, rest]


def _float5(
    dtype: str, cells: list[int], *, form: int = 0, base: int = 0, room: int = 0
) -> list[bytes]:
    t = len(cells) % 64
    m = len(cells) - t
    h = m // 2
    cells, tail = cells[:m], _words(dtype, cells[m:])
    y, behind = _upper(dtype, cells)
    if form == 1:
        q, words = unexponents(y)
        return [control(1, 0, (), room, tail), bytes(q), _pack(2, words) + behind]
    z = [(word - 128 * base) & 0xFFFF for word in y]
    found = [(i, word >> 7 & 255) for i, word in enumerate(z) if word & 0x6000]
    hot, r = bytearray(m), [0] * m
    for j in range(h):
        hot[2 * j] = z[j] >> 5 & 255
        r[2 * j] = z[j] & 0x801F
        over = hot[2 * j] >> 3
        hot[2 * j + 1] = z[h + j] >> 5 & 255
        r[2 * j + 1] = (z[h + j] ^ over) & 0x801F
    rest = bytes(r[k] & 31 | r[k - 1] >> 15 << 7 for k in range(m))
    return [control(0, base, found, room, tail), bytes(hot), _quarters(rest) + behind]


_DECIDE = ((0, ((5, 4), (6, 7), (13, 12), (14, 15))),
           (1, ((5, 0), (6, 1), (13, 8), (14, 9))),
           (2, ((5, 2), (6, 3), (13, 10), (14, 11))))  # fmt: skip
"""Of V0, V1 and V2, the free bits and the bit of V3 that each decides (SPEC 10.6)."""


def _quarters(rest: bytes) -> bytes:
    """Return V0, V1 and V2 such that V3 follows from them."""
    words = struct.unpack(f"<{len(rest) // 2}H", rest)
    size = len(words) // 4
    v = [list(words[k * size : (k + 1) * size]) for k in range(4)]
    for i in range(size):
        now = v[0][i] >> 1 ^ v[0][i] << 1 ^ v[1][i] >> 5 ^ v[2][i] >> 3
        wrong = now ^ v[3][i]
        for k, pairs in _DECIDE:
            for free, decided in pairs:
                v[k][i] |= (wrong >> decided & 1) << free
    return _pack(2, v[0] + v[1] + v[2])
