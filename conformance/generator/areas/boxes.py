"""Slices: boxes of three axes, through an alias, and beyond 2^31 elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.generator import dtypes
from conformance.generator.coded import some
from conformance.generator.derive import cut_of, having
from conformance.generator.encoders.leaf import leaf, zstd_runs
from conformance.generator.encoders.transforms import BYTES
from conformance.generator.kinds import codebook, concat, csr, of, quantized, real, same
from conformance.generator.tree import Tree, dense, raw
from conformance.generator.vector import Vector, alias_of, limited, tensor_of, valid

SHAPE = (3, 4, 6)
LONG = (4, 30, 20)
"""Of more than two blocks of 2^10 cells."""
FLAGS = ["silent-wrong-value"]
FAR = 2**31 + 7 + 2**32
"""The last column that 32 bits reach from the one stored before it."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from rank_3()
    yield through_alias()
    yield from far()


def cells(dtype: str, shape: Sequence[int] = SHAPE) -> Tree:
    """Return a dense node without a pattern."""
    return dense(dtype, shape, some(dtype, dtypes.count(shape)))


def small() -> dict[str, Tree]:
    """Return a tensor of three axes of each kind."""
    grid = codebook(SHAPE, of("int16", range(-8, 8), (1, 2, 2, 4)),
                    of("uint2", [i * 5 % 7 % 4 for i in range(72)], SHAPE), [0, 2, 3])  # fmt: skip
    vectors = codebook(SHAPE, of("uint8", range(8), (1, 1, 1, 4, 2)),
                       of("uint2", [i * 5 % 7 % 4 for i in range(36)], (3, 2, 6)), None, 2,
                       1)  # fmt: skip
    scale = real("float32", *(f"1/{i + 1}" for i in range(6)), shape=(1, 2, 3))
    order = of("uint8", [2, 0, 2, 1, 1, 0])
    return {
        "dense": cells("uint16"),
        "packed": cells("int3"),
        "constant": same("uint16", SHAPE, 0x0102),
        "csr": csr(SHAPE, 6, b"\x05", of("uint8", [2, 0, 3, 1] * 3),
                   of("uint8", [1, 2, 0, 1, 0, 4] * 3), of("uint8", range(100, 118))),
        "csr-across": csr(SHAPE, 10, b"\x05", of("uint8", [2] * 8), of("uint8", [0, 0] * 8),
                          of("uint8", range(100, 116))),
        "codebook": grid,
        "vectors": vectors,
        "quantized": quantized("float32", cells("int8"), scale, block=[0, 2, 2]),
        "group-index": quantized("float16", cells("uint4"), scale, block=[0, 2, 2], group_axis=2,
                                 group_index=order, bias=scale),
        "flat": quantized("float32", cells("int8"), real("float32", *range(1, 10)), flat_block=8),
        "concat": concat(1, cells("uint8", (3, 1, 6)), cells("uint8", (3, 2, 6)),
                         same("uint8", (3, 1, 6), 9)),
    }  # fmt: skip


def blocks() -> dict[str, Tree]:
    """Return tensors of three axes in several blocks."""
    bits = bytes(byte & 3 for byte in some("uint8", dtypes.count(LONG)))
    words = b"".join(bytes([one, 7]) for one in bits)
    planes = leaf("uint16", words, BYTES, [zstd_runs()] * 2, log2=10)
    return {
        "raw": dense("uint16", LONG, words, raw("uint16", words, log2=10)),
        "packed": dense("uint2", LONG, bits, raw("uint2", bits, log2=10)),
        "coded": dense("uint16", LONG, words, planes),
        "indices": codebook(LONG, of("int16", [5, -5, 7, -7], (1, 1, 1, 4)),
                            dense("uint2", LONG, bits, raw("uint2", bits, log2=10))),
    }  # fmt: skip


def rank_3() -> Iterator[Vector]:
    """Return boxes that take part of each of three axes."""
    for slug, trees, boxes, why in (
        ("rank-3", small(), (([1, 1, 2], [3, 3, 5]), ([0, 2, 0], [3, 3, 6])),
         "Boxes take a part of each of three axes, and a part of the middle one alone."),
        ("rank-3-blocks", blocks(), (([1, 7, 3], [4, 9, 5]), ([0, 29, 0], [4, 30, 2])),
         "Boxes of three axes take some elements of each block of a stream."),
    ):  # fmt: skip
        slices = [cut_of(name, tree, *bounds) for name, tree in trees.items() for bounds in boxes]
        contents = [tensor_of(name, tree) for name, tree in trees.items()]
        yield valid(f"boxes/{slug}", why, ["R-NOD-021", "R-CSR-009", "R-CBK-010"], contents,
                    slices=slices, flags=FLAGS)  # fmt: skip


def through_alias() -> Vector:
    """Return slices of a tensor by its other name."""
    one, two = of("uint8", range(10)), cells("int3", (3, 5))
    slices = [cut_of("s", two, [1, 1], [3, 4]), cut_of("t", two, [1, 1], [3, 4]),
              cut_of("first", one, [3], [7])]  # fmt: skip
    tensors = [tensor_of("a", one), tensor_of("t", two)]
    return valid("boxes/alias", "Slices are taken of aliases.", ["R-SEC-028", "R-RDR-011"],
                 [*tensors, alias_of("s", "t"), alias_of("first", "a")],
                 slices=slices)  # fmt: skip


def far() -> Iterator[Vector]:
    """Return slices behind 2^31 elements, of tensors that a limit keeps from being decoded."""
    row = stored([4, 2**31 + 7, FAR], [3], (2**36,), 2**36)
    rows = stored([2**31 + 4, 2**32 - 1], [1, 0, 1, 0], (4, FAR), FAR)
    halves = [same("uint8", (2**35,), cell) for cell in (1, 3)]
    joined = concat(0, halves[0], of("uint8", [255, 2]), halves[1])
    slices = [
        {"tensor": name, "start": start, "stop": stop, "image": image}
        for name, start, stop, image in (
            ("row", [2], [8], "05050a050505"),
            ("row", [2**31 + 6], [2**31 + 9], "050b05"),
            ("row", [FAR - 1], [FAR + 2], "050c05"),
            ("row", [2**36 - 1], [2**36], "05"),
            ("rows", [0, 2**31 + 3], [1, 2**31 + 5], "050a"),
            ("rows", [2, 2**32 - 2], [3, 2**32 + 1], "050b05"),
            ("joined", [2**35 - 2], [2**35 + 4], "0101ff020303"),
        )
    ]
    trees = {"row": row, "rows": rows, "joined": joined}
    base = valid("boxes/far", "", [], [tensor_of(name, tree) for name, tree in trees.items()])
    yield limited(
        "boxes/far", "Tensors of 2^34 elements and more are above the limit, slices are not.",
        ["R-CSR-008", "R-NOD-021", "R-LIM-001"], base, {"tensor": 1 << 33}, "limit-exceeded",
        slices=slices, flags=["integer-overflow", "silent-wrong-value"],
    )  # fmt: skip


def stored(places: Sequence[int], counts: Sequence[int], shape: Sequence[int], row: int) -> Tree:
    """Return a csr of 5 with 10, 11 and so on at columns of its rows; no image is made."""
    gaps, last = [], -1
    for place in places:
        gaps.append(place - last - 1 if len(counts) == 1 else place)
        last = place
    empty = csr((0,), row, b"\x05", *[of("uint8", [])] * 3)
    parts = having(empty, counts=of("uint8", counts), gaps=of("uint32", gaps),
                   values=of("uint8", range(10, 10 + len(places))))  # fmt: skip
    return parts.but(shape=tuple(shape), image=None)
