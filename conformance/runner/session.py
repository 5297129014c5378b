"""A run: every question about every vector, in random order, on one testee or several."""

from __future__ import annotations

import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from .testee import HELLO, HELLO_SECONDS, Exec, Fault, Limits, Serve, missing
from .vectors import KitError, Vector
from .verdict import GOOD, Claims, Question, Verdict, judge, questions, unasked, wanted

LARGE_TIMES = 5
"""Vectors that are large, or made from such, have so many times the seconds."""
Transport = type[Exec] | type[Serve]


def introduce(
    command: Sequence[str], limits: Limits, error_map: Mapping[str, str], only: Transport | None
) -> tuple[Transport, Claims]:
    """Say hello, by serve if the testee has it, unless one way alone is asked for."""
    said: list[str] = []
    both: list[Transport] = [Serve, Exec]
    for transport in [only] if only else both:
        with closing(transport(command, limits)) as testee:
            try:
                answer = testee.ask(HELLO, HELLO_SECONDS)
                return transport, Claims.of(answer, error_map)
            except Fault as bad:
                said.append(f"{transport.name}: {bad.status}, {bad.what}\n{bad.stderr}".rstrip())
    found = "\n".join(["the testee does not answer hello", *said])
    hints = [f"{part}: no file here; the testee runs in an empty folder, and arguments that are "
             "paths as a whole are made absolute" for part in missing(command, found)]  # fmt: skip
    if limits.memory and re.search("memory|heap|alloc", found, re.IGNORECASE):
        hints.append("if it could not reserve memory, try --memory 0")
    raise KitError("\n".join([found, *hints]))


@dataclass
class Outcome:
    """The worst verdict on a vector, and the time that all of its questions took."""

    verdict: Verdict
    seconds: float = 0.0

    def add(self, verdict: Verdict, seconds: float) -> None:
        """Count another answer."""
        self.seconds += seconds
        if verdict.rank < self.verdict.rank:
            self.verdict = verdict


Progress = Callable[[Mapping[str, Outcome]], None]


@dataclass
class Session:
    """What a run needs to know.

    Attributes:
        command: of the testee.
        transport: how it is asked.
        claims: what it said of itself.
        limits: of its processes.
        bases: all vectors of the kit by id.
        seed: of the order.
        jobs: testees side by side.
        rounds: how often everything is asked.
        outcomes: by id, so far.
        interrupted: whether it ended by Ctrl-C.
    """

    command: Sequence[str]
    transport: Transport
    claims: Claims
    limits: Limits
    bases: Mapping[str, Vector]
    seed: int
    jobs: int = 1
    rounds: int = 1
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def run(self, vectors: Iterable[Vector]) -> dict[str, Outcome]:
        """Ask everything, or until Ctrl-C; return outcomes by id."""
        order, shuffle = [*vectors], random.Random(self.seed).shuffle
        todo: SimpleQueue[Vector] = SimpleQueue()
        for _ in range(self.rounds):
            shuffle(order)
            for vector in order:
                todo.put(vector)
        progress = _progress(len(order) * self.rounds)
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                workers = [pool.submit(self._work, todo, progress) for _ in range(self.jobs)]
                for worker in as_completed(workers):
                    worker.result()
            except KeyboardInterrupt:
                self.interrupted = True
            finally:  # after Ctrl-C, or a fault of one, each ends its question and its testee
                self._stopped = True
        return self.outcomes

    def _work(self, todo: SimpleQueue[Vector], progress: Progress) -> None:
        """Ask about vectors until there are no more."""
        with (
            suppress(Empty),
            closing(self.transport(self.command, self.limits)) as testee,
            tempfile.TemporaryDirectory(prefix="encoded-", ignore_cleanup_errors=True) as folder,
        ):
            while not self._stopped:
                self._about(todo.get_nowait(), testee, Path(folder))
                with self._lock:
                    progress(self.outcomes)

    def _about(self, vector: Vector, testee: Exec | Serve, folder: Path) -> None:
        """Ask all about one vector."""
        large = vector.is_large or self.bases.get(vector.base, vector).is_large
        seconds = self.limits.seconds * (LARGE_TIMES if large else 1)
        found = [(one, 0.0) for one in [unasked(vector, self.claims)] if one]
        for question in questions(vector, self.claims, folder):
            if self._stopped:
                return
            start = time.monotonic()
            verdict = self._ask(question, testee, seconds)
            found.append((verdict, time.monotonic() - start))
        with self._lock:
            for verdict, spent in found:
                self.outcomes.setdefault(vector.id, Outcome(verdict)).add(verdict, spent)

    def _ask(self, question: Question, testee: Exec | Serve, seconds: float) -> Verdict:
        try:
            answer = testee.ask(question.message, seconds)
        except Fault as bad:
            expected = wanted(question.vector)
            return Verdict(bad.status, question.label, expected, bad.what, bad.stderr)
        try:
            return judge(question, answer, self.claims, self.bases)
        except Exception as bad:  # noqa: BLE001 - no answer may cost the verdicts on others
            expected = wanted(question.vector)
            return Verdict("protocol", question.label, expected, f"no judging it: {bad!r}")


def _progress(total: int) -> Progress:
    """Return what shows how far a run is, if somebody looks."""
    done = 0

    def show(outcomes: Mapping[str, Outcome]) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty() and (done % 8 == 0 or done == total):
            bad = sum(one.verdict.status not in GOOD for one in [*outcomes.values()])
            end = "\n" if done == total else ""
            sys.stderr.write(f"\r{done}/{total} vectors, {bad} not right {end}")
            sys.stderr.flush()

    return show
