"""Constants, and the single element among parameters (SPEC 7, 8.3)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator.derive import broken, of_tree, parameter
from conformance.generator.kinds import csr, of, same
from conformance.generator.tree import constant
from conformance.generator.vector import Vector


def kept() -> Iterator[Vector]:
    """Return elements of every width."""
    cases = (
        ("bool", "bool", (3,), 1, "A bool takes a bit of its byte."),
        ("uint1", "uint1", (9,), 1, "A cell of one bit."),
        ("int3", "int3", (2, 2), -4, "A negative cell of 3 bits is stored as 4."),
        ("int8", "int8", (2,), -128, "The least signed byte."),
        ("float6", "float6_e3m2fn", (2,), 0x3F, "All six bits of a cell are set."),
        ("bfloat16", "bfloat16", (3,), 0x8000, "A negative zero is not a zero."),
        ("float32-nan", "float32", (2,), 0xFFA00001, "A signalling NaN is kept."),
        ("uint64", "uint64", (2,), (1 << 64) - 1, "An element as long as the field."),
        ("complex128", "complex128", (2,), 0x7FF4 << 112 | 1, "The longest element: 16 bytes."),
        ("rank-0", "float16", (), 0x3C00, "One element of rank 0."),
        ("no-elements", "float32", (2, 0, 3), 0x3F800000, "An element that nothing equals."),
    )
    for slug, dtype, shape, cell, why in cases:
        boxes = [([0] * len(shape), [1] * len(shape))] if 0 not in shape else []
        yield of_tree(f"constant/{slug}", why, ["R-CON-002", "R-RDR-004"],
                      same(dtype, shape, cell), *boxes)  # fmt: skip
    yield of_tree("constant/many", "A million elements, and no payload.",
                  ["R-CON-002", "R-SEC-006"], same("uint16", (1024, 1024), 0x0102),
                  ([1023, 1020], [1024, 1024]), flags=["oom"])  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    found = {vector.id.rpartition("/")[2]: vector for vector in kept()}
    yield from found.values()
    tree = same("int3", (2, 2), -4)
    yield broken(
        "constant/unused-bit", "A bit behind the cell of 3 bits is set.",
        ["R-DTY-002", "R-CON-002"],
        "bad-value", found["int3"], parameter(tree, 0, b"\x0c"), flags=["hidden-bytes"],
    )  # fmt: skip
    yield broken(
        "constant/sign-extended", "The negative cell of 3 bits is spelled over the whole byte.",
        ["R-DTY-002"], "bad-value", found["int3"], parameter(tree, 0, b"\xfc"),
        flags=["ambiguity"],
    )  # fmt: skip
    yield broken(
        "constant/bool-2", "A bool of 2 has a bit behind its cell.", ["R-DTY-002"], "bad-value",
        found["bool"], parameter(same("bool", (3,), 1), 0, b"\x02"),
    )  # fmt: skip
    yield broken(
        "constant/padding", "The last byte behind the element is not zero.", ["R-DTY-003"],
        "bad-layout", found["int3"], parameter(tree, 7, b"\x01"), flags=["hidden-bytes"],
    )  # fmt: skip
    real = same("float32", (2,), 0xFFA00001)
    yield broken(
        "constant/padding-of-float32", "The first byte behind four is not zero.", ["R-DTY-003"],
        "bad-layout", found["float32-nan"], parameter(real, 4, b"\x01"), flags=["hidden-bytes"],
    )  # fmt: skip
    yield broken(
        "constant/parameters-none", "A constant without an element.", ["R-NOD-018", "R-NOD-010"],
        "bad-node", found["int3"], tree.but(parameters=b""), flags=["out-of-bounds"],
    )  # fmt: skip
    yield broken(
        "constant/parameters-long", "Eight zeros follow the element.", ["R-NOD-018"], "bad-node",
        found["int3"], tree.but(parameters=tree.parameters + bytes(8)), flags=["hidden-bytes"],
    )  # fmt: skip
    long = same("complex128", (2,), 0x7FF4 << 112 | 1)
    yield broken(
        "constant/parameters-half", "An element of 16 bytes has 8.", ["R-NOD-018"], "bad-node",
        found["complex128"], long.but(parameters=long.parameters[:8]), flags=["out-of-bounds"],
    )  # fmt: skip
    yield broken(
        "constant/part", "A constant has a part.", ["R-CON-001"], "bad-node", found["int3"],
        tree.but(parts={"1": (1, same("int3", (2, 2), 0))}), flags=["hidden-bytes"],
    )  # fmt: skip
    sparse = csr((5,), 5, b"\x0f", of("uint4", [1]), of("uint4", [2]), of("uint4", [9]))
    base = of_tree("constant/fill", "The fill of a csr is a single element of 4 bits.",
                   ["R-CSR-002", "R-CSR-008"], sparse, ([1], [4]))  # fmt: skip
    yield base
    yield broken(
        "constant/fill-unused-bit", "A bit behind the fill of 4 bits is set.",
        ["R-DTY-002", "R-CSR-002"], "bad-value", base, parameter(sparse, 8, b"\x1f"),
        flags=["hidden-bytes"],
    )  # fmt: skip
    yield broken(
        "constant/fill-padding", "A byte behind the fill is not zero.", ["R-DTY-003", "R-CSR-002"],
        "bad-layout", base, parameter(sparse, 9, b"\x01"), flags=["hidden-bytes"],
    )  # fmt: skip
    wide = csr((3,), 3, bytes(range(16)), of("uint8", [0]), of("uint8", []),
               constant("complex128", (0,), bytes(16)))  # fmt: skip
    base = of_tree("constant/fill-complex128", "A fill of 16 bytes, and nothing stored.",
                   ["R-CSR-002"], wide)  # fmt: skip
    yield base
    yield broken(
        "constant/fill-half", "A fill of 16 bytes has 8.", ["R-NOD-018", "R-CSR-002"], "bad-node",
        base, wide.but(parameters=wide.parameters[:16]), flags=["out-of-bounds"],
    )  # fmt: skip
