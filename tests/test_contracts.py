"""One contract for every entry of CODECS, TRANSFORMS and KINDS; the oracles are SPEC's formulas."""

import gzip
import itertools
import os
import runpy
import struct
import sys
import zlib

import cramjam
import lz4.block
import lzokay
import ml_dtypes
import numpy as np
import pytest
import zstandard

import nnpack
from nnpack import testing, wire
from nnpack.abc import Codec, read_range
from nnpack.codecs import CODECS, deflate
from nnpack.codecs.brotli import Brotli
from nnpack.codecs.zstd import WEIGHTS, Zstd
from nnpack.dtypes import BY_NAME, DTYPES
from nnpack.nodes import KINDS
from nnpack.transforms import TRANSFORMS
from nnpack.wire import Cursor
from tests import assemble as a
from tests.reading import fault

SEED = np.random.default_rng(2024)


def without_isal(module):
    """Run a module as where there is no wheel of isal."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("isal", "isal.isal_zlib"):
            patch.setitem(sys.modules, name, None)
        return runpy.run_path(module.__file__)


# Codecs

PLANES = {
    "one": b"\x07",
    "short": b"abc",
    "run": bytes(5000),
    "text": b"the quick brown fox " * 300,
    "random": SEED.bytes(5000),
    "few": SEED.integers(0, 3, 70_000, np.uint8).tobytes(),
    "largest": bytes(range(256)) * (1 << 15),
}
CODERS = {
    **{codec.name: codec for codec in CODECS.values()},
    "zstd-weights": Zstd(WEIGHTS),
    "zstd-19": Zstd(19),
    "brotli-9": Brotli(9),
    "deflate-zlib": without_isal(deflate)["Deflate"](),
}


def coder(name, data):
    """Return a codec; with the table that suits the data, if it has one."""
    codec = CODERS[name]
    if isinstance(codec, Codec):
        return codec
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    if len(data) > 1 << 20:  # few lanes take long
        codec = type(codec)(log2_lanes=14)
    return codec.with_table(memoryview(codec.make_table(counts)))


def refused(codec, stored, size):
    """Return whether the codec refuses what is stored as a plane of this size."""
    try:
        codec.decode_into(memoryview(stored), memoryview(bytearray(size)))
    except nnpack.FormatError as bad:
        assert bad.error_class == "bad-stream"
        return True
    return False


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("plane", PLANES)
def test_codec_keeps_every_plane(name, plane):
    if (name, plane) == ("lzw", "largest") and not os.environ.get("NNPACK_RELEASE"):
        pytest.skip("a loop over bytes takes two minutes: NNPACK_RELEASE=1 before a release")
    data = PLANES[plane]
    codec = coder(name, data)
    coded = codec.encode(memoryview(bytearray(data)))
    assert isinstance(coded, bytes)
    for stored in (memoryview(coded), memoryview(bytearray(b"\xff" + coded))[1:]):
        assert bytes(codec.decode(stored, len(data))) == data
    for size in {0, 1, len(data) // 2, len(data) - 1, len(data) + 1, 2 * len(data)} - {len(data)}:
        # Where a table is shared, a code may be no bits, or those that fill up the last word.
        assert refused(codec, coded, size) or CODERS[name] is not codec
    for more in (b"\0", b"\xff", coded):
        assert refused(codec, coded + more, len(data))
    for size in {*range(min(len(coded), 60)), len(coded) // 2, len(coded) - 1}:
        assert refused(codec, coded[:size], len(data))
    assert bytes(codec.decode(memoryview(coded), len(data))) == data


@pytest.mark.parametrize("name", CODERS)
def test_codec_survives_garbage(name):
    data, rng = PLANES["text"], np.random.default_rng(5)
    codec = coder(name, data)
    coded = codec.encode(memoryview(data))
    for size in (1, 7, 300):
        for start in (b"", b"\x28\xb5\x2f\xfd", coded[:9]):
            for _ in range(40):
                refused(codec, start + rng.bytes(size), len(data))
    if codec.id:
        assert refused(codec, b"", len(data))


def test_codecs_read_literal_streams():
    for key, stored, size in (
        (1, bytes.fromhex("28b52ffd60e8024d00001000000100e32b8005"), 1000),
        (2, b"\x1f\0\1\0" + b"\xff" * 3 + b"\xd2\x50" + bytes(5), 1000),
        (3, bytes.fromhex("63601805a360140c770000"), 1000),
        (3, b"\1\2\0\xfd\xff\0\0", 2),
        (16, bytes.fromhex("e8070000" + 15 * "fe0100" + "9a0100"), 1000),
        (16, bytes.fromhex("e88700" + "0000" + 15 * "fe0100" + "9a0100"), 1000),
        (17, bytes.fromhex("1be703002400a2b1404203"), 1000),
        (17, (3 << 4 | 1 << 20).to_bytes(3, "little") + bytes(4) + b"\3", 4),
        (18, bytes.fromhex("120020000000c90000110000"), 1000),
        (19, bytes.fromhex("1f8b080000000000020363601805a360140c77000080170b06e8030000"), 1000),
        (
            20,
            sum(code << 9 * at for at, code in enumerate([0, *range(258, 301), 266, 257])).to_bytes(
                52, "little"
            ),
            1000,
        ),
    ):
        assert CODECS[key].decode(memoryview(stored), size) == bytes(size)


def test_codecs_read_what_the_usual_tools_write():
    data = PLANES["text"]
    deflater = zlib.compressobj(9, wbits=-15, strategy=zlib.Z_FIXED)
    for key, stored in (
        (1, zstandard.ZstdCompressor(level=22).compress(data)),
        (1, zstandard.ZstdCompressor(level=-5).compress(data)),
        (2, lz4.block.compress(data, mode="high_compression", compression=12, store_size=False)),
        (3, deflater.compress(data[:999]) + deflater.flush(zlib.Z_FULL_FLUSH) + deflater.compress(data[999:]) + deflater.flush()),
        (16, bytes(cramjam.snappy.compress_raw(data))),
        (17, bytes(cramjam.brotli.compress(data, 0))),
        (18, lzokay.compress(data)),
        (19, gzip.compress(data, mtime=1)),
    ):  # fmt: skip
        assert CODECS[key].decode(memoryview(stored), len(data)) == data


GZIP = gzip.compress(bytes(1000))
ZSTD = b"\x28\xb5\x2f\xfd"
RLE = struct.pack("<I", 1000 << 3 | 1 << 1 | 1)[:3] + b"\0"
"""A last block of zstd: a run of 1000 zeros."""
MALFORMED = {
    "lz4 offset before the start": (2, b"\x1fa\2\0" + b"\xff" * 3 + b"\xd2\x50bcdef", 1000),
    "lz4 match at the end": (2, b"\x1fa\1\0" + b"\xff" * 3 + b"\xd7", 1000),
    "lz4 four literals at the end": (2, b"\x1fa\1\0" + b"\xff" * 3 + b"\xd3\x40bcde", 1000),
    "zstd dictionary id": (1, ZSTD + b"\x61\7" + struct.pack("<H", 744) + RLE, 1000),
    "zstd dictionary id of 0": (1, ZSTD + b"\x61\0" + struct.pack("<H", 744) + RLE, 1000),
    "zstd checksum": (1, ZSTD + b"\x64" + struct.pack("<H", 744) + RLE + bytes(4), 1000),
    "zstd reserved bit": (1, ZSTD + b"\x68" + struct.pack("<H", 744) + RLE, 1000),
    "zstd window of 16 MiB": (1, ZSTD + b"\x40\x70" + struct.pack("<H", 744) + RLE, 1000),
    "deflate block type 3": (3, b"\7\0", 1000),
    "deflate distance before the start": (3, bytes.fromhex("4b844100"), 9),
    "snappy length beyond 32 bits": (
        16,
        bytes.fromhex("e88780808001" + "0000" + 15 * "fe0100" + "9a0100"),
        1000,
    ),
    "snappy offset of 0": (16, bytes.fromhex("0500000100"), 5),
    "brotli large window": (
        17,
        (0x11 | 24 << 8 | 3 << 17 | 1 << 33).to_bytes(5, "little") + bytes(4) + b"\3",
        4,
    ),
    "brotli padding": (17, bytes.fromhex("1be703002400a2b1404283"), 1000),
    "lzo1x end marker with bits": (18, bytes.fromhex("120020000000c90000110100"), 1000),
    "lzo1x end marker of another length": (18, bytes.fromhex("120020000000c90000120000"), 1000),
    "lzo1x a zero less": (18, bytes.fromhex("120020000000c80000110000"), 1000),
    "gzip name": (19, GZIP[:3] + b"\x08" + GZIP[4:10] + b"a\0" + GZIP[10:], 1000),
    "gzip checksum": (19, GZIP[:-8] + bytes(4) + GZIP[-4:], 1000),
    "gzip length": (19, GZIP[:-4] + bytes(4), 1000),
    "gzip of zlib": (19, zlib.compress(bytes(1000)), 1000),
    "lzw bits behind the end": (20, bytes.fromhex("000402fe"), 1),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_codec_refuses(name):
    key, stored, size = MALFORMED[name]
    assert refused(CODECS[key], stored, size)


def test_zstd_frame_of_the_literals_is_one_where_nothing_is_wrong():
    assert not refused(CODECS[1], ZSTD + b"\x60" + struct.pack("<H", 744) + RLE, 1000)
    assert not refused(CODECS[1], ZSTD + b"\x40\x68" + struct.pack("<H", 744) + RLE, 1000)


def test_checksums_without_isal_are_zlib_s():
    for crc32 in (wire.crc32, without_isal(wire)["crc32"]):
        assert crc32(b"123456789") == 0xCBF43926
        assert crc32(b"") == 0


# Transforms

SIZES = (1, 2, 3, 7, 8, 9, 64, 1023)


def array_of(cells, dtype):
    """An array of these bit patterns."""
    if dtype.bits >= 8:
        raw = b"".join(cell.to_bytes(dtype.bits // 8, "little") for cell in cells)
        return np.frombuffer(raw, np.uint8).copy().view(dtype.numpy)
    half = 1 << dtype.bits - 1
    if dtype.family == "int":
        return np.array([(cell ^ half) - half for cell in cells], np.int8).astype(dtype.numpy)
    return np.array(cells, np.uint8).view(dtype.numpy)


def cells_of(array, dtype):
    """The bit patterns of an array."""
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).tobytes()
    step = dtype.itemsize
    found = [int.from_bytes(raw[at : at + step], "little") for at in range(0, len(raw), step)]
    return [cell & (1 << dtype.bits) - 1 for cell in found]


def random_cells(rng, dtype, size):
    raw, step = rng.bytes(size * dtype.itemsize), dtype.itemsize
    mask = (1 << dtype.bits) - 1
    return [int.from_bytes(raw[i * step : (i + 1) * step], "little") & mask for i in range(size)]


def cells_plane(cells, width):
    whole = sum(cell << i * width for i, cell in enumerate(cells))
    return [whole.to_bytes(-(-len(cells) * width // 8), "little")]


def byte_planes(cells, width):
    return [bytes(cell >> 8 * k & 255 for cell in cells) for k in range(-(-width // 8))]


def delta_planes(cells, width):
    pairs = itertools.pairwise([0, *cells])
    return byte_planes([(here - before) % 2**width for before, here in pairs], width)


def components(cells, dtype):
    if dtype.family != "complex":
        return cells, dtype.bits
    half = dtype.bits // 2
    return [part for cell in cells for part in (cell % 2**half, cell >> half)], half


def rotated(cell, width):
    return cell << 1 & 2**width - 1 | cell >> width - 1


FORMULAS = {
    0: lambda cells, dtype: cells_plane(cells, dtype.bits),
    1: lambda cells, dtype: byte_planes(*components(cells, dtype)),
    2: lambda cells, dtype: delta_planes(cells, dtype.bits),
    4: lambda cells, dtype: byte_planes([rotated(cell, dtype.bits) for cell in cells], dtype.bits),
}
ACCEPTED = {
    0: DTYPES,
    1: DTYPES,
    2: [t for t in DTYPES if t.name.startswith(("int", "uint"))],
    4: [BY_NAME[name] for name in ("float16", "bfloat16", "float32", "float64")],
}


def test_every_transform_has_its_formula():
    """Those that have forms have theirs in test_transforms."""
    assert {key for key, transform in TRANSFORMS.items() if transform.forms == 1} == {*FORMULAS}
    assert all(transform.id == key for key, transform in TRANSFORMS.items())


@pytest.mark.parametrize("key", FORMULAS)
def test_transform_is_its_formula_and_back(key):
    transform, rng = TRANSFORMS[key], np.random.default_rng(key)
    for dtype in DTYPES:
        assert transform.accepts(dtype) == (dtype in ACCEPTED[key])
    for dtype, size in itertools.product(ACCEPTED[key], SIZES):
        cells = random_cells(rng, dtype, size)
        array = array_of(cells, dtype)
        planes = transform.split(array, dtype)
        assert [plane.tobytes() for plane in planes] == FORMULAS[key](cells, dtype)
        assert [plane.nbytes for plane in planes] == transform.plane_lengths(size, dtype)
        assert all(plane.dtype == np.uint8 for plane in planes)
        out = np.full(size, 0x55, np.uint8).repeat(dtype.itemsize).view(dtype.numpy)
        frozen = [np.frombuffer(plane.tobytes(), np.uint8) for plane in planes]
        transform.join(frozen, dtype, out)
        assert cells_of(out, dtype) == cells


@pytest.mark.parametrize("key", TRANSFORMS)
def test_cellwise_planes_of_blocks_in_turn_are_those_of_all_their_cells(key):
    transform, rng = TRANSFORMS[key], np.random.default_rng(key)
    cellwise = [dtype for dtype in DTYPES if transform.cellwise(dtype)]
    whole = sum(dtype.bits >= 8 for dtype in DTYPES)
    assert len(cellwise) == {0: whole, 1: whole, 4: 4}.get(key, 0)
    for dtype in cellwise:
        cells = random_cells(rng, dtype, 3 * 7)
        blocks = [transform.split(array_of(cells[i : i + 7], dtype), dtype) for i in (0, 7, 14)]
        out = np.zeros(21, dtype.numpy)
        transform.join([np.concatenate(planes) for planes in zip(*blocks, strict=True)], dtype, out)
        assert cells_of(out, dtype) == cells


@pytest.mark.parametrize(
    ("name", "cells", "packed"),
    [
        ("uint4", [1, 15, 7, 8, 0, 9], "f18790"),
        ("int3", [0, 1, 7, 4, 3], "c839"),
        ("bool", [1, 0, 0, 1, 0, 0, 0, 1, 1, 0], "8901"),
        ("uint16", [1, 0x1234], "01003412"),
        ("complex64", [0x3F80000080000000], "000000800000803f"),
    ],
)
def test_packed_cells(name, cells, packed):
    dtype = BY_NAME[name]
    (plane,) = TRANSFORMS[0].split(array_of(cells, dtype), dtype)
    assert plane.tobytes().hex() == packed


@pytest.mark.parametrize("dtype", [t for t in DTYPES if t.bits < 8], ids=lambda t: t.name)
def test_transform_refuses_bits_beyond_the_width(dtype):
    for key in FORMULAS:
        if dtype not in ACCEPTED[key]:
            continue
        for size in (1, 8, 9):
            (length,) = TRANSFORMS[key].plane_lengths(size, dtype)
            out = np.empty(size, dtype.numpy)
            spare = length * 8 - size * dtype.bits if key == 0 else 8 - dtype.bits
            for bit in range(spare):
                plane = np.zeros(length, np.uint8)
                plane[-1] = 1 << 7 - bit
                with pytest.raises(nnpack.FormatError, match="bad-value"):
                    TRANSFORMS[key].join([plane], dtype, out)


@pytest.mark.parametrize("dtype", [t for t in DTYPES if t not in ACCEPTED[2]], ids=lambda t: t.name)
def test_a_file_cannot_have_differences_of_what_is_no_integer(dtype):
    plane = bytes(2)
    planes = dtype.itemsize if dtype.bits < 128 else 8
    head = a.stream([plane] * planes, transform=2, codecs=(0,) * planes)
    payload = b"".join(plane.ljust(8, b"\0") for _ in range(planes - 1)) + plane
    data = a.assemble(a.tensor("w", a.node(a.DENSE, dtype.id, (2,), head), payload))
    assert fault(data) == "bad-dtype"


# Kinds

PARTS = ("uint1", "uint3", "uint5", "uint8", "uint16", "uint32")
BITS = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8", 16: "V16"}


def some(rng, name, shape):
    """Random bits of a type."""
    dtype = BY_NAME[name]
    size = int(np.prod(shape, dtype=int))
    return array_of(random_cells(rng, dtype, size), dtype).reshape(shape)


def bits(array):
    """The array as numbers that move without a change."""
    array = np.ascontiguousarray(array)
    return array.reshape(-1).view(BITS[array.itemsize]).reshape(array.shape)


def dense_cases(rng):
    for dtype in DTYPES:
        for shape in ((), (0,), (3,), (2, 0, 3), (5, 1, 4)):
            array = some(rng, dtype.name, shape)
            yield nnpack.Dense(array, dtype.name), array


def constant_cases(rng):
    for dtype in DTYPES:
        for shape in ((), (0, 2), (3, 5)):
            cell = some(rng, dtype.name, (1,))
            yield (
                nnpack.Constant(cell, shape, dtype.name),
                cell.repeat(np.prod(shape, dtype=int)).reshape(shape),
            )


def csr_cases(rng):
    for number, dtype in enumerate(DTYPES):
        for shape in ((), (0,), (4, 6), (3, 1, 7), *[(2500,)] * (number % 6 == 0)):
            size = int(np.prod(shape, dtype=int))
            row_length = int(rng.choice([1, max(size // 3, 1), size + 5, *shape[-1:]])) or 1
            row_length = row_length if shape else 1
            fill = some(rng, dtype.name, (1,))
            counts, gaps, out, values = [], [], bits(fill).repeat(size), []
            for start in range(0, size, row_length):
                length = min(row_length, size - start)
                columns = [c for c in range(length) if rng.random() < 0.4]
                counts.append(len(columns))
                gaps += [c - before - 1 for before, c in itertools.pairwise([-1, *columns])]
                values += [start + c for c in columns]
            stored = some(rng, dtype.name, (len(values),))
            out[values] = bits(stored)
            fitting = [p for p in PARTS if max([*counts, *gaps, 0]) < 1 << BY_NAME[p].bits]
            parts = [
                nnpack.Dense(np.array(x, BY_NAME[t].numpy), t)
                for x, t in ((counts, fitting[number % len(fitting)]), (gaps, fitting[0]))
            ]
            value = nnpack.Csr(*parts, nnpack.Dense(stored, dtype.name), shape, fill, row_length)
            yield value, out.view(fill.dtype).reshape(shape)
    yes, no = nnpack.Constant(1, (4,), "uint1"), nnpack.Constant(0, (4,), "uint1")
    value = nnpack.Csr(yes, no, np.arange(5, 9, dtype=np.uint8), (4, 3), 1)
    yield value, np.array([[5, 1, 1], [6, 1, 1], [7, 1, 1], [8, 1, 1]], np.uint8)


def group(place, block):
    return tuple(at // size if size else 0 for at, size in zip(place, block, strict=True))


def grid_of(shape, block):
    return tuple(-(-d // b) if b else 1 for d, b in zip(shape, block, strict=True))


def codebook_cases(rng):
    plans = [
        ((), (), 1, None), ((7,), (0,), 1, None), ((7,), (3,), 1, None), ((0, 4), (0, 1), 1, None),
        ((4, 6), (3, 0), 1, None), ((4, 6), (1, 4), 1, None), ((3, 4, 5), (2, 3, 2), 1, None),
        ((6,), (0,), 2, 0), ((9, 4), (3, 3), 3, 0), ((9, 4), (6, 0), 3, 0), ((4, 12), (3, 8), 4, 1),
        ((2, 6, 5), (1, 4, 3), 2, 1), ((1, 600), (0, 0), 300, 1), ((50, 60), (7, 0), 5, 1),
    ]  # fmt: skip
    for number, (shape, block, vector, axis) in enumerate(plans):
        for dtype in (DTYPES[number * 3 % len(DTYPES)], DTYPES[number * 5 % len(DTYPES)]):
            entries = int(rng.integers(1, 6))
            part = ("uint3", "uint8", "uint16", "uint32")[number % 4]
            tail = (entries,) if vector == 1 else (entries, vector)
            table = some(rng, dtype.name, (*grid_of(shape, block), *tail))
            short = [d // vector if i == axis else d for i, d in enumerate(shape)]
            indices = rng.integers(0, entries, short).astype(BY_NAME[part].numpy)
            out, cells = np.empty(shape, BITS[dtype.itemsize]), bits(table)
            for place in np.ndindex(*shape):
                j = tuple(x // vector if i == axis else x for i, x in enumerate(place))
                where = (*group(place, block), indices[j])
                out[place] = cells[where if vector == 1 else (*where, place[axis] % vector)]
            value = nnpack.Codebook(
                nnpack.Dense(table, dtype.name), nnpack.Dense(indices, part), block=block, vector_axis=axis
            )  # fmt: skip
            yield value, out.view(dtype.numpy)


OPERANDS = ("bool", "uint1", "uint4", "uint8", "uint16", "uint32", "int2", "int5", "int8", "int16", "int32",
            "float16", "bfloat16", "float32", "float4_e2m1fn", "float6_e3m2fn", "float8_e4m3fn", "float8_e8m0fnu")  # fmt: skip
RESULTS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
NAN = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000}


def number(element):
    """An int for integers and bools, a binary32 for floats."""
    if isinstance(
        element,
        np.bool_ | np.integer | ml_dtypes.int2 | ml_dtypes.int4 | ml_dtypes.uint2 | ml_dtypes.uint4,
    ):
        return int(element)
    return np.float32(element)


def dequantized(q, s, z, b, m, divide, step, result):
    """SPEC 8.6.2 for one element."""

    def stepped(x):
        return x if step is None else np.float32(RESULTS[step](x))

    if z is None:
        t = np.float32(q)
    elif isinstance(q, int) and isinstance(z, int):
        t = stepped(np.float32(q - z))
    else:
        t = stepped(np.float32(q) - np.float32(z))
    y = stepped(t / np.float32(s) if divide else t * np.float32(s))
    if b is not None:
        y = stepped(y + np.float32(b))
    if m is not None:
        y = stepped(y - np.float32(m))
    return RESULTS[result](y)


def quantized_cases(rng):
    shapes = [((), ()), ((9,), (4,)), ((5, 6), (2, 0)), ((5, 6), (1, 4)), ((4, 6), (0, 0)), ((3, 4, 5), (2, 0, 2)),
              ((0, 3), (0, 1)), ((40, 50), (0, 7)), ((7,), 3), ((4, 5), 7), ((4, 5), 100), ((0,), 4), ((), 2)]  # fmt: skip
    for turn in range(90):
        shape, block = shapes[turn % len(shapes)]
        flat = isinstance(block, int)
        grid = (-(-int(np.prod(shape, dtype=int)) // block),) if flat else grid_of(shape, block)
        options = {"block": block, "flat": flat, "divide": turn % 3 == 1}
        options["step"] = (None, None, "float16", "bfloat16")[turn % 4]
        options["dtype"] = result = [*RESULTS][turn // 2 % 3]
        names = rng.choice(OPERANDS, 3)
        codes, scale, offset = (
            some(rng, str(name), of) for name, of in zip(names, (shape, grid, grid), strict=True)
        )
        role = (None, "zero", "bias", "min")[turn // 4 % 4]
        wrap = {"codes": nnpack.Dense(codes, names[0]), "scale": nnpack.Dense(scale, names[1])}
        if role:
            wrap[role] = nnpack.Dense(offset, names[2])
        index, axis = None, turn % max(len(shape), 1)
        if shape and not flat and turn % 5 < 2 and 0 not in shape:
            index = rng.integers(0, grid[axis], shape[axis]).astype(np.uint16)
            options |= {"group_index": index, "group_axis": axis}
        out = np.empty(shape, RESULTS[result])
        for at, place in enumerate(np.ndindex(*shape)):
            g = (at // block,) if flat else group(place, block)
            if index is not None:
                g = (*g[:axis], index[place[axis]], *g[axis + 1 :])
            offsets = {"zero": None, "bias": None, "min": None} | (
                {role: number(offset[g])} if role else {}
            )
            with np.errstate(all="ignore"):
                y = dequantized(
                    number(codes[place]),
                    number(scale[g]),
                    *offsets.values(),
                    options["divide"],
                    options["step"],
                    result,
                )
            out[place] = y
            if np.isnan(y):
                bits(out)[place] = NAN[result]
        yield nnpack.Quantized(**wrap, **options), out


def concat_cases(rng):
    for dtype in DTYPES[::4]:
        for cuts, axis, rest in (
            ([3], 0, ()),
            ([2, 0, 5], 0, (4,)),
            ([1, 2], 1, (3,)),
            ([4, 1, 1], 1, (3, 5)),
            ([20, 30], 2, (7, 9)),
        ):
            shapes = [(*rest[:axis], cut, *rest[axis:]) for cut in cuts]
            arrays = [some(rng, dtype.name, shape) for shape in shapes]
            out = np.concatenate([bits(array) for array in arrays], axis)
            parts = [nnpack.Dense(array, dtype.name) for array in arrays]
            yield nnpack.Concat(parts, axis), out.view(dtype.numpy)


def opaque_cases(rng):
    def reverse(data, parameters, dtype, shape):
        assert parameters == b"p"
        return bits(data)[::-1].copy().view(BY_NAME[dtype].numpy).reshape(shape)

    for dtype in DTYPES[::5]:
        for shape in ((), (0,), (2, 3)):
            array = some(rng, dtype.name, shape)
            raw = array.reshape(-1).view(np.uint8)[::-1].tobytes()
            yield (
                nnpack.Opaque(raw, "org.example.reverse", shape, dtype.name, b"p", decode=reverse),
                array,
            )


CASES = {1: dense_cases, 2: constant_cases, 3: csr_cases, 4: codebook_cases, 5: quantized_cases, 6: concat_cases, 7: opaque_cases}  # fmt: skip


def test_every_kind_has_its_cases():
    assert KINDS.keys() == CASES.keys()
    assert all(kind.id == key for key, kind in KINDS.items())


def check_value(node, wanted, rng):
    """Check what holds for every value, wherever its leaves stand."""
    assert (node.shape, node.size) == (wanted.shape, wanted.size)
    assert node.nbytes == wanted.nbytes
    assert node.cell.numpy == wanted.dtype
    assert testing.same_bits(node.to_numpy(), wanted)
    assert testing.same_bits(np.asarray(node), wanted)
    node.check()
    for field in ("shape", "dtype", "nonsense", *(name for name, _ in node.named_parts())):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(node, field, None)
    assert repr(node).startswith(f"{type(node).__name__}({node.dtype}{[*node.shape]}")
    roles = [role for role, _ in node.parts()]
    assert roles == sorted({*roles})
    assert [node.roles[role] for role in roles] == [name for name, _ in node.named_parts()]
    flat = wanted.reshape(-1)
    for _ in range(6 if node.size else 0):
        start, stop = sorted(rng.choice(node.size + 1, 2, replace=False).tolist())
        assert testing.same_bits(read_range(node, start, stop), flat[start:stop])
        fill = node.window(start, stop)
        for _ in range(3):
            low, high = sorted((start + rng.choice(stop - start + 1, 2)).tolist())
            if low == high or stop - start < 2:
                continue
            out = np.empty(high - low, flat.dtype)
            fill(low, high, out)
            assert testing.same_bits(out, flat[low:high])
    assert read_range(node, 0, 0).shape == (0,)


@pytest.mark.parametrize("key", KINDS, ids=lambda key: KINDS[key].name)
def test_kind_is_its_formula(key):
    rng = np.random.default_rng(key)
    for value, wanted in CASES[key](rng):
        assert type(value) is KINDS[key]
        check_value(value, wanted, rng)
        assert testing.same_bits(value.load().to_numpy(), wanted)
        with pytest.raises(ValueError, match="copy"):
            np.array(value, copy=False)
        if key == nnpack.Dense.id:
            continue
        parameters = value.parameters()
        assert len(parameters) % 8 == 0
        cursor = Cursor(parameters, 0)
        again = KINDS[key].from_parts(value.shape, value.cell, cursor, dict(value.parts()))
        cursor.finish("the parameters")
        assert again.parameters() == parameters
        assert [role for role, _ in again.parts()] == [role for role, _ in value.parts()]
        if key != nnpack.Opaque.id:
            assert testing.same_bits(again.to_numpy(), wanted)
        for size in range(0, len(parameters), 8):
            with pytest.raises(nnpack.FormatError, match="bad-node"):
                KINDS[key].from_parts(
                    value.shape, value.cell, Cursor(parameters[:size], 0), dict(value.parts())
                )


@pytest.mark.parametrize("key", KINDS, ids=lambda key: KINDS[key].name)
def test_kind_in_a_file_is_its_formula(key):
    def planner(leaf):
        """Blocks as small as they can be."""
        return testing.Plan(
            TRANSFORMS[1], (CODECS[1],) * len(TRANSFORMS[1].plane_lengths(1, leaf.cell)), 10
        )

    rng = np.random.default_rng(key)
    for value, wanted in itertools.islice(CASES[key](rng), 0, None, 3):
        decoders = {value.format: value.decoder} if key == nnpack.Opaque.id else None
        tensor = nnpack.open(testing.file_of({"w": value}, planner=planner), kinds=decoders)["w"]
        check_value(tensor.node, wanted, rng)
        loaded = tensor.value()
        assert loaded.in_memory
        check_value(loaded, wanted, rng)


REPRS = {
    1: (lambda: nnpack.Dense(np.zeros((2, 3), np.float16)), "Dense(float16[2, 3])"),
    2: (lambda: nnpack.Constant(1, (), "uint3"), "Constant(uint3[])"),
    3: (lambda: nnpack.Csr.from_numpy(np.eye(2)), "Csr(float64[2, 2], counts=Dense(uint8[2]), gaps=Dense(uint8[2]), values=Dense(float64[2]))"),
    4: (lambda: nnpack.Codebook(np.zeros(2), np.zeros(3, np.uint8)), "Codebook(float64[3], table=Dense(float64[1, 2]), indices=Dense(uint8[3]))"),
    5: (lambda: nnpack.Quantized(np.zeros(3, np.int8), np.ones((), np.float32)), "Quantized(float32[3], scale=Dense(float32[1]), codes=Dense(int8[3]))"),
    6: (lambda: nnpack.Concat([np.zeros(1), np.zeros(2)], 0), "Concat(float64[3], part 1=Dense(float64[1]), part 2=Dense(float64[2]))"),
    7: (lambda: nnpack.Opaque(b"ab", "a.b", (3,), "bool"), "Opaque(bool[3], data=Dense(uint8[2]))"),
}  # fmt: skip


@pytest.mark.parametrize("key", KINDS, ids=lambda key: KINDS[key].name)
def test_repr(key):
    make, text = REPRS[key]
    assert repr(make()) == text


def test_rows_longer_than_a_piece():
    width = 300_000
    codes = (np.arange(3 * width) % 251).astype(np.uint8).reshape(3, width)
    for block, grid in (((0, 100_000), (1, 3)), ((1, 0), (3, 1)), ((2, 200_000), (2, 2))):
        scale = 2 ** np.arange(np.prod(grid), dtype=np.float32).reshape(grid)
        rows, columns = (np.arange(n) // (b or n) for n, b in zip((3, width), block, strict=True))
        wanted = codes * scale[np.ix_(rows, columns)]
        value = nnpack.Quantized(codes, scale, block=block)
        assert testing.same_bits(value.to_numpy(), wanted)
        start, stop = width - 5, 2 * width + 5
        assert testing.same_bits(read_range(value, start, stop), wanted.reshape(-1)[start:stop])


def test_the_largest_concat_and_the_ends_of_arithmetic():
    parts = [np.full(1, i, np.uint8) for i in range(63)]
    assert nnpack.Concat(parts, 0).to_numpy().tolist() == [*range(63)]
    for codes, scale, options, wanted in (
        ([-128, 127], 1, {"zero": np.int8(127)}, [-255, 0]),
        (np.array([2**32 - 1], np.uint32), 1, {"zero": np.int32(-(2**31))}, [6442450944]),
        (np.array([2**24 + 1, 2**24 + 3], np.uint32), 1, {}, [2**24, 2**24 + 4]),
        ([3], 2**-24, {"dtype": "float16"}, [3 * 2**-24]),
        ([1, 3], 2**-25, {"dtype": "float16"}, [0, 2**-23]),
        ([2047, 2048], 32, {"dtype": "float16"}, [65504, float("inf")]),
        ([1], 0, {"divide": True}, [float("inf")]),
        ([-1], 0, {}, [-0.0]),
        ([1], 2**-149, {}, [2**-149]),
    ):
        array = np.array(codes, np.int16) if isinstance(codes, list) else codes
        found = nnpack.Quantized(array, np.float32(scale), **options).to_numpy()
        assert found.astype(float).tolist() == wanted
        assert np.signbit(found).tolist() == np.signbit(wanted).tolist()
