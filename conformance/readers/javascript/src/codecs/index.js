// Codecs (SPEC 11): {id, name, decode(stored, length, shared, offset)}; those with a shared table
// have parseTable(stored, offset), whose result is `shared`. raw is the raw rule itself and never
// runs. Of the registered codecs (SPEC 11.8) there is gzip, which is deflate and a checksum.

import { deflate, gzip } from "./deflate.js";
import { huffman } from "./huffman.js";
import { lz4 } from "./lz4.js";
import { rans } from "./rans.js";
import { zstd } from "./zstd.js";

const raw = { id: 0, name: "raw" };

export const CODECS = new Map(
  [raw, zstd, lz4, deflate, huffman, rans, gzip].map((codec) => [codec.id, codec]),
);

export const hasSharedTable = (id) => id === huffman.id || id === rans.id;

/** R-STR-015: of a codec that this text does not define nobody can tell (SPEC 11.8 has none). */
export const mayHaveSharedTable = (id) =>
  hasSharedTable(id) || !(CODECS.has(id) || (id >= 16 && id <= 20));
