"""Quantized nodes: grids, groups, parts and parameters (SPEC 8.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.derive import broken, having, of_tree, parameter, within, without
from conformance.generator.kinds import codebook, of, quantized, real, same
from conformance.generator.tree import Tree
from conformance.generator.vector import Vector


def ramp(*shape: int, dtype: str = "int8") -> Tree:
    """Return codes that differ from each other."""
    many = 1
    for dim in shape:
        many *= dim
    return of(dtype, [(i * 7 + 3) % 16 for i in range(many)], shape)


def powers(*shape: int, dtype: str = "float32") -> Tree:
    """Return a grid of scales that differ from each other."""
    many = 1
    for dim in shape:
        many *= dim
    return real(dtype, *(f"1/{i + 1}" for i in range(many)), shape=shape)


def channel() -> Tree:
    """Return 3 rows of 4 with a scale and a zero point each."""
    return quantized("float32", ramp(3, 4, dtype="uint8"), powers(3, 1), block=[1, 0],
                     zero=of("uint8", [1, 2, 3], (3, 1)))  # fmt: skip


def blocked() -> Tree:
    """Return 5 x 7 in blocks of 2 x 3, the last ones short."""
    return quantized("float32", ramp(5, 7), powers(3, 3), block=[2, 3])


def flat() -> Tree:
    """Return 2 x 5 in runs of 4, the last one short."""
    return quantized("float32", ramp(2, 5), powers(3), flat_block=4)


def ordered() -> Tree:
    """Return 6 rows of 2 in three groups of rows, dealt out by an index."""
    return quantized("float16", ramp(6, 2, dtype="uint4"), powers(3, 2, dtype="float16"),
                     block=[2, 1], zero=of("uint4", range(6), (3, 2)),
                     group_index=of("uint8", [2, 0, 1, 1, 0, 2]))  # fmt: skip


CHANNEL = of_tree("quantized/channel", "A scale and a zero point for each row.",
                  ["R-QNT-009", "R-QNT-014"], channel(), ([1, 1], [3, 3]))  # fmt: skip
BLOCKED = of_tree("quantized/blocks", "Blocks of 2 x 3 in 5 x 7: the last ones are short.",
                  ["R-QNT-012", "R-QNT-009"], blocked(), ([1, 2], [5, 7]), ([4, 6], [5, 7]),
                  flags=["out-of-bounds"])  # fmt: skip
FLAT = of_tree("quantized/flat", "Runs of 4 over 2 x 5: one crosses a row, the last is short.",
               ["R-QNT-013", "R-QNT-001"], flat(), ([0, 3], [2, 5]), ([1, 4], [2, 5]),
               flags=["out-of-bounds"])  # fmt: skip
ORDERED = of_tree("quantized/group-index", "Rows belong to groups as an index says (GPTQ).",
                  ["R-QNT-011", "R-QNT-002"], ordered(), ([1, 1], [5, 2]),
                  flags=["silent-wrong-value"])  # fmt: skip


def accepted() -> Iterator[Vector]:
    """Return valid ones."""
    yield from (CHANNEL, BLOCKED, FLAT, ORDERED)
    one = real("float32", "0.1")
    f32 = "float32"
    cases = (
        ("tensor", "One scale for all.", ["R-QNT-007"],
         quantized(f32, ramp(2, 3), real(f32, "0.1", shape=(1, 1)))),
        ("float16", "A result of float16.", ["R-QNT-006"],
         quantized("float16", ramp(5), one)),
        ("bfloat16", "A result of bfloat16.", ["R-QNT-006"],
         quantized("bfloat16", ramp(5), one)),
        ("rank-0", "Rank 0 has a grid of rank 0.", ["R-QNT-002", "R-QNT-009"],
         quantized(f32, ramp(), real(f32, "0.1", shape=()))),
        ("rank-0-flat", "Rank 0 in runs of one.", ["R-QNT-013"],
         quantized(f32, ramp(), one, flat_block=1)),
        ("rank-32", "The highest rank, with a block on its last axis.", ["R-QNT-012"],
         quantized(f32, ramp(*[1] * 31, 5), powers(*[1] * 31, 3), block=[0] * 31 + [2])),
        ("no-elements", "A whole axis of 0 elements has one group all the same.",
         ["R-QNT-012", "R-QNT-009"], quantized(f32, ramp(0, 3), powers(1, 1))),
        ("no-elements-flat", "No elements have no runs.", ["R-QNT-009"],
         quantized(f32, ramp(0), powers(0), flat_block=4)),
        ("block-1", "A block of one on every axis: a scale for each element.", ["R-QNT-012"],
         quantized(f32, ramp(2, 3), powers(2, 3), block=[1, 1])),
        ("block-largest", "A block one shorter than its axis: the second has one element.",
         ["R-QNT-012"], quantized(f32, ramp(5), powers(2), block=[4])),
        ("blocks-rank-3", "Blocks on the first and the last of three axes.", ["R-QNT-012"],
         quantized(f32, ramp(3, 2, 5), powers(2, 1, 3), block=[2, 0, 2])),
        ("flat-1", "Runs of one element.", ["R-QNT-013"],
         quantized(f32, ramp(2, 2), powers(4), flat_block=1)),
        ("flat-all", "One run as long as the tensor.", ["R-QNT-013"],
         quantized(f32, ramp(2, 2), powers(1), flat_block=4)),
        ("flat-huge", "One run of 2^62 - 1 over three elements.", ["R-QNT-013", "R-QNT-005"],
         quantized(f32, ramp(3), powers(1), flat_block=2**62 - 1)),
        ("divide", "Codes divided by a scale for each row.", ["R-QNT-001"],
         quantized(f32, ramp(2, 3), powers(2, 1), block=[1, 0], divide=True)),
        ("flat-divide", "Both flags.", ["R-QNT-001"],
         quantized(f32, ramp(5), powers(2), flat_block=3, divide=True)),
        ("bias", "A bias for each row.", ["R-QNT-008"],
         quantized(f32, ramp(2, 3), powers(2, 1), block=[1, 0], bias=powers(2, 1))),
        ("min", "A minimum for each row.", ["R-QNT-008"],
         quantized(f32, ramp(2, 3), powers(2, 1), block=[1, 0], min=powers(2, 1))),
        ("divide-bias", "A quotient and a bias.", ["R-QNT-001", "R-QNT-008"],
         quantized(f32, ramp(3), one, bias=one, divide=True)),
        ("zero-other-type", "An int16 zero point for codes of uint4.", ["R-QNT-014"],
         quantized(f32, ramp(3, dtype="uint4"), one, zero=of("int16", [-300]))),
        ("group-index-last-axis", "Columns belong to groups as an index says.", ["R-QNT-002"],
         quantized(f32, ramp(2, 4), powers(1, 2), block=[0, 2], group_axis=1,
                   group_index=of("uint1", [1, 0, 0, 1]))),
        ("group-index-one-group", "An index into the one group of a whole axis.", ["R-QNT-011"],
         quantized(f32, ramp(3), one, group_index=of("uint8", [0, 0, 0]))),
        ("group-index-unused", "Most groups have no element.", ["R-QNT-011"],
         quantized(f32, ramp(5), powers(5), block=[1], group_index=of("uint3", [4] * 5))),
        ("group-index-uneven", "Groups of one and of four rows, whatever the block says.",
         ["R-QNT-011"],
         quantized(f32, ramp(5), powers(2), block=[3], group_index=of("uint32", [1, 1, 0, 1, 1]))),
        ("group-index-constant", "A constant index.", ["R-QNT-011"],
         quantized(f32, ramp(4), powers(2), block=[2], group_index=same("uint8", (4,), 1))),
        ("group-index-codebook", "An index that is a codebook.", ["R-QNT-011"],
         quantized(f32, ramp(4), powers(2), block=[2], group_index=codebook(
             (4,), of("uint16", [1, 0], (1, 2)), of("uint1", [0, 1, 1, 0])))),
        ("group-index-no-elements", "An index over an axis of a tensor without elements.",
         ["R-QNT-011"],
         quantized(f32, ramp(3, 0), powers(2, 1), block=[2, 0],
                   group_index=of("uint8", [1, 0, 1]))),
    )  # fmt: skip
    for slug, why, rules, tree in cases:
        yield of_tree(f"quantized/{slug}", why, rules, tree, ([0] * len(tree.shape), tree.shape))


def refused() -> Iterator[Vector]:
    """Return invalid ones."""
    tree = channel()
    scale, zero = (tree.parts[name][1] for name in ("scale", "zero"))
    alone = without(tree, "zero")
    cases = (
        ("flags-2", "Bit 2 of the flags is set.", ["R-QNT-001"], "reserved-nonzero",
         parameter(tree, 0, b"\x04"), "hidden-bytes"),
        ("flags-7", "Bit 7 of the flags is set.", ["R-QNT-001"], "reserved-nonzero",
         parameter(tree, 0, b"\x80"), "hidden-bytes"),
        ("reserved-first", "The first reserved byte is set.", ["R-QNT-004"], "reserved-nonzero",
         parameter(tree, 3, b"\x01"), "hidden-bytes"),
        ("reserved-last", "The last reserved byte is set.", ["R-QNT-004"], "reserved-nonzero",
         parameter(tree, 7, b"\x80"), "hidden-bytes"),
        ("group-axis-unused", "A group axis without a group_index.", ["R-QNT-002"], "bad-value",
         parameter(tree, 1, b"\x01"), "hidden-bytes"),
        ("step-float32", "The step is the id of float32 and not 0.", ["R-QNT-003"], "bad-value",
         parameter(tree, 2, b"\x3a"), "ambiguity"),
        ("step-1", "The step is 1.", ["R-QNT-003"], "bad-value", parameter(tree, 2, b"\x01"),
         "under-validation"),
        ("step-2", "The step is an unassigned id.", ["R-QNT-003"], "bad-value",
         parameter(tree, 2, b"\x02"), "out-of-bounds"),
        ("block-whole", "A block as long as its axis is spelled 0.", ["R-QNT-012"], "bad-value",
         having(parameter(tree, 8, struct.pack("<Q", 3)), scale=powers(1, 1),
                zero=of("uint8", [1], (1, 1))), "ambiguity"),
        ("block-above", "A block longer than its axis.", ["R-QNT-012"], "bad-value",
         parameter(tree, 16, struct.pack("<Q", 5)), "ambiguity"),
        ("block-huge", "A block of 2^64 - 1, with which a rounded quotient wraps.",
         ["R-QNT-005", "R-QNT-012"], "bad-value", parameter(tree, 16, b"\xff" * 8),
         "integer-overflow"),
        ("dtype-float64", "The result is float64.", ["R-QNT-006"], "bad-dtype",
         tree.but(dtype_id=0x3B), "under-validation"),
        ("dtype-int8", "The result is int8.", ["R-QNT-006"], "bad-dtype",
         tree.but(dtype_id=0x28), "under-validation"),
        ("dtype-float8", "The result is float8.", ["R-QNT-006"], "bad-dtype",
         tree.but(dtype_id=0x73), "under-validation"),
        ("no-scale", "There is no scale.", ["R-QNT-007", "R-NOD-015"], "bad-node",
         without(tree, "scale"), "under-validation"),
        ("no-codes", "There are no codes.", ["R-QNT-007", "R-NOD-015"], "bad-node",
         without(tree, "codes"), "under-validation"),
        ("zero-and-bias", "There are a zero point and a bias.", ["R-QNT-008"], "bad-node",
         tree.but(parts={**tree.parts, "bias": (3, scale)}), "ambiguity"),
        ("zero-and-min", "There are a zero point and a minimum.", ["R-QNT-008"], "bad-node",
         tree.but(parts={**tree.parts, "min": (4, scale)}), "ambiguity"),
        ("bias-and-min", "There are a bias and a minimum.", ["R-QNT-008"], "bad-node",
         alone.but(parts={**alone.parts, "bias": (3, scale), "min": (4, scale)}), "ambiguity"),
        ("role-7", "A quantized node has a part of role 7.", ["R-NOD-002"], "bad-node",
         tree.but(parts={**tree.parts, "7": (7, zero)}), "hidden-bytes"),
        ("scale-short", "There is a scale less than rows.", ["R-QNT-009"], "bad-shape",
         having(tree, scale=powers(2, 1)), "out-of-bounds"),
        ("scale-rank", "The scales have rank 1.", ["R-QNT-009"], "bad-shape",
         having(tree, scale=powers(3)), "ambiguity"),
        ("scale-transposed", "The scales are a row and not a column.", ["R-QNT-009"],
         "bad-shape", having(tree, scale=powers(1, 3)), "silent-wrong-value"),
        ("scale-broadcast", "One scale for a grid of three.", ["R-QNT-009"], "bad-shape",
         having(tree, scale=powers(1, 1)), "over-validation"),
        ("zero-shape", "There is one zero point for three rows.", ["R-QNT-009"], "bad-shape",
         having(tree, zero=of("uint8", [1], (1, 1))), "out-of-bounds"),
        ("bias-shape", "There is a bias for each column, where rows have scales.",
         ["R-QNT-009"], "bad-shape",
         alone.but(parts={**alone.parts, "bias": (3, powers(1, 4))}), "out-of-bounds"),
        ("min-shape", "There are two minima for three rows.", ["R-QNT-009"], "bad-shape",
         alone.but(parts={**alone.parts, "min": (4, powers(2, 1))}), "out-of-bounds"),
        ("codes-shape", "The codes are transposed.", ["R-NOD-017"], "bad-shape",
         having(tree, codes=ramp(4, 3, dtype="uint8")), "out-of-bounds"),
        ("codes-other-rows", "The codes have three rows and the node four; one scale fits both.",
         ["R-NOD-017"], "bad-shape",
         quantized("float32", ramp(3, 4, dtype="uint8"), powers(1, 1)).but(shape=(4, 4)),
         "out-of-bounds"),
        ("codes-flat", "The codes have rank 1.", ["R-NOD-017"], "bad-shape",
         having(tree, codes=ramp(12, dtype="uint8")), "silent-wrong-value"),
        ("codes-float64", "Codes are float64.", ["R-NOD-016"], "bad-dtype",
         having(tree, codes=same("float64", (3, 4), 0)), "under-validation"),
        ("codes-int64", "Codes are int64.", ["R-NOD-016"], "bad-dtype",
         having(tree, codes=same("int64", (3, 4), 0)), "integer-overflow"),
        ("codes-complex64", "Codes are complex.", ["R-NOD-016"], "bad-dtype",
         having(tree, codes=same("complex64", (3, 4), 0)), "under-validation"),
        ("scale-float64", "Scales are float64.", ["R-NOD-016"], "bad-dtype",
         having(tree, scale=same("float64", (3, 1), 0)), "under-validation"),
        ("zero-uint64", "Zero points are uint64.", ["R-NOD-016"], "bad-dtype",
         having(tree, zero=same("uint64", (3, 1), 0)), "integer-overflow"),
        ("parameters-short", "A block is missing.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters[:-8]), "out-of-bounds"),
        ("parameters-long", "There is a block more than axes.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
        ("parameters-none", "There are no parameters.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=b""), "out-of-bounds"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"quantized/{slug}", why, rules, error, CHANNEL, wrong, flags=[flag])
    yield from refused_flat()
    yield from refused_groups()


def refused_flat() -> Iterator[Vector]:
    """Return what is wrong about runs and blocks."""
    tree = flat()
    cases = (
        ("flat-0", "Runs of no elements.", ["R-QNT-013"], "bad-value",
         parameter(tree, 8, bytes(8)), "cpu-bomb"),
        ("flat-2-62", "A run of 2^62.", ["R-QNT-005"], "bad-value",
         having(parameter(tree, 8, struct.pack("<Q", 1 << 62)), scale=powers(1)),
         "integer-overflow"),
        ("flat-grid", "The scales of runs have the rank of the tensor.", ["R-QNT-009"],
         "bad-shape", having(tree, scale=powers(3, 1)), "ambiguity"),
        ("flat-floor", "The short last run has no scale.", ["R-QNT-009"], "bad-shape",
         having(tree, scale=powers(2)), "out-of-bounds"),
        ("flat-blocks", "Runs with a block for each axis.", ["R-NOD-018"], "bad-node",
         tree.but(parameters=tree.parameters + bytes(8)), "hidden-bytes"),
        ("flat-group-index", "Runs and a group_index.", ["R-QNT-010"], "bad-value",
         tree.but(parts={**tree.parts, "group_index": (5, of("uint8", [0, 1]))}), "ambiguity"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"quantized/{slug}", why, rules, error, FLAT, wrong, flags=[flag])
    yield broken(
        "quantized/blocks-floor", "The short last blocks have no scales.", ["R-QNT-009"],
        "bad-shape", BLOCKED, having(blocked(), scale=powers(2, 2)), flags=["out-of-bounds"],
    )  # fmt: skip


def refused_groups() -> Iterator[Vector]:
    """Return what is wrong about a group_index."""
    tree = ordered()
    cases = (
        ("group-index-range", "A row belongs to group 3 of three.", ["R-QNT-011"], "bad-index",
         having(tree, group_index=of("uint8", [2, 0, 1, 3, 0, 2])), "out-of-bounds"),
        ("group-index-last", "The last row belongs to group 255 of three.", ["R-QNT-011"],
         "bad-index", having(tree, group_index=of("uint8", [2, 0, 1, 1, 0, 255])),
         "out-of-bounds"),
        ("group-index-short", "A row has no group.", ["R-NOD-017"], "bad-shape",
         having(tree, group_index=of("uint8", [2, 0, 1, 1, 0])), "out-of-bounds"),
        ("group-index-long", "There are more groups than rows.", ["R-NOD-017"], "bad-shape",
         having(tree, group_index=of("uint8", [2, 0, 1, 1, 0, 2, 0])), "hidden-bytes"),
        ("group-index-rank", "The group_index is a column.", ["R-NOD-017"], "bad-shape",
         having(tree, group_index=of("uint8", [2, 0, 1, 1, 0, 2], (6, 1))), "ambiguity"),
        ("group-index-signed", "The group_index is int8.", ["R-NOD-016"], "bad-dtype",
         within(tree, "group_index", dtype_id=0x28), "out-of-bounds"),
        ("group-index-int32", "The group_index is int32, as its source has it.", ["R-NOD-016"],
         "bad-dtype", having(tree, group_index=of("int32", [2, 0, 1, 1, 0, 2])),
         "under-validation"),
        ("group-axis", "The group axis is the rank.", ["R-QNT-002"], "bad-value",
         parameter(tree, 1, b"\x02"), "out-of-bounds"),
        ("group-axis-255", "The group axis is 255.", ["R-QNT-002"], "bad-value",
         parameter(tree, 1, b"\xff"), "out-of-bounds"),
        ("group-axis-other", "The group axis is the one that the index does not fit.",
         ["R-NOD-017"], "bad-shape", parameter(tree, 1, b"\x01"), "out-of-bounds"),
    )  # fmt: skip
    for slug, why, rules, error, wrong, flag in cases:
        yield broken(f"quantized/{slug}", why, rules, error, ORDERED, wrong, flags=[flag])
    none = quantized("float32", ramp(3, 0), powers(2, 1), block=[2, 0],
                     group_index=of("uint8", [1, 0, 1]))  # fmt: skip
    base = of_tree("quantized/group-index-idle", "Groups of rows without elements.",
                   ["R-QNT-011"], none)  # fmt: skip
    yield base
    yield broken(
        "quantized/group-index-idle-range",
        "A row belongs to a group that does not exist, though it has no elements.",
        ["R-QNT-011"], "bad-index", base, having(none, group_index=of("uint8", [1, 2, 1])),
    )  # fmt: skip
    one = quantized("float32", ramp(3), powers(1), group_index=of("uint1", [0, 0, 0]))
    base = of_tree("quantized/group-index-of-one", "A group_index where there is one group.",
                   ["R-QNT-011"], one)  # fmt: skip
    yield base
    yield broken(
        "quantized/group-index-of-one-range", "A row belongs to group 1 of one.", ["R-QNT-011"],
        "bad-index", base, having(one, group_index=of("uint1", [0, 1, 0])),
        flags=["out-of-bounds"],
    )  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from accepted()
    yield from refused()
