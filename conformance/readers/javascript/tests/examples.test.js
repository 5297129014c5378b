// The worked examples of SPEC.md, which are complete files, and every change of one bit of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode } from "../model.js";
import { open } from "../src/index.js";
import { examples, values, verdict } from "./examples.js";

test("SPEC.md has examples", () => assert.ok(examples.size >= 19));

for (const [id, file] of examples) {
  const expected = values.get(id);
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
  const { root } = values.get("alias-metadata-digests");
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

for (const [id, file] of examples) {
  test(`every bit of ${id} changed, every length cut`, () => {
    for (let bit = 0; bit < 8 * file.length; bit++) {
      const damaged = file.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      const random = verdict(damaged, "random");
      const sequential = verdict(damaged, "sequential");
      assert.equal(
        random === "valid",
        sequential === "valid",
        `bit ${bit}: ${random}, ${sequential}`,
      );
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

test("random access to single sections", () => {
  const unknown = open(examples.get("unknown"));
  assert.deepEqual(unknown.names, ["foreign", "private", "plain"]);
  assert.deepEqual(unknown.bindings, [
    [1, 200, "org.example.note"],
    [5, 128, "org.example.codec"],
  ]);
  assert.deepEqual([...unknown.tensor("plain").image], [7, 9]);
  assert.throws(() => unknown.tensor("private"), { errorClass: "unsupported" });
  assert.throws(() => unknown.tensor("foreign"), { errorClass: "unsupported" });
  const { format, parameters, data } = unknown.opaque("foreign");
  assert.equal(format, "org.example.blocks");
  assert.equal(parameters.length, 0);
  assert.deepEqual([...data], [...Array(66).keys()]);
  assert.deepEqual(unknown.tree("private").shape, [16n]);

  const tied = open(examples.get("alias-metadata-digests"));
  assert.deepEqual(tied.tensor("head").image, tied.tensor("embed").image);
  assert.equal(tied.metadata().title, "two cells");
  assert.equal(open(examples.get("graph")).graph("main").nodes.length, 2);
});

test("a fault in one section leaves the others readable", () => {
  const file = examples.get("packing").slice();
  file[0x68] ^= 1;
  const damaged = open(file);
  assert.throws(() => damaged.tensor("u4"), {
    errorClass: "bad-checksum",
    section: "u4",
    offset: 0x68,
  });
  assert.equal(damaged.tensor("flag").image.length, 10);
});
