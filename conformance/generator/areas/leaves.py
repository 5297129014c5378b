"""Bodies that are one byte leaf, and those of aliases (SPEC 5.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.sections import ALIAS, BLOB, GRAPH, METADATA, MIXED, T, tensor
from conformance.generator.areas.start import EMPTY
from conformance.generator.operations import Operation
from conformance.generator.tree import Leaf, dense
from conformance.generator.vector import (
    Content,
    Vector,
    alias_of,
    blob_of,
    invalid,
    other,
    valid,
)

LEAF = a.byte_leaf(b"bytes")
"""The body of the blob in `MIXED`; its dtype stands at 2, its transform at 24, its codec at 28."""
ALIASES = valid(
    "alias/two",
    "Two aliases stand for one tensor, and other sections between it and them.",
    ["R-SEC-028"],
    [tensor("long name", 1, 2), blob_of("b", b"x"), alias_of("a", "long name"),
     alias_of("long", "long name")],
)  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _valid()
    yield from _leaves()
    yield from _bodies()
    yield ALIASES
    yield from _aliases()
    yield from _targets()


def _valid() -> Iterator[Vector]:
    yield valid("blob/empty", "A blob has no bytes, no blocks and no payload.",
                ["R-SEC-020", "R-SEC-006"], [blob_of("nothing", b"")],
                flags=["over-validation"])  # fmt: skip
    nested = valid("x", "", [], [tensor("inner", 1)]).data
    yield valid(
        "blob/file-inside",
        "A blob holds a whole file, whose heads, directory and trailer are none of its host.",
        ["R-SEC-010", "R-TRL-001"],
        [blob_of("model.nnpk", nested), tensor("outer", 2)],
        flags=["ambiguity", "over-validation"],
    )
    yield valid(
        "blob/trailer-inside",
        "The last section is a blob that ends in a trailer.",
        ["R-TRL-007"],
        [blob_of("z", EMPTY.data)],
        flags=["ambiguity", "over-validation"],
    )
    data = bytes(1024) + b"\1"
    yield valid(
        "blob/two-blocks",
        "A blob is stored in blocks of 2^10 cells; the second has one.",
        ["R-SEC-020", "R-STR-002"],
        [
            blob_of(
                "b",
                data,
                dense("uint8", (1025,), data, Leaf((data[:1024], data[1024:]), log2=10)),
            )
        ],
    )
    data = b"stored as it is"
    yield valid(
        "blob/raw-in-zstd",
        "A blob names the codec zstd and stores its only plane raw.",
        ["R-STR-012", "R-SEC-020"],
        [blob_of("b", data, dense("uint8", (15,), data, Leaf((data,), codecs=(1,), profile="R2")))],
        flags=["over-validation"],
    )
    body = a.byte_leaf(b"coded", codecs=(128,))
    yield valid(
        "blob/private-codec",
        "A blob has a private codec that the names section binds: it is unsupported, the rest is "
        "read.",
        ["R-RDR-003", "R-NAM-010"],
        [
            other(a.names((5, 128, b"org.example.codec"))),
            Content(a.Section(a.BLOB, b"b", body, b"coded"), {"blobs": {"b": None}}, "R1"),
            blob_of("c", b"plain"),
        ],
        flags=["over-validation"],
    )


def _leaves() -> Iterator[Vector]:
    def found(slug: str, ids: Sequence[str], error: str, why: str, at: int, old: bytes,
              new: bytes, index: int = BLOB) -> Vector:  # fmt: skip
        return invalid(f"byte-leaf/{slug}", why, ids, error, MIXED,
                       [o.splice(index, "body", at, old, new)], profile="R0")  # fmt: skip

    yield found("role", ["R-SEC-020", "R-NOD-002"], "bad-node", "The root of a blob has role 1.",
                1, b"\0", b"\1")  # fmt: skip
    yield found("int8", ["R-SEC-020"], "bad-node", "The data type of a blob is int8.",
                2, b"\x18", b"\x28")  # fmt: skip
    yield found("bool", ["R-SEC-020"], "bad-node", "The data type of metadata is bool.",
                2, b"\x18", b"\x01", METADATA)  # fmt: skip
    for slug, index in (("blob", BLOB), ("metadata", METADATA), ("graph", GRAPH)):
        yield found(f"bytes-in-{slug}", ["R-SEC-021"], "bad-value", "The transform of a "
                    f"{slug} section's leaf is bytes.", 24, b"\0", b"\1", index)  # fmt: skip
    two = a.node(a.DENSE, 0x18, (1, 5), a.stream([b"bytes"]))
    wide = struct.pack("<H", 0x6261)
    for slug, why, body, payload in (
        ("rank-two", "The shape of a blob is (1, 5).", two, b"bytes"),
        ("rank-zero", "The shape of a blob is (), of one byte.",
         a.node(a.DENSE, 0x18, (), a.stream([b"x"])), b"x"),
        ("constant", "A blob is a constant node, not a dense one.",
         a.node(a.CONSTANT, 0x18, (5,), bytes(8)), b""),
        ("uint16", "The data type of a blob is uint16.",
         a.node(a.DENSE, 0x19, (1,), a.stream([wide])), wide),
        ("two-trees", "Two dense nodes stand in the body of a blob.",
         LEAF + LEAF, b"bytes\0\0\0bytes"),
        ("no-tree", "The body of a blob is empty.", b"", b""),
    ):  # fmt: skip
        yield invalid(
            f"byte-leaf/{slug}",
            why,
            ["R-SEC-020"],
            "bad-node",
            MIXED,
            [o.section(BLOB, "body", body.hex()), o.section(BLOB, "payload", payload.hex())],
            profile="R0",
        )
    for slug, id, error, why, at, old, new in (
        ("directory-role", "R-SEC-020", "bad-node", "The directory's root has role 1.",
         1, b"\0", b"\1"),
        ("directory-int8", "R-SEC-020", "bad-node", "The directory's data type is int8.",
         2, b"\x18", b"\x28"),
        ("directory-bytes", "R-SEC-021", "bad-value", "The directory's transform is bytes.",
         24, b"\0", b"\1"),
        ("directory-lz4", "R-SEC-022", "bad-value",
         "The directory's codec is lz4, though its only plane is raw.", 28, b"\0", b"\2"),
        ("directory-deflate", "R-SEC-022", "bad-value",
         "The directory's codec is deflate, though its only plane is raw.", 28, b"\0", b"\3"),
        ("directory-codec-unknown", "R-SEC-022", "bad-value",
         "The directory's codec is unassigned, though its only plane is raw.", 28, b"\0", b"\6"),
    ):  # fmt: skip
        yield invalid(f"byte-leaf/{slug}", why, [id], error, MIXED,
                      [o.leaf("body", at, old, new)], profile="R0")  # fmt: skip


def _bodies() -> Iterator[Vector]:
    def found(slug: str, why: str, *operations: Operation) -> Vector:
        return invalid(f"sections/{slug}", why, ["R-SEC-023"], "bad-node", MIXED, operations,
                       flags=["hidden-bytes"], profile="R0")  # fmt: skip

    zeros = o.splice(T, "body", None, b"", bytes(8))
    yield found("body-too-long", "Eight zero bytes follow the node tree of a tensor.", zeros)
    yield found("body-of-two-trees", "A constant node follows the node tree of a tensor.",
                o.splice(T, "body", None, b"", a.node(a.CONSTANT, 0x18, (), bytes(8))))  # fmt: skip
    yield found("body-empty", "The body of a tensor is empty.",
                o.section(T, "body", ""), o.section(T, "payload", ""))  # fmt: skip
    yield found("body-of-8-bytes", "The body of a tensor is shorter than a node's head.",
                o.section(T, "body", LEAF[:8].hex()), o.section(T, "payload", ""))  # fmt: skip


def _aliases() -> Iterator[Vector]:
    def found(slug: str, id: str, error: str, why: str, body: bytes, flag: str = "under-validation",
              also: Sequence[str] = ()) -> Vector:  # fmt: skip
        return invalid(f"alias/{slug}", why, [id], error, MIXED,
                       [o.section(ALIAS, "body", body.hex())], flags=[flag], also=also,
                       profile="R0")  # fmt: skip

    yield found("target-empty", "R-SEC-025", "mismatch", "The target's length is 0.", bytes(8),
                also=["bad-reference", "bad-text"])  # fmt: skip
    yield found("target-short", "R-SEC-025", "mismatch", "The body is eight zero bytes longer than "
                "its target needs.", b"\1\0t" + bytes(13), "hidden-bytes")  # fmt: skip
    yield found("target-long", "R-SEC-025", "mismatch", "The target reaches past the body.",
                b"\7\0t" + bytes(5), "out-of-bounds", ["bad-reference", "bad-text"])  # fmt: skip
    yield found("target-of-65535", "R-SEC-025", "mismatch", "The target's length is 65535.",
                b"\xff\xfft" + bytes(5), "out-of-bounds",
                ["bad-reference", "bad-text"])  # fmt: skip
    yield found("target-above-1024", "R-SEC-025", "mismatch", "The target has 1025 bytes.",
                (struct.pack("<H", 1025) + b"t" * 1025).ljust(1032, b"\0"),
                also=["bad-reference", "bad-text"])  # fmt: skip
    yield found("body-empty", "R-SEC-025", "mismatch", "The body is empty.", b"",
                "out-of-bounds", ["bad-reference"])  # fmt: skip
    yield found("target-text", "R-SEC-026", "bad-text", "The target is no UTF-8.",
                b"\1\0\xff" + bytes(5), also=["bad-reference"])  # fmt: skip
    yield found("target-control", "R-SEC-026", "bad-text", "The target has a zero byte inside.",
                b"\3\0t\0t" + bytes(3), also=["bad-reference"])  # fmt: skip
    yield found("zeros", "R-SEC-027", "bad-layout", "A byte behind the target is set.",
                b"\1\0t\0\0\0\0\1", "hidden-bytes")  # fmt: skip
    yield invalid("alias/payload", "An alias has a payload.", ["R-SEC-029"], "bad-layout", MIXED,
                  [o.section(ALIAS, "payload", bytes(8).hex())], flags=["hidden-bytes"],
                  profile="R0")  # fmt: skip


def _targets() -> Iterator[Vector]:
    def target(name: str) -> Operation:
        return o.section(ALIAS, "body", a.alias(b"", name.encode()).body.hex())

    for slug, operations, why in (
        ("dangling", [target("u")], "The target is no name of the file."),
        ("case", [target("T")], "The target differs from a tensor's name in its case."),
        ("of-itself", [target("s")], "An alias has itself as its target."),
        ("of-blob", [target("file")], "The target is a blob."),
        ("of-graph", [target("g")], "The target is a graph."),
        ("of-unknown", [target("note")], "The target is a section of an unknown type."),
        ("before-target", [o.move(ALIAS, 0)], "The target stands behind the alias."),
        ("of-alias", [o.add(3, a.ALIAS, name=b"r", body=a.alias(b"", b"s").body)],
         "The target is another alias."),
    ):  # fmt: skip
        yield invalid(f"alias/{slug}", why, ["R-SEC-028"], "bad-reference", MIXED, operations,
                      profile="R0")  # fmt: skip
    base = valid(
        "alias/composed",
        "The target is written as the tensor's name is, in the composed form.",
        ["R-NAM-014", "R-SEC-028"],
        [tensor("\u00e9", 1), alias_of("a", "\u00e9")],
    )
    yield base
    yield invalid(
        "alias/decomposed",
        "The target is equal to the tensor's name only after normalisation.",
        ["R-NAM-014", "R-SEC-028"],
        "bad-reference",
        base,
        [o.section(1, "body", a.alias(b"", "e\u0301".encode()).body.hex())],
        flags=["ambiguity"],
        profile="R0",
    )
