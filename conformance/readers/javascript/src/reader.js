// Random access (SPEC 5.8, 14.3): from the end of the file, and then only the sections that are
// asked for.

import { boxOf } from "./box.js";
import { image } from "./cells.js";
import * as container from "./container.js";
import { Pieces, needRoot, parseExpected, rootOf } from "./digests.js";
import { inSection, need, NnpackError } from "./errors.js";
import { checkGraph } from "./graph.js";
import * as head from "./head.js";
import { OPAQUE, parseFormat } from "./kinds/opaque.js";
import { plain } from "./json.js";
import { Budget, withDefaults } from "./limits.js";
import { readDirectory } from "./opening.js";
import * as content from "./section.js";
import { equalBytes, needZeros } from "./wire.js";

/** Opens a file that is held in memory; options: {limits, expect: the root in hex}. */
export function open(bytes, options = {}) {
  return new File(bytes, options);
}

/** A file that is open; see `open`. */
export class File {
  #bytes;
  #tensors = new Map();
  #names = new Map();
  #pieces = null;
  #touched = new Set();
  #bound = new Map();
  #ready = new Set();

  constructor(bytes, { limits, expect } = {}) {
    this.limits = withDefaults(limits);
    const expected = parseExpected(expect);
    this.#bytes = bytes;
    container.needMagic(bytes);
    need(bytes.length >= container.SMALLEST, "truncated", `a file of ${bytes.length} bytes`, 0);
    container.needVersion(bytes);
    const sections = readDirectory(bytes, this.limits);
    /** Sections in file order, the directory not among them. */
    this.sections = sections;
    for (const section of sections) {
      if (section.type === head.TENSOR) this.#tensors.set(section.name, section);
      if (section.type === head.TENSOR || section.type === head.ALIAS)
        this.#names.set(section.name, section);
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
        const ok = head.keepsChecksum(inline, offset);
        need(ok, "bad-checksum", "checksum of an inline head", offset + 28);
        need(false, "mismatch", "an inline head differs from the directory", offset);
      }
      const end = section.payloadOffset;
      needZeros(this.#bytes, offset + headLength, end, "padding before a payload");
    });
    this.#touched.add(section);
  }

  #payload(section) {
    return this.#bytes.subarray(section.payloadOffset, section.payloadEnd);
  }

  #checkPayload(section) {
    content.checkPayload(section, this.#payload(section));
    needZeros(this.#bytes, section.payloadEnd, section.end, "padding after a payload");
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
    if (section === undefined)
      throw new RangeError(`no ${head.SECTION_TYPES[type][0]} has the name ${name}`);
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

  /** The names that the file binds private ids to: [class of SPEC 18.6, id, name]. */
  get bindings() {
    return [...this.#bound].map(([key, name]) => [key >> 8, key & 255, name]);
  }

  /** The node tree of a tensor, whatever ids are in it (SPEC 8.1). */
  tree(name) {
    const section = this.#names.get(name);
    if (section === undefined) throw new RangeError(`no tensor has the name ${name}`);
    this.#prepare(section);
    return (section.target ?? section).tree;
  }

  /** What a foreign format needs for an opaque tensor: {format, parameters, data} (R-OPQ-008). */
  opaque(name) {
    const section = this.#tensor(name);
    if (section.tree.kind !== OPAQUE) throw new TypeError(`${name} is no opaque tensor`);
    const values = this.#decode(section);
    return { ...parseFormat(section.tree), data: values.get(section.tree.parts[0]) };
  }

  /** A tensor: {name, dtype, shape, image: the bytes of its elements (SPEC 2.4)}. */
  tensor(name) {
    const section = this.#tensor(name);
    const { tree } = section;
    const words = this.#decode(section).get(tree);
    if (words === null)
      throw new NnpackError("unsupported", "an opaque format", section.offset, section.name);
    return {
      name,
      dtype: tree.type.name,
      shape: tree.shape.map(Number),
      image: image(tree.type, words),
    };
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
    if (words === null)
      throw new NnpackError("unsupported", "an opaque format", section.offset, section.name);
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
    return this.#decode(section).get(section.tree);
  }

  /** Steps 19 to 22 of one section: the elements of each node. */
  #decode(section) {
    content.checkLimits(section, this.limits, new Budget(this.limits), this.#bytes.length);
    this.#checkPayload(section);
    return content.decodeTree(section, this.#payload(section));
  }

  #checkGraph(section, json) {
    inSection(section.name, section.payloadOffset, () =>
      checkGraph(json, (name) => this.#names.has(name)),
    );
  }

  /**
   * Checks all that SPEC 4.3 asks of a reader that calls a file valid, step by step over all
   * sections, and calls visit(section, content) for each in file order (section 4 of README.md says
   * what content is).
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
      const decoded = content.decodeSection(section, this.#payload(section));
      if (section.type === head.GRAPH && decoded.json) this.#checkGraph(section, decoded.json);
      if (section.type === head.DIGESTS) {
        const pieces = this.#pieces ?? new Pieces(this.#bytes, section.offset, decoded.bytes);
        pieces.compare(0, section.offset);
      }
      visit(section, decoded);
    }
  }
}
