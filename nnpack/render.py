"""What the commands show: a file described as plain data, and that as text for people."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
from nnpack.plugins import Plugins, split_plugins
from nnpack.reader import Reader
from nnpack.reader import open as open_file
from nnpack.sections import parse_payload
from nnpack.tree import CODEC, KIND, TRANSFORM

if TYPE_CHECKING:
    from nnpack.abc import Node
    from nnpack.container import Section
    from nnpack.explain import Row
    from nnpack.salvage import Recovered
    from nnpack.tree import NodeHead
    from nnpack.verify import Report

SCHEMA: Final = "nnpack.info/1"
HEX: Final = 25
"""Width of the bytes of an explained field, and the mark that there are more."""
EXAMPLES: Final = 3
"""Names listed for one remark about a conversion."""
_ESCAPED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that can fool a terminal: controls, bidi and other invisible characters."""


def printable(text: str) -> str:
    """Return text from a file with nothing in it that a terminal would act upon."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _ESCAPED
        else char
        for char in text
    )


def human(size: int) -> str:
    """Return a number of bytes as people read it, the unit padded so that columns align."""
    if size < 1024:
        return f"{size} B  "
    value, units = float(size), iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = "B"
    while value >= 1000 and (following := next(units, None)):
        value, unit = value / 1024, following
    return f"{value:.1f} {unit}"


def ratio(size: int, stored: int) -> str:
    """Return how many times smaller something is stored."""
    if not stored:
        return "all" if size else "-"
    return f"{size / stored:.2f}x"


def describe(reader: Reader) -> dict[str, Any]:
    """Return all that a file says about itself, as JSON can hold it; tensors are not decoded."""
    plugins = reader.plugins
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
            _describe_section(section, reader, plugins, info)
        except NnpackError as bad:
            info["faults"].append(str(bad.at(offset=section.offset, section=section.label)))
    return info | {"totals": totals(info["tensors"])}


def _describe_section(
    section: Section, reader: Reader, plugins: Plugins, info: dict[str, Any]
) -> None:
    row = _head_of(section)
    match section.type:
        case container.TENSOR:
            info["tensors"].append(row | _describe_tensor(section, plugins))
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


def _describe_tensor(section: Section, plugins: Plugins) -> dict[str, Any]:
    root = parse_payload(section)
    tree = _tree(root, plugins)
    unknown = plugins.unknown(root)
    return {
        "kind": tree["kind"],
        "dtype": tree["dtype"],
        "shape": tree["shape"],
        "size": root.decoded_size,
        "alignment": 1 << section.alignment,
        "unsupported": unknown,
        "tree": tree,
    }


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
                stored = packed_size(node.size, node.cell.bits)
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
        plugins = Plugins(*split_plugins(None, None), bindings)
        return [
            _head_of(section) | _describe_tensor(section, plugins)
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


def kind_text(tree: Mapping[str, Any], width: int | None = None) -> str:
    """Return a tree in one line, with less and less of it until it is short enough.

    A dense part shows its element type: `quantized(scale=float16, codes=uint4)`. The last part,
    which is the largest, is left out last.
    """
    for depth, last_only in ((8, False), (2, False), (1, False), (8, True), (1, True)):
        text = _kind(tree, depth, last_only=last_only)
        if width is None or len(text) <= width:
            return text
    return _kind(tree, 0, last_only=True)


def _kind(tree: Mapping[str, Any], depth: int, *, last_only: bool) -> str:
    parts = tree.get("parts")
    if not parts:
        return str(tree["kind"])
    if not depth:
        return f"{tree['kind']}(…)"
    shown = {
        role: part["dtype"]
        if part["kind"] == "dense"
        else _kind(part, depth - 1, last_only=last_only)
        for role, part in parts.items()
    }
    if tree["kind"] == "concat":
        alike = len({*shown.values()}) == 1
        inner = f"{len(shown)} of {next(iter(shown.values()))}" if alike else f"{len(shown)} parts"
        return f"concat({inner})"
    cells = [f"{role}={what}" for role, what in shown.items()]
    return f"{tree['kind']}({', '.join(['…', cells[-1]] if last_only else cells)})"


COLUMNS: Final = ("name", "kind", "dtype", "shape", "size", "stored", "ratio")
RIGHT: Final = frozenset({"size", "stored", "ratio"})


def tensor_rows(
    tensors: Iterable[Mapping[str, Any]], width: int | None = None
) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the table of tensors."""
    for row in tensors:
        kind = kind_text(row.get("tree", row), width)
        yield (
            printable(row["name"]),
            printable(kind) + (" (unsupported)" if row.get("unsupported") else ""),
            row["dtype"],
            "×".join(map(str, row["shape"])) or "scalar",
            human(row["size"]),
            human(row["stored"]),
            ratio(row["size"], row["stored"]),
        )


def print_tensors(tensors: Sequence[Mapping[str, Any]], file: IO[str]) -> None:
    """Print the table of tensors: fitted to a terminal, or whole and aligned for anything else."""
    if not tensors:
        return
    if not file.isatty():
        rows = [COLUMNS, *tensor_rows(tensors)]
        file.writelines(line + "\n" for line in align(rows, RIGHT))
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    rows = [*tensor_rows(tensors, 0)]
    widths = [max(map(cell_len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    spare = console.width - sum(widths) - 2 * len(widths)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        justify: Any = "right" if column in RIGHT else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column != "name")
    for cells in tensor_rows(tensors, max(widths[1] + spare, 0)):
        table.add_row(*map(Text, cells))
    console.print(table)


def align(rows: Sequence[Sequence[str]], right: frozenset[str]) -> Iterator[str]:
    """Yield rows as lines of aligned columns; the first one names them."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = ""
        for name, cell, width in zip(rows[0], row, widths, strict=True):
            gap = " " * (width - cell_len(cell))
            line += (gap + cell if name in right else cell + gap) + "  "
        yield line.rstrip()


def total_line(totals: Mapping[str, int], file_size: int | None) -> str:
    """Return what all tensors take."""
    count, size, stored = totals["tensors"], totals["size"], totals["stored"]
    text = f"{count:,} tensor{'' if count == 1 else 's'}, {human(size).strip()}"
    text += f" stored in {human(stored).strip()} ({ratio(size, stored)})"
    return text if file_size is None else f"{text}; the file has {human(file_size).strip()}"


def remark_lines(summary: Summary) -> Iterator[str]:
    """Yield what a conversion changed and lost."""
    for word, remarks in (("note", summary.notes), ("lost", summary.lost)):
        for what, names in remarks.items():
            more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
            yield f"{word}: {what}: {', '.join(names[:EXAMPLES])}{more}"


def info_lines(info: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is in a file besides tensors."""
    for name, target in info.get("aliases", {}).items():
        yield f"alias     {printable(name)} -> {printable(target)}"
    for row in info.get("graphs", ()):
        yield f"graph     {printable(row['name'])}: {row['nodes']:,} nodes, {_stored(row)}"
    for row in info.get("blobs", ()):
        yield f"blob      {printable(row['name'])}: {_stored(row)}"
    for key, value in info["metadata"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"metadata  {printable(key)}: {printable(text)}"
    for row in info.get("names", ()):
        yield f"name      {row['class']} {row['id']}: {row['name']}"
    for row in info.get("others", ()):
        label = printable(row["name"] or "")
        yield f"other     {label} of type {row['bound'] or row['type']}: {row['stored']:,} bytes"
    if info.get("root"):
        yield f"root      {info['root']}"
    for fault in info.get("faults", ()):
        yield f"damaged   {printable(fault)}"


def _stored(row: Mapping[str, Any]) -> str:
    return f"{human(row['size']).strip()} stored in {human(row['stored']).strip()}"


def report_lines(report: Report, file: str) -> Iterator[str]:
    """Yield what `verify` found, the verdict first."""
    sections = f"{report.sections:,} section{'' if report.sections == 1 else 's'}"
    if report.broken:
        many = len(report.faults) + report.more
        faults = f"{many:,} fault{'' if many == 1 else 's'}"
        yield f"{file}: damaged: {faults}; {len(report.intact):,} of {sections} intact"
    elif report.faults:
        yield f"{file}: not the file that is expected, though its own checksums match"
    else:
        how = "the root is the expected one" if report.authentic else "every checksum matches"
        yield f"{file}: {report.verdict}: {sections}, {human(report.size).strip()}; {how}"
    for bad in report.faults:
        yield f"  {printable(str(bad))}"
    if report.more:
        yield f"  and {report.more:,} more"
    for bad in report.unchecked:
        yield f"  not decoded: {printable(str(bad))}"
    if not report.directory and report.intact:
        yield "the directory cannot be read; along their heads these sections are intact:"
        yield from (f"  {printable(label)}" for label in report.intact)
    if report.root:
        yield f"root {report.root}"


def recovered_lines(recovered: Recovered, target: str) -> Iterator[str]:
    """Yield what `salvage` kept and lost."""
    kept = len(recovered.kept)
    yield f"{target}: {kept:,} section{'' if kept == 1 else 's'} kept, {len(recovered.lost):,} lost"
    for lost in recovered.lost:
        name = "something" if lost.name is None else printable(lost.name)
        yield f"  lost: {name} at byte {lost.offset}: {printable(lost.reason)}"
    if not recovered.complete:
        yield "the directory is lost: what else the file held cannot be known"
    if recovered.digests:
        yield "digests are left out: the old root does not hold for the new file"


def row_line(row: Row, digits: int) -> str:
    """Return an explained field as a line."""
    offset = f"{'+' if row.decoded else ''}{row.offset:0{digits}x}".rjust(digits + 1)
    if not row.field:
        return f"\n{offset}  {printable(row.value)}"
    data = row.data.hex(" ") + (" …" if row.size > len(row.data) else "")
    return f"{offset}  {data:<{HEX}}  {row.field:<24}  {printable(row.value)}".rstrip()


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None, str], None] | None]:
    """Show a bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    bar = Progress(
        BarColumn(), TaskProgressColumn(), Remaining(), text, console=console, transient=True
    )
    with bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int | None, name: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what} {printable(name)}")

        yield update
