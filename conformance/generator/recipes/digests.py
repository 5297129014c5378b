"""Digests of several pieces (SPEC 13.1)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import count

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.assemble import CHUNK
from conformance.generator.coded import noise
from conformance.generator.operations import Operation
from conformance.generator.rebuild import parse
from conformance.generator.vector import (
    Vector,
    blob_of,
    expected,
    invalid,
    root_of,
    valid,
)

BLOB, DIGESTS = range(2)
IDS = ["R-DIG-001", "R-SEC-032", "R-DIG-005"]


def covering(slug: str, size: int, why: str) -> Vector:
    """Return a file whose digests stand at an offset: a blob fills the room before them."""
    fixed = 16 + 32 + 8 + 16 + 8 + 8  # header, head, name, node, shape, what precedes the entries
    room = next(room for n in count() if -(-(room := size - fixed - 8 * n) // (1 << 18)) == n)
    made = valid(f"large/digests-{slug}", why, IDS, [blob_of("b", noise(slug, room))],
                 digests=True, profile="R3")  # fmt: skip
    if struct.unpack_from("<4sH", made.data, size) != (a.SYNC, a.DIGESTS):
        raise ValueError(f"{slug}: no digests stand at {size}")
    return made


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    below = covering("below", CHUNK - 8, "Digests of eight bytes less than one piece.")
    at = covering("at", CHUNK, "Digests of exactly one piece.")
    above = covering("above", CHUNK + 8, "Digests of two pieces, the second of eight bytes.")
    two = covering("two", 2 * CHUNK, "Digests of exactly two pieces.")
    yield from (below, at, above, two)
    yield from _rows(at, above, two)
    yield from _pieces(two)


def _rows(at: Vector, above: Vector, two: Vector) -> Iterator[Vector]:
    def found(slug: str, base: Vector, error: str, why: str, *rows: bytes) -> Vector:
        operations = _section(rows)
        return invalid(f"large/digests-{slug}", why, IDS, error, base, operations,
                       flags=["under-validation", "hidden-bytes"], profile="R3")  # fmt: skip

    first, second = _stored(two)
    flipped = second[:-1] + bytes([second[-1] ^ 1])
    yield found("second-row", two, "bad-digest", "A bit of the second of two rows is flipped.",
                first, flipped)  # fmt: skip
    yield found("swapped", two, "bad-digest", "The two rows are exchanged.", second, first)
    yield found("repeated", two, "bad-digest", "The second row is the first again.", first, first)
    yield found("whole", two, "bad-digest", "The second row covers both pieces.", first,
                hashlib.sha256(two.data[: 2 * CHUNK]).digest())  # fmt: skip
    yield found("row-missing", two, "bad-shape", "There is one row, where two pieces are.", first)
    yield found("row-of-nothing", two, "bad-shape", "There is a third row, of no bytes.",
                first, second, hashlib.sha256(b"").digest())  # fmt: skip
    yield found("one-row-of-nothing", at, "bad-shape", "There is a second row, of no bytes.",
                *_stored(at), hashlib.sha256(b"").digest())  # fmt: skip
    short = above.data[CHUNK : CHUNK + 8]
    yield found("short-padded", above, "bad-digest", "The row of the short last piece covers "
                "zeros behind it up to 1 MiB.", _stored(above)[0],
                hashlib.sha256(short.ljust(CHUNK, b"\0")).digest())  # fmt: skip
    yield found("short-missing", above, "bad-shape", "The short last piece has no row.",
                _stored(above)[0])  # fmt: skip


def _pieces(two: Vector) -> Iterator[Vector]:
    last = parse(two.data).sections[BLOB].payload[-1:]
    flip = o.splice(BLOB, "payload", -1, last, bytes([last[0] ^ 1]))
    yield invalid("large/digests-flipped", "The last bit of the second piece is flipped, and the "
                  "checksum over it is right.", IDS, "bad-digest", two, [flip],
                  repair=["planes"], flags=["silent-wrong-value"], profile="R3")  # fmt: skip
    root = root_of(two.data)
    assert root
    ids = ["R-DIG-004", "R-DIG-002"]
    yield expected("large/digests-expected", "The root is the expected one.", ids, two, root)
    yield expected("large/digests-expected-flipped", "The root is right, and a bit of the second "
                   "piece flipped, which its checksum shows as well.", ids, two, root,
                   accepted=False, operations=[flip])  # fmt: skip


def _stored(vector: Vector) -> list[bytes]:
    rows = parse(vector.data).sections[DIGESTS].payload
    return [rows[at : at + 32] for at in range(0, len(rows), 32)]


def _section(rows: Sequence[bytes]) -> list[Operation]:
    """Give the digests other rows."""
    payload = b"".join(rows)
    body = a.node(a.DENSE, 0x18, (len(rows), 32), a.stream([payload]))
    return [
        o.section(DIGESTS, "body", body.hex()),
        o.section(DIGESTS, "payload", payload.hex()),
    ]
