"""What a reader can decode: built in, or passed by the caller. Never found by what a file says."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, cast

from nnpack.abc import AnyCodec, Codec, Node
from nnpack.bindings import FIRST_PRIVATE, Bindings
from nnpack.codecs import CODECS
from nnpack.dtypes import BY_ID, DType, count
from nnpack.errors import Invalid, error, located
from nnpack.nodes import KINDS
from nnpack.nodes.dense import Dense
from nnpack.nodes.opaque import Decoder, Opaque
from nnpack.source import Source
from nnpack.stream import Stream
from nnpack.streamhead import StreamHead
from nnpack.transforms import TRANSFORMS
from nnpack.tree import CODEC, DTYPE, KIND, TRANSFORM, NodeHead
from nnpack.wire import Cursor


class Plugins:
    """What a reader can decode, with the names that a file binds to its private ids."""

    def __init__(
        self,
        codecs: Mapping[int, AnyCodec] | None = None,
        kinds: Mapping[Any, Any] | None = None,
    ) -> None:
        """Sort what callers pass; private plug-ins go by name: their ids may differ from a file's.

        Args:
            codecs: by id, besides or instead of the built-in ones.
            kinds: by id, and decoders of foreign formats by name.
        """
        kinds = kinds or {}
        self.bindings: Bindings = {}
        self.decoders: dict[str, Decoder] = {
            key: decoder for key, decoder in kinds.items() if isinstance(key, str)
        }
        self._known: dict[int, Mapping[int, Any]] = {
            KIND: {**KINDS, **{key: kind for key, kind in kinds.items() if isinstance(key, int)}},
            CODEC: {**CODECS, **(codecs or {})},
            DTYPE: BY_ID,
            TRANSFORM: TRANSFORMS,
        }
        self._private = {
            (number, thing.name): thing
            for number in (KIND, CODEC)
            for key, thing in self._known[number].items()
            if key >= FIRST_PRIVATE
        }

    def bound(self, bindings: Bindings) -> Plugins:
        """Return the same for a file that binds private ids to names."""
        plugins = copy(self)
        plugins.bindings = bindings
        return plugins

    def find(self, number: int, key: int) -> object | None:
        """Return what an id of a class stands for, or None if it is not known here."""
        if key < FIRST_PRIVATE:
            return self._known[number].get(key)
        return self._private.get((number, self.bindings.get((number, key), "")))

    def unknown(self, root: NodeHead) -> list[str]:
        """Name what a tree needs and is not here; require that private ids are bound."""
        names = {KIND: "kind", DTYPE: "dtype", TRANSFORM: "transform", CODEC: "codec"}
        missing: list[str] = []
        for number, key in dict.fromkeys(root.ids()):
            if key >= FIRST_PRIVATE and (number, key) not in self.bindings:
                raise error(
                    "missing",
                    f"no name is bound to the private {names[number]} {key}",
                    offset=root.offset,
                )
            thing = self.find(number, key)
            if thing is None:
                called = self.bindings.get((number, key), str(key))
                missing.append(f"{names[number]} {called}")
            elif number == CODEC and isinstance(thing, Codec) and not thing.is_installed:
                missing.append(f'codec {thing.name} (pip install "nnpack-format[codecs]")')
        return missing

    def build(self, head: NodeHead, source: Source) -> Node:
        """Return the value that a tree of known ids describes, its leaves in the file."""
        dtype = BY_ID[head.dtype]
        with located(head.offset):
            if head.stream:
                stream = self._stream(head, head.stream, dtype, source)
                return Dense.of_source(stream, head.shape, dtype)
            kind = cast("type[Node]", self.find(KIND, head.kind))
            parts = {part.role: self.build(part, source) for part in head.parts}
            _check_roles(kind, parts)
            cursor = Cursor(head.parameters, head.offset)
            node = kind.from_parts(head.shape, dtype, cursor, parts)
            cursor.finish(f"the parameters of a {kind.name} node")
            if isinstance(node, Opaque):
                node = node.with_decoder(self.decoders.get(node.format))
        return node

    def _stream(self, head: NodeHead, stream: StreamHead, dtype: DType, source: Source) -> Stream:
        codecs = [cast("AnyCodec", self.find(CODEC, key)) for key in stream.codecs]
        transform = TRANSFORMS[stream.transform]
        return Stream(stream, dtype, count(head.shape), head.start, transform, codecs, source)


def _check_roles(kind: type[Node], parts: Mapping[int, Node]) -> None:
    """Check that a node has the parts of its kind."""
    unknown = parts.keys() - kind.roles.keys()
    missing = kind.roles.keys() - kind.optional - parts.keys()
    if unknown or missing:
        raise Invalid("bad-node", f"a {kind.name} node with roles {sorted(parts)}")
