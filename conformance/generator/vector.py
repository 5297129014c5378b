"""Vectors: files with their sidecars (PROTOCOL.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.generator import assemble as a
from conformance.generator.operations import Operation, apply
from conformance.generator.rebuild import parse
from conformance.generator.tree import Tree, shown, tensor
from conformance.runner.vectors import CLASSES

ROOT = b"nnpack root 1\n"


@dataclass(frozen=True)
class Vector:
    """One file and what is said of it."""

    id: str
    data: bytes
    sidecar: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """A section, and what it adds to the model."""

    section: a.Section
    model: Mapping[str, Any] = field(default_factory=dict)
    profile: str = "R0"
    features: tuple[str, ...] = ()


def tensor_of(name: str, tree: Tree, *, alignment: int = 3) -> Content:
    """Return a tensor."""
    profile, features = tree.needs()
    said = {
        "name": name,
        "profile": profile,
        "features": [*features],
        "logical": tree.logical(),
        **tree.model(),
    }
    section = tensor(name, tree, alignment=alignment)
    return Content(section, {"tensors": [said]}, profile, features)


def alias_of(name: str, target: str) -> Content:
    """Return an alias."""
    return Content(a.alias(name.encode(), target.encode()), {"aliases": {name: target}})


def blob_of(name: str, data: bytes, tree: Tree | None = None) -> Content:
    """Return a blob; `tree` stores its bytes otherwise than raw."""
    section = a.text(a.BLOB, name.encode(), data)
    if tree is not None:
        section = a.Section(a.BLOB, name.encode(), tree.body(), tree.payload())
    return Content(
        section, {"blobs": {name: shown(data)}}, "R1" if tree is None else tree.needs()[0]
    )


def metadata_of(text: bytes, value: Any) -> Content:
    """Return the metadata, given as a text and the value that it has."""
    return Content(a.text(a.METADATA, b"", text), {"metadata": value}, "R3")


def graph_of(name: str, text: bytes, value: Any) -> Content:
    """Return a graph, given as a text and the value that it has."""
    return Content(a.text(a.GRAPH, name.encode(), text), {"graphs": {name: value}}, "R3")


def other(section: a.Section) -> Content:
    """Return a section that adds nothing to the model."""
    return Content(section)


def file_of(contents: Iterable[Content], *, digests: bool = False, **options: Any) -> bytes:
    """Return the file; with digests of all that stands before them (SPEC 13.1)."""
    sections = [content.section for content in contents]
    if digests:
        rows = a.digest_rows(*sections)
        body = a.node(a.DENSE, 0x18, (len(rows) // 32, 32), a.stream([rows]))
        sections.append(a.Section(a.DIGESTS, b"", body, rows, flags=1))
    return a.assemble(*sections, **options)


def root_of(data: bytes) -> str | None:
    """Return the root of a file that ends in digests (SPEC 13.1)."""
    file, at = parse(data), 16
    for section in file.sections:
        if section.type == a.DIGESTS:
            return hashlib.sha256(ROOT + struct.pack("<Q", at) + data[at:]).hexdigest()
        at += len(section.head(at))
        at += -at % (1 << section.alignment) + len(section.payload)
        at = a.up8(at)
    return None


def valid(
    id: str,
    why: str,
    requirements: Sequence[str],
    contents: Sequence[Content] = (),
    *,
    digests: bool = False,
    flags: Sequence[str] = ("basic",),
    slices: Sequence[Mapping[str, Any]] = (),
    area: str = "valid",
    profile: str | None = None,
    **options: Any,
) -> Vector:
    """Return a file that every reader of its profile accepts.

    `options` are those of `assemble.assemble`.
    """
    data = file_of(contents, digests=digests, **options)
    model: dict[str, Any] = {"tensors": [], "aliases": {}, "metadata": None, "graphs": {},
                             "blobs": {}, "root": root_of(data)}  # fmt: skip
    for content in contents:
        for key, value in content.model.items():
            if key == "tensors":
                model[key] += value
            elif key == "metadata":
                model[key] = value
            else:
                model[key] |= value
    needed = profile or max((content.profile for content in contents), default="R0")
    features = sorted({feature for content in contents for feature in content.features})
    said = _sidecar(f"{area}/{id}", data, "accept", why, requirements, needed, features, flags)
    said["model"] = model
    boxes = [*slices, *(_refused(one) for one in model["tensors"] if one["image"] is None)]
    if boxes:
        said["slices"] = boxes
    return Vector(said["id"], data, said)


def _refused(tensor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first element of a tensor that no reader decodes, as a slice (R-RDR-002)."""
    start = [0 for _ in tensor["shape"]]
    return {"tensor": tensor["name"], "start": start, "stop": [1 for _ in start],
            "error": "unsupported"}  # fmt: skip


def invalid(
    id: str,
    why: str,
    requirements: Sequence[str],
    error: str,
    base: Vector,
    operations: Sequence[Operation],
    *,
    repair: Sequence[str] = (),
    flags: Sequence[str] = ("under-validation",),
    profile: str | None = None,
    features: Sequence[str] | None = None,
    also: Sequence[str] = (),
    sequential: str | None = None,
) -> Vector:
    """Return a file that breaks one rule.

    `profile` is the least that sees the fault, by default the one that decodes all of the base;
    `also` are the classes of rules that cannot be broken apart from it; `sequential` is the class
    of a sequential reader, where SPEC.md names one.
    """
    data = apply(base.data, operations, repair)
    needed = profile or base.sidecar["profile"]
    extra = base.sidecar["features"] if features is None else features
    said = _sidecar(f"invalid/{id}", data, "reject", why, requirements, needed, extra, flags)
    said |= {"error": error, "disposition": CLASSES[error]}
    if also:
        said["also"] = [*also]
    if sequential:
        said["sequential"] = sequential
    said["derived"] = {"base": base.id, "operations": [*operations], "repair": [*repair]}
    if data == base.data:
        raise ValueError(f"{id} changes nothing")
    return Vector(said["id"], data, said)


def expected(
    id: str, why: str, requirements: Sequence[str], base: Vector, root: str, *,
    accepted: bool = True, operations: Sequence[Operation] = (),
) -> Vector:  # fmt: skip
    """Return a file and the root that is expected of it; without it, all may be right."""
    data = apply(base.data, operations) if operations else base.data
    result, area = ("accept", "valid") if accepted else ("reject", "invalid")
    said = _sidecar(f"{area}/{id}", data, result, why, requirements, "R3",
                    base.sidecar["features"], ["under-validation"])  # fmt: skip
    said["expect"] = root
    if accepted:
        said["model"] = base.sidecar["model"]
    else:
        said |= {"error": "bad-digest", "disposition": CLASSES["bad-digest"]}
        said["derived"] = {"base": base.id, "operations": [*operations], "repair": []}
    return Vector(said["id"], data, said)


def limited(
    id: str, why: str, requirements: Sequence[str], base: Vector, limits: Mapping[str, int],
    error: str | None = None, **options: Any,
) -> Vector:  # fmt: skip
    """Return a valid file with policy limits, and the class of the answer (None: accepted)."""
    left_out = {"model", "slices"} if error else set()
    said = {key: value for key, value in base.sidecar.items() if key not in left_out}
    said |= {"id": f"limits/{id}", "why": why, "requirements": [*requirements],
             "limits": dict(limits), "flags": ["oom"], **options}  # fmt: skip
    if error:
        said |= {"result": "reject", "error": error, "disposition": CLASSES[error]}
    return Vector(said["id"], base.data, said)


def _sidecar(
    id: str, data: bytes, result: str, why: str, requirements: Sequence[str], profile: str,
    features: Sequence[str], flags: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "id": id,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "result": result,
        "why": why,
        "requirements": [*requirements],
        "profile": profile,
        "features": [*features],
        "flags": [*flags],
    }
