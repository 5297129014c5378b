"""Beside the limits of the format: what stands one below, and what is as large as it may be.

What stands at the limits and above them is with the areas that they belong to (SPEC 15.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.metadata import MOST, nested
from conformance.generator.areas.sections import tensor
from conformance.generator.areas.start import EMPTY
from conformance.generator.coded import noise, one
from conformance.generator.derive import of_tree
from conformance.generator.encoders.leaf import leaf, of
from conformance.generator.encoders.zstd import COMPRESSED, RAW, RLE, block, header, sequences
from conformance.generator.kinds import codebook, concat, csr, same
from conformance.generator.kinds import of as dense_of
from conformance.generator.vector import Vector, invalid, metadata_of, other, valid

OVER = ["over-validation"]
MEBIBYTES_8 = 8 << 20
RUN = 1 << 17
"""The longest block of a zstd frame."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _trees()
    yield from _texts()
    yield from _container()
    yield from _planes()


def _trees() -> Iterator[Vector]:
    deep = dense_of("uint8", [1, 2])
    for _ in range(6):
        deep = concat(0, deep)
    yield of_tree("edge/levels-7", "Seven levels.", ["R-NOD-013"], deep, flags=OVER)
    yield of_tree("edge/nodes-63", "A concat of 62 parts.", ["R-NOD-012"],
                  concat(0, *[same("uint8", (1,), 1)] * 62), flags=OVER)  # fmt: skip
    yield of_tree("edge/rank-31", "31 dimensions.", ["R-NOD-004"],
                  dense_of("uint8", [1, 2], [1] * 30 + [2]), flags=OVER)  # fmt: skip
    longest = codebook((65535,), same("uint16", (1, 1, 65535), 0x0102), same("uint8", (1,), 0),
                       None, 65535, 0)  # fmt: skip
    rows = csr((6,), 2**62 - 2, b"\0", dense_of("uint8", [2]), dense_of("uint8", [0, 3]),
               dense_of("uint8", [7, 9]))  # fmt: skip
    yield of_tree("edge/row-length", "A row length of 2^62 - 2.", ["R-CSR-001"], rows,
                  flags=OVER)  # fmt: skip
    yield of_tree("edge/vector-65535", "Vectors of 65,535 elements.", ["R-CBK-001"], longest,
                  ([65533], [65535]), flags=OVER)  # fmt: skip


def _texts() -> Iterator[Vector]:
    text, value = nested(31, "objects")
    yield valid("edge/nesting-31", "The text nests 31 levels of objects.", ["R-JSN-008"],
                [metadata_of(text, value)], flags=OVER)  # fmt: skip
    yield valid("edge/integers", "Integers are one nearer to 0 than the largest and the smallest.",
                ["R-JSN-004"], [metadata_of(b'{"a":9007199254740990,"b":-9007199254740990}',
                                            {"a": MOST - 1, "b": 1 - MOST})],
                flags=OVER)  # fmt: skip


def _container() -> Iterator[Vector]:
    yield valid("edge/name-1023", "A name has 1023 bytes.", ["R-SEC-005", "R-NAM-012"],
                [tensor("\u4e2d" * 341, 1)], flags=OVER)  # fmt: skip
    bound = [(kind, number, b"a.b") for kind in range(1, 6) for number in range(128, 256)]
    yield valid("edge/all-private-ids", "All 640 private ids are bound, to one name.",
                ["R-NAM-002", "R-NAM-007"], [other(a.names(*bound)), tensor("t", 1)],
                flags=OVER)  # fmt: skip
    for slug, more, error, ids, why in (
        ("of-its-offset", 8, "mismatch", ["R-DIR-011", "R-DIR-013"],
         "The directory has 16 bytes and stands at 16; no section needs the last eight."),
        ("above-its-offset", 9, "bad-layout", ["R-DIR-013"],
         "The directory has 17 bytes and stands at 16."),
    ):  # fmt: skip
        yield invalid(f"edge/directory-{slug}", why, ids, error, EMPTY,
                      [o.directory(None, b"", bytes(more))], flags=["hidden-bytes"],
                      profile="R1")  # fmt: skip


def _planes() -> Iterator[Vector]:
    size = MEBIBYTES_8 - 8
    runs = block(RLE, b"\0", RUN) * 63 + block(RLE, b"\0", RUN - 8, last=True)
    yield one("edge/plane-below", "A plane of eight bytes less than 8 MiB.", ["R-STR-002"],
              "float64", bytes(size),
              leaf("float64", bytes(size), log2=20,
                   coders=[of(1, header(size, width=4) + runs, profile="R2")]),
              flags=["over-validation", "oom"])  # fmt: skip
    stored = header(300, width=2, window=0x67) + block(RLE, b"\0", 300, last=True)
    yield one("edge/window-below", "A window of 7.5 MiB, the last but one that is allowed.",
              ["R-COD-010"], "uint8", bytes(300),
              leaf("uint8", bytes(300), coders=[of(1, stored, profile="R2")]),
              flags=OVER)  # fmt: skip
    yield from _far(MEBIBYTES_8)
    yield from _far(MEBIBYTES_8, 0x68)


def _far(size: int, window: int | None = None) -> Iterator[Vector]:
    """Return a frame whose last bytes are a match of its first."""
    first = noise("far", 34)
    zeros = bytes(size - 2 * len(first))
    runs = [zeros[at : at + RUN] for at in range(0, len(zeros), RUN)]
    value = size - len(first) + 3  # of an offset, above the three that are repeated
    match = sequences(b"", 1, (0, 22, 31), [(value - (1 << 22), 22)])
    frame = header(size, width=4, window=window) + block(RAW, first)
    frame += b"".join(block(RLE, b"\0", len(run)) for run in runs)
    frame += block(COMPRESSED, match, last=True)
    data = first + zeros + first
    slug, what = ("far", "a single segment") if window is None else ("far-in-window", "a window")
    yield one(f"edge/{slug}", f"In {what} of 8 MiB, the last 34 bytes of a plane are a match of "
              "the first.", ["R-COD-010", "R-COD-001"], "float64", data,
              leaf("float64", data, log2=20, coders=[of(1, frame, profile="R2")]),
              slices=[((1 << 20) - 5, 1 << 20)],
              flags=["silent-wrong-value", "out-of-bounds"])  # fmt: skip
