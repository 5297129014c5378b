// concat (SPEC 8.7): parts side by side along an axis.

import { allocate, wordsOf } from "../cells.js";
import { need } from "../errors.js";
import { u64 } from "../wire.js";
import { needParameterLength, needType } from "./common.js";

const axisOf = (node) => Number(u64(node.parameters, 0));

export const concat = {
  id: 6,
  name: "concat",
  roles: Object.fromEntries(Array.from({ length: 63 }, (_, i) => [i + 1, String(i + 1)])),

  rules(node) {
    const { rank, shape, parts, offset } = node;
    needParameterLength(node, 8);
    const axis = axisOf(node);
    need(axis < rank, "bad-value", `axis ${axis}`, node.parametersAt);
    const consecutive = parts.length > 0 && parts.every((x, i) => x.role === i + 1);
    need(consecutive, "bad-node", "the roles of the parts are not 1, 2, ...", offset);
    for (const x of parts) {
      needType(x, x.dtype === node.dtype, "a part has the data type of the node");
      const ok = x.rank === rank && x.shape.every((d, i) => i === axis || d === shape[i]);
      need(ok, "bad-shape", `a part of shape (${x.shape}) in (${shape})`, x.offset + 16);
    }
    const sum = parts.reduce((total, x) => total + x.shape[axis], 0n);
    need(
      sum === shape[axis],
      "bad-shape",
      `parts of ${sum} on an axis of ${shape[axis]}`,
      offset + 16,
    );
  },

  decode(node, lo, hi, read) {
    const out = allocate(hi - lo, node.size);
    if (lo >= hi) return out;
    const words = wordsOf(node.size);
    const row = Number(node.shape.slice(axisOf(node)).reduce((product, d) => product * d, 1n));
    const first = Math.floor(lo / row);
    const end = Math.ceil(hi / row);
    let column = 0;
    let complete = true;
    for (const x of node.parts) {
      const width = Number(x.n) / (Number(node.n) / row);
      // Of one row only the columns that count are read, of several all of them.
      const from =
        end - first > 1 ? first * width : first * width + clamp(lo - first * row - column, width);
      const to =
        end - first > 1 ? end * width : first * width + clamp(hi - first * row - column, width);
      const elements = read(x, from, to);
      complete &&= elements !== null;
      for (let r = first; complete && r < end; r++) {
        const start = r * row + column; // of the part's row among the node's elements
        const a = Math.max(lo, start, start + from - r * width);
        const b = Math.min(hi, start + width);
        if (a >= b) continue;
        const source = r * width + (a - start) - from;
        out.set(elements.subarray(source * words, (source + b - a) * words), (a - lo) * words);
      }
      column += width;
    }
    return complete ? out : null;
  },
};

const clamp = (x, most) => Math.min(Math.max(x, 0), most);
