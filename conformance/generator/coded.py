"""What the areas of streams, transforms and codecs share: one tensor, and changes to it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from conformance.generator import dtypes, operations
from conformance.generator.derive import alike
from conformance.generator.encoders.leaf import Coder, leaf
from conformance.generator.operations import Operation
from conformance.generator.rebuild import entries, parse
from conformance.generator.tree import Leaf, dense
from conformance.generator.vector import Vector, invalid, tensor_of, valid

DTYPE, LENGTH, TRANSFORM, BLOCK, PLANES, PARAMETER, CODEC = 2, 8, 24, 25, 26, 27, 28
"""Offsets in a body of one dense node of rank 1 (SPEC 8.1, 9.1); LENGTH is two u32."""


def noise(seed: str, size: int) -> bytes:
    """Return bytes without a pattern."""
    return hashlib.shake_128(seed.encode()).digest(size)


def skewed(count: int, seed: str) -> bytes:
    """Return letters, each half as frequent as the one before."""
    return bytes(
        65 + (min((byte & -byte).bit_length(), 9) - 1 if byte else 8) for byte in noise(seed, count)
    )


_VOCABULARY = b"weight bias . layer norm attention 0 1 2 _ proj mlp".split()


def words(count: int, seed: str) -> bytes:
    """Return a text of few words."""
    return b"".join(_VOCABULARY[byte % 12] for byte in noise(seed, count))[:count]


def some(dtype: str, count: int, seed: str = "") -> bytes:
    """Return the image of cells without a pattern."""
    wide, mask = dtypes.width(dtype), (1 << dtypes.bits(dtype)) - 1
    data = noise(dtype + seed, count * wide)
    cells = (int.from_bytes(data[at : at + wide], "little") & mask
             for at in range(0, len(data), wide))  # fmt: skip
    return dtypes.image(dtype, cells)


def near(dtype: str, count: int, greatest: int = 128, spread: int = 8, seed: str = "") -> bytes:
    """Return the image of float32 or bfloat16 cells whose exponents are near each other."""
    wide = dtypes.width(dtype)
    data = noise(dtype + seed, count * (wide + 1))
    low = 8 * wide - 9
    out = bytearray()
    for at in range(0, len(data), wide + 1):
        cell = int.from_bytes(data[at : at + wide], "little") & ~(255 << low)
        out += (cell | (greatest - data[at + wide] % spread) << low).to_bytes(wide, "little")
    return bytes(out)


def cut(dtype: str, image: bytes, start: int, stop: int) -> dict[str, Any]:
    """Return a slice of a tensor "w" of rank 1."""
    wide = dtypes.width(dtype)
    return {"tensor": "w", "start": [start], "stop": [stop],
            "image": image[start * wide : stop * wide].hex()}  # fmt: skip


def one(
    id: str,
    why: str,
    requirements: Sequence[str],
    dtype: str,
    image: bytes,
    stored: Leaf,
    *,
    slices: Sequence[tuple[int, int]] = (),
    alignment: int = 3,
    **options: Any,
) -> Vector:
    """Return a file of one tensor "w" of rank 1."""
    tree = dense(dtype, (len(image) // dtypes.width(dtype),), image, stored)
    named = [*requirements, *(["R-TRF-022"] if stored.transform else []),
             *(["R-COD-053"] if any(stored.codecs) and image else [])]  # fmt: skip
    return valid(id, why, [*dict.fromkeys(named)], [tensor_of("w", tree, alignment=alignment)],
                 slices=[cut(dtype, image, *bounds) for bounds in slices], **options)  # fmt: skip


def plane(
    id: str,
    why: str,
    requirements: Sequence[str],
    data: bytes,
    coder: Coder,
    **options: Any,
) -> Vector:
    """Return a file of uint8 cells that are one coded plane; it must come out shorter."""
    stored = leaf("uint8", data, coders=[coder])
    if data and len(stored.planes[0]) >= len(data):
        raise ValueError(f"{id} is not coded")
    return one(id, why, requirements, "uint8", data, stored, **options)


def body(base: Vector, at: int, new: str, old: int | None = None) -> Operation:
    """Return the change of bytes of the first section's body; `old` is how many there were."""
    here = parse(base.data).sections[0].body
    many = len(new) // 2 if old is None else old
    return operations.splice(0, "body", at, here[at : at + many], bytes.fromhex(new))


def payload(base: Vector, at: int, new: str, old: int | None = None) -> Operation:
    """Return the change of bytes of the first section's payload."""
    here = parse(base.data).sections[0].payload
    many = len(new) // 2 if old is None else old
    return operations.splice(0, "payload", at, here[at : at + many], bytes.fromhex(new))


def longer(base: Vector, more: int) -> Operation:
    """Return the change of the parameter length and the node length by some bytes."""
    here = parse(base.data).sections[0].body
    lengths = struct.unpack_from("<2I", here, LENGTH)
    return body(base, LENGTH, struct.pack("<2I", *(length + more for length in lengths)).hex())


def store(base: Vector, entry: int, new: bytes) -> Operation:
    """Return the replacement of all that is stored for an entry."""
    section = parse(base.data).sections[0]
    at, position = entries(section.body, section.alignment)[entry]
    old = section.payload[position:][: struct.unpack_from("<I", section.body, at)[0]]
    same = alike(old, new)
    return operations.store(0, entry, same, old[same:], new[same:])


def part(base: Vector, entry: int, at: int, new: str) -> Operation:
    """Return the change of some of the bytes that are stored for an entry."""
    section = parse(base.data).sections[0]
    _, position = entries(section.body, section.alignment)[entry]
    old = section.payload[position + at :][: len(new) // 2]
    return operations.store(0, entry, at, old, bytes.fromhex(new))


def bad(
    id: str,
    why: str,
    requirements: str | Sequence[str],
    error: str,
    base: Vector,
    *operations: Operation,
    flags: Sequence[str] = ("under-validation",),
    repair: Sequence[str] = ("planes",),
    **options: Any,
) -> Vector:
    """Return a file with one change, its checksums repaired."""
    named = [requirements] if isinstance(requirements, str) else requirements
    return invalid(id, why, named, error, base, operations, repair=repair, flags=flags,
                   **options)  # fmt: skip


def wrong(base: Vector, entry: int) -> Operation:
    """Return the change of an entry's checksum."""
    here = parse(base.data).sections[0]
    at, _ = entries(here.body, here.alignment)[entry]
    return body(base, at + 4, bytes(byte ^ 1 for byte in here.body[at + 4 : at + 8]).hex())
