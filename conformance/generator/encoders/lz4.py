"""LZ4 blocks, a sequence at a time (SPEC 11.3)."""

from __future__ import annotations


def _more(length: int) -> bytes:
    """Return the bytes behind a token's field, if it is full."""
    if length < 15:
        return b""
    whole, rest = divmod(length - 15, 255)
    return b"\xff" * whole + bytes([rest])


def sequence(literals: bytes, offset: int | None = None, length: int = 4) -> bytes:
    """Return a sequence; without an offset it is the last."""
    match = 0 if offset is None else length - 4
    token = bytes([min(len(literals), 15) << 4 | min(match, 15)])
    start = token + _more(len(literals)) + literals
    return start if offset is None else start + offset.to_bytes(2, "little") + _more(match)
