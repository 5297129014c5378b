"""Streams that break a rule of SPEC 9."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator import operations
from conformance.generator.areas.streams import (
    BLOCKS,
    CODED,
    EIGHT,
    EMPTY,
    LEAVES,
    PLANES_OF_BLOCKS,
    PRIVATE_CODEC,
    PRIVATE_TRANSFORM,
    SHARED,
    SMALL,
    TABLE,
    UNKNOWN_TABLES,
    WIDE,
)
from conformance.generator.coded import (
    BLOCK,
    CODEC,
    PARAMETER,
    PLANES,
    bad,
    body,
    longer,
    one,
    part,
    payload,
    store,
    wrong,
)
from conformance.generator.rebuild import parse
from conformance.generator.tree import Leaf
from conformance.generator.vector import Vector

R0 = {"profile": "R0"}
"""What a reader sees that looks at heads alone."""
ENTRY = bytes(8)
END = parse(BLOCKS.data).sections[0].payload[383:384]
"""The last byte of the first block."""


def _heads() -> Iterator[Vector]:
    for log2, flag in ((0, "basic"), (9, "basic"), (21, "oom"), (255, "integer-overflow")):
        yield bad(
            f"streams/block-{log2}",
            f"The block's logarithm is {log2}, not 10 to 20.",
            "R-STR-002",
            "bad-value",
            SMALL,
            body(SMALL, BLOCK, f"{log2:02x}"),
            flags=[flag],
            **R0,
        )
    yield bad(
        "streams/block-bytes",
        "2^20 cells of complex128 are more than 8 MiB.",
        "R-STR-002",
        "bad-value",
        WIDE,
        body(WIDE, BLOCK, "14"),
        flags=["oom"],
    )
    yield bad(
        "streams/planes-0",
        "A stream of no planes, without entries and payload.",
        "R-STR-003",
        "bad-value",
        SMALL,
        body(SMALL, PLANES, "00"),
        body(SMALL, 32, "", 8),
        longer(SMALL, -8),
        payload(SMALL, 0, "", 5),
        flags=["out-of-bounds"],
        **R0,
    )
    yield bad(
        "streams/planes-9",
        "A stream of nine planes, the last with an entry of nothing.",
        "R-STR-003",
        "bad-value",
        EIGHT,
        body(EIGHT, PLANES, "09"),
        operations.splice(0, "body", None, b"", ENTRY),
        longer(EIGHT, 8),
        flags=["out-of-bounds"],
        **R0,
    )
    yield bad(
        "streams/parameter",
        "The transform cells has no parameter, and 1 stands there.",
        ["R-STR-004", "R-TRF-002"],
        "bad-value",
        SMALL,
        body(SMALL, PARAMETER, "01"),
    )
    yield bad(
        "streams/codecs-padding",
        "The last byte between the codecs and the entries is not zero.",
        "R-STR-006",
        "bad-layout",
        SMALL,
        body(SMALL, CODEC + 3, "01"),
        flags=["hidden-bytes"],
        **R0,
    )
    yield bad(
        "streams/codec-of-no-plane",
        "Behind the only plane's codec stands another: padding that is not zero.",
        "R-STR-006",
        "bad-layout",
        SMALL,
        body(SMALL, CODEC + 1, "05"),
        flags=["hidden-bytes"],
        **R0,
    )


def _entries() -> Iterator[Vector]:
    yield bad(
        "streams/entry-missing",
        "The entry of the second of two blocks is missing.",
        ["R-STR-008", "R-DEN-002"],
        "bad-node",
        BLOCKS,
        body(BLOCKS, 40, "", 8),
        longer(BLOCKS, -8),
        flags=["out-of-bounds"],
        **R0,
    )
    yield bad(
        "streams/entry-more",
        "Behind the entries of all blocks stands one of nothing.",
        ["R-STR-008", "R-DEN-002"],
        "bad-node",
        SMALL,
        operations.splice(0, "body", None, b"", ENTRY),
        longer(SMALL, 8),
        flags=["hidden-bytes"],
        **R0,
    )
    yield bad(
        "streams/entry-of-empty",
        "A leaf without elements has an entry.",
        ["R-STR-008", "R-DEN-002"],
        "bad-node",
        EMPTY,
        operations.splice(0, "body", None, b"", ENTRY),
        longer(EMPTY, 8),
        **R0,
    )
    yield bad(
        "streams/blocks-wrap",
        "2^29 + 1 blocks, whose entries would take 8 bytes in 32 bits, and one entry.",
        ["R-STR-008", "R-DEN-002"],
        "bad-node",
        SMALL,
        body(SMALL, 16, struct.pack("<Q", (1 << 47) + 5).hex()),
        flags=["integer-overflow", "oom"],
        **R0,
    )


def _tables() -> Iterator[Vector]:
    yield bad(
        "streams/table-missing",
        "The codec is huffman and there is no entry of a shared table.",
        "R-STR-007",
        "bad-node",
        TABLE,
        body(TABLE, 32, "", 8),
        longer(TABLE, -8),
        payload(TABLE, 0, "", 40),
    )
    yield bad(
        "streams/table-of-raw",
        "A shared table of three bytes with a codec that has none.",
        "R-STR-007",
        "bad-node",
        SMALL,
        body(SMALL, 32, struct.pack("<II", 3, 0).hex(), 0),
        longer(SMALL, 8),
        payload(SMALL, 0, b"abc".ljust(8, b"\0").hex(), 0),
        **R0,
    )
    yield bad(
        "streams/table-of-nothing",
        "The shared table of a plane whose blocks are all raw has 0 bytes.",
        "R-STR-009",
        "bad-value",
        TABLE,
        store(TABLE, 0, b""),
    )
    yield bad(
        "streams/unknown-tables-fewer",
        "Planes of huffman and of two unassigned codecs, and no shared table.",
        "R-STR-015",
        "bad-node",
        UNKNOWN_TABLES,
        body(UNKNOWN_TABLES, 32, "", 24),
        longer(UNKNOWN_TABLES, -24),
        payload(UNKNOWN_TABLES, 0, "", 56),
        **R0,
    )
    known = one(
        "streams/registered",
        "A codec that no profile includes and that has no shared table: the plane is raw.",
        ["R-STR-015", "R-STR-012"],
        "uint8",
        b"as it is",
        Leaf((b"as it is",), codecs=(16,), profile="R3", features=("codec.snappy",)),
    )
    yield known
    yield bad(
        "streams/registered-table",
        "Codec 16 has no shared table, whether the reader has it or not; here it has one.",
        "R-STR-015",
        "bad-node",
        known,
        body(known, 32, struct.pack("<II", 8, 0).hex(), 0),
        longer(known, 8),
        payload(known, 0, b"no table".hex(), 0),
        **R0,
    )
    yield bad(
        "streams/unknown-tables-more",
        "Three of four planes may have shared tables, and there are four of them.",
        "R-STR-015",
        "bad-node",
        UNKNOWN_TABLES,
        body(UNKNOWN_TABLES, 32, struct.pack("<II", 8, 0).hex(), 0),
        longer(UNKNOWN_TABLES, 8),
        payload(UNKNOWN_TABLES, 0, b"new-ones".hex(), 0),
        **R0,
    )


def _lengths() -> Iterator[Vector]:
    for stored, slug in (((8 << 20) + 1, "more"), ((1 << 32) - 1, "most")):
        yield bad(
            f"streams/stored-{slug}",
            f"The stored length is {stored}, above 8 MiB.",
            "R-STR-009",
            "bad-value",
            SMALL,
            body(SMALL, 32, struct.pack("<I", stored).hex()),
            flags=["oom", "integer-overflow"],
            **R0,
        )
    yield bad(
        "streams/stored-above-plane",
        "64 cells with codec zstd, and 65 bytes stored.",
        "R-STR-011",
        "mismatch",
        CODED,
        store(CODED, 0, bytes(65)),
        flags=["out-of-bounds"],
    )
    yield bad(
        "streams/stored-nothing",
        "64 cells with codec zstd, and no bytes stored.",
        "R-STR-018",
        "bad-value",
        CODED,
        store(CODED, 0, b""),
    )
    yield bad(
        "streams/stored-nothing-second",
        "The second of two blocks with codec huffman has no bytes stored.",
        "R-STR-018",
        "bad-value",
        SHARED,
        store(SHARED, 2, b""),
    )
    for size in (4, 6):
        yield bad(
            f"streams/raw-{size}-of-5",
            f"Five cells with codec raw, and {size} bytes stored.",
            "R-STR-013" if size == 4 else ["R-STR-011", "R-STR-013"],
            "mismatch",
            SMALL,
            store(SMALL, 0, b"nnpacK"[:size]),
            flags=["out-of-bounds"],
        )
    yield bad(
        "streams/raw-full-block",
        "The first of two raw blocks is a byte shorter than its plane.",
        "R-STR-013",
        "mismatch",
        BLOCKS,
        operations.store(0, 0, -1, END, b""),
        flags=["out-of-bounds", "silent-wrong-value"],
    )
    yield bad(
        "streams/payload-more",
        "Behind the last stored bytes the payload has one more, a zero.",
        "R-STR-016",
        "mismatch",
        SMALL,
        operations.splice(0, "payload", None, b"", b"\0"),
        flags=["hidden-bytes"],
        **R0,
    )
    yield bad(
        "streams/payload-less",
        "The payload ends a byte before the last stored bytes do.",
        "R-STR-016",
        "mismatch",
        SMALL,
        operations.splice(0, "payload", -1, b"c", b""),
        flags=["out-of-bounds"],
        **R0,
    )
    yield bad(
        "streams/payload-of-empty",
        "A tensor without elements has eight bytes of payload.",
        "R-STR-016",
        "mismatch",
        EMPTY,
        operations.splice(0, "payload", None, b"", ENTRY),
        flags=["hidden-bytes"],
        **R0,
    )
    yield bad(
        "streams/leaves-packed",
        "The second raw leaf stands at a multiple of 8 bytes, not of the section's alignment.",
        ["R-STR-016", "R-STR-017"],
        "mismatch",
        LEAVES,
        payload(LEAVES, 32, "", 32),
        **R0,
    )


def _gaps() -> Iterator[Vector]:
    for slug, why, base, at in (
        ("planes", "between two planes of a block", PLANES_OF_BLOCKS, 4172),
        ("table", "behind a shared table", TABLE, 39),
        ("unknown", "behind a shared table of an unassigned codec", UNKNOWN_TABLES, 4),
        ("aligned", "before a raw leaf at a multiple of 64 bytes", LEAVES, 63),
    ):
        yield bad(
            f"streams/gap-{slug}",
            f"A byte {why} is not zero.",
            "R-STR-017",
            "bad-layout",
            base,
            payload(base, at, "01"),
            flags=["hidden-bytes"],
        )


def _checksums() -> Iterator[Vector]:
    for slug, why, base, entry in (
        ("second", "the second block", BLOCKS, 1),
        ("plane", "the last plane of the last block", PLANES_OF_BLOCKS, 7),
        ("table", "a shared table", SHARED, 0),
        ("table-without-use", "a shared table whose planes are all raw", TABLE, 0),
        ("unknown", "a plane-block of an unassigned codec", UNKNOWN_TABLES, 5),
        ("third-leaf", "a leaf behind others", LEAVES, 2),
    ):
        yield bad(
            f"streams/checksum-{slug}",
            f"The checksum of {why} is wrong.",
            ["R-STR-010", "R-STR-019"] if "table" in slug else ["R-STR-010"],
            "bad-checksum",
            base,
            wrong(base, entry),
            repair=(),
        )
    yield bad(
        "streams/table-rules",
        "The shared table of a plane whose blocks are all raw says 2^15 lanes.",
        ["R-STR-019", "R-COD-023"],
        "bad-stream",
        TABLE,
        part(TABLE, 0, 0, "0f"),
    )


def _bindings() -> Iterator[Vector]:
    for base in (PRIVATE_CODEC, PRIVATE_TRANSFORM):
        slug = base.id.rpartition("-")[2]
        yield bad(
            f"streams/{slug}-without-name",
            f"A private {slug} occurs, and no names section.",
            ["R-NAM-010"],
            "missing",
            base,
            operations.drop(0),
        )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _heads()
    yield from _entries()
    yield from _tables()
    yield from _lengths()
    yield from _gaps()
    yield from _checksums()
    yield from _bindings()
