"""The vectors, an area a module; each has `vectors()`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

AREAS = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
