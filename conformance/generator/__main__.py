"""Write the vectors, or check that the committed ones are what the generator makes."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.generator.areas import AREAS
from conformance.generator.damaged import sliced
from conformance.generator.recipes import RECIPES
from conformance.generator.vector import Vector

HERE = Path(__file__).parent.parent
VECTORS = HERE / "vectors"
LIST = "recipes.json"


def sidecar_of(vector: Vector, indent: int | None = 1) -> bytes:
    """Return a sidecar's bytes."""
    return (json.dumps(vector.sidecar, indent=indent, ensure_ascii=False) + "\n").encode()


def row_of(vector: Vector, sidecar: bytes) -> dict[str, Any]:
    """Return what a list of vectors says about one."""
    return {
        "id": vector.id,
        "size": len(vector.data),
        "sha256": hashlib.sha256(vector.data).hexdigest(),
        "sidecar": hashlib.sha256(sidecar).hexdigest(),
    }


def listing(rows: Iterable[dict[str, Any]]) -> bytes:
    """Return a list of vectors, as `manifest.json` and `recipes.json` are."""
    listed = sorted(rows, key=lambda one: str(one["id"]))
    whole = {"protocol": 1, "spec": "1.0", "count": len(listed), "vectors": listed}
    return (json.dumps(whole, indent=0) + "\n").encode()


def files() -> dict[str, bytes]:
    """Return all files of the kit by their path below `conformance`."""
    found: dict[str, bytes] = {}
    rows = []
    for vector in sliced(vector for area in AREAS for vector in area.vectors()):
        path = f"vectors/{vector.id}"
        if f"{path}.json" in found:
            raise ValueError(f"two vectors are {vector.id}")
        sidecar = sidecar_of(vector)
        found |= {f"{path}.nnpk": vector.data, f"{path}.json": sidecar}
        rows.append(row_of(vector, sidecar))
    found["manifest.json"] = listing(rows)
    return found


def write(vectors: Iterable[Vector], folder: Path) -> list[dict[str, Any]]:
    """Write vectors into a folder as they are made; return their rows."""
    rows = []
    for vector in vectors:
        sidecar = sidecar_of(vector, indent=None)
        path = folder / f"{vector.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:  # no two vectors are one, and none is there already
            file.write(sidecar)
        path.with_suffix(".nnpk").write_bytes(vector.data)
        rows.append(row_of(vector, sidecar))
    return rows


def commit(made: dict[str, bytes], *, check: bool) -> int:
    """Write the committed vectors, or compare them."""
    there = {str(path.relative_to(HERE)) for path in VECTORS.rglob("*") if path.is_file()}
    stale = sorted(there - made.keys())
    changed = [p for p, data in made.items() if not _same(HERE / p, data)]
    for path in stale:
        sys.stdout.write(f"not made by the generator: {path}\n")
    for path in changed:
        sys.stdout.write(f"{'differs' if check else 'written'}: {path}\n")
        if not check:
            (HERE / path).parent.mkdir(parents=True, exist_ok=True)
            (HERE / path).write_bytes(made[path])
    if not check:
        for path in stale:
            (HERE / path).unlink()
    many = sum(path.endswith(".nnpk") for path in made)
    sys.stdout.write(f"{many} vectors, {len(changed)} changed, {len(stale)} stale\n")
    return int(check and bool(stale or changed))


def recipes(folder: Path, *, check: bool) -> int:
    """Write the vectors that are not committed, and their list or whether it is another."""
    rows = write((vector for module in RECIPES for vector in module.vectors()), folder)
    listed = listing(rows)
    same = _same(HERE / LIST, listed)
    if not check:
        (HERE / LIST).write_bytes(listed)
    size = sum(row["size"] for row in rows) >> 20
    words = "as listed" if same else "not as listed" if check else "list written"
    sys.stdout.write(f"{len(rows)} vectors, {size} MiB, {words}\n")
    return int(check and not same)


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m conformance.generator", description=__doc__)
    parser.add_argument("--check", action="store_true",
                        help="compare with what is committed, and change none of it")  # fmt: skip
    parser.add_argument("--recipes", type=Path, metavar="FOLDER",
                        help="write the vectors that are too large to be committed there, and "
                             "their list")  # fmt: skip
    options = parser.parse_args()
    if options.recipes:
        return recipes(options.recipes, check=options.check)
    return commit(files(), check=options.check)


if __name__ == "__main__":
    raise SystemExit(main())
