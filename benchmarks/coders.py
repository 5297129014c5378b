"""Entropy coders on the exponents of Gaussian bfloat16 weights: bits, and symbols a second.

Run as `python benchmarks/coders.py [LOG2 ...]`, base-2 logarithms of the numbers of symbols, by
default 17, 20 and 24, which takes some minutes. One thread, everything interleaved: each round
decodes once with every coder. A symbol is an exponent in a byte, which goes through the coder
alone, without checksums and transforms; blocks are of 2^18 symbols, or all where those are fewer.
Bits count the table, and the state of each lane; the ratio is over the entropy of a symbol alone.
Encoding takes longer and is timed in fewer rounds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import ml_dtypes
import numpy as np
from rounds import ROUNDS, packages, race, table
from sizes import order0

from nnpack.abc import Codec
from nnpack.codecs.huffman import Huffman
from nnpack.codecs.rans import Rans
from nnpack.codecs.zstd import WEIGHTS, Zstd

BLOCK_LOG2 = 18
LANES_LOG2 = (5, 6, 8, 10)
ENCODE_ROUNDS = 3
WIDTH = 0.02


def main() -> None:
    """Print the tables."""
    sizes = [int(log2) for log2 in sys.argv[1:]] or [17, 20, 24]
    print(f"{packages('nnpack-format', 'numpy', 'zstandard')}; one thread, medians of {ROUNDS}")
    print(f"interleaved rounds, of encoding {ENCODE_ROUNDS}")
    for log2 in sizes:
        measure(log2)


def measure(log2: int) -> None:
    """Print the table for 2^log2 symbols."""
    planes = exponents(1 << log2).reshape(-1, 1 << min(log2, BLOCK_LOG2))
    entropy = order0(planes.reshape(-1))
    coders = {name: make(planes) for name, make in CODERS.items()}
    stored = {name: codec.encode_many(planes) for name, (codec, _) in coders.items()}
    out = np.empty_like(planes)
    for name, (codec, _) in coders.items():
        decode(codec, stored[name], out)
        if not np.array_equal(out, planes):
            raise AssertionError(f"{name} changed a symbol")
    decoded = race({
        name: lambda codec=codec, name=name: decode(codec, stored[name], out)
        for name, (codec, _) in coders.items()
    })  # fmt: skip
    encoded = race(
        {
            name: lambda codec=codec: codec.encode_many(planes)
            for name, (codec, _) in coders.items()
        },
        ENCODE_ROUNDS,
    )
    rows = []
    for name, (_, shared) in coders.items():
        size = shared + sum(map(len, stored[name]))
        speeds = (planes.size / found[name] / 1e6 for found in (encoded, decoded))
        bits = f"{8 * size / planes.size:.4f}"
        rows.append((name, bits, f"{size / entropy:.4f}", *(f"{speed:.1f}" for speed in speeds)))
    whole = f"{planes.size:,} symbols in blocks of {planes.shape[1]:,}"
    print(f"\n{whole}, entropy {8 * entropy / planes.size:.4f} bits\n")
    head = ("coder", "bits a symbol", "of entropy", "encode, Msym/s", "decode, Msym/s")
    print(table(head, rows), flush=True)


def exponents(count: int) -> np.ndarray:
    """Return the exponents of so many weights."""
    weights = np.random.default_rng(0).standard_normal(count, np.float32) * np.float32(WIDTH)
    bits = weights.astype(ml_dtypes.bfloat16).view(np.uint16)
    return (bits >> 7).astype(np.uint8)


def decode(codec: Codec, stored: list[bytes], out: np.ndarray) -> None:
    """Fill `out`."""
    codec.decode_many([memoryview(block) for block in stored], out)


def tabled(codec: Rans | Huffman) -> Callable[[np.ndarray], tuple[Codec, int]]:
    """Return what gives the coder of planes with their table, and that table's bytes."""

    def make(planes: np.ndarray) -> tuple[Codec, int]:
        shared = codec.make_table(np.bincount(planes.reshape(-1), minlength=256))
        return codec.with_table(memoryview(shared)), len(shared)

    return make


CODERS: dict[str, Callable[[np.ndarray], tuple[Codec, int]]] = {
    "zstd, Huffman only": lambda _: (Zstd(WEIGHTS), 0),
    **{f"huffman, {1 << log2} lanes": tabled(Huffman(log2)) for log2 in LANES_LOG2},
    **{f"rans, {1 << log2} lanes": tabled(Rans(log2)) for log2 in LANES_LOG2},
}


if __name__ == "__main__":
    main()
