"""Whatever is written is read back, bit for bit, by every way of reading."""

import io
import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import nnpack
from nnpack import testing
from nnpack.digest import logical_digest

MANY = settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
SOME = settings(MANY, max_examples=60)


class Dribble:
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data, sizes):
        self._data = io.BytesIO(data)
        self._sizes = itertools.cycle(sizes)

    def read(self, size):
        return self._data.read(min(size, next(self._sizes)))


def streamed(data, sizes=(1 << 20,)):
    """Read a file as a stream: tensors and aliases as arrays, and the rest."""
    arrays, rest = {}, []
    for kind, name, value in nnpack.read_stream(Dribble(data, sizes)):
        if kind == "tensor":
            arrays[name] = value.read()
        elif kind == "alias":
            arrays[name] = arrays[value]
        else:
            rest.append((kind, name, value))
    return arrays, rest


@MANY
@given(testing.models(), testing.METADATA, st.sampled_from(("raw", "balanced")), st.booleans())
def test_read_equals_written(tmp_path_factory, model, metadata, profile, digests):
    data = testing.file_of(model, metadata, profile=profile, digests=digests)
    assert data == testing.file_of(model, metadata, profile=profile, digests=digests)
    wanted = {name: value.to_numpy() for name, value in model.items()}
    with nnpack.open(data) as reader:
        assert [*reader] == [*model]
        assert reader.metadata == metadata
        for name, tensor in reader.items():
            assert testing.same_bits(tensor.read(), wanted[name])
            value = tensor.value()
            assert type(value) is type(model[name])
            assert testing.same_bits(value.to_numpy(), wanted[name])
            assert tensor.digest() == logical_digest(value) == logical_digest(model[name])
            assert (tensor.shape, tensor.dtype) == (model[name].shape, model[name].dtype)
            if profile == "raw" and value.name == "dense" and not value.cell.packed:
                assert testing.same_bits(tensor.view(), wanted[name])
    loaded = nnpack.load(data)
    assert [*loaded] == [*model]
    assert all(testing.same_bits(loaded[name], wanted[name]) for name in model)


@SOME
@given(testing.models(), st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_streamed_equals_written(model, sizes):
    arrays, _ = streamed(testing.file_of(model), sizes)
    assert [*arrays] == [*model]
    assert all(testing.same_bits(arrays[n], v.to_numpy()) for n, v in model.items())


@MANY
@given(testing.values(), testing.layouts(), testing.layouts())
def test_layout_changes_nothing(value, first, second):
    files = [testing.file_of({"w": value}, planner=planner) for planner in (first, second)]
    tensors = [nnpack.open(data)["w"] for data in files]
    assert tensors[0].digest() == tensors[1].digest() == logical_digest(value)
    for tensor in tensors:
        assert testing.same_bits(tensor.read(), value.to_numpy())


@st.composite
def indexed(draw):
    """A value and an index into it."""
    value = draw(testing.values())
    keys = []
    for dim in value.shape[: draw(st.integers(0, len(value.shape)))]:
        place = st.integers(-dim, dim - 1) if dim else st.slices(dim)
        keys.append(draw(st.one_of(st.slices(dim), place)))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(keys)))
        if at == len(keys) or len(keys) == len(value.shape):
            keys.insert(at, Ellipsis)
    return value, tuple(keys)


@MANY
@given(indexed(), testing.layouts())
def test_slice_equals_slice_of_the_whole(case, planner):
    value, key = case
    tensor = nnpack.open(testing.file_of({"w": value}, planner=planner))["w"]
    bits = np.dtype(f"V{value.cell.itemsize}")
    wanted = np.ascontiguousarray(value.to_numpy()).view(bits)[key] if value.shape else None
    if wanted is None:
        assert testing.same_bits(tensor[key], value.to_numpy())
        return
    found = tensor[key]
    assert found.shape == wanted.shape
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(wanted).tobytes()


@SOME
@given(testing.opaques())
def test_opaque_bytes_are_kept(value):
    tensor = nnpack.open(testing.file_of({"w": value}))["w"]
    kept = tensor.value()
    assert (kept.format, kept.format_parameters) == (value.format, value.format_parameters)
    assert testing.same_bits(kept.data.to_numpy(), value.data.to_numpy())
    assert tensor.digest() == logical_digest(value)


@pytest.mark.parametrize("name", sorted(testing.BY_NAME))
@pytest.mark.parametrize("log2", [10, 19])
def test_many_blocks_of_every_dtype(name, log2):
    dtype = testing.BY_NAME[name]
    rng = np.random.default_rng(7)
    cells = rng.integers(0, 256, 3500 * dtype.itemsize, np.uint8)
    array = np.empty(3500, dtype.numpy)
    if dtype.packed:
        testing.from_cells(cells & ((1 << dtype.bits) - 1), dtype, array)
    else:
        array.view(np.uint8)[:] = cells
    value = nnpack.Dense(array.reshape(50, 70), name)
    for transform in testing.TRANSFORMS.values():
        if not transform.accepts(dtype):
            continue
        planes = len(transform.plane_lengths(1, dtype))
        for codec in testing.CODECS.values():
            first = testing.CODECS[0] if transform.forms > 1 else codec
            plan = testing.Plan(transform, (first, *[codec] * (planes - 1)), log2)
            tensor = nnpack.open(testing.file_of({"w": value}, planner=lambda _, p=plan: p))["w"]
            assert testing.same_bits(tensor.read(), value.array)
            assert testing.same_bits(
                tensor[7:31, 5:66], np.ascontiguousarray(value.array[7:31, 5:66])
            )
