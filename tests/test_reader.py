"""nnpack.open: sources, laziness, slices, views, threads, and digests."""

import hashlib
import io
import mmap
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import source, stream, testing
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS
from tests import assemble as a
from tests.reading import fault, read_sequential
from tests.test_plugins import F32
from tests.test_writer import written

GRAPH = {"inputs": ["x"], "outputs": ["y"], "nodes": [{"op": "Mul", "inputs": ["x", "tied"], "outputs": ["y"]}]}  # fmt: skip


def small_blocks(leaf):
    """Blocks of 1024 cells, compressed."""
    planes = len(TRANSFORMS[1].plane_lengths(1, leaf.cell))
    return testing.Plan(TRANSFORMS[1], (CODECS[1],) * planes, 10)


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
