"""Codebooks: tables, groups, vectors (SPEC 8.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.derive import broken, having, of_tree, parameter, within, without
from conformance.generator.kinds import codebook, concat, csr, of, quantized, real, same
from conformance.generator.tree import Tree, raw
from conformance.generator.vector import Vector


def shared() -> Tree:
    """Return 2 rows of 3 with one table of three values and room for a fourth index."""
    return codebook((2, 3), of("uint8", [10, 20, 30], (1, 1, 3)),
                    of("uint2", [2, 0, 1, 1, 2, 2], (2, 3)))  # fmt: skip


def grouped() -> Tree:
    """Return 3 rows of 5 with tables of two for blocks of 2 x 2, the last ones short."""
    return codebook((3, 5), of("uint8", range(10, 22), (2, 3, 2)),
                    of("uint1", [i * 7 % 3 % 2 for i in range(15)], (3, 5)), [2, 2])  # fmt: skip


def vectored() -> Tree:
    """Return 4 rows of 6 with vectors of 3 along axis 1, and tables for blocks of 2 rows."""
    return codebook((4, 6), of("uint8", range(12), (2, 1, 2, 3)),
                    of("uint1", [0, 1, 1, 1, 1, 0, 0, 0], (4, 2)), [2, 0], 3, 1)  # fmt: skip


NO_INNER = codebook((2, 0), same("uint8", (1, 1, 1, 2), 7), of("uint8", [], (1, 0)), None, 2, 0)
SHARED = of_tree("codebook/shared", "One table of three values, indices of 2 bits.",
                 ["R-CBK-007", "R-CBK-010"], shared(), ([0, 1], [2, 3]))  # fmt: skip
GROUPED = of_tree(
    "codebook/groups", "A table for each block of 2 x 2 in 3 x 5; the last blocks are short.",
    ["R-CBK-003", "R-CBK-007"], grouped(), ([1, 1], [3, 5]), ([2, 4], [3, 5]),
    flags=["out-of-bounds"],
)  # fmt: skip
VECTORED = of_tree(
    "codebook/vectors", "Vectors of 3 along the last axis, and a table for every two rows.",
    ["R-CBK-001", "R-CBK-002", "R-CBK-009"], vectored(), ([1, 2], [3, 4]), ([3, 5], [4, 6]),
    flags=["silent-wrong-value"],
)  # fmt: skip


def accepted() -> Iterator[Vector]:
    """Return valid ones."""
    yield from (SHARED, GROUPED, VECTORED)
    whole = of("uint8", [*range(255, -1, -1)])
    cases = (
        ("one-entry", "One entry, and indices that are all 0.", ["R-CBK-008"],
         codebook((9,), of("uint8", [77], (1, 1)), of("uint1", [0] * 9))),
        ("full-uint1", "Two entries for indices of one bit.", ["R-CBK-008"],
         codebook((9,), of("int8", [-1, 1], (1, 2)), of("uint1", [0, 1, 1, 0, 1, 0, 0, 1, 1]))),
        ("full-uint8", "256 entries for indices of 8 bits.", ["R-CBK-008"],
         codebook((256,), of("uint8", [i * 7 & 255 for i in range(256)], (1, 256)), whole)),
        ("indices-16", "300 entries for indices of 16 bits.", ["R-CBK-008"],
         codebook((3,), of("uint16", range(1000, 1300), (1, 300)), of("uint16", [299, 0, 256]))),
        ("indices-32", "Indices of 32 bits into two entries.", ["R-CBK-008"],
         codebook((3,), of("uint8", [5, 6], (1, 2)), of("uint32", [1, 0, 1]))),
        ("rank-0", "Rank 0 has a table of rank 1.", ["R-CBK-002", "R-CBK-006", "R-CBK-007"],
         codebook((), of("uint8", [5, 6, 7], (3,)), of("uint2", [2], ()))),
        ("rank-31", "The highest rank: its table has one more.", ["R-CBK-005"],
         codebook([1] * 30 + [2], of("uint8", [5, 6], [1] * 31 + [2]),
                  of("uint1", [1, 0], [1] * 30 + [2]))),
        ("rank-30-vectors", "The highest rank with vectors: its table has two more.",
         ["R-CBK-005"],
         codebook([1] * 29 + [4], of("uint8", [5, 6, 7, 8], [1] * 30 + [2, 2]),
                  of("uint1", [1, 0], [1] * 29 + [2]), None, 2, 29)),
        ("no-elements", "Without elements there still is a table.", ["R-CBK-008", "R-CBK-009"],
         codebook((0, 3), of("uint8", [5], (1, 1, 1)), of("uint8", [], (0, 3)))),
        ("no-vectors", "A vector length divides a dimension of 0.", ["R-CBK-001"],
         codebook((2, 0), of("uint8", range(8), (1, 1, 2, 4)), of("uint8", [], (2, 0)), None,
                  4, 1)),
        ("vectors-no-inner", "Behind the axis of the vectors there are no elements.", ["R-CBK-001"],
         NO_INNER),
        ("vectors-no-inner-part", "A part without elements has vectors.",
         ["R-CBK-001", "R-CAT-001"],
         concat(1, NO_INNER, of("uint8", [7, 9], (2, 1)))),
        ("vectors-first-axis", "Vectors along the first axis.", ["R-CBK-002"],
         codebook((4, 3), of("uint8", range(6), (1, 1, 3, 2)),
                  of("uint2", [2, 0, 1, 0, 1, 2], (2, 3)), None, 2, 0)),
        ("vectors-middle-axis", "Vectors along the middle axis, in blocks of one vector.",
         ["R-CBK-003"],
         codebook((2, 4, 2), of("uint8", range(8), (1, 2, 1, 2, 2)),
                  of("uint1", [0, 1, 1, 0, 1, 1, 0, 0], (2, 2, 2)), [0, 2, 0], 2, 1)),
        ("vector-of-all", "One vector is the whole axis.", ["R-CBK-001"],
         codebook((6,), of("uint8", range(12), (1, 2, 6)), of("uint1", [1]), None, 6, 0)),
        ("vectors-short-block", "The last block of 4 has one vector of 2.", ["R-CBK-003"],
         codebook((6,), of("uint8", range(8), (2, 2, 2)), of("uint1", [0, 1, 1]), [4], 2, 0)),
        ("nan-table", "Values of a table are bits: signalling NaNs and -0 are kept.",
         ["R-RDR-004"],
         codebook((3,), of("float32", [0x7FA00001, 1 << 31, 0xFF800001], (1, 3)),
                  of("uint2", [1, 0, 2]))),
        ("packed-table", "Entries of 3 bits.", ["R-DTY-004"],
         codebook((5,), of("int3", [-4, 3, -1], (1, 3)), of("uint2", [2, 1, 0, 0, 2]))),
        ("constants", "Table and indices are constants.", ["R-CBK-010"],
         codebook((2, 2), same("float16", (1, 1, 4), 0x3C00), same("uint2", (2, 2), 3))),
        ("indices-concat", "The indices are a concat.", ["R-CBK-004"],
         codebook((4,), of("uint8", [8, 9], (1, 2)),
                  concat(0, of("uint1", [1]), same("uint1", (3,), 0)))),
        ("table-quantized", "The table is quantized.", ["R-CBK-004"],
         codebook((3,), quantized("float16", of("int8", [-3, 5], (1, 2)), real("float32", "0.1",
                  shape=(1, 1))), of("uint1", [1, 0, 1]))),
        ("table-codebook", "The table is a codebook itself.", ["R-CBK-004"],
         codebook((4,), codebook((1, 3), of("uint8", [100, 200], (1, 1, 2)),
                                 of("uint1", [1, 0, 1], (1, 3))), of("uint2", [0, 1, 2, 1]))),
        ("indices-csr", "The indices are a csr, whose fill is an index.", ["R-CBK-004"],
         codebook((6,), of("uint8", [8, 9, 10], (1, 3)),
                  csr((6,), 6, b"\x02", of("uint4", [2]), of("uint4", [1, 2]),
                      of("uint2", [0, 1])))),
    )  # fmt: skip
    for slug, why, rules, tree in cases:
        whole_box = [([0] * len(tree.shape), tree.shape)]
        yield of_tree(f"codebook/{slug}", why, rules, tree, *whole_box)
    long = same("uint16", (1, 1, 65536), 0x0102)
    base = of_tree("codebook/vector-65536", "The longest vector.", ["R-CBK-001"],
                   codebook((65536,), long, same("uint8", (1,), 0), None, 65536, 0),
                   ([65534], [65536]), flags=["over-validation"])  # fmt: skip
    yield base
    longer = codebook((65537,), same("uint16", (1, 1, 65537), 0x0102), same("uint8", (1,), 0),
                      None, 65537, 0)  # fmt: skip
    yield broken("codebook/vector-65537", "A vector above the limit.", ["R-CBK-001"],
                 "bad-value", base, longer, flags=["oom"])  # fmt: skip
    many = [i * 11 % 3 for i in range(2500)]
    index = of("uint2", many)
    blocked = codebook((2500,), of("uint8", [1, 2, 3], (1, 3)),
                       index.but(leaf=raw("uint2", index.image or b"", log2=10)))  # fmt: skip
    base = of_tree("codebook/across-blocks", "Indices in three blocks.", ["R-CBK-010"], blocked,
                   ([1020], [1030]), ([2499], [2500]))  # fmt: skip
    yield base
    wrong = of("uint2", [*many[:-1], 3])
    yield broken("codebook/last-index", "Only the very last of 2500 indices is out of range.",
                 ["R-CBK-010"], "bad-index", base,
                 having(blocked, indices=wrong.but(leaf=raw("uint2", wrong.image or b"", 10))),
                 flags=["out-of-bounds"])  # fmt: skip


def refused() -> Iterator[Vector]:
    """Return invalid ones."""
    tree, groups, vectors_ = shared(), grouped(), vectored()
    index = tree.parts["indices"][1]
    cases = (
        ("index-equals-k", "An index is K.", ["R-CBK-010"], "bad-index",
         having(tree, indices=of("uint2", [2, 0, 3, 1, 2, 2], (2, 3))), "out-of-bounds"),
        ("index-constant", "The index of a constant is K.", ["R-CBK-010"], "bad-index",
         having(tree, indices=same("uint2", (2, 3), 3)), "out-of-bounds"),
        ("k-0", "A table without entries.", ["R-CBK-008"], "bad-shape",
         having(tree, table=of("uint8", [], (1, 1, 0))), "out-of-bounds"),
        ("k-above-indices", "Five entries, where indices have 2 bits.", ["R-CBK-008"],
         "bad-shape", having(tree, table=of("uint8", range(5), (1, 1, 5))), "over-validation"),
        ("table-without-grid", "The table of one group has rank 1.", ["R-CBK-007"], "bad-shape",
         having(tree, table=of("uint8", [10, 20, 30])), "ambiguity"),
        ("table-without-entries", "The table has the rank of the grid, and no axis of entries.",
         ["R-CBK-007"], "bad-shape", having(tree, table=of("uint8", [10], (1, 1))),
         "out-of-bounds"),
        ("table-too-many-groups", "There is a table more than groups.", ["R-CBK-007"],
         "bad-shape", having(tree, table=of("uint8", range(6), (1, 2, 3))), "hidden-bytes"),
        ("table-rank", "The table has an axis more, of 1.", ["R-CBK-007"], "bad-shape",
         having(tree, table=of("uint8", [10, 20, 30], (1, 1, 3, 1))), "ambiguity"),
        ("table-dtype", "A table of int8 in a codebook of uint8.", ["R-NOD-016"], "bad-dtype",
         within(tree, "table", dtype_id=0x28), "silent-wrong-value"),
        ("indices-signed", "Indices are int8.", ["R-NOD-016"], "bad-dtype",
         having(tree, indices=of("int8", [2, 0, 1, 1, 2, 2], (2, 3))), "out-of-bounds"),
        ("indices-bool", "Indices are bool.", ["R-NOD-016"], "bad-dtype",
         having(tree, indices=of("bool", [1, 0, 1, 1, 0, 0], (2, 3)),
                table=of("uint8", [1, 2], (1, 1, 2))), "under-validation"),
        ("indices-uint64", "Indices have 64 bits.", ["R-NOD-016"], "bad-dtype",
         having(tree, indices=of("uint64", [2, 0, 1, 1, 2, 2], (2, 3))), "integer-overflow"),
        ("indices-shape", "The indices have the shape transposed.", ["R-CBK-009"], "bad-shape",
         having(tree, indices=of("uint2", [2, 0, 1, 1, 2, 2], (3, 2))), "silent-wrong-value"),
        ("indices-rank", "The indices are flat.", ["R-CBK-009"], "bad-shape",
         having(tree, indices=of("uint2", [2, 0, 1, 1, 2, 2])), "silent-wrong-value"),
        ("indices-short", "There is a row of indices less.", ["R-CBK-009"], "bad-shape",
         having(tree, indices=of("uint2", [2, 0, 1], (1, 3))), "out-of-bounds"),
        ("no-table", "There is no table.", ["R-CBK-004", "R-NOD-015"], "bad-node",
         without(tree, "table"), "under-validation"),
        ("no-indices", "There are no indices.", ["R-CBK-004", "R-NOD-015"], "bad-node",
         without(tree, "indices"), "under-validation"),
        ("role-3", "A codebook has a third part.", ["R-NOD-002", "R-NOD-005"], "bad-node",
         tree.but(parts={**tree.parts, "3": (3, index)}), "hidden-bytes"),
        ("vector-length-0", "A vector length of 0.", ["R-CBK-001"], "bad-value",
         parameter(tree, 0, bytes(4)), "cpu-bomb"),
        ("vector-axis-unused", "A vector axis without vectors.", ["R-CBK-002"], "bad-value",
         parameter(tree, 4, b"\x01"), "hidden-bytes"),
        ("block-whole", "A block as long as its axis is spelled 0.", ["R-CBK-003"], "bad-value",
         parameter(tree, 16, struct.pack("<Q", 3)), "ambiguity"),
        ("block-huge", "A block of 2^63.", ["R-CBK-003"], "bad-value",
         parameter(tree, 16, struct.pack("<Q", 1 << 63)), "integer-overflow"),
        ("parameters-short", "A block is missing.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters[:-8]), "out-of-bounds"),
        ("parameters-long", "There is a block more than axes.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"codebook/{slug}", why, rules, error, SHARED, wrong, flags=[flag])
    yield broken(
        "codebook/groups-transposed", "The grid of the table is transposed.", ["R-CBK-007"],
        "bad-shape", GROUPED, having(groups, table=of("uint8", range(10, 22), (3, 2, 2))),
        flags=["silent-wrong-value"],
    )  # fmt: skip
    yield broken(
        "codebook/groups-floor", "The table has no group for the short last blocks.",
        ["R-CBK-007"], "bad-shape", GROUPED,
        having(groups, table=of("uint8", range(4), (1, 2, 2))), flags=["out-of-bounds"],
    )  # fmt: skip
    more = (
        ("vector-axis", "The vector axis is the rank.", ["R-CBK-002"], "bad-value",
         parameter(vectors_, 4, b"\x02"), "out-of-bounds"),
        ("vector-axis-huge", "The vector axis is 2^32 - 1.", ["R-CBK-002"], "bad-value",
         parameter(vectors_, 4, b"\xff" * 4), "out-of-bounds"),
        ("vector-table", "The vectors of the table have 2 elements and not 3.", ["R-CBK-007"],
         "bad-shape", having(vectors_, table=of("uint8", range(8), (2, 1, 2, 2))),
         "out-of-bounds"),
        ("vector-table-flat", "The table has no axis for its vectors.", ["R-CBK-007"],
         "bad-shape", having(vectors_, table=of("uint8", range(12), (2, 1, 6))), "ambiguity"),
        ("vector-indices", "The indices have the whole shape.", ["R-CBK-009"], "bad-shape",
         having(vectors_, indices=same("uint1", (4, 6), 0)), "hidden-bytes"),
        ("vector-block", "A block of 2 along vectors of 3.", ["R-CBK-003"], "bad-value",
         having(parameter(vectors_, 16, b"\x02"),
                table=of("uint8", range(36), (2, 3, 2, 3))), "silent-wrong-value"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in more:
        yield broken(f"codebook/{slug}", why, rules, error, VECTORED, wrong, flags=[flag])
    yield broken(
        "codebook/vector-undivided", "Vectors of 3 do not divide an axis of 7.",
        ["R-CBK-001", "R-CBK-009"], "bad-value", VECTORED, vectors_.but(shape=(4, 7)),
        also=["bad-shape"], flags=["out-of-bounds"],
    )  # fmt: skip
    yield from ranks()


def ranks() -> Iterator[Vector]:
    """Return ranks that leave no room for the table's."""
    one = codebook([1] * 31, of("uint8", [5], [1] * 32), same("uint1", [1] * 31, 0))
    base = of_tree("codebook/rank-31-one", "One element of rank 31.", ["R-CBK-005"], one)
    yield base
    wrong = having(one, indices=same("uint1", [1] * 32, 0)).but(
        shape=(1,) * 32, parameters=one.parameters + bytes(8)
    )
    yield broken("codebook/rank-32", "A codebook of rank 32, whose table would have rank 33.",
                 ["R-CBK-005"], "bad-shape", base, wrong, flags=["out-of-bounds"])  # fmt: skip
    scalar = codebook((), of("uint8", [5, 6], (2,)), of("uint2", [1], ()))
    plain = of_tree("codebook/scalar", "One element of rank 0.", ["R-CBK-006"], scalar)
    yield plain
    pair = having(parameter(scalar, 0, b"\x02"), table=of("uint8", [5, 6, 7, 8], (2, 2)))
    yield broken("codebook/scalar-vector", "A vector without an axis.",
                 ["R-CBK-006", "R-CBK-002"], "bad-shape", plain, pair, also=["bad-value"],
                 flags=["out-of-bounds"])  # fmt: skip
    two = codebook([1] * 30 + [2], of("uint8", [5, 6], [1] * 31 + [2]),
                   of("uint1", [1, 0], [1] * 30 + [2]))  # fmt: skip
    vector = having(parameter(two, 0, struct.pack("<II", 2, 30)),
                    table=of("uint8", [5, 6], [1] * 31 + [2]),
                    indices=same("uint1", [1] * 31, 0))  # fmt: skip
    yield broken("codebook/rank-31-vectors", "Vectors in rank 31, whose table would have rank 33.",
                 ["R-CBK-005"], "bad-shape", base, vector, flags=["out-of-bounds"])  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from accepted()
    yield from refused()
