"""What reading a value allocates is at most what it charges for."""

import tracemalloc

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.abc import PIECE, read_range
from nnpack.nodes.dense import Dense

SLACK = 64 << 10
"""Small objects, and the cuts of a range."""
WIDE = (3 << 20) + 77


def halves(rows, width, axis=1):
    rng = np.random.default_rng(rows)
    array = rng.integers(0, 256, (rows, width), np.uint8)
    parts = np.split(array, [width // 3], axis) if axis else np.split(array, [1])
    return nnpack.Concat([np.ascontiguousarray(part) for part in parts], axis), array


def peak(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CONCATS = {
    "two wide rows": halves(2, WIDE),
    "rows of pieces": halves(7, PIECE - 5),
    "narrow rows": halves(PIECE, 12),
    "one below the other": halves(4, WIDE, 0),
}


@pytest.mark.parametrize("what", CONCATS)
def test_concat_takes_what_it_charges(what):
    value, array = CONCATS[what]
    width, flat = array.shape[1], array.reshape(-1)
    for start, stop in ((0, array.size), (1, array.size - 1), (width - 3, width + 2),
                        (max(width - PIECE // 2, 0), width + PIECE // 2), (5, 9)):  # fmt: skip
        charged = (stop - start) + value.overhead(stop - start)
        assert peak(lambda a=start, b=stop: read_range(value, a, b)) <= charged + SLACK
        assert testing.same_bits(read_range(value, start, stop), flat[start:stop])


def test_a_read_of_wide_rows_takes_what_the_limit_allows():
    value, array = halves(2, WIDE)
    tensor = nnpack.open(testing.file_of({"w": value}, profile="raw"), threads=1)["w"]
    assert peak(tensor.read) <= tensor.charge + (2 << 20)
    assert testing.same_bits(tensor.read(), array)


def test_a_cut_row_is_read_in_place():
    """No copy is made of a part of a row, however wide the row is."""
    value, array = halves(3, WIDE)
    out = np.empty(WIDE, np.uint8)
    fill = value.window(WIDE // 2, WIDE // 2 + WIDE)
    assert peak(lambda: fill(WIDE // 2, WIDE // 2 + WIDE, out)) < SLACK
    assert testing.same_bits(out, array.reshape(-1)[WIDE // 2 : WIDE // 2 + WIDE])
    assert value.overhead(5) == 5
    assert isinstance(value.members[0], Dense)


@pytest.mark.parametrize("axis", [0, 1])
def test_long_vectors_are_not_all_had_at_once(axis):
    rng = np.random.default_rng(axis)
    table = rng.standard_normal((256, 64), np.float32)
    indices = rng.integers(0, 256, (1000, 40), np.uint8)
    value = nnpack.Codebook(table, indices, vector_axis=axis)
    wanted = table[indices]
    wanted = wanted.transpose(0, 2, 1) if axis == 0 else wanted
    tensor = nnpack.open(testing.file_of({"w": value}, profile="raw"), threads=1)["w"]
    assert value.nbytes > 5 << 20
    assert peak(tensor.read) <= tensor.charge + (3 << 20)
    assert testing.same_bits(tensor.read(), np.ascontiguousarray(wanted).reshape(value.shape))
    flat, out = wanted.reshape(-1), np.empty(1_000_000, np.float32)
    value.window(77, 1_000_077)(77, 1_000_077, out)
    assert testing.same_bits(out, flat[77:1_000_077])
