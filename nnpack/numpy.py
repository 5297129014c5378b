"""Tensors as numpy arrays in one call, shaped like safetensors' functions."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnpack.abc import Node
from nnpack.duplicates import deduplicates
from nnpack.limits import Limits
from nnpack.reader import open  # noqa: A004 - nnpack's own
from nnpack.tensor import Tensor
from nnpack.writer import Sink, Writer


def save_file(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> None:
    """Write tensors to a file, which appears whole or not at all, in the mapping's order.

    Equal tensors are stored once, but in the profile raw: arrays in C order and nnpack's values
    that the dict holds anyway are compared with those that come later. What is made on the way (by
    a mapping that is no dict, of an array in another order or a lazy one) is let go once written.

    Args:
        tensors: names to arrays or values such as `nnpack.Csr`.
        path: of the file; an existing one is replaced.
        metadata: a JSON object.
        profile: "raw", "fast", "balanced" or "small".

    Raises:
        TypeError, ValueError: a name or a value cannot be stored.
    """
    _write(path, tensors, metadata, profile)


def save(
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> bytes:
    """Return what `save_file` writes."""
    target = io.BytesIO()
    _write(target, tensors, metadata, profile)
    return target.getvalue()


def _write(
    target: str | os.PathLike[str] | Sink,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    profile: str,
) -> None:
    with Writer(target, profile=profile, deduplicate=deduplicates(profile)) as writer:
        if not isinstance(tensors, Mapping):
            raise TypeError(
                f"tensors are a mapping of names to arrays, not {type(tensors).__name__}"
            )
        held = isinstance(tensors, dict)
        for name, value in tensors.items():
            writer.add(name, value, lasting=held and _is_stored_as_it_is(value))
        if metadata:
            writer.set_metadata(metadata)


def _is_stored_as_it_is(value: Any) -> bool:
    """Return whether a value is stored from its own memory, or its file's: no copy is made."""
    if isinstance(value, np.ndarray):
        return value.flags.c_contiguous and value.dtype.byteorder != ">"
    return isinstance(value, Node | Tensor)


def load_file(
    path: str | os.PathLike[str], *, limits: Limits | None = None, threads: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return all tensors of a file as arrays, each with memory of its own.

    Arrays below 4 MiB stand side by side in pieces of up to 16 MiB, and a piece is freed with the
    last of its arrays: copy a small one that is to outlive the others.

    Args:
        path: of the file.
        limits: what the file may cost; `Limits()` by default.
        threads: for decoding; 1 stays on the caller's thread; None: one a core, at most 8.

    Raises:
        NnpackError: the file is damaged, unsupported or above the limits.
        OSError: the path cannot be read.
    """
    with open(path, limits=limits, threads=threads) as reader:
        return reader.load()


def load(
    data: bytes | bytearray | memoryview,
    *,
    limits: Limits | None = None,
    threads: int | None = None,
) -> dict[str, np.ndarray[Any, Any]]:
    """Return all tensors of a file in memory as arrays, as `load_file` does."""
    with open(data, limits=limits, threads=threads) as reader:
        return reader.load()
