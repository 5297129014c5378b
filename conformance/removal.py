"""Proof by removal: with any one check of the package's reader switched off, some vector fails.

    python conformance/removal.py [--only MODULE-GLOB] [--show]

The package nnpack is loaded with every `raise` of an error of the format behind a switch, and where
a condition joins several with `or`, each of them. A first pass over all vectors, by random and by
sequential access, notes which checks refuse which vectors; then each check is switched off in turn,
and the vectors that it refused are read again. If all answers stay the same, the check survives: no
vector proves that a reader needs it. Survivors stand in `removal.toml`, in groups with a reason
each, or this fails.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import importlib.abc
import importlib.machinery
import importlib.util
import json
import resource
import signal
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

HERE = Path(__file__).parent
REASONS = HERE / "removal.toml"
RAISED = {"error", "Invalid", "_WrongError", "_short", "_wrong", "unlike", "container.unlike"}
"""What makes an error of the format; other exceptions are a caller's mistake."""
NOT_READING = (
    "__main__", "arguments", "atomic", "cli", "convert*", "describe", "duplicates", "encode",
    "explain", "numpy", "payload", "profiles", "render", "salvage", "shell", "simplify", "taps",
    "testing", "torch", "writer",
)  # fmt: skip
"""Modules whose checks no reader runs."""
SECONDS = 20
MEMORY = 8 << 30

Json = dict[str, Any]


class Check(NamedTuple):
    """A place that can refuse a file."""

    module: str
    function: str
    line: int
    text: str
    """The condition, or the raise that has none of its own."""

    @property
    def key(self) -> str:
        """What `removal.toml` calls it: lines move, conditions stay."""
        return f"{self.module}.{self.function}: {self.text}"

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.key}"


class Switches:
    """All checks, what they refused, and which one is off."""

    def __init__(self) -> None:
        """Begin with none."""
        self.checks: list[Check] = []
        self.fired: set[int] = set()
        self.off = -1

    def add(self, check: Check) -> int:
        """Return the number of a new check."""
        self.checks.append(check)
        return len(self.checks) - 1

    def on(self, number: int) -> bool:
        """Note that a check refuses something; return whether it may."""
        if number == self.off:
            return False
        self.fired.add(number)
        return True


SWITCHES = Switches()


class Behind(ast.NodeTransformer):
    """Puts checks behind switches."""

    def __init__(self, module: str) -> None:
        """Work on a module."""
        self.module, self.function = module, ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """Note where checks stand."""
        outer, self.function = self.function, node.name
        self.generic_visit(node)
        self.function = outer
        return node

    def visit_If(self, node: ast.If) -> Any:
        """Take each condition of an `or` that leads to nothing but a raise for a check."""
        self.generic_visit(node)
        inner = node.body[0]
        if len(node.body) > 1 or not isinstance(inner, ast.If) or not _is_switch(inner.test):
            return node
        number = _number(inner.test)
        if not isinstance(node.test, ast.BoolOp) or not isinstance(node.test.op, ast.Or):
            SWITCHES.checks[number] = self._check(node.test)
            return node
        node.body = inner.body
        first, *others = node.test.values
        SWITCHES.checks[number] = self._check(first)
        node.test.values = [
            _both(first, inner.test),
            *(_both(other, self._on(self._check(other))) for other in others),
        ]
        return node

    def visit_Raise(self, node: ast.Raise) -> Any:
        """Put a raise behind a switch."""
        return self._behind(node, node.exc)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        """Let what a library raises through where its translation is off."""
        self.generic_visit(node)
        last = node.body[-1]
        if isinstance(last, ast.If) and _is_switch(last.test):
            last.orelse = [ast.copy_location(ast.Raise(), last)]
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Put the yield of an error behind a switch."""
        made = node.value
        return self._behind(node, made.value) if isinstance(made, ast.Yield) else node

    def _behind(self, node: ast.stmt, made: ast.expr | None) -> ast.stmt:
        if not isinstance(made, ast.Call) or ast.unparse(made.func) not in RAISED:
            return node
        return ast.copy_location(ast.If(self._on(self._check(node)), [node], []), node)

    def _check(self, node: ast.expr | ast.stmt) -> Check:
        return Check(self.module, self.function, node.lineno, ast.unparse(node).splitlines()[0])

    def _on(self, check: Check) -> ast.expr:
        number = ast.Constant(SWITCHES.add(check))
        return ast.Call(ast.Name("__on__", ast.Load()), [number], [])


def _both(condition: ast.expr, switch: ast.expr) -> ast.expr:
    return ast.copy_location(ast.BoolOp(ast.And(), [condition, switch]), condition)


def _number(switch: ast.expr) -> int:
    return switch.args[0].value  # type: ignore[attr-defined,no-any-return]


def _is_switch(test: ast.expr) -> bool:
    return isinstance(test, ast.Call) and ast.unparse(test.func) == "__on__"


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the package with its checks behind switches."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Compile the source."""
        tree = Behind(self.name.removeprefix("nnpack.")).visit(ast.parse(data))
        return compile(ast.fix_missing_locations(tree), path, "exec", optimize=_optimize)

    def get_code(self, fullname: str) -> CodeType:
        """Compile always: a cached file has no switches."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        """Run it, with the switches at hand."""
        module.__dict__["__on__"] = SWITCHES.on
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the package's modules first."""

    def find_spec(self, name: str, path: Sequence[str] | None, _target: Any = None) -> Any:
        """Return what the usual finder does, with another loader."""
        part = name.removeprefix("nnpack.")
        if name.partition(".")[0] != "nnpack" or _any(part, NOT_READING):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.origin:
            spec.loader = Loader(name, spec.origin)
        return spec


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


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
        self.open, self.check, self.error = shim.nnpack.open, shim.verify, shim.nnpack.NnpackError

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
        with self._opened(question) as reader:
            return {name: self._tried(lambda t=t: t.read().tobytes()) for name, t in reader.items()}

    def values(self, question: Json) -> Json:
        """Take the typed value of each tensor."""
        with self._opened(question) as reader:
            return {name: self._tried(lambda t=t: repr(t.value())) for name, t in reader.items()}

    def verified(self, question: Json) -> Json:
        """Look for all faults, in files too that do not open."""
        expect, limits = question.get("expect"), self.limits_of(question)
        found = self.check(question["path"], limits=limits, expect=expect)
        return {"faults": [bad.error_class for bad in (*found.faults, *found.unchecked)]}

    def _opened(self, question: Json) -> Any:
        expect, limits = question.get("expect"), self.limits_of(question)
        return self.open(question["path"], limits=limits, expect=expect, threads=1)

    def _tried(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except self.error as bad:
            return bad.error_class

    def ask(self, question: Question) -> Json:
        """Return what the reader says, less what no vector compares."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            return getattr(self, question.way)(question.asked)  # type: ignore[no-any-return]
        except self.error as bad:
            return {"class": bad.error_class}
        except (Exception, RecursionError) as bad:  # noqa: BLE001 - a crash is an answer here
            return {"crash": type(bad).__name__}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


WAYS = ("everything", "in_order", "together", "arrays", "values", "verified")


def questions() -> list[Question]:
    """Return all that is asked of a reader."""
    found = []
    for path in sorted((HERE / "vectors").rglob("*.json")):
        sidecar = json.loads(path.read_bytes())
        if sidecar["id"].startswith("encode/"):
            continue
        said = {"op": "decode", "path": str(path.with_suffix(".nnpk"))}
        said |= {key: sidecar[key] for key in ("limits", "expect") if key in sidecar}
        ways = [way for way in WAYS if way != "in_order" or "expect" not in sidecar]
        found += [Question(sidecar["id"], way, said) for way in ways]
    return found


def reading(*, switches: bool = True) -> Reading:
    """Return the package's reader, its checks behind switches."""
    if switches:
        sys.meta_path.insert(0, Finder())
    spec = importlib.util.spec_from_file_location("shim", HERE / "shims" / "nnpack_reader.py")
    if spec is None or spec.loader is None:
        raise SystemExit("shims/nnpack_reader.py is not there")
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    return Reading(shim)


class Survivor(NamedTuple):
    """A check that no vector needs."""

    check: Check
    reached: list[str]
    """Vectors that it refuses; without it others do, or another check."""


def survivors(
    ask: Callable[[Question], Json], asked: Sequence[Question], only: str = "*"
) -> Iterator[Survivor]:
    """Yield the checks of some modules without which all answers stay what they are."""
    right: list[Json] = []
    refused: defaultdict[int, list[int]] = defaultdict(list)
    for index, question in enumerate(asked):
        SWITCHES.fired.clear()
        right.append(ask(question))
        for number in SWITCHES.fired:
            refused[number].append(index)
    for number, check in enumerate([*SWITCHES.checks]):
        if not fnmatch.fnmatch(check.module, only):
            continue
        SWITCHES.off = number
        if all(ask(asked[index]) == right[index] for index in refused[number]):
            yield Survivor(check, [asked[index].id for index in refused[number]])
        SWITCHES.off = -1


def faults(alive: Sequence[Survivor], groups: Json) -> Iterator[str]:
    """Yield what is wrong with the survivors, or with what `removal.toml` says of them."""
    grouped = {key: name for name, group in groups.items() for key in group["checks"]}
    keys = {survivor.check.key for survivor in alive}
    for survivor in alive:
        check, reached = survivor
        name = grouped.get(check.key)
        many = f"{len(reached)} answers stay what they are, that to {reached[0]}" if reached else ""
        if name is None:
            yield f"survives without a reason: {check} ({many or 'no vector comes here'})"
        elif reached and not groups[name]["reached"]:
            yield f"[{name}] says that no vector comes here: {check} ({many})"
    yield from (
        f"no survivor, take it out of [{grouped[key]}]: {key}" for key in grouped.keys() - keys
    )
    yield from (f"[{name}] has no reason" for name, group in groups.items() if not group["reason"])
    if len(keys) < len(alive):
        yield "two survivors have one name"
    if len(grouped) < sum(len(group["checks"]) for group in groups.values()):
        yield "a check stands in two groups"


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End what takes too long."""
    raise TimeoutError


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="modules, as a glob; no reason is looked at")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    reader = reading()
    alive = [*survivors(reader.ask, questions(), options.only)]
    groups = tomllib.loads(REASONS.read_text("utf-8")) if options.only == "*" else {}
    found = [*faults(alive, groups)]
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    for name, group in groups.items():
        sys.stdout.write(f"[{name}] {len(group['checks'])}: {group['reason']}\n")
    many = len(SWITCHES.checks)
    sys.stdout.write(
        f"{many} checks, {many - len(alive)} proved, {len(alive)} survive, {len(found)} faults\n"
    )
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
