"""Branch coverage of the package's reader from the vectors alone.

    python -m conformance.coverage.reached [--missed]

Reads every vector in all ways of `ways.py`, and the slices of valid ones, in this process, with
the package `coverage`. Functions that no file reaches stand in `unreached.toml`, and are left out:
what writes, what a caller builds or asks for, what needs a plug-in or another platform. A function
that stands there and is entered is a fault, and so is a share below `ENOUGH`.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coverage import Coverage

from conformance.coverage import ways
from conformance.coverage.switches import NOT_READING

HERE = Path(__file__).parent
ENOUGH = 98.0
"""Percent of the lines and branches that a file reaches."""


class Function(NamedTuple):
    """What was run of a function, or of a module outside of its functions."""

    name: str
    ran: int
    """Lines and branches."""
    missed: list[str]
    entered: bool


def measure() -> dict[str, Any]:
    """Return what `coverage` reports of the modules that read."""
    omit = [name.replace("*", "/*") if "*" in name else f"{name}.py" for name in NOT_READING]
    cover = Coverage(branch=True, data_file=None, config_file=False, source_pkgs=["nnpack"],
                     omit=[f"*/nnpack/{one}" for one in omit])  # fmt: skip
    for line in ("if TYPE_CHECKING:", r"@(abc\.)?abstractmethod", r"class .*\(Protocol\):"):
        cover.exclude(line)
    cover.start()
    reader = ways.reading()
    for question in ways.questions():
        reader.ask(question)
    for path in sorted((HERE.parent / "vectors/valid").rglob("*.json")):
        for box in json.loads(path.read_bytes()).get("slices", ()):
            reader.answer({"op": "slice", "path": str(path.with_suffix(".nnpk")), **box})
    cover.stop()
    with tempfile.TemporaryDirectory() as folder:
        cover.json_report(outfile=f"{folder}/report.json")
        report: dict[str, Any] = json.loads(Path(folder, "report.json").read_bytes())
    return report


def functions(report: dict[str, Any]) -> Iterator[Function]:
    """Yield all functions of a report, as `module:Class.function`."""
    for file, found in sorted(report["files"].items()):
        module = file.partition("nnpack/")[2].removesuffix(".py").replace("/", ".")
        for name, region in found["functions"].items():
            sums = region["summary"]
            missed = [str(line) for line in region["missing_lines"]]
            missed += [f"{start}->{end}" for start, end in region["missing_branches"]
                       if {start, end}.isdisjoint(region["missing_lines"])]  # fmt: skip
            ran = sums["covered_lines"] + sums["covered_branches"]
            yield Function(f"{module}:{name}", ran, missed, bool(sums["covered_lines"]))


def left_out(name: str, groups: dict[str, Any]) -> bool:
    """Return whether no file reaches a function."""
    return any(
        fnmatch.fnmatchcase(name, one) for group in groups.values() for one in group["functions"]
    )


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missed", action="store_true", help="list the lines and branches")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, ways.stop)
    groups = tomllib.loads((HERE / "unreached.toml").read_text("utf-8"))
    every = [one for one in functions(measure()) if one.ran or one.missed]
    wrong = [f"entered, though it stands in unreached.toml: {one.name}"
             for one in every if one.entered and left_out(one.name, groups)]  # fmt: skip
    wrong += [f"no function has this name: {pattern}" for group in groups.values()
              for pattern in group["functions"]
              if not any(fnmatch.fnmatchcase(one.name, pattern) for one in every)]  # fmt: skip
    reached = [one for one in every if not left_out(one.name, groups)]
    ran, missed = (sum(one.ran for one in reached), sum(len(one.missed) for one in reached))
    share = 100 * ran / (ran + missed)
    if options.missed:
        sys.stdout.writelines(
            f"{one.name} {' '.join(one.missed)}\n" for one in reached if one.missed
        )
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    sys.stdout.write(
        f"{share:.1f} % of {ran + missed} lines and branches, {len(reached)} functions\n"
    )
    return bool(wrong) or share < ENOUGH


if __name__ == "__main__":
    raise SystemExit(main())
