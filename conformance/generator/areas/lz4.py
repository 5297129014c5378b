"""The codec lz4 (SPEC 11.3)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator.coded import bad, noise, one, plane, store
from conformance.generator.encoders.leaf import leaf, of
from conformance.generator.encoders.lz4 import sequence
from conformance.generator.vector import Vector


def _block(slug: str, why: str, data: bytes, *sequences: bytes, flag: str = "basic") -> Vector:
    return plane(f"lz4/{slug}", why, ["R-COD-053"], data, of(2, b"".join(sequences)), flags=[flag])


BASE = _block(
    "overlap",
    "A match of 27 bytes at offset 2 repeats itself; five literals end the block.",
    b"ab" + (b"ab" * 14)[:27] + b"c" * 5,
    sequence(b"ab", 2, 27),
    sequence(b"c" * 5),
)
TWO = one(
    "lz4/blocks",
    "Each of two blocks begins with literals: it does not see the other's bytes.",
    ["R-COD-003"],
    "uint8",
    b"x" * 1024 + b"x" * 100,
    leaf(
        "uint8",
        b"x" * 1124,
        coders=[
            of(
                2,
                sequence(b"x", 1, 1018) + sequence(b"x" * 5),
                sequence(b"x", 1, 94) + sequence(b"x" * 5),
            )
        ],
        log2=10,
    ),
    slices=[(1020, 1030)],
)


def _valid() -> Iterator[Vector]:
    yield from (BASE, TWO)
    yield _block(
        "last-match",
        "The last match starts twelve bytes before the end and is seven long, the most there is.",
        b"a" * 20 + b"bcdef",
        sequence(b"a", 1, 12),
        sequence(b"", 13, 7),
        sequence(b"bcdef"),
        flag="over-validation",
    )
    fifteen, more = noise("lz4", 15), noise("more", 270)
    yield _block(
        "lengths",
        "Lengths of 15 and of 270 literals, and of matches that are 19 and 274 long: the last of "
        "the bytes behind a token is 0.",
        fifteen + fifteen + fifteen[:4] + more + (more + more[:4]) + fifteen[:5],
        sequence(fifteen, 15, 19),
        sequence(more, 270, 274),
        sequence(fifteen[:5]),
    )
    yield _block(
        "no-literals",
        "Three matches follow each other without literals between.",
        b"abcd" * 10 + b"dcba!",
        sequence(b"abcd", 4, 4),
        sequence(b"", 8, 8),
        sequence(b"", 12, 24),
        sequence(b"dcba!"),
    )
    head = b"head"
    far = head + b"-" * 65531
    yield _block(
        "farthest-offset",
        "A match at offset 65,535, the farthest.",
        far + far[:7] + b"-----",
        sequence(head + b"-", 1, 65530),
        sequence(b"", 65535, 7),
        sequence(b"-----"),
    )


BLOCKS = (
    ("offset-before-start", "A match begins a byte before the plane.", 12, BASE,
     sequence(b"ab", 3, 27) + sequence(b"c" * 5), "out-of-bounds"),
    ("offset-most", "A match begins 65,535 bytes back, behind two.", 12, BASE,
     sequence(b"ab", 65535, 27) + sequence(b"c" * 5), "out-of-bounds"),
    ("offset-of-nothing", "A match before any literal.", 12, BASE,
     sequence(b"", 1, 29) + sequence(b"c" * 5), "out-of-bounds"),
    ("output-less", "The block holds 33 of 34 bytes.", 0, BASE,
     sequence(b"ab", 2, 26) + sequence(b"c" * 5), "silent-wrong-value"),
    ("output-more", "The block's last literals go a byte beyond the plane.", 0, BASE,
     sequence(b"ab", 2, 27) + sequence(b"c" * 6), "out-of-bounds"),
    ("match-beyond", "A match goes beyond the plane.", 1, BASE,
     sequence(b"ab", 2, 40) + sequence(b"c" * 5), "out-of-bounds"),
    ("match-far-beyond", "A match is 5,000 bytes long in a plane of 34.", 1, BASE,
     sequence(b"ab", 2, 5000) + sequence(b"c" * 5), "cpu-bomb"),
    ("ends-with-match", "The block ends behind a match.", 15, BASE,
     sequence(b"ab", 2, 32), "ambiguity"),
    ("four-literals", "The block ends with four literals.", 16, BASE,
     sequence(b"ab", 2, 28) + sequence(b"c" * 4), "ambiguity"),
    ("no-last-literals", "The last sequence has no literals.", 16, BASE,
     sequence(b"ab", 2, 32) + sequence(b""), "ambiguity"),
    ("late-match", "The last match starts eleven bytes before the end.", 17, BASE,
     sequence(b"ab", 2, 21) + sequence(b"", 2, 6) + sequence(b"c" * 5), "ambiguity"),
    ("behind-the-end", "Behind the last literals stands a token of none.", 2, BASE,
     sequence(b"ab", 2, 27) + sequence(b"c" * 5) + b"\0", "hidden-bytes"),
    ("empty-match-behind", "A match and no literals stand behind the plane's last byte.", 2, BASE,
     sequence(b"ab", 2, 27) + sequence(b"c" * 5, 1, 4) + b"\0", "hidden-bytes"),
    ("offset-cut", "The block ends inside an offset.", 2, BASE,
     sequence(b"ab", 2, 27)[:4], "out-of-bounds"),
    ("literals-cut", "The last sequence says five literals and has four.", 2, BASE,
     (sequence(b"ab", 2, 27) + sequence(b"c" * 5))[:-1], "out-of-bounds"),
    ("length-cut", "The block ends inside the length of a match.", 2, BASE,
     b"\x2fab\2\0\xff\xff", "out-of-bounds"),
    ("literal-length-cut", "The block ends inside the length of literals.", 2, BASE,
     b"\xf0" + b"\xff" * 20, "integer-overflow"),
)  # fmt: skip
"""Slug, why, number of R-COD (0: R-STR-014), base, the stored bytes, and the flag."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    for slug, why, rule, base, stored, flag in BLOCKS:
        named = f"R-COD-{rule:03}" if rule else "R-STR-014"
        yield bad(f"lz4/{slug}", why, named, "bad-stream", base, store(base, 0, stored),
                  flags=[flag])  # fmt: skip
    yield bad(
        "lz4/offset-of-block-before",
        "The second block's first match begins in the first block.",
        ["R-COD-003", "R-COD-012"],
        "bad-stream",
        TWO,
        store(TWO, 1, sequence(b"", 1, 95) + sequence(b"x" * 5)),
        flags=["out-of-bounds"],
    )
