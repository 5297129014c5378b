"""The conformance kit's assembler, and what tests build most often with it."""

import struct
import zlib

from conformance.generator.assemble import *  # noqa: F403
from conformance.generator.assemble import (
    CONSTANT,
    DENSE,
    DIRECTORY,
    END,
    TENSOR,
    Section,
    byte_leaf,
    node,
    stream,
)
from conformance.generator.dtypes import IDS

UINT8, UINT16, UINT32, INT8, FLOAT32, BFLOAT16 = map(IDS.get, ("uint8", "uint16", "uint32", "int8", "float32", "bfloat16"))  # fmt: skip
Part = Section


def dense(dtype, shape, data, *, role=0, **options):
    """A dense node of raw blocks of 2^18 bytes, which is cells for uint8."""
    blocks = [data[at : at + (1 << 18)] for at in range(0, len(data), 1 << 18)]
    return node(DENSE, dtype, shape, stream(blocks, **options), role=role)


def tensor(name, tree, payload=b"", **options):
    return Section(
        TENSOR, name.encode() if isinstance(name, str) else name, tree, payload, **options
    )


def floats(name, *values, **options):
    data = struct.pack(f"<{len(values)}f", *values)
    return tensor(name, dense(FLOAT32, (len(values),), data), data, **options)


W = floats("w", 1, 2)


def constant(shape, dtype=UINT8, role=0, cell=0):
    return node(CONSTANT, dtype, shape, struct.pack("<Q", cell), role=role)


def finish(out, data):
    """Append a directory of these decoded bytes and the trailer."""
    offset = len(out)
    out += Section(DIRECTORY, b"", byte_leaf(data), data).head(offset) + data
    out += bytes(-len(out) & 7)
    pointers = struct.pack("<QQ", offset, len(out) - offset)
    return bytes(
        out + pointers + struct.pack("<II", zlib.crc32(out[:16] + out[offset:] + pointers), 0) + END
    )


def directory_bytes(data):
    """The length of a file's directory as it is stored."""
    return struct.unpack_from("<Q", data, int.from_bytes(data[-32:-24], "little") + 16)[0]
