"""The testee for the package nnpack, which checks itself on the way (nnpack_selfcheck.py)."""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nnpack_selfcheck as selfcheck
import numpy as np

import nnpack
from nnpack.codecs import CODECS
from nnpack.container import METADATA
from nnpack.dtypes import BY_NAME

Json = dict[str, Any]
REGISTERED = 16
"""The first id of the registered codecs."""
LIMITS = {"tensor": "tensor_bytes", "request": "memory"}
"""Policy limits that nnpack calls otherwise."""


def hello() -> Json:
    """Say what this reader is."""
    codecs = [c for c in CODECS.values() if c.id >= REGISTERED and c.is_installed]
    return {
        "protocol": 1,
        "implementation": {
            "name": "nnpack-python",
            "version": nnpack.__version__,
            "language": "Python",
        },
        "profile": "R3",
        "features": [
            "sequential",
            "slice",
            "parts",
            "limits",
            "encode",
            *(f"codec.{codec.name}" for codec in codecs),
        ],
    }


def image(array: np.ndarray[Any, Any], dtype: str) -> str:
    """Return elements as an image (SPEC 2.4)."""
    if dtype in {"int2", "int4"}:  # ml_dtypes leaves open what is beside the bits
        array = array.astype(np.int8)
    return array.tobytes().hex()


def shown_dtype(tensor: nnpack.Tensor) -> str:
    """Return the name of the data type, or its id."""
    return f"unknown({tensor.head.dtype})" if "unknown" in tensor.dtype else tensor.dtype


def shape_of(value: Any) -> list[int | str]:
    """Return the dimensions, large ones as strings."""
    return [dim if dim < 1 << 53 else str(dim) for dim in value.shape]


def array_of(said: str, dtype: str, shape: tuple[int, ...] = (1,)) -> np.ndarray[Any, Any]:
    """Return an image as an array, cells below a byte in one byte each."""
    return np.frombuffer(bytes.fromhex(said), BY_NAME[dtype].numpy).reshape(shape)


class Kind(NamedTuple):
    """Both directions between a node in memory and a node of a model (PROTOCOL.md)."""

    parameters: Callable[[Any], Json]
    """Of a node."""
    node: Callable[[Json, tuple[int, ...], str, dict[str, Any]], Any]
    """From the parameters and the image, the shape, the data type and the parts."""


KINDS = {
    "dense": Kind(
        lambda _: {},
        lambda said, shape, dtype, _: nnpack.Dense(array_of(said["image"], dtype, shape), dtype),
    ),
    "constant": Kind(
        lambda node: {"element": image(node.value, node.dtype)},
        lambda said, shape, dtype, _: nnpack.Constant(
            array_of(said["element"], dtype), shape, dtype
        ),
    ),
    "csr": Kind(
        lambda node: {"row_length": node.row_length, "fill": image(node.fill, node.dtype)},
        lambda said, shape, dtype, parts: nnpack.Csr(
            **parts,
            shape=shape,
            fill=array_of(said["fill"], dtype),
            row_length=int(said["row_length"]),
        ),
    ),
    "codebook": Kind(
        lambda node: {
            "block": [*node.block],
            "vector_length": node.vector_length,
            "vector_axis": node.vector_axis or 0,
        },
        lambda said, _, __, parts: nnpack.Codebook(
            **parts,
            block=[*map(int, said["block"])],
            vector_axis=said["vector_axis"] if said["vector_length"] > 1 else None,
        ),
    ),
    "quantized": Kind(
        lambda node: {
            "block": [*node.block],
            "flat": node.flat,
            "group_axis": node.group_axis or 0,
            "scale_op": "divide" if node.divide else "multiply",
            "step": node.step or "float32",
        },
        lambda said, _, dtype, parts: nnpack.Quantized(
            **parts,
            block=[*map(int, said["block"])],
            flat=said["flat"],
            group_axis=said["group_axis"] if "group_index" in parts else None,
            divide=said["scale_op"] == "divide",
            step=None if said["step"] == "float32" else said["step"],
            dtype=dtype,
        ),
    ),
    "concat": Kind(
        lambda node: {"axis": node.axis},
        lambda said, _, __, parts: nnpack.Concat(
            [parts[str(number)] for number in range(1, len(parts) + 1)], said["axis"]
        ),
    ),
    "opaque": Kind(
        lambda node: {"format": node.format, "parameters": node.format_parameters.hex()},
        lambda said, shape, dtype, parts: nnpack.Opaque(
            parts["data"], said["format"], shape, dtype, bytes.fromhex(said["parameters"])
        ),
    ),
}


def part_name(name: str) -> str:
    """Return a part's name; those of a concat are numbers."""
    return name.removeprefix("part ")


def described(node: Any) -> Json:
    """Return a node in memory, with its parts."""
    return {
        "kind": node.name,
        "dtype": node.dtype,
        "shape": shape_of(node),
        "image": None if node.name == "opaque" else image(node.to_numpy(), node.dtype),
        **inside(node),
    }


def inside(node: Any) -> Json:
    """Return a node's parameters and parts."""
    parts = {part_name(name): described(part) for name, part in node.named_parts()}
    return {"parameters": KINDS[node.name].parameters(node), "parts": parts}


def node_of(said: Json) -> Any:
    """Return the value that a node of a model describes."""
    shape, dtype = tuple(int(dim) for dim in said["shape"]), said["dtype"]
    parts = {name: node_of(part) for name, part in said["parts"].items()}
    given = {**said["parameters"], "image": said["image"]}
    return KINDS[said["kind"]].node(given, shape, dtype, parts)


def told(tensor: nnpack.Tensor) -> Json:
    """Return a tensor of a file; everything of it is read."""
    found: Json = {
        "name": tensor.name,
        "dtype": shown_dtype(tensor),
        "shape": shape_of(tensor),
        "kind": tensor.kind,
        "image": None,
        "logical": None,
    }
    try:
        value, array = selfcheck.read_twice(tensor)
        found |= inside(taken(value))
        found["logical"] = selfcheck.digest(tensor)
        found["image"] = image(taken(array), tensor.dtype)
    except nnpack.UnsupportedError as bad:
        found["unsupported"] = bad.message
    return found


def taken(found: Any) -> Any:
    """Return what was read, or raise why it was not."""
    if isinstance(found, nnpack.NnpackError):
        raise found
    return found


def supported(found: Mapping[str, Any], name: str) -> Any:
    """Return what is read, None where it needs a codec that is not here."""
    try:
        return found[name]
    except nnpack.UnsupportedError:
        return None


def hexed(data: bytes | None) -> str | None:
    """Return bytes as an image."""
    return None if data is None else data.hex()


def metadata_of(reader: nnpack.Reader) -> Any:
    """Return the metadata, None where the file has none or it needs a codec that is not here."""
    try:
        return reader.metadata if any(s.type == METADATA for s in reader.sections) else None
    except nnpack.UnsupportedError:
        return None


def decode_random(source: Any, limits: nnpack.Limits, expect: str | None) -> Json:
    """Read everything of a file by random access, and check what nobody asked for."""
    with nnpack.open(source, limits=limits, expect=expect, threads=1) as reader:
        selfcheck.load(reader)  # first: it parses but one of tensors that are alike
        aliases = reader.aliases
        model = {
            "aliases": aliases,
            "tensors": [told(t) for name, t in reader.items() if name not in aliases],
            "metadata": metadata_of(reader),
            "graphs": {name: supported(reader.graphs, name) for name in reader.graphs},
            "blobs": {name: hexed(supported(reader.blobs, name)) for name in reader.blobs},
            "root": reader.root,
        }
    selfcheck.look_for_faults(source, limits, expect)
    return model


def decode_sequential(source: Any, limits: nnpack.Limits, released: list[Json]) -> Json:
    """Read everything of a file as it arrives; `released` takes the tensors on the way."""
    model: Json = {"tensors": released, "aliases": {}, "metadata": None, "graphs": {}, "blobs": {}}
    charges: dict[str, int] = {}
    charge = stored = 0
    with Path(source).open("rb") if isinstance(source, str) else io.BytesIO(source) as file:
        for kind, name, value in nnpack.read_stream(file, limits=limits):
            match kind:
                case "tensor":
                    charges[name] = value.charge if value.supported else value.stored_nbytes
                    charge, stored = charge + charges[name], stored + value.stored_nbytes
                    limits.check_request(charge, stored)
                    released.append(told(value))
                case "alias":
                    charges[name] = charges[value]
                    charge += charges[name]
                    limits.check_request(charge, stored)
                    model["aliases"][name] = value
                case "metadata":
                    model["metadata"] = value
                case "graph":
                    model["graphs"][name] = value
                case "blob":
                    model["blobs"][name] = hexed(value)
    return model


def limits_of(question: Json) -> nnpack.Limits:
    """Return the policy limits that a question names."""
    given = question.get("limits") or {}
    return nnpack.Limits(**{LIMITS.get(name, name): value for name, value in given.items()})


def decode(question: Json) -> Json:
    """Answer what a file holds, or why it is refused."""
    source = base64.b64decode(question["data"]) if "data" in question else question["path"]
    limits = limits_of(question)
    released: list[Json] = []
    try:
        if question.get("access", "random") == "sequential":
            model = decode_sequential(source, limits, released)
        else:
            model = decode_random(source, limits, question.get("expect"))
    except nnpack.NnpackError as bad:
        handed = [{"name": one["name"], "image": one["image"]} for one in released]
        return {**refused(bad), "released": handed}
    return {"ok": True, "model": model}


def refused(bad: nnpack.NnpackError) -> Json:
    """Return an error as an answer."""
    told = {"class": bad.error_class, "detail": bad.message}
    told |= {} if bad.offset is None else {"offset": bad.offset}
    told |= {} if bad.section is None else {"section": bad.section}
    return {"ok": False, "error": told}


def cut(question: Json) -> Json:
    """Answer with a box of a tensor."""
    box = tuple(slice(a, b) for a, b in zip(question["start"], question["stop"], strict=True))
    try:
        with nnpack.open(question["path"], threads=1) as reader:
            tensor = reader[question["tensor"]]
            return {"ok": True, "image": image(tensor[box], tensor.dtype)}
    except nnpack.NnpackError as bad:
        return refused(bad)


class ContentWriter(nnpack.Writer):
    """Writes metadata where they are given; those of `set_metadata` come last."""

    def add_metadata(self, text: str) -> None:
        """Write the metadata now."""
        self._bytes(METADATA, "", text.encode())


def encode(question: Json) -> Json:
    """Write the canonical form of a sequence of contents (SPEC 13.3)."""
    model = question["model"]
    tensors = {tensor["name"]: tensor for tensor in model["tensors"]}
    with ContentWriter(question["out"], profile="raw", threads=1) as writer:
        for one in model["contents"]:
            name = one["name"]
            match one["type"]:
                case "tensor":
                    writer.add(name, node_of(tensors[name]))
                case "alias":
                    writer.add_alias(name, model["aliases"][name])
                case "blob":
                    writer.add_blob(name, bytes.fromhex(model["blobs"][name]))
                case "graph":
                    writer.add_graph(name, one["text"])
                case "metadata":
                    writer.add_metadata(one["text"])
    return {"ok": True}


ANSWERS: dict[str, Callable[[Json], Json]] = {
    "hello": lambda _: {"ok": True, **hello()},
    "decode": decode,
    "slice": cut,
    "encode": encode,
    "bye": lambda _: {"ok": True},
}


def answer(question: Json) -> Json:
    """Answer a question; what is no NnpackError ends this process, as it is a finding."""
    known = ANSWERS.get(question["op"])
    return known(question) if known else {"ok": False, "error": {"class": "not-implemented"}}


def serve() -> int:
    """Answer a question a line."""
    for line in sys.stdin:
        question = json.loads(line)
        said = {"seq": question["seq"], **answer(question)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        if question["op"] == "bye":
            break
    return 0


def asked(arguments: list[str]) -> Json:
    """Return the question that a command line asks."""
    parser = argparse.ArgumentParser()
    ops = parser.add_subparsers(dest="op", required=True)
    for op in ("serve", "hello"):
        ops.add_parser(op)
    one = ops.add_parser("decode")
    one.add_argument("path")
    one.add_argument("--access", default="random")
    one.add_argument("--limits", type=json.loads)
    one.add_argument("--expect")
    one = ops.add_parser("slice")
    one.add_argument("path")
    one.add_argument("tensor")
    one.add_argument("start", type=json.loads)
    one.add_argument("stop", type=json.loads)
    one = ops.add_parser("encode")
    one.add_argument("model", type=lambda path: json.loads(Path(path).read_text("utf-8")))
    one.add_argument("out")
    return vars(parser.parse_args(arguments))


def main() -> int:
    """Serve, or answer one question."""
    question = asked(sys.argv[1:])
    if question["op"] == "serve":
        return serve()
    said = answer(question)
    sys.stdout.write(json.dumps(said) + "\n")
    return 0 if said["ok"] else 2 if said["error"]["class"] == "not-implemented" else 1


if __name__ == "__main__":
    raise SystemExit(main())
