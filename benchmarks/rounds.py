"""Interleaved timing: every round runs each contestant once, so that drift hits all alike."""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

ROUNDS = 9


def race(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    before: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Return the median seconds of each contestant over interleaved rounds, after a warm-up.

    `before` runs before each of them and is not timed.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            gc.collect()
            before()
            start = time.perf_counter()
            result = run()
            elapsed = time.perf_counter() - start
            del result
            if number:
                times[name].append(elapsed)
    return {name: statistics.median(found) for name, found in times.items()}


def versions(*names: str) -> str:
    """Return a line that says what was measured, and how."""
    return f"{packages(*names)}; medians of {ROUNDS} interleaved rounds"


def packages(*names: str) -> str:
    """Return a line that says what was measured."""
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {found}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
