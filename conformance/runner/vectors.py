"""Vectors: files with what a reader is to say of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .words import meant

PROFILES = ("R0", "R1", "R2", "R3")
_CORRUPT = (
    "not-nnpack", "truncated", "trailing-data", "bad-checksum", "reserved-nonzero", "bad-layout",
    "bad-text", "duplicate", "missing", "bad-reference", "mismatch", "bad-node", "bad-shape",
    "bad-dtype", "bad-value", "bad-index", "bad-stream", "bad-json", "bad-digest",
)  # fmt: skip
CLASSES = {
    **dict.fromkeys(_CORRUPT, "corrupt"),
    "unsupported-version": "unsupported",
    "unknown-section": "unsupported",
    "unsupported": "unsupported",
    "limit-exceeded": "limit",
}
"""Error class -> disposition (SPEC 14.1)."""
SYNC = b"\x89SEC"
CODEC_AT = 60
"""In a directory's section, of its leaf's codec: 32 + 16 + 8 + 4 (SPEC 5.2, 8.1, 9.1)."""
ZSTD = b"\x01"
LARGE = 1 << 20
"""Bytes of a file."""


class KitError(Exception):
    """The kit itself is not as it should be, or was asked for something that it has not."""


@dataclass(frozen=True)
class Vector:
    """A file and its sidecar."""

    file: Path
    sidecar: dict[str, Any]

    @property
    def id(self) -> str:
        """The path below `vectors`, without its ending."""
        return str(self.sidecar["id"])

    @property
    def folder(self) -> str:
        """`valid`, `invalid`, `limits` or `encode`."""
        return self.id.partition("/")[0]

    @property
    def area(self) -> str:
        """Folder and area."""
        return self.id.rpartition("/")[0]

    def covered_by(self, profile: str, features: Iterable[str]) -> bool:
        """Return whether a reader with these claims decodes all of it, or sees its fault."""
        return covers(self.sidecar, profile, features)

    @property
    def is_large(self) -> bool:
        """Whether it takes long: a large file, or an image that is told by its digest alone."""
        return self.sidecar["size"] > LARGE or "sha256:" in json.dumps(self.sidecar.get("model"))

    @property
    def base(self) -> str:
        """The id of the valid file that it was made from, itself if there is none."""
        return str(self.sidecar.get("derived", {}).get("base", self.id))

    @property
    def has_zstd_directory(self) -> bool:
        """Whether a reader below R2 cannot decode the directory."""
        data = self.file.read_bytes()
        directory = data[int.from_bytes(data[-32:-24], "little") :]  # the trailer names its offset
        return directory[: len(SYNC)] == SYNC and directory[CODEC_AT : CODEC_AT + 1] == ZSTD


def covers(wanted: dict[str, Any], profile: str, features: Iterable[str]) -> bool:
    """Return whether claims cover the profile and features that a vector or tensor states."""
    return wanted["profile"] <= profile and set(wanted["features"]) <= set(features)


def load(folder: Path) -> list[Vector]:
    """Return all vectors below a folder; each must be the file that its sidecar names."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        sidecar = json.loads(path.read_text("utf-8"))
        vector = Vector(path.with_suffix(".nnpk"), sidecar)
        if vector.id != path.relative_to(folder).with_suffix("").as_posix():
            raise KitError(f"{path}: the id is {vector.id}")
        data = vector.file.read_bytes()
        if hashlib.sha256(data).hexdigest() != sidecar["sha256"] or len(data) != sidecar["size"]:
            raise KitError(f"{vector.file}: not the file that its sidecar describes")
        found.append(vector)
    if not found:
        raise KitError(f"{folder}: no vectors")
    manifest = folder.parent / "manifest.json"
    if manifest.exists():
        _compare(manifest, found)
    return found


def _compare(manifest: Path, found: Iterable[Vector]) -> None:
    listed = {one["id"]: one for one in json.loads(manifest.read_text("utf-8"))["vectors"]}
    there = {vector.id: vector for vector in found}
    for id in sorted(listed.keys() ^ there.keys()):
        raise KitError(f"{id} is {'listed but missing' if id in listed else 'not listed'}")
    for id, vector in there.items():
        sidecar = hashlib.sha256(vector.file.with_suffix(".json").read_bytes()).hexdigest()
        if listed[id]["sha256"] != vector.sidecar["sha256"] or listed[id]["sidecar"] != sidecar:
            raise KitError(f"{id} is not what {manifest.name} lists")


def chosen(globs: Sequence[str], vectors: Sequence[Vector]) -> list[Vector]:
    """Return the vectors that fit a pattern; KitError if there are none."""
    globs = [glob.removesuffix(".nnpk").removesuffix(".json") for glob in globs]
    found = [one for one in vectors if not globs or any(matches(glob, one.id) for glob in globs)]
    if found:
        return found
    areas = {one.area for one in vectors}
    folders = {area.rpartition("/")[0] for area in areas}
    patterns = [*(f"{area}/*" for area in areas), *(f"{folder}/**" for folder in folders)]
    known = [*patterns, *(one.id for one in vectors)]
    raise KitError("\n".join(f"no vector is called {glob}{_meant(glob, known)}" for glob in globs))


def _meant(glob: str, known: Sequence[str]) -> str:
    inside = [one for one in known if one.rstrip("*") == f"{glob.rstrip('/')}/"]
    return meant(glob, inside or known)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", glob)
    return re.compile("".join(".*" if part.startswith("**") else "[^/]*" if part == "*"
                              else re.escape(part) for part in parts))  # fmt: skip


def matches(glob: str, id: str) -> bool:
    """Return whether an id fits a pattern: `*` stays within a path component, `**` does not."""
    return _pattern(glob).fullmatch(id) is not None
