"""Explanations: every byte once, the places those of SPEC.md's hexdumps, and no fault hides."""

import itertools
import re

import numpy as np
import pytest

from nnpack import container, testing
from nnpack.explain import FAULT, explain
from nnpack.limits import Limits
from nnpack.render import row_line
from tests import assemble as a
from tests.test_damage import FILES
from tests.test_spec import EXAMPLES, example

WHOLE = FILES | {f"spec-{name}": example(name) for name in EXAMPLES}
SMALL = a.assemble(a.floats("w", 1, 2), a.alias(b"tied", b"w"), a.text(a.METADATA, b"", b'{"a":1}'))


LONG = a.assemble(a.tensor("w", a.node(a.CONCAT, a.FLOAT32, (), bytes(8), plen=8 + (1 << 20))))


def wrong(data, **options):
    return [row.value for row in explain(data, **options) if row.field == FAULT]


@pytest.mark.parametrize("name", WHOLE)
def test_every_byte_is_explained_once(name):
    data = WHOLE[name]
    rows = [row for row in explain(data) if not row.decoded]
    at = 0
    for row in rows:
        assert row.offset == at or not row.size, row
        assert row.data == data[row.offset : row.offset + min(row.size, 8)]
        at += row.size
    assert at == len(data)
    assert not wrong(data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields_begin_where_the_specification_says(name):
    lines = re.findall(r"^([0-9a-f]{4})  [0-9a-f ]+?   +(\S.*)", EXAMPLES[name][0], re.MULTILINE)
    starts = {row.offset for row in explain(example(name)) if not row.decoded}
    # Of the directory, and of a plane, which are one row here; and lines cut for their length.
    inside = {
        "body",
        "gap",
        "exponent",
        "tail",
        "symbols",
        "lengths",
        "frequencies",
        "state",
        "words",
        "(goes on)",
    }
    for offset, comment in lines:
        assert int(offset, 16) in starts or comment.startswith((*inside,)), comment


def test_the_empty_file_line_by_line():
    lines = [row_line(row, 4) for row in explain(example("empty"))]
    assert lines[:5] == [
        "\n 0000  header",
        " 0000  89 4e 4e 50 0d 0a 1a 0a    magic",
        " 0008  01 00                      major                     1",
        " 000a  00 00                      minor                     0",
        " 000c  00 00 00 00                reserved",
    ]
    assert lines[5:9] == [
        "\n 0010  section 0: directory",
        " 0010  89 53 45 43                sync",
        " 0014  07 00                      type                      7 = directory",
        " 0016  00 00                      flags                     0",
    ]
    assert lines[-6:] == [
        "\n 0060  trailer",
        " 0060  10 00 00 00 00 00 00 00    directory offset          16",
        " 0068  50 00 00 00 00 00 00 00    directory length          80",
        " 0070  54 a8 c4 9e                checksum                  9ec4a854",
        " 0074  00 00 00 00                reserved",
        " 0078  89 4e 4e 50 45 4e 44 0a    end magic",
    ]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("csr", "row length", "3"),
        ("csr", "fill", "0"),
        ("csr", "values dtype", "0x29 = int16"),
        ("constant", "cell", "-0.0"),
        ("vectors", "vector length", "2"),
        ("groups", "flags", "2 = divide"),
        ("groups", "block 0", "0 = the whole axis"),
        ("flat", "step", "0x39 = float16"),
        ("concat", "axis", "0"),
        ("opaque", "format name", '"org.example.x"'),
        ("private", "codecs", "200 = private, 200 = private"),
        ("private", "name", '"org.example.run"'),
        ("delta", "transform", "2 = delta"),
        ("zstd", "codecs", "1 = zstd"),
        ("sections", "target", '"w"'),
        ("sections", "flags", "1 = ancillary"),
    ],
)
def test_fields_have_names_and_meanings(name, field, value):
    assert value in {row.value for row in explain(FILES[name]) if row.field == field}


def test_long_tables_are_cut_short():
    data = testing.file_of({"w": np.zeros(9 << 18, np.uint8)}, profile="raw")
    values = [row.value for row in explain(data) if row.field == "entries"]
    assert values == ["5 more"]


def test_a_coded_directory_is_explained_decoded():
    data = testing.file_of({f"layer.{i}.weight": np.float32(i) for i in range(50)})
    rows = [row for row in explain(data) if row.decoded]
    assert (rows[0].field, rows[0].value) == ("sections", "50")
    assert (rows[1].field, rows[1].value[:9]) == ("column offset", "16, 104, ")
    assert sum(row.size for row in rows) == rows[-1].offset + rows[-1].size
    assert row_line(rows[0], 4).startswith("+0000  32 00")
    assert wrong(data, limits=Limits(directory_bytes=99))


@pytest.mark.parametrize("name", ["sections", "groups", "private", "zstd"])
def test_damage_is_marked_and_passed(name):
    """Nothing is raised, and what only `verify` sees are bytes of payloads."""
    data = FILES[name]
    payload = {
        at
        for row in explain(data)
        if row.field == "payload"
        for at in range(row.offset, row.offset + row.size)
    }
    for at in range(len(data)):
        assert wrong(data[:at]), at
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        assert wrong(changed) or at in payload, at


def test_where_the_chain_breaks_the_next_head_is_found():
    start = SMALL.index(b"\x89SEC", 17)
    rows = [*explain(SMALL[:start] + b"x" + SMALL[start + 1 :])]
    titles = [row.value for row in rows if not row.field]
    assert titles[1:] == ['section 0: tensor "w"', "section 2: metadata", "section 3: directory", "trailer"]  # fmt: skip
    marks = [row.value for row in rows if row.field == FAULT]
    assert marks == ["no whole section head stands here", "48 bytes up to the next section head skipped"]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "magic runs over the end"),
        (b"PK\3\4" * 99, "not nnpack's magic bytes"),
        (SMALL + b"<html>", "6 bytes follow the trailer"),
        (SMALL[:-32], "without a trailer"),
        (SMALL[:-8] + b"12345678", "does not end with a trailer"),
        (container.HEADER + bytes(200), "200 bytes up to the end skipped"),
        (a.assemble(a.tensor(b"\xff", a.dense(a.FLOAT32, (1,), bytes(4)), bytes(4))), "not UTF-8"),
        (a.assemble(a.tensor("w", a.node(a.CONCAT, a.FLOAT32, (), bytes(8), count=3))), "over the end"),
        (a.assemble(a.tensor("w", a.node(a.DENSE, a.FLOAT32, (1,), rank=99))), "a rank above 32"),
        (LONG, "parameters run over the end by 1048576 bytes"),
    ],
)  # fmt: skip
def test_what_is_said_about_broken_files(data, what):
    assert any(what in text for text in wrong(data)), wrong(data)
    assert all(row.size >= 0 and row.offset + row.size <= len(data) for row in explain(data))


def test_nesting_is_bounded():
    tree = a.node(a.CONCAT, a.FLOAT32)
    for _ in range(99):
        tree = a.node(a.CONCAT, a.FLOAT32, parts=[tree])
    assert "more than 8 levels of nodes" in wrong(a.assemble(a.tensor("w", tree)))


def test_rows_come_while_the_file_is_read():
    """A million sections are never held: only as much is read as is asked for."""

    class Counting:
        def __init__(self, data):
            self.data, self.at, self.most = data, 0, 0

        def seek(self, offset, whence=0):
            self.at = offset if whence == 0 else len(self.data) + offset
            return self.at

        def read(self, size):
            self.most = max(self.most, self.at + size)
            return self.data[self.at : self.at + size]

    data = testing.file_of({str(i): np.zeros(1 << 18, np.uint8) for i in range(20)}, profile="raw")
    file = Counting(data)
    assert len([*itertools.islice(explain(file), 60)]) == 60
    assert file.most < len(data) // 4
