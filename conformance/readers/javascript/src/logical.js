// The logical digest of a tensor (SPEC 13.2).

import { image, pack } from "./cells.js";
import { Sha256 } from "./sha256.js";
import { nodes } from "./tree.js";
import { hex, putU32 } from "./wire.js";

const PREFIX = new TextEncoder().encode("nnpack tensor 1\n");

/** In hex; `elementsOf` gives the decoded words of a dense node. */
export function logicalDigest(root, elementsOf) {
  const sha = new Sha256().update(PREFIX);
  for (const node of nodes(root)) {
    const dense = node.stream !== null;
    const head = new Uint8Array(16);
    head.set([node.kind, node.role, node.dtype, node.rank, node.parts.length]);
    if (!dense) putU32(head, 8, node.parameters.length);
    sha.update(head);
    const shape = new Uint8Array(8 * node.rank);
    node.shape.forEach((d, i) => {
      putU32(shape, 8 * i, Number(d & 0xffffffffn));
      putU32(shape, 8 * i + 4, Number(d >> 32n));
    });
    sha.update(shape);
    if (!dense) {
      sha.update(node.parameters);
      continue;
    }
    const words = elementsOf(node);
    sha.update(node.type.bits < 8 ? pack(words, node.type.bits) : image(node.type, words));
  }
  return hex(sha.digest());
}
