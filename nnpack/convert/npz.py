"""NumPy's .npz: a ZIP archive of .npy members, read without pickle and without numpy.load.

Big-endian arrays keep their values and Fortran-ordered ones their elements; both are written back
little-endian and in C order, which the summary notes. An .npz has no metadata, graphs or blobs. It
has none of the types of ml_dtypes either: narrow integers are written as int8 and uint8 of the same
values, the others as the unsigned integers that have their bits, and the way back reads what was
written.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple, cast

import numpy as np

from nnpack.abc import Node
from nnpack.convert.archive import STORED, Member, beginning, content, members
from nnpack.convert.model import Model, Options, Summary, blame, reported, split_origin
from nnpack.convert.source import Origin, Stored, are_bools, random_access
from nnpack.convert.target import Target, as_items, chunks, gathered, opened
from nnpack.dtypes import Array, DType, check_shape, count, integers, named
from nnpack.errors import Invalid
from nnpack.limits import MAX_RANK
from nnpack.metadata import ORIGIN
from nnpack.names import check_name
from nnpack.nodes.dense import Dense
from nnpack.sequential import Item
from nnpack.source import Source

SUFFIX: Final = ".npy"
MAX_HEADER: Final = 10_000
"""What numpy reads; a header is evaluated by nobody here."""
_MAGIC: Final = b"\x93NUMPY"
_ITEM: Final = r"'(\w+)': ?('[^'\\]*'|True|False|\([0-9L, ]*\))(?:, ?)?"
_HEADER: Final = re.compile(r"\{" + 3 * _ITEM + r"\} *\n")
_DESCR: Final = re.compile(r"'([<>|])([biufc])([0-9]{1,2})'")
_FAMILIES: Final = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_NATIVE: Final = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
}


class Header(NamedTuple):
    """What the header of an .npy says."""

    cell: DType
    swapped: bool
    fortran: bool
    shape: tuple[int, ...]
    size: int
    """Of the header."""


@contextmanager
def read(origin: Origin, options: Options, summary: Summary) -> Iterator[Model]:
    """Check the archive and the headers of its members; a pipe is spooled whole."""
    with random_access(origin, options.spool) as source:
        found: dict[str, tuple[Member, Header]] = {}
        for member in members(source, options.limits):
            name = member.name.removesuffix(SUFFIX)
            if options.want(name):  # what is left out may be of a type that cannot be read
                found[name] = member, (header := _described(source, member, name, options))
                if header.swapped:
                    summary.note("big-endian, written little-endian", name)
                if header.fortran:
                    summary.note("in Fortran order, written in C order", name)
        total = sum(count(h.shape) * h.cell.itemsize for _, h in found.values())
        lasting = all(m.method == STORED and not h.fortran for m, h in found.values())
        with closing(_items(found, source, options)) as items:
            yield Model(items, total, lasting)


def _described(source: Source, member: Member, name: str, options: Options) -> Header:
    """Return a member's header, checked, and that its name can be a tensor's."""
    with blame(name, member.offset):
        check_name(name)
        if name == member.name:
            raise Invalid("unsupported", f"the member {name!a} is no {SUFFIX}")
        header = parse_header(beginning(source, member, MAX_HEADER + 12))
        check_shape(header.shape, header.cell)
        size = count(header.shape) * header.cell.itemsize
        if header.size + size != member.size:
            raise Invalid("mismatch", f"{size} bytes are declared, {member.size} are there")
        options.limits.check_expansion(size, member.stored)
    return header


def parse_header(data: bytes) -> Header:
    """Decode the header of an .npy; `Invalid` if it is none."""
    version, width = data[6:8], 2 if data[6:7] == b"\1" else 4
    if data[:6] != _MAGIC or version not in {b"\1\0", b"\2\0", b"\3\0"}:
        raise Invalid("bad-layout", "no .npy of version 1, 2 or 3")
    start = 8 + width
    length = int.from_bytes(data[8:start], "little")
    text = data[start : start + length]
    if length > MAX_HEADER or len(text) < length:
        raise Invalid("bad-layout", f"a header of {length} bytes")
    match = _HEADER.fullmatch(text.decode("latin-1"))
    if b"[" in text:
        raise Invalid("unsupported", "a structured array")
    groups = match.groups() if match else ()
    said = dict(zip(groups[::2], groups[1::2], strict=True))
    if said.keys() != {"descr", "fortran_order", "shape"}:
        raise Invalid("bad-text", "the header has not descr, fortran_order and shape alone")
    if said["fortran_order"] not in {"True", "False"}:
        raise Invalid("bad-text", f"a fortran_order of {said['fortran_order'][:40]}")
    shape = _shape(said["shape"])
    cell, swapped = _dtype(said["descr"])
    fortran = said["fortran_order"] == "True" and sum(dim != 1 for dim in shape) > 1
    return Header(cell, swapped, fortran, shape, start + length)


def _shape(text: str) -> tuple[int, ...]:
    """Return the tuple that a text is; the L of Python 2 is allowed."""
    parts = [part.strip(" ").removesuffix("L") for part in text.strip("()").split(",")]
    last = parts.pop() if not parts[-1] else None
    if text[0] != "(" or not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise Invalid("bad-text", f"a shape of {text[:40]}")
    if (len(parts) == 1 and last is None) or len(parts) > MAX_RANK:
        raise Invalid("bad-text", f"a shape of {text[:40]}")
    return tuple(map(int, parts))


def _dtype(text: str) -> tuple[DType, bool]:
    """Return the element type of a descr, and whether it is big-endian."""
    match = _DESCR.fullmatch(text)
    order, family, size = match.groups() if match else ("", "", "0")
    name = _FAMILIES.get(family, "") + ("" if family + size == "b1" else str(8 * int(size)))
    if name not in _NATIVE or (order == "|" and size != "1"):
        what = "objects would need pickle, which is never read" if "O" in text else "no numbers"
        raise Invalid("unsupported", f"an array of dtype {text[:40]}: {what}; exclude it")
    return named(name), order == ">"


def _items(
    found: dict[str, tuple[Member, Header]], source: Source, options: Options
) -> Generator[Item, None, None]:
    """Yield the arrays; one that is inflated or transposed lasts until the next is asked for."""
    origin: dict[str, Any] = {}
    for name, (member, header) in found.items():
        with blame(name), content(source, member, options.spool) as (inner, start):
            value = _value(inner, start + header.size, header, options)
            yield Item("tensor", name, value)
        if value.dtype != header.cell.name:
            origin[name] = {"format": "npz", "type": "bool"}
    if origin:
        yield Item("metadata", "", {ORIGIN: origin})


def _value(source: Source, start: int, header: Header, options: Options) -> Dense:
    """Return an array whose elements stay in the file, unless they must be transposed."""
    cell, shape, size = header.cell, header.shape, count(header.shape)
    if cell.name == "bool" and not are_bools(source, start, size):
        cell = named("uint8")
    stored = Stored(source, start, swapped=header.swapped)
    if not header.fortran:
        return Dense.of_source(stored, shape, cell)
    nbytes = size * cell.itemsize
    options.limits.check_request(2 * nbytes, nbytes)
    flat = np.empty(size, cell.numpy)
    stored.window(0, size)(0, size, flat)
    columns = flat.view(f"V{cell.itemsize}").reshape(shape[::-1])
    return Dense(np.ascontiguousarray(columns.transpose()).view(cell.numpy), cell.name)


def write(model: Model, target: Target, options: Options, summary: Summary) -> None:
    """Write an archive of stored members, the same bytes for the same model."""
    with gathered(model, options, summary) as (nodes, metadata):
        origin, others = split_origin(metadata, "npz")
        for key in others:
            summary.lose("metadata", key)
        headers = {
            name: _header(name, node, name in origin, summary) for name, node in nodes.items()
        }
        total = sum(node.nbytes for node in nodes.values())
        with opened(target) as file, zipfile.ZipFile(cast("Any", file), "w") as archive:
            for _, name, node in reported(as_items(nodes), total, options.progress):
                info = zipfile.ZipInfo(name + SUFFIX)
                info.create_system = 3  # the same bytes on every system
                info.file_size = len(headers[name]) + node.nbytes
                with blame(name), archive.open(info, "w") as member:
                    member.write(headers[name])
                    for part in chunks(node, options.threads):
                        member.write(_bytes(part, node.cell).data)
                summary.tensors += 1


def _header(name: str, node: Node, is_bool: bool, summary: Summary) -> bytes:
    """Return the header of an .npy, padded so that the data are aligned to 64."""
    cell = node.cell
    written = "bool" if is_bool and cell.name == "uint8" else cell.name
    if written not in _NATIVE:
        written = f"{cell.family}8" if cell.is_integer else cell.uint.name
        summary.lose(f"dtype {cell.name}, written as {written}", name)
    descr = np.dtype(written).str
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {node.shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return _MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text.encode()


def _bytes(part: Array, cell: DType) -> Array:
    """Return a piece of an array as it stands in a file."""
    return (integers(part, cell) if cell.is_integer else part).view(np.uint8)
