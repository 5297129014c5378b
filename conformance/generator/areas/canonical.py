"""Contents and their canonical form (SPEC 13.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.generator import assemble as a
from conformance.generator.areas.sections import tensor
from conformance.generator.kinds import codebook, concat, csr, of, opaque, quantized, real
from conformance.generator.tree import constant, dense
from conformance.generator.vector import (
    Content,
    Vector,
    alias_of,
    blob_of,
    graph_of,
    metadata_of,
    tensor_of,
    valid,
)

TYPES = {a.TENSOR: "tensor", a.GRAPH: "graph", a.METADATA: "metadata", a.ALIAS: "alias",
         a.BLOB: "blob"}  # fmt: skip


def content(given: Content) -> dict[str, Any]:
    """Return a section's place and text as PROTOCOL.md has it."""
    section = given.section
    said = {"type": TYPES[section.type], "name": section.name.decode()}
    if section.type in {a.GRAPH, a.METADATA}:
        said["text"] = section.payload.decode()
    return said


def canonical(
    slug: str, why: str, ids: Sequence[str], *contents: Content, area: str = "canonical"
) -> Vector:
    """Return contents with their canonical form."""
    made = valid(f"{area}/{slug}", why, ids, contents, area="encode")
    made.sidecar["model"]["contents"] = [content(one) for one in contents]
    return made


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield canonical("empty", "There are no contents.", ["R-CAN-001", "R-CAN-002", "R-CAN-003"])
    yield from _kinds()
    yield from _texts()
    yield from _order()
    yield from _alignments()


def _kinds() -> Iterator[Vector]:
    ids = ["R-CAN-005", "R-CAN-006", "R-CAN-002"]
    yield canonical(
        "dense",
        "Dense tensors have cells of 1, 4, 8, 16 and 64 bits, no elements, and no axes.",
        ids,
        tensor_of("bool", of("bool", [1, 0, 1, 1, 0, 0, 0, 1, 1])),
        tensor_of("int4", of("int4", [-8, 7, -1], (3, 1))),
        tensor_of("float8", of("float8_e4m3fn", [0x7F, 0x80])),
        tensor_of("half", real("bfloat16", 1, "-0.0")),
        tensor_of("nan", of("float32", [0x7FA00001, 0xFFC00000])),
        tensor_of("complex", of("complex64", [1, 1 << 63])),
        tensor_of("none", of("uint16", [], (0, 3))),
        tensor_of("scalar", of("float64", [1 << 63], ())),
    )
    yield canonical(
        "constant",
        "Constants are stored by their element, of cells below, at and above a byte.",
        ids,
        tensor_of("c", constant("float32", (2, 3), b"\0\0\0\x80")),
        tensor_of("d", constant("int3", (5,), b"\xff")),
        tensor_of("e", constant("complex128", (), bytes(15) + b"\x80")),
    )
    yield canonical(
        "csr",
        "Sparse rows and a fill other than zero.",
        ids,
        tensor_of("m", csr((2, 4), 4, bytes(4), of("uint8", [1, 2]), of("uint2", [1, 0, 2]),
                           of("float32", [0x40A00000, 0x3F800000, 0x80000000]))),
        tensor_of("n", csr((5,), 2, b"\x07", of("uint1", [1, 0, 1]), of("uint1", [1, 0]),
                           of("uint4", [9, 3]))),
    )  # fmt: skip
    yield canonical(
        "codebook",
        "One table, and a table of vectors for each row.",
        ids,
        tensor_of("shared", codebook((2, 4), real("float16", -1, 0, "0.5", 2, shape=(1, 1, 4)),
                                     of("uint2", [3, 0, 2, 1, 1, 1, 0, 2], (2, 4)))),
        tensor_of("vectors", codebook((2, 4), of("uint8", [*range(8)], (2, 1, 2, 2)),
                                      of("uint1", [1, 0, 0, 1], (2, 2)), [1, 0], 2, 1)),
    )  # fmt: skip
    yield canonical(
        "quantized",
        "Scales with zero points, flat blocks with a minimum, groups in any order.",
        ids,
        tensor_of("rows", quantized("float32", of("int8", [10, -128, 127, 0, 5, -5], (2, 3)),
                                    real("float32", "0.1", -2, shape=(2, 1)), block=[1, 0],
                                    zero=of("int8", [-3, 5], (2, 1)))),
        tensor_of("flat", quantized("bfloat16", of("uint4", [1, 2, 3]), real("float16", 3, 4),
                                    flat_block=2, divide=True, step="bfloat16",
                                    min=real("float16", 1, 2))),
        tensor_of("groups", quantized("float16", of("uint4", [9, 3, 5, 7], (4, 1)),
                                      real("float16", 2, 3, shape=(2, 1)), block=[2, 0],
                                      group_index=of("uint8", [1, 0, 1, 0]))),
        tensor_of("nested", quantized("float32", of("uint2", [0, 1, 2, 3]),
                                      quantized("float32", of("uint8", [5]),
                                                real("float32", 2)))),
    )  # fmt: skip
    yield canonical(
        "concat",
        "A dense and a constant part side by side, twice.",
        ids,
        tensor_of("rows", concat(0, of("int8", [1, 2], (1, 2)), constant("int8", (2, 2), b"\3"))),
        tensor_of("columns", concat(1, of("int8", [1, 2], (2, 1)),
                                    of("int8", [3, 4, 5, 6], (2, 2)))),
    )  # fmt: skip
    yield canonical(
        "opaque",
        "Foreign blocks with parameters of their format.",
        ids,
        tensor_of("foreign", opaque("float32", (256,), b"org.example.blocks", b"\1\2\3",
                                    of("uint8", [*range(66)]))),
    )  # fmt: skip


def _texts() -> Iterator[Vector]:
    graph = '{ "nodes": [],\t"inputs":["\\u0078"], "outputs":["x"] }\n'
    meaning = {"nodes": [], "inputs": ["x"], "outputs": ["x"]}
    yield canonical(
        "texts",
        "The texts of metadata and a graph keep their white space, escapes, order and digits.",
        ["R-CAN-005", "R-CAN-008"],
        metadata_of(b'\r\n{"b": 1.50, "a":\t-0,"\\u00e9":"\xc3\xa9"} ',
                    {"b": 1.5, "a": 0, "\u00e9": "\u00e9"}),
        graph_of("g", graph.encode(), meaning),
    )  # fmt: skip
    yield canonical(
        "two-graphs",
        "Two graphs differ in their text alone.",
        ["R-CAN-005"],
        graph_of("g", graph.encode(), meaning),
        graph_of("h", b'{"inputs":["x"],"outputs":["x"],"nodes":[]}', meaning),
    )
    yield canonical("blobs", "Blobs have no bytes, one and five thousand; none is aligned.",
                    ["R-CAN-008", "R-CAN-005"], blob_of("none", b""), blob_of("one", b"\0"),
                    blob_of("many", bytes(range(250)) * 20))  # fmt: skip


def _order() -> Iterator[Vector]:
    contents = {
        "t": tensor("t", 1),
        "a": alias_of("a", "t"),
        "u": tensor("u", 2, 3),
        "m": metadata_of(b"{}", {}),
        "b": blob_of("b", b"x"),
        "g": graph_of("g", b'{"inputs":[],"outputs":["a"],"nodes":[]}',
                      {"inputs": [], "outputs": ["a"], "nodes": []}),
    }  # fmt: skip
    for slug, order, why in (
        ("all-types", "tuabgm", "All types of sections that canonical files have."),
        ("metadata-first", "mbtgau", "Metadata and a blob stand before the tensors."),
        ("alias-between", "taugmb", "An alias stands between two tensors."),
    ):
        yield canonical(f"order-{slug}", why, ["R-CAN-008", "R-CAN-003", "R-CAN-004"],
                        *(contents[one] for one in order))  # fmt: skip
    yield canonical("names", "Names are two bytes, four and three a character, and a path.",
                    ["R-CAN-008"], tensor("\u00e9", 1), tensor("\U0001f600", 2),
                    alias_of("../\u4e2d", "\u00e9"))  # fmt: skip


def _alignments() -> Iterator[Vector]:
    ids = ["R-CAN-007"]
    yield canonical("alignment-4095", "A leaf has 4095 bytes and is aligned to 8.", ids,
                    _aligned("w", "uint8", 4095, 3))  # fmt: skip
    yield canonical("alignment-4096", "A leaf has 4096 bytes and is aligned to 64.", ids,
                    _aligned("w", "uint8", 4096, 6))  # fmt: skip
    yield canonical("alignment-of-bits", "4096 elements of one bit count as bytes and are aligned "
                    "to 64.", ids, _aligned("w", "bool", 4096, 6))  # fmt: skip
    half = of("uint8", [0] * 2048)
    yield canonical("alignment-of-parts", "Two leaves of 2048 bytes add up to 4096, and both are "
                    "aligned to 64.", ids,
                    tensor_of("w", concat(0, half, half), alignment=6))  # fmt: skip
    yield canonical("alignment-of-constant", "A constant of 4096 bytes has no leaf and is aligned "
                    "to 8.", ids, tensor_of("w", constant("uint8", (4096,), b"\1")))  # fmt: skip


def _aligned(name: str, dtype: str, many: int, alignment: int) -> Content:
    return tensor_of(name, dense(dtype, (many,), bytes(many)), alignment=alignment)
