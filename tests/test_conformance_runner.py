"""The runner of the conformance kit: testees that are wrong in known ways, and what it says."""

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from xml.etree import ElementTree as ET

import pytest

from conformance.runner import results, session, vectors
from conformance.runner.main import main
from conformance.runner.testee import MOST_LEVELS, MOST_VALUES, parse
from tests.test_spec import EXAMPLES, example

ROOT = Path(__file__).parent.parent
KIT = ROOT / "conformance"
STUB = [sys.executable, KIT / "selftest/stub.py"]
SHIM = [sys.executable, KIT / "shims/nnpack_reader.py"]


def model(name, profile="R1"):
    said = EXAMPLES[name][1]
    tensors = [
        {
            "name": key,
            "profile": profile,
            "features": [],
            "parameters": {},
            "parts": {},
            **tensor,
        }
        for key, tensor in said["tensors"].items()
    ]
    nothing = {"aliases": {}, "metadata": None, "graphs": {}, "blobs": {}, "root": None}
    return {"tensors": tensors} | {key: said.get(key, value) for key, value in nothing.items()}


def accepted(name, profile="R1"):
    return {"result": "accept", "model": model(name, profile)}


def rejected(error, disposition="corrupt", base="valid/spec/float32"):
    return {
        "result": "reject", "error": error, "disposition": disposition,
        "derived": {"base": base, "operations": [{"op": "file"}], "repair": []},
    }  # fmt: skip


def with_byte(at, value):
    data = bytearray(example("float32"))
    data[at] = value
    return bytes(data)


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


SLICE = {"tensor": "w", "start": [1], "stop": [3], "image": "000020c00100a07f"}
VECTORS = {
    "valid/spec/empty": (example("empty"), "R0", accepted("empty")),
    "valid/spec/float32": (example("float32"), "R1", {**accepted("float32"), "slices": [SLICE]}),
    "valid/spec/huffman": (example("huffman"), "R3", accepted("huffman", "R3")),
    "valid/codec/float32": (example("float32"), "R2", accepted("float32", "R2")),
    "valid/spec/digests": (example("alias-metadata-digests"), "R3", accepted("alias-metadata-digests")),
    "invalid/spec/bit": (with_byte(0x80, 1), "R1", rejected("bad-checksum")),
    "invalid/spec/magic": (with_byte(0, 0x88), "R0", rejected("not-nnpack")),
    "invalid/spec/version": (with_byte(8, 2), "R0", rejected("unsupported-version", "unsupported")),
    "invalid/codec/bit": (
        with_byte(0x80, 3), "R2",
        {**rejected("bad-checksum", base="valid/codec/float32"),
         "slices": [{**without(SLICE, "image"), "error": "bad-checksum"}]},
    ),
    "invalid/beyond/bit": (with_byte(0x80, 5), "R3", rejected("bad-checksum")),
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
TENSORS = ["valid/spec/float32", "valid/codec/float32", "valid/spec/huffman", "valid/spec/digests"]
REFUSED = [key for key in VECTORS if key not in DECODED]
DERIVED = [key for key in REFUSED if not key.startswith("limits")]


def every(keys, status):
    return dict.fromkeys(keys, status)


STUBS = {
    "right": {},
    "accept-all": every(REFUSED, "fail-verdict"),
    "slice-all": {"invalid/codec/bit": "fail-verdict"},
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
    "wrong-slices": {"valid/spec/float32": "fail-value"},
    "lies-unsupported": every(TENSORS, "fail-value"),
    "releases-wrong": every(DERIVED, "fail-release"),
    "releases-right": {},
    "releases-oddly": every(REFUSED, "protocol"),
    "encodes-otherwise": {"encode/spec/empty": "fail-bytes"},
    "writes-folder": {"encode/spec/empty": "protocol"},
    "writes-link": {"encode/spec/empty": "protocol"},
    "short-strings": every(TENSORS, "fail-value"),
    "talks": every(ALL, "protocol"),
    "odd-words": every(DECODED, "fail-verdict") | every(REFUSED, "fail-class"),
    "odd-names": every(TENSORS, "fail-value"),
    "long-dimension": every(TENSORS, "fail-value"),
    "key-twice": every(ALL, "protocol"),
    "long-number": every(ALL, "protocol"),
    "deep": every(ALL, "protocol"),
    "very-deep": every(ALL, "protocol"),
    "not-a-number": every(ALL, "protocol"),
    "panic": every(ALL, "crash"),
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
    ET.parse(tmp_path / "junit.xml")  # noqa: S314 - our own
    assert "no judging it" not in (tmp_path / "results.ndjson").read_text()


EXEC = {
    "right": "pass", "crash": "crash", "cut": "crash", "no-class": "crash", "no-model": "protocol",
    "not-implemented": "protocol", "wrong-bits": "fail-value", "says-twice": "crash",
    "panic": "crash", "deep": "crash", "writes-folder": "pass", "odd-words": "fail-verdict",
}  # fmt: skip


@pytest.mark.parametrize("mode", EXEC)
def test_a_process_for_each_question(kit, tmp_path, mode):
    _, found, lines = told(kit, tmp_path, mode, "--exec", "--only", "valid/spec/float32")
    assert found == {"valid/spec/float32": EXEC[mode]}
    if mode == "panic":
        assert lines.vectors[0]["stderr"] == "panic: index out of range"
        assert lines.vectors[0]["got"].startswith("exit status 2, no answer")


def test_status_2_is_a_crash_unless_the_answer_says_what_is_missing(kit, tmp_path):
    text = 'echo \'{"error": {"class": "bad-checksum"}}\'; test $0 != decode || exit 2'
    hello = f"test $0 != hello || exec {shlex.join(map(str, STUB))} right hello"
    testee = ["sh", "-c", f"{hello}; {text}"]
    run(kit, "--exec", "--only", "invalid/spec/bit", testee=testee, report=tmp_path)
    (line,) = results.read(tmp_path / "results.ndjson").vectors
    assert (line["status"], line["got"]) == ("crash", "exit status 2 without not-implemented")


def test_a_process_for_a_question_has_nothing_to_read(kit):
    done = run(kit, "--exec", testee=["sh", "-c", "cat; exit 3"])
    assert "crash, exit status 3" in done.stderr


@pytest.mark.parametrize("mode", ["hang", "dribble"])
@pytest.mark.parametrize("way", ["--exec", "--serve"])
def test_a_testee_that_hangs_is_ended(kit, tmp_path, way, mode):
    only = ("--only", "valid/spec/e*", "--only", "invalid/spec/magic")
    _, found, _ = told(kit, tmp_path, mode, way, "--timeout", "0.3", *only)
    assert set(found.values()) == {"timeout"}


@pytest.mark.skipif(sys.platform != "linux", reason="a signal of Linux")
def test_a_signal_without_a_name_is_a_crash(kit, tmp_path):
    _, _, found = told(kit, tmp_path, "odd-signal", "--only", "valid/spec/empty")
    assert found.vectors[0]["got"].startswith("signal 4")


def test_an_answer_has_a_moderate_size():
    few, many = (b"[" + b"0," * count + b"0]" for count in (9, MOST_VALUES))
    assert parse(b'{"ok": %s}' % few)["ok"] == [0] * 10
    with pytest.raises(ValueError, match="values"):
        parse(b'{"ok": %s}' % many)
    levels = MOST_LEVELS - 1
    parse(b'{"ok": %s%s}' % (b"[" * levels, b"]" * levels))
    with pytest.raises(ValueError, match="deep"):
        parse(b'{"ok": %s%s}' % (b"[" * (levels + 1), b"]" * (levels + 1)))


def test_a_verdict_that_fails_costs_no_other(kit, tmp_path, monkeypatch):
    judge = session.judge

    def failing(question, *given):
        if question.vector.id == "valid/spec/empty":
            raise ZeroDivisionError("a bug")
        return judge(question, *given)

    monkeypatch.setattr(session, "judge", failing)
    status, found, lines = told(kit, tmp_path, "right")
    assert (status, found) == (1, every(VECTORS, "pass") | {"valid/spec/empty": "protocol"})
    (bad,) = lines.failures
    assert bad["got"] == "no judging it: ZeroDivisionError('a bug')"


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
        "valid/codec/float32",
        "valid/spec/huffman",
        "valid/spec/digests",
        "invalid/codec/bit",
        "invalid/beyond/bit",
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


HELLOS = {
    "hello-of-tomorrow": "protocol 1 is asked for, not 2",
    "hello-version": "name, version and language are strings",
    "hello-nobody": "`implementation` needs a name",
    "hello-features": "no feature is called ['sequential']",
    "hello-slices": "no feature is called 'slices'; did you mean slice?",
    "hello-profile": "the profile is one of R0, R1, R2, R3",
    "no-such-mode": "KeyError",
}


@pytest.mark.parametrize("mode", HELLOS)
def test_a_testee_that_does_not_say_hello(kit, mode):
    done = run(kit, mode=[mode])
    assert done.returncode == 2
    assert "hello" in done.stderr
    assert HELLOS[mode] in done.stderr


UNHEARD = {
    "no script": ([sys.executable, "nofile.py"], "nofile.py: no file here; the testee runs in an"),
    "no command": (["./my-testee"], "run.py: ./my-testee: not found\n"),
    "no program": ([ROOT / "SPEC.md"], "SPEC.md: not executable (chmod +x)\n"),
    "words first": (["sh", "-c", "echo opening /x; exec cat"], "`opening /x` (standard output is"),
    "no memory": (["sh", "-c", "echo no heap space; exit 1"], "memory, try --memory 0\n"),
}


@pytest.mark.parametrize("why", UNHEARD)
def test_what_to_do_about_a_testee_that_is_not_heard(kit, why):
    testee, words = UNHEARD[why]
    done = run(kit, testee=testee)
    assert done.returncode == 2
    assert words in done.stderr
    assert ("--memory 0" in done.stderr) == (why == "no memory")


def test_an_answer_that_is_not_flushed(kit, monkeypatch):
    monkeypatch.setattr("conformance.runner.testee.HELLO_SECONDS", 0.3)
    monkeypatch.setattr("conformance.runner.session.HELLO_SECONDS", 0.3)
    done = run(kit, "--serve", testee=["sleep", "9"])
    assert done.returncode == 2
    assert "crash" in done.stderr  # sleep does not know what `serve` is
    done = run(kit, "--serve", testee=["sh", "-c", "sleep 9"])
    assert "no answer within 0.3 s (does it flush after each line?)" in done.stderr


def test_what_is_printed_beside_answers_is_shown(kit, tmp_path):
    _, _, found = told(kit, tmp_path, "talks", "--only", "valid/spec/empty")
    assert found.failures[0]["got"].startswith("no JSON: `opening empty.nnpk` (standard output is")


MEANT = {
    "valid/spec": "valid/spec/*",
    "valid/spec/emtpy": "valid/spec/empty",
    "invalid/": "invalid/**",
    "encode/spce/*": "encode/spec/*",
}


@pytest.mark.parametrize("glob", MEANT)
def test_a_pattern_that_fits_nothing(kit, glob):
    done = run(kit, "--only", glob, mode=["right"])
    said = f"run.py: no vector is called {glob}; did you mean {MEANT[glob]}?\n"
    assert (done.returncode, done.stderr) == (2, said)
    for ending in (".nnpk", ".json"):
        assert run(kit, "--only", f"valid/spec/empty{ending}", mode=["right"]).returncode == 0


@pytest.mark.parametrize("given", [["./testee"], ["--seed", "1"], ["--seed", "1", "--", *STUB][:3]])
def test_a_command_comes_behind_dashes(capsys, given):
    with pytest.raises(SystemExit):
        main([*map(str, given)])
    assert "the testee's command comes last, behind --" in capsys.readouterr().err


def test_what_is_large_has_more_time(kit):
    data, _, said = VECTORS["valid/spec/float32"]
    big = json.loads(json.dumps(said)) | {"id": "x", "size": len(data)}
    small = vectors.Vector(kit / "x.nnpk", big)
    assert not small.is_large
    big["model"]["tensors"][0]["image"] = "sha256:00"
    assert small.is_large
    assert vectors.Vector(kit / "x.nnpk", {"size": vectors.LARGE + 1}).is_large


def test_an_odd_name_spoils_no_report(tmp_path, kit):
    status, _, found = told(kit, tmp_path, "hello-odd")
    assert status == 0
    assert found.header["implementation"] == {
        "name": "../\ufffd\ufffd\ufffd[31m\ufffd<script>`\ufffd",
        "version": "\ufffd\ufffd\ufffd[31m\ufffd<script>`\ufffd",
    }
    assert "<script>`" not in (tmp_path / "matrix.html").read_text()
    assert "<script>" not in (tmp_path / "summary.md").read_text().replace("\\<", "")
    assert "<script>`" in ET.parse(tmp_path / "junit.xml").getroot().get("name")  # noqa: S314


INTERRUPTED = {
    "in a run": ([*STUB, "hang"], "encoded-*"),
    "in hello": (["sh", "-c", "touch asked; sleep 60"], "testee-*/asked"),
}


@pytest.mark.parametrize("when", INTERRUPTED)
@pytest.mark.parametrize("way", ["--serve", "--exec"])
def test_a_run_that_is_interrupted_leaves_nothing(kit, tmp_path, when, way):
    command, sign = INTERRUPTED[when]
    given = ["--vectors", kit, "--jobs", "2", "--timeout", "1", way, "--", *command]
    with subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, KIT / "run.py", *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        until = time.monotonic() + 60
        while not [*tmp_path.glob(sign)] and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=30)
    assert process.returncode == 130
    if when == "in a run":
        assert re.search(r"^interrupted after \d+ of 12 vectors; seed \d+$", told, re.MULTILINE)
        assert (said, told[-3:]) == ("", " s\n")
    else:
        assert said == "\nrun.py: interrupted\n"
    assert [*tmp_path.iterdir()] == []


def test_a_single_vector_can_be_asked_again(kit, tmp_path):
    given = ("--timeout", "9", "--only", "valid/**", "--only=x")
    done = run(kit, *given, mode=["wrong-bits"], report=tmp_path)
    assert f"{tmp_path}/summary.md has all that fail" in done.stdout
    again = re.search(r"one again: (.*)", done.stdout)[1]
    start, _, stub = again.partition(" -- ")
    kept = f"--vectors {kit} --seed 7 --timeout 9 --only ID"
    assert start == f"python conformance/run.py {kept}"
    assert stub.endswith("stub.py wrong-bits")
    assert "\n2 vectors: fail-value (decode random)\n" in done.stdout
    assert "    valid/spec/float32 (R-HDR-001): A test.\n" in done.stdout
    assert "0100803f000020c00100a07f" in done.stdout


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


# The package and the template


@pytest.mark.parametrize("way", ["--serve", "--exec"])
def test_the_package_passes(kit, way):
    some = ("--only", "*/spec/digests", "--only", "encode/**") if way == "--exec" else ()
    done = run(kit, way, "--timeout", "20", *some, testee=SHIM)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_runs():
    done = python(KIT / "run.py", "--", sys.executable, KIT / "shims/template.py")
    assert done.returncode == 1
    assert "my-reader 0, profile R0, serve" in done.stdout
    assert " 0 pass, " in done.stdout
    assert len((KIT / "shims/template.py").read_text().splitlines()) <= 60
