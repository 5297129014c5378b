"""Nothing gets in: small files of every kind, damaged in every small way."""

import io
import struct
import zlib

import numpy as np
import pytest

import nnpack
from nnpack import container, testing
from nnpack.abc import Codec
from nnpack.sections import parse_payload
from tests.reading import fault, read_random, read_sequential


class Run(Codec):
    """A private codec that saves a byte on runs of one value."""

    id = 200
    name = "org.example.run"

    def encode(self, data):
        same = len(set(data)) == 1
        return bytes(data[:1]) if same else bytes(data)

    def decode(self, data, size):
        if len(data) != 1:
            raise nnpack.FormatError("bad-stream", "a run is one byte")
        return bytes(data) * size


PLUGIN = {200: Run()}
OPTIONS = {"codecs": PLUGIN, "limits": nnpack.Limits(memory=1 << 24)}
F32 = np.array([1.5, -0.0, np.nan, 2e-42], np.float32)
GRAPH = {
    "inputs": ["x"],
    "outputs": ["y"],
    "nodes": [{"op": "Mul", "inputs": ["x", "w"], "outputs": ["y"]}],
}


def plan(transform, codec, log2=10):
    def planner(leaf):
        chosen = testing.TRANSFORMS[transform]
        chosen = chosen if chosen.accepts(leaf.cell) else testing.TRANSFORMS[1]
        planes = len(chosen.plane_lengths(1, leaf.cell))
        return testing.Plan(chosen, ({**testing.CODECS, **PLUGIN}[codec],) * planes, log2)

    return planner


def sample(value, **options):
    return testing.file_of({"w": value}, profile="raw", **options)


def everything():
    target = io.BytesIO()
    with nnpack.Writer(target, profile="raw", digests=True) as writer:
        writer.add("w", F32)
        writer.add_alias("w2", "w")
        writer.add_blob("b", b"blob")
        writer.add_graph("g", GRAPH)
        writer.set_metadata({"k": [1, None]})
    return target.getvalue()


ZEROS = np.zeros(80, np.uint16)
CODES = np.arange(8, dtype=np.uint8).reshape(2, 4)
FILES = {
    "empty": testing.file_of({}),
    "dense": sample(F32.reshape(2, 2)),
    "narrow": sample(nnpack.Dense(np.array([1, 2, 7, 0, 5], np.uint8), "uint3")),
    "constant": sample(nnpack.Constant(np.float32(-0.0), (3, 2))),
    "csr": sample(nnpack.Csr.from_numpy(np.array([[0, 5, 0], [7, 0, 0]], np.int16))),
    "codebook": sample(nnpack.Codebook(F32, CODES % 4)),
    "vectors": sample(nnpack.Codebook(F32.reshape(2, 2), CODES[:, :2] % 2, vector_axis=1)),
    "quantized": sample(nnpack.Quantized(CODES, F32[:2].reshape(2, 1), zero=np.array([[3], [4]], np.uint8))),
    "groups": sample(nnpack.Quantized(CODES, F32[:2].reshape(1, 2), block=(0, 2), group_axis=1,
                                      group_index=np.array([1, 0, 0, 1], np.uint8), divide=True)),
    "flat": sample(nnpack.Quantized(CODES, F32[:3], block=3, flat=True, step="float16", dtype="float16")),
    "concat": sample(nnpack.Concat([F32[:1], F32[1:]], 0)),
    "opaque": sample(nnpack.Opaque(b"blocks", "org.example.x", (2, 2), "float32", b"par")),
    "sections": everything(),
    "zstd": testing.file_of({"w": ZEROS}, planner=plan(0, 1)),
    "planes": testing.file_of({"w": ZEROS}, planner=plan(1, 2)),
    "delta": testing.file_of({"w": np.arange(0, 400, 5, np.uint32)}, planner=plan(2, 3)),
    "private": testing.file_of({"w": ZEROS}, planner=plan(1, 200), codecs=PLUGIN),
}  # fmt: skip


def damaged(data):
    """Yield every truncation, flipped bit, deleted byte and inserted 00, FF and twin."""
    for at in range(len(data)):
        yield data[:at]
        yield data[:at] + data[at + 1 :]
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    for at in range(len(data) + 1):
        for byte in {0, 0xFF, *data[max(at - 1, 0) : at], *data[at : at + 1]}:
            yield data[:at] + bytes([byte]) + data[at:]


@pytest.mark.parametrize("name", FILES)
def test_every_small_damage_is_rejected(name):
    data = FILES[name]
    assert fault(data, read_random, **OPTIONS) is None
    whole = read_sequential(data, **OPTIONS)
    assert whole == read_random(data, **OPTIONS)
    for number, bad in enumerate(damaged(data)):
        assert fault(bad, read_sequential, **OPTIONS) is not None
        if number % 7:
            continue  # the sequential reader looks at every byte; the other at what it is asked for
        try:
            seen = read_random(bad, **OPTIONS)
        except nnpack.NnpackError:
            continue
        # What this reader has not touched may be damaged; what it gives is what was written.
        assert len(bad) == len(data)
        assert seen == whole


class Layout:
    """Where the fields of an intact raw file are, so that checksums can be repaired."""

    def __init__(self, data):
        with nnpack.open(data, codecs=PLUGIN) as reader:
            self.sections = reader.sections
        self.directory = int.from_bytes(data[-32:-24], "little")
        head = int.from_bytes(data[self.directory + 8 : self.directory + 12], "little")
        self.listing = self.directory + head
        count = len(self.sections)
        starts = [
            8,
            8 + 8 * count,
            8 + 16 * count,
            8 + 20 * count,
            8 + 22 * count,
            8 + 24 * count,
            8 + 26 * count,
        ]
        self.columns = [self.listing + start for start in starts]
        self.names = self.listing + 8 + 27 * count
        joined = sum(len(s.name.encode()) + 1 for s in self.sections) - bool(count)
        self.bodies = self.names + joined

    def twins(self, row):
        """Yield (inline offset, directory offset, size) of what stands twice."""
        section = self.sections[row]
        at = section.offset
        for field, column, size in (
            (16, 1, 8),
            (8, 2, 4),
            (4, 3, 2),
            (6, 4, 2),
            (12, 5, 2),
            (14, 6, 1),
        ):
            yield at + field, self.columns[column] + row * size, size
        before = self.sections[:row]
        name = section.name.encode()
        yield at + 32, self.names + sum(len(s.name.encode()) + 1 for s in before), len(name)
        body = section.head_length - len(section.body)
        yield at + body, self.bodies + sum(len(s.body) for s in before), len(section.body)

    def blocks(self, data):
        """Yield (offset of the CRC-32, start, size) of every stored plane-block."""
        for section in self.sections:
            if section.type in (container.ALIAS, container.NAMES):
                continue
            for node in parse_payload(section).walk():
                if node.stream is None:
                    continue
                table = node.offset + len(node.parameters) - 8 * len(node.stream.table)
                at = node.start
                for index, (length, _) in enumerate(node.stream.table.tolist()):
                    yield table + 8 * index + 4, at, length
                    at += (length + 7) & -8

    def repair(self, data, blocks):
        """Make all checksums right again, the directory following the inline heads."""
        data = bytearray(data)

        def put(at, value):
            data[at : at + 4] = struct.pack("<I", value)

        for at, start, size in blocks:
            put(at, zlib.crc32(data[start : start + size]))
        for row, section in enumerate(self.sections):
            for inline, listed, size in self.twins(row):
                data[listed : listed + size] = data[inline : inline + size]
            self._head(data, section.offset, section.head_length, put)
        size = len(data) - 32 - self.listing
        size = int.from_bytes(data[self.listing - 8 : self.listing - 4], "little") or size
        put(self.listing - 4, zlib.crc32(data[self.listing : self.listing + size]))
        self._head(data, self.directory, self.listing - self.directory, put)
        put(len(data) - 16, zlib.crc32(data[:16] + data[self.directory : -32] + data[-32:-16]))
        return bytes(data)

    @staticmethod
    def _head(data, offset, length, put):
        put(offset + 28, 0)
        put(
            offset + 28,
            zlib.crc32(data[offset : offset + length], zlib.crc32(struct.pack("<Q", offset))),
        )


@pytest.mark.parametrize(
    "name", [name for name in FILES if name not in {"zstd", "planes", "delta", "private"}]
)
def test_flips_with_repaired_checksums_raise_only_our_errors(name):
    data = FILES[name]
    layout = Layout(data)
    blocks = [*layout.blocks(data)]
    assert layout.repair(data, blocks) == data
    classes = set()
    for at in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[at] ^= 1 << bit
            bad = layout.repair(bad, blocks)
            classes.add(fault(bad, **OPTIONS))
            if at % 5 == 0:
                classes.add(fault(bad, read_sequential, **OPTIONS))
    assert len(classes) >= (5 if name == "empty" else 9), classes


@pytest.mark.parametrize("name", ["zstd", "planes", "delta", "private"])
def test_coded_blocks_decode_to_their_size_or_raise_our_error(name):
    data = FILES[name]
    rng = np.random.default_rng(3)
    with nnpack.open(data, codecs=PLUGIN) as reader:
        stream = reader["w"].node.source
        sizes = stream.transform.plane_lengths(stream.cells, stream.dtype)
        start = stream.start
        for codec, size, length in zip(
            stream.codecs, sizes, stream.head.table[:, 0].tolist(), strict=True
        ):
            stored = data[start : start + length]
            start += (length + 7) & -8
            for at in range(length):
                for value in {*rng.integers(0, 256, 12).tolist()} - {stored[at]}:
                    bad = memoryview(stored[:at] + bytes([value]) + stored[at + 1 :])
                    try:
                        codec.decode_into(bad, memoryview(bytearray(size)))
                    except nnpack.NnpackError as error:
                        assert error.error_class == "bad-stream"
