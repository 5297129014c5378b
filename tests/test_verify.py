"""Verification: every fault is found, all of them are listed, and the place is the right one."""

import io

import numpy as np
import pytest

import nnpack
from nnpack import check, container, testing
from nnpack.abc import read_range
from nnpack.limits import Limits
from nnpack.sections import open_tree
from nnpack.verify import MAX_FAULTS, verify
from tests import assemble as a
from tests.test_attacks import ATTACKS, TRAPS, coded
from tests.test_damage import FILES, PLUGIN, everything
from tests.test_spec import EXAMPLES, example

W = a.floats("w", 1, 2, 3)
BLOB = a.text(a.BLOB, b"tokens", b"hello, hello")
SMALL = a.assemble(W, a.alias(b"tied", b"w"), a.text(a.METADATA, b"", b'{"a":1}'))


def regions(data):
    """Where each part of a file begins and ends, and what it is called."""
    with nnpack.open(data) as reader:
        start = reader.directory.offset
        found = [(section.offset, section.end, section.label) for section in reader.sections]
    end = len(data) - container.TRAILER_SIZE
    return [(0, 16, "(header)"), *found, (start, end, "(directory)"), (end, len(data), "(trailer)")]


def flipped(data, *bits):
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def faults(data, **options):
    report = verify(data, **options)
    assert (report.verdict in {"damaged", "unexpected"}) == bool(report.faults)
    assert report.broken == (report.verdict == "damaged")
    return [(bad.error_class, bad.section) for bad in report.faults]


WHOLE = FILES | {f"spec-{name}": example(name) for name in EXAMPLES}


@pytest.mark.parametrize("name", WHOLE)
def test_an_undamaged_file_is_intact(name):
    data = WHOLE[name]
    report = verify(io.BytesIO(data))
    labels = [label for *_, label in regions(data)[1:-2]]
    assert (report.verdict, [*report.intact]) == ("intact", labels)
    assert (report.size, report.sections, report.directory) == (len(data), len(labels), True)
    assert {bad.error_class for bad in report.unchecked} <= {"unsupported"}


def test_the_expected_root_makes_it_authentic():
    data = everything()
    root = verify(data).root
    for expect in (root, root.upper(), bytes.fromhex(root)):
        assert verify(data, expect=expect).verdict == "authentic"
    assert faults(data, expect="0" * 64) == [("bad-digest", None)]
    assert faults(SMALL, expect=root) == [("bad-digest", None)]
    assert verify(data, expect="0" * 64).verdict == "unexpected"
    assert verify(data, expect="0" * 64).root == root
    assert verify(flipped(data, 8 * 130), expect=root).verdict == "damaged"
    assert verify(flipped(data, 8 * 130), expect="0" * 64).verdict == "damaged"
    with pytest.raises(ValueError, match="64 hex"):
        verify(data, expect="abc")


def test_every_flipped_bit_is_found_where_it_is():
    labels = [label for *_, label in regions(SMALL)[1:-2]]
    for start, stop, label in regions(SMALL):
        for bit in range(8 * start, 8 * stop):
            report = verify(flipped(SMALL, bit))
            assert {bad.section for bad in report.faults} == {label}, bit
            assert all(0 <= bad.offset <= len(SMALL) for bad in report.faults), bit
            assert [*report.intact] == [other for other in labels if other != label], bit


def test_every_truncation_is_found():
    with nnpack.open(SMALL) as reader:
        ends = {section.label: section.payload_end for section in reader.sections}
    for size in range(len(SMALL)):
        report = verify(SMALL[:size])
        assert report.faults, size
        assert [*report.intact] == [label for label in ends if ends[label] <= size], size


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_found(name):
    data, *classes = ATTACKS[name]
    try:
        found = {bad.error_class for bad in verify(data).faults}
    except nnpack.UnsupportedError as bad:
        found = {bad.error_class}
    assert found & {*classes}


@pytest.mark.parametrize("name", TRAPS)
def test_streams_that_lie_are_found(name):
    assert faults(coded(*TRAPS[name])) == [("bad-stream", "w")]


def test_all_faults_are_listed():
    data = a.assemble(*[a.tensor(s, a.dense(a.UINT8, (9,), bytes(9)), bytes(9)) for s in "abcd"])
    ends = {label: stop for _, stop, label in regions(data)}
    bits = [8 * (ends["a"] - 1), 8 * (ends["b"] - 16), 8 * (ends["d"] - 16)]
    found = [("bad-layout", "a"), ("bad-checksum", "b"), ("bad-checksum", "d")]
    assert faults(flipped(data, *bits)) == found


def test_every_damaged_block_is_listed():
    data = testing.file_of({"w": np.zeros(5 << 18, np.uint8)}, profile="raw")
    start = data.index(bytes(1 << 18))
    report = verify(flipped(data, 8 * (start + 50), 8 * (start + (3 << 18))))
    first, second = report.faults
    assert {first.error_class, second.error_class} == {"bad-checksum"}
    assert second.offset - first.offset == 3 << 18


def test_faults_are_counted_beyond_a_bound():
    many = MAX_FAULTS + 50
    data = bytearray(testing.file_of({f"{i:05}": np.uint8(1) for i in range(many)}))
    with nnpack.open(bytes(data)) as reader:
        for section in reader.sections:
            data[section.payload_offset] ^= 1
    report = verify(data)
    assert (len(report.faults), report.more, report.intact) == (MAX_FAULTS, 50, ())


def test_tensors_that_are_alike_are_each_checked(monkeypatch):
    data = testing.file_of({f"{i:03}": np.float32([i, 1]) for i in range(300)})
    calls = []
    monkeypatch.setattr(check, "open_tree", lambda *args: calls.append(args) or open_tree(*args))
    assert len(verify(data).intact) == 300
    assert len(calls) == 1
    with nnpack.open(data) as reader:
        places = {section.name: section for section in reader.sections}
    for name, section in places.items():
        if name != "000":
            found = faults(flipped(data, 8 * section.payload_offset + 3))
            assert found == [("bad-checksum", name)]


def test_raw_cells_are_not_decoded_again(monkeypatch):
    read = []
    monkeypatch.setattr(check, "read_range", lambda *args: read.append(args) or read_range(*args))
    raw = {"w": np.ones((3, 4)), "h": np.ones(3, np.float16)}
    assert verify(testing.file_of(raw, profile="raw")).verdict == "intact"
    assert not read
    narrow = a.tensor("n", a.dense(a.UINT8 - 4, (3,), b"\xff\xff"), b"\xff\xff")  # uint4
    assert faults(a.assemble(narrow)) == [("bad-value", "n")]
    assert len(read) == 1


def test_plug_ins_decode_what_is_private():
    data = FILES["private"]
    report = verify(data, codecs=PLUGIN)
    assert (report.verdict, report.unchecked) == ("intact", ())


def test_what_cannot_be_decoded_is_no_fault():
    data = FILES["private"]
    report = verify(data)
    assert (report.verdict, [*report.intact]) == ("intact", ["(names)", "w"])
    assert [(bad.error_class, bad.section) for bad in report.unchecked] == [("unsupported", "w")]
    start = next(stop for _, stop, label in regions(data) if label == "w") - 16
    assert ("bad-checksum", "w") in faults(flipped(data, 8 * start))


def test_limits_leave_things_unchecked_or_refuse_the_file():
    report = verify(SMALL, limits=Limits(json_bytes=2))
    assert [bad.error_class for bad in report.unchecked] == ["limit-exceeded"]
    with pytest.raises(nnpack.LimitError):
        verify(SMALL, limits=Limits(directory_bytes=8))
    with pytest.raises(nnpack.LimitError):
        verify(SMALL[:-40], limits=Limits(sections=2))


def test_tensors_larger_than_memory_are_decoded_in_pieces():
    values = {
        "zeros": np.zeros(1 << 24, np.uint8),
        "one": nnpack.Constant(np.float32(0), (1 << 40,)),
        "shared": nnpack.Codebook(np.float32([1, 2]), np.zeros(1 << 22, np.uint8)),
    }
    report = verify(testing.file_of(values), limits=Limits(memory=1 << 20))
    assert (report.verdict, report.unchecked) == ("intact", ())


def test_a_foreign_or_newer_file():
    for foreign in (b"PK\3\4" + bytes(500), b"PK", SMALL[3:]):
        with pytest.raises(nnpack.FormatError) as caught:
            verify(foreign)
        assert caught.value.error_class == "not-nnpack"
    assert faults(b"") == [("truncated", "(header)")]
    with pytest.raises(nnpack.UnsupportedError):
        verify(container.MAGIC + b"\2\0" + bytes(300))


def test_a_file_with_a_damaged_header_is_still_one():
    places = {label: start for start, _, label in regions(SMALL)}
    found = faults(flipped(SMALL, 8))
    assert found == [("not-nnpack", "(header)")]
    found = faults(flipped(SMALL, 8, 8 * (places["(directory)"] + 85)))
    assert {("not-nnpack", "(header)"), ("bad-checksum", "(directory)")} >= {*found[:1]}
    assert verify(flipped(SMALL, 8)[:-40]).intact == ("w", "tied", "(metadata)")


@pytest.mark.parametrize("more", [b"\0", b"<html>", bytes(500), SMALL, everything()])
@pytest.mark.parametrize("data", [SMALL, everything()])
def test_what_follows_the_trailer_hides_nothing(data, more):
    root = verify(data).root
    for expect in (None, root):
        report = verify(data + more, expect=expect)
        (bad,) = report.faults
        assert bad.error_class in {"truncated", "bad-layout"}  # SPEC 14.3, step 4
        assert (bad.offset, bad.section) == (len(data), "(trailer)")
        what = "1 byte after" if len(more) == 1 else f"{len(more):,} bytes after"
        assert bad.message.startswith(what)
        assert len(report.intact) == report.sections == verify(data).sections
        assert (report.verdict, report.root, report.authentic) == ("damaged", None, False)


@pytest.mark.parametrize("by", [1, 8, 4096, -1, -8])
def test_bytes_that_came_in_or_went_are_told(by):
    data = a.assemble(W, BLOB, a.floats("v", 4))
    at = next(start for start, _, label in regions(data) if label == "tokens") + 60
    moved = data[:at] + bytes(by) + data[at:] if by > 0 else data[:at] + data[at - by :]
    report = verify(moved)
    assert report.intact == ("w",)
    told = report.faults[0]
    place = next(start for start, _, label in regions(data) if label == "v") + by
    many = f"{abs(by):,} byte{' was' if abs(by) == 1 else 's were'}"
    assert (told.error_class, told.section) == ("bad-layout", "(trailer)")
    assert f"behind byte {place} are whole but not in their place" in told.message
    assert f"{many} {'inserted' if by > 0 else 'removed'} before them" in told.message


def test_the_heads_tell_what_is_intact_if_the_directory_is_damaged():
    places = {label: start for start, _, label in regions(SMALL)}
    report = verify(flipped(SMALL, 8 * (places["(directory)"] + 85), 8 * (places["tied"] + 9)))
    assert not report.directory
    assert [*report.intact] == ["w", "(metadata)"]
    assert {bad.offset for bad in report.faults} >= {places["tied"], places["(directory)"]}


def test_a_critical_section_of_unknown_type_is_walked_over():
    """Its head is whole, so that what stands in its payload is not taken for a section."""
    data = a.assemble(W, a.Part(99, payload=bytes(99)), BLOB)
    start = data.index(bytes(99))
    inner = a.floats("evil", 1).head(start)
    report = verify(data[:start] + inner + data[start + len(inner) : -32])
    assert [*report.intact] == ["w", "tokens"]
    assert "unknown-section" in {bad.error_class for bad in report.unchecked}


def test_a_file_full_of_sync_bytes_is_given_up():
    fake = container.SYNC + b"\1\0\0\0" + (1 << 20).to_bytes(4, "little") + bytes(20)
    assert verify(container.HEADER + fake * (1 << 15)).sections == 0


def test_progress_ends_at_the_end():
    seen = []
    verify(SMALL, progress=lambda *done: seen.append(done))
    done = [at for at, _, _ in seen]
    assert done == sorted(done)
    assert {total for _, total, _ in seen} == {len(SMALL)}
    assert seen[-1][2] == "(metadata)"
