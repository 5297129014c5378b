"""The directory: what it lists, and how it is stored (SPEC 5.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.bindings import NOTED
from conformance.generator.areas.sections import MIXED, PAIR, tensor
from conformance.generator.areas.start import EMPTY, FLOAT32
from conformance.generator.operations import Operation
from conformance.generator.rebuild import parse
from conformance.generator.vector import Vector, alias_of, invalid, other, valid

ROOMY = valid(
    "directory/roomy",
    "A head ends at a multiple of 32, so that alignments of 8, 16 and 32 put its payload at the "
    "same place; a free body has 512 zero bytes.",
    ["R-CHN-001"],
    [tensor("w", 1, 2, 3, alignment=5), other(a.Section(9, b"zeros", bytes(512), flags=1))],
)

GIVING = valid(
    "directory/giving",
    "The first head ends 32 bytes before its payload; a section without one ends at a multiple of "
    "64.",
    ["R-CHN-001"],
    [tensor("w", 1, 2, 3, alignment=6), tensor("v", 4), other(a.Section(9, b"", b"", flags=1))],
)


def rows(vector: Vector) -> list[tuple[int, a.Section]]:
    """Return the sections of a valid file with their offsets."""
    found, at = [], 16
    for section in parse(vector.data).sections:
        found.append((at, section))
        at += len(section.head(at))
        at += -at % (1 << section.alignment) + len(section.payload)
        at = a.up8(at)
    return found


def zstd(data: bytes) -> bytes:
    """Return a frame of raw blocks, and of one block for each long run of zeros (RFC 8878)."""
    pieces, at = [], 0
    while at < len(data):
        run = len(data) - at - len(data[at:].lstrip(b"\0"))
        if run > 8:
            pieces.append((1, run, b"\0"))
            at += run
        else:
            end = data.find(bytes(9), at)
            end = len(data) if end < 0 else end
            pieces.append((0, end - at, data[at:end]))
            at = end
    size = len(data)
    stated = b"\x60" + struct.pack("<H", size - 256) if size > 255 else bytes([0x20, size])
    frame = b"\x28\xb5\x2f\xfd" + stated
    for number, (kind, length, stored) in enumerate(pieces):
        final = number == len(pieces) - 1
        frame += struct.pack("<I", length << 3 | kind << 1 | final)[:3] + stored
    return frame


def body(size: int, stored: Sequence[bytes], codec: int = 0, log2: int = 18) -> bytes:
    """Return the body of a directory of `size` bytes in plane-blocks."""
    return a.node(a.DENSE, 0x18, (size,), a.stream(stored, codecs=(codec,), log2=log2))


def coded(data: bytes) -> a.Section:
    """Return a directory's section coded with zstd."""
    frame = zstd(data)
    return a.Section(a.DIRECTORY, b"", body(len(data), [frame], 1), frame)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield ROOMY
    yield from _valid()
    yield from _rows()
    yield from _mismatches()
    yield from _sizes()
    yield from _coded()


def _valid() -> Iterator[Vector]:
    contents = [
        tensor("w", 1, 2, 3),
        other(a.Section(9, b"zeros", bytes(512), flags=1)),
        alias_of("v", "w"),
    ]
    yield valid("directory/zstd", "The directory is one zstd frame of raw and run-length blocks.",
                ["R-SEC-022", "R-COD-004"], contents, directory=coded, profile="R2",
                flags=["over-validation"])  # fmt: skip
    yield valid(
        "directory/raw-in-zstd",
        "The directory names the codec zstd and is stored raw.",
        ["R-STR-012", "R-SEC-022"],
        contents,
        directory=lambda data: a.Section(a.DIRECTORY, b"", body(len(data), [data], 1), data),
        profile="R2",
        flags=["over-validation"],
    )
    yield valid(
        "directory/two-blocks",
        "The directory is stored in blocks of 2^10 cells.",
        ["R-SEC-020", "R-STR-008"],
        [*contents, other(a.Section(9, b"more", bytes(1024), flags=1))],
        directory=lambda data: a.Section(
            a.DIRECTORY,
            b"",
            body(len(data), [data[at : at + 1024] for at in range(0, len(data), 1024)], log2=10),
            data,
        ),
    )
    yield valid(
        "directory/aligned",
        "The directory's payload is aligned to 2^8.",
        ["R-SEC-006", "R-TRL-002"],
        contents,
        directory=lambda data: a.Section(a.DIRECTORY, b"", a.byte_leaf(data), data, alignment=8),
        flags=["over-validation"],
    )
    yield valid(
        "directory/many",
        "Sixty tensors without a payload; their names and bodies stand one after another.",
        ["R-DIR-009", "R-DIR-010"],
        [tensor(f"t{number}") for number in range(60)],
    )


def _rows() -> Iterator[Vector]:
    def found(slug: str, id: str, why: str, *operations: Operation, base: Vector = MIXED) -> Vector:
        return invalid(f"directory/{slug}", why, [id, "R-CHN-001"], "bad-layout", base, operations,
                       flags=["ambiguity", "hidden-bytes"], profile="R1")  # fmt: skip

    for slug, index, which in (("first", 0, "first"), ("middle", 1, "second"), ("last", 5, "last")):
        yield found(f"unlisted-{slug}", "R-DIR-015", f"The {which} section is not listed.",
                    o.listed(index, "times", 0))  # fmt: skip
    yield found("none-listed", "R-DIR-015", "The only section is not listed.",
                o.listed(0, "times", 0), base=FLOAT32)  # fmt: skip
    yield found("listed-twice", "R-DIR-015", "An ancillary section without a name is listed twice.",
                o.section(1, "name", ""), o.listed(1, "times", 2))  # fmt: skip
    pair = rows(PAIR)
    there = a.columns(pair)
    yield found("order", "R-DIR-015", "Two sections are listed in the wrong order.",
                o.directory(0, there, a.columns(pair[::-1])), base=PAIR)  # fmt: skip
    ghost = (pair[-1][0] + 96, a.Section(9, b"ghost", b"", flags=1))
    loop = (16, a.Section(9, b"ghost", b"", flags=1, listed={"length": 2**64 - 40}))
    yield found("wraps", "R-DIR-003", "A section is listed whose payload ends, modulo 2^64, where "
                "it begins: the chain goes on from there.",
                o.directory(0, there, a.columns([loop, *pair])), base=PAIR)  # fmt: skip
    said = a.columns(rows(GIVING))
    yield found("head-without-its-name", "R-DIR-004", "A listed head has no room for its name, a "
                "longer payload makes up for it, and the bodies are as much shorter.",
                o.listed(0, "body", ""), o.listed(0, "head_length", 32), o.listed(0, "length", 72),
                o.directory(-8, said[-8:], b""), base=GIVING)  # fmt: skip
    yield found("alignment-of-nothing", "R-SEC-006", "A section without a payload is aligned to "
                "64, and its head ends there.", o.section(2, "alignment", 6),
                base=GIVING)  # fmt: skip
    yield found("too-many", "R-DIR-015", "A section is listed that is not there.",
                o.directory(0, there, a.columns([*pair, ghost])), base=PAIR)  # fmt: skip


def _mismatches() -> Iterator[Vector]:
    """What the directory says is possible, and the inline head says otherwise."""
    w = rows(ROOMY)[0][1]
    for slug, id, base, operations, why in (
        ("payload-length", "R-DIR-003", PAIR, [o.listed(0, "length", 4)],
         "The listed length takes a byte of padding into the payload."),
        ("head-length", "R-DIR-004", FLOAT32, [o.listed(0, "body", FLOAT32.data[0x38:0x58].hex())],
         "The listed head is eight bytes shorter, which the padding makes up for."),
        ("type", "R-DIR-005", PAIR, [o.listed(0, "type", a.BLOB)],
         "A tensor is listed as a blob."),
        ("type-unknown", "R-DIR-005", MIXED, [o.listed(1, "type", 10)],
         "A section of type 9 is listed as one of type 10."),
        ("type-inline", "R-DIR-005", MIXED, [o.inline(1, "type", a.TENSOR)],
         "A section of type 9 calls itself a tensor inline."),
        ("flags", "R-DIR-006", NOTED, [o.inline(1, "flags", 0)],
         "A section of a private type is ancillary in the directory and critical inline."),
        ("name", "R-DIR-009", PAIR, [o.listed(0, "name", b"c".hex())],
         "The listed name is another."),
        ("name-length", "R-DIR-007", PAIR, [o.listed(0, "name", b"ab".hex())],
         "The listed name is longer, in a head of the same length."),
        ("name-of-unknown", "R-DIR-009", MIXED, [o.listed(1, "name", b"nose".hex())],
         "The listed name of a section of an unknown type is another."),
        ("name-of-second", "R-DIR-009", PAIR, [o.inline(1, "name", b"c".hex())],
         "The inline name of the second of two tensors alike is another."),
        ("name-of-blob", "R-DIR-009", MIXED, [o.inline(3, "name", b"fill".hex())],
         "The inline name of a blob is another."),
        ("alignment", "R-DIR-008", ROOMY, [o.listed(0, "alignment", 4)],
         "The listed alignment is lower and puts the payload at the same place."),
        ("dtype", "R-DIR-010", FLOAT32, [o.listed(0, "body", (FLOAT32.data[0x38:0x3A] + b"\x2a"
                                         + FLOAT32.data[0x3B:0x60]).hex())],
         "The listed data type is int32, the inline one float32."),
        ("shape", "R-DIR-010", ROOMY, [o.listed(0, "body", (w.body[:16] + struct.pack("<Q", 2)
                                       + w.body[24:]).hex())],
         "The listed shape is (2,), the inline one (3,)."),
        ("free-body", "R-DIR-010", MIXED, [o.listed(1, "body", b"many bod".hex())],
         "The listed free body of a section of an unknown type is another."),
        ("alias", "R-DIR-010", PAIR, [o.add(2, a.ALIAS, name=b"s", body=a.alias(b"", b"b").body),
                                      o.listed(2, "body", a.alias(b"", b"a").body.hex())],
         "The listed target of an alias is another."),
    ):  # fmt: skip
        ids = ["R-DIR-016", id, "R-RDR-006", "R-RDR-016"]
        yield invalid(f"directory/other-{slug}", why, ids, "mismatch", base, operations,
                      flags=["ambiguity"], profile="R1",
                      also=["bad-checksum"] if slug == "head-length" else [])  # fmt: skip


def _sizes() -> Iterator[Vector]:
    def found(slug: str, id: str, error: str, why: str, operations: Sequence[Operation],
              base: Vector = MIXED, flag: str = "out-of-bounds",
              also: Sequence[str] = ()) -> Vector:  # fmt: skip
        return invalid(f"directory/{slug}", why, [id], error, base, operations, flags=[flag],
                       profile="R1", also=also)  # fmt: skip

    for slug, number, flag, why in (
        ("count-of-100", 100, "out-of-bounds", "The count is 100, and 100 rows do not fit."),
        ("count-of-2-24", 1 << 24, "oom", "The count is 2^24."),
        ("count-of-2-63", 1 << 63, "oom", "The count is 2^63."),
        ("count-wraps", 683212743470724134, "integer-overflow",
         "27 times the count, and 8, is 10 modulo 2^64."),
    ):  # fmt: skip
        count = o.directory(0, struct.pack("<Q", 6), struct.pack("<Q", number))
        yield found(slug, "R-DIR-001", "mismatch", why, [count], flag=flag)
    for size in (0, 4):
        short = a.byte_leaf(bytes(size))
        yield found(f"{size}-bytes", "R-DIR-001", "mismatch",
                    f"The directory has {size} bytes, and its count takes 8.",
                    [o.last("body", short), o.last("payload", bytes(size))], FLOAT32)  # fmt: skip
    names = 8 + 27 * 6
    for slug, id, error, why, operations in (
        ("byte-behind", "R-DIR-011", "mismatch", "A zero byte follows the bodies.",
         [o.directory(None, b"", b"\0")]),
        ("body-missing", "R-DIR-011", "mismatch", "The last body lacks its last eight bytes.",
         [o.directory(-8, a.columns(rows(MIXED))[-8:], b"")]),
        ("join-zero", "R-DIR-012", "bad-text", "Two names are joined by a zero byte.",
         [o.directory(names + 1, b"\n", b"\0")]),
        ("join-space", "R-DIR-012", "bad-text", "Two names are joined by a space.",
         [o.directory(names + 1, b"\n", b" ")]),
        ("name-lengths-swapped", "R-DIR-012", "bad-text",
         "Two name lengths are exchanged, so that the joint lies inside a name.",
         [o.listed(0, "name_length", 4), o.listed(1, "name_length", 1)]),
    ):  # fmt: skip
        yield found(slug, id, error, why, operations)
    yield found("longer-than-its-offset", "R-DIR-013", "bad-layout", "The directory has 24 bytes "
                "and stands at 16.", [o.directory(None, b"", bytes(16))], EMPTY,
                "hidden-bytes")  # fmt: skip
    bomb = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", 1 << 18)
    bomb += b"\x02\0\x10\0" + b"\x03\0\x10\0"
    yield found("bomb", "R-DIR-014", "bad-layout", "The directory of a file of 144 bytes is 2^18 "
                "zero bytes, coded with zstd.", [o.last("body", body(1 << 18, [bomb], 1)),
                o.last("payload", bomb)], EMPTY, "oom")  # fmt: skip
    yield found("payload-too-long", "R-STR-016", "mismatch", "Four zero bytes follow the "
                "directory's only block in its payload.", [o.leaf("payload", None, b"", bytes(4))],
                FLOAT32, "hidden-bytes")  # fmt: skip
    for slug, id, error, why, field, value, flag in (
        ("sync", "R-SEC-001", "bad-layout", "The sync bytes are others.", "sync", "89534544",
         "under-validation"),
        ("reserved-15", "R-SEC-007", "reserved-nonzero", "The reserved byte 15 is set.", "zero15",
         128, "under-validation"),
        ("reserved-24", "R-SEC-009", "reserved-nonzero", "The reserved field at 24 is set.",
         "zero24", 1, "under-validation"),
        ("flag-one", "R-SEC-003", "reserved-nonzero", "Bit 1 of flags is set.", "flags", 2,
         "under-validation"),
        ("flag-eight", "R-SEC-003", "reserved-nonzero", "Bit 8 of flags is set.", "flags", 256,
         "under-validation"),
        ("ancillary", "R-SEC-015", "bad-layout", "The directory is ancillary.", "flags", 1,
         "under-validation"),
        ("alignment-two", "R-SEC-006", "bad-layout", "The payload is aligned to 2^2.",
         "alignment", 2, "under-validation"),
        ("checksum", "R-SEC-010", "bad-checksum", "The checksum of the head is 0.", "checksum", 0,
         "under-validation"),
        ("type", "R-SEC-036", "bad-layout", "The type is that of metadata.", "type", a.METADATA,
         "ambiguity"),
        ("head-of-76-bytes", "R-SEC-004", "bad-layout", "The body has four bytes more.", "body",
         a.byte_leaf(a.columns(rows(MIXED))) + bytes(4), "under-validation"),
        ("head-length-zero", "R-SEC-004", "bad-layout", "The head's length is 0.", "head_length",
         0, "out-of-bounds"),
        ("head-length-huge", "R-SEC-004", "bad-layout", "The head's length is 2^32 - 8.",
         "head_length", 2**32 - 8, "oom"),
    ):  # fmt: skip
        yield invalid(f"directory/own-{slug}", f"In the directory's own head: {why}", [id], error,
                      MIXED, [o.last(field, value)], flags=[flag], profile="R0")  # fmt: skip
    at = len(FLOAT32.data) - 32 - struct.unpack_from("<Q", FLOAT32.data, len(FLOAT32.data) - 24)[0]
    gap = bytearray(-(at + 72) % 64)
    gap[-1] = 1
    yield invalid("directory/own-padding", "In the directory's own section: a byte between its "
                  "head and its payload is set.", ["R-CHN-002"], "bad-layout", FLOAT32,
                  [o.last("alignment", 6), o.last("lead", bytes(gap))], flags=["hidden-bytes"],
                  profile="R0")  # fmt: skip
    yield invalid("directory/own-head-length-past-end", "In the directory's own head: the head is "
                  "longer than the trailer lets the section be.", ["R-TRL-006"], "mismatch", MIXED,
                  [o.last("head_length", 4096)], flags=["out-of-bounds"], also=["bad-layout"],
                  profile="R0")  # fmt: skip
    yield invalid("directory/own-length-huge", "In the directory's own head: the payload's length "
                  "is 2^64 - 1.", ["R-SEC-008"], "bad-layout", MIXED, [o.last("length", 2**64 - 1)],
                  flags=["oom", "integer-overflow"], also=["mismatch"],
                  profile="R0")  # fmt: skip


def _coded() -> Iterator[Vector]:
    data = a.columns(rows(ROOMY))
    frame = zstd(data)

    def found(slug: str, id: str, why: str, stored: bytes, error: str = "bad-stream",
              flag: str = "under-validation") -> Vector:  # fmt: skip
        return invalid(f"directory/zstd-{slug}", why, [id, "R-SEC-022"], error, ROOMY,
                       [o.last("body", body(len(data), [stored], 1)), o.last("payload", stored)],
                       flags=[flag], profile="R2")  # fmt: skip

    yield found("magic", "R-COD-004", "The directory's frame begins with another magic.",
                b"\x27" + frame[1:])  # fmt: skip
    for slug, change, why in (
        ("size-lower", -1, "The directory's frame states one byte less than it has to hold."),
        ("size-higher", 1, "The directory's frame states one byte more than it has to hold."),
    ):
        stated = struct.pack("<H", len(data) - 256 + change)
        yield found(slug, "R-COD-006", why, frame[:5] + stated + frame[7:], flag="out-of-bounds")
    yield found("byte-behind", "R-COD-011", "A zero byte follows the directory's frame.",
                frame + b"\0", flag="hidden-bytes")  # fmt: skip
    yield found("cut", "R-COD-002", "The directory's frame lacks its last byte.", frame[:-1])
    yield invalid("directory/checksum-of-block", "The checksum of the directory's block is "
                  "another, that of the trailer is right.", ["R-STR-010"], "bad-checksum", ROOMY,
                  [o.leaf("body", 36, a.byte_leaf(data)[36:40], bytes(4))],
                  profile="R1")  # fmt: skip
    at = len(ROOMY.data) - 40
    yield invalid("directory/flipped", "A bit of the directory is flipped.",
                  ["R-TRL-003", "R-STR-010"], "bad-checksum", ROOMY,
                  [o.file(at, b"\0", b"\1")], profile="R0")  # fmt: skip
