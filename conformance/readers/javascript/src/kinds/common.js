// Rules that several kinds share (SPEC 7, 8.1).

import { need } from "../errors.js";
import { needZeros, up8 } from "../wire.js";

export const part = (node, role) => node.parts.find((x) => x.role === role) ?? null;

/** R-NOD-018. */
export function needParameterLength(node, length) {
  const { parameters, parametersAt } = node;
  need(
    parameters.length === length,
    "bad-node",
    `parameters of ${parameters.length} bytes, not ${length}`,
    parametersAt,
  );
}

/** R-NOD-015: the parts of these roles, by name. */
export function needParts(node, roles, names) {
  return names.map((name) => {
    const role = Number(Object.keys(roles).find((key) => roles[key] === name));
    const found = part(node, role);
    need(found !== null, "bad-node", `no ${name}`, node.offset);
    return found;
  });
}

/** R-NOD-016. */
export const needType = (node, ok, detail) => need(ok, "bad-dtype", detail, node.offset + 2);

/** R-NOD-017. */
export function needShape(node, shape) {
  const same = node.shape.length === shape.length && shape.every((d, i) => d === node.shape[i]);
  need(same, "bad-shape", `shape (${node.shape}), not (${shape})`, node.offset + 16);
}

export const singleElementLength = (node) => up8(node.size);

/** A single element among parameters, in the words of its type (SPEC 7). */
export function singleElement(node, at) {
  const { parameters: b, parametersAt, type, size } = node;
  const unused = type.bits < 8 ? b[at] >> type.bits : 0;
  need(unused === 0, "bad-value", "bits behind a single element", parametersAt + at);
  needZeros(b.subarray(at), size, up8(size), "zeros after a single element", parametersAt + at);
  const bytes = b.slice(at, at + size);
  return size === 1
    ? bytes
    : size === 2
      ? new Uint16Array(bytes.buffer)
      : new Uint32Array(bytes.buffer);
}
