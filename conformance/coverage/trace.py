"""Trace SPEC.md's requirements to vectors, and notice when a sentence changes.

    python -m conformance.coverage.trace                check
    python -m conformance.coverage.trace R-CSR-004      show a requirement and its vectors
    python -m conformance.coverage.trace --confirm R-CSR-004
                                        its vectors were read again: they still fit

Fails if a requirement has no vector, or an error class fewer than three that demand it, and no
reason stands in `untested.toml`; if a vector names a requirement that does not exist; or if a
requirement's sentence is not the one that `requirements.lock` holds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SPEC = HERE.parent.parent / "SPEC.md"
LOCK = HERE / "requirements.lock"
UNTESTED = HERE / "untested.toml"
VECTORS = HERE.parent / "vectors"
ID = re.compile(r"\[(R-[A-Z]{3}-\d{3})\]")
KEYWORD = re.compile(r"\b(MUST|SHOULD|MAY)\b")
FENCE = re.compile(r"```.*?```", re.DOTALL)
CLASS = re.compile(r"^\| `([a-z-]+)` \| (?:corrupt|unsupported|limit) \|", re.MULTILINE)
ENOUGH = 3
"""Vectors that each error class has at least."""


class Trace(NamedTuple):
    """What the text and the kit say."""

    sentences: dict[str, str]
    unnumbered: list[str]
    vectors: dict[str, list[str]]
    classes: Counter[str]
    """How many vectors demand each; those that `also` allow another do not demand that."""
    untested: dict[str, str]
    """Reasons of requirements and of classes."""
    lock: dict[str, str]


def requirements(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the sentence or table row of each id, and lines with a keyword that have none."""
    found: dict[str, str] = {}
    unnumbered = []
    for line in FENCE.sub("", text).splitlines():
        ids = ID.findall(line)
        if not ids and KEYWORD.search(line) and '"MUST"' not in line:
            unnumbered.append(line)
        for one in ids:
            if one in found:
                unnumbered.append(f"{one} twice: {line}")
            found[one] = " ".join(line.split())
    return found, unnumbered


def digest(sentence: str) -> str:
    """Return what the lock holds of a sentence."""
    return hashlib.sha256(sentence.encode()).hexdigest()[:16]


def load() -> Trace:
    """Read the text, the sidecars, the reasons and the lock."""
    sentences, unnumbered = requirements(SPEC.read_text(encoding="utf-8"))
    vectors: defaultdict[str, list[str]] = defaultdict(list)
    classes = Counter(dict.fromkeys(CLASS.findall(SPEC.read_text(encoding="utf-8")), 0))
    for path in sorted(VECTORS.rglob("*.json")):
        sidecar = json.loads(path.read_bytes())
        for one in sidecar["requirements"]:
            vectors[one].append(sidecar["id"])
        if "error" in sidecar:
            classes[sidecar["error"]] += 1
    reasons = tomllib.loads(UNTESTED.read_text(encoding="utf-8")) if UNTESTED.is_file() else {}
    lines = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.is_file() else []
    lock = dict(line.split() for line in lines)
    untested = {key: table["reason"] for key, table in reasons.items()}
    return Trace(sentences, unnumbered, dict(vectors), classes, untested, lock)


def faults(trace: Trace) -> list[str]:
    """Return what is wrong, a line each."""
    known = trace.sentences
    found = [f"a keyword without an id: {line}" for line in trace.unnumbered]
    for one, sentence in known.items():
        names = trace.vectors.get(one, [])
        if not names and one not in trace.untested:
            found.append(f"{one} has no vector and no reason in untested.toml: {sentence}")
        if names and one in trace.untested:
            found.append(f"{one} has a vector ({names[0]}): take it out of untested.toml")
        if trace.lock.get(one) != digest(sentence):
            what = "has changed" if one in trace.lock else "is new"
            found.append(
                f"{one} {what}: read its sentence and its {len(names)} vectors, then "
                f"`python -m conformance.coverage.trace --confirm {one}`"
            )
    found += [
        f"{one} is not in SPEC.md: {trace.vectors.get(one, ['no vector'])[0]}"
        for one in sorted(
            {*trace.vectors, *(trace.untested.keys() - trace.classes), *trace.lock} - known.keys()
        )
    ]
    found += [f"{one}: a reason of no words" for one, why in trace.untested.items() if not why]
    for name, many in trace.classes.items():
        if many < ENOUGH and name not in trace.untested:
            found.append(f"class {name} has {many} vectors, at least {ENOUGH} are needed")
        if many >= ENOUGH and name in trace.untested:
            found.append(f"class {name} has {many} vectors: take it out of untested.toml")
    return found


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="*", help="requirements to show")
    parser.add_argument("--confirm", action="store_true", help="write their sentences to the lock")
    options = parser.parse_args()
    trace = load()
    unknown = [one for one in options.ids if one not in trace.sentences]
    if unknown or (options.confirm and not options.ids):
        parser.error(f"not in SPEC.md: {' '.join(unknown)}" if unknown else "confirm what?")
    if options.confirm:
        lock = {one: held for one, held in trace.lock.items() if one in trace.sentences}
        lock |= {one: digest(trace.sentences[one]) for one in options.ids}
        LOCK.write_text("".join(f"{one} {held}\n" for one, held in sorted(lock.items())))
        return 0
    for one in options.ids:
        names = trace.vectors.get(one, [f"none: {trace.untested.get(one, 'no reason either')}"])
        sys.stdout.write(f"{trace.sentences[one]}\n" + "".join(f"    {name}\n" for name in names))
    if options.ids:
        return 0
    found = faults(trace)
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    sys.stdout.write(
        f"{len(trace.sentences)} requirements: {len(trace.vectors)} with vectors, "
        f"{len(trace.untested.keys() & trace.sentences)} with a reason; "
        f"{len(trace.classes)} error classes: {len(trace.untested.keys() & trace.classes)} with a "
        f"reason; {len(found)} faults\n"
    )
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
