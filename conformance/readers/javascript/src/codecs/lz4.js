// lz4 (SPEC 11.3): one block of the LZ4 block format.

import { need } from "../errors.js";
import { u16 } from "../wire.js";

export const lz4 = {
  id: 2,
  name: "lz4",

  decode(b, length, shared, offset) {
    const out = new Uint8Array(length);
    let at = 0;
    let n = 0;
    let lastMatch = -1;
    const require = (ok, detail) =>
      need(ok, "bad-stream", `lz4: ${detail}`, offset + Math.min(at, b.length));
    const extend = (value) => {
      if (value < 15) return value;
      let more;
      do {
        require(at < b.length, "the input ends inside a length");
        more = b[at++];
        value += more;
      } while (more === 255);
      return value;
    };
    for (;;) {
      require(at < b.length, "the input ends before a token");
      const token = b[at++];
      const literals = extend(token >> 4);
      require(at + literals <= b.length, "the input ends inside literals");
      require(n + literals <= length, "literals beyond the plane");
      out.set(b.subarray(at, at + literals), n);
      at += literals;
      n += literals;
      if (at === b.length) {
        // R-COD-016: the last five bytes are literals.
        require(lastMatch < 0 || literals >= 5, "the plane ends too soon after a match");
        break;
      }
      require(at + 2 <= b.length, "the input ends inside an offset");
      const back = u16(b, at);
      at += 2;
      require(back > 0 && back <= n, "an offset of 0, or before the plane");
      const match = extend(token & 15) + 4;
      require(n + match <= length, "a match beyond the plane");
      lastMatch = n;
      if (back >= match) {
        out.copyWithin(n, n - back, n - back + match);
        n += match;
      } else {
        for (const end = n + match; n < end; n++) out[n] = out[n - back];
      }
    }
    require(n === length, "fewer bytes than the plane has");
    // R-COD-017.
    require(lastMatch < 0 || lastMatch + 12 <= length, "the last match starts too late");
    return out;
  },
};
