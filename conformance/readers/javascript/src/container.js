// Header and trailer (SPEC 5.1, 5.6).

import { crc32 } from "./crc32.js";
import { need } from "./errors.js";
import { position, startsWith, u16, u32 } from "./wire.js";

export const HEADER = 16;
export const TRAILER = 32;
export const SMALLEST = 128;
const MAGIC = [0x89, 0x4e, 0x4e, 0x50, 0x0d, 0x0a, 0x1a, 0x0a];
const END_MAGIC = [0x89, 0x4e, 0x4e, 0x50, 0x45, 0x4e, 0x44, 0x0a];

/** Step 1: the bytes at 0, as many as there are. */
export function needMagic(b) {
  need(b.length > 0, "truncated", "a file of 0 bytes", 0);
  need(startsWith(b, MAGIC.slice(0, b.length)), "not-nnpack", "the magic differs", 0);
}

/** Step 3. */
export function needVersion(b) {
  need(u16(b, 8) === 1, "unsupported-version", `major version ${u16(b, 8)}`, 8);
  need(u32(b, 12) === 0, "reserved-nonzero", "bytes 12 to 15 of the header", 12);
}

/** Step 4, but for the checksum: `b` is the trailer, `at` its offset in the file. */
export function parseTrailer(b, at) {
  need(startsWith(b.subarray(24), END_MAGIC), "truncated", "no end magic", at + 24);
  need(u32(b, 20) === 0, "reserved-nonzero", "bytes 20 to 23 of the trailer", at + 20);
  const offset = position(b, 0, at, "bad-layout", "directory offset", at);
  need(offset >= HEADER && offset % 8 === 0, "bad-layout", `directory offset ${offset}`, at);
  const length = position(b, 8, at, "bad-layout", "directory length", at + 8);
  need(offset + length === at, "bad-layout", `directory length ${length}`, at + 8);
  return { offset, length, checksum: u32(b, 16) };
}

/** R-TRL-003, over parts of the file that follow each other in the sum. */
export function needTrailerChecksum(checksum, parts, at) {
  const sum = parts.reduce((previous, part) => crc32(part, previous), 0);
  need(sum === checksum, "bad-checksum", "checksum of the trailer", at + 16);
}
