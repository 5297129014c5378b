// JSON text (SPEC 12.1): RFC 8259 under restrictions, parsed by hand because JSON.parse keeps
// neither repeated keys nor the difference between 1 and 1.0.

import { NnpackError } from "./errors.js";
import { utf8 } from "./text.js";

const MAX_LEVELS = 32;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
// eslint-disable-next-line no-control-regex
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = [
  ["true", true],
  ["false", false],
  ["null", null],
];

/** A number that is written with a fraction or an exponent. */
export class Float {
  constructor(value) {
    this.value = value;
  }
}

/** The text as a Map; in it objects are Maps, arrays Arrays, integers numbers and floats Floats. */
export function parseJson(bytes) {
  const text = utf8(bytes);
  if (text === null) throw new NnpackError("bad-json", "not UTF-8");
  let at = 0;

  const fail = (detail) => {
    throw new NnpackError("bad-json", `${detail} at character ${at}`);
  };
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  const space = () => match(SPACE);
  const take = (character) => {
    if (text[at] !== character) return false;
    at += 1;
    return true;
  };
  const expect = (character) => take(character) || fail(`no ${character}`);

  function value(level) {
    const c = text[at];
    if (c === "{") return object(level + 1);
    if (c === "[") return array(level + 1);
    if (c === '"') return string();
    for (const [word, result] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return result;
      }
    }
    return number();
  }

  function number() {
    const found = match(NUMBER);
    if (found === null) fail("no value");
    const result = Number(found[0]);
    if (found[1] === undefined && found[2] === undefined) {
      if (!Number.isSafeInteger(result)) fail("an integer beyond 2^53 - 1");
      return result === 0 ? 0 : result;
    }
    if (!Number.isFinite(result)) fail("a float that is not finite");
    return new Float(result);
  }

  function unit() {
    const digits = text.slice(at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) fail("an escape without four digits");
    at += 4;
    return parseInt(digits, 16);
  }

  function escape() {
    const c = text[at++];
    if (c !== "u") return ESCAPES[c] ?? fail("an unknown escape");
    const high = unit();
    if (high < 0xd800 || high > 0xdfff) return String.fromCharCode(high);
    if (high > 0xdbff || !take("\\") || !take("u")) fail("half of a surrogate pair");
    const low = unit();
    if (low < 0xdc00 || low > 0xdfff) fail("half of a surrogate pair");
    return String.fromCharCode(high, low);
  }

  function string() {
    expect('"');
    let result = "";
    for (;;) {
      result += match(PLAIN)[0];
      if (take('"')) return result;
      if (!take("\\")) fail("a string that does not end");
      result += escape();
    }
  }

  function items(level, close, item) {
    if (level > MAX_LEVELS) fail("nested too deep");
    at += 1;
    space();
    if (take(close)) return;
    do {
      space();
      item();
      space();
    } while (take(","));
    expect(close);
  }

  function array(level) {
    const result = [];
    items(level, "]", () => result.push(value(level)));
    return result;
  }

  function object(level) {
    const result = new Map();
    items(level, "}", () => {
      if (text[at] !== '"') fail("no key");
      const key = string();
      if (result.has(key)) fail("a key that occurs twice");
      space();
      expect(":");
      space();
      result.set(key, value(level));
    });
    return result;
  }

  space();
  if (text[at] !== "{") fail("no object");
  const result = object(1);
  space();
  if (at !== text.length) fail("more behind the object");
  return result;
}

/** Maps as objects without a prototype, and Floats as numbers. */
export function plain(value) {
  if (value instanceof Float) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const result = Object.create(null);
  for (const [key, x] of value) result[key] = plain(x);
  return result;
}
