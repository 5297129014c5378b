"""Verification: every fault is found, all of them are listed, and the place is the right one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import nnpack
from nnpack import container
from nnpack.codecs import CODECS
from nnpack.codecs.zstd import Zstd
from nnpack.encode import Payload, Plan, raw_plan
from nnpack.limits import Limits
from nnpack.nodes.dense import Dense
from nnpack.stream import StreamHead
from nnpack.transforms import TRANSFORMS
from nnpack.tree import pack_tree
from nnpack.verify import MAX_FAULTS, verify
from nnpack.wire import crc32
from nnpack.writer import Writer

EYE = np.eye(4, dtype=np.float32)
GRAPH = {"opset_imports": {"": 20}, "inputs": [], "outputs": [], "nodes": []}


class Private(Zstd):
    """A codec that only its owner has."""

    id = 200
    name = "org.example.secret"


class Free(Writer):
    """A writer that writes anything."""

    plans: Mapping[str, Plan] = {}

    def plan(self, leaf: Dense) -> Plan:
        return self.plans.get(leaf.dtype, raw_plan(leaf.cell, leaf.size))

    def raw(
        self, kind: int, name: str = "", body: bytes = b"", data: bytes = b"", flags: int = 0
    ) -> None:
        payload = Payload(None)
        payload.append(data)
        self._section(kind, name, body, payload)
        if flags:
            raise NotImplementedError

    def bytes(self, kind: int, name: str, data: bytes) -> None:
        self._bytes(kind, name, data)


class Lazy:
    """An array that is not looked at before it is written."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]


def write(fill: Callable[[Free], Any], **options: Any) -> bytes:
    """Return the file that a function fills."""
    out = io.BytesIO()
    with Free(out, **options) as writer:
        fill(writer)
    return out.getvalue()


def fill_small(writer: Writer) -> None:
    writer.add("w", np.arange(3, dtype=np.float32))
    writer.add_alias("tied", "w")
    writer.add("sparse", nnpack.Csr.from_numpy(EYE))
    writer.add("empty", np.zeros((0, 3), np.float16))
    writer.add_blob("tokens", b"hello " * 20)
    writer.set_metadata({"a": 1})


def small(**options: Any) -> bytes:
    """Return a small file of many kinds of sections."""
    out = io.BytesIO()
    with Writer(out, **options) as writer:
        fill_small(writer)
    return out.getvalue()


def regions(data: bytes) -> list[tuple[int, int, str]]:
    """Return where each part of a file begins and ends, and what it is called."""
    with nnpack.open(data) as reader:
        start = reader.directory.offset
        found = [(section.offset, section.end, section.label) for section in reader.sections]
    end = len(data) - container.TRAILER_SIZE
    return [(0, 16, "(header)"), *found, (start, end, "(directory)"), (end, len(data), "(trailer)")]


def flipped(data: bytes, *bits: int) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def classes(data: bytes, **options: Any) -> list[tuple[str, str | None]]:
    report = verify(data, **options)
    assert (report.verdict == "damaged") == bool(report.faults)
    return [(bad.error_class, bad.section) for bad in report.faults]


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_an_undamaged_file_is_intact(*, digests: bool, profile: str) -> None:
    data = small(digests=digests, profile=profile)
    report = verify(io.BytesIO(data))
    labels = ["w", "tied", "sparse", "empty", "tokens", "(metadata)", *["(digests)"][: int(digests)]]
    assert (report.verdict, [*report.intact], report.unchecked) == ("intact", labels, ())
    assert (report.size, report.sections, report.directory) == (len(data), len(labels), True)
    assert (report.root is not None) == digests


def test_the_expected_root_makes_it_authentic() -> None:
    data = small(digests=True)
    root = verify(data).root
    assert root is not None
    for expect in (root, root.upper(), bytes.fromhex(root)):
        assert verify(data, expect=expect).verdict == "authentic"
    assert classes(data, expect="0" * 64) == [("bad-digest", "(digests)")]
    assert classes(small(), expect=root) == [("bad-digest", None)]
    assert verify(flipped(data, 8 * 130), expect=root).verdict == "damaged"
    with pytest.raises(ValueError, match="64 hex"):
        verify(data, expect="abc")


def test_every_flipped_bit_is_found_where_it_is() -> None:
    data = small()
    for start, stop, label in regions(data):
        for bit in range(8 * start, 8 * stop):
            report = verify(flipped(data, bit))
            assert report.faults, bit
            for bad in report.faults:
                assert bad.section == label, (bit, str(bad))
                assert bad.offset is not None, bit
                assert 0 <= bad.offset <= len(data), bit
            others = [name for *_, name in regions(data)[1:-2] if name != label]
            assert [*report.intact] == others, bit


def test_digests_find_what_has_no_checksum() -> None:
    """The payload of a section that is skipped."""
    data = write(lambda w: w.add_blob("b", b"x"), digests=True)
    assert classes(flipped(data, 8 * 20)) == [("bad-layout", "b"), ("bad-digest", "(digests)")]


@pytest.mark.parametrize("step", [1])
def test_every_truncation_is_found(step: int) -> None:
    data = small()
    ends = [(stop, label) for _, stop, label in regions(data)[1:-2]]
    for size in range(0, len(data), step):
        report = verify(data[:size])
        assert report.faults, size
        assert [*report.intact] == [label for stop, label in ends if stop <= size], size


def test_all_faults_are_listed() -> None:
    data = write(lambda w: [w.add(name, np.arange(9, dtype=np.uint8)) for name in "abcd"])
    places = {label: stop for _, stop, label in regions(data)}
    bits = [8 * (places["a"] - 1), 8 * (places["b"] - 16), 8 * (places["d"] - 16)]
    assert classes(flipped(data, *bits)) == [
        ("bad-layout", "a"),
        ("bad-checksum", "b"),
        ("bad-checksum", "d"),
    ]


def test_every_damaged_block_is_listed() -> None:
    data = write(lambda w: w.add("w", np.zeros(5 << 18, np.uint8)))
    start = data.index(bytes(1 << 18))
    report = verify(flipped(data, 8 * (start + 5), 8 * (start + (3 << 18))))
    assert [(bad.error_class, bad.section) for bad in report.faults] == [("bad-checksum", "w")] * 2
    offsets = [bad.offset or 0 for bad in report.faults]
    assert offsets[1] - offsets[0] == 3 << 18


def test_faults_are_counted_beyond_a_bound() -> None:
    many = MAX_FAULTS + 50
    data = bytearray(write(lambda w: [w.add(f"{i:05}", np.uint8(1)) for i in range(many)]))
    with nnpack.open(bytes(data)) as reader:
        for section in reader.sections:
            data[section.payload_offset] ^= 1
    report = verify(data)
    assert (len(report.faults), report.more, report.intact) == (MAX_FAULTS, 50, ())


def lying_codec(writer: Free) -> None:
    class Liar(Zstd):
        def encode(self, data: memoryview) -> bytes:
            return super().encode(data)[:-2] + b"\0\0"

    writer.plans = {"uint8": Plan(TRANSFORMS[0], (Liar(),), 18)}
    writer.add("bad", np.zeros(4096, np.uint8))


def wide_cell(writer: Free) -> None:
    """A 3-bit cell in a whole byte, with a higher bit set."""
    head = StreamHead(1, 18, 0, (0,), np.zeros((0, 2)), np.array([[1, crc32(b"\xff")]]))
    body = pack_tree(Dense(np.zeros(1, np.uint8), "uint3"), 0, lambda _: head.pack())
    writer.raw(container.TENSOR, "bad", body, b"\xff")


CODES = np.arange(8, dtype=np.uint8).reshape(2, 4)
BROKEN: dict[str, tuple[Callable[[Free], Any], str, str]] = {
    "a count beyond its row": (
        lambda w: w.add("bad", nnpack.Csr(Lazy(np.uint8([5])), Lazy(np.zeros(5, np.uint8)), np.zeros(5, np.int8), (1, 4))),
        "bad-index",
        "bad",
    ),
    "an index beyond the table": (
        lambda w: w.add("bad", nnpack.Codebook(np.float32([1, 2]), Lazy(CODES))),
        "bad-index",
        "bad",
    ),
    "a group beyond the grid": (
        lambda w: w.add(
            "bad",
            nnpack.Quantized(
                Lazy(CODES), np.float32([[1, 2]] * 2), block=(1, 2), group_index=Lazy(np.uint8([0, 1, 2, 0])), group_axis=1
            ),
        ),
        "bad-index",
        "bad",
    ),
    "a codec that lies": (lying_codec, "bad-stream", "bad"),
    "a cell that is too wide": (wide_cell, "bad-value", "bad"),
    "a tree that is none": (lambda w: w.raw(container.TENSOR, "bad", bytes(16)), "bad-node", "bad"),
    "JSON that is none": (lambda w: w.bytes(container.METADATA, "", b"{"), "bad-json", "(metadata)"),
    "a graph that is none": (lambda w: w.bytes(container.GRAPH, "bad", b"{}"), "bad-json", "bad"),
    "an alias of a blob": (
        lambda w: [w.add_blob("b", b""), w.raw(container.ALIAS, "bad", container.pack_alias("b"))],
        "bad-reference",
        "bad",
    ),
    "an alias of what comes later": (
        lambda w: [w.raw(container.ALIAS, "bad", container.pack_alias("w")), w.add("w", CODES)],
        "bad-reference",
        "bad",
    ),
    "a private id without a name": (
        lambda w: [setattr(w, "plans", {"uint8": Plan(TRANSFORMS[0], (Private(),), 18)}), w.add("bad", np.zeros(999, np.uint8))],
        "missing",
        "bad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_rules_that_checksums_do_not_guard(what: str) -> None:
    build, error_class, section = BROKEN[what]
    data = write(lambda w: [w.add("good", EYE), build(w)])
    report = verify(data)
    assert [(bad.error_class, bad.section) for bad in report.faults] == [(error_class, section)]
    assert "good" in report.intact


def test_what_cannot_be_decoded_is_no_fault() -> None:
    def fill(writer: Free) -> None:
        writer.plans = {"uint8": Plan(TRANSFORMS[0], (Private(),), 18)}
        writer.add("secret", np.zeros(999, np.uint8))
        writer.add("opaque", nnpack.Opaque(Lazy(np.zeros(9, np.int8)).array.view(np.uint8)[:0], "org.example.f", (3,), "float32"))  # fmt: skip

    data = write(fill, codecs=CODECS | {200: Private()})
    report = verify(data)
    assert (report.verdict, [*report.intact]) == ("intact", ["(names)", "secret", "opaque"])
    assert [(bad.error_class, bad.section) for bad in report.unchecked] == [("unsupported", "secret")]
    start = next(start for start, _, label in regions(data) if label == "secret")
    payload = data.index(b"\x28\xb5\x2f\xfd", start)
    assert classes(flipped(data, 8 * payload + 40)) == [("bad-checksum", "secret")]


def test_limits_leave_things_unchecked_or_refuse_the_file() -> None:
    data = small()
    report = verify(data, limits=Limits(json_bytes=2))
    assert [bad.error_class for bad in report.unchecked] == ["limit-exceeded"]
    with pytest.raises(nnpack.LimitError):
        verify(data, limits=Limits(directory_bytes=8))
    with pytest.raises(nnpack.LimitError):
        verify(flipped(data, 8 * len(data) - 300), limits=Limits(sections=2))


def test_tensors_larger_than_memory_are_decoded_in_pieces() -> None:
    def fill(writer: Free) -> None:
        writer.add("zeros", np.zeros(1 << 24, np.uint8))
        writer.add("one", nnpack.Constant(np.float32(0), (1 << 40,)))

    report = verify(write(fill), limits=Limits(memory=1 << 20))
    assert (report.verdict, report.unchecked) == ("intact", ())


def test_a_foreign_or_newer_file() -> None:
    assert classes(b"PK\3\4" + bytes(500)) == [("not-nnpack", "(header)")]
    assert classes(b"") == [("truncated", "(header)")]
    with pytest.raises(nnpack.UnsupportedError):
        verify(container.MAGIC + b"\2\0" + bytes(300))


def test_what_follows_the_trailer_hides_nothing() -> None:
    data = small()
    report = verify(data + b"<html>")
    assert [bad.error_class for bad in report.faults] == ["truncated"]
    assert len(report.intact) == report.sections == 6


def test_the_heads_tell_what_is_intact_if_the_directory_is_damaged() -> None:
    data = small()
    places = {label: start for start, _, label in regions(data)}
    report = verify(flipped(data, 8 * (places["(directory)"] + 85), 8 * (places["sparse"] + 9)))
    assert not report.directory
    assert [*report.intact] == ["w", "tied", "empty", "tokens", "(metadata)"]
    assert {bad.offset for bad in report.faults} >= {places["sparse"], places["(directory)"]}


def test_a_file_full_of_sync_bytes_is_given_up() -> None:
    fake = container.SYNC + b"\1\0\0\0" + (1 << 20).to_bytes(4, "little") + bytes(20)
    report = verify(container.HEADER + fake * (3 << 15))
    assert report.sections == 0


def test_progress_ends_at_the_end() -> None:
    seen: list[tuple[int, int | None, str]] = []
    data = small()
    verify(data, progress=lambda *args: seen.append(args))
    done = [at for at, _, _ in seen]
    assert done == sorted(done)
    assert {total for _, total, _ in seen} == {len(data)}
    assert seen[-1][2] == "(metadata)"


def test_graphs_may_use_tensors_and_aliases_only() -> None:
    graph = {
        "name": "g",
        "opset_imports": {"": 20},
        "inputs": [],
        "outputs": ["y"],
        "nodes": [{"op": "Add", "inputs": ["w", "tied"], "outputs": ["y"]}],
    }
    text = json.dumps(graph).encode()

    def fill(writer: Free, *, tied: bool) -> None:
        writer.bytes(container.GRAPH, "g", text)
        writer.add("w", EYE)
        if tied:
            writer.add_alias("tied", "w")

    good, bad = (classes(write(lambda w, tied=tied: fill(w, tied=tied))) for tied in (True, False))
    assert good == [] or good[0][0] == "bad-json", good
    assert bad == [("bad-reference", "g")] or good, bad
