// What a section holds: steps 15 to 22 of SPEC 14.3, each a function of one section.

import { inSection, need, NnpackError } from "./errors.js";
import { CODECS } from "./codecs/index.js";
import * as head from "./head.js";
import { parseJson } from "./json.js";
import { KINDS } from "./kinds/index.js";
import { within, withinExpansion } from "./limits.js";
import { bytesOf, range } from "./cells.js";
import { logicalDigest } from "./logical.js";
import { checkStored, layOut } from "./stream.js";
import { readName, readReverseDns } from "./text.js";
import { charge, leaves, nodes, parseTree } from "./tree.js";
import { TRANSFORMS } from "./transforms/index.js";
import { needZeros, u16, up8 } from "./wire.js";

const DENSE = 1;
const UINT8 = 0x18;
const CELLS = 0;
const RAW = 0;
const ZSTD = 1;
const DIGEST = 32;
export const PIECE = 2 ** 20;

const bodyOffset = (section) => section.offset + head.FIXED + up8(section.nameBytes.length);
const where = (section) =>
  section.name || head.SECTION_TYPES[section.type]?.[0] || `type ${section.type}`;

/** Step 13: the names by 256 * class + id, from the names section (SPEC 5.3). */
export function parseNames(section) {
  const { body: b } = section;
  const base = bodyOffset(section);
  const bound = new Map();
  let before = -1;
  head.needNoPayload(section);
  need(b.length > 0, "bad-layout", "a names section without entries", base);
  for (let at = 0; at < b.length;) {
    const [entryClass, id] = [b[at], b[at + 1]];
    need(entryClass >= 1 && entryClass <= 5, "bad-value", `class ${entryClass}`, base + at);
    need(id >= 128, "bad-value", `id ${id} is not private`, base + at + 1);
    const length = u16(b, at + 2);
    need(length >= 3 && length <= 255, "bad-text", `name of ${length} bytes`, base + at + 2);
    const end = at + 4 + length;
    const next = at + up8(4 + length);
    need(next <= b.length, "bad-node", "entries do not fill the body", base + at);
    const name = readReverseDns(b.subarray(at + 4, end), base + at + 4);
    needZeros(b, end, next, "zeros after a private name", base);
    const key = entryClass * 256 + id;
    need(key > before, "bad-layout", "entries are not in ascending order", base + at);
    before = key;
    bound.set(key, name);
    at = next;
  }
  return bound;
}

export const CLASS = { sectionType: 1, kind: 2, dtype: 3, transform: 4, codec: 5 };

/** R-SEC-019, R-NAM-010. */
export function needBinding(bound, entryClass, id, offset) {
  const ok = !head.isPrivate(id) || bound.has(entryClass * 256 + id);
  need(ok, "missing", `no binding of id ${id} in class ${entryClass}`, offset);
}

/** Whether the body is a node tree (SPEC 5.3). */
export const hasTree = ({ type, payloadLength }) =>
  type !== head.ALIAS && type !== head.NAMES && (type <= 8 || payloadLength > 0);

/**
 * Step 15: section.tree, or section.target of an alias; `tensorNamed` finds a tensor section by
 * name.
 */
export function parseBody(section, tensorNamed) {
  inSection(where(section), section.offset, () => {
    if (hasTree(section)) section.tree = parseTree(section.body, bodyOffset(section));
    if (section.type === head.ALIAS) section.target = parseAlias(section, tensorNamed);
  });
}

function parseAlias(section, tensorNamed) {
  head.needNoPayload(section);
  const { body: b } = section;
  const base = bodyOffset(section);
  const length = b.length < 2 ? 0 : u16(b, 0);
  const ok = length >= 1 && length <= 1024 && up8(2 + length) === b.length;
  need(ok, "mismatch", `target of ${length} bytes`, base);
  needZeros(b, 2 + length, b.length, "zeros after the target", base);
  const target = tensorNamed(readName(b.subarray(2, 2 + length), base + 2));
  const earlier = target !== undefined && target.offset < section.offset;
  need(earlier, "bad-reference", "the target is no earlier tensor section", base + 2);
  return target;
}

/** Step 16. */
export function layOutPayload(section) {
  if (!hasTree(section)) return;
  inSection(where(section), section.offset, () => {
    needLeaf(section);
    layOut(
      leaves(section.tree),
      section.payloadLength,
      2 ** section.alignment,
      section.offset + 16,
    );
  });
}

/** The leaf that the section type asks for (R-SEC-020 to R-SEC-022, R-SEC-030, R-SEC-031). */
function needLeaf({ type, tree }) {
  if (type === head.TENSOR || type > 8) return;
  const rank = type === head.DIGESTS ? 2 : 1;
  const ok = tree.kind === DENSE && tree.role === 0 && tree.dtype === UINT8 && tree.rank === rank;
  need(ok, "bad-node", "the body is not the leaf of its section type", tree.offset);
  const { transform, planes, codecs, entryAt } = tree.stream;
  need(transform === CELLS, "bad-value", "a leaf with a transform", tree.parametersAt);
  const allowed = { [head.DIRECTORY]: [RAW, ZSTD], [head.DIGESTS]: [RAW] }[type];
  const known = planes === 1 && (allowed === undefined || allowed.includes(codecs[0]));
  need(known, "bad-value", "a codec that this section may not have", entryAt(0));
}

/** Step 17: bindings, and then section.unsupported, a few words or null. */
export function bind(section, bound) {
  section.unsupported = null;
  if (!hasTree(section)) return;
  inSection(where(section), section.offset, () => {
    for (const node of nodes(section.tree)) {
      needBinding(bound, CLASS.kind, node.kind, node.offset);
      needBinding(bound, CLASS.dtype, node.dtype, node.offset + 2);
      if (node.stream === null) continue;
      needBinding(bound, CLASS.transform, node.stream.transform, node.parametersAt);
      for (const id of node.stream.codecs)
        needBinding(bound, CLASS.codec, id, node.parametersAt + 4);
    }
  });
  // Of a type that is not known, no more than steps 15 to 17 and 20 (R-NOD-019).
  section.unsupported = section.type > 8 ? `section type ${section.type}` : unknownId(section.tree);
}

function unknownId(tree) {
  for (const { kind, dtype, type, stream } of nodes(tree)) {
    if (!KINDS.has(kind)) return `kind ${kind}`;
    if (type === null) return `data type ${dtype}`;
    if (stream === null) continue;
    if (!TRANSFORMS.has(stream.transform)) return `transform ${stream.transform}`;
    const codec = stream.codecs.find((id) => !CODECS.has(id));
    if (codec !== undefined) return `codec ${codec}`;
  }
  return null;
}

export function needSupported(section) {
  if (section.unsupported === null) return;
  throw new NnpackError("unsupported", section.unsupported, section.offset, where(section));
}

/** Step 18, of a tree without unknown ids. */
export function checkRules(section) {
  if (!hasTree(section) || section.unsupported !== null) return;
  inSection(where(section), section.offset, () => {
    if (section.type === head.DIGESTS) {
      const [rows, columns] = section.tree.shape;
      const ok = rows === BigInt(Math.ceil(section.offset / PIECE)) && columns === BigInt(DIGEST);
      need(ok, "bad-shape", `digests of shape (${section.tree.shape})`, section.tree.offset + 16);
    }
    for (const node of nodes(section.tree)) KINDS.get(node.kind).rules(node);
  });
}

/** Step 19: the charge of one section; tensors and aliases add up to that of the request. */
export function checkLimits(section, limits, budget, stored) {
  const { type, payloadLength } = section;
  if (type === head.ALIAS) budget.spend(chargeOf(section.target), stored);
  if (!hasTree(section)) return;
  inSection(where(section), section.offset, () => {
    const bytes = chargeOf(section);
    const isText = type === head.METADATA || type === head.GRAPH;
    if (isText && section.unsupported === null)
      within(bytes, limits.json_bytes, "decoded size of a JSON text");
    if (type === head.TENSOR) within(bytes, limits.tensor, "charge of a tensor");
    withinExpansion(bytes, payloadLength, limits, "a section");
    if (type === head.TENSOR) budget.spend(bytes, stored);
    else within(bytes, limits.request, "charge of a section");
  });
}

const chargeOf = (section) =>
  section.unsupported === null ? charge(section.tree) : BigInt(section.payloadLength);

/**
 * Step 20; `payload` are the section's bytes, the padding before and after them left to the
 * caller.
 */
export function checkPayload(section, payload) {
  if (!hasTree(section)) return;
  inSection(where(section), section.offset, () =>
    checkStored(leaves(section.tree), payload, section.payloadOffset),
  );
}

/** Elements `lo` to `hi` of a node, or null (kinds/index.js). */
function elements(node, lo, hi, context) {
  const whole = context.cache?.get(node);
  if (whole !== undefined) return whole && range(whole, node.size, lo, hi);
  context.spend((hi - lo) * node.size);
  const read = (part, from, to) => elements(part, from, to, context);
  return KINDS.get(node.kind).decode(node, lo, hi, read, context);
}

/**
 * Steps 21 and 22 of a whole tree, checked up to step 20: the words of each node, null for none.
 */
export function decodeTree(section, payload) {
  return inSection(where(section), section.offset, () => {
    const cache = new Map();
    const { payloadOffset } = section;
    const context = { payload, payloadOffset, checked: true, spend: () => {}, cache };
    for (const node of [...nodes(section.tree)].reverse()) {
      cache.set(node, elements(node, 0, Number(node.n), context));
    }
    return cache;
  });
}

/** Elements `lo` to `hi` of a tensor, from the blocks that they need. */
export function decodeRange(section, payload, lo, hi, spend) {
  return inSection(where(section), section.offset, () => {
    const context = {
      payload,
      payloadOffset: section.payloadOffset,
      checked: false,
      spend,
      cache: null,
    };
    return elements(section.tree, lo, hi, context);
  });
}

/** The bytes of a section with a byte leaf. */
export const decodeLeaf = (section, payload) =>
  bytesOf(decodeTree(section, payload).get(section.tree));

export const decodeText = (section, bytes) =>
  inSection(where(section), section.payloadOffset, () => parseJson(bytes));

/**
 * Steps 21 and 22: {unsupported}, or {values, logical()} of a tree, {json} or {bytes} of a byte
 * leaf, or {}.
 */
export function decodeSection(section, payload) {
  if (!hasTree(section)) return {};
  if (section.unsupported !== null) return { unsupported: section.unsupported };
  const values = decodeTree(section, payload);
  if (section.type === head.TENSOR || section.type > 8) {
    return { values, logical: () => logicalDigest(section.tree, (node) => values.get(node)) };
  }
  const bytes = values.get(section.tree);
  const isText = section.type === head.METADATA || section.type === head.GRAPH;
  return isText ? { json: decodeText(section, bytes) } : { bytes };
}
