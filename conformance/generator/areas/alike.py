"""Tensors that differ in little: what is known of one is seldom known of the next."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import operations as o
from conformance.generator.areas.pair import weights
from conformance.generator.coded import PARAMETER, some
from conformance.generator.encoders.leaf import leaf
from conformance.generator.encoders.transforms import PAIR
from conformance.generator.rebuild import parse
from conformance.generator.tree import dense
from conformance.generator.vector import Content, Vector, invalid, tensor_of, valid


def exponents(name: str, room: int) -> Content:
    """Return a tensor of 64 cells with room for exceptions."""
    image = weights("bfloat16", 64)
    stored = leaf("bfloat16", image, PAIR, room=room, blocks=[{"base": 113}])
    return tensor_of(name, dense("bfloat16", (64,), image, stored))


def halves(name: str) -> Content:
    """Return a tensor of 64 bytes, for which the transform has no parameter."""
    image = some("int8", 64, name)
    return tensor_of(name, dense("int8", (64,), image, leaf("int8", image, PAIR)))


ROOMS = valid(
    "alike/rooms",
    "Tensors of one type and shape have room for 4, 4, 4, 0 and 8 exceptions, and none.",
    ["R-TRF-010", "R-RDR-001"],
    [exponents(name, room) for name, room in (("a", 1), ("b", 1), ("c", 1), ("d", 0), ("e", 2))],
    flags=["silent-wrong-value"],
)
HALVES = valid(
    "alike/halves",
    "Two tensors of one type and shape differ in their cells.",
    ["R-TRF-009"],
    [halves("a"), halves("b")],
)
ENTRY = 24 + 8
"""Offset of the first entry in a body of one dense node of rank 1 and three planes."""


def _stored() -> Iterator[Vector]:
    """Tensors whose stored bytes differ, or that should not have as many."""
    alike = valid(
        "streams/alike",
        "Three tensors differ in nothing but their names, their places and one cell.",
        ["R-STR-016", "R-STR-010"],
        [tensor_of(name, dense("uint8", (8,), b"as it is")) for name in ("a", "b")]
        + [tensor_of("c", dense("uint8", (8,), b"as it in"))],
    )
    yield alike
    for slug, why, error, changed in (
        ("longer", "The second of three tensors alike has 8 bytes more than its leaf.", "mismatch",
         o.splice(1, "payload", 8, b"", b"and more")),
        ("shorter", "The second of three tensors alike has 4 bytes less than its leaf.", "mismatch",
         o.splice(1, "payload", 4, b"t is", b"")),
        ("flipped", "A bit of the third of three tensors alike is flipped.", "bad-checksum",
         o.splice(2, "payload", 0, b"a", b"c")),
    ):  # fmt: skip
        rule = "R-STR-010" if error == "bad-checksum" else "R-STR-016"
        yield invalid(f"streams/alike-{slug}", why, [rule], error, alike, [changed],
                      flags=["under-validation"])  # fmt: skip


def _heads() -> Iterator[Vector]:
    """Tensors whose heads differ."""
    yield from (ROOMS, HALVES)
    here = parse(ROOMS.data).sections[1].body
    hot = here[ENTRY + 8 : ENTRY + 12]
    yield invalid(
        "alike/second-length",
        "Of two tensors alike the second states a byte more for its second plane.",
        ["R-TRF-008", "R-STR-016"], "mismatch", ROOMS,
        [o.splice(1, "body", ENTRY + 8, hot, bytes([hot[0] + 1]) + hot[1:])],
        flags=["out-of-bounds"],
    )  # fmt: skip
    yield invalid(
        "alike/second-parameter",
        "Of two tensors alike the second has a parameter, which there is not for its type.",
        ["R-TRF-010"], "bad-value", HALVES, [o.splice(1, "body", PARAMETER, b"\0", b"\1")],
    )  # fmt: skip
    yield invalid(
        "alike/second-shape",
        "Of two tensors alike the second has a cell less in its shape, and as many bytes.",
        ["R-TRF-008"], "mismatch", HALVES, [o.splice(1, "body", 16, b"\x40", b"\x3f")],
        flags=["out-of-bounds"],
    )  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _stored()
    yield from _heads()
