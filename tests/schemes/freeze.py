"""Freeze what each quantization or sparsity scheme's own code decodes from its own bytes.

    python tests/schemes/freeze.py            write tests/schemes/*.npz
    python tests/schemes/freeze.py --check    compare with what is committed, write nothing

Needs the oracles, none of which the tests need: numpy 2.4.6, ml_dtypes 0.6.0, torch 2.13.0,
gguf 0.19.0, onnx 1.23.2, onnxruntime 1.31.1, bitsandbytes 0.50.2, compressed-tensors 0.20.0,
hqq 0.2.8.post1, mlx 0.32.4 with mlx-cpu, coremltools 9.0, and, unpacked only (`pip install
--no-deps`; one file of each is run, their packages do not import beside these): auto_gptq 0.7.1,
autoawq 0.2.9.

A fixture holds the scheme's stored components (`raw`, `scales`, ...) and `want`: the dense result
as the bits of its cells. Cells of types that numpy lacks are kept as the unsigned integers of
their bits. Which NaN an operation makes depends on the machine, so every NaN that the oracle
computed is stored as nnpack's canonical one; stored NaNs (sparse schemes) keep their payload.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# bitsandbytes compiles what it can; the plain operators are the definition.
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import bitsandbytes.functional as bnb
import gguf.quants
import ml_dtypes
import mlx.core as mx
import numpy as np
import onnxruntime
import torch
from compressed_tensors.compressors import (
    NVFP4PackedCompressor,
    PackedQuantizationCompressor,
)
from compressed_tensors.compressors.pack_quantized import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from coremltools.converters.mil.mil.ops.defs import iOS18
from coremltools.optimize import _utils as coreml_utils
from hqq.core.quantize import Quantizer
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch.sparse import _semi_structured_conversions as semi

HERE = Path(__file__).parent
Array = np.ndarray
Rng = np.random.Generator
Fixture = dict[str, Array]

CANONICAL = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000}

# Zeros, subnormals, largest, infinities, NaNs with payloads and signs, signalling ones too.
F16 = (0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7D01)
BF16 = (0x0000, 0x8000, 0x0001, 0x807F, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0, 0xFFC1, 0x7FA1)
F32 = (
    *(0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x7F7FFFFF),
    *(0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7FA00001),
)

SCHEMES: dict[str, Callable[[Rng], Fixture]] = {}


def scheme(make: Callable[[Rng], Fixture]) -> Callable[[Rng], Fixture]:
    """Register a fixture under its function's name."""
    SCHEMES[make.__name__] = make
    return make


def words(rng: Rng, shape: Sequence[int], dtype: Any = np.uint8) -> Array:
    """Random stored words."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def every(rng: Rng, count: int, shape: Sequence[int], dtype: Any = np.uint8) -> Array:
    """Shuffled codes in which each of `count` values occurs about equally often."""
    return rng.permutation(np.arange(np.prod(shape)) % count).astype(dtype).reshape(shape)


def floats(rng: Rng, shape: Sequence[int], dtype: Any, special: Sequence[int]) -> Array:
    """Bits of ordinary random numbers of both signs, shuffled with the special ones."""
    size = int(np.prod(shape))
    normal = rng.standard_normal(size) * 2.0 ** rng.integers(-9, 2, size)
    cells = normal.astype(np.float32).astype(dtype)
    raw = cells.view(f"u{cells.itemsize}")
    raw[: len(special)] = special[:size]
    return rng.permutation(raw).reshape(shape)


def halves(rng: Rng, shape: Sequence[int]) -> Array:
    """Bits of float16 scales."""
    return floats(rng, shape, np.float16, F16)


def cells(result: Any) -> Array:
    """The bits of an oracle's result, its NaNs made canonical."""
    if isinstance(result, torch.Tensor):
        result = numpy_of(result)
    result = np.ascontiguousarray(result)
    raw = result.view(f"u{result.itemsize}").copy()
    raw[np.isnan(result)] = CANONICAL[result.dtype.name]
    return raw


def numpy_of(tensor: torch.Tensor) -> Array:
    """A tensor as an array, by its bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def tensor_of(raw: Array, dtype: torch.dtype) -> torch.Tensor:
    """Bits as a tensor of a type."""
    return torch.from_numpy(raw.copy()).view(dtype)


def module(package: str, path: str) -> types.ModuleType:
    """Load one file of a package without running the package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / path
    one = importlib.util.spec_from_file_location(f"oracle_{package}", file)
    assert one is not None
    assert one.loader is not None
    loaded = importlib.util.module_from_spec(one)
    one.loader.exec_module(loaded)
    return loaded


# GGUF. Oracle: gguf-py's quants.py, which follows ggml-quants.c.


def ggml(rng: Rng, kind: str, blocks: tuple[int, int], scales: Sequence[int] = ()) -> Fixture:
    """Random blocks of a GGUF type, with float16 scales at these offsets of a block."""
    qtype = gguf.GGMLQuantizationType[kind]
    raw = words(rng, (*blocks, gguf.GGML_QUANT_SIZES[qtype][1]))
    for offset in scales:
        raw[..., offset : offset + 2] = halves(rng, blocks).view(np.uint8).reshape(*blocks, 2)
    return {"raw": raw, "want": dequantized(raw, qtype)}


def dequantized(raw: Array, qtype: gguf.GGMLQuantizationType) -> Array:
    """Decode blocks with gguf-py."""
    return cells(gguf.quants.dequantize(raw.reshape(len(raw), -1), qtype))


@scheme
def q4_0(rng: Rng) -> Fixture:
    """gguf.quants.Q4_0: d * (q - 8)."""
    return ggml(rng, "Q4_0", (4, 6), [0])


@scheme
def q4_1(rng: Rng) -> Fixture:
    """gguf.quants.Q4_1: d * q + m."""
    return ggml(rng, "Q4_1", (4, 6), [0, 2])


@scheme
def q5_0(rng: Rng) -> Fixture:
    """gguf.quants.Q5_0: d * (q - 16)."""
    return ggml(rng, "Q5_0", (4, 6), [0])


@scheme
def q5_1(rng: Rng) -> Fixture:
    """gguf.quants.Q5_1: d * q + m."""
    return ggml(rng, "Q5_1", (4, 6), [0, 2])


@scheme
def q8_0(rng: Rng) -> Fixture:
    """gguf.quants.Q8_0: d * q."""
    fixture = ggml(rng, "Q8_0", (4, 6), [0])
    raw = fixture["raw"]
    raw[..., 2:] = every(rng, 256, (4, 6, 32))
    return {"raw": raw, "want": dequantized(raw, gguf.GGMLQuantizationType.Q8_0)}


@scheme
def q2_k(rng: Rng) -> Fixture:
    """gguf.quants.Q2_K: (d * sc) * q - dmin * m."""
    return ggml(rng, "Q2_K", (4, 4), [80, 82])


@scheme
def q3_k(rng: Rng) -> Fixture:
    """gguf.quants.Q3_K: (d * (sc - 32)) * (q - 4)."""
    return ggml(rng, "Q3_K", (4, 4), [108])


@scheme
def q4_k(rng: Rng) -> Fixture:
    """gguf.quants.Q4_K: (d * sc) * q - dmin * m."""
    return ggml(rng, "Q4_K", (4, 4), [0, 2])


@scheme
def q5_k(rng: Rng) -> Fixture:
    """gguf.quants.Q5_K: (d * sc) * q - dmin * m."""
    return ggml(rng, "Q5_K", (4, 4), [0, 2])


@scheme
def q6_k(rng: Rng) -> Fixture:
    """gguf.quants.Q6_K: (d * sc) * (q - 32)."""
    return ggml(rng, "Q6_K", (4, 4), [208])


@scheme
def iq4_nl(rng: Rng) -> Fixture:
    """gguf.quants.IQ4_NL: d * table[q]."""
    return ggml(rng, "IQ4_NL", (4, 6), [0])


@scheme
def iq4_xs(rng: Rng) -> Fixture:
    """gguf.quants.IQ4_XS: (d * (sc - 32)) * table[q]."""
    return ggml(rng, "IQ4_XS", (4, 4), [0])


@scheme
def tq2_0(rng: Rng) -> Fixture:
    """gguf.quants.TQ2_0: d * (q - 1); q = 3 decodes too."""
    return ggml(rng, "TQ2_0", (4, 4), [64])


@scheme
def tq1_0(rng: Rng) -> Fixture:
    """gguf.quants.TQ1_0: d * (q - 1), five base-3 digits a byte; any byte decodes."""
    return ggml(rng, "TQ1_0", (4, 4), [52])


def iq(rng: Rng, kind: str, scales: Sequence[int] = (0,)) -> Fixture:
    """Random blocks of a type of vector codebooks, and its grid."""
    tables = getattr(gguf.quants, kind)
    fixture = ggml(rng, kind, (4, 4), scales)
    return fixture | {"grid": tables.grid.reshape(tables.grid_shape).astype(np.int8)}


@scheme
def iq2_xxs(rng: Rng) -> Fixture:
    """gguf.quants.IQ2_XXS: ((d * (0.5 + s) * 0.25) * grid) * sign, 128 sign patterns of eight."""
    return iq(rng, "IQ2_XXS") | {"signs": np.frombuffer(gguf.quants.IQ2_XXS.ksigns, np.uint8)}


@scheme
def iq2_xs(rng: Rng) -> Fixture:
    """gguf.quants.IQ2_XS: ((d * (0.5 + s) * 0.25) * grid) * sign."""
    return iq(rng, "IQ2_XS")


@scheme
def iq2_s(rng: Rng) -> Fixture:
    """gguf.quants.IQ2_S: ((d * (0.5 + s) * 0.25) * grid) * sign, a sign bit an element."""
    return iq(rng, "IQ2_S")


@scheme
def iq3_xxs(rng: Rng) -> Fixture:
    """gguf.quants.IQ3_XXS: ((d * (0.5 + s) * 0.5) * grid) * sign, vectors of four."""
    return iq(rng, "IQ3_XXS")


@scheme
def iq3_s(rng: Rng) -> Fixture:
    """gguf.quants.IQ3_S: ((d * (1 + 2 * s)) * grid) * sign, vectors of four."""
    return iq(rng, "IQ3_S")


@scheme
def iq1_s(rng: Rng) -> Fixture:
    """gguf.quants.IQ1_S: (d * (2 * s + 1)) * (grid + delta)."""
    return iq(rng, "IQ1_S")


@scheme
def iq1_m(rng: Rng) -> Fixture:
    """gguf.quants.IQ1_M: (d * (2 * s + 1)) * (grid + delta), d scattered over the scales."""
    return iq(rng, "IQ1_M", ())


@scheme
def ggml_mxfp4(rng: Rng) -> Fixture:
    """gguf.quants.MXFP4: 2^(e - 128) * (twice e2m1), code 8 is +0, e = 255 is no NaN."""
    raw = words(rng, (8, 32, 17))
    raw[..., 0] = every(rng, 256, (8, 32))
    return {"raw": raw, "want": dequantized(raw, gguf.GGMLQuantizationType.MXFP4)}


@scheme
def ggml_nvfp4(rng: Rng) -> Fixture:
    """gguf.quants.NVFP4: scale bytes are e4m3 without their sign, 0x7F decodes to 0 (0xFF not)."""
    raw = words(rng, (4, 16, 36))
    raw[..., :4] = every(rng, 256, (4, 16, 4))
    return {"raw": raw, "want": dequantized(raw, gguf.GGMLQuantizationType.NVFP4)}


# Schemes of GPU libraries.


@scheme
def ocp_mxfp4(rng: Rng) -> Fixture:
    """OCP Microscaling Formats v1.0, 5.3.2 and 6: each value is X * P, an X of 255 makes all NaN.

    X by torch's own float8_e8m0fnu, P by the table of 5.3.3 in its order of codes; binary32.
    """
    raw, scales = words(rng, (8, 512)), every(rng, 256, (8, 32))
    positive = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    codes = torch.from_numpy(np.stack((raw & 15, raw >> 4), axis=-1).reshape(8, 1024))
    scale = tensor_of(scales, torch.float8_e8m0fnu).float()
    want = torch.cat((positive, -positive))[codes.int()] * scale.repeat_interleave(32, 1)
    return {"raw": raw, "scales": scales, "want": cells(want)}


@scheme
def compressed_tensors_nvfp4(rng: Rng) -> Fixture:
    """compressed_tensors NVFP4PackedCompressor.decompress: e2m1 * (e4m3 / global), to bfloat16."""
    args = QuantizationArgs(
        num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True
    )
    plan = QuantizationScheme(targets=["Linear"], weights=args)
    raw, scales = words(rng, (4, 8 * 64)), every(rng, 256, (4, 64))
    divisors = np.array([1234.567, 1e-40, np.inf], np.float32)
    want = [
        NVFP4PackedCompressor.decompress(
            {
                "weight_packed": torch.from_numpy(raw),
                "weight_scale": tensor_of(scales, torch.float8_e4m3fn),
                "weight_global_scale": torch.tensor([divisor]),
            },
            plan,
        )["weight"]
        for divisor in divisors
    ]
    return {
        "raw": raw,
        "scales": scales,
        "divisors": divisors,
        "want": np.stack([cells(one) for one in want]),
    }


@scheme
def compressed_tensors_packed(rng: Rng) -> Fixture:
    """compressed_tensors PackedQuantizationCompressor.decompress: (q - zero) * scale, all widths.

    Groups of 32 with packed zero points in bfloat16 for even widths; one scale a channel, no zero
    point, float16, and a number of columns that fills no word, for odd ones.
    """
    fixture: Fixture = {}
    for bits in range(1, 9):
        grouped = bits % 2 == 0
        shape, groups = ((10, 96), 3) if grouped else ((12, 45), 1)
        args = QuantizationArgs(
            num_bits=bits,
            type="int",
            symmetric=not grouped,
            strategy="group" if grouped else "channel",
            group_size=32 if grouped else None,
        )
        codes, zero = (
            torch.from_numpy((every(rng, 2**bits, size, np.int16) - 2 ** (bits - 1)).astype("i1"))
            for size in (shape, (shape[0], groups))
        )
        kind, special = (ml_dtypes.bfloat16, BF16) if grouped else (np.float16, F16)
        scales = floats(rng, (shape[0], groups), kind, special)
        state = {
            "weight_packed": pack_to_int32(codes, bits),
            "weight_scale": tensor_of(scales, torch.bfloat16 if grouped else torch.float16),
            "weight_shape": torch.tensor(shape),
        }
        if grouped:
            state["weight_zero_point"] = pack_to_int32(zero, bits, packed_dim=0)
            fixture[f"zeros{bits}"] = state["weight_zero_point"].numpy().copy()
        plan = QuantizationScheme(targets=["Linear"], weights=args)
        want = PackedQuantizationCompressor.decompress(state, plan)["weight"]
        fixture |= {
            f"raw{bits}": state["weight_packed"].numpy(),
            f"shape{bits}": np.array(shape),
            f"scales{bits}": scales,
            f"want{bits}": cells(want),
        }
    return fixture


@scheme
def gptq(rng: Rng) -> Fixture:
    """auto_gptq/nn_modules/qlinear/qlinear_cuda.py without CUDA: s[g] * (q - (z + 1)), float16.

    Square, act-order (`g_idx` a permutation of the groups), version 1: zeros are stored minus one,
    and read as z + 1 without wrapping. The weight is what its forward hands to matmul.
    """
    linear = module("auto_gptq", "nn_modules/qlinear/qlinear_cuda.py").QuantLinear
    fixture: Fixture = {}
    for bits in (2, 3, 4, 8):
        layer = linear(bits, 16, 64, 64, bias=False)
        layer.autogptq_cuda_available = False
        stored = {
            "qweight": words(rng, layer.qweight.shape, np.int32),
            "qzeros": words(rng, layer.qzeros.shape, np.int32),
            "g_idx": rng.permutation(np.arange(64, dtype=np.int32) // 16),
        }
        if bits == 8:
            stored["qweight"] = every(rng, 256, (16, 64, 4)).view(np.int32)[..., 0]
        scales = halves(rng, layer.scales.shape)
        for name, value in stored.items():
            setattr(layer, name, torch.from_numpy(value))
        layer.scales = tensor_of(scales, torch.float16)
        fixture |= {f"{name}{bits}": value for name, value in stored.items()}
        fixture |= {f"scales{bits}": scales, f"want{bits}": cells(weight_of(layer, 64))}
    return fixture


def weight_of(layer: torch.nn.Module, features: int) -> torch.Tensor:
    """The matrix that a layer's forward multiplies with."""
    seen: list[torch.Tensor] = []
    matmul = torch.matmul
    torch.matmul = lambda x, weight: seen.append(weight) or matmul(x, weight)
    try:
        layer(torch.ones(1, features, dtype=torch.float16))
    finally:
        torch.matmul = matmul
    return seen[0]


@scheme
def awq(rng: Rng) -> Fixture:
    """awq/utils/packing_utils.py dequantize_gemm: (q - z) * s in float16, GEMM nibble order."""
    oracle = module("awq", "utils/packing_utils.py")
    raw, zeros = words(rng, (64, 6), np.int32), words(rng, (4, 6), np.int32)
    scales = halves(rng, (4, 48))
    want = oracle.dequantize_gemm(
        torch.from_numpy(raw), torch.from_numpy(zeros), tensor_of(scales, torch.float16), 4, 16
    )
    return {"raw": raw, "zeros": zeros, "scales": scales, "want": cells(want)}


@scheme
def bitsandbytes_4bit(rng: Rng) -> Fixture:
    """dequantize_4bit of bitsandbytes on the CPU: nf4 and fp4 with double quantization.

    absmax = code256[a] * absmax2 + offset in binary32, then code16[q] * absmax, to the dtype.
    Blocks run over the flattened weight, the last is short, the high nibble comes first. The second
    level's block is 256, as quantize_4bit makes it, and 32 with special scales to see more of them.
    fp4 has an odd row length, which selects the implementation in Python: the native kernels read
    code 8 as 0.0 or -0.0, depending on their vector unit and on the row length.
    """
    blocksize, most = 32, 62 * 149
    table256 = bnb.create_dynamic_map()
    fixture: Fixture = {
        "raw": words(rng, (most // 2,)),
        "absmax": every(rng, 256, (-(-most // blocksize),)),
        "table256": table256.numpy(),
        "offset": np.array(0.0371, np.float32),
    }
    for kind, width, block2, dtype in (
        ("nf4", 148, 256, torch.bfloat16),
        ("nf4", 148, 32, torch.float32),
        ("fp4", 149, 32, torch.float16),
    ):
        size = 62 * width
        absmax = fixture["absmax"][: -(-size // blocksize)]
        special = () if block2 == 256 else F32[::3]
        absmax2 = floats(rng, (-(-len(absmax) // block2),), np.float32, special)
        state = bnb.QuantState(
            absmax=torch.from_numpy(absmax),
            shape=torch.Size((62, width)),
            blocksize=blocksize,
            quant_type=kind,
            dtype=dtype,
            offset=torch.tensor(fixture["offset"]),
            state2=bnb.QuantState(
                absmax=tensor_of(absmax2, torch.float32),
                blocksize=block2,
                code=table256,
                dtype=torch.float32,
            ),
        )
        want = bnb.dequantize_4bit(torch.from_numpy(fixture["raw"][: size // 2, None]), state)
        fixture[kind] = bnb.get_4bit_type(kind, "cpu").numpy()
        fixture |= {f"absmax_{kind}_{block2}": absmax2, f"want_{kind}_{block2}": cells(want)}
    return fixture


@scheme
def hqq(rng: Rng) -> Fixture:
    """hqq.core.quantize.Quantizer.dequantize: (q - zero) * scale, a rounding at each step.

    `flat`: axis 1, float16, groups of 64 over a row-major weight whose rows are no multiple of 64.
    `tall`: axis 0, bfloat16, where group k takes rows k, k + rows/64, ... of one column; its zero
    is itself quantized to 8 bits.
    """
    fixture: Fixture = {}
    flat = {"nbits": 4, "group_size": 64, "shape": (40, 48), "axis": 1, "packing": "4bit_u8"}
    packed = words(rng, (15, 64))
    zero, scale = halves(rng, (30, 1)), halves(rng, (30, 1))
    want = Quantizer.dequantize(
        torch.from_numpy(packed),
        flat
        | {
            "view_as_float": False,
            "compute_dtype": torch.float16,
            "zero": tensor_of(zero, torch.float16),
            "scale": tensor_of(scale, torch.float16),
        },
    )
    fixture |= {"flat_raw": packed, "flat_zero": zero, "flat_scale": scale}
    fixture["flat_want"] = cells(want)

    packed, zero_q = every(rng, 256, (64, 72)), every(rng, 256, (1, 72))
    zero_zero, zero_scale = np.array([[0x42FE]], np.uint16), np.array([[0x3D4D]], np.uint16)
    scale = floats(rng, (1, 72), ml_dtypes.bfloat16, BF16)
    meta = {"nbits": 8, "packing": "8bit_u8", "view_as_float": False}
    meta |= {"compute_dtype": torch.bfloat16, "group_size": 64}
    zero_of = meta | {
        "shape": (1, 72),
        "zero": tensor_of(zero_zero, torch.bfloat16),
        "scale": tensor_of(zero_scale, torch.bfloat16),
    }
    tall = meta | {
        "shape": (192, 24),
        "axis": 0,
        "zero": Quantizer.dequantize(torch.from_numpy(zero_q), zero_of),
        "scale": tensor_of(scale, torch.bfloat16),
    }
    fixture |= {
        "tall_raw": packed,
        "tall_zero": zero_q,
        "tall_zero_zero": zero_zero,
        "tall_zero_scale": zero_scale,
        "tall_scale": scale,
        "tall_want": cells(Quantizer.dequantize(torch.from_numpy(packed), tall)),
    }
    return fixture


@scheme
def mlx(rng: Rng) -> Fixture:
    """mlx.core.dequantize on the CPU, affine: scale * q + bias, each step in the scale's dtype."""
    mx.set_default_device(mx.cpu)
    raw, scales, biases = words(rng, (8, 16), np.uint32), halves(rng, (8, 2)), halves(rng, (8, 2))
    parts = (mx.array(part).view(mx.float16) for part in (scales, biases))
    want = np.array(mx.dequantize(mx.array(raw), *parts, group_size=64, bits=4))
    return {"raw": raw, "scales": scales, "biases": biases, "want": cells(want)}


# Graph formats.


@scheme
def onnx(rng: Rng) -> Fixture:
    """DequantizeLinear by onnxruntime, where it has the types equal to onnx's reference evaluator.

    Raw data as a TensorProto holds it: 4-bit codes two in a byte, the low nibble first.
    """
    fixture: Fixture = {}
    cases = {
        # 70 = 2 * 32 + 6: the last block is short.
        "int4": (TensorProto.INT4, (6, 70), (6, 3), 1, 32, TensorProto.FLOAT, True),
        "uint4": (TensorProto.UINT4, (70, 6), (3, 6), 0, 32, TensorProto.FLOAT16, True),
        "int8": (TensorProto.INT8, (6, 70), (6,), 0, 0, TensorProto.FLOAT, True),
        "uint8": (TensorProto.UINT8, (6, 70), (), 1, 0, TensorProto.FLOAT, True),
        "int16": (TensorProto.INT16, (6, 70), (6, 3), 1, 32, TensorProto.FLOAT16, True),
        "int32": (TensorProto.INT32, (6, 70), (6,), 0, 0, TensorProto.FLOAT, False),
        "float8_e4m3fn": (
            TensorProto.FLOAT8E4M3FN,
            (6, 70),
            (6, 3),
            1,
            32,
            TensorProto.FLOAT,
            False,
        ),
        "float8_e5m2": (TensorProto.FLOAT8E5M2, (6, 70), (6, 3), 1, 32, TensorProto.FLOAT16, False),
    }
    for name, (kind, shape, grid, axis, block, out, zeros) in cases.items():
        bits = {
            TensorProto.INT4: 4,
            TensorProto.UINT4: 4,
            TensorProto.INT16: 16,
            TensorProto.INT32: 32,
        }.get(kind, 8)
        raw = words(rng, (np.prod(shape) * bits // 8,))
        if bits == 8:
            raw = every(rng, 256, raw.shape)
        zero = words(rng, (np.prod(grid, dtype=int) * bits // 8,)) if zeros else None
        half = out == TensorProto.FLOAT16
        scale = floats(rng, grid, *((np.float16, F16) if half else (np.float32, F32)))
        if scale.size == 1:
            scale = floats(rng, grid, np.float32, ())
        parts = {"x": (raw, kind, shape), "s": (scale, out, grid)}
        if zero is not None:
            parts["z"] = (zero, kind, grid)
        options = {"axis": axis} | ({"block_size": block} if block else {})
        want = dequantize_linear(parts, options)
        fixture |= {f"{name}_raw": raw, f"{name}_scale": scale, f"{name}_want": want}
        if zero is not None:
            fixture[f"{name}_zero"] = zero
    return fixture


def dequantize_linear(
    parts: dict[str, tuple[Array, int, tuple[int, ...]]], options: dict[str, int]
) -> Array:
    """Run a model of one DequantizeLinear in both evaluators, which must agree."""
    stored = [
        helper.make_tensor(name, kind, shape, data.tobytes(), raw=True)
        for name, (data, kind, shape) in parts.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", list(parts), ["y"], **options)],
        "g",
        [],
        [helper.make_tensor_value_info("y", parts["s"][1], parts["x"][2])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    want = cells(session.run(None, {})[0])
    # The reference evaluator subtracts in binary32, which 16 bits cannot tell from integers.
    with np.errstate(all="ignore"):
        second = cells(ReferenceEvaluator(model).run(None, {})[0])
    assert np.array_equal(want, second)
    return want


@scheme
def coreml(rng: Rng) -> Fixture:
    """The constexpr ops of coremltools' iOS18: lut_to_dense, then blockwise_shift_scale, float16.

    `scalar`: 4-bit palettes for each four output channels; `vector`: vectors of two along the
    output channels, 6 bits; `quantized`: palettes that are int8 with a scale of their own.
    Indices as in weight.bin: coremltools' pack_elements_into_bits.
    """
    scaled = iOS18.constexpr_blockwise_shift_scale.decompress
    looked = iOS18.constexpr_lut_to_dense.decompress
    fixture: Fixture = {}
    for name, shape, lut_shape, bits, axis in (
        ("scalar", (16, 24), (4, 1, 16, 1), 4, None),
        ("vector", (8, 48), (2, 3, 64, 2), 6, 0),
        ("wide", (8, 16), (4, 1, 4, 3), 2, 1),
        ("quantized", (16, 24), (2, 1, 16, 1), 4, None),
    ):
        indices = every(rng, 2**bits, shape)
        dense = [size * (lut_shape[-1] if d == axis else 1) for d, size in enumerate(shape)]
        scale = halves(rng, (dense[0], 1))
        if name == "quantized":
            lut = every(rng, 256, lut_shape)
            lut_scale = floats(rng, (2, 1, 1, 1), np.float16, ())
            table = scaled(lut.view(np.int8), lut_scale.view(np.float16), None)
            fixture["quantized_lut_scale"] = lut_scale
        else:
            lut = halves(rng, lut_shape)
            table = lut.view(np.float16)
        with np.errstate(all="ignore"):
            want = scaled(looked(indices, table, axis), scale.view(np.float16), None)
        fixture |= {
            f"{name}_raw": coreml_utils.pack_elements_into_bits(indices, bits),
            f"{name}_shape": np.array(shape),
            f"{name}_lut": lut,
            f"{name}_scale": scale,
            f"{name}_want": cells(want),
        }
    return fixture


@scheme
def coreml_sparse(rng: Rng) -> Fixture:
    """The joint constexpr ops of coremltools' iOS18: sparse_blockwise_shift_scale, then to dense.

    Scales and offsets count in dense coordinates; what is not stored is +0, whatever they are.
    """
    mask = (rng.random((12, 64)) < 0.4).astype(np.uint8)
    stored = every(rng, 256, (mask.sum(),))
    scale, offset = halves(rng, (12, 4)), words(rng, (12, 4))
    joint = iOS18.constexpr_sparse_blockwise_shift_scale.decompress(
        mask, stored.view(np.int8), scale.view(np.float16), offset.view(np.int8)
    )
    want = iOS18.constexpr_sparse_to_dense.decompress(joint[1], mask)
    return {
        "mask": coreml_utils.pack_elements_into_bits(mask, 1),
        "raw": stored,
        "scale": scale,
        "offset": offset,
        "want": cells(want),
    }


# Sparsity: stored cells keep their bits.


@scheme
def semi_structured(rng: Rng) -> Fixture:
    """torch.sparse's sparse_semi_structured_to_dense_cutlass: 2:4, positions in int16 words.

    Two of four 16-bit cells are stored, with 2-bit positions, interleaved for the tensor cores.
    """
    pairs = np.array([0b0100, 0b1000, 0b1001, 0b1100, 0b1101, 0b1110])
    quads = pairs[every(rng, 6, (32, 8, 4))]
    meta = (quads << np.array([0, 4, 8, 12])).sum(-1).astype(np.uint16).view(np.int16)
    values = halves(rng, (32, 64))
    # As integers: torch's scatter quiets signalling float16 NaNs on its way through binary32.
    want = semi.sparse_semi_structured_to_dense_cutlass(
        tensor_of(values, torch.int16), torch.from_numpy(meta)
    )
    return {"meta": meta, "values": values, "want": want.numpy().view("u2")}


@scheme
def csr(rng: Rng) -> Fixture:
    """The definition of CSR, in a plain loop; cells are moved as integers.

    Not scipy.sparse's toarray, which adds into zeros and so turns a stored -0.0 into +0.0.
    """
    shape = (20, 300)
    mask = rng.random(shape) < 0.1
    mask[3] = False
    mask[4] = True
    rows, columns = np.nonzero(mask)
    data = floats(rng, (len(rows),), np.float32, F32)
    want = np.zeros(shape, np.uint32)
    for row, column, cell in zip(rows, columns, data, strict=True):
        want[row, column] = cell
    indptr = np.concatenate(([0], np.cumsum(mask.sum(1)))).astype(np.int32)
    return {"indptr": indptr, "indices": columns.astype(np.int32), "data": data, "want": want}


@scheme
def deep_compression(rng: Rng) -> Fixture:
    """Han et al. 2016 (arXiv:1510.00149), figure 2 and section 3, decoded as the paper describes.

    Over the flattened layer: each stored entry has a 4-bit distance to the one before and a 5-bit
    index of a shared weight; a gap that 4 bits cannot hold takes fillers, distance 15 with the
    shared weight 0.0. Here as in the authors' decoder, position = previous + 1 + distance.
    """
    shape = (48, 50)
    keep = np.flatnonzero(rng.random(np.prod(shape)) < 0.07)
    keep = keep[keep != 0]
    table = np.concatenate(([0.0], rng.standard_normal(31))).astype(np.float32)
    distance: list[int] = []
    index: list[int] = []
    previous = -1
    for position, weight in zip(keep, 1 + every(rng, 31, keep.shape), strict=True):
        while position - previous - 1 > 15:
            distance.append(15)
            index.append(0)
            previous += 16
        distance.append(position - previous - 1)
        index.append(weight)
        previous = position
    want = np.zeros(np.prod(shape), np.float32)
    at = -1
    for step, weight in zip(distance, index, strict=True):
        at += step + 1
        want[at] = table[weight]
    return {
        "distance": np.array(distance, np.uint8),
        "index": np.array(index, np.uint8),
        "table": table,
        "want": want.reshape(shape).view(np.uint32),
    }


def main() -> int:
    """Make every fixture; write it, or compare it with the committed one."""
    parser = argparse.ArgumentParser(description="Freeze the oracles of tests/test_schemes*.py.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = 0
    for name, make in SCHEMES.items():
        with np.errstate(all="ignore"):
            fixture = make(np.random.default_rng(zlib.crc32(name.encode())))
        path = HERE / f"{name}.npz"
        if check:
            frozen = np.load(path)
            same = set(frozen) == set(fixture) and all(
                frozen[key].dtype == value.dtype and np.array_equal(frozen[key], value)
                for key, value in fixture.items()
            )
            stale += not same
            print(f"{name}: {'same' if same else 'DIFFERS'}")  # noqa: T201
        else:
            np.savez_compressed(path, **fixture)
            print(f"{name}: {path.stat().st_size} bytes")  # noqa: T201
    return stale


if __name__ == "__main__":
    sys.exit(main())
