// csr (SPEC 8.4): rows of stored elements among copies of one.

import { allocate, fill, wordsOf } from "../cells.js";
import { isPosition } from "../dtypes.js";
import { need } from "../errors.js";
import { u64 } from "../wire.js";
import {
  needParameterLength,
  needParts,
  needShape,
  needType,
  singleElement,
  singleElementLength,
} from "./common.js";

const DENSE = 1;
const CONSTANT = 2;
const ROLES = { 1: "counts", 2: "gaps", 3: "values" };
const parts = (node) => needParts(node, ROLES, ["counts", "gaps", "values"]);
const rowLength = (node) => u64(node.parameters, 0);

export const csr = {
  id: 3,
  name: "csr",
  roles: ROLES,

  rules(node) {
    needParameterLength(node, 8 + singleElementLength(node));
    const C = rowLength(node);
    const ok = C >= 1n && C < 1n << 62n && (node.rank > 0 || C === 1n);
    need(ok, "bad-value", `row length ${C}`, node.parametersAt);
    singleElement(node, 8);
    const [counts, gaps, values] = parts(node);
    for (const x of [counts, gaps]) {
      need(
        x.kind === DENSE || x.kind === CONSTANT,
        "bad-node",
        "counts and gaps are dense or constant",
        x.offset,
      );
      needType(x, isPosition(x.type), "counts and gaps are of a position type");
    }
    needType(values, values.dtype === node.dtype, "values have the data type of the node");
    needShape(counts, [(node.n + C - 1n) / C]);
    need(gaps.rank === 1, "bad-shape", "gaps have rank 1", gaps.offset + 3);
    needShape(values, gaps.shape);
    need(gaps.n <= node.n, "bad-shape", "more stored elements than elements", gaps.offset + 16);
  },

  decode(node, lo, hi, read) {
    const n = Number(node.n);
    const [countsPart, gapsPart, valuesPart] = parts(node);
    const out = allocate(hi - lo, node.size);
    if (lo >= hi) return out;
    const words = wordsOf(node.size);
    fill(out, 0, hi - lo, singleElement(node, 8), 0, words);

    const C = Math.min(n, Number(rowLength(node)));
    const rows = Math.ceil(n / C);
    const first = Math.floor(lo / C);
    const end = Math.ceil(hi / C);
    const nnz = Number(gapsPart.n);
    const counts = read(countsPart, 0, end);
    let from = 0;
    for (let r = 0; r < first; r++) from += counts[r];
    need(from <= nnz, "bad-index", "counts before a row above the stored elements", node.offset);
    let to = from;
    for (let r = first; r < end; r++) {
      need(
        counts[r] <= Math.min(C, n - r * C),
        "bad-index",
        "more stored elements than a row has",
        node.offset,
      );
      to += counts[r];
    }
    need(to <= nnz, "bad-index", "counts above the stored elements", node.offset);
    need(end < rows || to === nnz, "bad-index", "stored elements behind the last row", node.offset);

    const gaps = read(gapsPart, from, to);
    const values = read(valuesPart, from, to);
    for (let r = first, s = 0; r < end; r++) {
      const length = Math.min(C, n - r * C);
      const start = r * C - lo;
      let column = -1;
      for (const stop = s + counts[r]; s < stop; s++) {
        column += gaps[s] + 1;
        if (column >= length)
          need(false, "bad-index", "a column behind the end of its row", node.offset);
        const at = start + column;
        if (values === null || at < 0 || at >= hi - lo) continue;
        if (words === 1) out[at] = values[s];
        else fill(out, at, at + 1, values, s, words);
      }
    }
    return values === null ? null : out;
  },
};
