"""The codec zstd (SPEC 11.2)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator.coded import bad, plane, skewed, store, words
from conformance.generator.encoders import assets
from conformance.generator.encoders.leaf import leaf, of
from conformance.generator.encoders.zstd import (
    COMPRESSED,
    MAGIC,
    RAW,
    RESERVED,
    RLE,
    block,
    header,
    sequences,
)
from conformance.generator.tree import dense
from conformance.generator.vector import Vector, tensor_of, valid


def _frame(
    slug: str, why: str, named: str, data: bytes, frame: bytes, flag: str = "basic"
) -> Vector:
    return plane(f"zstd/{slug}", why, named.split(), data, of(1, frame, profile="R2"), flags=[flag])


_ZEROS = block(RLE, b"\0", 64, last=True)
ZEROS = _frame(
    "rle-block",
    "A single segment of one RLE block.",
    "R-COD-004 R-COD-005 R-COD-006",
    bytes(64),
    header(64) + _ZEROS,
)
SIZED = _frame(
    "window",
    "A window of 8 MiB, the largest, and a content size in two bytes.",
    "R-COD-010",
    bytes(300),
    header(300, width=2, window=0x68) + block(RLE, b"\0", 300, last=True),
    "over-validation",
)
_MATCH = sequences(b"ab", 1, (2, 0, 31), ())
MATCH = _frame(
    "repeated-offset",
    "A compressed block of two literals and a match at the first repeated offset, which is 1.",
    "R-COD-001",
    b"ab" + b"b" * 34,
    header(36) + block(COMPRESSED, _MATCH, last=True),
)
_LETTERS = bytes(range(65, 73))
_OFFSETS = sequences(b"", 1, (0, 1, 31), [(0, 1)])
EIGHT = _frame(
    "offset-of-block-before",
    "Without literals, the third repeated offset, 8, leads into the block before.",
    "R-COD-003",
    (_LETTERS * 6)[:42],
    header(42) + block(RAW, _LETTERS) + block(COMPRESSED, _OFFSETS, last=True),
)
PAIRS = _frame(
    "without-checksum",
    "A frame that libzstd made.",
    "R-COD-009",
    b"ab" * 32,
    header(64) + assets.ZSTD_CHECKSUM[6:-4],
)
DIRECT = _frame(
    "direct-weights",
    "Literals in one Huffman stream; the weights of the code stand as they are.",
    "R-COD-053",
    bytes(min(byte - 65, 3) for byte in skewed(150, "w")),
    assets.ZSTD_DIRECT,
)


def _headers() -> Vector:
    """Return a file of all sizes of a header."""
    contents = []
    for width, window, size in (
        (1, None, 255),
        (2, None, 256),
        (4, None, 256),
        (8, None, 64),
        (2, 0x00, 1000),
        (4, 0x07, 1500),
        (8, 0x68, 300),
    ):
        frame = header(size, width=width, window=window) + block(RLE, b"\1", size, last=True)
        stored = leaf("uint8", b"\1" * size, coders=[of(1, frame, profile="R2")])
        name = f"{width} bytes, {'no window' if window is None else f'window {window}'}"
        contents.append(tensor_of(name, dense("uint8", (size,), b"\1" * size, stored)))
    return valid(
        "zstd/headers",
        "The content size in 1, 2, 4 and 8 bytes, with and without a window descriptor.",
        ["R-COD-005", "R-COD-010"],
        contents,
        flags=["over-validation"],
    )


def _valid() -> Iterator[Vector]:
    yield from (ZEROS, SIZED, MATCH, EIGHT, PAIRS, DIRECT, _headers())
    yield _frame("unused-bit", "Bit 4 of the header descriptor is unused, and set.", "R-COD-004",
                 bytes(64), header(64, also=0x10) + _ZEROS, "over-validation")  # fmt: skip
    yield _frame(
        "blocks",
        "Raw, RLE and empty blocks; the last block is empty.",
        "R-COD-053",
        b"abc" + b"x" * 60 + b"d",
        header(64) + block(RAW, b"abc") + block(RAW, b"") + block(RLE, b"x", 60)
        + block(RAW, b"d") + block(RAW, b"", last=True),
    )  # fmt: skip
    yield _frame(
        "rle-literals",
        "A compressed block of 31 times one literal, and no sequences.",
        "R-COD-053",
        b"z" * 31,
        header(31) + block(COMPRESSED, bytes([31 << 3 | 1]) + b"z\0", last=True),
    )
    for slug, why, data, frame in (
        ("one-stream", "Literals in one Huffman stream, the weights of its code coded.",
         skewed(200, "z"), assets.ZSTD_ONE_STREAM),
        ("treeless", "Three blocks of literals in four streams, two with the first's code.",
         b"".join(skewed(400, seed) for seed in "abc"), assets.ZSTD_TREELESS),
        ("sequences", "Sequences with tables of their own for lengths of literals and offsets.",
         words(300, "z"), assets.ZSTD_SEQUENCES),
        ("repeat-modes", "Three blocks; the third has the second's tables of literals and offsets.",
         b"".join(words(700, seed) for seed in "abc"), assets.ZSTD_REPEAT),
        ("repeat-lengths", "Three blocks; the third uses the second's table of match lengths.",
         b"".join(skewed(400, seed) for seed in "abc"), assets.ZSTD_REPEAT_LENGTHS),
    ):  # fmt: skip
        yield _frame(slug, why, "R-COD-053", data, frame)


def _one(content: bytes) -> bytes:
    """Return a frame of 36 bytes and one compressed block."""
    return header(36) + block(COMPRESSED, content, last=True)


FRAMES = (
    ("magic", "The frame's magic has another first byte.", 4, ZEROS,
     b"\x29" + MAGIC[1:] + header(64)[4:] + _ZEROS, ""),
    ("legacy", "The magic is that of the format before.", 4, ZEROS,
     b"\x27" + MAGIC[1:] + header(64)[4:] + _ZEROS, ""),
    ("skippable", "A skippable frame of 64 bytes, of which three are there.", 4, ZEROS,
     bytes.fromhex("502a4d18 40000000 010000"), "silent-wrong-value"),
    ("skippable-before", "A skippable frame of nothing stands before the frame.", 4, ZEROS,
     bytes.fromhex("502a4d1800000000") + header(64) + _ZEROS, "hidden-bytes"),
    ("skippable-behind", "A skippable frame of nothing stands behind the frame.", 11, ZEROS,
     header(64) + _ZEROS + bytes.fromhex("5f2a4d1800000000"), "hidden-bytes"),
    ("two-frames", "A frame of no content stands behind the frame.", 11, ZEROS,
     header(64) + _ZEROS + header(0) + block(RAW, b"", last=True), "hidden-bytes"),
    ("two-halves", "Two frames of 32 bytes each.", 6, ZEROS,
     2 * (header(32) + block(RLE, b"\0", 32, last=True)), "silent-wrong-value"),
    ("trailing-byte", "A zero stands behind the frame.", 11, ZEROS,
     header(64) + _ZEROS + b"\0", "hidden-bytes"),
    ("block-behind-last", "A block stands behind that marked as the last.", 11, ZEROS,
     header(64) + _ZEROS + block(RAW, b"", last=True), "hidden-bytes"),
    ("no-size", "The frame does not state its content size.", 5, SIZED,
     header(300, width=0, window=0x68) + block(RLE, b"\0", 300, last=True), ""),
    ("size-below", "The frame states and holds 63 of 64 bytes.", 6, ZEROS,
     header(63) + block(RLE, b"\0", 63, last=True), "silent-wrong-value"),
    ("size-above", "The frame states and holds 65 bytes for a plane of 64.", 6, ZEROS,
     header(65) + block(RLE, b"\0", 65, last=True), "out-of-bounds"),
    ("size-most", "The frame states 2^64 - 1 bytes and holds 64.", 6, ZEROS,
     header((1 << 64) - 1, width=8) + _ZEROS, "oom"),
    ("size-64-and-2-32", "The frame states 2^32 + 64 bytes and holds 64.", 6, ZEROS,
     header((1 << 32) + 64, width=8) + _ZEROS, "integer-overflow"),
    ("holds-less", "The frame states 64 bytes and holds 63.", 0, ZEROS,
     header(64) + block(RLE, b"\0", 63, last=True), "silent-wrong-value"),
    ("holds-more", "The frame states 64 bytes and holds 65.", 0, ZEROS,
     header(64) + block(RLE, b"\0", 65, last=True), "out-of-bounds"),
    ("holds-most", "The frame states 64 bytes, and its block 131,072.", 1, ZEROS,
     header(64) + block(RLE, b"\0", 1 << 17, last=True), "out-of-bounds"),
    ("holds-nothing", "The frame states 64 bytes and has one empty block.", 0, ZEROS,
     header(64) + block(RAW, b"", last=True), "silent-wrong-value"),
    ("dictionary", "The frame names dictionary 1.", 8, ZEROS,
     header(64, also=1)[:5] + b"\1" + header(64)[5:] + _ZEROS, ""),
    ("dictionary-0", "The frame has a dictionary id of two bytes, which is 0.", 8, ZEROS,
     header(64, also=2)[:5] + bytes(2) + header(64)[5:] + _ZEROS, ""),
    ("checksum", "The frame has a content checksum, which is right.", 9, PAIRS,
     assets.ZSTD_CHECKSUM, ""),
    ("checksum-wrong", "The frame has a content checksum, which is wrong.", 9, PAIRS,
     assets.ZSTD_CHECKSUM[:-1] + b"\0", ""),
    ("window-16-mebibytes", "The window is 16 MiB.", 10, SIZED,
     header(300, width=2, window=0x70) + block(RLE, b"\0", 300, last=True), "oom"),
    ("window-9-mebibytes", "The window is an eighth above 8 MiB.", 10, SIZED,
     header(300, width=2, window=0x69) + block(RLE, b"\0", 300, last=True), "oom"),
    ("window-most", "The window is the largest that a frame can state, 3.75 TiB.", 10, SIZED,
     header(300, width=2, window=0xFF) + block(RLE, b"\0", 300, last=True), "oom"),
    ("reserved-bit", "Bit 3 of the header descriptor is reserved, and set.", 0, ZEROS,
     header(64, also=8) + _ZEROS, ""),
    ("header-cut", "The frame ends inside its header.", 2, SIZED,
     header(300, width=2, window=0x68)[:7], "out-of-bounds"),
    ("magic-alone", "The frame ends behind its magic.", 2, ZEROS, MAGIC, "out-of-bounds"),
    ("block-header-cut", "The frame ends inside a block's header.", 2, ZEROS,
     header(64) + _ZEROS[:2], "out-of-bounds"),
    ("block-cut", "The frame ends before its last block's byte.", 2, ZEROS,
     header(64) + _ZEROS[:3], "out-of-bounds"),
    ("no-last-block", "No block is marked as the last.", 2, ZEROS,
     header(64) + block(RLE, b"\0", 64), "out-of-bounds"),
    ("block-type", "A block has the reserved type.", 0, ZEROS,
     header(64) + block(RESERVED, b"\0", 64, last=True), ""),
    ("block-past-end", "A raw block says more bytes than there are.", 2, ZEROS,
     header(64) + block(RAW, b"abc", 64, last=True), "out-of-bounds"),
    ("treeless-first", "The first block's literals use a code of a block before.", 0, MATCH,
     _one(bytes.fromhex("2340000100")), "out-of-bounds"),
    ("repeat-first", "The first block uses tables of a block before.", 0, MATCH,
     _one(b"\x10ab\1\xfc\1"), "out-of-bounds"),
    ("modes-reserved", "The reserved bits of the modes of the tables are set.", 0, MATCH,
     _one(b"\x10ab\1\x57" + bytes([2, 0, 31]) + b"\1"), "ambiguity"),
    ("offset-before-start", "A match begins a byte before the plane.", 3, MATCH,
     _one(sequences(b"ab", 1, (2, 2, 31), [(2, 2)])), "out-of-bounds"),
    ("offset-0", "Without literals, the first repeated offset less one is 0.", 0, EIGHT,
     header(42) + block(RAW, _LETTERS)
     + block(COMPRESSED, sequences(b"", 1, (0, 1, 31), [(1, 1)]), last=True),
     "silent-wrong-value"),
    ("literals-missing", "The sequence takes three literals of two.", 0, MATCH,
     _one(sequences(b"ab", 1, (3, 0, 30), ())), "out-of-bounds"),
    ("bits-missing", "The bits of the sequences end before the last.", 0, MATCH,
     _one(sequences(b"ab", 1, (2, 8, 31), [(0, 2)])), "out-of-bounds"),
    ("bits-more", "Bits are left over behind the last sequence.", 0, MATCH,
     _one(sequences(b"ab", 1, (2, 0, 31), [(0, 8)])), "hidden-bytes"),
    ("bits-without-mark", "The last byte of the bits of the sequences is 0.", 0, MATCH,
     _one(_MATCH[:-1] + b"\0"), ""),
    ("weight-15", "A Huffman code with a weight of 15, of codes longer than 11 bits.", 0, DIRECT,
     assets.ZSTD_DIRECT[:13] + b"\xf2" + assets.ZSTD_DIRECT[14:], "out-of-bounds"),
    ("code-out-of-range", "A code of match lengths that there is not.", 0, MATCH,
     _one(sequences(b"ab", 1, (2, 0, 53), [(0, 16)])), "out-of-bounds"),
)  # fmt: skip
"""Slug, why, number of R-COD (0: no frame of the plane), base, the stored bytes, and a flag."""


def _invalid() -> Iterator[Vector]:
    for slug, why, rule, base, frame, flag in FRAMES:
        named = [f"R-COD-{rule:03}" if rule else "R-STR-014"]
        yield bad(
            f"zstd/{slug}",
            why,
            [*named, "R-COD-007"] if rule == 6 else named,
            "bad-stream",
            base,
            store(base, 0, frame),
            flags=[flag or "under-validation"],
        )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _invalid()
