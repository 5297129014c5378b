"""Write the vectors, or check that the committed ones are what the generator makes."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from conformance.generator.areas import AREAS

HERE = Path(__file__).parent.parent
VECTORS = HERE / "vectors"


def files() -> dict[str, bytes]:
    """Return all files of the kit by their path below `conformance`."""
    found: dict[str, bytes] = {}
    listed = []
    for area in AREAS:
        for vector in area.vectors():
            path = f"vectors/{vector.id}"
            if f"{path}.json" in found:
                raise ValueError(f"two vectors are {vector.id}")
            sidecar = (json.dumps(vector.sidecar, indent=1, ensure_ascii=False) + "\n").encode()
            found |= {f"{path}.nnpk": vector.data, f"{path}.json": sidecar}
            listed.append(
                {
                    "id": vector.id,
                    "size": len(vector.data),
                    "sha256": hashlib.sha256(vector.data).hexdigest(),
                    "sidecar": hashlib.sha256(sidecar).hexdigest(),
                }
            )
    listed.sort(key=lambda one: str(one["id"]))
    manifest = {"protocol": 1, "spec": "1.0", "count": len(listed), "vectors": listed}
    found["manifest.json"] = (json.dumps(manifest, indent=0) + "\n").encode()
    return found


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m conformance.generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    made = files()
    there = {str(path.relative_to(HERE)) for path in VECTORS.rglob("*") if path.is_file()}
    stale = sorted(there - made.keys())
    changed = [p for p, data in made.items() if not _same(HERE / p, data)]
    for path in stale:
        sys.stdout.write(f"not made by the generator: {path}\n")
    for path in changed:
        sys.stdout.write(f"{'differs' if options.check else 'written'}: {path}\n")
        if not options.check:
            (HERE / path).parent.mkdir(parents=True, exist_ok=True)
            (HERE / path).write_bytes(made[path])
    if not options.check:
        for path in stale:
            (HERE / path).unlink()
    many = sum(path.endswith(".nnpk") for path in made)
    sys.stdout.write(f"{many} vectors, {len(changed)} changed, {len(stale)} stale\n")
    return int(options.check and bool(stale or changed))


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


if __name__ == "__main__":
    raise SystemExit(main())
