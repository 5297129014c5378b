// Digests and root (SPEC 13.1).

import { NnpackError, need } from "./errors.js";
import { Sha256, sha256 } from "./sha256.js";
import { PIECE } from "./section.js";
import { equalBytes, hex, putU64 } from "./wire.js";

const PREFIX = new TextEncoder().encode("nnpack root 1\n");
const DIGEST = 32;

/** A hash that has seen the prefix and D, and waits for file[D:]. */
export function startRoot(D) {
  const place = new Uint8Array(8);
  putU64(place, 0, D);
  return new Sha256().update(PREFIX).update(place);
}

/** What the caller expects, as 64 lower-case digits. */
export function parseExpected(expect) {
  if (expect === null || expect === undefined) return null;
  if (!/^[0-9a-f]{64}$/i.test(expect))
    throw new TypeError("an expected root has 64 hexadecimal digits");
  return expect.toLowerCase();
}

/** R-DIG-002, R-DIG-003; `root` is null in a file without digests. */
export function needRoot(root, expected) {
  if (root === null)
    throw new NnpackError("bad-digest", "a root is expected, and the file has no digests");
  need(root === expected, "bad-digest", `root ${root}, not ${expected}`);
}

function needRow(rows, piece, digest) {
  const row = rows.subarray(piece * DIGEST, (piece + 1) * DIGEST);
  need(equalBytes(row, digest), "bad-digest", `digest of piece ${piece}`, piece * PIECE);
}

/** The rows of file[0:D], each piece compared when it is first looked at. */
export class Pieces {
  #seen = new Set();

  constructor(file, D, rows) {
    this.file = file;
    this.D = D;
    this.rows = rows;
  }

  /** R-DIG-004, for file[from:to]. */
  compare(from, to) {
    const last = Math.ceil(Math.min(to, this.D) / PIECE);
    for (let piece = Math.floor(from / PIECE); piece < last; piece++) {
      if (this.#seen.has(piece)) continue;
      const bytes = this.file.subarray(piece * PIECE, Math.min((piece + 1) * PIECE, this.D));
      needRow(this.rows, piece, sha256(bytes));
      this.#seen.add(piece);
    }
  }
}

/** The rows and the root of a file whose bytes come in order. */
export class RunningDigests {
  #piece = new Sha256();
  #length = 0;
  #root = null;
  #rows = [];

  update(bytes) {
    if (this.#root !== null) {
      this.#root.update(bytes);
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const room = PIECE - (this.#length % PIECE);
      const part = bytes.subarray(at, at + room);
      this.#piece.update(part);
      this.#length += part.length;
      at += part.length;
      if (part.length === room) this.#endPiece();
    }
  }

  #endPiece() {
    this.#rows.push(this.#piece.digest());
    this.#piece = new Sha256();
  }

  /** The digests section begins: what follows is hashed for the root. */
  startRoot() {
    if (this.#length % PIECE !== 0) this.#endPiece();
    this.#root = startRoot(this.#length);
  }

  needRows(rows) {
    this.#rows.forEach((digest, piece) => needRow(rows, piece, digest));
  }

  /** In hex, null where no digests section began; the object is used up. */
  root() {
    return this.#root && hex(this.#root.digest());
  }
}

export const rootOf = (file, D) => hex(startRoot(D).update(file.subarray(D)).digest());
