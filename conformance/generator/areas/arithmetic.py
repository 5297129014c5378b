"""Dequantization to the last bit (SPEC 8.6.2): one rounding after every operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.generator import dtypes
from conformance.generator.areas.datatypes import EDGES, patterns
from conformance.generator.derive import of_tree
from conformance.generator.kinds import of, quantized, real, same
from conformance.generator.tree import Tree
from conformance.generator.vector import Vector

OPERANDS = [dtype for dtype in dtypes.IDS
            if dtypes.bits(dtype) <= 32 and not dtype.startswith("complex")]  # fmt: skip
INTEGERS = {
    "int32": [*EDGES["int32"], 16777219, -16777219, 33554435, (1 << 31) - 64, (1 << 31) - 65],
    "uint32": [*EDGES["uint32"], 16777217, 16777219, (1 << 32) - 128, (1 << 32) - 129],
}
"""Codes between numbers of binary32: each is rounded once, ties to even."""


def each(dtype: str, codes: Tree, scale: Tree, **more: Any) -> Tree:
    """Return a quantized node in which every element has operands of its own."""
    return quantized(dtype, codes, scale, block=[1], **more)


def values() -> Iterator[Vector]:
    """Return what every cell of every operand type means."""
    for dtype in OPERANDS:
        wide = dtypes.bits(dtype)
        slug = f"value/{dtype.replace('_', '-')}"
        codes = patterns(dtype) if wide <= 16 else of(dtype, INTEGERS.get(dtype, EDGES[dtype]))
        if dtype in {"int16", "uint16"}:
            codes = of(dtype, EDGES[dtype])
        unit = real("float32", 1)
        tree = quantized("float32", codes, unit)
        flags = ["silent-wrong-value"]
        if dtype in INTEGERS:
            why = f"Codes of {dtype} that binary32 does not hold are rounded once, ties to even."
        elif wide <= 8 or dtype in {"float16", "bfloat16"}:
            why = f"All {1 << wide} patterns of {dtype} as numbers: each code times one."
        else:
            why = f"The ends of {dtype} as numbers: each code times one."
        yield of_tree(slug, why, ["R-QNT-014", "R-QNT-017"], tree, flags=flags)


def scales() -> Iterator[Vector]:
    """Return scales of other types than floats of 16 and 32 bits."""
    codes = of("int8", [3, -3, 1])
    for dtype, cells, why in (
        ("float8_e8m0fnu", [0, 254, 255],
         "Powers of two from 2^-127, which is subnormal in binary32, to 2^127, and NaN."),
        ("float8_e4m3fn", [0x01, 0x7E, 0xFF], "The smallest, the largest and a NaN."),
        ("float8_e5m2fnuz", [0x80, 0x01, 0x7F], "The only NaN, and the ends."),
        ("uint8", [0, 255, 1], "Integers as scales, 0 and 255 among them."),
        ("int32", [16777217, -16777219, -(1 << 31)], "Scales that binary32 rounds."),
        ("bool", [1, 0, 1], "Scales of true and false; -3 times 0 is -0."),
        ("float16", [0x0001, 0x83FF, 0x0400], "Subnormal scales of float16."),
        ("bfloat16", [0x0001, 0x807F, 0x0080], "Scales of bfloat16 that are subnormal."),
        ("float4_e2m1fn", [0x1, 0x9, 0x8], "A half, minus a half, and -0."),
    ):  # fmt: skip
        tree = each("float32", codes, of(dtype, cells))
        slug = f"scale/{dtype.replace('_', '-')}"
        yield of_tree(slug, why, ["R-QNT-014", "R-QNT-016"], tree, flags=["silent-wrong-value"])


def rounding() -> Iterator[Vector]:
    """Return results near the middle of two numbers, and near the ends."""
    near = of("float32", [0x477FEFFF, 0x477FF000, 0xC77FF000, 0x477FE000, 0x7F7F7FFF, 0x33000000])
    cases = (
        ("ties-float16", "Halfway between two numbers of float16 the even one is taken.",
         "float16", of("uint16", [2049, 2051, 4098, 4102, 8196, 65519]), real("float32", 1)),
        ("ties-bfloat16", "Halfway between two numbers of bfloat16 the even one is taken.",
         "bfloat16", of("uint16", [257, 259, 514, 518, 65408, 65280]), real("float32", 1)),
        ("overflow-float16", "From 65520 on a result is infinite in float16, below it is 65504.",
         "float16", near, real("float32", 1)),
        ("overflow-bfloat16", "From the middle above the largest number bfloat16 is infinite.",
         "bfloat16", of("float32", [0x7F7F7FFF, 0x7F7F8000, 0xFF7F8000, 0x7F7FFFFF]),
         real("float32", 1)),
        ("subnormal-float16", "Small results are subnormal in float16: 2^-25 is halfway to 0.",
         "float16", of("float32", [0x33000000, 0x33000001, 0x33C00000, 0x38000000, 0x387FE000,
                                   0xB3000000, 0x387FF000]), real("float32", 1)),
        ("subnormal-bfloat16", "Small results are subnormal in bfloat16.",
         "bfloat16", of("float32", [0x00008000, 0x00008001, 0x00018000, 0x007F8000, 0x80008000]),
         real("float32", 1)),
    )  # fmt: skip
    for slug, why, dtype, codes, scale in cases:
        yield of_tree(f"arithmetic/{slug}", why, ["R-QNT-014", "R-QNT-016"],
                      quantized(dtype, codes, scale), flags=["silent-wrong-value"])  # fmt: skip


def traps() -> Iterator[Vector]:
    """Return operands at which another order of operations gives other bits."""
    tiny = of("float32", [1, 1, 3, 0x80000001, 0x00800000, 0x007FFFFF])
    half = real("float32", "1/2", "3/4", "1/2", "1/2", "1/2", 1)
    odd = real("float32", "1.000244140625", "1.000244140625")
    one = "R-QNT-014"
    cases = (
        ("overflow", "Products and quotients beyond binary32 are infinite.", [one],
         each("float32", real("float32", "3e38", "-3e38", "1e30"), real("float32", 2, 2, "1e30"))),
        ("subnormal-products", "Products below 2^-126 are kept and rounded to multiples of 2^-149.",
         ["R-QNT-016", one], each("float32", tiny, half)),
        ("subnormal-quotients", "Quotients of subnormal numbers are kept.", ["R-QNT-016", one],
         each("float32", tiny, real("float32", 2, 4, 2, 2, 3, "1/2"), divide=True)),
        ("product-ties", "A product halfway between two numbers of binary32 goes to the even one.",
         [one], each("float32", of("uint32", [8388609, 8388611, 16777215]),
                     real("float32", "1.5", "1.5", "1.5"))),
        ("twice-to-float16", "The product is rounded to binary32, onto a tie, and then to float16.",
         [one, "R-QNT-015"],
         each("float16", of("int8", [11, 101, 7, 3]),
              of("float32", [0x3D6AD174, 0x3C9E6051, 0x3F822DB7, 0x3DC09555]))),
        ("twice-to-bfloat16", "The product is rounded to binary32 and then to bfloat16.",
         [one, "R-QNT-015"],
         each("bfloat16", of("int8", [101, -77, -77, 7]),
              of("float32", [0x3BCDF0CB, 0xBCAACE21, 0xBD34C77B, 0x3EF1B6DB]))),
        ("divide", "Codes are divided: a product with the reciprocal differs in the last bit.",
         [one], each("float32", of("uint8", [28, 62, 103, 112, 65, 14]),
                     real("float32", "1.7", "1.7", 3, 3, 7, 49), divide=True)),
        ("divide-by-zero", "Division by zero gives infinities, and NaN for 0 / 0.",
         [one, "R-QNT-017"],
         each("float32", of("int8", [1, -1, 0, 1, -1, 0]),
              real("float32", 0, 0, 0, "-0", "-0", "-0"), divide=True)),
        ("divide-infinite", "A quotient by infinity is a zero with a sign, or NaN.",
         [one, "R-QNT-017"],
         each("float32", real("float32", 1, -1, "inf", "-inf"),
              real("float32", "inf", "inf", "inf", 2), divide=True)),
        ("zero-times-infinity", "0 times infinity is the canonical NaN, and positive.",
         ["R-QNT-017"], each("float32", of("int8", [0, 0, 1, -1]),
                             real("float32", "inf", "-inf", "inf", "inf"))),
        ("zero-times-infinity-float16", "The NaN of float16 is 7E00.", ["R-QNT-017"],
         each("float16", of("int8", [0, 0, 1]), real("float32", "inf", "-inf", "inf"))),
        ("zero-times-infinity-bfloat16", "The NaN of bfloat16 is 7FC0.", ["R-QNT-017"],
         each("bfloat16", of("int8", [0, 0, 1]), real("float32", "inf", "-inf", "inf"))),
        ("nan-operands", "NaNs lose sign and payload, in codes and scales.", ["R-QNT-017"],
         each("float32", of("float32", [0xFFC00000, 0x7F800001, 0x3F800000, 0x3F800000]),
              of("float32", [0x3F800000, 0x3F800000, 0xFFFFFFFF, 0x7FA00001]))),
        ("infinity-minus-infinity", "Infinities that cancel are NaN.", ["R-QNT-017"],
         each("float32", real("float32", "inf", "-inf", "inf"), real("float32", 1, 1, 1),
              bias=real("float32", "-inf", "inf", "inf"))),
        ("negative-zero-products", "The sign of a zero product is that of its factors.", [one],
         each("float32", of("int8", [0, 0, 0, -1]), real("float32", 1, -1, "-0", 0))),
        ("negative-zero-codes", "A code of -0 is no 0.", [one],
         each("float32", of("float16", [0x8000, 0x8000, 0, 0x8000]),
              real("float32", 1, -1, -1, "inf"))),
        ("negative-zero-sums", "-0 + -0 is -0, every other sum that is zero is +0.", [one],
         each("float32", real("float32", "-0", "-0", 0, 1), real("float32", 1, 1, 1, 1),
              bias=real("float32", "-0", 0, "-0", -1))),
        ("negative-zero-minima", "-0 - 0 is -0, every other difference that is zero is +0.", [one],
         each("float32", real("float32", "-0", "-0", 0, 1), real("float32", 1, 1, 1, 1),
              min=real("float32", 0, "-0", 0, 1))),
        ("integer-difference-zero", "q - z = 0 of integers is +0, and -0 by a negative scale.",
         [one], each("float32", of("int8", [5, 5, -128]), real("float32", 1, -1, -1),
                     zero=of("int8", [5, 5, -128]))),
        ("float-difference-zero", "-0 - 0 is -0 where the zero is a float.", [one],
         each("float32", of("float16", [0x8000, 0x8000, 0x3C00]), real("float32", 1, 1, 1),
              zero=real("float16", 0, "-0", 1))),
        ("underflow-sign", "What underflows keeps its sign.", ["R-QNT-016", one],
         each("float16", of("int8", [1, -1]), real("float32", "1e-30", "1e-30"))),
        ("bias-not-fused", "The product is rounded before the bias is added.",
         ["R-QNT-015", one],
         each("float32", odd, odd, bias=real("float32", -1, "-1.00048828125"))),
        ("min-not-fused", "The product is rounded before the minimum is subtracted.",
         ["R-QNT-015", one],
         each("float32", odd, odd, min=real("float32", 1, "1.00048828125"))),
        ("zero-not-folded", "(q - z) s is not q s - z s.", ["R-QNT-015", one],
         each("float32", of("uint4", [1, 13, 7, 8]),
              of("float32", [0x3F7EB852, 0x3F204189, 0x3EE56042, 0x3F0FDF3B]),
              zero=of("uint4", [6, 9, 9, 9]))),
        ("difference-8", "Differences of 8 bits need 9: 0 - 255 and -128 - 127.", [one],
         each("float32", of("int8", [-128, 127, 0, -128]), real("float32", 1, 1, 1, 1),
              zero=of("uint8", [255, 0, 255, 0]))),
        ("difference-unsigned", "0 - 255 of uint8 is -255.", [one],
         each("float32", of("uint8", [0, 255, 3]), real("float32", 1, 1, 1),
              zero=of("uint8", [255, 0, 4]))),
        ("difference-bool", "false - true is -1.", [one],
         each("float32", of("bool", [0, 1, 0, 1]), real("float32", 3, 3, 3, 3),
              zero=of("bool", [1, 0, 0, 1]))),
        ("difference-beyond-2-24", "q - z is exact and rounded once; each alone is rounded.",
         [one], each("float32", of("int32", [16777217, 16777219, 16777217, -16777217]),
                     real("float32", 1, 1, 1, 1), zero=of("int32", [1, 2, 16777216, -16777216]))),
        ("difference-34-bits", "The longest differences have 33 bits and a sign.", [one],
         each("float32", of("uint32", [(1 << 32) - 1, 0, 1 << 31, (1 << 32) - 1]),
              real("float32", 1, 1, 1, 1),
              zero=of("int32", [-(1 << 31), (1 << 31) - 1, -(1 << 31), 1 << 30]))),
        ("difference-signed-32", "-2^31 - (2^31 - 1) wraps to 1 in 32 bits.", [one],
         each("float32", of("int32", [-(1 << 31), (1 << 31) - 1]), real("float32", 1, 1),
              zero=of("int32", [(1 << 31) - 1, -(1 << 31)]))),
        ("difference-float", "With a float zero both operands are rounded to binary32 first.",
         [one], each("float32", of("int32", [16777217, 16777219]), real("float32", 1, 1),
                     zero=real("float32", 16777216, "0.5"))),
        ("difference-float-codes", "With float codes an integer zero is rounded first.", [one],
         each("float32", real("float32", 16777216, 0), real("float32", 1, 1),
              zero=of("int32", [16777217, 16777219]))),
    )  # fmt: skip
    for slug, why, rules, tree in cases:
        flags = ["silent-wrong-value"]
        if slug.startswith("difference"):
            flags.append("integer-overflow")
        yield of_tree(f"arithmetic/{slug}", why, rules, tree, flags=flags)


def steps() -> Iterator[Vector]:
    """Return arithmetic with a rounding after every operation."""
    codes, scale = of("uint16", [2049, 2051, 65535]), real("float32", "0.5", "0.5", "0.5")
    wide = of("uint8", [200, 3, 255])
    tenth = real("float16", "0.1", "0.3", "0.7")
    cases = (
        ("code-not-rounded", "A code without a zero is not rounded to the step.",
         each("float32", codes, scale, step="float16")),
        ("difference-float16", "q - z is rounded to float16 before it is scaled.",
         each("float32", codes, scale, zero=of("uint16", [0, 1, 4]), step="float16")),
        ("difference-bfloat16", "q - z is rounded to bfloat16 before it is scaled.",
         each("float32", of("int16", [257, 259, -515]), scale, zero=of("int8", [0, 0, 1]),
              step="bfloat16")),
        ("difference-overflow", "q - z is infinite in float16, and times 0 it is NaN.",
         each("float32", of("int32", [65519, 65520, 100000]), real("float32", 1, "0.25", 0),
              zero=of("int32", [0, 0, 1]), step="float16")),
        ("float-zero", "The difference from a float zero is rounded to float16 (HQQ).",
         each("float16", wide, tenth, zero=real("float16", "7.26", "127.9", "0.001"),
              step="float16")),
        ("bias", "Product and sum are rounded to float16, one after the other (MLX).",
         each("float16", wide, tenth, bias=real("float16", "-12.1", "0.05", "1000"),
              step="float16")),
        ("bias-bfloat16", "Product and sum are rounded to bfloat16.",
         each("bfloat16", wide, real("bfloat16", "0.1", "0.3", "0.7"),
              bias=real("bfloat16", "-12.1", "0.05", "1000"), step="bfloat16")),
        ("min", "Product and difference are rounded to float16.",
         each("float32", wide, tenth, min=real("float32", "12.1", "0.9", "0.001"),
              step="float16")),
        ("divide", "A quotient is rounded to bfloat16.",
         each("float32", wide, real("float32", 3, 7, 49), divide=True, step="bfloat16")),
        ("to-another", "A step of float16 and a result of bfloat16: rounded twice.",
         each("bfloat16", wide, tenth, step="float16")),
        ("subnormal", "A step below 2^-14 is subnormal in float16.",
         each("float32", wide, real("float32", "1e-7", "1e-6", "1e-10"), step="float16")),
        ("nan", "A NaN goes through a step.",
         each("float32", of("float8_e4m3fn", [0x7F, 0x38]), real("float32", 1, "nan"),
              zero=of("int8", [1, 1]), step="float16")),
    )  # fmt: skip
    for slug, why, tree in cases:
        yield of_tree(f"step/{slug}", why, ["R-QNT-003", "R-QNT-014"], tree,
                      flags=["silent-wrong-value"])  # fmt: skip


def nested() -> Iterator[Vector]:
    """Return parts that are rounded to their own type first."""
    inner = quantized("float16", of("int8", [1, 3, 77]), real("float32", "0.1"))
    yield of_tree(
        "arithmetic/nested-codes", "Codes are rounded to float16 before they are scaled again.",
        ["R-QNT-018"], quantized("float32", inner, real("float32", 3)),
        flags=["silent-wrong-value"],
    )  # fmt: skip
    yield of_tree(
        "arithmetic/nested-scale", "A scale is rounded to bfloat16 before it is used.",
        ["R-QNT-018"],
        each("float32", of("int8", [1, 3, 77]),
             quantized("bfloat16", of("uint8", [1, 3, 77]), real("float32", "0.1"))),
        flags=["silent-wrong-value"],
    )  # fmt: skip
    yield of_tree(
        "arithmetic/nested-difference",
        "Codes of a quantized node are floats, so that an integer zero is rounded first.",
        ["R-QNT-018", "R-QNT-014"],
        quantized("float32", quantized("float32", of("int32", [16777217, 5]), real("float32", 1)),
                  real("float32", 1), zero=of("int32", [16777219])),
        flags=["silent-wrong-value"],
    )  # fmt: skip
    yield of_tree(
        "arithmetic/nested-nan", "A NaN of a nested node is canonical in its own type.",
        ["R-QNT-017", "R-QNT-018"],
        quantized("float16", quantized("bfloat16", of("int8", [0, 1]), real("float32", "inf")),
                  same("float32", (1,), 0x3F800000)),
    )  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from values()
    yield from scales()
    yield from rounding()
    yield from traps()
    yield from steps()
    yield from nested()
