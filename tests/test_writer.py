"""What a writer accepts, and the bytes that it makes of it."""

import io
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import encode, payload, profiles, testing, writer
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS
from nnpack.writer import Writer
from tests import assemble as a
from tests.test_plugins import F32, KIND_FILE, Negative, Run, one

RUNS = np.arange(200_000, dtype=np.uint32) // 1000
NOISE = np.random.default_rng(1).integers(0, 256, 300_000, np.uint8)
GRAPH = {"inputs": [], "outputs": ["w"], "nodes": []}


def fill(file):
    """Write a section of every type."""
    file.add("w", F32)
    file.add("runs", RUNS)
    file.add("noise", NOISE)
    file.add("sparse", nnpack.Csr.from_numpy((RUNS % 7 == 0).astype(np.uint8), row_length=1000))
    file.add_alias("tied", "w")
    file.add_blob("text", b"tokens " * 100)
    file.add_graph("g", GRAPH)
    file.set_metadata({"k": "v"})


def written(use=fill, **options):
    target = io.BytesIO()
    with Writer(target, **options) as file:
        use(file)
    return target.getvalue()


def listing(path):
    return sorted(entry.name for entry in Path(path).iterdir())


# What cannot be


def opened(**options):
    return Writer(io.BytesIO(), **options)


def closed():
    file = opened()
    file.add("w", F32)
    file.close()
    return file


def used():
    file = opened()
    fill(file)
    return file


class Unnamed(Run):
    name = "run"


def nested(levels):
    value = nnpack.Dense(F32)
    for _ in range(levels - 1):
        value = nnpack.Concat([value], 0)
    return value


def wide(parts):
    row = nnpack.Concat([F32] * parts, 0)
    return nnpack.Concat([row, F32], 0)


ERRORS = {
    "profile": (lambda: opened(profile="tiny"), ValueError, r"no profile 'tiny'; there are raw, fast, balanced, small"),
    "alignment": (lambda: opened(alignment=48), ValueError, r"a power of two from 8 to 65536, not 48"),
    "alignment below": (lambda: opened(alignment=4), ValueError, r"not 4"),
    "alignment above": (lambda: opened(alignment=1 << 17), ValueError, r"not 131072"),
    "threads": (lambda: opened(threads=0), ValueError, r"at least one thread is needed, not 0"),
    "codec name": (lambda: opened(codecs={200: Unnamed()}), ValueError, r"the plug-in 'run' with id 200 needs an id from 128 to 255 and a reverse-DNS name"),
    "codec id": (lambda: opened(codecs={256: Run()}), ValueError, r"'org\.example\.run' with id 256"),
    "two names": (lambda: opened(codecs={200: Run()}, bindings={(5, 200): "a.b"}), ValueError, r"a\.b and org\.example\.run cannot both have id 200"),
    "directory": (lambda: Writer("/nonexistent/m.nnpk"), FileNotFoundError, r"nonexistent"),
    "empty name": (lambda: opened().add("", F32), ValueError, r"a name takes 1 to 1024 bytes, not 0"),
    "long name": (lambda: opened().add("é" * 513, F32), ValueError, r"not 1026"),
    "surrogate": (lambda: opened().add("\ud800", F32), ValueError, r"'\\ud800' is not Unicode text"),
    "line feed": (lambda: opened().add_blob("a\nb", b""), ValueError, r"'a\\nb' holds the character '\\n'"),
    "direction": (lambda: opened().add_graph("\u202e", GRAPH), ValueError, r"holds the character '\\u202e'"),
    "same name": (lambda: used().add("w", F32), ValueError, r"the file has a section called 'w' already"),
    "name of an alias": (lambda: used().add_blob("tied", b""), ValueError, r"called 'tied' already"),
    "name of a blob": (lambda: used().add_graph("text", GRAPH), ValueError, r"called 'text' already"),
    "name of a graph": (lambda: used().add_alias("g", "w"), ValueError, r"called 'g' already"),
    "alias of nothing": (lambda: used().add_alias("x", "y"), ValueError, r"an alias needs a tensor written before it; 'y' is none"),
    "alias of an alias": (lambda: used().add_alias("x", "tied"), ValueError, r"'tied' is none"),
    "alias of a blob": (lambda: used().add_alias("x", "text"), ValueError, r"'text' is none"),
    "alias of itself": (lambda: used().add_alias("x", "x"), ValueError, r"'x' is none"),
    "tensor after close": (lambda: closed().add("v", F32), ValueError, r"the file is closed"),
    "alias after close": (lambda: closed().add_alias("v", "w"), ValueError, r"the file is closed"),
    "blob after close": (lambda: closed().add_blob("v", b""), ValueError, r"the file is closed"),
    "graph after close": (lambda: closed().add_graph("v", GRAPH), ValueError, r"the file is closed"),
    "section after close": (lambda: closed()._section(a.BLOB, "v", b""), ValueError, r"the file is closed"),
    "graph": (lambda: opened().add_graph("g", {}), ValueError, r"inputs is missing"),
    "graph of tuples": (lambda: opened().add_graph("g", {**GRAPH, "nodes": ()}), ValueError, r"a list is needed"),
    "graph of NaN": (lambda: opened().add_graph("g", {**GRAPH, "name": float("nan")}), ValueError, r"JSON has no nan"),
    "graph of nothing": (lambda: written(lambda f: f.add_graph("g", GRAPH)), ValueError, r"a graph uses 'w', which no node, input or tensor gives"),
    "metadata": (lambda: opened().set_metadata({"a": object()}), TypeError, r"JSON has no object"),
    "metadata list": (lambda: opened().set_metadata([1]), TypeError, r"."),
    "array": (lambda: opened().add("w", np.array([None])), TypeError, r"cannot be stored"),
    "depth": (lambda: opened().add("w", nested(9)), ValueError, r"a tensor has at most 8 levels and 64 nodes"),
    "nodes": (lambda: opened().add("w", wide(62)), ValueError, r"at most 8 levels and 64 nodes"),
    "unsupported": (lambda: opened().add("w", nnpack.open(UNKNOWN)["u"]), nnpack.UnsupportedError, r"codec 99"),
}  # fmt: skip
UNKNOWN = a.assemble(one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([b"abcd"], codecs=(99,))), b"abcd", alignment=5))  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_what_cannot_be_written(what):
    call, kind, message = ERRORS[what]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("what", ["metadata after close", "a reserved key", "no target"])
def test_what_should_not_be_written(what):
    with pytest.raises((ValueError, TypeError), match=r"."):
        {
            "metadata after close": lambda: closed().set_metadata({"a": 1}),
            "a reserved key": lambda: opened().set_metadata({"nnpack.mine": 1}),  # R-JSN-012
            "no target": lambda: Writer(5),
        }[what]()


def test_the_limits_of_trees():
    for value in (nested(8), wide(61)):
        assert nnpack.open(testing.file_of({"w": value}))["w"].read().shape == value.shape


def test_the_limits_of_files(monkeypatch):
    monkeypatch.setattr(writer, "MAX_SECTIONS", 4)
    file = opened()
    for name in "abc":
        file.add_blob(name, b"")
    with pytest.raises(ValueError, match="a file has fewer than 4 sections"):
        file.add_blob("d", b"")
    monkeypatch.setattr(writer, "MAX_HEAD", 79)
    with pytest.raises(ValueError, match="the head of 'w' passes 64 MiB: split the tensor"):
        opened().add("w", F32)


def test_a_refused_section_leaves_the_file_as_it_was():
    class Failing:
        shape, dtype = (600_000,), np.dtype("f8")

        def __getitem__(self, key):
            if key[0].start:
                raise KeyError(key)
            return np.zeros(key[0].stop - key[0].start)

    target = io.BytesIO()
    with Writer(target) as file:
        file.add("w", F32)
        for value in (Failing(), np.array(["x"]), nested(9)):
            with pytest.raises((KeyError, TypeError, ValueError)):
                file.add("v", value)
        with pytest.raises(ValueError, match="inputs is missing"):
            file.add_graph("v", {})
        file.add("v", F32)
    assert target.getvalue() == testing.file_of({"w": F32, "v": F32})


# What is written


def test_nothing_changes_the_bytes():
    for profile in ("raw", "balanced"):
        wanted = written(profile=profile)
        for threads in (1, 2, 5, None):
            assert written(profile=profile, threads=threads) == wanted
        assert written(profile=profile, codecs=CODECS) == wanted
    assert written() != written(profile="raw")
    assert nnpack.save({"w": F32}, {"a": 1}) == testing.file_of({"w": F32}, {"a": 1})


def test_the_functions_of_safetensors_shape(tmp_path):
    path = tmp_path / "m.nnpk"
    nnpack.save_file({"b": F32, "a": RUNS}, path, {"k": 1}, profile="raw")
    assert path.read_bytes() == testing.file_of({"b": F32, "a": RUNS}, {"k": 1}, profile="raw")
    assert [*nnpack.load_file(path)] == [*nnpack.load(path.read_bytes())] == ["b", "a"]
    assert nnpack.load(nnpack.save({})) == {}


def test_profiles():
    raw, balanced = written(profile="raw"), written(profile="balanced")
    with nnpack.open(raw) as one_file, nnpack.open(balanced) as other:
        for name in one_file:
            first, second = one_file[name], other[name]
            assert testing.same_bits(first.read(), second.read())
            assert first.digest() == second.digest()
            if first.kind == "dense":
                assert first.node.source.head.is_raw
                assert first.stored_nbytes == first.nbytes
        assert other["runs"].stored_nbytes < one_file["runs"].nbytes // 20
        assert (other["noise"].node.source.head.is_raw, other["w"].node.source.head.is_raw) == (
            True,
            True,
        )
    assert len(balanced) < len(raw) // 2


CHOICES = {
    "ascending": (np.cumsum(NOISE, dtype=np.uint64), 2),
    "descending": (np.arange(30_000, 0, -3, dtype=np.int16), 2),
    "weights": (np.random.default_rng(2).normal(size=50_000).astype(np.float32), 3),
    "complex": (RUNS.astype(np.complex128), 0),
    "small integers": (NOISE // 8, 3),
    "noise": (NOISE, 0),
    "narrow": (nnpack.Dense(NOISE // 128, "uint1"), 0),
    "narrow runs": (nnpack.Dense((RUNS % 2).astype(np.uint8), "uint3"), 1),
    "short": (np.zeros(63, np.uint8), 0),
    "many blocks": (np.arange(3 << 20).astype(np.uint16), 2),
}


@pytest.mark.parametrize("what", CHOICES)
def test_choice_of_transform(what):
    value, transform = CHOICES[what]
    tensor = nnpack.open(testing.file_of({"w": value}))["w"]
    assert transform == tensor.node.source.head.transform
    assert tensor.stored_nbytes <= tensor.nbytes
    assert testing.same_bits(tensor.read(), np.asarray(value))


@pytest.mark.parametrize("log2", range(3, 17))
def test_alignment(tmp_path, log2):
    path = tmp_path / "m.nnpk"
    sparse = nnpack.Csr.from_numpy(np.eye(90, dtype=np.float32))
    with Writer(path, profile="raw", alignment=1 << log2) as file:
        file.add("odd", np.arange(3, dtype=np.uint8))
        file.add("w", RUNS)
        file.add("sparse", sparse)
        file.add("empty", np.zeros((0, 4)))
    with nnpack.open(path) as reader:
        for name in ("odd", "w", "empty"):
            tensor = reader[name]
            assert tensor.section.alignment == (log2 if tensor.size else 3)
            view = tensor.view()
            assert view.ctypes.data % min(1 << log2, 4096) == 0 or not tensor.size
            assert testing.same_bits(view, tensor.read())
        starts = [leaf.source.start for _, leaf in reader["sparse"].node.parts()]
        assert [start % (1 << log2) for start in starts] == [0, 0, 0]


def test_alignment_of_its_own():
    reader = nnpack.open(written(profile="raw"))
    found = {
        section.name: section.alignment for section in reader.sections if section.type == a.TENSOR
    }
    assert found == {"w": 3, "runs": 6, "noise": 6, "sparse": 6}
    edges = {"below": np.zeros(4095, np.uint8), "at": np.zeros(4096, np.uint8)}
    sections = nnpack.open(testing.file_of(edges, profile="raw")).sections
    assert [section.alignment for section in sections] == [3, 6]
    coded = nnpack.open(testing.file_of({"w": np.zeros(9999)})).sections
    assert coded[0].alignment == 3


def test_blocks():
    """SPEC 13.3: 2^18 cells, and blocks of at most 8 MiB."""
    for value, log2 in (
        (NOISE, 18),
        (np.zeros(1, np.complex128), 18),
        (np.zeros((1 << 17) + 1), 18),
    ):
        source = nnpack.open(testing.file_of({"w": value}, profile="raw"))["w"].node.source
        assert source.head.log2 == log2
        assert len(source.head.table) == -(-value.size >> log2) or len(source.head.table) == -(
            -value.size // (1 << log2)
        )
    for dtype, cells, log2 in (
        ("uint8", (1 << 30) + 1, 20),
        ("uint8", 1 << 30, 18),
        ("complex128", 1 << 27, 19),
    ):
        assert profiles.raw_plan(nnpack.dtypes.BY_NAME[dtype], cells).log2 == log2


class Lazy:
    """An array that can only be sliced."""

    def __init__(self, array):
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __getitem__(self, key):
        return self._array[key]


def test_a_lazy_array_is_written_as_the_array_that_it_is():
    for profile in ("raw", "balanced"):
        for array in (RUNS.reshape(40, -1), NOISE, F32, np.zeros((3, 0))):
            assert testing.file_of({"w": Lazy(array)}, profile=profile) == testing.file_of(
                {"w": array}, profile=profile
            )


@pytest.mark.parametrize("limit", [0, 1000, 100_000, 300_000])
def test_what_waits_on_disk_is_the_same(tmp_path, monkeypatch, limit):
    wanted = {profile: written(profile=profile) for profile in ("raw", "balanced")}
    monkeypatch.setattr(payload, "SPOOL", limit)
    for profile, data in wanted.items():
        assert written(profile=profile) == data
        assert testing.file_of({"w": Lazy(NOISE)}, profile=profile, threads=1) == testing.file_of(
            {"w": NOISE}, profile=profile
        )
        path = tmp_path / "m.nnpk"
        with Writer(path, profile=profile) as file:
            fill(file)
        assert path.read_bytes() == data
    assert listing(tmp_path) == ["m.nnpk"]


def test_blocks_are_encoded_ahead_in_order(monkeypatch):
    wanted = testing.file_of({"w": NOISE}, planner=small, threads=1)
    for ahead in (0, 5000, 8 << 20):
        monkeypatch.setattr(encode, "AHEAD", ahead)
        assert testing.file_of({"w": NOISE}, planner=small, threads=3) == wanted


def small(_):
    return testing.Plan(TRANSFORMS[0], (CODECS[1],), 10)


def test_digests_at_the_edge_of_a_piece():
    def data_of(size):
        return written(lambda file: file.add_blob("b", bytes(size)), profile="raw", digests=True)

    size = (1 << 20) - 200
    size += (1 << 20) - nnpack.open(data_of(size)).sections[-1].offset
    for more, pieces in ((0, 1), (8, 2)):
        data = data_of(size + more)
        reader = nnpack.open(data)
        assert (reader.sections[-1].offset, reader.sections[-1].payload_length) == (
            (1 << 20) + more,
            32 * pieces,
        )
        assert len(nnpack.open(data, expect=reader.root).blobs["b"]) == size + more


def test_the_root_that_the_writer_knows():
    sink = io.BytesIO()
    file = Writer(sink, digests=True)
    fill(file)
    assert file.root is None
    file.close()
    assert nnpack.open(sink.getvalue(), expect=file.root).root == file.root
    assert written(digests=True) == sink.getvalue()


# Plug-ins and copies


def test_private_names_are_bound_first():
    data = written(lambda _: None, codecs={201: Run()}, kinds={130: Negative})
    body = b"\2\x82\x14\0org.example.negative" + b"\5\xc9\x0f\0org.example.run" + bytes(5)
    (section,) = nnpack.open(data).sections
    assert (section.type, section.body) == (a.NAMES, body)
    assert nnpack.open(data).bindings == {
        (2, 130): "org.example.negative",
        (5, 201): "org.example.run",
    }
    assert KIND_FILE[16 + 32 : 16 + 32 + 24] == body[:24]
    only = written(lambda _: None, bindings={(3, 200): "a.b"})
    assert nnpack.open(only).bindings == {(3, 200): "a.b"}


@pytest.mark.parametrize("what", ["kind", "codec", "codec under another number"])
def test_a_private_id_is_not_written_without_its_name(what):
    plan = testing.Plan(TRANSFORMS[0], (Run(),), 18)
    zeros = np.zeros(99, np.uint8)
    with pytest.raises(ValueError, match=r"."):
        {
            "kind": lambda: testing.file_of({"w": Negative(nnpack.Dense(F32), 0)}),
            "codec": lambda: testing.file_of({"w": zeros}, planner=lambda _: plan),
            "codec under another number": lambda: testing.file_of(
                {"w": zeros}, planner=lambda _: plan, codecs={201: Run()}
            ),
        }[what]()


def test_tensors_of_files_are_written_as_values():
    data = written()
    again = written(
        lambda file: [file.add(name, tensor) for name, tensor in nnpack.open(data).items()]
    )
    for name, tensor in nnpack.open(data).items():
        assert nnpack.open(again)[name].digest() == tensor.digest()


def test_json_texts_are_kept_as_they_are():
    text = ' {"b" : [1, 2.50, "\\u00e4"],\n  "a": 1e2}\n'
    graph = '{"nodes": [], "outputs": [],   "inputs": ["x"]}'
    out = io.BytesIO()
    with nnpack.Writer(out, profile="raw") as writer:
        writer.add_graph("g", graph)
        writer.set_metadata(text)
    assert text.encode() in out.getvalue()
    assert graph.encode() in out.getvalue()
    with nnpack.open(out.getvalue()) as reader:
        assert reader.metadata == {"a": 100.0, "b": [1, 2.5, "ä"]}
        assert reader.graphs["g"]["inputs"] == ["x"]
    for bad in ('{"a": 1, "a": 2}', "[]", "{", '{"nnpack.mine": 1}', '{"a": "\\ud800"}', "\ud800"):
        with pytest.raises(ValueError, match=r"."):
            nnpack.Writer(io.BytesIO()).set_metadata(bad)
    with pytest.raises(ValueError, match="inputs"):
        nnpack.Writer(io.BytesIO()).add_graph("g", "{}")
