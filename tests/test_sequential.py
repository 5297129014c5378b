"""Reading from a pipe: what is yielded, when, and what is refused in the end."""

import hashlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.verify import verify
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_random, read_sequential
from tests.test_plugins import F32, KIND_FILE, Negative, one
from tests.test_writer import NOISE, RUNS, fill, written

GRAPH = b'{"inputs":[],"outputs":["v"],"nodes":[]}'


class Pipe:
    """A pipe that gives a few bytes at a time, and counts them."""

    def __init__(self, data, most=1 << 30):
        self._file, self._most = io.BytesIO(data), most
        self.taken = 0

    def read(self, size):
        assert size > 0
        data = self._file.read(min(size, self._most))
        self.taken += len(data)
        return data


def items(data, **options):
    return [*nnpack.read_stream(Pipe(data), **options)]


@pytest.mark.parametrize("most", [1 << 30, 4096, 13])
@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_items_in_order(profile, most):
    data = written(profile=profile, digests=True)
    found = [*nnpack.read_stream(Pipe(data, most))]
    assert [item[:2] for item in found] == [
        ("tensor", "w"), ("tensor", "runs"), ("tensor", "noise"), ("tensor", "sparse"), ("alias", "tied"),
        ("blob", "text"), ("graph", "g"), ("metadata", "")]  # fmt: skip
    w, runs, noise, sparse, tied, text, graph, metadata = (item.value for item in found)
    assert testing.same_bits(w.read(), F32)
    assert testing.same_bits(runs[100:300:7], RUNS[100:300:7])
    assert testing.same_bits(noise.value().array, NOISE)
    assert (sparse.kind, sparse.read().sum()) == ("csr", (RUNS % 7 == 0).sum())
    assert (tied, text, graph, metadata) == (
        "w",
        b"tokens " * 100,
        {"inputs": [], "outputs": ["w"], "nodes": []},
        {"k": "v"},
    )
    assert w.digest() == nnpack.open(data)["w"].digest()
    assert found[0].type == "tensor"
    assert found[0].name == w.name == "w"


def test_a_section_is_yielded_before_the_next_one_arrives():
    data = written(profile="raw")
    sections = nnpack.open(data).sections
    pipe = Pipe(data)
    stream = nnpack.read_stream(pipe)
    assert pipe.taken == 0
    for section in sections:
        assert next(stream).name == section.name
        assert pipe.taken == section.end
    with pytest.raises(StopIteration):
        next(stream)
    assert pipe.taken == len(data)


def test_tensors_of_a_stream_live_on():
    found = {
        item.name: item.value for item in items(written(profile="raw")) if item.type == "tensor"
    }
    assert testing.same_bits(found["noise"].read(), NOISE)
    assert testing.same_bits(found["w"].read(np.empty(3, np.float32)), F32)


def test_view_of_a_stream():
    tensor = items(testing.file_of({"w": RUNS}, profile="raw"))[0].value
    assert testing.same_bits(tensor.view(), RUNS)


def sealed(data, at, new):
    """Change bytes and the trailer's checksum with them."""
    data = data[:at] + new + data[at + len(new) :]
    start = int.from_bytes(data[-32:-24], "little")
    crc = zlib.crc32(data[:16] + data[start : len(data) - 32] + data[-32:-16])
    return data[: len(data) - 16] + struct.pack("<I", crc) + data[len(data) - 12 :]


def listing(*parts, of):
    """The sections of some parts, with the directory of others."""
    data, other = a.assemble(*parts), a.assemble(*of)
    at, start = (int.from_bytes(file[-32:-24], "little") for file in (data, other))
    size = int.from_bytes(other[start + 16 : start + 24], "little")
    payload = start + int.from_bytes(other[start + 8 : start + 12], "little")
    return a.finish(bytearray(data[:at]), other[payload : payload + size])


ONE = a.assemble(W)
AT = int.from_bytes(ONE[-32:-24], "little")
V = a.floats("v", 3)
END = int.from_bytes(a.assemble(W, V)[-32:-24], "little")
SKIPPED = a.Part(99, b"", b"anything", flags=1)
# what: (file, class, what was yielded before)
FAULTS = {
    "empty": (b"", "truncated", ""),
    "some magic": (b"\x89NNP", "truncated", ""),
    "other magic": (b"GGUF", "not-nnpack", ""),
    "short header": (ONE[:15], "truncated", ""),
    "header": (ONE[:16], "truncated", ""),
    "major": (sealed(ONE, 8, b"\2"), "unsupported-version", ""),
    "header reserved": (sealed(ONE, 12, b"\1"), "reserved-nonzero", ""),
    "in a head": (ONE[:40], "truncated", ""),
    "in a body": (ONE[:90], "truncated", ""),
    "in a payload": (ONE[:100], "truncated", ""),
    "before the next head": (ONE[:AT], "truncated", "w"),
    "in the directory": (ONE[: AT + 80], "truncated", "w"),
    "before the trailer": (ONE[:-32], "truncated", "w"),
    "in the trailer": (ONE[:-1], "truncated", "w"),
    "behind the trailer": (ONE + b"\0", "trailing-data", "w"),
    "two files": (ONE + ONE, "trailing-data", "w"),
    "sync": (ONE[:16] + b"\x88" + ONE[17:], "bad-layout", ""),
    "head length": (ONE[:24] + b"\x51" + ONE[25:], "bad-layout", ""),
    "head too long": (ONE[:24] + struct.pack("<I", (64 << 20) + 8) + ONE[28:], "bad-layout", ""),
    "head checksum": (ONE[:44] + b"\0\0\0\0" + ONE[48:], "bad-checksum", ""),
    "minor": (sealed(ONE, 10, b"\1"), None, "w"),
    "trailer magic": (ONE[:-1] + b"\r", "truncated", "w"),
    "trailer reserved": (ONE[:-12] + b"\1" + ONE[-11:], "reserved-nonzero", "w"),
    "trailer offset": (sealed(ONE, len(ONE) - 32, b"\x10"), "bad-layout", "w"),
    "trailer length": (sealed(ONE, len(ONE) - 24, b"\xa0"), "bad-layout", "w"),
    "trailer checksum": (ONE[:-16] + b"\0\0\0\0" + ONE[-12:], "bad-checksum", "w"),
    "header changed": (ONE[:10] + b"\1" + ONE[11:], "bad-checksum", "w"),
    "same name": (a.assemble(W, V, W), "duplicate", "wv"),
    "same name of a blob": (a.assemble(W, a.text(a.BLOB, b"w", b"")), "duplicate", "w"),
    "same name of an alias": (a.assemble(W, a.alias(b"w", b"w")), "duplicate", "w"),
    "metadata twice": (a.assemble(*[a.text(a.METADATA, b"", b"{}")] * 2), "duplicate", ",,"),
    "alias of nothing": (a.assemble(W, a.alias(b"x", b"v")), "bad-reference", "w"),
    "alias of a later tensor": (a.assemble(a.alias(b"x", b"w"), W), "bad-reference", ""),
    "alias of an alias": (a.assemble(W, a.alias(b"x", b"w"), a.alias(b"y", b"x")), "bad-reference", "wx"),
    "alias of a blob": (a.assemble(a.text(a.BLOB, b"b", b""), a.alias(b"y", b"b")), "bad-reference", "b"),
    "graph of nothing": (a.assemble(a.text(a.GRAPH, b"g", GRAPH), W), "bad-reference", "gw"),
    "graph of a blob": (a.assemble(a.text(a.GRAPH, b"g", GRAPH), a.text(a.BLOB, b"v", b"")), "bad-reference", "gv"),
    "graph of a later tensor": (a.assemble(a.text(a.GRAPH, b"g", GRAPH), V), None, "gv"),
    "bad graph": (a.assemble(W, a.text(a.GRAPH, b"g", b"{}")), "bad-json", "w"),
    "bad metadata": (a.assemble(W, a.text(a.METADATA, b"", b"[]")), "bad-json", "w"),
    "payload": (a.assemble(W, a.tensor("v", V.body, b"abcd")), "bad-checksum", "w"),
    "gap": (a.assemble(W, a.tensor("v", a.node(a.DENSE, a.UINT16, (1,), a.stream([b"a", b"b"], transform=1, codecs=(0, 0))), b"a\0\0\0\1\0\0\0b")), "bad-layout", "w"),
    "padding behind a payload": (a.assemble(a.text(a.BLOB, b"b", b"abc"))[:16 + 80 + 3] + b"\1" + a.assemble(a.text(a.BLOB, b"b", b"abc"))[100:], "bad-layout", ""),
    "hidden payload": (a.assemble(W, a.tensor("v", V.body, V.payload + bytes(8))), "mismatch", "w"),
    "fewer listed": (listing(W, V, of=[W]), "mismatch", "wv"),
    "more listed": (listing(W, of=[W, V]), "mismatch", "w"),
    "others listed": (listing(W, V, of=[W, a.floats("u", 3)]), "mismatch", "wv"),
    "other body listed": (listing(W, of=[a.floats("w", 1, 3)]), "mismatch", "w"),
    "other type listed": (a.assemble(a.text(a.BLOB, b"b", b"abc"), a.Part(99, b"", bytes(8), flags=1, listed={"type": 98})), "mismatch", "b"),
    "other alignment listed": (a.assemble(a.floats("w", 1, alignment=4, listed={"alignment": 3})), "mismatch", "w"),
    "two listed as one": (listing(W, V, of=[a.floats("w", 1, 2, listed={"length": END - 96})]), "mismatch", "wv"),
    "none listed": (listing(W, of=[]), "mismatch", "w"),
    "unlisted ancillary": (listing(SKIPPED, of=[]), "mismatch", ""),
    "ancillary body": (a.assemble(a.Part(99, b"", b"anything", flags=1, listed={"body": b"anythin!"}), W), "mismatch", "w"),
    "critical": (a.assemble(W, a.Part(99)), "unknown-section", "w"),
    "private without a name": (a.assemble(W, a.Part(200, flags=1)), "missing", "w"),
    "private kind without a name": (a.assemble(W, one(a.node(200, a.FLOAT32, (1,)), b"")), "missing", "w"),
    "names late": (a.assemble(W, a.names((2, 200, b"a.b"))), "bad-layout", "w"),
    "names twice": (a.assemble(*[a.names((2, 200, b"a.b"))] * 2), "duplicate", ""),
    "digests of another place": (a.assemble(W, a.Part(a.DIGESTS, b"", a.dense(a.UINT8, (2, 32), bytes(64)), bytes(64), flags=1)), "bad-shape", "w"),
    "directory early": (a.assemble(W, a.Part(a.DIRECTORY, b"", a.dense(a.UINT8, (1,), b"x"), b"x"), V), None, "w"),
}  # fmt: skip
ANY = {"directory early", "names late", "names twice", "metadata twice", "other alignment listed", "fewer listed",
       "none listed", "more listed", "unlisted ancillary"}  # fmt: skip
UNTOUCHED = {
    "ancillary body",
    "other type listed",
    "digests of another place",
    "padding behind a payload",
}
"""What a random-access reader does not see where it is not asked for it."""


@pytest.mark.parametrize("what", FAULTS)
def test_fault(what):
    data, error_class, before = FAULTS[what]
    found, caught = "", None
    try:
        for item in nnpack.read_stream(Pipe(data, 100)):
            found += item.name or ","
    except nnpack.NnpackError as bad:
        caught = bad
        assert bad.offset is None or 0 <= bad.offset <= len(data)
    assert found == before
    if what in ANY:
        assert caught
    else:
        assert (caught and caught.error_class) == error_class
    if what not in UNTOUCHED:
        assert (fault(data) is None) == (caught is None)


def test_a_stream_that_is_not_exhausted_says_nothing():
    stream = nnpack.read_stream(Pipe(ONE[:-40]))
    assert next(stream).value.read().tolist() == [1, 2]
    with pytest.raises(
        nnpack.TruncatedError, match=r"the stream ends \d+ bytes early \(byte \d+\)"
    ):
        next(stream)


def head_that_promises(length, kind=a.BLOB):
    """A file that begins a section of so many bytes and then ends."""
    body = a.node(a.DENSE, a.UINT8, (length,), a.stream([]))
    head = bytearray(a.Part(kind, b"b", body, b"").head(16))
    head[16:24] = struct.pack("<Q", length)
    head[28:32] = bytes(4)
    head[28:32] = struct.pack("<I", zlib.crc32(head, zlib.crc32(struct.pack("<Q", 16))))
    return a.HEADER + head + bytes(3000)


@pytest.mark.parametrize(
    ("length", "kind"),
    [
        (1 << 29, nnpack.TruncatedError),
        ((1 << 61) + 1, nnpack.LimitError),
        (1 << 62, nnpack.FormatError),
    ],
)
def test_memory_is_bounded_by_what_arrives(length, kind):
    data = head_that_promises(length)
    tracemalloc.start()
    try:
        with pytest.raises(kind):
            items(data, limits=nnpack.Limits(memory=1 << 40))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_head_that_promises_is_bounded_by_what_arrives():
    head = struct.pack("<4sHHIHBBQII", b"\x89SEC", 1, 0, 64 << 20, 1, 3, 0, 0, 0, 0)
    tracemalloc.start()
    try:
        with pytest.raises(nnpack.TruncatedError):
            items(a.HEADER + head + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("cells", "payload", "error"),
    [(8, b"abcdefgh", None), (3, b"abc" + bytes(5), None), (3, b"abc", "mismatch"),
     (3, b"abc" + bytes(4) + b"x", "bad-layout"), (3, b"abc" + bytes(13), "mismatch")],
)  # fmt: skip
def test_a_leaf_that_stores_nothing_has_its_place_all_the_same(cells, payload, error):
    """In a section that nobody knows its entries may have the length 0 (SPEC 9.3, R-NOD-019)."""
    some = a.dense(a.UINT8, (cells,), payload[:cells], role=1)
    none = a.node(a.DENSE, a.UINT8, (2,), a.stream([b""]), role=2)
    tree = a.node(14, a.UINT8, (), parts=[some, none])
    data = a.assemble(W, a.Section(300, b"x", tree, payload, flags=1))
    assert fault(data, read_sequential) == error
    assert [bad.error_class for bad in verify(data).faults] == [error] * bool(error)


def test_what_is_unknown_is_skipped():
    tree = a.dense(0x02, (7,), b"payload", transform=9, codecs=(77,))
    data = a.assemble(
        a.names((1, 200, b"a.b")), SKIPPED, W, a.Part(300, b"w", tree, b"payload", flags=1),
        a.Part(200, flags=1), one(a.node(14, a.FLOAT32, (1,)), b""), V)  # fmt: skip
    found = items(data)
    assert [item[:2] for item in found] == [("tensor", "w"), ("tensor", "u"), ("tensor", "v")]
    assert [item.value.supported for item in found] == [True, False, True]
    with pytest.raises(nnpack.UnsupportedError, match="kind 14"):
        found[1].value.read()
    for damage in (
        a.Part(300, b"", tree, b"payloae", flags=1),
        a.Part(300, b"", tree, b"payload!", flags=1),
        a.Part(300, b"", b"no tree!", b"x", flags=1),
    ):
        assert fault(a.assemble(damage, W), read_sequential) in {
            "bad-checksum",
            "mismatch",
            "bad-node",
        }


def test_bytes_under_an_unknown_codec():
    tree = a.node(a.DENSE, a.UINT8, (2,), a.stream([b"{}"], codecs=(99,)))
    parts = [
        a.Part(kind, name, tree, b"{}")
        for kind, name in ((a.BLOB, b"b"), (a.GRAPH, b"g"), (a.METADATA, b""))
    ]
    found = items(a.assemble(*parts, W))
    assert [item[:2] for item in found] == [
        ("blob", "b"),
        ("graph", "g"),
        ("metadata", ""),
        ("tensor", "w"),
    ]
    assert [item.value for item in found[:3]] == [None] * 3


def test_plug_ins():
    (item, other) = items(KIND_FILE, kinds={130: Negative})
    assert item.value.read()[0] == -1.5
    assert testing.same_bits(other.value.read(), F32)
    assert not items(KIND_FILE)[0].value.supported
    blocks = testing.file_of({"w": nnpack.Opaque(b"\1\2", "a.b", (2,), "uint8")})
    (item,) = items(blocks, kinds={"a.b": lambda data, *_: data + 1})
    assert item.value.read().tolist() == [2, 3]


TEXT = b'{"a":"b"}'
LIMITED = a.assemble(a.text(a.METADATA, b"", TEXT), W)
LARGE = testing.file_of({"w": np.zeros(300_000, np.float64)}, profile="raw")
BLOB = a.assemble(a.text(a.BLOB, b"b", b"abc"))
# what: (field, value that is enough, file)
LIMITS = {
    "sections": ("sections", 2, LIMITED),
    "metadata": ("json_bytes", len(TEXT), LIMITED),
    "directory": ("directory_bytes", a.directory_bytes(LIMITED), LIMITED),
    "payload": ("memory", 2_400_000, LARGE),
    "payload as a tensor": ("tensor_bytes", 2_400_000, LARGE),
    "blob": ("memory", 3, BLOB),
    "tensor": ("memory", 8, a.assemble(W)),
}


@pytest.mark.parametrize("what", LIMITS)
def test_limit(what):
    field, value, data = LIMITS[what]
    read_sequential(data, limits=nnpack.Limits(**{field: value}))
    with pytest.raises(nnpack.LimitError, match=field):
        read_sequential(data, limits=nnpack.Limits(**{field: value - 1}))


def test_both_ways_of_reading_give_the_same():
    for options in ({}, {"profile": "raw"}, {"digests": True}):
        data = written(fill, **options)
        assert repr(read_sequential(data)) == repr(read_random(data))
    assert items(testing.file_of({})) == []


@pytest.mark.parametrize("size", [600_000, 4])
def test_digests_are_compared_with_what_came(size):
    data = testing.file_of({"w": np.arange(size, dtype=np.float32)}, profile="raw", digests=True)
    assert [item.type for item in nnpack.read_stream(Pipe(data, 5000))] == ["tensor"]
    part = a.tensor("w", a.dense(a.FLOAT32, (2,), bytes(8)), bytes(8))
    covered = a.assemble(part)
    covered = covered[: int.from_bytes(covered[-32:-24], "little")]
    for rows, wanted in ((hashlib.sha256(covered).digest(), None), (bytes(32), "bad-digest")):
        digests = a.Part(a.DIGESTS, b"", a.node(a.DENSE, a.UINT8, (1, 32), a.stream([rows])), rows, flags=1)  # fmt: skip
        assert fault(a.assemble(part, digests), read_sequential) == wanted
        assert [bad.error_class for bad in verify(a.assemble(part, digests)).faults] == [wanted][: bool(wanted)]  # fmt: skip
