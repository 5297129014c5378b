// Names (SPEC 5.4).

import { need } from "./errors.js";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Well-formed UTF-8 as a string, or null. */
export function utf8(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
const REVERSE_DNS = /^[a-z0-9-]+(\.[a-z0-9-]+)+$/;

/** R-NAM-012, R-NAM-013. */
export function readName(bytes, offset = null) {
  need(bytes.length >= 1 && bytes.length <= 1024, "bad-text", "a name has 1 to 1024 bytes", offset);
  const name = utf8(bytes);
  need(name !== null, "bad-text", "a name is not UTF-8", offset);
  need(!FORBIDDEN.test(name), "bad-text", "a name has a character that no name may have", offset);
  return name;
}

/** R-NAM-017. */
export function readReverseDns(bytes, offset = null) {
  const name = bytes.length >= 3 && bytes.length <= 255 ? utf8(bytes) : null;
  need(name !== null && REVERSE_DNS.test(name), "bad-text", "not a reverse-DNS name", offset);
  return name;
}
