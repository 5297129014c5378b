"""What can be made into a value and what cannot, with the reason that the caller is told."""

import re
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

import nnpack
from nnpack import dtypes, grid, testing
from nnpack.abc import PIECE
from nnpack.dtypes import BY_NAME
from nnpack.errors import Invalid
from nnpack.nodes import KINDS
from nnpack.wire import Cursor

Codebook, Concat, Constant, Csr = nnpack.Codebook, nnpack.Concat, nnpack.Constant, nnpack.Csr
Dense, Opaque, Quantized = nnpack.Dense, nnpack.Opaque, nnpack.Quantized
FormatError = nnpack.FormatError


class Lazy:
    """An array that can only be sliced, and says how much was asked for at once."""

    def __init__(self, array, dtype=None, give=None):
        self.shape, self.dtype = array.shape, dtype or array.dtype
        self._array, self._give = array, give
        self.most = 0

    def __getitem__(self, key):
        piece = self._array[key]
        self.most = max(self.most, piece.size)
        return piece if self._give is None else self._give(piece)


def u8(*numbers):
    return np.array(numbers, np.uint8)


def ones(*shape):
    return np.ones(shape, np.float32)


def codes(*shape):
    return np.zeros(shape, np.int8)


def rebuilt(kind, shape, dtype, parameters, **parts):
    """Build a value as a reader does, from the parts of a node head."""
    roles = {name: role for role, name in KINDS[kind].roles.items()}
    named = {
        roles[name.replace("_", " ") if kind == 6 else name]: part for name, part in parts.items()
    }
    KINDS[kind].from_parts(shape, BY_NAME[dtype], Cursor(parameters, 0), named)


def u64(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


BYTES, WORDS = Dense(u8(0, 1)), Dense(ones(2))
RANK33 = [1] * 33
HUGE = (1 << 31, 1 << 31)

# what: (call, exception, message)
ERRORS = {
    # dtypes.py
    "name": (lambda: dtypes.named("uint9"), ValueError, r"no dtype is called 'uint9': uint\d+, uint\d+, uint\d+ are close, the README lists all$"),
    "numpy object": (lambda: Dense([None]), TypeError, r"arrays of object cannot be stored"),
    "numpy text": (lambda: Dense("x"), TypeError, r"arrays of <U1 cannot"),
    "numpy record": (lambda: Dense(np.zeros(1, "u1,u1")), TypeError, r"cannot be stored"),
    "numpy time": (lambda: Dense(np.zeros(1, "M8[s]")), TypeError, r"cannot be stored"),
    "numpy long double": (lambda: Dense(np.zeros(1, np.longdouble)), TypeError, r"cannot be stored"),
    "size": (lambda: Constant(u8(0), HUGE), Invalid, r"passes 2\^62 bytes"),
    "size behind zero": (lambda: Constant(u8(0), (0, *HUGE)), Invalid, r"passes 2\^62"),
    "size of unknown dtype": (lambda: dtypes.check_shape(HUGE, None), Invalid, r"passes 2\^62"),
    "cell above": (lambda: Dense(u8(8), "uint3"), Invalid, r"a byte has bits beyond the width of uint3"),
    "cell below": (lambda: Dense(np.int8([-5]), "int3"), Invalid, r"out of the range of int3"),
    "cell bits": (lambda: Dense(u8(16), "uint4"), Invalid, r"a byte has bits beyond the width of uint4"),
    "bool bits": (lambda: Dense(u8(2).view(bool)), Invalid, r"a cell of bool has bits"),
    "float bits": (lambda: Dense(u8(64), "float6_e2m3fn"), Invalid, r"bits beyond the width of float6_e2m3fn"),
    "spare bits": (lambda: dtypes.unpack(u8(2), 1, 1), FormatError, r"unused bits behind the last cell"),
    # grid.py
    "blocks": (lambda: grid.grid_shape((2, 3), (1,)), Invalid, r"1 block sizes for 2 axes"),
    "block": (lambda: grid.grid_shape((2,), (2,)), Invalid, r"a block of 2 along an axis of 2: 0 means"),
    "negative block": (lambda: grid.grid_shape((2,), (-1,)), Invalid, r"a block of -1"),
    "inference": (lambda: grid.infer_block((6,), (4,), "scale"), ValueError, r"grid of shape \(4,\) does not divide.*\(6,\): pass block=, the elements .* share a scale"),
    # abc.py
    "no copy": (lambda: np.array(Constant(u8(1), (2,)), copy=False), ValueError, r"a Constant cannot be had .* without a copy"),
    "frozen": (lambda: setattr(BYTES, "shape", ()), AttributeError, r"Dense is frozen: make a new one to change shape"),
    # cell.py
    "two cells": (lambda: Constant(u8(1, 2), (2,)), Invalid, r"one element is needed, not 2"),
    "inexact": (lambda: Constant(0.1, (2,), "float16"), Invalid, r"0\.1 is not exactly one float16"),
    "too large": (lambda: Constant(256, (2,), "uint8"), Invalid, r"256 is not exactly one uint8"),
    "too narrow": (lambda: Constant(9, (2,), "uint3"), Invalid, r"out of the range of uint3"),
    "inexact extension type": (lambda: Constant(ml_dtypes.bfloat16(1.0078125), (2,), "float8_e4m3fn"), Invalid, r"is not exactly one float8"),
    # dense.py
    "rank": (lambda: Dense(Lazy(_Rank33())), Invalid, r"no tensor has the shape .*; rank is 0 to 32"),
    "dense head": (lambda: rebuilt(1, (2,), "uint8", b""), TypeError, r"made from its stream"),
    "torch": (lambda: Dense(Lazy(u8(1), dtype=object)), TypeError, r"arrays of object cannot be stored"),
    "no dtype": (lambda: Dense(Lazy(u8(1), dtype=_Odd())), TypeError, r"arrays of odd cannot be stored; torch tensors: see nnpack\.torch"),
    "other memory": (lambda: Dense(ones(2), "uint8"), TypeError, r"uint8 is uint8 in memory, not float32"),
    "not narrow": (lambda: Dense(np.int16([1]), "uint3"), TypeError, r"uint3 is uint8 in memory, not int16"),
    "signed bytes above": (lambda: Dense(np.int8([8]), "int4"), Invalid, r"a cell is out of the range of int4"),
    "signed bytes below": (lambda: Dense(np.int8([-3]), "int2"), Invalid, r"out of the range of int2"),
    "signed bytes of floats": (lambda: Dense(np.int8([1]), "float4_e2m1fn"), Invalid, r"out of the range of float4"),
    "lazy gives another type": (lambda: Dense(Lazy(ones(3), dtype=np.dtype("u1"))).to_numpy(), TypeError, r"a slice of a lazy array is float32, not uint8"),
    "lazy gives another order": (lambda: Dense(Lazy(np.zeros(3, ">f4"), dtype=np.dtype("f4"))).to_numpy(), TypeError, r"is >f4, not float32"),
    "lazy cells": (lambda: testing.file_of({"w": Dense(Lazy(u8(9)), "uint3")}), Invalid, r"out of the range of uint3"),
    "lazy gives one cell for many": (lambda: nnpack.save({"w": Lazy(u8(1, 2, 3), give=lambda x: x[:1])}), Invalid, r"'w': a slice of a lazy array has 1 elements, 3 are needed"),
    "lazy of a negative shape": (lambda: Dense(Lazy(type("A", (), {"shape": (-1,), "dtype": np.dtype("u1")})())), Invalid, r"no tensor has the shape \(-1,\)"),
    "high bits of a byte": (lambda: Dense(u8(0x1F), "int4"), Invalid, r"a byte has bits beyond the width of int4"),
    # constant.py
    "overflow": (lambda: Constant(1e6, (1,), "float16"), Invalid, r"1000000\.0 is not exactly one float16"),
    "NaN as an integer": (lambda: Constant(float("nan"), (1,), "int8"), Invalid, r"nan is not exactly one int8"),
    "imaginary": (lambda: Constant(1j, (1,), "float32"), Invalid, r"1j is not exactly one float32"),
    "beyond any integer": (lambda: Constant(2**70, (1,), "uint64"), Invalid, r"is not exactly one uint64"),
    "constant shape": (lambda: Constant(u8(1), (-1,)), Invalid, r"no tensor has the shape \(-1,\)"),
    "constant rank": (lambda: Constant(u8(1), RANK33), Invalid, r"no tensor has the shape"),
    "constant dtype": (lambda: Constant("x", (1,)), TypeError, r"cannot be stored"),
    # csr.py
    "csr shape": (lambda: Csr(u8(), u8(), u8(), (-1,)), Invalid, r"no tensor has the shape"),
    "csr rank": (lambda: Csr(u8(0), u8(), u8(), RANK33), Invalid, r"no tensor has the shape"),
    "csr size": (lambda: Csr(u8(), u8(), u8(), HUGE, row_length=1 << 61), Invalid, r"passes 2\^62"),
    "row length": (lambda: Csr(u8(0), u8(), u8(), (2,), row_length=0), Invalid, r"a row length of 0"),
    "row length of a scalar": (lambda: Csr(u8(0), u8(), u8(), (), row_length=2), Invalid, r"a row length of 2"),
    "counts dtype": (lambda: Csr(codes(1), u8(), u8(), (2,)), Invalid, r"counts must be unsigned integers, uint1 to uint32, not int8: use \.astype\('uint32'\)"),
    "gaps dtype": (lambda: Csr(u8(0), np.zeros(0, np.uint64), u8(), (2,)), Invalid, r"gaps must be unsigned .* not uint64"),
    "counts kind": (lambda: Csr(Codebook(u8(0), u8(0)), u8(), u8(), (2,)), Invalid, r"counts of kind codebook: dense or constant"),
    "gaps kind": (lambda: Csr(u8(1), Concat([u8(0)], 0), u8(1), (2,)), Invalid, r"gaps of kind concat"),
    "rows": (lambda: Csr(u8(0, 0), u8(), u8(), (2,)), Invalid, r"counts of shape \(2,\) for 1 rows"),
    "gaps rank": (lambda: Csr(u8(0), np.zeros((0, 1), np.uint8), u8(), (2,)), Invalid, r"gaps \(0, 1\) and values \(0,\)"),
    "values": (lambda: Csr(u8(1), u8(0), u8(1, 2), (2,)), Invalid, r"gaps \(1,\) and values \(2,\)"),
    "values rank": (lambda: Csr(u8(1), u8(0), u8(1).reshape(1, 1), (2,)), Invalid, r"values \(1, 1\)"),
    "nnz": (lambda: Csr(u8(3), u8(0, 0, 0), u8(1, 2, 3), (2,)), Invalid, r"gaps \(3,\)"),
    "count beyond row": (lambda: Csr(u8(3, 0), u8(0, 0, 0), u8(1, 2, 3), (2, 2)), Invalid, r"a column is beyond its row's end"),
    "count beyond values": (lambda: Csr(u8(1, 1), u8(0), u8(1), (2, 2)), Invalid, r"counts sum to 2, 1 values are stored"),
    "column beyond row": (lambda: Csr(u8(1, 0), u8(2), u8(1), (2, 2)), Invalid, r"a column is beyond its row's end"),
    "column beyond short row": (lambda: Csr(u8(0, 1), u8(1), u8(1), (3,), 0, 2), Invalid, r"a column is beyond"),
    "values left": (lambda: Csr(u8(1, 0), u8(0, 0), u8(1, 2), (2, 2)), Invalid, r"counts sum to 1, 2 values are stored"),
    "rows before": (lambda: Csr(Dense(Lazy(u8(2, 0))), u8(0), u8(1), (2, 2)).window(2, 4)(2, 4, np.empty(2, np.uint8)), Invalid, r"counts sum to 2, 1 values are stored"),
    "rows read": (lambda: Csr(Dense(Lazy(u8(2, 0))), u8(0), u8(1), (2, 2)).to_numpy(), Invalid, r"counts sum to 2, 1 values are stored"),
    "wide gap": (lambda: Csr.from_arrays([0, 1], [1 << 32], [1.0], (1, 1 << 33)), ValueError, r"a gap of 4294967296 does not fit 32 bits: pass a smaller row_length"),
    "indptr length": (lambda: Csr.from_arrays([0, 1], [0], [1], (2, 2)), ValueError, r"indptr does not ascend from 0 over 2 rows"),
    "indptr start": (lambda: Csr.from_arrays([1, 1], [0], [1], (1, 2)), ValueError, r"indptr does not ascend"),
    "indptr descends": (lambda: Csr.from_arrays([0, 2, 1], [0], [1], (2, 2)), ValueError, r"indptr does not ascend"),
    "indptr end": (lambda: Csr.from_arrays([0, 2], [0], [1], (1, 2)), ValueError, r"1 indices and 1 data, indptr ends at 2"),
    "indices": (lambda: Csr.from_arrays([0, 1], [0], [1, 2], (1, 2)), ValueError, r"1 indices and 2 data"),
    "column": (lambda: Csr.from_arrays([0, 1], [2], [1], (1, 2)), ValueError, r"out of range \[0, 2\)"),
    "negative column": (lambda: Csr.from_arrays([0, 1], [-1], [1], (1, 2)), ValueError, r"out of range"),
    "duplicate": (lambda: Csr.from_arrays([0, 3], [1, 0, 1], [1, 2, 3], (1, 2)), ValueError, r"stored twice: sum the duplicates"),
    "scipy rank": (lambda: Csr.from_numpy(ones(3)).to_scipy(), ValueError, r"a csr of shape \(3,\) in rows of 3 is no matrix"),
    "scipy rows": (lambda: Csr.from_numpy(ones(2, 4), row_length=8).to_scipy(), ValueError, r"in rows of 8 is no matrix in its own rows"),
    "scipy fill": (lambda: Csr.from_numpy(ones(2, 2), fill=np.float32(-0.0)).to_scipy(), ValueError, r"scipy leaves out zeros, this value -0\.0"),
    "csr head": (lambda: rebuilt(3, (2,), "float32", u64(2, 0), counts=Dense(u8(0)), gaps=Dense(u8()), values=Dense(u8())), Invalid, r"values of uint8 in a csr of float32"),
    "fill spare bits": (lambda: rebuilt(3, (2,), "uint3", u64(2, 8), counts=Dense(u8(0)), gaps=Dense(u8()), values=Dense(u8(), "uint3")), FormatError, r"bad-value: unused bits"),
    "fill padding": (lambda: rebuilt(3, (2,), "uint8", u64(2, 256), counts=Dense(u8(0)), gaps=Dense(u8()), values=Dense(u8())), FormatError, r"bad-layout: padding after a cell"),
    "row length field": (lambda: rebuilt(3, (2,), "uint8", u64(1 << 62, 0)), FormatError, r"bad-value: the row length is not below 2\^62"),
    "row length beyond": (lambda: Csr(u8(1), u8(0), u8(1), (2, 2), row_length=1 << 62), Invalid, r"row length"),
    "row length of no array": (lambda: Csr.from_numpy(ones(2, 2), row_length=0), Invalid, r"row length"),
    # codebook.py
    "codebook size": (lambda: Codebook(ones(1, 65536), Constant(0, (1 << 50,), "uint8"), vector_axis=0), Invalid, r"passes 2\^62"),
    "indices dtype": (lambda: Codebook(ones(2), codes(2)), Invalid, r"indices must be unsigned integers, uint1 to uint32, not int8: shift them so that the least is 0, then use \.astype\('uint8'\)"),
    "indices width": (lambda: Codebook(ones(2), np.zeros(2, np.uint64)), Invalid, r"indices must be .* not uint64"),
    "codebook rank": (lambda: Codebook(Constant(u8(1), [1] * 32), Constant(0, [1] * 32, "uint8"), block=[0] * 32), Invalid, r"a table of shape .* for uint8"),
    "codebook vectors rank": (lambda: Codebook(Constant(u8(1), [1] * 32), Constant(0, [1] * 31, "uint8"), vector_axis=0, block=[0] * 31), Invalid, r"a vector length of 1"),
    "vector of one": (lambda: Codebook(ones(2, 1), u8(0), vector_axis=0), Invalid, r"a vector length of 1"),
    "vector of none": (lambda: Codebook(ones(2, 0), u8(0), vector_axis=0), Invalid, r"a vector length of 0"),
    "vector too long": (lambda: Codebook(u8(0).repeat(65537).reshape(1, -1), u8(0), vector_axis=0), Invalid, r"a vector length of 65537"),
    "vector of a scalar": (lambda: Codebook(np.float32(1), u8(0), vector_axis=0, block=(0,)), Invalid, r"a vector length of 0"),
    "vector axis": (lambda: Codebook(ones(2, 2), u8(0), vector_axis=1, block=(0,)), Invalid, r"vectors of 2 do not divide axis 1 of \(1,\)"),
    "negative vector axis": (lambda: Codebook(ones(2, 2), u8(0), vector_axis=-1), Invalid, r"do not divide axis -1"),
    "vector block": (lambda: Codebook(ones(2, 2, 2), u8(0, 0), vector_axis=0, block=(3,)), Invalid, r"vectors of 2 do not divide axis 0 of \(4,\)"),
    "table grid": (lambda: Codebook(ones(3, 2), u8(0, 0), block=(1,)), Invalid, r"a table of shape \(3, 2\) for a grid of \(2,\)"),
    "table tail": (lambda: Codebook(ones(1, 2, 2), u8(0, 0), block=(0,)), Invalid, r"a table of shape \(1, 2, 2\) for a grid of \(1,\)"),
    "table of a scalar": (lambda: Codebook(np.float32(1), u8(0)), ValueError, r"pass block="),
    "table without entries": (lambda: Codebook(np.zeros((1, 0), np.uint8), u8(), block=(0,)), Invalid, r"a table of shape \(1, 0\) for uint8"),
    "table without axis": (lambda: Codebook(np.float32(1), np.uint8(0)), Invalid, r"a table of shape \(\) for uint8"),
    "table beyond indices": (lambda: Codebook(ones(3), Dense(u8(1), "uint1")), Invalid, r"a table of shape \(1, 3\) for uint1"),
    "table inference": (lambda: Codebook(ones(4, 2), u8(0, 0, 0, 0, 0, 0)), ValueError, r"does not divide .* pass block="),
    "table kind": (lambda: Codebook(Constant(u8(1), (2,)), u8(0)), ValueError, r"a table that is not an array must have the shape \(1, 2\)"),
    "table lazy": (lambda: Codebook(Lazy(u8(1, 2)), u8(0)), ValueError, r"must have the shape \(1, 2\)"),
    "index": (lambda: Codebook(ones(2), u8(0, 2)), Invalid, r"an index of 2 into 2 entries"),
    "index read": (lambda: Codebook(ones(2), Dense(Lazy(u8(0, 2)))).to_numpy(), Invalid, r"an index of 2 into 2"),
    "codebook head axis": (lambda: rebuilt(4, (2,), "float32", struct.pack("<IIQ", 1, 1, 0), table=WORDS, indices=BYTES), Invalid, r"a vector axis without vectors"),
    "codebook head dtype": (lambda: rebuilt(4, (2,), "uint8", bytes([1]).ljust(16, b"\0"), table=WORDS, indices=BYTES), Invalid, r"a table of float32 in a uint8 codebook"),
    "codebook head indices": (lambda: rebuilt(4, (3,), "float32", bytes([1]).ljust(16, b"\0"), table=Dense(ones(1, 2)), indices=BYTES), Invalid, r"indices of shape \(2,\) for \(3,\)"),
    # quantized.py
    "flat without block": (lambda: Quantized(codes(2), ones(1), flat=True), ValueError, r"flat blocks and group_index need block="),
    "index without block": (lambda: Quantized(codes(2), ones(1), group_index=u8(0, 0), group_axis=0), ValueError, r"need block="),
    "result": (lambda: Quantized(codes(2), ones(), dtype="float64"), Invalid, r"results are float16, bfloat16, float32, not float64"),
    "result name": (lambda: Quantized(codes(2), ones(), dtype="half"), ValueError, r"no dtype is called 'half'"),
    "step": (lambda: Quantized(codes(2), ones(), step="float32"), Invalid, r"steps are float16, bfloat16, not float32"),
    "codes": (lambda: Quantized(np.zeros(2, np.int64), ones()), Invalid, r"codes must be bools, integers or floats of at most 32 bits, not int64: use \.astype\('int8'\)"),
    "complex codes": (lambda: Quantized(np.zeros(2, np.complex64), ones()), Invalid, r"codes must be .* not complex64"),
    "two offsets": (lambda: Quantized(codes(2), ones(), zero=u8(0).reshape(()), bias=ones()), Invalid, r"at most one of zero, bias, min, not \['zero', 'bias'\]"),
    "scale shape": (lambda: Quantized(codes(4), ones(3), block=(2,)), Invalid, r"scale of shape \(3,\) for a grid of \(2,\)"),
    "zero shape": (lambda: Quantized(codes(4), ones(2), zero=codes(3)), Invalid, r"zero of shape \(3,\) for a grid of \(2,\)"),
    "scale dtype": (lambda: Quantized(codes(2), np.float64(1)), Invalid, r"scale must be .* not float64: pass np\.float32\(\.\.\.\), or np\.asarray\(\.\.\., 'float32'\)"),
    "min dtype": (lambda: Quantized(codes(2), ones(), min=np.uint64(1)), Invalid, r"min must be .* not uint64"),
    "scale inference": (lambda: Quantized(codes(6), ones(4)), ValueError, r"does not divide a tensor of shape \(6,\)"),
    "scale rank": (lambda: Quantized(codes(2, 2), ones(3)), ValueError, r"does not divide a tensor of shape \(2, 2\)"),
    "no groups": (lambda: Quantized(codes(2), ones(0)), ValueError, r"does not divide"),
    "zero dtype": (lambda: Quantized(codes(2), ones(), zero=8), Invalid, r"zero must be .* not int64: pass np\.int8\(\.\.\.\)"),
    "zero a row": (lambda: Quantized(codes(4, 6), ones(4, 1), zero=codes(4)), ValueError, r"zero for \(4,\) of 2 axes \(4, 6\): pass zero\[:, None\] for one a position of axis 0$"),
    "bias of a grid": (lambda: Quantized(codes(4, 6), ones(4, 2), bias=ones(4)), Invalid, r"bias of shape \(4,\) for a grid of \(4, 2\)"),
    "table of vectors": (lambda: Codebook(ones(256, 8), u8(0).repeat(12).reshape(3, 4)), ValueError, r"^table: .* where its rows are vectors, pass vector_axis=$"),
    "dtype of no type": (lambda: Quantized(codes(2), ones(), dtype=[1]), TypeError, r"a dtype is a name such as 'float32', or numpy's type, not \[1\]"),
    "dtype unlike all": (lambda: dtypes.named("qqq"), ValueError, r"'qqq': the README lists all$"),
    "axis alone": (lambda: Quantized(codes(2), ones(), group_axis=0), Invalid, r"group_index and group_axis go together"),
    "index alone": (lambda: Quantized(codes(2), ones(1), block=(0,), group_index=u8(0, 0)), Invalid, r"go together"),
    "index axis": (lambda: Quantized(codes(2), ones(1), block=(0,), group_index=u8(0, 0), group_axis=1), Invalid, r"group_index along axis 1 of \(2,\)"),
    "index flat": (lambda: Quantized(codes(2), ones(1), block=2, flat=True, group_index=u8(0, 0), group_axis=0), Invalid, r"flat=True"),
    "index dtype": (lambda: Quantized(codes(2), ones(1), block=(0,), group_index=codes(2), group_axis=0), Invalid, r"group_index must be unsigned .* not int8"),
    "index shape": (lambda: Quantized(codes(2), ones(1), block=(0,), group_index=u8(0), group_axis=0), Invalid, r"group_index of shape \(1,\) for 2"),
    "index value": (lambda: Quantized(codes(2), ones(1), block=(0,), group_index=u8(0, 1), group_axis=0), Invalid, r"group 1 of 1"),
    "flat length": (lambda: Quantized(codes(2), ones(1), block=0, flat=True), Invalid, r"flat blocks have one length of at least 1, not \(0,\)"),
    "flat lengths": (lambda: Quantized(codes(2), ones(1), block=(1, 1), flat=True), Invalid, r"not \(1, 1\)"),
    "flat too long": (lambda: Quantized(codes(2), ones(1), block=1 << 62, flat=True), Invalid, r"flat blocks"),
    "block of one axis": (lambda: Quantized(codes(2, 2), ones(1), block=(1,)), Invalid, r"1 block sizes for 2 axes"),
    "quantized size": (lambda: Quantized(Constant(0, (1 << 60,), "int8"), ones()), Invalid, r"passes 2\^62"),
    "quantized flags": (lambda: rebuilt(5, (2,), "float32", u64(4, 0)), FormatError, r"reserved-nonzero"),
    "quantized reserved": (lambda: rebuilt(5, (2,), "float32", u64(1 << 24, 0)), FormatError, r"reserved-nonzero"),
    "quantized head axis": (lambda: rebuilt(5, (2,), "float32", u64(1 << 8, 0), codes=BYTES, scale=WORDS), Invalid, r"a group axis without group_index"),
    "quantized head step": (lambda: rebuilt(5, (2,), "float32", u64(0x3A << 16, 0), codes=BYTES, scale=WORDS), Invalid, r"steps are float16, bfloat16, not float32"),
    "quantized head unknown step": (lambda: rebuilt(5, (2,), "float32", u64(2 << 16, 0), codes=BYTES, scale=WORDS), Invalid, r"steps are float16, bfloat16, not 0x2"),
    "quantized head codes": (lambda: rebuilt(5, (3,), "float32", u64(0, 0), codes=BYTES, scale=WORDS), Invalid, r"codes of shape \(2,\) in a node of \(3,\)"),
    # concat.py
    "no parts": (lambda: Concat([], 0), Invalid, r"0 parts, not 1 to 63"),
    "64 parts": (lambda: Concat([u8(1)] * 64, 0), Invalid, r"64 parts"),
    "concat axis": (lambda: Concat([u8(1)], 1), Invalid, r"axis 1 of rank 1"),
    "concat negative axis": (lambda: Concat([u8(1)], -1), Invalid, r"axis -1 of rank 1"),
    "concat scalars": (lambda: Concat([np.uint8(1)], 0), Invalid, r"axis 0 of rank 0"),
    "concat dtypes": (lambda: Concat([u8(1), codes(1)], 0), Invalid, r"parts of uint8 and int8"),
    "concat shapes": (lambda: Concat([ones(2, 3), ones(2, 4)], 0), Invalid, r"parts of shapes \(2, 3\) and \(2, 4\)"),
    "concat ranks": (lambda: Concat([ones(2), ones(2, 1)], 0), Invalid, r"parts of shapes \(2,\) and \(2, 1\)"),
    "concat head roles": (lambda: rebuilt(6, (4,), "uint8", u64(0), part_1=BYTES, part_3=BYTES), Invalid, r"roles of a concat are 1, 2, 3, in order"),
    "concat head shape": (lambda: rebuilt(6, (4,), "uint8", u64(0), part_1=BYTES), Invalid, r"parts give \(2,\), the node states \(4,\)"),
    "concat head dtype": (lambda: rebuilt(6, (2,), "int8", u64(0), part_1=BYTES), Invalid, r"parts are uint8, the node states int8"),
    "concat size": (lambda: Concat([Constant(u8(0), (1 << 61,))] * 2, 0), Invalid, r"passes 2\^62"),
    # opaque.py
    "opaque shape": (lambda: Opaque(b"", "a.b", (-1,), "bool"), Invalid, r"no tensor has the shape"),
    "opaque rank": (lambda: Opaque(b"", "a.b", RANK33, "bool"), Invalid, r"no tensor has the shape"),
    "opaque size": (lambda: Opaque(b"", "a.b", HUGE, "uint8"), Invalid, r"passes 2\^62"),
    "opaque dtype": (lambda: Opaque(b"", "a.b", (1,), "q4"), ValueError, r"no dtype is called 'q4'"),
    "format": (lambda: Opaque(b"", "ggml", (1,), "bool"), Invalid, r"'ggml' is no reverse-DNS name"),
    "format case": (lambda: Opaque(b"", "ggml.Q4", (1,), "bool"), Invalid, r"no reverse-DNS name"),
    "format end": (lambda: Opaque(b"", "ggml.q4\n", (1,), "bool"), Invalid, r"no reverse-DNS name"),
    "format length": (lambda: Opaque(b"", "a." + "b" * 254, (1,), "bool"), Invalid, r"no reverse-DNS name"),
    "blocks rank": (lambda: Opaque(u8(1).reshape(1, 1), "a.b", (1,), "bool"), Invalid, r"opaque data of shape \(1, 1\), not of rank 1"),
    "blocks dtype": (lambda: Opaque(codes(1), "a.b", (1,), "bool"), Invalid, r"opaque data of int8, not uint8"),
    "blocks kind": (lambda: Opaque(Constant(u8(1), (2,)), "a.b", (1,), "bool"), Invalid, r"opaque data of kind constant, not dense"),
    "no plug-in": (lambda: Opaque(b"x", "a.b", (1,), "bool").to_numpy(), nnpack.UnsupportedError, r"the foreign format a\.b need a plug-in: kinds=\{'a\.b': decode\}"),
    "plug-in shape": (lambda: Opaque(b"x", "a.b", (1,), "uint8", decode=lambda *_: u8(1, 2)).to_numpy(), TypeError, r"the plug-in for a\.b returned uint8\(2,\)"),
    "plug-in dtype": (lambda: Opaque(b"x", "a.b", (1,), "uint8", decode=lambda *_: ones(1)).to_numpy(), TypeError, r"returned float32\(1,\)"),
    "opaque reserved": (lambda: rebuilt(7, (1,), "bool", b"\3\0\1\0\0\0\0\0a.b", data=BYTES), FormatError, r"reserved-nonzero"),
    "opaque head name": (lambda: rebuilt(7, (1,), "bool", b"\3\0\0\0\0\0\0\0a\xffb".ljust(16, b"\0"), data=BYTES), Invalid, r"no reverse-DNS name"),
    "opaque head padding": (lambda: rebuilt(7, (1,), "bool", b"\3\0\0\0\0\0\0\0a.b".ljust(16, b"\1"), data=BYTES), FormatError, r"bad-layout: padding after"),
}  # fmt: skip


class _Rank33:
    shape, dtype = tuple(RANK33), np.dtype("u1")


class _Odd:
    def __str__(self):
        return "odd"


@pytest.mark.parametrize("what", ERRORS)
def test_what_cannot_be_is_refused(what):
    call, kind, message = ERRORS[what]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert type(caught.value) is kind


def taken(value, shape, dtype, cells):
    """Check a leaf's cells, as hex of its memory."""
    assert (value.shape, value.dtype, value.to_numpy().tobytes().hex()) == (shape, dtype, cells)
    (found,) = nnpack.load(nnpack.save({"w": value})).values()
    assert testing.same_bits(found, value.to_numpy())


# what: (value, shape, dtype, cells in memory)
LEAVES = {
    "scalar": (lambda: Dense(np.float32(1)), (), "float32", "0000803f"),
    "number": (lambda: Dense(np.True_), (), "bool", "01"),
    "list": (lambda: Dense([[1.0], [-0.0]]), (2, 1), "float64", "000000000000f03f0000000000000080"),
    "empty list": (lambda: Dense([]), (0,), "float64", ""),
    "big-endian": (lambda: Dense(np.array([1, -2], ">i2")), (2,), "int16", "0100feff"),
    "big-endian NaN": (lambda: Dense(np.array([0x7FA00001], ">u4").view(">f4")), (1,), "float32", "0100a07f"),
    "big-endian complex": (lambda: Dense(np.array([1 - 2j], ">c8")), (1,), "complex64", "0000803f000000c0"),
    "big-endian scalar": (lambda: Dense(np.array(258, ">u2")), (), "uint16", "0201"),
    "reversed": (lambda: Dense(np.arange(3, dtype=np.uint8)[::-1]), (3,), "uint8", "020100"),
    "step": (lambda: Dense(np.arange(6, dtype=">u2")[::2]), (3,), "uint16", "000002000400"),
    "Fortran": (lambda: Dense(np.asfortranarray([[1, 2], [3, 4]], np.uint8)), (2, 2), "uint8", "01020304"),
    "broadcast": (lambda: Dense(np.broadcast_to(u8(7), (2, 2))), (2, 2), "uint8", "07070707"),
    "transposed NaN": (lambda: Dense(np.array([[0x7D01, 1], [2, 3]], np.uint16).view(np.float16).T), (2, 2), "float16", "017d020001000300"),
    "read-only": (lambda: Dense(np.frombuffer(b"ab", np.uint8)), (2,), "uint8", "6162"),
    "bytes as uint1": (lambda: Dense(u8(1, 0), "uint1"), (2,), "uint1", "0100"),
    "bytes as uint3": (lambda: Dense(u8(7), "uint3"), (1,), "uint3", "07"),
    "signed bytes as uint5": (lambda: Dense(np.int8([31]), "uint5"), (1,), "uint5", "1f"),
    "bytes as uint4": (lambda: Dense(u8(15), "uint4"), (1,), "uint4", "0f"),
    "bytes as float6": (lambda: Dense(u8(63), "float6_e2m3fn"), (1,), "float6_e2m3fn", "3f"),
    "bytes as bool": (lambda: Dense(u8(1), "bool"), (1,), "bool", "01"),
    "signed bytes as uint4": (lambda: Dense(np.int8([7]), "uint4"), (1,), "uint4", "07"),
    "signed bytes as int3": (lambda: Dense(np.int8([-4, 3]), "int3"), (2,), "int3", "fc03"),
    "signed bytes as int7": (lambda: Dense(np.int8([[-64]]), "int7"), (1, 1), "int7", "c0"),
    "signed bytes as int4": (lambda: Dense(np.int8([-8, 7]), "int4"), (2,), "int4", "0807"),
    "signed bytes as int2": (lambda: Dense(np.int8([-1]), "int2"), (1,), "int2", "03"),
    "no signed bytes": (lambda: Dense(np.int8([]), "int4"), (0,), "int4", ""),
    "own type": (lambda: Dense(np.array([-1], ml_dtypes.int4)), (1,), "int4", "0f"),
    "lazy": (lambda: Dense(Lazy(np.arange(6, dtype=np.uint16).reshape(2, 3))), (2, 3), "uint16", "000001000200030004000500"),
    "lazy rank 0": (lambda: Dense(Lazy(np.array(5, np.int8))), (), "int8", "05"),
    "lazy empty": (lambda: Dense(Lazy(np.zeros((2, 0, 3)))), (2, 0, 3), "float64", ""),
    "lazy dtype by name": (lambda: Dense(Lazy(u8(7), dtype="uint3")), (1,), "uint3", "07"),
    "lazy dtype by word": (lambda: Dense(Lazy(u8(7)), "uint3"), (1,), "uint3", "07"),
    "lazy that gives lists": (lambda: Dense(Lazy(u8(7), give=lambda x: memoryview(x.copy()))), (1,), "uint8", "07"),
    "tensor of a file": (lambda: nnpack.open(nnpack.save({"v": Dense(u8(5, 6), "uint3")}))["v"], (2,), "uint3", "0506"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEAVES)
def test_leaf_takes(what):
    make, shape, dtype, cells = LEAVES[what]
    value = make()
    taken(value if isinstance(value, Dense) else Dense(value), shape, dtype, cells)


@pytest.mark.parametrize(
    "shape", [(700_000,), (3, 300_000), (2, 2, 200_000), (700_000, 1), (1, 1, 1, 400_000)]
)
def test_lazy_arrays_are_asked_for_a_block_at_most(shape):
    array = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    lazy = Lazy(array)
    found = nnpack.load(nnpack.save({"w": lazy}))["w"]
    assert testing.same_bits(found, array)
    assert lazy.most <= 2 * PIECE
    out = np.empty(5, np.uint32)
    Dense(lazy).window(0, array.size)(299_998, 300_003, out)
    assert out.tolist() == [299_998, 299_999, 300_000, 300_001, 300_002]


def test_leaf_keeps_the_array_it_is_given():
    array = ones(3)
    value = Dense(array)
    assert value.array is array or value.array.base is array
    assert value.load() is value
    assert value.to_numpy() is not value.array
    assert np.asarray(value, np.float64).dtype == np.float64
    assert Dense(Lazy(array)).load().in_memory
    assert Dense(Lazy(array)).array.tolist() == [1, 1, 1]


def csr_parts(value):
    return [part.to_numpy().tolist() for _, part in value.parts()]


NAN = np.array([0x7FC00001, 0x7FC00000, 0x80000000, 0], np.uint32).view(np.float32).reshape(2, 2)
# what: (value, counts, gaps, stored values as hex, rows)
CSRS = {
    "zeros": (lambda: Csr.from_numpy(np.zeros((2, 3), np.int8)), [0, 0], [], "", 2),
    "one of each": (lambda: Csr.from_numpy(np.int8([[0, 5, 0], [7, 0, 9]])), [1, 2], [1, 0, 1], "050709", 2),
    "negative zero": (lambda: Csr.from_numpy(np.float16([[0, -0.0]])), [1], [1], "0080", 1),
    "NaN": (lambda: Csr.from_numpy(NAN), [2, 1], [0, 0, 0], "0100c07f0000c07f00000080", 2),
    "fill NaN": (lambda: Csr.from_numpy(NAN, fill=np.float32(np.nan)), [1, 2], [0, 0, 0], "0100c07f0000008000000000", 2),
    "fill NaN as a number": (lambda: Csr.from_numpy(NAN[:1], fill=np.nan), [1], [0], "0100c07f", 1),
    "fill": (lambda: Csr.from_numpy(u8(3, 1, 3), fill=3), [1], [1], "01", 1),
    "fill -0": (lambda: Csr.from_numpy(np.float16([0, -0.0]), fill=-0.0), [1], [0], "0000", 1),
    "2:4": (lambda: Csr.from_numpy(np.int8([[1, 0, 2, 0, 0, 0, 3, 4]]), row_length=4), [2, 2], [0, 1, 2, 0], "01020304", 2),
    "short row": (lambda: Csr.from_numpy(u8(1, 0, 0, 0, 2), row_length=4), [1, 1], [0, 0], "0102", 2),
    "rank 0": (lambda: Csr.from_numpy(np.uint8(4)), [1], [0], "04", 1),
    "rank 3": (lambda: Csr.from_numpy(np.int8([[[0, 1]], [[2, 0]]])), [1, 1], [1, 0], "0102", 2),
    "empty": (lambda: Csr.from_numpy(np.zeros((3, 0), np.uint8)), [], [], "", 0),
    "list": (lambda: Csr.from_numpy([[False, True]]), [1], [1], "01", 1),
    "big-endian": (lambda: Csr.from_numpy(np.array([0, 1], ">u2")), [1], [1], "0100", 1),
    "explicit zero": (lambda: Csr.from_arrays([0, 2], [0, 2], np.int8([0, 1]), (1, 3)), [2], [0, 1], "0001", 1),
    "explicit -0": (lambda: Csr.from_arrays([0, 1], [1], np.float16([-0.0]), (1, 3)), [1], [1], "0080", 1),
    "unsorted": (lambda: Csr.from_arrays([0, 3, 4], [2, 0, 1, 0], u8(7, 5, 6, 8), (2, 3)), [3, 1], [0, 0, 0, 0], "05060708", 2),
    "big-endian data": (lambda: Csr.from_arrays([0, 1], [0], np.array([1], ">u2"), (1, 1)), [1], [0], "0100", 1),
    "no rows": (lambda: Csr.from_arrays([0], [], u8(), (0, 3)), [], [], "", 0),
    "no columns": (lambda: Csr.from_arrays([0, 0, 0], [], u8(), (2, 0)), [], [], "", 0),
    "scipy csc": (lambda: Csr.from_scipy(sparse.csc_array(np.int8([[0, 2], [3, 0]]))), [1, 1], [1, 0], "0203", 2),
    "scipy coo": (lambda: Csr.from_scipy(sparse.coo_array((np.int8([1, 2, 3]), ([0, 0, 1], [1, 1, 0])), (2, 2))), [1, 1], [1, 0], "0303", 2),
    "scipy explicit zero": (lambda: Csr.from_scipy(sparse.csr_array((np.int8([0]), [1], [0, 1]), (1, 2))), [1], [1], "00", 1),
    "scipy unsorted": (lambda: Csr.from_scipy(sparse.csr_matrix((np.int8([1, 2]), [1, 0], [0, 2]), (1, 2))), [2], [0, 0], "0201", 1),
}  # fmt: skip


@pytest.mark.parametrize("what", CSRS)
def test_csr_stores(what):
    make, counts, gaps, values, rows = CSRS[what]
    value = make()
    assert csr_parts(value)[:2] == [counts, gaps]
    assert value.values.to_numpy().tobytes().hex() == values
    assert (value.rows, value.nnz) == (rows, len(gaps))
    assert (value.indptr.dtype, value.indices.dtype) == (np.int64, np.int64)
    assert value.indptr.tolist() == np.cumsum([0, *counts]).tolist()
    assert len(value.indices) == len(gaps)


def test_csr_gives_scipy_what_it_took():
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((7, 300)) < 0.3, rng.normal(size=(7, 300)), 0).astype(np.float32)
    given = sparse.csr_array(dense)
    for value in (Csr.from_numpy(dense), Csr.from_scipy(given), Csr.from_scipy(given.tocoo())):
        found = value.to_scipy()
        assert isinstance(found, sparse.csr_array)
        for name in ("indptr", "indices", "data"):
            assert np.array_equal(getattr(found, name), getattr(given, name))
        assert value.indices.tolist() == given.indices.tolist()
        assert testing.same_bits(value.to_numpy(), dense)
    empty = Csr.from_numpy(np.zeros((0, 2))).to_scipy()
    assert (empty.shape, empty.nnz) == ((0, 2), 0)


def test_csr_without_columns_goes_to_scipy():
    assert Csr.from_numpy(np.zeros((2, 0))).to_scipy().shape == (2, 0)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(255, "uint8"), (256, "uint16"), (65535, "uint16"), (65536, "uint32")],
)
def test_csr_takes_the_smallest_positions(number, dtype):
    value = Csr.from_arrays([0, 1], [number], [1.0], (1, number + 1))
    assert (value.counts.dtype, value.gaps.dtype) == ("uint8", dtype)
    full = Csr.from_numpy(np.ones((1, number), bool))
    assert (full.counts.dtype, full.gaps.dtype) == (dtype, "uint8")


def test_csr_of_more_rows_and_more_values_than_one_piece():
    rng = np.random.default_rng(4)
    tall = (rng.random((PIECE + 5, 1)) < 0.5).astype(np.uint8)
    wide = (rng.random((2, PIECE + 9)) < 0.9).astype(np.uint8)
    for array in (tall, wide):
        value = Csr.from_numpy(array)
        assert testing.same_bits(value.to_numpy(), array)
        out = np.empty(9, np.uint8)
        value.window(array.size - 9, array.size)(array.size - 9, array.size, out)
        assert out.tolist() == array.reshape(-1)[-9:].tolist()
        columns = np.nonzero(array)[1]
        assert np.array_equal(value.indices, columns)


# shape of codes, shape of scale: block
BLOCKS = {
    ((4, 6), ()): (0, 0),
    ((4, 6), (1, 1)): (0, 0),
    ((4, 6), (4, 1)): (1, 0),
    ((4, 6), (2, 3)): (2, 2),
    ((4, 6), (1, 6)): (0, 1),
    ((4,), (4,)): (1,),
    ((1,), (1,)): (0,),
    ((0, 4), (1, 2)): (0, 2),
    ((), ()): (),
}


@pytest.mark.parametrize("case", BLOCKS, ids=str)
def test_blocks_that_shapes_tell(case):
    shape, scale = case
    value = Quantized(codes(*shape), ones(*scale), zero=np.zeros(scale, np.int8))
    assert value.block == BLOCKS[case]
    assert value.scale.shape == (scale or (1,) * len(shape))
    if shape and scale:
        table = Codebook(np.zeros((*scale, 2), np.uint8), np.zeros(shape, np.uint8))
        assert (table.block, table.vector_axis, table.entries) == (BLOCKS[case], None, 2)


def test_one_table_for_all():
    assert Codebook(ones(3), np.zeros((2, 2), np.uint8)).table.shape == (1, 1, 3)
    assert Codebook(ones(3), np.uint8(1)).table.shape == (3,)
    vectors = Codebook(ones(3, 2), np.zeros((2, 2), np.uint8), vector_axis=1)
    assert (vectors.table.shape, vectors.shape, vectors.vector_length) == ((1, 1, 3, 2), (2, 4), 2)
    longest = Codebook(np.zeros((1, 65536), np.uint8), u8(0), vector_axis=0)
    assert longest.shape == (65536,)
    full = Codebook(np.zeros(2, np.uint8), Dense(u8(0, 1), "uint1"))
    assert full.entries == 2
    grouped = Quantized(codes(4), ones(2), block=2, group_index=u8(1, 0, 1, 0), group_axis=0)
    assert (grouped.block, grouped.group_axis) == ((2,), 0)
    flat = Quantized(codes(4), ones(1), bias=np.float16(1), block=9, flat=True)
    assert (flat.bias.shape, flat.to_numpy().tolist()) == ((1,), [1, 1, 1, 1])


CELLS = {
    "float to float16": (lambda: Constant(0.5, (2,), "float16"), "0038"),
    "negative zero": (lambda: Constant(-0.0, (), "bfloat16"), "0080"),
    "bits": (lambda: Constant(NAN[0, 0], (1,), "float32"), "0100c07f"),
    "number to uint3": (lambda: Constant(7, (1,), "uint3"), "07"),
    "number to int5": (lambda: Constant(-16, (1,), "int5"), "f0"),
    "number to int4": (lambda: Constant(-8, (1,), "int4"), "08"),
    "dtype of the number": (lambda: Constant(np.int16(-2), (1,)), "feff"),
    "truth": (lambda: Constant(np.True_, (1,)), "01"),
    "NaN": (lambda: Constant(float("nan"), (1,), "float32"), "0000c07f"),
    "real to complex": (lambda: Constant(np.float32(1), (1,), "complex64"), "0000803f00000000"),
    "another extension type": (
        lambda: Constant(ml_dtypes.bfloat16(1), (2,), "float32"),
        "0000803f",
    ),
    "infinity": (lambda: Constant(np.inf, (1,), "float8_e5m2"), "7c"),
}


@pytest.mark.parametrize("what", CELLS)
def test_cell(what):
    make, cell = CELLS[what]
    assert make().value.tobytes().hex() == cell


def test_values_of_nodes_that_are_read_piece_by_piece():
    value = Csr(Dense(Lazy(u8(1, 1))), u8(0, 1), Dense(Lazy(u8(5, 6))), (2, 2))
    assert not value.in_memory
    assert value.to_numpy().tolist() == [[5, 0], [0, 6]]
    assert value.load().in_memory
    table = Codebook(Dense(Lazy(ones(1, 1, 2))), Dense(Lazy(np.zeros((2, 2), np.uint8))))
    assert table.to_numpy().tolist() == [[1, 1], [1, 1]]
    scaled = Quantized(Dense(Lazy(codes(2))), Dense(Lazy(ones(1))), zero=Dense(Lazy(np.int8([-3]))))
    assert scaled.to_numpy().tolist() == [3, 3]


def test_the_readme_lists_the_element_types():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    listed = readme.partition("Element types: ")[2].partition(".\n")[0]
    words = {*re.findall(r"\w+", listed)}
    assert "uint1 to uint8" in listed
    assert "int2 to int8" in listed
    rest = {one.name for one in dtypes.DTYPES if not re.fullmatch("u?int[1-8]", one.name)}
    assert rest <= words
