// zstd (SPEC 11.2): one frame of RFC 8878 under the restrictions of the format.

import { need } from "../errors.js";
import { startsWith, u16, u32, u64 } from "../wire.js";
import { decodeLiterals } from "./zstd/literals.js";
import { execute } from "./zstd/sequences.js";

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const MAX_WINDOW = 8388608;
const MAX_BLOCK = 131072;
const PADDING = 4; // the bit readers look at four bytes

/** R-COD-004 to R-COD-010: where the blocks start, the window, and the greatest block. */
function parseHeader(b, end, length, require) {
  require(end >= 6 && startsWith(b, MAGIC), "the magic");
  const descriptor = b[4];
  require((descriptor & 3) === 0, "a dictionary id");
  require((descriptor & 4) === 0, "a content checksum");
  require((descriptor & 8) === 0, "the reserved bit");
  const single = (descriptor & 32) !== 0;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6];
  require(sizeBytes > 0, "no content size");
  let at = 5;
  let window = length;
  if (!single) {
    const base = 2 ** (10 + (b[at] >> 3));
    window = base + (base / 8) * (b[at] & 7);
    at += 1;
  }
  require(window <= MAX_WINDOW, "the window");
  require(at + sizeBytes <= end, "a header that does not end");
  const size = [b[at], u16(b, at) + 256, u32(b, at), u64(b, at)][descriptor >> 6];
  require(BigInt(size) === BigInt(length), "the content size");
  return { at: at + sizeBytes, window, most: Math.min(window, MAX_BLOCK) };
}

export const zstd = {
  id: 1,
  name: "zstd",

  decode(stored, length, shared, offset) {
    const require = (ok, detail) => {
      if (!ok) need(false, "bad-stream", `zstd: ${detail}`, offset);
    };
    const end = stored.length;
    const b = new Uint8Array(end + PADDING);
    b.set(stored);
    const header = parseHeader(b, end, length, require);
    const { window, most } = header;
    let { at } = header;
    const out = new Uint8Array(length);
    const state = { tree: null, tables: null, repeats: [1, 4, 8], window };
    let n = 0;
    for (let last = false; !last;) {
      require(at + 3 <= end, "a frame without its last block");
      const head = b[at] | (b[at + 1] << 8) | (b[at + 2] << 16);
      last = (head & 1) === 1;
      const type = (head >> 1) & 3;
      const size = head >> 3;
      at += 3;
      require(type < 3, "block type 3");
      require(size <= most, "a block that is too large");
      require(at + (type === 1 ? 1 : size) <= end, "a block that does not end");
      require(type === 2 || n + size <= length, "more bytes than the plane has");
      if (type === 0) {
        out.set(b.subarray(at, at + size), n);
        n += size;
      } else if (type === 1) {
        out.fill(b[at], n, n + size);
        n += size;
      } else {
        const section = decodeLiterals(b, at, at + size, state.tree, most, require);
        state.tree = section.tree;
        n = execute(b, section.at, at + size, section.literals, state, out, n, most, require);
      }
      at += type === 1 ? 1 : size;
    }
    require(n === length, "fewer bytes than the plane has");
    require(at === end, "bytes behind the frame"); // R-COD-011
    return out;
  },
};
