"""How many threads work for a caller."""

from __future__ import annotations

import os
from typing import Final

from nnpack.arguments import check_threads

MOST: Final = 8
"""By default: more are seldom faster, because memory is not."""


def whole_threads(threads: int | None) -> int:
    """Return the number of threads: by default one a core, at most 8.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 1.
    """
    return check_threads(threads) or min(os.cpu_count() or 1, MOST)
