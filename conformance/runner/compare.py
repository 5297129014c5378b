"""Comparing what a reader answers with what a sidecar states."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from .vectors import covers

SHOWN = 160
"""Characters of a value in a report."""
INTEGERS = frozenset({"row_length", "block"})
"""Parameters that may be decimal strings; the digits of others are hex."""
_DECIMAL = re.compile("-?[1-9][0-9]{15,19}")
"""Integers of up to 64 bits; Python refuses to read thousands of digits."""
MOST_EXACT = (1 << 53) - 1
"""Of integers that all JSON readers hold; only beyond are there decimal strings."""


class Difference(Exception):  # noqa: N818 - no error of this program
    """The answer differs.

    Attributes:
        where: the path in the model.
        expected: what the sidecar states.
        got: what the answer has.
    """

    def __init__(self, where: str, expected: object, got: object) -> None:
        """Show both where they differ first."""
        self.where = where
        self.expected, self.got = _shown(expected, got)
        super().__init__(f"{where}: {self.got}, not {self.expected}")


def _shown(expected: object, got: object) -> tuple[str, str]:
    texts = [one if isinstance(one, str) and one else json.dumps(one, ensure_ascii=False)
             for one in (expected, got)]  # fmt: skip
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, same - SHOWN // 2) & ~1  # hex digits stay in pairs
    cut = ["…" * bool(start) + t[start : start + SHOWN] + "…" * (len(t) > start + SHOWN)
           for t in texts]  # fmt: skip
    return cut[0], cut[1]


def same_json(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal: numbers by value, and true is no number.

    A negative zero is a float (SPEC 12.2), and differs from the other one; an integer is either.
    """
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    if isinstance(a, float) and isinstance(b, float) and a == b == 0:
        return str(a) == str(b)
    if isinstance(a, float) or isinstance(b, float):
        return _number(a) == _number(b)
    return bool(a == b)


def _number(value: Any) -> float | None:
    """Return a number as binary64, which all floats are (R-JSN-005); integers alone are exact."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def same_image(a: Any, b: Any) -> bool:
    """Return whether two images are equal; either may be hex or `sha256:` and a digest."""
    if not isinstance(a, str) or not isinstance(b, str):
        return a is None and b is None
    a, b = a.lower(), b.lower()
    if ("sha256:" in a) == ("sha256:" in b):
        return bool(a == b)
    return _digest(a) == _digest(b)


def _digest(image: str) -> str | None:
    if image.startswith("sha256:"):
        return image
    try:
        return f"sha256:{hashlib.sha256(bytes.fromhex(image)).hexdigest()}"
    except ValueError:
        return None


def integers(value: Any) -> Any:
    """Return a JSON value with decimal strings as the integers that they stand for."""
    if isinstance(value, list):
        return [integers(one) for one in value]
    if isinstance(value, str) and _DECIMAL.fullmatch(value) and abs(int(value)) > MOST_EXACT:
        return int(value)
    return value


def _equal(where: str, expected: Any, got: Any) -> None:
    if not same_json(expected, got):
        raise Difference(where, expected, got)


def _image(where: str, expected: Any, got: Any) -> None:
    if not same_image(expected, got):
        raise Difference(where, expected, got)


def _keys(where: str, expected: Iterable[str], got: Any) -> None:
    if not isinstance(got, dict) or {*expected} != got.keys():
        found = sorted(got) if isinstance(got, dict) else got
        raise Difference(where, sorted(expected), found)


def compare_model(expected: dict[str, Any], got: Any, *, profile: str, features: Iterable[str],
                  covered: bool, access: str) -> bool:  # fmt: skip
    """Compare an answer's model; raise `Difference`.

    Args:
        expected: the sidecar's.
        got: the answer's.
        profile: that the reader claims.
        features: that the reader claims.
        covered: whether they cover all of the file.
        access: `random`, or `sequential`: that need not tell the root.

    Returns:
        whether something was left out that the claims do not cover.
    """
    if not isinstance(got, dict):
        raise Difference("model", "an object", got)
    features = frozenset(features)
    tensors = got.get("tensors")
    if not isinstance(tensors, list) or not all(isinstance(one, dict) for one in tensors):
        raise Difference("tensors", "an array of objects", tensors)
    _equal("tensors", [t["name"] for t in expected["tensors"]], [t.get("name") for t in tensors])
    left = False
    for one, other in zip(expected["tensors"], tensors, strict=True):
        left |= _tensor(f"tensor {one['name']}", one, other, profile, features)
    _equal("aliases", expected["aliases"], got.get("aliases"))
    _keys("blobs", expected["blobs"], got.get("blobs"))
    for name, image in expected["blobs"].items():
        if covered or got["blobs"][name] is not None:
            _image(f"blob {name}", image, got["blobs"][name])
        left |= image is not None and got["blobs"][name] is None
    for key, none in (("metadata", None), ("graphs", {}), ("root", None)):
        mine = got.get(key, none)
        needed = profile == "R3" and covered and (key != "root" or access == "random")
        if needed or not same_json(mine, none):
            _equal(key, expected[key], mine)
        left |= key != "root" and not same_json(expected[key], mine)
    return left


Model = dict[str, Any]


def _tensor(
    where: str, expected: Model, got: Model, profile: str, features: frozenset[str]
) -> bool:
    """Compare one tensor; return whether it was left out and may be."""
    for key in ("dtype", "kind"):
        _equal(f"{where}, {key}", expected[key], got.get(key))
    _equal(f"{where}, shape", integers(expected["shape"]), integers(got.get("shape")))
    covered = covers(expected, profile, features)
    if got.get("image") is None:
        if profile != "R0" and not isinstance(got.get("unsupported"), str):
            raise Difference(f"{where}, image", expected["image"] or "unsupported", None)
        if covered and expected["image"] is not None:
            said = f"unsupported: {got.get('unsupported')}"
            raise Difference(f"{where}, image", expected["image"], said)
        if got.get("logical") is not None:
            _equal(f"{where}, logical", expected["logical"], got["logical"])
        # An opaque tensor has no elements for anyone, but parts for all that know the kind.
        if covered and expected["kind"] == "opaque":
            _inside(where, expected, got, features)
        return expected["image"] is not None or not covered
    _image(f"{where}, image", expected["image"], got["image"])
    _equal(f"{where}, logical", expected["logical"], got.get("logical"))
    _inside(where, expected, got, features)
    return False


def _inside(where: str, expected: Model, got: Model, features: frozenset[str]) -> None:
    """Compare parameters and parts, as far as the reader answers them."""
    if "encode" in features:
        _keys(f"{where}, parameters", expected["parameters"], got.get("parameters"))
        for key, value in expected["parameters"].items():
            plain = integers if key in INTEGERS else lambda same: same
            _equal(f"{where}, {key}", plain(value), plain(got["parameters"][key]))
    if "parts" not in features:
        return
    _keys(f"{where}, parts", expected["parts"], got.get("parts"))
    for name, part in expected["parts"].items():
        here, mine = f"{where}, {name}", got["parts"][name]
        if not isinstance(mine, dict):
            raise Difference(here, "an object", mine)
        for key in ("kind", "dtype"):
            _equal(f"{here}, {key}", part[key], mine.get(key))
        _equal(f"{here}, shape", integers(part["shape"]), integers(mine.get("shape")))
        _image(f"{here}, image", part["image"], mine.get("image"))
        _inside(here, part, mine, features)
