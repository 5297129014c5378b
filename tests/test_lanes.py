"""The codecs with tables against SPEC 11.5 to 11.7, written once more, symbol by symbol."""

import heapq
import io
import threading

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.abc import Codec, TableCodec
from nnpack.codecs import CODECS
from nnpack.codecs.huffman import Huffman, code_lengths
from nnpack.codecs.rans import Rans
from nnpack.transforms import TRANSFORMS
from nnpack.wire import crc32
from tests import assemble as a

RNG = np.random.default_rng(7)


def table_by_the_text(table):
    """Return the lanes and the symbols with the rest of a table, as SPEC 11.5 says."""
    present = [s for s in range(256) if table[1 + s // 8] >> s % 8 & 1]
    return 2 ** table[0], present, table[33:]


def slots_by_the_text(ranges):
    """Return symbol and place for each of the 4096 slots."""
    return [(s, i) for s, size in ranges for i in range(size)]


def decode_huffman(table, stored, n):
    """SPEC 11.6."""
    lanes, present, rest = table_by_the_text(table)
    lengths = {s: rest[k // 2] >> 4 * (k % 2) & 15 for k, s in enumerate(present)}
    order = sorted(present, key=lambda s: (lengths[s], s))
    slots = slots_by_the_text((s, 2 ** (12 - lengths[s])) for s in order)
    assert len(slots) == 4096
    words = iter(np.frombuffer(stored, "<u2").tolist())
    v, c, out = [0] * lanes, [0] * lanes, []
    for i in range(n):
        k = i % lanes
        if c[k] < 12:
            v[k] = v[k] * 2**16 + next(words)
            c[k] += 16
        symbol = slots[v[k] // 2 ** (c[k] - 12) % 4096][0]
        out.append(symbol)
        c[k] -= lengths[symbol]
        v[k] %= 2 ** c[k]
    assert not any(v)
    assert [*words] == []
    return bytes(out)


def frequencies_by_the_text(table):
    """Return lanes and the frequency of each symbol, as SPEC 11.7 says."""
    lanes, present, rest = table_by_the_text(table)
    rest, found = iter(rest), {}
    for s in present:
        b = next(rest)
        found[s] = 1 + (b if b < 128 else (b - 128) * 256 + next(rest))
    assert [*rest] == []
    return lanes, found


def decode_rans(table, stored, n):
    """SPEC 11.7."""
    lanes, frequencies = frequencies_by_the_text(table)
    slots = slots_by_the_text(frequencies.items())
    assert len(slots) == 4096
    x = np.frombuffer(stored[: 4 * lanes], "<u4").tolist()
    words = iter(np.frombuffer(stored[4 * lanes :], "<u2").tolist())
    assert all(state >= 2**16 for state in x)
    out = []
    for i in range(n):
        k = i % lanes
        symbol, place = slots[x[k] % 4096]
        out.append(symbol)
        x[k] = frequencies[symbol] * (x[k] // 4096) + place
        if x[k] < 2**16:
            x[k] = x[k] * 2**16 + next(words)
    assert x == [2**16] * lanes
    assert [*words] == []
    return bytes(out)


def encode_rans(table, plane):
    """The encoder that SPEC 11.7 tells of."""
    lanes, frequencies = frequencies_by_the_text(table)
    first = dict(zip(frequencies, np.cumsum([0, *frequencies.values()]).tolist(), strict=False))
    x, words = [2**16] * lanes, []
    for i in reversed(range(len(plane))):
        k, f = i % lanes, frequencies[plane[i]]
        if x[k] >= f * 2**20:
            words.append(x[k] % 2**16)
            x[k] //= 2**16
        x[k] = 4096 * (x[k] // f) + first[plane[i]] + x[k] % f
    return np.array(x, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()


BY_THE_TEXT = {"huffman": decode_huffman, "rans": decode_rans}
CODERS = {"huffman": Huffman, "rans": Rans}


def counted(plane):
    return np.bincount(np.frombuffer(plane, np.uint8), minlength=256)


def planes():
    """Planes of many sizes and skews: one symbol, two, all of them."""
    for size in (1, 2, 7, 8, 9, 100, 1000, 4099):
        for most in (1, 2, 3, 40, 256):
            skewed = RNG.geometric(0.9 if most < 4 else 3 / most, size) - 1
            yield (np.minimum(skewed, most - 1) * 83 % 256).astype(np.uint8).tobytes()


@pytest.mark.parametrize("log2", [0, 3, 6])
@pytest.mark.parametrize("name", CODERS)
def test_codes_are_those_of_the_text(name, log2):
    codec = CODERS[name](log2_lanes=log2)
    for plane in planes():
        table = codec.make_table(counted(plane))
        coder = codec.with_table(memoryview(table))
        stored = coder.encode(memoryview(plane))
        assert BY_THE_TEXT[name](table, stored, len(plane)) == plane
        assert bytes(coder.decode(memoryview(stored), len(plane))) == plane
        if name == "rans":
            assert encode_rans(table, plane) == stored


@pytest.mark.parametrize("name", CODERS)
def test_blocks_together_are_as_one_by_one(name):
    codec = CODERS[name](log2_lanes=4)
    many = np.minimum(RNG.geometric(0.1, (5, 777)), 255).astype(np.uint8)
    coder = codec.with_table(memoryview(codec.make_table(counted(many.tobytes()))))
    stored = coder.encode_many(many)
    assert stored == [coder.encode(plane.data) for plane in many]
    out = np.zeros_like(many)
    coder.decode_many([memoryview(block) for block in stored], out)
    assert (out == many).all()
    # Each takes its own words: one that has too many, beside one that has too few, is wrong.
    stored[1], stored[2] = stored[1] + stored[2][-2:], stored[2][:-2]
    with pytest.raises(nnpack.FormatError, match="bad-stream"):
        coder.decode_many([memoryview(block) for block in stored], out)


@pytest.mark.parametrize("name", CODERS)
def test_a_symbol_that_the_table_lacks_is_not_coded(name):
    codec = CODERS[name]()
    coder = codec.with_table(memoryview(codec.make_table(counted(b"aab"))))
    assert coder.encode(memoryview(b"abc")) == b""


def test_code_lengths_are_the_best():
    for size in (2, 3, 10, 100, 256):
        counts = (RNG.integers(1, 1000, size)).tolist()
        lengths = code_lengths(counts)
        assert sum(2.0**-n for n in lengths) == 1
        # Huffman's own way: the sum of all inner nodes is the bits of the whole.
        heap, bits = [*counts], 0
        heapq.heapify(heap)
        while len(heap) > 1:
            both = heapq.heappop(heap) + heapq.heappop(heap)
            bits += both
            heapq.heappush(heap, both)
        if max(lengths) < 12:
            assert sum(c * n for c, n in zip(counts, lengths, strict=True)) == bits
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(fibonacci)
    assert max(lengths) == 12
    assert sum(2.0**-n for n in lengths) == 1
    assert sorted(lengths, reverse=True) == lengths
    assert code_lengths([5]) == [0]


@pytest.mark.parametrize("bits", [0.02, 0.2, 0.9, 2.6, 5.3, 7.5])
def test_rans_is_within_half_a_per_cent_of_the_entropy(bits):
    spread = np.arange(256)
    ratio = next(r for r in np.linspace(1e-4, 0.9999, 4000) if entropy_of(r**spread) >= bits)
    weights = ratio**spread
    plane = RNG.choice(256, 1 << 18, p=weights / weights.sum()).astype(np.uint8)
    counts = counted(plane)
    table = Rans().make_table(counts)
    stored = Rans().with_table(memoryview(table)).encode(plane.data)
    entropy = entropy_of(counts) * len(plane) / 8
    assert len(table) + len(stored) <= 1.005 * entropy + len(table) + 4 * 32


def entropy_of(weights):
    share = weights[weights > 0] / weights.sum()
    return float(-(share * np.log2(share)).sum())


# Tables and blocks that are none

HEAD = bytes([0]) + b"\7" + bytes(31)
"""One lane, and the symbols 0, 1 and 2."""
BAD_TABLES = {
    "huffman ends early": (4, HEAD + b"\x21"),
    "huffman goes on": (4, HEAD + b"\x21\x02\0"),
    "huffman without symbols": (4, bytes(34)),
    "huffman half a byte": (4, HEAD + b"\x21\x12"),
    "huffman length 13": (4, HEAD + b"\xd1\x01"),
    "huffman too much": (4, HEAD + b"\x11\x01"),
    "huffman too little": (4, HEAD + b"\x21\x03"),
    "huffman 2^15 lanes": (4, b"\x0f" + HEAD[1:] + b"\x21\x02"),
    "huffman nothing": (4, b""),
    "rans ends early": (5, HEAD + b"\x80\x80"),
    "rans ends in a frequency": (5, HEAD + b"\x87\xff\x83\xff\x83"),
    "rans goes on": (5, HEAD + b"\x87\xff\x83\xff\x83\xff\0"),
    "rans in two bytes": (5, HEAD + b"\x80\x01\x87\xff\x87\xfb"),
    "rans too much": (5, HEAD + b"\x87\xff\x83\xff\x84\0"),
    "rans too little": (5, HEAD + b"\x87\xff\x83\xff\x83\xfe"),
    "rans without symbols": (5, bytes(34)),
}
GOOD_TABLES = {4: HEAD + b"\x21\x02", 5: HEAD + b"\x87\xff\x83\xff\x83\xff"}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_is_none(name):
    key, table = BAD_TABLES[name]
    CODECS[key].with_table(memoryview(GOOD_TABLES[key]))
    with pytest.raises(nnpack.FormatError) as caught:
        CODECS[key].with_table(memoryview(table))
    assert caught.value.error_class == "bad-stream"


STATE = (1 << 16).to_bytes(4, "little")
BAD_BLOCKS = {
    "huffman half a word": (4, b"\0"),
    "huffman no word": (4, b""),
    "huffman a word too many": (4, bytes(4)),
    "huffman bits that are left": (4, b"\1\0"),
    "rans half a state": (5, STATE[:3]),
    "rans half a word": (5, STATE + b"\0"),
    "rans a small state": (5, b"\xff\xff\0\0"),
    "rans another end": (5, b"\1\0\1\0" + STATE),
    "rans a word too many": (5, STATE + STATE),
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_a_block_that_is_none(name):
    key, stored = BAD_BLOCKS[name]
    coder = CODECS[key].with_table(memoryview(GOOD_TABLES[key]))
    with pytest.raises(nnpack.FormatError) as caught:
        coder.decode(memoryview(stored), 3)
    assert caught.value.error_class == "bad-stream"


# In files


def weights(size):
    return (RNG.standard_normal(size) * 0.02).astype(np.float32)


def planned(codec, log2=10):
    """Return a plan that has the codec for two of four planes."""
    plan = testing.Plan(TRANSFORMS[1], (CODECS[0], codec, CODECS[0], codec), log2)
    return lambda _: plan


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_many_blocks_in_a_file(name, threads, monkeypatch):
    monkeypatch.setattr(nnpack.stream, "AHEAD", 1 << 13)  # 4 blocks together
    monkeypatch.setattr(nnpack.encode, "TOGETHER", 1 << 14)
    array = weights(40_000)
    array[20_000:22_000] = 7e30  # blocks that look like no other
    array[30_000:32_000].view(np.uint8)[:] = RNG.integers(0, 256, 8000, np.uint8)  # and raw ones
    planner = planned(CODERS[name](log2_lanes=3))
    data = testing.file_of({"w": array}, planner=planner, threads=threads)
    assert data == testing.file_of({"w": array}, planner=planner, threads=1)
    with nnpack.open(data, threads=threads) as file:
        assert testing.same_bits(file["w"].read(), array)
        for start, stop in ((0, 1), (1023, 1025), (5000, 31_000), (39_990, 40_000)):
            assert testing.same_bits(file["w"][start:stop], array[start:stop])
        assert len(file["w"].node.source.head.shared) == 2
    for _, _, tensor in nnpack.read_stream(io.BytesIO(data)):
        assert testing.same_bits(tensor.read(), array)


def test_no_thread_is_used_for_blocks_that_are_decoded_together():
    array = weights(40_000)
    for codec, threads in ((Rans(log2_lanes=3), 1), (CODECS[1], 8)):
        with nnpack.open(testing.file_of({"w": array}, planner=planned(codec))) as file:
            assert file["w"].node.source.shares(1 << 30, 8)[0] == threads


@pytest.mark.parametrize("name", CODERS)
def test_threads_share_what_is_decoded_together(name, monkeypatch):
    monkeypatch.setattr(nnpack.stream, "AHEAD", 1 << 11)  # 2 blocks together
    monkeypatch.setattr(nnpack.reader, "PIECE", 1 << 10)
    cells = RNG.integers(0, 9, (40, 1000)).astype(np.int8)
    value = nnpack.Quantized(cells, np.float32(0.5))
    plan = testing.Plan(TRANSFORMS[0], (CODERS[name](log2_lanes=3),), 10)
    data = testing.file_of({"w": value}, planner=lambda _: plan)
    took = set()
    decode = nnpack.stream.Stream.decode_planes
    monkeypatch.setattr(
        nnpack.stream.Stream,
        "decode_planes",
        lambda *given: took.add(threading.get_ident()) or decode(*given),
    )
    with nnpack.open(data, threads=4) as file:
        for _ in range(5):
            assert testing.same_bits(file["w"].read(), cells * np.float32(0.5))
    assert threading.get_ident() not in took


@pytest.mark.parametrize("name", CODERS)
def test_blocks_that_are_asked_for_here_and_there(name, monkeypatch):
    monkeypatch.setattr(nnpack.stream, "AHEAD", 1 << 13)
    monkeypatch.setattr(nnpack.tensor, "PIECE", 512)  # a row at a time
    array = weights(40_000).reshape(40, 1000)
    data = testing.file_of({"w": array}, planner=planned(CODERS[name](log2_lanes=3)))
    with nnpack.open(data) as file:
        asked = []
        decode = nnpack.stream.Stream.decode_planes
        monkeypatch.setattr(
            nnpack.stream.Stream,
            "decode_planes",
            lambda self, number, group: asked.append(group) or decode(self, number, group),
        )
        for picked in (slice(None, None, -7), slice(3, None, 11), slice(None, None, -1)):
            assert testing.same_bits(file["w"][picked], array[picked])
            assert len(asked) == 2 * len({*asked})  # once for each of two planes
            asked.clear()
        fill = file["w"].node.window(0, array.size)
        for start in (0, 30_000, 1000, 31_000, 0, 30_500):
            out = np.empty(1000, array.dtype)
            fill(start, start + 1000, out)
            assert testing.same_bits(out, array.reshape(-1)[start : start + 1000])
        assert len(asked) == 4


@pytest.mark.parametrize("name", CODERS)
def test_damage_is_told_where_it_is(name):
    array = weights(10_000)
    data = bytearray(testing.file_of({"w": array}, planner=planned(CODERS[name]())))
    with nnpack.open(data) as file:
        tensor = file["w"]
        head, start = tensor.node.source.head, tensor.node.source.start
        places = [start + int(at) for at in head.starts[:-1]]
    table = places[1]
    block = places[2 + 4 * 5 + 3]
    for at in (table, block):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with nnpack.open(bytes(damaged)) as file:
            with pytest.raises(nnpack.ChecksumError) as caught:
                file["w"].read()
            assert caught.value.offset == at
            with pytest.raises(nnpack.ChecksumError):
                file["w"][5 * 1024 : 5 * 1024 + 3]


@pytest.mark.parametrize("key", [4, 5])
@pytest.mark.parametrize("damage", ["block", "table"])
def test_a_wrong_block_among_good_ones_is_found(key, damage):
    """The checksums are right; all blocks are decoded together."""
    codec = CODECS[key]
    plane = np.minimum(RNG.geometric(0.5, (4, 1024)), 3).astype(np.uint8)
    table = codec.make_table(counted(plane.tobytes()))
    blocks = codec.with_table(memoryview(table)).encode_many(plane)
    if damage == "block":
        blocks[2] = blocks[2][:-2] + bytes([blocks[2][-2] ^ 1, blocks[2][-1]])
    else:
        table = table[:-1] + bytes([table[-1] ^ 1])
    stored = [table, *blocks]
    payload = b"".join(part.ljust(a.up8(len(part)), b"\0") for part in stored[:-1]) + stored[-1]
    tree = a.node(a.DENSE, a.UINT8, (4096,), a.stream(stored, log2=10, codecs=(key,)))
    with nnpack.open(a.assemble(a.tensor(b"w", tree, payload))) as file:
        with pytest.raises(nnpack.FormatError) as caught:
            file["w"].read()
        assert caught.value.error_class == "bad-stream"
        wrong = 0 if damage == "table" else sum(a.up8(len(part)) for part in stored[:3])
        assert caught.value.offset == file["w"].section.payload_offset + wrong


def test_tables_that_are_missing_or_too_many():
    plane = bytes(1024)
    for codecs, stored, shape, error_class in (
        ((5,), [plane], (1024,), "bad-node"),
        ((0,), [b"t" * 34, plane], (1024,), "bad-node"),
        ((5,), [b"t" * 34, b"t" * 34, plane], (1024,), "bad-node"),
        ((5,), [b"t" * 34], (0,), "bad-node"),
    ):
        payload = b"".join(part.ljust(a.up8(len(part)), b"\0") for part in stored[:-1]) + stored[-1]
        tree = a.node(a.DENSE, a.UINT8, shape, a.stream(stored, codecs=codecs))
        with pytest.raises(nnpack.FormatError) as caught:
            nnpack.open(a.assemble(a.tensor(b"w", tree, payload)))["w"].read()
        assert caught.value.error_class == error_class


class Shift(TableCodec):
    """A codec of somebody else, whose table is one byte that is added."""

    id, name = 201, "org.example.shift"

    def make_table(self, counts):
        return bytes([int(counts.argmax())])

    def with_table(self, table):
        return _Shift(table[0])


class _Shift(Codec):
    id, name = 201, "org.example.shift"

    def __init__(self, most):
        self.most = most

    def encode(self, data):
        return bytes(data).rstrip(bytes([self.most])) or bytes(data[:1])

    def decode(self, data, size):
        return bytes(data).ljust(size, bytes([self.most]))


def test_a_codec_of_somebody_else_has_a_table():
    array = np.arange(5000).astype(np.uint8)
    array[3000:] = 9
    plan = testing.Plan(TRANSFORMS[0], (Shift(),), 10)
    data = testing.file_of({"w": array}, planner=lambda _: plan, codecs={201: Shift()})
    assert len(data) < 3500
    with nnpack.open(data, codecs={201: Shift()}) as file:
        assert (file["w"].read() == array).all()
        assert file["w"].node.source.head.shared[0].tolist() == [1, crc32(b"\x09")]
    with nnpack.open(data) as file, pytest.raises(nnpack.UnsupportedError, match="shift"):
        file["w"].read()


def test_a_codec_that_has_no_table_any_more():
    array = np.repeat(np.arange(2, dtype=np.uint8), 3000)
    plan = testing.Plan(TRANSFORMS[0], (Shift(),), 10)
    data = testing.file_of({"w": array}, planner=lambda _: plan, codecs={201: Shift()})
    with nnpack.open(data, codecs={201: _Shift(0)}) as file:
        with pytest.raises(nnpack.FormatError) as caught:
            file["w"].read()
        assert caught.value.error_class == "bad-node"


def test_a_plane_without_bytes_has_no_table():
    plan = testing.Plan(TRANSFORMS[3], (CODECS[0], CODECS[5], CODECS[4]), 10)
    array = np.arange(20, dtype=np.int8)  # fewer than a pair's 64 cells
    data = testing.file_of({"w": array}, planner=lambda _: plan)
    with nnpack.open(data) as file:
        assert file["w"].node.source.head.codecs == (0, 0, 0)
        assert (file["w"].read() == array).all()
