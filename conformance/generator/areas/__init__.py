"""The vectors, an area a module; each has `vectors()`."""

from __future__ import annotations

from conformance.generator.areas import header, start

AREAS = (start, header)
