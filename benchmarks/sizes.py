"""What files take, part by part, and what they could take at best."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import nnpack
from nnpack.codecs.rans import Rans
from nnpack.codecs.zstd import WEIGHTS, Zstd
from nnpack.describe import describe
from nnpack.encode import encode
from nnpack.nodes.dense import Dense
from nnpack.payload import Payload
from nnpack.profiles import Plan, choose, raw_plan
from nnpack.transforms import TRANSFORMS

Planner = Callable[[Dense], Plan]
CELLS = TRANSFORMS[0]
BLOCK_LOG2 = 18
LANE_SYMBOLS_LOG2 = 14
"""Symbols a lane, base-2 logarithm, from which on 4 bytes a lane are less than a thousandth."""


class Part(NamedTuple):
    """One stored leaf of a file; `part` is empty where the tensor is an array."""

    tensor: str
    part: str
    dtype: str
    cells: int
    coding: str
    stored: int


class _Planned(nnpack.Writer):
    """A writer whose plan for each leaf comes from a function."""

    planner: Planner | None = None

    def plan(self, leaf: Dense) -> Plan:
        """Return what the function says."""
        return self.planner(leaf) if self.planner else super().plan(leaf)


def save(
    values: Mapping[str, Any], profile: str = "balanced", planner: Planner | None = None
) -> bytes:
    """Return the bytes of a file."""
    target = io.BytesIO()
    with _Planned(target, profile=profile) as writer:
        writer.planner = planner
        for name, value in values.items():
            writer.add(name, value)
    return target.getvalue()


def parts(file: bytes) -> list[Part]:
    """Return all leaves of a file."""
    with nnpack.open(file) as reader:
        tensors = describe(reader)["tensors"]
    return [part for tensor in tensors for part in _leaves(tensor["name"], "", tensor["tree"])]


def _leaves(tensor: str, name: str, tree: Mapping[str, Any]) -> Iterator[Part]:
    for role, part in tree.get("parts", {}).items():
        yield from _leaves(tensor, role, part)
    if "stored" in tree:
        coding = f"{tree['transform']}: {', '.join(tree['codecs'])}"
        cells = int(np.prod(tree["shape"]))
        yield Part(tensor, name, tree["dtype"], cells, coding, tree["stored"])


def bits_of(probabilities: np.ndarray) -> float:
    """Return the entropy of a distribution, in bits."""
    found = probabilities[probabilities > 0]
    return float(-(found * np.log2(found)).sum())


def order0(symbols: np.ndarray) -> float:
    """Return the entropy of all bytes together, in bytes, as often as each occurs."""
    return bits_of(np.bincount(symbols, minlength=256) / max(1, symbols.size)) * symbols.size / 8


def rans(leaf: Dense) -> Plan:
    """Return the plan that codes whole cells in fractions of a bit, with few lanes."""
    lanes = max(0, min(5, leaf.nbytes.bit_length() - 1 - LANE_SYMBOLS_LOG2))
    return Plan(CELLS, (Rans(lanes),), BLOCK_LOG2)


def smallest(leaf: Dense) -> Plan:
    """Return the smallest plan: raw, a profile's, or of bytes whole cells in Huffman or rans."""
    plans = [raw_plan(leaf.cell, leaf.size), choose("balanced", leaf), choose("small", leaf)]
    if leaf.cell.itemsize == 1:
        plans += [Plan(CELLS, (Zstd(WEIGHTS),), BLOCK_LOG2), rans(leaf)]
    return min(plans, key=lambda plan: _cost(leaf, plan))


def _cost(leaf: Dense, plan: Plan) -> int:
    """Return the bytes that a leaf takes, with what describes it."""
    with Payload(None) as payload:
        return len(encode(leaf, plan, payload).pack()) + payload.size
