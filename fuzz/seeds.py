"""What fuzzing begins with: the vectors of the conformance kit, and inputs made from values."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.structure import canonical
from fuzz.values import MOST, Draw, Laid, value
from nnpack.abc import AnyCodec, TableCodec

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "conformance" / "vectors"
REGRESSIONS = ROOT / "fuzz" / "regressions"
LARGEST = 1 << 13
"""Bytes of a file that is mutated: most mutations of a longer one change what is not looked at."""
FILES = 60
"""Made from values."""
GRAPH = {
    "inputs": ["x"],
    "outputs": ["y"],
    "opset_imports": {"": 13},
    "value_types": {"x": {"dtype": "float32", "shape": ["n", None, 3]},
                    "s": {"sequence": {"map": {"key": "string", "value": {"dtype": "int64"}}}}},
    "nodes": [{"op": "If", "inputs": ["x"], "outputs": ["y"], "attributes": {
        "then": {"graph": {"inputs": [], "outputs": ["x"], "nodes": []}},
        "a": {"ints": [1, "9223372036854775807"]}, "b": {"float": "0x7fc00000"},
        "c": {"tensors": ["w0"]}, "d": {"strings": ["é"]}, "e": {"type": {"dtype": "bool"}}}}],
}  # fmt: skip
METADATA = {"a": [1, -2.5e-3, None, True, {"é\u0000": "\U0001f600"}], "nnpack.origin": {"w0": {}}}


def vectors() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield path, bytes and sidecar of all vectors."""
    for path in sorted(VECTORS.rglob("*.nnpk")):
        sidecar = json.loads(path.with_suffix(".json").read_bytes())
        yield str(path.relative_to(VECTORS)), path.read_bytes(), sidecar


@cache
def files() -> tuple[bytes, ...]:
    """Return valid files to mutate."""
    found = [data for _, data, said in vectors() if said["result"] == "accept"]
    found += [_made(random.Random(number)) for number in range(FILES)]
    return tuple(canonical(data) for data in found if len(data) <= LARGEST and _is_raw(data))


def _is_raw(data: bytes) -> bool:
    """Return whether the directory's plane-block is as long as the directory."""
    start = struct.unpack_from("<Q", data, len(data) - 32)[0]
    stored, size = struct.unpack_from("<Q", data, start + 16)[0], start + 32 + 16
    return bool(stored == struct.unpack_from("<Q", data, size)[0])


def _made(rng: random.Random) -> bytes:
    """Return a file of a few values in drawn layouts, sometimes with other sections around them."""
    draw = Draw(rng.randbytes(1 << 12))
    target = io.BytesIO()
    digests = draw.number(0, 3) == 0
    with Laid(target, draw, profile="raw", digests=digests, threads=1) as writer:
        for number in range(draw.pick((1, 1, 1, 2))):
            writer.add(f"w{number}", value(draw))
        if draw.number(0, 2) == 0:
            writer.add_alias("again", "w0")
            writer.add_blob("blob", draw.bytes(draw.number(0, 40)))
            writer.add_graph("main", GRAPH)
            writer.set_metadata(METADATA)
    return target.getvalue()


def texts() -> list[bytes]:
    """Return JSON texts."""
    values = (GRAPH, METADATA, {}, {"": ""}, {"a": [[[]]]}, {"a": 2**53 - 1, "b": -1e308})
    return [json.dumps(one).encode() for one in values]


def planes(codec: AnyCodec) -> list[bytes]:
    """Return coded planes as the codec's target takes them (targets.py)."""
    rng = np.random.default_rng(1)
    found = []
    for size in (1, 40, 300, MOST):
        for most in (1, 4, 60, 256):
            plane = (rng.integers(0, most, size) ** 2 // most).astype(np.uint8)
            table = b""
            coder = codec
            if isinstance(coder, TableCodec):
                table = coder.make_table(np.bincount(plane, minlength=256))
                coder = coder.with_table(memoryview(table))
            coded = bytes(coder.encode(plane.data))
            found.append(struct.pack("<HH", size, len(table)) + table + coded)
    return found


def safetensors() -> list[bytes]:
    """Return small files of that format."""
    found = []
    for rows in ({}, {"w": ("F32", [2, 1], 8)}, {"b": ("BOOL", [3], 3), "a": ("F4", [4], 2)}):
        header: dict[str, Any] = {"__metadata__": {"k": "v", "nnpack.json": "[]"}} if rows else {}
        at = 0
        for name, (kind, shape, size) in rows.items():
            offsets = [at, at + size]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
            at += size
        text = json.dumps(header).encode()
        found.append(struct.pack("<Q", len(text)) + text + bytes(range(at)))
    return found


def npz() -> list[bytes]:
    """Return small archives, of stored and of deflated members."""
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        arrays = (np.arange(6, dtype=">i4").reshape(2, 3), np.ones((2, 2), order="F"), np.bool_(1))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", method) as archive:
            for number, one in enumerate(arrays):
                member = io.BytesIO()
                np.save(member, one)
                archive.writestr(zipfile.ZipInfo(f"a{number}.npy"), member.getvalue(), method)
        found.append(target.getvalue())
    return found


def noise() -> list[bytes]:
    """Return bytes that values are drawn from."""
    return [random.Random(number).randbytes(600) for number in range(40)]
