"""Sections of types above 8, of which a reader checks every byte (SPEC 5.3, 8.1, 16)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.sections import tensor
from conformance.generator.derive import having
from conformance.generator.kinds import concat, csr, of
from conformance.generator.operations import Operation
from conformance.generator.tree import Leaf, Tree, constant, dense
from conformance.generator.vector import Content, Vector, invalid, other, valid


def note(type: int, tree: Tree | None = None, name: bytes = b"", alignment: int = 3) -> Content:
    """Return an ancillary section of a tree, or of a free body."""
    if tree is None:
        return other(a.Section(type, name, b"any body", flags=1))
    return other(a.Section(type, name, tree.body(), tree.payload(alignment), 1, alignment))


def strange() -> Tree:
    """Return a tree in which kinds, a data type, a transform and codecs are unassigned."""
    coded = Leaf((b"one", b"plane", b"four", b""), transform=127, log2=10, codecs=(6, 32),
                 shared=(b"table",))  # fmt: skip
    parts = {
        "1": (1, Tree("dense", "", (1025,), None, leaf=coded, kind_id=a.DENSE, dtype_id=0x7F)),
        "200": (200, dense("int16", (2,), b"\1\0\2\0")),
    }
    inner = Tree("", "", (3, 0), None, b"whatever", {}, parts, kind_id=127, dtype_id=0x02)
    return Tree("", "", (), None, b"", {}, {"255": (255, inner)}, kind_id=14, dtype_id=0x6F)


KEPT = valid(
    "unknown/tree",
    "An ancillary section of type 9 has a tree of one leaf.",
    ["R-SEC-024", "R-SEC-017"],
    [note(9, dense("uint8", (11,), b"any payload"), b"remark"), tensor("t", 1)],
    flags=["over-validation"],
)
STRANGE = valid(
    "unknown/strange-tree",
    "The tree of an ancillary section has unassigned kinds, a data type, a transform and codecs.",
    ["R-NOD-019", "R-SEC-024", "R-NOD-020", "R-STR-015"],
    [note(300, strange(), b"strange"), tensor("t", 1)],
    flags=["over-validation"],
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from (KEPT, STRANGE)
    yield from _valid()
    yield from _unchecked()
    yield from _trees()
    yield from _strange()


def _unchecked() -> Iterator[Vector]:
    """Return sections of unknown types with faults that only steps 18 and 22 would find."""
    one = tensor("a", 1)
    leaf = dense("uint8", (4,), b"four").but(leaf=Leaf((b"few",)))
    counts = csr((3,), 3, b"\0", of("uint8", [1]), of("uint8", [0]), of("uint8", [5]))
    wrong = having(counts, counts=of("uint8", [2]))
    for slug, why, tree in (
        ("other-length", "A raw plane of 4 bytes is stored in 3", leaf),
        ("other-counts", "The counts of a csr add up to more than it stores", wrong),
    ):
        yield valid(f"unknown/{slug}", f"{why}, in a section whose type nobody knows.",
                    ["R-NOD-019", "R-RDR-007"], [one, note(9, tree)],
                    flags=["over-validation", "ambiguity"])  # fmt: skip


def _valid() -> Iterator[Vector]:
    one, two = tensor("a", 1), tensor("b", 2)
    leaf = dense("uint8", (3,), b"abc")
    nothing = dense("uint8", (3,), b"abc").but(leaf=Leaf((b"",)))
    for slug, why, contents in (
        ("first", "An ancillary section of an unknown type stands first.",
         [note(9), one, two]),
        ("between", "Ancillary sections of unknown types stand between tensors.",
         [one, note(10, leaf), note(127), two]),
        ("last", "An ancillary section of an unknown type stands last.",
         [one, note(65535, leaf)]),
        ("alone", "A file has nothing but an ancillary section of an unknown type.",
         [note(256)]),
        ("before-digests", "An ancillary section of an unknown type stands before the digests.",
         [one, note(257)]),
        ("no-body", "An ancillary section of an unknown type has neither name, body nor payload.",
         [one, other(a.Section(9, b"", b"", flags=1))]),
        ("aligned", "The tree of an ancillary section has two raw leaves, each aligned to 2^6.",
         [note(9, Tree("concat", "uint8", (6,), None, bytes(8), {},
                       {"1": (1, leaf), "2": (2, leaf)}, kind_id=a.CONCAT, dtype_id=0x18),
               b"x", 6), one]),
        ("empty-leaves",
         "Of four leaves of an ancillary section two store nothing, and begin at multiples of 8.",
         [note(9, concat(0, leaf, nothing, leaf, nothing), b"x"), one]),
        ("no-leaf", "The tree of an ancillary section owns no payload, so that its body is free.",
         [note(9, constant("uint8", (2,), b"\1")), one]),
        ("names-section-first",
         "An ancillary section of an unknown type follows the names section.",
         [other(a.names((5, 128, b"a.b"))), note(9), one]),
    ):  # fmt: skip
        digests = slug == "before-digests"
        profile = "R3" if digests else None
        yield valid(f"unknown/{slug}", why, ["R-SEC-017", "R-EXT-002"], contents, profile=profile,
                    flags=["over-validation"], digests=digests)  # fmt: skip


def _trees() -> Iterator[Vector]:
    def found(slug: str, ids: Sequence[str], error: str, why: str, *operations: Operation,
              base: Vector = KEPT, flag: str = "hidden-bytes",
              repair: Sequence[str] = ()) -> Vector:  # fmt: skip
        return invalid(f"unknown/{slug}", f"In an ancillary section of an unknown type: {why}",
                       ids, error, base, operations, flags=[flag], profile="R0",
                       repair=repair)  # fmt: skip

    yield found("checksum", ["R-RDR-007", "R-NOD-019"], "bad-checksum",
                "a bit of the payload is flipped.",
                o.splice(0, "payload", 0, b"a", b"b"))  # fmt: skip
    yield found("payload-long", ["R-STR-016", "R-NOD-019"], "mismatch", "the payload has a byte "
                "more than its tree says.", o.splice(0, "payload", None, b"", b"\0"))  # fmt: skip
    yield found("payload-short", ["R-STR-016", "R-NOD-019"], "mismatch", "the payload has a byte "
                "less than its tree says.", o.splice(0, "payload", -1, b"d", b""),
                flag="out-of-bounds")  # fmt: skip
    yield found("free-body-with-payload", ["R-SEC-024"], "bad-node", "the payload is not empty, "
                "and the body is none.", o.section(0, "body", ""))  # fmt: skip
    yield found("text-with-payload", ["R-SEC-024"], "bad-node", "the payload is not empty, and the "
                "body is eight letters.", o.section(0, "body", b"any body".hex()))  # fmt: skip
    yield found("body-behind-tree", ["R-SEC-024"], "bad-node", "eight bytes follow the tree.",
                o.splice(0, "body", None, b"", b"any body"))  # fmt: skip
    yield found("tree-without-leaf", ["R-STR-016", "R-SEC-024"], "mismatch",
                "the tree has no leaf, and the payload is not empty.",
                o.section(0, "body", constant("uint8", (1,), b"\1").body().hex()))  # fmt: skip
    yield found("padding-behind", ["R-CHN-002", "R-RDR-007"], "bad-layout", "a byte of the padding "
                "behind the payload is set.", o.section(0, "tail", "0000000001"))  # fmt: skip
    aligned = o.section(0, "alignment", 6)
    yield found("padding-before", ["R-CHN-002", "R-RDR-007"], "bad-layout", "a byte of the padding "
                "before the payload is set.", aligned,
                o.section(0, "lead", "01" + "00" * 31))  # fmt: skip
    yield found("inline", ["R-RDR-006", "R-DIR-016"], "mismatch", "the inline name is another.",
                o.inline(0, "name", b"remote".hex()), flag="ambiguity")  # fmt: skip
    yield found("inline-checksum", ["R-SEC-010", "R-SEC-017"], "bad-checksum", "the checksum of "
                "the inline head is 0.", o.inline(0, "checksum", 0),
                flag="under-validation")  # fmt: skip


def _strange() -> Iterator[Vector]:
    body = strange().body()
    inner, coded = 16, 16 + 16 + 16 + 8
    plain = coded + struct.unpack_from("<I", body, coded + 12)[0]
    table = coded + 16 + 8 + 8

    def found(slug: str, ids: Sequence[str], error: str, why: str, *operations: Operation,
              flag: str = "under-validation", also: Sequence[str] = ()) -> Vector:  # fmt: skip
        return invalid(f"unknown/strange-{slug}", f"In a tree of unassigned ids: {why}", ids, error,
                       STRANGE, operations, flags=[flag], profile="R0", also=also)  # fmt: skip

    def at(place: int, new: bytes) -> Operation:
        return o.splice(0, "body", place, body[place : place + len(new)], new)

    yield found("kind-zero", ["R-NOD-001"], "bad-node", "a node has kind 0.", at(inner, b"\0"))
    yield found("role-of-root", ["R-NOD-002"], "bad-node", "the root has role 1.", at(1, b"\1"))
    yield found("role-zero", ["R-NOD-002"], "bad-node", "a part has role 0.", at(coded + 1, b"\0"))
    yield found("roles-equal", ["R-NOD-011"], "bad-node", "two parts have one role.",
                at(plain + 1, b"\1"))  # fmt: skip
    yield found("reserved", ["R-NOD-006"], "reserved-nonzero", "a reserved byte of a node is set.",
                at(inner + 7, b"\1"))  # fmt: skip
    yield found("node-length", ["R-NOD-008"], "bad-node", "a node is eight bytes longer than what "
                "it has.", at(inner + 12, struct.pack("<I", len(body) - inner + 8)),
                flag="out-of-bounds")  # fmt: skip
    yield found("dimension", ["R-NOD-009"], "bad-value", "a dimension is 2^62.",
                at(inner + 24, struct.pack("<Q", 1 << 62)), flag="integer-overflow",
                also=["bad-shape"])  # fmt: skip
    yield found("product", ["R-NOD-014"], "bad-shape", "the dimensions multiply to 2^62 where 0 "
                "counts as 1.", at(inner + 16, struct.pack("<Q", 1 << 61) + struct.pack("<Q", 2)),
                flag="integer-overflow")  # fmt: skip
    yield found("planes", ["R-STR-003"], "bad-value", "a leaf has no planes.",
                at(coded + 16 + 8 + 2, b"\0"), also=["bad-node", "bad-layout"])  # fmt: skip
    yield found("block", ["R-STR-002"], "bad-value", "blocks have 2^9 cells.",
                at(coded + 16 + 8 + 1, b"\x09"), also=["bad-node"])  # fmt: skip
    yield found("table-zero", ["R-STR-009"], "bad-value", "a shared table has no bytes.",
                at(table, bytes(4)), also=["mismatch"])  # fmt: skip
    yield found("codec-zeros", ["R-STR-006"], "bad-layout", "a byte behind the codecs is set.",
                at(coded + 16 + 8 + 7, b"\1"), flag="hidden-bytes")  # fmt: skip
    yield found("gap", ["R-STR-017", "R-NOD-019"], "bad-layout", "a byte between two stored "
                "planes is set.", o.splice(0, "payload", 7, b"\0", b"\1"),
                flag="hidden-bytes")  # fmt: skip
    yield found("checksum", ["R-STR-010", "R-NOD-019"], "bad-checksum", "a bit of a plane is "
                "flipped.", o.splice(0, "payload", 8, b"o", b"n"))  # fmt: skip
    yield found("payload-long", ["R-STR-016", "R-NOD-019"], "mismatch", "eight zero bytes follow "
                "the last leaf.", o.splice(0, "payload", None, b"", bytes(8)),
                flag="hidden-bytes")  # fmt: skip
