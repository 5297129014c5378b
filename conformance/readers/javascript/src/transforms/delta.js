// delta (SPEC 10.3): the planes are those of bytes for the differences of neighbours.

import { isInteger } from "../dtypes.js";
import { bytes } from "./bytes.js";

export const delta = {
  ...bytes,
  id: 2,
  name: "delta",
  accepts: isInteger,

  decode(parts, type, out, parameter, offset) {
    bytes.decode(parts, type, out, parameter, offset);
    if (type.bits === 64) {
      accumulate64(out);
    } else {
      const mask = type.bits < 8 ? (1 << type.bits) - 1 : -1; // wider words wrap by themselves
      for (let i = 1; i < out.length; i++) out[i] = (out[i - 1] + out[i]) & mask;
    }
  },
};

/** Words of 64 bits as pairs of a low and a high half. */
function accumulate64(out) {
  for (let i = 2; i < out.length; i += 2) {
    const low = out[i - 2] + out[i];
    out[i + 1] += out[i - 1] + (low >= 2 ** 32 ? 1 : 0);
    out[i] = low;
  }
}
