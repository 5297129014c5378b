"""A tensor of an open file: decoded when it is asked for, and only where it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnpack.abc import PIECE, Fill, Node
from nnpack.digest import logical_digest
from nnpack.dtypes import BY_ID, Array, count
from nnpack.errors import error, located, shown
from nnpack.limits import Limits
from nnpack.nodes import KINDS
from nnpack.nodes.dense import Dense
from nnpack.stream import Stream

if TYPE_CHECKING:
    from nnpack.container import Section
    from nnpack.source import Source
    from nnpack.tree import NodeHead

Run = Callable[[Callable[[tuple[int, int]], None], Node, int, int], None]
"""run(task, node, start, stop): call the task for each piece of a range, on threads perhaps."""


class Tensor:
    """One tensor of a file; nothing is decoded before `read`, a slice or `value` asks for it.

    Attributes:
        name: in the file; an alias keeps its own.
        section: the head of the section that stores it.
        source: the bytes of the file, or of the section alone.
    """

    __slots__ = ("_head", "_limits", "_node", "_run", "_unknown", "name", "section", "source")

    def __init__(
        self,
        name: str,
        source: Source,
        section: Section,
        head: NodeHead,
        node: Node | None,
        unknown: Sequence[str],
        limits: Limits,
        run: Run,
    ) -> None:
        """Tensors come from readers; `node` is None if parts of it are unknown here."""
        self.name, self.source, self.section = name, source, section
        self._head, self._node, self._unknown = head, node, unknown
        self._limits, self._run = limits, run

    def __repr__(self) -> str:
        return f"<Tensor {self.name!a} {self.kind} {self.dtype}{list(self.shape)}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor of rank 0 has no length")
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the decoded tensor."""
        return self._head.shape

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        cell = BY_ID.get(self._head.dtype)
        return cell.name if cell else f"unknown({self._head.dtype:#04x})"

    @property
    def kind(self) -> str:
        """Name of the kind of the root node."""
        kind = KINDS.get(self._head.kind) if self._node is None else type(self._node)
        return f"unknown({self._head.kind})" if kind is None else kind.name

    @property
    def head(self) -> NodeHead:
        """The node tree as the file states it."""
        return self._head

    @property
    def supported(self) -> bool:
        """Whether all of it is known to this reader."""
        return self._node is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return count(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory once it is decoded."""
        return self._head.decoded_size

    @property
    def stored_nbytes(self) -> int:
        """Bytes of the payload in the file."""
        return self.section.payload_length

    @property
    def charge(self) -> int:
        """Decoded bytes of all nodes: what reading everything may cost (SPEC 8.1).

        Of an unsupported tensor, of which nothing is decoded, the stored bytes.
        """
        if not self.supported:
            return self.stored_nbytes
        return sum(node.decoded_size for node in self._head.walk())

    @property
    def node(self) -> Node:
        """The value, its leaves still in the file; UnsupportedError if parts are unknown."""
        if self._node is None:
            raise error(
                "unsupported",
                f"this reader lacks {', '.join(self._unknown)}; "
                "plug-ins are passed with codecs= or kinds=",
                section=self.name,
            )
        return self._node

    def read(self, out: Array | None = None) -> Array:
        """Return all elements.

        Args:
            out: a C-contiguous, writable array of the same shape and dtype to decode into.

        Raises:
            NnpackError: the tensor is damaged, unsupported or too large for the limits.
            TypeError: `out` is no numpy array.
            ValueError: `out` does not fit.
        """
        node = self.node
        if out is None:
            self._limits.check_request(self.nbytes + self._beside(node), self.stored_nbytes)
            out = np.empty(self.shape, node.cell.numpy)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"out is a numpy array, not {type(out).__name__}")
        elif (
            out.shape != self.shape
            or out.dtype != node.cell.numpy
            or not out.flags.writeable
            or not out.flags.c_contiguous
        ):
            raise ValueError(
                f"out must be a writable, C-contiguous {node.cell.numpy} array of "
                f"shape {self.shape}"
            )
        else:
            self._limits.check_request(self._beside(node), self.stored_nbytes)
        if out.size:
            with located(self.section.offset, self.name):
                fill = node.window(0, self.size)
                self._run(_task(fill, out.reshape(-1), 0), node, 0, self.size)
        return out

    def _beside(self, node: Node) -> int:
        """Bound the bytes that reading everything takes besides what it returns."""
        return max(self.charge - self.nbytes, node.overhead(self.size))

    def __getitem__(self, key: Any) -> Array:
        """Return a slice (ints, slices, ...), decoding only the blocks that it touches."""
        node = self.node
        axes, shape = _normalise(key, self.shape)
        picked = count([len(axis) for axis in axes])
        if not picked:
            return np.empty(shape, node.cell.numpy)
        rows = [count(self.shape[i + 1 :]) for i in range(len(axes))]
        low = sum(min(axis[0], axis[-1]) * row for axis, row in zip(axes, rows, strict=True))
        high = sum(max(axis[0], axis[-1]) * row for axis, row in zip(axes, rows, strict=True)) + 1
        cost = picked * node.cell.itemsize + node.overhead(high - low)
        self._limits.check_request(cost, self.stored_nbytes)
        # What is picked one by one costs time for all that lies between.
        self._limits.check_expansion((high - low) * node.cell.itemsize, self.stored_nbytes)
        out = np.empty([len(axis) for axis in axes], node.cell.numpy)
        with located(self.section.offset, self.name):
            fill = node.window(low, high)

            def inside(start: int, stop: int, cells: Array) -> None:
                # A band of whole rows may pass the window, where nothing is picked from it.
                first, last = max(start, low), min(stop, high)
                fill(first, last, cells[first - start : last - start])

            self._slice(inside, node, axes, self.shape, 0, out)
        return out.reshape(shape)

    def _slice(
        self,
        fill: Fill,
        node: Node,
        axes: list[range],
        shape: tuple[int, ...],
        base: int,
        out: Array,
    ) -> None:
        """Fill `out` with what the axes pick below an index prefix that starts at `base`."""
        row = count(shape[1:])
        steps = [
            slice(axis.start, axis.stop if axis.stop >= 0 else None, axis.step) for axis in axes[1:]
        ]
        whole = all(axis == range(dim) for axis, dim in zip(axes[1:], shape[1:], strict=True))
        if not axes or (whole and axes[0].step == 1):
            start = base + (axes[0][0] * row if axes else 0)
            self._run(_task(fill, out.reshape(-1), -start), node, start, start + out.size)
        elif row >= PIECE:
            for at, index in enumerate(axes[0]):
                self._slice(fill, node, axes[1:], shape[1:], base + index * row, out[at])
        else:
            band = max(1, PIECE // row // abs(axes[0].step))
            for at in range(0, len(axes[0]), band):
                picked = axes[0][at : at + band]
                first, last = sorted((picked[0], picked[-1]))
                cells = np.empty((last - first + 1) * row, out.dtype)
                fill(base + first * row, base + (last + 1) * row, cells)
                rows = cells.reshape(last - first + 1, *shape[1:])[:: picked.step]
                out[at : at + len(picked)] = rows[(slice(None), *steps)]

    def value(self) -> Node:
        """Return the typed value with its parts in memory, without making it dense."""
        node = self.node
        self._limits.check_request(self.charge, self.stored_nbytes)
        with located(self.section.offset, self.name):
            loaded = node.load()
            loaded.check()
        return loaded

    def digest(self) -> str:
        """Return the logical digest (SPEC 13.2), hex: the same however the cells are stored."""
        node = self.node
        with located(self.section.offset, self.name):
            return logical_digest(node)

    def view(self) -> Array:
        """Return the elements without a copy, read-only and unverified.

        The checksums are not looked at, and the bytes can change if the file does.

        Raises:
            ValueError: the tensor is not raw in one plane of whole bytes, or the file cannot be
                mapped.
        """
        node = self.node
        stream = node.source if isinstance(node, Dense) else None
        if not isinstance(stream, Stream) or not stream.is_plain:
            raise ValueError(f"{self.name!a} is not stored raw in whole bytes: use read()")
        view = stream.view().reshape(self.shape)
        view.flags.writeable = False  # an empty one is of no file
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a tensor of a file cannot be had as an array without a copy")
        array = self.read()
        return array if dtype is None else array.astype(dtype)


def _task(fill: Fill, flat: Array, shift: int) -> Callable[[tuple[int, int]], None]:
    return lambda piece: fill(*piece, flat[piece[0] + shift : piece[1] + shift])


def _normalise(key: Any, shape: tuple[int, ...]) -> tuple[list[range], tuple[int, ...]]:
    """Return the positions that an index picks along each axis, and the result's shape."""
    keys = [*key] if isinstance(key, tuple) else [key]
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1 or len(keys) - len(dots) > len(shape):
        raise IndexError(f"the index {shown(key)} does not fit the shape {shape}")
    at = dots[0] if dots else len(keys)
    rest = len(shape) - (len(keys) - len(dots))
    keys[at : at + len(dots)] = [slice(None)] * rest
    axes: list[range] = []
    result: list[int] = []
    for one, dim in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            axes.append(range(*one.indices(dim)))
            result.append(len(axes[-1]))
            continue
        try:
            index = operator.index(one)
        except TypeError:
            index = None
        if index is None or isinstance(one, bool):
            raise TypeError(f"an index is made of ints, slices and ..., not {shown(one)}")
        if not -dim <= index < dim:
            raise IndexError(f"index {index} is out of range for an axis of {dim}")
        axes.append(range(index % dim, index % dim + 1))
        result.append(1)
    dropped = [d for d, k in zip(result, keys, strict=True) if isinstance(k, slice)]
    return axes, tuple(dropped)
