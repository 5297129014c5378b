"""A tensor's node tree in a section's body (SPEC 8.1): heads, and the values built on them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from nnpack.abc import Node
from nnpack.dtypes import BY_ID, check_shape, count
from nnpack.errors import error, located
from nnpack.limits import MAX_DEPTH, MAX_NODES
from nnpack.nodes.dense import Dense
from nnpack.streamhead import ENTRY, StreamHead
from nnpack.wire import Cursor, up8, up_align

_HEAD: Final = struct.Struct("<BBBBB3sII")
HEAD_SIZE: Final = _HEAD.size
_RANK_AT: Final = 3
KIND, DTYPE, TRANSFORM, CODEC = 2, 3, 4, 5
"""Classes of private ids, as the names section counts them."""


class NodeHead:
    """One node as its head states it; known kinds or not.

    Attributes:
        kind, role, dtype: ids.
        shape: of its elements.
        parameters: bytes, and their `offset` in the file.
        parts: in ascending role.
        stream: of a dense node.
        start: offset in the file of a dense node's first stored byte, once it is laid out.
    """

    def __init__(
        self,
        kind: int,
        role: int,
        dtype: int,
        shape: tuple[int, ...],
        parameters: bytes,
        offset: int,
    ) -> None:
        """Hold the fields of a head; parts and stream are added as they are read."""
        self.kind, self.role, self.dtype, self.shape = kind, role, dtype, shape
        self.parameters, self.offset = parameters, offset
        self.parts: list[NodeHead] = []
        self.stream: StreamHead | None = None
        self.start = 0

    def walk(self) -> Iterator[NodeHead]:
        """Yield this node and all below it, in file order."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def ids(self) -> Iterator[tuple[int, int]]:
        """Yield (class, id) of all that a reader must know to decode the tree."""
        for node in self.walk():
            yield KIND, node.kind
            yield DTYPE, node.dtype
            if node.stream:
                yield TRANSFORM, node.stream.transform
                for codec in node.stream.codecs:
                    yield CODEC, codec

    @property
    def decoded_size(self) -> int:
        """Bytes of this node's elements in memory; one each if the dtype is unknown."""
        cell = BY_ID.get(self.dtype)
        return count(self.shape) * (cell.itemsize if cell else 1)


def parse_tree(body: bytes, offset: int) -> NodeHead:
    """Decode a tensor section's body, which starts at `offset` in the file."""
    nodes = [0]
    cursor = Cursor(body, offset)
    root = _parse_node(cursor, 1, nodes)
    cursor.finish("a tensor's body")
    if root.role:
        raise error("bad-node", f"the root has role {root.role}, not 0", offset=offset)
    return root


def one_block(body: bytes) -> tuple[int, int]:
    """Return where the stream of a tensor that is a leaf of one block stands, and its planes.

    For any other body, or what is none, 0 planes.
    """
    if len(body) <= HEAD_SIZE or body[0] != Dense.id:
        return 0, 0
    at = HEAD_SIZE + 8 * body[_RANK_AT]
    planes = body[at + 2] if at + 2 < len(body) else 0
    return at, planes if len(body) == at + up8(4 + planes) + ENTRY * planes else 0


def _parse_node(cursor: Cursor, depth: int, nodes: list[int]) -> NodeHead:
    at = cursor.here
    nodes[0] += 1
    if depth > MAX_DEPTH or nodes[0] > MAX_NODES:
        raise error("bad-node", f"more than {MAX_DEPTH} levels or {MAX_NODES} nodes", offset=at)
    start = cursor.position
    kind, role, dtype, rank, parts, zeros, parameter_length, length = _HEAD.unpack(
        cursor.take(HEAD_SIZE, "a node head")
    )
    if any(zeros):
        raise error("reserved-nonzero", "reserved bytes of a node head are set", offset=at)
    if not kind:
        raise error("bad-node", "a node of kind 0", offset=at)
    if parameter_length & 7:
        raise error("bad-node", f"{parameter_length} bytes of parameters", offset=at)
    shape = cursor.u64s(rank, "a dimension")
    with located(at):
        check_shape(shape, BY_ID.get(dtype))
    place = cursor.here
    node = NodeHead(kind, role, dtype, shape, cursor.take(parameter_length, "parameters"), place)
    last = -1 if parts == 0 else 0
    for _ in range(parts):
        part = _parse_node(cursor, depth + 1, nodes)
        if part.role <= last:
            raise error("bad-node", "the roles of parts do not ascend", offset=at)
        last = part.role
        node.parts.append(part)
    if cursor.position != start + length:
        raise error(
            "bad-node", f"a node of {cursor.position - start} bytes states {length}", offset=at
        )
    if kind == Dense.id:
        if parts:
            raise error("bad-node", "a dense node has no parts", offset=at)
        node.stream = StreamHead.parse(node.parameters, count(shape), place)
    return node


def lay_out(root: NodeHead, start: int, alignment: int) -> int:
    """Set where each leaf's bytes start, in a payload at `start`; return where the last one ends.

    Leaves follow each other at multiples of 8; raw ones, which can be mapped, at multiples of
    the section's alignment. One whose pieces are all empty, as they may be under ids that are not
    known, has its place too; one without elements has none.
    """
    end = start
    for node in root.walk():
        stream = node.stream
        if stream and (len(stream.table) or len(stream.shared)):
            node.start = up_align(end, alignment) if stream.is_raw else up8(end)
            end = node.start + stream.span()
    return end


def pack_tree(node: Node, role: int, leaf: Callable[[Node], bytes]) -> bytes:
    """Return a node tree as it stands in a body.

    `leaf` is asked for the parameters of each dense node, in file order.
    """
    parameters = leaf(node) if node.id == Dense.id else node.parameters()
    found = node.parts()
    parts = b"".join([pack_tree(part, number, leaf) for number, part in found])
    shape = struct.pack(f"<{len(node.shape)}Q", *node.shape)
    length = HEAD_SIZE + len(shape) + len(parameters) + len(parts)
    head = _HEAD.pack(
        node.id,
        role,
        node.cell.id,
        len(node.shape),
        len(found),
        bytes(3),
        len(parameters),
        length,
    )
    return b"".join([head, shape, parameters, parts])


def leaves(node: Node) -> Iterator[Dense]:
    """Yield the dense nodes of a tree, in file order."""
    if isinstance(node, Dense):
        yield node
    for _, part in node.parts():
        yield from leaves(part)
