// Rounding between binary32, float16 and bfloat16 (SPEC 8.6.2): to nearest, ties to even. A number
// here is exact in binary32, and one operation of the language on two of them, rounded by
// Math.fround, is one of binary32.

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);
const NAN = { float16: 0x7e00, bfloat16: 0x7fc0, float32: 0x7fc00000 }; // R-QNT-017

export function float16Bits(x) {
  if (x !== x) return NAN.float16;
  float[0] = x;
  const bits = word[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 127 + 15;
  const mantissa = bits & 0x7fffff;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent > 0) return sign | roundShift((exponent << 23) | mantissa, 13);
  return exponent < -10 ? sign : sign | roundShift(mantissa | 0x800000, 14 - exponent);
}

/** x / 2^k, to nearest, ties to even; a carry may reach the exponent. */
function roundShift(x, k) {
  const result = x >>> k;
  const rest = x & ((1 << k) - 1);
  const half = 1 << (k - 1);
  return rest > half || (rest === half && result & 1) ? result + 1 : result;
}

export function bfloat16Bits(x) {
  if (x !== x) return NAN.bfloat16;
  float[0] = x;
  return (word[0] + 0x7fff + ((word[0] >>> 16) & 1)) >>> 16;
}

export function float32Bits(x) {
  if (x !== x) return NAN.float32;
  float[0] = x;
  return word[0];
}

/** x rounded to bfloat16, as a number. */
export function toBfloat16(x) {
  word[0] = bfloat16Bits(x) << 16;
  return float[0];
}

/** x rounded to float16, as a number. */
export function toFloat16(x) {
  const bits = float16Bits(x);
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}
