"""The head of a node and the rules that hold for every kind (SPEC 8.1)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import assemble as a
from conformance.generator.derive import broken, of_tree, within
from conformance.generator.kinds import concat, csr, of, same, unknown, unknown_dtype
from conformance.generator.operations import Operation, splice
from conformance.generator.tree import Tree, constant
from conformance.generator.vector import Vector, invalid, limited, other, tensor_of, valid

DENSE_TREE = of("uint8", [1, 2, 3, 4], (2, 2))
DENSE = of_tree("node/dense", "Four bytes in two rows.", ["R-NOD-008", "R-DEN-002"], DENSE_TREE)
CONSTANT_TREE = same("uint8", (2, 3), 7)
CONSTANT = of_tree(
    "node/constant", "A tensor without a payload.", ["R-CON-002", "R-SEC-006"], CONSTANT_TREE
)
FOREIGN_TREE = unknown(
    127, "float32", (2, 5), b"\xff" * 8,
    {1: of("uint8", [1, 2, 3]), 200: same("int4", (), -1), 255: of("uint16", [4, 5])},
)  # fmt: skip
FOREIGN = of_tree(
    "node/unknown-kind",
    "A node of an unassigned kind has parts in roles of its own; the tensor is unsupported.",
    ["R-NOD-020", "R-NOD-019", "R-RDR-002", "R-RDR-003"],
    FOREIGN_TREE,
    flags=["over-validation"],
)
SPARSE_TREE = csr((4,), 4, b"\x00", same("uint8", (1,), 1), same("uint8", (1,), 2),
                  same("uint8", (1,), 9))  # fmt: skip


def edit(at: int, old: str, new: str) -> Operation:
    """Return the operation that replaces bytes, given in hex, in the first section's body."""
    return splice(0, "body", at, bytes.fromhex(old), bytes.fromhex(new))


def fields() -> Iterator[Vector]:
    """Return wrong fields of the head."""
    yield invalid(
        "node/kind-0", "Kind 0 is never used.", ["R-NOD-001"], "bad-node", DENSE,
        [edit(0, "01", "00")], profile="R0",
    )  # fmt: skip
    yield invalid(
        "node/root-role", "The root has the role of a part.", ["R-NOD-002"], "bad-node", DENSE,
        [edit(1, "00", "01")], profile="R0", flags=["ambiguity"],
    )  # fmt: skip
    yield broken(
        "node/rank-33", "A rank above 32, though every dimension is 1.", ["R-NOD-004"],
        "bad-shape", CONSTANT, same("uint8", [1] * 33, 7), profile="R0", flags=["out-of-bounds"],
    )  # fmt: skip
    for byte in (5, 6, 7):
        yield invalid(
            f"node/reserved-{byte}", f"Byte {byte} of the head is reserved and set.",
            ["R-NOD-006"], "reserved-nonzero", DENSE, [edit(byte, "00", "01")],
            profile="R0", flags=["hidden-bytes"],
        )  # fmt: skip
    yield broken(
        "node/reserved-of-part", "A reserved byte of a part's head is set.", ["R-NOD-006"],
        "reserved-nonzero", FOREIGN, within(FOREIGN_TREE, "200", override={"zeros": b"\0\0\x80"}),
        profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip


def lengths() -> Iterator[Vector]:
    """Return wrong counts and lengths."""
    cases = (
        ("count-1", "A dense node counts one part, and its bytes end before it.", "R-NOD-005",
         {"count": 1}, "out-of-bounds"),
        ("count-255", "A dense node counts 255 parts that are not there.", "R-NOD-005",
         {"count": 255}, "cpu-bomb"),
        ("length-0", "A node length of 0 never gets any further.", "R-NOD-008",
         {"length": 0}, "cpu-bomb"),
        ("length-short", "The node length is 8 less than its fields and parameters take.",
         "R-NOD-008", {"length": 40}, "under-validation"),
        ("length-long", "The node length is 8 more than the body has.", "R-NOD-008",
         {"length": 56}, "out-of-bounds"),
        ("length-largest", "The node length is the largest number of 32 bits.", "R-NOD-008",
         {"length": 0xFFFFFFFF}, "integer-overflow"),
        ("parameters-long", "The parameters would reach 8 bytes behind the node.", "R-NOD-008",
         {"plen": 24}, "out-of-bounds"),
        ("parameters-largest", "With a parameter length near 2^32 the sum wraps in 32 bits.",
         "R-NOD-008", {"plen": 0xFFFFFFF8}, "integer-overflow"),
        ("rank-without-shape", "A rank of 32, and no room for the dimensions.", "R-NOD-008",
         {"rank": 32}, "out-of-bounds"),
    )  # fmt: skip
    for slug, why, rule, override, flag in cases:
        yield broken(
            f"node/{slug}", why, [rule], "bad-node", DENSE, DENSE_TREE.but(override=override),
            profile="R0", flags=[flag],
        )  # fmt: skip
    inner = unknown(127, "uint8", (1,), b"\0" * 4)
    yield broken(
        "node/parameters-unaligned", "Two parts have 4 bytes of parameters each.", ["R-NOD-007"],
        "bad-node", FOREIGN, unknown(127, "float32", (2, 5), b"", {1: inner, 2: inner}),
        profile="R0",
    )  # fmt: skip
    longer = unknown(127, "uint8", (), b"", {1: same("uint8", (), 1)})
    yield broken(
        "node/part-leaves-parent",
        "A part of a part ends 8 bytes behind its parent, though inside the body.",
        ["R-NOD-008"], "bad-node", FOREIGN,
        unknown(127, "float32", (2, 5), b"",
                {1: longer.but(override={"length": 32}), 2: same("uint8", (), 1)}),
        profile="R0", flags=["out-of-bounds", "ambiguity"],
    )  # fmt: skip
    part = same("uint8", (), 1)
    yield broken(
        "node/part-longer", "A part states 8 bytes more than it has, which are those of the next.",
        ["R-NOD-008"], "bad-node", FOREIGN,
        unknown(127, "float32", (2, 5), b"", {1: part.but(override={"length": 32}), 2: part}),
        profile="R0", flags=["ambiguity"],
    )  # fmt: skip
    size = len(FOREIGN_TREE.body())
    yield invalid(
        "node/hole-behind-parts", "8 bytes of a node belong to none of its parts.", ["R-NOD-008"],
        "bad-node", FOREIGN,
        [edit(12, size.to_bytes(4, "little").hex(), (size + 8).to_bytes(4, "little").hex()),
         edit(size, "", "00" * 8)],
        profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip
    whole = CONSTANT_TREE.body().hex()
    yield invalid(
        "node/two-roots", "The body holds two trees.", ["R-SEC-023"], "bad-node", CONSTANT,
        [edit(0, "", whole)], profile="R0", flags=["hidden-bytes", "ambiguity"],
    )  # fmt: skip
    yield invalid(
        "node/bytes-behind-root", "Eight zeros stand behind the tree.", ["R-SEC-023"], "bad-node",
        CONSTANT, [edit(len(whole) // 2, "", "00" * 8)], profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip
    yield invalid(
        "node/no-root", "A tensor's body is empty.", ["R-SEC-023"], "bad-node", CONSTANT,
        [edit(0, whole, "")], profile="R0", flags=["out-of-bounds"],
    )  # fmt: skip
    yield invalid(
        "node/half-head", "The body ends inside the node's head.", ["R-SEC-023"], "bad-node",
        CONSTANT, [edit(8, whole[16:], "")], profile="R0", flags=["out-of-bounds"],
    )  # fmt: skip


def products() -> Iterator[Vector]:
    """Return shapes at the limit of 2^62 bytes, and beyond."""
    yield of_tree(
        "node/product-with-zero", "No elements, and a dimension as large as one may be.",
        ["R-NOD-014", "R-NOD-009"], same("uint8", (0, 2**62 - 1), 7),
        flags=["integer-overflow", "over-validation"],
    )  # fmt: skip
    yield of_tree(
        "node/product-of-unknown-dtype",
        "A cell of an unknown data type counts as one byte: 2^62 - 2^31 are below the limit.",
        ["R-NOD-014"], unknown_dtype(same("uint8", (2**31, 2**31 - 1), 7), 0x7F),
        flags=["over-validation"],
    )  # fmt: skip
    largest = of_tree("node/x", "", [], same("uint8", (2**62 - 1,), 7))
    yield limited(
        "node/product-largest", "A tensor of 2^62 - 1 bytes is valid and beyond what is wanted.",
        ["R-NOD-014", "R-LIM-002"], largest, {"tensor": 1 << 40}, "limit-exceeded",
    )  # fmt: skip
    cases = (
        ("product", "Two dimensions of 2^31 are 2^62 bytes.", "uint8", (2**31, 2**31)),
        ("product-wraps", "Two dimensions of 2^32 are no elements in 64 bits.", "uint8",
         (2**32, 2**32)),
        ("product-bytes", "2^59 cells of 8 bytes are 2^62 bytes.", "float64", (2**59,)),
        ("product-bytes-wrap", "2^61 cells of 8 bytes are no bytes in 64 bits.", "float64",
         (2**61,)),
        ("product-packed", "2^62 cells of one bit count as a byte each.", "uint1", (2**61, 2)),
        ("product-complex", "2^58 cells of 16 bytes are 2^62 bytes.", "complex128", (2**58,)),
        ("product-zero-first", "A dimension of 0 does not hide the product of the others.",
         "uint8", (0, 2**31, 2**31)),
        ("product-zero-last", "A dimension of 0 behind the others does not hide their product.",
         "uint8", (2**40, 2**40, 0)),
    )  # fmt: skip
    for slug, why, dtype, shape in cases:
        yield broken(
            f"node/{slug}", why, ["R-NOD-014"], "bad-shape", CONSTANT, same(dtype, shape, 7 % 2),
            profile="R0", flags=["integer-overflow"],
        )  # fmt: skip
    yield broken(
        "node/product-of-part", "The product of a part's dimensions wraps in 64 bits.",
        ["R-NOD-014"], "bad-shape", FOREIGN,
        unknown(127, "float32", (2, 5), b"", {1: same("uint8", (2**32, 2**32), 1)}),
        profile="R0", flags=["integer-overflow"],
    )  # fmt: skip
    yield broken(
        "node/product-unknown-dtype",
        "An unknown data type is no excuse: 2^62 cells are at least 2^62 bytes.",
        ["R-NOD-014", "R-ERR-003"], "bad-shape", CONSTANT,
        unknown_dtype(same("uint8", (2**31, 2**31), 7), 0x7F),
        profile="R0", flags=["integer-overflow"],
    )  # fmt: skip


def dimensions() -> Iterator[Vector]:
    """Return dimensions from 2^62 on, which break the rule about the product as well."""
    for slug, why, shape in (
        ("dimension-2-62", "A dimension of 2^62.", (2**62,)),
        ("dimension-2-63", "A dimension that is negative where it is taken for signed.",
         (2**63, 3)),
        ("dimension-2-64", "A dimension of 2^64 - 1.", (2**64 - 1,)),
        ("dimension-2-62-none", "A dimension of 2^62 beside one of 0.", (0, 2**62)),
    ):  # fmt: skip
        yield broken(
            f"node/{slug}", why, ["R-NOD-009", "R-NOD-014"], "bad-value", CONSTANT,
            same("uint8", shape, 7), profile="R0", also=["bad-shape"], flags=["integer-overflow"],
        )  # fmt: skip


def trees() -> Iterator[Vector]:
    """Return the largest and deepest trees, and parts in a wrong order."""
    deep = of("uint8", [1, 2])
    foreign = same("uint8", (), 1)
    for _ in range(7):
        deep, foreign = concat(0, deep), unknown(127, "uint8", (), b"", {9: foreign})
    base = of_tree(
        "node/levels-8", "Eight levels: seven concats of one part each around a leaf.",
        ["R-NOD-013", "R-CAT-002"], deep, flags=["over-validation"],
    )  # fmt: skip
    yield base
    yield broken("node/levels-9", "Nine levels.", ["R-NOD-013"], "bad-node", base,
                 concat(0, deep), profile="R0", flags=["cpu-bomb"])  # fmt: skip
    base = of_tree("node/levels-8-unknown", "Eight levels of unknown kinds.", ["R-NOD-013"],
                   foreign, flags=["over-validation"])  # fmt: skip
    yield base
    yield broken("node/levels-9-unknown", "Nine levels, unknown kinds or not.", ["R-NOD-013"],
                 "bad-node", base, unknown(127, "uint8", (), b"", {9: foreign}), profile="R0",
                 flags=["cpu-bomb"])  # fmt: skip
    one = same("uint8", (1,), 1)
    base = of_tree("node/nodes-64", "63 parts of one concat.", ["R-NOD-012", "R-CAT-002"],
                   concat(0, *[one] * 63), flags=["over-validation"])  # fmt: skip
    yield base
    yield broken(
        "node/nodes-65", "63 parts of one concat, the last with a part of its own.",
        ["R-NOD-012"], "bad-node", base, concat(0, *[one] * 62, concat(0, one)),
        profile="R0", flags=["cpu-bomb"],
    )  # fmt: skip
    base = of_tree("node/csr-of-constants", "A csr whose parts are constants.", ["R-CSR-004"],
                   SPARSE_TREE)  # fmt: skip
    yield base
    gaps = 16 + 8 + 16 + 32 + 1
    yield invalid(
        "node/roles-descend", "The parts stand in the order counts, values, gaps.",
        ["R-NOD-011"], "bad-node", base, [edit(gaps, "02", "03"), edit(gaps + 32, "03", "02")],
        profile="R0", flags=["ambiguity"],
    )  # fmt: skip
    second = 16 + 16 + 8 + 40 + 1
    yield invalid(
        "node/roles-repeat", "Two parts have one role.", ["R-NOD-011"], "bad-node", FOREIGN,
        [edit(second, "c8", "01")], profile="R0", flags=["ambiguity"],
    )  # fmt: skip
    yield invalid(
        "node/roles-descend-unknown", "The parts of an unknown kind are out of order.",
        ["R-NOD-011"], "bad-node", FOREIGN, [edit(16 + 16 + 8 + 1, "01", "c9")], profile="R0",
    )  # fmt: skip
    yield invalid(
        "node/role-0", "A part has role 0, which is the root's.", ["R-NOD-002"], "bad-node",
        FOREIGN, [edit(16 + 16 + 8 + 1, "01", "00")], profile="R0",
    )  # fmt: skip


def unknowns() -> Iterator[Vector]:
    """Return ids that no reader knows: no fault, but what surrounds them is checked."""
    plain = of("uint8", [7, 9])
    unassigned = (0x00, 0x02, 0x10, 0x1C, 0x20, 0x21, 0x2C, 0x38, 0x40, 0x5A, 0x63, 0x78, 0x7F)
    yield valid(
        "node/unassigned-dtypes", "Tensors of unassigned data types are unsupported, no fault.",
        ["R-NOD-003", "R-RDR-002", "R-RDR-003"],
        [*(tensor_of(f"{id:02x}", unknown_dtype(of("uint8", [1, 2, 3]), id)) for id in unassigned),
         tensor_of("plain", plain)],
        flags=["over-validation"],
    )  # fmt: skip
    kinds = (8, 9, 10, 11, 12, 13, 14, 127)
    yield valid(
        "node/unassigned-kinds", "Tensors of reserved and unassigned kinds are unsupported.",
        ["R-NOD-001", "R-RDR-002", "R-RDR-003"],
        [*(tensor_of(f"{id}", unknown(id, "uint8", (2,), b"", {1: plain})) for id in kinds),
         tensor_of("plain", plain)],
        flags=["over-validation"],
    )  # fmt: skip
    private = valid(
        "node/private", "A private kind and a private data type that the file names.",
        ["R-NAM-010", "R-NOD-019"],
        [other(a.names((2, 200, b"org.example.kind"), (3, 128, b"org.example.type"))),
         tensor_of("kind", unknown(200, "uint8", (2,), b"", {7: plain})),
         tensor_of("dtype", unknown_dtype(of("uint8", [1]), 128)),
         tensor_of("inside", concat(0, plain, unknown(200, "uint8", (1,))))],
        flags=["over-validation"],
    )  # fmt: skip
    yield private
    for slug, what, place in (("kind", "kind", 0), ("dtype", "data type", 1)):
        entry = a.names((2, 200, b"org.example.kind"), (3, 128, b"org.example.type"))
        half = len(entry.body) // 2
        cut = entry.body[place * half : place * half + half].hex()
        yield invalid(
            f"node/private-{slug}-unnamed", f"A private {what} has no name in the file.",
            ["R-NAM-010", "R-ERR-003"], "missing", private, [edit(place * half, cut, "")],
            profile="R0",
        )  # fmt: skip
    yield of_tree(
        "node/unknown-dtype-inside", "A csr of an unassigned data type; its fill has 16 bytes.",
        ["R-NOD-019", "R-RDR-002"], _sparse_of_unknown(), flags=["over-validation"],
    )  # fmt: skip
    yield invalid(
        "node/unknown-kind-checksum", "A leaf below an unknown kind is damaged.",
        ["R-NOD-019", "R-STR-010"], "bad-checksum", FOREIGN,
        [splice(0, "payload", 1, b"\x02", b"\x03")],
        profile="R0",
    )  # fmt: skip
    yield invalid(
        "node/unknown-kind-gap", "A byte between the leaves of an unknown kind is set.",
        ["R-NOD-019", "R-STR-017"], "bad-layout", FOREIGN,
        [splice(0, "payload", 3, b"\x00", b"\x01")],
        profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip
    yield invalid(
        "node/unknown-kind-payload", "Eight bytes stand behind the last leaf of an unknown kind.",
        ["R-NOD-019", "R-STR-016", "R-ERR-003"], "mismatch", FOREIGN,
        [splice(0, "payload", None, b"", bytes(8))],
        profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip
    yield invalid(
        "node/payload-without-leaf", "A tensor whose tree has no leaf has a payload.",
        ["R-NOD-020", "R-STR-016"], "mismatch", CONSTANT,
        [splice(0, "payload", 0, b"", bytes(8))],
        profile="R0", flags=["hidden-bytes"],
    )  # fmt: skip


def _sparse_of_unknown() -> Tree:
    fill = csr((4,), 4, b"\0" * 16, same("uint8", (1,), 1), same("uint8", (1,), 2),
               constant("complex128", (1,), bytes(range(16))))  # fmt: skip
    return unknown_dtype(
        fill.but(parts={**fill.parts, "values": (3, unknown_dtype(fill.parts["values"][1], 5))}), 5
    )


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from (DENSE, CONSTANT, FOREIGN)
    yield from fields()
    yield from lengths()
    yield from products()
    yield from dimensions()
    yield from trees()
    yield from unknowns()
