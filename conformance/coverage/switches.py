"""Each check of the package's reader behind a switch.

A check is a `raise` of an error of the format, or its `yield`, and where its condition has parts,
each of them: what an `or` joins, and under a `not` what an `and` or a chain of comparisons joins.
What `require` asks of all rows of the directory is a check for each column that an `&` joins.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from types import CodeType, ModuleType
from typing import Any, NamedTuple

RAISED = {
    "error", "Invalid", "_WrongError", "_short", "_wrong", "cut",
}  # fmt: skip
"""What makes an error of the format, or is one."""
RAISED_AGAIN = {"", "bad", "bad.at", "bad.under"}
"""What was raised or yielded before, and is a check there."""
CALLERS = {
    "AttributeError", "ImportError", "IndexError", "IsADirectoryError", "OSError", "TypeError",
    "ValueError",
}  # fmt: skip
"""What tells of a caller's mistake, or of the system's trouble; not of a file's contents."""
NOT_READING = (
    "__main__", "arguments", "atomic", "cli", "convert*", "describe", "duplicates", "encode",
    "explain", "numpy", "payload", "profiles", "render", "salvage", "shell", "simplify", "taps",
    "testing", "torch", "writer",
)  # fmt: skip
"""Modules whose checks no reader runs."""


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
        self.strange: list[Check] = []
        """Raises of which the tables above say nothing."""
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

    def column(self, number: int, good: Any) -> Any:
        """Return which rows are good: all of them, if the check that says so is off."""
        return good if good.all() or self.on(number) else good | True


class Behind(ast.NodeTransformer):
    """Puts checks behind switches."""

    def __init__(self, module: str, switches: Switches) -> None:
        """Work on a module."""
        self.module, self.switches, self.function = module, switches, ""
        self.number: int | None = None
        """A switch that the next check takes."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Note where checks stand."""
        outer, self.function = self.function, node.name
        self.generic_visit(node)
        self.function = outer
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Take the parts of a condition that leads to nothing but a raise for checks."""
        self.generic_visit(node)
        inner = node.body[0]
        if len(node.body) > 1 or not isinstance(inner, ast.If) or _number(inner.test) < 0:
            return node
        self.number = _number(inner.test)
        node.test = ast.copy_location(self._refusing(node.test), node.test)
        node.body = inner.body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Take what is required of all rows for checks, one for each column of an `&`."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "require":
            node.args[0] = self._required(node.args[0])
        return node

    def _refusing(self, test: ast.expr) -> ast.expr:
        """Return a condition that is true of what is wrong, its parts behind switches."""
        match test:
            case ast.BoolOp(op=ast.Or(), values=values):
                return ast.BoolOp(ast.Or(), [*map(self._refusing, values)])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.UnaryOp(ast.Not(), self._allowing(operand))
        return ast.BoolOp(ast.And(), [test, self._on(self._check(test))])

    def _allowing(self, test: ast.expr) -> ast.expr:
        """Return a condition that is true of what is right, its parts behind switches."""
        match test:
            case ast.BoolOp(op=ast.And(), values=values):
                return ast.BoolOp(ast.And(), [*map(self._allowing, values)])
            case ast.Compare(left=left, ops=[_, _, *_], comparators=comparators):
                pairs = zip([left, *comparators], test.ops, comparators, strict=False)
                each = [ast.copy_location(ast.Compare(a, [op], [b]), test) for a, op, b in pairs]
                return ast.BoolOp(ast.And(), [*map(self._allowing, each)])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.UnaryOp(ast.Not(), self._refusing(operand))
        off = ast.UnaryOp(ast.Not(), self._on(self._check(_not(test))))
        return ast.BoolOp(ast.Or(), [test, off])

    def _required(self, test: ast.expr) -> ast.expr:
        """Return a condition on columns, its parts behind switches."""
        if isinstance(test, ast.BinOp) and isinstance(test.op, ast.BitAnd):
            return ast.BinOp(self._required(test.left), ast.BitAnd(), self._required(test.right))
        number = ast.Constant(self.switches.add(self._check(_not(test))))
        return ast.Call(ast.Name("__column__", ast.Load()), [number, test], [])

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Put a raise behind a switch."""
        made = _maker(node.exc)
        if made in RAISED:
            return self._behind(node)
        if made not in RAISED_AGAIN | CALLERS:
            self.switches.strange.append(self._check(node))
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Let what a library raises through where its translation is off."""
        self.generic_visit(node)
        last = node.body[-1]
        if isinstance(last, ast.If) and _number(last.test) >= 0:
            last.orelse = [ast.copy_location(ast.Raise(), last)]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Put the yield of an error behind a switch."""
        made = isinstance(node.value, ast.Yield) and _maker(node.value.value) in RAISED
        return self._behind(node) if made else self.generic_visit(node)

    def _behind(self, node: ast.stmt) -> ast.stmt:
        return ast.copy_location(ast.If(self._on(self._check(node)), [node], []), node)

    def _check(self, node: ast.expr | ast.stmt) -> Check:
        return Check(self.module, self.function, node.lineno, ast.unparse(node).splitlines()[0])

    def _on(self, check: Check) -> ast.expr:
        if self.number is None:
            number = self.switches.add(check)
        else:  # of the raise
            number, self.number = self.number, None
            self.switches.checks[number] = check
        return ast.Call(ast.Name("__on__", ast.Load()), [ast.Constant(number)], [])


def _maker(made: ast.expr | None) -> str:
    """Return what makes an error: what is called, or the name of one that is there."""
    return ast.unparse(made.func if isinstance(made, ast.Call) else made) if made else ""


def _not(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _number(test: ast.expr) -> int:
    """Return the number of a switch, -1 for any other expression."""
    match test:
        case ast.Call(func=ast.Name(id="__on__"), args=[ast.Constant(value=int(number))]):
            return number
    return -1


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the package with its checks behind switches."""

    def __init__(self, name: str, path: str, switches: Switches) -> None:
        """Load a module from a path."""
        super().__init__(name, path)
        self.switches = switches

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Compile the source."""
        behind = Behind(self.name.removeprefix("nnpack."), self.switches)
        tree = ast.fix_missing_locations(behind.visit(ast.parse(data)))
        return compile(tree, path, "exec", optimize=_optimize)

    def get_code(self, fullname: str) -> CodeType:
        """Compile always: a cached file has no switches."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        """Run it, with the switches at hand."""
        module.__dict__.update(__on__=self.switches.on, __column__=self.switches.column)
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the package's modules first."""

    def __init__(self, switches: Switches) -> None:
        """Find modules whose checks are behind switches."""
        self.switches = switches

    def find_spec(self, name: str, path: Sequence[str] | None, _target: Any = None) -> Any:
        """Return what the usual finder does, with another loader."""
        part = name.removeprefix("nnpack.")
        if name.partition(".")[0] != "nnpack" or any(fnmatch(part, one) for one in NOT_READING):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.origin:
            spec.loader = Loader(name, spec.origin, self.switches)
        return spec


def install() -> Switches:
    """Load the package's reader, from now on, with its checks behind switches; return these."""
    switches = Switches()
    sys.meta_path.insert(0, Finder(switches))
    return switches
