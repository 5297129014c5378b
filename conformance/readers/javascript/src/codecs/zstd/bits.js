// The bit streams of Zstandard (RFC 8878, section 4): read forwards for tables, backwards for
// symbols.

/** Bits `p` to `p + n` of a byte array in which three bytes more can be read, n at most 25. */
export function bitsAt(b, p, n) {
  const k = p >>> 3;
  const word = (b[k] | (b[k + 1] << 8) | (b[k + 2] << 16) | (b[k + 3] << 24)) >>> (p & 7);
  return word & ((1 << n) - 1);
}

/** A stream in the bytes `from` to `to`, read from its last bit down. */
export class BackwardBits {
  constructor(b, from, to, require) {
    require(to > from && b[to - 1] !== 0, "a bit stream without its end mark");
    this.b = b;
    this.start = 8 * from;
    this.position = 8 * (to - 1) + (31 - Math.clz32(b[to - 1]));
  }

  /** The next `n` bits, with zeros for those before the start of the stream. */
  read(n) {
    if (n > 25) return this.read(n - 16) * 65536 + this.read(16);
    this.position -= n;
    if (this.position >= this.start) return bitsAt(this.b, this.position, n);
    const missing = this.start - this.position;
    return missing >= n ? 0 : bitsAt(this.b, this.start, n - missing) << missing;
  }

  get overrun() {
    return this.position < this.start;
  }

  get atEnd() {
    return this.position === this.start;
  }
}
