"""Weights of GPU and training libraries as trees, bit for bit: SPEC.md's appendix on schemes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import nnpack
from tests.schemes import bfloat16, check, constant, fields, load, signed, unsigned

HALF = np.dtype(np.float16)


def test_ocp_mxfp4() -> None:
    """OCP's MXFP4 is float4_e2m1fn codes times float8_e8m0fnu scales over blocks of 32."""
    f = load("ocp_mxfp4")
    codes = fields(f["raw"], 4).view(ml_dtypes.float4_e2m1fn)
    scale = f["scales"].view(ml_dtypes.float8_e8m0fnu)
    check(nnpack.Quantized(codes, scale, block=(1, 32)), f["want"])


def test_compressed_tensors_nvfp4() -> None:
    """NVFP4 is float4_e2m1fn codes times scales that are float8_e4m3fn divided by one float32."""
    f = load("compressed_tensors_nvfp4")
    codes = fields(f["raw"], 4).view(ml_dtypes.float4_e2m1fn)
    for divisor, want in zip(f["divisors"], f["want"], strict=True):
        local = f["scales"].view(ml_dtypes.float8_e4m3fn)
        scale = nnpack.Quantized(local, divisor.reshape(1, 1), block=(0, 0), divide=True)
        check(nnpack.Quantized(codes, scale, block=(1, 16), dtype="bfloat16"), want, "bfloat16")


@pytest.mark.parametrize("bits", range(1, 9))
def test_compressed_tensors_packed(bits: int) -> None:
    """pack-quantized is (q - zero) * scale, the bits of both integers as stored: unsigned.

    Fields are dense across 32-bit words and offset by half the range, codes along rows and zero
    points along columns; without zero points that offset is the zero point.
    """
    f = load("compressed_tensors_packed")
    shape, scale = f[f"shape{bits}"], f[f"scales{bits}"]
    codes = unsigned(fields(f[f"raw{bits}"], bits, shape[1]), bits)
    if bits % 2:
        scale, zero, block = scale.view(HALF), constant(1 << bits - 1, (12, 1), bits), (1, 0)
    else:
        scale, block = bfloat16(scale), (1, 32)
        zero = unsigned(fields(f[f"zeros{bits}"].T, bits, shape[0]).T, bits)
    dtype = scale.dtype.name
    value = nnpack.Quantized(codes, scale, zero=zero, block=block, dtype=dtype)
    check(value, f[f"want{bits}"], dtype)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_compressed_tensors_signed(bits: int) -> None:
    """pack-quantized may as well be signed codes and zero points: flip each field's high bit."""
    f = load("compressed_tensors_packed")
    shape, high = f[f"shape{bits}"], 1 << bits - 1
    codes = fields(f[f"raw{bits}"], bits, shape[1]) ^ high
    zero = fields(f[f"zeros{bits}"].T, bits, shape[0]).T ^ high
    value = nnpack.Quantized(
        signed(codes, bits),
        bfloat16(f[f"scales{bits}"]),
        zero=signed(zero, bits),
        block=(1, 32),
        dtype="bfloat16",
    )
    check(value, f[f"want{bits}"], "bfloat16")


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq(bits: int) -> None:
    """GPTQ is (q - zero) * scale with group_index g_idx on the input axis, which stays the first.

    Version 1 stores zero - 1: its zero point is a codebook that adds one to the stored bits.
    """
    f = load("gptq")
    # Fields are dense, LSB first: codes along the words of a column, zero points of a row.
    codes = np.ascontiguousarray(fields(f[f"qweight{bits}"].T, bits).T)
    plus_one = np.arange(1, 2**bits + 1, dtype=np.uint16).reshape(1, 1, -1)
    zero = nnpack.Codebook(plus_one, unsigned(fields(f[f"qzeros{bits}"], bits), bits))
    value = nnpack.Quantized(
        unsigned(codes, bits),
        f[f"scales{bits}"].view(HALF),
        zero=zero,
        block=(16, 1),
        group_index=f[f"g_idx{bits}"].astype(np.uint32),
        group_axis=0,
        dtype="float16",
    )
    check(value, f[f"want{bits}"], "float16")


def test_awq() -> None:
    """AWQ is (q - zero) * scale over groups of 16 along the input axis, which stays the first.

    A word holds eight columns in the order 0 2 4 6 1 3 5 7.
    """
    f = load("awq")
    codes, zero = (
        fields(f[part], 4).reshape(-1, 6, 8)[..., [0, 4, 1, 5, 2, 6, 3, 7]].reshape(-1, 48)
        for part in ("raw", "zeros")
    )
    value = nnpack.Quantized(
        unsigned(codes, 4),
        f["scales"].view(HALF),
        zero=unsigned(zero, 4),
        block=(16, 1),
        dtype="float16",
    )
    check(value, f["want"], "float16")


@pytest.mark.parametrize(
    ("kind", "block2", "dtype"),
    [("nf4", 256, "bfloat16"), ("nf4", 32, "float32"), ("fp4", 32, "float16")],
)
def test_bitsandbytes_4bit(kind: str, block2: int, dtype: str) -> None:
    """NF4 with double quantization is a codebook times absmax over flat blocks.

    absmax itself is a codebook times a float32 over flat blocks, plus one offset as the bias.
    """
    f = load("bitsandbytes_4bit")
    want = f[f"want_{kind}_{block2}"]
    codes = np.stack((f["raw"] >> 4, f["raw"] & 15), axis=-1).ravel()[: want.size]
    scale2 = f[f"absmax_{kind}_{block2}"].view(np.float32)
    absmax = nnpack.Quantized(
        nnpack.Codebook(f["table256"].reshape(1, -1), f["absmax"][: -(-want.size // 32)]),
        scale2,
        bias=nnpack.Constant(f["offset"][()], scale2.shape, "float32"),
        block=(block2,),
        flat=True,
    )
    palette = nnpack.Codebook(f[kind].reshape(1, 1, -1), unsigned(codes.reshape(want.shape), 4))
    value = nnpack.Quantized(palette, absmax, block=(32,), flat=True, dtype=dtype)
    check(value, want, dtype)


def test_hqq() -> None:
    """HQQ is (q - zero) * scale with float16 steps and a float16 zero, over flat blocks of 64.

    The first half of the packed rows is in the high nibbles.
    """
    f = load("hqq")
    codes = np.concatenate((f["flat_raw"] >> 4, f["flat_raw"] & 15)).reshape(40, 48)
    zero, scale = (f[f"flat_{part}"].view(HALF).ravel() for part in ("zero", "scale"))
    value = nnpack.Quantized(
        unsigned(codes, 4),
        scale,
        zero=zero,
        block=(64,),
        flat=True,
        step="float16",
        dtype="float16",
    )
    check(value, f["flat_want"], "float16")


def test_hqq_strided() -> None:
    """HQQ along axis 0 deals rows out to groups: group_index is row mod groups; zero is nested."""
    f = load("hqq")
    rows, columns = 192, 24
    groups = rows // 64
    zero_zero, zero_scale, scale = (
        bfloat16(f[f"tall_{part}"]) for part in ("zero_zero", "zero_scale", "scale")
    )
    zero = nnpack.Quantized(
        f["tall_zero"].reshape(groups, columns),
        zero_scale,
        zero=zero_zero,
        block=(0, 0),
        step="bfloat16",
        dtype="bfloat16",
    )
    value = nnpack.Quantized(
        f["tall_raw"].reshape(rows, columns),
        scale.reshape(groups, columns),
        zero=zero,
        block=(64, 1),
        group_index=(np.arange(rows) % groups).astype(np.uint8),
        group_axis=0,
        step="bfloat16",
        dtype="bfloat16",
    )
    check(value, f["tall_want"], "bfloat16")


def test_mlx() -> None:
    """MLX's affine mode is q * scale + bias over blocks of 64, rounded to float16 at each step."""
    f = load("mlx")
    scale, bias = (f[part].view(HALF) for part in ("scales", "biases"))
    value = nnpack.Quantized(
        unsigned(fields(f["raw"], 4), 4),
        scale,
        bias=bias,
        block=(1, 64),
        step="float16",
        dtype="float16",
    )
    check(value, f["want"], "float16")
