"""Values of cells, and binary32 arithmetic on exact numbers (SPEC 6.2, 8.6.2): no host floats."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from conformance.generator import dtypes

IEEE = "ieee"
"""The largest exponent means infinity or NaN; other formats name their NaN patterns."""
FORMATS: dict[str, tuple[int, int, int, str | frozenset[int]]] = {
    "float16": (5, 10, 15, IEEE),
    "bfloat16": (8, 7, 127, IEEE),
    "float32": (8, 23, 127, IEEE),
    "float64": (11, 52, 1023, IEEE),
    "float4_e2m1fn": (2, 1, 1, frozenset()),
    "float6_e2m3fn": (2, 3, 1, frozenset()),
    "float6_e3m2fn": (3, 2, 3, frozenset()),
    "float8_e3m4": (3, 4, 3, IEEE),
    "float8_e4m3": (4, 3, 7, IEEE),
    "float8_e4m3b11fnuz": (4, 3, 11, frozenset({0x80})),
    "float8_e4m3fn": (4, 3, 7, frozenset({0x7F, 0xFF})),
    "float8_e4m3fnuz": (4, 3, 8, frozenset({0x80})),
    "float8_e5m2": (5, 2, 15, IEEE),
    "float8_e5m2fnuz": (5, 2, 16, frozenset({0x80})),
}
"""Exponent bits, mantissa bits, bias, NaNs."""
CANONICAL_NAN = {"float16": 0x7E00, "bfloat16": 0x7FC0, "float32": 0x7FC00000}


@dataclass(frozen=True)
class Number:
    """A sign and a magnitude, which is None for infinity."""

    minus: bool
    size: Fraction | None
    nan: bool = False

    @property
    def infinite(self) -> bool:
        """Whether it is an infinity."""
        return self.size is None and not self.nan

    @property
    def negative(self) -> Number:
        """The number with the other sign."""
        return Number(not self.minus, self.size, self.nan)

    @property
    def exact(self) -> Fraction:
        """The value of a finite number."""
        if self.size is None:
            raise ValueError("not finite")
        return -self.size if self.minus else self.size


NAN = Number(minus=False, size=None, nan=True)


def number(value: int | Fraction) -> Number:
    """Return a number that is not -0."""
    return Number(value < 0, abs(Fraction(value)))


def power(exponent: int) -> Fraction:
    """Return a power of two."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def is_integer(dtype: str) -> bool:
    """Return whether the cells are bool or integer."""
    return dtypes.IDS[dtype] < 0x30


def value(dtype: str, cell: int) -> Number:
    """Return what a cell means (SPEC 6.2)."""
    size = dtypes.bits(dtype)
    if is_integer(dtype):
        negative = dtypes.signed(dtype) and cell >> (size - 1)
        return number(cell - (1 << size) if negative else cell)
    if dtype == "float8_e8m0fnu":
        return NAN if cell == 255 else number(power(cell - 127))
    wide, mantissa, bias, nans = FORMATS[dtype]
    minus = bool(cell >> (size - 1))
    exponent = cell >> mantissa & ((1 << wide) - 1)
    fraction = Fraction(cell & ((1 << mantissa) - 1), 1 << mantissa)
    if nans == IEEE and exponent == (1 << wide) - 1:
        return NAN if fraction else Number(minus, None)
    if nans != IEEE and cell in nans:
        return NAN
    if exponent == 0:
        return Number(minus, power(1 - bias) * fraction)
    return Number(minus, power(exponent - bias) * (1 + fraction))


def rounded(dtype: str, x: Number) -> Number:
    """Return the number of float16, bfloat16 or float32 nearest to x, ties to even."""
    if not x.size:
        return x
    wide, mantissa, bias, _ = FORMATS[dtype]
    exponent = x.size.numerator.bit_length() - x.size.denominator.bit_length()
    if x.size < power(exponent):
        exponent -= 1
    unit = power(max(exponent, 1 - bias) - mantissa)
    whole, rest = divmod(x.size, unit)
    if rest * 2 > unit or (rest * 2 == unit and whole % 2):
        whole += 1
    size = whole * unit
    return Number(x.minus, None if size >= power((1 << wide) - 1 - bias) else size)


def cell(dtype: str, x: Number) -> int:
    """Return the bits of a number that float16, bfloat16 or float32 holds (R-QNT-017)."""
    wide, mantissa, bias, _ = FORMATS[dtype]
    if x.nan:
        return CANONICAL_NAN[dtype]
    sign = int(x.minus) << (wide + mantissa)
    if x.size is None:
        return sign | ((1 << wide) - 1) << mantissa
    least = power(1 - bias)
    if x.size < least:
        field = x.size / least * (1 << mantissa)
    else:
        exponent = x.size.numerator.bit_length() - x.size.denominator.bit_length()
        exponent -= x.size < power(exponent)
        field = (x.size / power(exponent) + exponent + bias - 1) * (1 << mantissa)
    if field.denominator != 1:
        raise ValueError(f"{x} is no {dtype}")
    return sign | field.numerator


def literal(dtype: str, text: int | str) -> int:
    """Return the cell nearest to a number, given as `1/3`, `-0`, `0.1`, `-inf` or `nan`."""
    minus, size = str(text).startswith("-"), str(text).removeprefix("-")
    if size == "nan":
        return CANONICAL_NAN[dtype]
    exact = None if size == "inf" else Fraction(size)
    return cell(dtype, rounded(dtype, Number(minus, exact)))


def _float32(exact: Fraction, *, minus: bool) -> Number:
    return rounded("float32", Number(minus, abs(exact)))


def add(x: Number, y: Number) -> Number:
    """Return x + y in binary32; x + -x is +0, and only -0 + -0 is -0."""
    if x.nan or y.nan or (x.infinite and y.infinite and x.minus != y.minus):
        return NAN
    if x.infinite or y.infinite:
        return x if x.infinite else y
    total = x.exact + y.exact
    return _float32(total, minus=total < 0 or (not total and x.minus and y.minus))


def sub(x: Number, y: Number) -> Number:
    """Return x - y in binary32."""
    return add(x, y.negative)


def mul(x: Number, y: Number) -> Number:
    """Return x * y in binary32."""
    minus = x.minus != y.minus
    if x.nan or y.nan:
        return NAN
    if x.size is None or y.size is None:
        return NAN if x.size == 0 or y.size == 0 else Number(minus, None)
    return _float32(x.size * y.size, minus=minus)


def div(x: Number, y: Number) -> Number:
    """Return x / y in binary32."""
    minus = x.minus != y.minus
    if x.nan or y.nan or (x.infinite and y.infinite) or (x.size == 0 and y.size == 0):
        return NAN
    if x.size is None or y.size == 0:
        return Number(minus, None)
    return _float32(Fraction(0) if y.size is None else x.size / y.size, minus=minus)


def dequantized(
    result: str,
    code: tuple[str, int],
    scale: tuple[str, int],
    *,
    zero: tuple[str, int] | None = None,
    bias: tuple[str, int] | None = None,
    min: tuple[str, int] | None = None,
    divide: bool = False,
    step: str = "float32",
) -> int:
    """Return the cell of one element of a quantized node; operands are (data type, cell)."""
    t = wide(code)
    if zero is not None:
        if is_integer(code[0]) and is_integer(zero[0]):
            t = rounded("float32", number(value(*code).exact - value(*zero).exact))
        else:
            t = sub(t, wide(zero))
        t = rounded(step, t)
    y = rounded(step, (div if divide else mul)(t, wide(scale)))
    if bias is not None:
        y = rounded(step, add(y, wide(bias)))
    if min is not None:
        y = rounded(step, sub(y, wide(min)))
    return cell(result, rounded(result, y))


@cache
def wide(operand: tuple[str, int]) -> Number:
    """Return an operand in binary32: an integer is rounded once."""
    return rounded("float32", value(*operand))
