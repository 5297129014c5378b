"""Files that break one rule of a node tree, as a valid tree and a wrong one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from conformance.generator import operations
from conformance.generator.kinds import box
from conformance.generator.operations import Operation
from conformance.generator.rebuild import parse, repaired
from conformance.generator.tree import Tree, tensor
from conformance.generator.vector import Vector, invalid, tensor_of, valid

NAME = "t"
"""Of the tensor in a file of one."""


def of_tree(
    id: str,
    why: str,
    requirements: Sequence[str],
    tree: Tree,
    *boxes: tuple[Sequence[int], Sequence[int]],
    **options: Any,
) -> Vector:
    """Return a valid file of one tensor, and slices (start, stop) of it."""
    slices = [cut_of(NAME, tree, *bounds) for bounds in boxes]
    computed = tree.image is not None and tree.kind != "dense"
    named = dict.fromkeys([*requirements, *(["R-NOD-021"] if computed else [])])
    return valid(id, why, [*named], [tensor_of(NAME, tree)], slices=slices, **options)


def cut_of(name: str, tree: Tree, start: Sequence[int], stop: Sequence[int]) -> dict[str, Any]:
    """Return a slice [start, stop) of a tensor."""
    image = box(tree, start, stop).hex()
    return {"tensor": name, "start": [*start], "stop": [*stop], "image": image}


def within(tree: Tree, path: str, **changes: Any) -> Tree:
    """Return a tree with other fields in the part at a path such as `scale/codes`."""
    if not path:
        return tree.but(**changes)
    name, _, rest = path.partition("/")
    role, part = tree.parts[name]
    return tree.but(parts={**tree.parts, name: (role, within(part, rest, **changes))})


def having(tree: Tree, **parts: Tree) -> Tree:
    """Return a tree with other nodes as parts, in their roles."""
    return tree.but(parts={**tree.parts, **{n: (tree.parts[n][0], p) for n, p in parts.items()}})


def without(tree: Tree, *names: str) -> Tree:
    """Return a tree without some of its parts."""
    return tree.but(parts={name: part for name, part in tree.parts.items() if name not in names})


def parameter(tree: Tree, at: int, new: bytes) -> Tree:
    """Return a tree with other bytes in its root's parameters."""
    old = tree.parameters
    return tree.but(parameters=old[:at] + new + old[at + len(new) :])


def broken(
    id: str,
    why: str,
    requirements: Sequence[str],
    error: str,
    base: Vector,
    tree: Tree,
    *,
    index: int = 0,
    **options: Any,
) -> Vector:
    """Return the file of a valid base with a wrong tree in one of its tensors.

    What differs in the payload alone is derived as that, and its checksums are repaired.
    """
    section = parse(base.data).sections[index]
    wanted = tensor("", tree, alignment=section.alignment)
    as_long = (len(wanted.payload), wanted.alignment) == (len(section.payload), section.alignment)
    if as_long and repaired(replace(section, payload=wanted.payload)).body == wanted.body:
        payload = [*_splices(index, "payload", section.payload, wanted.payload)]
        return invalid(id, why, requirements, error, base, payload, repair=["planes"], **options)
    changes = [
        *_splices(index, "body", section.body, wanted.body),
        *_splices(index, "payload", section.payload, wanted.payload),
    ]
    if wanted.alignment != section.alignment:
        changes.append(operations.section(index, "alignment", wanted.alignment))
    return invalid(id, why, requirements, error, base, changes, **options)


def _splices(index: int, field: str, old: bytes, new: bytes) -> Iterator[Operation]:
    """Return operations that make of one byte string another."""
    if len(old) == len(new):
        runs = [*_runs(old, new)]
    else:
        start = alike(old, new)
        end = alike(old[start:][::-1], new[start:][::-1])
        runs = [(start, old[start : len(old) - end], new[start : len(new) - end])]
    for at, before, after in runs:
        yield operations.splice(index, field, at, before, after)


def alike(old: bytes, new: bytes) -> int:
    """Return how many bytes are the same in front."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(old), len(new)))


def _runs(old: bytes, new: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Return where byte strings of one length differ."""
    at = 0
    while at < len(old):
        end = at
        while end < len(old) and old[end] != new[end]:
            end += 1
        if end > at:
            yield at, old[at:end], new[at:end]
        at = end + 1
