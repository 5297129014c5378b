"""Graphs (SPEC 12.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from conformance.generator import operations as o
from conformance.generator.areas.sections import tensor
from conformance.generator.vector import (
    Content,
    Vector,
    alias_of,
    blob_of,
    graph_of,
    invalid,
    valid,
)

Object = dict[str, Any]
FILE = (tensor("w", 1), alias_of("v", "w"), blob_of("b", b"x"))
"""What stands beside the graph: a tensor, an alias and a blob."""
GRAPH = len(FILE)


def graph(*nodes: Any, **members: Any) -> Object:
    """Return a graph with one input, `x`."""
    return {"inputs": ["x"], "outputs": [], "nodes": [*nodes], **members}


def op(inputs: list[Any], outputs: list[str], **attributes: Any) -> Object:
    """Return a node."""
    made: Object = {"op": "F", "inputs": inputs, "outputs": outputs}
    return made | ({"attributes": attributes} if attributes else {})


def text(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def given(value: Object) -> Content:
    """Return the graph section `g`."""
    return graph_of("g", text(value), value)


def typed(type: Any) -> Object:
    """Return a graph whose input has a type."""
    return graph(value_types={"x": type})


def attributed(attribute: Any) -> Object:
    """Return a graph of a node with an attribute."""
    return graph(op(["x"], [], a=attribute))


FLOAT32 = {"dtype": "float32"}
ALLOWED: tuple[tuple[str, str, str, Object], ...] = (
    ("smallest", "R-GRF-001", "The graph has empty inputs, outputs and nodes, and nothing else.",
     {"inputs": [], "outputs": [], "nodes": []}),
    ("every-member", "R-GRF-002", "Graph and node have all members that they may have.",
     {"name": "net", "inputs": ["x"], "outputs": ["y"], "opset_imports": {"": 21, "ai.x": 0},
      "initializers": {"k": "w"}, "value_types": {"x": FLOAT32},
      "nodes": [{"op": "F", "domain": "ai.x", "name": "n", "inputs": ["x", "k"],
                 "outputs": ["y"], "attributes": {}}]}),
    ("every-attribute", "R-GRF-002", "Attributes of all eleven kinds occur.",
     graph(op(["x"], [], a={"int": -1}, b={"ints": [1, 2]}, c={"float": 1.5},
              d={"floats": [1, -0.0, 2.5e-3]}, e={"string": "s"}, f={"strings": ["", "\u00e9"]},
              g={"tensor": "w"}, h={"tensors": ["w", "v"]},
              i={"graph": {"inputs": [], "outputs": [], "nodes": []}}, j={"graphs": []},
              k={"type": FLOAT32}))),
    ("every-type", "R-GRF-002", "Values of all five types occur, nested in each other.",
     graph(value_types={
         "a": {"dtype": "string"}, "b": {"dtype": "uint4", "shape": []},
         "c": {"dtype": "float8_e4m3fn", "shape": [0, 3, "batch", None, ""]},
         "d": {"sparse": {"dtype": "bool", "shape": [2]}},
         "e": {"sequence": {"optional": {"map": {"key": "string",
                                                 "value": {"sequence": FLOAT32}}}}},
         "f": {"map": {"key": "int64", "value": {"dtype": "complex128"}}},
     })),
    ("type-of-nothing", "R-GRF-008", "value_types names a value that the graph does not have.",
     graph(value_types={"nowhere": FLOAT32})),
    ("integers", "R-GRF-004", "Integers beyond 2^53 - 1 are strings, up to 64 bits.",
     attributed({"ints": [2**53 - 1, str(2**53), str(2**63 - 1), str(-(2**63)), str(-(2**53)),
                          -(2**53) + 1, 0]})),
    ("floats", "R-GRF-005", "Floats are integers, binary32 numbers and numbers that round to one.",
     attributed({"floats": [0, -7, 16777217, 0.1, 3.4028234663852886e38, 3.4028235677973362e38,
                            1e-45, 1e-60, -1e-400]})),
    ("floats-not-finite", "R-GRF-006", "Infinities and NaNs are strings of their bits.",
     attributed({"floats": ["0x7f800000", "0xff800000", "0x7fc00000", "0x7f800001",
                            "0xffffffff"]})),
    ("left-out", "R-GRF-007", "Inputs and outputs that are left out are empty, more than once.",
     graph(op(["", "x", ""], ["", "y", ""]), op([], ["", ""]), outputs=["y"])),
    ("default-of-input", "R-GRF-007", "An initializer is the default value of an input.",
     graph(op(["x"], ["y"]), initializers={"x": "w"}, outputs=["y"])),
    ("unused-initializer", "R-GRF-009", "Initializers name a tensor and an alias and are unused.",
     graph(initializers={"p": "w", "q": "v"})),
    ("tensor-as-value", "R-GRF-008", "A node uses a tensor and an output names an alias.",
     graph(op(["w"], ["y"]), outputs=["v", "y", "w"])),
    ("tensor-shadowed", "R-GRF-008",
     "A node defines a value with the name of a tensor, which an earlier node uses.",
     graph(op(["w"], ["z"]), op(["x"], ["w"]), op(["w"], []))),
    ("blob-shadowed", "R-GRF-007", "A value has the name of a blob.",
     graph(op(["x"], ["b"]), op(["b"], []))),
    ("input-as-output", "R-GRF-008", "Outputs are an input, twice.", graph(outputs=["x", "x"])),
    ("subgraph", "R-GRF-008", "Subgraphs in subgraphs use values of the graphs around them.",
     graph(op(["x"], ["y"]),
           op(["y"], ["z"], body={"graph": graph(
               op(["y", "u"], ["t"], inner={"graphs": [
                   graph(op(["u", "x", "y", "k"], ["q"]), inputs=[], outputs=["q", "y"])]}),
               inputs=["u"], outputs=["t", "k"])}),
           initializers={"k": "w"}, outputs=["z"])),
    ("subgraph-shadows", "R-GRF-007", "A subgraph defines names of the graph around it again.",
     graph(op(["x"], ["y"]),
           op(["y"], ["z"], body={"graph": graph(op(["x"], ["y"]), op(["y"], ["z"]),
                                                 outputs=["y", "z"])}))),
    ("subgraph-defines-later", "R-GRF-007", "A subgraph and a node behind it define one name.",
     graph(op(["x"], [], body={"graph": graph(op(["x"], ["y"]), inputs=[])}),
           op(["x"], ["y"]))),
    ("subgraph-opsets", "R-GRF-001", "A subgraph imports other versions.",
     graph(op(["x"], [], body={"graph": graph(inputs=[], opset_imports={"": 7})}),
           opset_imports={"": 21})),
    ("operators-unknown", "R-GRF-001", "An operator, a domain and a version are nobody's.",
     graph({"op": "", "domain": "no.one", "name": "", "inputs": [], "outputs": []},
           opset_imports={"no.one": -1})),
    ("names-odd", "R-GRF-008", "Value names have spaces, controls and characters beyond 16 bits.",
     graph(op([" ", "\0\n", "\U0001f600"], ["y"]), inputs=[" ", "\0\n", "\U0001f600"])),
    ("internals", "R-GRF-008", "Value and attribute names are names of an object's internals.",
     graph(op(["constructor"], ["__proto__"], __class__={"int": 1}),
           inputs=["constructor"], outputs=["__proto__"])),
)  # fmt: skip
INT, FLOAT = "R-GRF-003", "R-GRF-005"
WRONG: tuple[tuple[str, str, str, Any], ...] = (
    ("no-inputs", "R-GRF-001", "The graph has no inputs.", {"outputs": [], "nodes": []}),
    ("no-outputs", "R-GRF-001", "The graph has no outputs.", {"inputs": [], "nodes": []}),
    ("no-nodes", "R-GRF-001", "The graph has no nodes.", {"inputs": [], "outputs": []}),
    ("no-op", "R-GRF-001", "A node has no operator.",
     graph({"inputs": [], "outputs": []})),
    ("node-without-inputs", "R-GRF-001", "A node has no inputs.",
     graph({"op": "F", "outputs": []})),
    ("node-without-outputs", "R-GRF-001", "A node has no outputs.",
     graph({"op": "F", "inputs": []})),
    ("inputs-object", "R-GRF-001", "The graph's inputs are an object.", graph(inputs={})),
    ("input-number", "R-GRF-001", "A value name is a number.", graph(inputs=[1])),
    ("input-null", "R-GRF-001", "An input left out is null.", graph(op([None], []))),
    ("node-string", "R-GRF-001", "A node is a string.", graph("F")),
    ("op-null", "R-GRF-001", "An operator is null.",
     graph({"op": None, "inputs": [], "outputs": []})),
    ("name-null", "R-GRF-001", "The graph's name is null.", graph(name=None)),
    ("opset-list", "R-GRF-001", "The imports are an array.", graph(opset_imports=[])),
    ("opset-float", "R-GRF-001", "A version is 1.0.", graph(opset_imports={"": 1.0})),
    ("opset-string", INT, "A version is the string 7.", graph(opset_imports={"": "7"})),
    ("graph-member", "R-GRF-002", "The graph has a member `doc`.", graph(doc="")),
    ("graph-member-case", "R-GRF-002", "The graph has a member `Name`.", graph(Name="")),
    ("node-member", "R-GRF-002", "A node has a member `doc`.", graph(op([], []) | {"doc": ""})),
    ("attribute-empty", "R-GRF-001", "An attribute has no key.", attributed({})),
    ("attribute-two", "R-GRF-002", "An attribute has two keys.",
     attributed({"int": 1, "float": 1})),
    ("attribute-other", "R-GRF-002", "An attribute has the key `bool`.",
     attributed({"bool": True})),
    ("attribute-number", "R-GRF-001", "An attribute is a number.", attributed(1)),
    ("attribute-null", "R-GRF-001", "An attribute is null.", attributed(None)),
    ("int-array", "R-GRF-001", "An integer is an array.", attributed({"int": [1]})),
    ("ints-number", "R-GRF-001", "Integers are a number.", attributed({"ints": 1})),
    ("string-number", "R-GRF-001", "A string is a number.", attributed({"string": 1})),
    ("strings-null", "R-GRF-001", "One of the strings is null.",
     attributed({"strings": ["a", None]})),
    ("graph-null", "R-GRF-001", "A subgraph is null.", attributed({"graph": None})),
    ("subgraph-member", "R-GRF-002", "A subgraph has a member `doc`.",
     attributed({"graph": graph(doc="")})),
    ("int-float", INT, "An integer is written as 1.0.", attributed({"int": 1.0})),
    ("int-true", INT, "An integer is true.", attributed({"int": True})),
    ("int-string", INT, "An integer within 2^53 - 1 is a string.", attributed({"int": "5"})),
    ("int-string-most", INT, "The integer 2^53 - 1 is a string.",
     attributed({"int": str(2**53 - 1)})),
    ("int-zeros", "R-GRF-004", "An integer's digits begin with a zero.",
     attributed({"int": "0" + str(2**53)})),
    ("int-plus", "R-GRF-004", "An integer's digits begin with a plus.",
     attributed({"int": "+" + str(2**53)})),
    ("int-space", "R-GRF-004", "A space follows an integer's digits.",
     attributed({"int": str(2**53) + " "})),
    ("int-exponent", "R-GRF-004", "An integer is the string 1e18.", attributed({"int": "1e18"})),
    ("int-underscores", "R-GRF-004", "An integer's digits are grouped.",
     attributed({"int": "10_000_000_000_000_000"})),
    ("int-arabic", "R-GRF-004", "An integer's digits are not ASCII.",
     attributed({"int": "\u0661" * 17})),
    ("int-empty", "R-GRF-004", "An integer is the empty string.", attributed({"int": ""})),
    ("int-2-63", "R-GRF-004", "An integer is 2^63.", attributed({"int": str(2**63)})),
    ("int-below", "R-GRF-004", "An integer is -2^63 - 1.",
     attributed({"ints": [str(-(2**63) - 1)]})),
    ("int-long", "R-GRF-004", "An integer has 5000 digits.", attributed({"int": "9" * 5000})),
    ("float-string", "R-GRF-006", "A float is the string 1.5.", attributed({"float": "1.5"})),
    ("float-nan", "R-GRF-006", "A float is the string NaN.", attributed({"float": "NaN"})),
    ("float-true", FLOAT, "A float is true.", attributed({"float": True})),
    ("float-null", FLOAT, "A float is null.", attributed({"floats": [None]})),
    ("float-large", FLOAT, "A number rounds to infinity in binary32.",
     attributed({"float": 3.4028235677973366e38})),
    ("float-double", FLOAT, "A number is the largest of binary64.",
     attributed({"float": 1.7976931348623157e308})),
    ("float-hex-finite", "R-GRF-006", "The bits of a finite float stand in a string.",
     attributed({"float": "0x3f800000"})),
    ("float-hex-capitals", "R-GRF-006", "A NaN's bits have upper-case digits.",
     attributed({"float": "0x7FC00000"})),
    ("float-hex-short", "R-GRF-006", "An infinity's bits have seven digits.",
     attributed({"float": "0x7f80000"})),
    ("float-hex-double", "R-GRF-006", "An infinity's bits are those of binary64.",
     attributed({"float": "0x7ff0000000000000"})),
    ("float-hex-bare", "R-GRF-006", "An infinity's bits lack the 0x.",
     attributed({"float": "7f800000"})),
    ("type-empty", "R-GRF-001", "A type has no member.", typed({})),
    ("type-two", "R-GRF-002", "A type is a tensor and a sequence.",
     typed({"dtype": "bool", "sequence": FLOAT32})),
    ("type-string", "R-GRF-001", "A type is a string.", typed("float32")),
    ("type-shape-alone", "R-GRF-001", "A type has a shape and no data type.", typed({"shape": []})),
    ("type-unknown", "R-GRF-001", "A data type is `float`.", typed({"dtype": "float"})),
    ("type-case", "R-GRF-001", "A data type is `Float32`.", typed({"dtype": "Float32"})),
    ("type-number", "R-GRF-001", "A data type is a number.", typed({"dtype": 58})),
    ("type-member", "R-GRF-002", "A tensor type has a member `rank`.",
     typed({"dtype": "bool", "rank": 1})),
    ("shape-null", "R-GRF-001", "A shape is null.", typed({"dtype": "bool", "shape": None})),
    ("shape-negative", "R-GRF-001", "A dimension is -1.", typed({"dtype": "bool", "shape": [-1]})),
    ("shape-float", INT, "A dimension is 2.0.", typed({"dtype": "bool", "shape": [2.0]})),
    ("shape-true", "R-GRF-001", "A dimension is true.", typed({"dtype": "bool", "shape": [True]})),
    ("sparse-sequence", "R-GRF-001", "A sparse tensor is one of a sequence.",
     typed({"sparse": {"sequence": FLOAT32}})),
    ("map-without-value", "R-GRF-001", "A map has no value.", typed({"map": {"key": "int64"}})),
    ("map-without-key", "R-GRF-001", "A map has no key.", typed({"map": {"value": FLOAT32}})),
    ("map-key-type", "R-GRF-001", "A map's key is a type.",
     typed({"map": {"key": FLOAT32, "value": FLOAT32}})),
    ("map-member", "R-GRF-002", "A map has a third member.",
     typed({"map": {"key": "int64", "value": FLOAT32, "order": 1}})),
    ("output-twice", "R-GRF-007", "Two nodes define one value.",
     graph(op(["x"], ["y"]), op(["x"], ["y"]))),
    ("output-twice-in-node", "R-GRF-007", "A node defines one value twice.",
     graph(op(["x"], ["y", "y"]))),
    ("output-is-input", "R-GRF-007", "A node defines an input of the graph.",
     graph(op(["x"], ["x"]))),
    ("output-is-initializer", "R-GRF-007", "A node defines an initializer.",
     graph(op(["x"], ["k"]), initializers={"k": "w"})),
    ("input-twice", "R-GRF-007", "One name stands twice among the inputs.",
     graph(inputs=["x", "x"])),
    ("output-twice-in-subgraph", "R-GRF-007", "Two nodes of a subgraph define one value.",
     attributed({"graph": graph(op([], ["y"]), op([], ["y"]))})),
)  # fmt: skip
NOWHERE: tuple[tuple[str, str, str, Object], ...] = (
    ("input-nowhere", "R-GRF-008", "A node uses a value that nothing defines.",
     graph(op(["y"], []))),
    ("output-nowhere", "R-GRF-008", "An output is a value that nothing defines.",
     graph(outputs=["y"])),
    ("output-empty", "R-GRF-008", "An output of the graph is the empty name.",
     graph(op([], [""]), outputs=[""])),
    ("used-before", "R-GRF-008", "A node uses a value that a later node defines.",
     graph(op(["y"], ["z"]), op(["x"], ["y"]))),
    ("used-by-itself", "R-GRF-008", "A node uses a value that it defines itself.",
     graph(op(["y"], ["y"]))),
    ("cycle", "R-GRF-008", "Two nodes use the values of each other.",
     graph(op(["z"], ["y"]), op(["y"], ["z"]))),
    ("value-is-blob", "R-GRF-008", "A node uses the name of a blob.", graph(op(["b"], []))),
    ("value-is-graph", "R-GRF-008", "A node uses the name of the graph section.",
     graph(op(["g"], []))),
    ("value-of-subgraph", "R-GRF-008", "A node uses a value that only a subgraph defines.",
     graph(op(["x"], [], body={"graph": graph(op(["x"], ["y"]))}), op(["y"], []))),
    ("subgraph-before", "R-GRF-008", "A subgraph uses a value that a node behind it defines.",
     graph(op(["x"], [], body={"graph": graph(op(["y"], []))}), op(["x"], ["y"]))),
    ("subgraph-of-its-node", "R-GRF-008", "A subgraph uses an output of the node that holds it.",
     graph(op(["x"], ["y"], body={"graph": graph(op(["y"], []))}))),
    ("subgraph-of-sibling", "R-GRF-008", "A subgraph uses a value of another subgraph.",
     attributed({"graphs": [graph(op([], ["y"])), graph(op(["y"], []))]})),
    ("twin", "R-GRF-008", "A value's name is equal to a defined one only after normalisation.",
     graph(op(["e\u0301"], []), inputs=["\u00e9"])),
    ("initializer-nowhere", "R-GRF-009", "An initializer names nothing of the file.",
     graph(initializers={"k": "u"})),
    ("initializer-blob", "R-GRF-009", "An initializer names a blob.",
     graph(initializers={"k": "b"})),
    ("initializer-value", "R-GRF-009", "An initializer names a value, not a tensor.",
     graph(initializers={"k": "x"})),
    ("initializer-empty", "R-GRF-009", "An initializer names the empty string.",
     graph(initializers={"k": ""})),
    ("tensor-nowhere", "R-GRF-009", "An attribute's tensor is none of the file's.",
     attributed({"tensor": "u"})),
    ("tensor-value", "R-GRF-009", "An attribute's tensor is a value of the graph.",
     attributed({"tensor": "x"})),
    ("tensors-nowhere", "R-GRF-009", "The last of an attribute's tensors is none of the file's.",
     attributed({"tensors": ["w", "v", "u"]})),
    ("subgraph-initializer", "R-GRF-009", "An initializer of a subgraph names nothing.",
     attributed({"graph": graph(initializers={"k": "k"})})),
)  # fmt: skip


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    for slug, id, why, value in ALLOWED:
        yield valid(f"graph/{slug}", why, [id, "R-GRF-001"], [*FILE, given(value)],
                    flags=["over-validation"])  # fmt: skip
    yield valid("graph/deepest", "Seven graphs inside each other nest 32 levels.", ["R-JSN-008"],
                [given(deep(7))], flags=["over-validation"])  # fmt: skip
    yield valid(
        "graph/two-before-tensors",
        "Two graphs stand before the tensors that they name.",
        ["R-GRF-008", "R-GRF-009"],
        [given(graph(op(["w"], []))), graph_of("h", *both(graph(initializers={"k": "v"}))), *FILE],
        flags=["over-validation"],
    )
    base = valid("graph/base", "A graph of one node.", ["R-GRF-001"],
                 [*FILE, given(graph(op(["x"], ["y"]), outputs=["y"]))])  # fmt: skip
    yield base
    for error, rules in (("bad-json", WRONG), ("bad-reference", NOWHERE)):
        for slug, id, why, value in rules:
            yield _bad(base, slug, id, why, text(value), error)
    for slug, id, raw, why in (
        ("array", "R-JSN-002", b"[]", "The text of a graph is an array."),
        ("key-twice", "R-JSN-003", b'{"inputs":[],"outputs":[],"nodes":[],"nodes":[]}',
         "The graph has its nodes twice."),
        ("integer-large", "R-JSN-004", text(attributed({"int": 2**53})),
         "An integer beyond 2^53 - 1 is a number."),
        ("nan", "R-JSN-006", text(attributed({"float": 0})).replace(b":0}", b":NaN}"),
         "A float is the word NaN."),
        ("deep", "R-JSN-008", text(deep(9)), "Nine graphs inside each other nest 42 levels."),
    ):  # fmt: skip
        yield _bad(base, slug, id, why, raw, "bad-json")


def deep(levels: int) -> Object:
    """Return a graph with so many graphs inside each other."""
    value = graph()
    for _ in range(levels - 1):
        value = graph(op([], [], g={"graph": value}))
    return value


def both(value: Mapping[str, Any]) -> tuple[bytes, Mapping[str, Any]]:
    """Return a graph as text and as value."""
    return text(value), value


def _bad(base: Vector, slug: str, id: str, why: str, raw: bytes, error: str) -> Vector:
    return invalid(f"graph/{slug}", why, [id], error, base, [o.text(GRAPH, raw)],
                   profile="R3")  # fmt: skip
