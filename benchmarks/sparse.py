"""Bits that the positions of sparse weights take, and all of a pruned and clustered LeNet-300-100.

Run as `python benchmarks/sparse.py`. Sizes are the same on every machine. Positions are drawn
independently; their limit is the entropy of a mask, n H(p) / nnz bits a stored position. The plans
"smallest" are of no profile: for each leaf that of a profile, Huffman codes or rans of few lanes.

The network has the shapes, and in each layer the share of weights kept and the number of shared
values, that Deep Compression publishes (S. Han, H. Mao, W. Dally, arXiv:1510.00149, table 2); the
indices of the values are drawn with an entropy of 4.4 bits. Files are counted whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import zstandard
from rounds import packages, table
from sizes import bits_of, parts, save, smallest

import nnpack

SIDE = 1000
GOALS = {0.90: 4.80, 0.95: 5.87}
LAYERS = (((784, 300), 0.08), ((300, 100), 0.09), ((100, 10), 0.26))
SHARED, INDEX_BITS = 64, 4.4
EVENLY = 0.05
"""Share of the indices that are drawn evenly, so that none is missing in a large layer."""
FACTOR = 37


class Layer(NamedTuple):
    """Weights that are 0 but at some flat places, and shared values there; biases."""

    shape: tuple[int, int]
    places: np.ndarray
    indices: np.ndarray
    shared: np.ndarray
    biases: np.ndarray

    @property
    def cells(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


def main() -> None:
    """Print the tables."""
    print(packages("nnpack-format", "numpy", "zstandard"))
    head = ("positions", *(f"{100 * sparsity:.0f} % zero" for sparsity in GOALS))
    columns = [positions(sparsity) for sparsity in GOALS]
    rows = [(name, *(f"{column[name]:.2f}" for column in columns)) for name in columns[0]]
    print(table(head, [*rows, ("goal", *(f"{goal:.2f}" for goal in GOALS.values()))]), "\n")
    layers = lenet()
    network([layer._replace(biases=layer.biases[:0]) for layer in layers], "weights alone")
    network(layers, "with biases")


def positions(sparsity: float) -> dict[str, float]:
    """Return the bits a stored position takes in different forms."""
    rng = np.random.default_rng(0)
    there = rng.random((SIDE, SIDE)) >= sparsity
    weights = np.where(there, rng.standard_normal((SIDE, SIDE), np.float32), np.float32(0))
    stored = np.count_nonzero(there)
    share = stored / there.size
    found = {"entropy": bits_of(np.array([share, 1 - share])) * there.size}
    for form, row in (("rows", SIDE), ("one row of all", there.size)):
        sparse = nnpack.Csr.from_numpy(weights, row_length=row)
        for plans, options in PLANS.items():
            file = save({"w": sparse}, **options)
            taken = {part.part: 8 * part.stored for part in parts(file)}
            name = f"csr, {form}, {plans}"
            found[f"{name}: gaps"] = taken["gaps"]
            found[f"{name}: gaps and counts"] = taken["gaps"] + taken["counts"]
    mask, places = np.packbits(there), np.flatnonzero(there).astype("<u4")
    for level in (3, 19):
        found[f"bitmask, zstd {level}"] = 8 * _zstd(mask, level)
        found[f"uint32 indices, zstd {level}"] = 8 * _zstd(places, level)
    found["bitmask"] = 8 * mask.nbytes
    return {name: bits / stored for name, bits in found.items()}


def _zstd(array: np.ndarray, level: int) -> int:
    return len(zstandard.ZstdCompressor(level).compress(array.tobytes()))


def network(layers: list[Layer], what: str) -> None:
    """Print what files of the network take, written as different trees."""
    for layer in layers:
        first, *others = (np.asarray(form(layer)) for form in FORMS.values())
        if not all(np.array_equal(first, other) for other in others):
            raise AssertionError("the trees differ")
    dense = 4 * sum(layer.cells + layer.biases.size for layer in layers)
    print(f"LeNet-300-100, {what}, {dense:,} bytes in float32; goal {FACTOR}x of weights\n")
    rows = []
    for name, form in FORMS.items():
        for plans, options in PLANS.items():
            values = {}
            for number, layer in enumerate(layers, 1):
                values[f"fc{number}.weight"] = form(layer)
                if layer.biases.size:
                    values[f"fc{number}.bias"] = layer.biases
            file = save(values, **options)
            taken = Counter[str]()
            for part in parts(file):
                taken["biases" if part.tensor.endswith("bias") else part.part] += part.stored
            rest = len(file) - taken.total()
            cells = [taken[k] for k in ("counts", "gaps", "indices", "table", "biases")]
            rows.append((
                name, plans, f"{len(file):,}", f"{dense / len(file):.2f}x",
                *(f"{cell:,}" for cell in (*cells, rest)),
            ))  # fmt: skip
    rows.append(limit(layers, dense))
    head = ("weights", "plans", "file", "factor", "counts", "gaps", "indices", "table", "biases")
    print(table((*head, "rest"), rows))


def lenet() -> list[Layer]:
    """Return the layers."""
    rng = np.random.default_rng(0)
    chances = _shares()
    layers = []
    for (inputs, outputs), kept in LAYERS:
        cells = inputs * outputs
        places = np.sort(rng.permutation(cells)[: round(cells * kept)])
        indices = rng.choice(SHARED, places.size, p=chances).astype(np.uint8)
        shared = np.sort(rng.standard_normal(SHARED).astype(np.float32) / 10)
        biases = rng.standard_normal(outputs).astype(np.float32) / 20
        layers.append(Layer((inputs, outputs), places, indices, shared, biases))
    return layers


def _shares() -> np.ndarray:
    """Return how often each index occurs: a bell curve, and a few of all, of `INDEX_BITS`."""
    low, high = 1.0, float(SHARED)
    while high - low > 1e-9:
        width = (low + high) / 2
        bell = np.exp(-(((np.arange(SHARED) - (SHARED - 1) / 2) / width) ** 2) / 2)
        found = (1 - EVENLY) * bell / bell.sum() + EVENLY / SHARED
        low, high = (width, high) if bits_of(found) < INDEX_BITS else (low, width)
    return found


def limit(layers: list[Layer], dense: int) -> tuple[str, ...]:
    """Return the row of what positions and indices need at least, and nothing else."""
    masks = [(layer.cells, layer.places.size / layer.cells) for layer in layers]
    gaps = sum(cells * bits_of(np.array([p, 1 - p])) for cells, p in masks) / 8
    indices = sum(layer.places.size for layer in layers) * INDEX_BITS / 8
    whole = gaps + indices
    cells = ("–", f"{gaps:,.0f}", f"{indices:,.0f}", "–", "–", "–")
    return ("entropy", "", f"{whole:,.0f}", f"{dense / whole:.2f}x", *cells)


def in_rows(layer: Layer, row: int | None = None) -> nnpack.Csr:
    """Return the layer as rows of gaps, with indices of shared values."""
    row = row or layer.shape[1]
    line, column = np.divmod(layer.places, row)
    counts = np.bincount(line, minlength=layer.cells // row)
    gaps = np.diff(layer.places, prepend=-1) - 1
    first = np.diff(line, prepend=-1) > 0
    gaps[first] = column[first]
    values = nnpack.Codebook(layer.shared, layer.indices)
    small = [a.astype(np.min_scalar_type(a.max())) for a in (counts, gaps)]
    return nnpack.Csr(*small, values, layer.shape, row_length=row)


def in_one_row(layer: Layer) -> nnpack.Csr:
    """Return the layer with gaps over all its cells, which need no counts."""
    return in_rows(layer, layer.cells)


def all_indices(layer: Layer) -> nnpack.Codebook:
    """Return the layer as an index for every weight, 0 standing for zero."""
    indices = np.zeros(layer.cells, np.uint8)
    indices[layer.places] = layer.indices + 1
    return nnpack.Codebook(np.append(np.float32(0), layer.shared), indices.reshape(layer.shape))


def as_array(layer: Layer) -> np.ndarray:
    """Return the weights, which the profile may tell as something else."""
    return all_indices(layer).to_numpy()


FORMS: dict[str, Callable[[Layer], Any]] = {
    "array": as_array,
    "csr of codebook, rows": in_rows,
    "csr of codebook, one row of all": in_one_row,
    "codebook of all weights": all_indices,
}
PLANS: dict[str, dict[str, Any]] = {
    "balanced": {"profile": "balanced"},
    "small": {"profile": "small"},
    "smallest": {"planner": smallest},
}


if __name__ == "__main__":
    main()
