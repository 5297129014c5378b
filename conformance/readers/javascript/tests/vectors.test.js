// The page, without a browser: it reads all vectors of the kit, and it sees what is wrong.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { answer, difference, judge } from "../judge.js";

const CONFORMANCE = new URL("../../../", import.meta.url);
const bytesOf = (id) => new Uint8Array(readFileSync(new URL(`vectors/${id}.nnpk`, CONFORMANCE)));
const sidecarOf = (id) => JSON.parse(readFileSync(new URL(`vectors/${id}.json`, CONFORMANCE)));

/** An element of a page, with the little of it that the page uses. */
class Element {
  rows = [];
  insertRow = () => this.#insert();
  insertCell = () => this.#insert();
  addEventListener = (type, listener) => (this[type] = listener);

  #insert() {
    this.rows.push(new Element());
    return this.rows.at(-1);
  }
}

const elements = new Map();
globalThis.document = {
  getElementById(id) {
    if (!elements.has(id)) elements.set(id, new Element());
    return elements.get(id);
  },
};
globalThis.location = { search: "" };
globalThis.fetch = async (url) => {
  const bytes = readFileSync(url);
  const arrayBuffer = async () => Uint8Array.from(bytes).buffer;
  return { ok: true, arrayBuffer, json: async () => JSON.parse(bytes) };
};
await import("../browser.js");
const text = (id) => elements.get(id).textContent;

test("the page reads all vectors", async () => {
  await elements.get("vectors").click();
  const { vectors } = JSON.parse(readFileSync(new URL("manifest.json", CONFORMANCE)));
  const read = vectors.filter(({ id }) => !id.startsWith("encode/")).length;
  assert.equal(text("progress"), `${read} of ${read}`);
  assert.equal(document.title, "done");
  const counts = Object.fromEntries(text("summary").split(", ").map((part) => part.split(": ")));
  assert.deepEqual(Object.keys(counts).sort(), ["declined", "pass"]);
  assert.equal(Number(counts.pass) + Number(counts.declined), 2 * read);
  assert.deepEqual(document.getElementById("rows").rows, []);
});

test("the page shows files", async () => {
  const file = (name, bytes) => ({
    name,
    arrayBuffer: async () => Uint8Array.from(bytes).buffer,
    text: async () => Buffer.from(bytes).toString(),
  });
  const sidecar = { ...sidecarOf("invalid/start/magic"), error: "missing" };
  const files = [
    file("alone.nnpk", bytesOf("valid/start/float32")),
    file("broken.nnpk", [1, 2, 3]),
    file("other.nnpk", bytesOf("invalid/start/magic")),
    file("other.json", Buffer.from(JSON.stringify(sidecar))),
  ];
  await elements.get("files").change({ target: { files } });
  const rows = elements.get("rows").rows.map((row) => row.rows.map((cell) => cell.textContent));
  assert.deepEqual(
    rows.map(([name]) => name),
    ["alone.nnpk", "broken.nnpk", "other.nnpk"],
  );
  assert.match(rows[0][1], /^valid \(w: float32 \[/);
  assert.match(rows[1][1], /^invalid \(not-nnpack: /);
  assert.match(rows[2][1], /^fail-class \(not-nnpack, not missing: /);
});

/** The places in a model that a reader answers: containers and keys. */
function* places(value) {
  for (const key of Object.keys(value)) {
    if (["profile", "features", "parameters", "contents"].includes(key)) continue;
    const inner = value[key];
    if (typeof inner === "object" && inner !== null && Object.keys(inner).length > 0)
      yield* places(inner);
    else yield [value, key];
  }
}

function other(value) {
  if (value === null) return "00";
  if (Array.isArray(value)) return [1];
  if (typeof value === "object") return { x: "00" };
  return { boolean: !value, number: -value || 1, string: `${value}00` }[typeof value];
}

test("no value of a model may be another", () => {
  const { vectors } = JSON.parse(readFileSync(new URL("manifest.json", CONFORMANCE)));
  let seen = 0;
  for (const { id } of vectors) {
    if (!id.startsWith("valid/")) continue;
    const { model: wanted } = sidecarOf(id);
    const { model } = answer(bytesOf(id), "random");
    if (model.tensors.some((tensor) => tensor.unsupported)) continue;
    assert.equal(difference(model, wanted), null, id);
    for (const [place, key] of places(wanted)) {
      const right = place[key];
      place[key] = other(right);
      assert.notEqual(difference(model, wanted), null, `${id}: ${key}`);
      place[key] = right;
      seen++;
    }
  }
  assert.ok(seen > 10000, `${seen} places`);
});

test("verdicts on one file", () => {
  const [valid, invalid] = ["valid/start/float32", "invalid/start/magic"];
  const status = (id, changes) => judge({ ...sidecarOf(id), ...changes }, bytesOf(id), "random")[0];
  assert.equal(status(valid, {}), "pass");
  assert.equal(status(valid, { result: "reject", error: "missing" }), "fail-verdict");
  assert.equal(status(invalid, {}), "pass");
  assert.equal(status(invalid, { result: "accept" }), "fail-verdict");
  assert.equal(status(invalid, { error: "missing" }), "fail-class");
  assert.equal(status(invalid, { error: "missing", also: ["not-nnpack"] }), "pass");
  assert.equal(status(invalid, { error: "missing", disposition: "limit" }), "fail-disposition");
});
