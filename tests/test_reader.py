"""nnpack.open: sources, laziness, slices, limits, text, graphs, digests, and what is unknown."""

import hashlib
import io
import json
import mmap
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import jsontext, memory, source, stream, testing
from nnpack.abc import Codec, Node
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS
from tests import assemble as a
from tests.reading import fault, read_random, read_sequential

F32 = np.array([1.5, -0.0, np.nan], np.float32)
GRAPH = {"inputs": ["x"], "outputs": ["y"], "nodes": [{"op": "Mul", "inputs": ["x", "tied"], "outputs": ["y"]}]}  # fmt: skip


def small_blocks(leaf):
    """Blocks of 1024 cells, compressed."""
    planes = len(TRANSFORMS[1].plane_lengths(1, leaf.cell))
    return testing.Plan(TRANSFORMS[1], (CODECS[1],) * planes, 10)


def written(fill, **options):
    target = io.BytesIO()
    with nnpack.Writer(target, **options) as writer:
        fill(writer)
    return target.getvalue()


def everything(writer):
    writer.add("z", F32)
    writer.add_alias("tied", "z")
    writer.add_graph("main", GRAPH)
    writer.add("a", nnpack.Dense(np.array([[1, 2], [3, 0]], np.uint8), "uint3"))
    writer.add_blob("tokens.json", b"{}")
    writer.add_alias("b", "a")
    writer.add("empty", np.zeros((0, 2), np.int16))
    writer.set_metadata({"k": [1, None]})


ALL = written(everything, profile="raw")


def open_files():
    """The names of the files that this process has open."""
    found = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return sorted(name for name in found if not name.startswith("/proc"))


# Sources


class Short:
    """A seekable object that gives a few bytes at a time."""

    def __init__(self, data):
        self._file = io.BytesIO(data)
        self.seek = self._file.seek

    def read(self, size):
        return self._file.read(min(size, 7))


def mapped(path):
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


SOURCES = {
    "text path": str,
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "memoryview of items": lambda path: memoryview(path.read_bytes()).cast("d"),
    "array": lambda path: np.fromfile(path, np.uint8),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "unbuffered file": lambda path: path.open("rb", buffering=0),
    "short reads": lambda path: Short(path.read_bytes()),
    "mapping": mapped,
}


@pytest.mark.parametrize("what", SOURCES)
def test_source(tmp_path, what):
    path = tmp_path / "m.nnpk"
    path.write_bytes(ALL + bytes(-len(ALL) & 7))
    given = SOURCES[what](path)
    with nnpack.open(given) as reader:
        assert [*reader] == ["z", "tied", "a", "b", "empty"]
        assert testing.same_bits(reader["tied"].read(), F32)
        assert testing.same_bits(reader["tied"][1:], F32[1:])
        assert reader["b"].read().tolist() == [[1, 2], [3, 0]]
        assert reader.blobs["tokens.json"] == b"{}"
    if hasattr(given, "closed"):
        assert not given.closed
        given.close()


def test_reader_is_a_mapping_in_file_order():
    with nnpack.open(ALL) as reader:
        assert repr(reader) == "<nnpack.Reader with 5 tensors>"
        assert (len(reader), "b" in reader, "main" in reader, None in reader) == (
            5,
            True,
            False,
            False,
        )
        assert [*reader.keys()] == [name for name, _ in reader.items()] == [*reader]
        assert reader.get("nothing") is None
        for name in ("nothing", "main", "tokens.json", ""):
            with pytest.raises(KeyError):
                reader[name]
        assert reader.aliases == {"tied": "z", "b": "a"}
        assert reader.metadata == {"k": [1, None]}
        assert reader.metadata is reader.metadata
        assert dict(reader.graphs) == {"main": GRAPH}
        assert dict(reader.blobs) == {"tokens.json": b"{}"}
        assert (len(reader.graphs), "main" in reader.graphs, "z" in reader.graphs) == (
            1,
            True,
            False,
        )
        assert reader.root is None
        assert [(s.type, s.name) for s in reader.sections] == [
            (a.TENSOR, "z"), (a.ALIAS, "tied"), (a.GRAPH, "main"), (a.TENSOR, "a"), (a.BLOB, "tokens.json"),
            (a.ALIAS, "b"), (a.TENSOR, "empty"), (a.METADATA, "")]  # fmt: skip
        assert len(reader.directory) == 8
        assert reader.bindings == {}
        loaded = reader.load()
        assert [*loaded] == [*reader]
        assert loaded["tied"] is not loaded["z"]
        assert [array.flags.writeable for array in loaded.values()] == [True] * 5


def test_tensor_says_what_it_is_before_it_is_read():
    tensor = nnpack.open(ALL)["b"]
    assert repr(tensor) == "<Tensor 'b' dense uint3[2, 2]>"
    assert (tensor.name, tensor.section.name, tensor.kind) == ("b", "a", "dense")
    assert (tensor.shape, tensor.dtype, tensor.size, len(tensor)) == ((2, 2), "uint3", 4, 2)
    assert (tensor.nbytes, tensor.stored_nbytes, tensor.charge, tensor.supported) == (4, 2, 4, True)
    assert (tensor.head.kind, tensor.head.dtype) == (1, 0x13)
    assert np.asarray(tensor).tolist() == [[1, 2], [3, 0]]
    assert np.asarray(tensor, np.float32).dtype == np.float32
    assert [row.tolist() for row in tensor] == [[1, 2], [3, 0]]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(tensor, copy=False)
    with pytest.raises(TypeError, match="rank 0 has no length"):
        len(nnpack.open(testing.file_of({"w": np.uint8(1)}))["w"])
    empty = nnpack.open(testing.file_of({}))
    assert (len(empty), empty.metadata, dict(empty.graphs), empty.load()) == (0, {}, {}, {})
    only = nnpack.open(testing.file_of({}, {"a": 1}))
    assert (len(only), only.metadata) == (0, {"a": 1})


def test_every_source_gives_its_bytes_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(source.AuthenticatedSource, "KEEP", 1)
    path = tmp_path / "m.nnpk"
    path.write_bytes(SIGNED)
    file = io.BytesIO(SIGNED)
    found = [source.open_source(given, mapped=True) for given in (SIGNED, path, file)]
    found.append(nnpack.open(SIGNED, expect=ROOT).source)
    size = len(SIGNED)
    for one_source in found:
        assert isinstance(one_source, source.Source)
        assert one_source.size == size
        for start, stop in (
            (0, 0),
            (0, 7),
            (3, 9),
            (5, 400_000),
            (size - 3, size),
            (0, size),
            (1 << 20, 3 << 20),
        ):
            assert one_source.read(start, stop - start) == SIGNED[start:stop]
            out = bytearray(stop - start)
            one_source.read_into(start, memoryview(out))
            assert out == SIGNED[start:stop]
        for length in (4, 1 << 17):
            for call in (
                one_source.read,
                lambda at, n, s=one_source: s.read_into(at, memoryview(bytearray(n))),
            ):
                with pytest.raises(nnpack.TruncatedError):
                    call(size - length + 1, length)
        one_source.close()
        one_source.close()
        with pytest.raises(ValueError, match="the file is closed"):
            one_source.read(0, 1)
    part = source.BufferSource(b"abc", 100)
    assert (part.size, part.read(101, 2)) == (103, b"bc")


NOT_SOURCES = {
    "number": (lambda _: 5, TypeError, r"a path, a bytes-like object or a seekable binary file is needed, not 5"),
    "none": (lambda _: None, TypeError, r"is needed, not None"),
    "strided": (lambda _: memoryview(ALL)[::2], TypeError, r"is needed"),
    "missing": (lambda at: at / "missing", FileNotFoundError, r"missing"),
    "directory": (lambda at: at, IsADirectoryError, r"Is a directory"),
    "pipe": (lambda at: os.mkfifo(at / "pipe") or at / "pipe", OSError, r"not a regular file; read_stream\(\) reads pipes"),
    "empty file": (lambda at: (at / "e").write_bytes(b"") or at / "e", nnpack.TruncatedError, r"the file is empty"),
    "empty bytes": (lambda _: b"", nnpack.TruncatedError, r"the file is empty"),
    "short": (lambda _: ALL[:127], nnpack.TruncatedError, r"127 bytes are less than the smallest file"),
    "other file": (lambda _: b"PK\3\4" + bytes(200), nnpack.FormatError, r"not-nnpack: "),
    "cut": (lambda _: ALL[:-1], nnpack.TruncatedError, r"its writing never finished, or bytes follow it"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_SOURCES)
def test_what_cannot_be_opened(tmp_path, what):
    make, kind, message = NOT_SOURCES[what]
    with pytest.raises(kind, match=message):
        nnpack.open(make(tmp_path))
    assert not [name for name in open_files() if name.startswith(f"{tmp_path}/")]


OPTIONS = {
    "mmap": ({"mmap": "yes"}, r'mmap is "auto", "always" or "never", not \'yes\''),
    "threads": ({"threads": 0}, r"at least one thread is needed, not 0"),
    "root": ({"expect": "00"}, r"expect= is 64 hex digits or 32 bytes, not '00'"),
    "root bytes": ({"expect": bytes(31)}, r"64 hex digits or 32 bytes"),
    "root digits": ({"expect": "g" * 64}, r"64 hex digits or 32 bytes"),
    "map an object": ({"mmap": "always"}, r"a file object cannot be mapped: use read\(\)"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_options_that_cannot_be(what):
    options, message = OPTIONS[what]
    with pytest.raises(ValueError, match=message):
        nnpack.open(io.BytesIO(ALL), **options)


BIG = np.arange(300_000, dtype=np.uint32).reshape(600, 500)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("value", [
    BIG, nnpack.Codebook(np.arange(256, dtype=np.uint64), (BIG % 251).astype(np.uint8)),
    nnpack.Csr.from_numpy(BIG % 3), nnpack.Quantized(BIG[:, :1], np.float32(2))], ids=lambda v: getattr(v, "name", "array"))  # fmt: skip
def test_threads_change_nothing(value, threads, monkeypatch):
    monkeypatch.setattr(stream, "PIECE", 1 << 12)  # what is worth a thread
    data = testing.file_of({"w": value}, planner=small_blocks)
    wanted = np.asarray(value)
    with nnpack.open(data, threads=threads) as reader:
        tensor = reader["w"]
        assert testing.same_bits(tensor.read(), wanted)
        out = np.empty_like(wanted)
        assert tensor.read(out=out) is out
        assert testing.same_bits(out, wanted)
        assert testing.same_bits(tensor[5:590], wanted[5:590])
        assert testing.same_bits(tensor.value().to_numpy(), wanted)
        assert testing.same_bits(reader.load()["w"], wanted)


def test_a_reader_is_shared_by_threads(tmp_path):
    arrays = {f"w{i}": BIG[i : 20 * i + 1] for i in range(20)}
    path = tmp_path / "m.nnpk"
    path.write_bytes(written(lambda w: [w.add(k, v) for k, v in arrays.items()], digests=True))
    root = nnpack.open(path).root
    for given, options in ((path, {}), (path.open("rb"), {"threads": 3}), (path, {"expect": root})):
        with nnpack.open(given, **options) as reader, ThreadPoolExecutor(8) as pool:
            for name, found in pool.map(
                lambda name, r=reader: (name, r[name].read()), [*arrays] * 5
            ):
                assert testing.same_bits(found, arrays[name])
        if given is not path:
            given.close()


def test_damage_in_one_block_is_raised_from_any_thread():
    data = bytearray(testing.file_of({"w": BIG}, planner=small_blocks))
    section = nnpack.open(bytes(data)).sections[0]
    data[section.payload_offset + section.payload_length // 2] ^= 1
    for threads in (1, 4):
        reader = nnpack.open(data, threads=threads)
        assert reader["w"][:10].tolist() == BIG[:10].tolist()
        with pytest.raises(
            nnpack.ChecksumError, match=r"bad-checksum: CRC-32 .* \(section 'w', byte"
        ):
            reader["w"].read()
        reader.close()


WRONG_OUT = {
    "shape": np.empty(4, np.float32),
    "rank": np.empty((3, 1), np.float32),
    "dtype": np.empty(3, np.int32),
    "order": np.empty(3, ">f4"),
    "strided": np.empty(6, np.float32)[::2],
    "read-only": np.frombuffer(bytes(12), np.float32),
}


@pytest.mark.parametrize("what", WRONG_OUT)
def test_out_that_does_not_fit(what):
    with pytest.raises(
        ValueError, match=r"out must be a writable, C-contiguous float32 array of shape \(3,\)"
    ):
        nnpack.open(ALL)["z"].read(out=WRONG_OUT[what])


def test_out_of_every_rank():
    for value in (np.uint8(7), np.zeros((0, 2)), F32, F32.reshape(1, 3, 1)):
        out = np.full(value.shape, 9, value.dtype)
        assert nnpack.open(testing.file_of({"w": value}))["w"].read(out) is out
        assert testing.same_bits(out, np.asarray(value))


SLICES = {
    "too many": ((0, 0, 0), IndexError, r"the index \(0, 0, 0\) does not fit the shape \(600, 500\)"),
    "two dots": ((..., ...), IndexError, r"does not fit the shape"),
    "above": (600, IndexError, r"index 600 is out of range for an axis of 600"),
    "below": ((0, -501), IndexError, r"index -501 is out of range for an axis of 500"),
    "float": (1.0, TypeError, r"an index is made of ints, slices and \.\.\., not 1\.0"),
    "list": ([0, 1], TypeError, r"not \[0, 1\]"),
    "mask": (np.ones(600, bool), TypeError, r"."),
    "new axis": (None, TypeError, r"not None"),
    "text": ("a", TypeError, r"not 'a'"),
    "step": (slice(None, None, 0), ValueError, r"step"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "kind", "message"), SLICES.values(), ids=SLICES)
def test_index_that_cannot_be(key, kind, message):
    with pytest.raises(kind, match=message):
        nnpack.open(testing.file_of({"w": BIG}))["w"][key]


def test_truth_is_no_index():
    with pytest.raises(TypeError, match="not True"):
        nnpack.open(testing.file_of({"w": BIG}))["w"][np.bool_(1).item()]


KEYS = [
    (), ..., 3, -1, np.int64(7), slice(10, 12), (slice(None), 4), (slice(None, None, -1), slice(None, None, -3)),
    (slice(5, 5), 0), (slice(None), slice(9, 2)), (2, 3), (..., -1), (2, ...), (slice(1, None, 150), slice(2, 490, 7)),
    (slice(500, 2, -97),), (slice(None, None, 599), slice(None)), (slice(-1, -700, -1), 0),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_index(key):
    tensor = nnpack.open(testing.file_of({"w": BIG}, planner=small_blocks))["w"]
    found = tensor[key]
    assert testing.same_bits(found, np.asarray(BIG[key]))
    assert found.flags.writeable


def test_slices_of_nothing():
    for shape, keys in (
        ((0, 3), (..., (slice(None), 1), slice(4))),
        ((3, 0), (2, slice(None, None, -1))),
        ((), ((), ...)),
    ):
        array = np.ones(shape, np.int16)
        tensor = nnpack.open(testing.file_of({"w": array}))["w"]
        for key in keys:
            assert testing.same_bits(tensor[key], np.asarray(array[key]))
    with pytest.raises(IndexError, match="index 0 is out of range for an axis of 0"):
        nnpack.open(testing.file_of({"w": np.ones((0, 3))}))["w"][0]


def test_slices_of_rows_longer_than_a_piece():
    array = np.arange(3 * 2 * 300_000, dtype=np.uint32).reshape(3, 2, 300_000)
    tensor = nnpack.open(testing.file_of({"w": array}, profile="raw"))["w"]
    for key in (
        (slice(None, None, 2), 1),
        (slice(None, None, -1), slice(None), slice(7, 299_000, 1000)),
        (..., 5),
    ):
        assert testing.same_bits(tensor[key], np.ascontiguousarray(array[key]))


def test_a_slice_reads_only_its_blocks():
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Counting(testing.file_of({"w": np.arange(1 << 22, dtype=np.uint64)}, profile="raw"))
    tensor = nnpack.open(file)["w"]
    file.taken = 0
    assert tensor[123_456] == 123_456
    assert file.taken <= 8 << 18


# Views


def test_view_is_the_file(tmp_path):
    path = tmp_path / "m.nnpk"
    path.write_bytes(
        testing.file_of(
            {"w": BIG, "e": np.zeros((2, 0), np.int8), "s": np.float64(2)}, profile="raw"
        )
    )
    data = bytearray(path.read_bytes())
    for given, options in (
        (path, {}),
        (path, {"mmap": "always"}),
        (data, {}),
        (data, {"mmap": "never"}),
    ):
        reader = nnpack.open(given, **options)
        view = reader["w"].view()
        assert testing.same_bits(view, BIG)
        assert not view.flags.writeable
        assert not view.flags.owndata
        assert (reader["e"].view().shape, reader["s"].view()[()]) == ((2, 0), 2)
        reader.close()
        assert testing.same_bits(view, BIG)
    base = np.frombuffer(data, np.uint8)
    assert np.shares_memory(nnpack.open(data)["w"].view(), base)


VIEWLESS = {
    "coded": (testing.file_of({"w": BIG}), {}, r"'w' is not stored raw in whole bytes: use read\(\)"),
    "packed": (testing.file_of({"w": nnpack.Dense(np.zeros(9, np.uint8), "uint4")}, profile="raw"), {}, r"not stored raw in whole bytes"),
    "constant": (testing.file_of({"w": nnpack.Constant(np.uint8(1), (3,))}), {}, r"not stored raw"),
    "never": (testing.file_of({"w": BIG}, profile="raw"), {"mmap": "never"}, r'opened with mmap="never": use read\(\)'),
}  # fmt: skip


@pytest.mark.parametrize("what", VIEWLESS)
def test_no_view(tmp_path, what):
    data, options, message = VIEWLESS[what]
    path = tmp_path / "m.nnpk"
    path.write_bytes(data)
    with nnpack.open(path, **options) as reader:
        with pytest.raises(ValueError, match=message):
            reader["w"].view()
        assert reader["w"].read().size
        if options:
            assert reader["w"].stored_nbytes


def test_no_view_of_an_object_or_of_what_is_authenticated():
    data = written(lambda w: w.add("w", BIG), profile="raw", digests=True)
    with pytest.raises(ValueError, match="a file object cannot be mapped"):
        nnpack.open(io.BytesIO(data))["w"].view()
    root = nnpack.open(data).root
    with pytest.raises(ValueError, match=r"opened with expect= is not mapped"):
        nnpack.open(data, expect=root)["w"].view()


def test_an_empty_file_is_truncated_even_if_it_is_to_be_mapped(tmp_path):
    path = tmp_path / "m.nnpk"
    path.write_bytes(b"")
    with pytest.raises(nnpack.TruncatedError):
        nnpack.open(path, mmap="always")


# Files that change, readers that are closed


def test_a_file_cut_while_it_is_open(tmp_path):
    path = tmp_path / "m.nnpk"
    data = testing.file_of({"w": BIG, "v": BIG + 1}, profile="raw")
    for make in (str, lambda path: path.open("rb")):
        path.write_bytes(data)
        source = make(path)
        with nnpack.open(source) as reader:
            assert testing.same_bits(reader["w"].read(), BIG)
            tensor = reader["v"]
            os.truncate(path, len(data) // 2 + 1000)
            for call in (tensor.read, tensor.value, reader.load, lambda t=tensor: t[-1]):
                with pytest.raises(nnpack.TruncatedError, match="it was cut while it was open"):
                    call()
            assert testing.same_bits(reader["w"][:5], BIG[:5])
        if make is not str:
            source.close()


CLOSED = {
    "small": (testing.file_of({"w": F32}, profile="raw"), 1),
    "large": (testing.file_of({"w": BIG}, profile="raw"), 1),
    "threads": (testing.file_of({"w": BIG}, planner=small_blocks), 4),
}


@pytest.mark.parametrize("what", CLOSED)
def test_a_closed_reader_says_so(tmp_path, what):
    data, threads = CLOSED[what]
    path = tmp_path / "m.nnpk"
    path.write_bytes(data)
    reader = nnpack.open(path, threads=threads)
    tensor = reader["w"]
    tensor.read()
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        tensor.read()


def test_a_forgotten_reader_lets_go_of_its_file(tmp_path):
    path = tmp_path / "m.nnpk"
    path.write_bytes(ALL)
    before = open_files()
    for _ in range(3):
        nnpack.open(path)["z"].read()
    assert open_files() == before


def test_a_reader_is_not_hurt_by_other_files_in_its_place(tmp_path):
    path = tmp_path / "m.nnpk"
    nnpack.save_file({"w": BIG}, path)
    with nnpack.open(path) as reader:
        nnpack.save_file({"w": F32}, path)
        assert testing.same_bits(reader["w"].read(), BIG)
    assert testing.same_bits(nnpack.load_file(path)["w"], F32)


# Digests

PARTS = {f"w{i}": np.random.default_rng(i).integers(0, 256, 900_000, np.uint8) for i in range(4)}
SIGNED = written(lambda w: [w.add(k, v) for k, v in PARTS.items()], profile="raw", digests=True)
ROOT = nnpack.open(SIGNED).root


def test_the_right_root_opens():
    for root in (ROOT, ROOT.upper(), bytes.fromhex(ROOT)):
        for given in (SIGNED, io.BytesIO(SIGNED)):
            with nnpack.open(given, expect=root) as reader:
                assert reader.root == ROOT
                assert all(testing.same_bits(reader[k].read(), v) for k, v in PARTS.items())
                assert testing.same_bits(reader["w1"][5:10], PARTS["w1"][5:10])


def test_the_wrong_root_does_not():
    other = written(lambda w: w.add("w0", PARTS["w0"]), digests=True)
    for data, root in ((SIGNED, "00" * 32), (SIGNED, nnpack.open(other).root), (ALL, ROOT)):
        with pytest.raises(nnpack.DigestError, match="bad-digest"):
            nnpack.open(data, expect=root)


def test_no_byte_is_used_before_it_is_authenticated():
    data = bytearray(SIGNED)
    digests = nnpack.open(SIGNED).sections[-1]
    assert (digests.type, digests.offset >> 20) == (a.DIGESTS, 3)
    rng = np.random.default_rng(6)
    places = [
        *range(0, 200, 3),
        *rng.integers(200, digests.offset, 40).tolist(),
        *range(digests.offset, len(data), 7),
    ]
    for at in places:
        data[at] ^= 1 << int(rng.integers(8))
        bad = []
        try:
            reader = nnpack.open(data, expect=ROOT)
        except nnpack.NnpackError as fault:
            assert fault.error_class == "bad-digest" or at < 16 or at >= digests.offset
            assert at < 1 << 20 or at >= digests.offset
        else:
            for name, wanted in PARTS.items():
                try:
                    assert testing.same_bits(reader[name].read(), wanted)
                except nnpack.DigestError as fault:
                    assert fault.offset == at >> 20 << 20
                    bad.append(name)
            assert bad
        data[at] = SIGNED[at]


def root_of(file):
    """The root as SPEC 13.1 has it, whatever the digests section holds."""
    at = nnpack.open(file).sections[-1].offset
    return hashlib.sha256(b"nnpack root 1\n" + struct.pack("<Q", at) + file[at:]).hexdigest()


def test_forged_digests():
    """Whoever can compute a CRC-32 cannot make a root."""
    part = a.floats("w", 1, 2)
    for shape, data, wanted in (
        ((1, 32), bytes(32), "bad-digest"),
        ((2, 32), bytes(64), "bad-shape"),
        ((1, 31), bytes(31), "bad-shape"),
    ):
        tree = a.dense(a.UINT8, shape, data)
        file = a.assemble(part, a.Part(a.DIGESTS, b"", tree, data, flags=1))
        root = root_of(file)
        assert fault(file, expect=root) == wanted
        assert fault(file, read_sequential) == wanted
    for tree in (
        a.dense(a.UINT8, (32,), bytes(32)),
        a.dense(0x28, (1, 32), bytes(32)),
        a.node(a.CONSTANT, a.UINT8, (1, 32), bytes(8)),
    ):
        file = a.assemble(
            part, a.Part(a.DIGESTS, b"", tree, bytes(32) if len(tree) > 40 else b"", flags=1)
        )
        assert fault(file, expect=root_of(file)) in {"bad-node", "mismatch"}
    packed = CODECS[1].encode(memoryview(bytes(64)))
    tree = a.node(a.DENSE, a.UINT8, (2, 32), a.stream([packed], codecs=(1,)))
    file = a.assemble(part, a.Part(a.DIGESTS, b"", tree, packed, flags=1))
    assert fault(file, expect=root_of(file)) == "bad-value"


# Unknown ids

W = a.floats("w", 1, 2)
RAW4 = a.stream([bytes(4)])


def names(*entries):
    body = b"".join(
        (struct.pack("<BBH", *key, len(name)) + name).ljust(a.up8(4 + len(name)), b"\0")
        for *key, name in entries
    )
    return a.Part(a.NAMES, b"", body)


def one(tree, payload=bytes(4), **options):
    return a.tensor("u", tree, payload, **options)


SHARED = struct.pack("<II", 3, 0x352441C2)  # CRC-32 of b"abc"
# what: (sections before, tensor, dtype, kind, what is missing)
UNKNOWN = {
    "kind": ((), one(a.node(9, a.FLOAT32, (1,), b"anything", [a.dense(a.FLOAT32, (1,), bytes(4), role=200)])), "float32", "unknown(9)", "kind 9"),
    "kind without parts": ((), one(a.node(14, a.FLOAT32, (1,)), b""), "float32", "unknown(14)", "kind 14"),
    "kind below": ((), one(a.node(a.CONCAT, a.FLOAT32, (1,), bytes(8), [a.node(9, a.FLOAT32, (1,), b"", [], role=1)]), b""), "float32", "concat", "kind 9"),
    "private kind": ((names((2, 200, b"org.example.kind")),), one(a.node(200, a.FLOAT32, (1,)), b""), "float32", "unknown(200)", "kind org.example.kind"),
    "dtype": ((), one(a.node(a.DENSE, 0x02, (1,), RAW4)), "unknown(0x02)", "dense", "dtype 2"),
    "private dtype": ((names((3, 255, b"a.b")),), one(a.node(a.DENSE, 255, (1,), RAW4)), "unknown(0xff)", "dense", "dtype a.b"),
    "transform": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], transform=99, parameter=9))), "float32", "dense", "transform 99"),
    "private transform": ((names((4, 128, b"a.b")),), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], transform=128))), "float32", "dense", "transform a.b"),
    "codec": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], codecs=(99,)))), "float32", "dense", "codec 99"),
    "codec with a shared table": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), bytes([0, 18, 1, 0, 6, 0, 0, 0]) + SHARED + a.stream([bytes(4)])[8:]), b"abc" + bytes(9)), "float32", "dense", "codec 6"),
    "private codec": ((names((5, 201, b"com.example.c-1")),), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], codecs=(201,)))), "float32", "dense", "codec com.example.c-1"),
    "two": ((), one(a.node(a.DENSE, 0x02, (1,), a.stream([bytes(4)], codecs=(99,)))), "unknown(0x02)", "dense", "dtype 2, codec 99"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_unknown_is_shown_and_hurts_nobody(what):
    before, part, dtype, kind, missing = UNKNOWN[what]
    data = a.assemble(*before, W, part, a.alias(b"x", b"u"), a.floats("v", 3))
    reader = nnpack.open(data)
    for name in ("u", "x"):
        tensor = reader[name]
        assert (tensor.name, tensor.shape, tensor.dtype, tensor.kind) == (name, (1,), dtype, kind)
        assert (tensor.size, tensor.supported) == (1, False)
        assert tensor.stored_nbytes == len(part.payload)
        assert repr(tensor) == f"<Tensor {name!a} {kind} {dtype}[1]>"
        for use in (
            tensor.read,
            tensor.value,
            tensor.view,
            tensor.digest,
            lambda t=tensor: t[0],
            lambda t=tensor: t.node,
        ):
            with pytest.raises(nnpack.UnsupportedError, match=missing) as caught:
                use()
            assert (caught.value.error_class, caught.value.section) == ("unsupported", name)
    assert reader["w"].read().tolist() == [1, 2]
    assert reader["v"].read().tolist() == [3]
    with pytest.raises(nnpack.UnsupportedError):
        reader.load()
    streamed = {
        name: value
        for kind, name, value in nnpack.read_stream(io.BytesIO(data))
        if kind == "tensor"
    }
    assert (streamed["u"].supported, streamed["v"].read().tolist()) == (False, [3])


@pytest.mark.parametrize("what", [what for what, case in UNKNOWN.items() if case[0]])
def test_a_private_id_without_a_name_is_a_fault_of_its_tensor(what):
    _, part, *_ = UNKNOWN[what]
    reader = nnpack.open(a.assemble(W, part))
    assert reader["w"].read().tolist() == [1, 2]
    with pytest.raises(
        nnpack.FormatError, match="missing: no name is bound to the private"
    ) as caught:
        reader["u"]
    assert caught.value.error_class == "missing"


@pytest.mark.parametrize("kind", [a.GRAPH, a.METADATA, a.BLOB])
def test_bytes_under_an_unknown_codec(kind):
    tree = a.node(a.DENSE, a.UINT8, (2,), a.stream([b"{}"], codecs=(99,)))
    data = a.assemble(a.Part(kind, b"" if kind == a.METADATA else b"n", tree, b"{}"), W)
    reader = nnpack.open(data)
    assert reader["w"].read().tolist() == [1, 2]
    with pytest.raises(nnpack.UnsupportedError, match="this reader lacks codec 99"):
        {
            a.GRAPH: lambda: reader.graphs["n"],
            a.METADATA: lambda: reader.metadata,
            a.BLOB: lambda: reader.blobs["n"],
        }[kind]()


def test_an_unknown_ancillary_section_is_skipped():
    tree = a.dense(0x02, (7,), b"payload", transform=9, codecs=(77,))
    for part in (a.Part(99, b"", tree, b"payload", flags=1), a.Part(300, b"w", bytes(8), flags=1)):
        data = a.assemble(part, W)
        assert nnpack.open(data)["w"].read().tolist() == [1, 2]
        assert read_sequential(data)[0]["w"][1] == W.payload
        assert nnpack.open(data).sections[0].label == (part.name.decode() or "(type 99)")
    assert nnpack.open(a.assemble(names((1, 200, b"a.b")), a.Part(200, flags=1), W))["w"].shape == (
        2,
    )


# Plug-ins


class Negative(Node):
    """A private kind: its part, negated and shifted."""

    __slots__ = ("by", "part")
    id, name = 130, "org.example.negative"
    roles = {7: "part"}  # noqa: RUF012

    def __init__(self, part, by):
        self._set(shape=part.shape, dtype=part.dtype, part=part, by=by)

    def parameters(self):
        return struct.pack("<q", self.by)

    @classmethod
    def from_parts(cls, shape, dtype, parameters, parts):
        return cls(parts[7], parameters.u64s(1, "the shift")[0])

    def window(self, start, stop):
        read = self.part.window(start, stop)

        def fill(low, high, out):
            read(low, high, out)
            np.subtract(self.by, out, out=out)

        return fill


class Positive(Negative):
    """Another one with the same number."""

    name = "org.example.positive"

    def window(self, start, stop):
        return self.part.window(start, stop)


MOVED = type("Negative", (Negative,), {"id": 255, "__slots__": ()})
KIND_FILE = testing.file_of({"w": Negative(nnpack.Dense(F32), 0), "v": F32}, kinds={130: Negative})


def test_a_private_kind_goes_by_its_name():
    for kinds in ({130: Negative}, {255: MOVED}):
        tensor = nnpack.open(KIND_FILE, kinds=kinds)["w"]
        assert tensor.kind == "org.example.negative"
        assert [tensor.node.id] == [*kinds]
        assert tensor.read()[:2].tolist() == [-1.5, 0]
        assert tensor.value().to_numpy()[:2].tolist() == [-1.5, 0]
        assert tensor[0] == -1.5
        with pytest.raises(
            ValueError, match=r"the private kind org\.example\.negative has no logical digest"
        ):
            tensor.digest()
    for kinds in ({}, {130: Positive}):
        with pytest.raises(nnpack.UnsupportedError, match=r"kind org\.example\.negative"):
            nnpack.open(KIND_FILE, kinds=kinds)["w"].read()
    wrong = KIND_FILE.replace(struct.pack("<BB", 1, 7), struct.pack("<BB", 1, 8))
    assert wrong != KIND_FILE


def test_a_private_kind_goes_by_its_name_where_numbers_are_swapped():
    tensor = nnpack.open(KIND_FILE, kinds={130: Positive, 255: MOVED})["w"]
    assert tensor.read()[:2].tolist() == [-1.5, 0]


def test_a_private_kind_with_wrong_roles_or_parameters():
    part = a.dense(a.FLOAT32, (1,), bytes(4), role=7)
    for parameters, parts, payload, wanted in (
        (bytes(8), [part], bytes(4), None),
        (bytes(16), [part], bytes(4), "bad-node"),
        (b"", [part], bytes(4), "bad-node"),
        (bytes(7) + b"\x40", [part], bytes(4), "bad-value"),
        (bytes(8), [], b"", "bad-node"),
        (bytes(8), [part, a.dense(a.FLOAT32, (1,), bytes(4), role=8)], bytes(12), "bad-node"),
    ):
        tree = a.node(130, a.FLOAT32, (1,), parameters, parts)
        data = a.assemble(names((2, 130, b"org.example.negative")), one(tree, payload))
        assert fault(data, kinds={130: Negative}) == wanted
        assert fault(data, read_sequential, kinds={130: Negative}) == wanted


class Plain(Negative):
    """A plug-in as most would write it."""

    name = "org.example.plain"

    def __init__(self, part, by):
        super().__init__(part, by)
        self._set(label="x")

    def window(self, start, stop):
        assert self.label == "x"
        return super().window(start, stop)


def test_a_private_kind_needs_no_slots():
    assert Plain(nnpack.Dense(F32), 1).load().to_numpy()[0] == -0.5


def test_private_codecs_go_by_their_name():
    class Mine(Codec):
        id, name = 200, "org.example.run"

        def encode(self, data):
            return bytes(data[:1])

        def decode(self, data, size):
            return bytes(data) * size

    plan = testing.Plan(TRANSFORMS[0], (Mine(),), 18)
    data = testing.file_of(
        {"w": np.full(99, 7, np.uint8)}, planner=lambda _: plan, codecs={200: Mine()}
    )
    moved = type("Moved", (Mine,), {"id": 131})()
    other = type("Other", (Mine,), {"name": "org.example.other"})()
    assert nnpack.open(data, codecs={131: moved, 200: other})["w"].read().tolist() == [7] * 99
    assert not nnpack.open(data, codecs={200: other})["w"].supported


def test_foreign_blocks():
    value = nnpack.Opaque(bytes(range(6)), "org.example.double", (2, 3), "uint16", b"\2")
    data = testing.file_of({"w": value, "v": F32})
    calls = []

    def decode(blocks, parameters, dtype, shape):
        calls.append((blocks.tolist(), parameters, dtype, shape))
        return (blocks.astype(dtype) * parameters[0]).reshape(shape)

    plain = nnpack.open(data)
    assert (plain["w"].kind, plain["w"].supported, plain["w"].shape) == ("opaque", True, (2, 3))
    kept = plain["w"].value()
    assert (kept.format, kept.format_parameters, kept.decoder) == (
        "org.example.double",
        b"\2",
        None,
    )
    assert kept.data.array.tolist() == [*range(6)]
    for use in (plain["w"].read, lambda: plain["w"][0], plain.load):
        with pytest.raises(
            nnpack.UnsupportedError, match=r"foreign format org\.example\.double .*kinds="
        ):
            use()
    assert testing.same_bits(plain["v"].read(), F32)
    tensor = nnpack.open(data, kinds={"org.example.double": decode, "org.example.else": None})["w"]
    assert tensor.read().tolist() == [[0, 2, 4], [6, 8, 10]]
    assert tensor[1, ::-1].tolist() == [10, 8, 6]
    assert calls == [([*range(6)], b"\2", "uint16", (2, 3))] * 2
    assert tensor.value().to_numpy().tolist() == [[0, 2, 4], [6, 8, 10]]


# Limits

TEXT = b'{"inputs":[],"outputs":[],"nodes":[]}'
CONSTANT = testing.file_of({"w": nnpack.Constant(np.uint8(0), (1 << 20,))})
NESTED = testing.file_of(
    {"w": nnpack.Quantized(np.zeros(1000, np.int8), np.float32(1))}, profile="raw"
)
PLAIN = testing.file_of(
    {"w": np.zeros(1000, np.float32), "v": np.zeros(10, np.uint8)}, profile="raw"
)
MANY = testing.file_of({f"a-long-name-{i:09}": F32[:1] for i in range(200)})


# what: (field, value that is enough, file, use, other fields)
LIMITS = {
    "directory": ("directory_bytes", a.directory_bytes(PLAIN), PLAIN, len, {}),
    "decoded directory": ("directory_bytes", 8 + 200 * (27 + 21 + 40) + 199, MANY, len, {}),
    "sections": ("sections", 2, PLAIN, len, {}),
    "metadata": ("json_bytes", len(TEXT), a.assemble(a.text(a.METADATA, b"", TEXT)), lambda r: r.metadata, {}),
    "graph": ("json_bytes", len(TEXT), a.assemble(a.text(a.GRAPH, b"g", TEXT)), lambda r: r.graphs["g"], {}),
    "tensor": ("tensor_bytes", 4000, PLAIN, lambda r: r["w"].read(), {}),
    "tensor with parts": ("tensor_bytes", 5004, NESTED, lambda r: r["w"].read(), {}),
    "value": ("tensor_bytes", 5004, NESTED, lambda r: r["w"].value(), {}),
    "memory": ("memory", 4000, PLAIN, lambda r: r["w"].read(), {}),
    "memory into an array": ("memory", 1004, NESTED, lambda r: r["w"].read(np.empty(1000, np.float32)), {}),
    "memory for a slice": ("memory", 40, PLAIN, lambda r: r["w"][:10], {}),
    "memory for a slice with parts": ("memory", 1044, NESTED, lambda r: r["w"][:10], {}),
    "memory for a blob": ("memory", 3, a.assemble(a.text(a.BLOB, b"b", b"abc")), lambda r: r.blobs["b"], {}),
    "memory for all": ("memory", 4010, PLAIN, lambda r: r.load(), {}),
    "expansion": ("expansion_bytes", 1 << 20, CONSTANT, lambda r: r["w"].read(), {}),
    "expansion ratio": ("expansion_ratio", 1 << 20, CONSTANT, lambda r: r["w"].read(), {"expansion_bytes": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("what", LIMITS)
def test_limit(what):
    field, value, data, use, others = LIMITS[what]
    use(nnpack.open(data, limits=nnpack.Limits(**others, **{field: value})))
    with pytest.raises(nnpack.LimitError, match=r"limit-exceeded: .*limits=Limits\(") as caught:
        use(nnpack.open(data, limits=nnpack.Limits(**others, **{field: value - 1})))
    assert caught.value.error_class == "limit-exceeded"
    assert field in str(caught.value) or what == "expansion ratio"  # it names expansion_bytes


def test_every_limit_is_tested():
    assert {field for field, *_ in LIMITS.values()} == set(nnpack.Limits.__slots__)


def test_the_directory_s_head_is_looked_at_before_its_limit():
    data = put(PLAIN, int.from_bytes(PLAIN[-32:-24], "little"), b"\x88")
    limits = nnpack.Limits(directory_bytes=a.directory_bytes(PLAIN) - 1)
    assert fault(data, limits=limits) == "bad-layout"


def test_sections_are_counted_before_they_are_looked_at():
    assert fault(a.assemble(W, W, W), limits=nnpack.Limits(sections=2)) == "limit-exceeded"


def test_a_count_that_the_directory_has_no_room_for_is_no_question_of_limits():
    """The length comes before the limit (SPEC 14.3, steps 10 and 11)."""

    def many(directory):
        return b"\xff\xff" + directory[2:]

    for data in (a.assemble(listing=many), a.assemble(W, listing=many)):
        for read in (read_random, read_sequential):
            assert fault(data, read, limits=nnpack.Limits(sections=2)) == "mismatch"


def constant(shape, dtype=a.UINT8, role=0):
    return a.node(a.CONSTANT, dtype, shape, bytes(8), role=role)


N = 1 << 25
BLOCK1 = struct.pack("<QQ", 0, 1)
# A slice of one element costs what it decodes: small files that would have it cost 32 MiB and more.
SLICES_THAT_COST = {
    "scales of a long row": a.tensor("w", a.node(a.QUANTIZED, a.FLOAT32, (1, N), bytes(8) + BLOCK1, [constant((1, N), a.FLOAT32, 1), constant((1, N), role=6)])),
    "tables of a long row": a.tensor("w", a.node(a.CODEBOOK, a.FLOAT32, (1, N), b"\1".ljust(8, b"\0") + BLOCK1, [constant((1, N, 1), a.FLOAT32, 1), constant((1, N), role=2)])),
    "groups of a long axis": a.tensor("w", a.node(a.QUANTIZED, a.FLOAT32, (N,), bytes(16), [constant((1,), a.FLOAT32, 1), constant((N,), role=5), constant((N,), role=6)])),
    "vectors of 1024 along the first axis": a.tensor("w", a.node(a.CODEBOOK, a.UINT8, (1024, N >> 10), struct.pack("<IIQQ", 1024, 0, 0, 0), [constant((1, 1, 1, 1024), role=1), constant((1, N >> 10), role=2)])),
    "foreign blocks": a.tensor("w", a.node(a.OPAQUE, a.UINT8, (1, N), b"\3\0\0\0\0\0\0\0a.b".ljust(16, b"\0"), [a.dense(a.UINT8, (1,), b"x", role=1)]), b"x"),
}  # fmt: skip


@pytest.mark.parametrize("what", SLICES_THAT_COST)
def test_a_slice_is_bounded_by_the_memory_that_it_may_have(what):
    decoders = {"a.b": lambda data, parameters, dtype, shape: np.zeros(shape, dtype)}
    data = a.assemble(SLICES_THAT_COST[what])
    tensor = nnpack.open(data, kinds=decoders, limits=nnpack.Limits(memory=1 << 20))["w"]
    tracemalloc.start()
    try:
        with suppress(nnpack.LimitError):
            assert tensor[(0,) * len(tensor.shape)] == 0
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_slice_is_counted_before_it_is_allocated():
    tensor = nnpack.open(a.assemble(a.tensor("w", constant((1 << 60,)))))["w"]
    for use in (tensor.read, tensor.value, lambda: tensor[:], lambda: tensor[::3]):
        with pytest.raises(nnpack.LimitError, match=r"memory budget|tensor_bytes"):
            use()
    assert tensor[1 << 59] == 0


MEMORY = {
    "no information": ({}, 1 << 40),
    "free": ({"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1000 kB\n"}, 1000 << 10),
    "group": ({"/sys/fs/cgroup/memory.max": "5000\n", "/sys/fs/cgroup/memory.current": "3000\n"}, 2000),
    "group above": ({"/sys/fs/cgroup/memory.max": "5000", "/sys/fs/cgroup/memory.current": "6000"}, 0),
    "group without bound": ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "1"}, 1 << 40),
}  # fmt: skip


@pytest.mark.parametrize("what", MEMORY)
def test_memory_that_the_system_has(monkeypatch, what):
    files, found = MEMORY[what]
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.available_memory() == int(0.8 * found)


def test_the_system_is_asked():
    assert 1 << 20 < memory.available_memory() < 1 << 45
    huge = a.assemble(a.tensor("w", a.node(a.CONSTANT, a.UINT8, (1 << 39,), bytes(8))))
    with pytest.raises(nnpack.LimitError, match="memory budget"):
        nnpack.open(huge)["w"].read()


# JSON

DEEP = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
BAD_JSON = {
    "empty": b"",
    "spaces": b"  \n",
    "no object": b"[]",
    "string": b'"a"',
    "number": b"1",
    "null": b"null",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
    "latin-1": b'{"\xe9":1}',
    "overlong": b'{"\xc0\x80":1}',
    "raw surrogate": b'{"\xed\xa0\x80":1}',
    "beyond Unicode": b'{"\xf4\x90\x80\x80":1}',
    "two objects": b"{}{}",
    "text behind": b"{} x",
    "nul behind": b"{}\0",
    "form feed": b"{\f}",
    "no-break space": b"{\xc2\xa0}",
    "comment": b"{/* */}",
    "trailing comma": b'{"a":1,}',
    "leading comma": b'{,"a":1}',
    "comma in list": b'{"a":[1,]}',
    "no colon": b'{"a" 1}',
    "single quotes": b"{'a':1}",
    "bare key": b"{a:1}",
    "number key": b"{1:1}",
    "open": b'{"a":1',
    "open string": b'{"a',
    "open escape": b'{"a\\',
    "closed twice": b"{}}",
    "mixed brackets": b'{"a":[1}]',
    "same key": b'{"a":1,"a":1}',
    "same key escaped": b'{"a":1,"\\u0061":2}',
    "same key deep": b'{"a":[{"b":1,"c":2,"b":3}]}',
    "integer above": b'{"a":9007199254740992}',
    "integer below": b'{"a":-9007199254740992}',
    "integer of many digits": b'{"a":' + b"1" * 5000 + b"}",
    "leading zero": b'{"a":01}',
    "minus": b'{"a":-}',
    "plus": b'{"a":+1}',
    "no digits": b'{"a":1.}',
    "no whole": b'{"a":.5}',
    "exponent": b'{"a":1e}',
    "hexadecimal": b'{"a":0x1}',
    "underscore": b'{"a":1_0}',
    "other digits": '{"a":١}'.encode(),
    "float above": b'{"a":1e309}',
    "float below": b'{"a":-1e999}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "capital": b'{"a":True}',
    "undefined": b'{"a":undefined}',
    "control": b'{"a":"\x1f"}',
    "line feed": b'{"a":"\n"}',
    "bad escape": b'{"a":"\\x41"}',
    "short escape": b'{"a":"\\u12"}',
    "signed escape": b'{"a":"\\u+123"}',
    "high surrogate": b'{"a":"\\ud800"}',
    "low surrogate": b'{"a":"\\udc00"}',
    "swapped surrogates": b'{"a":"\\udc00\\ud800"}',
    "surrogate key": b'{"a":{"\\ud83d":1}}',
    "surrogate in list": b'{"a":[1,["\\ud83d\\ud83d"]]}',
    "33 levels": b'{"a":' + DEEP + b"}",
    "a million levels": b'{"a":' + b"[" * 1_000_000,
}
GOOD_JSON = {
    b"{}": {},
    b' \t\r\n{ "a" : [ ] } \n': {"a": []},
    b'{"":null,"\\u0000":true}': {"": None, "\0": True},
    b'{"a":-0}': {"a": 0},
    b'{"a":9007199254740991,"b":-9007199254740991}': {"a": 2**53 - 1, "b": 1 - 2**53},
    b'{"a":1.0,"b":1e2,"c":-1E-2,"d":1e-999}': {"a": 1.0, "b": 100.0, "c": -0.01, "d": 0.0},
    b'{"a":"\\ud83d\\ude00","b":"\xf0\x9f\x98\x80","c":"\x7f"}': {
        "a": "😀",
        "b": "😀",
        "c": "\x7f",
    },
    b'{"a":"[[[\\"[[[{{{\\\\","b":"]"}': {"a": '[[["[[[{{{\\', "b": "]"},
    b'{"k":{"k":{"k":1}}}': {"k": {"k": {"k": 1}}},
    DEEP: json.loads(DEEP),
    DEEP.replace(b"a", b"\\u0061"): json.loads(DEEP),
    b'{"a":[' + b"{},[]," * 40 + b"1]}": {"a": [{}, []] * 40 + [1]},
}


def metadata(text):
    return a.assemble(a.text(a.METADATA, b"", text), W)


def deeper(levels, call):
    return deeper(levels - 1, call) if levels else call()


def frames():
    frame, found = sys._getframe(), 0
    while frame:
        frame, found = frame.f_back, found + 1
    return found


@pytest.mark.parametrize("what", BAD_JSON)
def test_bad_json_is_refused_at_any_depth_of_the_stack(what):
    data = metadata(BAD_JSON[what])
    reader = nnpack.open(data)
    levels = sys.getrecursionlimit() - frames() - 150
    for call in (lambda: reader.metadata, lambda: deeper(levels, lambda: reader.metadata)):
        with pytest.raises(nnpack.FormatError, match="bad-json") as caught:
            call()
        assert (caught.value.error_class, caught.value.section) == ("bad-json", "(metadata)")
    assert fault(data, read_sequential) == "bad-json"
    assert reader["w"].read().tolist() == [1, 2]


@pytest.mark.parametrize("text", GOOD_JSON, ids=lambda text: repr(text)[:40])
def test_good_json_is_read_at_any_depth_of_the_stack(text):
    reader = nnpack.open(metadata(text))
    levels = sys.getrecursionlimit() - frames() - 150
    assert deeper(levels, lambda: reader.metadata) == GOOD_JSON[text]
    assert repr(read_random(metadata(text))[1]) == repr(GOOD_JSON[text])
    assert repr(read_sequential(metadata(text))[1]) == repr(GOOD_JSON[text])


NODES = '{"op":"","inputs":[],"outputs":["%d"],"attributes":{"g":{"graph":{"inputs":[],"outputs":[],"nodes":[]}}}}'
SLOW = {
    "subgraphs": f"""graph.check(jsontext.parse(b'{{"inputs":[],"outputs":[],"nodes":[' + b','.join(b'{NODES}' % i for i in range(20_000)) + b']}}'))""",
    "open string of escapes": r"""jsontext.parse(b'{"' + b'\\"' * 1_000_000)""",
    "same key at the end": """jsontext.parse(b'{' + b','.join(b'"%d":0' % i for i in range(200_000)) + b',"7":0}')""",
    "last row of many": "nnpack.open(sys.stdin.buffer.read())['w'][-1]",
}
LAST_ROW = a.assemble(
    a.tensor("w", a.node(a.CSR, a.UINT8, (1 << 36,), struct.pack("<QQ", 1, 0), [constant((1 << 36,), role=1), constant((0,), role=2), constant((0,), role=3)]))
)  # fmt: skip


@pytest.mark.parametrize("what", SLOW)
def test_small_files_do_not_cost_much_time(what):
    """A process with two seconds of processor time is enough for a few megabytes."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
        "import sys, nnpack; from nnpack import graph, jsontext\n"
        f"try: {SLOW[what]}\nexcept (ValueError, nnpack.NnpackError): pass\nprint('done')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=LAST_ROW, capture_output=True, check=False)  # noqa: S603
    assert done.stdout == b"done\n"


UNWRITABLE = {
    "list": ([], TypeError, r"a JSON object is a dict, not list"),
    "key": ({1: 2}, TypeError, r"JSON keys are strings, not \[1\]"),
    "set": ({"a": {1}}, TypeError, r"JSON has no set"),
    "bytes": ({"a": b""}, TypeError, r"JSON has no bytes"),
    "array": ({"a": np.float32(1)}, TypeError, r"JSON has no float32"),
    "NaN": ({"a": float("nan")}, ValueError, r"JSON has no nan"),
    "infinity": ({"a": [float("inf")]}, ValueError, r"JSON has no inf"),
    "integer": ({"a": 2**53}, ValueError, r"the integer 9007199254740992 is beyond"),
    "surrogate": ({"a": "\ud800"}, ValueError, r"half a surrogate pair in '\\ud800'"),
    "surrogate key": ({"\ud800": 1}, ValueError, r"half a surrogate pair"),
    "depth": ({"a": json.loads(DEEP)}, ValueError, r"nested more than 32 deep"),
}


@pytest.mark.parametrize("what", UNWRITABLE)
def test_what_is_no_json_is_not_written(what):
    value, kind, message = UNWRITABLE[what]
    with pytest.raises(kind, match=message):
        jsontext.pack(value)


def test_json_is_written_as_it_is_read():
    for value in [*GOOD_JSON.values(), {"t": (1, 2)}]:
        assert nnpack.open(testing.file_of({}, value)).metadata == json.loads(json.dumps(value))
    assert jsontext.pack({"é": [1.0, -0.0, True]}) == '{"é":[1.0,-0.0,true]}'.encode()


# Graphs


def graph(*nodes, inputs=("x",), outputs=(), **more):
    return {"inputs": [*inputs], "outputs": [*outputs], "nodes": [*nodes], **more}


def node(*inputs, out=(), **attributes):
    return {"op": "F", "inputs": [*inputs], "outputs": [*out], "attributes": attributes}


def types(*kinds):
    return graph(value_types={f"v{i}": kind for i, kind in enumerate(kinds)})


FLOAT = {"dtype": "float32"}
GOOD_GRAPHS = {
    "least": {"inputs": [], "outputs": [], "nodes": []},
    "all members": graph({"op": "Add", "inputs": ["x", "w"], "outputs": ["y"], "domain": "ai.onnx", "name": "n", "attributes": {}}, outputs=["y"],
                         name="g", opset_imports={"": 21}, value_types={"y": FLOAT}),
    "tensor and alias": graph(node("w", "tied")),
    "left out": graph(node("", "x", out=["", "y"]), node("", "y", out=["", "z"])),
    "attributes": graph(node(
        a={"int": -(2**53 - 1)}, b={"ints": [0, "9223372036854775807", "-9223372036854775808", "9007199254740992"]},
        c={"float": 1}, d={"floats": [-0.0, 1e-45, "0x7f800000", "0xffc00001"]}, e={"string": ""}, f={"strings": ["a", "b"]},
        g={"tensor": "w"}, h={"tensors": ["w", "tied"]}, i={"graph": graph()}, j={"graphs": []}, k={"type": FLOAT})),
    "types": types(FLOAT, {"dtype": "uint3", "shape": []}, {"dtype": "string", "shape": [0, 2**53 - 1, "N", "", None]}, {"sparse": FLOAT},
                   {"sequence": {"optional": FLOAT}}, {"map": {"key": "int64", "value": {"sequence": FLOAT}}}),
    "input of a tensor's name": graph(inputs=["w"], outputs=["w"]),
    "initializers": graph(node("b", g={"graph": graph(node("b"), outputs=["b"])}), initializers={"b": "w", "x": "tied", "": "w"}, outputs=["b"]),
    "largest float": graph(node(a={"float": 3.4028235677973362e38})),
    "tensor as output": graph(outputs=["w", "x"]),
    "name used again inside": graph(node(g={"graph": graph(node("x", out=["y"]), inputs=["x"])}), node("x", out=["y"])),
    "seen from inside": graph(node("x", out=["y"]), node(g={"graph": graph(node("y", "w", out=["z"]), outputs=["z", "y"], inputs=[])}, out=["q"]), outputs=["q"]),
    "seen from two levels": graph(node(g={"graphs": [graph(node("x", g={"graph": graph(outputs=["x", "i"], inputs=[])}), inputs=["i"])]})),
}  # fmt: skip
BAD_GRAPHS = {
    "no inputs": ({"outputs": [], "nodes": []}, "bad-json", r"graph: inputs is missing"),
    "no nodes": ({"inputs": [], "outputs": []}, "bad-json", r"graph: nodes is missing"),
    "other member": (graph(extra=1), "bad-json", r"graph: 'extra' is not a key of it"),
    "inputs": (graph() | {"inputs": "x"}, "bad-json", r"graph.inputs: a list is needed"),
    "input": (graph(inputs=[1]), "bad-json", r"graph.inputs\[0\]: a string is needed"),
    "node": (graph([]), "bad-json", r"graph.nodes\[0\]: an object is needed"),
    "no op": (graph({"inputs": [], "outputs": []}), "bad-json", r"nodes\[0\]: op is missing"),
    "node member": (graph(node() | {"doc": ""}), "bad-json", r"'doc' is not a key"),
    "name": (graph(name=None), "bad-json", r"graph.name: a string is needed"),
    "versions": (graph(opset_imports=[]), "bad-json", r"graph.opset_imports: an object is needed"),
    "version": (graph(opset_imports={"": 1.5}), "bad-json", r"an integer, as a decimal string"),
    "version true": (graph(opset_imports={"": True}), "bad-json", r"an integer"),
    "attribute": (graph(node(a=1)), "bad-json", r"attribute is an object with one key"),
    "attribute of two": (graph(node(a={"int": 1, "float": 1})), "bad-json", r"with one key"),
    "attribute of none": (graph(node(a={})), "bad-json", r"with one key"),
    "attribute key": (graph(node(a={"bool": 1})), "bad-json", r"'bool' is no attribute; there are int, ints"),
    "small integer as text": (graph(node(a={"int": "5"})), "bad-json", r"an integer"),
    "largest integer as text": (graph(node(a={"int": "9007199254740991"})), "bad-json", r"an integer"),
    "integer beyond 64 bits": (graph(node(a={"int": "9223372036854775808"})), "bad-json", r"an integer"),
    "integer below 64 bits": (graph(node(a={"int": "-9223372036854775809"})), "bad-json", r"an integer"),
    "integer with zeros": (graph(node(a={"int": "09007199254740992"})), "bad-json", r"an integer"),
    "integer with plus": (graph(node(a={"int": "+9007199254740992"})), "bad-json", r"an integer"),
    "integer in other digits": (graph(node(a={"int": "٩007199254740992"})), "bad-json", r"an integer"),
    "integer as float": (graph(node(a={"int": 1.0})), "bad-json", r"an integer"),
    "float as text": (graph(node(a={"float": "1.0"})), "bad-json", r"a number"),
    "float null": (graph(node(a={"float": None})), "bad-json", r"a number"),
    "float true": (graph(node(a={"float": True})), "bad-json", r"a number"),
    "finite bits": (graph(node(a={"float": "0x3f800000"})), "bad-json", r"a number"),
    "capital bits": (graph(node(a={"float": "0x7F800000"})), "bad-json", r"a number"),
    "short bits": (graph(node(a={"float": "0x7f80000"})), "bad-json", r"a number"),
    "strings": (graph(node(a={"strings": ["a", 1]})), "bad-json", r"strings\[1\]: a string"),
    "subgraph": (graph(node(a={"graph": {}})), "bad-json", r"attributes.a.graph: inputs is missing"),
    "dtype": (types({"dtype": "float"}), "bad-json", r"'float' is no dtype"),
    "dtype number": (types({"dtype": 1}), "bad-json", r"1 is no dtype"),
    "dtype list": (types({"dtype": []}), "bad-json", r"\[\] is no dtype"),
    "key object": (types({"map": {"key": {}, "value": FLOAT}}), "bad-json", r"is no dtype"),
    "type": (types(None), "bad-json", r"type is an object with one key"),
    "type key": (types({"tuple": FLOAT}), "bad-json", r"'tuple' is no type"),
    "type of two": (types({"dtype": "bool", "sparse": FLOAT}), "bad-json", r"'sparse' is not a key"),
    "sparse sequence": (types({"sparse": {"sequence": FLOAT}}), "bad-json", r"dtype is missing"),
    "map": (types({"map": {"key": "int64"}}), "bad-json", r"value is missing"),
    "shape": (types({"dtype": "bool", "shape": 3}), "bad-json", r"a list is needed"),
    "dimension": (types({"dtype": "bool", "shape": [-1]}), "bad-json", r"a size, a name or null"),
    "dimension float": (types({"dtype": "bool", "shape": [1.0]}), "bad-json", r"a size"),
    "dimension true": (types({"dtype": "bool", "shape": [True]}), "bad-json", r"a size"),
    "defined twice": (graph(node(out=["y"]), node(out=["y"])), "bad-json", r"graph.nodes\[1\]: the value 'y' is defined twice"),
    "defined by input": (graph(node(out=["x"])), "bad-json", r"the value 'x' is defined twice"),
    "same inputs": (graph(inputs=["x", "x"]), "bad-json", r"graph.inputs: the value 'x' is defined twice"),
    "same outputs": (graph(node(out=["y", "y"])), "bad-json", r"defined twice"),
    "nowhere": (graph(node("q")), "bad-reference", r"graph uses 'q', which no node, input or tensor gives"),
    "output nowhere": (graph(outputs=["q"]), "bad-reference", r"'q'"),
    "empty output": (graph(outputs=[""]), "bad-reference", r"''"),
    "later": (graph(node("y"), node(out=["y"])), "bad-reference", r"'y'"),
    "itself": (graph(node("y", out=["y"])), "bad-reference", r"'y'"),
    "inside from outside": (graph(node(g={"graph": graph(node(out=["z"]))}), node("z")), "bad-reference", r"'z'"),
    "later from inside": (graph(node(g={"graph": graph(node("y"))}, out=["y"])), "bad-reference", r"'y'"),
    "tensor nowhere": (graph(node(a={"tensor": "q"})), "bad-reference", r"'q'"),
    "tensor is a value": (graph(node(a={"tensor": "x"})), "bad-reference", r"'x'"),
    "tensors nowhere": (graph(node(a={"tensors": ["w", "q"]})), "bad-reference", r"'q'"),
    "tensor is a blob": (graph(node(a={"tensor": "blob"})), "bad-reference", r"'blob'"),
    "tensor inside": (graph(node(g={"graph": graph(node(a={"tensor": "q"}))})), "bad-reference", r"'q'"),
    "initializer": (graph(initializers={"b": 1}), "bad-json", r"graph.initializers.b: a string is needed"),
    "initializer nowhere": (graph(initializers={"b": "q"}), "bad-reference", r"'q'"),
    "initializer of a value": (graph(initializers={"b": "x"}), "bad-reference", r"'x'"),
    "initializer and output": (graph(node(out=["b"]), initializers={"b": "w"}), "bad-json", r"the value 'b' is defined twice"),
    "float beyond binary32": (graph(node(a={"float": 3.4028235677973366e38})), "bad-json", r"a number"),
    "integer float beyond binary32": (graph(node(a={"floats": [1, -1e39]})), "bad-json", r"floats\[1\]: a number"),
}  # fmt: skip
AROUND = (W, a.alias(b"tied", b"w"), a.text(a.BLOB, b"blob", b""))


def graph_file(value):
    text = json.dumps(value).encode()
    return a.assemble(*AROUND, a.text(a.GRAPH, b"g", text))


@pytest.mark.parametrize("what", GOOD_GRAPHS)
def test_good_graph(what):
    value = GOOD_GRAPHS[what]
    assert nnpack.open(graph_file(value)).graphs["g"] == value
    assert read_sequential(graph_file(value))[2]["g"] == value

    def fill(writer):
        writer.add_graph("g", value)
        writer.add("w", F32)
        writer.add_alias("tied", "w")

    assert nnpack.open(written(fill)).graphs["g"] == value


@pytest.mark.parametrize("what", BAD_GRAPHS)
def test_bad_graph(what):
    value, error_class, message = BAD_GRAPHS[what]
    reader = nnpack.open(graph_file(value))
    with pytest.raises(nnpack.FormatError, match=message) as caught:
        reader.graphs["g"]
    assert (caught.value.error_class, caught.value.section) == (error_class, "g")
    assert fault(graph_file(value), read_sequential) == error_class
    with pytest.raises(ValueError, match=message):
        written(
            lambda writer: (
                writer.add("w", F32),
                writer.add_alias("tied", "w"),
                writer.add_graph("g", value),
            )
        )


# The container and the trees, rule by rule


def plain(**options):
    """A head of uint8 with two cells."""
    return a.dense(a.UINT8, (2,), b"ab", **options)


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def body(tree, payload=b"ab", **options):
    return a.assemble(a.tensor("w", tree, payload, **options))


def sealed(data, at, new):
    """Change bytes of the header, directory or trailer, and the trailer's checksum with them."""
    data = put(data, at if at >= 0 else len(data) + at, new)
    start = int.from_bytes(data[-32:-24], "little")
    crc = zlib.crc32(data[:16] + data[start : len(data) - 32] + data[-32:-16])
    return put(data, len(data) - 16, struct.pack("<I", crc))


def reheaded(data, start, at, new):
    """Change bytes of the head at `start`, its checksum and the trailer's."""
    data = put(data, start + at, new)
    length = int.from_bytes(data[start + 8 : start + 12], "little")
    head = data[start : start + 28] + bytes(4) + data[start + 32 : start + length]
    crc = zlib.crc32(head, zlib.crc32(struct.pack("<Q", start)))
    return sealed(data, start + 28, struct.pack("<I", crc))


ONE = a.assemble(W)
START = int.from_bytes(ONE[-32:-24], "little")


def deep(levels):
    tree = a.dense(a.UINT8, (2,), b"ab", role=1)
    for level in range(levels):
        tree = a.node(a.CONCAT, a.UINT8, (2,), bytes(8), [tree], role=int(level < levels - 1))
    return tree


def listing(change):
    return a.assemble(W, listing=change)


RULES = {
    "magic": (put(ONE, 3, b"K"), "not-nnpack"),
    "major": (sealed(ONE, 8, b"\2"), "unsupported-version"),
    "minor is any": (sealed(ONE, 10, b"\7"), None),
    "header reserved": (sealed(ONE, 12, b"\1"), "reserved-nonzero"),
    "end magic": (put(ONE, len(ONE) - 1, b"\r"), "truncated"),
    "trailer reserved": (put(ONE, len(ONE) - 12, b"\1"), "reserved-nonzero"),
    "trailer offset": (sealed(ONE, -32, b"\x08"), "bad-layout"),
    "trailer length": (sealed(ONE, -24, b"\x08"), "bad-layout"),
    "trailer checksum": (put(ONE, len(ONE) - 16, bytes([ONE[-16] ^ 1])), "bad-checksum"),
    "directory sync": (sealed(ONE, START, b"\x88"), "bad-layout"),
    "directory head length": (sealed(ONE, START + 8, b"\x49"), "bad-layout"),
    "directory head checksum": (sealed(ONE, START + 16, b"\1"), "bad-checksum"),
    "directory head reserved": (reheaded(ONE, START, 15, b"\1"), "reserved-nonzero"),
    "directory head reserved word": (reheaded(ONE, START, 24, b"\1"), "reserved-nonzero"),
    "directory head flag": (reheaded(ONE, START, 7, b"\1"), "reserved-nonzero"),
    "directory head ancillary": (reheaded(ONE, START, 6, b"\1"), "bad-layout"),
    "directory head type": (reheaded(ONE, START, 4, b"\3"), "bad-layout"),
    "directory head type 0": (reheaded(ONE, START, 4, b"\0"), "bad-layout"),
    "directory head alignment": (reheaded(ONE, START, 14, b"\2"), "bad-layout"),
    "directory head payload": (reheaded(ONE, START, 17, b"\1"), "mismatch"),
    "directory head payload beyond": (reheaded(ONE, START, 23, b"\x40"), "bad-layout"),
    "directory padding": (sealed(ONE, -33, b"\1"), "bad-layout"),
    "directory node": (reheaded(ONE, START, 33, b"\1"), "bad-node"),
    "directory codec": (reheaded(ONE, START, 60, b"\3"), "bad-value"),
    "inline reserved": (reheaded(ONE, 16, 15, b"\1"), "mismatch"),
    "inline name padding": (reheaded(ONE, 16, 33, b"\1"), "mismatch"),
    "inline type 0": (reheaded(ONE, 16, 4, b"\0"), "mismatch"),
    "inline checksum": (put(ONE, 40, bytes([ONE[40] ^ 1])), "bad-checksum"),
    "type 0": (a.assemble(a.Part(0, flags=1)), "bad-layout"),
    "tensor ancillary": (a.assemble(a.floats("w", 1, flags=1)), "bad-layout"),
    "rows": (listing(lambda d: put(d, 0, b"\x09")), "mismatch"),
    "too many rows": (listing(lambda d: put(d, 0, b"\0\0\0\1")), "mismatch"),
    "directory long": (listing(lambda d: d + b"\0"), "mismatch"),
    "directory short": (listing(lambda d: d[:-1]), "mismatch"),
    "directory shorter than its count": (a.finish(bytearray(a.HEADER), b"\0" * 7), "mismatch"),
    "directory longer than the file": (a.finish(bytearray(a.HEADER), bytes(24)), "bad-layout"),
    "no sections, but bytes": (a.finish(bytearray(a.HEADER + bytes(8)), bytes(8)), "bad-layout"),
    "offset": (listing(lambda d: put(d, 8, b"\x18")), "bad-layout"),
    "offset beyond": (listing(lambda d: put(d, 15, b"\1")), "bad-layout"),
    "payload beyond": (listing(lambda d: put(d, 23, b"\1")), "bad-layout"),
    "payload length": (a.assemble(a.floats("w", 1, 2, listed={"length": 7})), "mismatch"),
    "payload chain": (a.assemble(a.floats("w", 1, 2, listed={"length": 16})), "bad-layout"),
    "flag": (listing(lambda d: put(d, 30, b"\2")), "reserved-nonzero"),
    "listed alignment": (listing(lambda d: put(d, 34, b"\x11")), "bad-layout"),
    "alignment 2": (a.assemble(a.floats("w", 1, alignment=2)), "bad-layout"),
    "alignment 16": (a.assemble(a.floats("w", 1, alignment=16)), None),
    "alignment 17": (a.assemble(a.floats("w", 1, alignment=17)), "bad-layout"),
    "alignment of nothing": (a.assemble(a.tensor("w", a.node(a.CONSTANT, a.UINT8, (), bytes(8)), alignment=6)), "bad-layout"),
    "head length": (listing(lambda d: put(d, 24, b"\x21")), "bad-layout"),
    "head too long": (listing(lambda d: put(d, 24, b"\0\0\0\7")), "bad-layout"),
    "body missing": (a.assemble(a.Part(a.TENSOR, b"w")), "bad-node"),
    "directory type first": (a.assemble(a.Part(a.DIRECTORY, b"", plain(), b"ab"), W), "bad-layout"),
    "directory twice": (a.assemble(W, a.Part(a.DIRECTORY, b"", plain(), b"ab")), "bad-layout"),
    "digests early": (a.assemble(a.Part(a.DIGESTS, flags=1), W), "bad-layout"),
    "digests twice": (a.assemble(*[a.Part(a.DIGESTS, flags=1)] * 2), "duplicate"),
    "blob without name": (a.assemble(a.text(a.BLOB, b"", b"x")), "bad-text"),
    "metadata with name": (a.assemble(a.text(a.METADATA, b"m", b"{}")), "bad-text"),
    "name splits": (a.assemble(a.floats("a", 1), a.floats("b", 1), listing=lambda d: d.replace(b"a\nb", b"\nab")), "bad-text"),
    "long ancillary name": (a.assemble(a.Part(99, b"n" * 1025, flags=1)), "bad-text"),
    "ancillary name text": (a.assemble(a.Part(99, b"\x07", flags=1)), "bad-text"),
    "private section": (a.assemble(a.Part(200, flags=0)), "unknown-section"),
    # names
    "names": (a.assemble(names((2, 128, b"a.b"), (2, 255, b"c-1.d0"), (5, 128, b"a.b"))), None),
    "names class": (a.assemble(names((6, 128, b"a.b"))), "bad-value"),
    "names class 0": (a.assemble(names((0, 128, b"a.b"))), "bad-value"),
    "names id": (a.assemble(names((2, 127, b"a.b"))), "bad-value"),
    "names short": (a.assemble(names((2, 128, b"ab"))), "bad-text"),
    "names text": (a.assemble(names((2, 128, b"a.\xff"))), "bad-text"),
    "names order": (a.assemble(names((5, 128, b"a.b"), (2, 128, b"a.b"))), "bad-layout"),
    "names empty": (a.assemble(a.Part(a.NAMES)), "bad-layout"),
    "names payload": (a.assemble(a.Part(a.NAMES, b"", names((2, 128, b"a.b")).body, b"x")), "bad-layout"),
    "names end": (a.assemble(a.Part(a.NAMES, b"", struct.pack("<BBHI", 2, 128, 9, 0))), "bad-node"),
    "names padding": (a.assemble(a.Part(a.NAMES, b"", struct.pack("<BBH4s", 2, 128, 3, b"a.b\1"))), "bad-layout"),
    # alias
    "alias payload": (a.assemble(W, a.Part(a.ALIAS, b"x", a.alias(b"", b"w").body, b"x")), "bad-layout"),
    "alias length": (a.assemble(W, a.Part(a.ALIAS, b"x", struct.pack("<H6s", 7, b"w"))), "mismatch"),
    "alias empty": (a.assemble(W, a.Part(a.ALIAS, b"x", bytes(8))), "mismatch"),
    "alias without body": (a.assemble(W, a.Part(a.ALIAS, b"x")), "mismatch"),
    "alias padding": (a.assemble(W, a.Part(a.ALIAS, b"x", struct.pack("<H6s", 1, b"w\0\1"))), "bad-layout"),
    "alias UTF-8": (a.assemble(W, a.alias(b"x", b"\xff")), "bad-text"),
    "alias text": (a.assemble(W, a.alias(b"x", b"\x7f")), "bad-text"),
    # bytes
    "blob dtype": (a.assemble(a.Part(a.BLOB, b"b", a.dense(0x28, (2,), b"ab"), b"ab")), "bad-node"),
    "blob rank": (a.assemble(a.Part(a.BLOB, b"b", a.dense(a.UINT8, (1, 2), b"ab"), b"ab")), "bad-node"),
    "blob kind": (a.assemble(a.Part(a.BLOB, b"b", a.node(a.CONSTANT, a.UINT8, (2,), bytes(8)))), "bad-node"),
    "blob transform": (a.assemble(a.Part(a.BLOB, b"b", plain(transform=1), b"ab")), "bad-value"),
    "blob checksum": (a.assemble(a.Part(a.BLOB, b"b", plain(), b"ax")), "bad-checksum"),
    "blob coded": (a.assemble(a.Part(a.BLOB, b"b", plain(codecs=(3,)), b"ab")), None),
    # trees
    "role": (body(plain(role=1)), "bad-node"),
    "product": (body(a.node(a.CONSTANT, a.UINT8, (1 << 31, 1 << 31), bytes(8)), b""), "bad-shape"),
    "product behind zero": (body(a.node(a.CONSTANT, a.UINT16, (0, 1 << 61), bytes(8)), b""), "bad-shape"),
    "dimension": (body(a.node(a.CONSTANT, a.UINT8, (1 << 62,), bytes(8)), b""), "bad-value"),
    "kind 0": (body(a.node(0, a.UINT8, (2,))), "bad-node"),
    "reserved": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), zeros=b"\0\1\0")), "reserved-nonzero"),
    "rank": (body(a.node(a.DENSE, a.UINT8, [1] * 33, a.stream([b"a"])), b"a"), "bad-shape"),
    "parameter length": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), plen=12)), "bad-node"),
    "parameters beyond": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), plen=64)), "bad-node"),
    "node length": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), length=48)), "bad-node"),
    "node shorter": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), length=32)), "bad-node"),
    "bytes behind": (body(plain() + bytes(8)), "bad-node"),
    "dense with a part": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), [plain(role=1)])), "bad-node"),
    "constant with a part": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(8), [plain(role=1)])), "bad-node"),
    "roles descend": (body(a.node(a.CONCAT, a.UINT8, (4,), bytes(8), [plain(role=2), plain(role=1)]), b"ab" + bytes(6) + b"ab"), "bad-node"),
    "part of role 0": (body(a.node(a.CONCAT, a.UINT8, (2,), bytes(8), [plain(role=0)])), "bad-node"),
    "no parts": (body(a.node(a.CONCAT, a.UINT8, (0,), bytes(8)), b""), "bad-node"),
    "eight levels": (body(deep(7)), None),
    "nine levels": (body(deep(8)), "bad-node"),
    "constant beyond": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(16)), b""), "bad-node"),
    "dtype of a part": (body(a.node(a.CONCAT, 0x28, (2,), bytes(8), [plain(role=1)])), "bad-dtype"),
    "scale missing": (body(a.node(a.QUANTIZED, a.FLOAT32, (2,), bytes(16), [plain(role=6)])), "bad-node"),
    # streams
    "no stream": (body(a.node(a.DENSE, a.UINT8, (2,))), "bad-node"),
    "block of 2^9": (body(plain(log2=9)), "bad-value"),
    "block of 2^21": (body(plain(log2=21)), "bad-value"),
    "no planes": (body(a.node(a.DENSE, a.UINT8, (0,), bytes([0, 18, 0, 0, 0, 0, 0, 0])), b""), "bad-value"),
    "nine planes": (body(a.node(a.DENSE, a.UINT8, (0,), bytes([0, 18, 9, 0]).ljust(16, b"\0")), b""), "bad-value"),
    "two planes of cells": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab", b"ab"], codecs=(0, 0))), b"ab" + bytes(6) + b"ab"), "bad-value"),
    "transform parameter": (body(plain(parameter=1)), "bad-value"),
    "codec padding": (body(a.node(a.DENSE, a.UINT8, (2,), put(a.stream([b"ab"]), 7, b"\1"))), "bad-layout"),
    "table": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab", b"cd"]))), "bad-node"),
    "no table": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([])), b""), "bad-node"),
    "stored nothing": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b""])), b""), "bad-value"),
    "stored above 8 MiB": (body(a.node(a.DENSE, a.UINT8, (2,), put(a.stream([b"ab"]), 8, b"\1\0\x80\0"))), "bad-value"),
    "stored above the plane": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"abc"], codecs=(3,))), b"abc"), "mismatch"),
    "raw below the plane": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"a"])), b"a"), "mismatch"),
    "raw block below": (body(a.node(a.DENSE, a.UINT8, (1025,), a.stream([b"a" * 1023, b"b"], log2=10)), b"a" * 1023 + b"\0b"), "mismatch"),
    "block of complex128": (body(a.node(a.DENSE, 0x5C, (1,), a.stream([bytes(16)], log2=20)), bytes(16)), "bad-value"),
    "largest block of complex128": (body(a.node(a.DENSE, 0x5C, (1,), a.stream([bytes(16)], log2=19)), bytes(16)), None),
    "payload of none": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(8)), b"x"), "mismatch"),
    "checksum": (body(a.dense(a.UINT8, (2,), b"ab"), b"ax"), "bad-checksum"),
    "gap between planes": (body(a.node(a.DENSE, a.UINT16, (1,), a.stream([b"a", b"b"], transform=1, codecs=(0, 0))), b"a\0\0\0\0\0\1\0b"), "bad-layout"),
    "gap between blocks": (body(a.node(a.DENSE, a.UINT8, (1025,), a.stream([b"a" * 1023, b"b"], log2=10, codecs=(3,))), b"a" * 1023 + b"\1b"), "bad-layout"),
    "bad stream": (body(a.node(a.DENSE, a.UINT8, (9,), a.stream([b"abcd"], codecs=(1,))), b"abcd"), "bad-stream"),
    "bad cell": (body(a.dense(0x13, (1,), b"\x08"), b"\x08"), "bad-value"),
    "bad differences": (body(a.node(a.DENSE, 0x13, (1,), a.stream([b"\x08"], transform=2)), b"\x08"), "bad-value"),
    "bad index": (body(a.node(a.CODEBOOK, a.UINT8, (1,), struct.pack("<IIQ", 1, 0, 0), [a.dense(a.UINT8, (1, 1), b"x", role=1), a.dense(a.UINT8, (1,), b"\1", role=2)]), b"x" + bytes(7) + b"\1"), "bad-index"),
}  # fmt: skip


@pytest.mark.parametrize("what", RULES)
def test_rule(what):
    data, wanted = RULES[what]
    assert fault(data) == wanted
    in_order = fault(data, read_sequential)
    assert (in_order is None) == (wanted is None)


def test_a_directory_head_longer_than_its_section():
    assert fault(sealed(ONE, START + 8, b"\0\1")) in {"mismatch", "bad-layout"}


def test_faults_say_where_they_are():
    data, _ = RULES["checksum"]
    with pytest.raises(nnpack.ChecksumError) as caught:
        nnpack.open(data)["w"].read()
    bad = caught.value
    assert (bad.error_class, bad.section, bad.offset) == ("bad-checksum", "w", 96)
    assert str(bad).endswith(f"{bad.message} (section 'w', byte 96)")
    assert str(nnpack.NnpackError("bad-json", "x")) == "bad-json: x"
    for kind, base in ((nnpack.ChecksumError, nnpack.FormatError), (nnpack.FormatError, nnpack.NnpackError),
                       (nnpack.DigestError, nnpack.FormatError), (nnpack.TruncatedError, nnpack.FormatError)):  # fmt: skip
        assert issubclass(kind, base)
    assert not issubclass(nnpack.LimitError, nnpack.FormatError)


def test_padding_around_a_payload():
    data = testing.file_of({"w": BIG[:3, :-1]}, profile="raw")
    section = nnpack.open(data).sections[0]
    before, behind = (
        put(data, section.payload_offset - 1, b"\1"),
        put(data, section.payload_end, b"\1"),
    )
    assert [fault(bad, read_sequential) for bad in (before, behind)] == ["bad-layout"] * 2
    assert fault(before) == "bad-layout"
    assert fault(behind) in {None, "bad-layout"}  # R-RDR-012: only who calls the file valid looks


def test_what_the_disk_cannot_read_is_an_os_error(tmp_path, monkeypatch):
    path = tmp_path / "w.nnpk"
    nnpack.save_file({"w": np.arange(100_000)}, path, profile="raw")

    def fail(*_):
        raise OSError(5, "Input/output error")

    with nnpack.open(path) as file:
        tensor = file["w"]
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(OSError, match="Input/output error"):
            tensor.read()
