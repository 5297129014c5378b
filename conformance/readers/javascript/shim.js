#!/usr/bin/env node
// The testee of conformance/PROTOCOL.md: exec and serve.

import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { freemem } from "node:os";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { decode, describe, imageOf, Model } from "./model.js";
import { NnpackError, open } from "./src/index.js";

const PROTOCOL = 1;
const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));

function hello() {
  return {
    ok: true,
    protocol: PROTOCOL,
    implementation: { name: "nnpack-reader", version, language: "JavaScript" },
    profile: "R3",
    features: ["sequential", "slice", "parts", "limits", "codec.gzip"],
  };
}

/** A whole file: readFileSync stops at 2 GiB. */
function readFile(path) {
  const file = openSync(path);
  try {
    const bytes = new Uint8Array(fstatSync(file).size);
    for (let at = 0; at < bytes.length;) {
      const n = readSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30), at);
      if (n === 0) return bytes.subarray(0, at);
      at += n;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

const content = ({ path, data }) =>
  data === undefined ? readFile(path) : new Uint8Array(Buffer.from(data, "base64"));

const OPERATIONS = {
  hello,

  decode(question) {
    const { access = "random", limits, expect } = question;
    const options = { limits: { request: 0.8 * freemem(), ...limits }, expect };
    const model = new Model();
    try {
      return { ok: true, model: decode(content(question), access, options, model) };
    } catch (error) {
      if (!(error instanceof NnpackError)) throw error;
      const released = access === "sequential" ? { released: model.released } : {};
      return { ok: false, error: describe(error), ...released };
    }
  },

  slice(question) {
    try {
      const image = open(content(question)).slice(question.tensor, question.start, question.stop);
      return { ok: true, image: imageOf(image) };
    } catch (error) {
      if (!(error instanceof NnpackError)) throw error;
      return { ok: false, error: describe(error) };
    }
  },

  bye: () => ({ ok: true }),
};

function answer(question) {
  if (!Object.hasOwn(OPERATIONS, question.op))
    return { ok: false, error: { class: "not-implemented" } };
  return OPERATIONS[question.op](question);
}

/** JSON.stringify, but for -0, which it writes as 0 and which is a float of its own (SPEC 12.2). */
function text(value) {
  const minusZero = randomUUID();
  const json = JSON.stringify(value, (_, x) => (Object.is(x, -0) ? minusZero : x));
  return json.replaceAll(`"${minusZero}"`, "-0.0");
}

async function serve() {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() === "") continue;
    const question = JSON.parse(line);
    process.stdout.write(`${text({ seq: question.seq, ...answer(question) })}\n`);
    if (question.op === "bye") break;
  }
}

function exec(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { access: { type: "string" }, limits: { type: "string" }, expect: { type: "string" } },
  });
  const [op, path, tensor, start, stop] = positionals;
  const question = { op, path };
  if (op === "decode") {
    const { access, limits, expect } = values;
    Object.assign(question, { access, limits: limits && JSON.parse(limits), expect });
  }
  if (op === "slice")
    Object.assign(question, { tensor, start: JSON.parse(start), stop: JSON.parse(stop) });
  const result = answer(question);
  process.stdout.write(`${text(result)}\n`);
  process.exitCode = result.ok ? 0 : result.error.class === "not-implemented" ? 2 : 1;
}

const [mode] = process.argv.slice(2);
if (mode === undefined) {
  process.stderr.write(
    "usage: shim.js hello | decode FILE ... | slice FILE TENSOR START STOP | serve\n",
  );
  process.exitCode = 64;
} else if (mode === "serve") await serve();
else exec(process.argv.slice(2));
