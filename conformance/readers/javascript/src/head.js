// Section heads (SPEC 5.2, 5.3).

import { crc32 } from "./crc32.js";
import { NnpackError, need } from "./errors.js";
import { readName } from "./text.js";
import {
  needZeros,
  putU16,
  putU32,
  putU64,
  startsWith,
  u16,
  u32,
  u64,
  up8,
  upAlign,
} from "./wire.js";

const SYNC = [0x89, 0x53, 0x45, 0x43];
export const FIXED = 32;
const MAX_HEAD = 67108864;

export const TENSOR = 1;
export const GRAPH = 2;
export const METADATA = 3;
export const ALIAS = 4;
export const BLOB = 5;
export const NAMES = 6;
export const DIRECTORY = 7;
export const DIGESTS = 8;

/** By type: [name, ancillary bit, least and greatest name length] */
export const SECTION_TYPES = {
  [TENSOR]: ["tensor", 0, 1, 1024],
  [GRAPH]: ["graph", 0, 1, 1024],
  [METADATA]: ["metadata", 0, 0, 0],
  [ALIAS]: ["alias", 0, 1, 1024],
  [BLOB]: ["blob", 0, 1, 1024],
  [NAMES]: ["names", 0, 0, 0],
  [DIRECTORY]: ["directory", 0, 0, 0],
  [DIGESTS]: ["digests", 1, 0, 0],
};

export const isPrivate = (id) => id >= 128 && id <= 255;

/** Fields at their places: those of a head's fixed part, and what follows from them. */
export function parseFixed(b, at, offset) {
  const nameLength = u16(b, at + 12);
  return {
    offset,
    type: u16(b, at + 4),
    flags: u16(b, at + 6),
    headLength: u32(b, at + 8),
    nameLength,
    alignment: b[at + 14],
    payloadLength: Number(u64(b, at + 16)),
    checksum: u32(b, at + 28),
  };
}

/** A head from its fields, checksum included: the reverse of `parseFixed`. */
export function buildHead(section) {
  const head = new Uint8Array(section.headLength);
  head.set(SYNC);
  putU16(head, 4, section.type);
  putU16(head, 6, section.flags);
  putU32(head, 8, section.headLength);
  putU16(head, 12, section.nameBytes.length);
  head[14] = section.alignment;
  putU64(head, 16, section.payloadLength);
  head.set(section.nameBytes, FIXED);
  head.set(section.body, FIXED + up8(section.nameBytes.length));
  putU32(head, 28, headChecksum(head, section.offset));
  return head;
}

/** R-SEC-010, of a whole head. */
function headChecksum(head, offset) {
  const start = new Uint8Array(8 + FIXED);
  putU64(start, 0, offset);
  start.set(head.subarray(0, 28), 8);
  return crc32(head.subarray(FIXED), crc32(start));
}

export const needSync = (b, at, offset) =>
  need(startsWith(b.subarray(at, at + 4), SYNC), "bad-layout", "no sync bytes", offset);

/** R-SEC-004. */
export function needHeadLength({ headLength, nameLength, offset }) {
  const ok =
    headLength % 8 === 0 && headLength >= FIXED + up8(nameLength) && headLength <= MAX_HEAD;
  need(ok, "bad-layout", `head length ${headLength}`, offset + 8);
}

/** The two reserved fields, which the directory does not repeat (R-SEC-007, R-SEC-009). */
function needReserved(b, at, offset) {
  need(b[at + 15] === 0, "reserved-nonzero", "byte 15 of a head", offset + 15);
  need(u32(b, at + 24) === 0, "reserved-nonzero", "bytes 24 to 27 of a head", offset + 24);
}

/** What the fields of a head must keep by themselves. */
export function needFields({ type, flags, nameLength, alignment, payloadLength, offset }) {
  need(flags < 2, "reserved-nonzero", "flags of a section", offset + 6);
  need(type !== 0, "bad-layout", "section of type 0", offset + 4);
  const [name, ancillary, least, most] = SECTION_TYPES[type] ?? ["unknown", flags, 0, 1024];
  need(flags === ancillary, "bad-layout", `ancillary bit of a ${name} section`, offset + 6);
  need(
    nameLength >= least && nameLength <= most,
    "bad-text",
    `name length ${nameLength}`,
    offset + 12,
  );
  const most2 = payloadLength === 0 ? 3 : 16;
  need(alignment >= 3 && alignment <= most2, "bad-layout", `alignment 2^${alignment}`, offset + 14);
  const exact = Number.isSafeInteger(payloadLength);
  need(exact, "bad-layout", `payload of ${payloadLength} bytes`, offset + 16);
}

/** R-SEC-029 and R-NAM-009. */
export function needNoPayload({ payloadLength, offset }) {
  need(payloadLength === 0, "bad-layout", `payload of ${payloadLength} bytes`, offset + 16);
}

/** A critical section of an unknown type makes the file unreadable (R-SEC-016). */
export function needKnown({ type, flags, offset }) {
  if (type > 8 && flags === 0)
    throw new NnpackError("unknown-section", `section type ${type}`, offset + 4);
}

/** The name of a section as a string, empty for one without (R-NAM-012, R-NAM-016). */
export const sectionName = ({ nameBytes, offset }) =>
  nameBytes.length === 0 ? "" : readName(nameBytes, offset + FIXED);

/** Where the payload of a section starts, and where the next head stands (SPEC 5.7). */
export function place(section) {
  section.payloadOffset = upAlign(section.offset + section.headLength, 2 ** section.alignment);
  section.payloadEnd = section.payloadOffset + section.payloadLength;
  section.end = up8(section.payloadEnd);
  return section;
}

/** A head that lies whole in `b`, its checksum compared: [section, head]. */
export function parseHead(b, offset) {
  const section = parseFixed(b, 0, offset);
  need(
    headChecksum(b, offset) === section.checksum,
    "bad-checksum",
    "checksum of a head",
    offset + 28,
  );
  needReserved(b, 0, offset);
  needFields(section);
  const named = FIXED + section.nameLength;
  section.nameBytes = b.subarray(FIXED, named);
  section.name = sectionName(section);
  const body = FIXED + up8(section.nameLength);
  needZeros(b, named, body, "zeros after a name", offset);
  section.body = b.subarray(body);
  return place(section);
}

/** Whether the inline bytes of a head, as many as the directory says, keep their own checksum. */
export const keepsChecksum = (inline, offset) =>
  headChecksum(inline, offset) === u32(inline, FIXED - 4);
