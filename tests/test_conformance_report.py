"""What a run leaves: lists of known failures, the console, and reports for programs."""

import json
import re
from xml.etree import ElementTree as ET

import pytest

from conformance.runner import known, matrix, results, vectors
from conformance.runner.report import AREAS, MEMBERS, WAYS, terminal
from conformance.runner.verdict import Verdict
from tests.test_conformance_runner import (
    DECODED,
    KIT,
    REFUSED,
    TENSORS,
    VECTORS,
    kit,
    python,
    run,
    told,
)

__all__ = ["kit"]


# Known failures


def listed(tmp_path, text):
    path = tmp_path / "known.txt"
    path.write_text(text)
    return path


RULES = {
    "unlisted": ("", 1, "fail-value"),
    "listed": ("valid/spec/float32  # fail-value: bits  # here\n", 0, "known-fail"),
    "by pattern": ("# a comment\nvalid/spec/f*  # fail-value: bits\n", 0, "known-fail"),
    "as another status": ("valid/spec/float32  # fail-class: bits\n", 1, "fail-value"),
    "another vector": ("valid/spec/empty  # fail-value: bits\n", 1, "fail-value"),
    "nothing": (
        "valid/spec/float32  # fail-value: bits\nvalid/x/*  # fail-value: y\n",
        1,
        "known-fail",
    ),
    "a crash": ("valid/spec/float32  # crash: bits\n", 2, None),
    "no status": ("valid/spec/float32\n", 2, None),
    "too much": ("**  # fail-value: bits\n", 2, None),
    "twice": ("valid/spec/float32  # fail-value: a\nvalid/spec/f*  # fail-value: b\n", 2, None),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_list_of_known_failures(kit, tmp_path, rule):
    text, status, found = RULES[rule]
    options = (
        "--known-failures",
        listed(tmp_path, text),
        "--only",
        "valid/spec/float32",
        "--only",
        "valid/spec/empty",
    )
    done = run(kit, *options, mode=["wrong-bits"], report=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert (f"{tmp_path}/known.txt: " in done.stderr) == (status == 2)
    if found:
        lines = {one["id"]: one for one in results.read(tmp_path / "results.ndjson").vectors}
        assert lines["valid/spec/float32"]["status"] == found
        assert (
            "\n\nin the list of known failures, valid/x/* matches nothing\n" in done.stdout
        ) == (rule == "nothing")
        if rule == "another vector":
            assert lines["valid/spec/empty"]["status"] == "unexpected-pass"
            assert lines["valid/spec/empty"]["was"] == "pass"
            assert "valid/spec/empty: no failure any more (decode random)" in done.stdout


def test_a_declined_vector_is_no_known_failure(kit, tmp_path):
    path = listed(tmp_path, "valid/spec/huffman  # fail-value: bits\n")
    assert (
        told(kit, tmp_path, "minimal", "--known-failures", path)[1]["valid/spec/huffman"]
        == "unexpected-pass"
    )


def test_a_pattern_matches_few(tmp_path):
    ids = [f"valid/spec/v{i}" for i in range(21)]
    text = "valid/spec/*  # fail-value: all\n"
    known.KnownFailures(listed(tmp_path, text), ids[:20])
    with pytest.raises(vectors.KitError, match="matches 21"):
        known.KnownFailures(listed(tmp_path, text), ids)


def test_a_list_can_be_rewritten(kit, tmp_path):
    text = (
        "# Not yet right:\n"
        "valid/spec/float32  # fail-value: bits  # tracked\n"
        "valid/spec/empty  # fail-value: passes by now\n"
        "valid/spec/hu*  # fail-class: another status by now  # tracked too\n"
        "valid/none/*  # fail-value: nothing\n"
        "\n# The end.\n"
    )
    path = listed(tmp_path, text)
    assert (
        run(
            kit, "--known-failures", path, "--fix", "--only", "valid/**", mode=["wrong-bits"]
        ).returncode
        == 2
    )
    assert path.read_text() == text
    done = run(kit, "--fix", mode=["hang"])  # nothing is asked
    assert (done.returncode, done.stderr) == (
        2,
        "run.py: --fix needs a list: pass --known-failures FILE\n",
    )
    assert run(kit, "--known-failures", path, "--fix", mode=["wrong-bits"]).returncode == 0
    lines = path.read_text().splitlines()
    split = lines.pop(2)  # other words, and where it is tracked stays
    assert re.fullmatch(r"valid/spec/huffman  # fail-value: decode.*  # tracked too", split)
    assert lines[:-2] == [
        "# Not yet right:",
        "valid/spec/float32  # fail-value: bits  # tracked",
        "",
        "# The end.",
    ]
    for line, key in zip(lines[-2:], ("valid/codec/float32", "valid/spec/digests"), strict=True):
        assert re.fullmatch(rf"{key}  # fail-value: .*  # not tracked yet", line)
    assert run(kit, "--known-failures", path, mode=["wrong-bits"]).returncode == 0


def test_what_cannot_be_listed_is_not_written(kit, tmp_path):
    path = listed(tmp_path, "")
    assert run(kit, "--known-failures", path, "--fix", mode=["crash"]).returncode == 1
    assert path.read_text() == ""


def test_a_list_tells_what_else_it_expected(tmp_path):
    found = Verdict("fail-class", "decode random", "bad-value", "bad-index")
    path = listed(tmp_path, "valid/x/y  # fail-verdict: accepts it\n")
    told = known.KnownFailures(path, ["valid/x/y", "valid/x/z"])
    assert told.apply("valid/x/z", found) is found
    assert told.apply("valid/x/y", found).expected == "bad-value (listed as fail-verdict)"


def test_a_list_that_is_not_there(kit, tmp_path):
    path = tmp_path / "nope.txt"
    done = run(kit, "--known-failures", path, mode=["right"])
    assert (done.returncode, f"{path}: no such list" in done.stderr) == (2, True)
    assert run(kit, "--known-failures", path, "--fix", mode=["wrong-bits"]).returncode == 0
    assert len(path.read_text().splitlines()) == len(TENSORS)


# The console


def failing(count, change=lambda line, _: line):
    """What a terminal says of so many vectors that fail."""
    said = {"why": "A test.", "requirements": ["R-HDR-001", "R-HDR-002"]}
    known, lines = [], []
    for i in range(count):
        key = f"valid/a{i % 30:02}/v{i:03}"
        known.append(vectors.Vector(KIT / f"vectors/{key}.nnpk", said | {"id": key}))
        line = {"id": key, "status": "crash", "question": "decode random", "expected": str(i),
                "got": "exit status 255", "stderr": "a trace\nIndexError", "seconds": 0.1}  # fmt: skip
        lines.append(change(line, i))
    header = {"error_map": False}
    return terminal(results.results_of(header, lines, [], 1), known, "AGAIN", None).splitlines()


def test_a_failure_says_what_to_read(monkeypatch):
    monkeypatch.chdir(KIT.parent)
    lines = failing(1)
    assert lines[5:12] == [
        "valid/a00/v000: crash (decode random)",
        "    expected 0",
        "    got      exit status 255",
        "    | a trace",
        "    | IndexError",
        "    why      A test.",
        "    read     SPEC R-HDR-001, R-HDR-002; conformance/vectors/valid/a00/v000.json",
    ]
    assert lines[-3:] == ["one again: AGAIN", "", "1 vectors: 0 pass, 1 FAIL; 1 s"]


def test_equal_failures_stand_together():
    lines = failing(300)
    at = lines.index("300 vectors: crash (decode random)")
    assert lines[at + 1 : at + 4] == [
        "    got      exit status 255",
        "    | a trace",
        "    | IndexError",
    ]
    assert lines[at + 4] == "    valid/a00/v000 (R-HDR-001): A test."
    assert lines[at + 4 + MEMBERS] == f"    and {300 - MEMBERS} more"
    assert len(lines) < 30
    assert lines[2].split() == ["valid", "300"]  # the folder: more areas than a reader wants


def test_other_failures_stand_alone():
    lines = failing(AREAS, lambda line, i: line | {"status": "fail-value"} if i else line)
    assert sum(line.endswith("(decode random)") for line in lines) == WAYS
    assert f"and {AREAS - WAYS} that fail in {AREAS - WAYS} other ways" in lines
    assert lines[2].split()[0] == "valid/a00"
    lines = failing(3, lambda line, i: line | {"stderr": f"line {i}"})
    assert sum(line.endswith("(decode random)") for line in lines) == 3


def test_nothing_is_told_of_what_passes():
    assert failing(2, lambda line, _: line | {"status": "pass"}) == ["2 vectors: 2 pass; 1 s"]


# Reports


@pytest.fixture(scope="module")
def report(kit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    run(kit, mode=["accept-all"], report=folder)
    return folder


def test_reports(kit, report):
    counts = results.read(report / "results.ndjson").counts
    assert counts == {"fail-verdict": len(REFUSED), "pass": len(DECODED)}
    suite = ET.parse(report / "junit.xml").getroot()  # noqa: S314 - our own
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(VECTORS), len(REFUSED))
    assert len(suite.findall("testcase/failure")) == len(REFUSED)
    assert f"| all | {len(REFUSED)} | {len(DECODED)} |" in (report / "summary.md").read_text()
    page = (report / "matrix.html").read_text()
    data = json.loads(re.search(r"^const data = (.*)$", page, re.MULTILINE)[1])
    assert [row["id"] for row in data["rows"]] == sorted(VECTORS)
    bit = next(row for row in data["rows"] if row["id"] == "invalid/spec/bit")
    assert bit["changed"] == [[0x80, 0x81]]
    assert bit["cells"][0]["status"] == "fail-verdict"


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("right", "brightgreen"), ("wrong-bits", "red"), ("minimal", "brightgreen")],
)
def test_a_badge(kit, tmp_path, mode, colour):
    told(kit, tmp_path, mode)
    badge = json.loads((tmp_path / "badge.json").read_text())
    assert badge["color"] == colour
    assert re.fullmatch(r"\d+/\d+", badge["message"])


def test_a_badge_is_green_only_without_known_failures(kit, tmp_path):
    path = listed(tmp_path, "".join(f"{key}  # fail-value: bits\n" for key in TENSORS))
    assert told(kit, tmp_path, "wrong-bits", "--known-failures", path)[0] == 0
    assert json.loads((tmp_path / "badge.json").read_text())["color"] == "yellow"
    told(kit, tmp_path, "right", "--only", "valid/**")
    assert json.loads((tmp_path / "badge.json").read_text())["color"] == "lightgrey"


def test_runs_side_by_side(kit, report, tmp_path):
    out = tmp_path / "m.html"
    one = str(report / "results.ndjson")
    assert python(KIT / "matrix.py", one, one, "--vectors", kit, "--out", out).returncode == 0
    data = json.loads(re.search(r"^const data = (.*)$", out.read_text(), re.MULTILINE)[1])
    assert len(data["columns"]) == 2
    assert all(len(row["cells"]) == 2 for row in data["rows"])


DAMAGE = {
    "no footer": lambda lines: lines[:-1],
    "no header": lambda lines: lines[1:],
    "a line less": lambda lines: [*lines[:2], *lines[3:]],
    "a line twice": lambda lines: [*lines[:2], *lines[1:]],
    "another status": lambda lines: (
        "\n".join(lines).replace('"fail-verdict"', '"pass"', 1).splitlines()
    ),
    "no status": lambda lines: [line.replace('"fail-verdict"', '"fine"') for line in lines],
    "half a line": lambda lines: [*lines[:-1], lines[-1][:20]],
    "nothing": lambda lines: [],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_report_is_refused(report, tmp_path, damage):
    lines = (report / "results.ndjson").read_text().splitlines()
    path = tmp_path / "results.ndjson"
    path.write_text("\n".join(DAMAGE[damage](lines)))
    with pytest.raises(vectors.KitError):
        results.read(path)
    done = python(KIT / "matrix.py", path, "--out", tmp_path / "m.html")
    assert done.returncode == 2
    assert not (tmp_path / "m.html").exists()


def test_changed_bytes():
    assert matrix.changed(b"abcd", b"abcd") == []
    assert matrix.changed(b"abcdef", b"aXcdYZ") == [[1, 2], [4, 6]]
    assert matrix.changed(b"abcd", b"abXXcd") == [[2, 4]]
    assert matrix.changed(b"aaaa", b"aaa") == [[3, 3]]
    assert matrix.changed(b"", b"ab") == [[0, 2]]
