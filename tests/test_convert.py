"""What all conversions have in common: formats, options, pipes, targets; and nnpk to nnpk."""

import io
import itertools
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import nnpack
from nnpack import testing
from nnpack.abc import Node
from nnpack.convert import FORMATS, convert, detect
from nnpack.digest import logical_digest
from nnpack.dtypes import BY_NAME
from nnpack.nodes.dense import Dense
from nnpack.source import BufferSource
from tests import assemble as a

SOME = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
VECTORS = Path(__file__).parent.parent / "conformance" / "vectors"
NAMES = [row.name for row in FORMATS]
GRAPH = {
    "inputs": ["x"],
    "outputs": ["y"],
    "nodes": [{"op": "MatMul", "inputs": ["x", "layer.0.weight"], "outputs": ["y"]}],
}


class Pipe:
    """Bytes that cannot be sought, a few at a time."""

    def __init__(self, data, sizes=(7, 1, 4000)):
        self._data, self._sizes = io.BytesIO(data), itertools.cycle(sizes)

    def read(self, size):
        return self._data.read(min(size, next(self._sizes)))


class Slow:
    """A raw pipe, which takes a few bytes of what it is given."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        taken = bytes(data[:1000])
        self.data += taken
        return len(taken)


class Calls(list):
    """A function that remembers what it was called with."""

    def __call__(self, *arguments):
        self.append(arguments)


def run(data, target="nnpk", **options):
    """Convert bytes to bytes."""
    out = io.BytesIO()
    summary = convert(io.BytesIO(data), out, target_format=target, **options)
    return out.getvalue(), summary


def arrays():
    rng = np.random.default_rng(0)
    return {
        "layer.0.weight": rng.standard_normal((40, 30)).astype(np.float32),
        "layer.0.bias": rng.standard_normal(40).astype(np.float16),
        "layer.1.weight": rng.integers(0, 9, (3, 4, 5)),
        "flags": rng.integers(0, 2, 11).astype(bool),
        "empty": np.zeros((0, 2), np.uint16),
    }


def network(**options):
    """A file of every type of section."""
    out = io.BytesIO()
    with nnpack.Writer(out, **options) as writer:
        for name, array in arrays().items():
            writer.add(name, array)
        writer.add_alias("tied", "layer.0.weight")
        writer.add("sparse", nnpack.Csr.from_numpy(np.eye(30, dtype=np.float32)))
        writer.add_alias("tied too", "layer.0.weight")
        writer.add_graph("main", GRAPH)
        writer.add_blob("vocabulary", b"a b c" * 100)
        writer.set_metadata({"k": [1, None, {"a": 0.5}]})
    return out.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same tensors in each format."""
    folder = tmp_path_factory.mktemp("files")
    with nnpack.Writer(folder / "a.nnpk") as writer:
        for name, array in arrays().items():
            writer.add(name, array)
    for name in NAMES[1:]:
        convert(folder / "a.nnpk", folder / f"a.{name}")
    return {name: folder / f"a.{name}" for name in NAMES}


# --- formats


@pytest.mark.parametrize(
    ("head", "suffix", "wanted"),
    [
        (b"\x89NNP\r\n\x1a\n" + bytes(8), "", "nnpk"),
        (b"\x10" + bytes(7) + b"{", ".bin", "safetensors"),
        (b"PK\3\4" + bytes(12), "", "npz"),
        (b"PK\5\6" + bytes(12), ".npz", "npz"),
        (b"PK\3\4" + bytes(12), ".safetensors", "npz"),
        (b"", ".safetensors", "safetensors"),
        (b"damaged", ".NNPK", "nnpk"),
    ],
)
def test_detect(head, suffix, wanted):
    assert detect(head, suffix) == wanted


@pytest.mark.parametrize("head", [b"", b"GGUF", b"\xff" * 8 + b"{", b"\0" * 8 + b"["])
def test_detect_nothing(head):
    with pytest.raises(nnpack.UnsupportedError, match="nnpk, safetensors, npz"):
        detect(head)


def test_detect_paths(files, tmp_path):
    for name, path in files.items():
        renamed = tmp_path / f"{name}.bin"
        renamed.write_bytes(path.read_bytes())
        assert detect(path) == detect(renamed) == name


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_any_to_any_by_any_way(files, source, target, tmp_path):
    """Files, seekable objects and pipes give the same tensors, in the same order."""
    data, path = files[source].read_bytes(), tmp_path / f"out.{target}"
    summary = convert(files[source], path, threads=1)
    assert (summary.source_format, summary.target_format) == (source, target)
    assert (summary.tensors, summary.aliases, summary.lost) == (5, 0, {})
    slow = Slow()
    convert(Pipe(data), slow, target_format=target)
    assert slow.data == run(data, target)[0]
    assert run(slow.data)[0] == run(path.read_bytes())[0]
    with nnpack.open(run(slow.data)[0]) as reader:
        assert [*reader] == [*arrays()]
        for name, array in arrays().items():
            assert testing.same_bits(reader[name].read(), array)


def test_large_tensors_are_decoded_on_threads(tmp_path):
    array = np.random.default_rng(0).standard_normal((3, 1 << 18)).astype(np.float32)
    narrow = np.tile(np.arange(16, dtype=np.uint8), 1 << 16).view(BY_NAME["float4_e2m1fn"].numpy)
    data = testing.file_of({"w": array, "f": narrow})
    assert run(data, "safetensors", threads=1)[0] == run(data, "safetensors", threads=3)[0]
    back, _ = run(run(data, "safetensors", threads=3)[0], profile="raw")
    with nnpack.open(back) as reader:
        assert testing.same_bits(reader["w"].read(), array)
        assert testing.same_bits(reader["f"].read(), narrow)
        assert testing.same_bits(reader["f"][5:1000:7], narrow[5:1000:7])


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_format": "gguf"}, "no format is called 'gguf'"),
        ({"target_format": "nnpk", "source_format": "gguf"}, "no format is called 'gguf'"),
        ({}, "does not tell its format"),
        ({"target_format": "nnpk", "threads": 0}, "at least one thread"),
        ({"target_format": "npz", "digests": True}, "npz has no digests"),
        ({"target_format": "nnpk", "profile": "best"}, "no profile 'best'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        convert(io.BytesIO(network()), io.BytesIO(), **options)
    with pytest.raises(ValueError, match="does not tell its format"):
        convert(io.BytesIO(network()), "a.unknown")


def test_options_of_other_types():
    for options, message in (
        ({"threads": 1.5}, r"threads is a whole number, not 1\.5"),
        ({"limits": 10}, r"limits= is an nnpack\.Limits, .* not 10"),
    ):
        with pytest.raises(TypeError, match=message):
            convert(io.BytesIO(network()), io.BytesIO(), target_format="nnpk", **options)
    data, _ = run(network(), threads=np.int64(2))
    assert data == run(network())[0]


def test_digests_and_profile():
    data, summary = run(network(), digests=True, profile="raw")
    with nnpack.open(data, expect=summary.root) as reader:
        assert reader.root == summary.root
    assert len(data) > len(run(network())[0])
    assert run(network())[1].root is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"include": ["layer.*"]}, {"layer.0.weight", "layer.0.bias", "layer.1.weight"}),
        ({"include": ["*.0.*", "flags"]}, {"layer.0.weight", "layer.0.bias", "flags"}),
        ({"exclude": ["layer.?.weight", "empty"]}, {"layer.0.bias", "flags"}),
        ({"include": ["layer*"], "exclude": ["*bias"]}, {"layer.0.weight", "layer.1.weight"}),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_include_and_exclude(files, name, options, wanted):
    data = files[name].read_bytes()
    for source in (io.BytesIO(data), Pipe(data)):
        out, calls = io.BytesIO(), Calls()
        done = convert(source, out, target_format="nnpk", progress=calls, **options)
        with nnpack.open(out.getvalue()) as reader:
            assert {*reader} == wanted
        assert done.tensors == len(wanted)
        assert {call[2] for call in calls} == wanted | {""}
        assert calls[-1][1] in {calls[-1][0], None}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"include": ["Layer*", "x"]},
            "include='Layer*', include='x' leaves no tensor; there are 'layer.0.weight', 'layer.0",
        ),
        (
            {"exclude": ["[lfe]*"]},
            "there are 'layer.0.weight', 'layer.0.bias', 'layer.1.weight', ...",
        ),
        ({"include": ["f*"], "exclude": ["*s"]}, "include='f*', exclude='*s' leaves no tensor"),
    ],
)
@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_globs_that_leave_nothing_are_a_mistake(files, name, target, options, says, tmp_path):
    data = files[name].read_bytes()
    for source in (files[name], io.BytesIO(data), Pipe(data)):
        with pytest.raises(ValueError, match=re.escape(says)):
            convert(source, tmp_path / "x", target_format=target, **options)
        assert not [*tmp_path.iterdir()]


def test_where_there_is_nothing_globs_have_nothing_to_leave(tmp_path):
    empty = testing.file_of({})
    assert run(empty, exclude=["*"])[1].tensors == 0
    with pytest.raises(ValueError, match="include='w' leaves no tensor; there is none at all"):
        run(empty, include=["w"])


def test_digests_that_are_left_out_are_noted():
    data = network(digests=True)
    note = {"the digests of the source are left out; --digests makes new ones": []}
    for source in (io.BytesIO(data), Pipe(data)):
        assert convert(source, io.BytesIO(), target_format="nnpk").notes == note
    for source in (io.BytesIO(data), Pipe(data)):
        assert not convert(source, io.BytesIO(), target_format="nnpk", digests=True).notes
    assert not run(network())[1].notes
    for target in ("npz", "safetensors"):
        notes = run(data, target, include=["flags"])[1].notes
        assert f"the digests of the source are left out; {target} has none" in notes


@pytest.mark.parametrize("target", NAMES)
def test_digests_that_are_wrong_are_not_replaced_by_right_ones(target):
    data = network(digests=True)
    with nnpack.open(data) as file:
        digests = file.directory[len(file.directory) - 1]
    rows = bytearray(data)
    rows[digests.payload_offset] ^= 1
    options = {"digests": True} if target == "nnpk" else {}
    for source in (io.BytesIO(rows), Pipe(bytes(rows))):
        with pytest.raises(nnpack.FormatError) as bad:
            convert(source, io.BytesIO(), target_format=target, **options)
        assert bad.value.error_class in {"bad-checksum", "bad-digest"}


@pytest.mark.parametrize("target", ["nnpk", "npz", "safetensors"])
def test_digests_of_other_bytes_are_refused(target):
    """Every checksum fits, the digests do not."""
    data = (VECTORS / "invalid/digests/row-flipped.nnpk").read_bytes()
    with pytest.raises(nnpack.FormatError, match="bad-digest"):
        convert(io.BytesIO(data), io.BytesIO(), target_format=target)


@pytest.mark.parametrize("target", NAMES)
def test_progress(files, target):
    calls = Calls()
    convert(files["nnpk"], io.BytesIO(), target_format=target, progress=calls)
    sizes = [array.nbytes for array in arrays().values()]
    done = [0, *itertools.accumulate(sizes)]
    assert calls == [*zip(done, [sum(sizes)] * 6, [*arrays(), ""], strict=True)]


def test_limits_of_the_source():
    with pytest.raises(nnpack.LimitError, match="sections"):
        run(network(), limits=nnpack.Limits(sections=3))


# --- targets


@pytest.mark.parametrize("target", NAMES)
def test_existing_targets(files, tmp_path, target):
    path = tmp_path / f"a.{target}"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite"):
        convert(files["nnpk"], path)
    assert path.read_bytes() == b"old"
    convert(files["nnpk"], path, overwrite=True)
    assert detect(path) == target
    link = tmp_path / f"dangling.{target}"
    link.symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError):
        convert(files["nnpk"], link)


@pytest.mark.parametrize("name", NAMES)
def test_source_and_target_may_be_one_file(files, tmp_path, name):
    path = tmp_path / f"a.{name}"
    path.write_bytes(files[name].read_bytes())
    convert(path, path, overwrite=True)
    assert run(path.read_bytes())[0] == run(files[name].read_bytes())[0]
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("target", NAMES)
def test_nothing_appears_after_an_error(tmp_path, target):
    path = tmp_path / f"a.{target}"
    path.write_bytes(b"old")
    rng = np.random.default_rng(0)
    data = bytearray(testing.file_of({"w": rng.integers(0, 256, 5000, np.uint8)}, profile="raw"))
    data[1000] ^= 1
    for source in (io.BytesIO(data), Pipe(bytes(data))):
        with pytest.raises(nnpack.ChecksumError, match="section 'w'"):
            convert(source, path, overwrite=True)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_fifos_and_other_paths(files, tmp_path):
    fifo = tmp_path / "fifo.safetensors"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(files["safetensors"].read_bytes()))
    writer.start()
    convert(fifo, tmp_path / "a.nnpk")
    writer.join()
    assert (tmp_path / "a.nnpk").read_bytes() == files["nnpk"].read_bytes()
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "nothing.npz", tmp_path / "b.nnpk")
    with pytest.raises(IsADirectoryError):
        convert(tmp_path, tmp_path / "b.nnpk")


def test_standard_input_and_output(files, monkeypatch):
    class Stream:
        def __init__(self, data):
            self.buffer = io.BytesIO(data)

    out = Stream(b"")
    monkeypatch.setattr("sys.stdin", Stream(files["npz"].read_bytes()))
    monkeypatch.setattr("sys.stdout", out)
    convert("-", "-", target_format="nnpk")
    assert out.buffer.getvalue() == files["nnpk"].read_bytes()


# --- nnpk to nnpk


@SOME
@given(testing.models(), testing.METADATA)
def test_values_stay_what_they_are(model, metadata):
    data = testing.file_of(model, metadata)
    copy, summary = run(data)
    assert copy == data
    assert (summary.notes, summary.lost) == ({}, {})
    with nnpack.open(copy) as reader:
        for name, value in model.items():
            assert reader[name].digest() == logical_digest(value)


@pytest.mark.parametrize("make", [io.BytesIO, Pipe], ids=["file", "pipe"])
def test_sections_stay_what_they_are(make):
    out = io.BytesIO()
    summary = convert(make(network()), out, target_format="nnpk")
    assert out.getvalue() == network()
    assert (summary.tensors, summary.aliases) == (6, 2)


def test_alias_of_what_is_left_out_becomes_a_tensor():
    data, summary = run(network(), exclude=["layer*"])
    assert summary.lost == {"graph that uses a tensor left out": ["main"]}
    with nnpack.open(data) as reader:
        assert reader.aliases == {"tied too": "tied"}
        assert testing.same_bits(reader["tied too"].read(), arrays()["layer.0.weight"])
    with pytest.raises(nnpack.UnsupportedError, match="convert a file, not a pipe"):
        convert(Pipe(network()), io.BytesIO(), target_format="nnpk", exclude=["layer*"])


class Future(Node):
    """A kind that readers do not know."""

    __slots__ = ("data",)
    id, name, roles = 100, "future", {1: "data"}

    def __init__(self, data):
        self._set(data=Dense(data), shape=data.shape, dtype=data.dtype.name)

    def parameters(self):
        return b"12345678"

    @classmethod
    def from_parts(cls, shape, dtype, parameters, parts):
        raise NotImplementedError

    def window(self, start, stop):
        raise NotImplementedError


class Private(Future):
    """A kind of somebody's own."""

    __slots__ = ()
    id, name = 200, "org.example.kind"


def unknown(kind, **options):
    out = io.BytesIO()
    with nnpack.Writer(out, profile="raw", **options) as writer:
        writer.add("a", kind(np.arange(5000, dtype=np.int16)))
        writer.add("b", np.zeros(3))
    return out.getvalue()


def test_unknown_kinds_are_copied():
    data = unknown(Future)
    copy, summary = run(data, profile="raw")
    assert copy == data
    assert summary.tensors == 2
    part, _ = run(data, profile="raw", exclude=["b"], include=["a"])
    with nnpack.open(part) as reader, nnpack.open(data) as whole:
        assert reader["a"].section.body == whole["a"].section.body
    damaged = bytearray(data)
    damaged[3000] ^= 1
    with pytest.raises(nnpack.ChecksumError, match="section 'a'"):
        run(bytes(damaged))


def test_private_kinds_are_copied_with_their_names():
    data = unknown(Private, kinds={200: Private})
    copy, _ = run(data, profile="raw")
    assert copy == data
    with pytest.raises(nnpack.UnsupportedError, match=r"not a pipe.*section 'a'"):
        convert(Pipe(data), io.BytesIO(), target_format="nnpk")
    out = io.BytesIO()
    convert(Pipe(unknown(Future)), out, target_format="nnpk", profile="raw")
    assert out.getvalue() == unknown(Future)


@pytest.mark.parametrize("target", ["safetensors", "npz"])
def test_unknown_kinds_are_unsupported(target):
    data = unknown(Private, kinds={200: Private})
    with pytest.raises(nnpack.UnsupportedError, match=r"org\.example\.kind.*section 'a'"):
        run(data, target)
    with pytest.raises(nnpack.UnsupportedError, match="section 'a'"):
        convert(Pipe(unknown(Future)), io.BytesIO(), target_format=target)
    run(data, target, exclude=["a"])


def test_unknown_ancillary_sections_are_lost():
    out = io.BytesIO()
    with nnpack.Writer(out) as writer:
        writer.add("a", np.zeros(3))
        section = nnpack.container.Section(99, 1, "", 3, 0, 0, bytes(8))
        writer.copy(section, BufferSource(b""))
    copy, summary = run(out.getvalue())
    assert summary.lost == {"ancillary section of unknown type": [""]}
    assert copy == testing.file_of({"a": np.zeros(3)})


@pytest.mark.parametrize("target", NAMES)
def test_broken_values_are_not_passed_on(target):
    """A csr whose columns run over its rows is found, though its leaves are whole."""
    counts, gaps = bytes([1] * 3), bytes([0, 1, 200])
    parts = [
        a.dense(a.UINT8, (3,), counts, role=1),
        a.dense(a.UINT8, (3,), gaps, role=2),
        a.node(a.CONSTANT, a.UINT8, (3,), b"\1" + bytes(7), role=3),
    ]
    tree = a.node(a.CSR, a.UINT8, (3, 20), struct.pack("<QQ", 20, 0), parts)
    with pytest.raises(nnpack.FormatError, match=r"beyond its row's end.*section 'w'"):
        run(a.assemble(a.tensor("w", tree, counts.ljust(8, b"\0") + gaps)), target)


def test_a_blob_in_an_unknown_codec_cannot_be_converted_from_a_pipe():
    leaf = a.node(a.DENSE, a.UINT8, (100,), a.stream([b"coded"], codecs=(99,)))
    data = a.assemble(a.Part(a.BLOB, b"notes", leaf, b"coded"))
    with pytest.raises(nnpack.UnsupportedError, match="the blob is in an unknown codec"):
        convert(Pipe(data), io.BytesIO(), source_format="nnpk", target_format="nnpk")
