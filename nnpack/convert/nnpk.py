"""nnpack's own files: typed values, aliases, graphs and blobs stay what they are."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager

from nnpack import container, graph, reader
from nnpack.bindings import FIRST_PRIVATE, Bindings
from nnpack.convert.model import Model, Options, Summary, blame, reported
from nnpack.convert.source import Origin, Pipe
from nnpack.convert.target import Target
from nnpack.duplicates import deduplicates
from nnpack.errors import error
from nnpack.metadata import is_key
from nnpack.reader import Reader
from nnpack.sections import check_cost, check_pieces, check_stored
from nnpack.sequential import Item, Stream
from nnpack.tensor import Tensor
from nnpack.writer import Writer


@contextmanager
def read(origin: Origin, options: Options, summary: Summary) -> Iterator[Model]:
    """Open a file, or read a pipe in order."""
    if isinstance(origin, Pipe):
        with closing(_in_order(origin, options, summary)) as arriving:
            yield Model(_usable(arriving, options, summary), None, lasting=False)
        return
    with reader.open(origin, limits=options.limits, threads=options.threads) as file:
        wanted = (tensor for tensor in file.values() if options.want(tensor.name))
        sizes = {tensor.section.offset: tensor.nbytes for tensor in wanted}
        items = _items(file, options, summary)
        total = sum(sizes.values())
        yield Model(_usable(items, options, summary), total, lasting=True, bindings=file.bindings)


def _items(file: Reader, options: Options, summary: Summary) -> Iterator[Item]:
    """Yield sections in order; an alias of what is not wanted becomes a tensor."""
    stand_ins: dict[str, str] = {}
    for section in file.directory:
        name = section.name
        match section.type:
            case container.TENSOR if options.want(name):
                stand_ins[name] = name
                yield Item("tensor", name, file[name])
            case container.ALIAS if options.want(name):
                tensor = file[name]
                target = tensor.section.name
                if target in stand_ins:
                    yield Item("alias", name, stand_ins[target])
                else:
                    stand_ins[target] = name
                    yield Item("tensor", name, tensor)
            case container.GRAPH:
                yield Item("graph", name, file.graphs[name])
            case container.BLOB:
                yield Item("blob", name, file.blobs[name])
            case container.METADATA:
                yield Item("metadata", "", file.metadata)
            case container.DIGESTS:
                # The target has others or none, which would hide what these tell.
                check_pieces(section, file.source)
                _drop_digests(options, summary)
            case kind if kind not in container.TYPE_NAMES:
                summary.lose("ancillary section of unknown type", name)


def _in_order(pipe: Pipe, options: Options, summary: Summary) -> Generator[Item, None, None]:
    """Yield sections as they arrive."""
    stream = Stream(pipe, options.limits)
    for item in stream.items():
        if item.type not in {"tensor", "alias"} or options.want(item.name):
            if item.type == "alias" and not options.want(item.value):
                raise error(
                    "unsupported",
                    f"an alias of {item.value!a}, which is not converted and has gone by: "
                    "convert a file, not a pipe",
                    section=item.name,
                )
            if item.value is None:
                raise error(
                    "unsupported",
                    f"the {item.type} is in an unknown codec",
                    section=item.name or f"({item.type})",
                )
            yield item
    if stream.has(container.DIGESTS):
        _drop_digests(options, summary)


def _drop_digests(options: Options, summary: Summary) -> None:
    """Say that the digests and the root of the source are not those of the target."""
    if summary.target_format != "nnpk":
        summary.note(f"the digests of the source are left out; {summary.target_format} has none")
    elif not options.digests:
        summary.note("the digests of the source are left out; --digests makes new ones")


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
        target,
        profile=options.profile,
        digests=options.digests,
        threads=options.threads,
        bindings=model.bindings,
        deduplicate=model.lasting and deduplicates(options.profile),
    ) as writer:
        for item in reported(model.items, model.total, options.progress):
            _add(writer, item, options, summary, model.bindings)
    summary.root = writer.root


def _add(
    writer: Writer, item: Item, options: Options, summary: Summary, bindings: Bindings
) -> None:
    match item.type:
        case "tensor":
            with blame(item.name):
                _add_tensor(writer, item, options, bindings)
            summary.tensors += 1
        case "alias":
            writer.add_alias(item.name, item.value)
            summary.aliases += 1
        case "graph":
            writer.add_graph(item.name, item.value)
        case "blob":
            writer.add_blob(item.name, item.value)
        case _:
            unknown = [key for key in item.value if not is_key(key)]
            for key in unknown:
                summary.lose("metadata key of a later version", key)
            writer.set_metadata({k: v for k, v in item.value.items() if k not in unknown})


def _add_tensor(writer: Writer, item: Item, options: Options, bindings: Bindings) -> None:
    value = item.value
    if not isinstance(value, Tensor):
        writer.add(item.name, value)
    elif value.supported:
        check_cost(value.section, value.head, value.node, options.limits)
        writer.add(item.name, value.node)
    else:
        _copy(writer, item.name, value, bindings)


def _copy(writer: Writer, name: str, tensor: Tensor, bindings: Bindings) -> None:
    """Copy the bytes of a tensor that cannot be decoded, once their checksums are right."""
    unbound = [key for key in tensor.head.ids() if key[1] >= FIRST_PRIVATE and key not in bindings]
    if unbound:
        raise error(
            "unsupported",
            f"the private id {unbound[0][1]} has no name here: convert a file, not a pipe",
        )
    check_stored(tensor.section, tensor.head, tensor.source)
    writer.copy(tensor.section, tensor.source, name)
