"""Strict JSON (SPEC 12.1): one meaning for every reader."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from nnpack.errors import Invalid
from nnpack.limits import MAX_JSON_DEPTH, MAX_JSON_INT

# A string that does not end is one match too: looking again at each quote would take for ever.
_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_DIGITS: Final = len(str(MAX_JSON_INT)) + 1


def parse(data: bytes | memoryview) -> dict[str, Any]:
    """Return the object that the bytes are in strict JSON; Invalid("bad-json") if they are not."""
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError as bad:
        raise Invalid("bad-json", f"not UTF-8: {bad.reason}") from bad
    _check_depth(text)
    import json  # slow to import, and opening a file needs none

    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_int,
            parse_float=_float,
        )
    except json.JSONDecodeError as bad:
        raise Invalid("bad-json", f"not JSON: {bad}") from bad
    if not isinstance(value, dict):
        raise Invalid("bad-json", "the JSON text is not an object")
    if "\\u" in text:  # only an escape can make half a surrogate pair
        check(value)
    return value


def pack(value: dict[str, Any]) -> bytes:
    """Return a JSON object as text; ValueError or TypeError if it cannot be strict JSON."""
    check(value)
    if not isinstance(value, dict):
        raise TypeError(f"a JSON object is a dict, not {type(value).__name__}")
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def check(value: Any, depth: int = 1) -> None:
    """Check that a value is one that strict JSON can hold."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"JSON keys are strings, not {[*value]!r}")
        _check_items([*value, *value.values()], depth)
    elif isinstance(value, list | tuple):
        _check_items(value, depth)
    elif isinstance(value, str):
        if _SURROGATE.search(value):
            raise Invalid("bad-json", f"half a surrogate pair in {value!a}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Invalid("bad-json", f"JSON has no {value}")
    elif isinstance(value, int):
        if abs(value) > MAX_JSON_INT:
            raise Invalid("bad-json", f"the integer {value} is beyond ±(2^53 − 1)")
    elif value is not None:
        raise TypeError(f"JSON has no {type(value).__name__}: {value!r}")


def _check_items(items: Iterable[Any], depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise Invalid("bad-json", f"JSON nested more than {MAX_JSON_DEPTH} deep")
    for item in items:
        check(item, depth + 1)


def _check_depth(text: str) -> None:
    """Count the nesting before a recursive parser sees it."""
    depth = 0
    for match in _STRUCTURE.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise Invalid("bad-json", f"JSON nested more than {MAX_JSON_DEPTH} deep")
        elif mark in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Invalid("bad-json", f"the key {twice!a} stands twice in one object")
    return value


def _no_constant(name: str) -> None:
    raise Invalid("bad-json", f"JSON has no {name}")


def _int(digits: str) -> int:
    value = int(digits) if len(digits) <= _MAX_DIGITS else MAX_JSON_INT + 1
    if abs(value) > MAX_JSON_INT:
        raise Invalid("bad-json", f"an integer of {len(digits)} digits is beyond ±(2^53 − 1)")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Invalid("bad-json", f"the number {digits[:32]} is not finite")
    return value
