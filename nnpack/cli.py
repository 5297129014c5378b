"""The command line: parses, calls, prints, and ends with an exit code.

numpy, rich and everything that needs them are imported by the command that runs, so that help is
there at once.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
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
PROFILES: Final = ("raw", "balanced")
FORMATS: Final = ("nnpk", "safetensors", "npz")
EXAMPLES: Final = 3
"""Names listed for one remark about a conversion."""


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
        except (ValueError, IndexError, TypeError, MemoryError) as bad:
            _say(str(bad) or type(bad).__name__)
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
    if isinstance(bad, UnsupportedError | LimitError) or file == STANDARD:
        return ""
    if ctx.command.name == "salvage":
        return "; nothing was written"
    return f"; `nnpack verify {file}` lists all that is wrong, `nnpack salvage` saves the rest"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nnpack", message="%(prog)s %(version)s")
def main() -> None:
    """One file for a neural network: convert, look inside, check, extract, save what is whole.

    FILE can be "-" for standard input. Data go to standard output, all else to standard error.

    \b
    Exit codes: 0 fine, 1 verify found damage or salvage had losses, 2 usage, 3 damaged or
    foreign file, 4 unsupported (a newer file, a limit, a missing package), 5 input or output.
    """


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """Give a path, or a seekable file that holds what came through a pipe."""
    if file != STANDARD and not _is_pipe(file):
        yield file
        return
    with tempfile.SpooledTemporaryFile(SPOOL) as spool:
        if file == STANDARD:
            shutil.copyfileobj(click.get_binary_stream("stdin"), spool)
        else:
            with Path(file).open("rb") as pipe:
                shutil.copyfileobj(pipe, spool)
        yield spool


def _is_pipe(file: str) -> bool:
    mode = Path(file).stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int | None, str], None] | None]:
    """Show a bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from nnpack.render import printable

    text = TextColumn("{task.description}", markup=False)
    bar = Progress(
        BarColumn(), TaskProgressColumn(), Remaining(), text, console=Console(stderr=True)
    )
    bar.live.transient = True
    with bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int | None, name: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what} {printable(name)}")

        yield update


@main.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--from", "source_format", type=click.Choice(FORMATS), help="Format of SRC.")
@click.option("--to", "target_format", type=click.Choice(FORMATS), help="Format of DST.")
@click.option("--profile", type=click.Choice(PROFILES), default="balanced", show_default=True)
@click.option("--include", multiple=True, metavar="GLOB", help="Only these tensors; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these tensors; repeatable.")
@click.option("--threads", type=click.IntRange(1), help="One a core by default.")
@click.option("--digests", is_flag=True, help="Add SHA-256 digests, and print the root.")
@click.option("--overwrite", is_flag=True, help="Replace DST if it exists.")
def convert(source: str, target: str, **options: Any) -> None:
    """Convert between nnpack, safetensors and npz; every bit of every weight stays as it is.

    Formats are told by content and suffix; "-" is written as nnpack unless --to says otherwise.
    Prints what each tensor takes.
    """
    from nnpack.convert import convert as run
    from nnpack.render import Tap

    out: Any = target
    if target == STANDARD:
        options["target_format"] = options["target_format"] or "nnpk"
        out = Tap(click.get_binary_stream("stdout"))
    origin: Any = click.get_binary_stream("stdin") if source == STANDARD else source
    with _progress("converting") as progress:
        summary = run(origin, out, progress=progress, **options)
    for word, remarks in (("note", summary.notes), ("lost", summary.lost)):
        for what, names in remarks.items():
            more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
            _say(f"{word}: {what}: {', '.join(names[:EXAMPLES])}{more}")
