"""nnpack's own files: typed values, aliases, graphs and blobs stay what they are."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from nnpack import container, graph, reader
from nnpack.abc import Node
from nnpack.container import Section
from nnpack.convert.model import Model, Options, Summary, blame, reported
from nnpack.convert.source import Origin, Pipe, slices
from nnpack.convert.target import Target
from nnpack.encode import Payload
from nnpack.errors import error
from nnpack.reader import Reader
from nnpack.sections import check_stored
from nnpack.sequential import Item, read_stream
from nnpack.source import Source
from nnpack.tensor import Tensor
from nnpack.tree import FIRST_PRIVATE
from nnpack.writer import Writer


@dataclass(frozen=True, slots=True)
class Sealed:
    """A tensor of which parts are unknown: its bytes can be copied, not decoded.

    Attributes:
        tensor: of the file.
        source: the file's bytes.
        names: what its private ids are bound to.
    """

    tensor: Tensor
    source: Source
    names: Mapping[tuple[int, int], str]

    @property
    def node(self) -> Node:
        """Cannot be had: UnsupportedError."""
        return self.tensor.node

    @property
    def nbytes(self) -> int:
        """Bytes in memory, were it decoded."""
        return self.tensor.nbytes


@contextmanager
def read(origin: Origin, options: Options, summary: Summary) -> Iterator[Model]:
    """Open a file, or read a pipe in order."""
    if isinstance(origin, Pipe):
        with closing(_in_order(origin, options)) as arriving:
            yield Model(_usable(arriving, options, summary), None, lasting=False)
        return
    with reader.open(origin, limits=options.limits, threads=options.threads) as file:
        wanted = (tensor for tensor in file.values() if options.want(tensor.name))
        sizes = {tensor.section.offset: tensor.nbytes for tensor in wanted}
        items = _items(file, options, summary)
        yield Model(_usable(items, options, summary), sum(sizes.values()), lasting=True)


def _items(file: Reader, options: Options, summary: Summary) -> Iterator[Item]:
    """Yield sections in order; an alias of what is not wanted becomes a tensor."""
    stand_ins: dict[str, str] = {}
    for section in file.directory:
        name = section.name
        match section.type:
            case container.TENSOR if options.want(name):
                stand_ins[name] = name
                yield Item("tensor", name, _value(file, file[name]))
            case container.ALIAS if options.want(name):
                tensor = file[name]
                target = tensor.section.name
                if target in stand_ins:
                    yield Item("alias", name, stand_ins[target])
                else:
                    stand_ins[target] = name
                    yield Item("tensor", name, _value(file, tensor))
            case container.GRAPH:
                yield Item("graph", name, file.graphs[name])
            case container.BLOB:
                yield Item("blob", name, file.blobs[name])
            case container.METADATA:
                yield Item("metadata", "", file.metadata)
            case kind if kind not in container.TYPE_NAMES:
                summary.lose("ancillary section of unknown type", name)


def _value(file: Reader, tensor: Tensor) -> Tensor | Sealed:
    if tensor.supported:
        return tensor
    private = {key for key in tensor.head.ids() if key[1] >= FIRST_PRIVATE}
    return Sealed(tensor, file.source, {key: file.bindings[key] for key in private})


def _in_order(pipe: Pipe, options: Options) -> Generator[Item, None, None]:
    """Yield sections as they arrive."""
    for item in read_stream(pipe, limits=options.limits):
        if item.type not in {"tensor", "alias"} or options.want(item.name):
            if item.type == "alias" and not options.want(item.value):
                raise error(
                    "unsupported",
                    f"an alias of {item.value!a}, which is not converted and has gone by: "
                    "convert a file, not a pipe",
                    section=item.name,
                )
            yield item


def _usable(items: Iterable[Item], options: Options, summary: Summary) -> Iterator[Item]:
    """Yield items, but no graph that uses a tensor which is left out."""
    for item in items:
        if item.type == "graph" and not all(map(options.want, graph.check(item.value))):
            summary.lose("graph that uses a tensor left out", item.name)
        else:
            yield item


def write(model: Model, target: Target, options: Options, summary: Summary) -> None:
    """Write a file."""
    with Writer(
        target, profile=options.profile, digests=options.digests, threads=options.threads
    ) as writer:
        for item in reported(model.items, model.total, options.progress):
            _add(writer, item, options, summary)
    summary.root = writer.root


def _add(writer: Writer, item: Item, options: Options, summary: Summary) -> None:
    match item.type:
        case "tensor":
            with blame(item.name):
                _add_tensor(writer, item, options)
            summary.tensors += 1
        case "alias":
            writer.add_alias(item.name, item.value)
            summary.aliases += 1
        case "graph":
            writer.add_graph(item.name, item.value)
        case "blob":
            writer.add_blob(item.name, item.value)
        case _:
            writer.set_metadata(item.value)


def _add_tensor(writer: Writer, item: Item, options: Options) -> None:
    value = item.value
    if isinstance(value, Sealed):
        _copy(writer, item.name, value, options)
        return
    node: Node = value if isinstance(value, Node) else value.node
    node.check()
    writer.add(item.name, node)


def _copy(writer: Writer, name: str, sealed: Sealed, options: Options) -> None:
    """Copy the bytes of a tensor that cannot be decoded, once their checksums are right."""
    if sealed.names:
        raise error(
            "unsupported",
            f"a tensor that needs {', '.join(sorted(sealed.names.values()))} cannot be copied",
        )
    section: Section = sealed.tensor.section
    check_stored(section, sealed.tensor.head, sealed.source)
    payload = Payload(options.spool)
    for piece in slices(sealed.source, section.payload_offset, section.payload_length):
        payload.append(piece)
    writer.copy(name, section, payload, sealed.names)
