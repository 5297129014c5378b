"""Arrays that say little are told as what they are; equal ones are stored once."""

import io
import tracemalloc
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import pytest

import nnpack
from nnpack import kept, simplify, testing
from nnpack.convert import convert

RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((200, 300)).astype(np.float32)
NAN = np.array([0x7FC01234], np.uint32).view(np.float32)

# what: (array, kind that it is stored as)
LITTLE = {
    "zeros": (np.zeros((100, 100), np.float32), "constant"),
    "minus zeros": (-np.zeros(1000), "constant"),
    "a NaN with a payload": (np.repeat(NAN, 999), "constant"),
    "complex": (np.full(100, 1 - 2j, np.complex128), "dense"),
    "both zeros": (np.where(WEIGHTS > 0, 0.0, -0.0).astype(np.float32), "codebook"),
    "ternary": (np.sign(WEIGHTS).astype(np.int8) * (np.abs(WEIGHTS) > 1.5), "codebook"),
    "integers in floats": (np.rint(WEIGHTS * 30).astype(np.float32), "codebook"),
    "dequantized": ((np.rint(WEIGHTS * 20) * np.float32(0.037)).astype(np.float16), "codebook"),
    "weights": (WEIGHTS, "dense"),
    "bfloat16": (WEIGHTS.astype(ml_dtypes.bfloat16), "dense"),
    "bytes": (RNG.integers(0, 256, 9999, np.uint8), "dense"),
    "few cells": (np.zeros(63, np.float32), "dense"),
    "zeros but one": (np.eye(1, 5000, 3333, dtype=np.float32), "dense"),
    "late surprise": (np.concatenate([np.zeros(1 << 19, np.float32), WEIGHTS.reshape(-1)]), "dense"),
}  # fmt: skip


class Sliced:
    """An array that can only be sliced."""

    def __init__(self, array):
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __getitem__(self, key):
        return self._array[key]


@pytest.mark.parametrize("what", LITTLE)
def test_what_an_array_is_stored_as(what):
    array, kind = LITTLE[what]
    for value in (array, Sliced(array)):
        data = testing.file_of({"w": value})
        tensor = nnpack.open(data)["w"]
        assert testing.same_bits(tensor.read(), array)
        assert tensor.dtype == nnpack.Dense(array).dtype
        assert tensor.kind == kind or value is not array
    assert len(data) <= len(testing.file_of({"w": array}, profile="raw")) + 200
    plain = nnpack.open(testing.file_of({"w": array}, profile="raw"))["w"]
    assert plain.kind == "dense"


@pytest.mark.parametrize("tries", [0, simplify.TRIES])
@pytest.mark.parametrize("kind", ["<u4", "<u8"])
@pytest.mark.parametrize("low", [0, 16])
def test_a_few_wide_values_are_found_among_others(kind, low, tries, monkeypatch):
    """Also if no multiple of the golden ratio keeps their places apart."""
    monkeypatch.setattr(simplify, "TRIES", tries)
    rng, bits = np.random.default_rng(low), 8 * np.dtype(kind).itemsize
    values = np.unique(rng.integers(0, 1 << bits - low, 250, np.uint64)).astype(kind) << low
    others = rng.integers(0, 1 << bits - low, 40_000, np.uint64).astype(kind) << low
    cells = np.concatenate([values.repeat(3), others])
    rng.shuffle(cells)
    places, missing = simplify._lookup(values, cells)
    assert missing.any()
    assert not missing.all()
    assert np.array_equal(missing, ~np.isin(cells, values))
    assert np.array_equal(values[places[~missing]], cells[~missing])


def test_equal_tensors_are_stored_once():
    other = WEIGHTS.copy()
    other[100, 200] = np.nextafter(other[100, 200], other.dtype.type(9))
    model = {
        "a": WEIGHTS,
        "nearly": other,
        "b": WEIGHTS.copy(),
        "shape": WEIGHTS.reshape(300, 200).copy(),
        "c": WEIGHTS,
        "small": np.ones(3),
        "small too": np.ones(3),
    }
    data = nnpack.save(model, {"title": "x"})
    with nnpack.open(data) as file:
        assert file.aliases == {"b": "a", "c": "a"}
        said = {"b": {"deduplicated": True}, "c": {"deduplicated": True}}
        assert file.metadata == {"title": "x", "nnpack.origin": said}
    loaded = nnpack.load(data)
    assert [*loaded] == [*model]
    assert all(testing.same_bits(loaded[name], array) for name, array in model.items())
    assert not np.shares_memory(loaded["a"], loaded["b"])
    assert nnpack.open(nnpack.save(model, profile="raw")).aliases == {}


def test_the_writer_keeps_nothing_unless_asked():
    target = io.BytesIO()
    with nnpack.Writer(target) as file:
        file.add("a", WEIGHTS)
        file.add("b", WEIGHTS)
    assert nnpack.open(target.getvalue()).aliases == {}
    target = io.BytesIO()
    with nnpack.Writer(target, deduplicate=True) as file:
        file.add("a", WEIGHTS)
        file.add("b", WEIGHTS)
        file.add_alias("c", "b")
        file.set_metadata({"nnpack.origin": {"b": {"format": "x"}, "a": {"format": "y"}}})
    with nnpack.open(target.getvalue()) as reader:
        assert reader.aliases == {"b": "a", "c": "a"}
        assert reader.metadata["nnpack.origin"] == {
            "b": {"format": "x", "deduplicated": True},
            "a": {"format": "y"},
        }


def test_conversion_stores_equal_tensors_once_and_gives_both_back(tmp_path):
    import safetensors.numpy

    source, ours, back = tmp_path / "m.safetensors", tmp_path / "m.nnpk", tmp_path / "b.safetensors"
    safetensors.numpy.save_file({"a": WEIGHTS, "b": WEIGHTS.copy(), "z": np.zeros(999)}, source)
    convert(source, ours)
    with nnpack.open(ours) as file:
        assert (file.aliases, file["z"].kind) == ({"b": "a"}, "constant")
    assert ours.stat().st_size < source.stat().st_size // 2
    convert(ours, back)
    assert back.read_bytes() == source.read_bytes()


class Once:
    """A lazy array whose elements can be looked at, but not be written."""

    def __init__(self, array, writable):
        self.shape, self.dtype, self.array, self.writable = (
            array.shape,
            array.dtype,
            array,
            writable,
        )

    def __getitem__(self, key):
        cells = self.array[key]
        if not self.writable and cells.size > 1000:
            raise RuntimeError("the disk is gone")
        return cells


def test_a_tensor_that_was_not_written_has_no_aliases():
    target, array = io.BytesIO(), WEIGHTS.reshape(-1)
    with nnpack.Writer(target, deduplicate=True) as file:
        with pytest.raises(RuntimeError, match="disk"):
            file.add("a", Once(array, writable=False))
        file.add("b", Once(array, writable=True))
        file.add("c", array)
    with nnpack.open(target.getvalue()) as reader:
        assert reader.aliases == {"c": "b"}
        assert testing.same_bits(reader["b"].read(), array)


def test_an_alias_that_was_not_written_is_not_listed(monkeypatch):
    target = io.BytesIO()
    file = nnpack.Writer(target, deduplicate=True)
    file.add("a", WEIGHTS)
    monkeypatch.setattr("nnpack.writer.MAX_SECTIONS", 2)
    with pytest.raises(ValueError, match="fewer than 2 sections"):
        file.add("b", WEIGHTS)
    monkeypatch.undo()
    file.add_blob("b", b"")
    file.close()
    assert nnpack.open(target.getvalue()).metadata == {}


@pytest.mark.parametrize("origin", ["x", ["b"], None, 5, {"b": 1}, {"a": "x", "b": []}])
def test_what_the_origin_says_may_be_anything(tmp_path, origin):
    with nnpack.Writer(tmp_path / "a.nnpk", deduplicate=True) as file:
        file.add("a", WEIGHTS)
        file.add("b", WEIGHTS)
        file.set_metadata({"nnpack.origin": origin, "k": 1})
    with nnpack.open(tmp_path / "a.nnpk") as reader:
        kept = {"a": origin["a"]} if isinstance(origin, dict) and "a" in origin else {}
        said = {**kept, "b": {"deduplicated": True}}
        assert reader.metadata == {"nnpack.origin": said, "k": 1}
        assert reader.aliases == {"b": "a"}


@pytest.mark.parametrize("origin", ["x", [1], {"b": 1}])
def test_a_conversion_takes_any_origin(tmp_path, origin):
    source = tmp_path / "a.nnpk"
    with nnpack.Writer(source) as file:
        file.add("a", WEIGHTS)
        file.add("b", WEIGHTS)
        file.set_metadata({"nnpack.origin": origin})
    convert(source, tmp_path / "b.nnpk")
    with nnpack.open(tmp_path / "b.nnpk") as reader:
        assert reader.aliases == {"b": "a"}
        assert reader.metadata == {"nnpack.origin": {"b": {"deduplicated": True}}}
    convert(source, tmp_path / "b.safetensors")
    convert(tmp_path / "b.safetensors", tmp_path / "c.nnpk", profile="raw")
    with nnpack.open(tmp_path / "c.nnpk") as reader:
        assert reader.metadata == {"nnpack.origin": origin}


class Made(Mapping):
    """A mapping that makes its arrays when they are asked for, in the same memory each time."""

    def __init__(self, *names):
        self.names, self.memory, self.made = names, np.empty(50_000, np.float32), []

    def __getitem__(self, name):
        self.memory[:] = np.arange(50_000) % 1000
        self.memory[10_000] = len(self.made) // 2
        self.made.append(name)
        return self.memory

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


def test_what_a_mapping_makes_is_compared_with_nothing_later():
    loaded = nnpack.load(nnpack.save(Made("a", "b", "c")))
    assert [array[10_000] for array in loaded.values()] == [0, 0, 1]


HELD = {
    "array": (WEIGHTS, True),
    "value": (nnpack.Dense(WEIGHTS), True),
    "tensor": (nnpack.open(testing.file_of({"w": WEIGHTS}))["w"], True),
    "transposed": (np.asfortranarray(WEIGHTS), False),
    "big-endian": (WEIGHTS.astype(">f4"), False),
    "lazy": (Sliced(WEIGHTS), False),
    "list": ([*WEIGHTS], False),
}


@pytest.mark.parametrize("what", HELD)
def test_what_others_can_be_aliases_of(what):
    value, first = HELD[what]
    data = nnpack.save({"a": value, "b": WEIGHTS, "c": WEIGHTS})
    with nnpack.open(data) as file:
        assert file.aliases == ({"b": "a", "c": "a"} if first else {"c": "b"})
    assert all(testing.same_bits(array, WEIGHTS) for array in nnpack.load(data).values())
    assert nnpack.open(nnpack.save({"a": WEIGHTS, "b": value})).aliases == {"b": "a"}


def test_copies_are_let_go():
    """Writing many arrays that are not in C order takes the memory of one."""
    arrays = {str(i): np.full((1000, 1000), i, np.float32).T for i in range(20)}
    arrays["0"][5, 5] = 1
    tracemalloc.start()
    nnpack.save(arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_what_is_not_lasting_is_an_alias_but_has_none():
    target = io.BytesIO()
    with nnpack.Writer(target, deduplicate=True) as file:
        file.add("a", WEIGHTS, lasting=False)
        file.add("b", WEIGHTS)
        file.add("c", WEIGHTS, lasting=False)
    assert nnpack.open(target.getvalue()).aliases == {"c": "b"}


def test_a_lazy_array_alone_takes_no_temporary_file(monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile", None)
    with kept.checked(nnpack.Dense(Sliced(WEIGHTS)), None) as tree:
        assert testing.same_bits(tree.to_numpy(), WEIGHTS)


def test_when_a_conversion_makes_aliases(tmp_path):
    source, model = tmp_path / "a.nnpk", {"a": WEIGHTS, "b": WEIGHTS.copy()}
    source.write_bytes(testing.file_of(model))
    for name, profile, aliases in (
        ("file", "balanced", {"b": "a"}),
        ("raw", "raw", {}),
        ("pipe", "balanced", {}),
    ):
        given = source if name != "pipe" else Unseekable(source.read_bytes())
        convert(given, tmp_path / f"{name}.nnpk", profile=profile)
        with nnpack.open(tmp_path / f"{name}.nnpk") as reader:
            assert reader.aliases == aliases


class Unseekable(io.BytesIO):
    def seekable(self):
        return False


class Forgetful(Sliced):
    """An array that has other elements once it was read to its end."""

    def __getitem__(self, key):
        found = self._array[key]
        if found.size and found[-1] == self._array[-1]:
            self._array = np.full_like(self._array, 77)
        return found


def test_a_lazy_array_that_changes_is_refused():
    array = np.repeat(np.arange(40, dtype=np.float64), 1000)
    with pytest.raises(ValueError, match="gave other elements the second time"):
        testing.file_of({"w": Forgetful(array)})


def stored(array, profile="balanced"):
    """Return the bytes that a tensor takes, and its value; its elements are as they were."""
    with nnpack.open(nnpack.save({"w": array}, profile=profile)) as file:
        tensor = file["w"]
        assert testing.same_bits(tensor.read(), array)
        assert testing.same_bits(tensor[3:70], array[3:70])
        return tensor.stored_nbytes, tensor.value()


@pytest.mark.parametrize("profile", ["balanced", "small"])
@pytest.mark.parametrize("kept", [0.01, 0.1, 0.3])
def test_what_is_mostly_one_value_is_a_csr(kept, profile):
    rng = np.random.default_rng(3)
    for fill in (np.float32(0), np.float32(-0.0), np.float32("nan")):
        array = np.full((600, 500), fill)
        places = rng.random(array.shape) < kept
        array[places] = rng.standard_normal(np.count_nonzero(places))
        size, value = stored(array, profile)
        assert isinstance(value, nnpack.Csr)
        assert testing.same_bits(value.fill, np.full(1, fill))
        share = np.array([kept, 1 - kept])
        positions = -(share * np.log2(share)).sum() / 8 * array.size
        values = 4 * np.count_nonzero(places)
        assert size < 0.85 * values + 1.12 * positions + 700


def test_a_csr_of_few_values_has_a_codebook():
    rng = np.random.default_rng(4)
    array = np.where(rng.random((900, 400)) < 0.1, rng.integers(1, 30, (900, 400)) / 8, 0)
    _, value = stored(array.astype(np.float32))
    assert isinstance(value, nnpack.Csr)
    assert isinstance(value.values, nnpack.Codebook)
    other = np.where(array, 0.5, 0).astype(np.float16)
    _, value = stored(other)
    assert isinstance(value.values, nnpack.Constant)


def test_a_csr_has_rows_that_store_enough():
    rng = np.random.default_rng(5)
    kernels = np.where(rng.random((500, 40, 3, 3)) < 0.1, 1.5, 0) * rng.standard_normal(1)
    kernels = (kernels * rng.integers(1, 9000, kernels.shape)).astype(np.float32)
    _, value = stored(kernels)
    assert value.row_length % 3 == 0
    assert 200 < value.row_length < 2000
    assert value.counts.size < 1000


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_ternary_weights_reach_their_entropy(share):
    rng = np.random.default_rng(6)
    rest = (1 - share) / 2
    array = rng.choice(np.array([-1, 0, 1], np.int8), (1000, 700), p=[rest, share, rest])
    entropy = -(share * np.log2(share) + 2 * rest * np.log2(rest)) / 8 * array.size
    for profile in ("balanced", "small"):
        size, _ = stored(array, profile)
        assert size < 1.06 * entropy


def test_lazy_arrays_become_csr_too(tmp_path):
    rng = np.random.default_rng(8)
    array = np.where(rng.random((700, 900)) < 0.05, rng.standard_normal((700, 900)), 0)

    class Lazy:
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, key):
            return array[key]

    with nnpack.Writer(tmp_path / "m.nnpk") as writer:
        writer.add("w", Lazy())
    with nnpack.open(tmp_path / "m.nnpk") as file:
        assert file["w"].kind == "csr"
        assert testing.same_bits(file["w"].read(), array)


def test_what_is_dense_is_no_csr():
    array = np.random.default_rng(9).integers(0, 2, (300, 300)).astype(np.float32)
    array[:, ::2] = np.random.default_rng(9).standard_normal((300, 150))
    assert isinstance(stored(array, "fast")[1], nnpack.Dense)
    noise = np.random.default_rng(9).integers(0, 256, (300, 300), np.uint8)
    noise[:2] = 7  # the first look sees one value
    assert isinstance(stored(noise)[1], nnpack.Dense)


def test_a_csr_that_would_need_much_memory_is_none(monkeypatch):
    array = np.where(np.random.default_rng(1).random((1000, 600)) < 0.1, np.float32(2.5), 0)
    assert isinstance(stored(array)[1], nnpack.Csr)
    monkeypatch.setattr(simplify, "HELD", 1 << 10)
    assert not isinstance(stored(array)[1], nnpack.Csr)
