// Node trees: what section 8.1 says of every kind, and the parameters of dense nodes as far as they
// depend on no id (step 15 of SPEC 14.3).

import { DTYPES } from "./dtypes.js";
import { need } from "./errors.js";
import { KINDS } from "./kinds/index.js";
import { parseStream } from "./stream.js";
import { isZero, LIMIT_62, u32, u64 } from "./wire.js";

const MAX_NODES = 64;
const MAX_LEVELS = 8;
const MAX_RANK = 32;
export const DENSE = 1;

/** The tree that fills `body`; `base` is the file offset of the body. */
export function parseTree(body, base) {
  const counter = { nodes: 0 };
  const root = parseNode(body, 0, body.length, base, 1, null, counter);
  need(root.length === body.length, "bad-node", "the body is not exactly one node tree", base + 12);
  return root;
}

function parseNode(b, at, end, base, level, parent, counter) {
  const offset = base + at;
  need(++counter.nodes <= MAX_NODES, "bad-node", "a tree of more than 64 nodes", offset);
  need(level <= MAX_LEVELS, "bad-node", "a tree of more than 8 levels", offset);
  need(at + 16 <= end, "bad-node", "a node outside its parent", offset);
  const [kind, role, dtype, rank, count] = b.subarray(at, at + 5);
  const parameterLength = u32(b, at + 8);
  const length = u32(b, at + 12);
  need(kind !== 0, "bad-node", "kind 0", offset);
  needRole(role, parent, offset + 1);
  need(rank <= MAX_RANK, "bad-shape", `rank ${rank}`, offset + 3);
  need(isZero(b, at + 5, at + 8), "reserved-nonzero", "bytes 5 to 7 of a node", offset + 5);
  need(parameterLength % 8 === 0, "bad-node", `parameter length ${parameterLength}`, offset + 8);
  const parameters = at + 16 + 8 * rank;
  let next = parameters + parameterLength;
  need(at + length <= end && next <= at + length, "bad-node", `node length ${length}`, offset + 12);

  const shape = Array.from({ length: rank }, (_, i) => u64(b, at + 16 + 8 * i));
  need(
    shape.every((d) => d < LIMIT_62),
    "bad-value",
    "a dimension of 2^62 or more",
    offset + 16,
  );
  const type = DTYPES.get(dtype) ?? null;
  const size = type?.size ?? 1;
  const bytes = shape.reduce((product, d) => product * (d > 1n ? d : 1n), BigInt(size));
  need(bytes < LIMIT_62, "bad-shape", "a shape of 2^62 bytes or more", offset + 16);

  const node = {
    kind,
    role,
    dtype,
    type,
    size,
    rank,
    shape,
    offset,
    length,
    n: shape.reduce((product, d) => product * d, 1n),
    parameters: b.subarray(parameters, next),
    parametersAt: base + parameters,
    parts: [],
    stream: null,
  };
  if (kind === DENSE) node.stream = parseStream(node);
  for (let i = 0; i < count; i++) {
    const part = parseNode(b, next, at + length, base, level + 1, node, counter);
    const before = node.parts.at(-1)?.role ?? 0;
    need(
      part.role > before,
      "bad-node",
      "parts are not in ascending order of role",
      part.offset + 1,
    );
    node.parts.push(part);
    next += part.length;
  }
  need(next === at + length, "bad-node", `node length ${length}`, offset + 12);
  return node;
}

/** R-NOD-002. */
function needRole(role, parent, offset) {
  const roles = parent && KINDS.get(parent.kind)?.roles;
  const ok = parent === null ? role === 0 : roles ? role in roles : role > 0;
  need(ok, "bad-node", `role ${role}`, offset);
}

/** Nodes in pre-order. */
export function* nodes(node) {
  yield node;
  for (const part of node.parts) yield* nodes(part);
}

/** The dense nodes in pre-order (SPEC 9.3). */
export const leaves = (node) => [...nodes(node)].filter((x) => x.stream !== null);

export const part = (node, role) => node.parts.find((x) => x.role === role) ?? null;

/** SPEC 8.1, as a BigInt. */
export function charge(root) {
  let sum = 0n;
  for (const node of nodes(root)) sum += node.n * BigInt(node.size);
  return sum;
}
