"""What sections hold: node trees over payloads, and leaves of bytes (SPEC 5.3)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, Final

from nnpack import graph, jsontext
from nnpack.abc import Node, read_range
from nnpack.container import DIGESTS, DIRECTORY, GRAPH, HEAD_SIZE, Section
from nnpack.directory import Directory, count_sections, parse_directory
from nnpack.dtypes import named
from nnpack.errors import NnpackError, error, located
from nnpack.limits import Limits
from nnpack.nodes.dense import Dense
from nnpack.plugins import Plugins
from nnpack.source import CHUNK, Source, compute_root, sha256
from nnpack.stream import check_crc
from nnpack.streamhead import CELLS, RAW
from nnpack.tree import NodeHead, lay_out, parse_tree
from nnpack.wire import U32, up8

ZSTD: Final = 1
ENTRIES: Final = 1 << 12
"""Rows of a block table that are Python objects at once."""
_UINT8: Final = named("uint8")


def parse_payload(section: Section) -> NodeHead:
    """Decode the node tree of a section's body, and check that its leaves tile the payload."""
    at = section.offset + HEAD_SIZE + up8(len(section.name.encode()))
    with located(at, section.label):
        root = parse_tree(section.body, at)
        end = lay_out(root, section.payload_offset, section.alignment)
        if end != section.payload_end:
            raise error(
                "mismatch", f"the leaves end at byte {end}, the payload at {section.payload_end}"
            )
    return root


def but_checksum(section: Section) -> tuple[bytes, int, int]:
    """Return what the node tree of a section of one block depends on (see `is_one_block`).

    Sections that agree in it have the same tree but for its place and the block's CRC-32, so that
    what is known of one need not be worked out again: a file may have a million tensors alike.
    """
    return section.body[: -U32.size], section.alignment, section.payload_length


def is_one_block(root: NodeHead) -> bool:
    """Return whether a tree is a leaf of one block and one plane: its body ends in a CRC-32."""
    stream = root.stream
    return stream is not None and len(stream.table) == 1 and not len(stream.shared)


def build(section: Section, root: NodeHead, plugins: Plugins, source: Source) -> Node:
    """Return the value of a tree of known ids, its leaves in the file."""
    with located(section.offset, section.label):
        return plugins.build(root, source)


def open_tree(
    section: Section, plugins: Plugins, source: Source
) -> tuple[NodeHead, Node | None, list[str]]:
    """Return the tree of a tensor section, its value, and what is unknown in it.

    Where something is unknown here, the value is None.
    """
    root = parse_payload(section)
    unknown = plugins.unknown(root)
    return root, None if unknown else build(section, root, plugins, source), unknown


def check_cost(section: Section, root: NodeHead, node: Node, limits: Limits) -> None:
    """Check what checking a tensor's parts, or moving them to another file, costs."""
    check_memory(section, root, node, limits)
    limits.check_ratio(node.check_work(), section.payload_length)


def check_memory(section: Section, root: NodeHead, node: Node, limits: Limits) -> None:
    """Check what checking a tensor's parts decodes, and how much of that it holds.

    Only pieces of it are held at a time; the elements of the root are not decoded, unless it is a
    leaf.
    """
    parts = [*root.walk()] if root.stream else [*root.walk()][1:]
    charge = sum(part.decoded_size for part in parts)
    limits.check_expansion(charge, section.payload_length)
    held = node.check_memory()
    limits.check_request(held, held)


def check_leaf(section: Section, root: NodeHead) -> None:
    """Check that the body of a graph, metadata, blob, ... section is a leaf of bytes.

    Every reader asks this, also one that does not know the ids in it.
    """
    stream, at = root.stream, root.offset
    rank = 2 if section.type == DIGESTS else 1
    if stream is None or root.dtype != _UINT8.id or len(root.shape) != rank:
        raise error(
            "bad-node",
            f"the body is not a dense node of uint8 and rank {rank}",
            offset=at,
            section=section.label,
        )
    allowed = {DIRECTORY: (RAW, ZSTD), DIGESTS: (RAW,)}.get(section.type)
    if stream.transform != CELLS or (allowed and stream.codecs[0] not in allowed):
        raise error(
            "bad-value",
            f"transform {stream.transform}, codec {stream.codecs[0]} here",
            offset=at,
            section=section.label,
        )


def bytes_leaf(section: Section, plugins: Plugins, source: Source) -> Dense:
    """Return the leaf of bytes that the body of a graph, metadata, blob, ... section is."""
    root = parse_payload(section)
    check_leaf(section, root)
    missing = plugins.unknown(root)
    if missing:
        raise error(
            "unsupported",
            f"this reader lacks {', '.join(missing)}",
            offset=root.offset,
            section=section.label,
        )
    node = build(section, root, plugins, source)
    assert isinstance(node, Dense)  # noqa: S101 - a node with a stream is dense
    return node


def read_bytes(section: Section, leaf: Dense) -> memoryview:
    """Return the bytes of a leaf of bytes."""
    with located(section.payload_offset, section.label):
        return read_range(leaf, 0, leaf.size).data


def parse_json(section: Section, data: memoryview) -> tuple[dict[str, Any], list[str]]:
    """Return the object that a metadata or graph section holds, checked.

    Returns:
        the object, and for a graph the names that must be tensors or aliases of the file.
    """
    with located(section.payload_offset, section.label):
        value = jsontext.parse(data)
        return value, graph.check(value) if section.type == GRAPH else []


def check_names(section: Section, names: Iterable[str], tensors: Container[str]) -> None:
    """Check that what a graph uses is there."""
    missing = next((name for name in names if name not in tensors), None)
    if missing is not None:
        raise error(
            "bad-reference",
            f"the graph uses {missing!a}, which no node, input or tensor gives",
            offset=section.payload_offset,
            section=section.label,
        )


def directory_leaf(section: Section, source: Source, limits: Limits) -> Dense:
    """Return the leaf of the directory section, its decoded size checked."""
    leaf = bytes_leaf(section, Plugins(), source)
    if leaf.size > section.offset:
        raise error(
            "bad-layout",
            f"a directory of {leaf.size} bytes is longer than what it lists",
            offset=section.offset,
        )
    limits.check("directory_bytes", leaf.size, "the decoded directory")
    return leaf


def read_directory(section: Section, leaf: Dense, limits: Limits) -> Directory:
    """Decode the directory."""
    data = read_bytes(section, leaf)
    limits.check("sections", count_sections(data, section.offset), "the number of sections")
    return parse_directory(data, section.offset)


def digests_leaf(section: Section, source: Source) -> Dense:
    """Return the leaf of the digests section: a digest for each MiB before it, and no more.

    Asked before any of it is read: a head may name a payload of any length.
    """
    leaf = bytes_leaf(section, Plugins(), source)
    check_digests(section, leaf)
    return leaf


def check_digests(section: Section, leaf: Dense) -> None:
    """Check that there is a digest for each MiB before the section."""
    if leaf.shape != (-(-section.offset // CHUNK), 32):
        raise error(
            "bad-shape",
            f"digests of shape {leaf.shape} for {section.offset} bytes",
            offset=section.offset,
            section=section.label,
        )


def digest_faults(
    section: Section, rows: memoryview | bytes, digests: Iterable[bytes]
) -> Iterator[NnpackError]:
    """Yield the error of each MiB before the section whose SHA-256 is not the one stored."""
    for index, found in enumerate(digests):
        if found != rows[32 * index : 32 * index + 32]:
            start = index * CHUNK
            stop = min(start + CHUNK, section.offset)
            yield error(
                "bad-digest",
                f"the SHA-256 of bytes {start} to {stop} is not the one stored",
                offset=start,
                section=section.label,
            )


def digests_of(source: Source, stop: int) -> Iterator[bytes]:
    """Yield the SHA-256 of each MiB before an offset."""
    for start in range(0, stop, CHUNK):
        yield sha256(source.read(start, min(CHUNK, stop - start)))


def check_pieces(section: Section, source: Source) -> None:
    """Compare all that stands before a digests section with it."""
    rows = read_bytes(section, digests_leaf(section, source))
    for bad in digest_faults(section, rows, digests_of(source, section.offset)):
        raise bad


def read_root(section: Section, source: Source) -> tuple[bytes, bytes]:
    """Return the root of a file whose digests section this is, and the bytes from it to the end.

    These are the digests, the directory and the trailer, none of which is longer than it may be.
    """
    digests_leaf(section, source)
    tail = bytes(source.read(section.offset, source.size - section.offset))
    return compute_root(tail, section.offset), tail


def check_stored(section: Section, root: NodeHead, source: Source) -> None:
    """Check every checksum of a payload and that all bytes between are zero; decode nothing.

    Works for trees with unknown ids too.
    """
    at = section.payload_offset
    with located(section=section.label):
        for start, length, crc in stored_pieces(root):
            check_zeros(source, at, start)
            check_crc(source.read(start, length), crc, start)
            at = start + length
        check_zeros(source, at, section.end)


def stored_pieces(root: NodeHead) -> Iterator[tuple[int, int, int]]:
    """Yield offset in the file, length and CRC-32 of all that a laid-out tree stores, in order."""
    for node in root.walk():
        if node.stream is None:
            continue
        at = node.start
        for table in (node.stream.shared, node.stream.table):
            for row in range(0, len(table), ENTRIES):
                for length, crc in table[row : row + ENTRIES].tolist():
                    yield at, length, crc
                    at = up8(at + length)


def check_zeros(source: Source, start: int, stop: int) -> None:
    """Check padding."""
    if stop > start and bytes(source.read(start, stop - start)).strip(b"\0"):
        raise error("bad-layout", "padding is not zero", offset=start)
