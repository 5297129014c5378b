"""Heads of sections, and the chain that they stand in (SPEC 5.2, 5.7)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import starmap

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.start import FLOAT32
from conformance.generator.operations import Operation
from conformance.generator.tree import constant, dense
from conformance.generator.vector import (
    Content,
    Vector,
    alias_of,
    blob_of,
    graph_of,
    invalid,
    metadata_of,
    other,
    tensor_of,
    valid,
)

NOTE = other(a.Section(9, b"note", b"any body", flags=1))
"""A section of an unassigned type, which readers skip."""


def tensor(name: str, *cells: int, alignment: int = 3) -> Content:
    """Return a raw uint8 tensor."""
    return tensor_of(name, dense("uint8", (len(cells),), bytes(cells)), alignment=alignment)


PAIR = valid(
    "sections/pair",
    "Two tensors of three bytes stand with five zero bytes behind each.",
    ["R-CHN-001", "R-CHN-002"],
    [tensor("a", 1, 2, 3), tensor("b", 4, 5, 6)],
)
MIXED = valid(
    "sections/mixed",
    "One section each of a tensor, an unknown type, an alias, a blob, metadata and a graph.",
    ["R-SEC-002", "R-SEC-017"],
    [
        tensor("t", 1),
        NOTE,
        alias_of("s", "t"),
        blob_of("file", b"bytes"),
        metadata_of(b"{}", {}),
        graph_of(
            "g",
            b'{"inputs":[],"outputs":[],"nodes":[]}',
            {"inputs": [], "outputs": [], "nodes": []},
        ),
    ],
    flags=["over-validation"],
)
T, ANY, ALIAS, BLOB, METADATA, GRAPH = range(6)
COLUMNS = {
    "R-SEC-003": ["R-DIR-006"],
    "R-SEC-004": ["R-DIR-004"],
    "R-SEC-006": ["R-DIR-008"],
    "R-SEC-008": ["R-DIR-003"],
    "R-SEC-013": ["R-SEC-004", "R-DIR-004"],
    "R-SEC-014": ["R-DIR-005"],
    "R-SEC-016": ["R-SEC-002", "R-DIR-005"],
    "R-SEC-018": ["R-DIR-007"],
}
"""What else a field of a head breaks that is wrong in the directory as well."""
EMPTY_TENSOR = valid(
    "sections/no-payload",
    "A constant tensor has no payload, so that its alignment is 2^3.",
    ["R-SEC-006"],
    [tensor_of("c", constant("uint8", (4,), b"\7"))],
)
HIGHEST = valid(
    "sections/alignment-highest",
    "The payload is aligned to 2^16.",
    ["R-SEC-006", "R-CHN-001"],
    [tensor("far", 1, 2, 3, alignment=16)],
    flags=["over-validation"],
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from (PAIR, MIXED, EMPTY_TENSOR, HIGHEST)
    yield valid(
        "sections/aligned-to-sixteen",
        "A payload of one byte is aligned to 16 where its head ends there: no padding.",
        ["R-SEC-006", "R-CHN-001"],
        [tensor("w", 9, alignment=4)],
    )
    yield valid(
        "sections/no-elements",
        "A raw tensor without elements has neither blocks nor payload.",
        ["R-SEC-006", "R-STR-016"],
        [tensor("none"), tensor("one", 1)],
        flags=["over-validation"],
    )
    yield valid(
        "sections/any-order",
        "An alias, metadata, a blob and a graph stand between tensors.",
        ["R-SEC-036", "R-SEC-028"],
        [
            blob_of("z", b""),
            metadata_of(b"{}", {}),
            tensor("b", 1),
            alias_of("a", "b"),
            graph_of(
                "g",
                b'{"inputs":[],"outputs":["a"],"nodes":[]}',
                {"inputs": [], "outputs": ["a"], "nodes": []},
            ),
            tensor("c", 2),
        ],
        flags=["over-validation"],
    )
    yield from _types()
    yield from _heads()
    yield from starmap(_inline, INLINE)
    yield from _checksums()
    yield from starmap(_chain, CHAIN)
    yield from _padding()


def _types() -> Iterator[Vector]:
    for slug, index, field, value, id, error, why in (
        ("type-zero", ANY, "type", 0, "R-SEC-014", "bad-layout",
         "An ancillary section has type 0, which is never used."),
        ("critical-nine", ANY, "flags", 0, "R-SEC-016", "unknown-section",
         "A section of type 9 is critical."),
        ("ancillary-tensor", T, "flags", 1, "R-SEC-015", "bad-layout", "A tensor is ancillary."),
        ("ancillary-alias", ALIAS, "flags", 1, "R-SEC-015", "bad-layout",
         "An alias is ancillary."),
        ("ancillary-metadata", METADATA, "flags", 1, "R-SEC-015", "bad-layout",
         "Metadata is ancillary."),
        ("flag-one", T, "flags", 2, "R-SEC-003", "reserved-nonzero", "Bit 1 of flags is set."),
        ("flag-last", BLOB, "flags", 0x8000, "R-SEC-003", "reserved-nonzero",
         "Bit 15 of flags is set."),
        ("flag-of-unknown", ANY, "flags", 0x0101, "R-SEC-003", "reserved-nonzero",
         "An ancillary section of an unknown type has bit 8 of flags set."),
        ("tensor-unnamed", T, "name", "", "R-SEC-018", "bad-text", "A tensor has no name."),
        ("alias-unnamed", ALIAS, "name", "", "R-SEC-018", "bad-text", "An alias has no name."),
        ("blob-unnamed", BLOB, "name", "", "R-SEC-018", "bad-text", "A blob has no name."),
        ("graph-unnamed", GRAPH, "name", "", "R-SEC-018", "bad-text", "A graph has no name."),
        ("metadata-named", METADATA, "name", b"m".hex(), "R-SEC-018", "bad-text",
         "Metadata has a name."),
    ):  # fmt: skip
        ids = [id, *COLUMNS.get(id, ())]
        yield invalid(f"sections/{slug}", why, ids, error, MIXED,
                      [o.section(index, field, value)], profile="R0")  # fmt: skip
    for number in (256, 0x0107, 65535):
        yield invalid(
            f"sections/critical-{number}",
            f"A critical section has type {number}, of two bytes.",
            ["R-SEC-016", "R-SEC-002", "R-EXT-002"],
            "unknown-section",
            MIXED,
            [o.section(ANY, "flags", 0), o.section(ANY, "type", number)],
            profile="R0",
        )
    for slug, index, why in (("second-metadata", METADATA, "Metadata occurs twice."),):
        yield invalid(f"sections/{slug}", why, ["R-SEC-033"], "duplicate", MIXED,
                      [o.copy(index, 2)], flags=["ambiguity"], profile="R0")  # fmt: skip
    leaf = a.byte_leaf(bytes(8))
    yield invalid(
        "sections/second-directory",
        "A section of type 7 stands among the others.",
        ["R-SEC-036"],
        "bad-layout",
        MIXED,
        [o.add(2, a.DIRECTORY, body=leaf, payload=bytes(8))],
        flags=["ambiguity"],
        profile="R0",
    )


def _heads() -> Iterator[Vector]:
    """What both heads say, and the chain follows."""

    def found(slug: str, id: str, error: str, why: str, operations: Sequence[Operation],
              base: Vector = MIXED, flag: str = "under-validation") -> Vector:  # fmt: skip
        ids = [id, *COLUMNS.get(id, ())]
        return invalid(f"sections/{slug}", why, ids, error, base, operations, flags=[flag],
                       profile="R0")  # fmt: skip

    yield found("head-of-76-bytes", "R-SEC-013", "bad-layout", "A head's length is no "
                "multiple of 8.", [o.section(ANY, "body", b"four".hex())])  # fmt: skip
    yield found("head-too-short", "R-SEC-004", "bad-layout", "A head's length leaves no room for "
                "its name.", o.both(ANY, "head_length", 32), flag="out-of-bounds")  # fmt: skip
    yield found("head-of-nothing", "R-SEC-004", "bad-layout", "A head's length is 0.",
                o.both(ANY, "head_length", 0), flag="cpu-bomb")  # fmt: skip
    yield found("head-too-long", "R-SEC-004", "bad-layout", "A head's length is above 64 MiB.",
                o.both(ANY, "head_length", (64 << 20) + 8), flag="oom")  # fmt: skip
    yield found("head-of-4-gib", "R-SEC-004", "bad-layout", "A head's length is 2^32 - 8.",
                o.both(ANY, "head_length", 2**32 - 8), flag="integer-overflow")  # fmt: skip
    yield found("alignment-two", "R-SEC-006", "bad-layout", "A payload is aligned to 2^2.",
                [o.section(T, "alignment", 2)])  # fmt: skip
    yield found("alignment-zero", "R-SEC-006", "bad-layout", "A payload is aligned to 2^0.",
                [o.section(T, "alignment", 0)])  # fmt: skip
    yield found("alignment-seventeen", "R-SEC-006", "bad-layout", "A payload is aligned to 2^17.",
                [o.section(T, "alignment", 17)])  # fmt: skip
    yield found("alignment-64", "R-SEC-006", "bad-layout", "A payload is aligned to 2^64, which a "
                "shift of 64 bits takes for 1.", o.both(T, "alignment", 64),
                flag="integer-overflow")  # fmt: skip
    yield found("alignment-255", "R-SEC-006", "bad-layout", "A payload is aligned to 2^255.",
                o.both(T, "alignment", 255), flag="integer-overflow")  # fmt: skip
    yield found("alignment-of-nothing", "R-SEC-006", "bad-layout", "A section without a payload "
                "is aligned to 2^6.", o.both(0, "alignment", 6), EMPTY_TENSOR)  # fmt: skip
    yield found("payload-of-2-62", "R-SEC-008", "bad-layout", "A payload's length is 2^62.",
                o.both(T, "length", 2**62), flag="oom")  # fmt: skip
    yield found("payload-wraps", "R-SEC-008", "bad-layout", "A payload's length is 2^64 - 96, "
                "with which the next head would stand at 0 modulo 2^64.",
                o.both(T, "length", 2**64 - 96), flag="integer-overflow")  # fmt: skip
    yield found("payload-past-the-end", "R-CHN-001", "bad-layout", "The last payload reaches into "
                "the directory.", o.both(GRAPH, "length", 64), flag="out-of-bounds")  # fmt: skip


INLINE: tuple[tuple[str, str, Sequence[tuple[str, object]], Sequence[str], str], ...] = (
    ("inline-sync", "R-SEC-001", [("sync", "89534544")], ["bad-layout"],
     "The sync bytes of an inline head are others."),
    ("inline-reserved-15", "R-SEC-007", [("zero15", 1)], ["reserved-nonzero"],
     "The reserved byte 15 of an inline head is set."),
    ("inline-reserved-24", "R-SEC-009", [("zero24", 1 << 31)], ["reserved-nonzero"],
     "The reserved field at 24 of an inline head is set."),
    ("inline-name-zeros", "R-SEC-012", [("name", "7700000000000001"), ("name_length", 1)],
     ["bad-layout"], "A byte between name and body is set in the inline head."),
)  # fmt: skip


def _inline(
    slug: str, id: str, fields: Sequence[tuple[str, object]], also: Sequence[str], why: str
) -> Vector:
    """Return a head that breaks what only an inline head can: it differs from the directory."""
    changes = [o.inline(0, field, value) for field, value in fields]
    return invalid(f"sections/{slug}", why, ["R-RDR-011", id, "R-RDR-015"], "mismatch", FLOAT32,
                   changes, also=also, profile="R0")  # fmt: skip


def _checksums() -> Iterator[Vector]:
    section = FLOAT32.data[16:0x60]
    zeroed = section[:28] + bytes(4) + section[32:]
    for slug, value, why in (
        ("checksum", zlib.crc32(zeroed, zlib.crc32(struct.pack("<Q", 16))) ^ 1,
         "A bit of an inline head's checksum is flipped."),
        ("checksum-without-offset", zlib.crc32(zeroed),
         "An inline head's checksum leaves out the offset."),
        ("checksum-of-offset-0", zlib.crc32(zeroed, zlib.crc32(bytes(8))),
         "An inline head's checksum is that of the same head at offset 0."),
        ("checksum-of-itself", zlib.crc32(section, zlib.crc32(struct.pack("<Q", 16))),
         "An inline head's checksum is computed over its own field as well."),
        ("checksum-zero", 0, "An inline head's checksum is 0."),
    ):  # fmt: skip
        yield invalid(f"sections/{slug}", why, ["R-SEC-010", "R-RDR-011"], "bad-checksum",
                      FLOAT32, [o.inline(0, "checksum", value)], profile="R0")  # fmt: skip
    yield invalid(
        "sections/second-payload-flipped",
        "A bit of the second tensor's payload is flipped.",
        ["R-STR-010", "R-RDR-014", "R-ERR-006"],
        "bad-checksum",
        PAIR,
        [o.splice(1, "payload", 2, b"\6", b"\7")],
        flags=["silent-wrong-value"],
    )
    yield invalid(
        "sections/head-flipped",
        "A bit of a data type is flipped in the inline head alone.",
        ["R-SEC-010", "R-RDR-011"],
        "bad-checksum",
        FLOAT32,
        [o.file(0x3A, b"\x3a", b"\x2a")],
        flags=["silent-wrong-value"],
        profile="R0",
    )


CHAIN: tuple[tuple[str, Sequence[Operation], str, str], ...] = (
    ("gap-of-zeros", [o.section(0, "tail", "00" * 13)], "hidden-bytes",
     "Eight zero bytes more than needed stand between two sections."),
    ("gap-of-bytes", [o.section(0, "tail", "00" * 5 + b"hidden!!".hex())], "hidden-bytes",
     "Eight bytes that no section owns stand between two sections."),
    ("gap-at-the-start", [o.header(16, b"", bytes(8))], "hidden-bytes",
     "The first section stands at 24."),
    ("gap-before-payload", [o.section(0, "lead", "00" * 8)], "hidden-bytes",
     "A payload stands eight bytes behind its place."),
    ("gap-before-directory", [o.section(1, "tail", "00" * 13)], "hidden-bytes",
     "Eight zero bytes more than needed stand before the directory."),
    ("no-padding", [o.section(0, "tail", "")], "under-validation",
     "A section follows a payload of three bytes without padding."),
    ("overlap", [o.listed(1, "offset", 16)], "ambiguity",
     "The second section is listed at the place of the first."),
    ("offset-in-header", [o.listed(0, "offset", 0)], "out-of-bounds",
     "The first section is listed at 0."),
    ("offset-behind-end", [o.listed(1, "offset", 1 << 20)], "out-of-bounds",
     "The second section is listed behind the end of the file."),
    ("offset-huge", [o.listed(1, "offset", 2**64 - 8)], "integer-overflow",
     "The second section is listed at 2^64 - 8."),
)  # fmt: skip


def _chain(slug: str, operations: Sequence[Operation], flag: str, why: str) -> Vector:
    seen = "R1" if operations[0]["op"] == "listed" else "R0"
    ids = ["R-DIR-002", "R-CHN-001"] if seen == "R1" else ["R-CHN-001"]
    return invalid(f"sections/{slug}", why, ids, "bad-layout", PAIR, operations, flags=[flag],
                   profile=seen)  # fmt: skip


def _padding() -> Iterator[Vector]:
    for slug, base, operation, why in (
        ("padding-before", FLOAT32, o.section(0, "lead", "00" * 31 + "01"),
         "The last byte of the padding before a payload is set."),
        ("padding-behind", PAIR, o.section(0, "tail", "0000000001"),
         "The last byte of the padding behind a payload is set."),
        ("padding-behind-last", PAIR, o.section(1, "tail", "0100000000"),
         "The first byte of the padding behind the last payload is set."),
        ("padding-of-directory", FLOAT32, o.last("tail", "00000001"),
         "A byte of the padding between directory and trailer is set."),
    ):  # fmt: skip
        ids = ["R-CHN-002", "R-RDR-007", "R-RDR-012"]
        yield invalid(f"sections/{slug}", why, ids, "bad-layout", base, [operation],
                      flags=["hidden-bytes"], profile="R0")  # fmt: skip
