"""Registered codecs: SPEC's procedures decide what a stream is, and a missing library hurts nobody."""

import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import nnpack
from nnpack import testing
from nnpack.cli import Exit, main
from nnpack.codecs import CODECS
from nnpack.codecs.brotli import Brotli
from nnpack.nodes import KINDS
from nnpack.transforms import TRANSFORMS
from nnpack.verify import verify
from tests import assemble as a

SNAPPY, BROTLI, LZO1X, GZIP, LZW = range(16, 21)
EXTRA = 'pip install "nnpack-format[codecs]"'


# The procedures of SPEC 11.8, word for word


class Bytes:
    """The stored bytes, read from the start."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        require(self.at + size <= len(self.data))
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size=1):
        return int.from_bytes(self.take(size), "little")

    @property
    def at_end(self):
        return self.at == len(self.data)


class FailedError(Exception):
    """A requirement of a procedure does not hold."""


def require(holds):
    if not holds:
        raise FailedError


def repeat(out, length, offset):
    for _ in range(length):
        out.append(out[-offset])


def snappy(data, size):
    source, out = Bytes(data), bytearray()
    n = shift = 0
    while True:
        byte = source.number()
        n |= (byte & 127) << shift
        shift += 7
        require(n < 1 << 32)
        if byte < 128:
            break
    require(n == size)
    while not source.at_end:
        t = source.number()
        if t & 3 == 0:
            length = t >> 2
            if length >= 60:
                length = source.number(length - 59)
            out += source.take(length + 1)
        else:
            length = (t >> 2 & 7) + 4 if t & 3 == 1 else (t >> 2) + 1
            offset = (t >> 5) * 256 + source.number() if t & 3 == 1 else source.number(2 if t & 3 == 2 else 4)  # fmt: skip
            require(0 < offset <= len(out) and len(out) + length <= size)
            repeat(out, length, offset)
        require(len(out) <= size)
    require(len(out) == n)
    return bytes(out)


def lzo1x(data, size):
    source, out, state = Bytes(data), bytearray(), 0

    def long(value, base):
        if value:
            return value
        zeros = 0
        while not (byte := source.number()):
            zeros += 1
        return base + 255 * zeros + byte

    t = source.number()
    if t >= 18:
        out += source.take(t - 17)
        state, t = min(t - 17, 4), source.number()
    while True:
        if t >= 64:
            length, offset, s = (t >> 5) + 1, 8 * source.number() + (t >> 2 & 7) + 1, t & 3
        elif t >= 32:
            length, w = long(t & 31, 31) + 2, source.number(2)
            offset, s = (w >> 2) + 1, w & 3
        elif t >= 16:
            length, w = long(t & 7, 7) + 2, source.number(2)
            offset, s = 2048 * (t & 8) + (w >> 2), w & 3
            if not offset:
                require(t == 17 and not w)
                break
            offset += 16384
        elif not state:
            out += source.take(long(t, 15) + 3)
            state, t = 4, source.number()
            continue
        else:
            length, offset, s = 2, 4 * source.number() + (t >> 2) + 1, t & 3
            if state == 4:
                length, offset = 3, offset + 2048
        require(offset <= len(out) and len(out) + length <= size)
        repeat(out, length, offset)
        out += source.take(s)
        state, t = s, source.number()
    require(source.at_end and len(out) == size)
    return bytes(out)


def lzw(data, size):
    whole, out, start, k, p = int.from_bytes(data, "little"), bytearray(), {}, 0, 0
    while True:
        top = min(257 + k, 4095)
        w = next(w for w in range(20) if top < 2**w)
        c = whole >> p & 2**w - 1
        p += w
        require(p <= 8 * len(data) and c <= top)
        if c == 257:
            break
        if c == 256:
            k = 0
            continue
        start[k] = len(out)
        if c < 256:
            out.append(c)
        else:
            for at in range(start[c - 258], start[c - 257] + 1):
                out.append(out[at])
        k += 1
        require(len(out) <= size)
    require(len(out) == size and not whole >> p and (p + 7) // 8 == len(data))
    return bytes(out)


PROCEDURES = {SNAPPY: snappy, LZO1X: lzo1x, LZW: lzw}
RNG = np.random.default_rng(11)
PLANES = (
    bytes(700),
    b"abcabcabcab" * 40,
    RNG.integers(0, 3, 900, np.uint8).tobytes(),
    RNG.bytes(300),
    bytes(range(200)) * 3 + bytes(5000) + bytes(range(100)),
)


def taken(decode, stored, size):
    """What a decoder makes of a stream, None where it refuses it."""
    try:
        return bytes(decode(stored, size))
    except FailedError:
        return None
    except nnpack.FormatError as bad:
        assert bad.error_class == "bad-stream"
        return None


def decoded(codec, stored, size):
    """What a codec fills a plane with."""
    plane = bytearray(size)
    codec.decode_into(memoryview(stored), memoryview(plane))
    return bytes(plane)


def mutated(rng, stored):
    """The stream with a few bytes changed, cut out, repeated or put in."""
    data = bytearray(stored)
    for _ in range(int(rng.integers(1, 4))):
        at, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 5))
        match int(rng.integers(5)):
            case 0:
                data[at : at + 1] = rng.bytes(1)
            case 1:
                data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(8))] if at < len(data) else [])  # fmt: skip
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at:at] = bytes(size)
    return bytes(data)


def assert_same(key, stored, size):
    wanted = taken(PROCEDURES[key], stored, size)
    assert taken(lambda data, size: decoded(CODECS[key], data, size), stored, size) == wanted
    return wanted


@pytest.mark.parametrize("key", PROCEDURES)
def test_procedure_and_codec_agree_on_every_stream(key):
    rng = np.random.default_rng(key)
    accepted = 0
    for plane in PLANES:
        stored = CODECS[key].encode(memoryview(plane))
        assert assert_same(key, stored, len(plane)) == plane
        for _ in range(400):
            bad = mutated(rng, stored)
            for size in (len(plane), len(plane) + 1, max(len(plane) - 1, 0)):
                accepted += assert_same(key, bad, size) is not None
    assert accepted


@pytest.mark.parametrize("key", PROCEDURES)
def test_procedure_and_codec_agree_on_garbage(key):
    rng = np.random.default_rng(key)
    for number in range(3000):
        head = (b"", b"\x14abc", b"\x40" + bytes(1), b"\x61")[number % 4]
        tail = b"\x11\0\0" if number % 3 else b""
        stored = head + rng.integers(0, 70, int(rng.integers(9)), np.uint8).tobytes() + tail
        for size in (0, 3, 64):
            assert_same(key, stored, size)


# lzw, whose codes are ours


def packed(codes):
    """The stream of these codes, their widths as SPEC states them: 255 of 9 bits, 512 of 10, ..."""
    whole = p = k = 0
    for code in codes:
        whole |= code << p
        p += 9 if k < 255 else 10 if k < 767 else 11 if k < 1791 else 12
        k = 0 if code == 256 else k + 1
    return whole.to_bytes((p + 7) // 8, "little")


def lzw_decode(codes, size):
    return decoded(CODECS[LZW], packed(codes), size)


@pytest.mark.parametrize("count", [254, 255, 256, 767, 768, 1791, 1792, 3838, 3839, 3840, 9000])
def test_lzw_codes_widen_where_the_specification_says(count):
    data = (np.arange(count) % 251).astype(np.uint8).tobytes()
    assert lzw_decode([*data, 257], count) == data
    top = min(257 + count, 4095)
    pair = (data + data[-1:])[top - 258 : top - 256]
    assert lzw_decode([*data, top, 257], count + 2) == data + pair
    assert lzw_decode([*data, 256, 7, 258, 257], count + 3) == data + b"\7\7\7"


def test_lzw_strings_grow_into_themselves():
    codes = [5, *range(258, 4096), 4095, 4095, 257]
    size = sum(range(1, 3840)) + 2 * 3839
    assert lzw_decode(codes, size) == b"\5" * size


@pytest.mark.parametrize(
    "codes",
    [[258, 257], [1, 259, 257], [1, 256, 258, 257], [1, 2], [300], [256] * 9],
    ids=["first", "ahead", "behind a clear code", "no end", "beyond", "nothing but clear codes"],
)
def test_lzw_refuses_codes(codes):
    with pytest.raises(nnpack.FormatError, match="bad-stream: LZW code"):
        lzw_decode(codes, 2)


def test_lzw_of_nothing_is_the_end_code():
    """Writers ask for planes that are empty, though none of them is stored coded."""
    assert CODECS[LZW].encode(memoryview(b"")) == packed([257])
    assert lzw_decode([257], 0) == b""


def test_lzw_writer_clears_a_full_table():
    data = np.random.default_rng(3).bytes(9000)
    stored = CODECS[LZW].encode(memoryview(data))
    codes, whole, p, k = [], int.from_bytes(stored, "little"), 0, 0
    while not codes or codes[-1] != 257:
        width = min(257 + k, 4095).bit_length()
        codes.append(whole >> p & (1 << width) - 1)
        p, k = p + width, 0 if codes[-1] == 256 else k + 1
    assert [at for at, code in enumerate(codes) if code == 256] == [3839, 2 * 3840 - 1]
    assert packed(codes) == stored


# gzip


def test_gzip_is_the_same_wherever_it_is_written():
    stored = CODECS[GZIP].encode(memoryview(bytes(1000)))
    assert stored.hex() == "1f8b08000000000000ff63601805a360140c77000080170b06e8030000"


def test_gzip_takes_any_time_and_system():
    stored = bytearray(CODECS[GZIP].encode(memoryview(bytes(1000))))
    stored[4:10] = b"\1\2\3\4\2\3"
    assert CODECS[GZIP].decode(memoryview(stored), 1000) == bytes(1000)


# Libraries


def file_with(key, **options):
    """A file whose tensor `w` is in a codec, and `v` is not."""

    def plan(leaf):
        return testing.Plan(TRANSFORMS[0], (CODECS[key if leaf.size > 9 else 0],), 10)

    return testing.file_of({"w": np.zeros(300, np.int32), "v": np.arange(3)}, planner=plan, **options)  # fmt: skip


@pytest.fixture
def without(monkeypatch):
    """A machine on which no library of the extra is installed."""
    for name in {getattr(codec, "library", "") for codec in CODECS.values()} - {""}:
        monkeypatch.setitem(sys.modules, name, None)


FILES = {key: file_with(key) for key in range(16, 21)}
NEEDY = [key for key in FILES if CODECS[key].library]


@pytest.mark.parametrize("key", FILES)
def test_codecs_are_found_by_their_ids(key):
    tensor = nnpack.open(FILES[key])["w"]
    assert tensor.head.stream.codecs == (key,)
    assert tensor.stored_nbytes < tensor.nbytes
    assert not tensor.read().any()
    assert not {name: value for _, name, value in nnpack.read_stream(io.BytesIO(FILES[key]))}["w"].read().any()  # fmt: skip
    assert verify(FILES[key]).unchecked == ()


class InGzip(nnpack.Writer):
    """As README says: what a profile codes is coded in another codec."""

    def plan(self, leaf):
        plan = super().plan(leaf)
        codecs = (CODECS[GZIP] if codec.id else codec for codec in plan.codecs)
        return dataclasses.replace(plan, codecs=(*codecs,))


def test_a_writer_can_plan_with_them():
    weights = RNG.standard_normal(20_000).astype(np.float32)
    file = io.BytesIO()
    with InGzip(file) as writer:
        writer.add("w", weights)
    tensor = nnpack.open(file.getvalue())["w"]
    assert tensor.head.stream.codecs == (0, GZIP, 0)
    assert testing.same_bits(tensor.read(), weights)


def test_which_codecs_need_the_extra():
    assert NEEDY == [SNAPPY, BROTLI, LZO1X]


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("key", NEEDY)
def test_a_missing_library_is_said_and_hurts_nothing_else(key):
    reader = nnpack.open(FILES[key])
    tensor = reader["w"]
    assert (tensor.supported, tensor.shape, tensor.dtype, tensor.kind) == (False, (300,), "int32", "dense")  # fmt: skip
    wanted = re.escape(f"this reader lacks codec {CODECS[key].name} ({EXTRA})")
    for use in (tensor.read, tensor.value, lambda: tensor[3:4], reader.load):
        with pytest.raises(nnpack.UnsupportedError, match=wanted) as caught:
            use()
        assert caught.value.section == "w"
    assert reader["v"].read().tolist() == [0, 1, 2]


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("key", NEEDY)
def test_checksums_are_checked_without_a_library(key):
    data = FILES[key]
    report = verify(data)
    assert (report.verdict, report.intact) == ("intact", ("w", "v"))
    assert [(bad.error_class, bad.section) for bad in report.unchecked] == [("unsupported", "w")]
    assert EXTRA in str(report.unchecked[0])
    at = nnpack.open(data)["w"].section.payload_offset
    report = verify(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert ("bad-checksum", "w") in [(bad.error_class, bad.section) for bad in report.faults]


@pytest.mark.usefixtures("without")
def test_commands_say_which_extra_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("m.nnpk").write_bytes(FILES[BROTLI])

    def run(*arguments):
        return CliRunner().invoke(main, arguments)

    shown = run("info", "m.nnpk")
    assert shown.exit_code == Exit.FINE
    assert f"lacking   codec brotli ({EXTRA})" in shown.stdout.splitlines()
    about = json.loads(run("info", "m.nnpk", "--json").stdout)["tensors"]
    assert [row["unsupported"] for row in about] == [[f"codec brotli ({EXTRA})"], []]
    assert about[0]["tree"]["codecs"] == ["brotli"]
    assert EXTRA in run("verify", "m.nnpk").stdout
    assert "17 = brotli" in run("explain", "m.nnpk").stdout
    for arguments in (("extract", "m.nnpk", "w", "-o", "w.npy"), ("convert", "m.nnpk", "m.npz")):
        ended = run(*arguments)
        assert (ended.exit_code, EXTRA in ended.stderr) == (Exit.UNSUPPORTED, True)
    assert run("extract", "m.nnpk", "v", "-o", "v.npy").exit_code == Exit.FINE


class Mine(Brotli):
    """Another implementation of the same codec, which needs nothing."""

    library = ""

    def decode_into(self, data, out):
        out[:] = bytes(len(out))


@pytest.mark.usefixtures("without")
def test_a_caller_s_codec_stands_for_a_registered_one():
    for codec in (Mine(), type("Duck", (), {"id": 17, "name": "duck", "decode_into": Mine.decode_into})()):  # fmt: skip
        assert not nnpack.open(FILES[BROTLI], codecs={17: codec})["w"].read().any()


@pytest.mark.usefixtures("without")
def test_layouts_use_what_is_installed():
    from hypothesis import given, settings

    @settings(max_examples=60, database=None)
    @given(testing.layouts())
    def check(planner):
        used = planner(nnpack.Dense(np.zeros(9, np.complex128))).codecs
        assert all(getattr(codec, "is_installed", True) for codec in used)

    check()


def test_registered_codecs_have_no_shared_tables():
    """A table where there can be none is a fault of the tree, not something unknown."""
    parameters = a.stream([b"abcd"], codecs=(BROTLI,))
    parameters = parameters[:8] + parameters[8:16] + parameters[8:16]
    leaf = a.node(KINDS[1].id, a.UINT8, (4,), parameters)
    with pytest.raises(nnpack.FormatError, match="bad-node"):
        nnpack.open(a.assemble(a.tensor("w", leaf, b"abcd" * 3)))["w"]
