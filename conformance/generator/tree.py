"""Node trees and what they decode to, built together (SPEC 8, 9)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.generator import assemble as a
from conformance.generator import dtypes


@dataclass(frozen=True)
class Leaf:
    """What a dense node stores: plane-blocks and shared tables, and how."""

    planes: tuple[bytes, ...]
    """Plane-blocks, block after block."""
    transform: int = 0
    log2: int = 18
    codecs: tuple[int, ...] = (0,)
    parameter: int = 0
    shared: tuple[bytes, ...] = ()
    profile: str = "R1"
    features: tuple[str, ...] = ()

    @property
    def is_raw(self) -> bool:
        """Whether it begins at the section's alignment (SPEC 9.3)."""
        return self.transform == 0 and self.codecs == (0,)


def raw(dtype: str, image: bytes, log2: int = 18) -> Leaf:
    """Return cells as they are, in blocks of 2^log2."""
    packed, size = dtypes.pack(dtype, image), (dtypes.bits(dtype) << log2) // 8
    return Leaf(tuple(packed[i : i + size] for i in range(0, len(packed), size)), log2=log2)


@dataclass(frozen=True)
class Tree:
    """A node with its parts: bytes, stored pieces and expected values."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    image: bytes | None
    """All elements, decoded; None if no reader decodes them."""
    parameters: bytes = b""
    """Of the node in the file; a dense node's follow from its leaf."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """The parameters as PROTOCOL.md names them."""
    parts: Mapping[str, tuple[int, Tree]] = field(default_factory=dict)
    """Role and node by the part's name."""
    leaf: Leaf | None = None
    profile: str = "R1"
    features: tuple[str, ...] = ()
    kind_id: int = 0
    dtype_id: int = 0
    override: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the node's head that are to be wrong."""

    def nodes(self) -> list[Tree]:
        """Return the tree in pre-order."""
        inner = sorted(self.parts.values(), key=lambda part: part[0])
        return [self, *(node for _, part in inner for node in part.nodes())]

    def body(self, role: int = 0) -> bytes:
        """Return the node tree as it stands in a body."""
        parts = [part.body(number) for number, part in sorted(self.parts.values(), key=_role)]
        leaf = self.leaf
        parameters = self.parameters
        if leaf is not None:
            parameters = a.stream(leaf.planes, transform=leaf.transform, log2=leaf.log2,
                                  codecs=leaf.codecs, parameter=leaf.parameter,
                                  shared=leaf.shared)  # fmt: skip
        return a.node(self.kind_id, self.dtype_id, self.shape, parameters, parts, role=role,
                      **self.override)  # fmt: skip

    def payload(self, alignment: int = 3) -> bytes:
        """Return the payload (SPEC 9.3)."""
        out = bytearray()
        for one in self.nodes():
            if one.leaf is None:
                continue
            unit = 1 << alignment if one.leaf.is_raw else 8
            for piece in (*one.leaf.shared, *one.leaf.planes):
                out += bytes(-len(out) % unit) + piece
                unit = 8
        return bytes(out)

    def logical(self) -> str | None:
        """Return the logical digest (SPEC 13.2); None where it is not defined."""
        found = hashlib.sha256(b"nnpack tensor 1\n")

        def add(tree: Tree, role: int) -> None:
            parameters = b"" if tree.leaf is not None else tree.parameters
            found.update(
                struct.pack(
                    "<BBBBB3xI4x",
                    tree.kind_id,
                    role,
                    tree.dtype_id,
                    len(tree.shape),
                    len(tree.parts),
                    len(parameters),
                )
            )
            found.update(struct.pack(f"<{len(tree.shape)}Q", *tree.shape) + parameters)
            if tree.leaf is not None and tree.image is not None:
                found.update(dtypes.pack(tree.dtype, tree.image))
            for number, part in sorted(tree.parts.values(), key=_role):
                add(part, number)

        for one in self.nodes():
            if "unknown" in one.kind + one.dtype or (one.leaf is not None and one.image is None):
                return None
        add(self, 0)
        return found.hexdigest()

    def model(self) -> dict[str, Any]:
        """Return the node as a sidecar holds it."""
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            "shape": [*map(json_number, self.shape)],
            "image": shown(self.image),
            "parameters": dict(self.said),
            "parts": {name: part.model() for name, (_, part) in self.parts.items()},
        }

    def needs(self) -> tuple[str, tuple[str, ...]]:
        """Return the least profile and the features that decode the whole tree."""
        every = [(one.profile, one.features) for one in self.nodes()]
        every += [(one.leaf.profile, one.leaf.features) for one in self.nodes() if one.leaf]
        features = sorted({feature for _, some in every for feature in some})
        return max(profile for profile, _ in every), tuple(features)

    def but(self, **changes: Any) -> Tree:
        """Return the tree with other fields: wrong ones, for vectors that are to be refused."""
        return replace(self, **changes)


def _role(part: tuple[int, Tree]) -> int:
    return part[0]


def shown(image: bytes | None) -> str | None:
    """Return an image as hex, or its digest if it is long."""
    if image is None or len(image) <= 1 << 16:
        return None if image is None else image.hex()
    return f"sha256:{hashlib.sha256(image).hexdigest()}"


def json_number(number: int) -> int | str:
    """Return a number as JSON holds it (PROTOCOL.md)."""
    return number if number <= 2**53 - 1 else str(number)


def dense(dtype: str, shape: Sequence[int], image: bytes, leaf: Leaf | None = None) -> Tree:
    """Return a dense node of cells, raw unless a leaf is given that decodes to them."""
    if len(image) != dtypes.count(shape) * dtypes.width(dtype):
        raise ValueError(f"{len(image)} bytes are no {dtype}{[*shape]}")
    return Tree("dense", dtype, tuple(shape), image, leaf=leaf or raw(dtype, image),
                kind_id=a.DENSE, dtype_id=dtypes.IDS[dtype])  # fmt: skip


def constant(dtype: str, shape: Sequence[int], element: bytes) -> Tree:
    """Return a constant node; `element` is an image of one."""
    packed = dtypes.pack(dtype, element)
    many = dtypes.count(shape)
    image = element * many if many <= 1 << 24 else None
    return Tree(
        "constant",
        dtype,
        tuple(shape),
        image,
        packed.ljust(a.up8(len(packed)), b"\0"),
        {"element": element.hex()},
        kind_id=a.CONSTANT,
        dtype_id=dtypes.IDS[dtype],
    )


def tensor(name: str | bytes, tree: Tree, *, alignment: int = 3, **options: Any) -> a.Section:
    """Return a tensor section."""
    raw_name = name.encode() if isinstance(name, str) else name
    payload = tree.payload(alignment)
    return a.Section(a.TENSOR, raw_name, tree.body(), payload,
                     alignment=alignment if payload else 3, **options)  # fmt: skip
