"""Strict JSON (SPEC 12.1): one meaning for every reader."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from nnpack.errors import Invalid
from nnpack.limits import MAX_JSON_DEPTH, MAX_JSON_INT

_WINDOW: Final = 1 << 16
"""Bytes whose nesting is counted at once."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_DIGITS: Final = len(str(MAX_JSON_INT)) + 1


def parse(data: bytes | memoryview) -> dict[str, Any]:
    """Return the object that the bytes are in strict JSON; Invalid("bad-json") if they are not."""
    data = bytes(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as bad:
        raise Invalid("bad-json", f"not UTF-8: {bad.reason}") from bad
    _check_depth(data)
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
    if _ESCAPED_SURROGATE.search(text):  # only an escape can make half a pair
        _check_surrogates(json.dumps(value, ensure_ascii=False))
    return value


def pack(value: Any) -> bytes:
    """Return a JSON object as text; ValueError or TypeError if it cannot be strict JSON."""
    return dump(plain(value))


def dump(value: dict[str, Any]) -> bytes:
    """Return what `plain` returned as text."""
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def plain(value: Any) -> dict[str, Any]:
    """Return a JSON object as a copy of plain dicts, lists, tuples, strings and numbers, checked.

    Subclasses of these may say one thing when they are checked and another when they are
    written: what is checked and written is the copy.

    Raises:
        ValueError, TypeError: it cannot be strict JSON.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"a JSON object is a dict, not {type(value).__name__}")
    return _plain_object(value, 1)


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _plain_object(value, depth)
    if isinstance(value, list | tuple):
        _check_level(depth)
        items = [_plain(item, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _check_surrogates(str.__str__(value))
    if isinstance(value, float):
        number = float.__pos__(value)
        if not math.isfinite(number):
            raise Invalid("bad-json", f"JSON has no {number}")
        return number
    if isinstance(value, int):
        whole = int.__pos__(value)
        if abs(whole) > MAX_JSON_INT:
            raise Invalid("bad-json", f"the integer {whole} is beyond ±(2^53 − 1)")
        return whole
    raise TypeError(f"JSON has no {type(value).__name__}: {value!r}")


def _plain_object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    pairs = [*value.items()]
    if not all(isinstance(key, str) for key, _ in pairs):
        raise TypeError(f"JSON keys are strings, not {[key for key, _ in pairs]!r}")
    _check_level(depth)
    return _object([(_plain(key, depth), _plain(item, depth + 1)) for key, item in pairs])


def _check_level(depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise Invalid("bad-json", f"JSON nested more than {MAX_JSON_DEPTH} deep")


def _check_surrogates(text: str) -> str:
    half = _SURROGATE.search(text)
    if half:
        place = text[max(half.start() - 16, 0) : half.end() + 16]
        raise Invalid("bad-json", f"half a surrogate pair in {place!a}")
    return text


def _check_depth(data: bytes) -> None:
    """Count the nesting before a recursive parser sees it, as far as the text is JSON."""
    if data.count(b"[") + data.count(b"{") <= MAX_JSON_DEPTH:
        return
    # Without escapes a string ends at the next quote.
    marks = np.frombuffer(data.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    quotes, depth = 0, 0
    for start in range(0, len(marks), _WINDOW):
        window = marks[start : start + _WINDOW]
        seen = np.cumsum(window == ord('"'), dtype=np.int64) + quotes
        kind = window | 0x20  # [ and ] differ from { and } in this bit
        steps = (kind == ord("{")).astype(np.int64) - (kind == ord("}"))
        depths = np.cumsum(steps * (seen % 2 == 0)) + depth
        _check_level(int(depths.max()))
        quotes, depth = int(seen[-1]), int(depths[-1])


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
