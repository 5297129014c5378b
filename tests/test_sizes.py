"""Sizes that are promised: near the entropy of what is stored, and never much above raw."""

import ml_dtypes
import numpy as np
import pytest

import nnpack
from nnpack import profiles, testing
from nnpack.codecs.huffman import Huffman
from nnpack.codecs.rans import Rans
from nnpack.codecs.zstd import Zstd
from nnpack.describe import describe
from nnpack.dtypes import DTYPES, from_cells, packed_size
from nnpack.nodes.dense import Dense
from nnpack.profiles import PROFILES, Plan, choose
from nnpack.transforms import TRANSFORMS

CELLS = TRANSFORMS[0]


def stored(file):
    """Return the stored bytes of each part of the tensor `w`."""
    with nnpack.open(file) as reader:
        (tensor,) = describe(reader)["tensors"]
    parts = tensor["tree"].get("parts", {"": tensor["tree"]})
    return {name: part["stored"] for name, part in parts.items()}


def bytes_in_rans(leaf):
    """Plan bytes in rans, the rest as balanced does."""
    if leaf.cell.itemsize > 1:
        return choose("balanced", leaf)
    return Plan(CELLS, (Rans(3 if leaf.size < 1 << 16 else 5),), 18)


def order0(symbols):
    """Return the entropy of bytes, in bytes."""
    counts = np.bincount(symbols)
    counts = counts[counts > 0]
    return float(counts @ np.log2(len(symbols) / counts)) / 8


def exponents(size):
    weights = np.random.default_rng(0).standard_normal(size, np.float32) / 50
    return (weights.view(np.uint32) >> 23).astype(np.uint8)


def sparse(zeros, row_length, side=1000):
    rng = np.random.default_rng(0)
    there = rng.random((side, side)) >= zeros
    weights = np.where(there, rng.standard_normal((side, side), np.float32), np.float32(0))
    return nnpack.Csr.from_numpy(weights, row_length=row_length)


class TestPositions:
    """Random places of a matrix of a million: at least 4.69 bits each at 90 %, 5.73 at 95 %."""

    @pytest.mark.parametrize(("zeros", "most"), [(0.90, 4.80), (0.95, 5.87)])
    @pytest.mark.parametrize("planner", [None, bytes_in_rans])
    def test_gaps_and_counts(self, zeros, most, planner):
        value = sparse(zeros, row_length=1_000_000)
        parts = stored(testing.file_of({"w": value}, planner=planner))
        assert 8 * (parts["gaps"] + parts["counts"]) <= most * value.values.size


class TestNetwork:
    """LeNet-300-100 pruned and clustered as in Deep Compression: all of the file."""

    LAYERS = (((784, 300), 0.08), ((300, 100), 0.09), ((100, 10), 0.26))

    def layers(self):
        rng = np.random.default_rng(0)
        bell = np.exp(-(((np.arange(64) - 31.5) / 4.304) ** 2) / 2)
        shares = 0.95 * bell / bell.sum() + 0.05 / 64  # 4.4 bits
        for (inputs, outputs), kept in self.LAYERS:
            indices = np.zeros(inputs * outputs, np.uint8)
            places = rng.permutation(indices.size)[: round(indices.size * kept)]
            indices[places] = rng.choice(64, places.size, p=shares) + 1
            table = np.append(0, rng.standard_normal(64) / 10).astype(np.float32)
            yield indices.reshape(inputs, outputs), table, rng.random(outputs, np.float32)

    def factor(self, weight, planner=None, *, biased=True):
        model, dense = {}, 0
        for number, (indices, table, biases) in enumerate(self.layers(), 1):
            value = weight(indices, table)
            assert testing.same_bits(np.asarray(value), table[indices])
            model |= {f"fc{number}.weight": value}
            dense += 4 * indices.size
            if biased:
                model |= {f"fc{number}.bias": biases}
                dense += 4 * biases.size
        return dense / len(testing.file_of(model, planner=planner))

    def test_arrays(self):
        assert self.factor(lambda indices, table: table[indices]) >= 35
        assert self.factor(lambda indices, table: table[indices], biased=False) >= 37

    def test_csr_of_codebook(self):
        def weight(indices, table):
            there = nnpack.Csr.from_numpy(indices, row_length=indices.size)
            values = nnpack.Codebook(table[1:], there.values.array - np.uint8(1))
            return nnpack.Csr(
                there.counts, there.gaps, values, indices.shape, row_length=indices.size
            )

        assert self.factor(weight) >= 32.5
        assert self.factor(weight, bytes_in_rans) >= 34.7

    def test_codebook_of_all_weights_in_rans(self):
        def weight(indices, table):
            return nnpack.Codebook(table, indices)

        assert self.factor(weight, bytes_in_rans) >= 35.3


class TestEntropy:
    @pytest.mark.parametrize(("coder", "most"), [(Huffman(5), 1.0225), (Rans(5), 1.005)])
    def test_exponents_with_table_and_lanes(self, coder, most):
        planes = exponents(1 << 18).reshape(1, -1)
        table = coder.make_table(np.bincount(planes[0], minlength=256))
        size = len(table) + sum(map(len, coder.with_table(memoryview(table)).encode_many(planes)))
        assert size <= most * order0(planes[0])

    @pytest.mark.parametrize(("dtype", "most"), [("float32", 1.025), ("int8", 1.015)])
    def test_coded_planes_of_weights(self, dtype, most):
        weights = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
        if dtype == "int8":
            weights = np.rint(weights * 30).clip(-127, 127).astype(np.int8)
        file = testing.file_of({"w": weights})
        with nnpack.open(file) as reader:
            stream = reader["w"].node.source
            lengths = stream.head.table[:, 0].reshape(-1, len(stream.codecs))
            for number, codec in enumerate(stream.codecs):
                if codec.name != "raw":
                    planes = stream.decode_planes(number, range(len(lengths)))
                    entropy = sum(map(order0, planes.values()))
                    assert len(planes) == 4
                    assert lengths[:, number].sum() <= most * entropy

    @pytest.mark.parametrize(("zeros", "most"), [(0.5, 1.005), (0.8, 1.03), (0.95, 1.05)])
    def test_ternary_weights(self, zeros, most):
        ones = (1 - zeros) / 2
        cells = np.random.default_rng(0).choice(3, 1 << 18, p=[ones, zeros, ones])
        weights = np.array([-1, 0, 1], np.int8)[cells]
        size = len(testing.file_of({"w": weights})) - len(testing.file_of({}))
        assert size <= most * order0(cells) + 300
        in_rans = stored(testing.file_of({"w": weights}, planner=bytes_in_rans))
        table, lanes = 33 + 2 * 3, 4 * 32
        assert in_rans[""] <= 1.005 * (order0(cells) + table + lanes)


class TestChoice:
    """What a few pieces of a tensor tell, and that it is read as it was."""

    def plan(self, profile, array):
        file = testing.file_of({"w": array}, profile=profile)
        with nnpack.open(file) as reader:
            assert testing.same_bits(reader["w"].read(), array)
        plan = choose(profile, Dense(array))
        return len(file), plan.transform.name, [codec.name for codec in plan.codecs]

    def test_signs_of_float8_weights_are_noise_or_not(self):
        weights = np.random.default_rng(0).standard_normal(1 << 15) * 32
        noise = weights.astype(ml_dtypes.float8_e4m3fn)
        order = (np.abs(weights) * np.where(np.arange(1 << 15) % 2, 1, -1)).astype(noise.dtype)
        size, *how = self.plan("balanced", noise)
        assert how == ["pair", ["raw", "zstd", "raw"]]
        assert size < 0.87 * noise.nbytes
        assert self.plan("balanced", order)[0] < size - 0.09 * noise.nbytes

    def test_weights_that_are_repeated(self):
        weights = np.random.default_rng(0).standard_normal(1 << 15).astype(ml_dtypes.bfloat16)
        size, *_ = self.plan("balanced", weights)
        pieces = weights.reshape(-1, 2, 1024)
        pieces[:, 1] = pieces[:, 0]
        assert self.plan("balanced", weights)[0] < 0.9 * size

    @pytest.mark.parametrize("profile", ["balanced", "small"])
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64", "int8"])
    def test_a_tile_is_found_where_each_byte_of_it_is_noise(self, dtype, profile):
        tile = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
        cells = tile.view(getattr(ml_dtypes, dtype, dtype))
        assert self.plan(profile, np.tile(cells, 100))[0] < 3 * tile.nbytes

    @pytest.mark.parametrize(("most", "symbols"), [(8, 200), (3, 200), (2, 250), (5, 16)], ids=str)
    def test_small_looks_long_for_what_a_short_look_finds(self, most, symbols):
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, symbols, 30_000), rng.integers(1, most + 1, 30_000)
        runs = np.repeat(*drawn).astype(np.uint8)
        long = len(Zstd(19).encode(runs.data))
        assert self.plan("small", runs)[0] < 1.01 * long + 300

    def test_rans_where_there_are_lanes_enough(self, monkeypatch):
        weights = np.random.default_rng(0).standard_normal(1 << 15).astype(ml_dtypes.bfloat16)
        assert "rans" not in self.plan("small", weights)[2]
        monkeypatch.setattr(profiles, "MANY_CELLS", 1 << 15)
        assert "rans" in self.plan("small", weights)[2]

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
    @pytest.mark.parametrize("cells", [40, 127, 128, 1000, 4095, 4096])
    def test_a_few_floats_are_byte_planes_where_that_is_smaller(self, cells, dtype):
        weights = np.random.default_rng(0).standard_normal(cells) / 50
        array = weights.astype(getattr(ml_dtypes, dtype, dtype))
        raw, *_ = self.plan("raw", array)
        for profile in PROFILES[1:]:
            size, transform, _ = self.plan(profile, array)
            assert size <= raw + 16
            if profile == "balanced":
                assert transform == (
                    "cells" if cells < 128 else "bytes" if cells < 4096 else "pair"
                )
        assert self.plan("fast", array)[1] == (
            "pair" if cells >= 4096 and dtype != "float16" else "cells"
        )


class TestNoise:
    @pytest.mark.parametrize("profile", PROFILES)
    def test_random_bits_take_little_more_than_raw(self, profile):
        rng = np.random.default_rng(0)
        empty = len(testing.file_of({}, profile=profile))
        for dtype in DTYPES:
            for cells in (1, 100, 20_000):
                array = np.empty(cells, dtype.numpy)
                if dtype.packed:
                    from_cells(rng.integers(0, 1 << dtype.bits, cells, np.uint8), dtype, array)
                else:
                    array.view(np.uint8)[:] = np.frombuffer(rng.bytes(array.nbytes), np.uint8)
                file = testing.file_of({"w": Dense(array, dtype.name)}, profile=profile)
                raw = packed_size(cells, dtype.bits)
                assert len(file) - empty <= raw + raw / 1000 + 200, (dtype.name, cells)
