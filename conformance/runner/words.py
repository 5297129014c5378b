"""What a testee says, which may be anything, in words that every report can hold."""

from __future__ import annotations

import re

LONGEST = 2000
"""Characters of one text in a report."""
_UNFIT = re.compile(
    r"[^ -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What XML or UTF-8 has not, what ends a line, and what a terminal obeys."""


def line(words: str, longest: int = LONGEST) -> str:
    """Return words as a line."""
    more = "…" * (len(words) > longest)
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", words[:longest]) + more


def lines(words: str) -> str:
    """Return words whose lines stay."""
    return "\n".join(map(line, words.expandtabs().splitlines()))
