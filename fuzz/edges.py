"""Which ways through the package inputs have taken.

From Python 3.12 on, an edge is a conditional jump taken one way, or the entry of a function; the
interpreter tells each until it is known and then no more, so that counting costs nothing in the
long run. Before 3.12 it is a step from one line to another, watched on a sample of the runs.
"""

from __future__ import annotations

import dis
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SAMPLE = 16
"""One run in so many is watched where that is slow."""
PERIOD, OFTEN = 256, 50
"""A jump that took one side so often in a period of so many runs is not watched in the rest of it:
its other side is found a little later, and hot loops cost nothing."""
HERE = str(Path(importlib.util.find_spec("nnpack").origin or "").parent)  # type: ignore[union-attr]
TOOL = 4
"""No debugger, coverage or profiler has this id."""
Edge = tuple[CodeType, int, int]


@cache
def counted() -> Edges:
    """Return the counter of this process, which all targets share."""
    return Monitored() if hasattr(sys, "monitoring") else Traced()


def codes() -> Iterator[CodeType]:
    """Yield the code of all functions of the package's modules that are loaded."""
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.split(".")[0] == "nnpack":
            stack = [compile(Path(path).read_bytes(), path, "exec")]
            while stack:
                code = stack.pop()
                stack += [const for const in code.co_consts if isinstance(const, CodeType)]
                if code.co_name != "<module>":
                    yield code


def _is_branch(step: dis.Instruction) -> bool:
    return step.opname.startswith("POP_JUMP") or step.opname == "FOR_ITER"


class Edges(ABC):
    """What both ways to count share."""

    unit = ""

    def __init__(self) -> None:
        """Begin with none."""
        self.reached: set[Edge] = set()
        self._known = 0, 0

    @abstractmethod
    def watch(self, number: int) -> AbstractContextManager[None]:
        """Count in the run of this number."""

    @abstractmethod
    def new(self) -> int:
        """Return how many edges were new since the last time."""

    @abstractmethod
    def each(self, code: CodeType) -> int:
        """Return how many edges a function has."""

    def summary(self) -> str:
        """Say how many are reached of those of the modules that are loaded."""
        loaded = len(sys.modules)
        if self._known[0] != loaded:
            self._known = loaded, sum(map(self.each, codes()))
        return f"{len(self.reached):,} of {self._known[1]:,} {self.unit}"


class Monitored(Edges):
    """Edges by `sys.monitoring`."""

    unit = "edges"

    def __init__(self) -> None:
        """Begin to count."""
        super().__init__()
        self._sides: dict[tuple[CodeType, int], set[int]] = {}
        self._often: Counter[tuple[CodeType, int]] = Counter()
        self._new = 0
        monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._monitoring, events = monitoring, monitoring.events
        monitoring.use_tool_id(TOOL, "nnpack-fuzz")
        monitoring.register_callback(TOOL, events.PY_START, self._enter)
        mask = events.PY_START
        ways = [n for n in ("BRANCH_LEFT", "BRANCH_RIGHT") if hasattr(events, n)] or ["BRANCH"]
        for way in ways:
            call = self._branch if way == "BRANCH" else self._side
            monitoring.register_callback(TOOL, getattr(events, way), call)
            mask |= getattr(events, way)
        monitoring.set_events(TOOL, mask)

    @contextmanager
    def watch(self, number: int) -> Iterator[None]:
        """Count in one run."""
        if number % PERIOD == 0:
            self._often.clear()
            self._monitoring.restart_events()
        yield

    def new(self) -> int:
        """Return how many edges were new since the last time."""
        new, self._new = self._new, 0
        return new

    def each(self, code: CodeType) -> int:
        """Count the entry, and both sides of each conditional jump."""
        return 1 + 2 * sum(map(_is_branch, dis.get_instructions(code)))

    def _enter(self, code: CodeType, _: int) -> Any:
        self._add(code, -1, 0)
        return self._monitoring.DISABLE

    def _branch(self, code: CodeType, at: int, to: int) -> Any:
        """Take one side; once both are known, the jump is told no more."""
        jump = code, at
        sides = self._sides.setdefault(jump, set())
        if to not in sides:
            sides.add(to)
            self._add(code, at, to)
        self._often[jump] += 1
        if len(sides) > 1 or self._often[jump] > OFTEN or not code.co_filename.startswith(HERE):
            return self._monitoring.DISABLE
        return None

    def _side(self, code: CodeType, at: int, to: int) -> Any:
        self._add(code, at, to)
        return self._monitoring.DISABLE

    def _add(self, code: CodeType, at: int, to: int) -> None:
        if code.co_filename.startswith(HERE) and (code, at, to) not in self.reached:
            self.reached.add((code, at, to))
            self._new += 1


class Traced(Edges):
    """Steps between lines by `sys.settrace`."""

    unit = "line steps"

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._counted = 0

    @contextmanager
    def watch(self, number: int) -> Iterator[None]:
        """Count in one run, if it is one of the sample."""
        if number % SAMPLE:
            yield
            return
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def new(self) -> int:
        """Return how many steps were new since the last time."""
        new, self._counted = len(self.reached) - self._counted, len(self.reached)
        return new

    def each(self, code: CodeType) -> int:
        """Count neighbours in the code, and jumps."""
        return len({*_steps(code)})

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(HERE):
            return None
        add, last = self.reached.add, code.co_firstlineno

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line


def _steps(code: CodeType) -> Iterator[tuple[int, int]]:
    """Yield the steps that a function's code has."""
    lines: dict[int, int] = {}
    for start, stop, line in code.co_lines():
        lines |= dict.fromkeys(range(start, stop, 2), line or code.co_firstlineno)
    last: int | None = code.co_firstlineno
    for step in dis.get_instructions(code):
        here = lines[step.offset]
        if last is not None and last != here:
            yield last, here
        if isinstance(step.argval, int) and "JUMP" in step.opname and lines[step.argval] != here:
            yield here, lines[step.argval]
        falls = not step.opname.startswith(("JUMP", "RETURN", "RAISE", "RERAISE"))
        last = here if falls else None
