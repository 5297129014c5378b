"""The transform pair (SPEC 10.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.generator import dtypes
from conformance.generator.coded import (
    CODEC,
    DTYPE,
    PARAMETER,
    bad,
    body,
    near,
    one,
    part,
    some,
    store,
    wrong,
)
from conformance.generator.encoders.leaf import RAW, huffman, leaf, rans, zstd_runs
from conformance.generator.encoders.transforms import PAIR, planes
from conformance.generator.tree import Leaf, dense
from conformance.generator.vector import Vector, tensor_of, valid

FLOAT8 = [name for name in dtypes.IDS if name.startswith("float8") and not name.endswith("e8m0fnu")]
FLAT = ("int8", "uint8", "float16", *FLOAT8)
"""Types without exceptions and with one form."""


def weights(dtype: str, count: int, *outliers: tuple[int, int]) -> bytes:
    """Return cells of exponents 113 to 128, but for some cells with other exponents."""
    cells = dtypes.cells(dtype, near(dtype, count, spread=15))
    low = dtypes.bits(dtype) - 9
    for at, exponent in outliers:
        cells[at] = cells[at] & ~(255 << low) | exponent << low
    return dtypes.image(dtype, cells)


def _one(
    slug: str, why: str, named: str, dtype: str, image: bytes, stored: Leaf, **options: Any
) -> Vector:
    return one(f"pair/{slug}", why, named.split(), dtype, image, stored, **options)


_SPARSE = weights("bfloat16", 131, (0, 0), (67, 255), (64, 3), (130, 1))
BRAIN = _one(
    "bfloat16",
    "Form 0 with three exceptions of four, the first of them at place 0, and a tail of 3 cells.",
    "R-TRF-013 R-TRF-014 R-TRF-016",
    "bfloat16",
    _SPARSE,
    leaf("bfloat16", _SPARSE, PAIR, room=1, blocks=[{"base": 113}]),
    slices=[(0, 2), (63, 68), (127, 131)],
)
WHOLE = _one(
    "bfloat16-form-1",
    "Form 1: exponents are whole bytes, and room for exceptions stays unused.",
    "R-TRF-007 R-TRF-012 R-TRF-013",
    "bfloat16",
    some("bfloat16", 64),
    leaf("bfloat16", some("bfloat16", 64), PAIR, room=1, blocks=[{"form": 1}]),
)
PLAIN = _one(
    "bfloat16-plain",
    "Form 0 without room for exceptions; the base is 0, as the exponents are below 16.",
    "R-TRF-010 R-TRF-008",
    "bfloat16",
    dtypes.image("bfloat16", (i << 7 & 0x780 | i for i in range(64))),
    leaf("bfloat16", dtypes.image("bfloat16", (i << 7 & 0x780 | i for i in range(64))), PAIR),
)
TAIL = _one(
    "bfloat16-tail",
    "63 cells are all tail: hot and rest are empty, and their entries say 0 bytes.",
    "R-STR-018 R-TRF-008",
    "bfloat16",
    some("bfloat16", 63),
    leaf("bfloat16", some("bfloat16", 63), PAIR, room=1),
    flags=["out-of-bounds"],
)
HALF = _one(
    "float16",
    "Hot and rest of words of 16 bits, with a tail of one cell.",
    "R-TRF-011 R-TRF-012",
    "float16",
    some("float16", 65),
    leaf("float16", some("float16", 65), PAIR),
)
BYTE = _one(
    "int8",
    "The high halves of two cells stand in a byte of hot, the low ones in a byte of rest.",
    "R-TRF-009 R-TRF-012",
    "int8",
    some("int8", 128),
    leaf("int8", some("int8", 128), PAIR),
)
EIGHTH = _one(
    "float8",
    "Hot is a byte a cell and rest its sign: of 64 cells eight signs of the same bit in a byte.",
    "R-TRF-009",
    "float8_e4m3fn",
    some("float8_e4m3fn", 67),
    leaf("float8_e4m3fn", some("float8_e4m3fn", 67), PAIR),
)
SINGLE = _one(
    "float32",
    "Two levels of halves: of the words of two cells, and of their high halves.",
    "R-TRF-013 R-TRF-016",
    "float32",
    weights("float32", 194, (0, 255), (95, 0), (96, 8), (191, 254)),
    leaf(
        "float32",
        weights("float32", 194, (0, 255), (95, 0), (96, 8), (191, 254)),
        PAIR,
        room=2,
        blocks=[{"base": 113}],
    ),
    slices=[(95, 97), (190, 194)],
)
CODED = _one(
    "coded",
    "Hot is coded with zstd, in form 0.",
    "R-TRF-008",
    "bfloat16",
    dtypes.image("bfloat16", [0x0080 + i for i in range(128)]),
    leaf(
        "bfloat16",
        dtypes.image("bfloat16", [0x0080 + i for i in range(128)]),
        PAIR,
        [RAW, zstd_runs(), RAW],
    ),
)


def _valid() -> Iterator[Vector]:
    yield from (BRAIN, WHOLE, PLAIN, TAIL, HALF, BYTE, EIGHTH, SINGLE, CODED)
    for count in (1, 64, 127, 200):
        contents = []
        for dtype in (*FLAT, "bfloat16", "float32"):
            image = some(dtype, count)
            forms = [{"form": 1}] if dtype in {"bfloat16", "float32"} else []
            stored = leaf(dtype, image, PAIR, blocks=forms)
            contents.append(tensor_of(dtype, dense(dtype, (count,), image, stored)))
        yield valid(
            f"pair/cells-{count}",
            f"{count} cells of every data type of pair, of which {count % 64} are the tail.",
            ["R-TRF-022", "R-TRF-009", "R-TRF-008"],
            contents,
        )
    signs = some("float8_e4m3fn", 64)
    made = planes(PAIR, "float8_e4m3fn", signs)
    turned = (made[0], bytes(byte ^ 128 for byte in made[1]), bytes(byte ^ 255 for byte in made[2]))
    yield _one(
        "float8-signs",
        "All bits 7 of hot are set and flip the signs that rest gives.",
        "R-TRF-009",
        "float8_e4m3fn",
        signs,
        Leaf(turned, PAIR, codecs=(0, 0, 0), profile="R2"),
        flags=["silent-wrong-value"],
    )
    image = weights("bfloat16", 1024, (5, 1)) + some("bfloat16", 1024) + weights("bfloat16", 70)
    yield _one(
        "forms-of-blocks",
        "Three blocks of forms 0, 1 and 0, each with planes of its own lengths.",
        "R-TRF-007 R-TRF-008",
        "bfloat16",
        image,
        leaf(
            "bfloat16",
            image,
            PAIR,
            log2=10,
            room=1,
            blocks=[{"base": 113}, {"form": 1}, {"base": 113}],
        ),
        slices=[(1020, 1030), (2040, 2050), (2110, 2118)],
    )
    wrapped = dtypes.image("bfloat16", [(250 + i % 16 & 255) << 7 | i for i in range(64)])
    yield _one(
        "base-wraps",
        "Exponents counted from base 250 go on behind 255 with 0.",
        "R-TRF-012",
        "bfloat16",
        wrapped,
        leaf("bfloat16", wrapped, PAIR, blocks=[{"base": 250}]),
        flags=["integer-overflow"],
    )
    same = weights("bfloat16", 64)
    yield _one(
        "exception-of-the-same",
        "Four exceptions state the exponents that stand there already.",
        "R-TRF-016 R-TRF-014",
        "bfloat16",
        same,
        leaf("bfloat16", same, PAIR, room=1, blocks=[{"base": 113, "exact": range(4)}]),
        flags=["over-validation"],
    )
    last = weights("bfloat16", 64, (63, 200))
    yield _one(
        "exception-last",
        "The place of the exception is the last of the block.",
        "R-TRF-016",
        "bfloat16",
        last,
        leaf("bfloat16", last, PAIR, room=1, blocks=[{"base": 113}]),
        flags=["over-validation", "out-of-bounds"],
    )
    most = some("float32", 1024)
    yield _one(
        "room-255",
        "Room for 1020 exceptions, of which about 960 are used.",
        "R-TRF-010 R-TRF-013",
        "float32",
        most,
        leaf("float32", most, PAIR, room=255, blocks=[{"base": 7}]),
        flags=["over-validation"],
    )
    far = bytearray(1 << 18)
    far[80000:80002] = b"\x07\x64"
    yield _one(
        "gap-bridged",
        "The exception has the place 80,000; another at 65,535 states what stands there.",
        "R-TRF-016 R-TRF-014",
        "bfloat16",
        bytes(far),
        leaf(
            "bfloat16",
            bytes(far),
            PAIR,
            [RAW, zstd_runs(), zstd_runs()],
            room=1,
            blocks=[{"exact": (65535,)}],
        ),
        slices=[(39998, 40003), (98300, 98306)],
        flags=["integer-overflow", "over-validation"],
    )
    tail = some("float32", 5)
    yield _one(
        "empty-planes",
        "Hot and rest are empty, and their codecs have shared tables all the same.",
        "R-STR-007 R-STR-018",
        "float32",
        tail,
        leaf("float32", tail, PAIR, [RAW, huffman(0, {0: 0}), rans(3, {0: 4096})]),
        flags=["out-of-bounds"],
    )


def _invalid() -> Iterator[Vector]:
    yield bad(
        "pair/first-plane-coded",
        "The codec of the control plane is zstd, though its blocks are raw.",
        "R-TRF-006",
        "bad-value",
        BRAIN,
        body(BRAIN, CODEC, "01"),
    )
    for base, form, rule in (
        (BRAIN, 2, "R-TRF-007"),
        (WHOLE, 255, "R-TRF-007"),
        (HALF, 1, "R-TRF-011"),
        (BYTE, 1, "R-TRF-011"),
    ):
        name = base.id.rpartition("/")[2]
        yield bad(
            f"pair/{name}-is-form-{form}",
            f"The form is {form}, which {name.partition('-')[0]} does not have.",
            rule,
            "bad-value",
            base,
            part(base, 0, 0, f"{form:02x}"),
            flags=["out-of-bounds"],
        )
    yield bad(
        "pair/form-of-other-lengths",
        "The form is 1, and hot is stored in the bytes of form 0.",
        ["R-STR-013", "R-TRF-008"],
        "mismatch",
        PLAIN,
        part(PLAIN, 0, 0, "01"),
        flags=["out-of-bounds"],
    )
    yield bad(
        "pair/coded-form-of-other-lengths",
        "The form is 1, and the frame of hot states the length of form 0.",
        ["R-COD-006", "R-STR-014"],
        "bad-stream",
        CODED,
        part(CODED, 0, 0, "01"),
        flags=["out-of-bounds"],
    )
    runs = some("bfloat16", 32) + near("bfloat16", 32, spread=1)
    coded = leaf("bfloat16", runs, PAIR, [RAW, zstd_runs(), RAW], blocks=[{"form": 1}])
    base = _one("bfloat16-coded-form-1", "Hot of form 1 is coded in more bytes than form 0 has.",
                "R-TRF-008", "bfloat16", runs, coded)  # fmt: skip
    yield base
    yield bad(
        "pair/form-of-shorter-planes",
        "The form is 0, and hot is coded in more bytes than its plane has.",
        ["R-STR-011", "R-TRF-008"],
        "mismatch",
        base,
        part(base, 0, 0, "00"),
        flags=["out-of-bounds"],
    )
    for slug, base, entry, size in (
        ("hot-between", PLAIN, 1, 33),
        ("hot-above", PLAIN, 1, 65),
        ("rest-less", PLAIN, 2, 63),
        ("control-less", PLAIN, 0, 3),
        ("coded-hot-above", CODED, 1, 129),
        ("tail-hot", TAIL, 1, 1),
    ):
        yield bad(
            f"pair/{slug}",
            f"A plane is stored in {size} bytes, which fit no form.",
            "R-TRF-008",
            "mismatch",
            base,
            store(base, entry, bytes(size)),
            flags=["out-of-bounds"],
        )
    for base, dtype in ((BRAIN, "int16"), (HALF, "uint16"), (SINGLE, "int32")):
        yield bad(f"pair/{dtype}", f"The transform pair does not take {dtype}.", "R-TRF-009",
                  "bad-dtype", base, body(base, DTYPE, f"{dtypes.IDS[dtype]:02x}"))  # fmt: skip
    yield bad("pair/float8-e8m0fnu", "The transform pair does not take the float8 without a sign.",
              "R-TRF-009", "bad-dtype", EIGHTH, body(EIGHTH, DTYPE, "77"))  # fmt: skip
    for base in (HALF, BYTE):
        name = base.id.rpartition("/")[2]
        yield bad(f"pair/{name}-parameter", f"{name} has no exceptions, and the parameter is 1.",
                  "R-TRF-010", "bad-value", base, body(base, PARAMETER, "01"))  # fmt: skip
    for base in (HALF, BYTE, EIGHTH, WHOLE):
        name = base.id.rpartition("/")[2]
        yield bad(f"pair/{name}-base", "The base is 1 where exponents are not half bytes.",
                  "R-TRF-012", "bad-value", base, part(base, 0, 1, "01"))  # fmt: skip
    yield from _exceptions()


EXCEPTIONS = (
    (
        "exceptions-above-room",
        "Five exceptions where there is room for four.",
        BRAIN,
        2,
        "0500",
        13,
    ),
    ("exceptions-most", "65,535 exceptions, room for four.", BRAIN, 2, "ffff", 13),
    ("exceptions-no-room", "An exception where there is no room.", PLAIN, 2, "0100", 13),
    ("exceptions-of-form-1", "An exception in form 1.", WHOLE, 2, "0100", 13),
    ("exceptions-float16", "An exception in float16.", HALF, 2, "0100", 13),
    ("gap-unused", "A gap behind those of the exceptions is not zero.", BRAIN, 10, "0100", 14),
    ("gap-of-form-1", "A gap is not zero in form 1.", WHOLE, 4, "0100", 14),
    ("exponent-unused", "An exponent behind the exceptions' is not zero.", BRAIN, 15, "80", 15),
    ("exponent-of-form-1", "An exponent is not zero in form 1.", WHOLE, 15, "01", 15),
    ("place", "The third exception is one place behind the last.", BRAIN, 8, "7e00", 16),
    ("place-far", "The gap before the first exception is 65,535.", BRAIN, 4, "ffff", 16),
    ("place-of-tail", "An exception where all cells are tail.", TAIL, 2, "0100", 16),
)
"""Changes of control planes: slug, why, base, where, to what, and the number of R-TRF."""


def _exceptions() -> Iterator[Vector]:
    for slug, why, base, at, new, rule in EXCEPTIONS:
        yield bad(
            f"pair/{slug}",
            why,
            f"R-TRF-{rule:03}",
            "bad-index" if rule == 16 else "bad-value",
            base,
            part(base, 0, at, new),
            flags=["out-of-bounds"] if rule in {13, 16} else ["hidden-bytes"],
        )
    yield bad(
        "pair/checksum-of-nothing",
        "The checksum of an empty plane-block is not 0.",
        "R-STR-010",
        "bad-checksum",
        TAIL,
        wrong(TAIL, 1),
        repair=(),
        flags=["hidden-bytes"],
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
