"""Fuzz the package: replay the corpus, then mutate it, and keep what goes new ways.

python fuzz/run.py [--target T ...] [--seconds N | --runs N] [--seed S] [--jobs J]
python fuzz/run.py --replay FILE [--target T ...]
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import resource
import struct
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: the repository comes first, not its folder fuzz
    sys.path[0] = str(Path(__file__).parent.parent)

from fuzz.edges import counted
from fuzz.findings import FOLDER, Found, replay
from fuzz.session import Session
from fuzz.targets import TARGETS

SLICE = 0.5
"""Seconds for a share of a target, before the next target has its turn."""
STATUS = 10.0
"""Seconds between status lines."""
STUCK = 120.0
"""Seconds of silence after which a process is taken to hang inside a library, and is killed."""
MEMORY = 6 << 30
"""Address space of a process: what asks for more gets a MemoryError, which is a finding."""
NOW = 1 << 20
"""Bytes of the map in which a process notes what it runs, for whoever survives it."""


def work(options: argparse.Namespace, job: int, to: Connection, noted: str) -> None:
    """Fuzz, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with Path(noted).open("r+b") as file, mmap.mmap(file.fileno(), NOW) as now:

        def note(name: str, data: bytes) -> None:
            head = struct.pack("<HI", len(name), len(data)) + name.encode()
            now[: len(head)] = head
            now[len(head) : len(head) + len(data)] = data[: NOW - len(head)]

        seed = f"{options.seed}/{job}"
        sessions = [Session(name, TARGETS[name], seed, note) for name in options.target]
        end = time.monotonic() + options.seconds
        told = 0.0
        while any(not one.runs >= options.runs for one in sessions) and time.monotonic() < end:
            for one in sessions:
                stop = min(time.monotonic() + SLICE * one.target.share, end)
                one.work(stop, options.runs)
                for found in one.take():
                    to.send(found)
            if time.monotonic() - told > STATUS:
                told = time.monotonic()
                to.send((job, counted().summary(), [one.status() for one in sessions]))
        to.send((job, counted().summary(), [one.status() for one in sessions]))
        to.send(None)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show(job: int, reached: str, rows: list[dict[str, Any]]) -> None:
    """Print the status of a process."""
    runs = sum(row["runs"] for row in rows)
    rate = runs / max(sum(row["runs"] / row["rate"] for row in rows if row["rate"]), 1e-9)
    say(f"[{job}] {runs:,} runs, {rate:,.0f}/s, {reached}")
    for row in rows:
        classes = ", ".join(f"{name} {many}" for name, many in sorted(row["verdicts"].items()))
        say(f"  {row['target']:14} {row['runs']:>9,} runs {row['rate']:>6.0f}/s "
            f"{row['kept']:>4} kept  {classes}")  # fmt: skip


def fuzz(options: argparse.Namespace) -> int:
    """Start processes, hear what they find, and notice when one dies."""
    FOLDER.mkdir(exist_ok=True)
    found: dict[str, Found] = {}
    jobs = {}
    for job in range(options.jobs):
        jobs[job] = _start(options, job)
    while jobs:
        for job, (process, here, noted, heard) in [*jobs.items()]:
            try:
                message = here.recv() if here.poll(1.0 / len(jobs)) else ()
            except EOFError:
                process.join()
                message = Found.of_death(noted, process.exitcode)
            if message == () and time.monotonic() - heard > STUCK:
                process.kill()
                process.join()
                message = Found.of_death(noted, None)
            if message is None:
                process.join()
                del jobs[job]
            elif isinstance(message, Found):
                if message.signature not in found:
                    found[message.signature] = message
                    say(f"FOUND {message.save()}")
                if not process.is_alive():
                    del jobs[job]
            elif message:
                show(*message)
                jobs[job] = process, here, noted, time.monotonic()
    say(f"{len(found)} findings" + "".join(f"\n  {one.command()}" for one in found.values()))
    return int(bool(found))


def _start(options: argparse.Namespace, job: int) -> tuple[Any, Connection, Path, float]:
    noted = FOLDER / f".now-{job}"
    noted.write_bytes(bytes(NOW))
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=work, args=(options, job, there, str(noted)))
    process.start()
    there.close()
    return process, here, noted, time.monotonic()


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="default: all")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--runs", type=float, default=float("inf"), help="of each target")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--replay", type=Path, help="run one input, and say what happens")
    options = parser.parse_args()
    options.target = options.target or [*TARGETS]
    if options.replay:
        return replay(options.replay, options.target)
    return fuzz(options)


if __name__ == "__main__":
    raise SystemExit(main())
