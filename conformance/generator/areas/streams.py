"""Streams: blocks, entries, payloads (SPEC 9)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from conformance.generator import assemble as a
from conformance.generator import dtypes
from conformance.generator.coded import (
    noise,
    one,
    plane,
    some,
)
from conformance.generator.encoders import transforms, zstd
from conformance.generator.encoders.leaf import RAW, huffman, leaf, of, rans, zstd_runs
from conformance.generator.tree import Leaf, Tree, dense
from conformance.generator.vector import Content, Vector, other, tensor_of, valid

_TWO = {97: 1, 98: 1}
_AB = bytes(97 + (byte & 1) for byte in noise("ab", 1500))

BLOCKS = one(
    "streams/blocks",
    "Two blocks of 1024 and 476 cells of 3 bits, the last of which ends inside a byte.",
    ["R-STR-008", "R-STR-016"],
    "uint3",
    some("uint3", 1500),
    leaf("uint3", some("uint3", 1500), log2=10),
    slices=[(1020, 1030), (0, 1), (1023, 1024), (1024, 1025), (1499, 1500), (7, 7)],
)
PLANES_OF_BLOCKS = one(
    "streams/planes-of-blocks",
    "The payload holds block after block, and in each block its planes; gaps fill up to 8 bytes.",
    ["R-STR-008", "R-STR-017"],
    "int32",
    some("int32", 1100),
    leaf("int32", some("int32", 1100), transforms.BYTES, log2=10),
    slices=[(1000, 1050)],
)
CODED = plane(
    "streams/coded-frame",
    "A zstd frame of one RLE block in the place of 64 cells.",
    ["R-STR-012", "R-COD-006"],
    bytes(64),
    zstd_runs(),
)
TABLE = one(
    "streams/table-without-use",
    "The codec is huffman and every plane-block raw; the shared table is there all the same.",
    ["R-STR-019", "R-STR-012", "R-STR-007"],
    "uint8",
    some("uint8", 1040),
    leaf("uint8", some("uint8", 1040), coders=[huffman(5, _TWO)], log2=10),
    flags=["under-validation", "basic"],
)
SHARED = one(
    "streams/shared-table",
    "Two blocks share the table of their plane, which stands once and before both.",
    ["R-STR-007"],
    "uint8",
    _AB,
    leaf("uint8", _AB, coders=[huffman(2, _TWO)], log2=10),
    slices=[(1000, 1100), (1400, 1500)],
)
EMPTY = one(
    "streams/empty",
    "A leaf without elements has no entries and stores nothing.",
    ["R-STR-016", "R-STR-008"],
    "float32",
    b"",
    leaf("float32", b""),
)

SMALL = one(
    "streams/small",
    "Five raw cells of one byte.",
    ["R-STR-013"],
    "uint8",
    b"nnpac",
    leaf("uint8", b"nnpac"),
)
WIDE = one(
    "streams/wide",
    "Two raw cells of 16 bytes.",
    ["R-STR-002"],
    "complex128",
    some("complex128", 2),
    leaf("complex128", some("complex128", 2), log2=19),
)


_RAMP = b"".join(struct.pack("<q", 3 * i) for i in range(300))
_CODECS = [
    rans(1, dict.fromkeys(range(256), 16)),
    huffman(0, dict.fromkeys(range(8), 3)),
    zstd_runs(),
    RAW,
    huffman(1, {0: 0}),
    zstd_runs(),
    rans(0, {0: 4096}),
    zstd_runs(),
]
EIGHT = one(
    "streams/eight-planes",
    "Eight planes with five codecs; the shared tables stand before them in plane order.",
    ["R-STR-003", "R-STR-005", "R-STR-007"],
    "int64",
    _RAMP,
    leaf("int64", _RAMP, transforms.BYTES, _CODECS),
    slices=[(100, 103)],
)
FULL = some("bool", 2048)


def concat(dtype: str, *trees: Tree) -> Tree:
    """Return parts of rank 1 side by side."""
    image = b"".join(part.image or b"" for part in trees)
    return Tree(
        "concat",
        dtype,
        (len(image) // dtypes.width(dtype),),
        image,
        struct.pack("<Q", 0),
        {"axis": 0},
        {str(i): (i, part) for i, part in enumerate(trees, 1)},
        profile="R2",
        kind_id=a.CONCAT,
        dtype_id=dtypes.IDS[dtype],
    )


def _leaves() -> Tree:
    """Return a tree of leaves raw, empty, coded and raw."""
    first, second = some("uint16", 5), some("uint16", 3, "second")
    return concat(
        "uint16",
        dense("uint16", (5,), first),
        dense("uint16", (0,), b""),
        dense("uint16", (64,), bytes(128), leaf("uint16", bytes(128), coders=[zstd_runs()])),
        dense("uint16", (3,), second),
    )


LEAVES = valid(
    "streams/leaves",
    "Each raw leaf begins at a multiple of the section's alignment, a coded one of 8 bytes, "
    "and an empty one moves nothing.",
    ["R-STR-016", "R-STR-017"],
    [tensor_of("w", _leaves(), alignment=6)],
    slices=[
        {"tensor": "w", "start": [4], "stop": [6], "image": some("uint16", 5)[8:].hex() + "0000"}
    ],
    flags=["basic", "out-of-bounds"],
)


def _valid() -> Iterator[Vector]:
    yield from (BLOCKS, PLANES_OF_BLOCKS, CODED, TABLE, SHARED, EMPTY, LEAVES, SMALL, WIDE, EIGHT)
    yield one(
        "streams/full-blocks",
        "All blocks are full; there is no empty one behind them.",
        ["R-STR-008"],
        "bool",
        FULL,
        leaf("bool", FULL, log2=10),
        slices=[(1016, 1032)],
    )
    for dtype, log2, slug in (
        ("uint8", 20, "largest-block"),
        ("float64", 20, "eight-mebibytes"),
        ("complex128", 19, "eight-mebibytes-complex"),
    ):
        yield one(
            f"streams/{slug}",
            f"Blocks of 2^{log2} cells of {dtype} are the largest.",
            ["R-STR-002"],
            dtype,
            some(dtype, 3),
            leaf(dtype, some(dtype, 3), log2=log2),
            flags=["over-validation"],
        )
    rows = zstd.block(zstd.RLE, b"\0", 1 << 17)
    whole = (
        zstd.header(8 << 20, width=4) + rows * 63 + zstd.block(zstd.RLE, b"\0", 1 << 17, last=True)
    )
    yield one(
        "streams/largest-plane",
        "A plane of 8 MiB, the largest, in 270 bytes.",
        ["R-STR-002", "R-COD-010"],
        "float64",
        bytes(8 << 20),
        leaf("float64", bytes(8 << 20), coders=[of(1, whole, profile="R2")], log2=20),
        slices=[((1 << 20) - 2, 1 << 20)],
        flags=["over-validation", "oom"],
    )
    frame = zstd.header(10) + zstd.block(zstd.RLE, b"x", 10, last=True)
    yield one(
        "streams/raw-frame",
        "The ten cells are the bytes of a zstd frame of ten bytes; as they are as long as the "
        "plane, they are the plane.",
        ["R-STR-012"],
        "uint8",
        frame,
        Leaf((frame,), codecs=(1,), profile="R2"),
        flags=["silent-wrong-value"],
    )
    word = struct.pack("<I", 1 << 16)
    yield one(
        "streams/raw-words",
        "Four cells with codec rans are what the state of one lane would be, and raw.",
        ["R-STR-012"],
        "uint8",
        word,
        leaf("uint8", word, coders=[rans(0, {0: 4096})]),
        flags=["silent-wrong-value"],
    )
    mixed = bytes(1024) + some("uint8", 1024) + bytes(100)
    yield one(
        "streams/raw-between",
        "One of three plane-blocks of a codec is raw.",
        ["R-STR-012"],
        "uint8",
        mixed,
        leaf("uint8", mixed, coders=[zstd_runs()], log2=10),
        slices=[(1000, 1040), (2040, 2060), (1000, 2100), (1024, 2048)],
    )
    for slug, coder in (("zstd", zstd_runs()), ("huffman", huffman(0, _TWO))):
        yield one(
            f"streams/empty-{slug}",
            f"No elements with codec {slug}: no table, no payload.",
            ["R-STR-007"],
            "uint8",
            b"",
            leaf("uint8", b"", coders=[coder]),
        )
    yield valid(
        "streams/empty-rows",
        "A shape of (3, 0) with transform bytes and four planes.",
        ["R-STR-008"],
        [tensor_of("w", dense("float32", (3, 0), b"", leaf("float32", b"", transforms.BYTES)))],
    )
    aligned = some("float64", 3)
    for log2 in (4, 12):
        yield one(
            f"streams/aligned-{1 << log2}",
            f"A raw leaf at a multiple of {1 << log2} bytes.",
            ["R-STR-017"],
            "float64",
            aligned,
            leaf("float64", aligned),
            alignment=log2,
        )


def _rows() -> Vector:
    """Return a matrix whose rows cross the borders of blocks, and boxes of it."""
    rows, columns = 40, 60
    image = dtypes.image("int16", (i % 300 - 150 for i in range(rows * columns)))
    stored = leaf("int16", image, transforms.BYTES, [RAW, zstd_runs()], log2=10)
    boxes = []
    for start, stop in (
        ((5, 10), (35, 20)),
        ((17, 0), (18, 60)),
        ((0, 59), (40, 60)),
        ((16, 3), (18, 5)),
        ((0, 0), (40, 60)),
        ((3, 7), (3, 9)),
    ):
        picked = b"".join(
            image[2 * (row * columns + start[1]) : 2 * (row * columns + stop[1])]
            for row in range(start[0], stop[0])
        )
        boxes.append({"tensor": "w", "start": [*start], "stop": [*stop], "image": picked.hex()})
    return valid(
        "streams/rows",
        "A matrix in three blocks, the first two of which end inside a row.",
        ["R-STR-008", "R-TRF-022", "R-COD-053"],
        [tensor_of("w", dense("int16", (rows, columns), image, stored))],
        slices=boxes,
        flags=["basic", "silent-wrong-value"],
    )


def _leaves_of_tables() -> Vector:
    """Return a tree of leaves that have shared tables."""
    tree = concat(
        "uint8",
        dense("uint8", (1500,), _AB, leaf("uint8", _AB, coders=[huffman(1, _TWO)], log2=10)),
        dense("uint8", (3,), b"raw"),
        dense("uint8", (0,), b"", leaf("uint8", b"", coders=[zstd_runs()])),
        dense("uint8", (1500,), _AB, leaf("uint8", _AB, coders=[rans(0, {97: 1999, 98: 2097})])),
    )
    return valid(
        "streams/leaves-of-tables",
        "Two leaves with shared tables of their own, and a raw one between.",
        ["R-STR-007", "R-STR-016"],
        [tensor_of("w", tree, alignment=5)],
        slices=[
            {"tensor": "w", "start": [1020], "stop": [1030], "image": _AB[1020:1030].hex()},
            {
                "tensor": "w",
                "start": [1498],
                "stop": [1505],
                "image": (_AB[1498:] + b"raw" + _AB[:2]).hex(),
            },
        ],
    )


def _unknown(
    slug: str,
    why: str,
    named: Sequence[str],
    stored: Leaf,
    *names: tuple[int, int, bytes],
    dtype: str = "uint8",
) -> Vector:
    """Return a file with a tensor that no reader decodes, before one that every reader does."""
    tree = dense(dtype, (16,), bytes(16 * dtypes.width(dtype)), stored).but(image=None)
    contents: list[Content] = [other(a.names(*names))] if names else []
    contents += [tensor_of("w", tree), tensor_of("x", dense("uint8", (2,), b"\7\x09"))]
    return valid(f"streams/{slug}", why, named, contents, flags=["over-validation"])


PRIVATE_CODEC = _unknown(
    "private-codec",
    "A private codec is named; its tensor is unsupported.",
    ["R-STR-005", "R-RDR-002", "R-RDR-003"],
    Leaf((b"\x10\0",), codecs=(128,)),
    (5, 128, b"org.example.codec"),
)
PRIVATE_TRANSFORM = _unknown(
    "private-transform",
    "A private transform of one plane and its parameter.",
    ["R-STR-001", "R-RDR-003"],
    Leaf((b"abc",), 129, parameter=77),
    (4, 129, b"org.example.transform"),
)
UNKNOWN_TABLES = _unknown(
    "unknown-tables",
    "Two planes of an unassigned codec and one of huffman between: the three "
    "shared tables follow from the parameter length.",
    ["R-STR-015", "R-STR-005"],
    Leaf(
        (b"ab", b"c", b"def", bytes(16)),
        1,
        codecs=(6, 4, 6, 0),
        profile="R1",
        shared=(b"one", huffman(0, {0: 0}).shared or b"", b"two"),
    ),
    dtype="int32",
)


def _unsupported() -> Iterator[Vector]:
    yield from (PRIVATE_CODEC, PRIVATE_TRANSFORM, UNKNOWN_TABLES)
    yield _unknown(
        "unassigned-transform",
        "A transform that this version does not have.",
        ["R-STR-001"],
        Leaf((b"abc", b"de"), 6, codecs=(0, 0)),
    )
    yield _unknown(
        "unassigned-codec",
        "A codec that this version does not have.",
        ["R-STR-005"],
        Leaf((b"abc",), codecs=(127,)),
    )
    yield _unknown(
        "unknown-codec-raw",
        "The only plane-block of an unassigned codec is raw, and the tensor unsupported.",
        ["R-STR-005", "R-STR-012"],
        Leaf((bytes(16),), codecs=(7,)),
    )
    yield _unknown(
        "unknown-tables-none",
        "Two planes of unassigned codecs without shared tables.",
        ["R-STR-015"],
        Leaf((b"ab", b"c"), 1, codecs=(32, 21)),
        dtype="int16",
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield _rows()
    yield _leaves_of_tables()
    yield from _unsupported()
