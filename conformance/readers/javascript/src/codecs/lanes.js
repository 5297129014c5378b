// What huffman and rans have in common (SPEC 11.5): the head of a shared table, and words.

import { need } from "../errors.js";
import { u16 } from "../wire.js";

export const SLOTS = 4096;
const HEAD = 33;
const MAX_LANES_LOG2 = 14;

/**
 * R-COD-023, R-COD-024: lanes, the symbols that may occur in ascending order, and the bytes behind
 * them.
 */
export function parseHead(b, require) {
  require(b.length >= HEAD, "a table without its head");
  require(b[0] <= MAX_LANES_LOG2, `2^${b[0]} lanes`);
  const symbols = [];
  for (let s = 0; s < 256; s++) if ((b[1 + (s >> 3)] >> (s & 7)) & 1) symbols.push(s);
  require(symbols.length > 0, "a table without symbols");
  return { lanes: 2 ** b[0], symbols, rest: b.subarray(HEAD) };
}

export const requirement = (name, offset) => (ok, detail) => {
  if (!ok) need(false, "bad-stream", `${name}: ${detail}`, offset);
};

/** The words of a block from byte `from` on. */
export function parseWords(b, from, require) {
  require((b.length - from) % 2 === 0, "half a word"); // R-COD-026
  const n = (b.length - from) / 2;
  const words = new Uint16Array(n);
  for (let i = 0; i < n; i++) words[i] = u16(b, from + 2 * i);
  return words;
}
