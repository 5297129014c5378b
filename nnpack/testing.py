"""Hypothesis strategies for nnpack's values, files and layouts, for tests of code that uses it.

Needs the extra `testing`. Cells are drawn as bits, so that every NaN payload, −0 and subnormal
comes up.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnpack.abc import Node
from nnpack.codecs import CODECS
from nnpack.dtypes import BY_NAME, DTYPES, Array, DType, count, from_cells, to_cells
from nnpack.nodes.codebook import Codebook
from nnpack.nodes.concat import Concat
from nnpack.nodes.constant import Constant
from nnpack.nodes.csr import Csr
from nnpack.nodes.dense import Dense
from nnpack.nodes.opaque import Opaque
from nnpack.nodes.quantized import NAN_BITS, RESULTS, STEPS, Quantized
from nnpack.profiles import Plan
from nnpack.streamhead import RAW
from nnpack.transforms import TRANSFORMS
from nnpack.writer import Writer

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError(
        'nnpack.testing needs hypothesis: pip install "nnpack-format[testing]"'
    ) from missing

NAMES = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs"],
        exclude_characters="\u061c\u200e\u200f"
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    ),
    min_size=1,
    max_size=24,
)
"""Names that a section may have."""


def same_bits(a: Array, b: Array) -> bool:
    """Return whether two arrays agree in shape, type and every bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def dtypes() -> st.SearchStrategy[DType]:
    """All element types."""
    return st.sampled_from(DTYPES)


def shapes(max_elements: int = 200) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of rank 0 to 32, with dimensions of 0 and 1, of few elements."""
    few = st.lists(st.integers(0, 12), max_size=4)
    many = st.lists(st.sampled_from((1, 1, 1, 2)), max_size=32)
    return st.one_of(few, many).map(tuple).filter(lambda shape: count(shape) <= max_elements)


@st.composite
def arrays(draw: st.DrawFn, dtype: DType, shape: Sequence[int]) -> Array:
    """Arrays of any bits, in the memory type of `dtype`."""
    size = count(shape)
    raw = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
    out = np.empty(size, dtype.numpy)
    if dtype.packed:
        cells = np.frombuffer(raw, np.uint8) & ((1 << dtype.bits) - 1)
        from_cells(cells, dtype, out)
    else:
        out.view(np.uint8)[:] = np.frombuffer(raw, np.uint8)
    return out.reshape(shape)


@st.composite
def storing(draw: st.DrawFn, array: Array, dtype: DType, depth: int = 3) -> Node:
    """Trees of any kinds that stand for an array, bit for bit."""
    kinds = ["dense"]
    if depth:
        kinds += ["csr", "codebook"] if array.ndim < 31 else ["csr"]
        kinds += ["concat"] if array.ndim else []
        if array.size and len(_distinct(array, dtype)[0]) == 1:
            kinds.append("constant")
    match draw(st.sampled_from(kinds)):
        case "constant":
            return Constant(array.reshape(-1)[:1], array.shape, dtype.name)
        case "csr":
            return draw(_csr(array, dtype, depth - 1))
        case "codebook":
            return draw(_codebook(array, dtype, depth - 1))
        case "concat":
            axis = draw(st.integers(0, array.ndim - 1))
            cut = draw(st.integers(0, array.shape[axis]))
            halves = map(np.ascontiguousarray, np.split(array, [cut], axis))
            return Concat([draw(storing(half, dtype, depth - 1)) for half in halves], axis)
        case _:
            return Dense(array, dtype.name)


def _distinct(array: Array, dtype: DType) -> tuple[Array, Array]:
    """Return one element of each bit pattern, and which one each element is."""
    size = dtype.itemsize
    rows = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, size)
    unique, index = np.unique(rows, axis=0, return_inverse=True)
    return unique.reshape(-1).view(dtype.numpy), index.reshape(array.shape)


@st.composite
def _csr(draw: st.DrawFn, array: Array, dtype: DType, depth: int) -> Node:
    row_length = draw(st.integers(1, max(array.size, 1))) if array.ndim else 1
    fill = draw(arrays(dtype, (1,)))
    if array.size and draw(st.booleans()):
        fill = array.reshape(-1)[:1]
    flat = array.reshape(-1).view(np.uint8).reshape(array.size, dtype.itemsize)
    stored = (flat != fill.view(np.uint8)).any(axis=1)
    stored |= np.array(
        draw(st.lists(st.booleans(), min_size=array.size, max_size=array.size)), bool
    ).reshape(array.size)
    places = np.flatnonzero(stored)
    rows, columns = np.divmod(places, row_length)
    counts = np.bincount(rows, minlength=-(-array.size // row_length))
    gaps = columns.copy()
    gaps[1:] -= np.where(rows[1:] == rows[:-1], columns[:-1] + 1, 0)
    top = max(int(numbers.max(initial=0)) for numbers in (counts, gaps))
    width = draw(st.sampled_from(("uint8", "uint16", "uint32")[top >> 8 > 0 :]))
    values = draw(storing(array.reshape(-1)[places], dtype, depth))
    return Csr(counts.astype(width), gaps.astype(width), values, array.shape, fill, row_length)


@st.composite
def _codebook(draw: st.DrawFn, array: Array, dtype: DType, depth: int) -> Node:
    table, index = _distinct(array, dtype)
    spare = draw(arrays(dtype, (draw(st.integers(0 if table.size else 1, 3)),)))
    table = np.concatenate([table.view(dtype.uint), spare.view(dtype.uint)]).view(dtype.numpy)
    entries = len(table) * dtype.uint.itemsize // table.itemsize
    table = table.view(dtype.numpy)[:entries] if dtype.bits < 128 else table
    fitting = [
        name
        for name in ("uint1", "uint3", "uint4", "uint7", "uint8", "uint16", "uint32")
        if len(table) <= 1 << BY_NAME[name].bits
    ]
    name = BY_NAME[draw(st.sampled_from(fitting))]
    block = _blocks(draw, array.shape)
    grid = [-(-dim // size) if size else 1 for dim, size in zip(array.shape, block, strict=True)]
    tables = np.empty((count(grid), len(table)), dtype.numpy)
    tables.view(np.uint8)[:] = table.view(np.uint8)
    codes = np.empty(array.size, name.numpy)
    codes.view(name.uint)[:] = index.reshape(-1)
    return Codebook(
        draw(storing(tables.reshape(*grid, len(table)), dtype, depth)),
        draw(storing(codes.reshape(array.shape), name, depth)),
        block=block,
    )


def _blocks(draw: st.DrawFn, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(draw(st.integers(0, max(dim - 1, 0))) for dim in shape)


OPERANDS = tuple(dtype for dtype in DTYPES if dtype.is_operand)


@st.composite
def quantized(draw: st.DrawFn, shape: Sequence[int] | None = None, depth: int = 2) -> Quantized:
    """Quantized values of every form: grids, flat blocks, group_index, steps, divisions."""
    shape = tuple(draw(shapes()) if shape is None else shape)

    def part(of: Sequence[int]) -> Node:
        dtype = draw(st.sampled_from(OPERANDS))
        if depth > 1 and dtype.name in RESULTS and draw(st.booleans()):
            return draw(quantized(of, depth - 1))
        return draw(storing(draw(arrays(dtype, of)), dtype, depth))

    options: dict[str, Any] = {
        "divide": draw(st.booleans()),
        "dtype": draw(st.sampled_from(RESULTS)),
    }
    options["step"] = draw(st.sampled_from((None, *STEPS)))
    block: tuple[int, ...]
    grid: tuple[int, ...]
    if draw(st.integers(0, 3)) == 0:
        block = (draw(st.integers(1, 40)),)
        grid = (-(-count(shape) // block[0]),)
        options["flat"] = True
    else:
        block = _blocks(draw, shape)
        grid = tuple(-(-dim // size) if size else 1 for dim, size in zip(shape, block, strict=True))
        indexed: bool = draw(st.booleans())
        if shape and indexed:
            axis = draw(st.integers(0, len(shape) - 1))
            wide = st.integers(0, grid[axis] - 1)
            index = draw(st.lists(wide, min_size=shape[axis], max_size=shape[axis]))
            options |= {"group_index": np.array(index, np.uint32), "group_axis": axis}
    offset = draw(st.sampled_from((None, "zero", "bias", "min")))
    if offset:
        options[offset] = part(grid)
    return Quantized(part(shape), part(grid), block=block, **options)


@st.composite
def vectors(draw: st.DrawFn) -> Codebook:
    """Codebooks whose entries are vectors."""
    dtype = draw(dtypes())
    indices = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(indices) - 1))
    length = draw(st.integers(2, 5))
    block = [0] * len(indices)
    if indices[axis] > 1:
        block[axis] = length * draw(st.integers(0, indices[axis] - 1))
    grid = [
        -(-dim * (length if i == axis else 1) // size) if size else 1
        for i, (dim, size) in enumerate(zip(indices, block, strict=True))
    ]
    entries = draw(st.integers(1, 4))
    codes = draw(arrays(BY_NAME["uint8"], indices)) % entries
    table = draw(arrays(dtype, (*grid, entries, length)))
    return Codebook(Dense(table, dtype.name), codes, block=block, vector_axis=axis)


@st.composite
def values(draw: st.DrawFn) -> Node:
    """Values of any kind that can be decoded."""
    match draw(st.integers(0, 3)):
        case 0:
            return draw(quantized())
        case 1:
            return draw(vectors())
        case _:
            dtype = draw(dtypes())
            return draw(storing(draw(arrays(dtype, draw(shapes()))), dtype))


@st.composite
def opaques(draw: st.DrawFn) -> Opaque:
    """Foreign blocks."""
    dtype = draw(dtypes())
    return Opaque(
        draw(st.binary(max_size=40)),
        "org.example.blocks",
        draw(shapes()),
        dtype.name,
        draw(st.binary(max_size=20)),
    )


def models() -> st.SearchStrategy[dict[str, Node]]:
    """A few named values."""
    return st.dictionaries(NAMES, values(), max_size=4)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=3
        )
    ),
    max_leaves=8,
)
"""Values that strict JSON can hold."""
METADATA = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6), JSON, max_size=3
)


class PlannedWriter(Writer):
    """A writer whose layout of each leaf comes from a function."""

    def __init__(self, target: Any, planner: Callable[[Dense], Plan], **options: Any) -> None:
        """Write to `target`, with the options of `Writer`."""
        self._planner = planner
        super().__init__(target, **options)

    def simplify(self, node: Node) -> Node:
        """Return the value as it is."""
        return node

    def plan(self, leaf: Dense) -> Plan:
        """Return what the function says."""
        return self._planner(leaf)


@st.composite
def layouts(draw: st.DrawFn) -> Callable[[Dense], Plan]:
    """Ways to store leaves: every transform, codec and block size that they can have."""
    order = draw(st.permutations([*TRANSFORMS]))
    there = [key for key, codec in CODECS.items() if getattr(codec, "is_installed", True)]
    picks = draw(st.lists(st.sampled_from(there), min_size=8, max_size=8))
    log2 = draw(st.integers(10, 19))
    room = draw(st.sampled_from([0, 1, 20, 255]))

    def plan(leaf: Dense) -> Plan:
        transform = next(t for t in map(TRANSFORMS.__getitem__, order) if t.accepts(leaf.cell))
        planes = len(transform.plane_lengths(1, leaf.cell))
        codecs = [CODECS[pick] for pick in picks[:planes]]
        if transform.forms > 1:
            codecs[0] = CODECS[RAW]
        return Plan(transform, tuple(codecs), log2, min(room, transform.max_parameter(leaf.cell)))

    return plan


def file_of(
    model: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    planner: Callable[[Dense], Plan] | None = None,
    **options: Any,
) -> bytes:
    """Return the file that holds a model."""
    target = io.BytesIO()
    writer = PlannedWriter(target, planner, **options) if planner else Writer(target, **options)
    with writer:
        for name, value in model.items():
            writer.add(name, value)
        if metadata is not None:
            writer.set_metadata(metadata)
    return target.getvalue()


__all__ = [
    "JSON", "METADATA", "NAMES", "NAN_BITS", "PlannedWriter", "arrays", "dtypes", "file_of",
    "layouts", "models", "opaques", "quantized", "same_bits", "shapes", "storing", "to_cells",
    "values", "vectors",
]  # fmt: skip
