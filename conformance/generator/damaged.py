"""Slices of files that are rejected (PROTOCOL.md): where they meet what is wrong, and beside it.

An element of a block that fails its checks is not handed out, whatever part of the block is asked
for (R-ERR-006), nor is one of a row, an index or a group that leads nowhere. Other sections of the
file can be read all the same (SPEC 14.2); what a reader does with other blocks of the same section
is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from conformance.generator.vector import Vector

Box = tuple[str, list[int], list[int]]
MEETING: dict[str, tuple[Box, ...]] = {
    "invalid/streams/checksum-second": (("w", [1024], [1025]), ("w", [1020], [1030])),
    "invalid/streams/checksum-plane": (("w", [1024], [1025]),),
    "invalid/streams/checksum-table": (("w", [0], [1]), ("w", [1400], [1500])),
    "invalid/streams/checksum-table-without-use": (("w", [0], [1]), ("w", [1030], [1040])),
    "invalid/streams/checksum-third-leaf": (("w", [0], [72]),),
    "invalid/streams/table-rules": (("w", [5], [6]),),
    "invalid/streams/alike-flipped": (("c", [7], [8]),),
    "invalid/streams/alike-longer": (("b", [0], [1]),),
    "invalid/large/second-block-of-table": (("w", [1024], [1025]),),
    "invalid/csr/column": (("t", [2, 0], [3, 5]),),
    "invalid/csr/count": (("t", [1, 0], [2, 5]),),
    "invalid/csr/counts-low": (("t", [3, 0], [4, 5]),),
    "invalid/csr/counts-high": (("t", [3, 0], [4, 5]),),
    "invalid/csr/counts-high-first": (("t", [3, 0], [4, 5]),),
    "invalid/codebook/index-equals-k": (("t", [0, 2], [1, 3]),),
    "invalid/codebook/last-index": (("t", [2499], [2500]),),
    "invalid/quantized/group-index-range": (("t", [3, 0], [4, 1]),),
    "invalid/quantized/group-index-last": (("t", [5, 1], [6, 2]),),
    "invalid/dtype/uint3-unused-bit": (("t", [0], [1]),),
    "invalid/dtype/packed-blocks-unused-bit": (("t", [2048], [2049]),),
    "invalid/transforms/bytes-int3": (("w", [0], [1]),),
    "invalid/huffman/words-less": (("w", [0], [1]),),
    "invalid/rans/final-state": (("w", [0], [1]),),
    "invalid/zstd/holds-less": (("w", [0], [1]),),
    "invalid/lz4/output-less": (("w", [0], [1]),),
    "invalid/deflate/trailing-byte": (("w", [0], [1]),),
    "invalid/directory/other-name": (("c", [0], [1]),),
    "invalid/directory/other-alias": (("s", [0], [1]),),
    "invalid/sections/padding-before": (("w", [0], [1]),),
}
"""Boxes that are rejected in the class of the file."""
BESIDE: dict[str, tuple[tuple[Box, str], ...]] = {
    "invalid/streams/alike-flipped": ((("a", [2], [5]), "206974"), (("b", [7], [8]), "73")),
    "invalid/streams/alike-longer": ((("c", [5], [8]), "20696e"),),
}
"""Boxes of tensors that have no fault, and their images."""


def sliced(vectors: Iterable[Vector]) -> Iterator[Vector]:
    """Return vectors with their slices of these tables."""
    left = MEETING.keys() | BESIDE.keys()
    for vector in vectors:
        boxes = [_box(box, error=vector.sidecar["error"]) for box in MEETING.get(vector.id, ())]
        boxes += [_box(box, image=image) for box, image in BESIDE.get(vector.id, ())]
        left -= {vector.id}
        yield replace(vector, sidecar={**vector.sidecar, "slices": boxes}) if boxes else vector
    if left:
        raise ValueError(f"no such vectors: {sorted(left)}")


def _box(box: Box, **answer: str) -> dict[str, Any]:
    name, start, stop = box
    return {"tensor": name, "start": start, "stop": stop, **answer}
