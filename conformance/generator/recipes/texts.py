"""Texts of many keys, many levels and many bytes (SPEC 12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conformance.generator import operations as o
from conformance.generator.areas.metadata import MOST
from conformance.generator.rebuild import parse
from conformance.generator.vector import Vector, graph_of, invalid, limited, metadata_of, valid

SIZE = 16 << 20
"""Bytes of a text that readers should take."""
KEYS = 100_000
NODES = 20_000


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from _size()
    yield from _keys()
    yield from _levels()
    yield from _graph()


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _size() -> Iterator[Vector]:
    text = b'{"a":"' + b"n" * (SIZE - 8) + b'"}'
    base = valid("large/text", "", [], [metadata_of(text, {"a": "n" * (SIZE - 8)})])
    for slug, limit, error in (("below", SIZE - 1, "limit-exceeded"), ("at", SIZE, None)):
        yield limited(f"large/text-{slug}", f"The limit `json_bytes` is {limit}, and the metadata "
                      "have 16 MiB.", ["R-LIM-001", "R-LIM-002"], base, {"json_bytes": limit},
                      error)  # fmt: skip


def _keys() -> Iterator[Vector]:
    value = {f"key {number:05}": MOST - number for number in range(KEYS)}
    base = valid("large/keys", "One object has 100,000 keys, whose values are large integers.",
                 ["R-JSN-003", "R-JSN-004"], [metadata_of(_text(value), value)],
                 flags=["over-validation", "cpu-bomb"])  # fmt: skip
    yield base
    yield _other("key-twice", "The last of 100,000 keys is the first again.",
                 ["R-JSN-003", "R-JSN-010"], "bad-json", base, b"key 99999",
                 b"key 00000")  # fmt: skip


def _levels() -> Iterator[Vector]:
    """Chains of 30 arrays in an array in an object: 32 levels, many times."""
    chain: list[Any] = []
    for _ in range(29):
        chain = [chain]
    value = {"a": [chain] * 20_000}
    text = _text(value) + b"  "  # which the other one needs
    base = valid("large/levels", "20,000 chains of arrays stand beside each other, each down to "
                 "level 32.", ["R-JSN-008", "R-JSN-009"], [metadata_of(text, value)],
                 flags=["over-validation"])  # fmt: skip
    yield base
    end = b"]" * 31 + b"}"
    yield _other("levels-33", "The last of 20,000 chains reaches level 33.",
                 ["R-JSN-008", "R-JSN-009"], "bad-json", base, end + b"  ",
                 b"[]" + end)  # fmt: skip


def _graph() -> Iterator[Vector]:
    """A chain of nodes, each of which takes two values that were there before."""
    nodes = [{"op": "Add", "inputs": [f"v{n:05}", f"v{n // 2:05}"], "outputs": [f"v{n + 1:05}"]}
             for n in range(NODES)]  # fmt: skip
    value = {"inputs": ["v00000"], "outputs": [f"v{NODES:05}"], "nodes": nodes}
    base = valid("large/graph", "A graph has 20,000 nodes; their values are used near and far.",
                 ["R-GRF-008", "R-GRF-007"], [graph_of("g", _text(value), value)],
                 flags=["over-validation", "cpu-bomb"])  # fmt: skip
    yield base
    last = f'"v{NODES // 2 - 1:05}"],"outputs":["v{NODES:05}"]'
    yield _other("graph-later", "The last node takes the value that it makes.", ["R-GRF-008"],
                 "bad-reference", base, last.encode(),
                 last.replace(f"{NODES // 2 - 1:05}", f"{NODES:05}").encode())  # fmt: skip
    yield _other("graph-twice", "The last node but one makes the first's value again.",
                 ["R-GRF-007"], "bad-json", base, f'"outputs":["v{NODES - 1:05}"]'.encode(),
                 b'"outputs":["v00001"]')  # fmt: skip


def _other(
    slug: str, why: str, ids: list[str], error: str, base: Vector, old: bytes, new: bytes
) -> Vector:
    """Return a file in whose text bytes at the last place where they stand are others."""
    section = parse(base.data).sections[0]
    at = section.payload.rindex(old)
    return invalid(f"large/{slug}", why, ids, error, base, [o.splice(0, "payload", at, old, new)],
                   repair=["planes"], flags=["ambiguity", "cpu-bomb"], profile="R3")  # fmt: skip
