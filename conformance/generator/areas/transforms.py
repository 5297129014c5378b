"""The transforms cells, bytes, delta and float (SPEC 10.1 to 10.3, 10.5)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import dtypes
from conformance.generator.coded import (
    DTYPE,
    TRANSFORM,
    bad,
    body,
    longer,
    one,
    part,
    payload,
    some,
)
from conformance.generator.encoders.leaf import huffman, leaf, zstd_runs
from conformance.generator.encoders.transforms import BYTES, DELTA, FLOAT
from conformance.generator.tree import dense
from conformance.generator.vector import Vector, tensor_of, valid

INTEGERS = [name for name in dtypes.IDS if name.startswith(("uint", "int"))]
FLOATS = ("float16", "bfloat16", "float32", "float64")
EXTREMES = {
    "int8": [-128, 127, -1, 0, 1, -128],
    "uint4": [15, 0, 15, 1, 14, 0],
    "int3": [-4, 3, -1, 0, 1, -4],
    "int64": [-(1 << 63), (1 << 63) - 1, -1, 0, 1, -(1 << 63)],
    "uint64": [(1 << 64) - 1, 0, 1 << 63, 1, (1 << 63) - 1, 0],
}


def _each(
    slug: str, why: str, requirement: str, transform: int, names: list[str], count: int
) -> Vector:
    """Return a file with a tensor of each data type."""
    contents = []
    for name in names:
        image = some(name, count)
        contents.append(tensor_of(name, dense(name, (count,), image, leaf(name, image, transform))))
    return valid(
        f"transforms/{slug}", why, ["R-TRF-022", requirement, "R-RDR-001", "R-DIG-006"], contents
    )


NARROW = one(
    "transforms/bytes-int3",
    "Cells of 3 bits in a byte each: the byte of -1 is 7, not 255.",
    ["R-TRF-003"],
    "int3",
    dtypes.image("int3", [-1, -4, 3, 0, 2]),
    leaf("int3", dtypes.image("int3", [-1, -4, 3, 0, 2]), BYTES),
    flags=["silent-wrong-value"],
)
BOOLS = one(
    "transforms/bytes-bool",
    "Cells of one bit in a byte each.",
    ["R-TRF-003"],
    "bool",
    bytes([0, 1, 1, 0, 1]),
    leaf("bool", bytes([0, 1, 1, 0, 1]), BYTES),
)
CELLS = one(
    "transforms/cells-uint3",
    "Three cells of 3 bits, and 7 bits behind them that are zero.",
    ["R-DTY-001", "R-DTY-004"],
    "uint3",
    bytes([5, 1, 7]),
    leaf("uint3", bytes([5, 1, 7])),
)
CODED_CELLS = one(
    "transforms/cells-coded",
    "1001 cells of 4 bits, coded; 4 bits behind the last are zero.",
    ["R-DTY-001", "R-DTY-004"],
    "uint4",
    bytes([3] * 1001),
    leaf("uint4", bytes([3] * 1001), coders=[zstd_runs()]),
)
NIBBLES = one(
    "transforms/delta-uint4",
    "Differences of cells of 4 bits are taken modulo 16, and stand in a byte each.",
    ["R-TRF-005"],
    "uint4",
    dtypes.image("uint4", EXTREMES["uint4"]),
    leaf("uint4", dtypes.image("uint4", EXTREMES["uint4"]), DELTA),
    flags=["integer-overflow"],
)
SHORTS = one(
    "transforms/delta-uint16",
    "The differences of a block begin again at 0: a slice of the second block needs no first.",
    ["R-TRF-004"],
    "uint16",
    dtypes.image("uint16", (60000 + 7 * i & 0xFFFF for i in range(1100))),
    leaf(
        "uint16",
        dtypes.image("uint16", (60000 + 7 * i & 0xFFFF for i in range(1100))),
        DELTA,
        [zstd_runs(), zstd_runs()],
        log2=10,
    ),
    slices=[(1020, 1028), (1024, 1025), (788, 792)],
    flags=["integer-overflow", "silent-wrong-value"],
)
HALVES = one(
    "transforms/float-float16",
    "Cells rotated left by one bit; the payload of a signalling NaN and the sign of zero stay.",
    ["R-TRF-017", "R-RDR-004"],
    "float16",
    dtypes.image("float16", [0x3C00, 0x8000, 0x7D01, 0xFFFF, 1]),
    leaf("float16", dtypes.image("float16", [0x3C00, 0x8000, 0x7D01, 0xFFFF, 1]), FLOAT),
    flags=["silent-wrong-value"],
)
WORDS = one(
    "transforms/bytes-int16",
    "Two planes of bytes.",
    ["R-TRF-001"],
    "int16",
    some("int16", 9),
    leaf("int16", some("int16", 9), BYTES),
)


def _valid() -> Iterator[Vector]:
    yield from (NARROW, BOOLS, CELLS, CODED_CELLS, NIBBLES, SHORTS, HALVES, WORDS)
    every = [*dtypes.IDS]
    yield _each("cells", "Thirteen packed cells of every data type.", "R-DTY-004", 0, every, 13)
    yield _each("bytes", "Planes of bytes of every data type; complex cells have those of a "
                "component.", "R-TRF-003", BYTES, every, 13)  # fmt: skip
    yield _each("delta", "Differences in every integer type.", "R-TRF-004", DELTA, INTEGERS, 13)
    yield _each("float", "Rotated cells of all four types.", "R-TRF-017", FLOAT, [*FLOATS], 13)
    for name in ("int8", "int3", "int64", "uint64"):
        image = dtypes.image(name, EXTREMES[name])
        yield one(
            f"transforms/delta-{name}",
            "From one extreme to the other: differences wrap, and cells have no sign.",
            ["R-TRF-004"],
            name,
            image,
            leaf(name, image, DELTA),
            flags=["integer-overflow"],
            slices=[(1, 3)],
        )
    weights = some("float32", 1030)
    yield one(
        "transforms/float-blocks",
        "Four rotated planes in two blocks, the highest with two codes.",
        ["R-TRF-001"],
        "float32",
        weights,
        leaf("float32", weights, FLOAT, log2=10),
        slices=[(1020, 1030)],
    )
    components = b"".join(dtypes.image("float32", [i % 3, 0x40000000]) for i in range(100))
    yield one(
        "transforms/bytes-complex64",
        "Four planes of 200 bytes, since each of 100 cells has two components; three are coded.",
        ["R-TRF-001"],
        "complex64",
        components,
        leaf("complex64", components, BYTES, [huffman(0, {0: 1, 1: 2, 2: 2}), *[zstd_runs()] * 3]),
        slices=[(98, 100)],
        flags=["out-of-bounds"],
    )


def _invalid() -> Iterator[Vector]:
    for slug, why, base, byte in (
        ("cells-uint3", "A bit behind the last of three cells of 3 bits is set.", CELLS, 1),
        ("cells-coded", "The last half byte of the decoded plane is not zero.", CODED_CELLS, 14),
    ):
        yield bad(
            f"transforms/{slug}",
            why,
            "R-DTY-001",
            "bad-value",
            base,
            part(base, 0, byte, "33" if byte == 14 else "83"),
            flags=["hidden-bytes"],
        )
    for slug, why, base, value, rule in (
        ("bytes-bool", "A byte of a plane of bool is 2.", BOOLS, "02", "R-TRF-003"),
        ("bytes-int3", "The byte of -1 in 3 bits is 255.", NARROW, "ff", "R-TRF-003"),
        ("bytes-int3-8", "A byte of a plane of int3 is 8.", NARROW, "08", "R-TRF-003"),
        ("delta-uint4", "A difference of uint4 is 16.", NIBBLES, "10", "R-TRF-005"),
        ("delta-uint4-negative", "A difference of uint4 is 255.", NIBBLES, "ff", "R-TRF-005"),
    ):
        yield bad(f"transforms/{slug}", why, rule, "bad-value", base, part(base, 0, 3, value),
                  flags=["under-validation", "silent-wrong-value"])  # fmt: skip
    for slug, base, name in (
        ("delta-float16", SHORTS, "float16"),
        ("delta-bool", NIBBLES, "bool"),
        ("delta-float4", NIBBLES, "float4_e2m1fn"),
        ("float-int16", HALVES, "int16"),
    ):
        yield bad(
            f"transforms/{slug}",
            f"The transform {slug.partition('-')[0]} does not take {name}.",
            "R-TRF-017" if "float-" in slug else "R-TRF-004",
            "bad-dtype",
            base,
            body(base, DTYPE, f"{dtypes.IDS[name]:02x}"),
        )
    for transform in (BYTES, DELTA):
        base = WORDS
        yield bad(
            f"transforms/planes-{transform}",
            "A transform makes two planes of 16 bits, and the stream has one.",
            ["R-TRF-001", "R-STR-003"],
            "bad-value",
            base,
            body(base, TRANSFORM, f"{transform:02x}1201"),
            body(base, 40, "", 8),
            longer(base, -8),
            payload(base, 9, "", 16),
            flags=["out-of-bounds"],
            profile="R3" if transform == DELTA else "R1",
        )
    for transform, base in ((BYTES, WORDS), (DELTA, SHORTS), (FLOAT, HALVES)):
        yield bad(
            f"transforms/parameter-{transform}",
            "A transform without a parameter has the parameter 255.",
            ["R-TRF-002", "R-STR-004"],
            "bad-value",
            base,
            body(base, TRANSFORM + 3, "ff"),
        )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
