"""The command under test: one process for each question (exec), or one for many (serve)."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from .vectors import KitError
from .words import FLUSHED, STANDARD_OUTPUT, quoted

LONGEST_ANSWER = 1 << 27
"""Bytes."""
MOST_VALUES = 1 << 22
"""In an answer, as far as brackets and commas tell."""
MOST_LEVELS = 64
"""Of an answer; a graph, which has 32 (R-JSN-008), is the fourth."""
TAIL = 2000
"""Bytes of the standard error that a report keeps; people read them, the runner does not."""
NEARLY = 0.8
"""Of the limit: a process that dies with so much memory in use died of it."""
LIMITED = 'ulimit -c 0; ulimit -v "$1" 2>/dev/null; shift; exec "$@"'
"""Sets the address space in KiB, where the system has such a limit, and becomes the testee."""
HELLO = {"op": "hello", "protocol": 1}
NOT_IMPLEMENTED = "not-implemented"
"""The class of an operation that a testee does not have."""
HELLO_SECONDS = 30.0
"""For the first answer: interpreters may have to compile what they load."""


class Fault(Exception):  # noqa: N818 - an outcome, named as its status is
    """There is no answer, or none that the protocol knows.

    Attributes:
        status: `crash`, `timeout`, `oom` or `protocol`.
        what: in words.
        stderr: the end of what the testee wrote there.
    """

    def __init__(self, status: str, what: str, stderr: str = "") -> None:
        """Name the status."""
        super().__init__(status, what)
        self.status, self.what, self.stderr = status, what, stderr


@dataclass(frozen=True)
class Limits:
    """What a testee may use.

    Attributes:
        seconds: wall time for a question.
        memory: bytes of address space; 0 for any. JavaScript engines reserve more than they use.
    """

    seconds: float = 2.0
    memory: int = 4 << 30


def resolved(command: Sequence[str]) -> list[str]:
    """Return a command that means the same in another working directory."""
    program = shutil.which(command[0])
    if program is None:
        there = Path(command[0]).is_file()
        raise KitError(f"{command[0]}: {'not executable (chmod +x)' if there else 'not found'}")
    rest = [str(Path(part).absolute()) if Path(part).exists() else part for part in command[1:]]
    return [str(Path(program).absolute()), *rest]


def missing(command: Sequence[str], said: str) -> list[str]:
    """Return the arguments that an error message names and that are no files here."""
    words = (part for part in command[1:] if not part.startswith("-") and not Path(part).exists())
    return [part for part in words if re.search(rf"(?<!\w){re.escape(part)}(?!\w)", said)]


class Process:
    """A process in an empty folder, with its own group and limits."""

    def __init__(
        self, command: Sequence[str], limits: Limits, stdin: int = subprocess.PIPE
    ) -> None:
        """Start it."""
        self._folder = tempfile.mkdtemp(prefix="testee-")
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._limits, self.seconds = limits, limits.seconds
        self.buffer = bytearray()
        self.stderr, self.peak = "", 0
        self._ended = False
        kib = str(limits.memory >> 10 or "unlimited")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - running it is what a runner is for
                ["/bin/sh", "-c", LIMITED, "run.py", kib, *command],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                cwd=self._folder,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        assert self._process.stdout is not None
        self.stdout = self._process.stdout.fileno()
        os.set_blocking(self.stdout, False)
        if self._process.stdin:
            self.stdin = self._process.stdin.fileno()
            os.set_blocking(self.stdin, False)

    def write(self, data: bytes, deadline: float) -> None:
        """Write bytes; answers that come meanwhile are kept."""
        rest = memoryview(data)
        while rest:
            left = max(0.0, deadline - time.monotonic())
            readable, writable, _ = select.select([self.stdout], [self.stdin], [], left)
            if not left or (not readable and not writable):
                self.fail("timeout", "it does not read what it is asked")
            if readable and not self.receive():
                self.died()
            if writable:
                try:
                    rest = rest[os.write(self.stdin, rest) :]
                except BrokenPipeError:
                    self.died()

    def receive(self) -> bool:
        """Read what there is; False at the end."""
        try:
            data = os.read(self.stdout, 1 << 20)
        except BlockingIOError:
            return True
        self.buffer += data
        if len(self.buffer) > LONGEST_ANSWER:
            self.fail("protocol", f"an answer of more than {LONGEST_ANSWER:,} bytes")
        return bool(data)

    def wait(self, deadline: float) -> bool:
        """Wait for output; False at its end. After the deadline the process is ended."""
        left = max(0.0, deadline - time.monotonic())
        if not left or not select.select([self.stdout], [], [], left)[0]:
            what = "no end of its answer" if self.buffer else "no answer"
            self.fail("timeout", f"{what} within {self.seconds:g} s")
        return self.receive()

    def close_input(self) -> None:
        """Tell it that there is nothing more to be asked."""
        if self._process.stdin:
            self._process.stdin.close()

    def died(self) -> NoReturn:
        """Say how it ended, which it did or is about to."""
        code = self.end(grace=1.0)
        raise self.fault(code, "it closed its output" if code is None else f"exit status {code}")

    def fail(self, status: str, what: str) -> NoReturn:
        """End it for a fault of its own."""
        self.end()
        raise Fault(status, what, self.stderr)

    def fault(self, code: int | None, what: str) -> Fault:
        """Return what an exit without an answer is: a crash, or the end of its memory."""
        if code == -signal.SIGKILL:
            return Fault("oom", "the system killed it", self.stderr)
        if self._limits.memory and self.peak > NEARLY * self._limits.memory:
            return Fault("oom", f"it ended with {self.peak >> 20} MiB in use", self.stderr)
        if code is not None and code < 0:
            named = {one.value: one.name for one in signal.Signals}  # real-time ones have none
            what = f"signal {named.get(-code, -code)}"
        return Fault("crash", what, self.stderr)

    def end(self, grace: float = 0.0) -> int | None:
        """End it and all that it started; return its exit status, None if it had to be ended.

        Sets `stderr`, the end of what it wrote there, and `peak`, the most memory that it had.
        A second call does nothing.
        """
        if self._ended:
            return None
        self._ended = True
        pid, deadline = self._process.pid, time.monotonic() + grace
        done, status, usage = os.wait4(pid, os.WNOHANG)
        while not done and time.monotonic() < deadline:
            time.sleep(0.002)
            done, status, usage = os.wait4(pid, os.WNOHANG)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status) if done else None
        if not done:
            usage = os.wait4(pid, 0)[2]
        self._process.returncode = code or 0  # it has been waited for
        self.peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - TAIL))
        self.stderr = self._stderr.read().decode("utf-8", "replace")
        for pipe in (self._stderr, self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code


def parse(text: bytes | bytearray) -> dict[str, Any]:
    """Return a JSON object of moderate size; ValueError for anything else."""

    def constant(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("an object has two members of one name")
        return found

    if not text.strip():
        raise ValueError("no answer")
    if sum(map(text.count, (b"[", b"{", b","))) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=constant, object_pairs_hook=members)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except ValueError as bad:
        at = getattr(bad, "pos", getattr(bad, "start", 0))
        place = f" from character {at:,} on" if at else ""
        raise ValueError(f"no JSON{place}: {quoted(text[at:])}{STANDARD_OUTPUT}") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - it is the text that is wrong
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for row in inner for one in row if isinstance(one, dict | list)]
    if level:
        raise ValueError("JSON nested too deeply")
    return value


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that says yes, or no with a class; ValueError for another."""
    if not isinstance(answer.get("ok"), bool):
        raise ValueError("no ok")  # noqa: TRY004 - as above
    error = answer.get("error")
    named = isinstance(error, dict) and isinstance(error.get("class"), str)
    if answer["ok"] or named:
        return answer
    raise ValueError("no class")


class Exec:
    """A process for each question."""

    name = "exec"

    def __init__(self, command: Sequence[str], limits: Limits) -> None:
        """Hold the command."""
        self._command, self._limits = [*command], limits

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer; raise `Fault` if there is none."""
        if question["op"] != "encode":
            return self._run(_arguments(question), seconds)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(question["model"], file)
            file.flush()
            return self._run(["encode", file.name, question["out"]], seconds)

    def _run(self, arguments: list[str], seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        limits, command = replace(self._limits, seconds=seconds), [*self._command, *arguments]
        process = Process(command, limits, subprocess.DEVNULL)
        try:
            while process.wait(deadline):
                pass
            code = process.end(grace=deadline - time.monotonic())
        finally:
            process.end()
        if code is None:
            raise Fault("timeout", f"it does not end within {seconds:g} s", process.stderr)
        if code not in {0, 1, 2}:
            raise process.fault(code, f"exit status {code}")
        try:
            answer = checked({**parse(process.buffer), "ok": code == 0})
        except ValueError as bad:
            raise process.fault(code, f"exit status {code}, {bad}") from None
        # Some languages end with 2 where a program panics or does not know an argument.
        if code == 2 and answer["error"]["class"] != NOT_IMPLEMENTED:
            raise process.fault(code, f"exit status 2 without {NOT_IMPLEMENTED}")
        return answer

    def close(self) -> None:
        """Have nothing to end."""


class Serve:
    """A process that answers one question a line, started again after a fault."""

    name = "serve"

    def __init__(self, command: Sequence[str], limits: Limits) -> None:
        """Hold the command."""
        self._command, self._limits = [*command, "serve"], limits
        self._process: Process | None = None
        self._seq = 0

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer; raise `Fault` if there is none."""
        process, self._process = self._process, None  # it is kept if it answers
        new = process is None
        process = process or Process(self._command, self._limits)
        try:
            if new:  # its start is not timed
                answer = self._hello(process)
            if not new or question != HELLO:
                answer = self._answer(process, question, seconds)
        except BaseException:
            process.end()
            raise
        self._process = process
        return answer

    def _hello(self, process: Process) -> dict[str, Any]:
        try:
            return self._answer(process, HELLO, HELLO_SECONDS)
        except Fault as bad:
            more = FLUSHED if bad.status == "timeout" else ""
            raise Fault(bad.status, bad.what + more, bad.stderr) from None

    def _answer(self, process: Process, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._seq += 1
        asked = {"seq": self._seq, **question}
        deadline = time.monotonic() + seconds
        if select.select([process.stdout], [], [], 0)[0] and not process.receive():
            process.died()
        if process.buffer:
            what = f"it says what it was not asked: {quoted(process.buffer)}{STANDARD_OUTPUT}"
            process.fail("protocol", what)
        process.seconds = seconds
        process.write(json.dumps(asked).encode() + b"\n", deadline)
        seen = 0
        while process.buffer.find(b"\n", seen) < 0:
            seen = len(process.buffer)
            if not process.wait(deadline):
                process.died()
        line, _, more = process.buffer.partition(b"\n")
        process.buffer.clear()
        try:
            answer = checked(parse(line))
        except ValueError as bad:
            process.fail("protocol", str(bad))
        if more:
            process.fail("protocol", f"more than one answer: {quoted(more)}{STANDARD_OUTPUT}")
        seq = answer.get("seq")
        if seq != asked["seq"] or isinstance(seq, bool):
            process.fail("protocol", f"seq is {seq!r}, not {asked['seq']}")
        return answer

    def close(self) -> None:
        """Say goodbye."""
        if self._process is not None:
            with suppress(Fault):
                self.ask({"op": "bye"}, 2.0)
        if self._process is not None:
            self._process.close_input()
            self._process.end(grace=1.0)
            self._process = None


def _arguments(question: dict[str, Any]) -> list[str]:
    """Return a question as the arguments of a command."""
    op = question["op"]
    if op == "decode":
        found = [op, question["path"], "--access", question["access"]]
        found += ["--limits", json.dumps(question["limits"])] if question["limits"] else []
        return found + (["--expect", question["expect"]] if question["expect"] else [])
    if op == "slice":
        box = [json.dumps(question[key]) for key in ("start", "stop")]
        return [op, question["path"], question["tensor"], *box]
    return [op]
