// The literals section of a compressed block (RFC 8878, sections 3.1.1.3.1 and 4.2).

import { u16 } from "../../wire.js";
import { BackwardBits, bitsAt } from "./bits.js";
import { buildTable, parseProbabilities } from "./fse.js";

const LONGEST = 11;
const MAX_WEIGHT_LOG = 6;
const LEAST_FOR_FOUR_STREAMS = 6;

/** Weights of the symbols but the last, and the end of their description. */
function parseWeights(b, at, end, require) {
  require(at < end, "a tree without a description");
  const head = b[at++];
  if (head >= 128) {
    const n = head - 127;
    const stop = at + Math.ceil(n / 2);
    require(stop <= end, "a tree description that does not end");
    return {
      weights: Array.from({ length: n }, (_, i) => (b[at + (i >> 1)] >> (i & 1 ? 0 : 4)) & 15),
      stop,
    };
  }
  const stop = at + head;
  require(stop <= end, "a tree description that does not end");
  const {
    log,
    probabilities,
    end: from,
  } = parseProbabilities(b, at, stop, 255, MAX_WEIGHT_LOG, require);
  const table = buildTable(probabilities, log);
  const bits = new BackwardBits(b, from, stop, require);
  const states = [bits.read(log), bits.read(log)];
  require(!bits.overrun, "weights without bits");
  const weights = [];
  for (let turn = 0; ; turn ^= 1) {
    require(weights.length < 254, "more weights than symbols");
    const state = states[turn];
    weights.push(table.symbol[state]);
    states[turn] = table.base[state] + bits.read(table.bits[state]);
    if (bits.overrun) {
      weights.push(table.symbol[states[turn ^ 1]]);
      return { weights, stop };
    }
  }
}

/** A prefix code: entries `symbol * 16 + length` by the next `log` bits. */
export function parseTree(b, at, end, require) {
  const { weights, stop } = parseWeights(b, at, end, require);
  const sum = weights.reduce((total, weight) => total + (weight > 0 ? 2 ** (weight - 1) : 0), 0);
  require(sum > 0, "a tree without weights");
  const log = 32 - Math.clz32(sum);
  require(log <= LONGEST && Math.max(...weights) <= LONGEST, "a tree that is too deep");
  const rest = 2 ** log - sum;
  require((rest & (rest - 1)) === 0, "weights that leave no power of two");
  weights.push(32 - Math.clz32(rest));
  const leaves = weights.filter((weight) => weight === 1).length;
  require(leaves >= 2 && leaves % 2 === 0, "a tree with an odd leaf");
  const table = new Uint16Array(2 ** log);
  let place = 0;
  for (let weight = 1; weight <= log; weight++) {
    for (let symbol = 0; symbol < weights.length; symbol++) {
      if (weights[symbol] !== weight) continue;
      const next = place + 2 ** (weight - 1);
      table.fill(symbol * 16 + log + 1 - weight, place, next);
      place = next;
    }
  }
  return { tree: { log, table }, stop };
}

/** One stream of symbols, whose bits end with the last of them. */
function decodeStream(b, from, to, { log, table }, out, at, end, require) {
  const stream = new BackwardBits(b, from, to, require);
  const start = stream.start;
  const mask = (1 << log) - 1;
  let p = stream.position;
  for (; at < end && p - log >= start; at++) {
    const k = (p - log) >>> 3;
    const entry = table[((b[k] | (b[k + 1] << 8) | (b[k + 2] << 16)) >>> ((p - log) & 7)) & mask];
    out[at] = entry >> 4;
    p -= entry & 15;
  }
  for (; at < end; at++) {
    require(p >= start, "a stream that ends before its symbols");
    const held = Math.min(log, p - start);
    const entry = table[bitsAt(b, p - held, held) << (log - held)];
    out[at] = entry >> 4;
    p -= entry & 15;
  }
  require(p === start, "a stream that does not end with its symbols");
}

/** {literals, tree, at}: the bytes, the tree for later blocks, and the end of the section. */
export function decodeLiterals(b, at, end, tree, most, require) {
  require(at < end, "a block without literals");
  const type = b[at] & 3;
  const format = (b[at] >> 2) & 3;
  const need = (n) => require(at + n <= end, "a literals section that does not end");
  if (type < 2) {
    const head = format === 1 ? 2 : format === 3 ? 3 : 1;
    need(head);
    const size =
      format === 1 ? u16(b, at) >> 4 : format === 3 ? bitsAt(b, 8 * at + 4, 20) : b[at] >> 3;
    at += head;
    require(size <= most, "more literals than a block has");
    need(type === 0 ? size : 1);
    if (type === 0) return { literals: b.subarray(at, at + size), tree, at: at + size };
    return { literals: new Uint8Array(size).fill(b[at]), tree, at: at + 1 };
  }
  const head = format < 2 ? 3 : format + 2;
  const width = format < 2 ? 10 : format === 2 ? 14 : 18;
  need(head);
  const size = bitsAt(b, 8 * at + 4, width);
  const stored = bitsAt(b, 8 * at + 4 + width, width);
  at += head;
  require(size <= most, "more literals than a block has");
  need(stored);
  const stop = at + stored;
  if (type === 2) ({ tree, stop: at } = parseTree(b, at, stop, require));
  require(tree !== null, "literals by a tree that no block has described");
  const literals = new Uint8Array(size);
  if (format === 0) {
    decodeStream(b, at, stop, tree, literals, 0, size, require);
    return { literals, tree, at: stop };
  }
  require(size >= LEAST_FOR_FOUR_STREAMS, "four streams for a few literals");
  require(at + 6 <= stop, "streams without their lengths");
  const part = Math.ceil(size / 4);
  let from = at + 6;
  for (let k = 0; k < 4; k++) {
    const to = k < 3 ? from + u16(b, at + 2 * k) : stop;
    require(to <= stop, "a stream beyond its section");
    decodeStream(b, from, to, tree, literals, k * part, k < 3 ? (k + 1) * part : size, require);
    from = to;
  }
  return { literals, tree, at: stop };
}
