"""How a command meets the shell: exit codes, one line for what went wrong, standard streams."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import IO, Any, Final

import click

from nnpack.errors import LimitError, NnpackError, UnsupportedError

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


class Command(click.Command):
    """A command that turns what goes wrong into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError):  # not a text file: a test's
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # data were on the way: `printing` takes what is only shown
            silence()
            ctx.exit(Exit.IO)
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except NnpackError as bad:
            beyond = isinstance(bad, UnsupportedError | LimitError)
            file = ctx.params.get("file", STANDARD)
            say(f"{_name(file)}: {_explained(bad, file)}{_advice(bad, ctx.command.name, file)}")
            ctx.exit(Exit.UNSUPPORTED if beyond else Exit.UNREADABLE)
        except ImportError as bad:
            say(f"{bad}: a package that this needs is not installed")
            ctx.exit(Exit.UNSUPPORTED)
        except OSError as bad:
            name = "" if bad.filename is None else f"{os.fspath(bad.filename)}: "
            say(f"{name}{bad.strerror or bad}")
            silence()
            ctx.exit(Exit.IO)
        except MemoryError:
            say(f"{_name(ctx.params.get('file', STANDARD))}: not enough memory")
            ctx.exit(Exit.IO)
        except (ValueError, IndexError) as bad:
            say(str(bad))
            ctx.exit(Exit.USAGE)


class Group(click.Group):
    """Commands that end so."""

    command_class = Command


def say(text: str) -> None:
    """Print one line about how it went; names from files cannot do anything to a terminal."""
    from nnpack.render import printable

    click.echo(f"nnpack: {printable(text)}", err=True)


@contextmanager
def printing() -> Iterator[None]:
    """Print what is only shown: whoever closes the pipe early has seen enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence()


def show(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines; to standard error if data take the standard output."""
    with printing():
        (sys.stderr if err else sys.stdout).writelines(f"{line}\n" for line in lines)


def silence() -> None:
    """Let nothing more be written to standard output: at its end Python would try, and complain."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _name(file: str) -> str:
    return "standard input" if file == STANDARD else file


def _explained(bad: NnpackError, file: str) -> NnpackError:
    """Return an error that says what is wrong with the end of a file, where that can be told."""
    if bad.error_class not in {"truncated", "bad-layout"} or not _is_ours(file):
        return bad
    from nnpack.limits import DEFAULT_LIMITS
    from nnpack.source import open_source
    from nnpack.walk import why_not_open

    with suppress(OSError, NnpackError), closing(open_source(file, mapped=False)) as source:
        return why_not_open(source, DEFAULT_LIMITS, bad)
    return bad


def _advice(bad: NnpackError, command: str | None, file: str) -> str:
    """Say what to do next."""
    if isinstance(bad, LimitError):
        return "; limits are raised in Python, not here"
    if isinstance(bad, UnsupportedError):
        return ""
    if not _is_ours(file):
        foreign = bad.error_class == "not-nnpack" and command != "convert"
        return "; another format? `nnpack convert` makes an nnpack file of it" if foreign else ""
    if command == "salvage":
        return "; nothing is whole, nothing was written"
    return f"; `nnpack verify {file}` lists all that is wrong, `nnpack salvage` saves the rest"


def _is_ours(file: str) -> bool:
    """Return whether a file at least begins as nnpack's do."""
    if file == STANDARD:
        return False
    from nnpack.container import MAGIC
    from nnpack.source import open_source
    from nnpack.walk import starts_chain

    with suppress(OSError, NnpackError), closing(open_source(file, mapped=False)) as source:
        return bytes(source.read(0, len(MAGIC))) == MAGIC or starts_chain(source)
    return False


@contextmanager
def opened(file: str) -> Iterator[Any]:
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


def size_of(source: Any) -> int:
    """Return the bytes of what `opened` gave."""
    return Path(source).stat().st_size if isinstance(source, str) else source.seek(0, os.SEEK_END)


def standard_output() -> IO[bytes]:
    """Return standard output for bytes, which no terminal should get."""
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: redirect it")
    return sys.stdout.buffer


def check_target(path: str, *, overwrite: bool, advice: str = "--overwrite replaces it") -> None:
    """Check that a file can be made there, before any work is done for it."""
    if path == STANDARD:
        return
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder: name a file in it", path)
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        given = Path(path).parent  # which is there if `path` is a link to somewhere else
        missing = str(folder if given.is_dir() else given)
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {missing!a}", path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, f"it exists; {advice}", path)
