"""The codec deflate (SPEC 11.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from conformance.generator.coded import bad, plane, skewed, store, words
from conformance.generator.encoders import assets
from conformance.generator.encoders.bits import Bits
from conformance.generator.encoders.deflate import END, PLAIN, dynamic, fixed, stored
from conformance.generator.encoders.leaf import of
from conformance.generator.vector import Vector


def stream(*blocks: Callable[[Bits], None]) -> bytes:
    """Return a stream of blocks."""
    bits = Bits()
    for block in blocks:
        block(bits)
    return bits.bytes()


def _valid_one(slug: str, why: str, data: bytes, coded: bytes, flag: str = "basic") -> Vector:
    return plane(f"deflate/{slug}", why, ["R-COD-053"], data, of(3, coded), flags=[flag])


DATA = b"abc" * 101
FOUR = [(60, 3)] * 4
FIXED = [*b"abc", *FOUR, (60, 3), END]
BASE = _valid_one(
    "fixed",
    "A block of the fixed code: three literals and five matches of 60 bytes at distance 3.",
    DATA,
    stream(lambda bits: fixed(bits, FIXED, final=True)),
)
_LETTERS = {97: 2, 98: 2, 99: 2, 256: 3, 275: 3}
"""Code lengths of letters, of the end and of lengths 51 to 58."""
_TREE = [*b"abc", *[(58, 3)] * 5, *b"cabca", END]
TREE = _valid_one(
    "one-distance",
    "A block of its own codes, whose only distance code has one bit and is incomplete.",
    (b"abc" * 100)[:298],
    stream(lambda bits: dynamic(bits, _TREE, _LETTERS, {2: 1}, final=True)),
    "over-validation",
)
STORED = _valid_one(
    "blocks",
    "Stored blocks, one of them empty, and a last one that copies from them.",
    DATA,
    stream(
        lambda bits: stored(bits, b"abca"),
        lambda bits: stored(bits, b""),
        lambda bits: fixed(bits, [98, END]),
        lambda bits: fixed(bits, [*FOUR, (58, 3), END], final=True),
    ),
)


def _valid() -> Iterator[Vector]:
    yield from (BASE, TREE, STORED)
    yield _valid_one(
        "no-distances",
        "A block of its own codes without a distance code.",
        b"aaaabbc" * 40,
        stream(
            lambda bits: dynamic(
                bits, [*b"aaaabbc" * 40, END], {97: 1, 98: 2, 99: 3, 256: 3}, {}, final=True
            )
        ),
        "over-validation",
    )
    yield _valid_one(
        "empty-block",
        "A block whose only code is that of its end, with one bit, before the last block.",
        DATA,
        stream(
            lambda bits: dynamic(bits, [END], {256: 1}, {}),
            lambda bits: fixed(bits, FIXED, final=True),
        ),
        "over-validation",
    )
    many = 254
    far = b"far!" + b"-" * (1 + 258 * many)
    yield _valid_one(
        "farthest",
        "Matches of 258 bytes, the longest, and one at distance 32,768, the farthest.",
        far + far[-32768:][:3] + b"f",
        stream(
            lambda bits: fixed(
                bits, [*b"far!-", *[(258, 1)] * many, (3, 32768), 102, END], final=True
            )
        ),
    )
    yield _valid_one("zlib", "Codes of their own, their lengths coded with repetitions.",
                     words(600, "z"), assets.DEFLATE)  # fmt: skip
    yield _valid_one("zlib-letters", "Literals of codes of many lengths.",
                     skewed(400, "z"), assets.DEFLATE_SKEWED)  # fmt: skip


_CODED = stream(lambda bits: fixed(bits, FIXED, final=True))
_HALF = stream(lambda bits: fixed(bits, FIXED))


def _own(*written: int, base: dict[int, int] = _LETTERS, lengths: dict[int, int] = PLAIN) -> bytes:
    """Return a block whose code lengths are written otherwise."""
    return stream(
        lambda bits: dynamic(bits, [], base, {2: 1}, final=True, lengths=lengths, written=written)
    )


STREAMS = (
    ("trailing-byte", "A zero stands behind the final block.", 18, BASE, _CODED + b"\0",
     "hidden-bytes"),
    ("second-stream", "A whole stream stands behind the final block.", 18, BASE, _CODED * 2,
     "hidden-bytes"),
    ("zlib-wrapper", "The stream stands between zlib's header and checksum.", 18, BASE,
     b"\x78\x9c" + _CODED + bytes.fromhex("5b9a1845"), ""),
    ("cut", "The last byte of the stream is missing.", 2, BASE, _CODED[:-1], "out-of-bounds"),
    ("not-final", "No block is marked final.", 19, BASE, _HALF, ""),
    ("not-final-stored", "A stored block that is not final ends the stream.", 19, STORED,
     stream(lambda bits: fixed(bits, FIXED), lambda bits: stored(bits, b"")), ""),
    ("output-less", "The stream holds 302 of 303 bytes.", 0, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", *FOUR, (59, 3), END], final=True)),
     "silent-wrong-value"),
    ("output-more", "The stream holds 304 bytes for a plane of 303.", 0, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", *FOUR, (61, 3), END], final=True)), "out-of-bounds"),
    ("output-far-more", "The stream holds 25,803 bytes for a plane of 303.", 1, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", *[(258, 3)] * 100, END], final=True)), "cpu-bomb"),
    ("nothing", "The stream has one empty block.", 0, BASE,
     stream(lambda bits: stored(bits, b"", final=True)), "silent-wrong-value"),
    ("block-type", "A block has the reserved type 3.", 0, BASE, b"\7" + _CODED[1:], ""),
    ("stored-lengths", "The two lengths of a stored block do not fit.", 0, BASE,
     stream(lambda bits: stored(bits, DATA[:20], inverse=0xFFFE),
            lambda bits: fixed(bits, [(43, 3), *FOUR, END], final=True)), ""),
    ("stored-beyond", "A stored block says more bytes than there are.", 2, BASE,
     stream(lambda bits: stored(bits, DATA[:200], final=True))[:90], "out-of-bounds"),
    ("distance-before-start", "A match begins a byte before the plane.", 3, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", (60, 4), *FOUR, END], final=True)), "out-of-bounds"),
    ("symbol-286", "The fixed code's symbol 286 stands for nothing.", 0, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", 286, 0, END], final=True)), "out-of-bounds"),
    ("symbol-287", "The fixed code's symbol 287 stands for nothing.", 0, BASE,
     stream(lambda bits: fixed(bits, [*b"abc", 287, 0, END], final=True)), "out-of-bounds"),
    ("codes-too-many", "Four codes of one bit and more: more than there are.", 0, TREE,
     stream(lambda bits: dynamic(bits, [END], {97: 1, 98: 1, 99: 1, 256: 1}, {2: 1}, final=True)),
     "out-of-bounds"),
    ("distances-too-many", "Three distance codes of one bit.", 0, TREE,
     stream(lambda bits: dynamic(bits, [END], _LETTERS, {0: 1, 1: 1, 2: 1}, final=True)),
     "out-of-bounds"),
    ("repeat-of-nothing", "The first code length repeats one before it.", 0, TREE,
     _own(16, lengths={**dict.fromkeys(range(15), 4), 16: 4}), "out-of-bounds"),
    ("repeat-beyond", "Repetitions of zero go beyond the last code length.", 0, TREE,
     stream(lambda bits: dynamic(bits, [], _LETTERS, {2: 1}, final=True,
                                 lengths={18: 1, 0: 1}, written=[18] * 3))
     + b"\xff" * 10, "out-of-bounds"),
    ("no-end", "The code has no symbol for the end of the block.", 0, TREE,
     stream(lambda bits: dynamic(bits, [*b"abc", *[(58, 3)] * 5, *b"cabca"],
                                 {97: 2, 98: 2, 99: 2, 275: 2}, {2: 1}, final=True)), ""),
)  # fmt: skip
"""Slug, why, number of R-COD (0: R-STR-014), base, the stored bytes, and the flag."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    for slug, why, rule, base, coded, flag in STREAMS:
        named = f"R-COD-{rule:03}" if rule else "R-STR-014"
        yield bad(f"deflate/{slug}", why, named, "bad-stream", base, store(base, 0, coded),
                  flags=[flag or "under-validation"])  # fmt: skip
