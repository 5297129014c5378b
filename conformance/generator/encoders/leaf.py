"""Leaves that decode to given cells: blocks, transform, codecs (SPEC 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.generator import dtypes
from conformance.generator.encoders import lanes, transforms, zstd
from conformance.generator.tree import Leaf


@dataclass(frozen=True)
class Coder:
    """How a plane is coded."""

    id: int
    encode: Callable[[bytes], bytes] = bytes
    shared: bytes | None = None
    profile: str = "R1"
    features: tuple[str, ...] = ()


RAW = Coder(0)


def zstd_runs() -> Coder:
    """Return zstd by raw and RLE blocks."""
    return Coder(1, zstd.runs, profile="R2")


def of(id: int, *coded: bytes, profile: str = "R3", features: Sequence[str] = ()) -> Coder:
    """Return a codec that gives the stored bytes of one block after the other."""
    left = iter(coded)
    return Coder(id, lambda _: next(left), profile=profile, features=tuple(features))


def huffman(log2: int, lengths: lanes.Table) -> Coder:
    """Return huffman with 2^log2 lanes; a plane with other symbols is raw."""

    def encode(plane: bytes) -> bytes:
        return lanes.huffman(plane, log2, lengths) if lengths.keys() >= {*plane} else plane

    return Coder(4, encode, lanes.huffman_table(log2, lengths), "R3")


def rans(log2: int, frequencies: lanes.Table) -> Coder:
    """Return rans with 2^log2 lanes; a plane with other symbols is raw."""

    def encode(plane: bytes) -> bytes:
        return lanes.rans(plane, log2, frequencies) if frequencies.keys() >= {*plane} else plane

    return Coder(5, encode, lanes.rans_table(log2, frequencies), "R3")


def leaf(
    dtype: str,
    image: bytes,
    transform: int = transforms.CELLS,
    coders: Sequence[Coder] = (),
    *,
    log2: int = 18,
    room: int = 0,
    blocks: Sequence[Mapping[str, Any]] = (),
) -> Leaf:
    """Return a leaf.

    Args:
        dtype: of the cells.
        image: all of them.
        transform: its id.
        coders: for each plane; all raw by default. A plane that they make no shorter is raw.
        log2: of the cells of a block.
        room: the transform parameter.
        blocks: for each block the form, base and so on, as `transforms` takes them.
    """
    size = dtypes.width(dtype) << log2
    planes: list[bytes] = []
    used = coders or [RAW] * len(transforms.planes(transform, dtype, b""))
    for number, at in enumerate(range(0, len(image), size)):
        options = dict(blocks[number] if number < len(blocks) else {})
        if room:
            options["room"] = room
        made = transforms.planes(transform, dtype, image[at : at + size], **options)
        for coder, plane in zip(used, made, strict=True):
            coded = coder.encode(plane) if plane else b""
            planes.append(coded if len(coded) < len(plane) else plane)
    return Leaf(
        tuple(planes),
        transform,
        log2,
        tuple(coder.id for coder in used),
        room,
        tuple(coder.shared for coder in used if image and coder.shared is not None),
        max([transforms.PROFILES[transform], *(coder.profile for coder in used)]),
        tuple(sorted({feature for coder in used for feature in coder.features})),
    )
