// The verdict on a vector: the answer of this reader beside the vector's sidecar (PROTOCOL.md).

import { sha256 } from "./src/sha256.js";
import { hex } from "./src/wire.js";
import { decode, describe } from "./model.js";
import { DISPOSITIONS, NnpackError } from "./src/index.js";

/** {ok, model} or {ok, error}. */
export function answer(bytes, access, { limits, expect } = {}) {
  try {
    return { ok: true, model: decode(bytes, access, { limits, expect }) };
  } catch (error) {
    if (!(error instanceof NnpackError)) throw error;
    return { ok: false, error: describe(error) };
  }
}

const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (x) => parseInt(x, 16));

/** Images are equal in either form. */
function sameImage(a, b) {
  if (a === b || a === null || b === null) return a === b;
  const digest = (x) => (x.startsWith("sha256:") ? x : `sha256:${hex(sha256(fromHex(x)))}`);
  return digest(a) === digest(b);
}

function same(a, b) {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null)
    return a === b || (a === 0 && b === 0);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
  );
}

function nodeDifference(path, got, wanted) {
  for (const key of ["kind", "dtype", "shape"]) {
    if (!same(got[key], wanted[key])) return `${path}: ${key}`;
  }
  if (!sameImage(got.image, wanted.image)) return `${path}: image`;
  const [names, parts] = [Object.keys(got.parts ?? {}), wanted.parts ?? {}];
  if (!same(names.sort(), Object.keys(parts).sort())) return `${path}: parts`;
  for (const name of names) {
    const found = nodeDifference(`${path}/${name}`, got.parts[name], parts[name]);
    if (found) return found;
  }
  return null;
}

/**
 * Where a model differs, or null; tensors that no reader decodes, or not this one, are passed
 * over.
 */
export function difference(got, wanted) {
  if (
    !same(
      got.tensors.map((x) => x.name),
      wanted.tensors.map((x) => x.name),
    )
  )
    return "names of tensors";
  for (const [i, tensor] of got.tensors.entries()) {
    if (tensor.unsupported && tensor.kind !== "opaque") continue;
    const found = nodeDifference(tensor.name, tensor, wanted.tensors[i]);
    if (found) return found;
    if (tensor.logical !== wanted.tensors[i].logical) return `${tensor.name}: logical digest`;
  }
  for (const key of ["aliases", "metadata", "graphs", "root"])
    if (!same(got[key], wanted[key])) return key;
  const blobs = Object.keys(wanted.blobs).sort();
  if (!same(Object.keys(got.blobs).sort(), blobs)) return "blobs";
  return blobs.every((name) => sameImage(got.blobs[name], wanted.blobs[name]))
    ? null
    : "contents of a blob";
}

/** [status, detail] by PROTOCOL.md's table. */
export function judge(sidecar, bytes, access) {
  const result = answer(bytes, access, sidecar);
  const unsupported = result.ok && result.model.tensors.some((tensor) => tensor.unsupported);
  if (sidecar.result === "accept") {
    if (!result.ok) return ["fail-verdict", `${result.error.class}: ${result.error.detail}`];
    const found = difference(result.model, sidecar.model);
    return found ? ["fail-value", found] : ["pass", ""];
  }
  if (result.ok)
    return unsupported ? ["declined", ""] : ["fail-verdict", `accepted, not ${sidecar.error}`];
  const { class: got, detail } = result.error;
  if ([sidecar.error, ...(sidecar.also ?? [])].includes(got) || access === "sequential")
    return ["pass", got];
  const status = DISPOSITIONS[got] === sidecar.disposition ? "fail-class" : "fail-disposition";
  return [status, `${got}, not ${sidecar.error}: ${detail}`];
}
