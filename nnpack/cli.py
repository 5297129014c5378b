"""The command line: parses, calls, prints, and ends with an exit code.

numpy, rich and everything that needs them are imported by the command that runs, so that help is
there at once.
"""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING, Any

import click

from nnpack import __version__
from nnpack.shell import (
    STANDARD,
    Exit,
    Group,
    check_target,
    opened,
    printing,
    say,
    show,
    size_of,
    standard_output,
)

if TYPE_CHECKING:
    from nnpack.dtypes import Array
    from nnpack.tensor import Tensor

__all__ = ["Exit", "main"]

PROFILES = ("raw", "fast", "balanced", "small")
"""Those of `nnpack.profiles`, which needs numpy."""


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit codes:
  0  fine
  1  verify found damage or not the expected file, or salvage lost something
  2  usage
  3  a damaged or foreign file
  4  unsupported: a newer file, a limit, a missing package
  5  input or output
""",
)
@click.version_option(__version__, prog_name="nnpack", message="%(prog)s %(version)s")
def main() -> None:
    """One file for a neural network: make it, look inside, check it, take tensors out.

    A FILE that is "-" is standard input. Data go to standard output, everything else to standard
    error.
    """


@main.command(short_help="Convert between nnpack, safetensors and npz.")
@click.argument("file", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--from", "source_format", metavar="FORMAT", help="Of SRC, if it does not tell.")
@click.option("--to", "target_format", metavar="FORMAT", help="Of DST, if its name does not tell.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="balanced",
    show_default=True,
    help="Of an nnpack file: mapped as it is, smaller at memory speed, or smallest.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only these tensors; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these tensors; repeatable.")
@click.option("--threads", type=click.IntRange(1), help="By default one a core, at most 8.")
@click.option("--digests", is_flag=True, help="Write SHA-256 digests, and print the root.")
@click.option("--overwrite", is_flag=True, help="Replace DST if it exists.")
def convert(file: str, target: str, *, overwrite: bool, **options: Any) -> None:
    """Convert between nnpack, safetensors and npz; every bit of every weight stays as it is.

    SRC and DST can be "-"; standard output is written as nnpack, unless --to says otherwise.
    safetensors and npz are written in C order, little-endian and uncompressed, whatever SRC was.
    Shows what each tensor takes.
    """
    import nnpack
    from nnpack import describe, render
    from nnpack.convert import convert as run

    check_target(target, overwrite=overwrite)
    piped = target == STANDARD
    out: Any = target
    if piped:
        out = standard_output()
        options["target_format"] = options["target_format"] or "nnpk"
        if options["target_format"] == "nnpk":
            out = describe.Tap(out)
    source = sys.stdin.buffer if file == STANDARD else file
    with render.progress_bar("converting") as progress:
        summary = run(source, out, overwrite=True, progress=progress, **options)
    for line in render.remark_lines(summary):
        say(line)
    if summary.target_format != "nnpk":
        many = "1 tensor" if summary.tensors == 1 else f"{summary.tensors:,} tensors"
        show([f"{many} written as {summary.target_format}"], err=piped)
        return
    if piped:
        tensors, size = out.tensors(), out.size
    else:
        with nnpack.open(target) as reader:
            tensors, size = describe.describe(reader)["tensors"], reader.source.size
    with printing():
        render.print_tensors(tensors, sys.stderr if piped else sys.stdout)
    show([render.total_line(describe.totals(tensors), size)], err=piped)
    if summary.root:
        show([f"root {summary.root}"], err=piped)


@main.command(short_help="Show what is in a file, and what it takes.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="All that the file says, for programs.")
def info(file: str, *, as_json: bool) -> None:
    """Show what is in a file: tensors, aliases, graphs, blobs, metadata; and what they take.

    Reads the directory only, and of other formats what their converters read.
    """
    from nnpack import render
    from nnpack.describe import describe_any

    with opened(file) as source:
        about = describe_any(source)
    if as_json:
        show(render.json_lines(about))
    else:
        with printing():
            render.print_tensors(about["tensors"], sys.stdout)
        show([render.total_line(about["totals"], about["size"]), *render.info_lines(about)])
    if about["faults"]:
        click.get_current_context().exit(Exit.UNREADABLE)


def _root(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise click.BadParameter(f"{text!r} is not 64 hex digits")
    return text


@main.command(short_help="Check everything, and list all that is wrong.")
@click.argument("file")
@click.option("--expect", metavar="ROOT", callback=_root, help="The file's root, 64 hex digits.")
def verify(file: str, expect: str | None) -> None:
    """Check every rule, checksum and tensor of a file, and list all that is wrong.

    "intact" says that no damage was found, which says nothing about who made the file;
    "authentic" says that it is the file that ROOT was computed for. Exit code 1 if it is damaged or
    not that file.
    """
    from nnpack.render import printable, progress_bar, report_lines
    from nnpack.verify import verify as run

    with opened(file) as source, progress_bar("verifying") as progress:
        report = run(source, expect=expect, progress=progress)
    show(report_lines(report, printable(file)))
    if report.broken and report.intact and file != STANDARD:
        say(f"`nnpack salvage {file} -o NEW` saves what is whole")
    if report.faults:
        click.get_current_context().exit(Exit.DAMAGED)


@main.command(short_help="Show every field with its offset and meaning.")
@click.argument("file")
def explain(file: str) -> None:
    """Show every field of a file with its offset, bytes, name and meaning.

    Goes as far as a damaged file lets it; lines with !! say what is wrong.
    """
    from nnpack.explain import FAULT
    from nnpack.explain import explain as run
    from nnpack.render import row_line

    damaged = False
    with opened(file) as source, printing():
        digits = max(4, len(f"{size_of(source):x}"))
        for row in run(source):
            damaged |= row.field == FAULT
            sys.stdout.write(row_line(row, digits) + "\n")
    if damaged:
        click.get_current_context().exit(Exit.UNREADABLE)


def _index(_: click.Context, __: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
    """Read `2:10,...,3` as what stands between the brackets of an array."""
    if text is None:
        return None
    try:
        return tuple(map(_axis, text.split(",")))
    except (ValueError, TypeError):
        raise click.BadParameter(f"{text!r} is not made of numbers, slices and ...") from None


def _axis(text: str) -> Any:
    if text.strip() == "...":
        return ...
    numbers = [int(part) if part.strip() else None for part in text.split(":")]
    return slice(*numbers) if len(numbers) > 1 else int(text)


@main.command(
    short_help="Write a tensor or a slice of it as .npy.",
    context_settings={"ignore_unknown_options": True},  # -1 is an index
)
@click.argument("file")
@click.argument("name")
@click.argument("index", metavar="[SLICE]", required=False, callback=_index)
@click.option("-o", "--output", required=True, metavar="OUT", help='The .npy, or "-".')
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def extract(file: str, name: str, index: Any, output: str, *, overwrite: bool) -> None:
    """Write a tensor, or a slice such as 2:10,...,3 of it, as .npy; a blob as it is.

    Only the blocks that the slice touches are read.
    """
    import nnpack
    from nnpack.atomic import AtomicFile

    check_target(output, overwrite=overwrite)
    with opened(file) as source, nnpack.open(source) as reader:
        if name in reader.blobs:
            if index is not None:
                raise ValueError(f"{name!a} is a blob, which has no slices: leave SLICE out")
            data: Any = reader.blobs[name]
        elif name in reader:
            data = _array(reader[name], index)
        else:
            raise ValueError(f"no tensor or blob is called {name!a}; `nnpack info` lists them")
    if output == STANDARD:
        _write(data, standard_output())
        return
    with AtomicFile(output) as target:
        _write(data, target)


def _array(tensor: Tensor, index: tuple[Any, ...] | None) -> Array:
    """Return elements in a type that .npy has, and say so if it is not theirs."""
    from nnpack.dtypes import integers

    array = tensor.read() if index is None else tensor[index]
    cell = tensor.node.cell
    if cell.name == array.dtype.name and array.dtype.isbuiltin == 1:
        return array
    if cell.is_integer:
        array = integers(array, cell)
        say(f"note: .npy has no {cell.name}: written as {array.dtype}, the same values")
        return array
    bits = array.view(cell.uint)
    back = f".view(ml_dtypes.{cell.memory}) brings it back"
    say(f"note: .npy has no {cell.name}: written as {bits.dtype}, the same bits; {back}")
    return bits


def _write(data: Any, file: IO[bytes]) -> None:
    import numpy as np

    if isinstance(data, bytes):
        file.write(data)
    else:
        np.lib.format.write_array(file, data, allow_pickle=False)
    file.flush()


@main.command(short_help="Save what is whole of a damaged file.")
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="NEW", help="Path of the new file.")
def salvage(file: str, output: str) -> None:
    """Copy the sections of a damaged or truncated file that are whole to a new file.

    FILE is never changed, and NEW must not exist. What was lost is listed, and stands in the new
    file's metadata under nnpack.salvaged. Exit code 1 if anything was lost.
    """
    from nnpack.render import printable, progress_bar, recovered_lines
    from nnpack.salvage import salvage as run

    check_target(output, overwrite=False, advice="nothing is replaced: name another")
    with opened(file) as source, progress_bar("salvaging") as progress:
        recovered = run(source, output, progress=progress)
    show(recovered_lines(recovered, printable(output)))
    if not recovered.whole:
        click.get_current_context().exit(Exit.DAMAGED)
