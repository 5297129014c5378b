"""The fuzz targets on all that is known, a short run, and that the oracle finds planted faults."""

import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import nnpack
from fuzz import dictionary, differential, oracle, seeds, structure
from fuzz.bugs import apply as bugs
from fuzz.differential import COUNT, FAULT, QUESTION, compare, in_library
from fuzz.edges import counted
from fuzz.oracle import Finding, gate
from fuzz.session import Session, corpus
from fuzz.targets import TARGETS
from fuzz.values import Laid
from nnpack.codecs.deflate import Deflate
from nnpack.reader import Reader
from nnpack.writer import Writer

ROOT = Path(__file__).parent.parent
FILES = seeds.files()
VECTORS = [*seeds.vectors()]
RUNS = {name: 25 if target.share > 2 else 60 for name, target in TARGETS.items()}
RUNS |= {"codec-huffman": 20, "codec-rans": 20, "tree": 120}
CLASSES = {"container": 5, "tree": 4, "stream": 4, "reader": 4, "graph": 1, "metadata": 1}
"""Classes that so few runs reach at least."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Traced for coverage, Python is many times slower: here runs have to end, not to be fast."""
    monkeypatch.setattr(oracle, "SECONDS", 15.0)


def nothing(*_):
    """Take a note of nothing."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_no_finding(name):
    """The driver replays all of it; here are some of it, and every regression."""
    target = TARGETS[name]
    known = [*corpus(target)]
    some = known if len(known) < 100 else known[zlib.crc32(name.encode()) % 29 :: 29]
    some += [(case, data) for case, data in known if case.endswith(".bin")]
    assert "accept" in {gate(target.run, data) for _, data in some}


@pytest.mark.parametrize(
    "path", sorted(seeds.REGRESSIONS.glob("*.bin")), ids=lambda path: path.stem
)
def test_what_was_found_stays_fixed(path):
    said = json.loads(path.with_suffix(".json").read_text())
    assert said.keys() == {"target", "what", "class"}
    assert gate(TARGETS[said["target"]].run, path.read_bytes()) == said["class"]


def test_what_vectors_say_is_what_the_oracle_finds():
    limited = 0
    for path, data, said in VECTORS[::11]:
        verdict = gate(TARGETS["reader"].run, data)
        limited += verdict == "limit-exceeded"
        if verdict != "limit-exceeded" and "limits" not in said and "expect" not in said:
            assert (verdict == "accept") == (said["result"] == "accept"), path
    assert limited < 10


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run_finds_nothing_and_reaches_much(name):
    target = TARGETS[name]
    rng, verdicts = random.Random(7), set()
    for _ in range(RUNS[name]):
        data, _ = target.mutate(rng.choice(target.seeds()), rng, target.seeds())
        verdicts.add(gate(target.run, data))
    assert len(verdicts - {"accept"}) >= CLASSES.get(name, 0), verdicts


def test_traced_runs_hold_the_bound_too():
    for data in FILES[:12]:
        gate(TARGETS["reader"].run, data, traced=True)


def test_operations_are_replayed_from_their_json():
    rng = random.Random(3)
    for base in FILES:
        data, operations = structure.mutate(base, rng, FILES)
        more, all_of_them = structure.mutate(base, rng, FILES, before=operations)
        for made, by in ((data, operations), (more, all_of_them)):
            assert structure.build(base, json.loads(json.dumps(by))) == made


def test_most_mutations_of_a_file_get_past_its_checksums():
    rng, classes = random.Random(5), []
    for _ in range(300):
        data, _ = structure.mutate(rng.choice(FILES), rng, FILES)
        try:
            oracle.check(data)
        except nnpack.NnpackError as bad:
            classes.append(bad.error_class)
    assert classes.count("bad-checksum") < len(classes) / 5
    assert len({*classes}) >= 12


def test_a_file_is_put_together_as_it_was():
    for data in FILES:
        assert structure.canonical(data) == data


class Planted(Deflate):
    """A codec with a fault."""

    def __init__(self, fault):
        self.fault = fault

    def decode(self, data, size):
        return self.fault(data, size)


def out_of_range(data, _):
    return [*data][len(data)]


def greedy(_, size):
    np.zeros(64 << 20, np.uint8)
    return bytes(size)


def endless(_data, _size):
    while True:
        pass


def slow(_, size):
    for _ in range(1 << 21):
        pass
    return bytes(size)


PLANE = b"\x40\0\0\0abc"
"""What a codec's target takes: 64 bytes, no table, three bytes that decode to them."""


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(out_of_range, "exception"), (greedy, "memory"), (endless, "hang"), (slow, "time"),
     (lambda _, size: bytes(size + 2), "disagreement")],
)  # fmt: skip
def test_the_oracle_finds_planted_faults(fault, kind, monkeypatch):
    from fuzz.targets import codec

    monkeypatch.setattr(oracle, "HANG", 1.0)
    monkeypatch.setattr(oracle, "SECONDS", 0.02)
    if kind == "memory":
        monkeypatch.setattr(oracle, "RESIDENT", 1 << 50)  # that tracing alone has to tell
    with pytest.raises(Finding) as found:
        gate(codec(Planted(fault)), PLANE, traced=kind == "memory")
    assert found.value.kind == kind


def test_the_oracle_sees_memory_without_tracing():
    """By the process's peak, which has to be passed."""
    size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (200 << 20)
    with pytest.raises(Finding, match="memory"):
        gate(lambda _: np.ones(size, np.uint8), b"")


def test_the_oracle_knows_classes_and_places():
    for bad, kind in ((nnpack.FormatError("bad-luck", ""), "class"),
                      (nnpack.FormatError("bad-node", "", offset=9), "offset")):  # fmt: skip

        def refuse(_, bad=bad):
            raise bad

        with pytest.raises(Finding) as found:
            gate(refuse, b"12345678")
        assert found.value.kind == kind


def test_the_oracle_finds_readers_that_disagree(monkeypatch):
    data = next(data for _, data, said in VECTORS if said["id"] == "valid/start/float32")
    assert gate(TARGETS["reader"].run, data) == "accept"
    flipped = structure.build(data, [{"op": "splice", "index": 0, "field": "payload", "at": 0,
                                      "old": "00", "new": "01"}])  # fmt: skip
    monkeypatch.setattr(oracle, "read_sequential", lambda _: oracle.read_random(flipped))
    with pytest.raises(Finding, match="disagreement: 'w' of two readers"):
        gate(TARGETS["reader"].run, data)
    monkeypatch.undo()
    monkeypatch.setattr(Reader, "section", lambda self, row: self.directory[row])
    monkeypatch.setattr("nnpack.bulk.check_inline", lambda *_: None)
    bad = structure.build(data, [{"op": "inline", "index": 0, "field": "zero15", "value": 1}])
    assert gate(TARGETS["reader"].run, bad) == "mismatch"  # this one reader may be lax, if ...
    monkeypatch.setattr("nnpack.verify._Verification._sections", lambda *_: None)
    with pytest.raises(Finding, match="verify and stream"):
        gate(TARGETS["reader"].run, bad)


def test_the_oracle_finds_wrong_slices(monkeypatch):
    data = nnpack.save({"w": np.arange(6000, dtype=np.int32).reshape(3, 50, 40)})
    normalise = nnpack.tensor._normalise
    oracle.agree(data)

    def without_middle(key, shape):
        return normalise((key[0], slice(None), key[2]) if isinstance(key, tuple) else key, shape)

    monkeypatch.setattr("nnpack.tensor._normalise", without_middle)
    with pytest.raises(Finding, match="the slice"):
        oracle.agree(data)
    monkeypatch.undo()
    at = data.index(b"SEC", 20) - 64  # the last bytes of the payload, or of its padding
    payload = structure.build(data, [{"op": "file", "at": at, "old": data[at : at + 1].hex(),
                                      "new": f"{data[at] ^ 1:02x}"}])  # fmt: skip
    with pytest.raises(nnpack.NnpackError, match="checksum"):
        oracle.agree(payload)
    monkeypatch.setattr(nnpack.Tensor, "__getitem__", lambda one, _: np.empty(one.shape))
    with pytest.raises(Finding, match="a slice of what is refused"):
        oracle.agree(payload)


@pytest.mark.parametrize("loses", ["add_graph", "add_blob", "set_metadata", "add_alias"])
def test_the_oracle_finds_what_writing_anew_loses(loses, monkeypatch):
    with Writer(target := io.BytesIO()) as writer:
        writer.add("w0", np.ones(3, np.float32))
        writer.add_graph("g", seeds.GRAPH)
        writer.add_blob("b", b"blob")
        writer.set_metadata({"title": "all"})
        writer.add_alias("a", "w0")
    data = target.getvalue()
    model = oracle.agree(data)
    oracle.rewrite(data, model, "raw")
    monkeypatch.setattr(Laid, loses, nothing)
    with pytest.raises(Finding, match="rewritten form"):
        oracle.rewrite(data, model, "raw")


def test_a_session_keeps_what_goes_new_ways_and_makes_findings_small(monkeypatch):
    noted = []
    one = Session("container", TARGETS["container"], "seed", lambda *now: noted.append(now))
    one._waiting = one._waiting[:3]
    one.work(float("inf"), 40)
    assert one.status()["runs"] == 40 == len(noted)
    assert one.status()["kept"] > 0
    assert not one.take()

    def touchy(data):
        if data[8:10] != b"\x01\0":
            raise IndexError

    planted = Session("tree", TARGETS["tree"].__class__(touchy, seeds.files, structure.mutate, structured=True),
                      "seed", nothing)  # fmt: skip
    planted._waiting.clear()
    planted.work(float("inf"), 600)
    (found, *others) = planted.take()
    assert not others
    assert len(found.operations) == 1
    assert found.operations[0]["op"] in {"header", "file"}
    assert structure.build(found.base, found.operations) == found.data
    assert "IndexError" in found.trace


def test_edges_are_counted():
    found = counted()
    with found.watch(0):
        nnpack.open(FILES[0]).close()
        oracle.check(FILES[0])
    assert len(found.reached) > 100
    reached, _, known, *_ = found.summary().replace(",", "").split()
    assert len(found.reached) == int(reached) < int(known)


def test_the_dictionary_is_what_its_tool_writes():
    assert dictionary.PATH.read_text() == dictionary.text()


DRIVER = ROOT / "fuzz" / "run.py"


def run(*arguments, env=None):
    return subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, DRIVER, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


BROKEN = """
from nnpack.codecs.lz4 import Lz4

def fault(*_):
    raise IndexError("planted")

Lz4.decode_into = fault
"""
"""Done by each process that finds it on its path as sitecustomize.py."""


def test_the_driver_ends_at_the_first_finding(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    done = run("--target", "codec-lz4", "--first", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FOUND" in done.stdout
    assert "\n1 findings\n" in done.stdout
    saved = Path(done.stdout.rstrip().rpartition(" --replay ")[2])
    for file in (saved, saved.with_suffix(".json")):
        assert file.stat().st_size
        file.unlink()


def test_the_driver_says_what_it_found_when_it_is_stopped():
    command = [sys.executable, DRIVER, "--target", "codec-lz4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert "runs" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("interrupted\n0 findings\n")
    assert process.returncode == 0


def test_the_driver_runs_and_replays(tmp_path):
    done = run("--target", "codec-lz4", "--target", "metadata", "--runs", "100")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 findings" in done.stdout
    assert "100 runs" in done.stdout
    file = tmp_path / "input"
    file.write_bytes(b'{"a": 01}')
    done = run("--target", "metadata", "--replay", file)
    assert (done.returncode, done.stdout) == (0, "metadata: bad-json\n")


@pytest.mark.skipif(not shutil.which("patch"), reason="bugs are seeded by the program patch")
def test_every_seeded_bug_can_be_seeded(tmp_path):
    assert not [*bugs.wrong_tables()]
    for name in bugs.bugs():
        bugs.seed(name, tmp_path / name)


# Two readers (differential.py).

ACCEPT = {"ok": True, "model": {"tensors": [{"name": "w", "dtype": "uint8", "image": "00"}]}}


def reject(error):
    return {"ok": False, "error": {"class": error}}


def outcome(one, other, *, single=True, library=False):
    found = compare(one, other, single=single, library=library)
    return found.differs, found.weight


def test_verdicts_and_images_are_compared_strictly():
    other = {"ok": True, "model": {"tensors": [{"name": "w", "dtype": "uint8", "image": "01"}]}}
    assert outcome(ACCEPT, ACCEPT)[0] == ""
    assert outcome(ACCEPT, other) == ("tensor image", FAULT)
    assert outcome(ACCEPT, reject("bad-node")) == ("verdict", FAULT)
    assert outcome(ACCEPT, reject("(crash)"), library=True) == ("verdict", FAULT)


def test_classes_are_compared_where_one_operation_was_made():
    assert outcome(reject("bad-node"), reject("bad-node"))[0] == ""
    assert outcome(reject("bad-node"), reject("bad-text")) == ("class", QUESTION)
    assert outcome(reject("bad-node"), reject("bad-text"), single=False) == ("class", COUNT)


def test_what_libraries_find_malformed_is_only_counted():
    assert outcome(ACCEPT, reject("bad-stream"), library=True) == ("verdict", COUNT)
    unsupported = {"ok": True, "model": {"tensors": [{"name": "w", "unsupported": "lzw"}]}}
    assert outcome(unsupported, reject("bad-stream")) == ("verdict", COUNT)
    coded = next(data for _, data, said in VECTORS if said["id"].startswith("valid/zstd/"))
    change = {"op": "store", "index": 0, "entry": 0, "at": 0, "old": "", "new": "00"}
    assert in_library(structure.canonical(coded), [change])
    plain = next(data for _, data, said in VECTORS if said["id"] == "valid/start/float32")
    assert not in_library(plain, [change])


STUB = """
import base64, json, sys
import nnpack
from nnpack.verify import verify

for line in sys.stdin:
    asked = json.loads(line)
    answer = {"seq": asked["seq"], "ok": True, "protocol": 1, "profile": "R0", "features": [],
              "implementation": {"name": "stub", "version": "1", "language": "Python"}}
    if asked["op"] == "decode":
        data = base64.b64decode(asked["data"])
        try:
            faults = verify(data).faults
        except nnpack.NnpackError as bad:
            faults = [bad]
        classes = [bad.error_class for bad in faults if bad.error_class != sys.argv[1]]
        answer["model"] = {"tensors": []}
        if classes:
            answer |= {"ok": False, "error": {"class": classes[0]}}
    print(json.dumps(answer), flush=True)
"""
"""A testee that has no images, and does not see one class of faults."""


def test_two_testees_are_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(differential, "FOLDER", tmp_path)
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    commands = [f"{sys.executable} {stub} {blind}" for blind in ("none", "bad-layout")]
    both = differential.Differential(commands, "1")
    try:
        found = [path for _ in range(150) if (path := both.step())]
    finally:
        both.close()
    assert both.runs == 150
    assert found
    assert {bucket[2] for bucket in both.buckets[FAULT]} == {"bad-layout"}
    sidecar = json.loads(found[0].with_suffix(".json").read_text())
    vectors = {said["id"]: data for _, data, said in VECTORS}
    base, operations = sidecar["derived"]["base"], sidecar["derived"]["operations"]
    data = structure.canonical(vectors[base]) if base in vectors else bytes.fromhex(base)
    assert structure.build(data, operations) == found[0].read_bytes()
    same = differential.Differential([commands[0]] * 2, "1")
    try:
        assert not any(same.step() for _ in range(60))
    finally:
        same.close()
