"""Files that break two rules: the class is that of the earlier step (SPEC 14.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.bindings import ALL, NOTED
from conformance.generator.areas.metadata import BASE as TEXT
from conformance.generator.areas.sections import ANY, MIXED, T
from conformance.generator.areas.start import EMPTY, FLOAT32
from conformance.generator.operations import Operation
from conformance.generator.vector import Vector, invalid

FREE = o.section(ANY, "flags", 0)
"""A critical section of an unknown type."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""

    def found(slug: str, error: str, why: str, base: Vector, *operations: Operation,
              profile: str = "R0", ids: tuple[str, ...] = ()) -> Vector:  # fmt: skip
        named = ["R-ERR-007", "R-ERR-001", *ids]
        return invalid(f"order/{slug}", why, named, error, base, operations, flags=["ambiguity"],
                       profile=profile)  # fmt: skip

    yield found("magic-before-size", "not-nnpack", "The file has 20 bytes, and its magic is "
                "another.", FLOAT32, o.cut(20), o.file(0, b"\x89", b"\x88"))  # fmt: skip
    yield found("size-before-version", "truncated", "The file has 20 bytes, and its major version "
                "is 2.", FLOAT32, o.cut(20), o.file(8, b"\1", b"\2"))  # fmt: skip
    yield found("version-before-end", "unsupported-version", "The major version is 2, and the "
                "trailer is missing.", FLOAT32, o.cut(288),
                o.file(8, b"\1", b"\2"))  # fmt: skip
    yield found("version-before-checksum", "unsupported-version", "The major version is 2, and "
                "the trailer's checksum is that of version 1.", FLOAT32,
                o.file(8, b"\1", b"\2"))  # fmt: skip
    yield found("reserved-before-checksum", "reserved-nonzero", "A reserved bit of the header is "
                "set, and the trailer's checksum is that without it.", FLOAT32,
                o.file(12, b"\0", b"\1"))  # fmt: skip
    yield found("end-before-pointers", "truncated", "The end magic is another, and the directory's "
                "offset is 0.", FLOAT32, o.trailer(24, b"\x89", b"\x88"),
                o.trailer(0, struct.pack("<Q", 144), bytes(8)))  # fmt: skip
    yield found("sync-before-head-checksum", "bad-layout", "The directory's sync bytes are others, "
                "and the checksum of its head is that of the right ones.", FLOAT32,
                o.file(144, b"\x89", b"\x88"))  # fmt: skip
    yield found("head-checksum-before-type", "bad-checksum", "The directory's type is 8, and the "
                "checksum of its head is that of type 7.", FLOAT32,
                o.file(148, b"\7", b"\x08"))  # fmt: skip
    yield found("head-checksum-before-length", "bad-checksum", "The directory's payload length is "
                "2^62 more than when the checksum of its head was taken.", FLOAT32,
                o.file(167, b"\0", b"\x40"))  # fmt: skip
    yield found("bound-before-checksum", "bad-layout", "The directory is longer than its offset, "
                "and a bit of it is flipped.", EMPTY, o.directory(None, b"", bytes(16)),
                o.file(96, b"\0", b"\1"))  # fmt: skip
    yield found("type-before-inline", "unknown-section", "An unknown section is critical, "
                "and the inline name of another differs.", MIXED, FREE,
                o.inline(T, "name", b"x".hex()))  # fmt: skip
    yield found("columns-before-bindings", "bad-text", "A name is no UTF-8, and a private section "
                "type is not bound.", NOTED, o.drop(0),
                o.section(1, "name", b"\xff".hex()), profile="R1")  # fmt: skip
    yield found("inline-before-tree", "mismatch", "The inline name of a tensor differs, and its "
                "tree has a reserved bit set.", MIXED, o.inline(T, "name", b"x".hex()),
                o.splice(T, "body", 5, b"\0", b"\1"), profile="R1")  # fmt: skip
    yield found("inline-before-alias", "mismatch", "A tensor is listed as an alias, which has no "
                "payload.", FLOAT32, o.listed(0, "type", 4), ids=("R-SEC-029",))  # fmt: skip
    yield found("padding-before-tree", "bad-layout", "A byte of the padding before a payload is "
                "set, and the tree has a reserved bit set.", FLOAT32,
                o.section(0, "lead", "01" + "00" * 31),
                o.splice(0, "body", 5, b"\0", b"\1"))  # fmt: skip
    yield found("tree-before-checksum", "reserved-nonzero", "The tree has a reserved bit set, and "
                "a bit of the payload is flipped.", FLOAT32,
                o.splice(0, "body", 5, b"\0", b"\1"),
                o.splice(0, "payload", 0, b"\0", b"\1"))  # fmt: skip
    kept = a.names((1, 200, b"org.example.note"))
    yield found("layout-before-binding", "mismatch", "A private codec is not bound, and the "
                "payload has a byte more than its tree says.", ALL,
                o.section(0, "body", kept.body.hex()),
                *(o.drop(3) for _ in range(3)),
                o.splice(3, "payload", None, b"", b"\0"),
                ids=("R-ERR-003",))  # fmt: skip
    yield found("checksum-before-text", "bad-checksum", "A bit of the metadata is flipped, which "
                "makes it no JSON.", TEXT, o.splice(1, "payload", 0, b"{", b"z"))  # fmt: skip
