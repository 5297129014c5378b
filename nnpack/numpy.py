"""Tensors as numpy arrays in one call, shaped like safetensors' functions."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnpack.limits import Limits
from nnpack.reader import open  # noqa: A004 - nnpack's own
from nnpack.writer import Writer


def save_file(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> None:
    """Write tensors to a file, which appears whole or not at all, in the mapping's order.

    Args:
        tensors: names to arrays or values such as `nnpack.Csr`.
        path: of the file; an existing one is replaced.
        metadata: a JSON object.
        profile: "raw" or "balanced".

    Raises:
        TypeError, ValueError: a name or a value cannot be stored.
    """
    with Writer(path, profile=profile, deduplicate=profile != "raw") as writer:
        _add_all(writer, tensors, metadata)


def save(
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> bytes:
    """Return what `save_file` writes."""
    target = io.BytesIO()
    with Writer(target, profile=profile, deduplicate=profile != "raw") as writer:
        _add_all(writer, tensors, metadata)
    return target.getvalue()


def _add_all(
    writer: Writer, tensors: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> None:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors are a mapping of names to arrays, not {type(tensors).__name__}")
    for name, value in tensors.items():
        writer.add(name, value)
    if metadata:
        writer.set_metadata(metadata)


def load_file(
    path: str | os.PathLike[str], *, limits: Limits | None = None, threads: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return all tensors of a file as arrays, each with memory of its own.

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
