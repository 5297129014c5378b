"""Lists of known failures: what an implementation has not yet got right, told one by one.

A line is `id-or-pattern  # status: words  # where it is tracked`; other lines that begin with `#`
are comments. A list can only shrink by itself: what it states must hold, or the run fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .vectors import KitError, matches
from .verdict import GOOD, STATUSES, Verdict

UNLISTABLE = frozenset({"crash", "timeout", "oom", "fail-release"})
"""What nobody may live with: a reader that does so harms its user."""
LISTABLE = frozenset(STATUSES) - GOOD - UNLISTABLE
MOST_MATCHES = 20
"""Of a pattern: it is to name the failures of one cause, not to hide an area."""
KNOWN, UNEXPECTED = "known-fail", "unexpected-pass"


@dataclass(frozen=True)
class Entry:
    """One line of a list.

    Attributes:
        pattern: of ids; `*` stays within a path component.
        status: that they must have.
        words: why, and where it is tracked.
    """

    pattern: str
    status: str
    words: str

    @property
    def line(self) -> str:
        """As it is written."""
        return f"{self.pattern}  # {self.status}: {self.words}"


def parse_line(line: str, number: int) -> Entry | None:
    """Return the entry of a line; None for a comment; KitError for what is neither."""
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    pattern, _, rest = line.partition("#")
    status, colon, words = rest.strip().partition(":")
    if status in UNLISTABLE:
        raise KitError(f"line {number}: {status} cannot be listed as known")
    if status not in LISTABLE or not colon or not words.strip():
        raise KitError(f"line {number} is not `id  # status: words  # where it is tracked`")
    if "**" in pattern:
        raise KitError(f"line {number}: a pattern's * stays within a path component")
    return Entry(pattern.strip(), status, words.strip())


class KnownFailures:
    """A list, and what a run says about it."""

    def __init__(self, path: Path | None, ids: Iterable[str]) -> None:
        """Read the list, if there is one; `ids` are all of the kit, asked for or not."""
        try:
            self._read(path, [*ids])
        except KitError as bad:
            raise KitError(f"{path}: {bad}") from None

    def _read(self, path: Path | None, every: Sequence[str]) -> None:
        self.path = path
        self._lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self._entries: dict[int, Entry] = {}
        self._matched: dict[int, list[str]] = {}
        self._of: dict[str, Entry] = {}
        for number, line in enumerate(self._lines):
            entry = parse_line(line, number + 1)
            if entry is None:
                continue
            found = [id for id in every if matches(entry.pattern, id)]
            if len(found) > MOST_MATCHES:
                raise KitError(f"{entry.pattern} matches {len(found)}, the most is {MOST_MATCHES}")
            for id in found:
                if id in self._of:
                    raise KitError(f"{id} is listed twice")
                self._of[id] = entry
            self._entries[number], self._matched[number] = entry, found

    @property
    def stale(self) -> list[str]:
        """Patterns that match nothing: they fail a run."""
        return [entry.pattern for key, entry in self._entries.items() if not self._matched[key]]

    def apply(self, id: str, verdict: Verdict) -> Verdict:
        """Return the verdict as the list has it."""
        entry = self._of.get(id)
        if entry is None:
            return verdict
        if verdict.status == entry.status:
            return replace(verdict, status=KNOWN)
        expected = f"{entry.status}, as the list of known failures says"
        if verdict.status in GOOD:
            return replace(verdict, status=UNEXPECTED, expected=expected, got=verdict.status)
        return replace(verdict, expected=f"{verdict.expected} (listed as {entry.status})")

    def fix(self, found: Mapping[str, Verdict]) -> None:
        """Rewrite the list to what a whole run found; comments and what still holds stay."""
        assert self.path is not None
        failing = {id: verdict for id, verdict in found.items() if verdict.status in LISTABLE}
        lines: list[str] = []
        told: set[str] = set()
        for number, line in enumerate(self._lines):
            entry = self._entries.get(number)
            if entry is None:
                lines.append(line)
                continue
            ids = [id for id in self._matched[number] if id in failing]
            told.update(ids)
            found_as = {failing[id].status for id in ids}
            if ids == self._matched[number] and found_as == {entry.status}:
                lines.append(line)
            else:
                lines += [_again(id, failing[id], entry).line for id in ids]
        lines += [_new(id, failing[id]).line for id in sorted(failing.keys() - told)]
        self.path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _again(id: str, verdict: Verdict, entry: Entry) -> Entry:
    """Return the entry of a vector alone; the words of another status are not kept."""
    if verdict.status == entry.status:
        return replace(entry, pattern=id)
    _, _, tracked = entry.words.partition("#")
    return _new(id, verdict, tracked.strip() or "not tracked yet")


def _new(id: str, verdict: Verdict, tracked: str = "not tracked yet") -> Entry:
    said = " ".join(f"{verdict.question}: {verdict.got}, not {verdict.expected}".split())
    return Entry(id, verdict.status, f"{said.replace('#', '')[:100]}  # {tracked}")
