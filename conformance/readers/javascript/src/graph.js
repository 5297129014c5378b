// Graphs (SPEC 12.2), checked over what parseJson gives.

import { DTYPE_NAMES } from "./dtypes.js";
import { need } from "./errors.js";
import { Float } from "./json.js";

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const INTEGER = /^(0|-?[1-9][0-9]*)$/;

const bad = (ok, detail) => need(ok, "bad-json", detail);

/** Rules of a graph; `isTensor` tells whether a name is that of a tensor or alias section. */
export function checkGraph(json, isTensor) {
  graph(json);

  // Each of the values that a member may have is a function of (value, what, scopes).

  function string(value, what) {
    bad(typeof value === "string", `${what} is no string`);
  }

  function array(item) {
    return (value, what, scopes) => {
      bad(Array.isArray(value), `${what} is no array`);
      for (const x of value) item(x, what, scopes);
    };
  }

  function mapping(item) {
    return (value, what, scopes) => {
      bad(value instanceof Map, `${what} is no object`);
      for (const x of value.values()) item(x, what, scopes);
    };
  }

  function integer(value, what) {
    if (Number.isInteger(value)) return; // R-GRF-003; parseJson has checked its range
    bad(
      typeof value === "string" && value.length <= 20 && INTEGER.test(value),
      `${what} is no integer`,
    );
    const x = BigInt(value);
    const large = (x > SAFE || x < -SAFE) && x >= -(2n ** 63n) && x < 2n ** 63n;
    bad(large, `${what}: an integer that is no string, or beyond 64 bits`); // R-GRF-004
  }

  function float(value, what) {
    const x = value instanceof Float ? value.value : value;
    if (typeof x === "number") {
      bad(Number.isFinite(Math.fround(x)), `${what} is beyond binary32`); // R-GRF-005
    } else {
      const pattern =
        typeof x === "string" && /^0x[0-9a-f]{8}$/.test(x) ? parseInt(x.slice(2), 16) : 0;
      bad((pattern & 0x7f800000) === 0x7f800000, `${what} is no float`); // R-GRF-006
    }
  }

  function tensor(value, what) {
    string(value, what);
    need(isTensor(value), "bad-reference", `${what}: no tensor has the name ${value}`); // R-GRF-009
  }

  function dtype(value, what) {
    bad(value === "string" || DTYPE_NAMES.has(value), `${what} is no data type`);
  }

  function dimension(value, what) {
    if (value === null || typeof value === "string") return;
    bad(Number.isInteger(value) && value >= 0, `${what} is no dimension`);
  }

  function members(value, what, needed, optional, scopes) {
    bad(value instanceof Map, `${what} is no object`);
    // R-GRF-001.
    for (const name of Object.keys(needed)) bad(value.has(name), `${what} has no ${name}`);
    for (const [name, x] of value) {
      const check = Object.hasOwn(needed, name)
        ? needed[name]
        : Object.hasOwn(optional, name) && optional[name];
      bad(check, `${what} has a member ${name}`); // R-GRF-002
      check(x, name, scopes);
    }
  }

  function tensorType(value, what) {
    members(value, what, { dtype }, { shape: array(dimension) });
  }

  function type(value, what) {
    bad(value instanceof Map, `${what} is no type`);
    if (value.has("sparse")) members(value, what, { sparse: tensorType }, {});
    else if (value.has("sequence")) members(value, what, { sequence: type }, {});
    else if (value.has("optional")) members(value, what, { optional: type }, {});
    else if (value.has("map")) {
      members(value, what, { map: (x) => members(x, "map", { key: dtype, value: type }, {}) }, {});
    } else tensorType(value, what);
  }

  function attribute(value, what, scopes) {
    const kinds = {
      int: integer,
      ints: array(integer),
      float,
      floats: array(float),
      string,
      strings: array(string),
      tensor,
      tensors: array(tensor),
      graph,
      graphs: array(graph),
      type,
    };
    bad(value instanceof Map && value.size === 1, `${what} has not exactly one member`);
    members(value, what, {}, kinds, scopes);
  }

  /** R-GRF-008. */
  function use(name, scopes) {
    const found = (name !== "" && scopes.some((scope) => scope.has(name))) || isTensor(name);
    need(found, "bad-reference", `nothing defines the value ${name}`);
  }

  /** Nodes in order, since a value is found in the outputs of earlier nodes. */
  function nodes(value, scopes) {
    const defined = scopes[0];
    for (const node of value) {
      members(
        node,
        "a node",
        { op: string, inputs: array(string), outputs: array(string) },
        {
          domain: string,
          name: string,
          attributes: mapping(attribute),
        },
        scopes,
      );
      for (const name of node.get("inputs")) if (name !== "") use(name, scopes);
      for (const name of node.get("outputs")) {
        bad(name === "" || !defined.has(name), `the value ${name} is defined twice`); // R-GRF-007
        if (name !== "") defined.add(name);
      }
    }
  }

  function graph(value, what = "a graph", outer = []) {
    members(
      value,
      "a graph",
      { inputs: array(string), outputs: array(string), nodes: array(() => {}) },
      {
        name: string,
        opset_imports: mapping(integer),
        initializers: mapping(tensor),
        value_types: mapping(type),
      },
    );
    const inputs = value.get("inputs").filter((name) => name !== "");
    const defined = new Set(inputs);
    bad(defined.size === inputs.length, "an input is defined twice"); // R-GRF-007
    for (const name of value.get("initializers")?.keys() ?? []) if (name !== "") defined.add(name);
    const scopes = [defined, ...outer];
    nodes(value.get("nodes"), scopes);
    for (const name of value.get("outputs")) use(name, scopes);
  }
}
