// Codecs and transforms against encoders: those of Node, and two that follow SPEC 10.4 and 11.6
// backwards.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { crc32 as zlibCrc32, constants, deflateRawSync, gzipSync } from "node:zlib";

import { deflate, gzip } from "../src/codecs/deflate.js";
import { huffman } from "../src/codecs/huffman.js";
import { zstd } from "../src/codecs/zstd.js";
import { crc32 } from "../src/crc32.js";
import { DTYPES } from "../src/dtypes.js";
import { sha256 } from "../src/sha256.js";
import { float5 } from "../src/transforms/float5.js";
import { pair } from "../src/transforms/pair.js";
import { hex } from "../src/wire.js";

const text = new TextEncoder().encode("one two three four five six seven ".repeat(300));
const noise = Uint8Array.from({ length: 5000 }, (_, i) => Math.imul(i * i + 7, 2654435761) >>> 24);
const skewed = noise.map((x) => 31 - Math.clz32(x + 1));
const malformed = { errorClass: "bad-stream" };

test("hashes and checksums", () => {
  for (const b of [
    new Uint8Array(0),
    text,
    noise,
    ...[55, 56, 63, 64, 65].map((n) => noise.subarray(0, n)),
  ]) {
    assert.equal(hex(sha256(b)), createHash("sha256").update(b).digest("hex"));
    if (zlibCrc32) assert.equal(crc32(b), zlibCrc32(b));
  }
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

test("deflate and gzip", () => {
  for (const plane of [text, noise, skewed]) {
    for (const strategy of [
      constants.Z_DEFAULT_STRATEGY,
      constants.Z_FIXED,
      constants.Z_HUFFMAN_ONLY,
    ]) {
      for (const level of [0, 1, 9]) {
        const stored = deflateRawSync(plane, { level, strategy });
        assert.deepEqual(deflate.decode(stored, plane.length, null, 0), plane);
        assert.throws(
          () => deflate.decode(Uint8Array.of(...stored, 0), plane.length, null, 0),
          malformed,
        );
        assert.throws(
          () => deflate.decode(stored.subarray(0, -1), plane.length, null, 0),
          malformed,
        );
        assert.throws(() => deflate.decode(stored, plane.length - 1, null, 0), malformed);
        assert.throws(() => deflate.decode(stored, plane.length + 1, null, 0), malformed);
      }
    }
    const stored = gzipSync(plane);
    assert.deepEqual(gzip.decode(stored, plane.length, null, 0), plane);
    stored[stored.length - 5] ^= 1;
    assert.throws(() => gzip.decode(stored, plane.length, null, 0), malformed);
  }
});

test("zstd: what the format forbids of a frame", () => {
  const frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 64, 3, 2, 0, 9];
  const decode = (bytes, length = 64) => zstd.decode(Uint8Array.from(bytes), length, null, 0);
  assert.deepEqual(decode(frame), new Uint8Array(64).fill(9));
  const forbidden = {
    "a second frame": [...frame, ...frame],
    "a byte behind": [...frame, 0],
    "a skippable frame": [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0, ...frame],
    "a content size that differs": frame.with(5, 63),
    "no content size": [...frame.slice(0, 4), 0, 0, 3, 2, 0, 9],
    "a dictionary id": [...frame.slice(0, 4), 0x21, 1, ...frame.slice(5)],
    "a checksum": frame.with(4, 0x24),
    "the reserved bit": frame.with(4, 0x28),
    "a large window": [...frame.slice(0, 4), 0x80, 0x70, 64, 0, 0, 0, 3, 2, 0, 9],
    "block type 3": frame.with(6, 7),
    "no last block": frame.with(6, 2),
  };
  for (const [what, bytes] of Object.entries(forbidden))
    assert.throws(() => decode(bytes), malformed, what);
  for (let length = 0; length < frame.length; length++) {
    assert.throws(() => decode(frame.slice(0, length)), malformed);
  }
});

/** Symbols 0 to 7 with codes of 1, 2, ..., 7 and 7 bits: table and block. */
function encodeHuffman(symbols, lanesLog2) {
  const lengths = [1, 2, 3, 4, 5, 6, 7, 7];
  const table = new Uint8Array(33 + 4);
  table[0] = lanesLog2;
  table[1] = 0xff;
  lengths.forEach((length, k) => (table[33 + (k >> 1)] |= length << (4 * (k & 1))));
  const code = (s) => (s < 7 ? "1".repeat(s) + "0" : "1".repeat(7));
  const lanes = Array.from({ length: 2 ** lanesLog2 }, () => ({ bits: "", used: 0, words: 0 }));
  symbols.forEach((s, i) => (lanes[i % lanes.length].bits += code(s)));
  const words = [];
  symbols.forEach((s, i) => {
    const lane = lanes[i % lanes.length];
    if (16 * lane.words - lane.used < 12) {
      words.push(parseInt(lane.bits.slice(16 * lane.words, 16 * ++lane.words).padEnd(16, "0"), 2));
    }
    lane.used += code(s).length;
  });
  return { table, block: new Uint8Array(Uint16Array.from(words).buffer) };
}

test("huffman in 1, 4 and 32 lanes", () => {
  const symbols = skewed.map((x) => 7 - Math.min(x, 7));
  for (const lanesLog2 of [0, 2, 5]) {
    const { table, block } = encodeHuffman(symbols, lanesLog2);
    const shared = huffman.parseTable(table, 0);
    const decode = (b, length = symbols.length) => huffman.decode(b, length, shared, 0);
    assert.deepEqual(decode(block), symbols);
    assert.throws(() => decode(block.subarray(0, -2)), malformed);
    assert.throws(() => decode(block.subarray(0, -1)), malformed);
    assert.throws(() => decode(Uint8Array.of(...block, 0, 0)), malformed);
  }
});

const swap = (x) => ((x << 8) | (x >> 8)) & 0xffff;

/** hot and rest of form 1 for words of 16 bits, the reverse of exponents(q, W). */
function encodeExponents(y) {
  const h = y.length / 2;
  const hot = Uint8Array.from(y, (_, k) => (y[k % 2 ? h + (k >> 1) : k >> 1] >> 7) & 255);
  const Q = new Uint16Array(hot.buffer);
  const W = Q.map((q, j) => ((y[j] ^ (q << 7)) & 0x807f) | swap((y[h + j] ^ (q >> 1)) & 0x807f));
  return { hot, rest: new Uint8Array(W.buffer) };
}

test("form 1 of pair and float5", () => {
  const bfloat16 = DTYPES.get(0x49);
  const float32 = DTYPES.get(0x3a);
  for (const t of [0, 5]) {
    const cells = new Uint16Array(128 + t).map((_, i) => Math.imul(i + 1, 40503));
    const control = Uint8Array.of(
      1,
      0,
      0,
      0,
      ...new Uint8Array(12),
      ...new Uint8Array(cells.slice(128).buffer),
    );
    const { hot, rest } = encodeExponents(cells.subarray(0, 128));
    for (const transform of [pair, float5]) {
      const planes = [control, hot, rest];
      assert.deepEqual(
        transform.planeLengths(bfloat16, 128 + t, 1)[1],
        planes.map((plane) => plane.length),
      );
      const out = new Uint16Array(cells.length);
      transform.decode(planes, bfloat16, out, 1, 0);
      assert.deepEqual(out, cells);
    }
  }
  // float32: the words of 16 bits are the high halves of the cells, two by two (halves of SPEC
  // 10.4).
  const cells = new Uint32Array(64).map((_, i) => Math.imul(i + 1, 2654435761));
  const Y = new Uint32Array(32).map((_, j) => (cells[j] >>> 16) | (cells[32 + j] & 0xffff0000));
  const V = Y.map((y, j) => ((cells[j] ^ (y << 16)) & 0xffff) | ((cells[32 + j] ^ y) << 16));
  const { hot, rest } = encodeExponents(new Uint16Array(Y.buffer));
  for (const transform of [pair, float5]) {
    const planes = [
      Uint8Array.of(1, 0, 0, 0),
      hot,
      Uint8Array.of(...rest, ...new Uint8Array(V.buffer)),
    ];
    const out = new Uint32Array(64);
    transform.decode(planes, float32, out, 0, 0);
    assert.deepEqual(out, cells);
  }
});
