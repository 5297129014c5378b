// quantized (SPEC 8.6): codes times or by a scale, with a zero, a bias or a minimum, by group.

import { bfloat16Bits, float16Bits, float32Bits, toBfloat16, toFloat16 } from "../binary32.js";
import { allocate } from "../cells.js";
import { isOperand, isPosition, isResult, valuesOf } from "../dtypes.js";
import { need } from "../errors.js";
import { isZero } from "../wire.js";
import { forFlatRuns, forRuns, parseBlocks, parseFlatBlock } from "./blocks.js";
import { needParameterLength, needParts, needShape, needType, part } from "./common.js";

const [SCALE, ZERO, BIAS, MIN, GROUP_INDEX, CODES] = [1, 2, 3, 4, 5, 6];
const ROLES = { 1: "scale", 2: "zero", 3: "bias", 4: "min", 5: "group_index", 6: "codes" };
const FLAT = 1;
const DIVIDE = 2;
const FLOAT16 = 0x39;
const BFLOAT16 = 0x49;
const STEPS = new Map([
  [0, Math.fround],
  [FLOAT16, toFloat16],
  [BFLOAT16, toBfloat16],
]);
const RESULTS = new Map([
  [FLOAT16, float16Bits],
  [BFLOAT16, bfloat16Bits],
  [0x3a, float32Bits],
]);

const isFlat = (node) => (node.parameters[0] & FLAT) !== 0;
const blocksOf = (node) => (isFlat(node) ? parseFlatBlock(node, 8) : parseBlocks(node, 8));
const isWhole = (type) => type.family === "integer" || type.family === "bool";

export const quantized = {
  id: 5,
  name: "quantized",
  roles: ROLES,

  rules(node) {
    const { parameters: b, parametersAt: at } = node;
    need(b.length >= 8, "bad-node", "parameters of a quantized node", at);
    const [flags, axis, step] = b;
    need(flags <= (FLAT | DIVIDE), "reserved-nonzero", "flags of a quantized node", at);
    needParameterLength(node, 8 + 8 * (isFlat(node) ? 1 : node.rank));
    need(STEPS.has(step), "bad-value", `step ${step}`, at + 2);
    need(isZero(b, 3, 8), "reserved-nonzero", "bytes 3 to 7 of the parameters", at + 3);
    needType(node, isResult(node.type), "a quantized node of a type that is no result");

    const [, codes] = needParts(node, ROLES, ["scale", "codes"]);
    const grouped = [SCALE, ZERO, BIAS, MIN]
      .map((role) => part(node, role))
      .filter((x) => x !== null);
    need(grouped.length <= 2, "bad-node", "more than one of zero, bias and min", node.offset);
    const index = part(node, GROUP_INDEX);
    need(index !== null ? axis < node.rank : axis === 0, "bad-value", `group axis ${axis}`, at + 1);
    need(index === null || !isFlat(node), "bad-value", "flat blocks and a group_index", at);

    const { grid } = blocksOf(node);
    for (const x of grouped) {
      needType(x, isOperand(x.type), `${ROLES[x.role]} is of an operand type`);
      needShape(x, grid);
    }
    if (index !== null) {
      needType(index, isPosition(index.type), "group_index is of a position type");
      needShape(index, [node.shape[axis]]);
    }
    needType(codes, isOperand(codes.type), "codes are of an operand type");
    needShape(codes, node.shape);
  },

  decode(node, lo, hi, read) {
    const groupAxis = node.parameters[1];
    const blocks = blocksOf(node);
    const whole = (role) => {
      const x = part(node, role);
      return x && { type: x.type, cells: read(x, 0, Number(x.n)) };
    };
    const groups = whole(GROUP_INDEX);
    if (groups?.cells) needGroups(node, groups.cells, Number(blocks.grid[groupAxis]));
    const operands = [SCALE, ZERO, BIAS, MIN].map(whole);
    const codesPart = part(node, CODES);
    const codes = { type: codesPart.type, cells: read(codesPart, lo, hi) };
    if ([groups, codes, ...operands].some((x) => x !== null && x.cells === null)) return null;

    const out = allocate(hi - lo, node.size);
    if (lo >= hi) return out;
    const run = arithmetic(node, codes, operands, out, lo);
    if (isFlat(node)) forFlatRuns(Number(blocks.block), lo, hi, run);
    else forRuns(node, blocks, groups?.cells ?? null, groupAxis, lo, hi, run);
    return out;
  },
};

/** R-QNT-011. */
function needGroups(node, groups, count) {
  for (let i = 0; i < groups.length; i++) {
    if (groups[i] >= count) need(false, "bad-index", `group ${groups[i]} of ${count}`, node.offset);
  }
}

/** SPEC 8.6.2: writes the elements of a run of one group. */
function arithmetic(node, codes, [scale, zero, bias, min], out, lo) {
  const divide = (node.parameters[0] & DIVIDE) !== 0;
  const step = STEPS.get(node.parameters[2]);
  const bits = RESULTS.get(node.dtype);
  const q = valuesOf(codes.type, codes.cells);
  const of = (operand) => operand && valuesOf(operand.type, operand.cells);
  const [scaleOf, zeroOf, biasOf, minOf] = [scale, zero, bias, min].map(of);
  const exact = zero !== null && isWhole(zero.type) && isWhole(codes.type);
  const wide = Math.fround;

  return (from, to, group) => {
    const s = wide(scaleOf(group));
    const z = zeroOf && (exact ? zeroOf(group) : wide(zeroOf(group)));
    const b = biasOf && wide(biasOf(group));
    const m = minOf && wide(minOf(group));
    for (let i = from - lo; i < to - lo; i++) {
      let t;
      if (!zeroOf) t = wide(q(i));
      else if (exact) t = step(wide(q(i) - z));
      else t = step(wide(wide(q(i)) - z));
      let y = step(wide(divide ? t / s : t * s));
      if (biasOf) y = step(wide(y + b));
      if (minOf) y = step(wide(y - m));
      out[i] = bits(y);
    }
  };
}
