"""safetensors: a JSON header and raw tensors, read more strictly than the reference reads them.

    u64 length of the header · header, a JSON object, spaces behind it · data

Besides what the reference rejects, duplicate keys, unknown members, white space before the header
and names that nnpack has not are rejected. Types under a byte have the first cell in the lowest
bits. Tensors keep the order of their data.

The way from safetensors to nnpack and back restores the data, the order of the header and the
metadata; the header's spelling may be another one. `nnpack.origin` says what that needs besides:

- `type`: BOOL, of a tensor with bytes above 1, which is uint8 in nnpack;
- `position`: of a tensor in the header, if the header has another order than the data.

The way from nnpack to safetensors and back restores metadata that safetensors has no place for: a
value that is no string is written as its JSON text, and the key `nnpack.json` lists such keys.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from nnpack import jsontext
from nnpack.abc import Node
from nnpack.convert.model import Model, Options, Summary, blame, reported, split_origin
from nnpack.convert.source import Origin, Packed, Pipe, Stored, are_bools, random_access, spooled
from nnpack.convert.target import Target, as_items, chunks, gathered, opened
from nnpack.dtypes import BYTE, Array, DType, check_shape, count, named, pack, to_cells
from nnpack.errors import Invalid, error
from nnpack.limits import MAX_RANK
from nnpack.metadata import ORIGIN, origin_of
from nnpack.names import check_name
from nnpack.nodes.dense import Dense
from nnpack.sequential import Item
from nnpack.source import Source
from nnpack.wire import U64

MAX_HEADER: Final = 100_000_000
METADATA: Final = "__metadata__"
JSON_KEYS: Final = "nnpack.json"
"""The metadata key that lists which values are JSON text."""

TYPES: Final = {
    "BOOL": "bool",
    "F4": "float4_e2m1fn",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_BY_DTYPE: Final = {dtype: kind for kind, dtype in TYPES.items()}


class Entry(NamedTuple):
    """What the header says of one tensor."""

    name: str
    type: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def cell(self) -> DType:
        """The element type."""
        return named(TYPES[self.type])

    @property
    def nbytes(self) -> int:
        """Bytes of the elements in memory."""
        return count(self.shape) * self.cell.itemsize


Place = tuple[Entry, Source, int]
"""A tensor, and where its bytes start."""


def stored_bits(kind: str) -> int:
    """Return the bits that a cell of a safetensors type takes: a BOOL takes a byte."""
    return BYTE if kind == "BOOL" else named(TYPES[kind]).bits


@contextmanager
def read(origin: Origin, options: Options, summary: Summary) -> Iterator[Model]:  # noqa: ARG001
    """Check the header; read tensors when they are asked for, those of a pipe in order."""
    if isinstance(origin, Pipe):
        header = parse_header(origin.take(_header_length(origin.take(U64.size))))
        with closing(_in_order(header, origin, options)) as places:
            yield Model(_items(header, places, options), header.nbytes(options), lasting=False)
        return
    with random_access(origin, options.spool) as source:
        length = _header_length(bytes(source.read(0, min(U64.size, source.size))))
        base = U64.size + length
        if base > source.size:
            raise error("truncated", f"a header of {length} bytes", offset=source.size)
        header = parse_header(bytes(source.read(U64.size, length)))
        end = base + header.end
        if end != source.size:
            raise error(
                "truncated" if end > source.size else "trailing-data",
                f"the tensors end at byte {end}, the file at {source.size}",
                offset=min(end, source.size),
            )
        places = ((entry, source, base + entry.start) for entry in header.entries)
        yield Model(_items(header, places, options), header.nbytes(options), lasting=True)


def _header_length(data: bytes) -> int:
    if len(data) < U64.size:
        raise error("truncated", "the file is shorter than the header's length", offset=len(data))
    (length,) = U64.unpack(data)
    if length > MAX_HEADER:
        raise error("bad-layout", f"a header of {length} bytes passes {MAX_HEADER}", offset=0)
    return int(length)


class Header(NamedTuple):
    """The header, checked.

    Attributes:
        entries: in the order of their data.
        positions: in the header of each tensor; empty if the header has the order of the data.
        metadata: as nnpack has it.
        end: of the data, from where it starts.
    """

    entries: list[Entry]
    positions: dict[str, int]
    metadata: dict[str, Any]
    end: int

    def nbytes(self, options: Options) -> int:
        """Return the decoded bytes of the tensors that are wanted."""
        return sum(entry.nbytes for entry in self.entries if options.want(entry.name))

    def origin(self, entry: Entry, *, other: bool) -> dict[str, Any]:
        """Return what an exporter needs to know of a tensor; `other` if its type is another."""
        said: dict[str, Any] = {"type": entry.type} if other else {}
        if self.positions:
            said |= {"position": self.positions[entry.name]}
        return {"format": "safetensors"} | said if said else {}


def parse_header(text: bytes) -> Header:
    """Decode and check a header."""
    if text[:1] != b"{":
        raise error("bad-json", "the header does not start with {", offset=U64.size)
    try:
        header = jsontext.parse(text)
    except Invalid as bad:
        raise error(bad.error_class, f"the header: {bad.message}", offset=U64.size) from bad
    metadata = _restored(header.pop(METADATA, None))
    given = [_entry(name, value) for name, value in header.items()]
    entries = sorted(given, key=lambda entry: (entry.start, entry.stop))
    end = 0
    for entry in entries:
        if entry.start != end:
            raise error(
                "bad-layout",
                f"its data start at {entry.start}, what is before them ends at {end}",
                section=entry.name,
            )
        end = entry.stop
    positions = {} if given == entries else {e.name: row for row, e in enumerate(given)}
    return Header(entries, positions, metadata, end)


def _entry(name: str, value: Any) -> Entry:
    """Check what the header says of one tensor."""
    with blame(name):
        check_name(name)
        wanted = {"dtype", "shape", "data_offsets"}
        if not isinstance(value, dict) or not wanted <= value.keys():
            raise Invalid("bad-json", "a tensor has dtype, shape and data_offsets")
        if len(value) > len(wanted):
            raise Invalid("unsupported", f"it has {len(value)} members, {len(wanted)} are known")
        kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
            raise Invalid("bad-json", "shape and data_offsets are lists of sizes")
        if not isinstance(kind, str) or kind not in TYPES:
            raise Invalid("unsupported", f"unknown dtype {str(kind)[:40]!a}")
        if len(shape) > MAX_RANK:
            raise Invalid("unsupported", f"rank {len(shape)} passes {MAX_RANK}")
        check_shape(shape, named(TYPES[kind]))
        bits = count(shape) * stored_bits(kind)
        if (offsets[1] - offsets[0]) * BYTE != bits:
            raise Invalid("mismatch", f"{kind}{shape} takes {bits} bits, not {offsets} bytes")
    return Entry(name, kind, tuple(shape), *offsets)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _restored(metadata: Any) -> dict[str, Any]:
    """Return metadata as nnpack has them: values that were made JSON text, parsed."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise error("bad-json", "metadata are strings by name", section=METADATA)
    values: dict[str, Any] = dict(metadata)
    listed = _parse_json(values.pop(JSON_KEYS, "[]"))
    if not isinstance(listed, list) or not all(
        isinstance(key, str) and key in values for key in listed
    ):
        raise error("bad-json", f"{JSON_KEYS} is no list of keys", section=METADATA)
    if len({*listed}) != len(listed):
        raise error("bad-json", f"{JSON_KEYS} lists a key twice", section=METADATA)
    values |= {key: _parse_json(values[key]) for key in listed}
    for key in values:
        if key.startswith("nnpack.") and key not in listed:
            raise error("unsupported", f"the key {key!a} is nnpack's own", section=METADATA)
    return values


def _parse_json(text: str) -> Any:
    """Parse any JSON value strictly."""
    with blame(METADATA):
        parsed = jsontext.parse(b'{"":%b}' % text.encode())
        if len(parsed) != 1:
            raise Invalid("bad-json", f"{text[:40]!a} is no JSON value")
    return parsed[""]


def _items(header: Header, places: Iterator[Place], options: Options) -> Iterator[Item]:
    """Yield tensors, unread, then the metadata with what an exporter needs to know of them."""
    origin: dict[str, Any] = {}
    for entry, source, offset in places:
        if options.want(entry.name):
            value = _value(entry, source, offset)
            said = header.origin(entry, other=value.dtype != entry.cell.name)
            origin |= {entry.name: said} if said else {}
            yield Item("tensor", entry.name, value)
    metadata = header.metadata
    if origin:
        metadata = metadata | {ORIGIN: origin_of(metadata) | origin}
    if metadata:
        yield Item("metadata", "", metadata)


def _in_order(header: Header, pipe: Pipe, options: Options) -> Generator[Place, None, None]:
    """Yield where tensors of a pipe are held, each until the next is asked for."""
    for entry in header.entries:
        size = entry.stop - entry.start
        if options.want(entry.name):
            with spooled(pipe.pieces(size), options.spool) as source:
                yield entry, source, 0
        else:
            pipe.skip(size)
    if pipe.read(1):
        raise error("trailing-data", "bytes follow the last tensor", offset=pipe.offset - 1)


def _value(entry: Entry, source: Source, offset: int) -> Dense:
    """Return a tensor whose cells stay in the file."""
    cell, size = entry.cell, count(entry.shape)
    if entry.type == "BOOL" and not are_bools(source, offset, size):
        cell = named("uint8")
    narrow = stored_bits(entry.type) < BYTE
    stored = Packed(source, offset, size, cell) if narrow else Stored(source, offset)
    return Dense.of_source(stored, entry.shape, cell)


def write(model: Model, target: Target, options: Options, summary: Summary) -> None:
    """Write a file: `__metadata__` first, then the tensors in their order."""
    with gathered(model, options, summary) as (nodes, metadata):
        origin, others = split_origin(metadata, "safetensors")
        header = _header(nodes, origin, _strings(others))
        with opened(target) as file:
            file.write(U64.pack(len(header)) + header)
            total = sum(node.nbytes for node in nodes.values())
            for _, name, node in reported(as_items(nodes), total, options.progress):
                with blame(name):
                    for part in chunks(node, options.threads):
                        file.write(_bytes(part, node.cell).data)
                summary.tensors += 1


def _header(nodes: dict[str, Node], origin: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """Return the header, padded with spaces so that the data are aligned to 8."""
    rows: dict[str, Any] = {}
    at = 0
    for name, node in nodes.items():
        kind = _type(name, node, origin.get(name, {}))
        size = count(node.shape) * stored_bits(kind) // BYTE
        rows[name] = {"dtype": kind, "shape": [*node.shape], "data_offsets": [at, at + size]}
        at += size
    places = [origin.get(name, {}).get("position") for name in rows]
    if all(isinstance(place, int) for place in places):
        order = dict(zip(rows, places, strict=True))
        rows = {name: rows[name] for name in sorted(rows, key=order.__getitem__)}
    text = _dump(({METADATA: metadata} if metadata else {}) | rows).encode()
    text += b" " * (-len(text) % U64.size)
    if len(text) > MAX_HEADER:
        raise error("unsupported", f"the header takes {len(text)} bytes: convert it in parts")
    return text


def _type(name: str, node: Node, said: dict[str, Any]) -> str:
    """Return the safetensors type that holds a tensor."""
    kind = _BY_DTYPE.get(node.dtype)
    if name == METADATA:
        raise error("unsupported", "a tensor of safetensors cannot have this name", section=name)
    if kind is None:
        raise error(
            "unsupported",
            f"safetensors has no {node.dtype}: leave the tensor out, or convert to npz",
            section=name,
        )
    if count(node.shape) * stored_bits(kind) % BYTE:
        raise error("unsupported", f"{kind}{[*node.shape]} does not fill bytes", section=name)
    return "BOOL" if node.dtype == "uint8" and said.get("type") == "BOOL" else kind


def _strings(metadata: dict[str, Any]) -> dict[str, str]:
    """Return metadata as safetensors has them: nnpack's own and what is no string as JSON text."""
    if JSON_KEYS in metadata:
        raise error("unsupported", f"the key {JSON_KEYS} is this format's", section=METADATA)
    own = {key for key in metadata if key.startswith("nnpack.")}
    listed = [key for key, value in metadata.items() if key in own or not isinstance(value, str)]
    texts = {key: _dump(metadata[key]) for key in listed}
    return metadata | texts | ({JSON_KEYS: _dump(listed)} if listed else {})


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _bytes(part: Array, cell: DType) -> Array:
    """Return a piece of a tensor as it stands in a file."""
    if cell.packed and cell.name != "bool":
        return pack(to_cells(part, cell), cell.bits)
    return part.view(np.uint8)
