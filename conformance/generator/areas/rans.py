"""The codec rans (SPEC 11.5, 11.7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.areas.huffman import letters, many_lanes
from conformance.generator.coded import bad, part, plane, store
from conformance.generator.encoders import lanes
from conformance.generator.encoders.leaf import rans
from conformance.generator.vector import Vector

THREE = {97: 2048, 98: 1500, 99: 548}
DATA = letters(150)
BASE = plane(
    "rans/three",
    "Three symbols in 4 lanes, the last step of 2.",
    ["R-COD-035", "R-COD-038"],
    DATA,
    rans(2, THREE),
)
ONE = plane(
    "rans/one-symbol",
    "The only symbol has frequency 4096: states stay 2^16, and there are no words.",
    ["R-COD-035", "R-COD-024"],
    b"\0" * 100,
    rans(3, {0: 4096}),
    flags=["integer-overflow"],
)
SINGLE = plane(
    "rans/one-lane",
    "One lane with frequencies 4000, 95 and 1.",
    ["R-COD-038", "R-COD-037"],
    b"a" * 60 + b"b" + b"a" * 60 + b"c" + b"ab",
    rans(0, {97: 4000, 98: 95, 99: 1}),
)


def _valid() -> Iterator[Vector]:
    yield from (BASE, ONE, SINGLE)
    yield plane(
        "rans/frequency-4095",
        "Frequencies 1 and 4095: a state of the rare symbol comes near 2^32.",
        ["R-COD-035"],
        b"\xff" * 300 + b"\0" + b"\xff" * 300 + b"\0\0" + b"\xff",
        rans(1, {0: 1, 255: 4095}),
        flags=["integer-overflow"],
    )
    sides = {1: 127, 2: 128, 3: 129, 4: 130, 5: 256, 6: 257, 7: 3069}
    yield plane(
        "rans/frequencies-in-bytes",
        "Frequencies on both sides of 128 and 256: up to 128 in one byte, from 129 in two.",
        ["R-COD-033"],
        bytes([7] * 200 + [1, 2, 3, 4, 5, 6, 7] * 4),
        rans(2, sides),
        flags=["basic", "silent-wrong-value"],
    )
    yield plane(
        "rans/all-symbols",
        "All 256 symbols may occur, 255 of them with frequency 1.",
        ["R-COD-024", "R-COD-034"],
        b"\x80" * 500 + bytes(range(256)) + b"\x80" * 500,
        rans(2, dict.fromkeys(range(256), 1) | {0x80: 4096 - 255}),
        flags=["out-of-bounds"],
    )
    yield from many_lanes("rans", lambda log2: rans(log2, THREE), 6)
    yield plane(
        "rans/lanes-16384",
        "The greatest number of lanes.",
        ["R-COD-023", "R-COD-036"],
        b"\7" * ((4 << 14) + 5),
        rans(14, {7: 4096}),
        flags=["over-validation", "oom"],
    )


def _table(frequencies: lanes.Table, log2: int = 2) -> bytes:
    return lanes.rans_table(log2, frequencies)


def _said(symbols: bytes, frequencies: str, log2: int = 2) -> bytes:
    """Return a table whose frequencies are given as bytes."""
    return lanes.head(log2, dict.fromkeys(symbols, 0)) + bytes.fromhex(frequencies)


TABLES = (
    ("lanes-15", "2^15 lanes.", 23, BASE, _table(THREE, 15)),
    ("lanes-32", "2^32 lanes.", 23, BASE, _table(THREE, 32)),
    ("no-symbols", "No symbol may occur.", 24, BASE, _table({})),
    ("table-in-symbols", "The table ends inside the bits of the symbols.", 34, BASE, b"\2" * 20),
    ("table-without-frequencies", "The table ends before the frequencies.", 34, BASE,
     _table(THREE)[:33]),
    ("table-less", "The frequency of the last symbol is missing.", 34, BASE, _table(THREE)[:-2]),
    ("table-half", "The last frequency has one of its two bytes.", 34, BASE, _table(THREE)[:-1]),
    ("table-more", "A zero stands behind the last frequency.", 34, BASE, _table(THREE) + b"\0"),
    ("long-form", "The frequency 128 stands in two bytes.", 33, SINGLE,
     _said(b"abc", "8f4a807f34", 0)),
    ("long-form-1", "The frequency 1 stands in two bytes.", 33, SINGLE,
     _said(b"abc", "8f9f5e8000", 0)),
    ("sum-below", "The sum of the frequencies is 4095.", 35, BASE, _table({**THREE, 99: 547})),
    ("sum-above", "The sum of the frequencies is 4097.", 35, BASE, _table({**THREE, 99: 549})),
    ("one-symbol-4095", "The only symbol has frequency 4095.", 35, ONE, _table({0: 4095}, 3)),
    ("frequency-32768", "The only symbol has frequency 32,768, the greatest there is.", 35, ONE,
     _said(b"\0", "ffff", 3)),
    ("sum-wraps", "The sum is 69,632, which is 4096 in 16 bits.", 35, BASE,
     _said(b"abc", "ffffffff8fff")),
)  # fmt: skip
"""Shared tables: slug, why, the number of R-COD, base, and the table."""


def _early() -> bytes:
    """Return a block of `SINGLE` whose first state is below 2^16 and decodes all the same."""
    data = b"a" * 60 + b"b" + b"a" * 60 + b"c" + b"ab"
    frequencies = {97: 4000, 98: 95, 99: 1}
    block = lanes.rans(data[1:], 0, frequencies)
    x, word = divmod(struct.unpack_from("<I", block)[0], 1 << 16)
    state = 4096 * (x // 4000) + lanes.firsts(frequencies)[97] + x % 4000
    if not 0 < state < 1 << 16:
        raise ValueError(f"{state} is a state")
    return struct.pack("<IH", state, word) + block[4:]


def _invalid() -> Iterator[Vector]:
    for slug, why, rule, base, table in TABLES:
        flag = "out-of-bounds" if "table" in slug or "lanes" in slug else "under-validation"
        flag = "integer-overflow" if "wraps" in slug or "32" in slug else flag
        yield bad(f"rans/{slug}", why, f"R-COD-{rule:03}", "bad-stream", base,
                  store(base, 0, table), flags=[flag])  # fmt: skip
    block = lanes.rans(DATA, 2, THREE)
    for slug, why, rule, stored, flag in (
        ("words-less", "The last word is missing.", 25, block[:-2], "out-of-bounds"),
        ("words-none", "There are states and no words.", 25, block[:16], "out-of-bounds"),
        ("words-more", "A word of zeros stands behind the last.", 25, block + bytes(2),
         "hidden-bytes"),
        ("half-word", "A zero stands behind the last word.", 26, block + bytes(1), "hidden-bytes"),
        ("half-word-less", "The last word has one byte.", 26, block[:-1], "out-of-bounds"),
        ("states-less", "The block ends inside the state of the last lane.", 36, block[:14],
         "out-of-bounds"),
        ("states-none", "The block has two bytes.", 36, block[:2], "out-of-bounds"),
    ):  # fmt: skip
        yield bad(f"rans/{slug}", why, f"R-COD-{rule:03}", "bad-stream", BASE,
                  store(BASE, 1, stored), flags=[flag])  # fmt: skip
    yield bad(
        "rans/state-small",
        "The state is below 2^16 at the beginning; with a word in the right place, it decodes.",
        "R-COD-037",
        "bad-stream",
        SINGLE,
        store(SINGLE, 1, _early()),
    )
    yield bad("rans/state-0", "The state of the last lane is 0.", "R-COD-037", "bad-stream", ONE,
              part(ONE, 1, 28, "00000000"), flags=["out-of-bounds"])  # fmt: skip
    for slug, last in (("more", (1 << 16) + 1), ("most", (1 << 32) - 1)):
        yield bad(
            f"rans/final-state-{slug}",
            "The last lane's state is not 2^16 at the end.",
            "R-COD-038",
            "bad-stream",
            ONE,
            part(ONE, 1, 28, struct.pack("<I", last).hex()),
            flags=["hidden-bytes"],
        )
    yield bad(
        "rans/final-state",
        "All symbols decode, and the last lane's state is 2^16 + 4095 at the end.",
        "R-COD-038",
        "bad-stream",
        BASE,
        store(BASE, 1, lanes.rans(DATA, 2, THREE, (1 << 16) + 4095)),
        flags=["hidden-bytes"],
    )
    yield bad(
        "rans/lanes-without-states",
        "The table says 16,384 lanes, and the block has states for 4.",
        "R-COD-036",
        "bad-stream",
        BASE,
        part(BASE, 0, 0, "0e"),
        flags=["oom", "out-of-bounds"],
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
