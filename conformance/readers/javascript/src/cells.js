// Arrays of cells (SPEC 7): unpacked, one element in one or several words of at most 32 bits.

import { limitExceeded } from "./limits.js";

const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };

/**
 * Words per element: 1, or 2 and 4 for elements of 8 and 16 bytes, which are moved as words of 4.
 */
export const wordsOf = (size) => (size > 4 ? size / 4 : 1);

/** `n` elements of `size` bytes as zeros, an element in its own width. */
export function allocate(n, size) {
  try {
    return new WORDS[Math.min(size, 4)](n * wordsOf(size));
  } catch (error) {
    if (error instanceof RangeError) limitExceeded(`no memory for ${n} elements of ${size} bytes`);
    throw error;
  }
}

export const bytesOf = (words) => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

/** Elements `lo` to `hi` without a copy. */
export const range = (words, size, lo, hi) =>
  words.subarray(lo * wordsOf(size), hi * wordsOf(size));

/** Packed cells to one byte a cell, for widths below 8. */
export function unpack(packed, bits, out) {
  const n = out.length;
  const mask = (1 << bits) - 1;
  if (bits === 4) {
    for (let i = 0; i < n; i++) out[i] = (packed[i >> 1] >> ((i & 1) << 2)) & 15;
    return;
  }
  for (let i = 0, p = 0; i < n; i++, p += bits) {
    const k = p >>> 3;
    out[i] = ((packed[k] | (packed[k + 1] << 8)) >> (p & 7)) & mask;
  }
}

/** One byte a cell to packed cells. */
export function pack(cells, bits) {
  const out = new Uint8Array(Math.ceil((cells.length * bits) / 8));
  for (let i = 0; i < cells.length; i++) {
    const p = i * bits;
    const k = Math.floor(p / 8);
    const x = cells[i] << (p % 8);
    out[k] |= x;
    if (x > 255) out[k + 1] |= x >> 8;
  }
  return out;
}

/** The image of elements: their bytes, a signed cell below 8 bits sign-extended (SPEC 2.4). */
export function image(type, words) {
  if (!type.signed || type.bits >= 8) return bytesOf(words);
  const shift = 32 - type.bits;
  const out = allocate(words.length, 1);
  for (let i = 0; i < out.length; i++) out[i] = (words[i] << shift) >> shift;
  return out;
}

/** Copies element `from` of `source` to the elements `at` to `end` of `out`. */
export function fill(out, at, end, source, from, words) {
  if (words === 1) {
    out.fill(source[from], at, end);
    return;
  }
  for (let i = at * words; i < end * words; i++) out[i] = source[from * words + (i % words)];
}
