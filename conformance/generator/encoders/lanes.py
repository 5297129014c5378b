"""The two entropy codes over lanes: tables and blocks (SPEC 11.5 to 11.7)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

Table = Mapping[int, int]
"""Lengths or frequencies by symbol."""


def head(lanes: int, table: Table) -> bytes:
    """Return the first 33 bytes; `lanes` is the logarithm."""
    return bytes([lanes]) + sum(1 << symbol for symbol in table).to_bytes(32, "little")


def huffman_table(lanes: int, lengths: Table) -> bytes:
    """Return a shared table of huffman."""
    halves = [length for _, length in sorted(lengths.items())]
    halves += [0] * (len(halves) % 2)
    return head(lanes, lengths) + bytes(
        low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True)
    )


def codes(lengths: Table) -> dict[int, str]:
    """Return the canonical code of each symbol."""
    found, slot = {}, 0
    for symbol in sorted(lengths, key=lambda one: (lengths[one], one)):
        length = lengths[symbol]
        found[symbol] = f"{slot >> 12 - length:0{length}b}" if length else ""
        slot += 1 << 12 - length
    return found


def huffman(data: bytes, lanes: int, lengths: Table, fill: str = "0") -> bytes:
    """Return a block; `fill` stands behind the last code of a lane."""
    code, many = codes(lengths), 1 << lanes
    strings = ["".join(code[symbol] for symbol in data[lane::many]) for lane in range(many)]
    count, taken = [0] * many, [0] * many
    out = bytearray()
    for i, symbol in enumerate(data):
        lane = i % many
        if count[lane] < 12:
            word = strings[lane][16 * taken[lane] :][:16].ljust(16, fill)
            out += struct.pack("<H", int(word, 2))
            taken[lane] += 1
            count[lane] += 16
        count[lane] -= lengths[symbol]
    return bytes(out)


def rans_table(lanes: int, frequencies: Table) -> bytes:
    """Return a shared table of rans."""
    out = bytearray(head(lanes, frequencies))
    for _, frequency in sorted(frequencies.items()):
        less = frequency - 1
        out += bytes([less]) if less < 128 else bytes([128 + (less >> 8), less & 255])
    return bytes(out)


def firsts(frequencies: Table) -> dict[int, int]:
    """Return the first slot of each symbol."""
    found, slot = {}, 0
    for symbol, frequency in sorted(frequencies.items()):
        found[symbol] = slot
        slot += frequency
    return found


def rans(data: bytes, lanes: int, frequencies: Table, last: int = 1 << 16) -> bytes:
    """Return a block; `last` is the last lane's state behind its last symbol."""
    first, many, words = firsts(frequencies), 1 << lanes, []
    states = [*[1 << 16] * (many - 1), last]
    for i in range(len(data) - 1, -1, -1):
        f, x = frequencies[data[i]], states[i % many]
        if x >= f << 20:
            words.append(x & 0xFFFF)
            x >>= 16
        states[i % many] = 4096 * (x // f) + first[data[i]] + x % f
    return struct.pack(f"<{many}I{len(words)}H", *states, *reversed(words))
