"""Proof by removal: with any one check of the package's reader switched off, some vector fails.

    python -m conformance.coverage.removal [--only MODULE-GLOB]

The package nnpack is loaded with its checks behind switches (switches.py). A first pass over all
vectors, in all ways to read them (ways.py), notes which checks refuse which vectors; then each
check is switched off in turn, and the vectors that it refused are read again. If all answers stay
the same, the check survives: no vector proves that a reader needs it. Survivors stand in
`removal.toml`, in groups with a reason each, or this fails.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from conformance.coverage.switches import Check, Switches, install
from conformance.coverage.ways import Json, Question, questions, reading, stop

REASONS = Path(__file__).parent / "removal.toml"
MEMORY = 8 << 30

Ask = Callable[[Question], Json]


class FirstPass(NamedTuple):
    """All questions, with all checks on."""

    asked: Sequence[Question]
    right: Sequence[Json]
    refused: Mapping[int, Sequence[int]]
    """Which questions each check refuses."""


def first_pass(switches: Switches, ask: Ask, asked: Sequence[Question]) -> FirstPass:
    """Ask everything."""
    right: list[Json] = []
    refused: defaultdict[int, list[int]] = defaultdict(list)
    for index, question in enumerate(asked):
        switches.fired.clear()
        right.append(ask(question))
        for number in switches.fired:
            refused[number].append(index)
    return FirstPass(asked, right, refused)


class Survivor(NamedTuple):
    """A check that no vector needs."""

    check: Check
    reached: list[str]
    """Vectors that it refuses; without it others do, or another check."""


def survivors(
    switches: Switches, ask: Ask, first: FirstPass, only: str = "*"
) -> Iterator[Survivor]:
    """Yield the checks of some modules without which all answers stay what they are."""
    asked, right, refused = first
    for number, check in enumerate([*switches.checks]):
        if not fnmatch(check.module, only):
            continue
        switches.off = number
        indices = refused.get(number, ())
        if all(ask(asked[index]) == right[index] for index in indices):
            yield Survivor(check, [asked[index].id for index in indices])
        switches.off = -1


def unfit(switches: Switches, first: FirstPass) -> Iterator[str]:
    """Yield why the proof would prove less than it says."""
    for question, said in zip(first.asked, first.right, strict=True):
        if "crash" in said:
            yield f"crashes with all checks on: {question.id}, {question.way}: {said['crash']}"
    for one in switches.strange:
        yield f"neither an error of the format nor a caller's, say which in switches.py: {one}"


def faults(alive: Sequence[Survivor], groups: Json) -> Iterator[str]:
    """Yield what is wrong with the survivors, or with what `removal.toml` says of them."""
    grouped = {key: name for name, group in groups.items() for key in group["checks"]}
    keys = {survivor.check.key for survivor in alive}
    for survivor in alive:
        check, reached = survivor
        name = grouped.get(check.key)
        many = f"{len(reached)} answers stay what they are, that to {reached[0]}" if reached else ""
        if name is None:
            yield f"survives without a reason: {check} ({many or 'no vector comes here'})"
        elif reached and not groups[name]["reached"]:
            yield f"[{name}] says that no vector comes here: {check} ({many})"
    yield from (
        f"no survivor, take it out of [{grouped[key]}]: {key}" for key in grouped.keys() - keys
    )
    yield from (f"[{name}] has no reason" for name, group in groups.items() if not group["reason"])
    if len(keys) < len(alive):
        yield "two survivors have one name"
    if len(grouped) < sum(len(group["checks"]) for group in groups.values()):
        yield "a check stands in two groups"


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="modules, as a glob; no reason is looked at")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    switches = install()
    reader = reading()
    first = first_pass(switches, reader.ask, questions())
    alive = [*survivors(switches, reader.ask, first, options.only)]
    groups = tomllib.loads(REASONS.read_text("utf-8")) if options.only == "*" else {}
    found = [*unfit(switches, first), *faults(alive, groups)]
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    for name, group in groups.items():
        sys.stdout.write(f"[{name}] {len(group['checks'])}: {group['reason']}\n")
    many = len(switches.checks)
    sys.stdout.write(
        f"{many} checks, {many - len(alive)} proved, {len(alive)} survive, {len(found)} faults\n"
    )
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
