// float5 (SPEC 10.6): three planes, control, hot and rest; six bits of a cell beside its coded
// byte.

import { bytesOf } from "../cells.js";
import { exponents, forExceptions, halves, parseControl, split, words } from "./control.js";

const BFLOAT16 = 0x49;
const FLOAT32 = 0x3a;

export const float5 = {
  id: 5,
  name: "float5",
  hasForms: true,
  accepts: (type) => type.id === BFLOAT16 || type.id === FLOAT32,
  planes: () => 3,
  greatestParameter: () => 255,

  planeLengths(type, n, a) {
    const { t, m } = split(n);
    const control = 4 + 12 * a + t * type.size;
    const low = type.id === FLOAT32 ? 2 * m : 0;
    return [
      [control, m, (3 * m) / 4 + low],
      [control, m, m + low],
    ];
  },

  decode([controlPlane, hot, rest], type, out, a, offset) {
    const { m } = split(out.length);
    const control = parseControl(controlPlane, a, (form) => form === 0, offset);
    bytesOf(out).set(control.tail, m * type.size);
    const y = type.id === FLOAT32 ? new Uint16Array(m) : out;
    const high = rest.subarray(0, control.form === 0 ? (3 * m) / 4 : m);
    if (control.form === 1) exponents(hot, words(high, Uint16Array), y);
    else joined(control, hot, high, y, m, offset);
    if (type.id === FLOAT32) {
      halves(new Uint32Array(y.buffer), words(rest.subarray(high.length), Uint32Array), out, 32);
    }
  },
};

/** Form 0: y[0 : m] from hot and V0, V1, V2. */
function joined(control, hot, high, y, m, offset) {
  const r = new Uint8Array(m);
  r.set(high);
  const V = new Uint16Array(r.buffer);
  const k = m / 8;
  for (let i = 0; i < k; i++) {
    V[3 * k + i] = (V[i] >> 1) ^ (V[i] << 1) ^ (V[k + i] >> 5) ^ (V[2 * k + i] >> 3);
  }
  const R = (i) => (r[i] + 256 * r[i + 1 === m ? 0 : i + 1]) & 0x801f;
  const h = m / 2;
  for (let j = 0; j < h; j++) {
    y[j] = (hot[2 * j] << 5) ^ R(2 * j);
    y[h + j] = (hot[2 * j + 1] << 5) ^ (hot[2 * j] >> 3) ^ R(2 * j + 1);
  }
  forExceptions(control, m, offset, (p, exponent) => (y[p] = (y[p] & 0x807f) + 128 * exponent));
  const base = 128 * control.base;
  for (let i = 0; i < m; i++) y[i] += base;
}
