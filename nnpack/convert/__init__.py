"""Foreign formats in and out: whatever can be read converts to whatever can be written.

A format is one module and one row of `FORMATS`. The module has two functions:

    read(origin, options, summary) -> context manager of a Model
    write(model, target, options, summary)

A model is an iterator of items as `nnpack.read_stream` yields them (see `model.Model`).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from nnpack import container
from nnpack.arguments import check_limits
from nnpack.convert.model import Model, Options, Progress, Summary, Wanted
from nnpack.convert.source import Origin, Pipe
from nnpack.convert.target import Target, folder_of
from nnpack.errors import error
from nnpack.limits import Limits
from nnpack.sequential import Item
from nnpack.threads import whole_threads

__all__ = ["FORMATS", "Format", "Summary", "convert", "detect"]

HEAD: Final = 16
"""Bytes that tell a format."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: for `source_format` and `target_format`.
        recognises: whether the first bytes of a file can be this format's.
        suffixes: of file names.
        module: imported on first use.
    """

    name: str
    recognises: Callable[[bytes], bool]
    suffixes: tuple[str, ...]
    module: str


FORMATS: Final = (
    Format(
        "nnpk",
        lambda head: head[:8] == container.MAGIC,
        (".nnpk",),
        "nnpack.convert.nnpk",
    ),
    Format(
        "safetensors",
        lambda head: head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000,
        (".safetensors",),
        "nnpack.convert.safetensors",
    ),
    Format(
        "npz",
        lambda head: head[:4] in {b"PK\3\4", b"PK\5\6"},
        (".npz",),
        "nnpack.convert.npz",
    ),
)
_BY_NAME: Final = {row.name: row for row in FORMATS}


class _Module(Protocol):
    """What the module of a format has."""

    def read(
        self, origin: Origin, options: Options, summary: Summary
    ) -> AbstractContextManager[Model]: ...

    def write(self, model: Model, target: Target, options: Options, summary: Summary) -> None: ...


def detect(source: str | os.PathLike[str] | bytes, suffix: str | None = None) -> str:
    """Return the name of a file's format: by its magic bytes, then by its suffix.

    Args:
        source: a path, or the first 16 bytes.
        suffix: of the file's name, with the dot; by default the path's.

    Raises:
        UnsupportedError: neither tells.
    """
    if isinstance(source, bytes):
        head = source
    else:
        suffix = Path(source).suffix if suffix is None else suffix
        with Path(source).open("rb") as file:
            head = file.read(HEAD)
    named = _with_suffix(suffix or "")
    found = [row.name for row in FORMATS if row.recognises(head)]
    if named in found or not found:
        found = [named] if named else []
    if len(found) != 1:
        raise error(
            "unsupported",
            f"neither first bytes nor suffix tell the format; there are {', '.join(_BY_NAME)}",
            offset=0,
        )
    return found[0]


def _with_suffix(suffix: str) -> str | None:
    return next((row.name for row in FORMATS if suffix.lower() in row.suffixes), None)


def convert(
    source: str | os.PathLike[str] | IO[bytes],
    target: Target,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    profile: str = "balanced",
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    threads: int | None = None,
    digests: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Summary:
    """Convert a file from one format to another; every bit of every weight stays as it is.

    In an nnpk target equal tensors are stored once, the others as aliases, where the source's
    tensors can be read again: not those of a pipe, or of an npz that must be inflated or
    transposed, which are all stored. Nor are aliases made in the profile raw.

    Args:
        source: a path, a binary file object (pipes are read in order), or "-", standard input.
        target: a path, which appears whole or not at all and may be the source's; an object with
            `write`, which needs `target_format`; or "-", standard output.
        source_format: a name of `FORMATS`; by default told by magic bytes, then by suffix.
        target_format: as above; by default told by the target's suffix.
        profile: of an nnpk target, as in `nnpack.Writer`.
        include: globs; if there are any, only tensors whose name matches one are converted.
        exclude: globs; tensors whose name matches one are left out.
        threads: for decoding; by default one a core, at most 8.
        digests: of an nnpk target, as in `nnpack.Writer`.
        overwrite: replace an existing target.
        progress: called as progress(done bytes, all bytes or None, name) before each tensor, and
            at the end with an empty name.
        limits: what the source may cost.

    Raises:
        NnpackError: the source is damaged, or holds what the target cannot.
        FileExistsError: the target exists, and `overwrite` is not set.
        ValueError: an option that cannot be, or globs that leave no tensor.
    """
    written = _target_format(target, target_format)
    if digests and written != "nnpk":
        raise ValueError(f"{written} has no digests")
    threads, limits = whole_threads(threads), check_limits(limits)
    source, target = _standard(source, sys.stdin), _standard(target, sys.stdout)
    if isinstance(target, str | os.PathLike) and not overwrite and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "the target exists: overwrite=True", str(target))
    want = Wanted(include, exclude)
    options = Options(
        want=want,
        limits=limits,
        profile=profile,
        digests=digests,
        threads=threads,
        spool=folder_of(target),
        progress=progress,
    )
    with ExitStack() as stack:
        origin, read = _open(source, source_format, stack)
        summary = Summary(read, written)
        model = stack.enter_context(_module(read).read(origin, options, summary))
        _module(written).write(_checked(model, want), target, options, summary)
    return summary


def _module(name: str) -> _Module:
    return cast("_Module", import_module(_BY_NAME[name].module))


def _known(name: str) -> str:
    if name not in _BY_NAME:
        raise ValueError(f"no format is called {name!r}; there are {', '.join(_BY_NAME)}")
    return name


def _target_format(target: Any, name: str | None) -> str:
    if name is not None:
        return _known(name)
    is_path = isinstance(target, str | os.PathLike)
    found = _with_suffix(Path(target).suffix) if is_path else None
    if found is None:
        raise ValueError(f"the target does not tell its format; there are {', '.join(_BY_NAME)}")
    return found


def _standard(file: Any, stream: Any) -> Any:
    return stream.buffer if file == "-" else file


def _checked(model: Model, want: Wanted) -> Model:
    """Return the model whose items end with a check that some tensor was wanted.

    Most formats know all names before the first item; only a pipe tells them at its end.
    """

    def items() -> Iterator[Item]:
        yield from model.items
        want.check()

    if model.total is not None:
        want.check()
    return replace(model, items=items())


def _open(source: Any, name: str | None, stack: ExitStack) -> tuple[Origin, str]:
    """Return what is read by offsets or in order, and its format."""
    suffix = ""
    if isinstance(source, str | os.PathLike):
        suffix = Path(source).suffix
        if Path(source).is_file():
            return source, _known(name) if name else detect(source)
        source = stack.enter_context(Path(source).open("rb"))  # noqa: SIM115 - the stack closes it
    head = b""
    while len(head) < HEAD and (more := source.read(HEAD - len(head))):
        head += more
    read = _known(name) if name else detect(head, suffix)
    seekable = getattr(source, "seekable", None)
    return (source if seekable and seekable() else Pipe(source, head)), read
