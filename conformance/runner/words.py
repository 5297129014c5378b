"""What a testee says, which may be anything, in words that every report can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 2000
"""Characters of one text in a report."""
QUOTED = 200
"""Bytes of what is no answer."""
STANDARD_OUTPUT = " (standard output is for answers alone, standard error for all else)"
FLUSHED = " (does it flush after each line?)"
_UNFIT = re.compile(
    r"[^ -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What XML or UTF-8 has not, what ends a line, and what a terminal obeys."""


def line(words: str, longest: int = LONGEST) -> str:
    """Return words as a line."""
    more = "…" * (len(words) > longest)
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", words[:longest]) + more


def quoted(data: bytes | bytearray) -> str:
    """Return the beginning of what somebody else wrote."""
    more = "…" * (len(data) > QUOTED)
    return f"`{' '.join(data[:QUOTED].decode('utf-8', 'replace').split())}{more}`"


def meant(word: str, known: Iterable[str]) -> str:
    """Return a question for the word that somebody may have meant."""
    near = get_close_matches(word, [*known], 1)
    return f"; did you mean {near[0]}?" if near else ""


def lines(words: str) -> str:
    """Return words whose lines stay."""
    return "\n".join(map(line, words.expandtabs().splitlines()))
