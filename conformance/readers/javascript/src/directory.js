// The directory's payload (SPEC 5.5): heads of the other sections, transposed.

import { need } from "./errors.js";
import * as head from "./head.js";
import { position, putU16, putU32, putU64, u16, u32, up8 } from "./wire.js";

const MAX_SECTIONS = 2 ** 24;
const ROW = 27;

/** R-DIR-001. */
export function countSections(b) {
  need(b.length >= 8, "mismatch", "a directory without a count");
  const n = position(b, 0, MAX_SECTIONS - 1, "mismatch", "number of sections");
  need(8 + ROW * n <= b.length, "mismatch", `a directory of ${b.length} bytes cannot list ${n} sections`);
  return n;
}

/** Step 12 of SPEC 14.3: sections with names and bodies, from the decoded payload; `end` is the directory's offset. */
export function parseDirectory(b, n, end) {
  const sections = Array.from({ length: n }, (_, i) => ({
    index: i,
    offset: position(b, 8 + 8 * i, end, "bad-layout", "offset of a section"),
    payloadLength: position(b, 8 + 8 * n + 8 * i, end, "bad-layout", "payload length of a section"),
    headLength: u32(b, 8 + 16 * n + 4 * i),
    type: u16(b, 8 + 20 * n + 2 * i),
    flags: u16(b, 8 + 22 * n + 2 * i),
    nameLength: u16(b, 8 + 24 * n + 2 * i),
    alignment: b[8 + 26 * n + i],
  }));
  sections.forEach(head.needFields);
  sections.forEach(head.needHeadLength);

  let chain = 16;
  for (const section of sections) {
    need(section.offset === chain, "bad-layout", `section ${section.index} is not at ${chain}`, section.offset);
    chain = head.place(section).end;
    need(chain <= end, "bad-layout", `section ${section.index} reaches behind the directory`, section.offset);
  }
  need(chain === end, "bad-layout", "a hole before the directory", chain);

  let names = 8 + ROW * n;
  const nameBytes = sections.reduce((sum, section) => sum + section.nameLength, Math.max(n - 1, 0));
  let bodies = names + nameBytes;
  const bodyLength = (section) => section.headLength - head.FIXED - up8(section.nameLength);
  const total = sections.reduce((sum, section) => sum + bodyLength(section), bodies);
  need(total === b.length, "mismatch", `a directory of ${b.length} bytes says that it has ${total}`);
  for (const section of sections) {
    section.nameBytes = b.subarray(names, (names += section.nameLength));
    section.name = null;
    section.body = b.subarray(bodies, (bodies += bodyLength(section)));
    const last = section.index === n - 1;
    need(last || b[names++] === 0x0a, "bad-text", "names are not joined by 0A", section.offset);
  }
  needOrder(sections);
  for (const section of sections) section.name = head.sectionName(section);
  needUnique(sections);
  sections.forEach(head.needKnown);
  return sections;
}

/** The same bytes from the sections that a sequential reader met. */
export function buildDirectory(sections) {
  const n = sections.length;
  const sum = (f) => sections.reduce((total, section) => total + f(section), 0);
  const joined = sum((s) => s.nameBytes.length) + Math.max(n - 1, 0);
  const b = new Uint8Array(8 + ROW * n + joined + sum((s) => s.body.length));
  putU64(b, 0, n);
  let names = 8 + ROW * n;
  let bodies = names + joined;
  sections.forEach((section, i) => {
    putU64(b, 8 + 8 * i, section.offset);
    putU64(b, 8 + 8 * n + 8 * i, section.payloadLength);
    putU32(b, 8 + 16 * n + 4 * i, section.headLength);
    putU16(b, 8 + 20 * n + 2 * i, section.type);
    putU16(b, 8 + 22 * n + 2 * i, section.flags);
    putU16(b, 8 + 24 * n + 2 * i, section.nameBytes.length);
    b[8 + 26 * n + i] = section.alignment;
    if (i > 0) b[names++] = 0x0a;
    b.set(section.nameBytes, names);
    names += section.nameBytes.length;
    b.set(section.body, bodies);
    bodies += section.body.length;
  });
  return b;
}

/** R-SEC-033 to R-SEC-036, for sections but the directory. */
export function needOrder(sections) {
  const [first, last] = [0, sections.length - 1];
  const seen = new Set();
  sections.forEach(({ type, offset }) => {
    const once = type === head.NAMES || type === head.METADATA || type === head.DIGESTS;
    need(!(once && seen.has(type)), "duplicate", `a second section of type ${type}`, offset);
    seen.add(type);
  });
  sections.forEach(({ type, offset }, i) => {
    need(type !== head.NAMES || i === first, "bad-layout", "the names section is not the first", offset);
    need(type !== head.DIGESTS || i === last, "bad-layout", "the digests section is not the last", offset);
    need(type !== head.DIRECTORY, "bad-layout", "a second directory", offset);
  });
}

export const inNamespace = ({ type }) =>
  type === head.TENSOR || type === head.GRAPH || type === head.ALIAS || type === head.BLOB;

/** R-NAM-015. */
export function needUnique(sections) {
  const seen = new Set();
  for (const section of sections.filter(inNamespace)) {
    need(!seen.has(section.name), "duplicate", `the name ${section.name} occurs twice`, section.offset);
    seen.add(section.name);
  }
}
