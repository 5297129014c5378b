"""What is fuzzed: functions of bytes, which return or raise an `NnpackError`.

Anything else that leaves one is a finding (`oracle.gate`).
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnpack
from conformance.generator import operations as o
from conformance.generator.operations import Operation
from conformance.generator.rebuild import parse
from fuzz import oracle, seeds, structure
from fuzz.havoc import Havoc
from fuzz.oracle import LIMITS, Finding
from fuzz.values import INSTALLED, Draw, Laid, value
from nnpack import container, convert, graph, jsontext
from nnpack.abc import AnyCodec, Codec, TableCodec
from nnpack.bindings import parse_names
from nnpack.container import Section
from nnpack.digest import logical_digest
from nnpack.errors import located
from nnpack.explain import explain
from nnpack.plugins import Plugins
from nnpack.salvage import salvage
from nnpack.sections import open_tree
from nnpack.source import BufferSource
from nnpack.tree import leaves


def open_only(data: bytes) -> None:
    """Open a file, and list what the directory says."""
    with nnpack.open(data, threads=1, limits=LIMITS) as reader:
        for section in reader.sections:
            assert section.payload_end <= len(data)


def tree(data: bytes) -> None:
    """Build the trees of a file whose container nobody checks, without their payloads."""
    for section, plugins in _sections(data):
        open_tree(section, plugins, BufferSource(data, 0))


def stream(data: bytes) -> None:
    """Decode the leaves of a file whose container nobody checks, whole and in two ranges."""
    for section, plugins in _sections(data):
        source = BufferSource(data, 0)
        _, node, _ = open_tree(section, plugins, source)
        for leaf in leaves(node) if node else ():
            LIMITS.check_request(leaf.nbytes, section.payload_length)
            with located(section.offset):
                whole = leaf.to_numpy().reshape(-1)
                if leaf.size > 1:
                    cut = leaf.size // 2
                    parts = whole.copy()
                    leaf.window(0, cut)(0, cut, parts[:cut])
                    leaf.window(cut, leaf.size)(cut, leaf.size, parts[cut:])
                    if parts.tobytes() != whole.tobytes():
                        raise Finding("disagreement", "a leaf read whole and in two ranges")


def _sections(data: bytes) -> list[tuple[Section, Plugins]]:
    """Return the sections that have trees, as the inline heads say."""
    try:
        parts = parse(data).sections
    except (struct.error, ValueError, OverflowError, MemoryError):
        return []  # the container's faults are for other targets
    found, at = [], 16
    plugins = Plugins()
    for part in (part for part in parts if not len(part.body) % 8):  # no head is of another length
        with suppress(nnpack.NnpackError):
            name = part.name.decode(errors="replace")
            section = Section(part.type, part.flags, name, part.alignment, at, len(part.payload),
                              part.body)  # fmt: skip
            if part.type == container.NAMES:
                plugins = plugins.bound(parse_names(section))
            elif part.body and part.type != container.ALIAS:
                found.append((section, plugins))
        at = section.end
    return found


def codec(coder: AnyCodec) -> Callable[[bytes], None]:
    """Return the target that decodes one plane: u16 its length, u16 that of the table, both."""

    def decode(data: bytes) -> None:
        if len(data) < 4:
            return
        size, length = struct.unpack_from("<HH", data)
        table, coded = memoryview(data)[4 : 4 + length], memoryview(data)[4 + length :]
        one = coder.with_table(table) if isinstance(coder, TableCodec) else coder
        LIMITS.charge(size)
        if 0 < len(coded) < size:  # others are never given to a codec (SPEC 9.2)
            _decode_again(one, coded, size)

    return decode


def _decode_again(coder: Codec, coded: memoryview, size: int) -> None:
    """Decode a plane in each way that a codec has, code it and decode that."""
    content = bytes(coder.decode(coded, size))
    if len(content) > size + 1:
        raise Finding("disagreement", f"{len(content)} bytes, at most one more than {size} asked")
    plane = bytearray(b"\xa5" * size)
    coder.decode_into(coded, memoryview(plane))
    again, twice = bytes(coder.encode(memoryview(plane))), bytearray(size)
    if again:
        coder.decode_into(memoryview(again), memoryview(twice))
    if plane != content or (again and plane != twice):
        raise Finding("disagreement", "a plane decoded twice, or coded again")


def metadata(data: bytes) -> None:
    """Read a JSON text; what is read can be written, and read again."""
    with located(0):
        held = jsontext.parse(data)
    if jsontext.parse(jsontext.pack(held)) != held:
        raise Finding("disagreement", "a JSON text and its rewritten form")


def graph_text(data: bytes) -> None:
    """Read a JSON text as a graph."""
    with located(0):
        graph.check(jsontext.parse(data))


def reader(data: bytes) -> None:
    """Read a file in every way; write what is valid anew."""
    model = oracle.agree(data)
    number, rest = divmod(zlib.crc32(data), oracle.SOME)
    if rest == 0:
        oracle.rewrite(data, model, ("raw", "raw", "raw", "fast", "balanced", "small")[number % 6])


def roundtrip(data: bytes) -> None:
    """Write values that are drawn from the bytes, and read them in every way."""
    draw = Draw(data)
    options: dict[str, Any] = {"digests": draw.number(0, 3) == 0, "threads": 1,
                               "alignment": draw.pick((None, 8, 64, 4096))}  # fmt: skip
    drawn = draw.number(0, 3) > 0
    profile = draw.pick(("raw", "raw", "fast", "balanced", "small"))
    values = {f"w{number}": value(draw) for number in range(draw.number(1, 2))}
    target = io.BytesIO()
    with Laid(target, draw if drawn else None, profile=profile, **options) as writer:
        for name, one in values.items():
            writer.add(name, one)
    model = oracle.agree(target.getvalue())
    for name, one in values.items():
        cells = one.data if isinstance(one, nnpack.Opaque) else one
        want = (one.dtype, one.shape, cells.to_numpy().tobytes(), logical_digest(one))
        if model.tensors[name] != want:
            raise Finding("disagreement", f"{one!r} and what was written")


def foreign(name: str) -> Callable[[bytes], None]:
    """Return the target that converts from another format; from a pipe it is the same."""

    def convert_from(data: bytes) -> None:
        options: dict[str, Any] = {"source_format": name, "target_format": "nnpk", "limits": LIMITS,
                                   "profile": "raw", "threads": 1}  # fmt: skip
        LIMITS.charge(len(data))
        made = []
        for source in (io.BytesIO(data), _Pipe(data)):
            target = io.BytesIO()
            fault = None
            try:
                convert.convert(source, target, **options)
            except nnpack.NnpackError as bad:
                fault = bad
            made.append((fault, target.getvalue()))
        (first, one), (second, other) = made
        if (first is None) != (second is None) or (first is None and one != other):
            raise Finding("disagreement", f"from a file and from a pipe: {first}, {second}")
        if first is not None:
            raise first
        oracle.check(one)

    return convert_from


class _Pipe:
    """Bytes that come in order, a few at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        """Return some bytes."""
        return self._file.read(min(size, 100))


def rescue(data: bytes) -> None:
    """Salvage a file; what is saved is valid."""
    with tempfile.TemporaryDirectory(prefix="nnpack-fuzz") as folder:
        target = Path(folder) / "saved.nnpk"
        salvage(data, target, limits=LIMITS)
        oracle.check(target.read_bytes())


def shown(data: bytes) -> None:
    """Explain a file: the bytes that rows tell of are inside it."""
    for row in explain(data, limits=LIMITS):
        outside = not 0 <= row.offset <= row.offset + row.size <= len(data)
        if outside and row.size and not row.decoded:
            raise Finding("disagreement", f"{row} is outside {len(data)} bytes")


Mutate = Callable[..., tuple[bytes, list[Operation]]]


@dataclass(frozen=True)
class Target:
    """One of them.

    Attributes:
        run: the function.
        seeds: returns what to begin with.
        mutate: makes other inputs of one (structure.py, havoc.py).
        structured: whether operations are those on files; else they are splices.
        share: of the time, by which slow ones come to runs.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutate
    structured: bool = False
    share: int = 1


def _file(run: Callable[[bytes], None], share: int = 2) -> Target:
    return Target(run, seeds.files, structure.mutate, structured=True, share=share)


def with_header(data: bytes, rng: random.Random, donors: Sequence[bytes]) -> Any:
    """Mutate a safetensors file; nine times in ten its first word is made the header's length."""
    end = data.find(b"}}") + 2
    whole, operations = Havoc(JSON).mutate(data, rng, donors)
    found = whole.find(b"}}") + 2
    if rng.random() < 0.1 or min(end, found) < 10:
        return whole, operations
    fixed = o.file(0, whole[:8], struct.pack("<Q", found - 8))
    return o.spliced(whole, fixed), [*operations, fixed]


JSON = [*structure.TOKENS, b"true", b"1e400", b"-0", b'"dtype":"float32"', b'"op":"x"',
        b'"inputs":[]', b'"outputs":[]', b'{"dtype":"int8"}', b'"shape":[2]', b'{"int":1}',
        b'"0x7f800000"', b'"F4"', b'"BOOL"', b'"data_offsets":[0,0]',
         b"\xed\xa0\x80", b"\xff", b"\n"]  # fmt: skip
NPY = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\x93NUMPY\1\0",
       b"'descr'", b"'<f4'", b"'>c16'", b"'|O'", b"True", b"(2, 3)", b"()")  # fmt: skip
TARGETS: dict[str, Target] = {
    "container": _file(open_only),
    "tree": _file(tree),
    "stream": _file(stream),
    **{
        f"codec-{one.name}": Target(codec(one), lambda one=one: seeds.planes(one), Havoc().mutate)
        for one in INSTALLED
    },
    "metadata": Target(metadata, seeds.texts, Havoc(JSON).mutate),
    "graph": Target(graph_text, seeds.texts, Havoc(JSON).mutate),
    "reader": _file(reader, 12),
    "roundtrip": Target(roundtrip, seeds.noise, Havoc().mutate, share=6),
    "safetensors": Target(foreign("safetensors"), seeds.safetensors, with_header),
    "npz": Target(foreign("npz"), seeds.npz, Havoc(NPY).mutate),
    "salvage": _file(rescue),
    "explain": _file(shown),
}
