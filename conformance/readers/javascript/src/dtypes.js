// Data types (SPEC 6) and the values of their cells.

/**
 * float: [bits of the exponent, bits of the mantissa, bias, patterns with another meaning (SPEC
 * 6.2)]
 */
const FLOATS = {
  0x39: [16, "float16", [5, 10, 15, "ieee"]],
  0x3a: [32, "float32", [8, 23, 127, "ieee"]],
  0x3b: [64, "float64", [11, 52, 1023, "ieee"]],
  0x49: [16, "bfloat16", [8, 7, 127, "ieee"]],
  0x64: [4, "float4_e2m1fn", [2, 1, 1, "none"]],
  0x66: [6, "float6_e2m3fn", [2, 3, 1, "none"]],
  0x6e: [6, "float6_e3m2fn", [3, 2, 3, "none"]],
  0x70: [8, "float8_e3m4", [3, 4, 3, "ieee"]],
  0x71: [8, "float8_e4m3", [4, 3, 7, "ieee"]],
  0x72: [8, "float8_e4m3b11fnuz", [4, 3, 11, "fnuz"]],
  0x73: [8, "float8_e4m3fn", [4, 3, 7, "fn"]],
  0x74: [8, "float8_e4m3fnuz", [4, 3, 8, "fnuz"]],
  0x75: [8, "float8_e5m2", [5, 2, 15, "ieee"]],
  0x76: [8, "float8_e5m2fnuz", [5, 2, 16, "fnuz"]],
  0x77: [8, "float8_e8m0fnu", null],
};

/** By id: {id, name, bits, size (bytes of an element in an image), family, signed, float}. */
export const DTYPES = new Map();

function add(id, name, bits, family, more = {}) {
  DTYPES.set(id, Object.freeze({ id, name, bits, size: Math.ceil(bits / 8), family, ...more }));
}

const WIDE = { 9: 16, 10: 32, 11: 64, 12: 128 };
add(0x01, "bool", 1, "bool");
for (let w = 1; w <= 11; w++)
  add(0x10 + w, `uint${WIDE[w] ?? w}`, WIDE[w] ?? w, "integer", { signed: false });
for (let w = 2; w <= 11; w++)
  add(0x20 + w, `int${WIDE[w] ?? w}`, WIDE[w] ?? w, "integer", { signed: true });
for (const [id, [bits, name, float]] of Object.entries(FLOATS))
  add(Number(id), name, bits, "float", { float });
add(0x5b, "complex64", 64, "complex");
add(0x5c, "complex128", 128, "complex");

export const DTYPE_NAMES = new Set([...DTYPES.values()].map((t) => t.name));

// The groups of SPEC 6.1, of types that may be null for one that the reader does not know.
export const isPosition = (t) => t?.family === "integer" && !t.signed && t.bits <= 32;
export const isInteger = (t) => t?.family === "integer";
export const isOperand = (t) => t != null && t.family !== "complex" && t.bits <= 32;
export const isResult = (t) => t != null && [0x39, 0x49, 0x3a].includes(t.id);

function floatValue(cell, [exponentBits, m, bias, patterns]) {
  const M = cell % 2 ** m;
  const E = Math.floor(cell / 2 ** m) % 2 ** exponentBits;
  const sign = Math.floor(cell / 2 ** (m + exponentBits)) ? -1 : 1;
  if (patterns === "ieee" && E === 2 ** exponentBits - 1) return M === 0 ? sign * Infinity : NaN;
  if (patterns === "fn" && cell % 128 === 127) return NaN;
  if (patterns === "fnuz" && cell === 128) return NaN;
  return sign * (E === 0 ? 2 ** (1 - bias) * (M / 2 ** m) : 2 ** (E - bias) * (1 + M / 2 ** m));
}

function value(type, cell) {
  if (type.id === 0x77) return cell === 255 ? NaN : 2 ** (cell - 127);
  if (type.float) return floatValue(cell, type.float);
  return type.signed && cell >= 2 ** (type.bits - 1) ? cell - 2 ** type.bits : cell;
}

const tables = new Map();

/** Values by cell of a type of at most 16 bits, exact as numbers. */
function table(type) {
  let t = tables.get(type.id);
  if (t === undefined) {
    t = Float64Array.from({ length: 2 ** type.bits }, (_, cell) => value(type, cell));
    tables.set(type.id, t);
  }
  return t;
}

/** A function from the place of a cell to its value, for cells of an operand type. */
export function valuesOf(type, cells) {
  if (type.bits <= 16) {
    const t = table(type);
    return (i) => t[cells[i]];
  }
  const view = type.float ? Float32Array : type.signed ? Int32Array : Uint32Array;
  const x = new view(cells.buffer, cells.byteOffset, cells.length);
  return (i) => x[i];
}
