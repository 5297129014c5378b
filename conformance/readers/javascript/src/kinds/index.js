// Kinds (SPEC 8): {id, name, roles, rules(node): what needs no payload, decode(node, lo, hi, read,
// context)}. decode gives the elements `lo` to `hi` in C order, or null where only the owner of an
// opaque format can; read(part, lo, hi) gives those of a part.

import { codebook } from "./codebook.js";
import { concat } from "./concat.js";
import { constant } from "./constant.js";
import { csr } from "./csr.js";
import { dense } from "./dense.js";
import { opaque } from "./opaque.js";
import { quantized } from "./quantized.js";

export const KINDS = new Map(
  [dense, constant, csr, codebook, quantized, concat, opaque].map((kind) => [kind.id, kind]),
);
