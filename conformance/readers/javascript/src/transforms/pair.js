// pair (SPEC 10.4): three planes, control, hot and rest.

import { bytesOf } from "../cells.js";
import { exponents, forExceptions, halves, parseControl, split, words } from "./control.js";

const BYTE = "int8, uint8";
const FLOAT8 = "float8";
const KINDS = new Map([
  [0x18, BYTE],
  [0x28, BYTE],
  ...[0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76].map((id) => [id, FLOAT8]),
  [0x39, "float16"],
  [0x49, "bfloat16"],
  [0x3a, "float32"],
]);
const hasBlockExponents = (type) => type.id === 0x49 || type.id === 0x3a;

export const pair = {
  id: 3,
  name: "pair",
  hasForms: true,
  accepts: (type) => KINDS.has(type.id),
  planes: () => 3,
  greatestParameter: (type) => (hasBlockExponents(type) ? 255 : 0),

  planeLengths(type, n, a) {
    const { t, m, h } = split(n);
    const control = 4 + 12 * a + t * type.size;
    switch (KINDS.get(type.id)) {
      case BYTE:
        return [[control, h, h]];
      case FLOAT8:
        return [[control, m, m / 8]];
      case "float16":
        return [[control, m, m]];
      case "bfloat16":
        return [
          [control, h, m],
          [control, m, m],
        ];
      default:
        return [
          [control, h, 3 * m],
          [control, m, 3 * m],
        ];
    }
  },

  decode([controlPlane, hot, rest], type, out, a, offset) {
    const { m } = split(out.length);
    const control = parseControl(
      controlPlane,
      a,
      (form) => form === 0 && hasBlockExponents(type),
      offset,
    );
    bytesOf(out).set(control.tail, m * type.size);
    switch (KINDS.get(type.id)) {
      case BYTE:
        halves(hot, rest, out, 8);
        break;
      case FLOAT8:
        signs(hot, rest, out, m);
        break;
      case "float16":
        halves(words(hot, Uint16Array), words(rest, Uint16Array), out, 16);
        break;
      case "bfloat16":
        exponents(cellExponents(control, hot, m, offset), words(rest, Uint16Array), out);
        break;
      default: {
        const y = new Uint16Array(m);
        const W = words(rest.subarray(0, m), Uint16Array);
        exponents(cellExponents(control, hot, m, offset), W, y);
        halves(new Uint32Array(y.buffer), words(rest.subarray(m), Uint32Array), out, 32);
      }
    }
  },
};

function signs(hot, rest, out, m) {
  const eighth = m / 8;
  for (let bit = 0, i = 0; bit < 8; bit++) {
    for (let k = 0; k < eighth; k++, i++) out[i] = hot[i] ^ (((rest[k] >> bit) & 1) << 7);
  }
}

/** q: the exponents as bytes. */
function cellExponents(control, hot, m, offset) {
  if (control.form === 1) return hot;
  const h = m / 2;
  const q = new Uint8Array(m);
  for (let i = 0; i < h; i++) {
    q[i] = (hot[i] & 15) + control.base;
    q[h + i] = (hot[i] >> 4) + control.base;
  }
  forExceptions(control, m, offset, (p, exponent) => (q[p] = exponent));
  return q;
}
