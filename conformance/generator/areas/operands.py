"""Every data type in every place that may have it (SPEC 6.1, 8.3 to 8.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from conformance.generator import dtypes
from conformance.generator.areas.arithmetic import OPERANDS, each
from conformance.generator.derive import cut_of
from conformance.generator.kinds import codebook, concat, csr, of, quantized, real, same
from conformance.generator.tree import Tree
from conformance.generator.vector import Vector, tensor_of, valid

POSITIONS = [*(f"uint{bits}" for bits in range(1, 9)), "uint16", "uint32"]
CODES, ONES = of("int8", [3, -3, 0, 100]), real("float32", 1, 1, 1, 1)


def ends(dtype: str) -> list[int]:
    """Return four cells of a data type: one, its highest bit, all bits, and every other bit."""
    bits = dtypes.bits(dtype)
    return [1, 1 << (bits - 1), (1 << bits) - 1, int("01" * bits, 2) & ((1 << bits) - 1)]


def first(dtype: str) -> bytes:
    """Return the image of an element whose highest bit is set."""
    return dtypes.image(dtype, [1 << (dtypes.bits(dtype) - 1)])


def table_of(dtype: str) -> Tree:
    """Return a codebook whose entries have a data type."""
    return codebook((5,), of(dtype, ends(dtype), (1, 4)), of("uint2", [3, 1, 0, 2, 1]))


def sparse(dtype: str) -> Tree:
    """Return a csr whose fill and stored values have a data type."""
    return csr((2, 4), 4, first(dtype), of("uint8", [1, 3]), of("uint8", [2, 0, 1, 0]),
               of(dtype, ends(dtype)))  # fmt: skip


def positions(role: str) -> Callable[[str], Tree]:
    """Return what makes a tensor with positions of a data type in a role."""
    values = of("int16", [-2, 3, 5])
    made: dict[str, Callable[[str], Tree]] = {
        "csr-counts": lambda dtype: csr((3, 2), 2, b"\1\0", of(dtype, [1, 0, 1]),
                                        of("uint8", [1, 0]), of("int16", [-2, 3])),
        "csr-gaps": lambda dtype: csr((2, 3), 3, b"\1\0", of("uint8", [1, 2]),
                                      of(dtype, [1, 0, 1]), values),
        "codebook-indices": lambda dtype: codebook((3,), of("int16", [-2, 3], (1, 2)),
                                                   of(dtype, [1, 0, 1])),
        "group-index": lambda dtype: quantized(
            "float32", CODES, real("float32", 1, "1/3"), block=[2],
            group_index=of(dtype, [1, 0, 0, 1])),
    }  # fmt: skip
    return made[role]


PLACES: tuple[tuple[str, str, list[str], list[str], Callable[[str], Tree]], ...] = (
    ("scale", "scales", ["R-QNT-014"], OPERANDS,
     lambda dtype: each("float32", CODES, of(dtype, ends(dtype)))),
    ("divisor", "divisors", ["R-QNT-014", "R-QNT-001"], OPERANDS,
     lambda dtype: each("float16", CODES, of(dtype, ends(dtype)), divide=True)),
    ("zero", "zero points", ["R-QNT-014"], OPERANDS,
     lambda dtype: each("float32", CODES, ONES, zero=of(dtype, ends(dtype)))),
    ("bias", "biases", ["R-QNT-014", "R-QNT-008"], OPERANDS,
     lambda dtype: each("float32", CODES, ONES, bias=of(dtype, ends(dtype)))),
    ("min", "minima", ["R-QNT-014", "R-QNT-008"], OPERANDS,
     lambda dtype: each("float32", CODES, ONES, min=of(dtype, ends(dtype)))),
    ("csr-values", "the fill and the values of a csr", ["R-CSR-002", "R-CSR-008", "R-RDR-004"],
     [*dtypes.IDS], sparse),
    ("codebook-table", "the entries of a table", ["R-CBK-007", "R-RDR-004"], [*dtypes.IDS],
     table_of),
    ("concat", "the parts of a concat, of which the second begins inside a byte",
     ["R-CAT-003", "R-RDR-004"], [*dtypes.IDS],
     lambda dtype: concat(0, of(dtype, ends(dtype)[:3]), of(dtype, ends(dtype)))),
    ("constant", "the element of a constant", ["R-CON-002", "R-RDR-004"], [*dtypes.IDS],
     lambda dtype: same(dtype, (3,), 1 << (dtypes.bits(dtype) - 1))),
    ("csr-counts", "the counts of a csr", ["R-CSR-004"], POSITIONS, positions("csr-counts")),
    ("csr-gaps", "the gaps of a csr", ["R-CSR-004"], POSITIONS, positions("csr-gaps")),
    ("codebook-indices", "the indices of a codebook", ["R-CBK-010"], POSITIONS,
     positions("codebook-indices")),
    ("group-index", "a group_index", ["R-QNT-011"], POSITIONS, positions("group-index")),
)  # fmt: skip
"""Slug, what it is, requirements, data types, and a tensor with one of them in that place."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    for slug, what, rules, kinds, made in PLACES:
        trees = {dtype: made(dtype) for dtype in kinds}
        slices = [
            cut_of(dtype, tree, [1] * len(tree.shape), tree.shape) for dtype, tree in trees.items()
        ]
        yield valid(
            f"operands/{slug}",
            f"All data types that may be {what}, each in a tensor of its own.",
            [*rules, "R-NOD-021"],
            [tensor_of(dtype, tree) for dtype, tree in trees.items()],
            slices=slices,
            flags=["silent-wrong-value", "over-validation"],
        )
