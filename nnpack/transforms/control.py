"""The control plane of blocks whose exponents have a base: form, base, exceptions (SPEC 10.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from nnpack.dtypes import Array
from nnpack.errors import error

TILE: Final = 64
"""Cells beyond the last multiple of these in a block are stored as they are."""
HEAD: Final = 4
"""Form, base, number of exceptions."""
ENTRY: Final = 12
"""Bytes of four exceptions, which a unit of the transform parameter makes room for."""
BASED, BYTES = 0, 1
"""Forms: exponents counted from the base, or as bytes where too many are far from it."""
MOST_GAP: Final = 0xFFFF


def room(control: Array) -> int:
    """Return how many exceptions there is room for."""
    return (len(control) - HEAD) // 3


def exceptions(control: Array) -> int | None:
    """Return how many exceptions are listed; None if the exponents are bytes."""
    return int(control[2]) | int(control[3]) << 8 if control[0] == BASED else None


def write(control: Array, base: int, places: Array, exponents: Array) -> None:
    """State in a plane of zeros the exponents at a few ascending places without long gaps."""
    control[1] = base
    if not len(places):
        return
    listed, stated = len(places), HEAD + 2 * room(control)
    control[2], control[3] = listed & 255, listed >> 8
    control[HEAD : HEAD + 2 * listed].view("<u2")[:] = _gaps(places)
    control[stated : stated + listed] = exponents


def read(control: Array, size: int) -> tuple[Array, Array] | None:
    """Return the places of exceptions among so many exponents and what they state, if any."""
    held, most = control.tobytes(), room(control)
    listed, stated = held[2] | held[3] << 8, HEAD + 2 * most
    unused = held[HEAD + 2 * listed : stated] + held[stated + listed :]
    if listed > most or unused.strip(b"\0"):
        raise error("bad-value", f"{listed} exceptions in {most} places")
    if held[0] == BYTES and (held[1] or listed):
        raise error("bad-value", "exceptions among exponents that are bytes")
    if not listed:
        return None
    gaps = control[HEAD : HEAD + 2 * listed].view("<u2")
    places = (gaps + np.int64(1)).cumsum() - 1
    if places[-1] >= size:
        raise error("bad-index", f"an exception at {places[-1]} of {size} exponents")
    return places, control[stated : stated + listed]


def each(control: Array, cells: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Check the control plane of each block; yield the cells of those that list exceptions.

    With them come the places and what is stated of these. Either is of one block, or has rows.
    """
    blocks = zip(control, cells, strict=True) if control.ndim == 2 else ((control, cells),)
    for row, block in blocks:
        listed = read(row, len(block))
        if listed:
            yield block, *listed


def without_room(control: Array, parameter: int) -> tuple[Array, int]:
    """Return the plane, which has room for `parameter` times four, with no more than it needs."""
    needed = -(-(exceptions(control) or 0) // 4)
    old = HEAD + 8 * parameter
    parts = [control[: HEAD + 8 * needed], control[old : old + 4 * needed]]
    return np.concatenate([*parts, control[old + 4 * parameter :]]), needed


def find(held: Array, limit: int, most: int) -> Array | None:
    """Return where a few of 64 n bytes are above a limit, ascending; None if more than `most` are.

    64 at a time, as columns, of which most have none.
    """
    rows = held.reshape(TILE, -1)
    columns: Array = (np.maximum.reduce(rows, axis=0) > limit).nonzero()[0]
    if not len(columns):
        return columns
    if len(columns) > most:
        return None
    down, across = (rows[:, columns] > limit).nonzero()
    return None if len(down) > most else down * rows.shape[1] + columns[across]


def without_long_gaps(places: Array) -> Array:
    """Return the places with others between them, which state what is there already."""
    if not len(places) or places[-1] <= MOST_GAP:
        return places
    gaps = _gaps(places)
    if gaps.max() <= MOST_GAP:
        return places
    between = [
        np.arange(place - gap + MOST_GAP, place, MOST_GAP + 1)
        for place, gap in zip(places.tolist(), gaps.tolist(), strict=True)
        if gap > MOST_GAP
    ]
    return np.sort(np.concatenate([places, *between]))


def _gaps(places: Array) -> Array:
    """Return how many exponents stand before each place, behind the one before."""
    gaps = places.copy()
    gaps[1:] -= places[:-1] + 1
    return gaps
