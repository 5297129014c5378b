"""Writing: what appears at the target, whole or not at all, and the same whoever takes the bytes."""

import gc
import io
import os
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import encode, payload, profiles, testing, writer
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS
from nnpack.writer import Writer
from tests import assemble as a
from tests.test_plugins import F32, KIND_FILE, Negative, Run, one

RUNS = np.arange(200_000, dtype=np.uint32) // 1000
NOISE = np.random.default_rng(1).integers(0, 256, 300_000, np.uint8)
GRAPH = {"inputs": [], "outputs": ["w"], "nodes": []}


def fill(file):
    """Write a section of every type."""
    file.add("w", F32)
    file.add("runs", RUNS)
    file.add("noise", NOISE)
    file.add("sparse", nnpack.Csr.from_numpy((RUNS % 7 == 0).astype(np.uint8), row_length=1000))
    file.add_alias("tied", "w")
    file.add_blob("text", b"tokens " * 100)
    file.add_graph("g", GRAPH)
    file.set_metadata({"k": "v"})


def written(use=fill, **options):
    target = io.BytesIO()
    with Writer(target, **options) as file:
        use(file)
    return target.getvalue()


def listing(path):
    return sorted(entry.name for entry in Path(path).iterdir())


# What cannot be


def opened(**options):
    return Writer(io.BytesIO(), **options)


def closed():
    file = opened()
    file.add("w", F32)
    file.close()
    return file


def used():
    file = opened()
    fill(file)
    return file


class Unnamed(Run):
    name = "run"


def nested(levels):
    value = nnpack.Dense(F32)
    for _ in range(levels - 1):
        value = nnpack.Concat([value], 0)
    return value


def wide(parts):
    row = nnpack.Concat([F32] * parts, 0)
    return nnpack.Concat([row, F32], 0)


ERRORS = {
    "profile": (lambda: opened(profile="tiny"), ValueError, r"no profile 'tiny'; there are raw, fast, balanced, small"),
    "alignment": (lambda: opened(alignment=48), ValueError, r"a power of two from 8 to 65536, not 48"),
    "alignment below": (lambda: opened(alignment=4), ValueError, r"not 4"),
    "alignment above": (lambda: opened(alignment=1 << 17), ValueError, r"not 131072"),
    "threads": (lambda: opened(threads=0), ValueError, r"at least one thread is needed, not 0"),
    "codec name": (lambda: opened(codecs={200: Unnamed()}), ValueError, r"the plug-in 'run' with id 200 needs an id from 128 to 255 and a reverse-DNS name"),
    "codec id": (lambda: opened(codecs={256: Run()}), ValueError, r"'org\.example\.run' with id 256"),
    "two names": (lambda: opened(codecs={200: Run()}, bindings={(5, 200): "a.b"}), ValueError, r"a\.b and org\.example\.run cannot both have id 200"),
    "directory": (lambda: Writer("/nonexistent/m.nnpk"), FileNotFoundError, r"nonexistent"),
    "empty name": (lambda: opened().add("", F32), ValueError, r"a name takes 1 to 1024 bytes, not 0"),
    "long name": (lambda: opened().add("é" * 513, F32), ValueError, r"not 1026"),
    "surrogate": (lambda: opened().add("\ud800", F32), ValueError, r"'\\ud800' is not Unicode text"),
    "line feed": (lambda: opened().add_blob("a\nb", b""), ValueError, r"'a\\nb' holds the character '\\n'"),
    "direction": (lambda: opened().add_graph("\u202e", GRAPH), ValueError, r"holds the character '\\u202e'"),
    "same name": (lambda: used().add("w", F32), ValueError, r"the file has a section called 'w' already"),
    "name of an alias": (lambda: used().add_blob("tied", b""), ValueError, r"called 'tied' already"),
    "name of a blob": (lambda: used().add_graph("text", GRAPH), ValueError, r"called 'text' already"),
    "name of a graph": (lambda: used().add_alias("g", "w"), ValueError, r"called 'g' already"),
    "alias of nothing": (lambda: used().add_alias("x", "y"), ValueError, r"an alias needs a tensor written before it; 'y' is none"),
    "alias of an alias": (lambda: used().add_alias("x", "tied"), ValueError, r"'tied' is none"),
    "alias of a blob": (lambda: used().add_alias("x", "text"), ValueError, r"'text' is none"),
    "alias of itself": (lambda: used().add_alias("x", "x"), ValueError, r"'x' is none"),
    "tensor after close": (lambda: closed().add("v", F32), ValueError, r"the file is closed"),
    "alias after close": (lambda: closed().add_alias("v", "w"), ValueError, r"the file is closed"),
    "blob after close": (lambda: closed().add_blob("v", b""), ValueError, r"the file is closed"),
    "graph after close": (lambda: closed().add_graph("v", GRAPH), ValueError, r"the file is closed"),
    "section after close": (lambda: closed()._section(a.BLOB, "v", b""), ValueError, r"the file is closed"),
    "graph": (lambda: opened().add_graph("g", {}), ValueError, r"inputs is missing"),
    "graph of tuples": (lambda: opened().add_graph("g", {**GRAPH, "nodes": ()}), ValueError, r"a list is needed"),
    "graph of NaN": (lambda: opened().add_graph("g", {**GRAPH, "name": float("nan")}), ValueError, r"JSON has no nan"),
    "graph of nothing": (lambda: written(lambda f: f.add_graph("g", GRAPH)), ValueError, r"a graph uses 'w', which no node, input or tensor gives"),
    "metadata": (lambda: opened().set_metadata({"a": object()}), TypeError, r"JSON has no object"),
    "metadata list": (lambda: opened().set_metadata([1]), TypeError, r"."),
    "array": (lambda: opened().add("w", np.array([None])), TypeError, r"cannot be stored"),
    "depth": (lambda: opened().add("w", nested(9)), ValueError, r"a tensor has at most 8 levels and 64 nodes"),
    "nodes": (lambda: opened().add("w", wide(62)), ValueError, r"at most 8 levels and 64 nodes"),
    "unsupported": (lambda: opened().add("w", nnpack.open(UNKNOWN)["u"]), nnpack.UnsupportedError, r"codec 99"),
}  # fmt: skip
UNKNOWN = a.assemble(one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([b"abcd"], codecs=(99,))), b"abcd", alignment=5))  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_what_cannot_be_written(what):
    call, kind, message = ERRORS[what]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("what", ["metadata after close", "a reserved key", "no target"])
def test_what_should_not_be_written(what):
    with pytest.raises((ValueError, TypeError), match=r"."):
        {
            "metadata after close": lambda: closed().set_metadata({"a": 1}),
            "a reserved key": lambda: opened().set_metadata({"nnpack.mine": 1}),  # R-JSN-012
            "no target": lambda: Writer(5),
        }[what]()


def test_the_limits_of_trees():
    for value in (nested(8), wide(61)):
        assert nnpack.open(testing.file_of({"w": value}))["w"].read().shape == value.shape


def test_the_limits_of_files(monkeypatch):
    monkeypatch.setattr(writer, "MAX_SECTIONS", 4)
    file = opened()
    for name in "abc":
        file.add_blob(name, b"")
    with pytest.raises(ValueError, match="a file has fewer than 4 sections"):
        file.add_blob("d", b"")
    monkeypatch.setattr(writer, "MAX_HEAD", 79)
    with pytest.raises(ValueError, match="the head of 'w' passes 64 MiB: split the tensor"):
        opened().add("w", F32)


def test_a_refused_section_leaves_the_file_as_it_was():
    class Failing:
        shape, dtype = (600_000,), np.dtype("f8")

        def __getitem__(self, key):
            if key[0].start:
                raise KeyError(key)
            return np.zeros(key[0].stop - key[0].start)

    target = io.BytesIO()
    with Writer(target) as file:
        file.add("w", F32)
        for value in (Failing(), np.array(["x"]), nested(9)):
            with pytest.raises((KeyError, TypeError, ValueError)):
                file.add("v", value)
        with pytest.raises(ValueError, match="inputs is missing"):
            file.add_graph("v", {})
        file.add("v", F32)
    assert target.getvalue() == testing.file_of({"w": F32, "v": F32})


# What appears at a path


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, SystemExit])
def test_nothing_appears_on_an_exception(tmp_path, old, kind):
    path = tmp_path / "m.nnpk"
    if old:
        path.write_bytes(old)
    before = listing(tmp_path)
    file = Writer(path)

    def interrupted():
        with file:
            fill(file)
            assert len(listing(tmp_path)) == len(before) + 1
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert listing(tmp_path) == before
    assert not old or path.read_bytes() == old
    with pytest.raises(ValueError, match="the file is closed"):
        file.add("x", F32)


def test_nothing_appears_where_closing_fails(tmp_path):
    path = tmp_path / "m.nnpk"
    with pytest.raises(ValueError, match="a graph uses 'w'"), Writer(path) as file:
        file.add_graph("g", GRAPH)
    (tmp_path / "d").mkdir()
    with pytest.raises(IsADirectoryError), Writer(tmp_path / "d") as file:
        file.add("w", F32)
    file = Writer(path)
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        file.close()
    assert listing(tmp_path) == ["d", "m.nnpk"]


def test_closing_and_discarding_again_does_nothing(tmp_path):
    path = tmp_path / "m.nnpk"
    file = Writer(path)
    file.discard()
    file.discard()
    file.close()
    assert listing(tmp_path) == []
    file = Writer(path)
    file.add("w", F32)
    assert file.root is None
    file.close()
    file.close()
    file.discard()
    assert listing(tmp_path) == ["m.nnpk"]
    assert path.read_bytes() == testing.file_of({"w": F32})


def test_two_writers_at_one_path(tmp_path):
    path = tmp_path / "m.nnpk"
    with Writer(path) as first, Writer(path) as second:
        first.add("first", F32)
        second.add("second", F32)
        assert len(listing(tmp_path)) == 2
    assert [*nnpack.load_file(path)] == ["first"]
    assert listing(tmp_path) == ["m.nnpk"]


def test_a_file_is_rewritten_from_itself(tmp_path):
    path = tmp_path / "m.nnpk"
    nnpack.save_file({"w": F32, "runs": RUNS}, path)
    with nnpack.open(path) as reader, Writer(path, profile="raw") as file:
        for name, tensor in reader.items():
            file.add(name, tensor)
    assert path.read_bytes() == testing.file_of({"w": F32, "runs": RUNS}, profile="raw")


@pytest.mark.parametrize(
    ("mask", "old", "wanted"), [(0o027, None, 0o640), (0, None, 0o666), (0o077, 0o604, 0o604)]
)
def test_mode(tmp_path, mask, old, wanted):
    path = tmp_path / "m.nnpk"
    if old:
        path.touch()
        path.chmod(old)
    before = os.umask(mask)
    try:
        nnpack.save_file({"w": F32}, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == wanted


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    for target in ("there/m.nnpk", "there/new.nnpk"):
        link = tmp_path / Path(target).name
        link.symlink_to(target)
        if target != "there/new.nnpk":
            link.write_bytes(b"old")
        nnpack.save_file({"w": F32}, link)
        assert link.is_symlink()
        assert [*nnpack.load_file(tmp_path / target)] == ["w"]
    assert listing(tmp_path / "there") == ["m.nnpk", "new.nnpk"]


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Writer("m.nnpk")
    (tmp_path / "d").mkdir()
    monkeypatch.chdir("d")
    file.close()
    assert (listing(tmp_path), listing(tmp_path / "d")) == (["d", "m.nnpk"], [])


def test_a_name_as_long_as_can_be(tmp_path):
    path = tmp_path / ("漢" * 83 + ".nnpk")
    path.touch()
    nnpack.save_file({"w": F32}, path)
    assert [*nnpack.load_file(path)] == ["w"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        nnpack.save_file({"w": F32}, path)
    except (OSError, ValueError):
        pass
    finally:
        os.close(end)
    assert stat.S_ISFIFO(path.stat().st_mode)


# Every process here patches what reaches the disk: unbuffered writes, fsync, rename.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import nnpack

folder, path = Path(sys.argv[1]), Path(sys.argv[1]) / "m.nnpk"
left = 0

def step(call):
    def counted(*given):
        global left
        left -= 1
        if not left:
            if len(given) == 2 and isinstance(given[1], memoryview):
                call(given[0], given[1][: len(given[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*given)
    return counted

class File:
    def __init__(self, descriptor):
        self.descriptor = descriptor
    def write(self, data):
        return os.write(self.descriptor, data)
    def flush(self): pass
    def fileno(self): return self.descriptor
    def close(self): os.close(self.descriptor)

def write():
    os.fdopen = lambda descriptor, *_, **__: File(descriptor)
    os.write, os.replace = step(os.write), step(os.replace)
    os.fsync = step(lambda _: None)  # a process that dies takes no cache with it
    with nnpack.Writer(path, digests=True, threads=1) as file:
        file.add("w", np.arange(5000, dtype=np.float32))
        file.add_alias("v", "w")
        file.set_metadata({"a": 1})

def run(number):
    global left
    left = number
    child = os.fork()
    if not child:
        write()
        os._exit(0)
    return os.waitpid(child, 0)[1]

nnpack.save({"w": np.arange(5000)})  # so that the children need not import the codecs
assert run(0) == 0
new = path.read_bytes()
for old in (None, b"old"):
    number, seen = 1, set()
    while True:
        path.unlink() if old is None and path.exists() else old and path.write_bytes(old)
        status = run(number)
        found = path.read_bytes() if path.exists() else None
        assert found in (old, new), (number, found)
        seen.add(found)
        for other in folder.iterdir():
            if other != path:
                assert other.name.startswith(".m.nnpk.") and other.suffix == ".tmp", other
                other.unlink()
        if not status:
            break
        assert status == signal.SIGKILL
        number += 1
    assert seen == {old, new} and number > 9, number
print(len(new), number)
"""

FULL = """
import os, resource, sys
from pathlib import Path
import numpy as np
import nnpack

path = Path(sys.argv[1]) / "m.nnpk"
for old in (None, b"old"):
    for size in (0, 10, 5000, 1 << 20, (2 << 20) + 3, 3_000_000):
        for data in (np.arange(750_000, dtype=np.float32), np.zeros(0)):
            if old is not None:
                path.write_bytes(old)
            child = os.fork()
            if not child:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                try:
                    with nnpack.Writer(path, profile="raw") as file:
                        file.add("w", data)
                except OSError as bad:
                    os._exit(bad.errno)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if data.size or size < 100:
                assert status == 27, (status, size)  # EFBIG
                assert (path.read_bytes() if path.exists() else None) == old
            else:
                assert status == 0
                nnpack.load_file(path)
                path.unlink()
            assert {*os.listdir(path.parent)} <= {"m.nnpk"}
print("done")
"""


def run(program, *given):
    command = [sys.executable, "-c", program, *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_may_die_at_any_call(tmp_path):
    assert int(run(KILLED, tmp_path).split()[1]) > 9


def test_a_disk_may_be_full_at_any_byte(tmp_path):
    assert run(FULL, tmp_path) == "done\n"


# Sinks


class Plain:
    """Something with nothing but write, as a socket's file."""

    def __init__(self, result):
        self.data, self._result = bytearray(), result

    def write(self, data):
        count = self._result(len(data))
        self.data += data[:count]
        return count


SINKS = {
    "all": Plain(lambda size: size),
    "one byte": Plain(lambda size: min(size, 1)),
    "a few bytes": Plain(lambda size: min(size, 4097)),
    "none": Plain(lambda _: None),
}


@pytest.mark.parametrize("what", SINKS)
def test_sink(what):
    sink, profile = SINKS[what], "raw" if what != "one byte" else "balanced"
    with Writer(sink, profile=profile, digests=True) as file:
        fill(file)
    assert sink.data == written(profile=profile, digests=True)


def test_pipe():
    ends = os.pipe()
    found = []

    def read():
        with os.fdopen(ends[0], "rb") as pipe:
            for kind, name, value in nnpack.read_stream(pipe):
                found.append((kind, name, value.read() if kind == "tensor" else value))

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(ends[1], "wb", buffering=0) as pipe, Writer(pipe, profile="raw") as file:
        fill(file)
    thread.join()
    assert [(kind, name) for kind, name, _ in found] == [
        ("tensor", "w"), ("tensor", "runs"), ("tensor", "noise"), ("tensor", "sparse"), ("alias", "tied"),
        ("blob", "text"), ("graph", "g"), ("metadata", "")]  # fmt: skip
    assert testing.same_bits(found[2][2], NOISE)


def test_a_pipe_without_a_reader():
    ends = os.pipe()
    os.close(ends[0])
    with (
        os.fdopen(ends[1], "wb", buffering=0) as pipe,
        pytest.raises(BrokenPipeError),
        Writer(pipe),
    ):
        pass


class Full(io.BytesIO):
    """A sink that refuses one write."""

    def __init__(self, refused):
        super().__init__()
        self.left = refused

    def write(self, data):
        self.left -= 1
        if not self.left:
            raise OSError(28, "No space left on device")
        return super().write(data)


def write_two(sink):
    with Writer(sink, profile="raw") as file:
        file.add("w", F32)
        file.add("v", F32)


def test_a_failing_write_is_raised_and_nothing_more_is_written():
    for refused in range(1, 6):
        sink = Full(refused)
        with pytest.raises(OSError, match="No space left"):
            write_two(sink)
        assert sink.left == 0


def test_a_file_with_a_failed_write_is_never_finished():
    sink = Full(3)
    try:
        with Writer(sink, profile="raw") as file:
            file.add("w", F32)
            with pytest.raises(OSError, match="No space left"):
                file.add("v", F32)
    except (OSError, ValueError):
        return
    nnpack.load(sink.getvalue())


def test_a_sink_that_takes_nothing_is_an_error():
    class Stuck:
        calls = 0

        def write(self, _):
            self.calls += 1
            if self.calls > 1000:
                raise RecursionError
            return 0

    with pytest.raises(OSError, match=r"."):
        Writer(Stuck())


# What is written


def test_nothing_changes_the_bytes():
    for profile in ("raw", "balanced"):
        wanted = written(profile=profile)
        for threads in (1, 2, 5, None):
            assert written(profile=profile, threads=threads) == wanted
        assert written(profile=profile, codecs=CODECS) == wanted
    assert written() != written(profile="raw")
    assert nnpack.save({"w": F32}, {"a": 1}) == testing.file_of({"w": F32}, {"a": 1})


def test_the_functions_of_safetensors_shape(tmp_path):
    path = tmp_path / "m.nnpk"
    nnpack.save_file({"b": F32, "a": RUNS}, path, {"k": 1}, profile="raw")
    assert path.read_bytes() == testing.file_of({"b": F32, "a": RUNS}, {"k": 1}, profile="raw")
    assert [*nnpack.load_file(path)] == [*nnpack.load(path.read_bytes())] == ["b", "a"]
    assert nnpack.load(nnpack.save({})) == {}


def test_profiles():
    raw, balanced = written(profile="raw"), written(profile="balanced")
    with nnpack.open(raw) as one_file, nnpack.open(balanced) as other:
        for name in one_file:
            first, second = one_file[name], other[name]
            assert testing.same_bits(first.read(), second.read())
            assert first.digest() == second.digest()
            if first.kind == "dense":
                assert first.node.source.head.is_raw
                assert first.stored_nbytes == first.nbytes
        assert other["runs"].stored_nbytes < one_file["runs"].nbytes // 20
        assert (other["noise"].node.source.head.is_raw, other["w"].node.source.head.is_raw) == (
            True,
            True,
        )
    assert len(balanced) < len(raw) // 2


CHOICES = {
    "ascending": (np.cumsum(NOISE, dtype=np.uint64), 2),
    "descending": (np.arange(30_000, 0, -3, dtype=np.int16), 2),
    "weights": (np.random.default_rng(2).normal(size=50_000).astype(np.float32), 3),
    "complex": (RUNS.astype(np.complex128), 0),
    "small integers": (NOISE // 8, 3),
    "noise": (NOISE, 0),
    "narrow": (nnpack.Dense(NOISE // 128, "uint1"), 0),
    "narrow runs": (nnpack.Dense((RUNS % 2).astype(np.uint8), "uint3"), 1),
    "short": (np.zeros(63, np.uint8), 0),
    "many blocks": (np.arange(3 << 20).astype(np.uint16), 2),
}


@pytest.mark.parametrize("what", CHOICES)
def test_choice_of_transform(what):
    value, transform = CHOICES[what]
    tensor = nnpack.open(testing.file_of({"w": value}))["w"]
    assert transform == tensor.node.source.head.transform
    assert tensor.stored_nbytes <= tensor.nbytes
    assert testing.same_bits(tensor.read(), np.asarray(value))


@pytest.mark.parametrize("log2", range(3, 17))
def test_alignment(tmp_path, log2):
    path = tmp_path / "m.nnpk"
    sparse = nnpack.Csr.from_numpy(np.eye(90, dtype=np.float32))
    with Writer(path, profile="raw", alignment=1 << log2) as file:
        file.add("odd", np.arange(3, dtype=np.uint8))
        file.add("w", RUNS)
        file.add("sparse", sparse)
        file.add("empty", np.zeros((0, 4)))
    with nnpack.open(path) as reader:
        for name in ("odd", "w", "empty"):
            tensor = reader[name]
            assert tensor.section.alignment == (log2 if tensor.size else 3)
            view = tensor.view()
            assert view.ctypes.data % min(1 << log2, 4096) == 0 or not tensor.size
            assert testing.same_bits(view, tensor.read())
        starts = [leaf.source.start for _, leaf in reader["sparse"].node.parts()]
        assert [start % (1 << log2) for start in starts] == [0, 0, 0]


def test_alignment_of_its_own():
    reader = nnpack.open(written(profile="raw"))
    found = {
        section.name: section.alignment for section in reader.sections if section.type == a.TENSOR
    }
    assert found == {"w": 3, "runs": 6, "noise": 6, "sparse": 6}
    edges = {"below": np.zeros(4095, np.uint8), "at": np.zeros(4096, np.uint8)}
    sections = nnpack.open(testing.file_of(edges, profile="raw")).sections
    assert [section.alignment for section in sections] == [3, 6]
    coded = nnpack.open(testing.file_of({"w": np.zeros(9999)})).sections
    assert coded[0].alignment == 3


def test_blocks():
    """SPEC 13.3: 2^18 cells, and blocks of at most 8 MiB."""
    for value, log2 in (
        (NOISE, 18),
        (np.zeros(1, np.complex128), 18),
        (np.zeros((1 << 17) + 1), 18),
    ):
        source = nnpack.open(testing.file_of({"w": value}, profile="raw"))["w"].node.source
        assert source.head.log2 == log2
        assert len(source.head.table) == -(-value.size >> log2) or len(source.head.table) == -(
            -value.size // (1 << log2)
        )
    for dtype, cells, log2 in (
        ("uint8", (1 << 30) + 1, 20),
        ("uint8", 1 << 30, 18),
        ("complex128", 1 << 27, 19),
    ):
        assert profiles.raw_plan(nnpack.dtypes.BY_NAME[dtype], cells).log2 == log2


class Lazy:
    """An array that can only be sliced."""

    def __init__(self, array):
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __getitem__(self, key):
        return self._array[key]


def test_a_lazy_array_is_written_as_the_array_that_it_is():
    for profile in ("raw", "balanced"):
        for array in (RUNS.reshape(40, -1), NOISE, F32, np.zeros((3, 0))):
            assert testing.file_of({"w": Lazy(array)}, profile=profile) == testing.file_of(
                {"w": array}, profile=profile
            )


@pytest.mark.parametrize("limit", [0, 1000, 100_000, 300_000])
def test_what_waits_on_disk_is_the_same(tmp_path, monkeypatch, limit):
    wanted = {profile: written(profile=profile) for profile in ("raw", "balanced")}
    monkeypatch.setattr(payload, "SPOOL", limit)
    for profile, data in wanted.items():
        assert written(profile=profile) == data
        assert testing.file_of({"w": Lazy(NOISE)}, profile=profile, threads=1) == testing.file_of(
            {"w": NOISE}, profile=profile
        )
        path = tmp_path / "m.nnpk"
        with Writer(path, profile=profile) as file:
            fill(file)
        assert path.read_bytes() == data
    assert listing(tmp_path) == ["m.nnpk"]


def test_what_waits_on_disk_is_closed_when_writing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(payload, "SPOOL", 1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for refused in (2, 3, 4):
            with (
                pytest.raises(OSError, match="No space"),
                Writer(Full(refused), profile="raw") as file,
            ):
                file.add("w", Lazy(NOISE))
        gc.collect()
    assert [warning.category for warning in caught] == []


def test_blocks_are_encoded_ahead_in_order(monkeypatch):
    wanted = testing.file_of({"w": NOISE}, planner=small, threads=1)
    for ahead in (0, 5000, 8 << 20):
        monkeypatch.setattr(encode, "AHEAD", ahead)
        assert testing.file_of({"w": NOISE}, planner=small, threads=3) == wanted


def small(_):
    return testing.Plan(TRANSFORMS[0], (CODECS[1],), 10)


def test_digests_at_the_edge_of_a_piece():
    def data_of(size):
        return written(lambda file: file.add_blob("b", bytes(size)), profile="raw", digests=True)

    size = (1 << 20) - 200
    size += (1 << 20) - nnpack.open(data_of(size)).sections[-1].offset
    for more, pieces in ((0, 1), (8, 2)):
        data = data_of(size + more)
        reader = nnpack.open(data)
        assert (reader.sections[-1].offset, reader.sections[-1].payload_length) == (
            (1 << 20) + more,
            32 * pieces,
        )
        assert len(nnpack.open(data, expect=reader.root).blobs["b"]) == size + more


def test_the_root_that_the_writer_knows():
    sink = io.BytesIO()
    file = Writer(sink, digests=True)
    fill(file)
    assert file.root is None
    file.close()
    assert nnpack.open(sink.getvalue(), expect=file.root).root == file.root
    assert written(digests=True) == sink.getvalue()


# Plug-ins and copies


def test_private_names_are_bound_first():
    data = written(lambda _: None, codecs={201: Run()}, kinds={130: Negative})
    body = b"\2\x82\x14\0org.example.negative" + b"\5\xc9\x0f\0org.example.run" + bytes(5)
    (section,) = nnpack.open(data).sections
    assert (section.type, section.body) == (a.NAMES, body)
    assert nnpack.open(data).bindings == {
        (2, 130): "org.example.negative",
        (5, 201): "org.example.run",
    }
    assert KIND_FILE[16 + 32 : 16 + 32 + 24] == body[:24]
    only = written(lambda _: None, bindings={(3, 200): "a.b"})
    assert nnpack.open(only).bindings == {(3, 200): "a.b"}


@pytest.mark.parametrize("what", ["kind", "codec", "codec under another number"])
def test_a_private_id_is_not_written_without_its_name(what):
    plan = testing.Plan(TRANSFORMS[0], (Run(),), 18)
    zeros = np.zeros(99, np.uint8)
    with pytest.raises(ValueError, match=r"."):
        {
            "kind": lambda: testing.file_of({"w": Negative(nnpack.Dense(F32), 0)}),
            "codec": lambda: testing.file_of({"w": zeros}, planner=lambda _: plan),
            "codec under another number": lambda: testing.file_of(
                {"w": zeros}, planner=lambda _: plan, codecs={201: Run()}
            ),
        }[what]()


def test_tensors_of_files_are_written_as_values():
    data = written()
    again = written(
        lambda file: [file.add(name, tensor) for name, tensor in nnpack.open(data).items()]
    )
    for name, tensor in nnpack.open(data).items():
        assert nnpack.open(again)[name].digest() == tensor.digest()


def test_a_missing_folder_is_named_as_the_caller_named_it(tmp_path):
    target = tmp_path / "none" / "t.nnpk"
    with pytest.raises(FileNotFoundError) as caught:
        nnpack.Writer(target)
    assert caught.value.filename == str(target)


def test_json_texts_are_kept_as_they_are():
    text = ' {"b" : [1, 2.50, "\\u00e4"],\n  "a": 1e2}\n'
    graph = '{"nodes": [], "outputs": [],   "inputs": ["x"]}'
    out = io.BytesIO()
    with nnpack.Writer(out, profile="raw") as writer:
        writer.add_graph("g", graph)
        writer.set_metadata(text)
    assert text.encode() in out.getvalue()
    assert graph.encode() in out.getvalue()
    with nnpack.open(out.getvalue()) as reader:
        assert reader.metadata == {"a": 100.0, "b": [1, 2.5, "ä"]}
        assert reader.graphs["g"]["inputs"] == ["x"]
    for bad in ('{"a": 1, "a": 2}', "[]", "{", '{"nnpack.mine": 1}', '{"a": "\\ud800"}', "\ud800"):
        with pytest.raises(ValueError, match=r"."):
            nnpack.Writer(io.BytesIO()).set_metadata(bad)
    with pytest.raises(ValueError, match="inputs"):
        nnpack.Writer(io.BytesIO()).add_graph("g", "{}")
