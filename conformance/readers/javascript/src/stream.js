// Streams (SPEC 9): parameters of a dense node, layout of the payload, blocks.

import { allocate } from "./cells.js";
import { CODECS, hasSharedTable, mayHaveSharedTable } from "./codecs/index.js";
import { crc32 } from "./crc32.js";
import { need } from "./errors.js";
import { TRANSFORMS } from "./transforms/index.js";
import { needZeros, u32, up8, upAlign } from "./wire.js";

const MAX_STORED = 8388608;
const CELLS = 0;
const RAW = 0;

/**
 * Step 15 of SPEC 14.3: sections 9.1 and 9.2 as far as they depend on no id that the reader does
 * not know.
 */
export function parseStream(node) {
  const { parameters: b, parametersAt: at } = node;
  need(b.length >= 8, "bad-node", "a dense node without parameters", at);
  const [transform, log2, p, parameter] = b;
  need(log2 >= 10 && log2 <= 20, "bad-value", `blocks of 2^${log2} cells`, at + 1);
  need(p >= 1 && p <= 8, "bad-value", `${p} planes`, at + 2);
  const fixed = up8(4 + p);
  need(b.length >= fixed, "bad-node", "parameters of a dense node", at);
  const codecs = [...b.subarray(4, 4 + p)];
  needZeros(b, 4 + p, fixed, "zeros after the codecs", at);

  const blockCells = 2 ** log2;
  const blocks = (node.n + BigInt(blockCells - 1)) / BigInt(blockCells);
  const entries = (b.length - fixed) / 8;
  const rest = BigInt(entries) - BigInt(p) * blocks;
  const least = blocks === 0n ? 0 : codecs.filter(hasSharedTable).length;
  const most = blocks === 0n ? 0 : codecs.filter(mayHaveSharedTable).length;
  need(
    rest >= least && rest <= most,
    "bad-node",
    `${entries} entries in a block table`,
    at + fixed,
  );

  const stream = {
    transform,
    blockCells,
    parameter,
    codecs,
    entries,
    planes: p,
    tables: Number(rest),
    blocks: Number(blocks),
    raw: transform === CELLS && p === 1 && codecs[0] === RAW,
    stored: (i) => u32(b, fixed + 8 * i),
    checksum: (i) => u32(b, fixed + 8 * i + 4),
    entryAt: (i) => at + fixed + 8 * i,
    starts: null,
    shared: null,
  };
  for (let i = 0; i < entries; i++) {
    const stored = stream.stored(i);
    need(stored <= MAX_STORED, "bad-value", `stored length ${stored}`, stream.entryAt(i));
    need(stored > 0 || i >= stream.tables, "bad-value", "an empty shared table", stream.entryAt(i));
  }
  return stream;
}

/** Step 16, SPEC 9.3: places of all stored bytes in the payload. */
export function layOut(leaves, payloadLength, alignment, offset) {
  let position = 0;
  for (const { stream } of leaves) {
    stream.starts = new Float64Array(stream.entries);
    for (let i = 0; i < stream.entries; i++) {
      position = stream.raw && i === 0 ? upAlign(position, alignment) : up8(position);
      stream.starts[i] = position;
      position += stream.stored(i);
    }
  }
  need(
    position === payloadLength,
    "mismatch",
    `a payload of ${payloadLength} bytes holds ${position}`,
    offset,
  );
}

const cellsOfBlock = (node, block) =>
  Math.min(node.stream.blockCells, Number(node.n) - block * node.stream.blockCells);

/** Step 18: the rules of the transform, and stored lengths against plane lengths. */
export function needStreamRules(node) {
  const { stream, type, parametersAt: at } = node;
  const bytes = type.size * stream.blockCells;
  need(bytes <= MAX_STORED, "bad-value", `blocks of ${bytes} bytes`, at + 1);
  const transform = TRANSFORMS.get(stream.transform);
  need(transform.accepts(type), "bad-dtype", `transform ${transform.name} of ${type.name}`, at);
  need(stream.planes === transform.planes(type), "bad-value", `${stream.planes} planes`, at + 2);
  const most = transform.greatestParameter(type);
  need(stream.parameter <= most, "bad-value", `transform parameter ${stream.parameter}`, at + 3);
  need(
    !transform.hasForms || stream.codecs[0] === RAW,
    "bad-value",
    "a coded control plane",
    at + 4,
  );

  let forms = null;
  let cells = -1;
  for (let block = 0; block < stream.blocks; block++) {
    if (cellsOfBlock(node, block) !== cells) {
      cells = cellsOfBlock(node, block);
      forms = transform.planeLengths(type, cells, stream.parameter);
    }
    needLengths(stream, block, forms);
  }
}

const entryOf = (stream, block, plane) => stream.tables + block * stream.planes + plane;

/** R-STR-011, R-STR-013, R-STR-018; with several forms, that one of them fits (R-TRF-008). */
function needLengths(stream, block, forms) {
  const at = stream.entryAt(entryOf(stream, block, 0));
  if (forms.length > 1) {
    const fits = forms.some((lengths) => fault(stream, block, lengths) === null);
    need(fits, "mismatch", `stored lengths of block ${block} fit no form`, at);
    return;
  }
  const errorClass = fault(stream, block, forms[0]);
  if (errorClass !== null) need(false, errorClass, `stored lengths of block ${block}`, at);
}

function fault(stream, block, lengths) {
  for (let plane = 0; plane < stream.planes; plane++) {
    const stored = stream.stored(entryOf(stream, block, plane));
    if (stored === 0 && lengths[plane] !== 0) return "bad-value";
    if (stored > lengths[plane]) return "mismatch";
    if (stored < lengths[plane] && stream.codecs[plane] === RAW) return "mismatch";
  }
  return null;
}

/** The stored bytes of an entry, checksum compared (R-RDR-014) unless step 20 has done that. */
function storedBytes(stream, entry, { payload, payloadOffset, checked }) {
  const start = stream.starts[entry];
  const bytes = payload.subarray(start, start + stream.stored(entry));
  const ok = checked || crc32(bytes) === stream.checksum(entry);
  need(ok, "bad-checksum", "checksum of stored bytes", payloadOffset + start);
  return bytes;
}

/** Step 20: checksums and gaps of a whole payload. */
export function checkStored(leaves, payload, payloadOffset) {
  const context = { payload, payloadOffset, checked: false };
  let end = 0;
  for (const { stream } of leaves) {
    for (let i = 0; i < stream.entries; i++) {
      const start = stream.starts[i];
      needZeros(payload, end, start, "a gap in the payload", payloadOffset);
      end = start + storedBytes(stream, i, context).length;
    }
  }
}

/** Step 21 for shared tables, of which there is one decoder a plane (R-STR-019). */
function sharedTables(stream, context) {
  if (stream.shared !== null) return stream.shared;
  let entry = 0;
  const shared = stream.codecs.map((id) => {
    if (stream.tables === 0 || !hasSharedTable(id)) return null;
    const start = context.payloadOffset + stream.starts[entry];
    return CODECS.get(id).parseTable(storedBytes(stream, entry++, context), start);
  });
  return (stream.shared = shared);
}

/** Cells `lo` to `hi` of a dense node. */
export function decodeCells(node, lo, hi, context) {
  const { stream, size } = node;
  const out = allocate(hi - lo, size);
  if (lo >= hi) return out;
  const words = out.length / (hi - lo);
  const last = Math.floor((hi - 1) / stream.blockCells);
  for (let block = Math.floor(lo / stream.blockCells); block <= last; block++) {
    const first = block * stream.blockCells;
    const cells = cellsOfBlock(node, block);
    if (first >= lo && first + cells <= hi) {
      decodeBlock(
        node,
        block,
        out.subarray((first - lo) * words, (first - lo + cells) * words),
        context,
      );
    } else {
      context.spend(cells * size);
      const part = allocate(cells, size);
      decodeBlock(node, block, part, context);
      const from = Math.max(lo, first);
      const to = Math.min(hi, first + cells);
      out.set(part.subarray((from - first) * words, (to - first) * words), (from - lo) * words);
    }
  }
  return out;
}

function decodeBlock(node, block, out, context) {
  const { stream, type } = node;
  const transform = TRANSFORMS.get(stream.transform);
  const shared = sharedTables(stream, context);
  const entries = stream.codecs.map((_, plane) => entryOf(stream, block, plane));
  const stored = entries.map((entry) => storedBytes(stream, entry, context));
  const offsets = entries.map((entry) => context.payloadOffset + stream.starts[entry]);
  const forms = transform.planeLengths(type, cellsOfBlock(node, block), stream.parameter);
  const form = transform.hasForms ? stored[0][0] : 0;
  need(form < forms.length, "bad-value", `form ${form}`, offsets[0]);
  needLengths(stream, block, [forms[form]]);
  const planes = stored.map((bytes, k) => {
    const length = forms[form][k];
    if (bytes.length === length) return bytes;
    return CODECS.get(stream.codecs[k]).decode(bytes, length, shared[k], offsets[k]);
  });
  transform.decode(planes, type, out, stream.parameter, offsets[0]);
}
