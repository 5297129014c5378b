"""The ways that a caller of the package has to read a file, asked about all vectors."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SECONDS = 20
"""How long one question may take."""

Json = dict[str, Any]


class Question(NamedTuple):
    """A vector and a way to read it."""

    id: str
    way: str
    asked: Json


class Reading:
    """The ways that a caller has to read a file; each has to refuse by itself."""

    def __init__(self, shim: ModuleType) -> None:
        """Read with the package that a shim has loaded."""
        self.answer, self.limits_of = shim.answer, shim.limits_of
        self.open, self.error = shim.nnpack.open, shim.nnpack.NnpackError
        self.verify = shim.selfcheck.verify

    def everything(self, question: Json) -> Json:
        """Answer as a testee by random access."""
        return self._testee({**question, "access": "random"})

    def in_order(self, question: Json) -> Json:
        """Answer as a testee by sequential access, whose class is free (R-RDR-018)."""
        said = self._testee({**question, "access": "sequential"})
        return {**said, "class": "any"} if "class" in said else said

    def _testee(self, question: Json) -> Json:
        said = self.answer(question)
        if said["ok"]:
            return {"model": said["model"]}
        return {"class": said["error"]["class"], "released": said["released"]}

    def together(self, question: Json) -> Json:
        """Load all tensors at once."""
        with self._opened(question) as reader:
            return {name: array.tobytes() for name, array in reader.load().items()}

    def arrays(self, question: Json) -> Json:
        """Read one tensor after the other."""
        return self._each(question, lambda tensor: tensor.read().tobytes())

    def values(self, question: Json) -> Json:
        """Take the typed value of each tensor."""
        return self._each(question, lambda tensor: repr(tensor.value()))

    def verified(self, question: Json) -> Json:
        """Look for all faults, in files too that do not open."""
        expect, limits = question.get("expect"), self.limits_of(question)
        found = self.verify(question["path"], limits=limits, expect=expect)
        return {"faults": [bad.error_class for bad in (*found.faults, *found.unchecked)]}

    def _opened(self, question: Json) -> Any:
        expect, limits = question.get("expect"), self.limits_of(question)
        return self.open(question["path"], limits=limits, expect=expect, threads=1)

    def _each(self, question: Json, read: Callable[[Any], Any]) -> Json:
        with self._opened(question) as reader:
            return {name: self._tried(read, tensor) for name, tensor in reader.items()}

    def _tried(self, read: Callable[[Any], Any], tensor: Any) -> Any:
        try:
            return read(tensor)
        except self.error as bad:
            return bad.error_class

    def ask(self, question: Question) -> Json:
        """Return what the reader says, less what no vector compares."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            answer: Json = getattr(self, question.way)(question.asked)
        except self.error as bad:
            return {"class": bad.error_class}
        except Exception as bad:  # noqa: BLE001 - a crash is an answer here
            return {"crash": type(bad).__name__}
        else:
            return answer
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


WAYS = ("everything", "in_order", "together", "arrays", "values", "verified")


def questions() -> list[Question]:
    """Return all that is asked of a reader."""
    found = []
    for path in sorted((HERE.parent / "vectors").rglob("*.json")):
        sidecar = json.loads(path.read_bytes())
        if sidecar["id"].startswith("encode/"):
            continue
        said = {"op": "decode", "path": str(path.with_suffix(".nnpk"))}
        said |= {key: sidecar[key] for key in ("limits", "expect") if key in sidecar}
        ways = [way for way in WAYS if way != "in_order" or "expect" not in sidecar]
        found += [Question(sidecar["id"], way, said) for way in ways]
    return found


def reading() -> Reading:
    """Return the package's reader."""
    sys.path.insert(0, str(HERE.parent / "shims"))
    return Reading(importlib.import_module("nnpack_reader"))


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End what takes too long."""
    raise TimeoutError
