"""Vectors too large to be committed, a module each area; `large` is in the ids of all."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

RECIPES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
