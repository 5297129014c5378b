"""Fuzz the package: replay the corpus, then mutate it, and keep what goes new ways.

python fuzz/run.py [--target T ...] [--seconds N | --runs N] [--seed S] [--jobs J] [--first]
python fuzz/run.py --replay FILE [--target T ...]
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import resource
import signal
import struct
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if not __package__:  # run as a script, with the package that PYTHONPATH or the environment has
    HERE = Path(__file__).absolute().parent
    sys.path = [*(path for path in sys.path if Path(path) != HERE), str(HERE.parent)]

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
LIVES = 20
"""Times that a process is started again."""
NOW = 1 << 20
"""Bytes of the map in which a process notes what it runs, for whoever survives it."""


def work(options: argparse.Namespace, seed: str, to: Connection, noted: Path) -> None:
    """Fuzz, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    with noted.open("r+b") as file, mmap.mmap(file.fileno(), NOW) as now:

        def note(name: str, data: bytes) -> None:
            head = struct.pack("<HI", len(name), len(data)) + name.encode()
            now[: len(head)] = head
            now[len(head) : len(head) + len(data)] = data[: NOW - len(head)]

        sessions = [Session(name, TARGETS[name], seed, note) for name in options.target]
        told = 0.0
        while time.monotonic() < options.end and any(one.runs < options.runs for one in sessions):
            for one in sessions:
                one.work(min(time.monotonic() + SLICE * one.target.share, options.end),
                         options.runs)  # fmt: skip
                for found in one.take():
                    to.send(found)
            if time.monotonic() - told > STATUS:
                told = time.monotonic()
                to.send((counted().summary(), [one.status() for one in sessions]))
        to.send((counted().summary(), [one.status() for one in sessions]))
        to.send(None)


class Job:
    """A process that fuzzes, and what it was doing last."""

    def __init__(self, options: argparse.Namespace, number: int, life: int = 0) -> None:
        """Start it."""
        self.number, self._options, self._life = number, options, life
        handle, name = tempfile.mkstemp()
        os.truncate(handle, NOW)
        os.close(handle)
        self._noted = Path(name)
        self._pipe, there = multiprocessing.Pipe(duplex=False)
        seed = f"{options.seed}/{number}/{life}"
        self._process = multiprocessing.get_context("spawn").Process(
            target=work, args=(options, seed, there, self._noted)
        )
        self._process.start()
        there.close()
        self._heard = time.monotonic()

    def hear(self, seconds: float) -> Any:
        """Return a message, None at the end, () if there is none; a death is a finding."""
        if self._pipe.poll(seconds):
            self._heard = time.monotonic()
            try:
                return self._pipe.recv()
            except EOFError:
                self._process.join()
                return Found.of_death(self._noted, self._process.exitcode)
        if time.monotonic() - self._heard > STUCK:
            return Found.of_death(self._noted, None)
        return ()

    def stop(self) -> None:
        """End it, and forget what it was doing."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._noted.unlink()

    def again(self) -> Job | None:
        """Return one in its place, with another seed, unless it died too often."""
        return Job(self._options, self.number, self._life + 1) if self._life < LIVES else None


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
    """Start processes, hear what they find, and start those again that die of it."""
    FOLDER.mkdir(exist_ok=True)
    options.end = time.monotonic() + options.seconds
    found: dict[str, Found] = {}
    jobs = [Job(options, number) for number in range(options.jobs)]
    try:
        while jobs and not (options.first and found):
            for job in [*jobs]:
                hear(job, jobs, found)
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        for job in jobs:
            job.stop()
    say(f"{len(found)} findings" + "".join(f"\n  {one.command()}" for one in found.values()))
    return int(bool(found))


def hear(job: Job, jobs: list[Job], found: dict[str, Found]) -> None:
    """Take a message of one of the processes, and replace those that end."""
    message = job.hear(1.0 / len(jobs))
    if isinstance(message, Found) and message.signature not in found:
        found[message.signature] = message
        say(f"FOUND {message.save()}")
    if message is None or (isinstance(message, Found) and message.fatal):
        jobs.remove(job)
        job.stop()
        if message and (next_one := job.again()):
            jobs.append(next_one)
    elif isinstance(message, tuple) and message:
        show(job.number, *message)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="default: all")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--runs", type=float, default=float("inf"), help="of each target")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", action="store_true", help="end at the first finding")
    parser.add_argument("--replay", type=Path, help="run one input, and say what happens")
    options = parser.parse_args()
    options.target = options.target or [*TARGETS]
    if options.replay:
        return replay(options.replay, options.target)
    return fuzz(options)


if __name__ == "__main__":
    raise SystemExit(main())
