"""Write nnpack.dict, libFuzzer's list of what the format is made of: python fuzz/dictionary.py."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from pathlib import Path

if not __package__:  # run as a script, with the package that PYTHONPATH or the environment has
    HERE = Path(__file__).absolute().parent
    sys.path = [*(path for path in sys.path if Path(path) != HERE), str(HERE.parent)]

from conformance.generator import assemble as a
from conformance.generator.dtypes import IDS
from fuzz.havoc import EDGES
from fuzz.targets import JSON, NPY

PATH = Path(__file__).parent / "nnpack.dict"


def tokens() -> Iterable[bytes]:
    """Yield magics, heads, node heads of each kind and data type, numbers at edges, words."""
    yield from (a.MAGIC, a.HEADER, a.SYNC, a.END)
    for number in range(1, 9):
        yield a.SYNC + struct.pack("<HH", number, number == a.DIGESTS)
    for kind in range(1, 8):
        yield struct.pack("<BBBBB", kind, 0, IDS["float32"], 1, 0)
    for dtype in IDS.values():
        yield struct.pack("<BBBBB", a.DENSE, 0, dtype, 1, 0)
    for edge in EDGES:
        size = next(size for size in (1, 2, 4, 8, 16) if edge < 1 << 8 * size)
        yield edge.to_bytes(size, "little")
    yield from (*JSON, *NPY)


def text() -> str:
    """Return the dictionary."""
    lines = ("".join(f"\\x{byte:02x}" for byte in token) for token in tokens())
    return "".join(f'"{line}"\n' for line in dict.fromkeys(lines))


if __name__ == "__main__":
    PATH.write_text(text())
