"""JSON of metadata, and graphs: what is accepted, refused, and at what cost."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

import nnpack
from nnpack import jsontext, testing
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_random, read_sequential
from tests.test_plugins import F32
from tests.test_writer import written

DEEP = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
BAD_JSON = {
    "empty": b"",
    "spaces": b"  \n",
    "no object": b"[]",
    "string": b'"a"',
    "number": b"1",
    "null": b"null",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
    "latin-1": b'{"\xe9":1}',
    "overlong": b'{"\xc0\x80":1}',
    "raw surrogate": b'{"\xed\xa0\x80":1}',
    "beyond Unicode": b'{"\xf4\x90\x80\x80":1}',
    "two objects": b"{}{}",
    "text behind": b"{} x",
    "nul behind": b"{}\0",
    "form feed": b"{\f}",
    "no-break space": b"{\xc2\xa0}",
    "comment": b"{/* */}",
    "trailing comma": b'{"a":1,}',
    "leading comma": b'{,"a":1}',
    "comma in list": b'{"a":[1,]}',
    "no colon": b'{"a" 1}',
    "single quotes": b"{'a':1}",
    "bare key": b"{a:1}",
    "number key": b"{1:1}",
    "open": b'{"a":1',
    "open string": b'{"a',
    "open escape": b'{"a\\',
    "closed twice": b"{}}",
    "mixed brackets": b'{"a":[1}]',
    "same key": b'{"a":1,"a":1}',
    "same key escaped": b'{"a":1,"\\u0061":2}',
    "same key deep": b'{"a":[{"b":1,"c":2,"b":3}]}',
    "integer above": b'{"a":9007199254740992}',
    "integer below": b'{"a":-9007199254740992}',
    "integer of many digits": b'{"a":' + b"1" * 5000 + b"}",
    "leading zero": b'{"a":01}',
    "minus": b'{"a":-}',
    "plus": b'{"a":+1}',
    "no digits": b'{"a":1.}',
    "no whole": b'{"a":.5}',
    "exponent": b'{"a":1e}',
    "hexadecimal": b'{"a":0x1}',
    "underscore": b'{"a":1_0}',
    "other digits": '{"a":١}'.encode(),
    "float above": b'{"a":1e309}',
    "float below": b'{"a":-1e999}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "capital": b'{"a":True}',
    "undefined": b'{"a":undefined}',
    "control": b'{"a":"\x1f"}',
    "line feed": b'{"a":"\n"}',
    "bad escape": b'{"a":"\\x41"}',
    "short escape": b'{"a":"\\u12"}',
    "signed escape": b'{"a":"\\u+123"}',
    "high surrogate": b'{"a":"\\ud800"}',
    "low surrogate": b'{"a":"\\udc00"}',
    "swapped surrogates": b'{"a":"\\udc00\\ud800"}',
    "surrogate key": b'{"a":{"\\ud83d":1}}',
    "surrogate in list": b'{"a":[1,["\\ud83d\\ud83d"]]}',
    "33 levels": b'{"a":' + DEEP + b"}",
    "a million levels": b'{"a":' + b"[" * 1_000_000,
}
GOOD_JSON = {
    b"{}": {},
    b' \t\r\n{ "a" : [ ] } \n': {"a": []},
    b'{"":null,"\\u0000":true}': {"": None, "\0": True},
    b'{"a":-0}': {"a": 0},
    b'{"a":9007199254740991,"b":-9007199254740991}': {"a": 2**53 - 1, "b": 1 - 2**53},
    b'{"a":1.0,"b":1e2,"c":-1E-2,"d":1e-999}': {"a": 1.0, "b": 100.0, "c": -0.01, "d": 0.0},
    b'{"a":"\\ud83d\\ude00","b":"\xf0\x9f\x98\x80","c":"\x7f"}': {
        "a": "😀",
        "b": "😀",
        "c": "\x7f",
    },
    b'{"a":"[[[\\"[[[{{{\\\\","b":"]"}': {"a": '[[["[[[{{{\\', "b": "]"},
    b'{"k":{"k":{"k":1}}}': {"k": {"k": {"k": 1}}},
    DEEP: json.loads(DEEP),
    DEEP.replace(b"a", b"\\u0061"): json.loads(DEEP),
    b'{"a":[' + b"{},[]," * 40 + b"1]}": {"a": [{}, []] * 40 + [1]},
}


def metadata(text):
    return a.assemble(a.text(a.METADATA, b"", text), W)


def deeper(levels, call):
    return deeper(levels - 1, call) if levels else call()


def frames():
    frame, found = sys._getframe(), 0
    while frame:
        frame, found = frame.f_back, found + 1
    return found


@pytest.mark.parametrize("what", BAD_JSON)
def test_bad_json_is_refused_at_any_depth_of_the_stack(what):
    data = metadata(BAD_JSON[what])
    reader = nnpack.open(data)
    levels = sys.getrecursionlimit() - frames() - 150
    for call in (lambda: reader.metadata, lambda: deeper(levels, lambda: reader.metadata)):
        with pytest.raises(nnpack.FormatError, match="bad-json") as caught:
            call()
        assert (caught.value.error_class, caught.value.section) == ("bad-json", "(metadata)")
    assert fault(data, read_sequential) == "bad-json"
    assert reader["w"].read().tolist() == [1, 2]


@pytest.mark.parametrize("text", GOOD_JSON, ids=lambda text: repr(text)[:40])
def test_good_json_is_read_at_any_depth_of_the_stack(text):
    reader = nnpack.open(metadata(text))
    levels = sys.getrecursionlimit() - frames() - 150
    assert deeper(levels, lambda: reader.metadata) == GOOD_JSON[text]
    assert repr(read_random(metadata(text))[1]) == repr(GOOD_JSON[text])
    assert repr(read_sequential(metadata(text))[1]) == repr(GOOD_JSON[text])


NODES = '{"op":"","inputs":[],"outputs":["%d"],"attributes":{"g":{"graph":{"inputs":[],"outputs":[],"nodes":[]}}}}'
SLOW = {
    "subgraphs": f"""graph.check(jsontext.parse(b'{{"inputs":[],"outputs":[],"nodes":[' + b','.join(b'{NODES}' % i for i in range(20_000)) + b']}}'))""",
    "open string of escapes": r"""jsontext.parse(b'{"' + b'\\"' * 1_000_000)""",
    "same key at the end": """jsontext.parse(b'{' + b','.join(b'"%d":0' % i for i in range(200_000)) + b',"7":0}')""",
    "last row of many": "nnpack.open(sys.stdin.buffer.read())['w'][-1]",
}
LAST_ROW = a.assemble(
    a.tensor("w", a.node(a.CSR, a.UINT8, (1 << 36,), struct.pack("<QQ", 1, 0), [a.constant((1 << 36,), role=1), a.constant((0,), role=2), a.constant((0,), role=3)]))
)  # fmt: skip


@pytest.mark.parametrize("what", SLOW)
def test_small_files_do_not_cost_much_time(what):
    """A process with two seconds of processor time is enough for a few megabytes."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
        "import sys, nnpack; from nnpack import graph, jsontext\n"
        f"try: {SLOW[what]}\nexcept (ValueError, nnpack.NnpackError): pass\nprint('done')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=LAST_ROW, capture_output=True, check=False)  # noqa: S603
    assert done.stdout == b"done\n"


UNWRITABLE = {
    "list": ([], TypeError, r"a JSON object is a dict, not list"),
    "key": ({1: 2}, TypeError, r"JSON keys are strings, not \[1\]"),
    "set": ({"a": {1}}, TypeError, r"JSON has no set"),
    "bytes": ({"a": b""}, TypeError, r"JSON has no bytes"),
    "array": ({"a": np.float32(1)}, TypeError, r"JSON has no float32"),
    "NaN": ({"a": float("nan")}, ValueError, r"JSON has no nan"),
    "infinity": ({"a": [float("inf")]}, ValueError, r"JSON has no inf"),
    "integer": ({"a": 2**53}, ValueError, r"the integer 9007199254740992 is beyond"),
    "surrogate": ({"a": "\ud800"}, ValueError, r"half a surrogate pair in '\\ud800'"),
    "surrogate key": ({"\ud800": 1}, ValueError, r"half a surrogate pair"),
    "depth": ({"a": json.loads(DEEP)}, ValueError, r"nested more than 32 deep"),
}


@pytest.mark.parametrize("what", UNWRITABLE)
def test_what_is_no_json_is_not_written(what):
    value, kind, message = UNWRITABLE[what]
    with pytest.raises(kind, match=message):
        jsontext.pack(value)


def test_json_is_written_as_it_is_read():
    for value in [*GOOD_JSON.values(), {"t": (1, 2)}]:
        assert nnpack.open(testing.file_of({}, value)).metadata == json.loads(json.dumps(value))
    assert jsontext.pack({"é": [1.0, -0.0, True]}) == '{"é":[1.0,-0.0,true]}'.encode()


# Graphs


def graph(*nodes, inputs=("x",), outputs=(), **more):
    return {"inputs": [*inputs], "outputs": [*outputs], "nodes": [*nodes], **more}


def node(*inputs, out=(), **attributes):
    return {"op": "F", "inputs": [*inputs], "outputs": [*out], "attributes": attributes}


def types(*kinds):
    return graph(value_types={f"v{i}": kind for i, kind in enumerate(kinds)})


FLOAT = {"dtype": "float32"}
GOOD_GRAPHS = {
    "least": {"inputs": [], "outputs": [], "nodes": []},
    "all members": graph({"op": "Add", "inputs": ["x", "w"], "outputs": ["y"], "domain": "ai.onnx", "name": "n", "attributes": {}}, outputs=["y"],
                         name="g", opset_imports={"": 21}, value_types={"y": FLOAT}),
    "tensor and alias": graph(node("w", "tied")),
    "left out": graph(node("", "x", out=["", "y"]), node("", "y", out=["", "z"])),
    "attributes": graph(node(
        a={"int": -(2**53 - 1)}, b={"ints": [0, "9223372036854775807", "-9223372036854775808", "9007199254740992"]},
        c={"float": 1}, d={"floats": [-0.0, 1e-45, "0x7f800000", "0xffc00001"]}, e={"string": ""}, f={"strings": ["a", "b"]},
        g={"tensor": "w"}, h={"tensors": ["w", "tied"]}, i={"graph": graph()}, j={"graphs": []}, k={"type": FLOAT})),
    "types": types(FLOAT, {"dtype": "uint3", "shape": []}, {"dtype": "string", "shape": [0, 2**53 - 1, "N", "", None]}, {"sparse": FLOAT},
                   {"sequence": {"optional": FLOAT}}, {"map": {"key": "int64", "value": {"sequence": FLOAT}}}),
    "input of a tensor's name": graph(inputs=["w"], outputs=["w"]),
    "initializers": graph(node("b", g={"graph": graph(node("b"), outputs=["b"])}), initializers={"b": "w", "x": "tied", "": "w"}, outputs=["b"]),
    "largest float": graph(node(a={"float": 3.4028235677973362e38})),
    "tensor as output": graph(outputs=["w", "x"]),
    "name used again inside": graph(node(g={"graph": graph(node("x", out=["y"]), inputs=["x"])}), node("x", out=["y"])),
    "seen from inside": graph(node("x", out=["y"]), node(g={"graph": graph(node("y", "w", out=["z"]), outputs=["z", "y"], inputs=[])}, out=["q"]), outputs=["q"]),
    "seen from two levels": graph(node(g={"graphs": [graph(node("x", g={"graph": graph(outputs=["x", "i"], inputs=[])}), inputs=["i"])]})),
}  # fmt: skip
BAD_GRAPHS = {
    "no inputs": ({"outputs": [], "nodes": []}, "bad-json", r"graph: inputs is missing"),
    "no nodes": ({"inputs": [], "outputs": []}, "bad-json", r"graph: nodes is missing"),
    "other member": (graph(extra=1), "bad-json", r"graph: 'extra' is not a key of it"),
    "inputs": (graph() | {"inputs": "x"}, "bad-json", r"graph.inputs: a list is needed"),
    "input": (graph(inputs=[1]), "bad-json", r"graph.inputs\[0\]: a string is needed"),
    "node": (graph([]), "bad-json", r"graph.nodes\[0\]: an object is needed"),
    "no op": (graph({"inputs": [], "outputs": []}), "bad-json", r"nodes\[0\]: op is missing"),
    "node member": (graph(node() | {"doc": ""}), "bad-json", r"'doc' is not a key"),
    "name": (graph(name=None), "bad-json", r"graph.name: a string is needed"),
    "versions": (graph(opset_imports=[]), "bad-json", r"graph.opset_imports: an object is needed"),
    "version": (graph(opset_imports={"": 1.5}), "bad-json", r"an integer, as a decimal string"),
    "version true": (graph(opset_imports={"": True}), "bad-json", r"an integer"),
    "attribute": (graph(node(a=1)), "bad-json", r"attribute is an object with one key"),
    "attribute of two": (graph(node(a={"int": 1, "float": 1})), "bad-json", r"with one key"),
    "attribute of none": (graph(node(a={})), "bad-json", r"with one key"),
    "attribute key": (graph(node(a={"bool": 1})), "bad-json", r"'bool' is no attribute; there are int, ints"),
    "small integer as text": (graph(node(a={"int": "5"})), "bad-json", r"an integer"),
    "largest integer as text": (graph(node(a={"int": "9007199254740991"})), "bad-json", r"an integer"),
    "integer beyond 64 bits": (graph(node(a={"int": "9223372036854775808"})), "bad-json", r"an integer"),
    "integer below 64 bits": (graph(node(a={"int": "-9223372036854775809"})), "bad-json", r"an integer"),
    "integer with zeros": (graph(node(a={"int": "09007199254740992"})), "bad-json", r"an integer"),
    "integer with plus": (graph(node(a={"int": "+9007199254740992"})), "bad-json", r"an integer"),
    "integer in other digits": (graph(node(a={"int": "٩007199254740992"})), "bad-json", r"an integer"),
    "integer as float": (graph(node(a={"int": 1.0})), "bad-json", r"an integer"),
    "float as text": (graph(node(a={"float": "1.0"})), "bad-json", r"a number"),
    "float null": (graph(node(a={"float": None})), "bad-json", r"a number"),
    "float true": (graph(node(a={"float": True})), "bad-json", r"a number"),
    "finite bits": (graph(node(a={"float": "0x3f800000"})), "bad-json", r"a number"),
    "capital bits": (graph(node(a={"float": "0x7F800000"})), "bad-json", r"a number"),
    "short bits": (graph(node(a={"float": "0x7f80000"})), "bad-json", r"a number"),
    "strings": (graph(node(a={"strings": ["a", 1]})), "bad-json", r"strings\[1\]: a string"),
    "subgraph": (graph(node(a={"graph": {}})), "bad-json", r"attributes.a.graph: inputs is missing"),
    "dtype": (types({"dtype": "float"}), "bad-json", r"'float' is no dtype"),
    "dtype number": (types({"dtype": 1}), "bad-json", r"1 is no dtype"),
    "dtype list": (types({"dtype": []}), "bad-json", r"\[\] is no dtype"),
    "key object": (types({"map": {"key": {}, "value": FLOAT}}), "bad-json", r"is no dtype"),
    "type": (types(None), "bad-json", r"type is an object with one key"),
    "type key": (types({"tuple": FLOAT}), "bad-json", r"'tuple' is no type"),
    "type of two": (types({"dtype": "bool", "sparse": FLOAT}), "bad-json", r"'sparse' is not a key"),
    "sparse sequence": (types({"sparse": {"sequence": FLOAT}}), "bad-json", r"dtype is missing"),
    "map": (types({"map": {"key": "int64"}}), "bad-json", r"value is missing"),
    "shape": (types({"dtype": "bool", "shape": 3}), "bad-json", r"a list is needed"),
    "dimension": (types({"dtype": "bool", "shape": [-1]}), "bad-json", r"a size, a name or null"),
    "dimension float": (types({"dtype": "bool", "shape": [1.0]}), "bad-json", r"a size"),
    "dimension true": (types({"dtype": "bool", "shape": [True]}), "bad-json", r"a size"),
    "defined twice": (graph(node(out=["y"]), node(out=["y"])), "bad-json", r"graph.nodes\[1\]: the value 'y' is defined twice"),
    "defined by input": (graph(node(out=["x"])), "bad-json", r"the value 'x' is defined twice"),
    "same inputs": (graph(inputs=["x", "x"]), "bad-json", r"graph.inputs: the value 'x' is defined twice"),
    "same outputs": (graph(node(out=["y", "y"])), "bad-json", r"defined twice"),
    "nowhere": (graph(node("q")), "bad-reference", r"graph uses 'q', which no node, input or tensor gives"),
    "output nowhere": (graph(outputs=["q"]), "bad-reference", r"'q'"),
    "empty output": (graph(outputs=[""]), "bad-reference", r"''"),
    "later": (graph(node("y"), node(out=["y"])), "bad-reference", r"'y'"),
    "itself": (graph(node("y", out=["y"])), "bad-reference", r"'y'"),
    "inside from outside": (graph(node(g={"graph": graph(node(out=["z"]))}), node("z")), "bad-reference", r"'z'"),
    "later from inside": (graph(node(g={"graph": graph(node("y"))}, out=["y"])), "bad-reference", r"'y'"),
    "tensor nowhere": (graph(node(a={"tensor": "q"})), "bad-reference", r"'q'"),
    "tensor is a value": (graph(node(a={"tensor": "x"})), "bad-reference", r"'x'"),
    "tensors nowhere": (graph(node(a={"tensors": ["w", "q"]})), "bad-reference", r"'q'"),
    "tensor is a blob": (graph(node(a={"tensor": "blob"})), "bad-reference", r"'blob'"),
    "tensor inside": (graph(node(g={"graph": graph(node(a={"tensor": "q"}))})), "bad-reference", r"'q'"),
    "initializer": (graph(initializers={"b": 1}), "bad-json", r"graph.initializers.b: a string is needed"),
    "initializer nowhere": (graph(initializers={"b": "q"}), "bad-reference", r"'q'"),
    "initializer of a value": (graph(initializers={"b": "x"}), "bad-reference", r"'x'"),
    "initializer and output": (graph(node(out=["b"]), initializers={"b": "w"}), "bad-json", r"the value 'b' is defined twice"),
    "float beyond binary32": (graph(node(a={"float": 3.4028235677973366e38})), "bad-json", r"a number"),
    "integer float beyond binary32": (graph(node(a={"floats": [1, -1e39]})), "bad-json", r"floats\[1\]: a number"),
}  # fmt: skip
AROUND = (W, a.alias(b"tied", b"w"), a.text(a.BLOB, b"blob", b""))


def graph_file(value):
    text = json.dumps(value).encode()
    return a.assemble(*AROUND, a.text(a.GRAPH, b"g", text))


@pytest.mark.parametrize("what", GOOD_GRAPHS)
def test_good_graph(what):
    value = GOOD_GRAPHS[what]
    assert nnpack.open(graph_file(value)).graphs["g"] == value
    assert read_sequential(graph_file(value))[2]["g"] == value

    def fill(writer):
        writer.add_graph("g", value)
        writer.add("w", F32)
        writer.add_alias("tied", "w")

    assert nnpack.open(written(fill)).graphs["g"] == value


@pytest.mark.parametrize("what", BAD_GRAPHS)
def test_bad_graph(what):
    value, error_class, message = BAD_GRAPHS[what]
    reader = nnpack.open(graph_file(value))
    with pytest.raises(nnpack.FormatError, match=message) as caught:
        reader.graphs["g"]
    assert (caught.value.error_class, caught.value.section) == (error_class, "g")
    assert fault(graph_file(value), read_sequential) == error_class
    with pytest.raises(ValueError, match=message):
        written(
            lambda writer: (
                writer.add("w", F32),
                writer.add_alias("tied", "w"),
                writer.add_graph("g", value),
            )
        )
