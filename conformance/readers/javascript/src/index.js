// A reader of the nnpack format: profile R3, random and sequential access.

export { DISPOSITIONS, NnpackError } from "./errors.js";
export { DEFAULT_LIMITS } from "./limits.js";
export { File, open } from "./reader.js";
export { readSequential, readSequentialAsync } from "./sequential.js";
