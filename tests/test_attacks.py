"""Each rule that closes an attack has the file that would use its absence."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import zstandard

import nnpack
from nnpack import testing
from nnpack.codecs import CODECS
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_random, read_sequential

F = a.FLOAT32


def csr(counts, gaps, values, shape, row, **options):
    """A csr of uint8 with these parts, each a list."""
    cells = [bytes(counts), bytes(gaps), bytes(values)]
    parts = [a.dense(a.UINT8, (len(c),), c, role=i) for i, c in enumerate(cells, 1)]
    payload = b"".join(c.ljust(a.up8(len(c)), b"\0") for c in cells).rstrip(b"\0")
    size = a.up8(len(cells[0])) + a.up8(len(cells[1])) + len(cells[2])
    parameters = struct.pack("<QQ", row, 0)
    return a.tensor(
        "w", a.node(a.CSR, a.UINT8, shape, parameters, parts, **options), payload.ljust(size, b"\0")
    )


def test_the_assembler_builds_what_the_writer_writes():
    value = np.array([1, 2], np.float32)
    assert a.assemble(a.floats("w", 1, 2)) == testing.file_of({"w": value}, profile="raw")
    assert a.assemble() == testing.file_of({})
    part = csr([1, 1], [1, 0], [5, 7], (2, 3), 3)
    assert read_random(a.assemble(part))[0]["w"][1] == bytes([0, 5, 0, 7, 0, 0])


# name: (file, class for a random-access reader, class for a sequential one)
ATTACKS = {
    # One file must not be two: the directory tells another story than the inline heads.
    "split-view-name": (a.assemble(a.floats("w", 1, listed={"name": b"v"})), "mismatch", "mismatch"),
    "split-view-body": (a.assemble(a.floats("w", 1, listed={"body": a.dense(F, (1,), b"else")})), "mismatch", "mismatch"),
    "split-view-ancillary": (a.assemble(a.Part(99, b"", bytes(8), b"", flags=1, listed={"body": bytes(7) + b"\1"}), W), None, "mismatch"),
    # csr: sums that wrap, columns beyond the row, counts beyond the values, elements never shown.
    "gap-wrap": (a.assemble(csr([2, 0], [1, 255], [5, 7], (2, 3), 3)), "bad-index", "bad-index"),
    "column-beyond-row": (a.assemble(csr([1, 0], [3], [5], (2, 3), 3)), "bad-index", "bad-index"),
    "column-beyond-short-row": (a.assemble(csr([0, 1], [1], [5], (4,), 3)), "bad-index", "bad-index"),
    "count-beyond-row": (a.assemble(csr([4, 0], [0, 0, 0, 0], [1, 2, 3, 4], (2, 3), 3)), "bad-index", "bad-index"),
    "count-beyond-values": (a.assemble(csr([1, 1], [0], [5], (2, 3), 3)), "bad-index", "bad-index"),
    "hidden-values": (a.assemble(csr([1, 0], [0, 0], [5, 7], (2, 3), 3)), "bad-index", "bad-index"),
    "more-values-than-elements": (a.assemble(csr([0], [0] * 4, [1] * 4, (3,), 3)), "bad-shape", "bad-shape"),
    # Payload that no leaf owns, and leaves that reach beyond it.
    "hidden-payload": (a.assemble(a.tensor("w", a.dense(F, (1,), bytes(4)), bytes(16))), "mismatch", "mismatch"),
    "leaf-beyond-payload": (a.assemble(a.tensor("w", a.dense(F, (4,), bytes(16)), bytes(8)), a.floats("v", 1, 2)), "mismatch", "mismatch"),
    # Aliases: only of a tensor, only of an earlier one.
    "alias-chain": (a.assemble(W, a.alias(b"x", b"w"), a.alias(b"y", b"x")), "bad-reference", "bad-reference"),
    "alias-forward": (a.assemble(a.alias(b"x", b"w"), W), "bad-reference", "bad-reference"),
    "alias-of-itself": (a.assemble(a.alias(b"x", b"x")), "bad-reference", "bad-reference"),
    "alias-of-blob": (a.assemble(a.text(a.BLOB, b"b", b"1"), a.alias(b"x", b"b")), "bad-reference", "bad-reference"),
    # Names.
    "name-lf": (a.assemble(a.floats("w\nv", 1)), "bad-text", "bad-text"),
    "name-lf-moves": (a.assemble(a.floats("a\nb", 1), a.floats("c", 1, listed={"name": b""})), "bad-text", "bad-text"),
    "name-nul": (a.assemble(a.floats("w\0", 1)), "bad-text", "bad-text"),
    "name-escape": (a.assemble(a.floats("\x1b[2J", 1)), "bad-text", "bad-text"),
    "name-bidi": (a.assemble(a.floats("w\u202e", 1)), "bad-text", "bad-text"),
    "name-surrogate": (a.assemble(a.tensor(b"\xed\xa0\x80", a.dense(F, (1,), bytes(4)), bytes(4))), "bad-text", "bad-text"),
    "name-overlong": (a.assemble(a.tensor(b"\xc0\x80", a.dense(F, (1,), bytes(4)), bytes(4))), "bad-text", "bad-text"),
    "name-empty": (a.assemble(a.floats("", 1)), "bad-text", "bad-text"),
    "name-long": (a.assemble(a.floats("w" * 1025, 1)), "bad-text", "bad-text"),
    "name-twice": (a.assemble(W, a.floats("w", 3)), "duplicate", "duplicate"),
    "name-twice-other-type": (a.assemble(W, a.text(a.BLOB, b"w", b"1")), "duplicate", "duplicate"),
    # Private ids: two vendors' 200 must not be confused.
    "private-unbound": (a.assemble(a.tensor("w", a.dense(F, (1,), bytes(4), codecs=(200,)), bytes(4))), "missing", "missing"),
    "private-section-unbound": (a.assemble(a.Part(200, flags=1)), "missing", "missing"),
    "names-twice": (a.assemble(*[a.Part(a.NAMES, b"", b"\5\xc8\3\0a.b" + b"\0")] * 2), "duplicate", "duplicate"),
    "names-late": (a.assemble(W, a.Part(a.NAMES, b"", b"\5\xc8\3\0a.b" + b"\0")), "bad-layout", "bad-layout"),
    "names-rebound": (a.assemble(a.Part(a.NAMES, b"", (b"\5\xc8\3\0a.b" + b"\0") * 2)), "bad-layout", "bad-layout"),
    # Types and criticality.
    "unknown-critical": (a.assemble(a.Part(99)), "unknown-section", "unknown-section"),
    "tensor-ancillary": (a.assemble(a.floats("w", 1, flags=1)), "bad-layout", "bad-layout"),
    "type-zero": (a.assemble(a.Part(0, flags=1)), "bad-layout", "bad-layout"),
    "metadata-twice": (a.assemble(*[a.text(a.METADATA, b"", b"{}")] * 2), "duplicate", "duplicate"),
    # Charges: zero dimensions hide huge ones, products wrap.
    "product-wraps": (a.assemble(a.tensor("w", a.constant((1 << 32, 1 << 32)))), "bad-shape", "bad-shape"),
    "product-behind-zero": (a.assemble(a.tensor("w", a.constant((0, 1 << 61, 4)))), "bad-shape", "bad-shape"),
    "bytes-wrap": (a.assemble(a.tensor("w", a.constant((1 << 61,), F))), "bad-shape", "bad-shape"),
    "dimension-too-large": (a.assemble(a.tensor("w", a.constant((1 << 62,)))), "bad-value", "bad-value"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(name):
    data, at_random, in_order = ATTACKS[name]
    assert fault(data, read_random) == at_random
    assert fault(data, read_sequential) == in_order


def test_a_section_that_only_the_directory_lacks_is_seen_by_both_readers():
    two = a.assemble(W, a.floats("v", 3))
    one = a.assemble(W)
    # The inline heads of two sections, the directory of one that claims the bytes of both.
    end = int.from_bytes(two[-32:-24], "little")
    first = a.floats("w", 1, 2, listed={"length": end - 16 - len(W.head(16))})
    listed = a.assemble(first)
    start = int.from_bytes(one[-32:-24], "little")
    directory = listed[start + 72 : -32]
    forged = a.finish(
        bytearray(two[:end]), directory[: int.from_bytes(listed[start + 48 : start + 56], "little")]
    )
    assert fault(forged, read_random) == "mismatch"
    assert fault(forged, read_sequential) == "mismatch"


def test_rebinding_of_a_private_id_is_not_followed():
    class Mine(nnpack.abc.Codec):
        id, name = 200, "org.mine.codec"

        def encode(self, data):
            return bytes(data[:1])

        def decode(self, data, size):
            return bytes(data) * size

    data = testing.file_of({"w": np.zeros(64, np.uint8)}, codecs={200: Mine()},
                           planner=lambda leaf: testing.Plan(testing.TRANSFORMS[0], (Mine(),), 18))  # fmt: skip
    assert not nnpack.open(data, codecs={200: Mine()})["w"].read().any()
    moved = type("Mine", (Mine,), {"id": 131})()
    assert not nnpack.open(data, codecs={131: moved})["w"].read().any()
    theirs = type("Theirs", (Mine,), {"name": "com.theirs.codec"})()
    for codecs in ({}, {200: theirs}):
        tensor = nnpack.open(data, codecs=codecs)["w"]
        assert (tensor.shape, tensor.dtype, tensor.supported) == ((64,), "uint8", False)
        with pytest.raises(nnpack.UnsupportedError, match=r"org\.mine\.codec"):
            tensor.read()


def peak_of(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def nested(levels, shape):
    """Quantized nodes, each the scale of the next; every one of full size."""
    tree = a.constant(shape, F, role=1)
    for level in range(levels):
        role = 1 if level < levels - 1 else 0
        parameters = bytes(8) + struct.pack(f"<{len(shape)}Q", *[1] * len(shape))
        tree = a.node(
            a.QUANTIZED, F, shape, parameters, [tree, a.constant(shape, role=6)], role=role
        )
    return tree


BOMBS = {
    "one-tebibyte": [a.tensor("w", a.constant((1 << 40, 2)))],
    "csr-of-2^40-rows": [a.tensor("w", a.node(a.CSR, a.UINT8, (1 << 40,), struct.pack("<QQ", 1, 0), [
        a.constant((1 << 40,), role=1), a.constant((0,), role=2), a.constant((0,), role=3)]))],
    "nested-full-size": [a.tensor("w", nested(7, (1 << 34,)))],
    "sum-of-many": [a.tensor(f"w{i}", a.constant((1 << 30,))) for i in range(64)],
    "sum-of-aliases": [a.tensor("w", a.constant((1 << 30,))), *(a.alias(b"%d" % i, b"w") for i in range(64))],
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_nothing_is_allocated_before_its_size_is_checked(name):
    data = a.assemble(*BOMBS[name])
    found = []
    limits = nnpack.Limits(memory=32 << 30)

    def attack():
        with nnpack.open(data, limits=limits) as reader:
            with pytest.raises(nnpack.LimitError) as caught:
                reader.load()
            found.append(caught.value)

    assert peak_of(attack) < 64 << 20
    assert found[0].error_class == "limit-exceeded"


def test_many_constants_cost_their_heads_only():
    parts = [a.tensor(f"{i:x}", a.constant((1 << 20,))) for i in range(20_000)]
    data = a.assemble(*parts)
    with pytest.raises(nnpack.LimitError, match="memory budget"):
        nnpack.open(data, limits=nnpack.Limits(memory=1 << 34)).load()
    with pytest.raises(nnpack.LimitError, match="sections"):
        nnpack.open(data, limits=nnpack.Limits(sections=19_999))


def test_the_expansion_limit_knows_bombs_by_their_ratio():
    data = a.assemble(a.tensor("w", a.constant((5 << 30,))))
    with pytest.raises(nnpack.LimitError, match="expand"):
        nnpack.open(data, limits=nnpack.Limits(memory=1 << 40))["w"].read()


def coded(codec, stored, cells):
    """A file with one uint8 block stored so."""
    tree = a.node(a.DENSE, a.UINT8, (cells,), a.stream([stored], codecs=(codec,)))
    return a.assemble(a.tensor("w", tree, stored))


def zstd(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


RUN = bytes(1000)
REGISTERED = {key: CODECS[key].encode(memoryview(bytes(5 << 20))) for key in range(16, 21)}
TRAPS = {
    # python-zstandard ignores max_output_size when the frame declares its size.
    "zstd-declares-more": (1, zstd(bytes(10 << 20)), 1000),
    "zstd-declares-a-tebibyte": (1, bytes.fromhex("28b52ffde0") + struct.pack("<Q", 1 << 40) + b"\1\0\0", 1000),
    "zstd-declares-less": (1, zstd(bytes(999)), 1000),
    "zstd-declares-nothing": (1, zstd(RUN, write_content_size=False), 1000),
    "zstd-lies": (1, zstd(RUN[1:])[:5] + b"\xe8\2" + zstd(RUN[1:])[7:], 1000),
    # It drops what follows the first frame.
    "zstd-two-frames": (1, zstd(RUN[:500]) * 2, 1000),
    "zstd-trailing": (1, zstd(RUN) + b"\0", 1000),
    "zstd-skippable-first": (1, b"\x50\x2a\x4d\x18\4\0\0\0junk" + zstd(RUN), 1000),
    "zstd-truncated": (1, zstd(RUN)[:-1], 1000),
    "zstd-checksum": (1, zstd(RUN, write_checksum=True), 1000),
    "zstd-window": (1, zstd(bytes(1000), compression_params=zstandard.ZstdCompressionParameters(
        window_log=27, write_content_size=0)), 1000),
    # lz4.block.decompress may return less than asked without an error.
    "lz4-short": (2, b"\x1f\0\1\0" + b"\xff" * 2 + b"\x50\0\0\0\0\0", 1000),
    "lz4-long": (2, __import__("lz4.block").block.compress(bytes(2000), store_size=False), 1000),
    "lz4-empty": (2, b"\0", 1000),
    "deflate-trailing": (3, zlib.compress(RUN, wbits=-15) + b"\0", 1000),
    "deflate-short": (3, zlib.compress(RUN[:-1], wbits=-15), 1000),
    "deflate-long": (3, zlib.compress(bytes(1001), wbits=-15), 1000),
    "deflate-not-final": (3, zlib.compress(RUN, wbits=-15)[:-1], 1000),
    "deflate-zlib-wrapped": (3, zlib.compress(RUN), 1000),
    "snappy-declares-more": (16, b"\xff\xff\xff\xff\x0f" + REGISTERED[16][4:], 250_000),
    "snappy-long": (16, REGISTERED[16], 250_000),
    "brotli-long": (17, REGISTERED[17], 1000),
    # The library stops at the end of the stream.
    "brotli-two-streams": (17, CODECS[17].encode(memoryview(RUN)) * 2, 1000),
    "brotli-trailing": (17, CODECS[17].encode(memoryview(RUN)) + b"\0", 1000),
    "lzo1x-long": (18, REGISTERED[18], 60_000),
    # The library fills up with zeros.
    "lzo1x-short": (18, CODECS[18].encode(memoryview(RUN[1:])), 1000),
    "gzip-long": (19, REGISTERED[19], 11_000),
    "gzip-two-members": (19, CODECS[19].encode(memoryview(RUN[:500])) * 2, 1000),
    "gzip-trailing": (19, CODECS[19].encode(memoryview(RUN)) + b"\0", 1000),
    "lzw-long": (20, REGISTERED[20], 10_000),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_codec_trap(name):
    codec, stored, cells = TRAPS[name]
    assert len(stored) < cells
    data = coded(codec, stored, cells)
    assert peak_of(lambda: fault(data)) < 4 << 20
    assert fault(data) == "bad-stream"


def test_shape_products_do_not_wrap():
    with pytest.raises(ValueError, match="2\\^62"):
        nnpack.Constant(np.uint8(1), (1 << 32, 1 << 32))


def test_signalling_nans_pass_through():
    bits = np.array([0x7FA00001, 0xFF800001, 0x80000000], np.uint32)
    half = np.array([0x7D01, 0xFD01, 0x8000], np.uint16)
    found = nnpack.load(nnpack.save({"f": bits.view(np.float32), "h": half.view(np.float16)}))
    assert found["f"].view(np.uint32).tolist() == bits.tolist()
    assert found["h"].view(np.uint16).tolist() == half.tolist()


def test_a_file_inside_a_blob_is_only_bytes():
    inner = testing.file_of({"secret": np.ones(4)}, profile="raw")
    data = a.assemble(a.text(a.BLOB, b"b", inner), W)
    assert [*nnpack.open(data)] == ["w"]
    assert nnpack.open(data).blobs["b"] == inner
    assert [*read_sequential(data)[0]] == ["w"]
