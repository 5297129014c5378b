"""The container and the trees, rule by rule."""

import os
import struct
import zlib

import numpy as np
import pytest

import nnpack
from nnpack import testing
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_sequential
from tests.test_reader import BIG


def plain(**options):
    """A head of uint8 with two cells."""
    return a.dense(a.UINT8, (2,), b"ab", **options)


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def body(tree, payload=b"ab", **options):
    return a.assemble(a.tensor("w", tree, payload, **options))


def sealed(data, at, new):
    """Change bytes of the header, directory or trailer, and the trailer's checksum with them."""
    data = put(data, at if at >= 0 else len(data) + at, new)
    start = int.from_bytes(data[-32:-24], "little")
    crc = zlib.crc32(data[:16] + data[start : len(data) - 32] + data[-32:-16])
    return put(data, len(data) - 16, struct.pack("<I", crc))


def reheaded(data, start, at, new):
    """Change bytes of the head at `start`, its checksum and the trailer's."""
    data = put(data, start + at, new)
    length = int.from_bytes(data[start + 8 : start + 12], "little")
    head = data[start : start + 28] + bytes(4) + data[start + 32 : start + length]
    crc = zlib.crc32(head, zlib.crc32(struct.pack("<Q", start)))
    return sealed(data, start + 28, struct.pack("<I", crc))


ONE = a.assemble(W)
START = int.from_bytes(ONE[-32:-24], "little")


def deep(levels):
    tree = a.dense(a.UINT8, (2,), b"ab", role=1)
    for level in range(levels):
        tree = a.node(a.CONCAT, a.UINT8, (2,), bytes(8), [tree], role=int(level < levels - 1))
    return tree


def listing(change):
    return a.assemble(W, listing=change)


RULES = {
    "magic": (put(ONE, 3, b"K"), "not-nnpack"),
    "major": (sealed(ONE, 8, b"\2"), "unsupported-version"),
    "minor is any": (sealed(ONE, 10, b"\7"), None),
    "header reserved": (sealed(ONE, 12, b"\1"), "reserved-nonzero"),
    "end magic": (put(ONE, len(ONE) - 1, b"\r"), "truncated"),
    "trailer reserved": (put(ONE, len(ONE) - 12, b"\1"), "reserved-nonzero"),
    "trailer offset": (sealed(ONE, -32, b"\x08"), "bad-layout"),
    "trailer length": (sealed(ONE, -24, b"\x08"), "bad-layout"),
    "trailer checksum": (put(ONE, len(ONE) - 16, bytes([ONE[-16] ^ 1])), "bad-checksum"),
    "directory sync": (sealed(ONE, START, b"\x88"), "bad-layout"),
    "directory head length": (sealed(ONE, START + 8, b"\x49"), "bad-layout"),
    "directory head checksum": (sealed(ONE, START + 16, b"\1"), "bad-checksum"),
    "directory head reserved": (reheaded(ONE, START, 15, b"\1"), "reserved-nonzero"),
    "directory head reserved word": (reheaded(ONE, START, 24, b"\1"), "reserved-nonzero"),
    "directory head flag": (reheaded(ONE, START, 7, b"\1"), "reserved-nonzero"),
    "directory head ancillary": (reheaded(ONE, START, 6, b"\1"), "bad-layout"),
    "directory head type": (reheaded(ONE, START, 4, b"\3"), "bad-layout"),
    "directory head type 0": (reheaded(ONE, START, 4, b"\0"), "bad-layout"),
    "directory head alignment": (reheaded(ONE, START, 14, b"\2"), "bad-layout"),
    "directory head payload": (reheaded(ONE, START, 17, b"\1"), "mismatch"),
    "directory head payload beyond": (reheaded(ONE, START, 23, b"\x40"), "bad-layout"),
    "directory padding": (sealed(ONE, -33, b"\1"), "bad-layout"),
    "directory node": (reheaded(ONE, START, 33, b"\1"), "bad-node"),
    "directory codec": (reheaded(ONE, START, 60, b"\3"), "bad-value"),
    "inline reserved": (reheaded(ONE, 16, 15, b"\1"), "mismatch"),
    "inline name padding": (reheaded(ONE, 16, 33, b"\1"), "mismatch"),
    "inline type 0": (reheaded(ONE, 16, 4, b"\0"), "mismatch"),
    "inline checksum": (put(ONE, 40, bytes([ONE[40] ^ 1])), "bad-checksum"),
    "type 0": (a.assemble(a.Part(0, flags=1)), "bad-layout"),
    "tensor ancillary": (a.assemble(a.floats("w", 1, flags=1)), "bad-layout"),
    "rows": (listing(lambda d: put(d, 0, b"\x09")), "mismatch"),
    "too many rows": (listing(lambda d: put(d, 0, b"\0\0\0\1")), "mismatch"),
    "directory long": (listing(lambda d: d + b"\0"), "mismatch"),
    "directory short": (listing(lambda d: d[:-1]), "mismatch"),
    "directory shorter than its count": (a.finish(bytearray(a.HEADER), b"\0" * 7), "mismatch"),
    "directory longer than the file": (a.finish(bytearray(a.HEADER), bytes(24)), "bad-layout"),
    "no sections, but bytes": (a.finish(bytearray(a.HEADER + bytes(8)), bytes(8)), "bad-layout"),
    "offset": (listing(lambda d: put(d, 8, b"\x18")), "bad-layout"),
    "offset beyond": (listing(lambda d: put(d, 15, b"\1")), "bad-layout"),
    "payload beyond": (listing(lambda d: put(d, 23, b"\1")), "bad-layout"),
    "payload length": (a.assemble(a.floats("w", 1, 2, listed={"length": 7})), "mismatch"),
    "payload chain": (a.assemble(a.floats("w", 1, 2, listed={"length": 16})), "bad-layout"),
    "flag": (listing(lambda d: put(d, 30, b"\2")), "reserved-nonzero"),
    "listed alignment": (listing(lambda d: put(d, 34, b"\x11")), "bad-layout"),
    "alignment 2": (a.assemble(a.floats("w", 1, alignment=2)), "bad-layout"),
    "alignment 16": (a.assemble(a.floats("w", 1, alignment=16)), None),
    "alignment 17": (a.assemble(a.floats("w", 1, alignment=17)), "bad-layout"),
    "alignment of nothing": (a.assemble(a.tensor("w", a.node(a.CONSTANT, a.UINT8, (), bytes(8)), alignment=6)), "bad-layout"),
    "head length": (listing(lambda d: put(d, 24, b"\x21")), "bad-layout"),
    "head too long": (listing(lambda d: put(d, 24, b"\0\0\0\7")), "bad-layout"),
    "body missing": (a.assemble(a.Part(a.TENSOR, b"w")), "bad-node"),
    "directory type first": (a.assemble(a.Part(a.DIRECTORY, b"", plain(), b"ab"), W), "bad-layout"),
    "directory twice": (a.assemble(W, a.Part(a.DIRECTORY, b"", plain(), b"ab")), "bad-layout"),
    "digests early": (a.assemble(a.Part(a.DIGESTS, flags=1), W), "bad-layout"),
    "digests twice": (a.assemble(*[a.Part(a.DIGESTS, flags=1)] * 2), "duplicate"),
    "blob without name": (a.assemble(a.text(a.BLOB, b"", b"x")), "bad-text"),
    "metadata with name": (a.assemble(a.text(a.METADATA, b"m", b"{}")), "bad-text"),
    "name splits": (a.assemble(a.floats("a", 1), a.floats("b", 1), listing=lambda d: d.replace(b"a\nb", b"\nab")), "bad-text"),
    "long ancillary name": (a.assemble(a.Part(99, b"n" * 1025, flags=1)), "bad-text"),
    "ancillary name text": (a.assemble(a.Part(99, b"\x07", flags=1)), "bad-text"),
    "private section": (a.assemble(a.Part(200, flags=0)), "unknown-section"),
    # names
    "names": (a.assemble(a.names((2, 128, b"a.b"), (2, 255, b"c-1.d0"), (5, 128, b"a.b"))), None),
    "names class": (a.assemble(a.names((6, 128, b"a.b"))), "bad-value"),
    "names class 0": (a.assemble(a.names((0, 128, b"a.b"))), "bad-value"),
    "names id": (a.assemble(a.names((2, 127, b"a.b"))), "bad-value"),
    "names short": (a.assemble(a.names((2, 128, b"ab"))), "bad-text"),
    "names text": (a.assemble(a.names((2, 128, b"a.\xff"))), "bad-text"),
    "names order": (a.assemble(a.names((5, 128, b"a.b"), (2, 128, b"a.b"))), "bad-layout"),
    "names empty": (a.assemble(a.Part(a.NAMES)), "bad-layout"),
    "names payload": (a.assemble(a.Part(a.NAMES, b"", a.names((2, 128, b"a.b")).body, b"x")), "bad-layout"),
    "names end": (a.assemble(a.Part(a.NAMES, b"", struct.pack("<BBHI", 2, 128, 9, 0))), "bad-node"),
    "names padding": (a.assemble(a.Part(a.NAMES, b"", struct.pack("<BBH4s", 2, 128, 3, b"a.b\1"))), "bad-layout"),
    # alias
    "alias payload": (a.assemble(W, a.Part(a.ALIAS, b"x", a.alias(b"", b"w").body, b"x")), "bad-layout"),
    "alias length": (a.assemble(W, a.Part(a.ALIAS, b"x", struct.pack("<H6s", 7, b"w"))), "mismatch"),
    "alias empty": (a.assemble(W, a.Part(a.ALIAS, b"x", bytes(8))), "mismatch"),
    "alias without body": (a.assemble(W, a.Part(a.ALIAS, b"x")), "mismatch"),
    "alias padding": (a.assemble(W, a.Part(a.ALIAS, b"x", struct.pack("<H6s", 1, b"w\0\1"))), "bad-layout"),
    "alias UTF-8": (a.assemble(W, a.alias(b"x", b"\xff")), "bad-text"),
    "alias text": (a.assemble(W, a.alias(b"x", b"\x7f")), "bad-text"),
    # bytes
    "blob dtype": (a.assemble(a.Part(a.BLOB, b"b", a.dense(0x28, (2,), b"ab"), b"ab")), "bad-node"),
    "blob rank": (a.assemble(a.Part(a.BLOB, b"b", a.dense(a.UINT8, (1, 2), b"ab"), b"ab")), "bad-node"),
    "blob kind": (a.assemble(a.Part(a.BLOB, b"b", a.node(a.CONSTANT, a.UINT8, (2,), bytes(8)))), "bad-node"),
    "blob transform": (a.assemble(a.Part(a.BLOB, b"b", plain(transform=1), b"ab")), "bad-value"),
    "blob checksum": (a.assemble(a.Part(a.BLOB, b"b", plain(), b"ax")), "bad-checksum"),
    "blob coded": (a.assemble(a.Part(a.BLOB, b"b", plain(codecs=(3,)), b"ab")), None),
    # trees
    "role": (body(plain(role=1)), "bad-node"),
    "product": (body(a.node(a.CONSTANT, a.UINT8, (1 << 31, 1 << 31), bytes(8)), b""), "bad-shape"),
    "product behind zero": (body(a.node(a.CONSTANT, a.UINT16, (0, 1 << 61), bytes(8)), b""), "bad-shape"),
    "dimension": (body(a.node(a.CONSTANT, a.UINT8, (1 << 62,), bytes(8)), b""), "bad-value"),
    "kind 0": (body(a.node(0, a.UINT8, (2,))), "bad-node"),
    "reserved": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), zeros=b"\0\1\0")), "reserved-nonzero"),
    "rank": (body(a.node(a.DENSE, a.UINT8, [1] * 33, a.stream([b"a"])), b"a"), "bad-shape"),
    "parameter length": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), plen=12)), "bad-node"),
    "parameters beyond": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), plen=64)), "bad-node"),
    "node length": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), length=48)), "bad-node"),
    "node shorter": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), length=32)), "bad-node"),
    "bytes behind": (body(plain() + bytes(8)), "bad-node"),
    "dense with a part": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab"]), [plain(role=1)])), "bad-node"),
    "constant with a part": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(8), [plain(role=1)])), "bad-node"),
    "roles descend": (body(a.node(a.CONCAT, a.UINT8, (4,), bytes(8), [plain(role=2), plain(role=1)]), b"ab" + bytes(6) + b"ab"), "bad-node"),
    "part of role 0": (body(a.node(a.CONCAT, a.UINT8, (2,), bytes(8), [plain(role=0)])), "bad-node"),
    "no parts": (body(a.node(a.CONCAT, a.UINT8, (0,), bytes(8)), b""), "bad-node"),
    "eight levels": (body(deep(7)), None),
    "nine levels": (body(deep(8)), "bad-node"),
    "constant beyond": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(16)), b""), "bad-node"),
    "dtype of a part": (body(a.node(a.CONCAT, 0x28, (2,), bytes(8), [plain(role=1)])), "bad-dtype"),
    "scale missing": (body(a.node(a.QUANTIZED, a.FLOAT32, (2,), bytes(16), [plain(role=6)])), "bad-node"),
    # streams
    "no stream": (body(a.node(a.DENSE, a.UINT8, (2,))), "bad-node"),
    "block of 2^9": (body(plain(log2=9)), "bad-value"),
    "block of 2^21": (body(plain(log2=21)), "bad-value"),
    "no planes": (body(a.node(a.DENSE, a.UINT8, (0,), bytes([0, 18, 0, 0, 0, 0, 0, 0])), b""), "bad-value"),
    "nine planes": (body(a.node(a.DENSE, a.UINT8, (0,), bytes([0, 18, 9, 0]).ljust(16, b"\0")), b""), "bad-value"),
    "two planes of cells": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab", b"ab"], codecs=(0, 0))), b"ab" + bytes(6) + b"ab"), "bad-value"),
    "transform parameter": (body(plain(parameter=1)), "bad-value"),
    "codec padding": (body(a.node(a.DENSE, a.UINT8, (2,), put(a.stream([b"ab"]), 7, b"\1"))), "bad-layout"),
    "table": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"ab", b"cd"]))), "bad-node"),
    "no table": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([])), b""), "bad-node"),
    "stored nothing": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b""])), b""), "bad-value"),
    "stored above 8 MiB": (body(a.node(a.DENSE, a.UINT8, (2,), put(a.stream([b"ab"]), 8, b"\1\0\x80\0"))), "bad-value"),
    "stored above the plane": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"abc"], codecs=(3,))), b"abc"), "mismatch"),
    "raw below the plane": (body(a.node(a.DENSE, a.UINT8, (2,), a.stream([b"a"])), b"a"), "mismatch"),
    "raw block below": (body(a.node(a.DENSE, a.UINT8, (1025,), a.stream([b"a" * 1023, b"b"], log2=10)), b"a" * 1023 + b"\0b"), "mismatch"),
    "block of complex128": (body(a.node(a.DENSE, 0x5C, (1,), a.stream([bytes(16)], log2=20)), bytes(16)), "bad-value"),
    "largest block of complex128": (body(a.node(a.DENSE, 0x5C, (1,), a.stream([bytes(16)], log2=19)), bytes(16)), None),
    "payload of none": (body(a.node(a.CONSTANT, a.UINT8, (2,), bytes(8)), b"x"), "mismatch"),
    "checksum": (body(a.dense(a.UINT8, (2,), b"ab"), b"ax"), "bad-checksum"),
    "gap between planes": (body(a.node(a.DENSE, a.UINT16, (1,), a.stream([b"a", b"b"], transform=1, codecs=(0, 0))), b"a\0\0\0\0\0\1\0b"), "bad-layout"),
    "gap between blocks": (body(a.node(a.DENSE, a.UINT8, (1025,), a.stream([b"a" * 1023, b"b"], log2=10, codecs=(3,))), b"a" * 1023 + b"\1b"), "bad-layout"),
    "bad stream": (body(a.node(a.DENSE, a.UINT8, (9,), a.stream([b"abcd"], codecs=(1,))), b"abcd"), "bad-stream"),
    "bad cell": (body(a.dense(0x13, (1,), b"\x08"), b"\x08"), "bad-value"),
    "bad differences": (body(a.node(a.DENSE, 0x13, (1,), a.stream([b"\x08"], transform=2)), b"\x08"), "bad-value"),
    "bad index": (body(a.node(a.CODEBOOK, a.UINT8, (1,), struct.pack("<IIQ", 1, 0, 0), [a.dense(a.UINT8, (1, 1), b"x", role=1), a.dense(a.UINT8, (1,), b"\1", role=2)]), b"x" + bytes(7) + b"\1"), "bad-index"),
}  # fmt: skip


@pytest.mark.parametrize("what", RULES)
def test_rule(what):
    data, wanted = RULES[what]
    assert fault(data) == wanted
    in_order = fault(data, read_sequential)
    assert (in_order is None) == (wanted is None)


def test_a_directory_head_longer_than_its_section():
    assert fault(sealed(ONE, START + 8, b"\0\1")) in {"mismatch", "bad-layout"}


def test_faults_say_where_they_are():
    data, _ = RULES["checksum"]
    with pytest.raises(nnpack.ChecksumError) as caught:
        nnpack.open(data)["w"].read()
    bad = caught.value
    assert (bad.error_class, bad.section, bad.offset) == ("bad-checksum", "w", 96)
    assert str(bad).endswith(f"{bad.message} (section 'w', byte 96)")
    assert str(nnpack.NnpackError("bad-json", "x")) == "bad-json: x"
    for kind, base in ((nnpack.ChecksumError, nnpack.FormatError), (nnpack.FormatError, nnpack.NnpackError),
                       (nnpack.DigestError, nnpack.FormatError), (nnpack.TruncatedError, nnpack.FormatError)):  # fmt: skip
        assert issubclass(kind, base)
    assert not issubclass(nnpack.LimitError, nnpack.FormatError)


def test_padding_around_a_payload():
    data = testing.file_of({"w": BIG[:3, :-1]}, profile="raw")
    section = nnpack.open(data).sections[0]
    before, behind = (
        put(data, section.payload_offset - 1, b"\1"),
        put(data, section.payload_end, b"\1"),
    )
    assert [fault(bad, read_sequential) for bad in (before, behind)] == ["bad-layout"] * 2
    assert fault(before) == "bad-layout"
    assert fault(behind) in {None, "bad-layout"}  # R-RDR-012: only who calls the file valid looks


def test_what_the_disk_cannot_read_is_an_os_error(tmp_path, monkeypatch):
    path = tmp_path / "w.nnpk"
    nnpack.save_file({"w": np.arange(100_000)}, path, profile="raw")

    def fail(*_):
        raise OSError(5, "Input/output error")

    with nnpack.open(path) as file:
        tensor = file["w"]
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(OSError, match="Input/output error"):
            tensor.read()
