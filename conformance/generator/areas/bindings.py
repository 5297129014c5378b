"""Private ids and the names section that binds them (SPEC 5.3, 16)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.sections import tensor
from conformance.generator.operations import Operation
from conformance.generator.tree import Leaf, Tree, constant, dense
from conformance.generator.vector import Vector, invalid, other, tensor_of, valid

SECTION, KIND, DTYPE, TRANSFORM, CODEC = range(1, 6)
LONGEST = b"org." + b"n" * 251
BOUND = (
    (SECTION, 200, b"org.example.note"),
    (KIND, 128, b"org.example.kind"),
    (DTYPE, 255, b"org.example.posit8"),
    (TRANSFORM, 130, b"org.example.shuffle"),
    (CODEC, 129, b"org.example.codec"),
)


def private_kind() -> Tree:
    """Return a node of a private kind with parameters and two parts."""
    parts = {"1": (1, dense("uint8", (3,), b"\1\2\3")), "255": (255, constant("bool", (), b"\1"))}
    return Tree("unknown(128)", "float32", (2, 3), None, b"of owner", {}, parts, kind_id=128,
                dtype_id=0x3A)  # fmt: skip


def private_dtype() -> Tree:
    """Return a dense node of a private data type; its cells have 8 bits."""
    return Tree("dense", "unknown(255)", (5,), None, leaf=Leaf((b"cells",)), kind_id=a.DENSE,
                dtype_id=255)  # fmt: skip


def private_transform() -> Tree:
    """Return a leaf of a private transform with two planes."""
    leaf = Leaf((b"one", b"plane"), transform=130, codecs=(0, 0))
    return Tree("dense", "int16", (4,), None, leaf=leaf, kind_id=a.DENSE, dtype_id=0x29)


def private_codec() -> Tree:
    """Return a leaf of a private codec."""
    return Tree("dense", "uint8", (16,), None, leaf=Leaf((b"coded",), codecs=(129,)),
                kind_id=a.DENSE, dtype_id=0x18)  # fmt: skip


ALL = valid(
    "bindings/all",
    "Private ids of all five classes occur and are bound; the plain tensor is read, the others "
    "are unsupported.",
    ["R-NAM-010", "R-RDR-002", "R-RDR-003", "R-NAM-011"],
    [
        other(a.names(*BOUND)),
        other(a.Section(200, b"note", a.byte_leaf(b"tree"), b"tree", flags=1)),
        other(a.Section(200, b"", b"any body", flags=1)),
        tensor_of("kind", private_kind()),
        tensor_of("dtype", private_dtype()),
        tensor_of("transform", private_transform()),
        tensor_of("codec", private_codec()),
        tensor("plain", 7, 9),
    ],
    flags=["over-validation"],
)
NOTED = valid(
    "bindings/note",
    "An ancillary section of a private type, bound in the names section.",
    ["R-SEC-019", "R-SEC-017"],
    [
        other(a.names(BOUND[0])),
        other(a.Section(200, b"note", b"any body", flags=1)),
        tensor("t", 1),
    ],
    flags=["over-validation"],
)

PLAIN = valid("bindings/none", "Without private ids there is no names section.", ["R-NAM-010"],
              [tensor("t", 1)])  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from (ALL, NOTED, PLAIN)
    yield from _valid()
    yield from _missing()
    yield from _entries()
    yield from _section()


def _valid() -> Iterator[Vector]:
    for slug, why, entries in (
        ("unused", "The names section binds ids that do not occur.",
         [(CODEC, 128, b"a.b"), (CODEC, 255, b"a.b.c")]),
        ("one-name-twice", "Two ids are bound to one name.",
         [(KIND, 128, b"org.example.x"), (KIND, 129, b"org.example.x")]),
        ("one-id-in-each-class", "One number is bound in every class, each to its own name.",
         [(kind, 200, b"org.example.%d" % kind) for kind in range(1, 6)]),
        ("shortest-and-longest", "Bound names have 3 and 255 bytes.",
         [(KIND, 128, b"a.b"), (KIND, 129, LONGEST)]),
        ("odd-labels", "Labels begin with a hyphen or a digit, or are nothing else.",
         [(KIND, 128, b"0.-"), (KIND, 129, b"-a-.9z.--")]),
    ):  # fmt: skip
        yield valid(f"bindings/{slug}", why, ["R-NAM-017", "R-NAM-003", "R-NAM-007"],
                    [other(a.names(*entries)), tensor("t", 1)],
                    flags=["over-validation"])  # fmt: skip
    body = private_dtype().body()
    yield valid(
        "bindings/free-body",
        "A body that is free looks like a tree with a private data type, which needs no binding.",
        ["R-NAM-010", "R-SEC-024"],
        [other(a.Section(9, b"", body, flags=1)), tensor("t", 1)],
        flags=["over-validation"],
    )


def _missing() -> Iterator[Vector]:
    def without(slug: str, at: int, what: str, *operations: Operation) -> Vector:
        kept = a.names(*BOUND[:at], *BOUND[at + 1 :])
        return invalid(f"bindings/unbound-{slug}", f"A private {what} has no entry in the names "
                       "section, which has others.", ["R-NAM-010"], "missing", ALL,
                       [o.section(0, "body", kept.body.hex()), *operations],
                       profile="R0")  # fmt: skip

    for at, (slug, what) in enumerate(
        [("section", "section type"), ("kind", "kind"), ("dtype", "data type"),
         ("transform", "transform"), ("codec", "codec")]
    ):  # fmt: skip
        yield without(slug, at, what)
    yield invalid("bindings/no-names", "A section of a private type stands in a file without a "
                  "names section.", ["R-SEC-019", "R-NAM-010"], "missing", NOTED, [o.drop(0)],
                  profile="R0")  # fmt: skip
    yield invalid("bindings/other-class", "A private section type is bound as a kind alone.",
                  ["R-SEC-019", "R-NAM-010"], "missing", NOTED,
                  [o.section(0, "body", a.names((KIND, 200, b"a.b")).body.hex())],
                  profile="R0")  # fmt: skip
    yield invalid("bindings/other-id", "The private section type next to the one that occurs is "
                  "bound.", ["R-SEC-019", "R-NAM-010"], "missing", NOTED,
                  [o.section(0, "body", a.names((SECTION, 201, b"a.b")).body.hex())],
                  profile="R0")  # fmt: skip
    yield invalid("bindings/in-a-part", "A part of a part has a private codec that nothing binds.",
                  ["R-NAM-010"], "missing", NOTED, [_deep(2, a.TENSOR)], profile="R0")  # fmt: skip
    yield invalid("bindings/in-unknown-section", "The tree of a section of an unknown type has a "
                  "private codec that nothing binds.", ["R-NAM-010", "R-NOD-019"], "missing",
                  NOTED, [_deep(2, 9, flags=1)], profile="R0")  # fmt: skip
    yield invalid("bindings/critical", "A private section type is bound, and critical.",
                  ["R-SEC-016"], "unknown-section", NOTED, [o.section(1, "flags", 0)],
                  profile="R0")  # fmt: skip


def _deep(to: int, type: int, **fields: int) -> Operation:
    """Add a section of a concat of a concat of a leaf with a private codec."""
    tree = private_codec()
    for _ in range(2):
        tree = Tree("concat", "uint8", (16,), None, bytes(8), {"axis": 0}, {"1": (1, tree)},
                    kind_id=a.CONCAT, dtype_id=0x18)  # fmt: skip
    return o.add(to, type, name=b"deep", body=tree.body(), payload=tree.payload(), **fields)


def _entries() -> Iterator[Vector]:
    """Entries behind the one that is needed."""
    first = a.names(BOUND[0]).body

    def found(slug: str, id: str, error: str, why: str, raw: bytes, length: int | None = None,
              flag: str = "under-validation") -> Vector:  # fmt: skip
        """`raw` is class, id and name."""
        entry = raw[:2] + struct.pack("<H", len(raw) - 2 if length is None else length) + raw[2:]
        body = first + entry.ljust(a.up8(len(entry)), b"\0")
        return invalid(f"bindings/{slug}", why, id.split(), error, NOTED,
                       [o.section(0, "body", body.hex())], flags=[flag], profile="R0")  # fmt: skip

    yield found("class-six", "R-NAM-001", "bad-value", "An entry has class 6.", b"\6\x80a.b")
    yield found("class-zero", "R-NAM-001", "bad-value", "An entry has class 0.", b"\0\x80a.b")
    yield found("id-127", "R-NAM-002", "bad-value", "An entry has id 127.", b"\5\x7fa.b")
    yield found("id-zero", "R-NAM-002", "bad-value", "An entry has id 0.", b"\5\0a.b")
    yield found("name-of-256", "R-NAM-003", "bad-text", "A bound name has 256 bytes.",
                b"\5\x80" + LONGEST + b"n")  # fmt: skip
    for slug, name, why in (
        ("empty", b"", "A bound name is empty."),
        ("of-two", b"a.", "A bound name has two bytes."),
        ("one-label", b"example", "A bound name has one label alone."),
        ("leading-dot", b".example", "A bound name begins with a dot."),
        ("trailing-dot", b"example.", "A bound name ends in a dot."),
        ("two-dots", b"org..example", "A bound name has an empty label."),
        ("upper-case", b"org.Example", "A bound name has an upper-case letter."),
        ("underscore", b"org.my_codec", "A bound name has an underscore."),
        ("slash", b"org.example/x", "A bound name has a slash."),
        ("not-ascii", "org.\u0435xample".encode(), "A bound name has a Cyrillic letter."),
        ("zero-byte", b"org.exa\0mple", "A bound name contains a zero byte."),
        ("line-feed", b"org.example\n", "A bound name ends in a line feed."),
    ):  # fmt: skip
        yield found(f"name-{slug}", "R-NAM-017 R-NAM-004", "bad-text", why, b"\5\x80" + name)
    yield found("name-past-body", "R-NAM-006", "bad-node", "An entry reaches past the body.",
                b"\5\x80org.example", 64, "out-of-bounds")  # fmt: skip
    yield found("id-twice", "R-NAM-007", "bad-layout", "An id is bound twice.",
                b"\1\xc8org.example.other", flag="ambiguity")  # fmt: skip
    yield found("id-descending", "R-NAM-007", "bad-layout", "An id is bound behind a higher one.",
                b"\1\xc7org.example.other")  # fmt: skip
    two = a.names((CODEC, 128, b"a.b"), BOUND[0]).body
    yield invalid("bindings/class-descending", "A class follows a higher one.", ["R-NAM-007"],
                  "bad-layout", NOTED, [o.section(0, "body", two.hex())], profile="R0")  # fmt: skip
    yield invalid("bindings/zeros", "A byte behind a bound name is set.", ["R-NAM-005"],
                  "bad-layout", NOTED, [o.splice(0, "body", -1, b"\0", b"\1")],
                  flags=["hidden-bytes"], profile="R0")  # fmt: skip


def _section() -> Iterator[Vector]:
    body = a.names((CODEC, 128, b"a.b")).body
    for slug, id, error, why, operations, also in (
        ("no-entries", "R-NAM-008", "bad-layout", "The names section has no entries.",
         [o.add(0, a.NAMES)], []),
        ("with-payload", "R-NAM-009", "bad-layout", "The names section has a payload.",
         [o.add(0, a.NAMES, body=body, payload=bytes(8))], []),
        ("not-first", "R-SEC-034", "bad-layout", "The names section is the second section.",
         [o.add(1, a.NAMES, body=body)], []),
        ("twice", "R-SEC-033", "duplicate", "Two names sections stand in the file.",
         [o.add(0, a.NAMES, body=body), o.add(1, a.NAMES, body=body)], ["bad-layout"]),
        ("named", "R-SEC-018", "bad-text", "The names section has a name.",
         [o.add(0, a.NAMES, body=body, name=b"names")], []),
        ("ancillary", "R-SEC-015", "bad-layout", "The names section is ancillary.",
         [o.add(0, a.NAMES, body=body, flags=1)], []),
    ):  # fmt: skip
        yield invalid(f"bindings/{slug}", why, [id], error, PLAIN, operations, also=also,
                      profile="R0")  # fmt: skip
