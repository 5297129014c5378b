"""Heads of 64 MiB, a hundred thousand sections, all names that a file can bind (SPEC 5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from conformance.generator import assemble as a
from conformance.generator.areas.sections import NOTE, tensor
from conformance.generator.encoders import zstd
from conformance.generator.encoders.leaf import Coder, leaf
from conformance.generator.kinds import same
from conformance.generator.tree import dense
from conformance.generator.vector import (
    Content,
    Vector,
    alias_of,
    limited,
    other,
    tensor_of,
    valid,
)

MOST = 64 << 20
"""Bytes of a head."""
MANY = 100_000


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield names()
    yield long_names()
    yield from _heads()
    yield from _sections()


def names() -> Vector:
    """Return a file in which every private id has the longest name."""
    ids = [
        (kind, number, f"{kind}.{number}.".encode().ljust(255, b"n"))
        for kind in range(1, 6)
        for number in range(128, 256)
    ]
    return valid("large/names", "All 640 private ids are bound, each to a name of 255 bytes.",
                 ["R-NAM-003", "R-NAM-002", "R-NAM-007"],
                 [other(a.names(*ids)), tensor("t", 1)], flags=["over-validation"])  # fmt: skip


def long_names() -> Vector:
    """Return a file whose names take more than its tensors."""
    aliases = [alias_of(f"{number:04}".rjust(1024, "n"), "t") for number in range(2000)]
    return valid("large/long-names", "2000 names of 1024 bytes differ in their last four.",
                 ["R-NAM-015", "R-SEC-005", "R-DIR-009"], [tensor("t", 1), *aliases],
                 flags=["over-validation", "cpu-bomb"])  # fmt: skip


_runs = cache(zstd.runs)


def _coded(data: bytes) -> a.Section:
    """Return a directory whose blocks are frames of raw and RLE blocks."""
    tree = dense("uint8", (len(data),), data,
                 leaf("uint8", data, coders=[Coder(1, _runs, profile="R2")]))  # fmt: skip
    return a.Section(a.DIRECTORY, b"", tree.body(), tree.payload())


def _heads() -> Iterator[Vector]:
    """The directory of the largest head is above the recommended limit, which is raised here."""
    raised = {"directory_bytes": 2 * MOST}
    for slug, size, error, why in (
        ("below", MOST - 8, None, "A head has eight bytes less than 64 MiB."),
        ("at", MOST, None, "A head has 64 MiB."),
        ("above", MOST + 8, "bad-layout", "A head has eight bytes more than 64 MiB."),
    ):
        head = other(a.Section(9, b"", bytes(size - 32), flags=1))
        base = valid("large/head", "", [], [head, tensor("t", 1)], directory=_coded, profile="R2")
        yield limited(f"large/head-{slug}", why, ["R-SEC-004", "R-DIR-004"], base, raised,
                      error)  # fmt: skip


def _sections() -> Iterator[Vector]:
    tensors = [tensor_of(f"t{number}", same("uint8", (), number % 256)) for number in range(2000)]
    aliases = [alias_of(f"a{number}", f"t{number % 2000}") for number in range(38_000)]
    contents: list[Content] = [*tensors, *aliases, *[NOTE] * (MANY - 40_000)]
    base = valid("large/sections", "100,000 sections: tensors, aliases and, one after another, "
                 "60,000 of an unknown type.", ["R-DIR-001", "R-SEC-017", "R-NAM-015"], contents,
                 flags=["over-validation", "cpu-bomb"])  # fmt: skip
    yield base
    for slug, number, error in (("below", MANY - 1, "limit-exceeded"), ("at", MANY, None)):
        yield limited(f"large/sections-{slug}", f"The limit `sections` is {number}, and there are "
                      f"{MANY}.", ["R-LIM-001", "R-LIM-002"], base, {"sections": number},
                      error)  # fmt: skip
