"""Bytes that a file takes beyond its arrays: heads, directory, names, checksums.

Run as `python benchmarks/overhead.py`.
"""

from __future__ import annotations

import numpy as np
from rounds import table

import nnpack


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    small = _microcontroller(rng)
    many = {
        f"blocks.{i // 64:05}.experts.{i % 64:02}.bias": rng.integers(
            0, 256, (1 + i % 3, 2), np.uint8
        )
        for i in range(100_000)
    }
    rows = []
    for name, tensors in (("12 tensors, int8 per channel", small), ("100,000 tiny tensors", many)):
        arrays = sum(_bytes(value) for value in tensors.values())
        for profile in ("raw", "balanced"):
            size = len(_save(tensors, profile))
            over = size - arrays
            rows.append((
                name, profile, f"{arrays:,}", f"{over:,}", f"{100 * over / arrays:.1f} %",
                f"{over / len(tensors):.1f}",
            ))  # fmt: skip
    print(table(("model", "profile", "array bytes", "overhead", "of arrays", "a tensor"), rows))


def _microcontroller(rng: np.random.Generator) -> dict[str, nnpack.Quantized | np.ndarray]:
    """Return six layers: int8 weights with a scale a channel, and int32 biases; 20 KB."""
    tensors: dict[str, nnpack.Quantized | np.ndarray] = {}
    for layer, (rows, columns) in enumerate(
        [(16, 27), (24, 144), (32, 112), (32, 144), (36, 192), (10, 36)]
    ):
        codes = rng.integers(-127, 128, (rows, columns), np.int8)
        scale = rng.random((rows, 1), np.float32)
        tensors[f"layer{layer}.weight"] = nnpack.Quantized(codes, scale)
        tensors[f"layer{layer}.bias"] = rng.integers(-9999, 9999, rows, np.int32)
    return tensors


def _bytes(value: nnpack.Quantized | np.ndarray) -> int:
    if isinstance(value, nnpack.Quantized):
        return value.codes.nbytes + value.scale.nbytes
    return value.nbytes


def _save(tensors: dict, profile: str) -> bytes:
    import io

    target = io.BytesIO()
    with nnpack.Writer(target, profile=profile) as writer:
        for name, value in tensors.items():
            writer.add(name, value)
    return target.getvalue()


if __name__ == "__main__":
    main()
