"""What a file says about itself, as plain data: `nnpack info --json` shows it as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from nnpack import container
from nnpack.bindings import NAME_CLASSES, SECTION_TYPE, parse_names
from nnpack.convert import FORMATS, detect
from nnpack.convert.model import Options, Summary
from nnpack.dtypes import BY_ID, packed_size
from nnpack.errors import NnpackError, UnsupportedError
from nnpack.limits import DEFAULT_LIMITS
from nnpack.plugins import Plugins
from nnpack.reader import Reader
from nnpack.reader import open as open_file
from nnpack.sections import but_checksum, is_one_block, parse_payload
from nnpack.tree import CODEC, KIND, TRANSFORM

if TYPE_CHECKING:
    from nnpack.abc import Node
    from nnpack.container import Section
    from nnpack.tree import NodeHead

SCHEMA: Final = "nnpack.info/1"
MAX_ALIKE: Final = 1 << 12
"""Forms of tensors that are remembered: a network has a few hundred."""


def describe(reader: Reader) -> dict[str, Any]:
    """Return all that a file says about itself, as JSON can hold it; tensors are not decoded."""
    tensors = _Tensors(reader.plugins)
    info: dict[str, Any] = {
        "schema": SCHEMA,
        "format": "nnpk",
        "size": reader.source.size,
        "root": None,
        "tensors": [],
        "aliases": {},
        "graphs": [],
        "blobs": [],
        "metadata": {},
        "names": [
            {"class": NAME_CLASSES[number], "id": key, "name": name}
            for (number, key), name in sorted(reader.bindings.items())
        ],
        "others": [],
        "faults": [],
    }
    for section in reader.directory:
        try:
            _describe_section(section, reader, tensors, info)
        except NnpackError as bad:
            info["faults"].append(str(bad.at(offset=section.offset, section=section.label)))
    return info | {"totals": totals(info["tensors"])}


def _describe_section(
    section: Section, reader: Reader, tensors: _Tensors, info: dict[str, Any]
) -> None:
    row = _head_of(section)
    match section.type:
        case container.TENSOR:
            info["tensors"].append(row | tensors.describe(section))
        case container.ALIAS:
            info["aliases"][section.name] = container.parse_alias(section)
        case container.METADATA:
            info["metadata"] = reader.metadata
        case container.GRAPH:
            size = parse_payload(section).shape[0]
            nodes = reader.graphs[section.name].get("nodes", [])
            info["graphs"].append(row | {"size": size, "nodes": len(nodes)})
        case container.BLOB:
            info["blobs"].append(row | {"size": parse_payload(section).shape[0]})
        case container.DIGESTS:
            info["root"] = reader.root
        case container.NAMES:
            pass
        case _:
            bound = reader.bindings.get((SECTION_TYPE, section.type))
            info["others"].append(row | {"type": section.type, "bound": bound})


def _head_of(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "stored": section.payload_length,
        "offset": section.offset,
    }


class _Tensors:
    """Describes tensors; what is alike in many is worked out once."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._alike: dict[tuple[bytes, int, int], dict[str, Any]] = {}

    def describe(self, section: Section) -> dict[str, Any]:
        """Return all but a tensor's name and place."""
        form = but_checksum(section)
        about = self._alike.get(form)
        if about is not None:
            return about
        root = parse_payload(section)
        tree = _tree(root, self._plugins)
        about = {
            "kind": tree["kind"],
            "dtype": tree["dtype"],
            "shape": tree["shape"],
            "size": root.decoded_size,
            "alignment": 1 << section.alignment,
            "unsupported": self._plugins.unknown(root),
            "tree": tree,
        }
        if is_one_block(root) and len(self._alike) < MAX_ALIKE:
            self._alike[form] = about
        return about


def _tree(node: NodeHead, plugins: Plugins) -> dict[str, Any]:
    """Return a node tree as JSON can hold it."""

    def called(number: int, key: int) -> str:
        found = plugins.find(number, key)
        bound = plugins.bindings.get((number, key), f"unknown({key})")
        return str(getattr(found, "name", bound))

    cell = BY_ID.get(node.dtype)
    tree: dict[str, Any] = {
        "kind": called(KIND, node.kind),
        "dtype": cell.name if cell else f"unknown({node.dtype:#04x})",
        "shape": [*node.shape],
    }
    stream = node.stream
    if stream:
        return tree | {
            "transform": called(TRANSFORM, stream.transform),
            "codecs": [called(CODEC, codec) for codec in stream.codecs],
            "block": 1 << stream.log2,
            "blocks": len(stream.table) // len(stream.codecs),
            "stored": stream.stored,
        }
    roles = getattr(plugins.find(KIND, node.kind), "roles", {})
    parts = {roles.get(part.role, f"part {part.role}"): _tree(part, plugins) for part in node.parts}
    return tree | {"parameters": node.parameters.hex(), "parts": parts}


def describe_any(source: str | IO[bytes]) -> dict[str, Any]:
    """Describe a file of any format that can be read."""
    try:
        with open_file(source) as reader:
            return describe(reader)
    except NnpackError as bad:
        if bad.error_class != "not-nnpack":
            raise
        with suppress(UnsupportedError):
            return _describe_foreign(source)
        raise


def _describe_foreign(source: str | IO[bytes]) -> dict[str, Any]:
    """Describe a file as its converter reads it."""
    if isinstance(source, str):
        size, name = Path(source).stat().st_size, detect(source)
    else:
        source.seek(0)
        name = detect(source.read(16))
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
    tensors: list[dict[str, Any]] = []
    metadata: dict[str, Any] = {}
    module = import_module(next(row.module for row in FORMATS if row.name == name))
    options = Options(
        want=lambda _: True,
        limits=DEFAULT_LIMITS,
        profile="raw",
        digests=False,
        threads=1,
        spool=None,
        progress=None,
    )
    with module.read(source, options, Summary(name, name)) as model:
        for item in model.items:
            if item.type == "tensor":
                node: Node = getattr(item.value, "node", item.value)
                bits = 8 if node.dtype == "bool" else node.cell.bits  # bools take a byte elsewhere
                stored = packed_size(node.size, bits)
                about = {"kind": node.name, "dtype": node.dtype, "shape": [*node.shape]}
                tensors.append({"name": item.name, **about, "size": node.nbytes, "stored": stored})
            elif item.type == "metadata":
                metadata = item.value
    return {
        "schema": SCHEMA,
        "format": name,
        "size": size,
        "tensors": tensors,
        "metadata": metadata,
        "faults": [],
        "totals": totals(tensors),
    }


class Tap:
    """Hands bytes of a file on to where they are written, and keeps the heads that pass."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to a file object."""
        self.size = 0
        self._file = file
        self._sections: list[Section] = []
        self._head = bytearray()
        self._next = container.HEADER_SIZE

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        self._file.write(rest)
        while len(rest):
            skipped = min(max(self._next - self.size, 0), len(rest)) if not self._head else 0
            self.size += skipped
            rest = rest[skipped:]
            taken = min(self._missing(), len(rest))
            self._head += rest[:taken]
            self.size += taken
            rest = rest[taken:]
            if len(self._head) > container.HEAD_SIZE and not self._missing():
                section = container.parse_head(bytes(self._head), self._next)
                self._sections.append(section)
                self._head.clear()
                is_last = section.type == container.DIRECTORY
                self._next = sys.maxsize if is_last else section.end
        return total

    def _missing(self) -> int:
        """Return how many bytes are missing of the next part of a head."""
        if len(self._head) < container.HEAD_SIZE:
            return container.HEAD_SIZE - len(self._head)
        fixed = bytes(self._head[: container.HEAD_SIZE])
        return container.head_lengths(fixed, self._next) - len(self._head)

    def flush(self) -> None:
        """Hold nothing back."""
        self._file.flush()

    def tensors(self) -> list[dict[str, Any]]:
        """Describe the tensors that passed."""
        first = self._sections[0]
        bindings = parse_names(first) if first.type == container.NAMES else {}
        tensors = _Tensors(Plugins().bound(bindings))
        return [
            _head_of(section) | tensors.describe(section)
            for section in self._sections
            if section.type == container.TENSOR
        ]


def totals(tensors: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of tensors and the sums of what they take."""
    return {
        "tensors": len(tensors),
        "size": sum(row["size"] for row in tensors),
        "stored": sum(row["stored"] for row in tensors),
    }
