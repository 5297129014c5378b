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
  need(
    8 + ROW * n <= b.length,
    "mismatch",
    `a directory of ${b.length} bytes cannot list ${n} sections`,
  );
  return n;
}

/**
 * Step 12 of SPEC 14.3: sections with names and bodies, from the decoded payload; `end` is the
 * directory's offset.
 */
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
    need(
      section.offset === chain,
      "bad-layout",
      `section ${section.index} is not at ${chain}`,
      section.offset,
    );
    chain = head.place(section).end;
    need(
      chain <= end,
      "bad-layout",
      `section ${section.index} reaches behind the directory`,
      section.offset,
    );
  }
  need(chain === end, "bad-layout", "a hole before the directory", chain);

  let names = 8 + ROW * n;
  const nameBytes = sections.reduce((sum, section) => sum + section.nameLength, Math.max(n - 1, 0));
  let bodies = names + nameBytes;
  const bodyLength = (section) => section.headLength - head.FIXED - up8(section.nameLength);
  const total = sections.reduce((sum, section) => sum + bodyLength(section), bodies);
  need(
    total === b.length,
    "mismatch",
    `a directory of ${b.length} bytes says that it has ${total}`,
  );
  for (const section of sections) {
    section.nameBytes = b.subarray(names, (names += section.nameLength));
    section.name = null;
    section.body = b.subarray(bodies, (bodies += bodyLength(section)));
    const last = section.index === n - 1;
    need(last || b[names++] === 0x0a, "bad-text", "names are not joined by 0A", section.offset);
  }
  const order = new Order();
  for (const section of sections) {
    section.name = head.sectionName(section);
    order.admit(section);
  }
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

const ONCE = new Set([head.NAMES, head.METADATA, head.DIGESTS]);
const NAMESPACE = new Set([head.TENSOR, head.GRAPH, head.ALIAS, head.BLOB]);

/**
 * What sections must keep of each other: order and uniqueness (R-NAM-015, R-SEC-033 to R-SEC-036).
 */
export class Order {
  #types = new Set();
  #names = new Set();

  /** The next section of a file, but for the directory at its end. */
  admit({ type, name, offset }) {
    need(
      !(ONCE.has(type) && this.#types.has(type)),
      "duplicate",
      `a second section of type ${type}`,
      offset,
    );
    const first = this.#types.size === 0;
    need(first || type !== head.NAMES, "bad-layout", "the names section is not the first", offset);
    const ended = this.#types.has(head.DIGESTS);
    need(
      !ended && type !== head.DIRECTORY,
      "bad-layout",
      "digests and directory are not the last",
      offset,
    );
    this.#types.add(type);
    if (!NAMESPACE.has(type)) return;
    need(!this.#names.has(name), "duplicate", `the name ${name} occurs twice`, offset);
    this.#names.add(name);
  }
}
