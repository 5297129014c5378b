"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import warnings
import weakref
from pathlib import Path
from typing import IO, Final

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_AHEAD: Final = 8 << 20
"""Bytes written before the system is told to bring them to the disk."""
_begin: Final = getattr(os, "posix_fadvise", None)
_DONT_NEED: Final = getattr(os, "POSIX_FADV_DONTNEED", 0)


class AtomicFile:
    """A temporary file beside its target, which it replaces when it is committed.

    A process that is killed leaves the target as it was, and perhaps the temporary file,
    `.<name>.<random>.tmp`. A file that is neither committed nor discarded is removed when it is
    forgotten or the interpreter ends, with a `ResourceWarning`. A link at the target is followed,
    as `open` would.

    As a context manager it gives the file to write to, and is committed at the end, or discarded
    if there was an exception.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        """Create the temporary file, in the target's directory so that renaming is atomic."""
        self.target = Path(os.path.realpath(target))
        if self.target.is_dir():
            raise OSError(errno.EISDIR, "a directory", str(target))
        if self.target.exists() and not self.target.is_file():
            raise OSError(errno.EINVAL, "no regular file: open it, and pass that", str(target))
        name = f".{self.target.name[:40]}.{secrets.token_hex(8)}.tmp"
        self._path = self.target.with_name(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NO_FOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o666)  # less the umask, as for any new file
        except OSError as bad:  # of the folder, most likely: the caller knows only the target
            raise type(bad)(bad.errno, bad.strerror, os.fspath(target)) from None
        self.file: IO[bytes] = os.fdopen(descriptor, "w+b", buffering=1 << 20)
        self._written = self._begun = 0
        self._forgotten = weakref.finalize(
            self, _forget, self.file, self._path, os.fspath(target), os.getpid()
        )

    def __enter__(self) -> IO[bytes]:
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes; return how many were taken.

        The disk begins while the rest is still on its way, so that `commit` waits less.
        """
        count = self.file.write(data)
        self._written += count
        if _begin and self._written - self._begun >= _AHEAD:
            # Linux starts to write pages that are said not to be needed, and keeps them until then.
            _begin(self.file.fileno(), self._begun, self._written - self._begun, _DONT_NEED)
            self._begun = self._written
        return count

    def commit(self) -> None:
        """Make the bytes durable and let them appear at the target."""
        try:
            self.file.flush()
            if self.target.exists():
                os.fchmod(self.file.fileno(), self.target.stat().st_mode & 0o7777)
            os.fsync(self.file.fileno())
            self.file.close()
            self._path.replace(self.target)
            self._forgotten.detach()
        except BaseException:
            self.discard()
            raise
        directory = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Remove the temporary file; the target stays as it was."""
        self._forgotten.detach()
        _remove(self.file, self._path)


def _remove(file: IO[bytes], path: Path) -> None:
    try:
        file.close()
    finally:
        path.unlink(missing_ok=True)


def _forget(file: IO[bytes], path: Path, target: str | bytes, process: int) -> None:
    """Remove a file that nobody finished; the child of a fork leaves its parent's alone."""
    if os.getpid() != process:
        return
    _remove(file, path)
    warnings.warn(
        f"{os.fsdecode(target)} was never closed: nothing is written there",
        ResourceWarning,
        stacklevel=2,
    )
