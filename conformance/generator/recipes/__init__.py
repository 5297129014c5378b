"""Vectors too large to be committed, a module each area; `large` is in the ids of all."""

from __future__ import annotations

from conformance.generator.recipes import container, digests, elements, texts

RECIPES = (container, digests, elements, texts)
