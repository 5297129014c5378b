"""What callers get wrong, and what they are told: always TypeError, ValueError or ImportError."""

import copy
import doctest
import importlib
import io
import pickle
import pkgutil
import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

import nnpack
from nnpack import nodes, testing
from nnpack.errors import Invalid, located
from tests import assemble as a

Codebook, Csr, Dense, Quantized = nnpack.Codebook, nnpack.Csr, nnpack.Dense, nnpack.Quantized
MASKED = np.ma.masked_array([1.0, 2.0], [True, False])
U8 = np.zeros(4, np.uint8)


class Lazy:
    def __init__(self, array, dtype=None):
        self.array, self.shape, self.dtype = array, array.shape, dtype or array.dtype

    def __getitem__(self, key):
        return self.array[key]


class Torch:
    """What a tensor of another library looks like from here."""

    shape = (2,)
    dtype = type("dtype", (), {"__repr__": lambda _: "torch.float32"})()

    def __getitem__(self, key):
        raise AssertionError


def add(name, value, **options):
    with nnpack.Writer(io.BytesIO()) as writer:
        writer.add(name, value, **options)


def written(call):
    with nnpack.Writer(io.BytesIO()) as writer:
        call(writer)


def scale(*shape):
    return np.ones(shape, np.float32)


# what: (call, exception, message)
MISTAKES = {
    "float indices": (lambda: Csr.from_arrays([0, 1], [0.7], [1.0], (1, 2)), TypeError, r"indices must be integers, not float64: use \.astype\('int64'\)"),
    "float indptr": (lambda: Csr.from_arrays([0.0, 1.0], [0], [1.0], (1, 2)), TypeError, r"indptr must be integers, not float64"),
    "bool indices": (lambda: Csr.from_arrays([0, 1], [True], [1.0], (1, 2)), TypeError, r"indices must be integers, not bool"),
    "indptr of rank 0": (lambda: Csr.from_arrays(0, [0], [1.0], (1, 2)), ValueError, r"indptr must be of rank 1, not of shape \(\)"),
    "wrapped indices": (lambda: Csr.from_arrays([0, 1], np.array([2**64 - 1], np.uint64), [1.0], (1, 2)), ValueError, r"out of range"),
    "matrix of rank 1": (lambda: Csr.from_arrays([0, 1], [0], [1.0], (2,)), ValueError, r"a shape of \(rows, columns\), not \(2,\)"),
    "from_scipy of an array": (lambda: Csr.from_scipy(np.eye(2)), TypeError, r"a scipy sparse matrix is needed, not ndarray: see Csr\.from_numpy"),
    "masked": (lambda: Dense(MASKED), TypeError, r"lose its mask: pass array\.filled\(value\)"),
    "masked data": (lambda: Csr.from_arrays([0, 2], [0, 1], MASKED, (1, 2)), TypeError, r"\.filled"),
    "masked matrix": (lambda: Csr.from_numpy(MASKED), TypeError, r"\.filled"),
    "masked cell": (lambda: nnpack.Constant(MASKED[1:], (3,), "float64"), TypeError, r"\.filled"),
    "masked slices": (lambda: add("w", Lazy(MASKED)), TypeError, r"'w': .*\.filled"),
    "lazy big-endian": (lambda: Dense(Lazy(np.zeros(3, ">f4"))), TypeError, r"a lazy array of >f4 is big-endian"),
    "lazy big-endian by name": (lambda: Dense(Lazy(np.zeros(3, ">f4")), "float32"), TypeError, r"big-endian"),
    "sparse": (lambda: Dense(sparse.eye_array(2).tocsr()), TypeError, r"use nnpack\.Csr\.from_scipy"),
    "sparse in a writer": (lambda: add("w", sparse.eye_array(2).tocoo()), TypeError, r"'w': .*Csr\.from_scipy"),
    "torch in a writer": (lambda: add("w", Torch()), TypeError, r"'w': arrays of torch\.float32 .* nnpack\.torch"),
    "object": (lambda: Dense([None]), TypeError, r"arrays of object cannot be stored: a tensor holds numbers; the README lists the element types$"),
    "long double": (lambda: Dense(np.zeros(1, np.longdouble)), TypeError, r"cannot be stored: use \.astype\('float64'\); the README"),
    "memory type": (lambda: Dense(scale(2), "uint8"), TypeError, r"uint8 is uint8 in memory, not float32: use \.astype\('uint8'\)"),
    "deleted": (lambda: delattr(Dense(U8), "shape"), AttributeError, r"Dense is frozen: shape cannot be deleted"),
    "out": (lambda: nnpack.open(nnpack.save({"w": U8}))["w"].read(out=[1]), TypeError, r"out is a numpy array, not list"),
    "scale a row": (lambda: Quantized(np.zeros((4, 6), np.int8), scale(4)), ValueError, r"scale for \(4,\) of 2 axes \(4, 6\): pass scale\[:, None\] for one a position of axis 0$"),
    "scale a column": (lambda: Quantized(np.zeros((4, 6), np.int8), scale(6)), ValueError, r"pass scale\[None, :\] for one a position of axis 1$"),
    "scale of a square": (lambda: Quantized(np.zeros((4, 4), np.int8), scale(4)), ValueError, r"scale\[:, None\] .* or scale\[None, :\]"),
    "table a row": (lambda: Codebook(scale(4, 2), np.zeros((4, 6), np.uint8)), ValueError, r"pass table\[:, None\]"),
    "block of one": (lambda: Quantized(np.zeros((4, 64), np.int8), scale(4, 2), block=32), ValueError, r"block=32 for 2 axes: give each axis its own, as block=\(1, 32\)"),
    "block of a table": (lambda: Codebook(scale(4, 2, 2), np.zeros((4, 64), np.uint8), block=32), ValueError, r"block=\(1, 32\)"),
    "mask as an index": (lambda: nnpack.open(nnpack.save({"w": U8}))["w"][np.zeros(4, bool)], TypeError, r"not an array of bool of shape \(4,\)$"),
    "long index": (lambda: nnpack.open(nnpack.save({"w": U8}))["w"][(0,) * 99], IndexError, r"the index \(0, 0.{60,80}\.\.\. does not fit"),
    "block of no int": (lambda: Quantized(np.zeros((4, 6), np.int8), scale(4, 1), block=(1.5, 0)), TypeError, r"integer"),
    "name": (lambda: add(3, U8), TypeError, r"a name is a str, not int: the name comes first"),
    "swapped": (lambda: add(U8, "x"), TypeError, r"a name is a str, not ndarray: the name comes first"),
    "name of a file": (lambda: nnpack.save({3: U8}), TypeError, r"a name is a str, not int"),
    "blob of text": (lambda: written(lambda w: w.add_blob("n", "hi")), TypeError, r"a blob is bytes, not str: text needs \.encode\(\)"),
    "blob of a number": (lambda: written(lambda w: w.add_blob("n", 5)), TypeError, r"a blob is bytes, not int"),
    "graph of a list": (lambda: written(lambda w: w.add_graph("g", [1])), TypeError, r"a graph is a mapping or a JSON text, not list"),
    "codes in a writer": (lambda: add("w", [None]), TypeError, r"'w': arrays of object"),
    "depth in a writer": (lambda: add("w", nested(9)), Invalid, r"'w': a tensor has at most 8 levels"),
    "cells in a writer": (lambda: add("w", Dense(Lazy(np.array([9], np.uint8)), "uint3")), Invalid, r"'w': a cell is out of the range of uint3"),
    "tensors": (lambda: nnpack.save([U8]), TypeError, r"tensors are a mapping of names to arrays, not list"),
    "swapped tensors": (lambda: nnpack.save_file("m.nnpk", {}), TypeError, r"."),
    "limit of an array": (lambda: nnpack.Limits(memory=np.zeros(5)), TypeError, r"not an array of float64 of shape \(5,\)$"),
    "shape of text": (lambda: nnpack.Constant(np.uint8(1), "x" * 999), TypeError, r"ints, not 'x{70,80}\.\.\.$"),
    "limit below": (lambda: nnpack.Limits(memory=-1), ValueError, r"the limit memory is at least 0, not -1"),
    "limit of a float": (lambda: nnpack.Limits(sections=1e9), TypeError, r"the limit sections is a whole number, not 1000000000\.0"),
    "limit of text": (lambda: nnpack.Limits(tensor_bytes="1G"), TypeError, r"the limit tensor_bytes is a whole number, not '1G'"),
    "limit of nothing": (lambda: nnpack.Limits(sections=None), TypeError, r"not None"),
    "limit without a name": (lambda: nnpack.Limits(5), TypeError, r"positional"),
    "limit unknown": (lambda: nnpack.Limits(bytes=5), TypeError, r"bytes"),
    "limit set": (lambda: setattr(nnpack.Limits(), "memory", 5), AttributeError, r"limits are frozen: make a new Limits\(memory=5\)"),
    "limit deleted": (lambda: delattr(nnpack.Limits(), "memory"), AttributeError, r"frozen"),
}  # fmt: skip


def nested(levels):
    value = Dense(U8)
    for _ in range(levels - 1):
        value = nnpack.Concat([value], 0)
    return value


@pytest.mark.parametrize("what", MISTAKES)
def test_mistake(what):
    call, kind, message = MISTAKES[what]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert type(caught.value) is kind


def test_what_the_messages_say_works():
    codes = np.zeros((4, 6), np.int8)
    assert Quantized(codes, scale(4)[:, None]).block == (1, 0)
    assert Quantized(codes, scale(6)[None, :]).block == (0, 1)
    assert Codebook(scale(4, 2)[:, None], codes.view(np.uint8)).block == (1, 0)
    assert Codebook(scale(2, 2), U8, block=2).block == (2,)
    assert Csr.from_arrays([0, 0], [], scale(0), (1, 2)).nnz == 0
    assert Dense(MASKED.filled(0)).array.tolist() == [0, 2]
    assert Dense(np.array([1], ml_dtypes.bfloat16)).dtype == "bfloat16"
    written(lambda w: w.add_blob("n", memoryview(np.arange(6, dtype=np.uint16))[::2]))
    vectors = Codebook(scale(256, 8), U8.reshape(2, 2), vector_axis=1)
    assert vectors.shape == (2, 16)


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("float16"), ml_dtypes.bfloat16])
def test_dtypes_are_names_or_types(dtype):
    name = np.dtype(dtype).name
    value = Quantized(U8, scale(), dtype=dtype, step=dtype)
    assert (value.dtype, value.step) == (name, name)
    assert nnpack.Constant(1, (2,), dtype).dtype == name


def test_one_zero_is_that_of_all_groups():
    codes, scales = np.arange(8, dtype=np.int8).reshape(2, 4), scale(2, 2) / 2
    for role, one in (("zero", np.int8(3)), ("bias", np.float32(3)), ("min", np.float16(3))):
        single = Quantized(codes, scales, **{role: one})
        full = Quantized(codes, scales, **{role: np.full(scales.shape, one)})
        assert testing.same_bits(single.to_numpy(), full.to_numpy())
        assert getattr(single, role).shape == (2, 2)
    assert (Quantized(codes, np.float32(2), block=(1, 2)).to_numpy() == 2 * codes).all()


def test_limits_are_values():
    limits = nnpack.Limits(memory=np.int64(5), sections=True)
    assert (limits.memory, limits.sections, limits.json_bytes) == (5, 1, 16 << 20)
    assert eval(repr(limits), {"Limits": nnpack.Limits}) == limits  # noqa: S307
    for again in (pickle.loads(pickle.dumps(limits)), copy.deepcopy(limits)):  # noqa: S301
        assert (again, hash(again)) == (limits, hash(limits))
    assert limits != nnpack.Limits()
    assert limits != 5


def test_a_place_is_told_once():
    with pytest.raises(nnpack.FormatError) as caught, located(3, "w"):
        raise Invalid("bad-shape", "no", "do it otherwise")
    bad = caught.value
    assert (bad.error_class, bad.message, bad.offset, bad.section) == ("bad-shape", "no", 3, "w")
    with pytest.raises(nnpack.FormatError) as caught, located(9, "v"), located(section="u"):
        raise bad
    assert (caught.value.offset, caught.value.section) == (3, "w")
    with pytest.raises(KeyError), located(1):
        raise KeyError


def test_an_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r'pip install "nnpack-format\[scipy\]"'):
        Csr.from_numpy(np.eye(2)).to_scipy()
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "nnpack.testing")
    with pytest.raises(ImportError, match=r'pip install "nnpack-format\[testing\]"'):
        importlib.import_module("nnpack.testing")


def test_options_of_the_functions_for_arrays(tmp_path):
    array = np.zeros(5000, np.float32)
    data, path = nnpack.save({"w": array}, profile="raw"), tmp_path / "w.nnpk"
    assert len(data) > array.nbytes > len(nnpack.save({"w": array}))
    path.write_bytes(data)
    for load, source in ((nnpack.load, data), (nnpack.load_file, path)):
        assert testing.same_bits(load(source, threads=1)["w"], array)
        with pytest.raises(nnpack.LimitError, match="memory"):
            load(source, limits=nnpack.Limits(memory=100))
    with pytest.raises(ValueError, match="no profile 'best'"):
        nnpack.save({}, profile="best")


EXAMPLES = {
    test.name: test
    for module in pkgutil.iter_modules(nodes.__path__, "nnpack.nodes.")
    for test in doctest.DocTestFinder().find(importlib.import_module(module.name))
    if test.examples
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    assert runner.run(EXAMPLES[name], out=said.append).failed == 0, "".join(said)


def test_the_kinds_that_need_them_have_examples():
    for kind in ("csr.Csr", "csr.Csr.from_scipy", "dense.Dense", "codebook.Codebook", "quantized.Quantized"):  # fmt: skip
        assert f"nnpack.nodes.{kind}" in EXAMPLES


def test_opening_imports_nothing_that_is_slow():
    """Classes made from text and the pieces that only digests or large requests need."""
    program = (
        "import sys, numpy; before = {*sys.modules}\n"
        "import nnpack; nnpack.open\n"
        "print(*{'dataclasses', 'hashlib', 'pathlib', 'ml_dtypes'} & ({*sys.modules} - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603
    assert done.stdout.split() == []
    assert nnpack.open(nnpack.save({"w": U8}))["w"].digest() == nnpack.open(nnpack.save({"v": U8}))["v"].digest()  # fmt: skip


def test_a_damaged_tensor_is_not_the_mistake_of_who_copies_it():
    parts = [a.dense(a.UINT8, (1, 1), b"x", role=1), a.dense(a.UINT8, (1,), b"\1", role=2)]
    tree = a.node(a.CODEBOOK, a.UINT8, (1,), struct.pack("<IIQ", 1, 0, 0), parts)
    data = a.assemble(a.tensor("v", tree, b"x" + bytes(7) + b"\1"))
    with pytest.raises(nnpack.FormatError, match="bad-index: an index of 1 into 1") as caught:
        add("w", nnpack.open(data)["v"])
    assert (caught.value.section, caught.value.offset) == ("v", 16)


class FloatShape:
    shape, dtype = (0.0, 3), np.dtype("u1")

    def __getitem__(self, key):
        raise AssertionError(key)


SHAPES = {
    "lazy": lambda: nnpack.Dense(FloatShape()),
    "constant": lambda: nnpack.Constant(np.uint8(1), (2.5,)),
    "an int": lambda: nnpack.Constant(np.uint8(1), 3),
    "csr": lambda: nnpack.Csr([1], [0], np.ones(1, np.float32), (3.0,)),
    "opaque": lambda: nnpack.Opaque(b"", "ggml.x", ("3",), "uint8"),
}


@pytest.mark.parametrize("what", SHAPES)
def test_shapes_are_made_of_ints(what):
    with pytest.raises(TypeError, match="a shape is a tuple of ints"):
        SHAPES[what]()


def test_a_view_is_read_only_even_where_there_is_nothing():
    data = testing.file_of({"e": np.empty((2, 0)), "w": np.ones(3)}, profile="raw")
    reader = nnpack.open(data)
    assert not reader["e"].view().flags.writeable
    assert not reader["w"].view().flags.writeable
