"""Every bound on what a file may ask for, with its reason (SPEC 15)."""

from __future__ import annotations

import operator
from typing import Any, Final

from nnpack.errors import error, shown
from nnpack.memory import available_memory

# Limits of the format: a file beyond them is malformed.
MAX_U64: Final = 2**62
"""Bound of every 64-bit field: sums of two stay below 2^63, so signed arithmetic cannot wrap."""
MAX_SECTIONS: Final = 2**24
MAX_HEAD: Final = 64 << 20
"""A head is held in memory whole; 64 MiB describe 2 TiB of bfloat16 in the largest blocks."""
MAX_NAME: Final = 1024
MAX_RANK: Final = 32
"""What numpy 1 holds."""
MAX_DEPTH: Final = 8
"""Three levels of quantization over a codebook over csr need five."""
MAX_NODES: Final = 64
MAX_PARTS: Final = 63
MAX_PLANES: Final = 8
MAX_PLANE_BLOCK: Final = 8 << 20
"""Decoders hold a whole plane-block."""
MAX_VECTOR: Final = 65536
MAX_WINDOW: Final = 8 << 20
"""The zstd window that RFC 9659 lets every decoder have."""
MIN_BLOCK_LOG2: Final = 10
MAX_BLOCK_LOG2: Final = 20
MAX_JSON_DEPTH: Final = 32
MAX_JSON_INT: Final = 2**53 - 1
"""The integers that every JSON reader keeps."""


SMALL_REQUEST: Final = 64 << 20
"""Bytes below which a request is not worth asking the system for its free memory."""


class Limits:
    """What the caller allows a file to cost. Only the caller can raise a limit, never a file.

    All are whole numbers from 0 on. A `Limits` is immutable.

    Attributes:
        directory_bytes: stored and decoded size of the directory.
        sections: number of sections.
        json_bytes: decoded size of the metadata, and of each graph.
        tensor_bytes: charge of one tensor: the decoded size of all its nodes (SPEC 8.1).
        memory: charge of one request; None is 80 % of what the process can still get.
        expansion_bytes: a request above this size ...
        expansion_ratio: ... may not be more than this many times its stored bytes. The same holds
            for all that checking a file decodes, together, and the file's size: what a few bytes
            claim may cost no more time than that, however many sections claim it.

    Raises:
        TypeError: a limit is no whole number.
        ValueError: a limit is negative.
    """

    __slots__ = (
        "directory_bytes",
        "expansion_bytes",
        "expansion_ratio",
        "json_bytes",
        "memory",
        "sections",
        "tensor_bytes",
    )

    directory_bytes: int
    sections: int
    json_bytes: int
    tensor_bytes: int
    memory: int | None
    expansion_bytes: int
    expansion_ratio: int

    def __init__(
        self,
        *,
        directory_bytes: int = 64 << 20,
        sections: int = 1 << 20,
        json_bytes: int = 16 << 20,
        tensor_bytes: int = 1 << 40,
        memory: int | None = None,
        expansion_bytes: int = 4 << 30,
        expansion_ratio: int = 1000,
    ) -> None:
        """Check the numbers."""
        given = {name: value for name, value in locals().items() if name != "self"}
        for name, value in given.items():
            object.__setattr__(self, name, _whole(name, value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"limits are frozen: make a new Limits({name}={value!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"limits are frozen: {name} cannot be deleted")

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value}' for name, value in self._items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._items() == other._items()

    def __hash__(self) -> int:
        return hash(self._items())

    def __reduce__(self) -> Any:
        return _limits, (dict(self._items()),)

    def _items(self) -> tuple[tuple[str, int | None], ...]:
        return tuple((name, getattr(self, name)) for name in self.__slots__)

    def check(self, name: str, value: int, what: str) -> None:
        """Raise `LimitError` if `value` passes the limit called `name`."""
        allowed = getattr(self, name)
        if value > allowed:
            raise error(
                "limit-exceeded",
                f"{what} is {value:,}, the limit {name} is {allowed:,}; "
                f"if you trust this file, pass limits=Limits({name}={value})",
            )

    def check_request(self, charge: int, stored: int) -> None:
        """Check what one request costs before anything is allocated for it.

        Args:
            charge: decoded bytes that the request needs at once.
            stored: bytes that it reads from the file.
        """
        budget = self.memory
        if budget is None:
            budget = charge if charge < SMALL_REQUEST else available_memory()
        if charge > budget:
            raise error(
                "limit-exceeded",
                f"the request needs {charge:,} bytes, the memory budget is {budget:,}; "
                f"read slices, or pass limits=Limits(memory={charge})",
            )
        self.check_expansion(charge, stored)

    def check_expansion(self, charge: int, stored: int) -> None:
        """Check a decoded size against its own limit and against the bytes that it comes from."""
        self.check("tensor_bytes", charge, "decoded size")
        self.check_ratio(charge, stored)

    def check_ratio(self, charge: int, stored: int) -> None:
        """Check decoded bytes of any number of tensors against those that they come from."""
        if charge > self.expansion_bytes and charge > self.expansion_ratio * max(stored, 1):
            raise error(
                "limit-exceeded",
                f"{stored:,} stored bytes expand to {charge:,}; if you trust this file, "
                f"pass limits=Limits(expansion_bytes={charge})",
            )


def _limits(values: dict[str, Any]) -> Limits:
    """Return limits that were pickled or copied."""
    return Limits(**values)


def _whole(name: str, value: int | None) -> int | None:
    """Return a limit as an int, checked."""
    if value is None and name == "memory":
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"the limit {name} is a whole number, not {shown(value)}") from None
    if number < 0:
        raise ValueError(f"the limit {name} is at least 0, not {number}")
    return number


DEFAULT_LIMITS: Final = Limits()
