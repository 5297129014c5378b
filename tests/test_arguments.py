"""Arguments of readers and writers that cannot be, and files that nobody closes."""
# ruff: noqa: S603

import gc
import io
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import arguments, atomic, testing
from nnpack.atomic import AtomicFile
from nnpack.explain import explain

DATA = nnpack.save({"w": np.arange(3, dtype=np.uint8)})


class Codec(nnpack.abc.Codec):
    id, name = 200, "org.example.none"

    def encode(self, data):
        raise NotImplementedError

    def decode(self, data, out):
        raise NotImplementedError


def opened(**options):
    with nnpack.open(DATA, **options) as reader:
        return reader.load()


def streamed(file, **options):
    return [item.name for item in nnpack.read_stream(file, **options)]


def with_text(folder, call):
    with Path(folder, "text").open("w+", encoding="utf-8") as file:
        call(file)


# what: (call, message); all are TypeErrors, and at once
TYPES = {
    "limits": (lambda _: opened(limits=10), r"limits= is an nnpack\.Limits, such as Limits\(memory=1 << 30\), not 10"),
    "limits of nothing": (lambda _: opened(limits=0), r"limits= is an nnpack\.Limits, .* not 0"),
    "limits of a stream": (lambda _: nnpack.read_stream(io.BytesIO(DATA), limits={}), r"limits= is .* not \{\}"),
    "limits of explain": (lambda _: explain(DATA, limits=5), r"limits= is .* not 5"),
    "kinds": (lambda _: opened(kinds=3), r"kinds= maps ids to plug-ins, as \{200: MyKind\} does, not 3"),
    "kinds of a stream": (lambda _: nnpack.read_stream(io.BytesIO(DATA), kinds=3), r"kinds= maps"),
    "codecs": (lambda _: opened(codecs=[1]), r"codecs= maps ids to plug-ins, as \{200: MyCodec\(\)\} does, not \[1\]"),
    "codecs of a writer": (lambda _: nnpack.Writer(io.BytesIO(), codecs=[1]), r"codecs= maps"),
    "codec by name": (lambda _: opened(codecs={"a": 1}), r"the id of a codec is an int, not 'a'"),
    "codec class": (lambda _: opened(codecs={200: Codec}), r"codecs\[200\] is a class: pass an instance, Codec\(\)"),
    "kind": (lambda _: opened(kinds={200: 1}), r"kinds\[200\] is a class, not 1"),
    "kind id": (lambda _: opened(kinds={2.5: int}), r"the id of a kind is an int or, for a decoder, a str, not 2\.5"),
    "kind of a writer by name": (lambda _: nnpack.Writer(io.BytesIO(), kinds={"x": print}), r"the id of a kind is an int, not 'x'"),
    "decoder": (lambda _: opened(kinds={"org.x": 5}), r"kinds\['org\.x'\] decodes: it is a function, not 5"),
    "threads": (lambda _: opened(threads="2"), r"threads is a whole number, not '2'"),
    "threads of a writer": (lambda _: nnpack.Writer(io.BytesIO(), threads=1.5), r"threads is a whole number, not 1\.5"),
    "text": (lambda _: nnpack.open(io.StringIO("x")), r"gives text: pass a binary file, as open\(path, 'rb'\) does"),
    "text file": (lambda at: with_text(at, nnpack.open), r"gives text"),
    "text stream": (lambda _: nnpack.read_stream(io.StringIO("x")), r"gives text"),
    "text target": (lambda _: nnpack.Writer(io.StringIO()), r"takes text: pass a path, or open\(path, 'wb'\)"),
    "text file as a target": (lambda at: with_text(at, nnpack.Writer), r"takes text"),
    "target": (lambda _: nnpack.Writer(5), r"a path or an object with write is needed, not 5"),
    "path of a stream": (lambda _: nnpack.read_stream("model.nnpk"), r"'model\.nnpk' is a path: use nnpack\.open\(path\), or pass a file"),
    "bytes of a stream": (lambda _: nnpack.read_stream(DATA), r"bytes are no file: use nnpack\.open\(data\), or pass io\.BytesIO"),
    "number of a stream": (lambda _: nnpack.read_stream(5), r"a binary file, with read, is needed, not 5"),
    "pipe": (lambda _: nnpack.open(Pipe()), r"is needed, not <.*Pipe.*>; read_stream\(\) reads pipes"),
}  # fmt: skip


class Pipe:
    def read(self, size):
        raise AssertionError(size)


@pytest.mark.parametrize("what", TYPES)
def test_what_it_is_not_is_said(what, tmp_path):
    call, message = TYPES[what]
    with pytest.raises(TypeError, match=message):
        call(tmp_path)


def test_what_may_be():
    wanted = np.arange(3)
    assert (
        opened(limits=nnpack.Limits(), threads=np.int64(1), codecs={}, kinds={})["w"] == wanted
    ).all()
    assert (
        opened(codecs={200: Codec()}, kinds={200: nnpack.Dense, "org.x": print})["w"] == wanted
    ).all()
    assert streamed(io.BytesIO(DATA), limits=nnpack.Limits()) == ["w"]
    with (
        tempfile.TemporaryFile() as file,
        tempfile.NamedTemporaryFile() as named,
        tempfile.SpooledTemporaryFile(9) as spooled,
    ):
        for target in (file, named, spooled):
            with nnpack.Writer(target) as writer:
                writer.add("w", wanted)
            target.seek(0)
            assert streamed(target) == ["w"]
            assert nnpack.open(target)["w"].shape == (3,)
    with pytest.raises(ValueError, match="at least one thread is needed, not 0"):
        opened(threads=0)
    with pytest.raises(TypeError, match="gives text"), tempfile.NamedTemporaryFile("w") as named:
        arguments.check_binary_reader(named)


def test_a_file_that_is_forgotten_goes(tmp_path):
    target = tmp_path / "m.nnpk"
    target.write_bytes(b"before")
    file = AtomicFile(target)
    file.file.write(b"half")
    assert len([*tmp_path.iterdir()]) == 2
    with pytest.warns(ResourceWarning, match=r"m\.nnpk was never closed: nothing is written there"):
        del file
    assert [*tmp_path.iterdir()] == [target]
    assert target.read_bytes() == b"before"


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_a_large_file_is_whole_though_the_disk_began_early(tmp_path, monkeypatch, told):
    begun = []

    def begin(_file, at, size, _advice):
        begun.append((at, at + size))

    monkeypatch.setattr(atomic, "_begin", begin if told else None)
    wanted = np.arange(5 << 20, dtype=np.uint32)
    nnpack.save_file({"a": wanted, "b": wanted[::-1]}, tmp_path / "m.nnpk", profile="raw")
    found = nnpack.load_file(tmp_path / "m.nnpk")
    assert np.array_equal(found["a"], wanted)
    assert np.array_equal(found["b"], wanted[::-1])
    assert [at for at, _ in begun] == [0, *(end for _, end in begun)][: len(begun)]
    assert len(begun) == (2 if told else 0)


def test_a_file_that_is_finished_is_not_warned_about(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with AtomicFile(tmp_path / "a") as file:
            file.write(b"all")
        with pytest.raises(KeyError), AtomicFile(tmp_path / "b") as file:
            raise KeyError
        gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


PROGRAM = """
import os, sys
from nnpack.atomic import AtomicFile
file = AtomicFile(sys.argv[1])
file.file.write(b"all of it")
if sys.argv[2] == "fork":
    file.file.flush()
    child = os.fork()
    if not child:
        sys.exit()
    os.waitpid(child, 0)
    file.commit()
"""


@pytest.mark.parametrize("how", ["exit", "fork"])
def test_the_end_of_a_process_leaves_nothing_but_to_its_parent(tmp_path, how):
    command = [sys.executable, "-W", "default::ResourceWarning", "-c", PROGRAM]
    done = subprocess.run(
        [*command, str(tmp_path / "m.nnpk"), how], capture_output=True, check=True
    )
    left = [path.name for path in tmp_path.iterdir()]
    if how == "exit":
        assert left == []
        assert b"m.nnpk was never closed" in done.stderr
    else:
        assert left == ["m.nnpk"]
        assert tmp_path.joinpath("m.nnpk").read_bytes() == b"all of it"
        assert b"never closed" not in done.stderr


def test_messages_stay_short():
    assert len(str(nnpack.errors.shown("x" * 1000))) == 80
    assert nnpack.errors.shown(np.zeros((2, 3))) == "an array of float64 of shape (2, 3)"
    assert "\n" not in nnpack.errors.shown(Lines())
    assert testing.same_bits(opened()["w"], np.arange(3, dtype=np.uint8))


class Lines:
    def __repr__(self):
        return "a\n b"
