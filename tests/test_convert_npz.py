"""NumPy's archives in and out, with numpy as the oracle in both directions."""

import io
import struct
import zipfile
import zlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.lib import format as npy

import nnpack
from nnpack import testing
from nnpack.convert import archive, convert
from nnpack.convert import npz as ours
from nnpack.dtypes import BY_NAME, DTYPES

SOME = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
NATIVE = sorted(ours._NATIVE)


def run(data, target="nnpk", **options):
    """Convert bytes to bytes."""
    out = io.BytesIO()
    summary = convert(io.BytesIO(data), out, target_format=target, **options)
    return out.getvalue(), summary


def saved(*, compressed=False, **arrays):
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


def loaded(data):
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return dict(found)


def tensors(nnpk):
    with nnpack.open(nnpk) as reader:
        return {name: tensor.read() for name, tensor in reader.items()}


def member(
    text="{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }",
    data=b"ab",
    version=b"\1\0",
    size=None,
):
    """An .npy of any header."""
    text = text.encode("latin-1") + b"\n"
    width = 2 if version == b"\1\0" else 4
    length = (len(text) if size is None else size).to_bytes(width, "little")
    return b"\x93NUMPY" + version + length + text + data


def zipped(*members, method=zipfile.ZIP_STORED, edit=None):
    """An archive of (name, content); `edit` changes its bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members:
            file.writestr(zipfile.ZipInfo(name), content, method)
    data = bytearray(out.getvalue())
    if edit:
        data = edit(data)
    return bytes(data)


def one(*content, **options):
    return zipped(("a.npy", member(*content)), **options)


# --- both directions


@SOME
@given(st.data())
def test_read_equals_numpy(data):
    arrays = {}
    for name in data.draw(st.lists(testing.NAMES, max_size=4, unique=True)):
        dtype = BY_NAME[data.draw(st.sampled_from(NATIVE))]
        array = data.draw(testing.arrays(dtype, data.draw(testing.shapes(60))))
        if data.draw(st.booleans()):
            array = array.byteswap().view(array.dtype.newbyteorder(">"))
        arrays[name] = np.asfortranarray(array) if data.draw(st.booleans()) else array
    out = io.BytesIO()
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as entry:
                npy.write_array(entry, array, data.draw(st.sampled_from([(1, 0), (2, 0), (3, 0)])))
    found = tensors(run(out.getvalue())[0])
    assert [*found] == [*arrays]
    for name, array in arrays.items():
        little = array.astype(array.dtype.newbyteorder("<")) if array.dtype.kind == "b" else array
        little = (
            array.byteswap().view(array.dtype.newbyteorder("<"))
            if array.dtype.byteorder == ">"
            else little
        )
        assert testing.same_bits(found[name], np.ascontiguousarray(little).reshape(array.shape))


@SOME
@given(testing.models())
def test_written_files_are_read_by_numpy(model):
    data, summary = run(testing.file_of(model), "npz")
    found = loaded(data)
    assert [*found] == [*model]
    lost = {}
    for name, value in model.items():
        array = value.to_numpy()
        if value.dtype not in ours._NATIVE:
            kind = f"{value.cell.family}8" if value.cell.is_integer else value.cell.uint.name
            array = array.astype(kind) if value.cell.is_integer else array.view(kind)
            lost.setdefault(f"dtype {value.dtype}, written as {kind}", []).append(name)
        assert testing.same_bits(found[name], array)
    assert summary.lost == lost
    assert run(testing.file_of(model), "npz")[0] == data


@pytest.mark.parametrize("name", [d.name for d in DTYPES if d.name in ours._NATIVE])
def test_bits_come_back(name):
    dtype = BY_NAME[name]
    rng = np.random.default_rng(1)
    array = rng.integers(0, 2 if name == "bool" else 256, 40 * dtype.itemsize, np.uint8).view(
        dtype.numpy
    )
    nnpk = testing.file_of({"w": array.reshape(5, 8)})
    back, _ = run(run(nnpk, "npz")[0])
    assert tensors(back)["w"].tobytes() == array.tobytes()


def test_bools_above_one_come_back():
    text = "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }"
    data = zipped(("odd.npy", member(text, b"\1\2")), ("ok.npy", member(text, b"\0\1")))
    nnpk, _ = run(data)
    with nnpack.open(nnpk) as reader:
        assert (reader["odd"].dtype, reader["ok"].dtype) == ("uint8", "bool")
        assert reader.metadata == {"nnpack.origin": {"odd": {"format": "npz", "type": "bool"}}}
    found = loaded(run(nnpk, "npz")[0])
    assert found["odd"].dtype == found["ok"].dtype == np.bool_
    assert found["odd"].tobytes() == b"\1\2"


def test_what_is_lost_is_said():
    nnpk = testing.file_of({"w": np.zeros(2)}, {"a": 1, "nnpack.origin": {"x": {"format": "gguf"}}})
    assert run(nnpk, "npz")[1].lost == {"metadata": ["a", "nnpack.origin"]}


def test_numpy_of_python_2_and_other_spellings():
    for text in (
        "{'descr': '<u2', 'fortran_order': False, 'shape': (1L,), }",
        "{'shape': (1,), 'fortran_order': True, 'descr': '<u2'}",
        "{'descr':'<u2','fortran_order':False,'shape':(1,)}" + " " * 20,
    ):
        assert tensors(run(one(text))[0])["a"].tolist() == [0x6261]
    scalar = "{'descr': '>u2', 'fortran_order': False, 'shape': (), }"
    assert tensors(run(one(scalar))[0])["a"] == 0x6162


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_data_descriptors_and_64_bit_sizes(method):
    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise OSError

    for out in (Pipe(), io.BytesIO()):
        with zipfile.ZipFile(out, "w", method) as file:
            for name in "ab":
                with file.open(f"{name}.npy", "w", force_zip64=name == "b") as entry:
                    entry.write(member())
        assert tensors(run(out.getvalue())[0])["b"].tolist() == [*b"ab"]


def test_descriptors_without_a_signature():
    content = member()
    flagged = zipped(("a.npy", content))
    local, rest = flagged[: 30 + 5], flagged[30 + 5 + len(content) :]
    local = local[:6] + b"\x08\0" + local[8:14] + bytes(12) + local[26:]
    descriptor = struct.pack("<3I", zlib.crc32(content), len(content), len(content))
    rest = bytearray(rest[:8] + b"\x08\0" + rest[10:])
    start = len(local) + len(content) + len(descriptor)
    rest[-6:-2] = struct.pack("<I", start)
    assert tensors(run(local + content + descriptor + bytes(rest))[0])["a"].tolist() == [*b"ab"]


def wide_end(data):
    """Give an archive the 64-bit end record."""
    end = bytearray(data[-22:])
    _, _, _, _, count, size, start, _ = struct.unpack("<4s4H2IH", end)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(data) - 22, 1)
    end[16:20] = b"\xff" * 4
    return data[:-22] + record + locator + end


def test_64_bit_end_record():
    assert tensors(run(one(edit=wide_end))[0])["a"].tolist() == [*b"ab"]


def test_large_members_are_inflated_piece_by_piece(tmp_path):
    array = np.zeros((3, 1 << 19), np.float32)
    array[1] = np.random.default_rng(0).standard_normal(1 << 19, np.float32)
    path = tmp_path / "a.npz"
    path.write_bytes(saved(compressed=True, w=array, f=np.asfortranarray(array)))
    convert(path, tmp_path / "a.nnpk")
    with nnpack.open(tmp_path / "a.nnpk") as reader:
        assert testing.same_bits(reader["w"].read(), array)
        assert testing.same_bits(reader["f"].read(), array)


def test_empty_archive():
    assert tensors(run(zipped())[0]) == {}


# --- malformed files

HEAD = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }"


def header(descr="'|u1'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def put(at, value):
    def edit(data):
        start = at % len(data)
        data[start : start + len(value)] = value
        return data

    return edit


def put_central(at, value):
    """Change the central directory, which stands behind the one member."""

    def edit(data):
        start = data.index(b"PK\1\2") + at
        data[start : start + len(value)] = value
        return data

    return edit


def put_both(local, value):
    """Change a field in the local header and in the directory."""
    return lambda data: put_central(local + 2, value)(put(local, value)(data))


def insert(at, value):
    """Insert bytes, and let the end record point behind them."""

    def edit(data):
        start = int.from_bytes(data[-6:-2], "little") + len(value)
        data[-6:-2] = start.to_bytes(4, "little")
        data[at:at] = value
        return data

    return edit


def deflated(coded, content=None):
    """An archive whose deflated member has any stored bytes."""
    content = member() if content is None else content
    local = struct.pack(
        "<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, zlib.crc32(content), len(coded), len(content), 5, 0
    )
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, zlib.crc32(content), len(coded), len(content), 5, 0, 0, 0, 0, 0, 0)  # fmt: skip
    body = local + b"a.npy" + coded
    directory = central + b"a.npy"
    return (
        body
        + directory
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(body), 0)
    )


def deflate(data, end=zlib.Z_FINISH):
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush(end)


def cut_wide(data):
    data = wide_end(data)
    data[-22 - 20 - 56 + 4] = 45
    return data


def wide_field(at, value):
    return lambda data: put(len(data) + 76 - at, value)(wide_end(data))


BIG = member(header(shape="(3000000,)"), bytes(3_000_000))
MALFORMED = {
    "empty": (b"", "truncated"),
    "only an end, cut": (zipped()[:21], "truncated"),
    "end cut": (one()[:-1], "trailing-data"),
    "no end": (one()[:80], "truncated"),
    "bytes behind": (one() + b"x", "trailing-data"),
    "a comment that is missing": (one(edit=put(-2, b"\1\0")), "truncated"),
    "two disks": (one(edit=put(-18, b"\1\0")), "unsupported"),
    "counts differ": (one(edit=put(-12, b"\2\0")), "unsupported"),
    "bytes before": (one(edit=insert(0, b"x")), "bad-layout"),
    "bytes before, unannounced": (b"x" + one(), "bad-layout"),
    "bytes behind the member": (one(edit=lambda data: insert(data.index(b"PK\1\2"), b"x")(data)), "bad-layout"),
    "directory too long": (zipped(edit=lambda d: insert(0, b"x")(put(10, b"\0")(d))), "bad-layout"),
    "one member more": (one(edit=lambda d: put(-12, b"\2\0")(put(-14, b"\2\0")(d))), "mismatch"),
    "one member less": (one(edit=lambda d: put(-12, b"\0\0")(put(-14, b"\0\0")(d))), "mismatch"),
    "no member in the directory": (one(edit=put_central(0, b"XX")), "bad-layout"),
    "name beyond the directory": (one(edit=put_central(28, b"\xff")), "bad-layout"),
    "encrypted": (one(edit=put_both(6, b"\1")), "unsupported"),
    "bzip2": (one(edit=put_both(8, b"\x0c")), "unsupported"),
    "version 6.4": (one(edit=put_both(4, b"\x40")), "unsupported"),
    "another disk": (one(edit=put_central(34, b"\1")), "unsupported"),
    "name is not UTF-8": (one(edit=lambda d: put_central(46, b"\xff")(put(30, b"\xff")(put_both(6, b"\0\x08")(d)))), "bad-text"),
    "stored in two sizes": (one(edit=put_both(18, b"\1")), "mismatch"),
    "extra field cut": (one(edit=put_central(28, b"\4\0\1\0")), "bad-layout"),
    "extra field too long": (one(edit=lambda d: put_central(30, b"\5\0")(put_central(28, b"\0\0")(d))), "bad-layout"),
    "local header elsewhere": (one(edit=put_central(42, b"\1")), "bad-layout"),
    "no local header": (one(edit=put(0, b"XX")), "bad-layout"),
    "member beyond the directory": (one(edit=put_both(18, b"\xff\xff\0\0\xff\xff\0\0")), "bad-layout"),
    "local header beyond": (one(edit=put_central(42, b"\0\0\1\0")), "bad-layout"),
    "members in one place": (zipped(("a.npy", member()), ("b.npy", member()), edit=put(-31, bytes(4))), "bad-layout"),
    "names differ": (one(edit=put(30, b"b")), "mismatch"),
    "methods differ": (one(edit=put(8, b"\x08")), "mismatch"),
    "CRCs differ": (one(edit=put(14, b"????")), "mismatch"),
    "descriptor missing": (one(edit=put_both(6, b"\x08")), "bad-layout"),
    "descriptor wrong": (one(edit=lambda d: insert(d.index(b"PK\1\2"), bytes(16))(put_both(6, b"\x08")(d))), "mismatch"),
    "same name twice": (zipped(("a.npy", member()), ("b.npy", member()), edit=lambda d: d.replace(b"b.npy", b"a.npy")), "duplicate"),
    "content damaged": (one(edit=put(-74, b"?")), "bad-checksum"),
    "64-bit end on two disks": (one(edit=wide_field(38, b"\1")), "unsupported"),
    "64-bit end elsewhere": (one(edit=wide_field(34, b"\1")), "bad-layout"),
    "64-bit end is none": (one(edit=wide_field(98, b"XX")), "bad-layout"),
    "64-bit end of two counts": (one(edit=wide_field(74, b"\2")), "unsupported"),
    "64-bit end of another size": (one(edit=lambda d: put(-10, b"\7\7")(wide_end(d))), "mismatch"),
    "no 64-bit end": (one(edit=put(-6, b"\xff" * 4)), "bad-layout"),
    "deflate damaged": (deflated(b"\xff" * 20), "bad-stream"),
    "deflate damaged later": (deflated(deflate(BIG, zlib.Z_FULL_FLUSH) + b"\7", BIG), "bad-stream"),
    "deflate cut": (deflated(deflate(BIG)[:-1], BIG), "bad-stream"),
    "deflate followed": (deflated(deflate(member()) + b"x"), "bad-stream"),
    "deflate followed by much": (deflated(deflate(member()) + bytes(3 << 20)), "bad-stream"),
    "deflate too long": (deflated(deflate(member() + b"x")), "mismatch"),
    "deflate far too long": (deflated(deflate(BIG + bytes(4 << 20)), BIG), "mismatch"),
    "deflate too short": (deflated(deflate(BIG[:-1]), BIG), "mismatch"),
    "deflate of other bytes": (deflated(deflate(member(data=b"xy"))), "bad-checksum"),
    "no .npy": (zipped(("a.txt", b"x")), "unsupported"),
    "empty name": (zipped((".npy", member())), "bad-text"),
    "control in a name": (zipped(("a\n.npy", member())), "bad-text"),
    "no magic": (zipped(("a.npy", b"x" * 80)), "bad-layout"),
    "version 4": (one(HEAD, b"ab", b"\4\0"), "bad-layout"),
    "header cut": (one(HEAD, b"ab", b"\1\0", 200), "bad-layout"),
    "header too long": (zipped(("a.npy", member(HEAD + " " * 10_000))), "bad-layout"),
    "header is code": (one("__import__('os')"), "bad-text"),
    "structured": (one(header("[('a', '<f4')]")), "unsupported"),
    "objects": (saved(a=np.zeros(2, "f4"), o=np.array([1, None], object)), "unsupported"),
    "text": (saved(a=np.array(["ab"])), "unsupported"),
    "dates": (saved(a=np.zeros(2, "M8[s]")), "unsupported"),
    "long doubles": (saved(a=np.zeros(2, np.longdouble)), "unsupported"),
    "bytes of unknown meaning": (saved(a=np.zeros(2, BY_NAME["bfloat16"].numpy)), "unsupported"),
    "order of bytes missing": (one(header("'|u2'", shape="(1,)")), "unsupported"),
    "eleven bytes": (one(header("'<u11'")), "unsupported"),
    "key twice": (one("{'descr': '|u1', 'descr': '|u1', 'shape': (2,), }"), "bad-text"),
    "key unknown": (one("{'descr': '|u1', 'order': False, 'shape': (2,), }"), "bad-text"),
    "order is a string": (one(header(order="'True'")), "bad-text"),
    "shape is a number": (one(header(shape="(2)")), "bad-text"),
    "shape is a string": (one(header(shape="'(2,)'")), "bad-text"),
    "shape of nothing": (one(header(shape="(,)")), "bad-text"),
    "shape too long a number": (one(header(shape="(" + "9" * 20 + ",)")), "bad-text"),
    "rank 33": (one(header(shape="(" + "1," * 33 + ")")), "bad-text"),
    "sizes beyond 2^62": (one(header(shape="(0, 9999999999999999999,)")), "bad-shape"),
    "more declared": (one(header(shape="(3,)")), "mismatch"),
    "much more declared": (one(header(shape="(3000000000000,)")), "mismatch"),
    "less declared": (one(header(shape="(1,)")), "mismatch"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "wanted"), MALFORMED.values(), ids=[*MALFORMED])
def test_malformed(data, wanted):
    with pytest.raises(nnpack.NnpackError) as caught:
        convert(io.BytesIO(data), io.BytesIO(), source_format="npz", target_format="nnpk")
    assert caught.value.error_class == wanted


def test_extra_fields_that_do_not_fit():
    """The 64-bit extra field has what the fields ask for, and stands once."""
    one_field = struct.pack("<2HQ", 1, 8, 3)
    for extra in (one_field + b"\0", one_field, one_field * 2):
        with pytest.raises(nnpack.FormatError):
            archive._wide(extra, [3, 3], 0)
    assert archive._wide(one_field, [3, archive._MAX32], 0) == [3, 3]
    assert archive._wide(b"\7\0\1\0x", [3, archive._MAX32], 0) == [3, archive._MAX32]


def check(data):
    """Damage is an NnpackError, or numpy reads what we read."""
    try:
        nnpk, _ = run(data, source_format="npz")
    except nnpack.NnpackError:
        return False
    found = tensors(nnpk)
    assert [*found] == [*loaded(data)]
    for name, array in loaded(data).items():
        little = array.astype(array.dtype.newbyteorder("<"))
        assert testing.same_bits(found[name], np.ascontiguousarray(little).reshape(array.shape))
    return True


FILES = [
    saved(a=np.arange(6, dtype=np.int16).reshape(2, 3), b=np.array(1, ">u4")),
    saved(compressed=True, a=np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3))),
]


@pytest.mark.parametrize("data", FILES, ids=["stored", "deflated"])
def test_every_truncation(data):
    assert not any(check(data[:size]) for size in range(len(data)))


@pytest.mark.parametrize("data", FILES, ids=["stored", "deflated"])
def test_every_flipped_bit(data):
    accepted = 0
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        accepted += check(bytes(damaged))
    free = data.count(b"PK\3\4") * 8 * 30  # versions, dates, attributes
    assert 0 < accepted < free


def test_limits():
    data = saved(compressed=True, a=np.zeros(10_000, np.float32), f=np.zeros((100, 100), order="F"))
    for limits, name in (
        (nnpack.Limits(tensor_bytes=39_999), "tensor_bytes"),
        (nnpack.Limits(expansion_bytes=1000, expansion_ratio=2), "expansion_bytes"),
        (nnpack.Limits(memory=150_000), "memory"),
        (nnpack.Limits(directory_bytes=10), "directory_bytes"),
        (nnpack.Limits(sections=1), "sections"),
    ):
        with pytest.raises(nnpack.LimitError, match=name):
            run(data, limits=limits)
    run(data, limits=nnpack.Limits(memory=160_000))


def test_what_is_excluded_may_be_of_any_type():
    data = saved(w=np.float32([1]), text=np.array(["ab"]), raw=np.array([b"ab"]))
    for name in ("text", "raw"):
        with pytest.raises(
            nnpack.UnsupportedError, match=f"no numbers; exclude it .section '{name}'"
        ):
            run(data, include=["w", name])
    out, _ = run(data, exclude=["text", "raw"])
    assert [*tensors(out)] == ["w"]
    out, _ = run(data, include=["w"])
    assert [*tensors(out)] == ["w"]
    objects = io.BytesIO()
    np.savez(objects, w=np.float32([1]), o=np.array([{}, None], object))
    with pytest.raises(nnpack.UnsupportedError, match="pickle, which is never read; exclude it"):
        run(objects.getvalue())
    assert [*tensors(run(objects.getvalue(), exclude=["o"])[0])] == ["w"]
    odd = zipped(("w.npy", member()), ("notes.txt", b"hello"))
    assert [*tensors(run(odd, exclude=["*.txt"])[0])] == ["w"]


@pytest.mark.parametrize("target", ["nnpk", "npz"])
def test_lost_orders_are_noted(target):
    square = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = saved(
        w=square,
        b=square.astype(">f4"),
        c=np.array([1, 2], ">i2"),
        f=np.asfortranarray(square),
        left=np.asfortranarray(square),
        flat=np.asfortranarray(np.ones((1, 3))),
    )
    _, summary = run(data, target, exclude=["left"])
    assert summary.notes == {
        "big-endian, written little-endian": ["b", "c"],
        "in Fortran order, written in C order": ["f"],
    }
