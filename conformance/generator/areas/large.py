"""Small files of large tensors: more than a reader wants to hold of a row, a vector or a block."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.coded import bad, near, one, some, store
from conformance.generator.derive import broken, having, of_tree
from conformance.generator.encoders.leaf import RAW, huffman, leaf
from conformance.generator.encoders.transforms import BYTES, PAIR
from conformance.generator.kinds import codebook, csr, elements, of, quantized, real, same
from conformance.generator.vector import Vector

MANY = (1 << 18) + 3
"""Above the cells of the blocks that SPEC 9.3 recommends."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from rows()
    yield from groups()
    yield from blocks()


def rows() -> Iterator[Vector]:
    """Return long rows of csr."""
    last = csr((2, MANY), 2 * MANY, b"\x05", of("uint8", [2]), of("uint32", [MANY - 1, MANY - 1]),
               of("uint8", [1, 2]))  # fmt: skip
    base = of_tree(
        "large/row-of-few", "A row of half a million elements stores two, the last among them.",
        ["R-CSR-008", "R-CSR-009"], last, ([0, 0], [1, 3]), ([0, MANY - 2], [1, MANY]),
        ([1, MANY - 2], [2, MANY]), flags=["oom"],
    )  # fmt: skip
    yield base
    wrong = having(last, gaps=of("uint32", [MANY - 1, MANY]))
    yield broken("large/row-of-few-column", "The last column is one behind the row.",
                 ["R-CSR-008"], "bad-index", base, wrong, flags=["out-of-bounds"])  # fmt: skip
    full = csr((70000,), 70000, b"\0", of("uint32", [70000]), same("uint8", (70000,), 0),
               same("uint8", (70000,), 3))  # fmt: skip
    yield of_tree("large/row-of-many", "All 70,000 elements of a row are stored.",
                  ["R-CSR-008"], full, ([65530], [65540]), flags=["integer-overflow"])  # fmt: skip


def groups() -> Iterator[Vector]:
    """Return long vectors and blocks: small trees, whose constant parts are made wider."""
    small = codebook((2, 1), of("uint8", [1, 2, 3, 4], (1, 1, 2, 2)), same("uint1", (1, 1), 1),
                     None, 2, 0)  # fmt: skip
    first, second = elements(small)
    for slug, wide in (("vectors", 200_003), ("vectors-wide", MANY)):
        tall = having(small, indices=same("uint1", (1, wide), 1)).but(
            shape=(2, wide), image=first * wide + second * wide
        )
        yield of_tree(
            f"large/{slug}", f"The two elements of a vector stand {wide:,} apart.",
            ["R-CBK-010", "R-CBK-001"], tall, ([0, 5], [2, 7]), ([1, wide - 1], [2, wide]),
            flags=["silent-wrong-value"],
        )  # fmt: skip
    scale = real("float32", 1, "0.5", 2, 4, shape=(2, 2))
    small = quantized("float16", same("int8", (2, 3), -3), scale, block=[1, 2])
    cells = elements(small)
    long = having(small, codes=same("int8", (2, MANY), -3)).but(
        shape=(2, MANY),
        parameters=small.parameters[:-8] + struct.pack("<Q", MANY - 2),
        said={**small.said, "block": [1, MANY - 2]},
        image=b"".join(cells[row] * (MANY - 2) + cells[row + 2] * 2 for row in (0, 3)),
    )
    yield of_tree(
        "large/block", "Two rows with a block of a quarter of a million elements and one of two.",
        ["R-QNT-012"], long, ([0, MANY - 4], [2, MANY]), ([1, 0], [2, 2]),
        flags=["silent-wrong-value"],
    )  # fmt: skip


def blocks() -> Iterator[Vector]:
    """Return blocks that share a table, and of which one is wrong."""
    image = bytes(byte & 3 for byte in some("uint8", 2500))
    stored = leaf("uint8", image, BYTES, [huffman(2, {0: 2, 1: 2, 2: 2, 3: 2})], log2=10)
    base = one(
        "large/blocks-of-table",
        "Three blocks share the table of a code.",
        ["R-STR-007", "R-STR-019"],
        "uint8",
        image,
        stored,
        slices=[(1020, 1030)],
    )
    yield base
    yield bad("large/second-block-of-table", "The second of three blocks that share a table is "
              "a word short.", "R-COD-025", "bad-stream", base,
              store(base, 2, stored.planes[1][:-2]),
              flags=["out-of-bounds"])  # fmt: skip
    image = near("bfloat16", 1500, spread=1)
    coders = [RAW, huffman(2, {0: 1, 255: 1}), RAW]
    stored = leaf("bfloat16", image, PAIR, coders, log2=10, blocks=[{"base": 113}] * 2)
    yield one(
        "large/blocks-of-forms",
        "Two blocks of a transform with forms share a table.",
        ["R-STR-007", "R-TRF-008"],
        "bfloat16",
        image,
        stored,
        slices=[(1020, 1030)],
    )
