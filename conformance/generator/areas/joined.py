"""Concat and opaque (SPEC 8.7, 8.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.derive import broken, having, of_tree, parameter, within, without
from conformance.generator.kinds import (
    codebook,
    concat,
    csr,
    of,
    opaque,
    quantized,
    real,
    same,
    unknown,
)
from conformance.generator.tree import Leaf, Tree, raw
from conformance.generator.vector import Vector, tensor_of, valid


def columns() -> Tree:
    """Return 2 rows of 6: three parts of 1, 3 and 2 columns."""
    return concat(1, of("uint8", [1, 2], (2, 1)), of("uint8", [11, 12, 13, 14, 15, 16], (2, 3)),
                  same("uint8", (2, 2), 9))  # fmt: skip


def blob() -> Tree:
    """Return an opaque tensor with a few bytes of parameters."""
    return opaque("float32", (256,), b"org.example.blocks", b"\x01\x02\xff", of("uint8", [1, 2]))


COLUMNS = of_tree(
    "concat/columns", "Parts of 1, 3 and 2 columns side by side.", ["R-CAT-001", "R-CAT-005"],
    columns(), ([0, 0], [2, 2]), ([1, 3], [2, 6]), ([0, 1], [2, 4]), flags=["silent-wrong-value"],
)  # fmt: skip
OPAQUE = of_tree(
    "opaque/blocks", "Elements that only the owner of the format can compute.",
    ["R-OPQ-008", "R-OPQ-007", "R-RDR-003"], blob(), flags=["over-validation"],
)  # fmt: skip


def accepted() -> Iterator[Vector]:
    """Return valid concats."""
    yield COLUMNS
    packed = [of("uint3", [i * 3 % 8 for i in range(n)]) for n in (3, 1, 4)]
    cases = (
        ("rows", "Parts of 1 and 2 rows, one below the other.", ["R-CAT-004"],
         concat(0, of("uint8", [1, 2, 3], (1, 3)), of("uint8", [4, 5, 6, 7, 8, 9], (2, 3)))),
        ("one", "A single part.", ["R-CAT-002"], concat(0, of("uint8", [1, 2, 3]))),
        ("middle-axis", "Parts along the middle of three axes.", ["R-CAT-001", "R-CAT-004"],
         concat(1, of("uint8", range(4), (2, 1, 2)), of("uint8", range(8, 16), (2, 2, 2)))),
        ("packed", "Parts of 3, 1 and 4 cells of 3 bits: none begins at a byte of the whole.",
         ["R-CAT-005", "R-DTY-004"], concat(0, *packed)),
        ("empty-part", "A part without elements.", ["R-CAT-005"],
         concat(0, of("uint8", [1]), of("uint8", [], (0,)), of("uint8", [2]))),
        ("empty", "Parts without elements, of a dimension in common.", ["R-CAT-004"],
         concat(0, of("uint8", [], (1, 0)), of("uint8", [], (2, 0)))),
        ("rank-32", "Two parts along the last of 32 axes.", ["R-CAT-001"],
         concat(31, same("uint8", [1] * 32, 1), same("uint8", [1] * 31 + [2], 2))),
        ("kinds", "Parts that are dense, csr, quantized and concat.", ["R-CAT-003"],
         concat(0, real("float32", 1, "-0"),
                csr((3,), 3, bytes(4), of("uint8", [1]), of("uint8", [1]), real("float32", 7)),
                quantized("float32", of("int4", [-8, 7, 1]), real("float32", "0.1")),
                concat(0, real("float32", 5), same("float32", (1,), 0x7FA00001)))),
        ("quantized", "Codes that are a concat: one scale over both parts.", ["R-CAT-005"],
         quantized("float32", concat(0, of("uint4", [1, 2, 3]), of("uint4", [15, 0])),
                   real("float32", 1, "0.1"), block=[3])),
        ("alone-aligned", "Raw parts that begin at the alignment of the section.", ["R-STR-016"],
         concat(0, of("uint8", [1, 2, 3]), of("uint8", [4, 5]))),
    )  # fmt: skip
    for slug, why, rules, tree in cases[:-1]:
        yield of_tree(f"concat/{slug}", why, rules, tree, ([0] * len(tree.shape), tree.shape))
    slug, why, rules, tree = cases[-1]
    content = [tensor_of("t", tree, alignment=6)]
    yield valid(f"concat/{slug}", why, rules, content)
    long = [of("uint8", [i % 250 for i in range(1500)]) for _ in range(2)]
    parts = [part.but(leaf=raw("uint8", part.image or b"", log2=10)) for part in long]
    tree = concat(0, *parts)
    yield of_tree("concat/across-blocks", "Two parts of two blocks each.", ["R-CAT-005"], tree,
                  ([1020], [1030]), ([1490], [1510]), ([2999], [3000]))  # fmt: skip


def idle() -> Iterator[Vector]:
    """Return a part without elements whose own parts have some."""
    table = csr((1, 1), 1, b"\0", of("uint8", [1]), of("uint8", [0]), of("uint8", [7]))
    tree = concat(0, same("uint8", (1,), 1),
                  codebook((0,), table, same("uint8", (0,), 0)))  # fmt: skip
    base = of_tree("concat/idle-part", "A part without elements is a codebook; its table is a csr.",
                   ["R-CAT-005", "R-CBK-008"], tree, ([0], [1]))  # fmt: skip
    yield base
    wrong = within(tree, "2/table", parts={**table.parts, "gaps": (2, of("uint8", [9]))})
    yield broken("concat/idle-part-column", "A column is behind its row in a table that no element "
                 "comes from.", ["R-CSR-008", "R-RDR-007"], "bad-index", base, wrong,
                 flags=["hidden-bytes"])  # fmt: skip


def refused() -> Iterator[Vector]:
    """Return invalid concats."""
    yield from idle()
    tree = columns()
    first, last = tree.parts["1"][1], tree.parts["3"][1]
    rest = of("uint8", [11, 12, 13, 14, 15, 16], (2, 3))
    cases = (
        ("axis", "The axis is the rank.", ["R-CAT-001"], "bad-value", parameter(tree, 0, b"\x02"),
         "out-of-bounds"),
        ("axis-huge", "The axis is 2^63.", ["R-CAT-001"], "bad-value",
         parameter(tree, 7, b"\x80"), "integer-overflow"),
        ("axis-2-32", "The axis is 2^32, which is 0 in 32 bits.", ["R-CAT-001"], "bad-value",
         parameter(tree, 0, struct.pack("<Q", 1 << 32)), "integer-overflow"),
        ("sum-low", "The parts have a column less than the node.", ["R-CAT-005"], "bad-shape",
         tree.but(shape=(2, 7)), "out-of-bounds"),
        ("sum-high", "The parts have a column more than the node.", ["R-CAT-005"], "bad-shape",
         tree.but(shape=(2, 5)), "out-of-bounds"),
        ("other-dimension", "A part has a row more.", ["R-CAT-004"], "bad-shape",
         having(tree, **{"3": same("uint8", (3, 2), 9)}), "out-of-bounds"),
        ("rank", "A part has a rank less.", ["R-CAT-004"], "bad-shape",
         having(tree, **{"3": same("uint8", (2,), 9)}), "out-of-bounds"),
        ("rank-more", "A part has an axis more, of 1.", ["R-CAT-004"], "bad-shape",
         having(tree, **{"3": same("uint8", (2, 2, 1), 9)}), "ambiguity"),
        ("dtype", "A part is int8 in a concat of uint8.", ["R-CAT-003"], "bad-dtype",
         within(tree, "3", dtype_id=0x28), "silent-wrong-value"),
        ("dtype-of-node", "The parts are uint8 in a concat of int8.", ["R-CAT-003"], "bad-dtype",
         tree.but(dtype_id=0x28), "silent-wrong-value"),
        ("no-parts", "A concat of nothing.", ["R-CAT-002"], "bad-node",
         without(tree, "1", "2", "3").but(shape=(2, 0)), "under-validation"),
        ("roles-gap", "The roles are 1, 2 and 4.", ["R-CAT-002"], "bad-node",
         tree.but(parts={"1": (1, first), "2": (2, rest), "3": (4, last)}), "ambiguity"),
        ("roles-from-2", "The roles are 2, 3 and 4.", ["R-CAT-002"], "bad-node",
         tree.but(parts={"1": (2, first), "2": (3, rest), "3": (4, last)}), "ambiguity"),
        ("role-64", "The roles are 1, 2 and 64.", ["R-CAT-002", "R-NOD-002"], "bad-node",
         tree.but(parts={"1": (1, first), "2": (2, rest), "3": (64, last)}), "out-of-bounds"),
        ("parameters-short", "A concat without an axis.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=b""), "out-of-bounds"),
        ("parameters-long", "Eight zeros follow the axis.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"concat/{slug}", why, rules, error, COLUMNS, wrong, flags=[flag])
    scalar = concat(0, of("uint8", [5]))
    base = of_tree("concat/single-element", "One part of one element.", ["R-CAT-001"], scalar)
    yield base
    yield broken("concat/rank-0", "Rank 0 has no axis to put parts along.", ["R-CAT-001"],
                 "bad-value", base,
                 having(scalar, **{"1": of("uint8", [5], ())}).but(shape=()),
                 flags=["out-of-bounds"])  # fmt: skip


def foreign() -> Iterator[Vector]:
    """Return valid opaque tensors."""
    yield OPAQUE
    data = of("uint8", [1, 2, 3])
    longest = b"a" * 126 + b"." + b"b" * 128
    cases = (
        ("name-shortest", "The shortest format name, and no parameters.",
         opaque("uint8", (3,), b"a.b", b"", data)),
        ("name-longest", "A format name of 255 bytes.",
         opaque("uint8", (3,), longest, b"x", data)),
        ("name-characters", "Digits and hyphens, also at the ends of labels.",
         opaque("uint8", (3,), b"-0.9-z.--", b"", data)),
        ("unpadded", "Name and parameters end at a multiple of 8.",
         opaque("uint8", (3,), b"a.b", b"12345", data)),
        ("no-data", "Data of no bytes.", opaque("float32", (2, 2), b"a.b", b"", of("uint8", []))),
        ("data-blocks", "Data in two blocks.", opaque("int4", (7,), b"a.b", b"", of(
            "uint8", [i & 255 for i in range(1025)]).but(
                leaf=raw("uint8", bytes(i & 255 for i in range(1025)), log2=10)))),
    )  # fmt: skip
    for slug, why, tree in cases:
        yield of_tree(f"opaque/{slug}", why, ["R-OPQ-001", "R-OPQ-004", "R-OPQ-005"], tree,
                      flags=["over-validation"])  # fmt: skip
    yield of_tree(
        "opaque/inside", "The codes of a quantized node are opaque: the tensor is unsupported.",
        ["R-OPQ-008", "R-RDR-002"],
        quantized("float32", opaque("int8", (3,), b"a.b", b"", data), real("float32", 1)),
        flags=["over-validation"],
    )  # fmt: skip
    yield of_tree(
        "concat/unknown-inside", "A part of an unassigned kind: the tensor is unsupported.",
        ["R-RDR-002", "R-NOD-019"], concat(0, data, unknown(127, "uint8", (2,), bytes(8))),
        flags=["over-validation"],
    )  # fmt: skip


def refused_foreign() -> Iterator[Vector]:
    """Return invalid opaque tensors."""
    tree = blob()
    name = b"org.example.blocks"
    more = b"\x01\x02\xff"

    def named(wrong: bytes) -> Tree:
        return opaque("float32", (256,), wrong, more, of("uint8", [1, 2]))

    cases = (
        ("name-2", "A format name of 2 bytes.", ["R-OPQ-001"], "bad-text", named(b"ab"),
         "under-validation"),
        ("name-256", "A format name of 256 bytes.", ["R-OPQ-001"], "bad-text",
         named(b"a" * 127 + b"." + b"b" * 128), "out-of-bounds"),
        ("name-0", "A format without a name.", ["R-OPQ-001"], "bad-text", named(b""),
         "under-validation"),
        ("name-label", "A format name of one label.", ["R-OPQ-004", "R-NAM-017"], "bad-text",
         named(b"example"), "under-validation"),
        ("name-upper", "A format name with a capital letter.", ["R-OPQ-004", "R-NAM-017"],
         "bad-text", named(b"org.Example"), "ambiguity"),
        ("name-empty-label", "A format name with an empty label.", ["R-OPQ-004", "R-NAM-017"],
         "bad-text", named(b"org..x"), "ambiguity"),
        ("name-dot-last", "A format name that ends in a dot.", ["R-OPQ-004", "R-NAM-017"],
         "bad-text", named(b"org.x."), "ambiguity"),
        ("name-dot-first", "A format name that begins with a dot.", ["R-OPQ-004", "R-NAM-017"],
         "bad-text", named(b".org.x"), "ambiguity"),
        ("name-nul", "A format name with a NUL.", ["R-OPQ-004", "R-NAM-017"], "bad-text",
         named(b"org.x\0"), "ambiguity"),
        ("name-not-ascii", "A format name with a letter beyond ASCII.",
         ["R-OPQ-004", "R-NAM-017"], "bad-text", named("org.exämple".encode()), "ambiguity"),
        ("reserved", "The reserved field is set.", ["R-OPQ-002"], "reserved-nonzero",
         parameter(tree, 2, b"\x01"), "hidden-bytes"),
        ("reserved-high", "The highest bit of the reserved field is set.", ["R-OPQ-002"],
         "reserved-nonzero", parameter(tree, 3, b"\x80"), "hidden-bytes"),
        ("length-long", "The format parameters would end 8 bytes behind the node's parameters.",
         ["R-OPQ-003"], "bad-node", parameter(tree, 4, struct.pack("<I", 14)), "out-of-bounds"),
        ("length-largest", "8 + a + b fits the node in 32 bits, where it wraps.", ["R-OPQ-003"],
         "bad-node", parameter(tree, 4, b"\xff" * 4), "integer-overflow"),
        ("length-short", "Eight bytes of zeros belong to nothing.", ["R-OPQ-003"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
        ("parameters-4", "The parameters end inside their lengths.", ["R-OPQ-003"], "bad-node",
         tree.but(parameters=b""), "out-of-bounds"),
        ("padding", "A byte behind the format parameters is not zero.", ["R-OPQ-006"],
         "bad-layout", parameter(tree, 8 + len(name) + len(more), b"\x01"), "hidden-bytes"),
        ("no-data-part", "There is no data.", ["R-OPQ-007", "R-NOD-015"], "bad-node",
         without(tree, "data"), "under-validation"),
        ("role-2", "There is a second part.", ["R-NOD-002", "R-NOD-005"], "bad-node",
         tree.but(parts={**tree.parts, "2": (2, of("uint8", [1]))}), "hidden-bytes"),
        ("data-constant", "The data are a constant.", ["R-OPQ-007"], "bad-node",
         having(tree, data=same("uint8", (2,), 1)), "under-validation"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"opaque/{slug}", why, rules, error, OPAQUE, wrong, flags=[flag])
    for slug, why, rule, error, wrong in (
        ("data-int8", "The data are int8.", "R-NOD-016", "bad-dtype",
         within(tree, "data", dtype_id=0x28)),
        ("data-rank-2", "The data have rank 2.", "R-NOD-017", "bad-shape",
         having(tree, data=of("uint8", [1, 2], (1, 2)))),
        ("data-rank-0", "The data have rank 0.", "R-NOD-017", "bad-shape",
         having(tree, data=of("uint8", [1], ()))),
    ):  # fmt: skip
        yield broken(f"opaque/{slug}", why, ["R-OPQ-007", rule], error, OPAQUE, wrong)


def dense() -> Iterator[Vector]:
    """Return dense nodes that are no leaves."""
    leaf = of("uint8", [1, 2, 3])
    base = of_tree("dense/leaf", "Three bytes.", ["R-DEN-001", "R-DEN-002"], leaf)
    yield base
    none = of_tree("dense/empty", "No bytes, no entries.", ["R-DEN-002"], of("uint8", []))
    yield none
    part = same("uint8", (3,), 1)
    cases = (
        ("part", "A dense node has a part.", ["R-DEN-001"], base,
         leaf.but(parts={"1": (1, part)}), "hidden-bytes"),
        ("no-entry", "The entry of the only block is missing.", ["R-DEN-002", "R-STR-008"], base,
         leaf.but(leaf=Leaf(())), "out-of-bounds"),
        ("entry-more", "There is an entry more than blocks.", ["R-DEN-002", "R-STR-008"], base,
         leaf.but(leaf=Leaf((b"\1\2\3", b""))), "hidden-bytes"),
        ("entry-of-none", "A leaf without cells has an entry.", ["R-DEN-002", "R-STR-008"], none,
         of("uint8", []).but(leaf=Leaf((b"",))), "hidden-bytes"),
    )  # fmt: skip
    for slug, why, rules, origin, wrong, flag in cases:
        yield broken(f"dense/{slug}", why, rules, "bad-node", origin, wrong, flags=[flag])
    yield broken(
        "dense/parameters-none", "A dense node without parameters.", ["R-NOD-018", "R-DEN-002"],
        "bad-node", none, of("uint8", []).but(leaf=None, parameters=b""),
        flags=["out-of-bounds"],
    )  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the areas' vectors."""
    yield from accepted()
    yield from refused()
    yield from foreign()
    yield from refused_foreign()
    yield from dense()
