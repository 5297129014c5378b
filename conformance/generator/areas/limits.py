"""Policy limits, one below, at and above what they are compared with (SPEC 15.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from conformance.generator import assemble as a
from conformance.generator.areas.directory import coded
from conformance.generator.areas.metadata import BASE as METADATA
from conformance.generator.areas.sections import NOTE, PAIR, tensor
from conformance.generator.areas.start import EMPTY, FLOAT32
from conformance.generator.encoders.zstd import RLE, block, header
from conformance.generator.kinds import codebook, of, quantized, real, same
from conformance.generator.tree import Leaf, Tree, constant
from conformance.generator.vector import (
    Vector,
    alias_of,
    blob_of,
    graph_of,
    limited,
    other,
    tensor_of,
    valid,
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _directory()
    yield from _texts()
    yield from _tensors()
    yield from _requests()
    yield from _expansion()


def around(
    slug: str, limit: str, value: int, base: Vector, what: str, *ids: str
) -> Iterator[Vector]:
    """Return a file under a limit of one less than a value, of the value and of one more."""
    for name, number, error in (
        ("below", value - 1, "limit-exceeded"),
        ("at", value, None),
        ("above", value + 1, None),
    ):
        words = {"below": f"one less than {what}", "at": what, "above": f"one more than {what}"}
        yield limited(f"policy/{slug}-{name}", f"The limit `{limit}` is {words[name]}.",
                      ["R-LIM-001", "R-LIM-002", *ids], base, {limit: number},
                      error)  # fmt: skip


def _directory() -> Iterator[Vector]:
    size = 8 + 27 + 1 + 40
    yield from around("directory", "directory_bytes", size, FLOAT32, "the directory's length")
    yield from around("directory-of-none", "directory_bytes", 8, EMPTY, "the length of an empty "
                      "directory")  # fmt: skip
    contents = [tensor("w", 1, 2, 3), other(a.Section(9, b"zeros", bytes(512), flags=1))]
    zipped = valid("policy/directory-zstd", "The directory is coded with zstd.", ["R-SEC-022"],
                   contents, directory=coded, profile="R2")  # fmt: skip
    yield zipped
    decoded = 8 + 2 * 27 + len(b"w\nzeros") + 40 + 512
    yield from around("directory-decoded", "directory_bytes", decoded, zipped, "the decoded length "
                      "of a directory that is stored in fewer bytes")  # fmt: skip
    yield from around("sections", "sections", 2, PAIR, "the number of sections")
    unknown = valid("policy/skipped", "A section of an unknown type stands among the others.",
                    ["R-SEC-017"], [tensor("t", 1), NOTE, alias_of("s", "t")])  # fmt: skip
    yield unknown
    yield from around("sections-skipped", "sections", 3, unknown, "the number of sections, one of "
                      "an unknown type among them")  # fmt: skip
    yield limited("policy/sections-zero", "The limit `sections` is 0, and the file has none.",
                  ["R-LIM-001"], EMPTY, {"sections": 0})  # fmt: skip


def _texts() -> Iterator[Vector]:
    yield from around("metadata", "json_bytes", 7, METADATA, "the length of the metadata")
    text = b'{"inputs":[],"outputs":[],"nodes":[]}'
    value: dict[str, Any] = {"inputs": [], "outputs": [], "nodes": []}
    base = valid("policy/two-graphs", "Two graphs are 37 and 38 bytes long.", ["R-GRF-001"],
                 [graph_of("g", text, value), graph_of("h", text + b" ", value)])  # fmt: skip
    yield base
    yield from around("graphs", "json_bytes", 38, base, "the length of the longer of two graphs")
    blob = valid("policy/blob", "A blob is no text.", ["R-LIM-001"], [blob_of("b", bytes(64))])
    yield blob
    yield limited("policy/blob-no-text", "The limit `json_bytes` is 1, and a blob has 64 bytes.",
                  ["R-LIM-001"], blob, {"json_bytes": 1})  # fmt: skip


def _tensors() -> Iterator[Vector]:
    yield from around("tensor-dense", "tensor", 12, FLOAT32, "the charge of a dense tensor")
    bits = valid("policy/bits", "Eleven elements of one bit.", ["R-LIM-001"],
                 [tensor_of("b", of("bool", [1] * 11))])  # fmt: skip
    yield bits
    yield from around("tensor-bits", "tensor", 11, bits, "the charge of elements of one bit, a "
                      "byte each")  # fmt: skip
    nested = valid(
        "policy/nodes",
        "A codebook of 8 elements has a table of 4 and 8 indices.",
        ["R-LIM-001"],
        [tensor_of("c", codebook((8,), of("float32", [0, 1, 2, 3], (1, 4)),
                                 of("uint2", [0, 1, 2, 3, 3, 2, 1, 0])))],
    )  # fmt: skip
    yield nested
    yield from around("tensor-nodes", "tensor", 8 * 4 + 4 * 4 + 8, nested, "the charge of all "
                      "nodes of a tensor")  # fmt: skip
    large = valid("policy/constant", "A constant of 1000 elements is stored in a head.",
                  ["R-LIM-001"],
                  [tensor_of("c", constant("float64", (10, 100), bytes(8)))])  # fmt: skip
    yield large
    yield from around("tensor-constant", "tensor", 8000, large, "the charge of a constant")
    none = valid("policy/none", "A tensor has no elements.", ["R-LIM-001"],
                 [tensor_of("n", of("float64", [], (0, 1 << 40)))])  # fmt: skip
    yield none
    yield limited("policy/tensor-none", "The limit `tensor` is 0, and a tensor has no elements.",
                  ["R-LIM-001"], none, {"tensor": 0, "request": 0})  # fmt: skip


def _requests() -> Iterator[Vector]:
    yield from around("request-two", "request", 6, PAIR, "the sum of the charges of two tensors")
    shared = valid("policy/aliases", "Two aliases stand for a tensor of five bytes.",
                   ["R-SEC-028"], [tensor("t", 1, 2, 3, 4, 5), alias_of("r", "t"),
                                   alias_of("s", "t")])  # fmt: skip
    yield shared
    yield from around("request-aliases", "request", 15, shared, "the charge of a tensor, once for "
                      "each of its three names", "R-LIM-005")  # fmt: skip


def _expansion() -> Iterator[Vector]:
    base = valid(
        "policy/expanded",
        "A codebook of 64 elements has a table of one and indices of one bit: 324 bytes of 16.",
        ["R-LIM-001"],
        [tensor_of("c", codebook((64,), of("float32", [7], (1, 1)), of("uint1", [0] * 64)))],
    )
    yield base
    charge, stored = 64 * 4 + 4 + 64, 16
    assert charge / stored == 20.25
    for slug, bytes_, times, error, why in (
        ("both", charge - 1, 20, "limit-exceeded",
         "The charge is above both limits, 20.25 times what is stored."),
        ("bytes-at", charge, 1, None, "The charge is at the limit of bytes, above that of times."),
        ("bytes-above", charge + 1, 0, None,
         "The charge is below the limit of bytes, above that of times."),
        ("ratio-above", 0, 21, None,
         "The charge is above the limit of bytes, and not more than 21 times what is stored."),
        ("ratio-below", 0, 20, "limit-exceeded", "The charge is 20.25 times what is stored."),
    ):  # fmt: skip
        yield limited(f"policy/expansion-{slug}", why, ["R-LIM-001", "R-LIM-002"], base,
                      {"expansion_bytes": bytes_, "expansion_ratio": times}, error)  # fmt: skip
    yield from _bombs()


def _bombs() -> Iterator[Vector]:
    """Small files that would be large."""
    recommended = {"expansion_bytes": 4 << 30, "expansion_ratio": 1000}
    zeros = block(RLE, b"\0", 1 << 17)
    frame = header(8 << 20, width=4) + zeros * 63 + block(RLE, b"\0", 1 << 17, last=True)
    blocks = Tree("dense", "float64", (9 << 20,), None, kind_id=a.DENSE, dtype_id=0x3B,
                  leaf=Leaf((frame,) * 9, log2=20, codecs=(1,), profile="R2"))  # fmt: skip
    wraps = same("float32", (1 << 59,), 0)
    for _ in range(7):
        wraps = quantized("float32", wraps, real("float32", 1))
    for slug, why, tree, limits in (
        ("wraps", "Eight nodes of 2^59 elements cost 2^64 bytes, and seven scales 28 bytes.",
         wraps, {"tensor": 1 << 40}),
        ("constant", "A constant of 2^50 elements is stored in a head.",
         constant("float64", (1 << 50,), struct.pack("<d", 1)), {"tensor": 1 << 40}),
        ("expansion", "A constant of 2^40 bytes has no payload.",
         constant("uint8", (1 << 40,), b"\1"), recommended),
        ("request", "A constant of 2^40 bytes is more than the request may cost.",
         constant("uint8", (1 << 40,), b"\1"), {"request": (1 << 40) - 1}),
        ("blocks", "Nine blocks of 8 MiB are stored in 265 bytes each.", blocks,
         recommended | {"expansion_bytes": 64 << 20}),
    ):  # fmt: skip
        bomb = valid(f"policy/{slug}", "", [], [tensor_of("c", tree)])
        yield limited(f"policy/bomb-{slug}", why, ["R-LIM-002", "R-LIM-005"], bomb, limits,
                      "limit-exceeded")  # fmt: skip
