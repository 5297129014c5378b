// Error classes and their dispositions (SPEC 14.1).

const CORRUPT = [
  "not-nnpack",
  "truncated",
  "trailing-data",
  "bad-checksum",
  "reserved-nonzero",
  "bad-layout",
  "bad-text",
  "duplicate",
  "missing",
  "bad-reference",
  "mismatch",
  "bad-node",
  "bad-shape",
  "bad-dtype",
  "bad-value",
  "bad-index",
  "bad-stream",
  "bad-json",
  "bad-digest",
];

export const DISPOSITIONS = Object.freeze({
  ...Object.fromEntries(CORRUPT.map((name) => [name, "corrupt"])),
  "unsupported-version": "unsupported",
  "unknown-section": "unsupported",
  unsupported: "unsupported",
  "limit-exceeded": "limit",
});

/** What a reader says of a file that it rejects, or of a section that it cannot decode. */
export class NnpackError extends Error {
  constructor(errorClass, detail, offset = null, section = null) {
    super(detail);
    this.name = "NnpackError";
    this.errorClass = errorClass;
    this.disposition = DISPOSITIONS[errorClass];
    this.offset = offset;
    this.section = section;
  }
}

/** Throws an NnpackError unless `ok`. */
export function need(ok, errorClass, detail, offset = null) {
  if (!ok) throw new NnpackError(errorClass, detail, offset);
}

/**
 * Runs `body`; an NnpackError that leaves it names the section and, where it has no offset,
 * `offset`.
 */
export function inSection(section, offset, body) {
  try {
    return body();
  } catch (error) {
    if (error instanceof NnpackError) {
      error.section ??= section;
      error.offset ??= offset;
    }
    throw error;
  }
}
