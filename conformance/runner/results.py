"""Results of a run as lines of JSON: a header, one line a vector, a footer that counts them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .known import KNOWN, UNEXPECTED
from .vectors import KitError
from .verdict import STATUSES, Claims, Verdict

ALL_STATUSES = (*STATUSES[:-2], UNEXPECTED, KNOWN, *STATUSES[-2:])
"""The bad ones first."""


@dataclass(frozen=True)
class Results:
    """One run: `header` and `vectors` as they stand in the file.

    Attributes:
        header: what was tested, and how.
        vectors: a line for each, in order of their ids.
        footer: counts by status, and what else a run found.
    """

    header: dict[str, Any]
    vectors: list[dict[str, Any]]
    footer: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Vectors by status."""
        return dict(self.footer["counts"])

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The lines of vectors that fail the run."""
        return [one for one in self.vectors if one["status"] not in {"pass", "declined", KNOWN}]

    @property
    def good(self) -> bool:
        """Whether the run passes: known failures do not count, a list that is not true does."""
        return not self.failures and not self.footer["stale"]


def counted(statuses: Sequence[str]) -> dict[str, int]:
    """Return how often each status occurs."""
    return {status: statuses.count(status) for status in ALL_STATUSES if status in statuses}


def header_of(claims: Claims, command: Sequence[str], **options: Any) -> dict[str, Any]:
    """Return the first line."""
    return {
        "type": "header",
        "protocol": 1,
        "spec": "1.0",
        "implementation": claims.implementation,
        "profile": claims.profile,
        "features": sorted(claims.features),
        "command": [*command],
        **options,
    }


def line_of(id: str, verdict: Verdict, was: str, seconds: float) -> dict[str, Any]:
    """Return the line of a vector; `was` is its status before the list of known failures."""
    line: dict[str, Any] = {"type": "vector", "id": id, "status": verdict.status}
    line |= {"was": was} if was != verdict.status else {}
    more = {"question": verdict.question, "expected": verdict.expected, "got": verdict.got}
    line |= {key: value for key, value in more.items() if verdict.status != "pass" and value}
    line |= {"stderr": verdict.stderr} if verdict.stderr else {}
    line |= {"mapped": verdict.mapped} if verdict.mapped else {}
    return {**line, "seconds": round(seconds, 4)}


def results_of(
    header: dict[str, Any], vectors: Iterable[dict[str, Any]], stale: Sequence[str], seconds: float
) -> Results:
    """Return results with their footer."""
    lines = sorted(vectors, key=lambda one: str(one["id"]))
    footer = {
        "type": "footer",
        "vectors": len(lines),
        "counts": counted([one["status"] for one in lines]),
        "mapped": sum("mapped" in one for one in lines),
        "stale": [*stale],
        "seconds": round(seconds, 2),
    }
    return Results(header, lines, footer)


def write(results: Results, path: Path) -> None:
    """Write a report that `read` takes."""
    lines = [results.header, *results.vectors, results.footer]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")


def read(path: Path) -> Results:
    """Read a report; KitError if it is cut, doubled or does not add up."""
    try:
        with path.open(encoding="utf-8") as file:
            header, *vectors, footer = lines = [json.loads(line) for line in file]
        kinds = [str(one["type"]) for one in lines]
        ids = [str(one["id"]) for one in vectors]
        statuses = [str(one["status"]) for one in vectors]
        report_of = header["implementation"]["name"], header["profile"], footer["counts"]
    except (ValueError, TypeError, KeyError, RecursionError) as bad:
        raise KitError(f"{path}: no report: {bad}") from None
    if kinds != ["header", *["vector"] * len(ids), "footer"] or not all(report_of):
        raise KitError(f"{path}: a report is a header, vectors and a footer")
    if len(ids) != len({*ids}):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise KitError(f"{path}: {twice} is told twice")
    if other := {*statuses} - {*ALL_STATUSES}:
        raise KitError(f"{path}: no status is called {other.pop()}")
    if footer.get("vectors") != len(ids) or footer.get("counts") != counted(statuses):
        raise KitError(f"{path}: the footer counts other lines than there are")
    return Results(header, vectors, footer)
