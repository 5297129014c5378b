"""Loading all tensors at once: those that are alike, small ones together, and their memory."""

import io
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.codecs import CODECS
from nnpack.transforms import TRANSFORMS
from tests import assemble as a


def compressed(log2):
    """Plan blocks of 2^log2 cells, compressed byte by byte."""

    def plan(leaf):
        planes = len(TRANSFORMS[1].plane_lengths(1, leaf.cell))
        return testing.Plan(TRANSFORMS[1], (CODECS[1],) * planes, log2)

    return plan


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_loading_many_tensors_of_one_form():
    arrays = {f"w{i}": np.full((2, 300), i, np.int32) for i in range(20)}
    target = io.BytesIO()
    with nnpack.Writer(target, profile="raw") as writer:
        for name, array in arrays.items():
            writer.add(name, array)
        writer.add_alias("tied", "w3")
    data = target.getvalue()
    loaded = nnpack.open(data).load()
    assert [*loaded] == [*arrays, "tied"]
    assert all(testing.same_bits(loaded[k], v) for k, v in arrays.items())
    assert loaded["tied"].tolist() == loaded["w3"].tolist()
    loaded["w3"][:] = 0
    assert loaded["tied"].all()
    sections = nnpack.open(data).sections
    for at, wanted in (
        (sections[7].payload_offset, "bad-checksum"),
        (sections[7].offset + 40, "bad-checksum"),
    ):
        with pytest.raises(nnpack.FormatError, match=wanted) as caught:
            nnpack.load(flipped(data, at))
        assert caught.value.section == "w7"


def test_tensors_of_one_form_are_loaded_alike():
    """They differ in the room for exceptions, in stored lengths, or in nothing but their bytes."""
    rng = np.random.default_rng(11)
    weights = rng.standard_normal((9, 5000)).astype(ml_dtypes.bfloat16)
    for number in range(6):
        weights[number, : 7 * number] *= 1e-30
    model = {f"w{number}": row for number, row in enumerate(weights)}
    model |= {f"raw{number}": rng.integers(0, 256, 50_000, np.uint8) for number in range(3)}
    data = nnpack.save(model)
    with nnpack.open(data) as file:
        rooms = {file[name].node.source.head.transform_parameter for name in model}
        last = file["raw2"].section
        assert file["raw2"].node.source.head.is_raw
    assert len(rooms) > 3
    loaded = nnpack.load(data)
    assert all(testing.same_bits(loaded[name], array) for name, array in model.items())
    for name, at in (("raw2", last.payload_offset + 9), ("raw2", last.offset + 9)):
        with pytest.raises(nnpack.NnpackError) as caught:
            nnpack.load(flipped(data, at))
        assert caught.value.section == name
    with nnpack.open(data) as file:
        section = file["w8"].section
    with pytest.raises(nnpack.ChecksumError) as caught:
        nnpack.load(flipped(data, section.payload_offset + 3000))
    assert caught.value.section == "w8"
    with pytest.raises(nnpack.NnpackError) as caught:
        nnpack.load(flipped(data, section.offset + 9))
    assert caught.value.section == "w8"


def test_small_tensors_of_one_form_are_decoded_together():
    """More than go together at once, of several forms in turn, between large ones."""
    rng = np.random.default_rng(12)
    model = {}
    for layer in range(60):
        for name, shape, dtype in (("norm", (3000,), "<f4"), ("bias", (16, 100), "<c8"),
                                   ("large", (40_000,), "<f4"), ("scalar", (), "<f8")):  # fmt: skip
            model[f"{layer}.{name}"] = np.asarray(rng.integers(0, 99, shape) / 8).astype(dtype)
    model["flags"], model["other flags"] = rng.random((2, 500)) < 0.1
    many = testing.file_of(model, planner=compressed(10))
    whole = testing.file_of(model, planner=compressed(16))
    for file in (many, whole):
        loaded = nnpack.load(file)
        assert [*loaded] == [*model]
        assert all(testing.same_bits(loaded[name], array) for name, array in model.items())
        loaded["7.norm"].fill(0)
        assert testing.same_bits(loaded["8.norm"], model["8.norm"])
    reader = nnpack.open(whole)
    for name in ("41.bias", "41.scalar", "other flags"):
        section, stream = reader[name].section, reader[name].head.stream
        second = section.payload_offset + (int(stream.table[0, 0]) + 7 & -8)
        at = second if len(stream.table) > 1 else section.payload_offset
        with pytest.raises(nnpack.ChecksumError) as caught:
            nnpack.load(flipped(whole, at))
        assert (caught.value.section, caught.value.offset) == (name, at)
        at = section.offset + 9
        with pytest.raises(nnpack.NnpackError) as caught:
            nnpack.load(flipped(whole, at))
        assert (caught.value.section, caught.value.offset) == (name, section.offset)


def test_what_does_not_fit_the_form_of_others_is_refused():
    stored = bytes(CODECS[1].encode(memoryview(bytes(100))))
    tensors = [
        a.tensor(name, a.dense(a.UINT8, (100,), data, codecs=(1,)), data)
        for name, data in (("a", stored), ("b", stored), ("c", bytes(101)))
    ]
    assert not np.concatenate([*nnpack.load(a.assemble(*tensors[:2])).values()]).any()
    with pytest.raises(nnpack.FormatError, match=r"mismatch: planes of \[100\] bytes") as caught:
        nnpack.load(a.assemble(*tensors))
    assert caught.value.section == "c"


@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_loaded_arrays_stand_side_by_side_and_never_share_a_byte(profile):
    rng = np.random.default_rng(5)
    sizes = [*rng.integers(10_000, 30_000, 40).tolist(), 300_000, 1_500_000, 2_000_000, 0, 1]
    given = {f"w{i}": rng.standard_normal(n).astype(np.float32) for i, n in enumerate(sizes)}
    given["q"] = np.repeat(rng.standard_normal(7).astype(np.float32), 9_000)  # a tree
    found = nnpack.load(testing.file_of(given, profile=profile))
    places = sorted((x.ctypes.data, x.nbytes) for x in found.values() if x.nbytes)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(places))
    owners = {id(x.base): x.base for x in found.values() if isinstance(x.base, np.ndarray)}
    assert len(owners) < 10
    assert max(base.nbytes for base in owners.values()) <= 16 << 20
    assert found["w42"].base is None or found["w42"].base.nbytes <= found["w42"].nbytes
    for name, array in found.items():
        assert testing.same_bits(array, given[name])
        assert array.flags.writeable
        array.fill(0)
    assert not any(array.any() for array in found.values())


def test_what_cannot_be_decoded_is_unsupported_however_large_it_would_be():
    huge = a.tensor("w", a.node(9, a.UINT8, (1 << 50,)))
    with nnpack.open(a.assemble(huge), limits=nnpack.Limits(memory=100)) as reader:
        assert reader["w"].charge == 0
        with pytest.raises(nnpack.UnsupportedError, match="kind 9"):
            reader.load()
