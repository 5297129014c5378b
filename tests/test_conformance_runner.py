"""The runner of the conformance kit: testees that are wrong in known ways, and what it says."""

import hashlib
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import referencing

from conformance.runner import compare, known, matrix, results, vectors
from conformance.runner.main import main
from conformance.runner.verdict import Verdict
from tests.test_spec import EXAMPLES, example

ROOT = Path(__file__).parent.parent
KIT = ROOT / "conformance"
STUB = [sys.executable, KIT / "selftest/stub.py"]
SHIM = [sys.executable, KIT / "shims/nnpack_reader.py"]


def model(name):
    said = EXAMPLES[name][1]
    tensors = [
        {
            "name": key,
            "profile": "R3" if name == "huffman" else "R1",
            "features": [],
            "parameters": {},
            "parts": {},
            **tensor,
        }
        for key, tensor in said["tensors"].items()
    ]
    nothing = {"aliases": {}, "metadata": None, "graphs": {}, "blobs": {}, "root": None}
    return {"tensors": tensors} | {key: said.get(key, value) for key, value in nothing.items()}


def accepted(name):
    return {"result": "accept", "model": model(name)}


def rejected(error, disposition="corrupt"):
    return {
        "result": "reject", "error": error, "disposition": disposition,
        "derived": {"base": "valid/spec/float32", "operations": [{"op": "file"}], "repair": []},
    }  # fmt: skip


def with_byte(at, value):
    data = bytearray(example("float32"))
    data[at] = value
    return bytes(data)


SLICE = {"tensor": "w", "start": [1], "stop": [3], "image": "000020c00100a07f"}
VECTORS = {
    "valid/spec/empty": (example("empty"), "R0", accepted("empty")),
    "valid/spec/float32": (example("float32"), "R1", {**accepted("float32"), "slices": [SLICE]}),
    "valid/spec/huffman": (example("huffman"), "R3", accepted("huffman")),
    "valid/spec/digests": (example("alias-metadata-digests"), "R3", accepted("alias-metadata-digests")),
    "invalid/spec/bit": (with_byte(0x80, 1), "R1", rejected("bad-checksum")),
    "invalid/spec/magic": (with_byte(0, 0x88), "R0", rejected("not-nnpack")),
    "invalid/spec/version": (with_byte(8, 2), "R0", rejected("unsupported-version", "unsupported")),
    "invalid/codec/bit": (with_byte(0x80, 3), "R2", rejected("bad-checksum")),
    "limits/spec/sections": (
        example("float32"), "R1",
        {"result": "reject", "error": "limit-exceeded", "disposition": "limit", "limits": {"sections": 0}},
    ),
    "encode/spec/empty": (
        example("empty"),
        "R0",
        {"result": "accept", "model": model("empty") | {"contents": []}},
    ),
}  # fmt: skip


def write_vector(folder, key, data, profile, said):
    path = folder / f"{key}.nnpk"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    fixed = {"id": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "why": "A test.",
             "requirements": ["R-HDR-001"], "profile": profile, "features": [], "flags": ["basic"]}  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(fixed | said))


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit") / "vectors"
    for key, (data, profile, said) in VECTORS.items():
        write_vector(folder, key, data, profile, said)
    return folder


def python(*args, **options):
    command = [sys.executable, *args]
    options |= {"capture_output": True, "text": True, "timeout": 60, "check": False}
    return subprocess.run(command, cwd=ROOT, **options)  # noqa: S603, PLW1510 - as in `options`


def run(kit, *options, testee=STUB, mode=(), report=None):
    reported = ["--report", report] if report else []
    given = ("--vectors", kit, "--seed", 7, *options, *reported, "--", *testee, *mode)
    out, err = StringIO(), StringIO()
    with (
        patch.dict(os.environ, {"NNPACK_VECTORS": str(kit), "PYTHONPATH": str(ROOT)}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = main([*map(str, given)])
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def told(kit, tmp_path, mode, *options):
    """The exit status, and the statuses of a run by vector."""
    done = run(kit, *options, mode=[mode], report=tmp_path)
    found = results.read(tmp_path / "results.ndjson")
    return done.returncode, {one["id"]: one["status"] for one in found.vectors}, found


ALL = dict.fromkeys(VECTORS)
DECODED = [key for key, (_, _, said) in VECTORS.items() if said["result"] == "accept"]
TENSORS = ["valid/spec/float32", "valid/spec/huffman", "valid/spec/digests"]
REFUSED = [key for key in VECTORS if key not in DECODED]
DERIVED = [key for key in REFUSED if not key.startswith("limits")]


def every(keys, status):
    return dict.fromkeys(keys, status)


STUBS = {
    "right": {},
    "accept-all": every(REFUSED, "fail-verdict"),
    "reject-all": every(DECODED, "fail-verdict")
    | {
        "invalid/spec/magic": "fail-class",
        "invalid/spec/version": "fail-disposition",
        "limits/spec/sections": "fail-disposition",
    },
    "reject-unsupported": every(DECODED, "fail-verdict")
    | every(REFUSED, "fail-disposition")
    | {"invalid/spec/version": "fail-class"},
    "own-names": every(REFUSED, "fail-class"),
    "wrong-bits": every(TENSORS, "fail-value"),
    "lies-unsupported": every(TENSORS, "fail-value"),
    "releases-wrong": every(DERIVED, "fail-release"),
    "releases-right": {},
    "encodes-otherwise": {"encode/spec/empty": "fail-bytes"},
    "crash": every(ALL, "crash"),
    "cut": every(ALL, "protocol"),
    "wrong-seq": every(ALL, "protocol"),
    "says-twice": every(ALL, "protocol"),
    "no-class": every(ALL, "protocol"),
    "no-model": every(ALL, "protocol"),
    "not-implemented": every(ALL, "protocol"),
}


@pytest.mark.parametrize("mode", STUBS)
def test_each_wrong_testee_gets_its_status(kit, tmp_path, mode):
    status, found, _ = told(kit, tmp_path, mode)
    assert found == every(VECTORS, "pass") | STUBS[mode]
    assert status == (1 if STUBS[mode] else 0)


EXEC = {
    "right": "pass", "crash": "crash", "cut": "crash", "no-class": "crash", "no-model": "protocol",
    "not-implemented": "protocol", "wrong-bits": "fail-value", "says-twice": "crash",
}  # fmt: skip


@pytest.mark.parametrize("mode", EXEC)
def test_a_process_for_each_question(kit, tmp_path, mode):
    _, found, _ = told(kit, tmp_path, mode, "--exec", "--only", "valid/spec/float32")
    assert found == {"valid/spec/float32": EXEC[mode]}


@pytest.mark.parametrize("way", ["--exec", "--serve"])
def test_a_testee_that_hangs_is_ended(kit, tmp_path, way):
    only = ("--only", "valid/spec/e*", "--only", "invalid/spec/magic")
    _, found, _ = told(kit, tmp_path, "hang", way, "--timeout", "0.3", *only)
    assert set(found.values()) == {"timeout"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
@pytest.mark.parametrize("way", ["--exec", "--serve"])
def test_a_testee_that_takes_all_memory(kit, tmp_path, way):
    options = (way, "--timeout", "20", "--memory", "768", "--only", "limits/**")
    assert told(kit, tmp_path, "takes-memory", *options)[1] == {"limits/spec/sections": "oom"}


def test_everything_twice_and_side_by_side(kit, tmp_path):
    assert told(kit, tmp_path, "forgetful")[0] == 0
    status, found, lines = told(kit, tmp_path, "forgetful", "--twice")
    assert status == 1
    assert {key for key, value in found.items() if value == "fail-value"} == {*TENSORS}
    assert lines.header["rounds"] == 2
    assert told(kit, tmp_path, "right", "--twice", "--jobs", "3")[0] == 0


def test_a_small_reader_declines_what_it_does_not_claim(kit, tmp_path):
    status, found, _ = told(kit, tmp_path, "minimal")
    declined = {
        "valid/spec/huffman",
        "valid/spec/digests",
        "invalid/codec/bit",
        "limits/spec/sections",
        "encode/spec/empty",
    }
    assert found == every(VECTORS, "pass") | every(declined, "declined")
    assert status == 0


def test_names_of_errors_are_translated(kit, tmp_path):
    names = tmp_path / "map.json"
    names.write_text(
        json.dumps({f"E_{name}": name for name in vectors.CLASSES if name != "not-nnpack"})
    )
    _, found, lines = told(kit, tmp_path, "own-names", "--error-map", names)
    assert found == every(VECTORS, "pass") | {"invalid/spec/magic": "fail-class"}
    assert lines.footer["mapped"] == len(REFUSED) - 1
    names.write_text('{"E_x": "no-such-class"}')
    assert run(kit, "--error-map", names, mode=["right"]).returncode == 2


@pytest.mark.parametrize("mode", ["hello-of-tomorrow", "no-such-mode"])
def test_a_testee_that_does_not_say_hello(kit, mode):
    done = run(kit, mode=[mode])
    assert done.returncode == 2
    assert "hello" in done.stderr


def test_a_single_vector_can_be_asked_again(kit):
    done = run(kit, mode=["wrong-bits"])
    again = re.search(r"one again: (.*)", done.stdout)[1]
    assert "--only ID" in again
    assert again.endswith("stub.py wrong-bits")
    assert "valid/spec/float32: fail-value (decode random)" in done.stdout
    assert "0100803f000020c00100a07f" in done.stdout
    assert run(kit, "--only", "valid/none", mode=["right"]).returncode == 2


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
    if found:
        lines = {one["id"]: one for one in results.read(tmp_path / "results.ndjson").vectors}
        assert lines["valid/spec/float32"]["status"] == found
        if rule == "another vector":
            assert lines["valid/spec/empty"]["status"] == "unexpected-pass"
            assert lines["valid/spec/empty"]["was"] == "pass"


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
        "valid/spec/hu*  # fail-class: another status by now\n"
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
    assert run(kit, "--known-failures", path, "--fix", mode=["wrong-bits"]).returncode == 0
    lines = path.read_text().splitlines()
    assert lines[:-1] == [
        "# Not yet right:",
        "valid/spec/float32  # fail-value: bits  # tracked",
        "valid/spec/huffman  # fail-value: another status by now",
        "",
        "# The end.",
    ]
    assert re.fullmatch(r"valid/spec/digests  # fail-value: .*  # not tracked yet", lines[-1])
    assert run(kit, "--known-failures", path, mode=["wrong-bits"]).returncode == 0


def test_what_cannot_be_listed_is_not_written(kit, tmp_path):
    path = listed(tmp_path, "")
    assert run(kit, "--known-failures", path, "--fix", mode=["crash"]).returncode == 1
    assert path.read_text() == ""


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
    assert python(KIT / "report.py", one, one, "--vectors", kit, "--out", out).returncode == 0
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
    done = python(KIT / "report.py", path, "--out", tmp_path / "m.html")
    assert done.returncode == 2
    assert not (tmp_path / "m.html").exists()


def test_changed_bytes():
    assert matrix.changed(b"abcd", b"abcd") == []
    assert matrix.changed(b"abcdef", b"aXcdYZ") == [[1, 2], [4, 6]]
    assert matrix.changed(b"abcd", b"abXXcd") == [[2, 4]]
    assert matrix.changed(b"aaaa", b"aaa") == [[3, 3]]
    assert matrix.changed(b"", b"ab") == [[0, 2]]


# The kit itself


def test_a_damaged_kit_is_refused(tmp_path):
    for key, (data, profile, said) in VECTORS.items():
        write_vector(tmp_path / "vectors", key, data, profile, said)
    assert len(vectors.load(tmp_path / "vectors")) == len(VECTORS)
    manifest = {"vectors": [{"id": "valid/spec/other", "sha256": "", "sidecar": ""}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(vectors.KitError, match="listed"):
        vectors.load(tmp_path / "vectors")
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "vectors/valid/spec/empty.nnpk").write_bytes(example("float32"))
    with pytest.raises(vectors.KitError, match="not the file"):
        vectors.load(tmp_path / "vectors")


def test_patterns_of_ids():
    assert vectors.matches("valid/*/a*", "valid/x/ab")
    assert not vectors.matches("valid/*", "valid/x/ab")
    assert vectors.matches("valid/**", "valid/x/ab")
    assert not vectors.matches("valid/x.ab", "valid/x/ab")


EQUAL = [
    (123456789012345680000, 1.2345678901234568e20),
    (1, 1.0),
    ({"a": [1, "x", None]}, {"a": [1.0, "x", None]}),
    (2**53 - 1, 2**53 - 1),
    (True, True),
    (-0.0, 0),
]
DIFFERENT = [(True, 1), (1, True), (0, False), (0, None), (2**53, 2**53 + 1), ("1", 1.0), (10**400, 1e300), (None, 0.0), ("1", 1), ([1], [1, 2]),
             ({"a": 1}, {"b": 1}), ({}, []), ("e\u0301", "\u00e9")]  # fmt: skip


def test_json_is_compared_by_value():
    for a, b in EQUAL:
        assert compare.same_json(a, b), (a, b)
    for a, b in DIFFERENT:
        assert not compare.same_json(a, b), (a, b)


def test_images_are_compared_in_either_form():
    digest = f"sha256:{hashlib.sha256(bytes([1, 0xAB])).hexdigest()}"
    assert compare.same_image("01ab", "01AB")
    assert compare.same_image("01ab", digest)
    assert compare.same_image(digest, "01ab")
    for other in ("01aa", "01abx", "", None, 1, digest[:-1] + "g"):
        assert not compare.same_image("01ab", other)
        assert not compare.same_image(digest, other)


def test_a_list_tells_what_else_it_expected():
    verdict = Verdict("fail-class", "decode random", "bad-value", "bad-index")
    assert known.KnownFailures(None, []).apply("valid/x/y", verdict) is verdict


# The package and the template


@pytest.mark.parametrize("way", ["--serve", "--exec"])
def test_the_package_passes(kit, way):
    some = ("--only", "*/spec/digests", "--only", "encode/**") if way == "--exec" else ()
    done = run(kit, way, "--timeout", "20", *some, testee=SHIM)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_passes_all_vectors_of_the_kit():
    done = run(KIT / "vectors", "--timeout", "20", testee=SHIM)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_runs():
    done = python(KIT / "run.py", "--", sys.executable, KIT / "shims/template.py")
    assert done.returncode == 1
    assert "my-reader 0, profile R0, serve" in done.stdout
    assert len((KIT / "shims/template.py").read_text().splitlines()) <= 60


# Schemas


def validator(name):
    schemas = {path.name: json.loads(path.read_text()) for path in (KIT / "schema").glob("*.json")}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    held = [(key, referencing.Resource.from_contents(schema)) for key, schema in schemas.items()]
    registry = referencing.Registry().with_resources(held)
    return jsonschema.Draft202012Validator(schemas[f"{name}.schema.json"], registry=registry)


def test_sidecars_fit_their_schema(kit):
    check = validator("vector")
    for folder in (kit, KIT / "vectors"):
        for path in folder.rglob("*.json"):
            assert not [*check.iter_errors(json.loads(path.read_text()))], path
    for name in ("manifest", "recipes"):
        listed = json.loads((KIT / f"{name}.json").read_text())
        assert not [*validator("manifest").iter_errors(listed)]


def test_results_fit_their_schema(report):
    check = validator("results")
    for line in (report / "results.ndjson").read_text().splitlines():
        assert not [*check.iter_errors(json.loads(line))], line


@pytest.mark.parametrize("key", ["valid/spec/float32", "valid/spec/digests", "invalid/spec/bit"])
def test_answers_of_the_package_fit_their_schema(kit, key):
    for access in ("random", "sequential"):
        question = {
            "seq": 1,
            "op": "decode",
            "path": str(kit / f"{key}.nnpk"),
            "access": access,
            "limits": {},
            "expect": None,
        }
        assert not [*validator("request").iter_errors(question)]
        asked = "\n".join(
            map(
                json.dumps,
                [{"seq": 0, "op": "hello", "protocol": 1}, question, {"seq": 2, "op": "bye"}],
            )
        )
        done = python(*SHIM[1:], "serve", input=asked + "\n")
        hello, *answers = map(json.loads, done.stdout.splitlines())
        assert not [*validator("hello").iter_errors(hello)]
        assert len(answers) == 2
        for answer in answers:
            assert not [*validator("response").iter_errors(answer)], answer
