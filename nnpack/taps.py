"""What looks at the bytes of a file as they pass."""

from __future__ import annotations

import hashlib

from nnpack.source import CHUNK
from nnpack.wire import crc32


class Crc:
    """A running CRC-32."""

    def __init__(self, start: bytes) -> None:
        self.value = int(crc32(start))

    def update(self, data: bytes | memoryview) -> None:
        """Count bytes."""
        self.value = int(crc32(data, self.value))


class Digests:
    """SHA-256 of each MiB of what passes."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._current, self._left = hashlib.sha256(), CHUNK

    def update(self, data: bytes | memoryview) -> None:
        """Count bytes."""
        rest = memoryview(data).cast("B")
        while len(rest):
            piece = rest[: self._left]
            self._current.update(piece)
            self._left -= len(piece)
            rest = rest[len(piece) :]
            if not self._left:
                self._done.append(self._current.digest())
                self._current, self._left = hashlib.sha256(), CHUNK

    def finish(self) -> list[bytes]:
        """Return the digests, the last one of what is left."""
        last = [] if self._left == CHUNK else [self._current.digest()]
        return self._done + last
