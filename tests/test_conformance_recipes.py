"""Vectors too large to be committed: the smallest of them are made, are as listed, and run."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from conformance.generator.__main__ import recipes, write
from conformance.generator.recipes import container, elements
from conformance.runner.main import main

KIT = Path(__file__).parent.parent / "conformance"
LISTED = json.loads((KIT / "recipes.json").read_text())["vectors"]


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


def test_all_ids_say_that_they_are_recipes():
    assert {row["id"].split("/")[1] for row in LISTED} == {"large"}
    committed = json.loads((KIT / "manifest.json").read_text())["vectors"]
    assert not {row["id"] for row in LISTED} & {row["id"] for row in committed}
