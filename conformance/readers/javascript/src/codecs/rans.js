// rans (SPEC 11.7): lanes of asymmetric numeral systems with 12-bit frequencies.

import { parseHead, parseWords, requirement, SLOTS } from "./lanes.js";
import { u32 } from "../wire.js";

const LOW = 2 ** 16;

export const rans = {
  id: 5,
  name: "rans",

  parseTable(b, offset) {
    const require = requirement("rans", offset);
    const { lanes, symbols, rest } = parseHead(b, require);
    const table = {
      lanes,
      symbol: new Uint8Array(SLOTS),
      f: new Uint16Array(SLOTS),
      place: new Uint16Array(SLOTS),
    };
    let at = 0;
    let first = 0;
    for (const symbol of symbols) {
      require(at < rest.length, "the table ends before its frequencies");
      let f = rest[at++];
      if (f >= 128) {
        require(at < rest.length, "the table ends inside a frequency");
        f = (f - 128) * 256 + rest[at++];
        require(f >= 128, "a small frequency in two bytes");
      }
      f += 1;
      require(first + f <= SLOTS, "frequencies above 4096");
      table.symbol.fill(symbol, first, first + f);
      table.f.fill(f, first, first + f);
      for (let k = 0; k < f; k++) table.place[first + k] = k;
      first += f;
    }
    require(at === rest.length, "the table does not end with its last frequency");
    require(first === SLOTS, `frequencies of ${first} slots`);
    return table;
  },

  decode(b, length, { lanes, symbol, f, place }, offset) {
    const require = requirement("rans", offset);
    require(b.length >= 4 * lanes, "a block without its states");
    const words = parseWords(b, 4 * lanes, require);
    const states = Uint32Array.from({ length: lanes }, (_, lane) => u32(b, 4 * lane));
    require(states.every((x) => x >= LOW), "a state below 2^16");
    const out = new Uint8Array(length);
    let word = 0;
    for (let i = 0, lane = 0; i < length; i++) {
      let x = states[lane];
      const slot = x & (SLOTS - 1);
      out[i] = symbol[slot];
      x = Math.imul(f[slot], x >>> 12) + place[slot];
      if (x >>> 0 < LOW) {
        if (word === words.length) require(false, "the words end before the symbols");
        x = (x << 16) | words[word++];
      }
      states[lane] = x;
      if (++lane === lanes) lane = 0;
    }
    require(word === words.length, "the symbols end before the words");
    require(states.every((x) => x === LOW), "a state that is not 2^16 at the end");
    return out;
  },
};
