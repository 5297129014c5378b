// Transforms (SPEC 10): {id, name, hasForms, accepts(type), planes(type), greatestParameter(type),
// planeLengths(type, n, parameter): of each form, decode(planes, type, out, parameter, offset)}.

import { bytes } from "./bytes.js";
import { cells } from "./cells.js";
import { delta } from "./delta.js";
import { float } from "./float.js";
import { float5 } from "./float5.js";
import { pair } from "./pair.js";

export const TRANSFORMS = new Map([cells, bytes, delta, pair, float, float5].map((t) => [t.id, t]));
