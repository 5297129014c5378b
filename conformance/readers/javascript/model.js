// What a file holds, as PROTOCOL.md says it: for the testee and for the page.

import { image } from "./src/cells.js";
import { TENSOR, ALIAS, METADATA, GRAPH, BLOB } from "./src/head.js";
import { plain } from "./src/json.js";
import { KINDS } from "./src/kinds/index.js";
import { open } from "./src/reader.js";
import { readSequential } from "./src/sequential.js";
import { sha256 } from "./src/sha256.js";
import { DTYPES } from "./src/dtypes.js";
import { hex } from "./src/wire.js";

const LARGEST_HEX = 65536;

export const imageOf = (bytes) =>
  bytes.length > LARGEST_HEX ? `sha256:${hex(sha256(bytes))}` : hex(bytes);
const dimension = (d) => (d <= Number.MAX_SAFE_INTEGER ? Number(d) : String(d));

function nodeOf(node, values) {
  const kind = KINDS.get(node.kind);
  const words = values?.get(node) ?? null;
  return {
    kind: kind?.name ?? `unknown(${node.kind})`,
    dtype: DTYPES.get(node.dtype)?.name ?? `unknown(${node.dtype})`,
    shape: node.shape.map(dimension),
    image: words && imageOf(image(node.type, words)),
    parts: Object.fromEntries(
      node.parts.map((x) => [kind?.roles[x.role] ?? String(x.role), nodeOf(x, values)]),
    ),
  };
}

/** A model that grows by `visit`, section by section, and is complete with `finish`. */
export class Model {
  #model = {
    tensors: [],
    aliases: Object.create(null),
    metadata: null,
    graphs: Object.create(null),
    blobs: Object.create(null),
    root: null,
  };

  visit = (section, { values, logical, json, bytes, unsupported }) => {
    const { type, name, tree } = section;
    if (type === TENSOR) {
      const tensor = { name, logical: logical?.() ?? null, ...nodeOf(tree, values) };
      if (unsupported) tensor.unsupported = unsupported;
      else if (values.get(tree) === null) tensor.unsupported = "opaque format";
      this.#model.tensors.push(tensor);
    } else if (type === ALIAS) this.#model.aliases[name] = section.target.name;
    else if (type === METADATA) this.#model.metadata = json ? plain(json) : null;
    else if (type === GRAPH) this.#model.graphs[name] = json ? plain(json) : null;
    else if (type === BLOB) this.#model.blobs[name] = bytes ? imageOf(bytes) : null;
  };

  finish(root) {
    this.#model.root = root;
    return this.#model;
  }

  /** What was handed out before a fault. */
  get released() {
    return this.#model.tensors.map(({ name, image }) => ({ name, image }));
  }
}

/** Reads and checks a whole file, held in memory, by either access, into a Model. */
export function decode(bytes, access, options, model = new Model()) {
  if (access === "sequential") {
    const CHUNK = 2 ** 16;
    const chunks = (function* () {
      for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK);
    })();
    return model.finish(readSequential(chunks, options, model.visit).root);
  }
  const file = open(bytes, options);
  file.verify(model.visit);
  return model.finish(file.root);
}

/** An error; what it does not know is left out. */
export const describe = ({ errorClass, offset, section, message }) => ({
  class: errorClass,
  ...(offset === null ? {} : { offset }),
  ...(section === null ? {} : { section }),
  detail: message,
});
