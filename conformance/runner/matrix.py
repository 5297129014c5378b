"""A static page of one or several runs: a row for each vector, a column for each run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .results import Results
from .vectors import Vector

SMALL = 4096
"""Bytes of a file that the page holds."""
PAGE = Path(__file__).with_name("matrix.html")


def page(runs: Sequence[Results], vectors: Iterable[Vector]) -> str:
    """Return the page."""
    told = [{one["id"]: one for one in run.vectors} for run in runs]
    known = {vector.id: vector for vector in vectors}
    ids = sorted({id for lines in told for id in lines})
    rows = [{"id": id, **_vector(known.get(id), known), "cells": [lines.get(id) for lines in told]}
            for id in ids]  # fmt: skip
    columns = [{**run.header, **run.footer, "type": "column"} for run in runs]
    data = json.dumps({"columns": columns, "rows": rows})
    data = data.replace("<", "\\u003c")  # no tag can end the script that it stands in
    return PAGE.read_text("utf-8").replace('"DATA"', data)


def _vector(vector: Vector | None, known: dict[str, Vector]) -> dict[str, Any]:
    """Return what the page says about a vector itself."""
    if vector is None:
        return {}
    said = vector.sidecar
    keys = ("why", "requirements", "flags", "result", "error", "disposition", "profile",
            "features", "size", "derived", "limits", "expect")  # fmt: skip
    found = {key: said[key] for key in keys if key in said}
    if said["size"] <= SMALL:
        data = vector.file.read_bytes()
        found["bytes"] = base64.b64encode(data).decode()
        base = known.get(said.get("derived", {}).get("base", ""))
        found["changed"] = changed(base.file.read_bytes(), data) if base else []
    return found


def changed(base: bytes, data: bytes) -> list[list[int]]:
    """Return the ranges [start, stop) of bytes that are not those of the base.

    Where the lengths differ, that is all between what both begin with and what both end with.
    """
    if len(base) == len(data):
        places = [at for at in range(len(data)) if base[at] != data[at]]
        runs = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
        found = [[at for _, at in run] for _, run in runs]
        return [[run[0], run[-1] + 1] for run in found]
    short = min(len(base), len(data))
    head = next((at for at in range(short) if base[at] != data[at]), short)
    rest = short - head
    tail = next((at for at in range(rest) if base[-1 - at] != data[-1 - at]), rest)
    return [[head, max(len(data) - tail, head)]]
