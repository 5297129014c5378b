"""LZW with codes of 9 to 12 bits, in plain Python: a few MB a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from nnpack.abc import Codec
from nnpack.errors import error

CLEAR, END = 256, 257
FIRST, LAST = 258, 4095
"""The codes of strings."""
_BYTES: Final = (*(bytes([byte]) for byte in range(256)), b"", b"")
"""The strings of the codes below them: two have none."""


class Lzw(Codec):
    """Codes of strings that occurred before, which end with an end code (SPEC 11.8.5)."""

    id: ClassVar[int] = 20
    name: ClassVar[str] = "lzw"

    def encode(self, data: memoryview) -> bytes:
        """Return the codes of `data`: the longest string each, a clear code at a full table."""
        out = bytearray()
        held, bits, top = 0, 0, FIRST - 1
        for code in _codes(data):
            held |= code << bits
            bits += top.bit_length()
            top = FIRST - 1 if code == CLEAR else min(top + 1, LAST)
            while bits >= 8:
                out.append(held & 255)
                held, bits = held >> 8, bits - 8
        return bytes(out) + held.to_bytes((bits + 7) // 8, "little")

    def decode(self, data: memoryview, size: int) -> bytes:
        """Return the content of the codes, or somewhat more than `size` bytes of it."""
        stream, out = bytes(data), bytearray()
        position, end = 0, 8 * len(data)
        table, last, top, code = [*_BYTES], b"", END, CLEAR
        while code != END and position < end and len(out) <= size:
            at, width = position >> 3, top.bit_length()
            code = int.from_bytes(stream[at : at + 3], "little") >> (position & 7)
            code &= (1 << width) - 1
            position += width
            if code > top:
                raise error("bad-stream", f"LZW code {code} at bit {position} is above {top}")
            if code == CLEAR:
                table, last, top = [*_BYTES], b"", END
            elif code != END:
                # What the code before made an entry of is known but for its last byte.
                string = table[code] if code < len(table) else last + last[:1]
                if top < LAST:
                    top += 1
                if last and len(table) <= LAST:
                    table.append(last + string[:1])
                out += string
                last = string
        rest = int.from_bytes(stream[position >> 3 :], "little") >> (position & 7)
        if code != END or rest or -(-position // 8) != len(stream):
            raise error("bad-stream", "LZW codes that do not end where their bytes do")
        return bytes(out)


def _codes(data: memoryview) -> Iterator[int]:
    """Yield the codes of the longest strings that the table has."""
    table: dict[int, int] = {}
    string = data[0] if data else END
    for byte in data[1:]:
        found = table.get(string << 8 | byte)
        if found is not None:
            string = found
            continue
        yield string
        if FIRST + len(table) > LAST:
            yield CLEAR
            table = {}
        else:
            table[string << 8 | byte] = FIRST + len(table)
        string = byte
    yield string
    if data:
        yield END
