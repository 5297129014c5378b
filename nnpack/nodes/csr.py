"""CSR: only some elements stored, with their places; the rest is the fill cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from nnpack.abc import PIECE, Fill, Node, pieces, read_range
from nnpack.dtypes import (
    POSITION_BITS,
    Array,
    DType,
    as_shape,
    check_shape,
    check_unsigned,
    count,
    integers,
)
from nnpack.errors import Invalid
from nnpack.limits import MAX_U64
from nnpack.nodes.cell import cell_bytes, one_cell, read_cell
from nnpack.nodes.dense import Dense, as_node
from nnpack.wire import U64, Cursor

if TYPE_CHECKING:
    import scipy.sparse

BAND: Final = 4096
RUN: Final = 1 << 16
"""Rows and stored elements that are walked at once: each takes a dozen integers of 64 bits."""


class Csr(Node):
    """Compressed sparse rows (SPEC 8.4).

    An element may be left out only if it is `fill`, bit for bit: −0.0 and NaN are stored.

    Args:
        counts: stored elements of each row; unsigned, [rows].
        gaps: column − column before − 1, and the column itself for a row's first; unsigned, [nnz].
        values: the stored elements, [nnz].
        shape: of the dense tensor.
        fill: the element everywhere else.
        row_length: elements of a row, by default the last dimension; the last row may be short.
            For N:M sparsity it is M.

    Raises:
        ValueError: the parts do not fit each other.

    >>> sparse = Csr.from_numpy([[0.0, 5.0, 0.0], [7.0, 0.0, 9.0]])
    >>> sparse.counts.array, sparse.gaps.array, sparse.values.array
    (array([1, 2], dtype=uint8), array([1, 0, 1], dtype=uint8), array([5., 7., 9.]))
    """

    __slots__ = ("counts", "fill", "gaps", "row_length", "values")

    id: ClassVar[int] = 3
    name: ClassVar[str] = "csr"
    roles: ClassVar[Mapping[int, str]] = {1: "counts", 2: "gaps", 3: "values"}

    counts: Node
    gaps: Node
    values: Node
    fill: Array
    """The cell that is not stored, an array of shape (1,)."""
    row_length: int

    def __init__(
        self,
        counts: Any,
        gaps: Any,
        values: Any,
        shape: Sequence[int],
        fill: Any = 0,
        row_length: int | None = None,
    ) -> None:
        """Check that the parts fit each other."""
        shape = as_shape(shape)
        values = as_node(values)
        row = max(shape[-1] if shape else 1, 1) if row_length is None else row_length
        cell = one_cell(fill, values.cell)
        self._build(shape, as_node(counts), as_node(gaps), values, cell, row)
        if self.in_memory:
            self.check_contents()

    def _build(
        self,
        shape: tuple[int, ...],
        counts: Node,
        gaps: Node,
        values: Node,
        fill: Array,
        row_length: int,
    ) -> None:
        check_shape(shape, values.cell)
        _check_row_length(row_length, shape)
        rows = -(-count(shape) // row_length)
        for part, what in ((counts, "counts"), (gaps, "gaps")):
            check_unsigned(what, part.cell)
            if part.name not in {"dense", "constant"}:
                raise Invalid("bad-node", f"{what} of kind {part.name}: dense or constant")
        if counts.shape != (rows,):
            raise Invalid("bad-shape", f"counts of shape {counts.shape} for {rows} rows")
        if len(gaps.shape) != 1 or gaps.shape != values.shape or gaps.size > count(shape):
            raise Invalid("bad-shape", f"gaps {gaps.shape} and values {values.shape} of {shape}")
        self._set(
            shape=shape,
            dtype=values.dtype,
            counts=counts,
            gaps=gaps,
            values=values,
            fill=fill,
            row_length=row_length,
        )

    @classmethod
    def from_numpy(cls, array: Any, fill: Any = 0, row_length: int | None = None) -> Csr:
        """Store the elements of a dense array whose bits differ from those of `fill`."""
        array = Dense(array).array
        cell = one_cell(fill, Dense(array).cell)
        bits = array.reshape(-1, 1).view(np.uint8).reshape(array.size, array.itemsize)
        flat = np.flatnonzero((bits != cell.view(np.uint8)).any(axis=1))
        row = max(array.shape[-1] if array.ndim else 1, 1) if row_length is None else row_length
        values = array.reshape(-1)[flat]
        return cls._from_flat(flat, values, array.shape, cell, row)

    @classmethod
    def from_arrays(cls, indptr: Any, indices: Any, data: Any, shape: Sequence[int]) -> Csr:
        """Take the usual three arrays of a matrix; rows may be unsorted, but no place is twice.

        Args:
            indptr: [rows + 1] where each row starts in the others.
            indices: [nnz] columns.
            data: [nnz] elements; explicit zeros stay stored.
            shape: (rows, columns).

        Raises:
            TypeError: indptr or indices are no integers, or the elements' type cannot be stored.
            ValueError: the arrays do not fit each other or the shape.
        """
        indptr, indices = _places("indptr", indptr), _places("indices", indices)
        data = Dense(data).array
        if len(shape) != 2:
            raise ValueError(f"a matrix has a shape of (rows, columns), not {tuple(shape)}")
        rows, columns = (int(dim) for dim in shape)
        counts = np.diff(indptr)
        if len(indptr) != rows + 1 or indptr[0] != 0 or (counts < 0).any():
            raise ValueError(f"indptr does not ascend from 0 over {rows} rows")
        if not len(indices) == len(data) == indptr[-1]:
            raise ValueError(
                f"{len(indices)} indices and {len(data)} data, indptr ends at {indptr[-1]}"
            )
        if len(indices) and not 0 <= indices.min() <= indices.max() < columns:
            raise ValueError(f"a column is out of range [0, {columns})")
        flat = np.repeat(np.arange(rows), counts) * columns + indices
        order = np.argsort(flat, kind="stable")
        flat = flat[order]
        if (np.diff(flat) == 0).any():
            raise ValueError("a place is stored twice: sum the duplicates first")
        zero = np.zeros(1, data.dtype)
        return cls._from_flat(flat, data[order], (rows, columns), zero, max(columns, 1))

    @classmethod
    def from_scipy(cls, matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> Csr:
        """Take a scipy sparse matrix of any format.

        >>> from scipy import sparse
        >>> Csr.from_scipy(sparse.eye_array(3, dtype="float32", format="coo"))
        Csr(float32[3, 3], counts=Dense(uint8[3]), gaps=Dense(uint8[3]), values=Dense(float32[3]))
        """
        if not hasattr(matrix, "tocsr"):
            raise TypeError(
                f"a scipy sparse matrix is needed, not {type(matrix).__name__}: "
                "see Csr.from_numpy for dense arrays"
            )
        rows = matrix.tocsr()
        return cls.from_arrays(rows.indptr, rows.indices, rows.data, rows.shape)

    @classmethod
    def _from_flat(
        cls, flat: Array, values: Array, shape: Sequence[int], fill: Array, row_length: int
    ) -> Csr:
        """Build from ascending positions in the flattened tensor."""
        _check_row_length(row_length, tuple(shape))
        rows = -(-count(shape) // row_length)
        row, column = np.divmod(flat, row_length)
        counts = np.bincount(row, minlength=rows).astype(np.int64)
        gaps = column.copy()
        gaps[1:] -= np.where(row[1:] == row[:-1], column[:-1] + 1, 0)
        return cls(narrow(counts), narrow(gaps), values, shape, fill, row_length)

    def parameters(self) -> bytes:
        """Row length and fill cell."""
        return U64.pack(self.row_length) + cell_bytes(self.fill, self.cell)

    @classmethod
    def from_parts(
        cls, shape: tuple[int, ...], dtype: DType, parameters: Cursor, parts: dict[int, Node]
    ) -> Self:
        """Read row length and fill cell."""
        (row_length,) = parameters.u64s(1, "the row length")
        fill = read_cell(parameters, dtype)
        if parts[3].dtype != dtype.name:
            raise Invalid("bad-dtype", f"values of {parts[3].dtype} in a csr of {dtype.name}")
        node = object.__new__(cls)
        node._build(shape, parts[1], parts[2], parts[3], fill, row_length)
        return node

    @property
    def rows(self) -> int:
        """Number of rows; they need not be those of the shape."""
        return -(-self.size // self.row_length)

    @property
    def nnz(self) -> int:
        """Number of stored elements."""
        return self.values.size

    @property
    def indptr(self) -> Array:
        """[rows + 1] int64: where each row starts among the values."""
        indptr = np.zeros(self.rows + 1, np.int64)
        np.cumsum(integers(self.counts.to_numpy(), self.counts.cell), out=indptr[1:])
        return indptr

    @property
    def indices(self) -> Array:
        """[nnz] int64: the column of each stored element."""
        runs = [columns for _, _, _, columns in self._walk()]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Return a scipy csr_array.

        Raises:
            ValueError: this is no matrix, or its fill is not zero (−0.0 is not).
            ImportError: there is no SciPy.
        """
        if len(self.shape) != 2 or self.row_length != max(self.shape[1], 1):
            raise ValueError(
                f"a csr of shape {self.shape} in rows of {self.row_length} is "
                "no matrix in its own rows"
            )
        if self.fill.view(np.uint8).any():
            raise ValueError(f"scipy leaves out zeros, this value {self.fill[0]}")
        try:
            import scipy.sparse
        except ImportError as missing:
            raise ImportError(
                'to_scipy needs SciPy: pip install "nnpack-format[scipy]"'
            ) from missing

        if not self.size:
            return scipy.sparse.csr_array(self.shape, dtype=self.cell.numpy)
        return scipy.sparse.csr_array(
            (self.values.to_numpy(), self.indices, self.indptr), shape=self.shape
        )

    @property
    def grain(self) -> int:
        """A row: its columns follow from each other; but a window knows its way in long rows."""
        return self.row_length if self.row_length <= PIECE else 1

    def _row_counts(self, first: int, last: int) -> Array:
        """Read the counts of rows [first, last)."""
        return integers(read_range(self.counts, first, last), self.counts.cell)

    def _runs(
        self, first: int, counts: Array, start: int, gaps: Callable[[int, int], Array]
    ) -> Iterator[tuple[int, int, Array, Array]]:
        """Walk rows from `first` on, of which the values begin at `start`; check all columns.

        Yields:
            nnz start, nnz stop, the row and the column of each stored element between them.
        """
        ends, lengths = self._bounds(first, counts, start)
        column = 0  # one past the last element of the row that a run starts in
        for a in range(start, int(ends[-1]), RUN):
            b = min(a + RUN, int(ends[-1]))
            rows, columns = self._columns(a, gaps(a, b), start, ends, lengths, column)
            column = int(columns[-1]) + 1
            yield a, b, rows + first, columns

    def _bounds(self, first: int, counts: Array, start: int) -> tuple[Array, Array]:
        """Return where each row's values end, and how long the rows are; check the counts."""
        ends = np.cumsum(counts, dtype=np.int64) + start
        self._check_stored(int(ends[-1]), first + len(counts))
        lengths = np.full(len(counts), self.row_length, np.int64)
        if first + len(counts) == self.rows:
            lengths[-1] = self.size - (self.rows - 1) * self.row_length
        return ends, lengths

    @staticmethod
    def _columns(
        a: int, gaps: Array, start: int, ends: Array, lengths: Array, column: int
    ) -> tuple[Array, Array]:
        """Return rows and columns of the stored elements from `a` on; check the columns.

        Args:
            a: number of the first of these elements.
            gaps: theirs.
            start: number of the first element of the first row.
            ends: number of the element behind each row.
            lengths: of the rows.
            column: where the run goes on, if it starts inside a row.
        """
        rows = np.searchsorted(ends, np.arange(a, a + len(gaps)), side="right")
        ahead = np.cumsum(gaps.astype(np.int64) + 1)
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        if a > (ends[rows[0] - 1] if rows[0] else start):
            ahead += column  # the run continues a row
        base = np.where(firsts > 0, ahead[firsts - 1], 0)
        columns = ahead - 1 - np.repeat(base, np.diff(firsts, append=len(gaps)))
        if (columns >= lengths[rows]).any():
            raise Invalid("bad-index", "a column is beyond its row's end")
        return rows, columns

    def _walk(self) -> Iterator[tuple[int, int, Array, Array]]:
        """Walk all rows, with little memory."""
        start = 0
        gaps = _reader(self.gaps)
        counts_at = _reader(self.counts)
        for first in range(0, self.rows, RUN):
            counts = counts_at(first, min(first + RUN, self.rows))
            yield from self._runs(first, counts, start, gaps)
            start += int(counts.sum(dtype=np.int64))

    def _check_stored(self, stored: int, rows: int) -> None:
        """Check what the counts of the first rows sum to: of all rows, to what is stored."""
        if not (self.nnz if rows == self.rows else 0) <= stored <= self.nnz:
            raise Invalid("bad-index", f"counts sum to {stored}, {self.nnz} values are stored")

    def checked_parts(self) -> list[tuple[Node, int]]:
        """Counts and gaps, in pieces; none where both are constant."""
        if self._is_regular:
            return []
        return [(part, min(part.size, PIECE)) for part in (self.counts, self.gaps)]

    @property
    def _is_regular(self) -> bool:
        """Whether all rows are alike by their parts' kinds: a few bytes could claim any number."""
        return self.counts.name == "constant" and (self.gaps.name == "constant" or not self.nnz)

    def check_contents(self) -> None:
        """Check counts and columns."""
        if self._is_regular and self.rows:
            self._check_regular()
            return
        start, gaps_at = 0, _reader(self.gaps)
        for first in range(0, self.rows, PIECE):
            last = min(first + PIECE, self.rows)
            counts = self._row_counts(first, last)
            ends, lengths = self._bounds(first, counts, start)
            self._check_rows(counts, ends, lengths, gaps_at)
            start = int(ends[-1])

    @staticmethod
    def _check_rows(
        counts: Array, ends: Array, lengths: Array, gaps_at: Callable[[int, int], Array]
    ) -> None:
        """Check that the last column of each row, the sum of gaps and elements before, is in it."""
        some = np.flatnonzero(counts)
        room = lengths[some] - counts[some]  # what the gaps of a row may sum to
        begins, ends = ends[some] - counts[some], ends[some]
        for a in range(int(begins[0]), int(ends[-1]), PIECE) if len(some) else ():
            b = min(a + PIECE, int(ends[-1]))
            low, high = np.searchsorted(ends, a, "right"), np.searchsorted(begins, b)
            at = np.maximum(begins[low:high] - a, 0)
            room[low:high] -= np.add.reduceat(gaps_at(a, b), at, dtype=np.int64)
            if (room[low:high] < 0).any():
                raise Invalid("bad-index", "a column is beyond its row's end")

    def _check_regular(self) -> None:
        """Check rows that are all alike: the last, which may be shorter than others, says all."""
        stored = int(self._row_counts(0, 1)[0])
        shortest = self.size - (self.rows - 1) * self.row_length
        self._check_stored(self.rows * stored, self.rows)
        if stored and stored * (int(_reader(self.gaps)(0, 1)[0]) + 1) > shortest:
            raise Invalid("bad-index", "a column is beyond its row's end")

    def _stored_before(self, row: int) -> int:
        """Sum the counts of the rows before."""
        if self.counts.name == "constant":
            total = row * int(self._row_counts(0, 1)[0])
        else:
            read, cuts = _reader(self.counts), [*range(0, row, PIECE), row]
            total = sum(int(read(a, b).sum(dtype=np.int64)) for a, b in pairwise(cuts))
        self._check_stored(total, row)
        return total

    def window(self, start: int, stop: int) -> Fill:
        """Read the parts of the rows once; then lay the fill cell, and scatter what is stored."""
        first, last = start // self.row_length, -(-stop // self.row_length)
        counts = self._row_counts(first, last)
        begin = self._stored_before(first)
        # Where every BAND-th row's values start: a sum for each row would take more than the file.
        sums = np.concatenate(
            [_band_sums(counts[at : at + PIECE]) for at in range(0, len(counts), PIECE)]
        )
        starts = np.concatenate([[begin], np.cumsum(sums) + begin])
        end = int(starts[-1])
        self._check_stored(end, last)
        gaps = integers(read_range(self.gaps, begin, end), self.gaps.cell)
        values = read_range(self.values, begin, end).view(f"V{self.cell.itemsize}")
        blank = self.fill.view(values.dtype)

        def gaps_at(low: int, high: int) -> Array:
            return gaps[low - begin : high - begin]

        def scatter(a: int, low: int, place: Array, target: Array) -> None:
            """Lay the values from number `low` on, whose places ascend, as far as they are in."""
            first, last = np.searchsorted(place, [a, a + len(target)]).tolist()
            target[place[first:last] - a] = values[low - begin + first : low - begin + last]

        def fill(a: int, b: int, out: Array) -> None:
            target = out.view(values.dtype)
            target[:] = blank
            for left, right in pieces(a, b, self.row_length):
                row, after = left // self.row_length - first, -(-right // self.row_length) - first
                band = row // BAND
                at = int(starts[band]) + int(counts[band * BAND : row].sum(dtype=np.int64))
                runs = self._runs(row + first, counts[row:after], at, gaps_at)
                for low, _, rows, columns in runs:
                    scatter(a, low, rows * self.row_length + columns, target)

        if self.row_length <= PIECE:
            return fill
        marks = [
            rows[::BAND] * self.row_length + columns[::BAND]
            for _, _, rows, columns in self._runs(first, counts, begin, gaps_at)
        ]
        places = np.concatenate([np.zeros(0, np.int64), *marks])
        ends, lengths = self._bounds(first, counts, begin)

        def fill_cut(a: int, b: int, out: Array) -> None:
            """Fill a range of long rows; the place of each BAND-th stored element is known."""
            target = out.view(values.dtype)
            target[:] = blank
            mark, past = np.searchsorted(places, [a, b], "right").tolist()
            low, high = max(mark - 1, 0) * BAND + begin, min(past * BAND + begin, end)
            column = 0
            if low < high:
                column = int(places[max(mark - 1, 0)]) % self.row_length - int(gaps[low - begin])
            for at in range(low, high, RUN):
                some = gaps_at(at, min(at + RUN, high))
                rows, columns = self._columns(at, some, begin, ends, lengths, column)
                column = int(columns[-1]) + 1
                scatter(a, at, (rows + first) * self.row_length + columns, target)

        return fill_cut


def _band_sums(counts: Array) -> Array:
    """Sum each BAND counts."""
    return np.add.reduceat(counts, np.arange(0, len(counts), BAND), dtype=np.int64)


def _reader(part: Node) -> Callable[[int, int], Array]:
    """Return read(start, stop) of a part's integers, for ascending ranges."""
    read = part.window(0, part.size) if part.size else None

    def integers_at(start: int, stop: int) -> Array:
        out = np.empty(stop - start, part.cell.numpy)
        if read and start < stop:
            read(start, stop, out)
        return integers(out, part.cell)

    return integers_at


def _check_row_length(row_length: int, shape: tuple[int, ...]) -> None:
    if not 1 <= row_length < MAX_U64 or (not shape and row_length != 1):
        raise Invalid(
            "bad-value", f"a row length of {row_length}: it is 1 to 2^62 - 1, 1 for rank 0"
        )


def _places(what: str, given: Any) -> Array:
    """Return integers as int64 [n]; a type that would lose something is refused."""
    array = Dense(given).array
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{what} must be integers, not {array.dtype}: use .astype('int64')")
    if array.ndim != 1:
        raise ValueError(f"{what} must be of rank 1, not of shape {array.shape}")
    return array.astype(np.int64)


def narrow(numbers: Array) -> Array:
    """Return non-negative integers in the smallest type of 8, 16 or 32 bits."""
    top = int(numbers.max()) if numbers.size else 0
    if top >= 1 << POSITION_BITS:
        raise ValueError(f"a gap of {top} does not fit 32 bits: pass a smaller row_length")
    return numbers.astype(np.uint8 if top < 1 << 8 else np.uint16 if top < 1 << 16 else np.uint32)
