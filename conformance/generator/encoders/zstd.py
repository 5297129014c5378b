"""Zstandard frames by hand (RFC 8878): raw and RLE blocks, and the simplest compressed ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAGIC = bytes.fromhex("28b52ffd")
RAW, RLE, COMPRESSED, RESERVED = range(4)
_FLAGS = {0: 0, 1: 0, 2: 1, 4: 2, 8: 3}


def header(size: int, *, width: int = 1, window: int | None = None, also: int = 0) -> bytes:
    """Return a frame header.

    Args:
        size: the content size that it states, in `width` bytes; with 0 none is stated.
        width: 0, 1 (with a single segment alone), 2, 4 or 8.
        window: the window descriptor; without one the frame is a single segment.
        also: bits set in the descriptor besides.
    """
    descriptor = _FLAGS[width] << 6 | (window is None) << 5 | also
    stated = (size - 256 if width == 2 else size).to_bytes(width, "little") if width else b""
    return MAGIC + bytes([descriptor]) + (b"" if window is None else bytes([window])) + stated


def block(kind: int, content: bytes, size: int | None = None, *, last: bool = False) -> bytes:
    """Return a block; `size` is that of its header, by default of the content."""
    stated = len(content) if size is None else size
    return (stated << 3 | kind << 1 | last).to_bytes(3, "little") + content


def runs(data: bytes) -> bytes:
    """Return a frame of raw and RLE blocks: every run from 8 bytes on is an RLE block."""
    blocks: list[tuple[int, bytes, int]] = []
    at = 0
    while at < len(data):
        size = 1
        while size < min(len(data) - at, 1 << 17) and data[at + size] == data[at]:
            size += 1
        if size >= 8:
            blocks.append((RLE, data[at : at + 1], size))
        elif blocks and blocks[-1][0] == RAW and blocks[-1][2] < 1000:
            content = blocks[-1][1] + data[at : at + size]
            blocks[-1] = (RAW, content, len(content))
        else:
            blocks.append((RAW, data[at : at + size], size))
        at += size
    body = (
        block(kind, content, n, last=i + 1 == len(blocks))
        for i, (kind, content, n) in enumerate(blocks)
    )
    width = 1 if len(data) < 256 else 2 if len(data) < 65792 else 4
    return header(len(data), width=width) + b"".join(body)


def sequences(
    literals: bytes, count: int, codes: Sequence[int], extra: Iterable[tuple[int, int]]
) -> bytes:
    """Return a compressed block's content: raw literals, and sequences of the same three codes.

    Args:
        literals: all of them, at most 31.
        count: of the sequences, at most 127.
        codes: of literal length, offset and match length, each a table of one symbol.
        extra: the fields behind the codes as (value, bits), in the order in which they are read.
    """
    value = 1
    for field, width in extra:
        value = value << width | field
    size = (value.bit_length() + 7) // 8
    head = bytes([len(literals) << 3]) + literals + bytes([count, 0b01010100, *codes])
    return head + value.to_bytes(size, "little")
