"""The metadata keys that SPEC 12.1 defines, and what a file says there, which may be anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

ORIGIN: Final = "nnpack.origin"
"""What tensors were in a foreign format, and which aliases a writer made."""
SALVAGED: Final = "nnpack.salvaged"
"""What a salvaged file kept and lost."""
OWN_KEYS: Final = (ORIGIN, SALVAGED)

_MADE: Final[dict[str, Any]] = {"deduplicated": True}


def is_key(key: str) -> bool:
    """Return whether metadata may have this key: those that begin with "nnpack." are reserved."""
    return not key.startswith("nnpack.") or key in OWN_KEYS


def origin_of(metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what `nnpack.origin` says of tensors, by their names.

    The key may hold any JSON: what is not an object says nothing.
    """
    return {name: said for name, said in _members(metadata).items() if isinstance(said, dict)}


def is_made(said: Any) -> bool:
    """Return whether nothing else is said of a name than that a writer made it an alias."""
    return bool(said == _MADE)


def deduplicated(metadata: Mapping[str, Any]) -> set[str]:
    """Return the aliases that a writer made because two tensors were equal."""
    return {name for name, of in origin_of(metadata).items() if of.get("deduplicated") is True}


def with_deduplicated(metadata: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return metadata that say of these names too that a writer made them aliases.

    What stands in the key's place and is no object gives way.
    """
    said = origin_of(metadata)
    made = {name: said.get(name, {}) | _MADE for name in names}
    return {**metadata, ORIGIN: _members(metadata) | made}


def _members(metadata: Mapping[str, Any]) -> dict[str, Any]:
    origin = metadata.get(ORIGIN)
    return origin if isinstance(origin, dict) else {}
