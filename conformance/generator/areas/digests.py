"""Digests and roots that are expected (SPEC 13.1)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.sections import NOTE, tensor
from conformance.generator.areas.start import FLOAT32
from conformance.generator.operations import Operation
from conformance.generator.rebuild import parse
from conformance.generator.vector import (
    Vector,
    alias_of,
    expected,
    graph_of,
    invalid,
    metadata_of,
    root_of,
    valid,
)

SIGNED = valid(
    "digests/all-types",
    "Digests cover a tensor, an alias, metadata, a graph and a section of an unknown type.",
    ["R-DIG-001", "R-DIG-005"],
    [
        tensor("t", 1, 2, 3, alignment=6),
        NOTE,
        alias_of("s", "t"),
        metadata_of(b'{"a":1}', {"a": 1}),
        graph_of("g", b'{"inputs":[],"outputs":["t"],"nodes":[]}',
                 {"inputs": [], "outputs": ["t"], "nodes": []}),
    ],
    digests=True,
    profile="R3",
)  # fmt: skip
DIGESTS = 5
ALONE = valid(
    "digests/alone",
    "Digests are the only section, and cover the header.",
    ["R-DIG-001", "R-SEC-032"],
    digests=True,
    profile="R3",
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from (SIGNED, ALONE)
    yield from _rows()
    yield from _leaves()
    yield from _places()
    yield from _expected()


def _section(rows: bytes, shape: Sequence[int]) -> list[Operation]:
    """Give the digests other rows."""
    body = a.node(a.DENSE, 0x18, shape, a.stream([rows] if rows else []))
    return [o.section(DIGESTS, "body", body.hex()), o.section(DIGESTS, "payload", rows.hex())]


def _rows() -> Iterator[Vector]:
    at = _covered(SIGNED)
    row = parse(SIGNED.data).sections[DIGESTS].payload

    def found(
        slug: str, error: str, id: str, why: str, rows: bytes, shape: Sequence[int]
    ) -> Vector:
        ids = [id, "R-DIG-005"] if error == "bad-digest" else [id]
        return invalid(f"digests/{slug}", why, ids, error, SIGNED, _section(rows, shape),
                       profile="R3")  # fmt: skip

    for slug, value, why in (
        ("row-flipped", bytes([row[0] ^ 1]) + row[1:], "A bit of the row is flipped."),
        ("row-of-zeros", bytes(32), "The row is zero."),
        ("row-with-head", hashlib.sha256(SIGNED.data[: at + 88]).digest(),
         "The row is that of the bytes up to the end of the digests' head."),
        ("row-without-header", hashlib.sha256(SIGNED.data[16:at]).digest(),
         "The row is that of the bytes behind the header."),
        ("row-of-other-hash", hashlib.sha3_256(SIGNED.data[:at]).digest(),
         "The row is the SHA3-256 of the bytes."),
    ):  # fmt: skip
        yield found(slug, "bad-digest", "R-DIG-001", why, value, (1, 32))
    yield found("no-rows", "bad-shape", "R-SEC-032", "There is no row.", b"", (0, 32))
    yield found("two-rows", "bad-shape", "R-SEC-032", "There are two rows, where one piece is.",
                row * 2, (2, 32))  # fmt: skip
    yield found("row-of-64", "bad-shape", "R-SEC-032", "The row has 64 bytes.", row * 2, (1, 64))
    yield found("row-of-16", "bad-shape", "R-SEC-032", "The row has 16 bytes.", row[:16], (1, 16))
    yield found("transposed", "bad-shape", "R-SEC-032", "The shape is (32, 1).", row, (32, 1))
    yield found("huge", "bad-shape", "R-SEC-032", "The shape is (0, 2^40).", b"", (0, 1 << 40))


def _covered(vector: Vector) -> int:
    """Return the offset of the digests."""
    at = 16
    for section in parse(vector.data).sections[:-1]:
        at += len(section.head(at))
        at = a.up8(at + -at % (1 << section.alignment) + len(section.payload))
    return at


def _leaves() -> Iterator[Vector]:
    def found(slug: str, id: str, error: str, why: str, at: int, old: bytes, new: bytes) -> Vector:
        return invalid(f"digests/{slug}", why, [id], error, SIGNED,
                       [o.splice(DIGESTS, "body", at, old, new)], profile="R0")  # fmt: skip

    yield found("int8", "R-SEC-030", "bad-node", "The data type is int8.", 2, b"\x18", b"\x28")
    yield found("role", "R-SEC-030", "bad-node", "The root has role 1.", 1, b"\0", b"\1")
    yield found("bytes", "R-SEC-031", "bad-value", "The transform is bytes.", 32, b"\0", b"\1")
    yield found("zstd", "R-SEC-031", "bad-value", "The codec is zstd, though the only plane is "
                "raw.", 36, b"\0", b"\1")  # fmt: skip
    row = parse(SIGNED.data).sections[DIGESTS].payload
    yield invalid("digests/rank-one", "The shape is (32,).", ["R-SEC-030"], "bad-node", SIGNED,
                  _section(row, (32,)), profile="R0")  # fmt: skip
    constant = a.node(a.CONSTANT, 0x18, (1, 32), bytes(8))
    yield invalid("digests/constant", "The body is a constant node.", ["R-SEC-030"], "bad-node",
                  SIGNED, [o.section(DIGESTS, "body", constant.hex()),
                  o.section(DIGESTS, "payload", "")], profile="R0")  # fmt: skip
    yield invalid("digests/no-tree", "The body is empty.", ["R-SEC-030"], "bad-node", SIGNED,
                  [o.section(DIGESTS, "body", ""), o.section(DIGESTS, "payload", "")],
                  profile="R0")  # fmt: skip


def _places() -> Iterator[Vector]:
    yield invalid("digests/not-last", "A tensor follows the digests.", ["R-SEC-035"], "bad-layout",
                  SIGNED, [o.add(6, a.TENSOR, name=b"u", body=a.node(a.CONSTANT, 0x18, (),
                                                                      bytes(8)))],
                  flags=["hidden-bytes"], profile="R0")  # fmt: skip
    yield invalid("digests/unknown-behind", "A section of an unknown type follows the digests.",
                  ["R-SEC-035"], "bad-layout", SIGNED,
                  [o.add(6, 9, body=b"any body", flags=1)], flags=["hidden-bytes"],
                  profile="R0")  # fmt: skip
    yield invalid("digests/twice", "Digests occur twice.", ["R-SEC-033"], "duplicate", SIGNED,
                  [o.copy(DIGESTS, 6)], also=["bad-layout"], profile="R0")  # fmt: skip
    yield invalid("digests/critical", "Digests are critical.", ["R-SEC-015"], "bad-layout", SIGNED,
                  [o.section(DIGESTS, "flags", 0)], profile="R0")  # fmt: skip
    yield invalid("digests/named", "Digests have a name.", ["R-SEC-018"], "bad-text", SIGNED,
                  [o.section(DIGESTS, "name", b"d".hex())], profile="R0")  # fmt: skip


def _expected() -> Iterator[Vector]:
    root, alone = root_of(SIGNED.data), root_of(ALONE.data)
    assert root
    assert alone
    ids = ["R-DIG-002", "R-DIG-004"]
    yield expected("digests/expected", "The root is the expected one.", ids, SIGNED, root)
    yield expected("digests/expected-alone", "The root is the expected one.", ids, ALONE, alone)

    at = _covered(SIGNED)
    tail = struct.pack("<Q", at) + SIGNED.data[at:]
    for slug, other, why in (
        ("other-root", alone, "The expected root is that of another file."),
        ("root-flipped", root[:-1] + format(int(root[-1], 16) ^ 1, "x"),
         "The last bit of the expected root is flipped."),
        ("hash-of-file", hashlib.sha256(SIGNED.data).hexdigest(),
         "The expected root is the SHA-256 of the file."),
        ("root-without-prefix", hashlib.sha256(tail).hexdigest(),
         "The expected root is a hash without the prefix."),
        ("root-without-offset", hashlib.sha256(b"nnpack root 1\n" + tail[8:]).hexdigest(),
         "The expected root is a hash without the offset."),
    ):  # fmt: skip
        yield expected(f"digests/{slug}", why, ["R-DIG-002"], SIGNED, other, accepted=False)
    yield expected("digests/expected-of-none", "A root is expected, and there are no digests.",
                   ["R-DIG-003"], FLOAT32, root, accepted=False)  # fmt: skip
    yield expected("digests/piece-flipped", "The root is right, and a bit of a covered payload is "
                   "flipped, which its checksum shows as well.", ["R-DIG-004", "R-ERR-007"],
                   SIGNED, root, accepted=False,
                   operations=[o.splice(0, "payload", 0, b"\1", b"\0")])  # fmt: skip
    yield expected("digests/header-flipped", "The root is right, and the minor version, which the "
                   "trailer's checksum covers, was changed with that checksum.", ["R-DIG-002"],
                   SIGNED, root, accepted=False,
                   operations=[o.header(10, b"\0", b"\1")])  # fmt: skip
    yield expected("digests/padding-flipped", "The root is right, and a byte of the padding before "
                   "a payload is set.", ["R-DIG-004", "R-ERR-007"], SIGNED, root, accepted=False,
                   operations=[o.section(0, "lead", "00" * 31 + "01")])  # fmt: skip
