"""The command line: parses, calls, prints, and ends with an exit code.

numpy, rich and everything that needs them are imported by the command that runs, so that help is
there at once.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from nnpack import __version__
from nnpack.errors import LimitError, NnpackError, UnsupportedError

if TYPE_CHECKING:
    from nnpack.dtypes import Array
    from nnpack.tensor import Tensor

STANDARD: Final = "-"
"""Stands for standard input or output."""
SPOOL: Final = 64 << 20
"""Bytes of a pipe held in memory; more wait in a temporary file."""


class Exit(IntEnum):
    """What a command says to the shell."""

    FINE = 0
    DAMAGED = 1
    USAGE = 2
    UNREADABLE = 3
    UNSUPPORTED = 4
    IO = 5
    INTERRUPTED = 130


class _Command(click.Command):
    """A command that turns what goes wrong into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError):  # not a text file: a test's
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence()
            ctx.exit(Exit.IO)
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except NnpackError as bad:
            beyond = isinstance(bad, UnsupportedError | LimitError)
            _say(f"{_source(ctx)}{bad}{_advice(bad, ctx)}")
            ctx.exit(Exit.UNSUPPORTED if beyond else Exit.UNREADABLE)
        except ImportError as bad:
            _say(f"{bad}: a package that this needs is not installed")
            ctx.exit(Exit.UNSUPPORTED)
        except OSError as bad:
            name = "" if bad.filename is None else f"{os.fspath(bad.filename)}: "
            _say(f"{name}{bad.strerror or bad}")
            _silence()
            ctx.exit(Exit.IO)
        except MemoryError:
            _say(f"{_source(ctx)}not enough memory")
            ctx.exit(Exit.IO)
        except (ValueError, IndexError) as bad:
            _say(str(bad))
            ctx.exit(Exit.USAGE)


class _Group(click.Group):
    command_class = _Command


def _say(text: str) -> None:
    """Print one line about how it went; names from files cannot do anything to a terminal."""
    from nnpack.render import printable

    click.echo(f"nnpack: {printable(text)}", err=True)


def _silence() -> None:
    """Let nothing more be written to standard output: at its end Python would try, and complain."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _source(ctx: click.Context) -> str:
    file = ctx.params.get("file", STANDARD)
    return "standard input: " if file == STANDARD else f"{file}: "


def _advice(bad: NnpackError, ctx: click.Context) -> str:
    """Say what to do next."""
    file = ctx.params.get("file", STANDARD)
    if bad.error_class == "not-nnpack":
        return "; another format? `nnpack convert` makes an nnpack file of it"
    if isinstance(bad, UnsupportedError | LimitError) or not _is_ours(file):
        return ""
    if ctx.command.name == "salvage":
        return "; nothing is whole, nothing was written"
    return f"; `nnpack verify {file}` lists all that is wrong, `nnpack salvage` saves the rest"


def _is_ours(file: str) -> bool:
    """Return whether a file at least begins as nnpack's do."""
    from nnpack.container import MAGIC

    with suppress(OSError), Path(file).open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC
    return False


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Exit codes:
  0  fine
  1  verify found damage, or salvage lost something
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


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """Give a path, or a seekable file that holds what came through a pipe."""
    mode = stat.S_IFIFO if file == STANDARD else Path(file).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), file)
    if stat.S_ISREG(mode):
        yield file
        return
    with tempfile.SpooledTemporaryFile(SPOOL) as spool:
        if file == STANDARD:
            shutil.copyfileobj(sys.stdin.buffer, spool)
        else:
            with Path(file).open("rb") as pipe:
                shutil.copyfileobj(pipe, spool)
        yield spool


def _output() -> IO[bytes]:
    """Return standard output for bytes, which no terminal should get."""
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: redirect it")
    return sys.stdout.buffer


def _check_free(path: str, *, overwrite: bool) -> None:
    if path != STANDARD and not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "it exists; --overwrite replaces it", path)


@main.command(short_help="Convert between nnpack, safetensors and npz.")
@click.argument("file", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--from", "source_format", metavar="FORMAT", help="Of SRC, if it does not tell.")
@click.option("--to", "target_format", metavar="FORMAT", help="Of DST, if its name does not tell.")
@click.option("--profile", default="balanced", show_default=True, help="raw or balanced.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only these tensors; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these tensors; repeatable.")
@click.option("--threads", type=click.IntRange(1), help="By default one a core, at most 8.")
@click.option("--digests", is_flag=True, help="Write SHA-256 digests, and print the root.")
@click.option("--overwrite", is_flag=True, help="Replace DST if it exists.")
def convert(file: str, target: str, *, overwrite: bool, **options: Any) -> None:
    """Convert between nnpack, safetensors and npz; every bit of every weight stays as it is.

    SRC and DST can be "-"; standard output is written as nnpack, unless --to says otherwise.
    Shows what each tensor takes.
    """
    import nnpack
    from nnpack import render
    from nnpack.convert import convert as run

    _check_free(target, overwrite=overwrite)
    piped = target == STANDARD
    out: Any = target
    if piped:
        out = _output()
        options["target_format"] = options["target_format"] or "nnpk"
        if options["target_format"] == "nnpk":
            out = render.Tap(out)
    source = sys.stdin.buffer if file == STANDARD else file
    with render.progress_bar("converting") as progress:
        summary = run(source, out, overwrite=True, progress=progress, **options)
    for line in render.remark_lines(summary):
        _say(line)
    if summary.target_format != "nnpk":
        many = "1 tensor" if summary.tensors == 1 else f"{summary.tensors:,} tensors"
        click.echo(f"{many} written as {summary.target_format}", err=piped)
        return
    if piped:
        tensors, size = out.tensors(), out.size
    else:
        with nnpack.open(target) as reader:
            tensors, size = render.describe(reader)["tensors"], reader.source.size
    render.print_tensors(tensors, sys.stderr if piped else sys.stdout)
    click.echo(render.total_line(render.totals(tensors), size), err=piped)
    if summary.root:
        click.echo(f"root {summary.root}", err=piped)


@main.command(short_help="Show what is in a file, and what it takes.")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="All that the file says, for programs.")
def info(file: str, *, as_json: bool) -> None:
    """Show what is in a file: tensors, aliases, graphs, blobs, metadata; and what they take.

    Reads the directory only, and of other formats what their converters read.
    """
    import json

    from nnpack import render

    with _opened(file) as source:
        about = render.describe_any(source)
    if as_json:
        click.echo(json.dumps(about, indent=1))
    else:
        render.print_tensors(about["tensors"], sys.stdout)
        click.echo(render.total_line(about["totals"], about["size"]))
        for line in render.info_lines(about):
            click.echo(line)
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
    "authentic" says that it is the file that ROOT was computed for. Exit code 1 if it is damaged.
    """
    from nnpack.render import printable, progress_bar, report_lines
    from nnpack.verify import verify as run

    with _opened(file) as source, progress_bar("verifying") as progress:
        report = run(source, expect=expect, progress=progress)
    for line in report_lines(report, printable(file)):
        click.echo(line)
    if report.verdict == "damaged":
        if report.intact and report.broken and file != STANDARD:
            _say(f"`nnpack salvage {file} -o NEW` saves what is whole")
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
    with _opened(file) as source:
        digits = max(4, len(f"{_size(source):x}"))
        for row in run(source):
            damaged |= row.field == FAULT
            sys.stdout.write(row_line(row, digits) + "\n")
    if damaged:
        click.get_current_context().exit(Exit.UNREADABLE)


def _size(source: Any) -> int:
    return Path(source).stat().st_size if isinstance(source, str) else source.seek(0, os.SEEK_END)


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

    _check_free(output, overwrite=overwrite)
    with _opened(file) as source, nnpack.open(source) as reader:
        if name in reader.blobs and index is None:
            data: Any = reader.blobs[name]
        elif name in reader:
            data = _array(reader[name], index)
        else:
            raise ValueError(f"no tensor or blob is called {name!a}; `nnpack info` lists them")
    if output == STANDARD:
        _write(data, _output())
        return
    target = AtomicFile(output)
    try:
        _write(data, target.file)
    except BaseException:
        target.discard()
        raise
    target.commit()


def _array(tensor: Tensor, index: tuple[Any, ...] | None) -> Array:
    """Return elements in a type that .npy has, and say so if it is not theirs."""
    from nnpack.dtypes import integers

    array = tensor.read() if index is None else tensor[index]
    cell = tensor.node.cell
    if cell.name == array.dtype.name and array.dtype.isbuiltin == 1:
        return array
    if cell.is_integer:
        array = integers(array, cell)
        _say(f"note: .npy has no {cell.name}: written as {array.dtype}, the same values")
        return array
    bits = array.view(cell.uint)
    back = f".view(ml_dtypes.{cell.memory}) brings it back"
    _say(f"note: .npy has no {cell.name}: written as {bits.dtype}, the same bits; {back}")
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

    with _opened(file) as source, progress_bar("salvaging") as progress:
        recovered = run(source, output, progress=progress)
    for line in recovered_lines(recovered, printable(output)):
        click.echo(line)
    if not recovered.whole:
        click.get_current_context().exit(Exit.DAMAGED)
