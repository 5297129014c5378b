"""Graphs: which operators use which tensors (SPEC 12.2). Checked as JSON, never run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from nnpack.errors import Invalid

_BITS: Final = re.compile(r"0x[0-9a-f]{8}")
_INTEGER: Final = re.compile(r"-?[1-9][0-9]*|0")

Check = Callable[[Any, str], None]


def check(value: Any) -> None:
    """Check a graph against the schema; Invalid("bad-json") names the place of what is wrong."""
    _graph(value, "graph")


def _wrong(where: str, what: str) -> Invalid:
    return Invalid("bad-json", f"{where}: {what}")


def _string(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise _wrong(where, "a string is needed")


def _integer(value: Any, where: str) -> None:
    """An integer; beyond ±(2^53 − 1) as a decimal string."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int and not (isinstance(value, str) and _INTEGER.fullmatch(value)):
        raise _wrong(where, "an integer or a decimal string is needed")


def _float(value: Any, where: str) -> None:
    """A number; NaN and infinities as "0x" and the eight hex digits of their binary32 pattern."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _BITS.fullmatch(value)):
        raise _wrong(where, 'a number, or "0x" and eight hex digits, is needed')


def _list_of(item: Check) -> Check:
    def check_list(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _wrong(where, "a list is needed")
        for index, element in enumerate(value):
            item(element, f"{where}[{index}]")

    return check_list


def _map_of(item: Check) -> Check:
    def check_map(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, "an object is needed")
        for key, element in value.items():
            item(element, f"{where}.{key}")

    return check_map


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check_object(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, "an object is needed")
        for key in required:
            if key not in value:
                raise _wrong(where, f"{key} is missing")
        for key, element in value.items():
            item = required.get(key) or optional.get(key)
            if item is None:
                raise _wrong(where, f"{key!a} is not a key of it")
            item(element, f"{where}.{key}")

    return check_object


def _dimension(value: Any, where: str) -> None:
    """A size, the name of a symbolic size, or null where it is unknown."""
    is_size = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not is_size and value is not None and not isinstance(value, str):
        raise _wrong(where, "a size, a name or null is needed")


_VALUE_TYPE: Final = _object({"dtype": _string}, {"shape": _list_of(_dimension)})


def _attribute(value: Any, where: str) -> None:
    """An object with one key, which tells the type."""
    if not isinstance(value, dict) or len(value) != 1:
        raise _wrong(where, "an attribute is an object with one key, its type")
    ((kind, content),) = value.items()
    if kind not in _ATTRIBUTES:
        raise _wrong(where, f"no attribute type {kind!a}; there are {', '.join(_ATTRIBUTES)}")
    _ATTRIBUTES[kind](content, f"{where}.{kind}")


def _graph(value: Any, where: str) -> None:
    _GRAPH(value, where)


_ATTRIBUTES: Final[dict[str, Check]] = {
    "int": _integer,
    "ints": _list_of(_integer),
    "float": _float,
    "floats": _list_of(_float),
    "string": _string,
    "strings": _list_of(_string),
    "tensor": _string,
    "tensors": _list_of(_string),
    "graph": _graph,
    "graphs": _list_of(_graph),
    "type": _VALUE_TYPE,
}
_NODE: Final = _object(
    {"op": _string, "inputs": _list_of(_string), "outputs": _list_of(_string)},
    {"domain": _string, "name": _string, "attributes": _map_of(_attribute)},
)
_GRAPH: Final = _object(
    {"inputs": _list_of(_string), "outputs": _list_of(_string), "nodes": _list_of(_NODE)},
    {"name": _string, "opset_imports": _map_of(_integer), "value_types": _map_of(_VALUE_TYPE)},
)
