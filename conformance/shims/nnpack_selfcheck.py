"""The package against itself: one way to read a file must not take what another refuses.

What differs is an AssertionError, which ends the testee: a crash, and a finding.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import nnpack
from nnpack.verify import verify


def load(reader: nnpack.Reader) -> None:
    """Load all tensors, and compare them with what reading each alone gives."""
    try:
        loaded = reader.load()
    except nnpack.NnpackError as bad:
        for name in reader:
            with suppress(nnpack.NnpackError):  # alone it is an array or an error, and no crash
                reader[name].read()
        if not isinstance(bad, nnpack.UnsupportedError):
            raise
        return
    for name, array in loaded.items():
        try:
            alone = reader[name].read()
        except nnpack.FormatError as bad:
            raise AssertionError(f"{name} is loaded among others and not alone") from bad
        if alone.tobytes() != array.tobytes():
            raise AssertionError(f"{name} differs where it is loaded among others")


def read_twice(tensor: nnpack.Tensor) -> list[Any]:
    """Return the value and the elements of a tensor, which are read in two ways.

    One way must not take what the other refuses, but for limits, which count differently, and for
    what is below a node without elements, of which one way reads nothing.
    """
    found: list[Any] = []
    for read in (tensor.value, tensor.read):
        try:
            found.append(read())
        except nnpack.NnpackError as bad:
            found.append(bad)
    refused = [one for one in found if isinstance(one, nnpack.NnpackError)]
    free = {"limit-exceeded", "unsupported"}
    if len(refused) == 1 and refused[0].error_class not in free and not has_idle_parts(tensor):
        raise AssertionError(f"only one of two ways refuses {tensor.name}") from refused[0]
    return found


def has_idle_parts(tensor: nnpack.Tensor) -> bool:
    """Return whether a node of the tree has parts and no elements."""
    return any(0 in node.shape and node.parts for node in tensor.head.walk())


def digest(tensor: nnpack.Tensor) -> str:
    """Return the logical digest of a tensor whose value was taken."""
    try:
        return tensor.digest()
    except nnpack.FormatError as bad:
        raise AssertionError(f"{tensor.name} has a value and no digest") from bad


def look_for_faults(source: str | bytes, limits: nnpack.Limits, expect: str | None) -> None:
    """Raise what verifying finds in a file that was read."""
    report = verify(source, limits=limits, expect=expect)
    for bad in (*report.faults, *report.unchecked):
        if not isinstance(bad, nnpack.UnsupportedError):
            raise bad
