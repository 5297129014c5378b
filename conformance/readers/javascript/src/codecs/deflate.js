// deflate (SPEC 11.4) and gzip (SPEC 11.8.4): RFC 1951 with the input consumed exactly.

import { crc32 } from "../crc32.js";
import { need } from "../errors.js";
import { u16, u32 } from "../wire.js";

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const LENGTH_BITS = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
  3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const LONGEST = 15;

/** Entries `symbol * 16 + length` by the next `bits` bits, 0 where no code stands. */
function codeTable(lengths, mayBeShort, require) {
  const counts = new Uint16Array(LONGEST + 1);
  for (const length of lengths) counts[length]++;
  counts[0] = 0;
  const bits = counts.findLastIndex((count) => count > 0);
  if (bits <= 0) {
    require(mayBeShort, "a Huffman code without symbols"); // R-COD-021
    return { bits: 1, table: new Uint32Array(2) };
  }
  const next = new Uint16Array(LONGEST + 2);
  let left = 1;
  for (let length = 1; length <= bits; length++) {
    left = 2 * left - counts[length];
    require(left >= 0, "a Huffman code with too many symbols");
    next[length + 1] = (next[length] + counts[length]) << 1;
  }
  require(left === 0 || (mayBeShort && bits === 1), "an incomplete Huffman code"); // R-COD-021
  const table = new Uint32Array(1 << bits);
  lengths.forEach((length, symbol) => {
    if (length === 0) return;
    const code = next[length]++;
    let reversed = 0;
    for (let k = 0; k < length; k++) reversed |= ((code >> k) & 1) << (length - 1 - k);
    for (let i = reversed; i < table.length; i += 1 << length) table[i] = symbol * 16 + length;
  });
  return { bits, table };
}

let fixedTables = null;

function fixed(require) {
  const lengths = Array.from({ length: 288 }, (_, s) =>
    s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8,
  );
  fixedTables ??= [
    codeTable(lengths, false, require),
    codeTable(new Array(32).fill(5), false, require),
  ];
  return fixedTables;
}

/** The plane, of exactly `length` bytes, from all bytes of `b`. */
function inflate(b, length, offset) {
  const out = new Uint8Array(length);
  let n = 0;
  let at = 0; // next byte
  let hold = 0; // bits that were read and not used, lowest first
  let held = 0;
  const require = (ok, detail) => {
    if (!ok) need(false, "bad-stream", `deflate: ${detail}`, offset + Math.min(at, b.length));
  };
  const fill = (count) => {
    while (held < count && at < b.length) {
      hold |= b[at++] << held;
      held += 8;
    }
  };
  const take = (count) => {
    fill(count);
    require(held >= count, "the input ends too soon");
    const value = hold & ((1 << count) - 1);
    hold >>>= count;
    held -= count;
    return value;
  };
  const symbol = ({ bits, table }) => {
    fill(bits);
    const entry = table[hold & ((1 << bits) - 1)];
    const used = entry & 15;
    require(used > 0, "a code that stands for nothing");
    require(used <= held, "the input ends too soon");
    hold >>>= used;
    held -= used;
    return entry >> 4;
  };

  function stored() {
    at -= held >> 3; // whole bytes go back
    hold = held = 0;
    require(at + 4 <= b.length, "the input ends too soon");
    const size = u16(b, at);
    require((size ^ u16(b, at + 2)) === 0xffff, "length of a stored block");
    at += 4;
    require(at + size <= b.length, "the input ends too soon");
    require(n + size <= length, "more bytes than the plane has");
    out.set(b.subarray(at, at + size), n);
    at += size;
    n += size;
  }

  function dynamic() {
    const literals = take(5) + 257;
    const distances = take(5) + 1;
    const count = take(4) + 4;
    require(literals <= 286 && distances <= 30, "more codes than there are symbols");
    const order = new Array(19).fill(0);
    for (let i = 0; i < count; i++) order[ORDER[i]] = take(3);
    const code = codeTable(order, false, require);
    const lengths = [];
    while (lengths.length < literals + distances) {
      const s = symbol(code);
      if (s < 16) {
        lengths.push(s);
        continue;
      }
      require(s !== 16 || lengths.length > 0, "a repetition of nothing");
      const value = s === 16 ? lengths.at(-1) : 0;
      const times = s === 16 ? 3 + take(2) : s === 17 ? 3 + take(3) : 11 + take(7);
      require(lengths.length + times <= literals + distances, "more code lengths than announced");
      for (let k = 0; k < times; k++) lengths.push(value);
    }
    require(lengths[256] > 0, "a block that cannot end");
    return [
      codeTable(lengths.slice(0, literals), true, require),
      codeTable(lengths.slice(literals), true, require),
    ];
  }

  function coded([literal, distance]) {
    for (;;) {
      const s = symbol(literal);
      if (s < 256) {
        require(n < length, "more bytes than the plane has");
        out[n++] = s;
        continue;
      }
      if (s === 256) return;
      require(s < 286, "a length that does not exist");
      const size = LENGTH_BASE[s - 257] + take(LENGTH_BITS[s - 257]);
      const d = symbol(distance);
      require(d < 30, "a distance that does not exist");
      const back = DISTANCE_BASE[d] + take(DISTANCE_BITS[d]);
      require(back <= n, "a distance before the plane");
      require(n + size <= length, "more bytes than the plane has");
      for (const end = n + size; n < end; n++) out[n] = out[n - back];
    }
  }

  for (let last = 0; last === 0;) {
    last = take(1);
    const type = take(2);
    require(type < 3, "block type 3");
    if (type === 0) stored();
    else coded(type === 1 ? fixed(require) : dynamic());
  }
  require(n === length, `${n} bytes of ${length}`);
  return { out, end: at - (held >> 3) };
}

export const deflate = {
  id: 3,
  name: "deflate",

  decode(b, length, shared, offset) {
    const { out, end } = inflate(b, length, offset);
    need(end === b.length, "bad-stream", "deflate: bytes behind the final block", offset + end);
    return out;
  },
};

export const gzip = {
  id: 19,
  name: "gzip",

  decode(b, length, shared, offset) {
    const require = (ok, detail) => need(ok, "bad-stream", `gzip: ${detail}`, offset);
    require(b.length >= 18 && u32(b, 0) === 0x00088b1f, "the header");
    const out = deflate.decode(b.subarray(10, -8), length, null, offset + 10);
    require(u32(b, b.length - 8) === crc32(out), "the checksum of the plane");
    require(u32(b, b.length - 4) === length, "the length of the plane");
    return out;
  },
};
