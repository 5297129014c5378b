"""What callers pass to readers and writers, checked where it enters."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Mapping
from typing import Any

from nnpack.errors import shown
from nnpack.limits import DEFAULT_LIMITS, Limits


def check_limits(limits: Any) -> Limits:
    """Return the limits, by default the default ones; TypeError if they are none."""
    if limits is None:
        return DEFAULT_LIMITS
    if not isinstance(limits, Limits):
        raise TypeError(
            f"limits= is an nnpack.Limits, such as Limits(memory=1 << 30), not {shown(limits)}"
        )
    return limits


def check_threads(threads: Any) -> int | None:
    """Return the number of threads as an int, or None.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 1.
    """
    if threads is None:
        return None
    try:
        number = operator.index(threads)
    except TypeError:
        raise TypeError(f"threads is a whole number, not {shown(threads)}") from None
    if number < 1:
        raise ValueError(f"at least one thread is needed, not {number}")
    return number


def check_plugins(codecs: Any, kinds: Any, *, decoders: bool = True) -> None:
    """Check that plug-ins are mappings of ids to what they may be; TypeError if they are not.

    Args:
        codecs: ids to codecs.
        kinds: ids to classes and, with `decoders`, names of foreign formats to functions.
        decoders: whether names are of use, as they are for reading.
    """
    for what, given, example in (
        ("codecs", codecs, "{200: MyCodec()}"),
        ("kinds", kinds, "{200: MyKind}"),
    ):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{what}= maps ids to plug-ins, as {example} does, not {shown(given)}")
    for key, codec in (codecs or {}).items():
        if not isinstance(key, int):
            raise TypeError(f"the id of a codec is an int, not {shown(key)}")
        if isinstance(codec, type):
            raise TypeError(f"codecs[{key}] is a class: pass an instance, {codec.__name__}()")
    for key, kind in (kinds or {}).items():
        decoder = decoders and isinstance(key, str)
        if not decoder and not isinstance(key, int):
            others = " or, for a decoder, a str" if decoders else ""
            raise TypeError(f"the id of a kind is an int{others}, not {shown(key)}")
        if not decoder and not isinstance(kind, type):
            raise TypeError(f"kinds[{key}] is a class, not {shown(kind)}")
        if kind is not None and not callable(kind):  # None: no decoder, as without the name
            raise TypeError(f"kinds[{key!a}] decodes: it is a function, not {shown(kind)}")


def check_binary_reader(file: Any) -> None:
    """Check that bytes can be read from an object; TypeError if not."""
    if isinstance(file, str | os.PathLike):
        raise TypeError(
            f"{shown(file)} is a path: use nnpack.open(path), or pass a file, open(path, 'rb')"
        )
    if isinstance(file, bytes | bytearray | memoryview):
        raise TypeError("bytes are no file: use nnpack.open(data), or pass io.BytesIO(data)")
    if _is_text(file):
        raise TypeError(f"{shown(file)} gives text: pass a binary file, as open(path, 'rb') does")
    if not callable(getattr(file, "read", None)):
        raise TypeError(f"a binary file, with read, is needed, not {shown(file)}")


def check_binary_writer(file: Any) -> None:
    """Check that bytes can be written to an object; TypeError if not."""
    if _is_text(file):
        raise TypeError(f"{shown(file)} takes text: pass a path, or open(path, 'wb')")
    if not callable(getattr(file, "write", None)):
        raise TypeError(f"a path or an object with write is needed, not {shown(file)}")


def _is_text(file: Any) -> bool:
    """Return whether it is a text file, or a temporary one's wrapper around it."""
    return isinstance(getattr(file, "file", file), io.TextIOBase)
