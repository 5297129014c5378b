"""The second reader, in JavaScript: its own tests, and all vectors of the kit."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READER = ROOT / "conformance" / "readers" / "javascript"
NODE = shutil.which("node")
LEAST = 20


def run(*command, cwd=ROOT):
    options = {"capture_output": True, "text": True, "timeout": 500}
    return subprocess.run(command, cwd=cwd, check=False, **options)  # noqa: S603 - ours


def version():
    return int(re.match(r"v(\d+)", run(NODE, "--version").stdout)[1]) if NODE else 0


pytestmark = pytest.mark.skipif(
    version() < LEAST,
    reason=f"the JavaScript reader needs Node {LEAST} or later, which is not here",
)


def test_it_passes_all_vectors_of_its_profile(tmp_path):
    done = run(
        sys.executable, "conformance/run.py", "--memory", "0", "--timeout", "20",
        "--report", tmp_path, "--", NODE, READER / "shim.js",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "results.ndjson").read_text().splitlines()]
    statuses = {line["id"]: line["status"] for line in lines if "id" in line}
    assert set(statuses.values()) == {"pass", "declined"}
    # What it may leave out: writing, and the registered codecs, which no profile includes.
    left = {vector for vector, status in statuses.items() if status == "declined"}
    assert {vector.split("/")[1] for vector in left} <= {
        "canonical",
        "large",
        "registered",
        "streams",
    }
    assert all(json.loads((ROOT / "conformance" / "vectors" / f"{vector}.json").read_bytes())["features"]
               or vector.startswith("encode/") for vector in left)  # fmt: skip


def test_its_own_tests():
    done = run(NODE, "--test", cwd=READER)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"^# fail 0$", done.stdout, re.MULTILINE)
