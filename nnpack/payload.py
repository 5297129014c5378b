"""The encoded bytes of one section: in memory up to a size, then in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final, Self

from nnpack.scratch import Scratch, lent

SPOOL: Final = 256 << 20
"""Payload bytes held in memory; what is more waits in a temporary file."""


class Payload:
    """Bytes in order, whose number is known before they are written.

    Attributes:
        size: of all so far.
        scratch: memory that nobody else uses until the payload is written, if it was asked for.
    """

    def __init__(self, directory: str | None, *, lends: bool = False) -> None:
        """Spool into `directory`, or where the system has its temporary files."""
        self.size = 0
        self.scratch: Scratch | None = None
        self._loan = lent() if lends else None
        self._chunks: list[bytes | memoryview] = []
        self._held = 0
        self._directory = directory
        self._spool: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._loan:
            self.scratch = self._loan.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._chunks = []
        if self._loan:
            self._loan.__exit__()
        if self._spool:
            self._spool.close()

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes that may be kept until the payload is written."""
        self.size += len(data)
        self._add(data, len(data))

    def borrow(self, data: memoryview) -> None:
        """Add bytes that stay as they are in the caller's memory, and cost none here."""
        self.size += len(data)
        self._add(data, 0)

    def _add(self, data: bytes | memoryview, cost: int) -> None:
        if self._spool is None and self._held + cost > SPOOL:
            self._spool = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            for chunk in self._chunks:
                self._spool.write(chunk)
            self._chunks, self._held = [], 0
        if self._spool is None:
            self._chunks.append(data)
            self._held += cost
        else:
            self._spool.write(data)

    def pad(self, end: int) -> None:
        """Add zeros up to `end` bytes."""
        if end > self.size:
            self.append(bytes(end - self.size))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order."""
        if self._spool is None:
            yield from self._chunks
        else:
            self._spool.seek(0)
            while data := self._spool.read(1 << 20):
                yield data
