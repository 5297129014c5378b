"""Mutations of nnpk files, field by field, in the language of conformance/generator/operations.py.

Nine times in ten a file is taken apart, changed and put together with right checksums, so that what
is refused is what was changed; else the finished bytes are changed, and checksums tell.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator import rebuild
from conformance.generator.operations import Operation
from conformance.generator.rebuild import Node, Parsed, nodes, parse
from fuzz.havoc import Havoc, number

REPAIR = ("planes", "digests")
UNREPAIRED = 0.1
"""Share of the mutations that leave checksums as they are."""
TYPES = (*range(10), 127, 128, 200, 255, 256, 0xFFFF)
DTYPES = (0, 1, *range(0x11, 0x1D), *range(0x22, 0x2C), 0x39, 0x3A, 0x3B, 0x49, 0x5B, 0x5C, 0x64,
          0x66, 0x6E, *range(0x6F, 0x79), 128, 255)  # fmt: skip
IDS = (*range(9), *range(16, 22), 127, 128, 200, 255)
"""Of kinds, transforms and codecs."""
NAMES = (b"", b"w", b"a\nb", b"\0", b"\xff", b"\xc3\xa9", b"e\xcc\x81", b"\xed\xa0\x80",
         b"\xef\xbb\xbf", b"x" * 1024, b"x" * 1025, b"../x", b"\xe2\x80\xae")  # fmt: skip
HEAD = {"type": 2, "flags": 2, "alignment": 1}
INLINE = HEAD | {"length": 8, "head_length": 4, "name_length": 2, "zero15": 1, "zero24": 4,
                 "checksum": 4, "sync": -4}  # fmt: skip
LISTED = HEAD | {"offset": 8, "length": 8}
TOKENS = (b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\u0000", b"\\ud800", b"null", b"NaN",
          b"1e999", b'"nodes":[', b'{"graph":', b'"w"', b"\x11\0\0", b"\x28\xb5\x2f\xfd", a.SYNC,
          a.END, a.MAGIC)  # fmt: skip
BYTES = Havoc(TOKENS)


def build(base: bytes, operations: Sequence[Operation]) -> bytes:
    """Return what operations make of an input; one that is no file has splices alone."""
    if all(operation["op"] == "file" for operation in operations):
        return reduce(o.spliced, operations, base)
    return o.apply(base, operations, REPAIR)


def smallest(
    operations: Sequence[Operation], keeps: Callable[[list[Operation]], bool]
) -> list[Operation]:
    """Leave out operations, the last first, while what is left keeps something."""
    kept = [*operations]
    for at in reversed(range(len(kept))):
        fewer = kept[:at] + kept[at + 1 :]
        with suppress(ValueError, IndexError, KeyError):  # what is left may not fit the file
            if keeps(fewer):
                kept = fewer
    return kept


def mutate(
    data: bytes,
    rng: random.Random,
    donors: Sequence[bytes] = (),
    before: Sequence[Operation] = (),
) -> tuple[bytes, list[Operation]]:
    """Return another file, and the operations that `build` makes it with.

    Args:
        data: a valid file, whose directory is raw.
        rng: that draws.
        donors: other valid files, to take parts of.
        before: operations that come first, and are returned as well.
    """
    operations = [*before]
    if _ends(before) or rng.random() < UNREPAIRED:
        whole, more = BYTES.mutate(build(data, before), rng, donors)
        return whole, [*operations, *more]
    file = parse(data)
    for operation in before:
        o.change(file, operation)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 4))):
        drawn = _drawn(file, rng, donors)
        for operation in drawn:
            o.change(file, operation)
        operations += drawn
        if _ends(drawn):
            break
    return rebuild.build(file, REPAIR), operations


def _ends(operations: Sequence[Operation]) -> bool:
    """Return whether operations change bytes that depend on all sections, which then stay."""
    last = {"directory", "leaf", "last", "trailer", "file"}
    return any(operation["op"] in last for operation in operations)


def canonical(data: bytes) -> bytes:
    """Return a valid file as `build` spells it: with its directory in one raw block."""
    return o.apply(data, [], REPAIR)


def _drawn(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """Draw until something fits the file."""
    while True:
        draw = rng.choice(_DRAWS)
        with suppress(_DoesNotFitError):
            return draw(file, rng, donors)


class _DoesNotFitError(Exception):
    """The file has nothing of that sort."""


def _index(file: Parsed, rng: random.Random, fits: Callable[[a.Section], Any] = bool) -> int:
    found = [i for i, section in enumerate(file.sections) if fits(section)]
    if not found:
        raise _DoesNotFitError
    return rng.choice(found)


SIDES = {"section": (o.section,), "inline": (o.inline,), "listed": (o.listed,),
         "both": (o.inline, o.listed)}  # fmt: skip
"""Where a field of a head is changed; `section` moves what stands behind it."""


def _head(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """A field of a head: in both places, or in one alone."""
    index = _index(file, rng)
    where = rng.choice([*SIDES])
    fields = {"inline": INLINE, "listed": LISTED}.get(where, HEAD)
    name = rng.choice((*fields, "name"))
    value = _field(name, fields.get(name, 0), rng, getattr(file.sections[index], name, None))
    if name == "alignment" and where == "section":
        value %= 17  # the assembler pads to it
    return [side(index, name, value) for side in SIDES[where]]


def _field(name: str, size: int, rng: random.Random, near: Any) -> Any:
    if name == "name":
        return rng.choice((*NAMES, bytes(near or b"") + b"x")).hex()
    if size < 0:
        return rng.randbytes(-size).hex()
    if name == "type" and rng.random() < 0.7:
        return rng.choice(TYPES)
    if name == "flags" and rng.random() < 0.6:
        return rng.choice((0, 1, 2))
    if name == "alignment" and rng.random() < 0.7:
        return rng.randrange(18)
    return number(rng, size, near if isinstance(near, int) else None)


def _tree(file: Parsed, rng: random.Random, fits: Callable[[Node], Any] = bool) -> tuple[int, Node]:
    """Return a section and a node of its tree."""
    index = _index(file, rng, lambda section: section.body)
    with suppress(ValueError, RecursionError):
        found = [node for node in nodes(file.sections[index].body) if fits(node)]
        if found:
            return index, rng.choice(found)
    raise _DoesNotFitError


def _dense(node: Node) -> bool:
    return node.kind == a.DENSE and node.end - node.parameters >= 8


def _put(file: Parsed, index: int, at: int, new: bytes, size: int | None = None) -> Operation:
    """Return the operation that puts bytes into a body."""
    old = file.sections[index].body[at : at + (len(new) if size is None else size)]
    return o.splice(index, "body", at, old, new)


def _number(file: Parsed, index: int, at: int, size: int, value: int) -> Operation:
    return _put(file, index, at, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))


_NODE = ((0, 1, IDS), (1, 1, range(9)), (2, 1, DTYPES), (2, 1, DTYPES), (3, 1, range(35)),
         (4, 1, range(5)), (5, 3, ()), (8, 4, ()), (12, 4, ()))  # fmt: skip
"""Offset, size and likely values of the fields of a node's head (SPEC 8.1)."""


def _node(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    index, node = _tree(file, rng)
    at, size, likely = rng.choice(_NODE)
    near = int.from_bytes(file.sections[index].body[node.at + at :][:size], "little")
    pick = likely and rng.random() < 0.8
    value = rng.choice(likely) if pick else number(rng, size, near)
    return [_number(file, index, node.at + at, size, value)]


def _dimension(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """A dimension, or two that change places."""
    index, node = _tree(file, rng, lambda node: node.parameters > node.shape)
    body = file.sections[index].body
    dims = range(node.shape, node.parameters, 8)
    at = rng.choice(dims)
    if len(dims) > 1 and rng.random() < 0.3:
        to = rng.choice(dims)
        return [_put(file, index, at, body[to : to + 8]), _put(file, index, to, body[at : at + 8])]
    near = struct.unpack_from("<Q", body, at)[0]
    return [_number(file, index, at, 8, number(rng, 8, near))]


def _parameter(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    index, node = _tree(file, rng, lambda node: node.end > node.parameters)
    size = rng.choice((1, 1, 1, 4, 8))
    at = rng.randrange(node.parameters, node.end, size)
    near = int.from_bytes(file.sections[index].body[at : at + size], "little")
    return [_number(file, index, at, size, number(rng, size, near))]


def _stream(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """Transform, block, planes, parameter or a codec of a dense node (SPEC 9.1)."""
    index, node = _tree(file, rng, _dense)
    body = file.sections[index].body
    at = rng.randrange(4 + min(8, max(1, body[node.parameters + 2])))
    likely = (range(7), range(9, 22), range(10), range(5), IDS)[min(at, 4)]
    value = rng.choice(likely) if rng.random() < 0.9 else rng.randrange(256)
    return [_number(file, index, node.parameters + at, 1, value)]


def _entry(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """The stored length of an entry."""
    index, _ = _tree(file, rng, _dense)
    at, _ = rng.choice(_entries(file.sections[index]))
    near = struct.unpack_from("<I", file.sections[index].body, at)[0]
    return [_number(file, index, at, 4, number(rng, 4, near))]


def _entries(section: a.Section) -> list[tuple[int, int]]:
    with suppress(ValueError, IndexError, RecursionError, struct.error):
        found = rebuild.entries(section.body, section.alignment)
        ends = [position + struct.unpack_from("<I", section.body, at)[0] for at, position in found]
        if found and ends[-1] <= len(section.payload):
            return found
    raise _DoesNotFitError


def _store(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """What is stored for an entry; its length may become another one."""
    index = _index(file, rng, lambda section: section.body and section.payload)
    section = file.sections[index]
    found = _entries(section)
    which = rng.randrange(len(found))
    entry, position = found[which]
    length = struct.unpack_from("<I", section.body, entry)[0]
    at, old, new = BYTES.draw(section.payload[position : position + length], rng, donors)
    return [o.store(index, which, at, old, new)]


def _splice(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """Any bytes of a name, a body or a payload."""
    name = rng.choice(("name", "body", "payload", "payload"))
    index = _index(file, rng, lambda section: getattr(section, name))
    at, old, new = BYTES.draw(getattr(file.sections[index], name), rng, donors)
    if name == "name" and len(new) > 1 << 11:
        raise _DoesNotFitError
    return [o.splice(index, name, at, old, new)]


def _text(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """A graph, metadata or blob of other bytes, with a body that fits them."""
    kinds = {a.GRAPH, a.METADATA, a.BLOB}
    index = _index(file, rng, lambda section: section.type in kinds)
    new, _ = BYTES.mutate(file.sections[index].payload, rng, donors)
    return [o.text(index, new)]


def _part(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """A part of a tree taken out, put in twice, or brought from another tree; lengths follow."""
    index, node = _tree(file, rng, lambda node: node.level > 1)
    body = file.sections[index].body
    piece = _piece(body, node.at)
    above = [one for one in nodes(body) if one.at < node.at < one.at + len(_piece(body, one.at))]
    old, new, many = piece, b"", -1
    way = rng.random()
    if way < 0.4:
        role = bytes([piece[1] + rng.randrange(2) & 255])
        old, new, many = b"", piece[:1] + role + piece[2:], 1
    elif way < 0.7:
        other = parse(rng.choice(donors)) if donors else file
        at, one = _tree(other, rng)
        brought = _piece(other.sections[at].body, one.at)
        new, many = brought[:1] + piece[1:2] + brought[2:], 0
    operations = [_number(file, index, above[-1].at + 4, 1, body[above[-1].at + 4] + many)]
    for one in above:
        length = struct.unpack_from("<I", body, one.at + 12)[0]
        operations.append(_number(file, index, one.at + 12, 4, length + len(new) - len(old)))
    return [*operations, _put(file, index, node.at, new, len(old))]


def _piece(body: bytes, at: int) -> bytes:
    return body[at : at + struct.unpack_from("<I", body, at + 12)[0]]


def _order(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """A section taken out, put in twice or moved."""
    index = _index(file, rng)
    way = rng.choice((o.drop, o.copy, o.move))
    return [o.drop(index) if way is o.drop else way(index, rng.randrange(len(file.sections) + 1))]


def _add(file: Parsed, rng: random.Random, donors: Sequence[bytes]) -> list[Operation]:
    """A section of another file, an alias, names, or one of a type that nobody knows."""
    to = rng.randrange(len(file.sections) + 1)
    known = [section.name for section in file.sections] or [b"w"]
    name = rng.choice((*NAMES, b"new%d" % rng.randrange(9)))
    free = rng.randbytes(8 * rng.randrange(3))
    made = [a.alias(name, rng.choice(known)),
            a.names((rng.randrange(1, 6), rng.randrange(128, 256), b"org.example.x")),
            a.Section(rng.choice((9, 200, 256)), name, free, flags=1),
            a.text(rng.choice((a.GRAPH, a.METADATA, a.BLOB)), name, b"{}")]  # fmt: skip
    section = rng.choice(made)
    others = parse(rng.choice(donors)).sections if donors else []
    if others and rng.random() < 0.7:
        section = rng.choice(others)
    return [o.add(to, section.type, name=section.name, body=section.body, payload=section.payload,
                  flags=section.flags, alignment=section.alignment)]  # fmt: skip


def _header(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    at, old, new = BYTES.draw(file.header, rng)
    return [o.header(at, old, new[: len(old)])]


def _end(file: Parsed, rng: random.Random, _: Sequence[bytes]) -> list[Operation]:
    """The decoded directory, its own head or leaf, or the trailer."""
    whole = rebuild.build(file, REPAIR)
    start = struct.unpack_from("<Q", whole, len(whole) - 32)[0]
    length = struct.unpack_from("<I", whole, start + 8)[0]
    size = struct.unpack_from("<Q", whole, start + 16)[0]
    listing = whole[start + length : start + length + size]
    what = rng.choice(("directory", "directory", "trailer", "leaf", "leaf", "last"))
    if what == "last":
        name = rng.choice((*INLINE, "name"))
        value = _field(name, INLINE.get(name, 0), rng, None)
        value = value % 17 if name == "alignment" else value
        return [o.last(name, value)]
    if what == "trailer":
        start = rng.choice((0, 16))
        at, old, new = BYTES.draw(whole[-32:][start : start + 16], rng)
        return [o.trailer(start + at, old, new[: len(old)])]
    if what == "directory":
        return [o.directory(*BYTES.draw(listing, rng))]
    field, data = rng.choice((("body", a.byte_leaf(listing)), ("payload", listing)))
    return [o.leaf(field, *BYTES.draw(data, rng))]


_DRAWS = (
    *(_head, _head, _node, _node, _dimension, _dimension, _parameter, _parameter, _parameter),
    *(_stream, _stream, _entry, _store, _store, _store, _splice, _splice, _text, _text),
    *(_part, _part, _order, _add, _header, _end),
)


def fields(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield what each operation changes, in words that tell kinds of mutations apart."""
    for operation in operations:
        what = operation.get("field", "")
        yield f"{operation['op']}.{what}" if what else operation["op"]
