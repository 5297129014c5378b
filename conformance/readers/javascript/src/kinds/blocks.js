// Blocks and grids (SPEC 8.6.1), for codebook and quantized.

import { need } from "../errors.js";
import { u64 } from "../wire.js";

const ceilDivide = (x, y) => (x + y - 1n) / y;

/** R-QNT-012: of each axis 0, or the length of a block; and the grid. */
export function parseBlocks(node, at) {
  const block = node.shape.map((d, i) => {
    const value = u64(node.parameters, at + 8 * i);
    need(
      value === 0n || value < d,
      "bad-value",
      `a block of ${value} of ${d}`,
      node.parametersAt + at + 8 * i,
    );
    return value;
  });
  return {
    block,
    grid: block.map((length, i) => (length === 0n ? 1n : ceilDivide(node.shape[i], length))),
  };
}

/** R-QNT-013: one length over the flat elements; and the grid. */
export function parseFlatBlock(node, at) {
  const length = u64(node.parameters, at);
  need(
    length >= 1n && length < 1n << 62n,
    "bad-value",
    `a flat block of ${length}`,
    node.parametersAt + at,
  );
  return { block: length, grid: [ceilDivide(node.n, length)] };
}

/** Calls `visit(from, to, group)` for runs of elements of one group, from `lo` to `hi`. */
export function forFlatRuns(length, lo, hi, visit) {
  for (let from = lo; from < hi;) {
    const group = Math.floor(from / length);
    const to = Math.min(hi, (group + 1) * length);
    visit(from, to, group);
    from = to;
  }
}

/**
 * The same for blocks by axis; `groups`, where it is not null, are those of each place on
 * `groupAxis`.
 */
export function forRuns(node, { block, grid }, groups, groupAxis, lo, hi, visit) {
  if (node.rank === 0) {
    visit(lo, hi, 0);
    return;
  }
  const shape = node.shape.map(Number);
  const length = block.map(Number);
  const stride = new Array(node.rank).fill(1);
  for (let a = node.rank - 1; a > 0; a--) stride[a - 1] = stride[a] * Number(grid[a]);
  const groupOn = (axis, i) => {
    if (groups !== null && axis === groupAxis) return groups[i];
    return length[axis] === 0 ? 0 : Math.floor(i / length[axis]);
  };
  const last = node.rank - 1;
  const columns = shape[last];
  for (let row = Math.floor(lo / columns); row * columns < hi; row++) {
    let base = 0;
    for (let axis = last - 1, rest = row; axis >= 0; axis--) {
      base += groupOn(axis, rest % shape[axis]) * stride[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    const start = row * columns;
    const end = Math.min(columns, hi - start);
    for (let i = Math.max(0, lo - start); i < end;) {
      const g = groupOn(last, i);
      let next = end;
      if (groups !== null && groupAxis === last) next = i + 1;
      else if (length[last] !== 0) next = Math.min(end, (g + 1) * length[last]);
      visit(start + i, start + next, base + g);
      i = next;
    }
  }
}
