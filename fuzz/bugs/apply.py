"""Copies nnpack with one seeded bug, or looks at all of them: how is in README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
KEYS: Final = {"file", "area", "wrong", "rules", "reader", "shows", "differs", "author"}
ALL, PER_AREA, ANYWHERE = 40, 3, "anywhere"
MOST_OBVIOUS: Final = 5
"""Bugs that may break even an ordinary file."""
BROKEN: Final = 4
"""The exit status of ordinary.py for one that is broken."""
TIMEOUT: Final = 600
"""Seconds that a suite has for one bug."""


def bugs() -> dict[str, dict[str, Any]]:
    """Return the table of bugs, by name."""
    return tomllib.loads((HERE / "bugs.toml").read_text())


def copy(folder: Path) -> None:
    """Copy the package into a folder."""
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nnpack", folder / "nnpack", ignore=leave)


def seed(name: str, folder: Path) -> None:
    """Copy the package into a folder with a bug; RuntimeError if the patch does not apply."""
    copy(folder)
    with (HERE / bugs()[name]["file"]).open() as patch:
        done = run(["patch", "-p1", "-F0", "-f"], folder, stdin=patch, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{name} does not apply: {done.stdout}{done.stderr}")


def run(command: list[str], folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command for which Python finds the package in a folder first."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(folder), *([before] if before else [])])
    return subprocess.run(  # noqa: S603 - patch, ordinary.py, or what the caller asks for
        command,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT,
        **options,
    )


def wrong_tables() -> Iterator[str]:
    """Yield where bugs.toml does not fit the patches, SPEC.md or README.md."""
    table, spec = bugs(), (ROOT / "SPEC.md").read_text()
    for name, bug in table.items():
        if bug.keys() != KEYS:
            yield f"{name}: keys {sorted(bug.keys() ^ KEYS)}"
        yield from (
            f"{name}: SPEC.md has no {rule}" for rule in bug["rules"] if f" [{rule}]" not in spec
        )
    listed, there = {bug["file"] for bug in table.values()}, {p.name for p in HERE.glob("*.patch")}
    if listed != there:
        yield f"bugs.toml and the patches differ in {sorted(listed ^ there)}"
    areas = [bug["area"] for bug in table.values()]
    uneven = {area for area in areas if area != ANYWHERE and areas.count(area) != PER_AREA}
    if len(table) != ALL or uneven:
        yield f"{len(table)} bugs, not {ALL}, or not {PER_AREA} each of {sorted(uneven)}"


def ordinary(folder: Path) -> subprocess.CompletedProcess[str]:
    """Save and load an ordinary model with the package in a folder."""
    return run([sys.executable, str(HERE / "ordinary.py"), str(folder)], folder)


def check() -> int:
    """Seed every bug, and see what an ordinary model makes of it; return the exit status."""
    faults, obvious = [*wrong_tables()], 0
    with tempfile.TemporaryDirectory() as place:
        copy(folder := Path(place).resolve())
        done = ordinary(folder)
        if done.returncode:
            faults.append(f"without a bug: {done.stdout}{done.stderr}")
    for name in bugs():
        with tempfile.TemporaryDirectory() as place:
            try:
                seed(name, folder := Path(place).resolve())
            except RuntimeError as bad:
                faults.append(str(bad))
                continue
            done = ordinary(folder)
        if done.returncode == BROKEN:
            obvious += 1
            say(f"obvious: {name}: {done.stdout.strip()}")
        elif done.returncode:
            faults.append(f"{name}: {done.stdout}{done.stderr}")
    if obvious > MOST_OBVIOUS:
        faults.append(f"{obvious} bugs are obvious, more than {MOST_OBVIOUS}")
    for fault in faults:
        say(f"fault: {fault}")
    say(f"{len(bugs())} bugs, {obvious} of them obvious, {len(faults)} faults")
    return 1 if faults else 0


def bench(command: list[str]) -> int:
    """Run a suite with the package as it is and with each bug; return the exit status."""

    def passes(folder: Path) -> bool:
        try:
            return run(command, folder).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    if not passes(ROOT):
        say("the suite fails without a bug: it can find none")
        return 2
    missed = 0
    for name in bugs():
        with tempfile.TemporaryDirectory() as place:
            seed(name, folder := Path(place).resolve())
            start = time.monotonic()
            found = not passes(folder)
        missed += not found
        say(f"{'found ' if found else 'missed'} {time.monotonic() - start:6.1f} s  {name}")
    say(f"{len(bugs()) - missed} of {len(bugs())} found")
    return 1 if missed else 0


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description="Seeded bugs; see README.md.")
    parser.add_argument("name", nargs="?", choices=[*bugs()], metavar="NAME")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="the names")
    parser.add_argument("--check", action="store_true", help="try every patch")
    parser.add_argument("--bench", nargs="+", metavar="COMMAND", help="try a suite; comes last")
    cut = sys.argv.index("--bench") if "--bench" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:cut])
    command = sys.argv[cut + 1 :]
    if given.list:
        say("\n".join(bugs()))
        return 0
    if given.check:
        return check()
    if command:
        return bench(command)
    if given.name is None or given.folder is None:
        parser.error("NAME and FOLDER, --list, --check or --bench COMMAND")
    if (given.folder / "nnpack").exists():
        parser.error(f"{given.folder} has an nnpack already")
    given.folder.mkdir(parents=True, exist_ok=True)
    seed(given.name, given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
