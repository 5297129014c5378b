"""Files taken apart, changed and put together: what the conformance kit makes its vectors with."""

import json
import struct
import zlib
from pathlib import Path

import pytest

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.rebuild import entries, parse, repaired
from conformance.generator.vector import blob_of, file_of, other

LIKE_A_HEAD = a.SYNC + struct.pack("<HH", a.DIRECTORY, 0)
FILE = file_of([blob_of("w", b"as it is"), other(a.Section(9, b"x", LIKE_A_HEAD, flags=1))])
"""The directory holds the body, which begins as the directory's own head does."""


@pytest.mark.parametrize("at", [0, 8, 16, 24, -8])
def test_a_trailer_that_stays_leaves_the_file_as_it_is(at):
    old = FILE[-32:][at:][:8]
    assert o.apply(FILE, [o.trailer(at, old, old)]) == FILE


def test_pointers_that_change_have_a_right_checksum():
    made = o.apply(FILE, [o.trailer(8, FILE[-24:-23], bytes([FILE[-24] ^ 1]))])
    start = struct.unpack_from("<Q", FILE, len(FILE) - 32)[0]
    assert made[:-24] == FILE[:-24]
    assert made[-24] == FILE[-24] ^ 1
    assert struct.unpack_from("<I", made, len(made) - 16)[0] == zlib.crc32(
        made[:16] + made[start:-16]
    )


def test_what_stands_in_the_trailer_behind_its_checksum_is_not_repaired():
    made = o.apply(FILE, [o.trailer(16, FILE[-16:-12], b"\0\0\0\0")])
    assert made == FILE[:-16] + bytes(4) + FILE[-12:]


def test_a_leaf_that_ends_within_an_entry_has_no_block_table():
    body = a.node(a.DENSE, 0x18, (8,), a.stream([b"as it is"])[:-4])
    with pytest.raises(ValueError, match="the entry at 32 is cut off"):
        entries(body)
    section = a.Section(a.BLOB, b"w", body, b"as it is")
    assert repaired(section) is section


@pytest.mark.parametrize("length", [16, 40, 60])
def test_what_leads_nowhere_is_no_file(length):
    with pytest.raises(ValueError, match=r"there is no directory|no section stands at"):
        parse(FILE[:length])


def test_an_operation_of_no_kind_is_refused():
    with pytest.raises(ValueError, match="no operation"):
        o.apply(FILE, [{"op": "turn", "index": 0}])


def test_vectors_whose_block_tables_are_repaired_have_right_ones():
    """A reader that does not decode a leaf's codec still compares the checksums of its blocks."""
    vectors = Path(__file__).parent.parent / "conformance" / "vectors" / "invalid"
    checked = 0
    for sidecar in vectors.rglob("*.json"):
        if "planes" in json.loads(sidecar.read_text("utf-8"))["derived"]["repair"]:
            for section in parse(sidecar.with_suffix(".nnpk").read_bytes()).sections:
                if section.payload or section.type == a.TENSOR:
                    assert repaired(section) == section, sidecar.stem
                    checked += 1
    assert checked > 300
