"""safetensors in and out, with the reference library as the oracle in both directions."""

import io
import itertools
import json
import struct
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings

import nnpack
from nnpack import testing
from nnpack.convert import convert
from nnpack.convert import safetensors as ours
from nnpack.dtypes import BY_NAME, DTYPES, count, pack, to_cells
from tests import assemble

SOME = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


def file_of(header, data=b""):
    """A safetensors file of any header."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(kind="U8", shape=(2,), offsets=(0, 2), **more):
    return {"dtype": kind, "shape": [*shape], "data_offsets": [*offsets], **more}


def run(data, target="nnpk", **options):
    """Convert bytes to bytes."""
    out = io.BytesIO()
    summary = convert(io.BytesIO(data), out, target_format=target, **options)
    return out.getvalue(), summary


def both_ways(data, **options):
    nnpk, _ = run(data, source_format="safetensors", **options)
    back, _ = run(nnpk, "safetensors")
    return nnpk, back


def reference(data):
    """What the reference library reads: name -> dtype, shape, bytes; in the order of the data."""
    return {
        name: (entry["dtype"], tuple(entry["shape"]), bytes(entry["data"]))
        for name, entry in safetensors.deserialize(data)
    }


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def raw(array, dtype):
    """An array's elements as safetensors stores them."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size and dtype.packed and dtype.name != "bool":
        return pack(to_cells(flat, dtype), dtype.bits).tobytes()
    return flat.tobytes()


@st.composite
def files(draw):
    """Files of any types, shapes and bits, the data in any order."""
    names = draw(
        st.lists(testing.NAMES.filter(lambda n: n != "__metadata__"), max_size=5, unique=True)
    )
    header, pieces, at = {}, [], 0
    for name in names:
        kind = draw(st.sampled_from([*ours.TYPES]))
        dtype = BY_NAME[ours.TYPES[kind]]
        shape = draw(testing.shapes(60))
        if count(shape) * ours.stored_bits(kind) % 8:
            shape = (8, *shape[:30])
        piece = raw(draw(testing.arrays(dtype, shape)), dtype)
        header[name] = tensor(kind, shape, (at, at + len(piece)))
        pieces.append(piece)
        at += len(piece)
    order = draw(st.permutations(names)) if draw(st.booleans()) else names
    rows = {name: header[name] for name in order}
    metadata = draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
    metadata = {k: v for k, v in metadata.items() if not k.startswith("nnpack.")}
    return file_of(({"__metadata__": metadata} if metadata else {}) | rows, b"".join(pieces))


@SOME
@given(files())
def test_round_trip_restores_header_order_metadata_and_data(data):
    wanted = reference(data)
    nnpk, back = both_ways(data)
    assert [*header_of(back).items()] == [*header_of(data).items()]
    assert reference(back) == wanted
    (length,), (old,) = struct.unpack("<Q", back[:8]), struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    assert back[8 + length :] == data[8 + old :]
    with nnpack.open(nnpk) as reader:
        assert {*reader} == {*wanted}
        for name, (kind, shape, stored) in wanted.items():
            found = reader[name]
            assert (found.dtype, found.shape) == (ours.TYPES[kind], shape)
            assert raw(found.read(), BY_NAME[found.dtype]) == stored


def test_all_types_of_the_library_are_known():
    with pytest.raises(safetensors.SafetensorError) as caught:
        safetensors.deserialize(file_of({"a": tensor("F9")}, b"ab"))
    listed = str(caught.value).partition("expected one of ")[2].partition(" at line")[0]
    assert {kind.strip(" `") for kind in listed.split(",")} == {*ours.TYPES}


def test_a_file_of_the_library_comes_back_to_the_byte(tmp_path):
    arrays = {
        "z": np.arange(12, dtype=np.float32).reshape(3, 4),
        "schlüssel": np.array([1, -2], np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float16),
        "scalar": np.array(3.5),
    }
    path = tmp_path / "a.safetensors"
    from safetensors.numpy import save_file

    save_file(arrays, path, {"one": "ü\n", "two": "2"})
    convert(path, tmp_path / "a.nnpk")
    convert(tmp_path / "a.nnpk", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


@SOME
@given(st.data())
def test_written_files_are_read_by_the_library(data):
    model = {}
    for name in data.draw(st.lists(testing.NAMES, max_size=4, unique=True)):
        dtype = data.draw(st.sampled_from(sorted(ours.TYPES.values())).map(BY_NAME.__getitem__))
        shape = data.draw(testing.shapes(60))
        shape = shape if count(shape) * dtype.bits % 8 == 0 or dtype.bits == 1 else (8,)
        model[name] = data.draw(testing.storing(data.draw(testing.arrays(dtype, shape)), dtype))
    out, summary = run(testing.file_of(model), "safetensors")
    found = reference(out)
    assert {*found} == {*model}
    assert summary.tensors == len(model)
    for name, value in model.items():
        assert ours.TYPES[found[name][0]] == value.dtype
        assert found[name][1:] == (value.shape, raw(value.to_numpy(), value.cell))
    dense = {f"{value.name} written dense" for value in model.values() if value.name != "dense"}
    assert {*summary.notes} == dense


# --- malformed files

ONE = {"a": tensor()}
MALFORMED = {
    "empty": (b"", "truncated"),
    "no header": (b"\2\0\0", "truncated"),
    "header beyond the limit": (struct.pack("<Q", 100_000_001) + b"{}", "bad-layout"),
    "header beyond the file": (struct.pack("<Q", 9) + b"{}", "truncated"),
    "empty header": (file_of(b""), "bad-json"),
    "white space first": (file_of(b" {}"), "bad-json"),
    "an array": (file_of(b"[]"), "bad-json"),
    "no JSON": (file_of(b"{]"), "bad-json"),
    "two values": (file_of(b"{}{}"), "bad-json"),
    "NUL padding": (file_of(b"{}\0\0"), "bad-json"),
    "not UTF-8": (file_of(b'{"\xff":1}'), "bad-json"),
    "half a surrogate": (file_of(rb'{"__metadata__":{"a":"\ud800"}}'), "bad-json"),
    "NaN": (file_of(b'{"a":NaN}'), "bad-json"),
    "a number beyond 2^53": (file_of({"a": tensor(shape=[2**60])}, b"ab"), "bad-json"),
    "deep": (file_of(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"), "bad-json"),
    "name twice": (file_of(json.dumps(ONE)[:-1].encode() + b"," + json.dumps(ONE)[1:].encode(), b"ab"), "bad-json"),
    "member twice": (file_of(b'{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}', b"ab"), "bad-json"),
    "metadata key twice": (file_of(b'{"__metadata__":{"a":"1","a":"1"}}'), "bad-json"),
    "metadata of numbers": (file_of({"__metadata__": {"a": 1}}), "bad-json"),
    "metadata list": (file_of({"__metadata__": []}), "bad-json"),
    "list of JSON keys is none": (file_of({"__metadata__": {"nnpack.json": "{}"}}), "bad-json"),
    "listed key is missing": (file_of({"__metadata__": {"nnpack.json": '["a"]'}}), "bad-json"),
    "listed key is a number": (file_of({"__metadata__": {"nnpack.json": "[1]"}}), "bad-json"),
    "listed value is no JSON": (file_of({"__metadata__": {"a": "{", "nnpack.json": '["a"]'}}), "bad-json"),
    "listed value is two": (file_of({"__metadata__": {"a": '1,"b":2', "nnpack.json": '["a"]'}}), "bad-json"),
    "key of nnpack's": (file_of({"__metadata__": {"nnpack.origin": "x"}}), "unsupported"),
    "tensor is no object": (file_of({"a": 1}), "bad-json"),
    "member missing": (file_of({"a": {"dtype": "U8", "shape": [2]}}, b"ab"), "bad-json"),
    "unknown member": (file_of({"a": tensor(strides=[1])}, b"ab"), "unsupported"),
    "dtype is a number": (file_of({"a": tensor(1)}, b"ab"), "unsupported"),
    "unknown dtype": (file_of({"a": tensor("F9")}, b"ab"), "unsupported"),
    "shape is no list": (file_of({"a": {**tensor(), "shape": 2}}, b"ab"), "bad-json"),
    "negative size": (file_of({"a": tensor(shape=[-2])}, b"ab"), "bad-json"),
    "size is a float": (file_of(b'{"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}', b"ab"), "bad-json"),
    "size is a bool": (file_of({"a": tensor(shape=[True], offsets=(0, 1))}, b"a"), "bad-json"),
    "three offsets": (file_of({"a": tensor(offsets=(0, 2, 2))}, b"ab"), "bad-json"),
    "rank 33": (file_of({"a": tensor(shape=[1] * 33, offsets=(0, 1))}, b"a"), "unsupported"),
    "sizes beyond 2^62": (file_of({"a": tensor(shape=[0, 2**40, 2**40], offsets=(0, 0))}), "bad-shape"),
    "length differs": (file_of({"a": tensor(shape=[3])}, b"ab"), "mismatch"),
    "offsets descend": (file_of({"a": tensor(offsets=(2, 0))}, b"ab"), "mismatch"),
    "bits left over": (file_of({"a": tensor("F4", [3])}, b"ab"), "mismatch"),
    "hole": (file_of({"a": tensor(), "b": tensor(offsets=(3, 5))}, b"abcde"), "bad-layout"),
    "hole at the start": (file_of({"a": tensor(offsets=(1, 3))}, b"abc"), "bad-layout"),
    "overlap": (file_of({"a": tensor(), "b": tensor(offsets=(1, 3))}, b"abc"), "bad-layout"),
    "same bytes twice": (file_of({"a": tensor(), "b": tensor()}, b"ab"), "bad-layout"),
    "empty tensor in a tensor": (file_of({"a": tensor(), "b": tensor(shape=[0], offsets=(1, 1))}, b"ab"), "bad-layout"),
    "data cut": (file_of(ONE, b"a"), "truncated"),
    "data behind": (file_of(ONE, b"abc"), "trailing-data"),
    "empty name": (file_of({"": tensor()}, b"ab"), "bad-text"),
    "control in a name": (file_of({"a\nb": tensor()}, b"ab"), "bad-text"),
    "bidi in a name": (file_of({"\u202ea": tensor()}, b"ab"), "bad-text"),
    "name of 1025 bytes": (file_of({"ä" * 512 + "b": tensor()}, b"ab"), "bad-text"),
}  # fmt: skip


class Pipe:
    """Bytes that cannot be sought, a few at a time."""

    def __init__(self, data, sizes=(5, 1, 300)):
        self._data, self._sizes = io.BytesIO(data), itertools.cycle(sizes)

    def read(self, size):
        return self._data.read(min(size, next(self._sizes)))


@pytest.mark.parametrize("make", [io.BytesIO, Pipe], ids=["file", "pipe"])
@pytest.mark.parametrize(("data", "wanted"), MALFORMED.values(), ids=[*MALFORMED])
def test_malformed(data, wanted, make):
    with pytest.raises(nnpack.NnpackError) as caught:
        convert(make(data), io.BytesIO(), source_format="safetensors", target_format="nnpk")
    assert caught.value.error_class == wanted


def test_bad_name_is_shown_escaped():
    with pytest.raises(nnpack.FormatError, match=r"'\\u202e\\x1ba'"):
        run(file_of({"\u202e\x1ba": tensor()}, b"ab"))


METADATA = {"k": 'a "quoted" ü'}
SMALL = file_of(
    {
        "__metadata__": METADATA,
        "w": tensor("BF16", (2, 3), (0, 12)),
        "f": tensor("F4", (2, 4), (12, 16)),
        "b": tensor("BOOL", (3,), (16, 19)),
    },
    bytes(range(16)) + b"\0\1\1",
)


def check_against_library(data):
    """Damage is an NnpackError, or the library reads what we read."""
    try:
        nnpk, back = both_ways(data)
    except nnpack.NnpackError:
        return False
    assert reference(back) == reference(data)
    with nnpack.open(nnpk) as reader:
        assert sorted(reader) == sorted(reference(data))
    return True


def test_every_truncation():
    assert not any(check_against_library(SMALL[:size]) for size in range(len(SMALL)))


def test_every_flipped_bit():
    header = 8 + struct.unpack("<Q", SMALL[:8])[0]
    good = 0
    for bit in range(8 * len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        accepted = check_against_library(bytes(damaged))
        good += accepted
        assert accepted or bit < 8 * header
    assert good < 8 * len(SMALL) // 2


# --- what safetensors has no place for


def test_bools_above_one_come_back():
    data = file_of({"ok": tensor("BOOL"), "odd": tensor("BOOL", offsets=(2, 4))}, b"\0\1\1\2")
    nnpk, back = both_ways(data)
    with nnpack.open(nnpk) as reader:
        assert (reader["ok"].dtype, reader["odd"].dtype) == ("bool", "uint8")
        assert reader.metadata == {
            "nnpack.origin": {"odd": {"format": "safetensors", "type": "BOOL"}}
        }
    assert back[8:].startswith(json.dumps(header_of(data), separators=(",", ":")).encode())
    assert reference(back) == reference(data)


def test_header_order_is_kept():
    data = file_of(
        {"b": tensor(offsets=(2, 4)), "a": tensor(), "c": tensor(offsets=(4, 6))}, b"abcdef"
    )
    nnpk, back = both_ways(data)
    with nnpack.open(nnpk) as reader:
        assert [*reader] == ["a", "b", "c"]
        said = {"format": "safetensors", "position": 1}
        assert reader.metadata["nnpack.origin"]["a"] == said
    assert [*header_of(back)] == ["b", "a", "c"]
    assert "__metadata__" not in header_of(back)
    part, _ = run(nnpk, "safetensors", exclude=["a"])
    assert [*header_of(part)] == ["b", "c"]


@SOME
@given(testing.METADATA)
def test_metadata_come_back(metadata):
    metadata = {key: value for key, value in metadata.items() if not key.startswith("nnpack.")}
    metadata |= {"nnpack.origin": {"x": {"format": "gguf", "type": "Q4_0"}}}
    there, _ = run(testing.file_of({}, metadata), "safetensors")
    texts = header_of(there)["__metadata__"]
    assert all(texts[key] == value for key, value in metadata.items() if isinstance(value, str))
    reference(there)
    back, _ = run(there)
    with nnpack.open(back) as reader:
        assert reader.metadata == metadata
        assert [*reader.metadata] == [*metadata]


def test_metadata_may_be_null_or_none():
    for metadata in (None, {}):
        with nnpack.open(run(file_of({"__metadata__": metadata}))[0]) as reader:
            assert reader.metadata == {}


@pytest.mark.parametrize(
    "origin", [1, [], {"w": 1}, {"w": {"format": "safetensors", "position": "x"}}]
)
def test_any_origin_is_borne(origin):
    nnpk = testing.file_of({"w": np.zeros(2, np.uint8)}, {"nnpack.origin": origin})
    assert reference(run(nnpk, "safetensors")[0])["w"] == ("U8", (2,), b"\0\0")


LACKING = sorted(dtype.name for dtype in DTYPES if dtype.name not in ours.TYPES.values())


@pytest.mark.parametrize("name", LACKING)
def test_dtypes_that_safetensors_lacks(name):
    value = nnpack.Dense(np.zeros(8, BY_NAME[name].numpy), name)
    with pytest.raises(nnpack.UnsupportedError, match=f"no {name}: .*section 'w'"):
        run(testing.file_of({"w": value}), "safetensors")


def test_cells_that_do_not_fill_bytes():
    value = np.zeros(3, BY_NAME["float4_e2m1fn"].numpy)
    with pytest.raises(nnpack.UnsupportedError, match=r"F4\[3\] does not fill bytes"):
        run(testing.file_of({"w": value}), "safetensors")


def test_names_and_keys_of_the_format():
    with pytest.raises(nnpack.UnsupportedError, match="cannot have this name"):
        run(testing.file_of({"__metadata__": np.zeros(1)}), "safetensors")
    with pytest.raises(nnpack.UnsupportedError, match=r"the key nnpack\.json"):
        run(assemble.assemble(assemble.text(3, b"", b'{"nnpack.json":"[]"}')), "safetensors")


def test_header_too_long(monkeypatch):
    nnpk = testing.file_of({"w": np.zeros(2)})
    monkeypatch.setattr(ours, "MAX_HEADER", 40)
    with pytest.raises(nnpack.UnsupportedError, match="convert it in parts"):
        run(nnpk, "safetensors")


def test_what_is_lost_is_said():
    out = io.BytesIO()
    graph = {"inputs": [], "outputs": [], "nodes": []}
    with nnpack.Writer(out) as writer:
        writer.add("w", nnpack.Csr.from_numpy(np.eye(4, dtype=np.float32)))
        writer.add_alias("tied", "w")
        writer.add_graph("g", graph)
        writer.add_blob("b", b"x")
    data, summary = run(out.getvalue(), "safetensors")
    assert summary.notes == {
        "csr written dense": ["w"],
        "alias written as a tensor of its own": ["tied"],
    }
    assert summary.lost == {"graph": ["g"], "blob": ["b"]}
    eye = np.eye(4, dtype=np.float32).tobytes()
    assert reference(data) == dict.fromkeys(("w", "tied"), ("F32", (4, 4), eye))


def test_damage_of_the_source_names_the_tensor():
    rng = np.random.default_rng(0)
    data = bytearray(testing.file_of({"w": rng.integers(0, 256, 5000, np.uint8)}, profile="raw"))
    data[1000] ^= 1
    with pytest.raises(nnpack.ChecksumError, match="section 'w'"):
        run(bytes(data), "safetensors")


# --- memory

MEGABYTE = 1 << 20
BOUND = 100 * MEGABYTE
"""A few blocks and codecs (about 50 MiB); a tensor of 300 MiB would not fit."""

CHILD = """
import re, sys
from pathlib import Path
from nnpack.convert import convert
import nnpack.convert.nnpk, nnpack.convert.safetensors, nnpack.writer

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

before = peak()
convert(sys.argv[1], sys.argv[2], threads=2)
convert(sys.argv[2], sys.argv[3], threads=2)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_stays_small(tmp_path):
    size = 300 * MEGABYTE
    source, middle, back = (
        tmp_path / name for name in ("a.safetensors", "a.nnpk", "b.safetensors")
    )
    header = file_of({"w": tensor("F32", (300, 1 << 18), (0, size))})
    with source.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    done = subprocess.run(  # noqa: S603 - runs this very Python
        [sys.executable, "-c", CHILD, source, middle, back],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < BOUND
    assert back.stat().st_size >= size
    assert middle.stat().st_size < MEGABYTE
