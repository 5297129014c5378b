"""The kinds that have parts, with what they decode to (SPEC 8.4 to 8.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from conformance.generator import assemble as a
from conformance.generator import dtypes, floats
from conformance.generator.tree import Tree, constant, dense, json_number

_OPERANDS = {"scale": 1, "zero": 2, "bias": 3, "min": 4, "group_index": 5, "codes": 6}
_STEPS = {"float32": 0, "float16": 0x39, "bfloat16": 0x49}


def of(dtype: str, cells: Sequence[int], shape: Sequence[int] | None = None) -> Tree:
    """Return a raw dense node of cells, of rank 1 unless a shape is given."""
    image = dtypes.image(dtype, cells)
    return dense(dtype, (len(cells),) if shape is None else shape, image)


def real(dtype: str, *values: int | str, shape: Sequence[int] | None = None) -> Tree:
    """Return a raw dense node of float16, bfloat16 or float32 from numbers or their texts."""
    return of(dtype, [floats.literal(dtype, one) for one in values], shape)


def same(dtype: str, shape: Sequence[int], cell: int) -> Tree:
    """Return a constant node of a cell."""
    return constant(dtype, shape, dtypes.image(dtype, [cell]))


def elements(tree: Tree) -> list[bytes]:
    """Return the image of each element."""
    if tree.image is None:
        raise ValueError(f"{tree.kind} has no image")
    wide = dtypes.width(tree.dtype)
    return [tree.image[at : at + wide] for at in range(0, len(tree.image), wide)]


def integers(tree: Tree) -> list[int]:
    """Return the cells, which stand for themselves in unsigned types."""
    return [int.from_bytes(one, "little") for one in elements(tree)]


def known(*parts: Tree) -> bool:
    """Return whether all parts have an image."""
    return all(part.image is not None for part in parts)


def indices(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return all multi-indices in C order."""
    at = [0] * len(shape)
    for _ in range(dtypes.count(shape)):
        yield tuple(at)
        for axis in reversed(range(len(shape))):
            at[axis] += 1
            if at[axis] < shape[axis]:
                break
            at[axis] = 0


def flat(shape: Sequence[int], index: Sequence[int]) -> int:
    """Return the position of a multi-index in C order."""
    position = 0
    for dim, at in zip(shape, index, strict=True):
        position = position * dim + at
    return position


def box(tree: Tree, start: Sequence[int], stop: Sequence[int]) -> bytes:
    """Return the image of the elements in [start, stop)."""
    every = elements(tree)
    sizes = [high - low for low, high in zip(start, stop, strict=True)]
    return b"".join(
        every[flat(tree.shape, [low + i for low, i in zip(start, index, strict=True)])]
        for index in indices(sizes)
    )


def grid_of(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """Return how many groups there are along each axis (SPEC 8.6.1)."""
    return tuple(-(-dim // size) if size else 1 for dim, size in zip(shape, block, strict=True))


def csr(
    shape: Sequence[int], row_length: int, fill: bytes, counts: Tree, gaps: Tree, values: Tree
) -> Tree:
    """Return a csr node; `fill` is an image of one element."""
    parts = {"counts": (1, counts), "gaps": (2, gaps), "values": (3, values)}
    out, s = [fill] * dtypes.count(shape), 0
    if known(counts, gaps, values):
        distances, stored = integers(gaps), elements(values)
        for row, count in enumerate(integers(counts)):
            column = -1
            for _ in range(count):
                column += distances[s] + 1
                out[row * row_length + column] = stored[s]
                s += 1
    packed = dtypes.pack(values.dtype, fill)
    return Tree(
        "csr",
        values.dtype,
        tuple(shape),
        b"".join(out) if known(counts, gaps, values) else None,
        struct.pack("<Q", row_length) + packed.ljust(a.up8(len(packed)), b"\0"),
        {"row_length": json_number(row_length), "fill": fill.hex()},
        parts,
        profile="R2",
        kind_id=a.CSR,
        dtype_id=values.dtype_id,
    )


def codebook(
    shape: Sequence[int],
    table: Tree,
    index: Tree,
    block: Sequence[int] | None = None,
    vector_length: int = 1,
    vector_axis: int = 0,
) -> Tree:
    """Return a codebook node; without blocks it has one table."""
    block = block if block is not None else [0] * len(shape)
    out = []
    if known(table, index):
        entries, codes = elements(table), integers(index)
        grid, k = grid_of(shape, block), table.shape[len(shape)]
    for i in indices(shape) if known(table, index) else ():
        group = flat(grid, [at // size if size else 0 for at, size in zip(i, block, strict=True)])
        j = [at // vector_length if axis == vector_axis else at for axis, at in enumerate(i)]
        row = group * k + codes[flat(index.shape, j)]
        out.append(entries[row * vector_length + (i[vector_axis] % vector_length if i else 0)])
    return Tree(
        "codebook",
        table.dtype,
        tuple(shape),
        b"".join(out) if known(table, index) else None,
        struct.pack(f"<II{len(block)}Q", vector_length, vector_axis, *block),
        {
            "block": [*map(json_number, block)],
            "vector_length": vector_length,
            "vector_axis": vector_axis,
        },
        {"table": (1, table), "indices": (2, index)},
        profile="R2",
        kind_id=a.CODEBOOK,
        dtype_id=table.dtype_id,
    )


def quantized(
    dtype: str,
    codes: Tree,
    scale: Tree,
    *,
    block: Sequence[int] | None = None,
    flat_block: int | None = None,
    group_axis: int = 0,
    divide: bool = False,
    step: str = "float32",
    **more: Tree,
) -> Tree:
    """Return a quantized node; `more` are zero, bias or min, and group_index."""
    shape = codes.shape
    block = block if block is not None else [0] * len(shape)
    parts = {"scale": scale, **more, "codes": codes}
    operands = {
        name: (part.dtype, dtypes.cells(part.dtype, part.image or b""))
        for name, part in parts.items()
    }
    groups = operands.pop("group_index", ("", []))[1]
    code = operands.pop("codes")
    out, grid = [], grid_of(shape, block)
    for position, i in enumerate(indices(shape) if known(*parts.values()) else ()):
        if flat_block is not None:
            group = position // flat_block
        else:
            at = [x // size if size else 0 for x, size in zip(i, block, strict=True)]
            if groups:
                at[group_axis] = groups[i[group_axis]]
            group = flat(grid, at)
        found = {name: (kind, cells[group]) for name, (kind, cells) in operands.items()}
        own = (code[0], code[1][position])
        out.append(floats.dequantized(dtype, own, divide=divide, step=step, **found))
    flags = (flat_block is not None) | divide << 1
    lengths = [*block] if flat_block is None else [flat_block]
    return Tree(
        "quantized",
        dtype,
        tuple(shape),
        dtypes.image(dtype, out) if known(*parts.values()) else None,
        struct.pack("<BBB5x", flags, group_axis, _STEPS[step])
        + struct.pack(f"<{len(lengths)}Q", *lengths),
        {
            "block": [*map(json_number, lengths)],
            "flat": flat_block is not None,
            "group_axis": group_axis,
            "scale_op": "divide" if divide else "multiply",
            "step": step,
        },
        {name: (_OPERANDS[name], part) for name, part in parts.items()},
        kind_id=a.QUANTIZED,
        dtype_id=dtypes.IDS[dtype],
    )


def concat(axis: int, *parts: Tree) -> Tree:
    """Return a concat node."""
    first = parts[0]
    shape = [*first.shape]
    shape[axis] = sum(part.shape[axis] for part in parts)
    out = b""
    for outer in range(dtypes.count(shape[:axis])):
        for part in parts:
            run = dtypes.count(part.shape[axis:]) * dtypes.width(part.dtype)
            out += (part.image or b"")[outer * run : (outer + 1) * run]
    return Tree(
        "concat",
        first.dtype,
        tuple(shape),
        out if known(*parts) else None,
        struct.pack("<Q", axis),
        {"axis": axis},
        {str(number): (number, part) for number, part in enumerate(parts, 1)},
        profile="R2",
        kind_id=a.CONCAT,
        dtype_id=first.dtype_id,
    )


def opaque(dtype: str, shape: Sequence[int], name: bytes, parameters: bytes, data: Tree) -> Tree:
    """Return an opaque node of a format."""
    raw = struct.pack("<HHI", len(name), 0, len(parameters)) + name + parameters
    return Tree(
        "opaque",
        dtype,
        tuple(shape),
        None,
        raw.ljust(a.up8(len(raw)), b"\0"),
        {"format": name.decode("latin-1"), "parameters": parameters.hex()},
        {"data": (1, data)},
        profile="R3",
        kind_id=a.OPAQUE,
        dtype_id=dtypes.IDS[dtype],
    )


def unknown(
    kind: int,
    dtype: str,
    shape: Sequence[int],
    parameters: bytes = b"",
    parts: Mapping[int, Tree] | None = None,
) -> Tree:
    """Return a node of a kind that no reader knows; parts by role."""
    return Tree(
        f"unknown({kind})",
        dtype,
        tuple(shape),
        None,
        parameters,
        {},
        {str(role): (role, part) for role, part in (parts or {}).items()},
        profile="R0",
        kind_id=kind,
        dtype_id=dtypes.IDS[dtype],
    )


def unknown_dtype(tree: Tree, dtype: int) -> Tree:
    """Return a node with a data type that no reader knows; it has no image."""
    return tree.but(dtype=f"unknown({dtype})", dtype_id=dtype, image=None)
