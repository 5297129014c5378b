// Finite state entropy tables (RFC 8878, section 4.1).

import { bitsAt } from "./bits.js";

/** Probabilities by symbol, -1 for "less than one", from the bytes `from` to `to`. */
export function parseProbabilities(b, from, to, maxSymbol, maxLog, require) {
  let p = 8 * from;
  const take = (n) => {
    require(p + n <= 8 * to, "a table that does not end");
    const value = bitsAt(b, p, n);
    p += n;
    return value;
  };
  const log = take(4) + 5;
  require(log <= maxLog, "an accuracy that is too high");
  const probabilities = [];
  let left = (1 << log) + 1;
  while (left > 1) {
    require(probabilities.length <= maxSymbol, "a table of too many symbols");
    const bits = 32 - Math.clz32(left); // of the greatest value, which is `left`
    const short = (1 << bits) - 1 - left; // so many values have one bit less
    let value = take(bits - 1);
    if (value >= short) {
      value += take(1) << (bits - 1);
      if (value >= 1 << (bits - 1)) value -= short;
    }
    const probability = value - 1;
    left -= Math.abs(probability);
    probabilities.push(probability);
    if (probability !== 0) continue;
    for (let zeros = 3; zeros === 3;) {
      zeros = take(2);
      for (let i = 0; i < zeros; i++) probabilities.push(0);
      require(probabilities.length <= maxSymbol + 1, "a table of too many symbols");
    }
  }
  require(left === 1, "probabilities above the size of the table");
  return { log, probabilities, end: Math.ceil(p / 8) };
}

/** A decoding table: of each state its symbol, the bits to read, and the next state less these. */
export function buildTable(probabilities, log) {
  const size = 1 << log;
  const table = {
    log,
    symbol: new Uint8Array(size),
    bits: new Uint8Array(size),
    base: new Uint16Array(size),
  };
  const next = probabilities.map((probability) => Math.abs(probability));
  let high = size;
  probabilities.forEach((probability, symbol) => {
    if (probability === -1) table.symbol[--high] = symbol;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let place = 0;
  probabilities.forEach((probability, symbol) => {
    for (let i = 0; i < probability; i++) {
      table.symbol[place] = symbol;
      do place = (place + step) & (size - 1);
      while (place >= high);
    }
  });
  for (let state = 0; state < size; state++) {
    const x = next[table.symbol[state]]++;
    const bits = log - (31 - Math.clz32(x));
    table.bits[state] = bits;
    table.base[state] = (x << bits) - size;
  }
  return table;
}

/** The table of a symbol that occurs alone. */
export const singleTable = (symbol) => ({
  log: 0,
  symbol: Uint8Array.of(symbol),
  bits: new Uint8Array(1),
  base: new Uint16Array(1),
});
