"""The codec huffman (SPEC 11.5, 11.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from conformance.generator.coded import bad, noise, part, plane, store
from conformance.generator.encoders import lanes
from conformance.generator.encoders.leaf import Coder, huffman, leaf
from conformance.generator.tree import dense
from conformance.generator.vector import Vector, tensor_of, valid

THREE = {97: 1, 98: 2, 99: 2}
DEEP = {symbol: min(symbol + 1, 12) for symbol in range(13)}
"""Lengths 1 to 11, and twice 12."""
WIDE = dict.fromkeys(range(256), 9) | {0: 1, 255: 8}


def letters(count: int, choices: bytes = b"aaaabbcc", seed: str = "") -> bytes:
    """Return symbols in no order."""
    return bytes(choices[byte % len(choices)] for byte in noise("letters" + seed, count))


def many_lanes(name: str, coder: Callable[[int], Coder], each: int) -> Iterator[Vector]:
    """Return planes in 1 to 512 lanes of `each` symbols and some more."""
    for low, high in ((0, 4), (5, 7), (8, 9)):
        contents = []
        for log2 in range(low, high + 1):
            data = letters((each << log2) + 77, seed=str(log2))
            stored = leaf("uint8", data, coders=[coder(log2)])
            if len(stored.planes[0]) >= len(data):
                raise ValueError("not coded")
            contents.append(tensor_of(f"w{log2}", dense("uint8", (len(data),), data, stored)))
        yield valid(
            f"{name}/lanes-{1 << low}-{1 << high}",
            f"From {1 << low} to {1 << high} lanes, the last step taken in part.",
            ["R-COD-023", "R-COD-025", "R-COD-053"],
            contents,
        )


BASE = plane(
    "huffman/three",
    "Codes of 1, 2 and 2 bits in 4 lanes, the last step of 2; the unused half of the lengths is 0.",
    ["R-COD-031", "R-COD-030", "R-COD-032"],
    letters(150),
    huffman(2, THREE),
)
ONE = plane(
    "huffman/one-symbol",
    "The only symbol has a code of no bits; each of 8 lanes takes one word of zeros.",
    ["R-COD-031", "R-COD-024"],
    b"\xff" * 100,
    huffman(3, {255: 0}),
    flags=["integer-overflow"],
)
LONG = plane(
    "huffman/length-12",
    "Codes of 1 to 12 bits; runs of the longest make a lane take a word for each symbol.",
    ["R-COD-029", "R-COD-025"],
    bytes([0] * 90 + [12, 11] * 6 + [0] * 90 + [*range(13)]),
    huffman(1, DEEP),
    flags=["out-of-bounds"],
)


def _valid() -> Iterator[Vector]:
    yield from (BASE, ONE, LONG)
    yield plane(
        "huffman/two-symbols",
        "Codes of one bit in one lane.",
        ["R-COD-031"],
        letters(90, b"ab"),
        huffman(0, {97: 1, 98: 1}),
    )
    yield plane(
        "huffman/all-symbols",
        "All 256 symbols have codes, of 1, 8 and 9 bits.",
        ["R-COD-024", "R-COD-028"],
        bytes(400) + bytes(range(256)) + bytes(40),
        huffman(2, WIDE),
        flags=["out-of-bounds"],
    )
    yield plane(
        "huffman/symbol-that-is-not",
        "The table has codes of symbols that do not occur.",
        ["R-COD-024"],
        bytes([0, 12] * 40),
        huffman(0, DEEP),
        flags=["over-validation"],
    )
    yield from many_lanes("huffman", lambda log2: huffman(log2, THREE), 3)
    yield plane(
        "huffman/lanes-16384",
        "The greatest number of lanes, three of which have a third symbol.",
        ["R-COD-023"],
        letters((2 << 14) + 3, b"ab"),
        huffman(14, {97: 1, 98: 1}),
        flags=["over-validation", "oom"],
    )


def _table(lengths: dict[int, int], log2: int = 2) -> bytes:
    return lanes.huffman_table(log2, lengths)


TABLES = (
    ("lanes-15", "2^15 lanes.", 23, BASE, _table(THREE, 15)),
    ("lanes-255", "2^255 lanes.", 23, BASE, _table(THREE, 255)),
    ("no-symbols", "No symbol may occur.", 24, BASE, _table({})),
    ("table-of-lanes-alone", "The table ends behind the number of lanes.", 28, BASE, b"\2"),
    ("table-in-symbols", "The table ends inside the bits of the symbols.", 28, BASE,
     _table(THREE)[:32]),
    ("table-without-lengths", "The table ends before the lengths.", 28, BASE, _table(THREE)[:33]),
    ("table-less", "The last byte of the lengths is missing.", 28, BASE, _table(THREE)[:-1]),
    ("table-more", "A zero stands behind the last length.", 28, BASE, _table(THREE) + b"\0"),
    ("half-byte", "The unused half of the last byte is 2.", 30, BASE, _table(THREE)[:-1] + b"\x22"),
    ("length-13", "Two codes of 13 bits in the place of one of 12; the sum is right.", 29, LONG,
     _table({**DEEP, 12: 13, 13: 13}, 1)),
    ("length-15", "One more code, of 15 bits, whose part of the sum is an eighth.", 29, LONG,
     _table({**DEEP, 13: 15}, 1)),
    ("sum-below", "The sum is 3072: one of four slots has no symbol.", 31, BASE,
     _table({97: 1, 98: 2})),
    ("sum-above", "The sum is 5120: more slots than there are.", 31, BASE,
     _table({97: 1, 98: 2, 99: 2, 100: 2})),
    ("one-symbol-one-bit", "The only symbol has a code of one bit; the sum is 2048.", 31, ONE,
     _table({255: 1}, 3)),
    ("two-of-no-bits", "Two symbols with codes of no bits; the sum is 8192.", 31, ONE,
     _table({254: 0, 255: 0}, 3)),
    ("sum-most", "256 codes of no bits; the sum is 2^20.", 31, ONE,
     _table(dict.fromkeys(range(256), 0), 3)),
)  # fmt: skip
"""Shared tables: slug, why, the number of R-COD, base, and the table."""


_WORDS = lanes.huffman(letters(150), 2, THREE)
BLOCKS = (
    ("words-less", "The last word is missing.", 25, BASE, _WORDS[:-2], "out-of-bounds"),
    ("words-none", "There are words for three of four lanes.", 25, BASE, _WORDS[:6],
     "out-of-bounds"),
    ("words-more", "A word of zeros stands behind the last.", 25, BASE, _WORDS + bytes(2),
     "hidden-bytes"),
    ("half-word", "A zero stands behind the last word.", 26, BASE, _WORDS + bytes(1),
     "hidden-bytes"),
    ("half-word-less", "The last word has one byte.", 26, BASE, _WORDS[:-1], "out-of-bounds"),
    ("unused-bits", "The bits behind the last code of each lane are ones.", 32, BASE,
     lanes.huffman(letters(150), 2, THREE, "1"), "hidden-bytes"),
    ("unused-bit", "The last bit of the last word is set.", 32, BASE,
     _WORDS[:-2] + bytes([_WORDS[-2] | 1, _WORDS[-1]]), "hidden-bytes"),
    ("one-symbol-bits", "The word of the last lane of a single symbol is 1.", 32, ONE,
     bytes(14) + b"\1\0", "hidden-bytes"),
)  # fmt: skip
"""Blocks: slug, why, the number of R-COD, base, the stored bytes, and the flag."""


def _invalid() -> Iterator[Vector]:
    for slug, why, rule, base, table in TABLES:
        flag = "out-of-bounds" if "table" in slug or "lanes" in slug else "under-validation"
        yield bad(f"huffman/{slug}", why, f"R-COD-{rule:03}", "bad-stream", base,
                  store(base, 0, table), flags=[flag])  # fmt: skip
    for slug, why, rule, base, stored, flag in BLOCKS:
        yield bad(f"huffman/{slug}", why, f"R-COD-{rule:03}", "bad-stream", base,
                  store(base, 1, stored), flags=[flag])  # fmt: skip
    yield bad(
        "huffman/lanes-without-words",
        "The table says 16,384 lanes, and the block has words for 4.",
        "R-COD-025",
        "bad-stream",
        BASE,
        part(BASE, 0, 0, "0e"),
        flags=["oom", "out-of-bounds"],
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
