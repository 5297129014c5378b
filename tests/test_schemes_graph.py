"""ONNX, Core ML and sparse weights as trees, bit for bit: SPEC.md's appendix on schemes in use."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

import nnpack
from tests.schemes import Array, Value, check, fields, load, signed, unsigned

HALF = np.dtype(np.float16)
FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize(
    ("name", "shape", "block"),
    [
        ("int4", (6, 70), (1, 32)),
        ("uint4", (70, 6), (32, 1)),
        ("int8", (6, 70), (1, 0)),
        ("uint8", (6, 70), (0, 0)),
        ("int16", (6, 70), (1, 32)),
        ("int32", (6, 70), (1, 0)),
        ("float8_e4m3fn", (6, 70), (1, 32)),
        ("float8_e5m2", (6, 70), (1, 32)),
    ],
)
def test_onnx(name: str, shape: tuple[int, int], block: tuple[int, int]) -> None:
    """DequantizeLinear is (x - zero) * scale in the scale's type, the last block short.

    An axis and a block size become a block of 1 elsewhere; per axis, whole axes elsewhere.
    """
    f = load("onnx")
    scale = f[f"{name}_scale"]
    scale = scale.view(f"f{scale.itemsize}")
    grid = tuple(-(-dim // size) if size else 1 for dim, size in zip(shape, block, strict=True))
    zero = f.get(f"{name}_zero")
    value = nnpack.Quantized(
        tensor_proto(f[f"{name}_raw"], name, shape),
        scale.reshape(grid),
        zero=None if zero is None else tensor_proto(zero, name, grid),
        block=block,
        dtype=scale.dtype.name,
    )
    check(value, f[f"{name}_want"], scale.dtype.name)


def tensor_proto(raw: Array, name: str, shape: tuple[int, ...]) -> Value:
    """A TensorProto's raw data: 4-bit integers two in a byte, the low nibble first."""
    if name.endswith("int4"):
        codes = fields(raw, 4, int(np.prod(shape))).reshape(shape)
        return unsigned(codes, 4) if name == "uint4" else signed(codes, 4)
    return raw.view(getattr(ml_dtypes, name, name)).reshape(shape)


@pytest.mark.parametrize(
    ("name", "bits", "axis"),
    [("scalar", 4, None), ("vector", 6, 0), ("wide", 2, 1), ("quantized", 4, None)],
)
def test_coreml(name: str, bits: int, axis: int | None) -> None:
    """Grouped palettes with per-channel scales are quantized(codebook), both float16.

    Core ML's groups follow from the LUT's shape and count indices, nnpack's blocks count elements;
    a LUT that is itself int8 with scales is a table that is quantized.
    """
    f = load("coreml")
    lut, shape = f[f"{name}_lut"], f[f"{name}_shape"].copy()
    indices = unsigned(fields(f[f"{name}_raw"], bits, int(np.prod(shape))).reshape(shape), bits)
    if axis is None:
        lut = lut[..., 0]
    else:
        shape[axis] *= lut.shape[-1]
    block = tuple(
        0 if groups == 1 else int(dim) // groups
        for dim, groups in zip(shape, lut.shape[:2], strict=True)
    )
    if name == "quantized":
        scale = f["quantized_lut_scale"].view(HALF)[..., 0]
        table = nnpack.Quantized(lut.view(np.int8), scale, block=(1, 0, 0), dtype="float16")
    else:
        table = lut.view(HALF)
    codes = nnpack.Codebook(table, indices, block=block, vector_axis=axis)
    scale = f[f"{name}_scale"].view(HALF)
    value = nnpack.Quantized(codes, scale, block=(1, 0), dtype="float16")
    check(value, f[f"{name}_want"], "float16")


def test_coreml_sparse() -> None:
    """Joint sparsity and blockwise scales are csr(quantized), a scale and a zero for each element.

    Those are codebooks of the dense grid's, indexed by the group in which an element lies. Where
    nothing is stored Core ML has +0; quantized(csr) would scale the fill, which may give -0 or NaN.
    """
    f = load("coreml_sparse")
    shape = f["want"].shape
    mask = fields(f["mask"], 1).reshape(shape).astype(bool)
    row, column = np.nonzero(mask)
    group = (row * 4 + column // 16).astype(np.uint8)
    scale, zero = (
        nnpack.Codebook(f[part].view(dtype).reshape(1, -1), group)
        for part, dtype in (("scale", HALF), ("offset", np.dtype(np.int8)))
    )
    codes = f["raw"].view(np.int8)
    values = nnpack.Quantized(codes, scale, zero=zero, block=(1,), dtype="float16")
    counts = mask.sum(axis=1, dtype=np.uint8)
    before = np.concatenate(([-1], column[:-1]))
    before[np.r_[True, row[1:] != row[:-1]]] = -1
    gaps = (column - before - 1).astype(np.uint8)
    check(nnpack.Csr(counts, gaps, values, shape), f["want"], "float16")


def test_semi_structured() -> None:
    """2:4 is csr with rows of four: two stored in each, a constant; gaps of 2 bits."""
    f = load("semi_structured")
    first, second = np.moveaxis(fields(column_order(f["meta"]), 2).reshape(-1, 2), 1, 0)
    gaps = np.stack((first, second - first - 1), axis=-1).ravel()
    counts = nnpack.Constant(2, (len(first),), "uint8")
    values = f["values"].view(HALF).ravel()
    value = nnpack.Csr(counts, unsigned(gaps, 2), values, f["want"].shape, row_length=4)
    check(value, f["want"], "float16")


def column_order(meta: Array) -> Array:
    """Undo the tensor cores' order of 16-bit metadata: CUTLASS's reorder_meta, interleaved by 2."""
    height, width = meta.shape
    row, column = np.ogrid[:height, :width]
    row = row // 32 * 32 + row % 8 * 4 + row % 32 // 8
    # Each block of 2 by 2 is transposed.
    row, column = row // 2 * 2 + column % 2, column // 2 * 2 + row % 2
    return meta.ravel()[column // 2 * height * 2 + row * 2 + column % 2]


def test_csr() -> None:
    """CSR is csr with rows of the matrix's columns; stored -0.0 and NaNs keep their bits."""
    f = load("csr")
    data, shape = f["data"].view(FLOAT), f["want"].shape
    arrays = nnpack.Csr.from_arrays(f["indptr"], f["indices"], data, shape)
    check(arrays, f["want"])
    matrix = sparse.csr_matrix((data, f["indices"], f["indptr"]), shape)
    check(nnpack.Csr.from_scipy(matrix), f["want"])
    check(nnpack.Csr.from_numpy(f["want"].view(FLOAT)), f["want"])


def test_deep_compression() -> None:
    """Deep Compression is csr over the flattened layer, one row, whose values are a codebook.

    Its distances are the gaps; its fillers stay stored entries of the shared weight 0.0.
    """
    f = load("deep_compression")
    shape = f["want"].shape
    value = nnpack.Csr(
        np.array([len(f["index"])], np.uint32),
        unsigned(f["distance"], 4),
        nnpack.Codebook(f["table"].reshape(1, -1), unsigned(f["index"], 5)),
        shape,
        row_length=int(np.prod(shape)),
    )
    check(value, f["want"])
