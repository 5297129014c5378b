"""A target under Atheris: python fuzz/atheris_target.py TARGET [libFuzzer's arguments] [CORPUS]."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

if not __package__:  # run as a script, with the package that PYTHONPATH or the environment has
    HERE = Path(__file__).absolute().parent
    sys.path = [*(path for path in sys.path if Path(path) != HERE), str(HERE.parent)]

with atheris.instrument_imports(include=["nnpack"]):
    from fuzz import oracle
    from fuzz.targets import TARGETS

TARGET = TARGETS[sys.argv.pop(1)]


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Mutate by structure; what cannot be taken apart is libFuzzer's to mutate."""
    try:
        made, _ = TARGET.mutate(data, random.Random(seed), TARGET.seeds())
    except Exception:  # noqa: BLE001 - anything may stand in a corpus
        return bytes(atheris.Mutate(data, most))
    return made[:most]


atheris.Setup(sys.argv, lambda data: oracle.gate(TARGET.run, data), custom_mutator=mutated)
atheris.Fuzz()
