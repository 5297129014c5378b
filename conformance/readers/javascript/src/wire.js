// Numbers, alignment and padding (SPEC 2.2, 5.7).

import { need } from "./errors.js";

if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
  throw new Error("this reader views cells in place, which needs a little-endian machine");
}

export const LIMIT_62 = 1n << 62n;

export const u16 = (b, at) => b[at] | (b[at + 1] << 8);
export const u32 = (b, at) =>
  (b[at] | (b[at + 1] << 8) | (b[at + 2] << 16) | (b[at + 3] << 24)) >>> 0;
export const u64 = (b, at) => (BigInt(u32(b, at + 4)) << 32n) | BigInt(u32(b, at));

export function putU16(b, at, value) {
  b[at] = value;
  b[at + 1] = value >>> 8;
}

export function putU32(b, at, value) {
  b[at] = value;
  b[at + 1] = value >>> 8;
  b[at + 2] = value >>> 16;
  b[at + 3] = value >>> 24;
}

/** `value`: a number below 2^53. */
export function putU64(b, at, value) {
  putU32(b, at, value % 2 ** 32);
  putU32(b, at + 4, Math.floor(value / 2 ** 32));
}

/** A u64 that stands for a place or a length in a file: checked as a BigInt, exact as a number. */
export function position(b, at, bound, errorClass, detail, offset) {
  const value = u64(b, at);
  need(value <= BigInt(bound), errorClass, detail, offset);
  return Number(value);
}

export const upAlign = (x, a) => Math.ceil(x / a) * a;
export const up8 = (x) => Math.ceil(x / 8) * 8;

export function isZero(b, from, to) {
  for (let i = from; i < to; i++) if (b[i] !== 0) return false;
  return true;
}

/**
 * Bytes that must be zero, such as padding (R-CHN-002); `base` is the file offset of b[0].
 */
export function needZeros(b, from, to, detail, base = 0) {
  for (let i = from; i < to; i++) {
    if (b[i] !== 0) need(false, "bad-layout", detail, base + i);
  }
}

export function equalBytes(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const DIGITS = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

export function hex(b) {
  let out = "";
  for (let i = 0; i < b.length; i++) out += DIGITS[b[i]];
  return out;
}

export const startsWith = (b, prefix) => prefix.every((x, i) => b[i] === x);
