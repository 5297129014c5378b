"""The kinds of nodes, by id (SPEC 8). To teach nnpack another: `kinds=KINDS | {200: Mine}`."""

from __future__ import annotations

from typing import Final

from nnpack.abc import Node
from nnpack.nodes.codebook import Codebook
from nnpack.nodes.concat import Concat
from nnpack.nodes.constant import Constant
from nnpack.nodes.csr import Csr
from nnpack.nodes.dense import Dense
from nnpack.nodes.opaque import Opaque
from nnpack.nodes.quantized import Quantized

KINDS: Final[dict[int, type[Node]]] = {
    kind.id: kind for kind in (Dense, Constant, Csr, Codebook, Quantized, Concat, Opaque)
}
