"""Copying sections as they are: only the head is new, and nothing of the payload is understood."""

import io
import tracemalloc

import numpy as np
import pytest

import nnpack
from nnpack import container
from nnpack.source import BufferSource, ObjectSource
from tests import assemble as a
from tests.test_plugins import F32, one
from tests.test_writer import UNKNOWN, opened, written


def copied(data, name=None, **options):
    """Copy the tensor `u` as it is."""
    with nnpack.open(data) as reader:
        section = reader["u"].section
        return written(
            lambda file: (file.add("w", F32), file.copy(section, reader.source, name)), **options
        )


@pytest.mark.parametrize("name", [None, "other"])
def test_a_tensor_that_nobody_understands_is_copied(name):
    data = copied(UNKNOWN, name)
    before, after = nnpack.open(UNKNOWN)["u"].section, nnpack.open(data)[name or "u"].section
    assert (after.body, after.alignment, after.payload_length) == (before.body, 5, 4)
    assert data[after.payload_offset : after.payload_end] == b"abcd"
    assert after.payload_offset % 32 == 0
    taken = opened()
    taken.add(after.name, F32)
    with pytest.raises(ValueError, match=f"called '{after.name}' already"):
        taken.copy(after, nnpack.open(data).source)


def test_sections_of_every_type_are_copied():
    data = written(
        lambda file: (
            file.add("w", F32),
            file.add_alias("tied", "w"),
            file.add_graph("g", {"inputs": [], "outputs": ["w"], "nodes": []}),
            file.add_blob("b", bytes(3 << 20)),
            file.set_metadata({"a": 1}),
        ),
        digests=True,
    )
    ancillary = a.Part(300, b"later", a.dense(a.UINT8, (1,), b"x"), b"x", flags=1)
    bound = a.names((1, 200, b"a.b"))
    private = a.Part(200, b"private", a.dense(a.UINT8, (1,), b"x"), b"x", flags=1)
    for source in (data, a.assemble(bound, ancillary, private)):
        with nnpack.open(source) as reader:
            own = {container.METADATA, container.DIGESTS}
            sections = [section for section in reader.sections if section.type not in own]
            again = written(lambda file: [file.copy(s, reader.source) for s in sections])  # noqa: B023
        found = nnpack.open(again).sections
        assert [s._replace(offset=0) for s in found] == [s._replace(offset=0) for s in sections]
        for before, after in zip(sections, found, strict=True):
            was = source[before.payload_offset : before.payload_end]
            assert again[after.payload_offset : after.payload_end] == was


def test_what_a_copy_cannot_be():
    data = written(
        lambda file: (file.add("w", F32), file.add_alias("t", "w"), file.set_metadata({"a": 1})),
        digests=True,
    )
    reader = nnpack.open(data)
    _, tied, metadata, digests = reader.sections
    for section in (metadata, digests):
        with pytest.raises(ValueError, match="the writer makes its own"):
            opened().copy(section, reader.source)
        with pytest.raises(ValueError, match="has no name to change"):
            opened().copy(section, reader.source, "n")
    with pytest.raises(ValueError, match="'w' is no tensor written before its alias 't'"):
        opened().copy(tied, reader.source)
    bound = nnpack.open(a.assemble(a.names((1, 200, b"a.b"))))
    late = opened()
    late.add("w", F32)
    with pytest.raises(ValueError, match="before all others"):
        late.copy(bound.sections[0], bound.source)
    private = a.Part(200, b"p", a.dense(a.UINT8, (1,), b"x"), b"x", flags=1)
    unbound = nnpack.open(a.assemble(a.names((1, 200, b"a.b")), private))
    with pytest.raises(ValueError, match="'p' has the private id 200"):
        opened().copy(unbound.sections[1], unbound.source)


def test_a_copy_that_cannot_be_read_leaves_no_file(tmp_path):
    class Cut(BufferSource):
        def _read(self, offset, size):
            if offset >= 2 << 20:
                raise OSError(5, "Input/output error")
            return super()._read(offset, size)

    data = written(lambda file: file.add("w", np.zeros(3 << 20, np.uint8)), profile="raw")
    writer = nnpack.Writer(tmp_path / "x")
    with pytest.raises(OSError, match="Input/output"):
        writer.copy(nnpack.open(data)["w"].section, Cut(data))
    with pytest.raises(ValueError, match="a write failed"):
        writer.close()
    assert not [*tmp_path.iterdir()]


def test_a_copy_takes_little_memory():
    size = 64 << 20
    data = written(lambda file: file.add("w", np.zeros(size, np.uint8)), profile="raw")
    section = nnpack.open(data)["w"].section

    class Null:
        def write(self, _):
            pass

    tracemalloc.start()
    with nnpack.Writer(Null()) as writer:
        writer.copy(section, ObjectSource(io.BytesIO(data)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_copy_needs_the_names_of_its_ids():
    tree = a.node(a.DENSE, 200, (1,), a.stream([b"abcd"], transform=128, codecs=(201,)))
    bound = {(3, 200): "a.b", (4, 128): "c.d", (5, 201): "e.f"}
    data = a.assemble(
        a.names(*((*key, name.encode()) for key, name in bound.items())), one(tree, b"abcd")
    )
    again = copied(data, bindings=bound)
    assert nnpack.open(again).bindings == bound
    assert nnpack.open(again)["u"].section.body == tree
    for missing in bound:
        with pytest.raises(
            ValueError, match=rf"'u' has the private id {missing[1]}: pass its bindings"
        ):
            copied(data, bindings={key: name for key, name in bound.items() if key != missing})
