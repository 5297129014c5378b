"""What the commands print: a described file, reports and remarks as text for people."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nnpack.convert.model import Summary
    from nnpack.explain import Row
    from nnpack.salvage import Recovered
    from nnpack.verify import Report

HEX: Final = 25
"""Width of the bytes of an explained field, and the mark that there are more."""
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
FITTED: Final = 2000
"""Rows that are fitted to a terminal."""
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
    """Print the table of tensors: fitted to a terminal, or whole and aligned for anything else.

    Fitting takes its time, so that a long table is printed whole too.
    """
    if not tensors:
        return
    if len(tensors) > FITTED or not file.isatty():
        rows = [COLUMNS, *tensor_rows(tensors)]
        file.writelines(line + "\n" for line in align(rows, RIGHT))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    rows = [*tensor_rows(tensors, 0)]
    widths = [max(map(_width, column)) for column in zip(COLUMNS, *rows, strict=True)]
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
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = ""
        for name, cell, width in zip(rows[0], row, widths, strict=True):
            gap = " " * (width - _width(cell))
            line += (gap + cell if name in right else cell + gap) + "  "
        yield line.rstrip()


def _width(text: str) -> int:
    """Return the columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def total_line(totals: Mapping[str, int], file_size: int | None) -> str:
    """Return what all tensors take."""
    count, size, stored = totals["tensors"], totals["size"], totals["stored"]
    text = f"{count:,} tensor{'' if count == 1 else 's'}, {human(size).strip()}"
    text += f" stored in {human(stored).strip()} ({ratio(size, stored)})"
    return text if file_size is None else f"{text}; the file has {human(file_size).strip()}"


def remark_lines(summary: Summary) -> Iterator[str]:
    """Yield what a conversion changed and lost."""
    from nnpack.convert.model import EXAMPLES

    for word, remarks in (("note", summary.notes), ("lost", summary.lost)):
        for what, names in remarks.items():
            more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
            yield f"{word}: {what}" + (f": {', '.join(names[:EXAMPLES])}{more}" if names else "")


def json_lines(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield a description as JSON, one line for each thing in a list."""
    left = len(about)
    yield "{"
    for key, value in about.items():
        left -= 1
        comma = "," if left else ""
        if isinstance(value, list) and value:
            yield f" {json.dumps(key)}: ["
            yield from (f"  {json.dumps(row)}," for row in value[:-1])
            yield f"  {json.dumps(value[-1])}"
            yield f" ]{comma}"
        else:
            yield f" {json.dumps(key)}: {json.dumps(value)}{comma}"
    yield "}"


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
    lacking = (what for row in info["tensors"] for what in row.get("unsupported", ()))
    for what in dict.fromkeys(lacking):
        yield f"lacking   {printable(what)}"
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
        yield f"{file}: not the expected file, though its own checksums match: {sections}"
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
    if recovered.displaced:
        yield f"not taken: {recovered.displaced.text}"
    elif not recovered.complete:
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
