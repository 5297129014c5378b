"""Compressed sparse rows (SPEC 8.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.derive import broken, having, of_tree, parameter, within, without
from conformance.generator.kinds import codebook, concat, csr, of, real, same
from conformance.generator.tree import Tree, raw
from conformance.generator.vector import Vector

ZERO = b"\x00"


def matrix() -> Tree:
    """Return 4 rows of 5 bytes; the first and the last are empty, one value equals the fill."""
    return csr((4, 5), 5, ZERO, of("uint8", [0, 3, 1, 0]), of("uint8", [0, 1, 1, 4]),
               of("uint8", [10, 0, 30, 40]))  # fmt: skip


def short() -> Tree:
    """Return 7 elements in rows of 3, so that the last row has one."""
    return csr((7,), 3, b"\xff", of("uint2", [1, 2, 1]), of("uint2", [2, 0, 1, 0]),
               of("int8", [1, 2, 3, 4]))  # fmt: skip


def nothing(shape: tuple[int, ...], row: int, rows: int) -> Tree:
    """Return a csr that stores nothing."""
    return csr(shape, row, b"\x07", same("uint8", (rows,), 0), of("uint8", []), of("uint8", []))


MATRIX = of_tree(
    "csr/matrix", "Empty rows first and last, and a stored value that equals the fill.",
    ["R-CSR-008", "R-CSR-009", "R-CSR-005", "R-CSR-006"], matrix(),
    ([1, 0], [2, 5]), ([2, 4], [4, 5]), ([3, 0], [4, 5]), flags=["silent-wrong-value"],
)  # fmt: skip
SHORT = of_tree(
    "csr/short-last-row", "The last of three rows has one element.", ["R-CSR-001", "R-CSR-008"],
    short(), ([6], [7]), ([2], [5]), flags=["out-of-bounds"],
)  # fmt: skip


def accepted() -> Iterator[Vector]:
    """Return valid ones."""
    yield MATRIX
    yield SHORT
    values = of("uint8", [1, 2, 3])
    cases = (
        ("row-length-1", "Rows of one element, whose counts are 0 or 1.",
         csr((5,), 1, ZERO, of("uint1", [1, 0, 0, 1, 1]), same("uint1", (3,), 0), values)),
        ("one-row", "One row over a matrix: gaps run across its lines.",
         csr((2, 3), 6, ZERO, of("uint8", [3]), of("uint8", [0, 2, 1]), values)),
        ("row-length-large", "A row length far above the number of elements makes one row.",
         csr((6,), 2**62 - 1, ZERO, of("uint8", [3]), of("uint8", [0, 2, 1]), values)),
        ("row-across-axes", "Rows of 4 elements in lines of 6: a row spans two lines.",
         csr((2, 6), 4, ZERO, of("uint8", [1, 2, 0]), of("uint8", [3, 0, 1]), values)),
        ("rank-0", "Rank 0 is one row of one element.",
         csr((), 1, ZERO, of("uint8", [1]), of("uint8", [0]), of("uint8", [5]))),
        ("rank-0-empty", "Rank 0 with nothing stored is the fill.", nothing((), 1, 1)),
        ("no-elements", "No elements are no rows.",
         csr((0, 4), 4, ZERO, of("uint8", []), of("uint8", []), of("uint8", []))),
        ("nothing-stored", "Three rows of fill.", nothing((3, 2), 2, 3)),
        ("full", "Every element is stored: nnz is n.",
         csr((3,), 3, ZERO, of("uint8", [3]), same("uint8", (3,), 0), values)),
        ("two-of-four", "2:4 sparsity: constant counts, gaps of 2 bits.",
         csr((2, 4), 4, b"\0\0", same("uint8", (2,), 2), of("uint2", [0, 1, 1, 0]),
             real("float16", 1, -2, "0.5", "-0"))),
        ("values-constant", "The stored values are one value.",
         csr((2, 4), 4, ZERO, of("uint8", [1, 2]), of("uint8", [3, 0, 0]),
             same("uint8", (3,), 1))),
        ("counts-16", "Counts and gaps of 16 bits.",
         csr((2, 3), 3, ZERO, of("uint16", [2, 1]), of("uint16", [0, 1, 2]), values)),
        ("counts-32", "Counts and gaps of 32 bits.",
         csr((2, 3), 3, ZERO, of("uint32", [2, 1]), of("uint32", [0, 1, 2]), values)),
        ("counts-7", "Counts of 7 bits and gaps of 3.",
         csr((2, 3), 3, ZERO, of("uint7", [2, 1]), of("uint3", [0, 1, 2]), values)),
        ("gap-255", "The greatest gap of 8 bits, to which one is added in more than 8.",
         csr((300,), 300, ZERO, of("uint8", [2]), of("uint8", [1, 255]), of("uint8", [7, 8]))),
        ("fill-nan", "The fill is a signalling NaN, and a negative zero is stored.",
         csr((3,), 3, bytes.fromhex("0100a07f"), of("uint8", [1]), of("uint8", [1]),
             real("float32", "-0"))),
        ("packed-values", "Cells of 3 bits among a fill of -1.",
         csr((2, 5), 5, b"\xff", of("uint8", [2, 1]), of("uint8", [0, 2, 4]),
             of("int3", [3, -4, 1]))),
        ("values-csr", "The values are a csr themselves.",
         csr((2, 3), 3, ZERO, of("uint8", [2, 1]), of("uint8", [0, 1, 2]),
             csr((3,), 3, b"\x09", of("uint8", [1]), of("uint8", [1]), of("uint8", [8])))),
        ("values-codebook", "The values are a codebook.",
         csr((2, 3), 3, ZERO, of("uint8", [2, 1]), of("uint8", [0, 1, 2]),
             codebook((3,), of("uint8", [50, 60], (1, 2)), of("uint1", [1, 0, 1])))),
    )  # fmt: skip
    for slug, why, tree in cases:
        whole = [([0] * len(tree.shape), tree.shape)]
        yield of_tree(f"csr/{slug}", why, ["R-CSR-008", "R-CSR-004"], tree, *whole)
    yield of_tree(
        "csr/gap-65535", "The greatest gap of 16 bits, to which one is added in more than 16.",
        ["R-CSR-008"], csr((65540,), 65540, ZERO, of("uint32", [2]), of("uint16", [1, 65535]),
                           of("uint8", [7, 8])), ([65530], [65540]),
    )  # fmt: skip
    yield blocks()


def blocks() -> Vector:
    """Return rows that cross the blocks of all three parts."""
    many = 1500
    counts = of("uint2", [i % 3 for i in range(many)])
    gaps = of("uint3", [i % 4 for i in range(many)])
    values = of("uint8", [i % 251 for i in range(many)])
    parts = [
        part.but(leaf=raw(part.dtype, part.image or b"", log2=10))
        for part in (counts, gaps, values)
    ]
    return of_tree(
        "csr/across-blocks", "Counts, gaps and values lie in two blocks each; rows go on.",
        ["R-CSR-008", "R-CSR-009"], csr((many, 8), 8, ZERO, *parts), ([1022, 0], [1026, 8]),
        ([1499, 0], [1500, 8]), flags=["silent-wrong-value"],
    )  # fmt: skip


def refused_contents() -> Iterator[Vector]:
    """Return counts and gaps that lead out of a row or the values."""
    tree = matrix()
    cases = (
        ("column", "The last column is one behind its row.", [0, 3, 1, 0], [0, 1, 1, 5]),
        (
            "column-sum",
            "Gaps that are each in range lead behind the row.",
            [0, 3, 1, 0],
            [0, 1, 2, 4],
        ),
        ("count", "A row has one element more than columns.", [0, 6, 1, 0], [0, 1, 1, 4]),
        (
            "counts-low",
            "The counts add up to less than what is stored.",
            [0, 3, 0, 0],
            [0, 1, 1, 4],
        ),
        (
            "counts-high",
            "The last row wants an element that is not stored.",
            [0, 3, 1, 1],
            [0, 1, 1, 4],
        ),
        (
            "counts-high-first",
            "A row wants more elements than are stored.",
            [5, 0, 0, 0],
            [0, 0, 0, 0],
        ),
    )
    for slug, why, counts, gaps in cases:
        wrong = having(tree, counts=of("uint8", counts), gaps=of("uint8", gaps))
        rules = ["R-CSR-008", "R-CSR-009"] if slug == "counts-high-first" else ["R-CSR-008"]
        yield broken(f"csr/{slug}", why, rules, "bad-index", MATRIX, wrong,
                     flags=["out-of-bounds"])  # fmt: skip
    wide = csr((4, 5), 5, ZERO, of("uint32", [0, 3, 1, 0]), of("uint32", [0, 1, 1, 4]),
               of("uint8", [10, 0, 30, 40]))  # fmt: skip
    base = of_tree("csr/wide", "The same in 32 bits.", ["R-CSR-008"], wide)
    yield base
    top = 2**32 - 1
    more = (
        ("column-wraps", "A column of 2^32 - 1 is -1 in 32 bits.", [0, 3, 1, 0],
         [0, 1, 1, top]),
        ("column-repeats", "In 32 bits a gap of 2^32 - 1 repeats the column.", [0, 3, 1, 0],
         [0, 1, top, 4]),
        ("counts-wrap", "Counts that add up to nnz in 32 bits.", [0, 5, top, 0], [0, 0, 0, 0]),
        ("count-negative", "A count of 2^32 - 1 is -1 where it is taken for signed.",
         [top, 5, 0, 0], [0, 0, 0, 0]),
    )  # fmt: skip
    for slug, why, counts, gaps in more:
        wrong = having(wide, counts=of("uint32", counts), gaps=of("uint32", gaps))
        yield broken(f"csr/{slug}", why, ["R-CSR-008"], "bad-index", base, wrong,
                     flags=["integer-overflow", "out-of-bounds"])  # fmt: skip
    last = short()
    yield broken("csr/short-row-column", "A column fits C but not the short last row.",
                 ["R-CSR-008"], "bad-index", SHORT,
                 having(last, gaps=of("uint2", [2, 0, 1, 1])), flags=["out-of-bounds"])  # fmt: skip
    yield broken("csr/short-row-count", "A count fits C but not the short last row.",
                 ["R-CSR-008"], "bad-index", SHORT,
                 having(last, counts=of("uint2", [1, 1, 2])), flags=["out-of-bounds"])  # fmt: skip
    empty = nothing((3, 2), 2, 3)
    base = of_tree("csr/constant-counts", "A constant count of 0 in each row.", ["R-CSR-004"],
                   empty)  # fmt: skip
    yield base
    yield broken("csr/constant-counts-high", "Each row counts one element, and none is stored.",
                 ["R-CSR-008"], "bad-index", base, having(empty, counts=same("uint8", (3,), 1)),
                 flags=["out-of-bounds"])  # fmt: skip
    regular = csr((6,), 4, ZERO, same("uint8", (2,), 2), same("uint8", (4,), 0),
                  same("uint8", (4,), 9))  # fmt: skip
    base = of_tree("csr/regular", "Counts, gaps and values are constants; the last row is short.",
                   ["R-CSR-004", "R-CSR-008"], regular)  # fmt: skip
    yield base
    for slug, gap, why in (
        ("short-row", 1, "The constant gap fits the first row, and not the short last."),
        ("row", 2, "With the constant gap every row ends behind its last column."),
    ):
        yield broken(f"csr/regular-{slug}", why, ["R-CSR-008"], "bad-index", base,
                     having(regular, gaps=same("uint8", (4,), gap)),
                     flags=["out-of-bounds"])  # fmt: skip
    none = csr((0, 4), 4, ZERO, of("uint8", []), of("uint8", []), of("uint8", []))
    base = of_tree("csr/no-rows", "Without rows nothing is stored.", ["R-CSR-007"], none)
    yield base
    one = having(none, gaps=of("uint8", [0]), values=of("uint8", [1]))
    yield broken("csr/no-rows-stored", "A value is stored where there are no elements.",
                 ["R-CSR-007"], "bad-shape", base, one, flags=["hidden-bytes"])  # fmt: skip


def refused() -> Iterator[Vector]:
    """Return what is wrong before any cell is read."""
    tree = matrix()
    shapes = (
        ("row-length-0", "Rows without elements never end.", ["R-CSR-001"], "bad-value",
         parameter(tree, 0, struct.pack("<Q", 0)), "cpu-bomb"),
        ("row-length-2-62", "A row length of 2^62.", ["R-CSR-001"], "bad-value",
         having(parameter(tree, 0, struct.pack("<Q", 2**62)), counts=of("uint8", [4])),
         "integer-overflow"),
        ("counts-long", "There is a count more than rows.", ["R-CSR-005"], "bad-shape",
         having(tree, counts=of("uint8", [0, 3, 1, 0, 0])), "hidden-bytes"),
        ("counts-missing-row", "There is a count less than rows.", ["R-CSR-005"], "bad-shape",
         having(tree, counts=of("uint8", [0, 3, 1])), "out-of-bounds"),
        ("counts-rank-2", "The counts are a matrix.", ["R-CSR-005"], "bad-shape",
         having(tree, counts=of("uint8", [0, 3, 1, 0], (2, 2))), "under-validation"),
        ("counts-rank-0", "The counts have rank 0.", ["R-CSR-005"], "bad-shape",
         having(tree, counts=same("uint8", (), 1)), "out-of-bounds"),
        ("gaps-rank-2", "Gaps and values are matrices of one shape.", ["R-CSR-006"], "bad-shape",
         having(tree, gaps=of("uint8", [0, 1, 1, 4], (2, 2)),
                values=of("uint8", [1, 2, 3, 4], (2, 2))), "under-validation"),
        ("gaps-short", "There is a gap less than values.", ["R-CSR-006"], "bad-shape",
         having(tree, gaps=of("uint8", [0, 1, 1])), "out-of-bounds"),
        ("values-short", "There is a value less than gaps.", ["R-CSR-006"], "bad-shape",
         having(tree, values=of("uint8", [1, 2, 3])), "out-of-bounds"),
        ("too-many", "More is stored than there are elements.", ["R-CSR-007"], "bad-shape",
         having(tree, gaps=same("uint8", (21,), 0), values=same("uint8", (21,), 1)), "oom"),
        ("far-too-many", "2^40 values of 20 elements cost nothing to declare.", ["R-CSR-007"],
         "bad-shape", having(tree, gaps=same("uint8", (2**40,), 0),
                             values=same("uint8", (2**40,), 1)), "oom"),
        ("counts-signed", "Counts are int8.", ["R-NOD-016"], "bad-dtype",
         within(tree, "counts", dtype_id=0x28), "out-of-bounds"),
        ("counts-bool", "Counts are bool.", ["R-NOD-016"], "bad-dtype",
         having(tree, counts=of("bool", [0, 1, 1, 0])), "under-validation"),
        ("gaps-uint64", "Gaps have 64 bits.", ["R-NOD-016"], "bad-dtype",
         having(tree, gaps=of("uint64", [0, 1, 1, 4])), "integer-overflow"),
        ("gaps-float", "Gaps are float8.", ["R-NOD-016"], "bad-dtype",
         within(tree, "gaps", dtype_id=0x73), "under-validation"),
        ("values-dtype", "Values of uint8 in a csr of int8.", ["R-NOD-016"], "bad-dtype",
         tree.but(dtype_id=0x28), "silent-wrong-value"),
        ("counts-codebook", "The counts are a codebook.", ["R-CSR-004"], "bad-node",
         having(tree, counts=codebook((4,), of("uint8", [0, 3, 1], (1, 3)),
                                      of("uint2", [0, 1, 2, 0]))), "cpu-bomb"),
        ("gaps-concat", "The gaps are a concat.", ["R-CSR-004"], "bad-node",
         having(tree, gaps=concat(0, of("uint8", [0, 1]), of("uint8", [1, 4]))), "cpu-bomb"),
        ("no-counts", "There are no counts.", ["R-CSR-003", "R-NOD-015"], "bad-node",
         without(tree, "counts"), "under-validation"),
        ("no-gaps", "There are no gaps.", ["R-CSR-003", "R-NOD-015"], "bad-node",
         without(tree, "gaps"), "under-validation"),
        ("no-values", "There are no values.", ["R-CSR-003", "R-NOD-015"], "bad-node",
         without(tree, "values"), "under-validation"),
        ("role-4", "A csr has a fourth part.", ["R-NOD-002", "R-NOD-005"], "bad-node",
         tree.but(parts={**tree.parts, "4": (4, of("uint8", [1]))}), "hidden-bytes"),
        ("parameters-long", "Eight zeros follow the fill.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
        ("parameters-short", "There is a row length and no fill.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters[:8]), "out-of-bounds"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in shapes:
        yield broken(f"csr/{slug}", why, rules, error, MATRIX, wrong, flags=[flag])
    scalar = nothing((), 1, 1)
    base = of_tree("csr/scalar", "One element that is not stored.", ["R-CSR-001"], scalar)
    yield base
    yield broken("csr/scalar-row-length", "The row length of rank 0 is 2.", ["R-CSR-001"],
                 "bad-value", base, parameter(scalar, 0, b"\x02"), flags=["ambiguity"])  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from accepted()
    yield from refused_contents()
    yield from refused()
