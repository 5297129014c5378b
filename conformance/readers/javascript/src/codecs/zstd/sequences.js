// The sequences section of a compressed block (RFC 8878, sections 3.1.1.3.2 to 3.1.1.5).

import { u16 } from "../../wire.js";
import { BackwardBits } from "./bits.js";
import { buildTable, parseProbabilities, singleTable } from "./fse.js";

const repeat = (value, n) => new Array(n).fill(value);
const steps = (first, bits) =>
  bits.reduce((list, n) => [...list, list.at(-1) + 2 ** n], [first]).slice(0, -1);

const LENGTH_BITS = [
  ...repeat(0, 16),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  6,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
];
const MATCH_BITS = [
  ...repeat(0, 32),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
];
const LENGTH_BASE = steps(0, LENGTH_BITS);
const MATCH_BASE = steps(3, MATCH_BITS);

/** By code: [greatest symbol, greatest accuracy, predefined accuracy, predefined probabilities] */
const LENGTHS = [
  35,
  9,
  6,
  [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
  ],
];
const OFFSETS = [
  31,
  8,
  5,
  [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
];
const MATCHES = [
  52,
  9,
  6,
  [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
  ],
];
const CODES = [LENGTHS, OFFSETS, MATCHES];
const PREDEFINED = CODES.map(([, , log, probabilities]) => buildTable(probabilities, log));

/**
 * The three tables of a block, in the order of their modes; `state` keeps them for blocks that
 * repeat one.
 */
function parseTables(b, at, end, state, require) {
  require(at < end, "sequences without their modes");
  const modes = b[at++];
  require((modes & 3) === 0, "reserved bits of the modes");
  const tables = CODES.map(([maxSymbol, maxLog], k) => {
    const mode = (modes >> (6 - 2 * k)) & 3;
    if (mode === 0) return PREDEFINED[k];
    if (mode === 1) {
      require(at < end && b[at] <= maxSymbol, "a single symbol that does not exist");
      return singleTable(b[at++]);
    }
    if (mode === 2) {
      const {
        log,
        probabilities,
        end: stop,
      } = parseProbabilities(b, at, end, maxSymbol, maxLog, require);
      at = stop;
      return buildTable(probabilities, log);
    }
    require(state.tables !== null, "a table that no block has described");
    return state.tables[k];
  });
  return { tables, at };
}

/** Writes a block's bytes to out from `n` on; returns the place behind them. */
export function execute(b, at, end, literals, state, out, n, most, require) {
  require(at < end, "a block without a number of sequences");
  let count = b[at++];
  if (count === 255) {
    require(at + 2 <= end, "a number of sequences that does not end");
    count = u16(b, at) + 0x7f00;
    at += 2;
  } else if (count >= 128) {
    require(at < end, "a number of sequences that does not end");
    count = (count - 128) * 256 + b[at++];
  }
  const limit = Math.min(out.length, n + most);
  let used = 0;
  if (count > 0) {
    let tables;
    ({ tables, at } = parseTables(b, at, end, state, require));
    state.tables = tables;
    const [lengths, offsets, matches] = tables;
    const bits = new BackwardBits(b, at, end, require);
    let l = bits.read(lengths.log);
    let o = bits.read(offsets.log);
    let m = bits.read(matches.log);
    for (let i = 0; i < count; i++) {
      const value = 2 ** offsets.symbol[o] + bits.read(offsets.symbol[o]);
      const matchCode = matches.symbol[m];
      const match = MATCH_BASE[matchCode] + bits.read(MATCH_BITS[matchCode]);
      const lengthCode = lengths.symbol[l];
      const length = LENGTH_BASE[lengthCode] + bits.read(LENGTH_BITS[lengthCode]);
      if (i < count - 1) {
        l = lengths.base[l] + bits.read(lengths.bits[l]);
        m = matches.base[m] + bits.read(matches.bits[m]);
        o = offsets.base[o] + bits.read(offsets.bits[o]);
      }
      require(!bits.overrun, "sequences that end before their number");
      require(used + length <= literals.length, "sequences with more literals than there are");
      require(n + length + match <= limit, "a block of more bytes than it may have");
      for (const stop = used + length; used < stop;) out[n++] = literals[used++];
      const back = matchOffset(state.repeats, value, length);
      const ok = back > 0 && back <= n && back <= state.window; // R-COD-055
      require(ok, "an offset of 0, before the plane, or beyond the window");
      if (back >= match) {
        out.copyWithin(n, n - back, n - back + match);
        n += match;
      } else {
        for (const stop = n + match; n < stop; n++) out[n] = out[n - back];
      }
    }
    require(bits.atEnd, "bits behind the last sequence");
  } else {
    require(at === end, "bytes behind a block without sequences");
  }
  const rest = literals.length - used;
  require(n + rest <= limit, "a block of more bytes than it may have");
  out.set(literals.subarray(used), n);
  return n + rest;
}

/** The offset of a match, and the three that stand for later use. */
function matchOffset(repeats, value, length) {
  if (value > 3) {
    repeats.unshift(value - 3);
    repeats.pop();
    return repeats[0];
  }
  const k = length === 0 ? value : value - 1;
  const back = k === 3 ? repeats[0] - 1 : repeats[k];
  repeats.splice(Math.min(k, 2), 1);
  repeats.unshift(back);
  return back;
}
