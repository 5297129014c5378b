// CRC-32 (SPEC 2.5), four bytes a step.

const TABLES = Array.from({ length: 4 }, () => new Uint32Array(256));
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  TABLES[0][i] = c;
}
for (let k = 1; k < 4; k++) {
  for (let i = 0; i < 256; i++) {
    const c = TABLES[k - 1][i];
    TABLES[k][i] = (c >>> 8) ^ TABLES[0][c & 255];
  }
}
const [T0, T1, T2, T3] = TABLES;

/** The checksum of `bytes`, or of what stood before them in `previous` and them. */
export function crc32(bytes, previous = 0) {
  let c = ~previous;
  let i = 0;
  for (const end = bytes.length - 3; i < end; i += 4) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    c = T3[c & 255] ^ T2[(c >>> 8) & 255] ^ T1[(c >>> 16) & 255] ^ T0[c >>> 24];
  }
  for (; i < bytes.length; i++) c = (c >>> 8) ^ T0[(c ^ bytes[i]) & 255];
  return ~c >>> 0;
}
