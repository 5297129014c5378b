// Random access (SPEC 5.8, 14.3): from the end of the file, and then only the sections that are asked for.

import { boxOf } from "./box.js";
import { image } from "./cells.js";
import * as container from "./container.js";
import { countSections, parseDirectory } from "./directory.js";
import { Pieces, needRoot, parseExpected, rootOf } from "./digests.js";
import { inSection, need, NnpackError } from "./errors.js";
import { checkGraph } from "./graph.js";
import * as head from "./head.js";
import { plain } from "./json.js";
import { Budget, within, withDefaults } from "./limits.js";
import { logicalDigest } from "./logical.js";
import * as content from "./section.js";
import { needStreamRules } from "./stream.js";
import { equalBytes, needZeros, u16, u32, up8 } from "./wire.js";

/** Opens a file that is held in memory; options: {limits, expect: the root in hex}. */
export function open(bytes, options = {}) {
  return new File(bytes, options);
}

/** Steps 4 to 12 of SPEC 14.3, for the directory that the trailer leads to. */
function readDirectory(file, limits) {
  const at = file.length - container.TRAILER;
  const trailer = container.parseTrailer(file.subarray(at), at);
  const directory = parseDirectoryHead(file, trailer, at);
  const { payloadLength } = directory;
  const L = directory.tree.shape[0];
  need(L <= directory.offset, "bad-layout", `a directory of ${L} bytes`, directory.tree.offset + 16);
  within(payloadLength, limits.directory_bytes, "stored length of the directory");
  within(L, limits.directory_bytes, "decoded length of the directory");

  const parts = [file.subarray(0, 16), file.subarray(directory.offset, at), file.subarray(at, at + 16)];
  container.needTrailerChecksum(trailer.checksum, parts, at);
  const { payload } = padded(file, directory);
  content.checkPayload(directory, payload);
  needZeros(file.subarray(directory.payloadEnd, directory.end), 0, directory.end - directory.payloadEnd,
    "padding after a payload", directory.payloadEnd);

  const decoded = content.decodeLeaf(directory, payload);
  const n = countSections(decoded);
  within(n, limits.sections, "number of sections");
  return { directory, sections: parseDirectory(decoded, n, directory.offset) };
}

/** Steps 5 to 7. */
function parseDirectoryHead(file, trailer, end) {
  const { offset } = trailer;
  need(trailer.length >= head.FIXED, "bad-layout", "no room for the directory's head", offset);
  head.needSync(file, offset, offset);
  const nameLength = u16(file, offset + 12);
  const headLength = u32(file, offset + 8);
  head.needHeadLength({ headLength, nameLength, offset });
  need(headLength <= trailer.length, "bad-layout", "a head outside the directory section", offset + 8);
  return inSection("directory", offset, () => {
    const directory = head.parseHead(file.subarray(offset, offset + headLength), offset);
    return finishDirectoryHead(directory, trailer, end);
  });
}

/** The rest of step 7; a sequential reader has no trailer yet. */
export function finishDirectoryHead(directory, trailer = null, end = Infinity) {
  const { offset } = directory;
  need(directory.type === head.DIRECTORY, "bad-layout", "the trailer leads to another section", offset + 4);
  content.parseBody(directory, null);
  content.layOutPayload(directory);
  content.bind(directory, new Set());
  needStreamRules(directory.tree);
  need(directory.payloadEnd <= end + container.TRAILER, "bad-layout", "a payload outside the file", offset + 16);
  const length = directory.end - offset;
  need(trailer === null || length === trailer.length, "mismatch", "length of the directory section", end + 8);
  return directory;
}

/** The payload of a section, the padding before it checked (R-RDR-012). */
function padded(file, section) {
  const from = section.offset + section.headLength;
  needZeros(file.subarray(from, section.payloadOffset), 0, section.payloadOffset - from, "padding before a payload", from);
  return { payload: file.subarray(section.payloadOffset, section.payloadEnd) };
}

/** A file that is open; see `open`. */
export class File {
  #bytes;
  #tensors = new Map();
  #names = new Map();
  #pieces = null;
  #touched = new Set();
  #bound = new Set();
  #ready = new Set();

  constructor(bytes, { limits, expect } = {}) {
    this.limits = withDefaults(limits);
    const expected = parseExpected(expect);
    this.#bytes = bytes;
    container.needMagic(bytes);
    need(bytes.length >= container.SMALLEST, "truncated", `a file of ${bytes.length} bytes`, 0);
    container.needVersion(bytes);
    const { sections } = readDirectory(bytes, this.limits);
    /** Sections in file order, the directory not among them. */
    this.sections = sections;
    for (const section of sections) {
      if (section.type === head.TENSOR) this.#tensors.set(section.name, section);
      if (section.type === head.TENSOR || section.type === head.ALIAS) this.#names.set(section.name, section);
    }
    this.#bindSections();
    const digests = this.#only(head.DIGESTS);
    /** The root in hex, null in a file without digests. */
    this.root = digests === null ? null : rootOf(bytes, digests.offset);
    if (expected !== null) this.#authenticate(digests, expected);
  }

  /** Step 13. */
  #bindSections() {
    const names = this.#only(head.NAMES);
    if (names !== null) {
      this.#touch(names);
      this.#bound = inSection("names", names.offset, () => content.parseNames(names));
    }
    for (const { type, offset } of this.sections) {
      content.needBinding(this.#bound, content.CLASS.sectionType, type, offset + 4);
    }
  }

  /** After step 13: the root, the digests section, and what steps 1 to 13 have looked at. */
  #authenticate(digests, expected) {
    needRoot(this.root, expected);
    this.#pieces = new Pieces(this.#bytes, digests.offset, this.#decodeDigests(digests));
    this.#pieces.compare(0, this.#only(head.NAMES)?.end ?? container.HEADER);
  }

  #only(type) {
    return this.sections.find((section) => section.type === type) ?? null;
  }

  /** Step 14: the inline head and the padding before the payload (R-RDR-011, R-RDR-012). */
  #touch(section) {
    if (this.#touched.has(section)) return;
    const { offset, headLength } = section;
    this.#pieces?.compare(offset, section.end);
    inSection(section.name || null, offset, () => {
      const inline = this.#bytes.subarray(offset, offset + headLength);
      if (!equalBytes(inline, head.buildHead(section))) {
        const ok = ownChecksum(this.#bytes, section);
        need(ok, "bad-checksum", "checksum of an inline head", offset + 28);
        need(false, "mismatch", "an inline head differs from the directory", offset);
      }
      padded(this.#bytes, section);
    });
    this.#touched.add(section);
  }

  #payload(section) {
    return this.#bytes.subarray(section.payloadOffset, section.payloadEnd);
  }

  #checkPayload(section) {
    content.checkPayload(section, this.#payload(section));
    const after = this.#bytes.subarray(section.payloadEnd, section.end);
    needZeros(after, 0, after.length, "padding after a payload", section.payloadEnd);
  }

  /** Steps 14 to 18 of one section. */
  #prepare(section) {
    if (this.#ready.has(section)) return section;
    this.#touch(section);
    content.parseBody(section, (name) => this.#tensors.get(name));
    if (section.type === head.ALIAS) this.#prepare(section.target);
    content.layOutPayload(section);
    content.bind(section, this.#bound);
    content.checkRules(section);
    this.#ready.add(section);
    return section;
  }

  #decodeDigests(section) {
    this.#prepare(section);
    this.#checkPayload(section);
    return content.decodeLeaf(section, this.#payload(section));
  }

  #section(type, name) {
    const section = this.sections.find((x) => x.type === type && x.name === name);
    if (section === undefined) throw new RangeError(`no ${head.SECTION_TYPES[type][0]} has the name ${name}`);
    return this.#prepare(section);
  }

  /** The tensor section of a name or an alias, ready to be decoded. */
  #tensor(name) {
    let section = this.#names.get(name);
    if (section === undefined) throw new RangeError(`no tensor has the name ${name}`);
    this.#prepare(section);
    if (section.type === head.ALIAS) section = section.target;
    content.needSupported(section);
    return section;
  }

  /** Names of tensors and aliases. */
  get names() {
    return [...this.#names.keys()];
  }

  /** A tensor: {name, dtype, shape, image: the bytes of its elements (SPEC 2.4)}. */
  tensor(name) {
    const section = this.#tensor(name);
    content.checkLimits(section, this.limits, new Budget(this.limits), this.#bytes.length);
    this.#checkPayload(section);
    const { tree } = section;
    const words = content.decodeTree(section, this.#payload(section)).get(tree);
    if (words === null) throw new NnpackError("unsupported", "an opaque format", section.offset, section.name);
    return { name, dtype: tree.type.name, shape: tree.shape.map(Number), image: image(tree.type, words) };
  }

  /** The image of the box [start, stop) of a tensor, from the blocks that it needs. */
  slice(name, start, stop) {
    const section = this.#tensor(name);
    const { tree } = section;
    const box = boxOf(tree, start, stop);
    const budget = new Budget(this.limits);
    const spend = (bytes) => budget.spend(bytes, this.#bytes.length);
    const { lo, hi } = box;
    const words = content.decodeRange(section, this.#payload(section), lo, hi, spend);
    if (words === null) throw new NnpackError("unsupported", "an opaque format", section.offset, section.name);
    return box.pick(image(tree.type, words), tree.size);
  }

  /** The object of the metadata section, null without one. */
  metadata() {
    const section = this.#only(head.METADATA);
    return section && plain(this.#json(this.#prepare(section)));
  }

  /** The graph of a name. */
  graph(name) {
    const section = this.#section(head.GRAPH, name);
    const json = this.#json(section);
    this.#checkGraph(section, json);
    return plain(json);
  }

  blob(name) {
    return this.#bytesOf(this.#section(head.BLOB, name));
  }

  #json(section) {
    return content.decodeText(section, this.#bytesOf(section));
  }

  #bytesOf(section) {
    content.needSupported(section);
    content.checkLimits(section, this.limits, new Budget(this.limits), this.#bytes.length);
    this.#checkPayload(section);
    return content.decodeLeaf(section, this.#payload(section));
  }

  #checkGraph(section, json) {
    inSection(section.name, section.payloadOffset, () => checkGraph(json, (name) => this.#names.has(name)));
  }

  /**
   * Checks all that SPEC 4.3 asks of a reader that calls a file valid, step by step over all sections, and
   * calls visit(section, content) for each in file order (section 4 of README.md says what content is).
   */
  verify(visit = () => {}) {
    const { sections, limits } = this;
    const tensorNamed = (name) => this.#tensors.get(name);
    sections.forEach((section) => this.#touch(section));
    sections.forEach((section) => content.parseBody(section, tensorNamed));
    sections.forEach((section) => content.layOutPayload(section));
    sections.forEach((section) => content.bind(section, this.#bound));
    sections.forEach((section) => content.checkRules(section));
    const budget = new Budget(limits);
    sections.forEach((section) => content.checkLimits(section, limits, budget, this.#bytes.length));
    sections.forEach((section) => this.#checkPayload(section));
    for (const section of sections) {
      const decoded = decodeSection(section, this.#payload(section));
      if (section.type === head.GRAPH && decoded.json) this.#checkGraph(section, decoded.json);
      if (section.type === head.DIGESTS) {
        const pieces = this.#pieces ?? new Pieces(this.#bytes, section.offset, decoded.bytes);
        pieces.compare(0, section.offset);
      }
      visit(section, decoded);
    }
  }
}

/** Steps 21 and 22: {unsupported}, or {values, logical()} of a tree, {json} or {bytes} of a byte leaf, or {}. */
export function decodeSection(section, payload) {
  if (!content.hasTree(section)) return {};
  if (section.unsupported !== null) return { unsupported: section.unsupported };
  const values = content.decodeTree(section, payload);
  if (section.type === head.TENSOR || section.type > 8) {
    return { values, logical: () => logicalDigest(section.tree, (node) => values.get(node)) };
  }
  const bytes = values.get(section.tree);
  const isText = section.type === head.METADATA || section.type === head.GRAPH;
  return isText ? { json: content.decodeText(section, bytes) } : { bytes };
}

/** Whether an inline head keeps its own checksum, over the length that it states itself. */
function ownChecksum(file, { offset }) {
  const nameLength = u16(file, offset + 12);
  const headLength = u32(file, offset + 8);
  const whole = headLength >= head.FIXED + up8(nameLength) && offset + headLength <= file.length;
  if (!whole) return false;
  const inline = file.subarray(offset, offset + headLength);
  return head.headChecksum(inline, offset) === u32(inline, 28);
}
