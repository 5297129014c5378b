"""Peak anonymous memory of `nnpack convert` on one tensor of 2 GB, above that after import.

Run as `python benchmarks/memory.py [GIGABYTES]`; needs the extra `bench` and three times as much
in the temporary folder. Linux only: it reads /proc.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rounds import table

import nnpack

CHILD = """
import sys, threading, time
import numpy, nnpack.convert, nnpack.reader, nnpack.writer, zstandard
def anonymous():
    lines = open("/proc/self/status").read().split("\\n")
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
before, peak, done = anonymous(), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
nnpack.convert.convert(sys.argv[1], sys.argv[2], profile=sys.argv[3])
done.set()
watcher.join()
print(peak[0] - before)
"""


def main() -> None:
    """Print the table."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (
            Path(folder, name) for name in ("a.safetensors", "b.nnpk", "c.safetensors")
        )
        _model(source, int(gigabytes * 1e9) // 4)
        for profile in ("raw", "balanced"):
            packed.unlink(missing_ok=True)
            peak = _peak(source, packed, profile)
            with nnpack.open(packed) as reader:
                stored = reader["w"].stored_nbytes
            rows.append(
                (f"safetensors to nnpk, {profile}", f"{stored / 1e6:.0f}", f"{peak / 1e6:.0f}")
            )
        peak = _peak(packed, back, "raw")
        rows.append(("nnpk to safetensors", f"{stored / 1e6:.0f}", f"{peak / 1e6:.0f}"))
    print(table(("conversion", "largest encoded section, MB", "peak above import, MB"), rows))


def _model(path: Path, cells: int) -> None:
    """Write a safetensors file of one Gaussian float32 tensor."""
    head = json.dumps(
        {"w": {"dtype": "F32", "shape": [cells], "data_offsets": [0, 4 * cells]}}
    ).encode()
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for start in range(0, cells, 1 << 22):
            file.write(rng.standard_normal(min(1 << 22, cells - start), np.float32).data)


def _peak(source: Path, target: Path, profile: str) -> int:
    command = [sys.executable, "-c", CHILD, str(source), str(target), profile]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603


if __name__ == "__main__":
    main()
