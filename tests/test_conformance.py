"""The conformance kit is whole: its vectors, what they trace to, and what they prove."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import filter as filter_names
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from conformance.coverage import removal, switches, trace
from conformance.coverage.ways import Question
from conformance.runner.vectors import CLASSES

ROOT = Path(__file__).parent.parent
KIT = ROOT / "conformance"
SIDECARS = [json.loads(path.read_bytes()) for path in sorted((KIT / "vectors").rglob("*.json"))]
LARGE = {
    "All patterns of 16 bits": {"valid/dtype/bfloat16", "valid/dtype/float16", "valid/value/*16"},
    "High alignments": {"*/sections/alignment-*", "*/canonical/alignment-*", "*/aligned-4096"},
    "Many lanes": {"valid/*/lanes-16384"},
    "Long texts and names": {"invalid/metadata/many-levels*", "invalid/graph/int-long"},
    "Many nodes or sections": {"*/nodes-6?", "valid/directory/many", "valid/edge/all-private-ids"},
    "Every data type, or several blocks": {
        "valid/transforms/*", "valid/pair/*", "valid/float5/*", "*/streams/*", "encode/canonical/blobs",
        "valid/operands/*", "valid/boxes/rank-3*",
    },
    "Full tables": {"valid/registered/lzw-full*"},
}  # fmt: skip
"""Vectors above 4 KiB, by the reason for their size."""


def run(*arguments, seconds=300):
    """Run a program of the kit with this package; return its status and its output."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(  # noqa: S603
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
        timeout=seconds, env={**os.environ, "PYTHONPATH": paths}, check=False,
    )  # fmt: skip
    # Checks that are off let numpy warn.
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")


# Vectors


def test_the_generator_makes_what_is_committed():
    status, said = run("-m", "conformance.generator", "--check")
    assert (status, said) == (0, f"{len(SIDECARS)} vectors, 0 changed, 0 stale\n")


def test_only_vectors_that_are_about_size_are_large():
    patterns = [pattern for group in LARGE.values() for pattern in group]
    large = {one["id"] for one in SIDECARS if one["size"] > 4096}
    named = {name for name in large if any(fnmatch(name, pattern) for pattern in patterns)}
    assert large == named
    assert all(filter_names(large, pattern) for pattern in patterns)
    assert sum(one["size"] for one in SIDECARS) < 3 << 20


def test_the_package_passes_every_vector(tmp_path):
    testee = [sys.executable, KIT / "shims/nnpack_reader.py"]
    status, said = run(KIT / "run.py", "--timeout", 30, "--report", tmp_path, "--", *testee)
    header, *lines, footer = map(json.loads, (tmp_path / "results.ndjson").read_text().splitlines())
    assert status == 0, said
    assert header["transport"] == "serve"
    assert {"sequential", "slice", "parts", "limits", "encode"} <= {*header["features"]}
    assert {one["id"] for one in lines} == {one["id"] for one in SIDECARS}
    optional = {one["id"] for one in SIDECARS if not {*one["features"]} <= {*header["features"]}}
    declined = {one["id"] for one in lines if one["status"] == "declined"}
    assert declined <= optional
    assert footer["counts"].get("pass", 0) + len(declined) == len(SIDECARS)


# Traces


@pytest.fixture(scope="module")
def traced():
    return trace.load()


def test_every_requirement_has_vectors_or_a_reason_and_was_read(traced):
    assert trace.faults(traced) == []


def replace_field(traced, name, value):
    return traced._replace(**{name: value})


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


PLANTED = {
    "a changed sentence": (
        lambda t: replace_field(t, "sentences", {**t.sentences, "R-CSR-008": "Something else."}),
        "R-CSR-008 has changed: read its sentence",
    ),
    "a changed formula or table": (
        lambda t: replace_field(t, "sections", {**t.sections, "8.4": trace.Section("n - 1", [])}),
        "8.4 has changed: read section 8.4 and the 0 vectors of its 0 requirements",
    ),
    "a section that is no more": (
        lambda t: replace_field(t, "sections", without(t.sections, "6.2")),
        "6.2 is not in SPEC.md: no vector",
    ),
    "a code point without a vector": (
        lambda t: replace_field(
            t,
            "vectors",
            {**t.vectors, "R-NAM-013": [*{*t.vectors["R-NAM-013"]} - {"invalid/names/u+feff"}]},
        ),
        "R-NAM-013: invalid/names/u+feff is no vector",
    ),
    "a code point that the sentence has not": (
        lambda t: replace_field(
            t,
            "sentences",
            {**t.sentences, "R-NAM-013": t.sentences["R-NAM-013"].replace("U+061C, ", "")},
        ),
        "R-NAM-013: invalid/names/u+061c is not in its list",
    ),
    "a new sentence": (
        lambda t: replace_field(t, "sentences", {**t.sentences, "R-NEW-001": "A reader MUST."}),
        "R-NEW-001 has no vector and no reason in untested.toml: A reader MUST.",
    ),
    "a keyword without an id": (
        lambda t: replace_field(t, "unnumbered", ["It MUST be so."]),
        "a keyword without an id: It MUST be so.",
    ),
    "a removed vector": (
        lambda t: replace_field(t, "vectors", without(t.vectors, "R-CAT-001")),
        "R-CAT-001 has no vector and no reason in untested.toml",
    ),
    "an unknown id": (
        lambda t: replace_field(t, "vectors", {**t.vectors, "R-XYZ-001": ["invalid/x"]}),
        "R-XYZ-001 is not in SPEC.md: invalid/x",
    ),
    "a stale reason": (
        lambda t: replace_field(t, "untested", {**t.untested, "R-CAT-001": "it binds a writer"}),
        "R-CAT-001 has a vector",
    ),
    "a reason of no words": (
        lambda t: replace_field(t, "untested", {**t.untested, "R-WRT-001": ""}),
        "R-WRT-001: a reason of no words",
    ),
    "a class with two vectors": (
        lambda t: replace_field(t, "classes", {**t.classes, "duplicate": 2}),
        "class duplicate has 2 vectors, at least 3 are needed",
    ),
    "a reason of an unknown requirement": (
        lambda t: replace_field(t, "untested", {**t.untested, "R-XYZ-001": "nobody says it"}),
        "R-XYZ-001 is not in SPEC.md: no vector",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_of_the_trace_is_found(traced, what):
    plant, expected = PLANTED[what]
    assert [fault for fault in trace.faults(plant(traced)) if fault.startswith(expected)]


def test_requirements_are_read_from_sentences_and_rows():
    found, unnumbered = trace.requirements(
        "A reader MUST look. [R-AAA-001]\n| 0 | u8 | zero [R-AAA-002] | `bad-value` |\n"
        "```\nIt MUST not count here.\n```\nIt MUST be numbered.\nIt MUST once. [R-AAA-001]\n"
    )
    assert [*found] == ["R-AAA-001", "R-AAA-002"]
    assert unnumbered == ["It MUST be numbered.", "R-AAA-001 twice: It MUST once. [R-AAA-001]"]


TEXT = """# A format

## 1 Introduction

*This section is informative.*

### 1.1 Goals

Nothing of this counts.

## 2 Nodes

A reader MUST look. [R-AAA-001]

### 2.1 A kind

| 0 | u8 | zero [R-AAA-002] | `bad-value` |

    y = x + 1

*Rationale (informative).* It is so.
It always was.

## Appendix A: More
"""


def test_sections_hold_what_is_neither_a_requirement_nor_informative():
    found = trace.sections(TEXT)
    assert found == {
        "2": trace.Section("## 2 Nodes", ["R-AAA-001"]),
        "2.1": trace.Section("### 2.1 A kind y = x + 1", ["R-AAA-002"]),
    }
    for old, new, same in (
        ("x + 1", "x - 1", False), ("    y = ", "    y  =\t", True), ("always", "never", True),
        ("must look", "must see", True), ("Nothing", "Something", True),
    ):  # fmt: skip
        assert (trace.sections(TEXT.replace(old, new)) == found) == same


def test_each_formula_and_table_is_under_the_lock(traced):
    text = (ROOT / "SPEC.md").read_text()
    for section, old, new in (
        ("11.3", "M + 4", "M + 3"),
        ("10.4", "W[j] and 0x807F", "W[j] and 0x807E"),
        ("6.2", "| float8_e4m3 | 4 | 3 | 7 |", "| float8_e4m3 | 4 | 3 | 8 |"),
        ("8.4", "require counts[r] <= length", "require counts[r] < length"),
        ("14.1", "| `bad-index` | corrupt |", "| `bad-index` | limit |"),
    ):
        assert old in text
        changed = trace.sections(text.replace(old, new))
        assert [one for one in changed if changed[one] != traced.sections[one]] == [section]


def test_a_class_counts_where_it_is_demanded_and_not_where_it_is_allowed(traced):
    told = Counter(one["error"] for one in SIDECARS if "error" in one)
    allowed = {name for one in SIDECARS for name in one.get("also", ())}
    behind = [one for one in SIDECARS if "trailing-data" in one.get("also", ())]
    undecoded = [one for one in SIDECARS if '"error": "unsupported"' in json.dumps(one)]
    assert allowed <= {*CLASSES}
    assert told["trailing-data"] == told["unsupported"] == 0
    # the one is a sequential reader's, the other is said of a tensor that a slice asks for
    assert traced.classes["trailing-data"] == len(behind) == 4
    assert traced.classes["unsupported"] == len(undecoded) > 20
    # slices of damaged files repeat their file's class, or ask for what another class refuses
    others = {name: many for name, many in traced.classes.items() if told[name]}
    assert others.keys() == told.keys()
    assert all(told[name] <= many <= told[name] + 20 for name, many in others.items())


def test_the_classes_of_the_kit_are_those_of_the_text(traced):
    rows = re.findall(r"^\| `([a-z-]+)` \| (corrupt|unsupported|limit) \|",
                      (ROOT / "SPEC.md").read_text(), re.MULTILINE)  # fmt: skip
    assert dict(rows) == CLASSES
    assert {*CLASSES} == {*traced.classes}


# Reach


@pytest.mark.skipif(
    not os.environ.get("NNPACK_RELEASE"),
    reason="takes more than a minute: NNPACK_RELEASE=1 before a release",
)
def test_the_vectors_reach_nearly_all_of_the_reader():
    status, said = run("-m", "conformance.coverage.reached", seconds=600)
    assert status == 0, said


# Proof by removal


def test_every_check_of_the_reader_is_proved_or_has_its_reason():
    status, said = run("-m", "conformance.coverage.removal", seconds=600)
    assert status == 0, said
    assert said.splitlines()[-1].endswith(" 0 faults")
    groups = tomllib.loads((KIT / "coverage/removal.toml").read_text())
    of_files = [key for group in groups.values() if group["reached"] for key in group["checks"]]
    assert [*groups] == ["callers", "plugins", "io", "damage", "chain", "large"]
    assert len(of_files) <= 4


SOURCE = """
class Wrong(Exception):
    pass

def error(name):
    return Wrong(name)

def read(number, text):
    if number > 5:
        raise error("high")
    if number > 7:
        raise error("very high")
    if number < 0 or number == 3:
        raise error("odd")
    try:
        return int(text)
    except ValueError as bad:
        raise error("text") from bad

def faults(number):
    if number == 4:
        yield error("four")

def again(bad):
    raise bad

def missing():
    raise LookupError("unheard of")
"""


PARTS = """
import numpy as np

def error(name):
    return KeyError(name)

def check(low, high, columns):
    if not (low < high < 9 and low != 4):
        raise error("order")

    def require(good):
        if not good.all():
            raise error("columns")

    require((columns < 5) & (columns > 0))
"""


def behind_switches(folder, source):
    """The switches of a module's checks, and the module."""
    behind = switches.Switches()
    path = folder / "planted.py"
    path.write_text(source)
    loader = switches.Loader("planted", str(path), behind)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("planted", loader))
    loader.exec_module(module)
    return behind, module


def test_the_parts_of_a_condition_are_checks_of_their_own(tmp_path):
    behind, module = behind_switches(tmp_path, PARTS)
    refused = {
        "not low < high": (3, 2, [1]), "not high < 9": (3, 9, [1]), "not low != 4": (4, 5, [1]),
        "not columns < 5": (1, 2, [1, 5]), "not columns > 0": (1, 2, [0, 1]),
    }  # fmt: skip
    texts = [check.text for check in behind.checks]
    assert sorted(texts) == sorted([*refused, "not good.all()"])
    module.check(1, 2, np.array([1, 4]))
    assert not behind.fired
    for text, (low, high, columns) in refused.items():
        behind.off, number = -1, texts.index(text)
        with pytest.raises(KeyError):
            module.check(low, high, np.array(columns))
        assert number in behind.fired
        behind.off = number
        module.check(low, high, np.array(columns))


@pytest.fixture
def planted(tmp_path):
    """A module of checks behind switches, and what they say to some questions."""
    behind, module = behind_switches(tmp_path, SOURCE)

    def ask(question):
        number, text = question.asked
        try:
            return {"ok": module.read(number, text), "faults": [*map(str, module.faults(number))]}
        except module.Wrong as bad:
            return {"class": str(bad)}
        except (TypeError, ValueError) as bad:
            return {"crash": type(bad).__name__}

    return behind, ask


def questions(*asked):
    return [Question(f"v{number}", "arrays", one) for number, one in enumerate(asked)]


def survivors(planted, *asked, seen=lambda said: said):
    behind, ask = planted
    first = removal.first_pass(behind, lambda one: seen(ask(one)), questions(*asked))
    return [*removal.survivors(behind, lambda one: seen(ask(one)), first)]


def keys(found):
    return [one.check.key.partition(": ")[2] for one in found]


def test_removal_finds_a_check_that_others_make_useless(planted):
    assert [check.text for check in planted[0].checks] == [
        "number > 5", "number > 7", "number < 0", "number == 3",
        "raise error('text') from bad", "number == 4",
    ]  # fmt: skip
    asked = ((6, "1"), (8, "1"), (-1, "1"), (3, "1"), (4, "1"), (1, "x"), (1, "1"))
    found = survivors(planted, *asked)
    assert keys(found) == ["number > 7"]
    assert [*removal.faults(found, {})] == [
        "survives without a reason: planted:11 planted.read: number > 7 (no vector comes here)"
    ]


def test_removal_finds_a_check_without_a_vector(planted):
    found = survivors(planted, (6, "1"), (3, "1"), (1, "x"))
    assert keys(found) == ["number > 7", "number < 0", "number == 4"]


def test_removal_finds_a_check_whose_vectors_another_refuses_as_well(planted):
    def forgiving(said):
        return {"class": "any"} if "class" in said else said

    asked = ((8, "1"), (-1, "1"), (3, "1"), (4, "1"), (1, "x"))
    found = survivors(planted, *asked, seen=forgiving)
    assert [(one.check.text, one.reached) for one in found] == [
        ("number > 5", ["v0"]),
        ("number > 7", []),
    ]


def test_a_crash_with_all_checks_on_is_no_answer_to_compare_with(planted):
    behind, ask = planted
    first = removal.first_pass(behind, ask, questions((1, "1"), (1, None)))
    assert "crashes with all checks on: v1, arrays: TypeError" in removal.unfit(behind, first)
    sound = removal.first_pass(behind, ask, questions((1, "1"), (1, "x")))
    assert not [said for said in removal.unfit(behind, sound) if "crash" in said]


def test_a_raise_that_no_table_names_is_not_passed_over(planted):
    behind, ask = planted
    (said,) = removal.unfit(behind, removal.first_pass(behind, ask, []))
    assert said == (
        "neither an error of the format nor a caller's, say which in switches.py: "
        "planted:28 planted.missing: raise LookupError('unheard of')"
    )


def group(*checks, reached=False, reason="it is so"):
    return {"reached": reached, "reason": reason, "checks": [*checks]}


def test_reasons_for_survivors_are_held_to_what_they_say():
    check = switches.Check("module", "read", 7, "number > 5")
    idle, reached = removal.Survivor(check, []), removal.Survivor(check, ["v0", "v1"])
    key = "module.read: number > 5"
    assert [*removal.faults([idle], {"callers": group(key)})] == []
    assert [*removal.faults([reached], {"large": group(key, reached=True)})] == []
    (said,) = removal.faults([reached], {"callers": group(key)})
    assert said == (
        f"[callers] says that no vector comes here: module:7 {key} (2 answers stay what they are, "
        "that to v0)"
    )
    assert [*removal.faults([], {"callers": group(key)})] == [
        f"no survivor, take it out of [callers]: {key}"
    ]
    assert [*removal.faults([idle], {"callers": group(key, reason="")})] == [
        "[callers] has no reason"
    ]
    assert [*removal.faults([idle], {"a": group(key), "b": group(key)})] == [
        "a check stands in two groups"
    ]
    assert [*removal.faults([idle, idle], {"a": group(key)})] == ["two survivors have one name"]
