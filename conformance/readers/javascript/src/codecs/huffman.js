// huffman (SPEC 11.6): lanes of canonical codes of at most 12 bits.

import { parseHead, parseWords, requirement, SLOTS } from "./lanes.js";

const LONGEST = 12;

export const huffman = {
  id: 4,
  name: "huffman",

  parseTable(b, offset) {
    const require = requirement("huffman", offset);
    const { lanes, symbols, rest } = parseHead(b, require);
    require(rest.length ===
      Math.ceil(symbols.length / 2), "the table does not end with its last length");
    const codes = symbols.map((symbol, k) => ({
      symbol,
      length: (rest[k >> 1] >> (4 * (k & 1))) & 15,
    }));
    require(codes.every(({ length }) => length <= LONGEST), "a code of more than 12 bits");
    require(symbols.length % 2 === 0 || rest[rest.length - 1] >> 4 === 0, "the unused half byte");
    const sum = codes.reduce((total, { length }) => total + 2 ** (LONGEST - length), 0);
    require(sum === SLOTS, `codes for ${sum} slots`);
    codes.sort((x, y) => x.length - y.length || x.symbol - y.symbol);
    const bySlot = new Uint16Array(SLOTS); // symbol * 16 + length
    let slot = 0;
    for (const { symbol, length } of codes) {
      const end = slot + 2 ** (LONGEST - length);
      bySlot.fill(symbol * 16 + length, slot, end);
      slot = end;
    }
    return { lanes, bySlot };
  },

  decode(b, length, { lanes, bySlot }, offset) {
    const require = requirement("huffman", offset);
    const words = parseWords(b, 0, require);
    const out = new Uint8Array(length);
    const v = new Uint32Array(lanes);
    const c = new Uint8Array(lanes);
    let word = 0;
    for (let i = 0, lane = 0; i < length; i++) {
      let value = v[lane];
      let count = c[lane];
      if (count < LONGEST) {
        if (word === words.length) require(false, "the words end before the symbols");
        value = (value << 16) | words[word++];
        count += 16;
      }
      const entry = bySlot[value >>> (count - LONGEST)];
      out[i] = entry >> 4;
      count -= entry & 15;
      v[lane] = value & ((1 << count) - 1);
      c[lane] = count;
      if (++lane === lanes) lane = 0;
    }
    require(word === words.length, "the symbols end before the words");
    require(v.every((value) => value === 0), "bits behind the last symbol");
    return out;
  },
};
