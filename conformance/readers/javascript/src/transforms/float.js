// float (SPEC 10.5): the planes are those of bytes for cells rotated left by one bit.

import { interleave } from "./bytes.js";

const accepts = (type) => [0x39, 0x49, 0x3a, 0x3b].includes(type.id);

export const float = {
  id: 4,
  name: "float",
  hasForms: false,
  accepts,
  planes: (type) => type.size,
  greatestParameter: () => 0,
  planeLengths: (type, n) => [new Array(type.size).fill(n)],

  decode(parts, type, out) {
    interleave(parts, out);
    if (type.bits === 64) {
      for (let i = 0; i < out.length; i += 2) {
        const [low, high] = [out[i], out[i + 1]];
        out[i] = (low >>> 1) | (high << 31);
        out[i + 1] = (high >>> 1) | (low << 31);
      }
    } else {
      const top = type.bits - 1;
      for (let i = 0; i < out.length; i++) out[i] = (out[i] >>> 1) | (out[i] << top);
    }
  },
};
