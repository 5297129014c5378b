// Boxes of a tensor: what a slice is.

/**
 * A box as the range of elements that covers it, and a function that picks it from the range's
 * image.
 */
export function boxOf(tree, start, stop) {
  const shape = tree.shape.map(Number);
  const ok =
    start.length === shape.length &&
    stop.length === shape.length &&
    shape.every(
      (d, a) =>
        Number.isInteger(start[a]) &&
        Number.isInteger(stop[a]) &&
        start[a] >= 0 &&
        start[a] <= stop[a] &&
        stop[a] <= d,
    );
  if (!ok) throw new RangeError(`no box [${start}] to [${stop}] in a tensor of shape (${shape})`);
  const extent = shape.map((_, a) => stop[a] - start[a]);
  const count = extent.reduce((product, d) => product * d, 1);
  if (count === 0) return { lo: 0, hi: 0, pick: () => new Uint8Array(0) };
  const stride = new Array(shape.length).fill(1);
  for (let a = shape.length - 1; a > 0; a--) stride[a - 1] = stride[a] * shape[a];
  const flat = (index) => index.reduce((sum, i, a) => sum + i * stride[a], 0);
  const lo = flat(start);
  const hi = flat(stop.map((i) => i - 1)) + 1;
  const run = extent.at(-1) ?? 1;
  const pick = (bytes, size) => {
    const out = new Uint8Array(count * size);
    const index = start.slice(0, -1);
    for (let at = 0; at < count; at += run) {
      const from = flat([...index, ...start.slice(-1)]) - lo;
      out.set(bytes.subarray(from * size, (from + run) * size), at * size);
      for (let a = index.length - 1; a >= 0 && ++index[a] === stop[a]; a--) index[a] = start[a];
    }
    return out;
  };
  return { lo, hi, pick };
}
