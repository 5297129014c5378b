"""torch's tensors in and out: bits, sharing, devices and layouts."""

import importlib
import subprocess
import sys
from collections.abc import Mapping

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import nnpack
from nnpack import testing
from nnpack.convert import convert
from nnpack.dtypes import BY_NAME, DTYPES, count

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: the extra nnpack-format[torch]"
)

from nnpack import torch as ours  # noqa: E402 - it needs what was just looked for

SOME = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* beta state")
RANDOM = np.random.default_rng(0)


def bits(tensor):
    """A tensor's bytes, in C order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)


def random_bits(dtype, shape):
    """A tensor of any bits, NaN payloads among them."""
    if not count(shape):
        return torch.empty(shape, dtype=dtype)
    itemsize = torch.empty(0, dtype=dtype).element_size()
    top = 2 if dtype == torch.bool else 256
    raw = RANDOM.integers(0, top, count(shape) * itemsize, np.uint8)
    return torch.from_numpy(raw).view(dtype).reshape(shape)


@SOME
@given(
    st.sampled_from(sorted(ours._DTYPES)), testing.shapes(40), st.sampled_from(("raw", "balanced"))
)
def test_round_trip(tmp_path_factory, name, shape, profile):
    tensor = random_bits(ours._DTYPES[name], shape)
    path = tmp_path_factory.mktemp("torch") / "a.nnpk"
    ours.save_file({"w": tensor}, path, {"k": [1]}, profile=profile)
    assert same(ours.load_file(path)["w"], tensor)
    assert same(ours.load(ours.save({"w": tensor}))["w"], tensor)
    with nnpack.open(path) as reader:
        assert (reader["w"].dtype, reader["w"].shape) == (name, shape)
        assert reader.metadata == {"k": [1]}
        assert reader["w"].read().tobytes() == bits(tensor)


def test_all_plain_dtypes_of_torch_are_known():
    """What is left are bit types, quantized and narrow shells, and half complex numbers."""
    found = {
        str(v).removeprefix("torch.") for v in vars(torch).values() if isinstance(v, torch.dtype)
    }
    rest = found - {*ours._DTYPES} - {"float4_e2m1fn_x2", "complex32", "bit", "bcomplex32"}
    assert all(name.startswith(("bits", "q", "int", "uint")) for name in rest)


# --- sharing


def test_two_names_of_one_tensor_are_one_again():
    weight = torch.randn(4, 6)
    tensors = {
        "a": weight,
        "same": weight,
        "parameter": torch.nn.Parameter(weight),
        "view": weight.view(4, 6),
        "other shape": weight.view(6, 4),
        "transposed": weight.t(),
        "part": weight[1:],
        "other type": weight.view(torch.int32),
        "copy": weight.clone(),
    }
    data = ours.save(tensors)
    with nnpack.open(data) as reader:
        assert reader.aliases == {"same": "a", "parameter": "a", "view": "a"}
    loaded = ours.load(data)
    assert [*loaded] == [*tensors]
    assert all(same(loaded[name], tensors[name]) for name in tensors)
    assert {name for name in loaded if loaded[name] is loaded["a"]} == {
        "a",
        "same",
        "parameter",
        "view",
    }
    pointers = {loaded[name].untyped_storage().data_ptr() for name in loaded}
    assert len(pointers) == 6


def test_tied_modules_stay_tied():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(10, 4)
            self.head = torch.nn.Linear(4, 10, bias=False)
            self.head.weight = self.embed.weight

    model, other = Tied(), Tied()
    other.load_state_dict(ours.load(ours.save(model.state_dict())))
    assert other.head.weight is other.embed.weight
    assert same(other.head.weight, model.head.weight)


class Made(Mapping):
    """A mapping that fills the same tensor each time it is asked for one."""

    def __init__(self, *names):
        self.names, self.memory, self.count = names, torch.empty(9999), 0

    def __getitem__(self, name):
        self.count += 1
        return self.memory.copy_(torch.arange(9999.0) * self.count)

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


@pytest.mark.parametrize("profile", ["raw", "balanced"])
def test_tensors_that_a_mapping_makes_are_not_confused(profile):
    loaded = ours.load(ours.save(Made("a", "b", "c"), profile=profile))
    assert [tensor[1].item() for tensor in loaded.values()] == [1, 2, 3]


def test_equal_tensors_are_aliases_of_those_that_are_held():
    weight = torch.randn(40, 60)
    copy = weight.clone()
    assert nnpack.open(ours.save({"a": weight, "b": copy})).aliases == {"b": "a"}
    data = ours.save({"a": weight.t().contiguous().t(), "b": copy, "c": weight})
    assert nnpack.open(data).aliases == {"c": "b"}
    imaginary = torch.randn(400, dtype=torch.complex64)
    data = ours.save({"a": imaginary.conj(), "b": imaginary.conj().resolve_conj()})
    assert nnpack.open(data).aliases == {}
    sparse = torch.eye(40).to_sparse_csr()
    assert nnpack.open(ours.save({"a": sparse, "b": nnpack.Dense(np.ones(999))}))["a"].kind == "csr"


def test_empty_tensors_are_not_confused():
    empty = torch.empty(0, 3)
    data = ours.save({"a": empty, "b": torch.empty(0, 3), "c": empty})
    with nnpack.open(data) as reader:
        assert reader.aliases == {"c": "a"}


@pytest.mark.parametrize("origin", [{"b": {"deduplicated": True}}, {"b": 1}, [], None])
def test_aliases_that_the_writer_made_have_memory_of_their_own(tmp_path, origin):
    with nnpack.Writer(tmp_path / "a.nnpk") as writer:
        writer.add("a", np.ones(4))
        writer.add_alias("b", "a")
        writer.set_metadata({"nnpack.origin": origin})
    loaded = ours.load_file(tmp_path / "a.nnpk")
    assert (loaded["a"] is loaded["b"]) == (origin != {"b": {"deduplicated": True}})
    assert same(loaded["a"], loaded["b"])


# --- layouts


def test_strides_conjugates_and_gradients():
    base = random_bits(torch.float32, (6, 8))
    complex_ = torch.randn(3, dtype=torch.complex64)
    tensors = {
        "transposed": base.t(),
        "strided": base[::2, 1::3],
        "expanded": base[:1].expand(5, 8),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "conjugate": complex_.conj(),
        "negative": complex_.conj().imag,
        "gradient": torch.randn(3, requires_grad=True) * 2,
    }
    loaded = ours.load(ours.save(tensors))
    for name, tensor in tensors.items():
        assert loaded[name].is_contiguous()
        assert not loaded[name].requires_grad
        assert same(loaded[name], tensor.detach().resolve_conj().resolve_neg())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_sparse_csr_is_stored_as_csr(dtype):
    dense = torch.zeros(5, 7, dtype=dtype)
    dense[1, 2], dense[4, 0], dense[4, 6] = 1.5, -2, 3
    data = ours.save({"w": dense.to_sparse_csr()})
    with nnpack.open(data) as reader:
        assert reader["w"].kind == "csr"
        assert reader["w"].value().nnz == 3
    assert same(ours.load(data)["w"], dense)


REFUSED = {
    "coordinates": lambda: torch.eye(4).to_sparse(),
    "columns": lambda: torch.eye(4).to_sparse_csc(),
    "blocks": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "a batch of rows": lambda: torch.eye(4).expand(2, 4, 4).to_sparse_csr(),
    "meta": lambda: torch.empty(3, device="meta"),
    "half complex": lambda: torch.zeros(2, dtype=torch.uint8).repeat(4).view(torch.complex32),
    "four bits without a dimension": lambda: torch.tensor(3, dtype=torch.uint8).view(
        torch.float4_e2m1fn_x2
    ),
    "an array": lambda: np.zeros(3),
    "a list": lambda: [1.0],
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=[*REFUSED])
def test_what_cannot_be_stored(make, tmp_path):
    with pytest.raises(TypeError, match=r"^'w' is "):
        ours.save_file({"w": make()}, tmp_path / "a.nnpk")
    assert [*tmp_path.iterdir()] == []


def test_quantized_by_torch(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_quantized", True)
    with pytest.raises(TypeError, match=r"'w' is quantized by torch.*dequantize"):
        ours.save({"w": torch.zeros(3)})


def test_values_are_stored_as_they_are():
    value = nnpack.Quantized(np.arange(8, dtype=np.int8), np.float32(0.5))
    data = ours.save({"w": value, "again": value})
    with nnpack.open(data) as reader:
        assert reader["w"].kind == "quantized"
        assert reader.aliases == {"again": "w"}
    assert torch.equal(ours.load(data)["again"], torch.arange(8) * 0.5)


# --- types that one of the two has not


@pytest.mark.parametrize(
    "name", [d.name for d in DTYPES if d.name not in ours._DTYPES and d.name != "float4_e2m1fn"]
)
def test_narrow_types_load_as_integers(name):
    dtype = BY_NAME[name]
    cells = np.arange(1 << min(dtype.bits, 8), dtype=np.uint8)
    array = np.empty(len(cells), dtype.numpy)
    nnpack.dtypes.from_cells(cells, dtype, array)
    loaded = ours.load(testing.file_of({"w": nnpack.Dense(array, name)}))["w"]
    assert loaded.dtype == (torch.int8 if dtype.family == "int" else torch.uint8)
    half = len(cells) // 2
    wanted = [*range(half), *range(-half, 0)] if dtype.family == "int" else cells.tolist()
    assert loaded.tolist() == wanted


def test_pairs_of_four_bits(tmp_path):
    """float4_e2m1fn_x2 is stored cell by cell, and agrees with what safetensors stores for it."""
    from safetensors.torch import save_file

    pairs = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4).view(torch.float4_e2m1fn_x2)
    data = ours.save({"w": pairs})
    with nnpack.open(data) as reader:
        assert (reader["w"].dtype, reader["w"].shape) == ("float4_e2m1fn", (2, 3, 8))
        assert reader["w"].read().view(np.uint8)[0, 0, :4].tolist() == [0, 0, 1, 0]
    assert bits(ours.load(data)["w"]) == bits(pairs)
    assert ours.load(data)["w"].dtype == pairs.dtype
    (tmp_path / "a.nnpk").write_bytes(data)
    convert(tmp_path / "a.nnpk", tmp_path / "a.safetensors")
    save_file({"w": pairs}, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    empty = torch.empty(3, 0, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    assert same(ours.load(ours.save({"w": empty}))["w"], empty)
    odd = nnpack.Dense(np.arange(3, dtype=np.uint8).view(BY_NAME["float4_e2m1fn"].numpy))
    assert ours.load(testing.file_of({"w": odd}))["w"].tolist() == [0, 1, 2]


def test_files_of_numpy_and_the_other_way():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.array(2.5)}
    loaded = ours.load(nnpack.save(arrays))
    assert all(np.array_equal(loaded[name].numpy(), arrays[name]) for name in arrays)
    back = nnpack.load(ours.save(loaded))
    assert all(testing.same_bits(back[name], arrays[name]) for name in arrays)


def test_device():
    data = ours.save({"w": torch.ones(3), "b": torch.ones(2)})
    loaded = ours.load(data, device="meta")
    assert all(tensor.device.type == "meta" for tensor in loaded.values())


def test_memory_budget(tmp_path, monkeypatch):
    ours.save_file({"w": torch.zeros(100)}, tmp_path / "a.nnpk")
    monkeypatch.setattr("nnpack.reader.DEFAULT_LIMITS", nnpack.Limits(memory=399))
    with pytest.raises(nnpack.LimitError, match="memory"):
        ours.load_file(tmp_path / "a.nnpk")


def test_torch_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nnpack.torch")
    with pytest.raises(ImportError, match=r'pip install "nnpack-format\[torch\]"'):
        importlib.import_module("nnpack.torch")


def test_torch_is_imported_only_here():
    code = "import sys, nnpack, nnpack.convert.safetensors, nnpack.numpy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - runs this very Python


def test_options(tmp_path):
    tensor = torch.zeros(5000)
    data, path = ours.save({"w": tensor}, profile="raw"), tmp_path / "w.nnpk"
    assert len(data) > 20_000 > len(ours.save({"w": tensor}))
    path.write_bytes(data)
    for load, source in ((ours.load, data), (ours.load_file, path)):
        assert same(load(source, threads=1)["w"], tensor)
        with pytest.raises(nnpack.LimitError, match="memory"):
            load(source, limits=nnpack.Limits(memory=100))
    with pytest.raises(TypeError, match="tensors are a mapping of names to tensors, not list"):
        ours.save([tensor])


def test_a_tensor_in_the_writer_is_told_the_way():
    with pytest.raises(TypeError, match=r"'w': .*torch\.float32.*nnpack\.torch"):
        nnpack.save({"w": torch.zeros(3)})
