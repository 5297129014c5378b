"""Elements of Snappy's raw format (SPEC 11.8.1)."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """Return a number, seven bits a byte."""
    out = bytearray()
    while value >> 7:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(data: bytes, width: int = 0) -> bytes:
    """Return a literal; its length stands in `width` bytes, or in the tag with 0."""
    length = len(data) - 1
    if width == 0:
        return bytes([length << 2]) + data
    return bytes([59 + width << 2]) + length.to_bytes(width, "little") + data


def copy(width: int, offset: int, length: int) -> bytes:
    """Return a copy whose offset is of 1 byte and 3 bits, of 2 bytes or of 4."""
    if width == 1:
        return bytes([offset >> 8 << 5 | length - 4 << 2 | 1, offset & 255])
    return bytes([length - 1 << 2 | (2 if width == 2 else 3)]) + offset.to_bytes(width, "little")
