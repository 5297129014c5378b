"""What a few bytes may claim costs bounded time and memory: operations counted, never timed."""

import resource
import struct
import tracemalloc

import numpy as np
import pytest

import nnpack
from nnpack import abc, container, grid, memory, testing, walk
from nnpack.errors import Invalid
from nnpack.nodes import codebook, concat, csr, quantized
from nnpack.salvage import salvage
from nnpack.verify import verify
from tests import assemble as a

SLACK = 12 << 20
"""A few pieces of 2^18 elements."""
MANY = 1 << 22


def sparse(shape, row, count, gap=0, *, nnz=None, role=0):
    """A csr whose parts are constants."""
    rows = -(-int(np.prod(shape)) // row)
    nnz = rows * count if nnz is None else nnz
    parts = [
        a.constant((rows,), a.UINT32, 1, count),
        a.constant((nnz,), a.UINT16, 2, gap),
        a.constant((nnz,), role=3, cell=7),
    ]
    return a.node(a.CSR, a.UINT8, shape, struct.pack("<QQ", row, 0), parts, role=role)


def scaled(shape, block, groups, *more, codes=None, flags=0, axis=0):
    parameters = struct.pack(f"<BB6x{len(block)}Q", flags, axis, *block)
    codes = codes or a.constant(shape, role=6, cell=3)
    parts = [a.constant(groups, role=1, cell=1), *more, codes]
    return a.node(a.QUANTIZED, a.FLOAT32, shape, parameters, parts)


def looked_up(shape, indices, block, groups, vector, axis=0):
    parameters = struct.pack(f"<II{len(block)}Q", vector, axis, *block)
    tail = () if vector == 1 else (vector,)
    parts = [a.constant((*groups, 2, *tail), role=1), a.constant(indices, 0x11, 2)]
    return a.node(a.CODEBOOK, a.UINT8, shape, parameters, parts)


HALF = MANY // 2
TREES = {
    "rows far longer than pieces": scaled((16, MANY // 16), (0, 0), (1, 1), codes=sparse((16, MANY // 16), MANY, MANY // 64, role=6)),
    "many wide rows": scaled((12, abc.PIECE + 1), (0, 0), (1, 1), codes=sparse((12, abc.PIECE + 1), 12 * (abc.PIECE + 1), 0, role=6)),
    "a group for each element": scaled((MANY,), (1,), (MANY,), a.constant((MANY,), a.UINT32, 2)),
    "flat groups": scaled((2, HALF), (1,), (MANY,), flags=1),
    "one flat group far beyond the end": scaled((2, HALF), (1 << 60,), (1,), flags=1),
    "blocks longer than pieces": scaled((2, MANY), (0, HALF), (1, 2)),
    "a group index": scaled((2, HALF), (0, 1), (1, HALF), a.constant((HALF,), role=5), axis=1),
    "axes of one": scaled((MANY, *[1] * 30), (1, *[0] * 30), (MANY, *[1] * 30)),
    "rows of one": sparse((MANY,), 1, 0),
    "a full sparse row": sparse((MANY,), MANY, MANY),
    "slabs": looked_up((2, MANY), (1, MANY), (0, HALF), (1, 2), 2),
    "slabs of long vectors": looked_up((1 << 16, 64), (1, 64), (0, 0), (1, 1), 1 << 16),
    "a table for each element": a.node(a.CODEBOOK, a.UINT8, (MANY,), struct.pack("<IIQ", 1, 0, 1), [a.constant((MANY, 1), role=1), a.constant((MANY,), 0x11, 2)]),
    "side by side": a.node(a.CONCAT, a.UINT8, (1 << 11, 1 << 12), struct.pack("<Q", 1), [a.constant((1 << 11, 1 << 11), role=i) for i in (1, 2)]),
}  # fmt: skip


def tensor_of(tree, **options):
    return nnpack.open(a.assemble(a.tensor("w", tree)), threads=1, **options)["w"]


def peak(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TREES)
def test_memory_is_what_is_charged(name):
    tensor = tensor_of(TREES[name])
    node, size = tensor.node, tensor.size
    assert node.overhead(size) <= tensor.charge - tensor.nbytes  # SPEC 8.1 is enough
    assert peak(tensor.read) <= tensor.charge + SLACK
    assert peak(tensor.value) <= tensor.charge + SLACK
    out = np.empty(size, node.cell.numpy)
    fill = node.window(0, size)
    assert peak(lambda: fill(3, size, out[3:])) <= SLACK  # the parts are held by the window
    some = size // 3
    assert peak(lambda: tensor[..., : some // 4]) <= tensor.charge + SLACK
    assert testing.same_bits(out[3:], tensor.read().reshape(-1)[3:])
    ranged = abc.read_range(node, some, 2 * some)
    assert testing.same_bits(ranged, tensor.read().reshape(-1)[some : 2 * some])


def test_foreign_blocks_are_charged_with_what_they_decode_to():
    value = nnpack.Opaque(bytes(64), "ggml.x", (1 << 22,), "uint8")
    kinds = {"ggml.x": lambda data, parameters, dtype, shape: np.zeros(shape, dtype)}
    data = testing.file_of({"w": value})
    needed = (2 << 22) + 64
    tensor = nnpack.open(data, kinds=kinds, limits=nnpack.Limits(memory=needed))["w"]
    assert peak(tensor.read) <= needed + (1 << 20)
    with pytest.raises(nnpack.LimitError, match="memory budget"):
        nnpack.open(data, kinds=kinds, limits=nnpack.Limits(memory=needed - 1))["w"].read()


def values():
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (6, 10, 14), np.uint8) * rng.integers(0, 2, (6, 10, 14), np.uint8)
    codes = rng.integers(0, 4, (6, 10, 14), np.uint8)
    scales = rng.standard_normal((3, 10, 4), np.float32)
    yield "sparse", nnpack.Csr.from_numpy(dense)
    for row in (1, 5, 23, 400, 840, 1000):
        yield f"sparse {row}", nnpack.Csr.from_numpy(dense, row_length=row)
    yield "blocks", nnpack.Quantized(codes, scales, block=(2, 1, 4))
    long = nnpack.Csr.from_numpy(codes, row_length=840)
    yield "blocks, sparse", nnpack.Quantized(long, scales, zero=scales, block=(2, 1, 4))
    wide = rng.standard_normal((1, 1, 2), np.float32)
    yield "wide blocks", nnpack.Quantized(codes, wide, block=(0, 0, 12))
    for length in (1, 7, 100, 5000):
        flat = rng.standard_normal(-(-840 // length), np.float32)
        yield f"flat {length}", nnpack.Quantized(codes, flat, min=flat, block=length, flat=True)
    for axis, dim in enumerate(codes.shape):
        index = rng.integers(0, 2, dim, np.uint8)
        block = [0, 0, 0]
        block[axis] = dim - 1
        shape = [2 if at == axis else 1 for at in range(3)]
        two = rng.standard_normal(shape, np.float32)
        yield f"index {axis}", nnpack.Quantized(codes, two, block=block, group_index=index, group_axis=axis)  # fmt: skip
    for axis in range(3):
        for width in (2, 16):
            table = rng.standard_normal((4, width), np.float32)
            yield f"vectors {axis} {width}", nnpack.Codebook(table, codes, vector_axis=axis)
        tables = rng.integers(0, 99, (3, 1, 2, 4, 3), np.uint16)
        block = [2, 0, 7]
        block[axis] *= 3
        yield f"tables {axis}", nnpack.Codebook(tables, codes, block=block, vector_axis=axis)
        yield f"beside {axis}", nnpack.Concat([codes, dense, codes], axis)
    yield "complex", nnpack.Codebook(np.arange(12).reshape(4, 3) * 1j, codes, vector_axis=0)


@pytest.mark.parametrize("piece", [6, 64])
def test_wherever_pieces_are_cut_the_elements_are_the_same(piece, monkeypatch):
    wanted = {name: (value, value.to_numpy().reshape(-1)) for name, value in values()}
    for module in (abc, grid, codebook, concat, csr, quantized):
        monkeypatch.setattr(module, "PIECE", piece)
    monkeypatch.setattr(csr, "RUN", 4)
    monkeypatch.setattr(csr, "BAND", 2)
    monkeypatch.setattr(codebook, "MAX_GRAIN", 4 * piece)
    rng = np.random.default_rng(piece)
    for name, (value, flat) in wanted.items():
        value.check()
        assert testing.same_bits(value.to_numpy().reshape(-1), flat), name
        for _ in range(5):
            start, low, high, stop = np.sort(rng.integers(0, value.size, 4)).tolist()
            fill, out = value.window(start, stop + 1), np.empty(high + 1 - low, flat.dtype)
            fill(low, high + 1, out)
            assert testing.same_bits(out, flat[low : high + 1]), name


def test_a_piece_of_a_grid_takes_only_its_groups():
    groups = grid.Grid((1 << 20,), (1,))
    read = np.arange(1 << 20, dtype=np.float32)
    expand = groups.window(0, 1 << 20, lambda low, high: read[low:high], lambda cells: cells)
    assert peak(lambda: expand(77, 99)) < 1 << 16
    assert expand(77, 99).tolist() == [*range(77, 99)]


def test_small_tensors_that_wait_for_others_hold_no_padding(tmp_path):
    """Each takes 64 KiB of the file, for one byte."""
    cell = a.dense(a.UINT8, (), b"\x05", codecs=(1,))
    data = a.assemble(*(a.tensor(f"t{i}", cell, b"\x05", alignment=16) for i in range(400)))
    (tmp_path / "m.nnpk").write_bytes(data)
    nnpack.load_file(tmp_path / "m.nnpk")
    tracemalloc.start()
    found = nnpack.load_file(tmp_path / "m.nnpk")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(cells == 5 for cells in found.values())
    assert len(data) > 26_000_000
    assert peak < 4_000_000


def bad_heads(size):
    """Heads that claim all that follows, with wrong checksums, between good ones."""
    out = bytearray(a.HEADER)
    while len(out) < size - 96:
        rest = (size - len(out)) & ~7
        out += struct.pack("<4sHHIHBBQII", b"\x89SEC", 99, 1, rest, 0, 3, 0, 0, 0, 0)
        out += a.Part(99, flags=1).head(len(out))
    return bytes(out.ljust(size, b"\0"))


def test_bad_heads_are_not_read_over_and_over(monkeypatch, tmp_path):
    looked, honest = [], container.head_crc
    monkeypatch.setattr(walk, "MAX_HEAD", 0)
    monkeypatch.setattr(container, "head_crc", lambda at, head: looked.append(len(head)) or honest(at, head))  # fmt: skip
    data = bad_heads(1 << 16)
    assert verify(data).verdict == "damaged"
    salvage(data, tmp_path / "new")
    assert sum(looked) < 100 * len(data)


def test_rows_that_are_all_alike_are_not_walked(monkeypatch):
    monkeypatch.setattr(csr.Csr, "_walk", None)
    assert verify(a.assemble(a.tensor("w", sparse((1 << 30,), 1, 0)))).verdict == "intact"


def test_rows_that_are_all_alike_are_checked_as_if_walked():
    def fault(check):
        try:
            check()
        except Invalid as bad:
            return bad.error_class
        return None

    for size in (1, 5, 6, 7):
        for row in (1, 2, 3, 9):
            for count in range(4):
                for gap in (0, 1, 2):
                    for nnz in {-(-size // row) * count, 0, 1} & {*range(size + 1)}:
                        node = tensor_of(sparse((size,), row, count, gap, nnz=nnz)).node
                        walked = fault(lambda node=node: [*node._walk()])
                        assert fault(node.check_contents) == walked


def test_what_checking_a_file_costs_is_bounded_for_all_of_it():
    parts = [a.tensor(f"{i}", looked_up((1 << 16,), (1 << 16,), (0,), (1,), 1)) for i in range(8)]
    data = a.assemble(*parts)
    assert verify(data).verdict == "intact"
    limits = nnpack.Limits(expansion_bytes=3 << 16, expansion_ratio=1)
    report = verify(data, limits=limits)
    assert [bad.error_class for bad in report.unchecked] == ["limit-exceeded"] * 5
    assert not report.faults
    plain = testing.file_of({str(i): np.zeros(1 << 16, np.uint8) for i in range(8)}, profile="raw")
    assert not verify(plain, limits=limits).unchecked


def test_a_slice_costs_what_it_passes_over():
    tensor = tensor_of(a.constant((1 << 18, 1 << 17)), limits=nnpack.Limits(tensor_bytes=1 << 20))
    with pytest.raises(nnpack.LimitError, match="tensor_bytes"):
        tensor[:, 0]
    assert tensor[9, 5:].shape == ((1 << 17) - 5,)
    assert tensor[3:5, 0].shape == (2,)


def test_a_window_knows_its_way_in_a_long_row(monkeypatch):
    seen, honest = [], csr.Csr._columns
    monkeypatch.setattr(csr.Csr, "_columns", staticmethod(lambda low, gaps, *more: seen.append(len(gaps)) or honest(low, gaps, *more)))  # fmt: skip
    stored = 1 << 18
    tensor = tensor_of(sparse((64, 1 << 18), 1 << 24, stored, 63))
    assert tensor[:, 63].tolist() == [7] * 64
    assert sum(seen) <= stored + 64 * 2 * csr.BAND


def test_the_limit_on_the_address_space_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, resource.RLIM_INFINITY))
    assert memory.available_memory() == 0
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, 1 << 50))
    assert memory.available_memory() > 0
    monkeypatch.setattr(memory, "_read", lambda _: "")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert memory.available_memory() == 800


def test_only_kinds_with_rules_about_contents_are_charged_for_checking_them():
    class Mine(nnpack.Concat):
        id, name = 200, "org.mine.kind"

    class Strict(Mine):
        def check_contents(self):
            for part in self.members:
                part.to_numpy()

    parts = [np.zeros(MANY, np.uint8)] * 2
    assert (Mine(parts, 0).check_memory(), Mine(parts, 0).check_work()) == (0, 0)
    strict = nnpack.Concat([Strict(parts, 0)], 0)
    assert (strict.check_memory(), strict.check_work()) == (2 * MANY, 2 * MANY)
    index = np.zeros(MANY, np.uint32)
    grouped = nnpack.Quantized(parts[0], np.ones(2, np.float32), block=HALF, group_index=index, group_axis=0)  # fmt: skip
    assert grouped.check_memory() == index.nbytes
    looked = nnpack.Codebook(np.ones(1, np.float32), parts[0])
    assert (looked.check_memory(), looked.check_work()) == (0, MANY)
