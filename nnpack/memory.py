"""How much memory the process can still get."""

from __future__ import annotations

import mmap
from typing import Final

SHARE: Final = 0.8
"""Of what is available; the rest is for everything else."""
UNKNOWN: Final = 1 << 40


def available_memory() -> int:
    """Return the default memory budget in bytes.

    That is a share of the least of the kernel's estimate, the cgroup's rest, and the rest of the
    process's own limit on its address space.
    """
    lines = _read("/proc/meminfo").splitlines()
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    found = [UNKNOWN, *free]
    limit, used = _read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory.current")
    if limit.strip().isdecimal() and used.strip().isdecimal():
        found.append(max(int(limit) - int(used), 0))
    space = _address_space()
    if space is not None:
        mapped = _read("/proc/self/statm").split()[:1]
        found.append(max(space - sum(map(int, mapped)) * mmap.PAGESIZE, 0))
    return int(SHARE * min(found))


def _address_space() -> int | None:
    """Return the limit on the process's address space, if there is one (POSIX)."""
    try:
        import resource
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _read(path: str) -> str:
    """Return a small system file, or nothing where there is none."""
    from pathlib import Path  # slow to import, and only large requests come here

    file = Path(path)
    return file.read_text() if file.is_file() else ""
