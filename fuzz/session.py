"""One target being fuzzed: its corpus, what it reaches, and what it finds."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from conformance.generator.operations import Operation
from fuzz import oracle, seeds
from fuzz.edges import counted
from fuzz.findings import Found, signature
from fuzz.structure import build, smallest
from fuzz.targets import Target

TRACED = 64
"""One run in so many has its allocations added up."""
DEEPEST = 12
"""Operations of an input that more are added to."""
FRESH = 0.3
"""Share of the runs that begin with what was kept last."""
LAST = 50
LONGEST = 1 << 14
"""Bytes of an input that is kept."""


class Case(NamedTuple):
    """An input: what operations make of another one."""

    base: bytes
    operations: tuple[Operation, ...] = ()

    def data(self) -> bytes:
        """Return its bytes."""
        return build(self.base, self.operations)


def corpus(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield what a target is replayed with: vectors, if it reads files, regressions and seeds."""
    known: set[bytes] = set()
    found = [(name, data) for name, data, _ in seeds.vectors()] if target.structured else []
    found += [(path.name, path.read_bytes()) for path in sorted(seeds.REGRESSIONS.glob("*.bin"))]
    found += [(f"seed {number}", data) for number, data in enumerate(target.seeds())]
    for name, data in found:
        if data not in known:
            known.add(data)
            yield name, data


class Session:
    """Fuzzes one target, in turn with others."""

    def __init__(
        self, name: str, target: Target, seed: str, note: Callable[[str, bytes], None]
    ) -> None:
        """Begin with the corpus; `note` is told each input before it is run."""
        self.name, self.target, self._note = name, target, note
        self._rng = random.Random(f"{seed}/{name}")
        self._donors: Sequence[bytes] = target.seeds()
        self._cases = [Case(data) for data in self._donors]
        self._verdicts: Counter[str] = Counter()
        self._found: list[Found] = []
        self._known: set[str] = set()
        self._waiting: list[Case] = [Case(data) for _, data in corpus(target)]
        self.runs, self._seconds = 0, 0.0

    def work(self, stop: float, runs: float) -> None:
        """Run until a time, or so many runs."""
        start = time.monotonic()
        while time.monotonic() < stop and self.runs < runs:
            self._run(self._waiting.pop() if self._waiting else self._mutated())
        self._seconds += time.monotonic() - start

    def take(self) -> list[Found]:
        """Return what was found since the last time."""
        found, self._found = self._found, []
        return found

    def status(self) -> dict[str, Any]:
        """Return the numbers of a status line."""
        return {
            "target": self.name,
            "runs": self.runs,
            "rate": self.runs / max(self._seconds, 1e-9),
            "kept": len(self._cases) - len(self._donors),
            "verdicts": dict(self._verdicts),
        }

    def _mutated(self) -> Case:
        few = self._cases[-LAST:] if self._rng.random() < FRESH else self._cases
        case = self._rng.choice(few)
        if self.target.structured:
            _, operations = self.target.mutate(
                case.base, self._rng, self._donors, before=case.operations
            )
            return Case(case.base, tuple(operations))
        _, operations = self.target.mutate(case.base, self._rng, self._donors)
        return Case(case.base, tuple(operations))

    def _run(self, case: Case) -> None:
        data = case.data()
        self._note(self.name, data)
        self.runs += 1
        traced = self.runs % TRACED == 0
        watching = counted()
        try:
            with watching.watch(self.runs):
                verdict = oracle.gate(self.target.run, data, traced=traced)
        except oracle.Finding as bad:
            verdict = f"({bad.kind})"
            self._keep_finding(case, bad)
        self._verdicts[verdict] += 1
        if watching.new() and len(data) <= LONGEST:
            self._keep(case, data, verdict)

    def _keep(self, case: Case, data: bytes, verdict: str) -> None:
        """Keep what went a new way; what is valid, or plain bytes, becomes a base."""
        if not self.target.structured or (verdict == "accept" and _is_base(data)):
            self._cases.append(Case(data))
        elif 0 < len(case.operations) < DEEPEST:
            self._cases.append(case)

    def _keep_finding(self, case: Case, bad: oracle.Finding) -> None:
        said = signature(self.name, bad)
        if said in self._known:
            return
        self._known.add(said)
        small = self._smallest(case, said)
        self._found.append(Found.of(self.name, said, bad, small.base, small.operations,
                                    small.data()))  # fmt: skip

    def _smallest(self, case: Case, said: str) -> Case:
        """Leave out operations while the finding stays."""

        def keeps(fewer: list[Operation]) -> bool:
            data = build(case.base, fewer)
            try:
                oracle.gate(self.target.run, data)
            except oracle.Finding as bad:
                return signature(self.name, bad) == said
            return False

        return Case(case.base, tuple(smallest(case.operations, keeps)))


def _is_base(data: bytes) -> bool:
    """Return whether a file can be taken apart and put together as it is."""
    try:
        return seeds.canonical(data) == data
    except Exception:  # noqa: BLE001 - what the salvager accepts may be no file at all
        return False
