"""A large matrix of Gaussian weights that is made where it is sliced."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - numpy knows bfloat16 by it
import numpy as np

COLUMNS = 1024
POOL_ROWS = 1 << 13
"""Rows that differ; the same come again further apart than a codec of blocks looks."""


class Weights:
    """Weights of a shape and dtype, in whole rows; the same wherever they are asked for again."""

    def __init__(self, nbytes: float, dtype: str) -> None:
        """Have about so many bytes."""
        self.dtype = np.dtype(dtype)
        self.shape = (round(nbytes / self.dtype.itemsize / COLUMNS), COLUMNS)
        self.nbytes = self.shape[0] * COLUMNS * self.dtype.itemsize
        rng = np.random.default_rng(0)
        cells = rng.standard_normal((POOL_ROWS, COLUMNS), np.float32) * np.float32(0.02)
        self._pool = cells.astype(self.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a row or a slice of rows, or columns of it."""
        rows, *columns = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice):
            picked = np.arange(self.shape[0])[rows] % POOL_ROWS
            return self._pool[picked][:, *columns]
        return self._pool[rows % POOL_ROWS][*columns]


CODES = {"float32": "F32", "bfloat16": "U16"}
"""Names in safetensors; there numpy's arrays are no bfloat16."""


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write the one tensor `w`, a piece at a time."""
    entry = {"dtype": CODES[weights.dtype.name], "shape": [*weights.shape]}
    head = json.dumps({"w": {**entry, "data_offsets": [0, weights.nbytes]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for start in range(0, weights.shape[0], POOL_ROWS // 4):
            file.write(weights[start : start + POOL_ROWS // 4].view(np.uint8).data)
