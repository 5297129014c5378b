// dense (SPEC 8.2): the cells of a stream.

import { decodeCells, needStreamRules } from "../stream.js";

export const dense = {
  id: 1,
  name: "dense",
  roles: {},
  rules: needStreamRules,
  decode: (node, lo, hi, read, context) => decodeCells(node, lo, hi, context),
};
