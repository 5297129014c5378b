// Steps 4 to 12 of SPEC 14.3: from the trailer to the sections that the directory lists.

import * as container from "./container.js";
import { countSections, parseDirectory } from "./directory.js";
import { inSection, need } from "./errors.js";
import * as head from "./head.js";
import { within } from "./limits.js";
import * as content from "./section.js";
import { needStreamRules } from "./stream.js";
import { needZeros, u16, u32 } from "./wire.js";

/** Steps 4 to 12 of SPEC 14.3: the sections that the directory lists. */
export function readDirectory(file, limits) {
  const at = file.length - container.TRAILER;
  const trailer = container.parseTrailer(file.subarray(at), at);
  const directory = parseDirectoryHead(file, trailer, at);
  needDirectoryBounds(directory, limits);

  const { offset, headLength, payloadOffset, payloadEnd, end } = directory;
  const parts = [file.subarray(0, 16), file.subarray(offset, at), file.subarray(at, at + 16)];
  container.needTrailerChecksum(trailer.checksum, parts, at);
  const payload = file.subarray(payloadOffset, payloadEnd);
  content.checkPayload(directory, payload);
  needZeros(file, offset + headLength, payloadOffset, "padding before a payload");
  needZeros(file, payloadEnd, end, "padding after a payload");

  const decoded = content.decodeLeaf(directory, payload);
  const n = countSections(decoded);
  within(n, limits.sections, "number of sections");
  return parseDirectory(decoded, n, offset);
}

/** Steps 5 to 7. */
function parseDirectoryHead(file, trailer, end) {
  const { offset } = trailer;
  need(trailer.length >= head.FIXED, "bad-layout", "no room for the directory's head", offset);
  head.needSync(file, offset, offset);
  const nameLength = u16(file, offset + 12);
  const headLength = u32(file, offset + 8);
  head.needHeadLength({ headLength, nameLength, offset });
  const inside = headLength <= trailer.length;
  need(inside, "mismatch", "a head outside the directory section", offset + 8);
  return inSection("directory", offset, () => {
    const directory = head.parseHead(file.subarray(offset, offset + headLength), offset);
    return finishDirectoryHead(directory, trailer, end);
  });
}

/** The rest of step 7; a sequential reader has no trailer yet. */
export function finishDirectoryHead(directory, trailer = null, end = Infinity) {
  const { type, offset } = directory;
  need(type === head.DIRECTORY, "bad-layout", "the trailer leads to another section", offset + 4);
  content.parseBody(directory, null);
  content.layOutPayload(directory);
  content.bind(directory, new Map());
  needStreamRules(directory.tree);
  const inside = directory.payloadEnd <= end + container.TRAILER;
  need(inside, "bad-layout", "a payload outside the file", offset + 16);
  const same = trailer === null || directory.end - offset === trailer.length;
  need(same, "mismatch", "length of the directory section", end + 8);
  return directory;
}

/** R-DIR-013, and step 8. */
export function needDirectoryBounds({ tree, offset, payloadLength }, limits) {
  const L = tree.shape[0];
  need(L <= offset, "bad-layout", `a directory of ${L} bytes`, tree.offset + 16);
  within(payloadLength, limits.directory_bytes, "stored length of the directory");
  within(L, limits.directory_bytes, "decoded length of the directory");
}
