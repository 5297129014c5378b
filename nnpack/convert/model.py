"""What every format is read into and written from: items in order, their tensors still unread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from nnpack.errors import located
from nnpack.limits import MAX_NAME, Limits
from nnpack.metadata import ORIGIN, is_made, origin_of
from nnpack.sequential import Item

Progress = Callable[[int, int | None, str], None]
"""progress(done, total, name): decoded bytes before tensor `name`, which is empty at the end."""

EXAMPLES: Final = 3
"""Names of tensors that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller of a conversion asked for.

    Attributes:
        want: whether a tensor of this name is converted.
        limits: what the source may cost.
        profile, digests: of an nnpk target.
        threads: that decode.
        spool: folder for temporary files; None is the system's.
        progress: called before each tensor.
    """

    want: Callable[[str], bool]
    limits: Limits
    profile: str
    digests: bool
    threads: int
    spool: str | None
    progress: Progress | None


@dataclass(slots=True)
class Summary:
    """What a conversion did.

    Attributes:
        source_format, target_format: names of formats.
        tensors, aliases: how many were written.
        notes: what changed its form but not its values -> names of tensors; none if it is the
            file that changed.
        lost: what the target has no place for -> names of tensors, sections or keys.
        root: of an nnpk target with digests.
    """

    source_format: str
    target_format: str
    tensors: int = 0
    aliases: int = 0
    notes: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)
    root: str | None = None

    def note(self, what: str, name: str | None = None) -> None:
        """Record a change of form, of one tensor or of the file."""
        names = self.notes.setdefault(what, [])
        if name is not None:
            names.append(name)

    def lose(self, what: str, name: str) -> None:
        """Record a loss."""
        self.lost.setdefault(what, []).append(name)


@dataclass(frozen=True, slots=True)
class Model:
    """A network on its way from one format to another.

    Attributes:
        items: its sections in order, as `nnpack.read_stream` yields them; the value of a tensor
            is a `Node`, or has one as `.node`.
        total: decoded bytes of the tensors; None where only the end will tell.
        lasting: whether a tensor can still be read once the next item was asked for.
        bindings: names of the private ids of an nnpk source.
    """

    items: Iterator[Item]
    total: int | None
    lasting: bool
    bindings: Mapping[tuple[int, int], str] = field(default_factory=dict)


class Wanted:
    """Decides which tensors are converted, and knows at the end whether there was one.

    Globs that match nothing are a mistake: the caller hears of it before a file is made.
    """

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        """Take globs: of the tensors to convert, all if there are none, and of those left out."""
        self._include, self._exclude = [*include], [*exclude]
        self._some = False
        self._examples: dict[str, None] = {}

    def __call__(self, name: str) -> bool:
        """Return whether a tensor of this name is converted."""
        inside = not self._include or any(fnmatchcase(name, glob) for glob in self._include)
        wanted = inside and not any(fnmatchcase(name, glob) for glob in self._exclude)
        self._some |= wanted
        if len(self._examples) <= EXAMPLES:
            self._examples[name] = None
        return wanted

    def check(self) -> None:
        """Raise ValueError if there are globs, and no tensor asked about was wanted."""
        if self._some or not (self._include or (self._exclude and self._examples)):
            return
        globs = [f"include={glob!r}" for glob in self._include]
        globs += [f"exclude={glob!r}" for glob in self._exclude]
        names = [f"{name!a}" for name in self._examples]
        there = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
        raise ValueError(
            f"{', '.join(globs)} leaves no tensor; "
            + (f"there are {there}" if names else "there is none at all")
        )


@contextmanager
def blame(name: str, offset: int | None = None) -> Iterator[None]:
    """Turn what is wrong with a tensor of a file into a `NnpackError` that names the tensor."""
    with located(offset, name[:MAX_NAME]):
        yield


def reported(items: Iterable[Item], total: int | None, progress: Progress | None) -> Iterator[Item]:
    """Yield items, and tell the caller of the conversion how far it has come."""
    done = 0
    for item in items:
        if item.type == "tensor" and progress is not None:
            progress(done, total, item.name)
        yield item
        if item.type == "tensor":
            done += item.value.nbytes
    if progress is not None:
        progress(done, total, "")


def split_origin(metadata: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split off what `nnpack.origin` says about tensors of a foreign format, which knows no alias.

    Returns:
        tensor -> what is said of it, and the metadata without that.
    """
    origin = metadata.get(ORIGIN)
    if not isinstance(origin, dict):
        return {}, metadata
    said = origin_of(metadata)
    own = {tensor: of for tensor, of in said.items() if of.get("format") == name}
    rest = {tensor: of for tensor, of in origin.items() if tensor not in own and not is_made(of)}
    others = {key: value for key, value in metadata.items() if key != ORIGIN}
    return own, others | {ORIGIN: rest} if rest else others
