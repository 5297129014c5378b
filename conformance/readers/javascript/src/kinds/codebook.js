// codebook (SPEC 8.5): indices into a table of elements or of vectors, by group.

import { allocate, wordsOf } from "../cells.js";
import { isPosition } from "../dtypes.js";
import { need } from "../errors.js";
import { u32 } from "../wire.js";
import { forRuns, parseBlocks } from "./blocks.js";
import { needParameterLength, needParts, needShape, needType } from "./common.js";

const MAX_VECTOR = 65536;
const ROLES = { 1: "table", 2: "indices" };
const vectorLength = (node) => u32(node.parameters, 0);
const vectorAxis = (node) => u32(node.parameters, 4);
const parts = (node) => needParts(node, ROLES, ["table", "indices"]);

export const codebook = {
  id: 4,
  name: "codebook",
  roles: ROLES,

  rules(node) {
    const { rank, shape, offset, parametersAt: at } = node;
    needParameterLength(node, 8 + 8 * rank);
    const V = vectorLength(node);
    const axis = vectorAxis(node);
    need(V >= 1 && V <= MAX_VECTOR, "bad-value", `vector length ${V}`, at);
    need(
      rank <= (V > 1 ? 30 : 31) && (rank >= 1 || V === 1),
      "bad-shape",
      `rank ${rank}`,
      offset + 3,
    );
    need(V > 1 ? axis < rank : axis === 0, "bad-value", `vector axis ${axis}`, at + 4);
    const long = BigInt(V);
    need(V === 1 || shape[axis] % long === 0n, "bad-value", "V does not divide its axis", at);
    const { block, grid } = parseBlocks(node, 8);
    need(
      V === 1 || block[axis] % long === 0n,
      "bad-value",
      "V does not divide the block of its axis",
      at,
    );

    const [table, indices] = parts(node);
    needType(table, table.dtype === node.dtype, "the table has the data type of the node");
    needType(indices, isPosition(indices.type), "indices are of a position type");
    need(
      table.rank === rank + (V > 1 ? 2 : 1),
      "bad-shape",
      `table of rank ${table.rank}`,
      table.offset + 3,
    );
    const K = table.shape[rank];
    needShape(table, V > 1 ? [...grid, K, long] : [...grid, K]);
    need(
      K >= 1n && K <= 1n << BigInt(indices.type.bits),
      "bad-shape",
      `a table of ${K}`,
      table.offset + 16,
    );
    needShape(
      indices,
      shape.map((d, i) => (V > 1 && i === axis ? d / long : d)),
    );
  },

  decode(node, lo, hi, read) {
    const [tablePart, indicesPart] = parts(node);
    const out = allocate(hi - lo, node.size);
    if (lo >= hi) return out;
    const words = wordsOf(node.size);
    const V = vectorLength(node);
    const K = Number(tablePart.shape[node.rank]);
    const place = indexPlaces(node, V);
    const from = place.first(lo);
    const to = place.last(hi - 1) + 1;
    const indices = read(indicesPart, from, to);
    const table = read(tablePart, 0, Number(tablePart.n));
    if (indices === null) return null;
    for (let i = 0; i < indices.length; i++) {
      if (indices[i] >= K) need(false, "bad-index", `index ${indices[i]} of ${K}`, node.offset);
    }
    if (table === null) return null;
    forRuns(node, parseBlocks(node, 8), null, 0, lo, hi, (start, end, group) => {
      const base = group * K;
      for (let i = start; i < end; i++) {
        const entry = (base + indices[place.of(i) - from]) * V + place.within(i);
        if (words === 1) out[i - lo] = table[entry];
        else for (let w = 0; w < words; w++) out[(i - lo) * words + w] = table[entry * words + w];
      }
    });
    return out;
  },
};

/** Where the index of an element stands, and which element of its vector it is. */
function indexPlaces(node, V) {
  const same = (i) => i;
  if (V === 1) return { of: same, first: same, last: same, within: () => 0 };
  const axis = vectorAxis(node);
  const d = Number(node.shape[axis]);
  const inner = Number(node.shape.slice(axis + 1).reduce((product, x) => product * x, 1n));
  // V divides d, so that no vector spans two.
  const vector = (i) => Math.floor(Math.floor(i / inner) / V);
  return {
    of: (i) => vector(i) * inner + (i % inner),
    first: (i) => vector(i) * inner,
    last: (i) => (vector(i) + 1) * inner - 1,
    within: (i) => (Math.floor(i / inner) % d) % V,
  };
}
