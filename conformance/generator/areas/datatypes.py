"""Every data type, dense: bit patterns are kept, packed and padded (SPEC 6, 7)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import dtypes
from conformance.generator.derive import broken, of_tree, within
from conformance.generator.kinds import csr, of, quantized, real
from conformance.generator.tree import Leaf, Tree, dense, raw
from conformance.generator.vector import Vector

EDGES = {
    "int16": [0, 1, -1, -(1 << 15), (1 << 15) - 1, 0x1234],
    "uint16": [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x1234],
    "int32": [0, 1, -1, -(1 << 31), (1 << 31) - 1, 0x12345678, (1 << 24) + 1],
    "uint32": [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x12345678],
    "int64": [0, 1, -1, -(1 << 63), (1 << 63) - 1, (1 << 53) + 1, 0x123456789ABCDEF0],
    "uint64": [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 53) + 1],
    "float32": [
        0, 0x80000000, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF,
        0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFBFFFFF, 0x7FFFFFFF,
    ],
    "float64": [
        0, 1 << 63, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x3FF0000000000000,
        0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000,
        0x7FF0000000000001, 0xFFF7FFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF,
    ],
}  # fmt: skip
EDGES["complex64"] = [
    x | y << 32 for x, y in zip(EDGES["float32"], reversed(EDGES["float32"]), strict=True)
]
EDGES["complex128"] = [
    x | y << 64 for x, y in zip(EDGES["float64"], reversed(EDGES["float64"]), strict=True)
]


def patterns(dtype: str) -> Tree:
    """Return all patterns of a type of at most 16 bits, so that the last byte is not full."""
    wide = dtypes.bits(dtype)
    return of(dtype, [*range(1 << wide), *([1] if wide < 8 else [])])


def of_dtype(dtype: str) -> Vector:
    """Return a file of one dense tensor of a data type."""
    wide, slug = dtypes.bits(dtype), f"dtype/{dtype.replace('_', '-')}"
    needed = ["R-RDR-004", "R-NOD-003", "R-DTY-004", "R-DTY-001"][: 4 if wide < 8 else 3]
    if dtype in EDGES:
        why = f"Cells of {dtype} are handed out bit by bit: ends of the range and odd patterns."
        return of_tree(slug, why, needed, of(dtype, EDGES[dtype]), ([1], [4]))
    if wide >= 8:
        why = f"All {1 << wide} bit patterns of {dtype} are handed out as stored."
        return of_tree(slug, why, needed, patterns(dtype), ([100], [200]))
    why = f"All patterns of {dtype} are packed {wide} bits each, and the last byte is not full."
    tree = patterns(dtype)
    return of_tree(
        slug, why, needed, tree, ([1], [tree.shape[0] - 1]), flags=["silent-wrong-value"]
    )


DENSE = {dtype: of_dtype(dtype) for dtype in dtypes.IDS}


def unused(dtype: str) -> Vector:
    """Return the file of a packed type with its very last bit set."""
    tree = patterns(dtype)
    packed = bytearray(dtypes.pack(dtype, tree.image or b""))
    packed[-1] |= 0x80
    wrong = tree.but(leaf=Leaf((bytes(packed),)))
    return broken(
        f"dtype/{dtype.replace('_', '-')}-unused-bit",
        f"The highest bit of the last byte of {dtype} cells belongs to no cell and is set.",
        ["R-DTY-001"],
        "bad-value",
        DENSE[dtype],
        wrong,
        flags=["hidden-bytes"],
    )


def shapes() -> Iterator[Vector]:
    """Return the shapes at the ends."""
    yield of_tree(
        "dtype/rank-0", "Rank 0 has one element.", ["R-NOD-004", "R-DEN-002"],
        real("float32", "-0", shape=()), ((), ()),
    )  # fmt: skip
    yield of_tree(
        "dtype/rank-0-packed", "One cell of 3 bits in one byte, of rank 0.", ["R-DTY-004"],
        of("int3", [-4], ()),
    )  # fmt: skip
    yield of_tree(
        "dtype/rank-32",
        "The highest rank that there is.",
        ["R-NOD-004"],
        of("uint8", [*range(6)], [1] * 30 + [2, 3]),
        ([0] * 30 + [1, 0], [1] * 30 + [2, 2]),
        flags=["over-validation"],
    )
    yield of_tree(
        "dtype/zero-dimension",
        "A leaf without elements has no entries and no payload.",
        ["R-STR-008", "R-SEC-006"],
        of("float32", [], (3, 0, 2)),
        ([1, 0, 0], [2, 0, 2]),
        flags=["over-validation"],
    )
    yield of_tree(
        "dtype/zero-dimension-packed",
        "No cells of 4 bits have no bytes at all.",
        ["R-STR-008"],
        of("uint4", [], (0,)),
        flags=["over-validation"],
    )


def blocks() -> Iterator[Vector]:
    """Return packed cells over several blocks, and what can be wrong behind them."""
    cells = [i * 5 % 8 for i in range(2049)]
    tree = of("uint3", cells)
    tree = tree.but(leaf=raw("uint3", tree.image or b"", log2=10))
    base = of_tree(
        "dtype/packed-blocks",
        "Cells of 3 bits in three blocks, the last of one cell.",
        ["R-DTY-004", "R-DTY-001", "R-STR-008"],
        tree,
        ([1], [10]),
        ([1023], [1026]),
        ([2047], [2049]),
        flags=["silent-wrong-value"],
    )
    yield base
    planes = tree.leaf.planes if tree.leaf else ()
    yield broken(
        "dtype/packed-blocks-unused-bit",
        "The only cell of the last block has 3 bits, and bit 3 of its byte is set.",
        ["R-DTY-001"],
        "bad-value",
        base,
        tree.but(leaf=Leaf((*planes[:2], bytes([planes[2][0] | 8])), log2=10)),
        flags=["hidden-bytes"],
    )
    yield broken(
        "dtype/plane-short",
        "A raw block has a byte less than its cells.",
        ["R-STR-013"],
        "mismatch",
        DENSE["uint5"],
        _stored("uint5", -1),
    )
    yield broken(
        "dtype/plane-long",
        "A raw block has a byte more than its cells.",
        ["R-STR-011"],
        "mismatch",
        DENSE["uint5"],
        _stored("uint5", 1),
        flags=["hidden-bytes"],
    )


def _stored(dtype: str, more: int) -> Tree:
    tree = patterns(dtype)
    packed = dtypes.pack(dtype, tree.image or b"")
    return tree.but(leaf=Leaf((packed[:more] if more < 0 else packed + bytes(more),)))


def parts() -> Iterator[Vector]:
    """Return unused bits of leaves that are parts."""
    tree = quantized("float32", of("uint4", [1, 2, 3]), real("float32", "0.5"))
    base = of_tree(
        "dtype/packed-part", "Codes of 4 bits whose last byte is half full.", ["R-QNT-014"], tree
    )
    yield base
    yield broken(
        "dtype/packed-part-unused-bit",
        "The unused half of the last byte of the codes holds a cell.",
        ["R-DTY-001"],
        "bad-value",
        base,
        within(tree, "codes", leaf=Leaf((b"\x21\x43",))),
        flags=["hidden-bytes"],
    )
    counts, gaps = of("uint2", [1]), of("uint2", [2])
    sparse = csr((4,), 4, b"\x00", counts, gaps, of("int8", [-7]))
    base = of_tree("dtype/packed-counts", "Counts and gaps of 2 bits each.", ["R-CSR-008"], sparse)
    yield base
    yield broken(
        "dtype/packed-counts-unused-bit",
        "A bit behind the only count is set.",
        ["R-DTY-001"],
        "bad-value",
        base,
        within(sparse, "counts", leaf=Leaf((b"\x05",))),
        flags=["hidden-bytes"],
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from DENSE.values()
    for dtype in ("bool", "uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7", "int4",
                  "int7", "float4_e2m1fn", "float6_e3m2fn"):  # fmt: skip
        yield unused(dtype)
    yield from shapes()
    yield from blocks()
    yield from parts()
    yield of_tree(
        "dtype/nan-payloads",
        "Signalling and quiet NaNs of float16 keep sign and payload.",
        ["R-RDR-004"],
        dense("float16", (4,), bytes.fromhex("017c01fcff7dfffe")),
        flags=["silent-wrong-value"],
    )
