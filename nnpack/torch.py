"""Tensors as PyTorch's in one call, shaped like safetensors' functions.

Bits are kept. Two names of one tensor (same storage, offset, shape and strides) become a tensor
and an alias, and one tensor again, if a dict holds them; other views of shared memory are stored
each on its own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np

from nnpack.abc import Node
from nnpack.dtypes import Array, DType, integers, named
from nnpack.duplicates import deduplicates
from nnpack.limits import Limits
from nnpack.metadata import deduplicated
from nnpack.nodes.csr import Csr
from nnpack.nodes.dense import Dense
from nnpack.reader import Reader, open  # noqa: A004 - nnpack's own
from nnpack.writer import Sink, Writer

try:
    import torch
except ImportError as missing:
    raise ImportError('nnpack.torch needs PyTorch: pip install "nnpack-format[torch]"') from missing

_NUMPY: Final = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_VIEWED: Final = (
    *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    "float8_e8m0fnu",
)
"""Types that torch and ml_dtypes have but numpy has not: they pass between them as integers."""
_DTYPES: Final[dict[str, torch.dtype]] = {
    name: getattr(torch, name) for name in (*_NUMPY, *_VIEWED) if hasattr(torch, name)
}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}
_FLOAT4: Final = "float4_e2m1fn"
_PAIRS: Final[torch.dtype | None] = getattr(torch, "float4_e2m1fn_x2", None)
"""Two float4_e2m1fn in a byte, the first in the low half; the last dimension counts bytes."""


def save_file(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> None:
    """Write tensors to a file, which appears whole or not at all, in the mapping's order.

    Equal tensors are stored once, but in the profile raw: those on the CPU and in C order that a
    dict holds anyway are compared with those that come later. What is made on the way (by a
    mapping that is no dict, of a tensor on another device or with other strides) is let go once
    written.

    Args:
        tensors: names to tensors of any device and strides, or values such as `nnpack.Csr`;
            sparse CSR matrices are stored as `nnpack.Csr`.
        path: of the file; an existing one is replaced.
        metadata: a JSON object.
        profile: "raw", "fast", "balanced" or "small".

    Raises:
        TypeError: a tensor's type or layout cannot be stored.
        ValueError: a name cannot be.
    """
    _write(path, tensors, metadata, profile)


def save(
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    profile: str = "balanced",
) -> bytes:
    """Return what `save_file` writes."""
    target = io.BytesIO()
    _write(target, tensors, metadata, profile)
    return target.getvalue()


def load_file(
    path: str | os.PathLike[str],
    device: str | int | torch.device = "cpu",
    *,
    limits: Limits | None = None,
    threads: int | None = None,
) -> dict[str, torch.Tensor]:
    """Return all tensors of a file, dense, those that an alias joins as one object.

    Types that torch has not load as integers: 1- to 7-bit ones as uint8 or int8 of the same
    values, floats as the uint8 that has their bits. float4_e2m1fn loads as float4_e2m1fn_x2
    where torch has that and the last dimension is even.

    Args:
        path: of the file.
        device: where the tensors go.
        limits: what the file may cost; `Limits()` by default.
        threads: for decoding; 1 stays on the caller's thread; None: one a core, at most 8.

    Raises:
        NnpackError: the file is damaged, unsupported or above the limits.
        OSError: the path cannot be read.
    """
    with open(path, limits=limits, threads=threads) as reader:
        return _load_all(reader, device)


def load(
    data: bytes | bytearray | memoryview,
    device: str | int | torch.device = "cpu",
    *,
    limits: Limits | None = None,
    threads: int | None = None,
) -> dict[str, torch.Tensor]:
    """Return all tensors of a file in memory, as `load_file` does."""
    with open(data, limits=limits, threads=threads) as reader:
        return _load_all(reader, device)


def _write(
    target: str | os.PathLike[str] | Sink,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    profile: str,
) -> None:
    with Writer(target, profile=profile, deduplicate=deduplicates(profile)) as writer:
        if not isinstance(tensors, Mapping):
            raise TypeError(
                f"tensors are a mapping of names to tensors, not {type(tensors).__name__}"
            )
        _add_all(writer, tensors, held=isinstance(tensors, dict))
        if metadata:
            writer.set_metadata(metadata)


def _add_all(writer: Writer, tensors: Mapping[str, Any], *, held: bool) -> None:
    """Add tensors; if they are not held, the memory of one may be that of the next."""
    first: dict[Hashable, str] = {}
    for name, tensor in tensors.items():
        same = first.setdefault(_identity(tensor), name) if held else name
        if same == name:
            value = _value(name, tensor)
            writer.add(name, value, lasting=held and _is_stored_as_it_is(tensor, value))
        else:
            writer.add_alias(name, same)


def _is_stored_as_it_is(tensor: Any, value: Node) -> bool:
    """Return whether a tensor is stored from its own memory: no copy was made."""
    if not isinstance(tensor, torch.Tensor) or not isinstance(value, Dense):
        return tensor is value
    return tensor.device.type == "cpu" and value.array.ctypes.data == tensor.data_ptr()


def _identity(tensor: Any) -> Hashable:
    """Return what two names of one tensor have in common."""
    if not isinstance(tensor, torch.Tensor) or _layout_of(tensor) or not tensor.numel():
        return id(tensor)
    return (
        tensor.device,
        tensor.untyped_storage().data_ptr(),
        tensor.storage_offset(),
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def _layout_of(tensor: torch.Tensor) -> str:
    """Return what keeps a tensor from being elements in memory; nothing if it is that."""
    if tensor.is_meta:
        return "on the meta device"
    if tensor.is_quantized:
        return "quantized by torch"
    return "" if tensor.layout == torch.strided else f"of layout {tensor.layout}"


def _value(name: str, tensor: Any) -> Node:
    """Return what is stored for a tensor."""
    if isinstance(tensor, Node):
        return tensor
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name!a} is {type(tensor).__name__}, no tensor")
    if tensor.layout == torch.sparse_csr and tensor.dim() == 2 and tensor.values().dim() == 1:
        rows, columns = _array(name, tensor.crow_indices()), _array(name, tensor.col_indices())
        return Csr.from_arrays(rows, columns, _array(name, tensor.values()), tensor.shape)
    if layout := _layout_of(tensor):
        raise TypeError(
            f"{name!a} is {layout}, which cannot be stored: dense tensors and sparse CSR "
            "matrices can; see to_dense(), to_sparse_csr(), dequantize()"
        )
    return Dense(_array(name, tensor))


def _array(name: str, tensor: torch.Tensor) -> Array:
    """Return a tensor's elements as an array, without a copy if they are in order on the CPU."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if plain.dtype == _PAIRS and plain.dim():
        pairs: Array = plain.view(torch.uint8).numpy()
        cells = np.stack([pairs & 15, pairs >> 4], -1)
        return cells.reshape(*pairs.shape[:-1], 2 * pairs.shape[-1]).view(named(_FLOAT4).numpy)
    found = _NAMES.get(plain.dtype)
    if found is None:
        raise TypeError(f"{name!a} is of {plain.dtype}; the dtypes are {', '.join(_DTYPES)}")
    if found in _NUMPY:
        own: Array = plain.numpy()
        return own
    bits = torch.uint8 if plain.itemsize == 1 else torch.int16
    viewed: Array = plain.view(bits).numpy().view(named(found).numpy)
    return viewed


def _load_all(reader: Reader, device: str | int | torch.device) -> dict[str, torch.Tensor]:
    aliases, made = reader.aliases, deduplicated(reader.metadata)
    tied = {name: target for name, target in aliases.items() if name not in made}
    reader.limits.check_request(
        sum(tensor.charge for name, tensor in reader.items() if name not in tied),
        sum(tensor.stored_nbytes for tensor in reader.values()),
    )
    found: dict[str, torch.Tensor] = {}
    for name, tensor in reader.items():
        if name in tied:
            found[name] = found[tied[name]]
        else:
            found[name] = _tensor(tensor.read(), named(tensor.dtype)).to(device)
    return found


def _tensor(array: Array, cell: DType) -> torch.Tensor:
    """Return an array's elements as a tensor that shares their memory where it can."""
    dtype = _DTYPES.get(cell.name)
    if cell.name in _NUMPY:
        return torch.from_numpy(array)
    if dtype is not None:
        bits = array.view(np.uint8 if cell.itemsize == 1 else np.int16)
        return torch.from_numpy(bits).view(dtype)
    if cell.name == _FLOAT4 and _PAIRS and array.ndim and array.shape[-1] % 2 == 0:
        cells = array.view(np.uint8)
        return torch.from_numpy(cells[..., ::2] | cells[..., 1::2] << 4).view(_PAIRS)
    if cell.is_integer:
        return torch.from_numpy(integers(array, cell))
    return torch.from_numpy(array.view(cell.uint))
