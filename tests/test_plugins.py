"""What a reader does not know, and what a caller passes so that it does."""

import io
import struct

import numpy as np
import pytest

import nnpack
from nnpack import testing
from nnpack.abc import Codec, Node
from nnpack.transforms import TRANSFORMS
from tests import assemble as a
from tests.assemble import W
from tests.reading import fault, read_sequential

F32 = np.array([1.5, -0.0, np.nan], np.float32)
RAW4 = a.stream([bytes(4)])

# Unknown ids


def one(tree, payload=bytes(4), **options):
    return a.tensor("u", tree, payload, **options)


SHARED = struct.pack("<II", 3, 0x352441C2)  # CRC-32 of b"abc"
# what: (sections before, tensor, dtype, kind, what is missing)
UNKNOWN = {
    "kind": ((), one(a.node(9, a.FLOAT32, (1,), b"anything", [a.dense(a.FLOAT32, (1,), bytes(4), role=200)])), "float32", "unknown(9)", "kind 9"),
    "kind without parts": ((), one(a.node(14, a.FLOAT32, (1,)), b""), "float32", "unknown(14)", "kind 14"),
    "kind below": ((), one(a.node(a.CONCAT, a.FLOAT32, (1,), bytes(8), [a.node(9, a.FLOAT32, (1,), b"", [], role=1)]), b""), "float32", "concat", "kind 9"),
    "private kind": ((a.names((2, 200, b"org.example.kind")),), one(a.node(200, a.FLOAT32, (1,)), b""), "float32", "unknown(200)", "kind org.example.kind"),
    "dtype": ((), one(a.node(a.DENSE, 0x02, (1,), RAW4)), "unknown(0x02)", "dense", "dtype 2"),
    "private dtype": ((a.names((3, 255, b"a.b")),), one(a.node(a.DENSE, 255, (1,), RAW4)), "unknown(0xff)", "dense", "dtype a.b"),
    "transform": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], transform=99, parameter=9))), "float32", "dense", "transform 99"),
    "private transform": ((a.names((4, 128, b"a.b")),), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], transform=128))), "float32", "dense", "transform a.b"),
    "codec": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], codecs=(99,)))), "float32", "dense", "codec 99"),
    "codec with a shared table": ((), one(a.node(a.DENSE, a.FLOAT32, (1,), bytes([0, 18, 1, 0, 6, 0, 0, 0]) + SHARED + a.stream([bytes(4)])[8:]), b"abc" + bytes(9)), "float32", "dense", "codec 6"),
    "private codec": ((a.names((5, 201, b"com.example.c-1")),), one(a.node(a.DENSE, a.FLOAT32, (1,), a.stream([bytes(4)], codecs=(201,)))), "float32", "dense", "codec com.example.c-1"),
    "two": ((), one(a.node(a.DENSE, 0x02, (1,), a.stream([bytes(4)], codecs=(99,)))), "unknown(0x02)", "dense", "dtype 2, codec 99"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_unknown_is_shown_and_hurts_nobody(what):
    before, part, dtype, kind, missing = UNKNOWN[what]
    data = a.assemble(*before, W, part, a.alias(b"x", b"u"), a.floats("v", 3))
    reader = nnpack.open(data)
    for name in ("u", "x"):
        tensor = reader[name]
        assert (tensor.name, tensor.shape, tensor.dtype, tensor.kind) == (name, (1,), dtype, kind)
        assert (tensor.size, tensor.supported) == (1, False)
        assert tensor.stored_nbytes == len(part.payload)
        assert repr(tensor) == f"<Tensor {name!a} {kind} {dtype}[1]>"
        for use in (
            tensor.read,
            tensor.value,
            tensor.view,
            tensor.digest,
            lambda t=tensor: t[0],
            lambda t=tensor: t.node,
        ):
            with pytest.raises(nnpack.UnsupportedError, match=missing) as caught:
                use()
            assert (caught.value.error_class, caught.value.section) == ("unsupported", name)
    assert reader["w"].read().tolist() == [1, 2]
    assert reader["v"].read().tolist() == [3]
    with pytest.raises(nnpack.UnsupportedError):
        reader.load()
    streamed = {
        name: value
        for kind, name, value in nnpack.read_stream(io.BytesIO(data))
        if kind == "tensor"
    }
    assert (streamed["u"].supported, streamed["v"].read().tolist()) == (False, [3])


@pytest.mark.parametrize("what", [what for what, case in UNKNOWN.items() if case[0]])
def test_a_private_id_without_a_name_is_a_fault_of_its_tensor(what):
    _, part, *_ = UNKNOWN[what]
    reader = nnpack.open(a.assemble(W, part))
    assert reader["w"].read().tolist() == [1, 2]
    with pytest.raises(
        nnpack.FormatError, match="missing: no name is bound to the private"
    ) as caught:
        reader["u"]
    assert caught.value.error_class == "missing"


@pytest.mark.parametrize("kind", [a.GRAPH, a.METADATA, a.BLOB])
def test_bytes_under_an_unknown_codec(kind):
    tree = a.node(a.DENSE, a.UINT8, (2,), a.stream([b"{}"], codecs=(99,)))
    data = a.assemble(a.Part(kind, b"" if kind == a.METADATA else b"n", tree, b"{}"), W)
    reader = nnpack.open(data)
    assert reader["w"].read().tolist() == [1, 2]
    with pytest.raises(nnpack.UnsupportedError, match="this reader lacks codec 99"):
        {
            a.GRAPH: lambda: reader.graphs["n"],
            a.METADATA: lambda: reader.metadata,
            a.BLOB: lambda: reader.blobs["n"],
        }[kind]()


def test_an_unknown_ancillary_section_is_skipped():
    tree = a.dense(0x02, (7,), b"payload", transform=9, codecs=(77,))
    for part in (a.Part(99, b"", tree, b"payload", flags=1), a.Part(300, b"w", bytes(8), flags=1)):
        data = a.assemble(part, W)
        assert nnpack.open(data)["w"].read().tolist() == [1, 2]
        assert read_sequential(data)[0]["w"][1] == W.payload
        assert nnpack.open(data).sections[0].label == (part.name.decode() or "(type 99)")
    assert nnpack.open(a.assemble(a.names((1, 200, b"a.b")), a.Part(200, flags=1), W))[
        "w"
    ].shape == (2,)


# Plug-ins


class Negative(Node):
    """A private kind: its part, negated and shifted."""

    __slots__ = ("by", "part")
    id, name = 130, "org.example.negative"
    roles = {7: "part"}  # noqa: RUF012

    def __init__(self, part, by):
        self._set(shape=part.shape, dtype=part.dtype, part=part, by=by)

    def parameters(self):
        return struct.pack("<q", self.by)

    @classmethod
    def from_parts(cls, shape, dtype, parameters, parts):
        return cls(parts[7], parameters.u64s(1, "the shift")[0])

    def window(self, start, stop):
        read = self.part.window(start, stop)

        def fill(low, high, out):
            read(low, high, out)
            np.subtract(self.by, out, out=out)

        return fill


class Positive(Negative):
    """Another one with the same number."""

    name = "org.example.positive"

    def window(self, start, stop):
        return self.part.window(start, stop)


MOVED = type("Negative", (Negative,), {"id": 255, "__slots__": ()})
KIND_FILE = testing.file_of({"w": Negative(nnpack.Dense(F32), 0), "v": F32}, kinds={130: Negative})


def test_a_private_kind_goes_by_its_name():
    for kinds in ({130: Negative}, {255: MOVED}):
        tensor = nnpack.open(KIND_FILE, kinds=kinds)["w"]
        assert tensor.kind == "org.example.negative"
        assert [tensor.node.id] == [*kinds]
        assert tensor.read()[:2].tolist() == [-1.5, 0]
        assert tensor.value().to_numpy()[:2].tolist() == [-1.5, 0]
        assert tensor[0] == -1.5
        with pytest.raises(
            ValueError, match=r"the private kind org\.example\.negative has no logical digest"
        ):
            tensor.digest()
    for kinds in ({}, {130: Positive}):
        with pytest.raises(nnpack.UnsupportedError, match=r"kind org\.example\.negative"):
            nnpack.open(KIND_FILE, kinds=kinds)["w"].read()
    wrong = KIND_FILE.replace(struct.pack("<BB", 1, 7), struct.pack("<BB", 1, 8))
    assert wrong != KIND_FILE


def test_a_private_kind_goes_by_its_name_where_numbers_are_swapped():
    tensor = nnpack.open(KIND_FILE, kinds={130: Positive, 255: MOVED})["w"]
    assert tensor.read()[:2].tolist() == [-1.5, 0]


def test_a_private_kind_with_wrong_roles_or_parameters():
    part = a.dense(a.FLOAT32, (1,), bytes(4), role=7)
    for parameters, parts, payload, wanted in (
        (bytes(8), [part], bytes(4), None),
        (bytes(16), [part], bytes(4), "bad-node"),
        (b"", [part], bytes(4), "bad-node"),
        (bytes(7) + b"\x40", [part], bytes(4), "bad-value"),
        (bytes(8), [], b"", "bad-node"),
        (bytes(8), [part, a.dense(a.FLOAT32, (1,), bytes(4), role=8)], bytes(12), "bad-node"),
    ):
        tree = a.node(130, a.FLOAT32, (1,), parameters, parts)
        data = a.assemble(a.names((2, 130, b"org.example.negative")), one(tree, payload))
        assert fault(data, kinds={130: Negative}) == wanted
        assert fault(data, read_sequential, kinds={130: Negative}) == wanted


class Plain(Negative):
    """A plug-in as most would write it."""

    name = "org.example.plain"

    def __init__(self, part, by):
        super().__init__(part, by)
        self._set(label="x")

    def window(self, start, stop):
        assert self.label == "x"
        return super().window(start, stop)


def test_a_private_kind_needs_no_slots():
    assert Plain(nnpack.Dense(F32), 1).load().to_numpy()[0] == -0.5


class Run(Codec):
    id, name = 200, "org.example.run"

    def encode(self, data):
        return bytes(data[:1])

    def decode(self, data, size):
        return bytes(data) * size


def test_private_codecs_go_by_their_name():
    plan = testing.Plan(TRANSFORMS[0], (Run(),), 18)
    data = testing.file_of(
        {"w": np.full(99, 7, np.uint8)}, planner=lambda _: plan, codecs={200: Run()}
    )
    moved = type("Moved", (Run,), {"id": 131})()
    other = type("Other", (Run,), {"name": "org.example.other"})()
    assert nnpack.open(data, codecs={131: moved, 200: other})["w"].read().tolist() == [7] * 99
    assert not nnpack.open(data, codecs={200: other})["w"].supported


def test_foreign_blocks():
    value = nnpack.Opaque(bytes(range(6)), "org.example.double", (2, 3), "uint16", b"\2")
    data = testing.file_of({"w": value, "v": F32})
    calls = []

    def decode(blocks, parameters, dtype, shape):
        calls.append((blocks.tolist(), parameters, dtype, shape))
        return (blocks.astype(dtype) * parameters[0]).reshape(shape)

    plain = nnpack.open(data)
    assert (plain["w"].kind, plain["w"].supported, plain["w"].shape) == ("opaque", True, (2, 3))
    kept = plain["w"].value()
    assert (kept.format, kept.format_parameters, kept.decoder) == (
        "org.example.double",
        b"\2",
        None,
    )
    assert kept.data.array.tolist() == [*range(6)]
    for use in (plain["w"].read, lambda: plain["w"][0], plain.load):
        with pytest.raises(
            nnpack.UnsupportedError, match=r"foreign format org\.example\.double .*kinds="
        ):
            use()
    assert testing.same_bits(plain["v"].read(), F32)
    tensor = nnpack.open(data, kinds={"org.example.double": decode, "org.example.else": None})["w"]
    assert tensor.read().tolist() == [[0, 2, 4], [6, 8, 10]]
    assert tensor[1, ::-1].tolist() == [10, 8, 6]
    assert calls == [([*range(6)], b"\2", "uint16", (2, 3))] * 2
    assert tensor.value().to_numpy().tolist() == [[0, 2, 4], [6, 8, 10]]
