// The worked examples of SPEC.md, which are complete files, and damage to them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decode } from "./model.js";
import { DISPOSITIONS, NnpackError, open } from "./src/index.js";

const spec = readFileSync(new URL("../../../SPEC.md", import.meta.url), "utf8");

function bytesOf(dump) {
  const out = [];
  for (const line of dump.trim().split("\n")) {
    const [, at, bytes] = /^([0-9a-f]+) {2}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {3}|$)/.exec(line);
    assert.equal(parseInt(at, 16), out.length);
    out.push(...bytes.split(" ").map((x) => parseInt(x, 16)));
  }
  return Uint8Array.from(out);
}

const fences = (kind) => new Map(
  [...spec.matchAll(new RegExp(`\`\`\`nnpack-${kind} id=(\\S+).*\\n([^]*?)\`\`\``, "g"))].map((m) => [m[1], m[2]]),
);
const examples = new Map([...fences("example")].map(([id, dump]) => [id, bytesOf(dump)]));
const values = fences("values");

test("SPEC.md has examples", () => assert.ok(examples.size >= 19));

for (const [id, file] of examples) {
  const expected = JSON.parse(values.get(id));
  for (const access of ["random", "sequential"]) {
    test(`example ${id}, ${access}`, () => {
      const model = decode(file, access, {});
      const named = Object.fromEntries(model.tensors.map((t) => [t.name, t]));
      assert.deepEqual(Object.keys(named), Object.keys(expected.tensors));
      for (const [name, tensor] of Object.entries(expected.tensors)) {
        for (const key of ["dtype", "shape", "kind", "image", "logical"]) {
          assert.deepEqual(named[name][key], tensor[key], `${name}: ${key}`);
        }
      }
      const value = (x) => JSON.parse(JSON.stringify(x));
      assert.deepEqual(value(model.aliases), expected.aliases ?? {});
      assert.deepEqual(value(model.metadata), expected.metadata ?? null);
      assert.deepEqual(value(model.graphs), expected.graphs ?? {});
      assert.equal(model.root, expected.root ?? null);
    });
  }
}

test("an expected root, right and wrong", () => {
  const file = examples.get("alias-metadata-digests");
  const { root } = JSON.parse(values.get("alias-metadata-digests"));
  for (const access of ["random", "sequential"]) {
    assert.equal(decode(file, access, { expect: root }).root, root);
    const fails = (bytes, expect) =>
      assert.throws(() => decode(bytes, access, { expect }), { errorClass: "bad-digest" });
    fails(file, "0".repeat(64));
    fails(examples.get("float32"), root);
    const damaged = file.slice();
    damaged[0x60] ^= 1;
    fails(damaged, root);
  }
});

test("slices are parts of images", () => {
  for (const [id, file] of examples) {
    const opened = open(file);
    for (const { name, shape, image } of decode(file, "random", {}).tensors) {
      if (image === null || shape.length !== 2) continue;
      const [rows, columns] = shape;
      const size = image.length / 2 / rows / columns;
      for (let row = 0; row < rows; row++) {
        for (let from = 0; from <= columns; from++) {
          const part = opened.slice(name, [row, from], [row + 1, columns]);
          const start = 2 * size * (row * columns + from);
          const end = 2 * size * (row + 1) * columns;
          assert.equal(Buffer.from(part).toString("hex"), image.slice(start, end), `${id} ${name}`);
        }
      }
    }
  }
});

/** Success, or an NnpackError of a class of the list. */
function verdict(bytes, access) {
  try {
    decode(bytes, access, {});
    return "valid";
  } catch (error) {
    if (!(error instanceof NnpackError)) throw error;
    assert.equal(error.disposition, DISPOSITIONS[error.errorClass]);
    return error.errorClass;
  }
}

for (const [id, file] of examples) {
  test(`every bit of ${id} changed, every length cut`, () => {
    for (let bit = 0; bit < 8 * file.length; bit++) {
      const damaged = file.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      const random = verdict(damaged, "random");
      const sequential = verdict(damaged, "sequential");
      assert.equal(random === "valid", sequential === "valid", `bit ${bit}: ${random}, ${sequential}`);
      assert.notEqual(random, "valid", `bit ${bit} is read by nobody`);
    }
    for (let length = 0; length < file.length; length++) {
      for (const access of ["random", "sequential"]) {
        assert.notEqual(verdict(file.subarray(0, length), access), "valid");
      }
    }
    const longer = Uint8Array.of(...file, 0);
    assert.equal(verdict(longer, "random"), "truncated");
    assert.equal(verdict(longer, "sequential"), "trailing-data");
  });
}
