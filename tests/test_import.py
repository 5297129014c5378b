"""What importing and opening costs: nothing heavy before it is needed, and never a pickle."""

import re
import subprocess
import sys

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS

HEAVY = ("numpy", "zstandard", "lz4", "ml_dtypes", "isal", "torch", "scipy", "pickle", "click", "rich", "hypothesis", "json",
         "cramjam", "lzokay", "concurrent.futures", "tempfile")  # fmt: skip
OPEN = "import nnpack, sys; nnpack.open(sys.argv[1])['w']"
READ = "import nnpack, sys; nnpack.open(sys.argv[1], threads=1)['w'].read()"
SAVE = "import nnpack, sys, numpy; nnpack.Writer(sys.argv[1] + '.new', profile='raw').add('w', numpy.zeros(9))"


def loaded(program, path="", without=()):
    """Return which of the heavy modules a program has loaded in the end."""
    block = "".join(f"import sys; sys.modules[{name!r}] = None\n" for name in without)
    ending = f"\nimport sys; print(*(name for name in {HEAVY!r} if sys.modules.get(name)))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{block}{program}{ending}", str(path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return {*done.stdout.split()}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("import") / "m.nnpk"
    path.write_bytes(testing.file_of({"w": np.arange(9, dtype=np.float32)}, profile="raw"))
    return path


def test_importing_nnpack_imports_next_to_nothing():
    assert loaded("import nnpack") == set()
    assert (
        loaded("import nnpack; nnpack.NnpackError; nnpack.__version__; nnpack.__all__; dir(nnpack)")
        == set()
    )


@pytest.mark.parametrize("program", [OPEN, READ, SAVE])
def test_a_raw_file_needs_no_codec(file, program):
    found = loaded(program, file)
    assert not found & {
        "zstandard",
        "lz4",
        "ml_dtypes",
        "torch",
        "scipy",
        "click",
        "rich",
        "hypothesis",
        "cramjam",
        "lzokay",
    }
    assert "numpy" in found


def test_a_codec_s_library_is_imported_when_it_decodes(tmp_path):
    path = tmp_path / "m.nnpk"
    path.write_bytes(
        testing.file_of(
            {"w": np.zeros(9000, np.uint8)},
            planner=lambda _: testing.Plan(TRANSFORMS[0], (CODECS[17],), 10),
        )
    )
    assert not loaded(OPEN, path) & {"cramjam", "lzokay"}
    assert loaded(READ, path) & {"cramjam", "lzokay"} == {"cramjam"}


@pytest.mark.parametrize("program", [OPEN, READ])
def test_nothing_of_nnpack_asks_for_pickle(file, program):
    own = loaded("import numpy, concurrent.futures, tempfile, mmap, json", file)
    assert "pickle" not in loaded(program, file) - own


def test_nnpack_works_without_isal(file):
    program = (
        "import nnpack, sys, zlib; from nnpack import wire; from nnpack.codecs import deflate\n"
        "assert wire.crc32 is zlib.crc32 and deflate.inflate is zlib\n"
        "assert nnpack.load_file(sys.argv[1])['w'].sum() == 36\n"
        "nnpack.load(nnpack.save({'w': __import__('numpy').zeros(9999)}))"
    )
    assert "isal" not in loaded(program, file, without=["isal"])


def test_every_public_name_is_there():
    assert nnpack.__all__ == sorted(nnpack.__all__)
    for name in nnpack.__all__:
        value = getattr(nnpack, name)
        assert value.__name__ == name
        assert value.__module__.startswith("nnpack.")
        assert getattr(nnpack, name) is value
    assert {*nnpack.__all__} <= {*dir(nnpack)}
    names: dict = {}
    exec("from nnpack import *", names)  # noqa: S102
    assert {*nnpack.__all__} <= {*names}
    assert re.fullmatch(r"\d+\.\d+\.\d+", nnpack.__version__)


def test_other_names_are_not():
    for name in ("nonsense", "np", "_nothing", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"module 'nnpack' has no attribute '{name}'"):
            getattr(nnpack, name)
    assert not hasattr(nnpack, "codec")


def test_dir_lists_every_public_name():
    loaded("import nnpack; assert {*nnpack.__all__} <= {*dir(nnpack)}")
