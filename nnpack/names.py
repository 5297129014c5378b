"""Which names sections may have, and which plug-ins and foreign formats (SPEC 5.4)."""

from __future__ import annotations

import re
from typing import Final

from nnpack.errors import Invalid, error
from nnpack.limits import MAX_NAME

REVERSE_DNS: Final = r"[a-z0-9-]+(\.[a-z0-9-]+)+"
MAX_PRIVATE_NAME: Final = 255


def decode_name(data: bytes, offset: int) -> str:
    """Return a name as text; it stands in the head at `offset`."""
    try:
        return data.decode()
    except UnicodeDecodeError as bad:
        raise error("bad-text", f"a name is not UTF-8: {bad.reason}", offset=offset) from bad


_HIDING: Final = (
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_FORBIDDEN: Final = frozenset([*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *_HIDING])
"""Controls; characters that reorder, hide or break lines (SPEC 5.4)."""


def _forbidden(text: str) -> str | None:
    """Return a character that no name may have, if there is one."""
    if (text.isascii() and text.isprintable()) or _FORBIDDEN.isdisjoint(text):
        return None
    return next(character for character in text if character in _FORBIDDEN)


def check_name_characters(name: str, offset: int | None = None) -> None:
    """Check which characters a name has."""
    found = _forbidden(name)
    if found:
        raise error("bad-text", f"a name holds the character {found!a}", offset=offset)


def check_name(name: str) -> None:
    """Check the name that a caller gives to a section (SPEC 5.4).

    Raises:
        ValueError: it has a length or a character that names cannot have.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError as bad:
        raise Invalid("bad-text", f"{name!a} is not Unicode text: {bad.reason}") from bad
    if not 1 <= size <= MAX_NAME:
        raise Invalid("bad-text", f"a name takes 1 to {MAX_NAME} bytes, not {size}")
    found = _forbidden(name)
    if found:
        raise Invalid("bad-text", f"{name!a} holds the character {found!a}")


def is_private_name(name: str) -> bool:
    """Return whether this is a reverse-DNS name as plug-ins and foreign formats have them."""
    return len(name) <= MAX_PRIVATE_NAME and re.fullmatch(REVERSE_DNS, name) is not None
