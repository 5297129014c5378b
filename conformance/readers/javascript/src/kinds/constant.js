// constant (SPEC 8.3): every element is one.

import { allocate, fill, wordsOf } from "../cells.js";
import { needParameterLength, singleElement, singleElementLength } from "./common.js";

export const constant = {
  id: 2,
  name: "constant",
  roles: {},

  rules(node) {
    needParameterLength(node, singleElementLength(node));
    singleElement(node, 0);
  },

  decode(node, lo, hi) {
    const out = allocate(hi - lo, node.size);
    fill(out, 0, hi - lo, singleElement(node, 0), 0, wordsOf(node.size));
    return out;
  },
};
