"""nnpack: one file for a neural network, small and fast to open.

Opening and writing are in `reader` and `writer`, on top of `container` (where things sit),
`nodes` (what numbers mean), `stream`, `transforms` and `codecs` (how cells are stored).
SPEC.md defines the format.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnpack.errors import (
        ChecksumError,
        DigestError,
        FormatError,
        LimitError,
        NnpackError,
        TruncatedError,
        UnsupportedError,
    )
    from nnpack.limits import Limits
    from nnpack.nodes.codebook import Codebook
    from nnpack.nodes.concat import Concat
    from nnpack.nodes.constant import Constant
    from nnpack.nodes.csr import Csr
    from nnpack.nodes.dense import Dense
    from nnpack.nodes.opaque import Opaque
    from nnpack.nodes.quantized import Quantized
    from nnpack.numpy import load, load_file, save, save_file
    from nnpack.reader import Reader, open  # noqa: A004 - used as nnpack.open
    from nnpack.sequential import read_stream
    from nnpack.tensor import Tensor
    from nnpack.writer import Writer

__version__ = "0.1.0"

_HOME = {
    "ChecksumError": "errors",
    "Codebook": "nodes.codebook",
    "Concat": "nodes.concat",
    "Constant": "nodes.constant",
    "Csr": "nodes.csr",
    "Dense": "nodes.dense",
    "DigestError": "errors",
    "FormatError": "errors",
    "LimitError": "errors",
    "Limits": "limits",
    "NnpackError": "errors",
    "Opaque": "nodes.opaque",
    "Quantized": "nodes.quantized",
    "Reader": "reader",
    "Tensor": "tensor",
    "TruncatedError": "errors",
    "UnsupportedError": "errors",
    "Writer": "writer",
    "load": "numpy",
    "load_file": "numpy",
    "open": "reader",
    "read_stream": "sequential",
    "save": "numpy",
    "save_file": "numpy",
}
"""Public name -> module; looked up on first use, so that `nnpack --help` needs no numpy."""

__all__ = [
    "ChecksumError",
    "Codebook",
    "Concat",
    "Constant",
    "Csr",
    "Dense",
    "DigestError",
    "FormatError",
    "LimitError",
    "Limits",
    "NnpackError",
    "Opaque",
    "Quantized",
    "Reader",
    "Tensor",
    "TruncatedError",
    "UnsupportedError",
    "Writer",
    "load",
    "load_file",
    "open",
    "read_stream",
    "save",
    "save_file",
]


_MODULES = ("abc", "codecs", "convert", "nodes", "salvage", "testing", "torch", "verify")
"""Public modules, which an attribute finds as well as an import."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"nnpack.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'nnpack' has no attribute {name!r}")
    value = getattr(import_module(f"nnpack.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
