"""Where a reader's bytes come from: a file that is read, a buffer, or a seekable object."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections import OrderedDict
from threading import Lock
from typing import IO, Any, Final

from nnpack.arguments import check_binary_reader
from nnpack.errors import error, shown
from nnpack.scratch import Scratch
from nnpack.wire import U64

WINDOW: Final = 1 << 18
"""Small reads that follow each other share one read: of a page at first, then of more and more, up
to so many bytes. Heads and tiny tensors stand side by side; heads of large tensors do not."""
PAGE: Final = 1 << 12
SMALL: Final = 1 << 15
ROOT_PREFIX: Final = b"nnpack root 1\n"
CHUNK: Final = 1 << 20
"""Bytes that one SHA-256 of the digests section covers."""


class Source(ABC):
    """Bytes at offsets; the checks that all sources share.

    Attributes:
        size: of the file.
        closed: whether `close` was called; nothing can be read then.
    """

    size: int
    closed = False

    def read(self, offset: int, size: int) -> memoryview:
        """Return exactly so many bytes, or raise `TruncatedError`."""
        self._check(offset, size)
        return self._read(offset, size)

    def borrow(self, offset: int, size: int, scratch: Scratch) -> memoryview:
        """Return bytes as `read` does, perhaps in scratch memory."""
        self._check(offset, size)
        return self._borrow(offset, size, scratch)

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill `out`, or raise `TruncatedError`."""
        self._check(offset, len(out))
        self._read_into(offset, out)

    def view(self, offset: int, size: int) -> memoryview:
        """Return bytes without a copy, unchecked, or raise ValueError if that cannot be."""
        self._check(offset, size)
        return self._view(offset, size)

    def close(self) -> None:
        """Let go of the file."""
        self.closed = True

    def _check(self, offset: int, size: int) -> None:
        if self.closed:
            raise ValueError("the file is closed")
        if offset + size > self.size:
            raise _short(self.size)

    @abstractmethod
    def _read(self, offset: int, size: int) -> memoryview: ...

    def _borrow(self, offset: int, size: int, scratch: Scratch) -> memoryview:
        out = scratch.take("borrowed", size).data
        self._read_into(offset, out)
        return out

    @abstractmethod
    def _read_into(self, offset: int, out: memoryview) -> None: ...

    @abstractmethod
    def _view(self, offset: int, size: int) -> memoryview: ...


def _short(offset: int) -> Exception:
    return error("truncated", "the file ends early: it was cut while it was open", offset=offset)


class BufferSource(Source):
    """Bytes in memory, which stand at some offset of a file."""

    def __init__(self, data: Any, offset: int = 0) -> None:
        """Hold anything with the buffer protocol."""
        self._data = memoryview(data).cast("B").toreadonly()
        self._offset = offset
        self.size = offset + len(self._data)

    def close(self) -> None:
        """Let go of the buffer; views of it live on."""
        super().close()
        self._data = memoryview(b"")

    def _read(self, offset: int, size: int) -> memoryview:
        return self._data[offset - self._offset : offset - self._offset + size]

    def _borrow(self, offset: int, size: int, scratch: Scratch) -> memoryview:  # noqa: ARG002
        return self._read(offset, size)

    def _read_into(self, offset: int, out: memoryview) -> None:
        out[:] = self._read(offset, len(out))

    def _view(self, offset: int, size: int) -> memoryview:
        return self._read(offset, size)


class _Windowed(Source):
    """Serves small reads from one larger read; a subclass knows how to read."""

    def __init__(self) -> None:
        self._window = (0, memoryview(b""))
        self._ahead = PAGE

    @abstractmethod
    def _fill(self, offset: int, out: memoryview) -> None: ...

    def _read(self, offset: int, size: int) -> memoryview:
        start, window = self._window
        if start <= offset and offset + size <= start + len(window):
            return window[offset - start : offset - start + size]
        length = size
        if size <= SMALL:
            follows = 0 <= offset - start - len(window) <= SMALL
            self._ahead = min(8 * self._ahead, WINDOW) if follows else PAGE
            length = min(max(self._ahead, size), self.size - offset)
        room = memoryview(bytearray(length))
        self._fill(offset, room)
        data = room.toreadonly()
        if size <= SMALL:
            self._window = (offset, data)
        return data[:size]

    def _borrow(self, offset: int, size: int, scratch: Scratch) -> memoryview:
        return self._read(offset, size) if size <= SMALL else super()._borrow(offset, size, scratch)

    def _read_into(self, offset: int, out: memoryview) -> None:
        if len(out) <= SMALL:
            out[:] = self._read(offset, len(out))
        else:
            self._fill(offset, out)


class FileSource(_Windowed):
    """A regular file, read by position: threads share it, and it cannot end the process.

    Only `view` maps it; a mapped file that another process cuts short kills this one (SIGBUS).
    """

    def __init__(self, path: str | os.PathLike[str], *, mapped: bool) -> None:
        """Open a regular file; anything else is OSError."""
        super().__init__()
        # O_NONBLOCK: opening a pipe by mistake must not wait for its writer.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(self._fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file; read_stream() reads pipes", str(path))
        self.size = status.st_size
        self._mapped = mapped
        self._map: memoryview | None = None

    def _fill(self, offset: int, out: memoryview) -> None:
        done = 0
        while done < len(out):
            try:
                count = os.preadv(self._fd, [out[done:]], offset + done)
            except OSError:
                if not self.closed:
                    raise
            if self.closed:  # by another thread: the descriptor may be another file's by now
                raise ValueError("the file is closed")
            if not count:
                raise _short(offset + done)
            done += count

    def _view(self, offset: int, size: int) -> memoryview:
        if not self._mapped:
            raise ValueError('the file was opened with mmap="never": use read()')
        if self._map is None:
            import mmap

            self._map = memoryview(mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ))
        return self._map[offset : offset + size]

    def close(self) -> None:
        """Close the file; a mapping lives as long as its views."""
        if not self.closed:
            super().close()
            os.close(self._fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()


class ObjectSource(_Windowed):
    """A seekable binary file object, which stays the caller's to close."""

    def __init__(self, file: IO[bytes]) -> None:
        """Find the size."""
        super().__init__()
        self._file = file
        self._lock = Lock()
        self.size = file.seek(0, os.SEEK_END)

    def _fill(self, offset: int, out: memoryview) -> None:
        with self._lock:
            self._file.seek(offset)
            done = 0
            while done < len(out):
                data = self._file.read(len(out) - done)
                if not data:
                    raise _short(offset + done)
                out[done : done + len(data)] = data
                done += len(data)

    def _view(self, offset: int, size: int) -> memoryview:  # noqa: ARG002
        raise ValueError("a file object cannot be mapped: use read()")


class AuthenticatedSource(Source):
    """A source of which every byte is checked against SHA-256 digests before it is used."""

    KEEP: Final = 8

    def __init__(self, inner: Source, digests: memoryview, covered: int, tail: bytes) -> None:
        """Take the digests of each MiB of the first `covered` bytes, and the checked rest."""
        self.size = inner.size
        self._inner, self._digests = inner, digests
        self._covered, self._tail = covered, memoryview(tail)
        self._chunks: OrderedDict[int, memoryview] = OrderedDict()
        self._lock = Lock()

    def _chunk(self, index: int) -> memoryview:
        with self._lock:
            found = self._chunks.get(index)
            if found is not None:
                self._chunks.move_to_end(index)
                return found
        start = index * CHUNK
        size = min(CHUNK, self._covered - start)
        data = memoryview(bytes(self._inner.read(start, size)))
        if sha256(data) != self._digests[32 * index : 32 * index + 32]:
            raise error(
                "bad-digest",
                f"bytes {start} to {start + size} are not those that the "
                "expected root authenticates",
                offset=start,
            )
        with self._lock:
            self._chunks[index] = data
            while len(self._chunks) > self.KEEP:
                self._chunks.popitem(last=False)
        return data

    def _read(self, offset: int, size: int) -> memoryview:
        out = memoryview(bytearray(size))
        self._read_into(offset, out)
        return out.toreadonly()

    def _read_into(self, offset: int, out: memoryview) -> None:
        done = 0
        while done < len(out):
            at = offset + done
            if at >= self._covered:
                piece = self._tail[at - self._covered :]
            else:
                piece = self._chunk(at // CHUNK)[at % CHUNK :]
            piece = piece[: len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)

    def _view(self, offset: int, size: int) -> memoryview:  # noqa: ARG002
        raise ValueError("a file opened with expect= is not mapped: use read()")

    def close(self) -> None:
        """Close what is read from."""
        super().close()
        self._inner.close()


def compute_root(tail: bytes | memoryview, covered: int) -> bytes:
    """Return the root: SHA-256 over what follows the covered bytes (SPEC 13.1)."""
    return sha256(ROOT_PREFIX + U64.pack(covered) + tail)


def sha256(data: bytes | memoryview) -> bytes:
    """Return the SHA-256 of bytes; OpenSSL is loaded only for files with digests."""
    import hashlib

    return hashlib.sha256(data).digest()


def open_source(source: Any, *, mapped: bool) -> Source:
    """Return the source for a path, a bytes-like object or a seekable binary file."""
    if isinstance(source, str | os.PathLike):
        return FileSource(source, mapped=mapped)
    try:
        return BufferSource(source)
    except TypeError:
        if hasattr(source, "read"):
            check_binary_reader(source)
            if hasattr(source, "seek"):
                return ObjectSource(source)
        pipe = "; read_stream() reads pipes" if hasattr(source, "read") else ""
        raise TypeError(
            "a path, a bytes-like object or a seekable binary file is needed, "
            f"not {shown(source)}{pipe}"
        ) from None
