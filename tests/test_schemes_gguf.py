"""GGUF's block types as trees, bit for bit: SPEC.md's appendix on schemes in use.

Every type stores rows of blocks; a block's bytes are split as ggml-common.h declares its struct.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

import nnpack
from tests.schemes import Array, Value, check, constant, load, stripes, unsigned

IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], "i1")
# Twice e2m1, so that it is an integer; code 8 is 0 here, -0 in OCP's own table.
TWICE_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], "i1")
HALVES = np.arange(16, dtype=np.float32) + np.float32(0.5)
ODD = np.arange(1, 32, 2, dtype=np.uint8)
PLUS_MINUS = np.array([1, -1], np.int8)
# Subtracted: ggml adds 1/8, or -1/8 where the bit is set.
DELTA = np.array([-0.125, 0.125], np.float32)


def split(raw: Array, *lengths: int) -> list[Array]:
    """Cut the blocks of [rows, blocks, bytes] into their struct's members."""
    assert sum(lengths) == raw.shape[-1]
    return np.split(raw, np.cumsum(lengths)[:-1], axis=-1)


def half(raw: Array) -> Array:
    """One float16 a block, as [rows, blocks]."""
    return words(raw, "<f2")[..., 0]


def rows(codes: Array) -> Array:
    """[rows, blocks, ...] joined into [rows, elements]."""
    return codes.reshape(len(codes), -1)


def bit_string(raw: Array) -> Array:
    """The bits of a row of bytes, each byte's low bit first."""
    return np.unpackbits(raw, axis=-1, bitorder="little")


def chunks(qs: Array, size: int) -> Array:
    """Cut a block's bytes into runs that are striped on their own."""
    return qs.reshape(*qs.shape[:2], -1, size)


def shifted(raw: Array, *shifts: int) -> Array:
    """Each word shifted right by each of these, next to each other."""
    return np.stack([raw >> shift for shift in shifts], axis=-1).reshape(*raw.shape[:-1], -1)


def words(raw: Array, dtype: str) -> Array:
    """Bytes as little-endian words."""
    return np.ascontiguousarray(raw).view(dtype)


def zero_point(codes: Array, width: int, scale: Value, zero: int, block: int) -> Value:
    """(q - zero) * scale over blocks of a row."""
    grid = (len(codes), codes.shape[1] // block)
    return nnpack.Quantized(
        unsigned(codes, width), scale, zero=constant(zero, grid, width), block=(1, block)
    )


def palette(table: Array, indices: Array, width: int) -> Value:
    """One table for the whole tensor."""
    return nnpack.Codebook(table.reshape(1, 1, -1), unsigned(indices, width))


def test_q4_0() -> None:
    """Q4_0 is (q - 8) * scale over blocks of 32: uint4 codes, float16 scales, a constant zero."""
    f = load("q4_0")
    d, qs = split(f["raw"], 2, 16)
    check(zero_point(rows(stripes(qs, 4)), 4, half(d), 8, 32), f["want"])


def test_q4_1() -> None:
    """Q4_1 is q * scale + bias over blocks of 32: uint4 codes, scale and bias float16."""
    f = load("q4_1")
    d, m, qs = split(f["raw"], 2, 2, 16)
    codes = unsigned(rows(stripes(qs, 4)), 4)
    check(nnpack.Quantized(codes, half(d), bias=half(m), block=(1, 32)), f["want"])


def test_q5_0() -> None:
    """Q5_0 is (q - 16) * scale over blocks of 32: uint5 codes, their high bits in a mask."""
    f = load("q5_0")
    d, qh, qs = split(f["raw"], 2, 4, 16)
    codes = rows(stripes(qs, 4) | bit_string(qh) << 4)
    check(zero_point(codes, 5, half(d), 16, 32), f["want"])


def test_q5_1() -> None:
    """Q5_1 is q * scale + bias over blocks of 32: uint5 codes, scale and bias float16."""
    f = load("q5_1")
    d, m, qh, qs = split(f["raw"], 2, 2, 4, 16)
    codes = unsigned(rows(stripes(qs, 4) | bit_string(qh) << 4), 5)
    check(nnpack.Quantized(codes, half(d), bias=half(m), block=(1, 32)), f["want"])


def test_q8_0() -> None:
    """Q8_0 is q * scale over blocks of 32: int8 codes, float16 scales."""
    f = load("q8_0")
    d, qs = split(f["raw"], 2, 32)
    check(nnpack.Quantized(rows(qs.view(np.int8)), half(d), block=(1, 32)), f["want"])


def k_quant(codes: Array, width: int, scale: Value, low: Value, block: int) -> Value:
    """Blocks of a row as q * scale - min."""
    return nnpack.Quantized(unsigned(codes, width), scale, min=low, block=(1, block))


def super_scale(scales: Array, width: int, d: Array, zero: int | None = None) -> Value:
    """Integer scales times one float16 a super-block: quantized scales."""
    codes, per_block = rows(scales), scales.shape[-1]
    if zero is not None:
        return zero_point(codes, width, half(d), zero, per_block)
    return nnpack.Quantized(unsigned(codes, width), half(d), block=(1, per_block))


def scales_and_mins(packed: Array) -> tuple[Array, Array]:
    """Q4_K's and Q5_K's eight scales and eight minima of 6 bits, from 12 bytes."""
    low, high, rest = split(packed, 4, 4, 4)
    scales = np.concatenate((low & 63, rest & 15 | low >> 6 << 4), axis=-1)
    minima = np.concatenate((high & 63, rest >> 4 | high >> 6 << 4), axis=-1)
    return scales, minima


def test_q2_k() -> None:
    """Q2_K is q * scale - min over blocks of 16, scale and min uint4 times float16 of 256."""
    f = load("q2_k")
    scales, qs, d, dmin = split(f["raw"], 16, 64, 2, 2)
    scale, low = super_scale(scales & 15, 4, d), super_scale(scales >> 4, 4, dmin)
    check(k_quant(rows(stripes(chunks(qs, 32), 2)), 2, scale, low, 16), f["want"])


def test_q3_k() -> None:
    """Q3_K is (q - 4) * scale over blocks of 16, scale = (sc - 32) * float16, all of 3, 6 bits."""
    f = load("q3_k")
    hmask, qs, packed, d = split(f["raw"], 32, 64, 12, 2)
    low, high = split(packed, 8, 4)
    scale = super_scale(stripes(low, 4) | stripes(high, 2) << 4, 6, d, zero=32)
    # A set bit means that 4 is not subtracted: with zero = 4 it is the code's own third bit.
    codes = rows(stripes(chunks(qs, 32), 2)) | rows(stripes(hmask, 1)) << 2
    check(zero_point(codes, 3, scale, 4, 16), f["want"])


def test_q4_k() -> None:
    """Q4_K is q * scale - min over blocks of 32, scale and min uint6 times float16 of 256."""
    f = load("q4_k")
    d, dmin, packed, qs = split(f["raw"], 2, 2, 12, 128)
    scales, minima = scales_and_mins(packed)
    scale, low = super_scale(scales, 6, d), super_scale(minima, 6, dmin)
    check(k_quant(rows(stripes(chunks(qs, 32), 4)), 4, scale, low, 32), f["want"])


def test_q5_k() -> None:
    """Q5_K is Q4_K with uint5 codes, their high bits in a mask of bit planes."""
    f = load("q5_k")
    d, dmin, packed, qh, qs = split(f["raw"], 2, 2, 12, 32, 128)
    scales, minima = scales_and_mins(packed)
    scale, low = super_scale(scales, 6, d), super_scale(minima, 6, dmin)
    codes = rows(stripes(chunks(qs, 32), 4)) | rows(stripes(qh, 1)) << 4
    check(k_quant(codes, 5, scale, low, 32), f["want"])


def test_q6_k() -> None:
    """Q6_K is (q - 32) * scale over blocks of 16, uint6 codes, scale int8 times float16 of 256."""
    f = load("q6_k")
    ql, qh, scales, d = split(f["raw"], 128, 64, 16, 2)
    codes = rows(stripes(chunks(ql, 64), 4)) | rows(stripes(chunks(qh, 32), 2)) << 4
    scale = nnpack.Quantized(rows(scales.view(np.int8)), half(d), block=(1, 16))
    check(zero_point(codes, 6, scale, 32, 16), f["want"])


def test_iq4_nl() -> None:
    """IQ4_NL is table[q] * scale over blocks of 32: the codes are a codebook of 16 int8."""
    f = load("iq4_nl")
    d, qs = split(f["raw"], 2, 16)
    codes = palette(IQ4, rows(stripes(qs, 4)), 4)
    check(nnpack.Quantized(codes, half(d), block=(1, 32)), f["want"])


def test_iq4_xs() -> None:
    """IQ4_XS is IQ4_NL's codebook times scale = (sc - 32) * float16 of 256, sc of 6 bits."""
    f = load("iq4_xs")
    d, high, low, qs = split(f["raw"], 2, 2, 4, 128)
    scales = shifted(low, 0, 4) & 15 | (shifted(high, 0, 2, 4, 6) & 3) << 4
    scale = super_scale(scales, 6, d, zero=32)
    codes = palette(IQ4, rows(stripes(chunks(qs, 16), 4)), 4)
    check(nnpack.Quantized(codes, scale, block=(1, 32)), f["want"])


def test_tq2_0() -> None:
    """TQ2_0 is (q - 1) * scale over blocks of 256: uint2 codes, float16 scales."""
    f = load("tq2_0")
    qs, d = split(f["raw"], 64, 2)
    check(zero_point(rows(stripes(chunks(qs, 32), 2)), 2, half(d), 1, 256), f["want"])


def test_tq1_0() -> None:
    """TQ1_0 is TQ2_0's tree; its digits of base 3 are read off the top of 3^k times the byte."""
    f = load("tq1_0")
    first, rest, last, d = split(f["raw"], 32, 16, 4, 2)
    codes = [
        (part * np.uint8(3**k)).astype(np.uint16) * 3 >> 8
        for part, digits in ((first, 5), (rest, 5), (last, 4))
        for k in range(digits)
    ]
    check(
        zero_point(rows(np.concatenate(codes, axis=-1).astype(np.uint8)), 2, half(d), 1, 256),
        f["want"],
    )


def vectors(grid: Array, indices: Array) -> Value:
    """One table of vectors along a row for the whole tensor."""
    return nnpack.Codebook(grid[None, None], rows(indices), vector_axis=1)


def iq_value(sign: Value, grid: Value, scale: Value, block: int) -> Value:
    """(sign * grid) * scale: the grid's magnitudes are the inner scale, one for each element."""
    return nnpack.Quantized(nnpack.Quantized(sign, grid, block=(1, 1)), scale, block=(1, block))


def iq_scale(table: Array, indices: Array, d: Array) -> Value:
    """A small table of factors, times one float16 a super-block."""
    return nnpack.Quantized(palette(table, rows(indices), 8), half(d), block=(1, indices.shape[-1]))


def sign_patterns(indices: Array) -> Value:
    """Signs by a table of 128 patterns of eight bits, as IQ2_XXS has them."""
    patterns = PLUS_MINUS[bit_string(load("iq2_xxs")["signs"][:, None])]
    return vectors(patterns, indices.astype(np.uint8))


def sign_bits(raw: Array) -> Value:
    """A sign bit for each element."""
    return palette(PLUS_MINUS, rows(bit_string(raw)), 1)


def test_iq2_xxs() -> None:
    """IQ2_XXS is (signs * grid) * scale: vector codebooks of 8, the scale a codebook * float16."""
    f = load("iq2_xxs")
    d, qs = split(f["raw"], 2, 64)
    pairs = chunks(qs, 8)
    index, packed = pairs[..., :4], words(pairs[..., 4:], "<u4")[..., 0]
    scale = iq_scale(HALVES / 4, (packed >> 28).astype(np.uint8), d)
    sign = sign_patterns(shifted(packed, 0, 7, 14, 21) & 127)
    check(iq_value(sign, vectors(f["grid"], index), scale, 32), f["want"])


def test_iq2_xs() -> None:
    """IQ2_XS is IQ2_XXS with 512 vectors, 9 bits of grid and 7 of signs to a word."""
    f = load("iq2_xs")
    d, qs, scales = split(f["raw"], 2, 64, 8)
    qs = words(qs, "<u2")
    scale = iq_scale(HALVES / 4, shifted(scales, 0, 4) & 15, d)
    check(iq_value(sign_patterns(qs >> 9), vectors(f["grid"], qs & 511), scale, 16), f["want"])


def test_iq2_s() -> None:
    """IQ2_S is IQ2_XXS with 1024 vectors and a sign bit an element: a codebook of 1 and -1."""
    f = load("iq2_s")
    d, qs, signs, qh, scales = split(f["raw"], 2, 32, 32, 8, 8)
    index = qs | (shifted(qh, 0, 2, 4, 6) & 3).astype(np.uint16) << 8
    scale = iq_scale(HALVES / 4, shifted(scales, 0, 4) & 15, d)
    check(iq_value(sign_bits(signs), vectors(f["grid"], index), scale, 16), f["want"])


def test_iq3_xxs() -> None:
    """IQ3_XXS is IQ2_XXS with a grid of vectors of 4 and signs of 8."""
    f = load("iq3_xxs")
    d, qs, packed = split(f["raw"], 2, 64, 32)
    packed = words(packed, "<u4")
    scale = iq_scale(HALVES / 2, (packed >> 28).astype(np.uint8), d)
    sign = sign_patterns(shifted(packed, 0, 7, 14, 21) & 127)
    check(iq_value(sign, vectors(f["grid"], qs), scale, 32), f["want"])


def test_iq3_s() -> None:
    """IQ3_S is IQ2_S with 512 vectors of 4, the scale's factors odd."""
    f = load("iq3_s")
    d, qs, qh, signs, scales = split(f["raw"], 2, 64, 8, 32, 4)
    index = qs | bit_string(qh).astype(np.uint16) << 8
    scale = iq_scale(ODD, shifted(scales, 0, 4) & 15, d)
    check(iq_value(sign_bits(signs), vectors(f["grid"], index), scale, 32), f["want"])


def test_iq1_s() -> None:
    """IQ1_S is (grid - zero) * scale: vectors of 8, zero a codebook of 1/8 with both signs."""
    f = load("iq1_s")
    d, qs, qh = split(f["raw"], 2, 32, 16)
    qh = words(qh, "<u2")
    index = qs | (shifted(qh, 0, 3, 6, 9) & 7) << 8
    scale = iq_scale(ODD[:8], (qh >> 12 & 7).astype(np.uint8), d)
    zero = palette(DELTA, rows(qh >> 15).astype(np.uint8), 1)
    value = nnpack.Quantized(vectors(f["grid"], index), scale, zero=zero, block=(1, 32))
    check(value, f["want"])


def test_iq1_m() -> None:
    """IQ1_M is IQ1_S with a zero for 8 and a scale for 16: two levels, the inner scale 1."""
    f = load("iq1_m")
    qs, qh, packed = split(f["raw"], 32, 16, 8)
    packed = words(packed, "<u2")
    # The super-block's float16 is in the top four bits of each of the four words of scales.
    d = (packed >> 12 << np.arange(0, 16, 4, dtype=np.uint16)).sum(-1, dtype=np.uint16)
    high = shifted(qh, 0, 4) & 15
    index = qs | (high & 7).astype(np.uint16) << 8
    centred = nnpack.Quantized(
        vectors(f["grid"], index),
        constant(1, (len(qs), 4 * 32), 1),
        zero=palette(DELTA, rows(high >> 3), 1),
        block=(1, 8),
    )
    factors = (shifted(packed, 0, 3, 6, 9) & 7).astype(np.uint8)
    scale = nnpack.Quantized(palette(ODD[:8], rows(factors), 8), d.view(np.float16), block=(1, 16))
    check(nnpack.Quantized(centred, scale, block=(1, 16)), f["want"])


def test_mxfp4() -> None:
    """MXFP4 of ggml is a codebook of twice e2m1 times a codebook of 2^(e - 128), blocks of 32."""
    f = load("ggml_mxfp4")
    e, qs = split(f["raw"], 1, 16)
    # Every float8_e8m0fnu halved, but 255, which ggml does not read as NaN.
    powers = np.ldexp(np.float32(1), np.arange(256) - 128).astype(np.float32)
    codes = palette(TWICE_E2M1, rows(stripes(qs, 4)), 4)
    check(nnpack.Quantized(codes, palette(powers, rows(e), 8), block=(1, 32)), f["want"])


def test_nvfp4() -> None:
    """NVFP4 of ggml is a codebook of twice e2m1 times a codebook of half e4m3, blocks of 16."""
    f = load("ggml_nvfp4")
    scales, qs = split(f["raw"], 4, 32)
    magnitudes = np.arange(128, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    # The sign bit is ignored; 0x7F is no NaN but 0, and 0xFF is neither.
    table = np.concatenate((magnitudes, magnitudes)) / np.float32(2)
    table[[0x7F, 0xFF]] = 0, 240
    codes = palette(TWICE_E2M1, rows(stripes(chunks(qs, 8), 4)), 4)
    check(nnpack.Quantized(codes, palette(table, rows(scales), 8), block=(1, 16)), f["want"])
