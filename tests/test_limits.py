"""What a file may cost: limits, and memory counted before it is taken."""

import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest

import nnpack
from nnpack import memory, testing
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_random, read_sequential
from tests.test_rules import put

TEXT = b'{"inputs":[],"outputs":[],"nodes":[]}'
CONSTANT = testing.file_of({"w": nnpack.Constant(np.uint8(0), (1 << 20,))})
NESTED = testing.file_of(
    {"w": nnpack.Quantized(np.zeros(1000, np.int8), np.float32(1))}, profile="raw"
)
PLAIN = testing.file_of(
    {"w": np.zeros(1000, np.float32), "v": np.zeros(10, np.uint8)}, profile="raw"
)
MANY = testing.file_of({f"a-long-name-{i:09}": np.zeros(1, np.float32) for i in range(200)})


# what: (field, value that is enough, file, use, other fields)
LIMITS = {
    "directory": ("directory_bytes", a.directory_bytes(PLAIN), PLAIN, len, {}),
    "decoded directory": ("directory_bytes", 8 + 200 * (27 + 21 + 40) + 199, MANY, len, {}),
    "sections": ("sections", 2, PLAIN, len, {}),
    "metadata": ("json_bytes", len(TEXT), a.assemble(a.text(a.METADATA, b"", TEXT)), lambda r: r.metadata, {}),
    "graph": ("json_bytes", len(TEXT), a.assemble(a.text(a.GRAPH, b"g", TEXT)), lambda r: r.graphs["g"], {}),
    "tensor": ("tensor_bytes", 4000, PLAIN, lambda r: r["w"].read(), {}),
    "tensor with parts": ("tensor_bytes", 5004, NESTED, lambda r: r["w"].read(), {}),
    "value": ("tensor_bytes", 5004, NESTED, lambda r: r["w"].value(), {}),
    "memory": ("memory", 4000, PLAIN, lambda r: r["w"].read(), {}),
    "memory into an array": ("memory", 1004, NESTED, lambda r: r["w"].read(np.empty(1000, np.float32)), {}),
    "memory for a slice": ("memory", 40, PLAIN, lambda r: r["w"][:10], {}),
    "memory for a slice with parts": ("memory", 1044, NESTED, lambda r: r["w"][:10], {}),
    "memory for a blob": ("memory", 3, a.assemble(a.text(a.BLOB, b"b", b"abc")), lambda r: r.blobs["b"], {}),
    "memory for all": ("memory", 4010, PLAIN, lambda r: r.load(), {}),
    "expansion": ("expansion_bytes", 1 << 20, CONSTANT, lambda r: r["w"].read(), {}),
    "expansion ratio": ("expansion_ratio", 1 << 20, CONSTANT, lambda r: r["w"].read(), {"expansion_bytes": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("what", LIMITS)
def test_limit(what):
    field, value, data, use, others = LIMITS[what]
    use(nnpack.open(data, limits=nnpack.Limits(**others, **{field: value})))
    with pytest.raises(nnpack.LimitError, match=r"limit-exceeded: .*limits=Limits\(") as caught:
        use(nnpack.open(data, limits=nnpack.Limits(**others, **{field: value - 1})))
    assert caught.value.error_class == "limit-exceeded"
    assert field in str(caught.value) or what == "expansion ratio"  # it names expansion_bytes


def test_every_limit_is_tested():
    assert {field for field, *_ in LIMITS.values()} == set(nnpack.Limits.__slots__)


def test_the_directory_s_head_is_looked_at_before_its_limit():
    data = put(PLAIN, int.from_bytes(PLAIN[-32:-24], "little"), b"\x88")
    limits = nnpack.Limits(directory_bytes=a.directory_bytes(PLAIN) - 1)
    assert fault(data, limits=limits) == "bad-layout"


def test_sections_are_counted_before_they_are_looked_at():
    assert fault(a.assemble(W, W, W), limits=nnpack.Limits(sections=2)) == "limit-exceeded"


def test_a_count_that_the_directory_has_no_room_for_is_no_question_of_limits():
    """The length comes before the limit (SPEC 14.3, steps 10 and 11)."""

    def many(directory):
        return b"\xff\xff" + directory[2:]

    for data in (a.assemble(listing=many), a.assemble(W, listing=many)):
        for read in (read_random, read_sequential):
            assert fault(data, read, limits=nnpack.Limits(sections=2)) == "mismatch"


N = 1 << 25
BLOCK1 = struct.pack("<QQ", 0, 1)
# A slice of one element costs what it decodes: small files that would have it cost 32 MiB and more.
SLICES_THAT_COST = {
    "scales of a long row": a.tensor("w", a.node(a.QUANTIZED, a.FLOAT32, (1, N), bytes(8) + BLOCK1, [a.constant((1, N), a.FLOAT32, 1), a.constant((1, N), role=6)])),
    "tables of a long row": a.tensor("w", a.node(a.CODEBOOK, a.FLOAT32, (1, N), b"\1".ljust(8, b"\0") + BLOCK1, [a.constant((1, N, 1), a.FLOAT32, 1), a.constant((1, N), role=2)])),
    "groups of a long axis": a.tensor("w", a.node(a.QUANTIZED, a.FLOAT32, (N,), bytes(16), [a.constant((1,), a.FLOAT32, 1), a.constant((N,), role=5), a.constant((N,), role=6)])),
    "vectors of 1024 along the first axis": a.tensor("w", a.node(a.CODEBOOK, a.UINT8, (1024, N >> 10), struct.pack("<IIQQ", 1024, 0, 0, 0), [a.constant((1, 1, 1, 1024), role=1), a.constant((1, N >> 10), role=2)])),
    "foreign blocks": a.tensor("w", a.node(a.OPAQUE, a.UINT8, (1, N), b"\3\0\0\0\0\0\0\0a.b".ljust(16, b"\0"), [a.dense(a.UINT8, (1,), b"x", role=1)]), b"x"),
}  # fmt: skip


@pytest.mark.parametrize("what", SLICES_THAT_COST)
def test_a_slice_is_bounded_by_the_memory_that_it_may_have(what):
    decoders = {"a.b": lambda data, parameters, dtype, shape: np.zeros(shape, dtype)}
    data = a.assemble(SLICES_THAT_COST[what])
    tensor = nnpack.open(data, kinds=decoders, limits=nnpack.Limits(memory=1 << 20))["w"]
    tracemalloc.start()
    try:
        with suppress(nnpack.LimitError):
            assert tensor[(0,) * len(tensor.shape)] == 0
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_slice_is_counted_before_it_is_allocated():
    tensor = nnpack.open(a.assemble(a.tensor("w", a.constant((1 << 60,)))))["w"]
    for use in (tensor.read, tensor.value, lambda: tensor[:], lambda: tensor[::3]):
        with pytest.raises(nnpack.LimitError, match=r"memory budget|tensor_bytes"):
            use()
    assert tensor[1 << 59] == 0


MEMORY = {
    "no information": ({}, 1 << 40),
    "free": ({"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1000 kB\n"}, 1000 << 10),
    "group": ({"/sys/fs/cgroup/memory.max": "5000\n", "/sys/fs/cgroup/memory.current": "3000\n"}, 2000),
    "group above": ({"/sys/fs/cgroup/memory.max": "5000", "/sys/fs/cgroup/memory.current": "6000"}, 0),
    "group without bound": ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "1"}, 1 << 40),
}  # fmt: skip


@pytest.mark.parametrize("what", MEMORY)
def test_memory_that_the_system_has(monkeypatch, what):
    files, found = MEMORY[what]
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.available_memory() == int(0.8 * found)


def test_the_system_is_asked():
    assert 1 << 20 < memory.available_memory() < 1 << 45
    huge = a.assemble(a.tensor("w", a.node(a.CONSTANT, a.UINT8, (1 << 39,), bytes(8))))
    with pytest.raises(nnpack.LimitError, match="memory budget"):
        nnpack.open(huge)["w"].read()
