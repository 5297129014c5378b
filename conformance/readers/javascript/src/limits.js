// Policy limits (SPEC 15.2): they protect this machine, and only the caller changes them.

import { NnpackError } from "./errors.js";

export const DEFAULT_LIMITS = Object.freeze({
  directory_bytes: 64 * 2 ** 20,
  sections: 2 ** 20,
  json_bytes: 16 * 2 ** 20,
  tensor: 2 ** 40,
  request: 2 ** 32,
  expansion_bytes: 2 ** 32,
  expansion_ratio: 1000,
});

export function limitExceeded(detail, offset = null) {
  throw new NnpackError("limit-exceeded", detail, offset);
}

/** The defaults with those of `given` that are not null in their place. */
export function withDefaults(given = {}) {
  const limits = { ...DEFAULT_LIMITS };
  for (const [name, value] of Object.entries(given ?? {})) {
    if (!(name in DEFAULT_LIMITS)) throw new TypeError(`no limit has the name ${name}`);
    if (value === null || value === undefined) continue;
    if (typeof value !== "number" || !(value >= 0))
      throw new TypeError(`limit ${name}: not a number`);
    limits[name] = value;
  }
  return limits;
}

/** Numbers and BigInts are compared exactly by the language. */
export function within(value, limit, detail) {
  if (value > limit) limitExceeded(`${detail} ${value} is above the limit ${limit}`);
}

/** `charge` above the bytes and above the ratio times what is stored: a bomb. */
export function withinExpansion(charge, stored, limits, detail) {
  if (charge > limits.expansion_bytes && charge > limits.expansion_ratio * stored) {
    limitExceeded(`${detail}: ${charge} bytes from ${stored} stored`);
  }
}

/** What one request has been charged so far. */
export class Budget {
  #spent = 0n;

  constructor(limits) {
    this.limits = limits;
  }

  spend(charge, stored) {
    this.#spent += BigInt(charge);
    within(this.#spent, this.limits.request, "charge of the request");
    withinExpansion(this.#spent, stored, this.limits, "the request");
  }
}
