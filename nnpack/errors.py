"""What can be wrong with a file: the closed list of error classes (SPEC 14)."""

from __future__ import annotations

from typing import Final

CORRUPT: Final = frozenset(
    {
        "not-nnpack",
        "truncated",
        "trailing-data",
        "bad-checksum",
        "reserved-nonzero",
        "bad-layout",
        "bad-text",
        "duplicate",
        "missing",
        "bad-reference",
        "mismatch",
        "bad-node",
        "bad-shape",
        "bad-dtype",
        "bad-value",
        "bad-index",
        "bad-stream",
        "bad-json",
        "bad-digest",
    }
)
UNSUPPORTED: Final = frozenset({"unsupported-version", "unknown-section", "unsupported"})
LIMIT: Final = frozenset({"limit-exceeded"})
ERROR_CLASSES: Final = CORRUPT | UNSUPPORTED | LIMIT

LONGEST: Final = 80
"""Characters of a caller's value in a message."""


class NnpackError(Exception):
    """Anything that a file can make a reader raise; every other exception is a bug.

    Attributes:
        error_class: one of `ERROR_CLASSES`.
        offset: byte position in the file nearest to the fault, or None.
        section: name of the section concerned (or its type, where it has no name), or None.
    """

    def __init__(
        self,
        error_class: str,
        message: str,
        *,
        offset: int | None = None,
        section: str | None = None,
    ) -> None:
        """Describe one fault; offset and section may be added where they are known."""
        super().__init__(error_class, message)
        self.error_class = error_class
        self.message = message
        self.offset = offset
        self.section = section

    def at(self, *, offset: int | None = None, section: str | None = None) -> NnpackError:
        """Add the place, keeping what an inner layer knew better; return self."""
        self.offset = offset if self.offset is None else self.offset
        self.section = section if self.section is None else self.section
        return self

    def __str__(self) -> str:
        place = [] if self.section is None else [f"section {self.section!a}"]
        place += [] if self.offset is None else [f"byte {self.offset}"]
        where = f" ({', '.join(place)})" if place else ""
        return f"{self.error_class}: {self.message}{where}"


class FormatError(NnpackError):
    """The bytes break a rule of the format."""


class ChecksumError(FormatError):
    """Stored and computed CRC-32 differ: the bytes were damaged."""


class TruncatedError(FormatError):
    """The file ends before something that it declares."""


class DigestError(FormatError):
    """The bytes are not those that the expected root authenticates."""


class UnsupportedError(NnpackError):
    """The file is well formed but needs something that this reader does not have."""


class LimitError(NnpackError):
    """The file asks for more than the caller's `Limits` allow."""


class Invalid(ValueError):  # noqa: N818 - a ValueError for callers, who see it as such
    """A rule about values is broken: the caller's mistake, or, where a file said so, the file's.

    Readers turn it into a `FormatError` at the border; see `located`.

    Attributes:
        error_class: what a file with this fault has.
        message: what is wrong.
        hint: what a caller can do about it, which is of no use to a reader.
    """

    def __init__(self, error_class: str, message: str, hint: str = "") -> None:
        """Name the class that a file with this fault has."""
        super().__init__(error_class, message, hint)
        self.error_class = error_class
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


_LEAVES: Final[dict[str, type[NnpackError]]] = {
    "bad-checksum": ChecksumError,
    "truncated": TruncatedError,
    "bad-digest": DigestError,
    **dict.fromkeys(UNSUPPORTED, UnsupportedError),
    **dict.fromkeys(LIMIT, LimitError),
}


def error(
    error_class: str, message: str, *, offset: int | None = None, section: str | None = None
) -> NnpackError:
    """Return the exception for an error class."""
    leaf = _LEAVES.get(error_class, FormatError)
    return leaf(error_class, message, offset=offset, section=section)


def shown(value: object) -> str:
    """Return what a caller passed as a message shows it: on one line, and never long."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array of {getattr(value, 'dtype', 'things')} of shape {shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class located:  # noqa: N801 - used as a statement, and too often for a generator
    """Tell what passes through where it happened, in a file; inner layers may know better.

    What breaks a rule about values breaks it in the file here: an `Invalid` becomes the error of
    its class.
    """

    __slots__ = ("offset", "section")

    def __init__(self, offset: int | None = None, section: str | None = None) -> None:
        """Hold the place."""
        self.offset, self.section = offset, section

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, bad: BaseException | None, __: object) -> None:
        if isinstance(bad, Invalid):
            raise error(
                bad.error_class, bad.message, offset=self.offset, section=self.section
            ) from bad
        if isinstance(bad, NnpackError):
            bad.at(offset=self.offset, section=self.section)
