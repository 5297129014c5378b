// bytes (SPEC 10.2): byte k of every cell stands in plane k; a complex cell is two components.

import { bytesOf } from "../cells.js";
import { need } from "../errors.js";

const components = (type) => (type.family === "complex" ? 2 : 1);
const planes = (type) => Math.ceil(type.bits / components(type) / 8);

/** R-TRF-003, R-TRF-005: a cell below 8 bits in a byte. */
function needWidth(plane, type, offset) {
  for (let i = 0; i < plane.length; i++) {
    if (plane[i] >> type.bits !== 0)
      need(false, "bad-value", `a cell of more than ${type.bits} bits`, offset);
  }
}

export function interleave(parts, out) {
  const b = bytesOf(out);
  const step = parts.length;
  parts.forEach((plane, k) => {
    for (let i = 0, at = k; i < plane.length; i++, at += step) b[at] = plane[i];
  });
}

export const bytes = {
  id: 1,
  name: "bytes",
  hasForms: false,
  accepts: () => true,
  planes,
  greatestParameter: () => 0,
  planeLengths: (type, n) => [new Array(planes(type)).fill(n * components(type))],

  decode(parts, type, out, parameter, offset) {
    if (type.bits < 8) needWidth(parts[0], type, offset);
    interleave(parts, out);
  },
};
