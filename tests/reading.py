"""Reading a file in every way, so that a test can ask whether anything gets in."""

import io

import nnpack


def read_random(data, **options):
    """Touch everything that a random-access reader can."""
    with nnpack.open(data, **options) as reader:
        found = {}
        for name in reader:
            tensor = reader[name]
            found[name] = (
                tensor.dtype,
                tensor.read().tobytes()
                if readable(tensor)
                else tensor.value().data.array.tobytes(),
            )
        return found, reader.metadata, dict(reader.graphs), dict(reader.blobs), reader.aliases


def readable(tensor):
    return tensor.kind != "opaque"


def read_sequential(data, **options):
    """Read a file as a stream."""
    found, graphs, blobs, aliases, metadata = {}, {}, {}, {}, {}
    for kind, name, value in nnpack.read_stream(io.BytesIO(data), **options):
        if kind == "tensor":
            raw = value.read() if readable(value) else value.value().data.array
            found[name] = (value.dtype, raw.tobytes())
        elif kind == "alias":
            found[name] = found[value]
            aliases[name] = value
        elif kind == "metadata":
            metadata = value
        else:
            (graphs if kind == "graph" else blobs)[name] = value
    return found, metadata, graphs, blobs, aliases


def fault(data, read=read_random, **options):
    """Return the class of the error that reading ends with, or None."""
    try:
        read(data, **options)
    except nnpack.NnpackError as bad:
        assert bad.offset is None or 0 <= bad.offset <= len(data)
        return bad.error_class
    return None
