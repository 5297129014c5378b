"""Trace SPEC.md's requirements to vectors, and notice when the text changes.

    python -m conformance.coverage.trace                check
    python -m conformance.coverage.trace R-CSR-004      show a requirement and its vectors
    python -m conformance.coverage.trace 8.4            show a section and its vectors
    python -m conformance.coverage.trace --confirm R-CSR-004
                                        its vectors were read again: they still fit

Fails if a requirement has no vector and no reason in `untested.toml`; if an error class has fewer
than three vectors that demand it; if a vector names a requirement that does not exist; if a code
point that names must not have is in no vector; or if a requirement's sentence, or what else stands
in a section (formulas, tables, definitions), is not what `requirements.lock` holds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SPEC = HERE.parent.parent / "SPEC.md"
LOCK = HERE / "requirements.lock"
UNTESTED = HERE / "untested.toml"
VECTORS = HERE.parent / "vectors"
ID = re.compile(r"\[(R-[A-Z]{3}-\d{3})\]")
KEYWORD = re.compile(r"\b(MUST|SHOULD|MAY)\b")
FENCE = re.compile(r"```.*?```", re.DOTALL)
CLASS = re.compile(r"^\| `([a-z-]+)` \| (?:corrupt|unsupported|limit) \|", re.MULTILINE)
SECTION = re.compile(r"^#+ (\d[\d.]*) .*", re.MULTILINE)
HEADING = re.compile(r"^#+ ", re.MULTILINE)
INFORMATIVE = "*This section is informative.*"
RATIONALE = "*Rationale (informative).*"
NAMES = "R-NAM-013"
CODE_POINTS = re.compile(r"U\+([0-9A-F]+)(?: to U\+([0-9A-F]+))?")
ENOUGH = 3
"""Vectors that each error class has at least."""


class Section(NamedTuple):
    """A numbered section without those that it is divided into."""

    text: str
    """What is neither a requirement nor informative; white space does not count."""
    requirements: list[str]


class Trace(NamedTuple):
    """What the text and the kit say."""

    sentences: dict[str, str]
    sections: dict[str, Section]
    unnumbered: list[str]
    vectors: dict[str, list[str]]
    classes: Counter[str]
    """How many vectors demand each; those that `also` allow another do not demand that."""
    untested: dict[str, str]
    """Reasons of requirements that have no vector."""
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


def sections(text: str) -> dict[str, Section]:
    """Return the sections by number, but for those that are informative as a whole."""
    found: dict[str, Section] = {}
    informative = ""
    for heading in SECTION.finditer(text):
        end = HEADING.search(text, heading.end())
        body = text[heading.end() : end.start() if end else len(text)]
        number = heading[1]
        if INFORMATIVE in body:
            informative = number
        if informative and f"{number}.".startswith(f"{informative}."):
            continue
        paragraphs = [one for one in re.split(r"\n\s*\n", body) if not one.startswith(RATIONALE)]
        lines = "\n".join(paragraphs).splitlines()
        rest = " ".join([heading[0], *(line for line in lines if not ID.search(line))])
        found[number] = Section(" ".join(rest.split()), ID.findall(body))
    return found


def code_points(sentence: str) -> set[str]:
    """Return the vectors of the code points and ranges of a sentence."""
    ranges = [(int(low, 16), int(high or low, 16)) for low, high in CODE_POINTS.findall(sentence)]
    return {f"invalid/names/u+{c:04x}" for low, high in ranges for c in range(low, high + 1)}


def digest(sentence: str) -> str:
    """Return what the lock holds of a sentence."""
    return hashlib.sha256(sentence.encode()).hexdigest()[:16]


def load() -> Trace:
    """Read the text, the sidecars, the reasons and the lock."""
    text = SPEC.read_text(encoding="utf-8")
    sentences, unnumbered = requirements(text)
    vectors: defaultdict[str, list[str]] = defaultdict(list)
    classes = Counter(dict.fromkeys(CLASS.findall(text), 0))
    for path in sorted(VECTORS.rglob("*.json")):
        sidecar = json.loads(path.read_bytes())
        for one in sidecar["requirements"]:
            vectors[one].append(sidecar["id"])
        classes.update(demanded(sidecar))
    reasons = tomllib.loads(UNTESTED.read_text(encoding="utf-8")) if UNTESTED.is_file() else {}
    lines = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.is_file() else []
    lock = dict(line.split() for line in lines)
    untested = {key: table["reason"] for key, table in reasons.items()}
    return Trace(sentences, sections(text), unnumbered, dict(vectors), classes, untested, lock)


def demanded(sidecar: Mapping[str, Any]) -> set[str]:
    """Return the error classes that a vector asks for."""
    named = [sidecar.get("error"), sidecar.get("sequential")]
    named += [box.get("error") for box in sidecar.get("slices", ())]
    return {one for one in named if one is not None}


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
        found += _unlocked(trace, one, sentence, f"its sentence and its {len(names)} vectors")
    for one, (text, ids) in trace.sections.items():
        many = len({name for id in ids for name in trace.vectors.get(id, ())})
        what = f"section {one} and the {many} vectors of its {len(ids)} requirements"
        found += _unlocked(trace, one, text, what)
    named = {name for name in trace.vectors.get(NAMES, ()) if "/u+" in name}
    for name in sorted(code_points(known[NAMES]) ^ named):
        found.append(f"{NAMES}: {name} is {'not in its list' if name in named else 'no vector'}")
    found += [
        f"{one} is not in SPEC.md: {trace.vectors.get(one, ['no vector'])[0]}"
        for one in sorted(
            {*trace.vectors, *trace.untested, *trace.lock} - known.keys() - trace.sections.keys()
        )
    ]
    found += [f"{one}: a reason of no words" for one, why in trace.untested.items() if not why]
    for name, many in trace.classes.items():
        if many < ENOUGH:
            found.append(f"class {name} has {many} vectors, at least {ENOUGH} are needed")
    return found


def _unlocked(trace: Trace, one: str, text: str, what: str) -> list[str]:
    """Return the fault of a text that is not what the lock holds."""
    if trace.lock.get(one) == digest(text):
        return []
    state = "has changed" if one in trace.lock else "is new"
    confirm = f"`python -m conformance.coverage.trace --confirm {one}`"
    return [f"{one} {state}: read {what}, then {confirm}"]


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="*", help="requirements and sections to show")
    parser.add_argument("--confirm", action="store_true", help="write their text to the lock")
    options = parser.parse_args()
    trace = load()
    texts = {**trace.sentences, **{one: section.text for one, section in trace.sections.items()}}
    unknown = [one for one in options.ids if one not in texts]
    if unknown or (options.confirm and not options.ids):
        parser.error(f"not in SPEC.md: {' '.join(unknown)}" if unknown else "confirm what?")
    if options.confirm:
        lock = {one: held for one, held in trace.lock.items() if one in texts}
        lock |= {one: digest(texts[one]) for one in options.ids}
        LOCK.write_text("".join(f"{one} {held}\n" for one, held in sorted(lock.items())))
        return 0
    for one in options.ids:
        ids = trace.sections[one].requirements if one in trace.sections else [one]
        names = sorted({name for id in ids for name in trace.vectors.get(id, ())})
        names = names or [f"none: {trace.untested.get(one, 'no reason either')}"]
        sys.stdout.write(f"{texts[one]}\n" + "".join(f"    {name}\n" for name in names))
    if options.ids:
        return 0
    found = faults(trace)
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    sys.stdout.write(
        f"{len(trace.sentences)} requirements: {len(trace.vectors)} with vectors, "
        f"{len(trace.untested)} with a reason; {len(trace.sections)} sections; "
        f"{len(trace.classes)} error classes, in {min(trace.classes.values())} vectors or more; "
        f"{len(found)} faults\n"
    )
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
