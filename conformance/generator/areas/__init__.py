"""The vectors, an area a module; each has `vectors()`."""

from __future__ import annotations

from conformance.generator.areas import (
    bindings,
    digests,
    directory,
    graphs,
    header,
    leaves,
    metadata,
    names,
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
)
