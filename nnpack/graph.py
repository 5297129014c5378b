"""Graphs: which operators use which tensors (SPEC 12.2). Checked as JSON, never run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self

from nnpack.dtypes import BY_NAME
from nnpack.errors import Invalid
from nnpack.limits import MAX_JSON_INT

_BITS: Final = re.compile(r"0x[0-9a-f]{8}")
_EXPONENT: Final = 0x7F800000
"""Of a binary32 that is not finite."""
_INFINITE: Final = 2.0**128 - 2.0**103
"""What rounds to a binary32 infinity, and all above it."""
_INTEGER: Final = re.compile(r"-?[1-9][0-9]{15,18}")

PLACE: Final = 64
"""Characters of a key that a message shows."""

Check = Callable[[Any], None]


class _WrongError(Exception):
    """What is wrong, and the steps to its place, innermost first.

    Each step is added on the way out: naming the place of all that is right would cost more than
    the check.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.steps: list[str] = []

    def under(self, step: str) -> Self:
        """Add the step that led here."""
        self.steps.append(step)
        return self


def check(value: Any) -> list[str]:
    """Check a graph against the schema, and return the names that must be tensors of the file.

    Raises:
        Invalid: "bad-json", with the place of what is wrong.
    """
    try:
        _GRAPH(value)
    except _WrongError as bad:
        raise _wrong("".join(["graph", *reversed(bad.steps)]), bad.what) from None
    return [*dict.fromkeys(_free_names(value, (), "graph"))]


def _wrong(where: str, what: str) -> Invalid:
    return Invalid("bad-json", f"{where}: {what}")


def _key(key: str) -> str:
    return "." + key[:PLACE] + "…" * (len(key) > PLACE)


def _string(value: Any) -> None:
    if not isinstance(value, str):
        raise _WrongError("a string is needed")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(value: Any) -> None:
    """An integer of 64 bits; beyond ±(2^53 − 1) as a decimal string."""
    if _is_int(value):
        return
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
        if abs(number) > MAX_JSON_INT and -(1 << 63) <= number < 1 << 63:
            return
    raise _WrongError("an integer, as a decimal string beyond ±(2^53 − 1), is needed")


def _float(value: Any) -> None:
    """A number; NaN and infinities as "0x" and the eight hex digits of their binary32 pattern."""
    if (_is_int(value) or isinstance(value, float)) and abs(value) < _INFINITE:
        return
    is_bits = isinstance(value, str) and _BITS.fullmatch(value)
    if is_bits and int(value, 16) & _EXPONENT == _EXPONENT:
        return
    raise _WrongError('a number, or "0x" and the digits of a NaN or infinity, is needed')


def _dtype(value: Any) -> None:
    if not isinstance(value, str) or (value not in BY_NAME and value != "string"):
        raise _WrongError(f"{value!a} is no dtype")


def _dimension(value: Any) -> None:
    """A size, the name of a symbolic size, or null where it is unknown."""
    if not (_is_int(value) and value >= 0) and value is not None and not isinstance(value, str):
        raise _WrongError("a size, a name or null is needed")


def _list_of(item: Check) -> Check:
    def check_list(value: Any) -> None:
        if not isinstance(value, list):
            raise _WrongError("a list is needed")
        for index, element in enumerate(value):
            try:
                item(element)
            except _WrongError as bad:
                raise bad.under(f"[{index}]") from None

    return check_list


def _map_of(item: Check) -> Check:
    def check_map(value: Any) -> None:
        if not isinstance(value, dict):
            raise _WrongError("an object is needed")
        for key, element in value.items():
            try:
                item(element)
            except _WrongError as bad:
                raise bad.under(_key(key)) from None

    return check_map


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check_object(value: Any) -> None:
        if not isinstance(value, dict):
            raise _WrongError("an object is needed")
        for key in required:
            if key not in value:
                raise _WrongError(f"{key} is missing")
        for key, element in value.items():
            item = required.get(key) or optional.get(key)
            if item is None:
                raise _WrongError(f"{key!a} is not a key of it")
            try:
                item(element)
            except _WrongError as bad:
                raise bad.under(_key(key)) from None

    return check_object


def _one_of(forms: Mapping[str, Check], what: str) -> Check:
    """Check an object with one key, which tells what its value is."""

    def check_one(value: Any) -> None:
        if not isinstance(value, dict) or len(value) != 1:
            raise _WrongError(f"{what} is an object with one key")
        ((key, content),) = value.items()
        if key not in forms:
            raise _WrongError(f"{key!a} is no {what}; there are {', '.join(forms)}")
        try:
            forms[key](content)
        except _WrongError as bad:
            raise bad.under(_key(key)) from None

    return check_one


_TENSOR_TYPE: Final = _object({"dtype": _dtype}, {"shape": _list_of(_dimension)})


def _type(value: Any) -> None:
    is_tensor = isinstance(value, dict) and "dtype" in value
    (_TENSOR_TYPE if is_tensor else _OTHER_TYPE)(value)


_OTHER_TYPE: Final = _one_of(
    {
        "sparse": _TENSOR_TYPE,
        "sequence": _type,
        "optional": _type,
        "map": _object({"key": _dtype, "value": _type}, {}),
    },
    "type",
)


def _subgraph(value: Any) -> None:
    _GRAPH(value)


_ATTRIBUTE: Final = _one_of(
    {
        "int": _integer,
        "ints": _list_of(_integer),
        "float": _float,
        "floats": _list_of(_float),
        "string": _string,
        "strings": _list_of(_string),
        "tensor": _string,
        "tensors": _list_of(_string),
        "graph": _subgraph,
        "graphs": _list_of(_subgraph),
        "type": _type,
    },
    "attribute",
)
_NODE: Final = _object(
    {"op": _string, "inputs": _list_of(_string), "outputs": _list_of(_string)},
    {"domain": _string, "name": _string, "attributes": _map_of(_ATTRIBUTE)},
)
_GRAPH: Final = _object(
    {"inputs": _list_of(_string), "outputs": _list_of(_string), "nodes": _list_of(_NODE)},
    {
        "name": _string,
        "opset_imports": _map_of(_integer),
        "initializers": _map_of(_string),
        "value_types": _map_of(_type),
    },
)


def _free_names(graph: Mapping[str, Any], outer: tuple[set[str], ...], where: str) -> Iterator[str]:
    """Yield the names that a graph uses and nothing in it, nor around it, defines.

    Raises:
        Invalid: a value is defined twice.
    """
    known: set[str] = set()
    scopes = (*outer, known)

    def free(names: list[str]) -> Iterator[str]:
        return (name for name in names if name and not any(name in scope for scope in scopes))

    def define(names: list[str], at: str) -> None:
        for name in filter(None, names):
            if name in known:
                raise _wrong(at, f"the value {name!a} is defined twice")
            known.add(name)

    define(graph["inputs"], f"{where}.inputs")
    initializers = graph.get("initializers", {})
    yield from initializers.values()
    known.update(filter(None, initializers))
    for index, node in enumerate(graph["nodes"]):
        at = f"{where}.nodes[{index}]"
        yield from free(node["inputs"])
        for attribute in node.get("attributes", {}).values():
            ((kind, content),) = attribute.items()
            if kind in {"tensor", "tensors"}:
                yield from [content] if kind == "tensor" else content
            elif kind in {"graph", "graphs"}:
                for inner in [content] if kind == "graph" else content:
                    yield from _free_names(inner, scopes, f"{at}.attributes")
        define(node["outputs"], at)
    yield from (n for n in graph["outputs"] if not any(n in scope for scope in scopes))
