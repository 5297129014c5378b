"""Where a file is written: a path, which has all of it or what was there before, and sinks."""

import gc
import io
import os
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import nnpack
from nnpack import payload, testing
from nnpack.writer import Writer
from tests.test_plugins import F32
from tests.test_writer import GRAPH, NOISE, RUNS, Lazy, fill, listing, written

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


def test_a_missing_folder_is_named_as_the_caller_named_it(tmp_path):
    target = tmp_path / "none" / "t.nnpk"
    with pytest.raises(FileNotFoundError) as caught:
        nnpack.Writer(target)
    assert caught.value.filename == str(target)


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
