// The worked examples of SPEC.md, and what the reader says of a file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { decode } from "../model.js";
import { DISPOSITIONS, NnpackError } from "../src/index.js";

const spec = readFileSync(new URL("../../../../SPEC.md", import.meta.url), "utf8");

/** A hexdump of SPEC 2.4. */
function bytesOf(dump) {
  const out = [];
  for (const line of dump.trim().split("\n")) {
    const [, at, bytes] = /^([0-9a-f]+) {2}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {3}|$)/.exec(line);
    assert.equal(parseInt(at, 16), out.length);
    out.push(...bytes.split(" ").map((x) => parseInt(x, 16)));
  }
  return Uint8Array.from(out);
}

const fences = (kind) => [
  ...spec.matchAll(new RegExp(`\`\`\`nnpack-${kind} id=(\\S+).*\\n([^]*?)\`\`\``, "g")),
];

export const examples = new Map(fences("example").map(([, id, dump]) => [id, bytesOf(dump)]));
export const values = new Map(fences("values").map(([, id, text]) => [id, JSON.parse(text)]));

/** "valid", or the class of an NnpackError; anything else is thrown on. */
export function verdict(bytes, access, options = {}) {
  try {
    decode(bytes, access, options);
    return "valid";
  } catch (error) {
    if (!(error instanceof NnpackError)) throw error;
    assert.equal(error.disposition, DISPOSITIONS[error.errorClass]);
    return error.errorClass;
  }
}
