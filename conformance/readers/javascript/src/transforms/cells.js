// cells (SPEC 10.1): the plane is the packed cells.

import { bytesOf, unpack } from "../cells.js";
import { need } from "../errors.js";

export const cells = {
  id: 0,
  name: "cells",
  hasForms: false,
  accepts: () => true,
  planes: () => 1,
  greatestParameter: () => 0,
  planeLengths: (type, n) => [[Math.ceil((n * type.bits) / 8)]],

  decode([plane], type, out, parameter, offset) {
    if (type.bits >= 8) {
      bytesOf(out).set(plane);
      return;
    }
    const used = (out.length * type.bits) % 8;
    const unused = used === 0 ? 0 : plane[plane.length - 1] >> used;
    need(unused === 0, "bad-value", "bits behind the last cell", offset + plane.length - 1);
    unpack(plane, type.bits, out);
  },
};
