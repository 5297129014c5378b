"""Texts and files made to cost too much, or to be read in two ways."""

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Mapping

import numpy as np
import pytest

import nnpack
from nnpack import graph, jsontext
from nnpack.convert import convert
from nnpack.describe import describe
from nnpack.explain import _trailer
from nnpack.source import ObjectSource
from nnpack.verify import verify
from tests import assemble as a
from tests.reading import fault, read_sequential


class Pipe:
    """What can only be read in order."""

    def __init__(self, data):
        self.read = io.BytesIO(data).read


def peak_of(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# JSON


@pytest.mark.parametrize(
    "text",
    [b'{"a":"' + b"x" * (1 << 20) + b'"' + b',"b":[]' * 33 + b"}", b'{"' + b'\\"' * (1 << 19)],
    ids=["long string", "open string of escapes"],
)
def test_the_nesting_of_json_is_counted_in_little_memory(text):
    assert peak_of(lambda: jsontext._check_depth(text)) < 4 << 20


def opens(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "before", [b"", b'"]", ', b'"\\"[", ', b'"\\\\", "[{",', b"[], " * 20_000, b'"\\\\\\"]",']
)
def test_the_nesting_of_json_is_counted_exactly(before):
    assert jsontext.parse(b'{"a":[%b%b]}' % (before, opens(30)))
    with pytest.raises(nnpack.errors.Invalid, match="nested more than 32 deep"):
        jsontext.parse(b'{"a":[%b%b]}' % (before, opens(31)))


def test_half_surrogates_are_found_wherever_they_are():
    assert jsontext.parse(rb'{"a":["\ud83d\ude00","\\ud800"]}') == {"a": ["\U0001f600", "\\ud800"]}
    for text in (rb'{"a":[{"\uDC00":1}]}', rb'{"a":["\ud83dx\ude00"]}'):
        with pytest.raises(nnpack.errors.Invalid, match="half a surrogate pair"):
            jsontext.parse(text)


class Twice(dict):
    def items(self):
        return [("a", 1), ("a", 2)]


class Small(int):
    def __abs__(self):
        return 0


class Other(float):
    def __repr__(self):
        return "NaN"


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "\ud800"


def test_what_is_written_as_json_is_what_was_checked():
    for value in ({"x": Twice(a=1)}, Twice(a=1), {"x": Small(1 << 80)}, {"x": Other("inf")}):
        with pytest.raises(ValueError, match=r"twice|beyond|no inf"):
            jsontext.pack(value)
    kept = jsontext.plain({Text("k"): (Small(3), Other(-0.0), Text("t"), np.float64(0.5), True)})
    assert repr(kept) == "{'k': (3, -0.0, 't', 0.5, True)}"
    assert {type(item) for item in kept["k"]} == {int, float, str, bool}


# Graphs


class Key(str):
    """A key that counts how often a message is made of it."""

    __slots__ = ()
    used = 0

    def __format__(self, spec):
        Key.used += 1
        return super().__format__(spec)


def attributes(**values):
    node = {
        "op": "",
        "inputs": [],
        "outputs": [],
        "attributes": {Key(k): v for k, v in values.items()},
    }
    return {"inputs": [], "outputs": [], "nodes": [node]}


def test_the_place_in_a_graph_is_made_only_for_a_message():
    Key.used = 0
    graph.check(attributes(key={"ints": [1] * 100}))
    assert not Key.used
    with pytest.raises(ValueError, match=r"^graph\.nodes\[0\]\.attributes\.key\.ints\[2\]: an int"):
        graph.check(attributes(key={"ints": [1, 2, 0.5]}))
    with pytest.raises(ValueError, match=r"\.attributes\.k{64}…\.ints: a list is needed"):
        graph.check(attributes(**{"k" * 99: {"ints": 1}}))


# Conversion


class Refusing:
    """A target that nothing should be written to."""

    def write(self, data):
        raise AssertionError(f"{len(data)} bytes were written")


def csr(elements, row_length):
    """A csr of zeros that stores none of them; a leaf among its parts, so that it is not constant."""
    rows = -(-elements // row_length)
    parts = [
        a.constant((rows,), role=1),
        a.constant((0,), role=2),
        a.dense(a.UINT8, (0,), b"", role=3),
    ]
    return a.node(a.CSR, a.UINT8, (elements,), struct.pack("<QQ", row_length, 0), parts)


EXPANDING = {
    "constant": (a.constant((1 << 42,)), {}),
    "constant and ratio": (a.constant((1 << 33,)), {}),
    "one row": (csr(1 << 50, 1 << 50), {}),
    "memory": (csr(1 << 20, 1 << 18), {"memory": 1 << 17}),
}


@pytest.mark.parametrize("target", ["safetensors", "npz"])
@pytest.mark.parametrize("what", EXPANDING)
@pytest.mark.parametrize("make", [io.BytesIO, Pipe], ids=["file", "pipe"])
def test_conversion_keeps_the_limits(target, what, make):
    tree, limits = EXPANDING[what]
    data = a.assemble(a.tensor("w", tree))
    with pytest.raises(nnpack.LimitError, match="pass limits="):
        convert(make(data), Refusing(), target_format=target, limits=nnpack.Limits(**limits))


def test_conversion_of_what_is_trusted():
    data = a.assemble(a.tensor("w", a.constant((1 << 20,))))
    small = {"expansion_bytes": 1 << 16, "expansion_ratio": 10}
    with pytest.raises(nnpack.LimitError, match=r"pass limits=Limits\(expansion_bytes=1048576\)"):
        convert(io.BytesIO(data), Refusing(), target_format="npz", limits=nnpack.Limits(**small))
    out = io.BytesIO()
    limits = nnpack.Limits(expansion_bytes=1 << 20, expansion_ratio=10)
    convert(io.BytesIO(data), out, target_format="npz", limits=limits)
    assert len(out.getvalue()) > 1 << 20


@pytest.mark.parametrize("make", [io.BytesIO, Pipe], ids=["file", "pipe"])
def test_conversion_charges_for_parts_before_it_walks_them(make):
    data = a.assemble(a.tensor("w", csr(1 << 17, 1)))
    with pytest.raises(nnpack.LimitError, match="tensor_bytes"):
        convert(
            make(data),
            io.BytesIO(),
            target_format="nnpk",
            limits=nnpack.Limits(tensor_bytes=1 << 16),
        )


def test_keys_listed_twice_are_not_parsed_twice():
    header = b'{"__metadata__":{"a":"[]","nnpack.json":"[\\"a\\",\\"a\\"]"}}'
    data = struct.pack("<Q", len(header)) + header
    with pytest.raises(nnpack.FormatError, match="lists a key twice"):
        convert(io.BytesIO(data), io.BytesIO(), target_format="nnpk")


# Writing


class Lazy:
    """An array that says something else from the second reading of a cell on."""

    def __init__(self, first, later):
        self.shape, self.dtype = first.shape, first.dtype
        self.now, self.later, self.seen = first.copy(), later, 0

    def __getitem__(self, key):
        found = self.now[key].copy()
        self.seen += found.size
        self.now[key] = self.later[key]
        return found


def reading(make, **options):
    """Write a value and read it back, checked in every way."""
    out = io.BytesIO()
    with nnpack.Writer(out, **options) as file:
        make(file)
    report = verify(out.getvalue())
    assert report.verdict == "intact", report.faults
    return nnpack.open(out.getvalue())


@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_arrays_that_change_after_a_value_is_built_are_checked_again(profile):
    def changed(file):
        codes = np.zeros(4, np.uint8)
        value = nnpack.Codebook(np.float32([1, 2]), codes)
        codes[:] = 9
        with pytest.raises(ValueError, match="'w': an index of 9 into 2 entries"):
            file.add("w", value)
        counts = np.ones(2, np.uint8)
        value = nnpack.Csr(counts, np.zeros(2, np.uint8), np.ones(2, np.float32), (2, 3))
        counts[:] = 3
        with pytest.raises(ValueError, match="'w': counts sum to 6, 2 values are stored"):
            file.add("w", value)
        file.add("v", np.ones(2))

    assert [*reading(changed, profile=profile)] == ["v"]


def test_damaged_trees_of_constants_are_not_copied():
    parts = [
        a.node(a.CONSTANT, a.UINT8, (3,), b"\1" + bytes(7), role=1),
        a.constant((0,), role=2),
        a.constant((0,), role=3),
    ]
    tree = a.node(a.CSR, a.UINT8, (3, 2), struct.pack("<QQ", 2, 0), parts)
    data = a.assemble(a.tensor("w", tree))
    with pytest.raises(nnpack.FormatError, match="bad-index"):
        convert(io.BytesIO(data), io.BytesIO(), target_format="nnpk")
    with pytest.raises(nnpack.FormatError, match="bad-index"):
        nnpack.Writer(io.BytesIO()).add("w", nnpack.open(data)["w"])


@pytest.mark.parametrize("size", [5, 3 << 17])
@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_lazy_indices_are_read_once(size, profile):
    good = (np.arange(size) % 3).astype(np.uint8)
    codes = Lazy(good, good + np.uint8(9))
    file = reading(
        lambda f: f.add("w", nnpack.Codebook(np.float32([0, 1, 2]), codes)), profile=profile
    )
    assert file["w"].value().indices.array.tolist() == good.tolist()
    assert codes.seen == size


def test_lazy_counts_and_gaps_are_read_once():
    counts, gaps = np.uint8([1, 0, 2]), np.uint8([2, 0, 1])
    parts = Lazy(counts, counts + np.uint8(3)), Lazy(gaps, gaps + np.uint8(3))
    value = nnpack.Csr(*parts, Lazy(np.float32([1, 2, 3]), np.float32([4, 5, 6])), (3, 4))
    found = reading(lambda file: file.add("w", value))["w"].read()
    assert (found != 0).tolist() == [
        [False, False, True, False],
        [False] * 4,
        [True, False, True, False],
    ]


class Changing(Mapping):
    """A graph at first, something else later."""

    def __init__(self):
        self.times = 0

    def __iter__(self):
        self.times += 1
        return iter(["inputs", "outputs", "nodes", *(["bad"] if self.times > 1 else [])])

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return []


def test_graphs_and_metadata_are_taken_once():
    def write(file):
        file.add_graph("g", Changing())
        metadata = {"a": [1]}
        file.set_metadata(metadata)
        metadata["a"].append(float("nan"))

    file = reading(write)
    assert file.graphs["g"] == {"inputs": [], "outputs": [], "nodes": []}
    assert file.metadata == {"a": [1]}


@pytest.mark.parametrize("options", [{"alignment": 8.0}, {"alignment": "8"}, {"threads": 1.5}])
def test_options_that_are_no_whole_numbers(options):
    nnpack.Writer(io.BytesIO(), **{key: np.int64(8) for key in options}).add("w", np.ones(2))
    with pytest.raises(TypeError, match=r"(alignment|threads) is a whole number, not"):
        nnpack.Writer(io.BytesIO(), **options)
    with pytest.raises(ValueError, match=r"no profile \['raw'\]"):
        nnpack.Writer(io.BytesIO(), profile=["raw"])


@pytest.mark.parametrize("at", range(3))
def test_a_section_that_is_half_written_is_never_followed_by_another(at, monkeypatch):
    file = nnpack.Writer(io.BytesIO(), profile="raw")
    emit, calls = file._emit, []

    def fails(data):
        calls.append(data)
        if len(calls) == at + 1:
            raise OSError("the spool cannot be read")
        emit(data)

    monkeypatch.setattr(file, "_emit", fails)
    # Its head, its table and its indices are written one by one.
    value = nnpack.Codebook(np.arange(40_000, dtype=np.float32), np.zeros(80_000, np.uint16))
    with pytest.raises(OSError, match="spool"):
        file.add("w", value)
    with pytest.raises(ValueError, match="a write failed: the file cannot be finished"):
        file.add("v", value)
    with pytest.raises(ValueError, match="a write failed"):
        file.close()


# Reading


SPLIT = {
    "rank 2 in an unknown codec": (9, 0, (4, 1), "bad-node"),
    "transform in a known codec": (0, 3, (4,), "bad-value"),
    "transform in an unknown codec": (9, 1, (4,), "bad-value"),
}


@pytest.mark.parametrize("kind", [a.BLOB, a.GRAPH, a.METADATA])
@pytest.mark.parametrize("what", SPLIT)
def test_all_readers_agree_on_leaves_of_bytes(what, kind):
    codec, transform, shape, wanted = SPLIT[what]
    stream = a.stream([b"abcd"], codecs=(codec,), transform=transform)
    name = b"" if kind == a.METADATA else b"b"
    data = a.assemble(a.Part(kind, name, a.node(a.DENSE, a.UINT8, shape, stream), b"abcd"))
    assert fault(data) == fault(data, read_sequential) == wanted
    assert [bad.error_class for bad in verify(data).faults] == [wanted]
    with pytest.raises(nnpack.FormatError, match=wanted):
        convert(Pipe(data), io.BytesIO(), target_format="nnpk")


class Counted(io.BytesIO):
    """A file of zeros but for some pieces; counts what is read."""

    def __init__(self, size, pieces):
        super().__init__()
        self.size, self.pieces, self.at, self.most = size, pieces, 0, 0

    def seek(self, offset, whence=0):
        self.at = offset + (self.size if whence == 2 else 0)
        return self.at

    def read(self, size=-1):
        self.most = max(self.most, size)
        assert size <= 1 << 20, f"{size} bytes are read at once"
        out = bytearray(size)
        for start, data in self.pieces.items():
            low, high = max(start, self.at), min(start + len(data), self.at + size)
            if low < high:
                out[low - self.at : high - self.at] = data[low - start : high - start]
        self.at += size
        return bytes(out)


HUGE = 3 << 30


class Long(bytes):
    """Says that it is longer than it is."""

    def __len__(self):
        return HUGE


def huge_digests():
    """A file whose digests section names a payload of 3 GiB; nothing of it is there."""
    tree = a.node(a.DENSE, a.UINT8, (1, 32), a.stream([bytes(32)]))
    head = a.Part(a.DIGESTS, b"", tree, Long(), flags=1).head(16)
    end = 16 + len(head) + HUGE
    row = struct.pack("<QQQIHHHB", 1, 16, HUGE, len(head), a.DIGESTS, 1, 0, 3) + head[32:]
    section = a.Part(a.DIRECTORY, b"", a.dense(a.UINT8, (len(row),), row), row)
    directory = section.head(end) + row
    directory += bytes(-len(directory) & 7)
    pointers = struct.pack("<QQ", end, len(directory))
    trailer = pointers + struct.pack("<II", zlib.crc32(a.HEADER + directory + pointers), 0)
    tail = directory + trailer + b"\x89NNPEND\n"
    return end + len(tail), {0: a.HEADER + head, end: tail}


def test_digests_are_not_read_before_their_shape_is_checked():
    reader = nnpack.open(Counted(*huge_digests()))
    with pytest.raises(nnpack.FormatError, match="the leaves end at"):
        reader.root  # noqa: B018 - it is read
    with pytest.raises(nnpack.FormatError, match="the leaves end at"):
        nnpack.open(Counted(*huge_digests()), expect="00" * 32)
    report = verify(Counted(*huge_digests()), expect="00" * 32)
    assert [bad.error_class for bad in report.faults] == ["mismatch", "bad-digest"]
    assert "its digests are damaged" in str(report.faults[1])
    assert "the leaves end at" in describe(reader)["faults"][0]


def test_a_directory_is_not_explained_before_its_size_is_checked():
    """The chain ends at once; the trailer names a directory of 3 GiB."""
    at = 16 + HUGE
    pieces = {0: a.HEADER, at: struct.pack("<QQII", 16, HUGE, 0, 0) + b"\x89NNPEND\n"}
    rows = [*_trailer(ObjectSource(Counted(at + 32, pieces)), at, nnpack.Limits())]
    assert "the limit directory_bytes" in rows[-1].value


@pytest.fixture
def stored(tmp_path):
    """A file of blocks for several threads."""
    array = np.random.default_rng(0).integers(0, 9, 1 << 21)
    nnpack.save_file({"w": array}, tmp_path / "a.nnpk")
    return tmp_path / "a.nnpk"


def test_reading_after_another_thread_began_to_close(stored, monkeypatch):
    reader = nnpack.open(stored, threads=2)
    tensor = reader["w"]
    tensor.read()
    monkeypatch.setattr(reader.source, "close", lambda: None)  # it comes after the threads' end
    reader.close()
    with pytest.raises(ValueError, match="the file is closed"):
        tensor.read()


@pytest.mark.parametrize("reused", [False, True])
def test_another_thread_closes_while_this_one_reads(stored, monkeypatch, reused):
    reader = nnpack.open(stored, threads=1)
    tensor = reader["w"]
    read = os.preadv

    def closing(descriptor, buffers, offset):
        reader.close()
        if reused:  # the number is another file's by now
            buffers[0][:] = bytes(len(buffers[0]))
            return len(buffers[0])
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", closing)
    with pytest.raises(ValueError, match="the file is closed"):
        tensor.read()


def test_advice_for_callers_is_not_given_for_files():
    parts = [
        a.node(a.CONSTANT, a.INT8, (3,), bytes(8), role=1),
        a.constant((0,), role=2),
        a.constant((0,), role=3),
    ]
    tree = a.node(a.CSR, a.UINT8, (3,), struct.pack("<QQ", 1, 0), parts)
    with pytest.raises(nnpack.FormatError, match="int8") as caught:
        nnpack.open(a.assemble(a.tensor("w", tree)))["w"]
    with pytest.raises(ValueError, match=r"astype|view") as advised:
        nnpack.Codebook(np.ones(2), np.zeros(3, np.int8))
    assert advised.value.hint not in str(caught.value)
