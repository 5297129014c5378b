// Damage behind right checksums: what an attacker writes. The reader answers with a class or
// succeeds, and both accesses agree on whether the file is valid (R-ERR-004, R-RDR-018).

import assert from "node:assert/strict";
import { test } from "node:test";

import { crc32 } from "../src/crc32.js";
import { buildDirectory } from "../src/directory.js";
import { NnpackError } from "../src/errors.js";
import { buildHead, place } from "../src/head.js";
import { open } from "../src/index.js";
import { hasTree } from "../src/section.js";
import { layOut } from "../src/stream.js";
import { leaves, parseTree } from "../src/tree.js";
import { putU32, putU64, up8 } from "../src/wire.js";
import { examples, verdict } from "./examples.js";

const ROUNDS = Number(process.env.ROUNDS ?? 400);
const HEADER = examples.get("empty").subarray(0, 16);
const END_MAGIC = examples.get("empty").subarray(-8);
const DIRECTORY_BODY = examples.get("empty").subarray(0x30, 0x58);
const LIMITS = { tensor: 2 ** 24, request: 2 ** 25 };

/** A small generator of numbers, so that a failure can be repeated. */
function generator(seed) {
  return (n) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
}

/** Sections as {row, payload}, of which copies may be changed. */
function take(file) {
  return open(file).sections.map((section) => ({
    ...section,
    nameBytes: section.nameBytes.slice(),
    body: section.body.slice(),
    payload: file.slice(section.payloadOffset, section.payloadEnd),
  }));
}

/** Checksums of stored bytes, as far as the tree leads to them. */
function repairStored(section) {
  if (!hasTree(section)) return;
  try {
    const found = leaves(parseTree(section.body, 0));
    layOut(found, section.payload.length, 2 ** section.alignment, 0);
    for (const { stream } of found) {
      for (let i = 0; i < stream.entries; i++) {
        const stored = section.payload.subarray(
          stream.starts[i],
          stream.starts[i] + stream.stored(i),
        );
        putU32(section.body, stream.entryAt(i) + 4, crc32(stored));
      }
    }
  } catch (error) {
    if (!(error instanceof NnpackError)) throw error;
  }
}

/** A file of these sections, with a directory and all checksums. */
function assemble(sections) {
  let at = 16;
  for (const section of sections) {
    section.offset = at;
    section.headLength = 32 + up8(section.nameBytes.length) + section.body.length;
    section.payloadLength = section.payload.length;
    at = place(section).end;
  }
  const listed = buildDirectory(sections);
  const directory = place({
    offset: at,
    type: 7,
    flags: 0,
    headLength: 72,
    nameBytes: new Uint8Array(0),
    alignment: 3,
    payloadLength: listed.length,
    payload: listed,
    body: DIRECTORY_BODY.slice(),
  });
  putU64(directory.body, 16, listed.length);
  putU32(directory.body, 32, listed.length);
  putU32(directory.body, 36, crc32(listed));
  const file = new Uint8Array(directory.end + 32);
  file.set(HEADER);
  for (const section of [...sections, directory]) {
    file.set(buildHead(section), section.offset);
    file.set(section.payload, section.payloadOffset);
  }
  const end = directory.end;
  putU64(file, end, at);
  putU64(file, end + 8, end - at);
  putU32(file, end + 16, crc32(file.subarray(at, end + 16), crc32(HEADER)));
  file.set(END_MAGIC, end + 24);
  return file;
}

const ODD = [0, 1, 2, 3, 7, 8, 16, 31, 63, 64, 127, 128, 200, 254, 255];

function damage(bytes, random) {
  const at = random(bytes.length);
  if (random(2) === 0) bytes[at] ^= 1 << random(8);
  else bytes[at] = ODD[random(ODD.length)];
}

test("files that are taken apart and put together again are the same", () => {
  for (const [id, file] of examples) assert.deepEqual(assemble(take(file)), file, id);
});

for (const [id, file] of examples) {
  if (open(file).sections.length === 0) continue;
  test(`damage to ${id} behind right checksums`, () => {
    const random = generator(id.length + file.length);
    const classes = new Set();
    for (let round = 0; round < ROUNDS; round++) {
      const sections = take(file);
      for (let times = 1 + random(2); times > 0; times--) {
        const section = sections[random(sections.length)];
        const what = random(8);
        if (what === 0) section.alignment = random(20);
        else if (what === 1) section.type = ODD[random(ODD.length)];
        else if (what < 5 && section.payload.length > 0) damage(section.payload, random);
        else if (section.body.length > 0) damage(section.body, random);
        if (what !== 7) repairStored(section);
      }
      const changed = assemble(sections);
      const [first, second] = ["random", "sequential"].map((access) =>
        verdict(changed, access, { limits: LIMITS }),
      );
      assert.equal(first === "valid", second === "valid", `round ${round}: ${first}, ${second}`);
      classes.add(first);
    }
    assert.ok(classes.size > 3, `only ${[...classes]}`);
  });
}
