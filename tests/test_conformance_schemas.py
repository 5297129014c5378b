"""The schemas of the conformance kit, which decide what PROTOCOL.md leaves open."""

import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import jsonschema
import pytest
import referencing

from tests.test_conformance_javascript import LEAST, NODE, version

ROOT = Path(__file__).parent.parent
KIT = ROOT / "conformance"
TESTEES = {
    "the package": [sys.executable, KIT / "shims/nnpack_reader.py"],
    "JavaScript": [NODE, KIT / "readers/javascript/shim.js"],
}
SIDECARS = [json.loads(path.read_text()) for path in sorted((KIT / "vectors").rglob("*.json"))]


def validator(name):
    schemas = {path.name: json.loads(path.read_text()) for path in (KIT / "schema").glob("*.json")}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    held = [(key, referencing.Resource.from_contents(schema)) for key, schema in schemas.items()]
    registry = referencing.Registry().with_resources(held)
    return jsonschema.Draft202012Validator(schemas[f"{name}.schema.json"], registry=registry)


def test_sidecars_fit_their_schema():
    check = validator("vector")
    for said in SIDECARS:
        assert not [*check.iter_errors(said)], said["id"]
    for name in ("manifest", "recipes"):
        listed = json.loads((KIT / f"{name}.json").read_text())
        assert not [*validator("manifest").iter_errors(listed)]


def test_results_fit_their_schema(tmp_path):
    command = [sys.executable, KIT / "run.py", "--only", "valid/start/*", "--only", "limits/policy/s*",
               "--report", tmp_path, "--", sys.executable, KIT / "shims/template.py"]  # fmt: skip
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1  # noqa: S603
    lines = (tmp_path / "results.ndjson").read_text().splitlines()
    assert len(lines) > 9
    for line in lines:
        assert not [*validator("results").iter_errors(json.loads(line))], line


def asked():
    """Questions about some vectors of each area, and those of registered codecs."""
    for area, found in groupby(SIDECARS, key=lambda one: one["id"].rpartition("/")[0]):
        for said in [*found][: 99 if area.endswith("registered") else 3]:
            path = str(KIT / f"vectors/{said['id']}.nnpk")
            for access in ("random", "sequential"):
                yield {"op": "decode", "path": path, "access": access, "limits": said.get("limits", {}),
                       "expect": said.get("expect")}  # fmt: skip
            for box in said.get("slices", ()):
                yield {
                    "op": "slice",
                    "path": path,
                    **{key: box[key] for key in ("tensor", "start", "stop")},
                }


@pytest.mark.parametrize("testee", TESTEES)
def test_answers_fit_their_schema(testee):
    if testee == "JavaScript" and version() < LEAST:
        pytest.skip(f"the JavaScript reader needs Node {LEAST} or later, which is not here")
    ends = {"op": "hello", "protocol": 1}, {"op": "bye"}
    questions = [{"seq": seq, **one} for seq, one in enumerate([ends[0], *asked(), ends[1]])]
    request, response = validator("request"), validator("response")
    for question in questions:
        assert not [*request.iter_errors(question)], question
    done = subprocess.run(  # noqa: S603
        [*TESTEES[testee], "serve"], input="\n".join([*map(json.dumps, questions), ""]),
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    hello, *answers = map(json.loads, done.stdout.splitlines())
    assert not [*validator("hello").iter_errors(hello)]
    assert len(answers) == len(questions) - 1
    for question, answer in zip(questions[1:], answers, strict=True):
        assert not [*response.iter_errors(answer)], question
    said = " ".join(map(str, answers))
    assert all(word in said for word in ("unsupported", "released", "'image'", "'section'"))
