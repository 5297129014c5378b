"""Salvage: what is whole is kept byte for byte, what is lost is named, nothing is made up."""

import struct
from pathlib import Path

import numpy as np
import pytest

import nnpack
from nnpack import container, testing
from nnpack.limits import Limits
from nnpack.render import recovered_lines
from nnpack.salvage import Lost, salvage
from nnpack.source import FileSource
from nnpack.verify import verify
from tests import assemble as a
from tests.test_damage import FILES, GRAPH, everything
from tests.test_spec import example

W = a.floats("w", 1, 2, 3)
V = a.floats("v", 4)
BLOB = a.text(a.BLOB, b"tokens", b"hello, hello")
SMALL = a.assemble(W, a.alias(b"tied", b"w"), BLOB, a.text(a.METADATA, b"", b'{"a":1}'), V)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Salvage bytes; return the report and the new file, which must be intact."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # a thousand times takes its time
    target = tmp_path / "new.nnpk"
    intact = set()

    def go(data, **options):
        target.unlink(missing_ok=True)
        recovered = salvage(data, target, **options)
        written = target.read_bytes()
        assert written in intact or verify(written).verdict == "intact"
        intact.add(written)
        new = nnpack.open(written)
        summary = {
            "kept": len(recovered.kept),
            "lost": [lost.offset if lost.name is None else lost.name for lost in recovered.lost],
        }
        behind = [[*found] for found in recovered.behind_damage]
        assert {label for label, _ in behind} <= {*recovered.kept}
        assert new.metadata["nnpack.salvaged"] == summary | (
            {"behind_damage": behind} if behind else {}
        )
        return recovered, new

    return go


def heads(data):
    with nnpack.open(data) as reader:
        return {section.label: section for section in reader.sections}


def changed(data, *places):
    out = bytearray(data)
    for at in places:
        out[at] ^= 0x10
    return bytes(out)


def without_directory(data):
    return changed(data, int.from_bytes(data[-32:-24], "little") + 80)


@pytest.mark.parametrize("name", FILES)
def test_what_is_whole_is_kept_byte_for_byte(name, run):
    data = FILES[name]
    old = heads(data)
    recovered, new = run(data)
    assert [*recovered.kept] == sorted(
        [label for label in old if label != "(digests)"], key=lambda label: old[label].type == a.GRAPH
    )  # fmt: skip
    assert recovered.whole
    assert recovered.digests == ("(digests)" in old)
    for section in new.sections:
        if section.type != container.METADATA:
            before = old[section.label]
            assert section._replace(offset=0) == before._replace(offset=0)
            assert (
                new.source.read(section.payload_offset, section.payload_length)
                == data[before.payload_offset : before.payload_end]
            )


def test_each_truncation_leaves_the_sections_that_are_whole(run):
    ends = {label: section.payload_end for label, section in heads(SMALL).items()}
    directory = int.from_bytes(SMALL[-32:-24], "little") + 72  # where its head ends
    for size in range(len(SMALL)):
        whole = [label for label, end in ends.items() if end <= size]
        if not whole:
            with pytest.raises(nnpack.FormatError):
                run(SMALL[:size])
            continue
        recovered, new = run(SMALL[:size])
        assert [*recovered.kept] == whole, size
        assert new.metadata.get("a") == (1 if "(metadata)" in whole else None)
        assert recovered.complete == recovered.whole == (size >= directory), size


def test_each_damaged_byte_costs_at_most_its_section(run):
    """A damaged head costs nothing: the directory has another copy."""
    sections = heads(SMALL)
    for at in range(len(SMALL)):
        hit = [
            label for label, s in sections.items() if s.payload_offset <= at < s.payload_end
        ]  # fmt: skip
        lost = [*hit, *["tied"][: "w" in hit]]
        recovered, _ = run(changed(SMALL, at))
        assert [lost.name for lost in recovered.lost] == lost, at
        assert [*recovered.kept] == [label for label in sections if label not in lost], at


def test_each_damaged_byte_without_a_directory(run):
    sections = heads(SMALL)
    data = without_directory(SMALL)
    for at in range(16, sections["v"].end):
        label = next(label for label, s in sections.items() if s.offset <= at < s.end)
        section = sections[label]
        in_head = at < section.offset + section.head_length
        padding = not in_head and not section.payload_offset <= at < section.payload_end
        recovered, _ = run(changed(data, at))
        found = [(lost.name, lost.offset) for lost in recovered.lost]
        first = [] if padding else [(None if in_head else label, section.offset)]
        if label == "w" and not padding:
            first.append(("tied", sections["tied"].offset))
        assert found == first, at
        assert recovered.complete == (not in_head), at


INNER = testing.file_of({"secret": np.ones(4)}, profile="raw")


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.parametrize("damage", ["head", "payload", "nothing"])
def test_a_file_inside_a_blob_is_never_resurrected(run, *, directory, damage):
    data = a.assemble(W, a.text(a.BLOB, b"b", INNER), V)
    blob = heads(data)["b"]
    if not directory:
        data = without_directory(data)
    place = {"head": blob.offset + 5, "payload": blob.payload_end - 1}.get(damage)
    recovered, new = run(data if place is None else changed(data, place))
    kept = damage == "nothing" or (directory and damage == "head")
    assert [*recovered.kept] == ["w", *["b"][: int(kept)], "v"]
    assert [*new] == ["w", "v"]


def crafted():
    """A file whose blob holds a section with the right checksum for its place, and that place."""
    at = a.assemble(W, a.text(a.BLOB, b"b", bytes(999))).index(bytes(999)) + 8 & -8
    forged = V.head(at) + V.payload
    data = forged.rjust(at % 8 + len(forged), b"\0") + bytes(900)
    file = a.assemble(W, a.text(a.BLOB, b"b", data), a.floats("u", 1))
    start = file.index(data)
    forged = V.head(start + 7 & -8) + V.payload
    data = bytes(-start % 8) + forged + bytes(len(data) - len(forged) - -start % 8)
    return a.assemble(W, a.text(a.BLOB, b"b", data), a.floats("u", 1))


def test_sections_crafted_inside_a_payload_are_never_taken(run):
    data = crafted()
    blob = heads(data)["b"]
    forged = changed(data, blob.payload_end - 1)
    for bad in (forged, without_directory(forged), changed(data, blob.offset + 5)):
        _, new = run(bad)
        assert [*new] == ["w", "u"]


def test_heads_behind_a_break_are_found(run):
    data = without_directory(SMALL)
    start = heads(SMALL)["tied"].offset
    recovered, new = run(data[:start] + bytes(48) + data[start + 48 :])
    assert [*new] == ["w", "v"]
    lost = Lost(None, start, "bad-layout: no section head here")
    assert (recovered.lost, recovered.complete) == ((lost,), False)


def planted():
    """A file whose blob holds bytes that look like a section in their place; where its head is."""
    first, inner = a.floats("w", 1), a.floats("secret", 6)
    at = 16 + len(first.head(16)) + 8
    start = at + len(a.text(a.BLOB, b"b", bytes(512)).head(0)) + 64
    payload = bytearray(512)
    section = inner.head(start) + inner.payload
    payload[64 : 64 + len(section)] = section
    return a.assemble(first, a.text(a.BLOB, b"b", bytes(payload))), at, start


def test_what_nothing_vouches_for_is_named_so(run):
    data, at, start = planted()
    assert run(data)[0].behind_damage == ()
    recovered, _ = run(changed(data, at + 20))  # the directory knows the blob
    assert (recovered.kept, recovered.behind_damage) == (("w", "b"), ())
    recovered, _ = run(changed(data, at + 20)[:-100])
    assert (recovered.kept, recovered.behind_damage) == (("w", "secret"), (("secret", start),))
    assert not recovered.complete
    recovered, _ = run(data[:-100])  # the chain does
    assert (recovered.kept, recovered.behind_damage) == (("w", "b"), ())


@pytest.mark.parametrize("by", [3, 8, -1, -8])
def test_what_is_not_in_its_place_is_told_and_not_taken(run, by):
    at = heads(SMALL)["tokens"].payload_offset + 8
    data = SMALL[:at] + bytes(by) + SMALL[at:] if by > 0 else SMALL[:at] + SMALL[at - by :]
    recovered, new = run(data)
    assert [*new] == ["w", "tied"]
    assert recovered.displaced == (by, heads(SMALL)["(metadata)"].offset + by)
    assert not recovered.complete
    text = next(line for line in recovered_lines(recovered, "new") if line.startswith("not taken"))
    assert "whole but not in their place" in text
    assert run(SMALL[:-40])[0].displaced is None
    assert run(SMALL)[0].displaced is None


def test_a_file_that_is_displaced_as_a_whole_says_so(tmp_path):
    data = SMALL[:16] + b"\n" + SMALL[16:]
    with pytest.raises(nnpack.FormatError, match="behind byte 17 are whole but not in their place"):
        salvage(data, tmp_path / "new")
    assert not [*tmp_path.iterdir()]


def test_no_two_trailers_fool_it(run):
    """The end of another file that follows is no displaced end of this one."""
    other = testing.file_of({"evil": np.ones(4)})
    recovered, new = run(SMALL + other)
    assert [*new] == ["w", "v", "tied"] or {*new} == {"w", "v", "tied"}
    assert recovered.whole


def test_metadata_keys_of_a_later_version_are_lost(run):
    data = a.assemble(W, a.text(a.METADATA, b"", b'{"a":1,"nnpack.later":2}'))
    recovered, new = run(data)
    assert recovered.kept == ("w", "(metadata)")
    assert [lost.name for lost in recovered.lost] == ["(metadata)"]
    assert "nnpack.later" in recovered.lost[0].reason
    assert new.metadata["a"] == 1


def test_the_first_of_two_sections_with_one_name_is_kept(run):
    data = without_directory(a.assemble(W, a.floats("w", 9), a.text(a.METADATA, b"", b'{"a":1}')))
    twice = a.text(a.METADATA, b"", b'{"a":2}')
    end = int.from_bytes(data[-32:-24], "little")
    data = data[:end] + twice.head(end) + twice.payload
    recovered, new = run(data)
    assert [lost.reason[:9] for lost in recovered.lost] == ["duplicate", "duplicate"]
    assert new["w"].read().tolist() == [1, 2, 3]
    assert new.metadata["a"] == 1


def test_graphs_need_their_tensors(run):
    with_tensor = everything()
    section = heads(with_tensor)["w"]
    recovered, new = run(changed(with_tensor, section.payload_offset))
    assert [lost.name for lost in recovered.lost] == ["w", "w2", "g"]
    assert [*recovered.kept] == ["b", "(metadata)"]
    assert recovered.digests
    recovered, new = run(with_tensor)
    assert new.graphs["g"] == GRAPH
    assert new.root is None


def test_without_names_private_ids_mean_nothing(run):
    data = without_directory(example("unknown"))
    recovered, _ = run(data)
    assert recovered.whole
    recovered, _ = run(changed(data, 40))
    assert {lost.name for lost in recovered.lost} >= {None, "private"}
    assert {"plain", "foreign"} <= {*recovered.kept}


def test_names_that_are_not_first_are_not_taken(run):
    names = a.Part(a.NAMES, b"", b"\5\xc8\3\0a.b\0")
    recovered, _ = run(without_directory(a.assemble(W, names, V)))
    assert [(lost.name, lost.reason[:10]) for lost in recovered.lost] == [("(names)", "bad-layout")]


def test_a_head_that_tells_another_story_than_the_directory_is_not_taken(run):
    data = a.assemble(W, a.floats("v", 4, listed={"name": b"u"}))
    recovered, _ = run(data)
    assert [(lost.name, lost.reason[:8]) for lost in recovered.lost] == [("u", "mismatch")]


def test_what_an_earlier_salvage_lost_stays_known(tmp_path):
    data = SMALL
    for name in ("w", "v"):
        data = changed(data, heads(data)[name].payload_offset)
        salvage(data, tmp_path / name)
        data = (tmp_path / name).read_bytes()
    metadata = nnpack.open(data).metadata
    assert metadata == {"a": 1, "nnpack.salvaged": {"kept": 2, "lost": ["w", "tied", "v"]}}


def test_many_losses_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("nnpack.salvage.MAX_LISTED", 2)
    data = a.assemble(*[a.floats(str(i), i) for i in range(5)], V)
    places = [section.payload_offset for label, section in heads(data).items() if label != "v"]
    salvage(changed(data, *places), tmp_path / "new")
    summary = {"kept": 1, "lost": ["0", "1"], "more": 3}
    assert nnpack.open(tmp_path / "new").metadata == {"nnpack.salvaged": summary}


def test_nothing_is_overwritten(tmp_path):
    target = tmp_path / "new.nnpk"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        salvage(SMALL, target)
    source = tmp_path / "old.nnpk"
    source.write_bytes(SMALL[:-1])
    with pytest.raises(FileExistsError):
        salvage(source, source)
    assert target.read_bytes() == b"mine"
    assert source.read_bytes() == SMALL[:-1]
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    ("data", "error_class"),
    [
        (b"", "truncated"),
        (b"PK\3\4" * 99, "not-nnpack"),
        (container.HEADER + bytes(99), "truncated"),
        (changed(a.assemble(W), heads(a.assemble(W))["w"].payload_offset), "bad-checksum"),
        (a.assemble(a.floats("v", 4, listed={"name": b"u"})), "mismatch"),
        (a.assemble(a.Part(99)), "unknown-section"),
    ],
)
def test_where_nothing_is_whole_nothing_is_written(data, error_class, tmp_path):
    with pytest.raises(nnpack.NnpackError) as caught:
        salvage(data, tmp_path / "new")
    assert caught.value.error_class == error_class
    assert not [*tmp_path.iterdir()]


def test_an_empty_file_stays_empty(run):
    recovered, new = run(a.assemble())
    assert (recovered.kept, recovered.whole, len(new)) == ((), True, 0)


def test_limits_are_kept(tmp_path):
    with pytest.raises(nnpack.LimitError):
        salvage(SMALL[:-40], tmp_path / "new", limits=Limits(sections=2))


def test_bytes_that_the_disk_cannot_read_are_lost(tmp_path, monkeypatch):
    old = tmp_path / "old"
    data = testing.file_of({"a": np.zeros(1 << 18, np.uint8), "b": np.ones(3)}, profile="raw")
    old.write_bytes(data)
    bad = heads(data)["a"].payload_offset
    read = FileSource.read

    def failing(self, offset, size):
        if offset <= bad < offset + size and size > 4096:
            raise OSError(5, "Input/output error")
        return read(self, offset, size)

    monkeypatch.setattr(FileSource, "read", failing)
    recovered = salvage(Path(old), tmp_path / "new")
    assert (recovered.kept, recovered.lost[0].reason) == (("b",), "Input/output error")


def test_progress_names_the_sections(tmp_path):
    seen = []
    salvage(SMALL, tmp_path / "new", progress=lambda *done: seen.append(done))
    assert [name for _, _, name in seen if name][-1] == "v"


def test_the_size_of_a_head_is_not_believed(tmp_path):
    """A head that is whole but claims more than the file: what follows is not looked into."""
    head = (
        struct.pack("<4sHHIHBBQII", container.SYNC, 1, 0, 40, 1, 3, 0, 1 << 61, 0, 0)
        + b"x"
        + bytes(7)
    )
    end = len(container.HEADER + W.head(16)) + 16
    crc = struct.pack("<I", container.head_crc(end, head))
    data = a.assemble(W)[:end] + head[:28] + crc + head[32:]
    forged = V.head(len(data)) + V.payload
    recovered = salvage(data + forged, tmp_path / "new")
    assert (recovered.kept, [lost.name for lost in recovered.lost]) == (("w",), ["x"])
