// Sequential access (SPEC 5.8): bytes once, in order.

import * as container from "./container.js";
import { countSections, buildDirectory, Order } from "./directory.js";
import { RunningDigests, parseExpected } from "./digests.js";
import { inSection, need, NnpackError } from "./errors.js";
import { checkGraph } from "./graph.js";
import * as head from "./head.js";
import { Budget, limitExceeded, within, withDefaults } from "./limits.js";
import { finishDirectoryHead, needDirectoryBounds } from "./opening.js";
import { open } from "./reader.js";
import * as content from "./section.js";
import { equalBytes, needZeros } from "./wire.js";

/**
 * Reads and checks a file from an iterable of its bytes in pieces; visit(section, content) is
 * called as in File.verify, and what it is given is provisional until this returns {sections,
 * root}. With an expected root no byte may be used before it is compared, so that the file is held
 * first (R-DIG-004).
 */
export function readSequential(chunks, options = {}, visit = () => {}) {
  const parser = begin(options, visit);
  const source = chunks[Symbol.iterator]();
  let step = parser.next();
  const supply = new Supply();
  while (!step.done) {
    while (!supply.has(step.value)) {
      const { done, value } = source.next();
      supply.push(done ? null : value);
    }
    step = parser.next(supply.take(step.value));
  }
  return step.value;
}

/** The same from an async iterable, such as a ReadableStream. */
export async function readSequentialAsync(chunks, options = {}, visit = () => {}) {
  const parser = begin(options, visit);
  const source = chunks[Symbol.asyncIterator]();
  let step = parser.next();
  const supply = new Supply();
  while (!step.done) {
    while (!supply.has(step.value)) {
      const { done, value } = await source.next();
      supply.push(done ? null : value);
    }
    step = parser.next(supply.take(step.value));
  }
  return step.value;
}

function begin(options, visit) {
  const expected = parseExpected(options.expect);
  return expected === null ? parse(withDefaults(options.limits), visit) : spool(options, visit);
}

function* spool(options, visit) {
  const file = open(yield Infinity, options);
  file.verify(visit);
  return { sections: file.sections, root: file.root };
}

/** Bytes that came and are not taken: nothing is reserved for bytes that are only announced. */
class Supply {
  #chunks = [];
  #length = 0;
  #ended = false;

  push(chunk) {
    if (chunk === null) this.#ended = true;
    else if (chunk.length > 0) {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
    }
  }

  has(n) {
    return this.#ended || this.#length >= n;
  }

  /** `n` bytes, or at the end of the file as many as there are. */
  take(n) {
    const length = Math.min(n, this.#length);
    this.#length -= length;
    if (this.#chunks.length > 0 && this.#chunks[0].length > length) return this.#cut(length);
    const out = newBytes(length);
    for (let at = 0; at < length;) {
      const room = length - at;
      const part = this.#chunks[0].length > room ? this.#cut(room) : this.#chunks.shift();
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #cut(n) {
    const part = this.#chunks[0].subarray(0, n);
    this.#chunks[0] = this.#chunks[0].subarray(n);
    return part;
  }
}

function newBytes(length) {
  try {
    return new Uint8Array(length);
  } catch (error) {
    if (error instanceof RangeError) limitExceeded(`no memory for ${length} bytes`);
    throw error;
  }
}

/** Yields how many bytes it needs and is given them, fewer only at the end of the file. */
function* parse(limits, visit) {
  const digests = new RunningDigests();
  const budget = new Budget(limits);
  const order = new Order();
  const sections = [];
  const tensors = new Map();
  const names = new Set();
  const graphs = [];
  let bound = new Map();
  let rows = null;
  let at = 0;

  function* take(n) {
    const bytes = yield n;
    at += bytes.length;
    if (bytes.length < n)
      throw new NnpackError("truncated", "the file ends inside what it declares", at);
    return bytes;
  }
  function* zeros(n, detail) {
    const bytes = yield* take(n);
    needZeros(bytes, 0, n, detail, at - n);
    digests.update(bytes);
  }

  const header = yield 16;
  container.needMagic(header.subarray(0, 8));
  need(header.length === 16, "truncated", `a file of ${header.length} bytes`, header.length);
  container.needVersion(header);
  digests.update(header);
  at = 16;

  for (;;) {
    const section = yield* takeHead();
    const { type, name } = section;
    if (type === head.DIRECTORY) return yield* finish(section);
    order.admit(section);
    section.index = sections.push(section) - 1;
    within(sections.length, limits.sections, "number of sections");
    head.needKnown(section);
    content.needBinding(bound, content.CLASS.sectionType, type, section.offset + 4);
    if (type === head.NAMES)
      bound = inSection("names", section.offset, () => content.parseNames(section));
    content.parseBody(section, (target) => tensors.get(target));
    content.layOutPayload(section);
    content.bind(section, bound);
    content.checkRules(section);
    content.checkLimits(section, limits, budget, section.payloadEnd);

    const decoded = content.decodeSection(section, yield* takePayload(section));
    if (type === head.TENSOR) tensors.set(name, section);
    if (type === head.TENSOR || type === head.ALIAS) names.add(name);
    if (type === head.GRAPH && decoded.json) graphs.push([section, decoded.json]);
    if (type === head.DIGESTS) rows = decoded.bytes;
    visit(section, decoded);
  }

  function* takeHead() {
    const offset = at;
    const fixed = yield* take(head.FIXED);
    head.needSync(fixed, 0, offset);
    const { type, headLength, nameLength } = head.parseFixed(fixed, 0, offset);
    head.needHeadLength({ headLength, nameLength, offset });
    const rest = yield* take(headLength - head.FIXED);
    const bytes = new Uint8Array(headLength);
    bytes.set(fixed);
    bytes.set(rest, head.FIXED);
    if (type === head.DIGESTS) digests.startRoot();
    digests.update(bytes);
    const section = inSection(null, offset, () => head.parseHead(bytes, offset));
    section.head = type === head.DIRECTORY ? bytes : null;
    return section;
  }

  function* takePayload(section) {
    yield* zeros(section.payloadOffset - at, "padding before a payload");
    const payload = yield* take(section.payloadLength);
    digests.update(payload);
    content.checkPayload(section, payload);
    yield* zeros(section.end - section.payloadEnd, "padding after a payload");
    return payload;
  }

  /** The directory, the trailer, the end of the file, and what had to wait for them. */
  function* finish(directory) {
    finishDirectoryHead(directory);
    needDirectoryBounds(directory, limits);
    const payload = yield* takePayload(directory);
    const decoded = content.decodeLeaf(directory, payload);
    countSections(decoded);
    const same = equalBytes(decoded, buildDirectory(sections));
    need(same, "mismatch", "the directory differs from the heads", directory.offset);

    const end = at;
    const trailer = yield* take(container.TRAILER);
    digests.update(trailer);
    const { offset, checksum } = container.parseTrailer(trailer, end);
    need(offset === directory.offset, "bad-layout", `directory offset ${offset}`, end);
    const before = new Uint8Array(
      directory.payloadOffset - directory.offset - directory.headLength,
    );
    const after = new Uint8Array(directory.end - directory.payloadEnd);
    const parts = [header, directory.head, before, payload, after, trailer.subarray(0, 16)];
    container.needTrailerChecksum(checksum, parts, end);
    need((yield 1).length === 0, "trailing-data", "bytes after the trailer", at);

    if (rows !== null) digests.needRows(rows);
    for (const [section, json] of graphs) {
      inSection(section.name, section.offset, () => checkGraph(json, (name) => names.has(name)));
    }
    return { sections, root: digests.root() };
  }
}
