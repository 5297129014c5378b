"""Vectors too large to be committed: the smallest of them are made, are as listed, and run."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

from conformance.generator.__main__ import recipes, write
from conformance.generator.recipes import container, elements
from conformance.runner.main import main
from conformance.runner.vectors import matches

KIT = Path(__file__).parent.parent / "conformance"
LISTED, COMMITTED = (
    json.loads((KIT / f"{name}.json").read_text())["vectors"] for name in ("recipes", "manifest")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    return folder, write([container.names(), *elements.counts()], folder)


def test_recipes_are_as_listed(made):
    folder, rows = made
    assert len(rows) == 4
    for row in rows:
        assert row in LISTED
        data = (folder / f"{row['id']}.nnpk").read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["size"], row["sha256"])


def test_a_recipe_never_replaces_a_file(made):
    with pytest.raises(FileExistsError):
        write([container.names()], made[0])


def test_the_runner_asks_about_recipes(made, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(KIT.parent))
    testee = [sys.executable, str(KIT / "shims/nnpack_reader.py")]
    assert main(["--vectors", str(made[0]), "--timeout", "20", "--", *testee]) == 0
    assert "4 vectors: 4 pass" in capsys.readouterr().out


def test_a_recipe_that_is_not_as_listed_is_noticed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("conformance.generator.__main__.RECIPES", [])
    assert recipes(tmp_path, check=True) == 1
    assert "0 vectors, 0 MiB, not as listed" in capsys.readouterr().out


def test_the_vectors_that_the_table_of_limits_names_exist():
    text = (KIT / "README.md").read_text()
    section = text.partition("## Limits and their vectors")[2].partition("\n## ")[0]
    ids = [row["id"] for row in (*LISTED, *COMMITTED)]
    named = re.findall(r"`((?:(?:valid|invalid|limits|encode)/)?[a-z]+/[a-z0-9*-]+)`", section)
    assert len(named) > 50
    for glob in named:
        whole = glob if glob.count("/") == 2 else f"valid/{glob}"
        assert any(matches(whole, one) for one in ids), glob


def test_all_ids_say_that_they_are_recipes():
    assert {row["id"].split("/")[1] for row in LISTED} == {"large"}
    assert not {row["id"] for row in LISTED} & {row["id"] for row in COMMITTED}
