// What pair and float5 have in common (SPEC 10.4): the control plane, and words that hold parts of
// two cells.

import { need } from "../errors.js";
import { isZero, u16 } from "../wire.js";

/** n = m + t cells: t of the tail, m = 2 h others. */
export function split(n) {
  const t = n % 64;
  const m = n - t;
  return { t, m, h: m / 2 };
}

/** R-TRF-011 to R-TRF-015; `hasBase` tells by the form whether a base may stand. */
export function parseControl(b, a, hasBase, offset) {
  const form = b[0];
  const base = b[1];
  const exceptions = u16(b, 2);
  need(base === 0 || hasBase(form), "bad-value", `base ${base}`, offset + 1);
  need(exceptions <= (form === 0 ? 4 * a : 0), "bad-value", `${exceptions} exceptions`, offset + 2);
  const values = 4 + 8 * a;
  const tail = 4 + 12 * a;
  const unused = isZero(b, 4 + 2 * exceptions, values) && isZero(b, values + exceptions, tail);
  need(unused, "bad-value", "gaps or exponents behind the last exception", offset + 4);
  const gap = (e) => u16(b, 4 + 2 * e);
  return { form, base, exceptions, gap, exponent: (e) => b[values + e], tail: b.subarray(tail) };
}

/** Calls `put(place, exponent)` for each exception; a place of m or more is bad-index. */
export function forExceptions({ exceptions, gap, exponent }, m, offset, put) {
  let p = -1;
  for (let e = 0; e < exceptions; e++) {
    p += 1 + gap(e);
    need(p < m, "bad-index", `an exception at ${p} of ${m} cells`, offset);
    put(p, exponent(e));
  }
}

/** Bytes as words in a copy that is aligned. */
export const words = (bytes, Type) => new Type(bytes.slice().buffer);

/** halves(H, R) into out[0 : 2 h], words of the width of `out`. */
export function halves(H, R, out, bits) {
  const h = H.length;
  const half = bits / 2;
  const low = 2 ** half - 1;
  for (let j = 0; j < h; j++) {
    out[j] = (H[j] << half) ^ (R[j] & low);
    out[h + j] = H[j] ^ (R[j] >>> half);
  }
}

/** exponents(q, W) into y[0 : m]. */
export function exponents(q, W, y) {
  const Q = words(q, Uint16Array);
  const h = W.length;
  for (let j = 0; j < h; j++) {
    const swapped = (W[j] << 8) | (W[j] >> 8);
    y[j] = (Q[j] << 7) ^ (W[j] & 0x807f);
    y[h + j] = (Q[j] >> 1) ^ (swapped & 0x807f);
  }
}
