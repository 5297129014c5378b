"""The registered codecs (SPEC 11.8)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from conformance.generator.areas.deflate import DATA as PERIODIC
from conformance.generator.areas.deflate import FIXED, stream
from conformance.generator.coded import bad, noise, plane, skewed, store, words
from conformance.generator.encoders import assets, brotli, lzw
from conformance.generator.encoders.deflate import fixed
from conformance.generator.encoders.leaf import of
from conformance.generator.encoders.snappy import copy, literal, varint
from conformance.generator.vector import Vector

IDS = {"snappy": 16, "brotli": 17, "lzo1x": 18, "gzip": 19, "lzw": 20}


def _one(slug: str, why: str, rule: int, data: bytes, coded: bytes, flag: str = "basic") -> Vector:
    """Return a valid file; the codec is the first part of the slug."""
    name = slug.partition("-")[0]
    codec = of(IDS[name], coded, profile="R1", features=(f"codec.{name}",))
    return plane(f"registered/{slug}", why, [f"R-COD-{rule:03}"], data, codec, flags=[flag])


_AB = b"ab" * 50
_SNAPPY = varint(100) + literal(b"ab") + copy(2, 2, 64) + copy(1, 2, 4) + copy(4, 66, 30)
SNAPPY = _one(
    "snappy-copies",
    "A literal of two bytes and copies of all three kinds, which overlap what they write.",
    39,
    _AB,
    _SNAPPY,
)
_LITERALS = [noise(f"snappy{size}", size) for size in (60, 61, 256, 300)]
BROTLI = _one(
    "brotli-run",
    "Four literals of a code of no bits, and a copy at the distance that a stream begins with.",
    43,
    b"x" * 64,
    brotli.run(120, 64),
)
_LZO = bytes.fromhex("13 6162 3c 0400 110000")
LZO = _one(
    "lzo1x-literals-first",
    "Two literals of the first byte, and a match of 30 bytes at offset 2.",
    44,
    b"ab" * 16,
    _LZO,
)
_DEFLATE = stream(lambda bits: fixed(bits, FIXED, final=True))
_HEAD = bytes.fromhex("1f8b0800 00000000 00ff")
_TAIL = struct.pack("<II", zlib.crc32(PERIODIC), len(PERIODIC))
GZIP = _one(
    "gzip-fixed",
    "A member with time 0, no extra flags and operating system 255.",
    48,
    PERIODIC,
    _HEAD + _DEFLATE + _TAIL,
)
_GREEDY = [*lzw.greedy(_AB)]
LZW = _one(
    "lzw-own-string",
    "Codes that stand for the string which they are about to make.",
    50,
    b"a" * 100,
    lzw.stored(lzw.greedy(b"a" * 100)),
)


def _valid() -> Iterator[Vector]:
    yield from (SNAPPY, BROTLI, LZO, GZIP, LZW)
    data = b"".join(_LITERALS)
    yield _one(
        "snappy-literals",
        "Literals with lengths in the tag and in 1, 2 and 4 bytes behind it, and a far copy.",
        39,
        data + data[:64] * 2,
        varint(len(data) + 128)
        + b"".join(literal(one, width) for one, width in zip(_LITERALS, (0, 1, 2, 4), strict=True))
        + copy(2, len(data), 64)
        + copy(2, 64, 64),
    )
    yield _one("snappy-far", "A copy of 11 bytes at offset 2047, the last of the short ones.", 39,
               b"!" + bytes(2046) + b"!" + bytes(10) + bytes(4),
               varint(2062) + literal(b"!\0") + copy(2, 1, 63) * 32 + copy(2, 1, 29)
               + copy(1, 2047, 11) + copy(1, 1, 4))  # fmt: skip
    yield _one("brotli-words", "A stream of the library's highest level.", 53, words(300, "z"),
               assets.BROTLI)  # fmt: skip
    yield _one(
        "brotli-dictionary",
        "An English text, of which much is in Brotli's own dictionary.",
        53,
        b"The time of the first international information about the development of the government "
        b"was not the same. ",
        assets.BROTLI_DICTIONARY,
    )
    yield _one("brotli-stored", "Meta-blocks of the library's lowest level.", 53,
               noise("b", 100) * 2 + bytes(100), assets.BROTLI_STORED)  # fmt: skip
    yield _one(
        "lzo1x-short-matches",
        "Matches of two bytes behind two literals and one, and a length in a byte of its own.",
        44,
        b"ababcab" + (b"abcab" * 9)[:42],
        bytes.fromhex("13 6162 0500 63 0800 2009 1000 110000"),
    )
    far = b"abcdefgh" + b"h" * 39992 + b"WXYZ" + b"hWXYZ" * 420 + b"KLMN"
    far += far[-2090:-2087]
    yield _one(
        "lzo1x-far-matches",
        "A match of three bytes farther than 2048 behind four literals, and one beyond 32,768.",
        44,
        far + b"cdefg!",
        bytes.fromhex("19 6162636465666768 20") + bytes(156)
        + bytes.fromhex("b3 0000 01 5758595a 20") + bytes(8)
        + bytes.fromhex("1b 1000 01 4b4c4d4e 040a 1bf591 21 110000"),
        "integer-overflow",
    )  # fmt: skip
    yield _one("lzo1x-words", "A stream of short and long matches.", 53, words(600, "z"),
               assets.LZO_WORDS)  # fmt: skip
    yield _one("lzo1x-letters", "A stream of many literals.", 53, skewed(400, "z"),
               assets.LZO_SKEWED)  # fmt: skip
    yield _one("lzo1x-far", "Matches farther than 16,384 bytes, and long runs.", 53,
               noise("lzo", 300) + bytes(20000) + noise("lzo", 300), assets.LZO_FAR)  # fmt: skip
    yield _one(
        "gzip-other-writer",
        "Time, extra flags and operating system have other values.",
        47,
        PERIODIC,
        bytes.fromhex("1f8b0800 12345678 0203") + _DEFLATE + _TAIL,
        "over-validation",
    )
    yield _one("lzw-clear", "Clear codes first, in the middle twice, and last.", 51, _AB * 2,
               lzw.stored([256, *_GREEDY[:-1], 256, 256, *_GREEDY[:-1], 256, 257]),
               "over-validation")  # fmt: skip
    long = bytes(byte & 15 for byte in noise("lzw", 12000))
    yield _one("lzw-full", "The table grows to code 4095, is cleared, and begins again.", 52, long,
               lzw.stored(lzw.greedy(long)), "out-of-bounds")  # fmt: skip
    yield _one("lzw-full-kept", "The table grows to code 4095 and is kept.", 50, long,
               lzw.stored(lzw.greedy(long, clear=False)), "out-of-bounds")  # fmt: skip


STREAMS = (
    # snappy
    ("snappy-length-less", "The block says 99 bytes and holds 100.", 39, SNAPPY,
     varint(99) + _SNAPPY[1:], "out-of-bounds"),
    ("snappy-other-length", "The block says and holds 98 bytes for a plane of 100.", 39, SNAPPY,
     varint(98) + _SNAPPY[1:-5] + copy(4, 66, 28), "silent-wrong-value"),
    ("snappy-length-most", "The block says 2^32 + 100 bytes.", 39, SNAPPY,
     varint((1 << 32) + 100) + _SNAPPY[1:], "integer-overflow"),
    ("snappy-length-without-end", "The block's length does not end.", 39, SNAPPY, b"\xe4" * 11,
     "out-of-bounds"),
    ("snappy-offset-0", "A copy has offset 0.", 39, SNAPPY,
     varint(100) + literal(b"ab") + copy(2, 0, 64) + copy(1, 2, 4) + copy(4, 66, 30),
     "silent-wrong-value"),
    ("snappy-offset-before-start", "A copy begins a byte before the plane.", 39, SNAPPY,
     varint(100) + literal(b"ab") + copy(2, 3, 64) + copy(1, 2, 4) + copy(4, 66, 30),
     "out-of-bounds"),
    ("snappy-offset-most", "A copy has an offset of 2^32 - 2.", 39, SNAPPY,
     _SNAPPY[:-5] + copy(4, (1 << 32) - 2, 30), "integer-overflow"),
    ("snappy-output-less", "The last copy is missing.", 39, SNAPPY, _SNAPPY[:-5],
     "silent-wrong-value"),
    ("snappy-output-more", "The last copy goes a byte beyond the plane.", 39, SNAPPY,
     _SNAPPY[:-5] + copy(4, 66, 31), "out-of-bounds"),
    ("snappy-literal-cut", "The last literal ends with the block.", 39, SNAPPY,
     _SNAPPY[:-5] + literal(b"ab" * 15)[:-1], "out-of-bounds"),
    ("snappy-literal-most", "A literal of 2^32 bytes.", 39, SNAPPY,
     _SNAPPY[:-5] + b"\xfc\xff\xff\xff\xff" + b"ab" * 15, "integer-overflow"),
    ("snappy-offset-cut", "The block ends inside an offset.", 39, SNAPPY, _SNAPPY[:-1],
     "out-of-bounds"),
    # brotli
    ("brotli-large-window", "The stream announces a window of the large kind.", 41, BROTLI,
     brotli.run(120, 64, window=brotli.LARGE_WINDOW), "oom"),
    ("brotli-unused-bits", "The bits behind the last meta-block are set.", 42, BROTLI,
     brotli.run(120, 64, unused=255), "hidden-bytes"),
    ("brotli-trailing-byte", "A zero stands behind the stream.", 43, BROTLI,
     brotli.run(120, 64) + b"\0", "hidden-bytes"),
    ("brotli-two-streams", "A second stream stands behind the first.", 43, BROTLI,
     brotli.run(120, 64) * 2, "hidden-bytes"),
    ("brotli-cut", "The last byte of the stream is missing.", 2, BROTLI,
     brotli.run(120, 64)[:-1], "out-of-bounds"),
    ("brotli-output-less", "The stream holds 63 of 64 bytes.", 0, BROTLI,
     brotli.run(120, 63), "silent-wrong-value"),
    ("brotli-output-more", "The stream holds 65 bytes for a plane of 64.", 0, BROTLI,
     brotli.run(120, 65), "out-of-bounds"),
    ("brotli-copy-beyond", "A copy goes beyond its meta-block.", 0, BROTLI,
     brotli.run(120, 65, size=64), "out-of-bounds"),
    # lzo1x
    ("lzo1x-no-end", "The end marker is missing.", 44, LZO, _LZO[:-3], "out-of-bounds"),
    ("lzo1x-end-cut", "The end marker is cut.", 44, LZO, _LZO[:-1], "out-of-bounds"),
    ("lzo1x-end-literals", "The end marker says that a literal follows.", 44, LZO,
     _LZO[:-2] + b"\1\0", "ambiguity"),
    ("lzo1x-end-length", "The end marker has another length.", 44, LZO,
     _LZO[:-3] + b"\x12\0\0", "ambiguity"),
    ("lzo1x-trailing-byte", "A zero stands behind the end marker.", 44, LZO, _LZO + b"\0",
     "hidden-bytes"),
    ("lzo1x-output-less", "The stream holds 31 of 32 bytes.", 44, LZO,
     bytes.fromhex("13 6162 3b 0400 110000"), "silent-wrong-value"),
    ("lzo1x-output-more", "The stream holds 33 bytes for a plane of 32.", 44, LZO,
     bytes.fromhex("13 6162 3d 0400 110000"), "out-of-bounds"),
    ("lzo1x-offset-before-start", "A match begins a byte before the plane.", 44, LZO,
     bytes.fromhex("13 6162 3c 0800 110000"), "out-of-bounds"),
    ("lzo1x-length-without-end", "The length of a match is zeros up to the end.", 44, LZO,
     bytes.fromhex("13 6162 20") + bytes(20), "out-of-bounds"),
    ("lzo1x-literals-cut", "The first byte says more literals than there are bytes.", 44, LZO,
     bytes.fromhex("ff 6162"), "out-of-bounds"),
    # gzip
    ("gzip-magic", "The first byte is not 1F.", 45, GZIP,
     b"\x1e" + _HEAD[1:] + _DEFLATE + _TAIL, ""),
    ("gzip-method", "The method is 7.", 45, GZIP,
     _HEAD[:2] + b"\7" + _HEAD[3:] + _DEFLATE + _TAIL, ""),
    ("gzip-name", "The member has a file name.", 45, GZIP,
     _HEAD[:3] + b"\x08" + _HEAD[4:] + b"w\0" + _DEFLATE + _TAIL, "hidden-bytes"),
    ("gzip-extra", "The member has an extra field of no bytes.", 45, GZIP,
     _HEAD[:3] + b"\x04" + _HEAD[4:] + b"\0\0" + _DEFLATE + _TAIL, "hidden-bytes"),
    ("gzip-comment", "The member has a comment.", 45, GZIP,
     _HEAD[:3] + b"\x10" + _HEAD[4:] + b"w\0" + _DEFLATE + _TAIL, "hidden-bytes"),
    ("gzip-text", "The flag for text is set.", 45, GZIP,
     _HEAD[:3] + b"\x01" + _HEAD[4:] + _DEFLATE + _TAIL, ""),
    ("gzip-header-checksum", "The member has a checksum of its header, which is right.", 45, GZIP,
     _HEAD[:3] + b"\x02" + _HEAD[4:]
     + struct.pack("<H", zlib.crc32(_HEAD[:3] + b"\x02" + _HEAD[4:]) & 0xFFFF) + _DEFLATE + _TAIL,
     ""),
    ("gzip-crc", "The CRC-32 is another.", 48, GZIP,
     _HEAD + _DEFLATE + bytes([_TAIL[0] ^ 1]) + _TAIL[1:], ""),
    ("gzip-length", "The length is another.", 48, GZIP,
     _HEAD + _DEFLATE + _TAIL[:4] + bytes([_TAIL[4] ^ 1]) + _TAIL[5:], ""),
    ("gzip-cut", "The member ends inside the length.", 2, GZIP, _HEAD + _DEFLATE + _TAIL[:-1],
     "out-of-bounds"),
    ("gzip-header-cut", "The member ends inside its header.", 2, GZIP, _HEAD[:-1],
     "out-of-bounds"),
    ("gzip-trailing-byte", "A zero stands behind the member.", 49, GZIP,
     _HEAD + _DEFLATE + _TAIL + b"\0", "hidden-bytes"),
    ("gzip-two-members", "A member of no bytes stands behind the first.", 49, GZIP,
     _HEAD + _DEFLATE + _TAIL + _HEAD + b"\3\0" + bytes(8), "hidden-bytes"),
    ("gzip-not-final", "No block is marked final.", 19, GZIP,
     _HEAD + stream(lambda bits: fixed(bits, FIXED)) + _TAIL, ""),
    # lzw
    ("lzw-no-end", "The end code is missing.", 50, LZW,
     lzw.stored([*lzw.greedy(b"a" * 100)][:-1]), "out-of-bounds"),
    ("lzw-no-end-whole", "The end code is missing, and the codes before it end with a byte.", 50,
     LZW, lzw.stored([97, *range(258, 269), 266, 266, 97, 97]), "out-of-bounds"),
    ("lzw-bits-behind", "A bit behind the end code is set.", 50, LZW,
     lzw.stored(lzw.greedy(b"a" * 100))[:-1]
     + bytes([lzw.stored(lzw.greedy(b"a" * 100))[-1] | 128]), "hidden-bytes"),
    ("lzw-trailing-byte", "A zero stands behind the end code.", 50, LZW,
     lzw.stored(lzw.greedy(b"a" * 100)) + b"\0", "hidden-bytes"),
    ("lzw-code-above-top", "The second code is one above the greatest that there can be.", 50, LZW,
     lzw.stored([97, 259, 257]), "out-of-bounds"),
    ("lzw-code-for-last", "The second code is one above that of the string which it would make.",
     50, LZW, lzw.stored([97, 259, *[*lzw.greedy(b"a" * 100)][2:]]), "ambiguity"),
    ("lzw-string-first", "The first code stands for a string.", 50, LZW,
     lzw.stored([258, 97, 257]), "out-of-bounds"),
    ("lzw-string-behind-clear", "A code stands for a string from before the clear code.", 50, LZW,
     lzw.stored([97, 258, 259, 256, 258, 257]), "out-of-bounds"),
    ("lzw-output-less", "The codes hold 99 of 100 bytes.", 50, LZW,
     lzw.stored(lzw.greedy(b"a" * 99)), "silent-wrong-value"),
    ("lzw-output-more", "The codes hold 101 bytes for a plane of 100.", 50, LZW,
     lzw.stored(lzw.greedy(b"a" * 101)), "out-of-bounds"),
    ("lzw-nothing", "The only code is that of the end.", 50, LZW, lzw.stored([257]),
     "silent-wrong-value"),
)  # fmt: skip
"""Slug, why, number of R-COD (0: R-STR-014), base, the stored bytes, and the flag."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    for slug, why, rule, base, coded, flag in STREAMS:
        named = f"R-COD-{rule:03}" if rule else "R-STR-014"
        yield bad(f"registered/{slug}", why, named, "bad-stream", base, store(base, 0, coded),
                  flags=[flag or "under-validation"])  # fmt: skip
