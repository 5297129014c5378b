"""Two readers and mutated files: where do they differ?

    python fuzz/differential.py --a CMD --b CMD [--seconds N | --runs N] [--seed S] [--first]

Each command is a testee of conformance/PROTOCOL.md, asked with `CMD serve`. Compared are, strictly,
whether a file is accepted and, where both accept, every image bit for bit and all the rest that
both answer. A difference is a fault, and the exit status 1. Other classes are a question to the
text: a file may break several rules, and of those that break in one step each class is right
(SPEC 14.3). Three things are only counted and shown:

- Classes, where several operations made the file.
- The verdict, where an operation changed bytes inside a zstd, deflate, brotli or gzip stream: what
  else a decoder finds malformed is the library's. Bits are compared where both accept.
- The verdict, where the reader that accepts says that it does not have what a part of it needs.

Of each bucket of faults and questions - verdicts, classes, what the operations change - the first
file is made smaller, and saved in fuzz/findings with a sidecar from which a vector is made.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import shlex
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script, with the package that PYTHONPATH or the environment has
    HERE = Path(__file__).absolute().parent
    sys.path = [*(path for path in sys.path if Path(path) != HERE), str(HERE.parent)]

from conformance.generator.assemble import DENSE
from conformance.generator.operations import Operation, change
from conformance.generator.rebuild import nodes, parse
from conformance.runner.compare import integers, same_image, same_json
from conformance.runner.session import introduce
from conformance.runner.testee import Fault, Limits, Serve, resolved
from conformance.runner.vectors import CLASSES, KitError
from fuzz import seeds, structure
from fuzz.findings import FOLDER

LIBRARIES = {1, 3, 17, 19}
"""Ids of codecs whose streams have more ways to be malformed than readers agree on."""
REGISTERED = {16: "snappy", 17: "brotli", 18: "lzo1x", 19: "gzip", 20: "lzw"}
"""Codecs that a reader may have (PROTOCOL.md)."""
SECONDS = 10.0
LIMITS = {"tensor": 1 << 20, "request": 1 << 22}
"""Policy limits, so that no answer depends on the memory that happens to be free."""
STATUS = 10.0
FAULT, QUESTION, COUNT = WEIGHTS = "faults", "questions", "counted only"
Answer = dict[str, Any]


def asked(testee: Serve, question: Answer) -> Answer:
    """Return the answer; of one that does not come, the class tells why, in parentheses."""
    try:
        return testee.ask(question, SECONDS)
    except Fault as bad:
        return {"ok": False, "error": {"class": f"({bad.status})"}}


class Outcome(NamedTuple):
    """How two answers compare."""

    verdicts: tuple[str, str]
    """"accept", "reject", or in parentheses how a testee was lost."""
    classes: tuple[str, str]
    differs: str
    """In what; empty if in nothing."""
    weight: str = FAULT
    """How much that says."""


def verdict(answer: Answer) -> tuple[str, str]:
    """Return verdict and class of an answer."""
    if answer.get("ok"):
        return "accept", ""
    error = str(answer.get("error", {}).get("class"))
    return (error if error.startswith("(") else "reject"), error


def compare(one: Answer, other: Answer, *, single: bool, library: bool) -> Outcome:
    """Compare two answers.

    Args:
        one: of the first reader.
        other: of the second.
        single: whether one operation made the file, so that classes are compared.
        library: whether an operation changed a stream that a library decodes, or a section is
            in a codec that one of them does not have.
    """
    (a, why_a), (b, why_b) = verdict(one), verdict(other)
    verdicts, classes = (a, b), (why_a, why_b)
    if a != b or a.startswith("("):
        lax = {a, b} == {"accept", "reject"} and (library or declined(one) or declined(other))
        return Outcome(verdicts, classes, "verdict", COUNT if lax else FAULT)
    if a == "reject":
        differs = "class" if why_a != why_b else ""
        return Outcome(verdicts, classes, differs, QUESTION if single else COUNT)
    return Outcome(verdicts, classes, model(one["model"], other["model"]))


def declined(answer: Answer) -> bool:
    """Return whether a reader accepts a file, but not without saying what it cannot decode."""
    said = answer.get("model", {"tensors": []})
    return any("unsupported" in tensor for tensor in said["tensors"])


def model(one: Answer, other: Answer) -> str:
    """Return where two models differ, in what both answer."""
    tensors = [{tensor["name"]: tensor for tensor in said["tensors"]} for said in (one, other)]
    if [*tensors[0]] != [*tensors[1]]:
        return "names"
    for name, tensor in tensors[0].items():
        where = node(tensor, tensors[1][name])
        if where:
            return f"tensor {where}"
    for key in ("aliases", "metadata", "root"):
        if one.get(key) and other.get(key) and not same_json(one[key], other[key]):
            return key
    for key, same in (("graphs", same_json), ("blobs", same_image)):
        mine, yours = one.get(key) or {}, other.get(key) or {}
        shared = mine.keys() & yours.keys()  # without its codec a reader has none
        if not all(same(mine[name], yours[name]) for name in shared if mine[name] and yours[name]):
            return key
    return ""


def node(one: Answer, other: Answer) -> str:
    """Return where two nodes differ; what only one has is no difference."""
    for key in ("kind", "dtype", "shape", "logical"):
        if one.get(key) and other.get(key) and integers(one[key]) != integers(other[key]):
            return key
    if one.get("image") and other.get("image") and not same_image(one["image"], other["image"]):
        return "image"
    parts = one.get("parts") or {}, other.get("parts") or {}
    for name in parts[0].keys() & parts[1].keys():
        where = node(parts[0][name], parts[1][name])
        if where:
            return f"{name}.{where}"
    return ""


def in_library(base: bytes, operations: Iterable[Operation]) -> bool:
    """Return whether operations change what is stored in a leaf with a library's codec."""
    file = parse(base)
    for operation in operations:
        sections, index = file.sections, operation.get("index", 0)
        inside = operation["op"] == "store" or operation.get("field") == "payload"
        if inside and index < len(sections) and _codecs(sections[index].body) & LIBRARIES:
            return True
        change(file, operation)
    return False


def codecs(data: bytes) -> set[int]:
    """Return the ids of the codecs that a file names, as far as it can be taken apart."""
    with suppress(ValueError, struct.error, OverflowError):
        return {key for section in parse(data).sections for key in _codecs(section.body)}
    return set()


def _codecs(body: bytes) -> set[int]:
    found: set[int] = set()
    with suppress(ValueError, IndexError):
        for one in nodes(body):
            if one.kind == DENSE:
                at = one.parameters
                found |= {*body[at + 4 : at + 4 + body[at + 2]]}
    return found


class Differential:
    """Asks two readers about the same files."""

    def __init__(self, commands: Sequence[str], seed: str) -> None:
        """Start them."""
        limits, full = Limits(SECONDS, 0), [resolved(shlex.split(command)) for command in commands]
        claims = [introduce(command, limits, {}, Serve)[1] for command in full]
        self._strange = {key for key, name in REGISTERED.items()
                         if not all(f"codec.{name}" in one.features for one in claims)}  # fmt: skip
        self.testees = [Serve(command, limits) for command in full]
        self._rng = random.Random(seed)
        known = {seeds.canonical(data): said["id"] for _, data, said in seeds.vectors()
                 if said["result"] == "accept" and len(data) <= seeds.LARGEST}  # fmt: skip
        self._bases = [(said, data) for data, said in known.items()]
        self._bases += [("", data) for data in seeds.files() if data not in known]
        self._donors = [data for _, data in self._bases]
        self.buckets: dict[str, Counter[tuple[Any, ...]]] = {name: Counter() for name in WEIGHTS}
        self.verdicts: Counter[str] = Counter()
        self.runs = 0

    def step(self) -> Path | None:
        """Ask about one file; return where it is saved if it opens a bucket."""
        said, base = self._rng.choice(self._bases)
        data, operations = structure.mutate(base, self._rng, self._donors)
        self.runs += 1
        outcome = self.ask(base, operations, data)
        self.verdicts[" ".join(outcome.verdicts)] += 1
        if not outcome.differs:
            return None
        found, bucket = self.buckets[outcome.weight], self._bucket(outcome, operations)
        found[bucket] += 1
        if outcome.weight == COUNT or found[bucket] > 1:
            return None
        small = structure.smallest(operations, lambda fewer: self.ask(base, fewer) == outcome)
        return self._save(said, base, small, outcome)

    def ask(
        self, base: bytes, operations: Sequence[Operation], data: bytes | None = None
    ) -> Outcome:
        """Ask both about what operations make."""
        data = structure.build(base, operations) if data is None else data
        question = {"op": "decode", "data": base64.b64encode(data).decode(), "access": "random",
                    "limits": LIMITS, "expect": None}  # fmt: skip
        one, other = (asked(testee, question) for testee in self.testees)
        library = in_library(base, operations) or bool(codecs(data) & self._strange)
        return compare(one, other, single=len(operations) == 1, library=library)

    @staticmethod
    def _bucket(outcome: Outcome, operations: Sequence[Operation]) -> tuple[Any, ...]:
        changed = tuple(sorted({*structure.fields(operations)}))
        return (*outcome.verdicts, *outcome.classes, outcome.differs, changed)

    @staticmethod
    def _save(said: str, base: bytes, operations: Sequence[Operation], outcome: Outcome) -> Path:
        """Write the file and a sidecar; who reads it fills in which verdict is right, and why."""
        data = structure.build(base, operations)
        digest = hashlib.sha256(data).hexdigest()
        error = outcome.classes[0] or outcome.classes[1]
        sidecar = {
            "id": f"invalid/fuzz/{digest[:8]}",
            "sha256": digest,
            "size": len(data),
            "result": "reject",
            "why": f"{outcome.differs}: {outcome.verdicts}, {outcome.classes}",
            "requirements": [],
            "profile": "R3",
            "features": [],
            "flags": ["under-validation"],
            "error": error,
            "disposition": CLASSES.get(error, "corrupt"),
            "derived": {"base": said or base.hex(), "operations": [*operations],
                        "repair": [*structure.REPAIR]},
        }  # fmt: skip
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"differential-{digest[:8]}.nnpk"
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(sidecar, indent=1) + "\n")
        return path

    def show(self) -> str:
        """Return the numbers."""
        lines = [f"{self.runs:,} files: {dict(self.verdicts)}"]
        for weight, found in self.buckets.items():
            lines.append(f"{weight}: {sum(found.values())} in {len(found)} buckets")
            shown = found.most_common(20 if weight == COUNT else None)
            lines += [f"  {many:6} {' '.join(map(str, bucket))}" for bucket, many in shown]
        return "\n".join(lines)

    def close(self) -> None:
        """End both."""
        for testee in self.testees:
            testee.close()


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--a", required=True, help="a testee's command, without serve")
    parser.add_argument("--b", required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--runs", type=float, default=float("inf"))
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", action="store_true", help="end at the first fault")
    options = parser.parse_args()
    try:
        both = Differential((options.a, options.b), options.seed)
    except KitError as bad:
        parser.error(str(bad))
    start = told = time.monotonic()
    try:
        while (both.runs < options.runs and time.monotonic() - start < options.seconds
               and not (options.first and both.buckets[FAULT])):  # fmt: skip
            found = both.step()
            if found:
                sys.stdout.write(f"DIFFER {found}\n")
            if time.monotonic() - told > STATUS:
                told = time.monotonic()
                sys.stdout.write(f"{both.runs / (told - start):.0f}/s {both.show()}\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
    finally:
        both.close()
    sys.stdout.write(both.show() + "\n")
    return int(bool(both.buckets[FAULT]))


if __name__ == "__main__":
    raise SystemExit(main())
