"""The vectors, an area a module; each has `vectors()`."""

from __future__ import annotations

from conformance.generator.areas import header, leaves, sections, start

AREAS = (start, header, sections, leaves)
