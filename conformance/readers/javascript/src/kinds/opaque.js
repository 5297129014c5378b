// opaque (SPEC 8.8): bytes of a foreign format, whose elements only its owner computes.

import { need } from "../errors.js";
import { readReverseDns } from "../text.js";
import { needZeros, u16, u32, up8 } from "../wire.js";
import { needParts, needType } from "./common.js";

export const OPAQUE = 7;
const DENSE = 1;
const UINT8 = 0x18;
const ROLES = { 1: "data" };

/** Format name and parameters. */
export function parseFormat({ parameters: b, parametersAt: at }) {
  need(b.length >= 8, "bad-node", "parameters of an opaque node", at);
  const a = u16(b, 0);
  const end = 8 + a + u32(b, 4);
  need(a >= 3 && a <= 255, "bad-text", `format name of ${a} bytes`, at);
  need(u16(b, 2) === 0, "reserved-nonzero", "bytes 2 and 3 of the parameters", at + 2);
  need(up8(end) === b.length, "bad-node", "parameters of an opaque node", at + 4);
  needZeros(b, end, b.length, "zeros after the format parameters", at);
  return {
    format: readReverseDns(b.subarray(8, 8 + a), at + 8),
    parameters: b.subarray(8 + a, end),
  };
}

export const opaque = {
  id: OPAQUE,
  name: "opaque",
  roles: ROLES,

  rules(node) {
    parseFormat(node);
    const [data] = needParts(node, ROLES, ["data"]);
    need(data.kind === DENSE, "bad-node", "data is no dense node", data.offset);
    needType(data, data.dtype === UINT8, "data is of uint8");
    need(data.rank === 1, "bad-shape", `data of rank ${data.rank}`, data.offset + 3);
  },

  decode: () => null,
};
