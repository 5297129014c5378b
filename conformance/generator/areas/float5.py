"""The transform float5 (SPEC 10.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.generator import dtypes
from conformance.generator.areas.pair import weights
from conformance.generator.coded import (
    CODEC,
    DTYPE,
    bad,
    body,
    near,
    one,
    part,
    some,
    store,
)
from conformance.generator.encoders.leaf import RAW, huffman, leaf
from conformance.generator.encoders.transforms import FLOAT5
from conformance.generator.tree import Leaf
from conformance.generator.vector import Vector


def _one(
    slug: str, why: str, named: str, dtype: str, image: bytes, stored: Leaf, **options: Any
) -> Vector:
    return one(f"float5/{slug}", why, named.split(), dtype, image, stored, **options)


_SPARSE = weights("bfloat16", 131, (0, 30), (1, 255), (7, 64), (130, 1))
BRAIN = _one(
    "bfloat16",
    "Form 0 with base 96 and three exceptions of four, and a tail of 3 cells.",
    "R-TRF-019 R-TRF-020",
    "bfloat16",
    _SPARSE,
    leaf("bfloat16", _SPARSE, FLOAT5, room=1, blocks=[{"base": 96}]),
    slices=[(0, 2), (63, 68), (127, 131)],
)
WHOLE = _one(
    "bfloat16-form-1",
    "Form 1: exponents are whole bytes, and room for exceptions stays unused.",
    "R-TRF-021 R-TRF-019",
    "bfloat16",
    some("bfloat16", 64),
    leaf("bfloat16", some("bfloat16", 64), FLOAT5, room=1, blocks=[{"form": 1}]),
)
TAIL = _one(
    "bfloat16-tail",
    "63 cells are all tail: hot and rest are empty.",
    "R-STR-018",
    "bfloat16",
    some("bfloat16", 63),
    leaf("bfloat16", some("bfloat16", 63), FLOAT5, room=1),
)
PLAIN = _one(
    "bfloat16-plain",
    "Form 0 without room for exceptions: all exponents from 66 to 128 are counted from 65.",
    "R-TRF-018",
    "bfloat16",
    near("bfloat16", 64, spread=63),
    leaf("bfloat16", near("bfloat16", 64, spread=63), FLOAT5, blocks=[{"base": 65}]),
)
SINGLE = _one(
    "float32",
    "The high halves of float32 as bfloat16, the low halves two in a word of rest.",
    "R-TRF-020 R-TRF-019",
    "float32",
    weights("float32", 194, (0, 255), (95, 0), (96, 8), (191, 254)),
    leaf(
        "float32",
        weights("float32", 194, (0, 255), (95, 0), (96, 8), (191, 254)),
        FLOAT5,
        room=2,
        blocks=[{"base": 96}],
    ),
    slices=[(95, 97), (190, 194)],
)


def _valid() -> Iterator[Vector]:
    yield from (BRAIN, WHOLE, TAIL, PLAIN, SINGLE)
    for dtype in ("bfloat16", "float32"):
        image = near(dtype, 1024) + some(dtype, 1024) + near(dtype, 127, 16)
        forms = [{"base": 90}, {"form": 1}, {"base": 224}]
        yield _one(
            f"{dtype}-blocks",
            "Three blocks of forms 0, 1 and 0, with bases of their own, the last of which wraps.",
            "R-TRF-019 R-TRF-008",
            dtype,
            image,
            leaf(dtype, image, FLOAT5, log2=10, blocks=forms),
            slices=[(1020, 1030), (2046, 2050), (2170, 2175)],
        )
    alike = dtypes.image("bfloat16", [(i & 1) << 15 | 120 << 7 | i & 31 for i in range(256)])
    yield _one(
        "coded",
        "Hot is coded with huffman: the exponents and two highest mantissa bits are one symbol.",
        "R-TRF-018",
        "bfloat16",
        alike,
        leaf(
            "bfloat16", alike, FLOAT5, [RAW, huffman(3, {0: 1, 3: 1}), RAW], blocks=[{"base": 120}]
        ),
    )
    carry = dtypes.image("bfloat16", [0xFFFF, 0, 0x8000, 0x7F80] * 16)
    yield _one(
        "carry",
        "NaN, infinity and zeros: the base is added with what is carried beyond the word lost.",
        "R-TRF-020",
        "bfloat16",
        carry,
        leaf("bfloat16", carry, FLOAT5, room=16, blocks=[{"base": 200}]),
        flags=["integer-overflow"],
    )


RULES = (
    ("form-2", "The form is 2.", BRAIN, 0, "02", 19),
    ("base-of-form-1", "The base is 1 in form 1.", WHOLE, 1, "01", 21),
    ("exceptions-above-room", "Five exceptions, room for four.", BRAIN, 2, "0500", 19),
    ("exceptions-of-form-1", "An exception in form 1.", WHOLE, 2, "0100", 19),
    ("exceptions-no-room", "An exception where there is no room.", PLAIN, 2, "0100", 19),
    ("gap-unused", "A gap behind those of the exceptions is not zero.", BRAIN, 10, "0100", 19),
    ("gap-of-form-1", "A gap is not zero in form 1.", WHOLE, 10, "0001", 19),
    ("exponent-unused", "An exponent behind the exceptions' is not zero.", BRAIN, 15, "01", 19),
    ("exponent-of-form-1", "An exponent is not zero in form 1.", WHOLE, 12, "01", 19),
    ("place", "The third exception is one place behind the last.", BRAIN, 8, "7e00", 20),
    ("place-of-tail", "An exception where all cells are tail.", TAIL, 2, "0100", 20),
)
"""Changes of control planes: slug, why, base, where, to what, and the number of R-TRF."""


def _invalid() -> Iterator[Vector]:
    for slug, why, base, at, new, rule in RULES:
        yield bad(
            f"float5/{slug}",
            why,
            f"R-TRF-{rule:03}",
            "bad-index" if rule == 20 else "bad-value",
            base,
            part(base, 0, at, new),
            flags=["hidden-bytes"] if "unused" in slug else ["out-of-bounds"],
        )
    for dtype, base in (("float16", BRAIN), ("int32", SINGLE), ("uint16", WHOLE)):
        yield bad(
            f"float5/{dtype}",
            f"The transform float5 does not take {dtype}.",
            "R-TRF-018",
            "bad-dtype",
            base,
            body(base, DTYPE, f"{dtypes.IDS[dtype]:02x}"),
        )
    yield bad(
        "float5/first-plane-coded",
        "The codec of the control plane is lz4, though its blocks are raw.",
        "R-TRF-006",
        "bad-value",
        BRAIN,
        body(BRAIN, CODEC, "02"),
    )
    yield bad(
        "float5/form-of-other-lengths",
        "The form is 1, and rest is stored in the bytes of form 0.",
        ["R-STR-013", "R-TRF-008"],
        "mismatch",
        PLAIN,
        part(PLAIN, 0, 0, "0100"),
    )
    for slug, entry, size in (("hot", 1, 65), ("rest", 2, 49), ("control", 0, 5)):
        yield bad(
            f"float5/{slug}-length",
            f"The plane {slug} is stored in {size} bytes, which fit no form.",
            "R-TRF-008",
            "mismatch",
            PLAIN,
            store(PLAIN, entry, bytes(size)),
            flags=["out-of-bounds"],
        )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
