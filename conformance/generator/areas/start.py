"""The smallest files: the first that a new reader should get right (SPEC 3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance.generator.tree import dense
from conformance.generator.vector import Vector, invalid, tensor_of, valid

EMPTY = valid("start/empty", "A file without sections has 128 bytes.", ["R-DIR-001", "R-TRL-005"])
FLOAT32 = valid(
    "start/float32",
    "One raw tensor; the bits of its signalling NaN are kept.",
    ["R-RDR-004", "R-DEN-002", "R-STR-012"],
    [
        tensor_of(
            "w",
            dense("float32", (3,), struct.pack("<2f", 1, -2.5) + bytes.fromhex("0100a07f")),
            alignment=6,
        )
    ],
    slices=[{"tensor": "w", "start": [1], "stop": [3], "image": "000020c00100a07f"}],
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield EMPTY
    yield FLOAT32
    yield invalid(
        "start/magic",
        "The first byte of the magic is another.",
        ["R-HDR-001"],
        "not-nnpack",
        FLOAT32,
        [{"op": "header", "at": 0, "old": "89", "new": "88"}],
        profile="R0",
    )
    yield invalid(
        "start/flipped-bit",
        "A bit of the payload is flipped and its checksum is not.",
        ["R-STR-010"],
        "bad-checksum",
        FLOAT32,
        [{"op": "splice", "index": 0, "field": "payload", "at": 0, "old": "00", "new": "01"}],
    )
