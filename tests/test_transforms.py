"""Transforms against their formulas in SPEC 10, written once more, cell by cell."""

import itertools

import numpy as np
import pytest

import nnpack
from nnpack import stream, testing
from nnpack.abc import Codec
from nnpack.codecs import CODECS
from nnpack.dtypes import named
from nnpack.transforms import TRANSFORMS
from tests import assemble as a

PAIR, FLOAT5 = TRANSFORMS[3], TRANSFORMS[5]
PAIRED = ("int8", "uint8", "float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32")
FIVES = ("bfloat16", "float32")
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


def words(data, size):
    """Return the words of so many bytes."""
    return [int.from_bytes(bytes(data[i : i + size]), "little") for i in range(0, len(data), size)]


def halves(high, low, w):
    """halves(H, R) of SPEC 10.4."""
    mask = 2 ** (w // 2) - 1
    pairs = [*zip(high, low, strict=True)]
    return [(a << w // 2) % 2**w ^ (b & mask) for a, b in pairs] + [
        a ^ (b >> w // 2) for a, b in pairs
    ]


def exponents(q, rest):
    """exponents(q, W) of SPEC 10.4."""
    pairs = [*zip(words(q, 2), rest, strict=True)]
    first = [(a << 7) % 2**16 ^ (b & 0x807F) for a, b in pairs]
    return first + [(a >> 1) ^ (((b >> 8) | (b << 8) % 2**16) & 0x807F) for a, b in pairs]


def exceptions(control, parameter):
    """Yield the places and what is stated of them."""
    p = -1
    for e in range(control[2] + 256 * control[3]):
        p += 1 + words(control[4 : 4 + 8 * parameter], 2)[e]
        yield p, control[4 + 8 * parameter + e]


def by_the_formulas(planes, name, size, parameter):
    """Return the cells that SPEC 10.4 says, in Python's integers."""
    dtype = named(name)
    w, width = dtype.bits, dtype.itemsize
    control, hot, rest = (plane.tolist() for plane in planes)
    t = size % 64
    m = size - t
    h = m // 2
    tail = words(control[4 + 12 * parameter :], width)
    if name.startswith("float8"):
        return [hot[i] ^ 128 * (rest[i % (m // 8)] >> (8 * i // m) & 1) for i in range(m)] + tail
    if name in {"int8", "uint8", "float16"}:
        return halves(words(hot, width), words(rest, width), w) + tail
    q = hot
    if control[0] == 0:
        n = [byte & 15 for byte in hot] + [byte >> 4 for byte in hot]
        q = [(nibble + control[1]) % 256 for nibble in n]
        for p, exponent in exceptions(control, parameter):
            q[p] = exponent
    if name == "bfloat16":
        return exponents(q, words(rest, 2)) + tail
    y = exponents(q, words(rest[:m], 2))
    return (
        halves([y[2 * j] + 2**16 * y[2 * j + 1] for j in range(h)], words(rest[m:], 4), 32) + tail
    )


def by_the_formulas_of_float5(planes, name, size, parameter):
    """Return the cells that SPEC 10.6 says, in Python's integers."""
    width = named(name).itemsize
    control, hot, rest = (plane.tolist() for plane in planes)
    m = size - size % 64
    h = m // 2
    tail = words(control[4 + 12 * parameter :], width)
    if control[0] == 1:
        y = exponents(hot, words(rest[:m], 2))
    else:
        v0, v1, v2 = (words(rest[k * m // 4 : (k + 1) * m // 4], 2) for k in range(3))
        v3 = [
            a >> 1 ^ (a << 1) % 2**16 ^ b >> 5 ^ c >> 3 for a, b, c in zip(v0, v1, v2, strict=True)
        ]
        r = [byte for word in v0 + v1 + v2 + v3 for byte in divmod(word, 256)[::-1]]
        fields = [(r[k] + 256 * r[(k + 1) % m]) & 0x801F for k in range(m)]
        z = [(hot[2 * j] << 5) ^ fields[2 * j] for j in range(h)]
        z += [(hot[2 * j + 1] << 5) ^ (hot[2 * j] >> 3) ^ fields[2 * j + 1] for j in range(h)]
        for p, exponent in exceptions(control, parameter):
            z[p] = (z[p] & 0x807F) + 128 * exponent
        y = [(word + 128 * control[1]) % 2**16 for word in z]
    if name == "bfloat16":
        return y + tail
    low = words(rest[len(rest) - 2 * m :], 4)
    return halves([y[2 * j] + 2**16 * y[2 * j + 1] for j in range(h)], low, 32) + tail


ORACLES = {3: by_the_formulas, 5: by_the_formulas_of_float5}


@pytest.mark.parametrize(
    ("transform", "name"),
    [(PAIR, name) for name in PAIRED] + [(FLOAT5, name) for name in FIVES],
    ids=lambda given: getattr(given, "name", given),
)
@pytest.mark.parametrize("what", ["anything", "weights", "a few zeros", "zeros"])
def test_transform_is_what_its_formulas_say(transform, name, what):
    dtype = named(name)
    for size in SIZES:
        x = cells(name, size, what)
        for parameter in {0, 1, 40, transform.max_parameter(dtype)}:
            if parameter > transform.max_parameter(dtype):
                continue
            planes = transform.split(x.view(dtype.numpy), dtype, parameter)
            planes = [plane.copy() for plane in planes]
            form = int(planes[0][0])
            assert [*map(len, planes)] == transform.plane_lengths(size, dtype, parameter, form)
            assert ORACLES[transform.id](planes, name, size, parameter) == x.tolist()
            out = np.full(size, 85, dtype.uint)
            transform.join(planes, dtype, out.view(dtype.numpy), parameter)
            assert (out == x).all()


@pytest.mark.parametrize("name", FIVES)
def test_float5_decodes_whatever_its_planes_hold(name):
    dtype, rng = named(name), np.random.default_rng(6)
    for size, form, parameter in itertools.product((64, 199, 1030), (0, 1), (0, 2)):
        for listed in {0, 4 * parameter} if form == 0 else {0}:
            lengths = FLOAT5.plane_lengths(size, dtype, parameter, form)
            planes = [rng.integers(0, 256, length, np.uint8) for length in lengths]
            head = bytes([form, 0 if form else planes[0][1], listed, 0])
            gaps = rng.integers(0, 8, listed).astype("<u2").tobytes()
            head += gaps.ljust(8 * parameter, b"\0") + rng.bytes(listed)
            head = head.ljust(4 + 12 * parameter, b"\0")
            planes[0][: len(head)] = np.frombuffer(head, np.uint8)
            out = np.empty(size, dtype.uint)
            FLOAT5.join(planes, dtype, out.view(dtype.numpy), parameter)
            assert out.tolist() == by_the_formulas_of_float5(planes, name, size, parameter)


def test_float5_keeps_every_bit_pattern():
    """Every bfloat16 as an exception or not, among ones and as the high half of a float32."""
    rng = np.random.default_rng(7)
    for every in np.array_split(rng.permutation(1 << 16).astype(np.uint16), 65):
        high = np.full(2048, 0x3F80, np.uint16)
        high[rng.permutation(2048)[: len(every)]] = every
        for name, x in (("bfloat16", high), ("float32", high * np.uint32(1 << 16) + high)):
            dtype = named(name)
            planes = [p.copy() for p in FLOAT5.split(x.view(dtype.numpy), dtype, 255)]
            assert planes[0][0] == 0
            out = np.empty_like(x)
            FLOAT5.join(planes, dtype, out.view(dtype.numpy), 255)
            assert (out == x).all()


def test_float5_has_no_exception_among_64_exponents():
    dtype = named("bfloat16")
    for base in range(193):
        exponents = base + np.arange(128) % 64
        x = (exponents << 7 | np.arange(128) << 9 & 0x8000 | 0x55).astype(np.uint16)
        planes = FLOAT5.split(x.view(dtype.numpy), dtype)
        assert planes[0].tolist() == [0, base, 0, 0]


# The exponent of 2^-100 is far from that of 1 for either.
@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_the_form_follows_from_the_exceptions(transform):
    dtype = named("bfloat16")
    x = np.full(2048, 1.0, np.float32)
    for odd, parameter, form in ((0, 0, 0), (1, 0, 1), (4, 1, 0), (5, 1, 1), (1020, 255, 0)):
        x[:] = 1.0
        x[:odd] = 2.0**-100
        control, *_ = transform.split(x.astype(dtype.numpy), dtype, parameter)
        assert control[0] == form, (odd, parameter)
        assert transform.exceptions(control) == (None if form else odd)


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_gaps_that_do_not_fit_are_bridged(transform):
    dtype = named("bfloat16")
    x = np.ones(1 << 18, np.float32)
    x[200_000] = 2.0**-100
    for parameter, form in ((0, 1), (1, 0)):
        planes = [p.copy() for p in transform.split(x.astype(dtype.numpy), dtype, parameter)]
        assert planes[0][0] == form
        out = np.empty(len(x), dtype.numpy)
        transform.join(planes, dtype, out, parameter)
        assert (out.astype(np.float32) == x).all()
    assert planes[0][2] > 1
    x[[100_000, 250_000]] = 2.0**-100
    control, *_ = transform.split(x.astype(dtype.numpy), dtype, 1)
    assert control[0] == 1


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_a_block_of_another_form_stands_beside_the_others(transform):
    for name in FIVES:
        dtype = named(name)
        bits = cells(name, 5000, "weights")
        bits[1024:2048] = cells(name, 1024, "anything")
        array = bits.view(dtype.numpy)
        plan = testing.Plan(transform, (CODECS[0], CODECS[1], CODECS[0]), 10, 3)
        data = testing.file_of({"w": array}, planner=lambda _, plan=plan: plan)
        with nnpack.open(data) as file:
            read = file["w"].read()
            part = file["w"][1000:2100]
        assert (read.view(np.uint8) == array.view(np.uint8)).all()
        assert (part.view(np.uint8) == array[1000:2100].view(np.uint8)).all()


TOGETHER = [(PAIR, name) for name in PAIRED] + [(FLOAT5, name) for name in FIVES]
TOGETHER += [(TRANSFORMS[1], "float32"), (TRANSFORMS[4], "float16"), (TRANSFORMS[4], "float64")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("transform", "name"), TOGETHER, ids=lambda given: getattr(given, "name", given)
)
def test_blocks_are_joined_together(transform, name, threads, monkeypatch):
    """Blocks of another form are joined alone; a damaged one is told as if it were alone."""
    dtype = named(name)
    parameter = min(3, transform.max_parameter(dtype))
    bits = cells(name, 40 * 1024 + 100, "weights")
    if parameter:
        bits[8 * 1024 :][:5] = 0
        for block in (14, 15, 30):
            bits[block * 1024 :][:1024] = cells(name, 1024, "anything")
    array = bits.view(dtype.numpy)
    planes = len(transform.plane_lengths(1024, dtype, parameter))
    codecs = (CODECS[0],) + (CODECS[1],) * (planes - 1)
    plan = testing.Plan(transform, codecs, 10, parameter)
    data = testing.file_of({"w": array}, planner=lambda _: plan)
    monkeypatch.setattr(stream, "PIECE", 1 << 13)  # what is worth a thread
    joined, join = [], type(transform).join
    monkeypatch.setattr(
        type(transform),
        "join",
        lambda self, planes, dtype, out, *rest: (
            joined.append(out.size) or join(self, planes, dtype, out, *rest)
        ),
    )
    with nnpack.open(data, threads=threads) as file:
        for start, stop in ((0, len(array)), (700, 30_000)):
            joined.clear()
            assert testing.same_bits(file["w"][start:stop], array[start:stop])
            assert max(joined) >= 4 * 1024
        leaf = file["w"].node.source
        assert leaf.shares(40 * 1024, threads)[0] == threads
        assert leaf.shares(2 * stream.PIECE - 1, 8) == (1, stream.PIECE)
    starts, lengths = leaf.start + leaf.head.starts[:-1], leaf.head.table[:, 0]
    assert len(starts) == 41 * planes
    padded = np.flatnonzero(lengths[:-1] % 8)  # nothing stands behind the last
    places = [(at, at, "bad-checksum") for at in starts[1::planes].tolist()]
    places += [(int(starts[k]), int(starts[k] + lengths[k]), "bad-layout") for k in padded]
    for plane, at, wanted in places:
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with (
            nnpack.open(bad, threads=threads) as file,
            pytest.raises(nnpack.FormatError, match=wanted) as caught,
        ):
            file["w"].read()
        assert caught.value.offset == plane


def planes_of_ones(transform=PAIR):
    """Return the planes of 128 cells of which one is an exception."""
    dtype = named("bfloat16")
    x = np.ones(128, np.float32)
    x[3] = 2.0**-100
    planes = [plane.copy() for plane in transform.split(x.astype(dtype.numpy), dtype, 1)]
    base, place = (112, 6) if transform is PAIR else (64, 3)
    exponent = 27 if transform is PAIR else (27 - 64) % 256
    assert planes[0].tolist() == [0, base, 1, 0, place, 0, *[0] * 6, exponent, 0, 0, 0]
    return planes


def file_of(planes, codecs=(0, 0, 0), dtype=a.BFLOAT16, parameter=1, transform=PAIR):
    """Return a file of one block."""
    stored = [plane.tobytes() for plane in planes]
    payload = b"".join(data.ljust(a.up8(len(data)), b"\0") for data in stored)
    payload = payload[: len(payload) - a.up8(len(stored[-1])) + len(stored[-1])]
    stream = a.stream(stored, transform=transform.id, codecs=codecs, parameter=parameter)
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


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_control_plane(what, transform):
    place, value, error_class = WRONG[what]
    planes = planes_of_ones(transform)
    assert nnpack.open(file_of(planes, transform=transform))["w"].read()[4] == 1
    planes[0][place] = value
    with pytest.raises(nnpack.FormatError) as caught:
        nnpack.open(file_of(planes, transform=transform))["w"].read()
    assert caught.value.error_class == error_class


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_exponents_that_are_bytes_have_no_base(transform):
    dtype = named("bfloat16")
    x = cells("bfloat16", 128, "anything").view(dtype.numpy)
    planes = [plane.copy() for plane in transform.split(x, dtype, 1)]
    assert planes[0].tolist() == [1, *[0] * 15]
    for place in (1, 2, 4, 12):
        wrong = [planes[0].copy(), *planes[1:]]
        wrong[0][place] = 1
        with pytest.raises(nnpack.FormatError, match="bad-value"):
            nnpack.open(file_of(wrong, transform=transform))["w"].read()


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_the_last_place_of_an_exception(transform):
    planes = planes_of_ones(transform)
    for place, value in ((127, 2.0**-100), (128, None)):
        planes[0][4] = place
        file = nnpack.open(file_of(planes, transform=transform))
        if value:
            assert abs(file["w"].read()[127]) == value
        else:
            with pytest.raises(nnpack.FormatError, match="bad-index"):
                file["w"].read()


def test_integers_have_no_exponents():
    dtype = named("int8")
    x = cells("int8", 128, "weights").view(dtype.numpy)
    planes = [plane.copy() for plane in PAIR.split(x, dtype)]
    good = nnpack.open(file_of(planes, dtype=a.INT8, parameter=0))["w"].read()
    assert (good == x).all()
    for place in range(4):
        wrong = [planes[0].copy(), *planes[1:]]
        wrong[0][place] = 1
        with pytest.raises(nnpack.FormatError, match="bad-value"):
            nnpack.open(file_of(wrong, dtype=a.INT8, parameter=0))["w"].read()


@pytest.mark.parametrize("transform", [PAIR, FLOAT5], ids=lambda given: given.name)
def test_what_a_block_with_exponents_cannot_be(transform):
    planes = planes_of_ones(transform)
    for options, error_class in (
        ({"dtype": a.UINT16}, "bad-dtype"),
        ({"codecs": (1, 0, 0)}, "bad-value"),
        ({"dtype": a.INT8}, "bad-value" if transform is PAIR else "bad-dtype"),
        ({"parameter": 2}, "mismatch"),
    ):
        with pytest.raises(nnpack.FormatError) as caught:
            nnpack.open(file_of(planes, transform=transform, **options))["w"]
        assert caught.value.error_class == error_class, options
    for cut, error_class in ((planes[1][:0], "bad-value"), (planes[1][:9], "mismatch")):
        with pytest.raises(nnpack.FormatError) as caught:
            nnpack.open(file_of([planes[0], cut, planes[2]], transform=transform))["w"]
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
