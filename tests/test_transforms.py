"""Transforms against their formulas in SPEC 10, written once more, cell by cell."""

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.abc import Codec
from nnpack.codecs import CODECS
from nnpack.dtypes import named
from nnpack.transforms import TRANSFORMS
from tests import assemble as a

PAIR = TRANSFORMS[3]
PAIRED = ("int8", "uint8", "float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32")
SIZES = (1, 63, 64, 65, 130, 1024, 4100)


def cells(name, size, what):
    """Return cells of an element type as unsigned integers."""
    dtype, rng = named(name), np.random.default_rng(size)
    if what == "anything":
        return rng.integers(0, 256, size * dtype.itemsize, np.uint8).view(dtype.uint)
    weights = rng.standard_normal(size).astype(np.float32)
    if what == "a few zeros":
        weights[:: max(1, size // 3)] = 0
    if what == "zeros":
        weights[:] = -0.0
    if dtype.is_integer:
        return (weights * 30).astype(np.int8).view(np.uint8)
    return weights.astype(dtype.numpy).view(dtype.uint)


def by_the_formulas(planes, name, size, parameter):
    """Return the cells that SPEC 10.4 says, in Python's integers."""
    dtype = named(name)
    w, width = dtype.bits, dtype.itemsize
    control, hot, rest = (plane.tolist() for plane in planes)
    t = size % 64
    m = size - t
    h = m // 2

    def words(data, size):
        return [
            int.from_bytes(bytes(data[i : i + size]), "little") for i in range(0, len(data), size)
        ]

    def halves(high, low, w):
        mask = 2 ** (w // 2) - 1
        pairs = [*zip(high, low, strict=True)]
        return [(a << w // 2) % 2**w ^ (b & mask) for a, b in pairs] + [
            a ^ (b >> w // 2) for a, b in pairs
        ]

    def exponents(q, rest):
        pairs = [*zip(words(q, 2), rest, strict=True)]
        first = [(a << 7) % 2**16 ^ (b & 0x807F) for a, b in pairs]
        return first + [(a >> 1) ^ (((b >> 8) | (b << 8) % 2**16) & 0x807F) for a, b in pairs]

    tail = words(control[4 + 12 * parameter :], width)
    if name.startswith("float8"):
        return [hot[i] ^ 128 * (rest[i % (m // 8)] >> (8 * i // m) & 1) for i in range(m)] + tail
    if name in {"int8", "uint8", "float16"}:
        return halves(words(hot, width), words(rest, width), w) + tail
    q = hot
    if control[0] == 0:
        n = [byte & 15 for byte in hot] + [byte >> 4 for byte in hot]
        q = [(nibble + control[1]) % 256 for nibble in n]
        p = -1
        for e in range(control[2] + 256 * control[3]):
            p += 1 + words(control[4 : 4 + 8 * parameter], 2)[e]
            q[p] = control[4 + 8 * parameter + e]
    if name == "bfloat16":
        return exponents(q, words(rest, 2)) + tail
    y = exponents(q, words(rest[:m], 2))
    return (
        halves([y[2 * j] + 2**16 * y[2 * j + 1] for j in range(h)], words(rest[m:], 4), 32) + tail
    )


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("what", ["anything", "weights", "a few zeros", "zeros"])
def test_pair_is_what_its_formulas_say(name, what):
    dtype = named(name)
    for size in SIZES:
        x = cells(name, size, what)
        for parameter in {0, 1, 40, PAIR.max_parameter(dtype)}:
            if parameter > PAIR.max_parameter(dtype):
                continue
            planes = [plane.copy() for plane in PAIR.split(x.view(dtype.numpy), dtype, parameter)]
            form = int(planes[0][0])
            assert [*map(len, planes)] == PAIR.plane_lengths(size, dtype, parameter, form)
            assert by_the_formulas(planes, name, size, parameter) == x.tolist()
            out = np.full(size, 85, dtype.uint)
            PAIR.join(planes, dtype, out.view(dtype.numpy), parameter)
            assert (out == x).all()


def test_the_form_of_a_pair_follows_from_its_exceptions():
    dtype = named("bfloat16")
    x = np.full(1024, 1.0, np.float32)
    for odd, parameter, form in ((0, 0, 0), (1, 0, 1), (4, 1, 0), (5, 1, 1), (1020, 255, 0)):
        x[:] = 1.0
        x[:odd] = 2.0**-60
        planes = PAIR.split(x.astype(dtype.numpy), dtype, parameter)
        assert planes[0][0] == form, (odd, parameter)


def test_gaps_that_do_not_fit_are_bridged():
    dtype = named("bfloat16")
    x = np.ones(1 << 18, np.float32)
    x[200_000] = 2.0**-60
    for parameter, form in ((0, 1), (1, 0)):
        planes = [p.copy() for p in PAIR.split(x.astype(dtype.numpy), dtype, parameter)]
        assert planes[0][0] == form
        out = np.empty(len(x), dtype.numpy)
        PAIR.join(planes, dtype, out, parameter)
        assert (out.astype(np.float32) == x).all()
    assert planes[0][2] > 1


def test_a_block_of_another_form_stands_beside_the_others():
    for name in ("bfloat16", "float32"):
        dtype = named(name)
        bits = cells(name, 5000, "weights")
        bits[1024:2048] = cells(name, 1024, "anything")
        array = bits.view(dtype.numpy)
        plan = testing.Plan(PAIR, (CODECS[0], CODECS[1], CODECS[0]), 10, 3)
        data = testing.file_of({"w": array}, planner=lambda _, plan=plan: plan)
        with nnpack.open(data) as file:
            read = file["w"].read()
            part = file["w"][1000:2100]
        assert (read.view(np.uint8) == array.view(np.uint8)).all()
        assert (part.view(np.uint8) == array[1000:2100].view(np.uint8)).all()


def planes_of_ones():
    """Return the planes of 128 cells of which one is an exception."""
    dtype = named("bfloat16")
    x = np.ones(128, np.float32)
    x[3] = 2.0**-60
    planes = [plane.copy() for plane in PAIR.split(x.astype(dtype.numpy), dtype, 1)]
    assert planes[0].tolist() == [0, 112, 1, 0, 6, 0, *[0] * 6, 67, 0, 0, 0]
    return planes


def pair_file(planes, codecs=(0, 0, 0), dtype=a.BFLOAT16, parameter=1):
    """Return a file of one pair block."""
    stored = [plane.tobytes() for plane in planes]
    payload = b"".join(data.ljust(a.up8(len(data)), b"\0") for data in stored)
    payload = payload[: len(payload) - a.up8(len(stored[-1])) + len(stored[-1])]
    stream = a.stream(stored, transform=3, codecs=codecs, parameter=parameter)
    return a.assemble(a.tensor(b"w", a.node(a.DENSE, dtype, (128,), stream), payload))


# what: (place in the control plane, its value, error class)
WRONG = {
    "form": (0, 2, "bad-value"),
    "bytes with a base": (0, 1, "mismatch"),
    "too many exceptions": (3, 1, "bad-value"),
    "a place beyond the block": (5, 8, "bad-index"),
    "a gap behind the last": (7, 1, "bad-value"),
    "an exponent behind the last": (15, 1, "bad-value"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_control_plane(what):
    place, value, error_class = WRONG[what]
    planes = planes_of_ones()
    assert nnpack.open(pair_file(planes))["w"].read()[4] == 1
    planes[0][place] = value
    with pytest.raises(nnpack.FormatError) as caught:
        nnpack.open(pair_file(planes))["w"].read()
    assert caught.value.error_class == error_class


def test_exponents_that_are_bytes_have_no_base():
    dtype = named("bfloat16")
    x = cells("bfloat16", 128, "anything").view(dtype.numpy)
    planes = [plane.copy() for plane in PAIR.split(x, dtype, 1)]
    assert planes[0][0] == 1
    for place in (1, 2, 4, 12):
        wrong = [planes[0].copy(), *planes[1:]]
        wrong[0][place] = 1
        with pytest.raises(nnpack.FormatError, match="bad-value"):
            nnpack.open(pair_file(wrong))["w"].read()


def test_integers_have_no_exponents():
    dtype = named("int8")
    x = cells("int8", 128, "weights").view(dtype.numpy)
    planes = [plane.copy() for plane in PAIR.split(x, dtype)]
    good = nnpack.open(pair_file(planes, dtype=a.INT8, parameter=0))["w"].read()
    assert (good == x).all()
    for place in range(4):
        wrong = [planes[0].copy(), *planes[1:]]
        wrong[0][place] = 1
        with pytest.raises(nnpack.FormatError, match="bad-value"):
            nnpack.open(pair_file(wrong, dtype=a.INT8, parameter=0))["w"].read()


def test_what_a_pair_cannot_be():
    planes = planes_of_ones()
    for options, error_class in (
        ({"dtype": a.UINT16}, "bad-dtype"),
        ({"codecs": (1, 0, 0)}, "bad-value"),
        ({"dtype": a.INT8}, "bad-value"),
        ({"parameter": 2}, "mismatch"),
    ):
        with pytest.raises(nnpack.FormatError) as caught:
            nnpack.open(pair_file(planes, **options))["w"]
        assert caught.value.error_class == error_class, options
    for cut, error_class in ((planes[1][:0], "bad-value"), (planes[1][:9], "mismatch")):
        with pytest.raises(nnpack.FormatError) as caught:
            nnpack.open(pair_file([planes[0], cut, planes[2]]))["w"]
        assert caught.value.error_class == error_class


class Nosy(Codec):
    """A codec that reads a tensor of another file while it decodes."""

    id, name = 200, "org.example.nosy"

    def __init__(self, path):
        self.path, self.seen = path, []

    def encode(self, data):
        return CODECS[1].encode(data)

    def decode(self, data, size):
        with nnpack.open(self.path, threads=1) as other:
            self.seen.append(other["x"].read())
        return CODECS[1].decode(data, size)


def test_work_that_comes_in_between_has_memory_of_its_own(tmp_path):
    weights = cells("bfloat16", 300_000, "weights").view(named("bfloat16").numpy)
    other = cells("float32", 200_000, "weights").view(np.float32)
    nnpack.save_file({"x": other}, tmp_path / "other.nnpk")
    codec = Nosy(tmp_path / "other.nnpk")
    plan = testing.Plan(PAIR, (CODECS[0], codec, CODECS[0]), 15, 20)
    data = testing.file_of({"w": weights}, planner=lambda _: plan, codecs={200: codec})
    (tmp_path / "w.nnpk").write_bytes(data)
    with nnpack.open(tmp_path / "w.nnpk", codecs={200: codec}, threads=1) as file:
        assert testing.same_bits(file["w"].read(), weights)
    assert len(codec.seen) == 10
    assert all(testing.same_bits(seen, other) for seen in codec.seen)


class Short(Nosy):
    """A codec that gives a byte too few."""

    def decode(self, data, size):
        return CODECS[1].decode(data, size)[1:]


def test_a_codec_that_gives_too_few_bytes_is_found_out():
    weights = cells("bfloat16", 3000, "weights").view(named("bfloat16").numpy)
    codec = Short(None)
    plan = testing.Plan(PAIR, (CODECS[0], codec, CODECS[0]), 18, 20)
    data = testing.file_of({"w": weights}, planner=lambda _: plan, codecs={200: codec})
    with (
        nnpack.open(data, codecs={200: codec}) as file,
        pytest.raises(nnpack.FormatError, match=r"org\.example\.nosy gave 1471 bytes, not 1472"),
    ):
        file["w"].read()
