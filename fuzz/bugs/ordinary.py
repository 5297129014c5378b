"""Saves and loads a small ordinary model with the nnpack that Python finds, and compares values.

    python ordinary.py FOLDER       the nnpack must be that of FOLDER

A failure to import is an exception; anything wrong afterwards is one line and the exit status 4.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np

import nnpack
from nnpack.verify import verify

BROKEN = 4
TITLE = {"title": "ordinary"}


def model() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return values to save, and the arrays that they are."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((64, 48)).astype(np.float32)
    codes = random.integers(-127, 128, (64, 48)).astype(np.int8)
    scale = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    pruned = np.where(np.abs(weight) < 1, np.float32(0), weight)
    plain = {
        "weight": weight,
        "bias": weight[0],
        "half": weight.astype(np.float16),
        "steps": np.arange(500),
        "codes": codes,
    }
    values = {"quantized": nnpack.Quantized(codes, scale), "pruned": nnpack.Csr.from_numpy(pruned)}
    return plain | values, plain | {"quantized": codes * scale, "pruned": pruned}


def check(profile: str) -> None:
    """Save and load in one profile, in every way."""
    values, arrays = model()
    data = nnpack.save(values, TITLE, profile=profile)
    loaded = nnpack.load(data)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(loaded[name], array), name
    with nnpack.open(data) as reader:
        assert reader.metadata == TITLE
        for name, array in arrays.items():
            assert np.array_equal(reader[name].read(), array), name
            assert np.array_equal(reader[name][3:5], array[3:5]), name
    assert not verify(data).faults
    items = [*nnpack.read_stream(io.BytesIO(data))]
    assert {item.name for item in items} == {*arrays, ""}


def main() -> int:
    """Check, and say what is wrong."""
    assert nnpack.__file__.startswith(sys.argv[1]), nnpack.__file__
    try:
        for profile in ("raw", "balanced"):
            check(profile)
    except Exception as bad:  # noqa: BLE001 - whatever a bug makes of it
        sys.stdout.write(f"{bad!r}\n")
        return BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
