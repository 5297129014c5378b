"""The command line of the runner."""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from . import known, report, results
from .session import Session, introduce
from .testee import Exec, Limits, Serve, resolved
from .vectors import CLASSES, KitError, Vector, chosen, load
from .words import lines

KIT = Path(__file__).resolve().parent.parent
USAGE = "python conformance/run.py [options] -- TESTEE COMMAND..."


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; behind `--` stands the testee's command."""
    parser = argparse.ArgumentParser("run.py", USAGE, "Ask a reader about all vectors.",
                                     allow_abbrev=False)  # fmt: skip
    add, how = parser.add_argument, parser.add_mutually_exclusive_group()
    how.add_argument("--exec", action="store_const", dest="transport", const=Exec,
                     help="a process for each question")  # fmt: skip
    how.add_argument("--serve", action="store_const", dest="transport", const=Serve,
                     help="one process for many; the default where the testee has it")  # fmt: skip
    add("--only", action="append", default=[], metavar="GLOB",
        help="these ids; * stays within a path component, ** does not")  # fmt: skip
    add("--twice", action="store_true",
        help="ask everything twice: does one file change the next answer?")  # fmt: skip
    add("--seed", type=int, help="of the order; printed with each run")
    add("--jobs", type=int, default=1, metavar="N", help="testees side by side")
    add("--timeout", type=float, default=2.0, metavar="SECONDS",
        help="for a question, 2 by default; five times that for large files, tensors")  # fmt: skip
    add("--memory", type=int, default=4096, metavar="MIB",
        help="of address space, 4096 by default; 0: any, for JavaScript engines, which reserve "
             "more than they use")  # fmt: skip
    add("--error-map", type=Path, metavar="FILE",
        help="JSON object: the testee's own error names -> classes")  # fmt: skip
    add("--known-failures", type=Path, metavar="FILE",
        help="by default the kit's known-failures/<name>.txt, if it is there")  # fmt: skip
    add("--fix", action="store_true", help="rewrite that list to what was found")
    add("--report", type=Path, metavar="FOLDER",
        help="write results.ndjson, summary.md, junit.xml, matrix.html, badge.json")  # fmt: skip
    add("--vectors", type=Path, default=KIT / "vectors", metavar="FOLDER")
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options, more = parser.parse_known_args(arguments[:at])
    options.command = [*arguments[at + 1 :]]
    if not options.command:
        parser.error("the testee's command comes last, behind --")
    if more:
        parser.error(f"no option is called {' '.join(more)}")
    if options.jobs < 1 or options.timeout <= 0 or options.memory < 0:
        parser.error("--jobs and --timeout are more than 0, --memory is not less")
    return options


def run(options: argparse.Namespace, every: Sequence[Vector]) -> tuple[results.Results, bool]:
    """Do what the options say; return also whether Ctrl-C ended it."""
    asked = chosen(options.only, every)
    if options.fix and options.only:
        raise KitError("--fix needs a whole run: it would drop what was not asked")
    limits = Limits(options.timeout, options.memory << 20)
    command = resolved(options.command)
    transport, claims = introduce(command, limits, _error_map(options.error_map), options.transport)
    path = options.known_failures
    if path is None and options.vectors.resolve() == KIT / "vectors":
        path = _list_of(claims.implementation["name"])
    if options.fix and path is None:
        raise KitError("--fix needs a list: pass --known-failures FILE")
    if path and not path.exists() and not options.fix:
        raise KitError(f"{path}: no such list of known failures; --fix writes one")
    listed = known.KnownFailures(path, [v.id for v in every])
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    sys.stdout.write(
        f"{report.named(claims.implementation)}, profile {claims.profile}, {transport.name}, "
        f"{len(asked)} vectors, seed {seed}\n"
    )
    sys.stdout.flush()
    start = time.monotonic()
    session = Session(command, transport, claims, limits, {v.id: v for v in every}, seed,
                      options.jobs, 2 if options.twice else 1)  # fmt: skip
    outcomes = session.run(asked)
    if session.interrupted:
        sys.stdout.write(
            f"\ninterrupted after {len(outcomes)} of {len(asked)} vectors; seed {seed}\n"
        )
    elif options.fix:
        listed.fix({id: one.verdict for id, one in outcomes.items()})
        listed = known.KnownFailures(listed.path, [v.id for v in every])
    partial = bool(options.only) or session.interrupted
    header = results.header_of(claims, options.command, transport=transport.name, seed=seed,
                               partial=partial, rounds=session.rounds,
                               error_map=options.error_map is not None)  # fmt: skip
    lines = []
    for id, one in outcomes.items():
        verdict = listed.apply(id, one.verdict)
        lines.append(results.line_of(id, verdict, one.verdict.status, one.seconds))
    found = results.results_of(header, lines, listed.stale, time.monotonic() - start)
    return found, session.interrupted


def _list_of(name: str) -> Path | None:
    """Return the list that the kit has for an implementation, if there is one."""
    lists = {path.stem: path for path in (KIT / "known-failures").glob("*.txt")}
    return lists.get(name)


def _error_map(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict) or not all(one in [*CLASSES] for one in found.values()):
        raise KitError(f"{path}: an error map is an object of classes of SPEC 14.1 by native name")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run: 0 if all is right, 1 if something is not, 2 if there is no run, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options_of(arguments)
    try:
        if options.report:  # before it is known what there is to write
            options.report.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=options.report).close()
        every = load(options.vectors)
        found, interrupted = run(options, every)
        if options.report:
            report.write_all(found, options.report, every)
        said = report.terminal(found, every, _again(arguments), options.report)
        sys.stdout.write(f"\n{said}")
    except KeyboardInterrupt:
        sys.stderr.write("\nrun.py: interrupted\n")
        return 130
    except (KitError, OSError, ValueError) as bad:
        sys.stderr.write(f"run.py: {lines(str(bad))}\n")
        return 2
    return 130 if interrupted else 0 if found.good else 1


def _again(arguments: Sequence[str]) -> str:
    """Return the command that asks about one vector again."""
    at = arguments.index("--")
    other = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    other.add_argument("--only")
    other.add_argument("--report")
    other.add_argument("--fix", action="store_true")
    _, kept = other.parse_known_args(arguments[:at])
    return shlex.join(["python", "conformance/run.py", *kept, "--only", "ID", *arguments[at:]])
