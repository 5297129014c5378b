"""Findings: the input, how it was made, and what happened, in files that can be replayed."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.generator.operations import Operation
from fuzz import oracle
from fuzz.targets import TARGETS

FOLDER = Path(__file__).parent / "findings"


def signature(target: str, bad: oracle.Finding) -> str:
    """Return what is the same of two findings of one fault."""
    cause = bad.__cause__
    if cause is None or bad.kind != "exception":
        return f"{target} {re.sub(r'[0-9]+', 'n', str(bad))[:80]}"
    frames = traceback.extract_tb(cause.__traceback__)
    inner = [frame for frame in frames if "/nnpack/" in frame.filename] or frames
    place = f"{Path(inner[-1].filename).name}:{inner[-1].name}"
    return f"{target} {type(cause).__name__} {place}"


@dataclass(frozen=True)
class Found:
    """One of them.

    Attributes:
        target: its name.
        signature: see there.
        what: text of the finding.
        trace: of the exception behind it.
        base: what operations were done on.
        operations: in order.
        data: the input that they make.
        fatal: whether the process died of it.
    """

    target: str
    signature: str
    what: str
    trace: str
    base: bytes
    operations: Sequence[Operation]
    data: bytes
    fatal: bool = False

    @classmethod
    def of(
        cls,
        target: str,
        said: str,
        bad: oracle.Finding,
        base: bytes,
        operations: Iterable[Operation],
        data: bytes,
    ) -> Found:
        """Return what was raised."""
        trace = "".join(traceback.format_exception(bad))
        return cls(target, said, str(bad), trace, base, [*operations], data)

    @classmethod
    def of_death(cls, noted: Path, status: int | None) -> Found:
        """Return the input that a process died of, or did not come back from."""
        raw = noted.read_bytes()
        length, size = struct.unpack_from("<HI", raw)
        name, data = raw[6 : 6 + length].decode(), raw[6 + length : 6 + length + size]
        what = {None: "stuck: no sign of life", 1: "the driver itself failed"}.get(
            status, f"crash: exit status {status}"
        )
        return cls(name, f"{name} {what}", what, "", data, [], data, fatal=True)

    @property
    def path(self) -> Path:
        """Where its input is saved."""
        name = hashlib.sha1(self.signature.encode(), usedforsecurity=False).hexdigest()[:8]
        return FOLDER / f"{self.target}-{name}.bin"

    def command(self) -> str:
        """Return what replays it."""
        return f"python fuzz/run.py --target {self.target} --replay {self.path}"

    def save(self) -> Path:
        """Write the input and the description beside it."""
        self.path.write_bytes(self.data)
        said: dict[str, Any] = {"target": self.target, "what": self.what, "replay": self.command(),
                                "base": self.base.hex(), "operations": [*self.operations],
                                "trace": self.trace.splitlines()}  # fmt: skip
        self.path.with_suffix(".json").write_text(json.dumps(said, indent=1) + "\n")
        return self.path


def replay(path: Path, targets: Iterable[str]) -> int:
    """Run one input through targets, and say what happens."""
    data, status = path.read_bytes(), 0
    for name in targets:
        try:
            verdict = oracle.gate(TARGETS[name].run, data)
        except oracle.Finding as bad:
            sys.stdout.write("".join(traceback.format_exception(bad)))
            verdict, status = str(bad), 1
        sys.stdout.write(f"{name}: {verdict}\n")
    return status
