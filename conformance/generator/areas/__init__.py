"""The vectors, an area a module; each has `vectors()`."""

from __future__ import annotations

from conformance.generator.areas import (
    bindings,
    canonical,
    digests,
    directory,
    graphs,
    header,
    leaves,
    limits,
    metadata,
    names,
    order,
    sections,
    start,
    unknown,
)

AREAS = (
    start,
    header,
    sections,
    leaves,
    names,
    bindings,
    directory,
    unknown,
    metadata,
    graphs,
    digests,
    order,
    canonical,
    limits,
)
