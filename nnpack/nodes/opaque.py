"""Opaque: blocks of a foreign format, kept byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np

from nnpack.abc import Fill, Node, read_range
from nnpack.dtypes import Array, DType, as_shape, check_shape, named
from nnpack.errors import Invalid, error
from nnpack.names import is_private_name
from nnpack.nodes.dense import as_node
from nnpack.wire import Cursor, pad8

Decoder = Callable[[Array, bytes, str, tuple[int, ...]], Array]
"""decode(data, parameters, dtype, shape): foreign blocks (uint8) to an array."""

_HEAD: Final = struct.Struct("<HHI")


class Opaque(Node):
    """Bytes that only a plug-in for the foreign format can read (SPEC 8.8).

    Args:
        data: the blocks, a flat array of uint8 or bytes.
        format: reverse-DNS name of the foreign format, as "ggml.iq2-xxs".
        shape: of the decoded tensor.
        dtype: name of the decoded element type.
        parameters: what the format needs besides.
        decode: the plug-in, if there is one; readers take it from `kinds={format: decode}`.
    """

    __slots__ = ("data", "decoder", "format", "format_parameters")

    id: ClassVar[int] = 7
    name: ClassVar[str] = "opaque"
    roles: ClassVar[Mapping[int, str]] = {1: "data"}

    data: Node
    format: str
    format_parameters: bytes
    decoder: Decoder | None

    def __init__(
        self,
        data: Any,
        format: str,  # noqa: A002 - the word for it
        shape: Sequence[int],
        dtype: str,
        parameters: bytes = b"",
        *,
        decode: Decoder | None = None,
    ) -> None:
        """Hold the blocks."""
        if isinstance(data, bytes | bytearray | memoryview):
            data = np.frombuffer(data, np.uint8)
        shape = as_shape(shape)
        self._build(as_node(data), format, shape, named(dtype), bytes(parameters), decode)

    def _build(
        self,
        data: Node,
        name: str,
        shape: tuple[int, ...],
        dtype: DType,
        parameters: bytes,
        decode: Decoder | None,
    ) -> None:
        if not is_private_name(name):
            raise Invalid("bad-text", f"{name!a} is no reverse-DNS name such as ggml.iq2-xxs")
        if data.id != 1:
            raise Invalid("bad-node", f"opaque data of kind {data.name}, not dense")
        if data.dtype != "uint8":
            raise Invalid("bad-dtype", f"opaque data of {data.dtype}, not uint8")
        if len(data.shape) != 1:
            raise Invalid("bad-shape", f"opaque data of shape {data.shape}, not of rank 1")
        check_shape(shape, dtype)
        self._set(
            shape=shape,
            dtype=dtype.name,
            data=data,
            format=name,
            format_parameters=parameters,
            decoder=decode,
        )

    def parameters(self) -> bytes:
        """Name and parameters of the foreign format."""
        name = self.format.encode()
        lengths = _HEAD.pack(len(name), 0, len(self.format_parameters))
        return pad8(lengths + name + self.format_parameters)

    @classmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Read name and parameters."""
        name_length, zero, length = parameters.fields(_HEAD, "the opaque node's lengths")
        if zero:
            raise error("reserved-nonzero", "a reserved field is set", offset=parameters.here)
        name = parameters.take(name_length, "the format's name")
        foreign = parameters.take(length, "the format's parameters")
        parameters.zeros_to_8("the format's parameters")
        node = object.__new__(cls)
        node._build(parts[1], name.decode("ascii", "replace"), shape, dtype, foreign, None)
        return node

    def with_decoder(self, decode: Decoder | None) -> Self:
        """Return the value with the plug-in that reads it."""
        node = self.replace_parts(lambda part: part)
        node._set(decoder=decode)  # noqa: SLF001
        return node

    @property
    def grain(self) -> int:
        """One: foreign blocks are decoded together, when a window is opened."""
        return 1

    def overhead(self, wanted: int) -> int:  # noqa: ARG002 - foreign blocks are decoded together
        """All blocks, and all that they decode to."""
        return self.data.nbytes + self.nbytes

    def window(self, start: int, stop: int) -> Fill:  # noqa: ARG002
        """Decode everything with the plug-in, and check what it returns."""
        if self.decoder is None:
            raise error(
                "unsupported",
                f"tensors of the foreign format {self.format} need a plug-in: "
                f"kinds={{{self.format!r}: decode}}; .value().data has their bytes",
            )
        blocks = read_range(self.data, 0, self.data.size)
        array = np.asarray(self.decoder(blocks, self.format_parameters, self.dtype, self.shape))
        if array.shape != self.shape or array.dtype != self.cell.numpy:
            raise TypeError(f"the plug-in for {self.format} returned {array.dtype}{array.shape}")
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        size = self.cell.itemsize

        def fill(a: int, b: int, out: Array) -> None:
            out.view(np.uint8)[:] = flat[a * size : b * size]

        return fill
