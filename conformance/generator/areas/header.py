"""The header and the trailer (SPEC 5.1, 5.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator import operations as o
from conformance.generator.areas.start import EMPTY, FLOAT32
from conformance.generator.assemble import HEADER, MAGIC
from conformance.generator.operations import Operation
from conformance.generator.tree import dense
from conformance.generator.vector import Vector, invalid, tensor_of, valid

SIZE = FLOAT32.sidecar["size"]
AT, LENGTH = struct.unpack_from("<QQ", FLOAT32.data, SIZE - 32)


def minor(number: int) -> bytes:
    """Return a header of that minor version."""
    return HEADER[:10] + struct.pack("<H", number) + HEADER[12:]


def major(stored: bytes) -> list[Operation]:
    """Store two other bytes as the major version."""
    return [o.header(8, b"\1\0", stored)]


def pointers(offset: int, length: int) -> list[Operation]:
    """Point the trailer of `FLOAT32` elsewhere, its checksum being right."""
    return [o.trailer(0, FLOAT32.data[SIZE - 32 : SIZE - 16], struct.pack("<QQ", offset, length))]


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _versions()
    yield from _magics()
    yield from _ends()
    yield from _trailers()


def _versions() -> Iterator[Vector]:
    one = [tensor_of("w", dense("uint8", (2,), b"\7\x09"))]
    yield valid("header/minor-one", "The minor version is one that no reader knows yet.",
                ["R-HDR-005", "R-HDR-003"], one, header=minor(1),
                flags=["over-validation"])  # fmt: skip
    yield valid("header/minor-highest", "The minor version is the highest, 65535.",
                ["R-HDR-003", "R-HDR-005"], one, header=minor(65535),
                flags=["over-validation"])  # fmt: skip
    for slug, stored, why in (
        ("major-zero", b"\0\0", "The major version is 0."),
        ("major-two", b"\2\0", "The major version is the next one."),
        ("major-highest", b"\xff\xff", "The major version is 65535."),
        ("major-high-byte", b"\1\1", "The major version is 257, whose low byte is 1."),
        ("major-big-endian", b"\0\1", "The major version is 1 in the other byte order."),
    ):
        yield invalid(f"header/{slug}", why, ["R-HDR-002"], "unsupported-version", FLOAT32,
                      major(stored), profile="R0")  # fmt: skip
    for slug, at, new, why in (
        ("reserved-first", 12, b"\1\0\0\0", "The lowest bit of the reserved field is set."),
        ("reserved-last", 12, b"\0\0\0\x80", "The highest bit of the reserved field is set."),
    ):
        yield invalid(f"header/{slug}", why, ["R-HDR-004"], "reserved-nonzero", FLOAT32,
                      [o.header(at, bytes(4), new)], profile="R0")  # fmt: skip
    yield invalid("header/minor-flipped", "The minor version was changed after the trailer's "
                  "checksum, which covers the header, was computed.", ["R-TRL-003", "R-HDR-003"],
                  "bad-checksum", FLOAT32, [o.file(10, b"\0", b"\1")], profile="R0")  # fmt: skip


def _magics() -> Iterator[Vector]:
    def found(slug: str, why: str, *operations: Operation) -> Vector:
        return invalid(f"header/{slug}", why, ["R-HDR-001"], "not-nnpack", FLOAT32, operations,
                       profile="R0")  # fmt: skip

    yield found("magic-last-bit", "The last byte of the magic is another.",
                o.header(7, b"\n", b"\x0b"))  # fmt: skip
    yield found("magic-line-ends", "A text transfer turned 0d 0a into 0a.",
                o.file(4, b"\r\n", b"\n"))  # fmt: skip
    yield found("magic-line-feeds", "A text transfer turned the last 0a into 0d 0a.",
                o.file(7, b"\n", b"\r\n"))  # fmt: skip
    yield found("magic-seven-bits", "A transfer cleared the highest bit of the first byte.",
                o.header(0, b"\x89", b"\x09"))  # fmt: skip
    yield found("magic-behind-mark", "A byte order mark stands before the magic.",
                o.file(0, b"", b"\xef\xbb\xbf"))  # fmt: skip
    yield found("magic-behind-zeros", "Eight zero bytes stand before the magic.",
                o.file(0, b"", bytes(8)))  # fmt: skip
    yield found("magic-of-png", "The magic is that of PNG.",
                o.header(0, MAGIC, b"\x89PNG\r\n\x1a\n"))  # fmt: skip
    yield found("magic-of-the-end", "The end magic stands at the start as well.",
                o.header(0, MAGIC, b"\x89NNPEND\n"))  # fmt: skip
    yield invalid("header/four-wrong-bytes", "The file has four bytes, of which the last is not "
                  "that of the magic.", ["R-HDR-001", "R-ERR-007"], "not-nnpack", EMPTY,
                  [o.cut(4), o.file(3, b"P", b"Q")], profile="R0",
                  flags=["under-validation", "ambiguity"])  # fmt: skip


def _ends() -> Iterator[Vector]:
    def short(slug: str, base: Vector, at: int, why: str) -> Vector:
        ids = ["R-ERR-007", "R-ERR-004", "R-ERR-002"]
        return invalid(f"header/{slug}", why, ids, "truncated", base, [o.cut(at)],
                       flags=["out-of-bounds"], profile="R0")  # fmt: skip

    yield short("no-bytes", EMPTY, 0, "The file has no bytes.")
    yield short("one-byte", EMPTY, 1, "The file is the first byte of the magic.")
    yield short("magic-alone", EMPTY, 8, "The file is the magic alone.")
    yield short("header-alone", EMPTY, 16, "The file is the header alone.")
    yield short("127-bytes", EMPTY, 127, "The empty file lacks its last byte.")
    for slug, at, why in (
        ("cut-in-payload", 0x88, "The file ends inside a payload."),
        ("cut-before-directory", AT, "The file ends where the directory should begin."),
        ("cut-before-trailer", SIZE - 32, "The file ends where the trailer should begin."),
        ("cut-in-trailer", SIZE - 8, "The file ends before the end magic."),
        ("cut-last-byte", SIZE - 1, "The file lacks its last byte."),
    ):
        ids = ["R-TRL-005", "R-CHN-003", "R-RDR-008"]
        yield invalid(f"trailer/{slug}", why, ids, "truncated", FLOAT32, [o.cut(at)],
                      flags=["out-of-bounds"], profile="R0")  # fmt: skip
    yield invalid("trailer/eight-bytes-more", "Eight zero bytes came into the padding before a "
                  "payload; what stands behind them moved along.", ["R-TRL-002", "R-CHN-001"],
                  "bad-layout", FLOAT32, [o.file(0x70, b"", bytes(8))],
                  flags=["hidden-bytes"], profile="R0")  # fmt: skip
    for slug, new, why in (
        ("byte-behind", b"\0", "A zero byte follows the trailer."),
        ("line-behind", b"\n", "A line feed follows the trailer."),
        ("page-behind", bytes(512), "512 zero bytes follow the trailer."),
    ):
        yield invalid(f"trailer/{slug}", why, ["R-TRL-007", "R-RDR-018"], "truncated", FLOAT32,
                      [o.file(None, b"", new)], flags=["hidden-bytes"], profile="R0",
                      also=["trailing-data"], sequential="trailing-data")  # fmt: skip
    yield invalid("trailer/two-files", "A second file follows the first.",
                  ["R-TRL-002", "R-TRL-007"], "bad-layout", FLOAT32,
                  [o.file(None, b"", EMPTY.data)], flags=["hidden-bytes", "ambiguity"],
                  profile="R0", also=["trailing-data"],
                  sequential="trailing-data")  # fmt: skip


def _trailers() -> Iterator[Vector]:
    def wrong(slug: str, id: str, error: str, why: str, *operations: Operation,
              flag: str = "under-validation") -> Vector:  # fmt: skip
        return invalid(f"trailer/{slug}", why, [id, "R-RDR-017"], error, FLOAT32, operations,
                       flags=[flag], profile="R0")  # fmt: skip

    yield wrong("end-magic", "R-TRL-005", "truncated", "The last byte of the end magic is another.",
                o.trailer(31, b"\n", b"\0"))  # fmt: skip
    yield wrong("reserved", "R-TRL-004", "reserved-nonzero", "A bit of the reserved field is set.",
                o.trailer(20, bytes(4), b"\0\0\1\0"))  # fmt: skip
    low = FLOAT32.data[-16]
    yield wrong("checksum", "R-TRL-003", "bad-checksum", "A bit of the checksum is flipped.",
                o.file(SIZE - 16, bytes([low]), bytes([low ^ 1])))  # fmt: skip
    for slug, id, offset, length, flag, why in (
        ("offset-in-header", "R-TRL-001", 8, LENGTH + AT - 8, "out-of-bounds",
         "The directory is said to stand inside the header."),
        ("offset-unaligned", "R-TRL-001", AT + 4, LENGTH - 4, "under-validation",
         "The directory's offset is no multiple of 8."),
        ("offset-of-body", "R-SEC-001", AT + 32, LENGTH - 32, "under-validation",
         "The directory's offset is inside it, where no head stands."),
        ("offset-behind-end", "R-TRL-002", SIZE, LENGTH, "out-of-bounds",
         "The directory's offset is the end of the file."),
        ("offset-huge", "R-TRL-002", 2**62 + AT, LENGTH, "integer-overflow",
         "The directory's offset is above 2^62."),
        ("sum-wraps", "R-TRL-002", 2**64 - 64, LENGTH + AT + 64, "integer-overflow",
         "Offset and length of the directory add up to the file's size only modulo 2^64."),
        ("length-short", "R-TRL-002", AT, LENGTH - 8, "hidden-bytes",
         "Eight bytes stand between the directory and the trailer, by the length of the former."),
        ("length-long", "R-TRL-002", AT, LENGTH + 8, "out-of-bounds",
         "The directory reaches into the trailer."),
        ("length-zero", "R-TRL-002", AT, 0, "under-validation", "The directory's length is 0."),
        ("length-huge", "R-TRL-002", AT, 2**64 - 1, "oom", "The directory's length is 2^64 - 1."),
    ):  # fmt: skip
        yield wrong(slug, id, "bad-layout", why, *pointers(offset, length), flag=flag)
    yield invalid("trailer/nothing-there", "The directory is said to be empty and to stand where "
                  "the trailer does: there is no head, nor room for one.",
                  ["R-SEC-001", "R-RDR-017"],
                  "bad-layout", FLOAT32, pointers(SIZE - 32, 0), flags=["out-of-bounds"],
                  profile="R0", also=["mismatch"])  # fmt: skip
    yield wrong("directory-unaligned", "R-TRL-001", "bad-layout", "The directory stands where the "
                "trailer says, four bytes behind a multiple of 8, and so does the trailer.",
                o.section(0, "tail", bytes(8).hex()), o.last("tail", ""))  # fmt: skip
    yield wrong("directory-length", "R-TRL-006", "mismatch", "The directory section is eight zero "
                "bytes longer than follows from its own head.", o.last("tail", bytes(12)),
                flag="hidden-bytes")  # fmt: skip
