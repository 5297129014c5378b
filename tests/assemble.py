"""An unchecked assembler: builds files field by field, invalid ones too, with right checksums.

It shares no code with the package, so that a misreading of SPEC.md cannot hide in both.
"""

import struct
import zlib
from dataclasses import dataclass, field, replace

HEADER = b"\x89NNP\r\n\x1a\n" + struct.pack("<HHI", 1, 0, 0)
TENSOR, GRAPH, METADATA, ALIAS, BLOB, NAMES, DIRECTORY, DIGESTS = range(1, 9)
DENSE, CONSTANT, CSR, CODEBOOK, QUANTIZED, CONCAT, OPAQUE = range(1, 8)
UINT8, UINT16, UINT32, INT8, FLOAT32, BFLOAT16 = 0x18, 0x19, 0x1A, 0x28, 0x3A, 0x49


def up8(size):
    return (size + 7) & -8


def node(kind, dtype, shape=(), parameters=b"", parts=(), *, role=0, **override):
    """One node; `override` replaces what follows from the rest: rank, count, plen, length."""
    parts = b"".join(parts)
    size = 16 + 8 * len(shape) + len(parameters) + len(parts)
    fields = {
        "rank": len(shape),
        "count": None,
        "zeros": bytes(3),
        "plen": len(parameters),
        "length": size,
    }
    fields |= override
    count = fields["count"]
    if count is None:
        count, at = 0, 0
        while at < len(parts):
            at += struct.unpack_from("<I", parts, at + 12)[0]
            count += 1
    head = struct.pack("<BBBBB3sII", kind, role, dtype, fields["rank"], count, fields["zeros"],
                       fields["plen"], fields["length"])  # fmt: skip
    return head + struct.pack(f"<{len(shape)}Q", *shape) + parameters + parts


def stream(stored, *, transform=0, log2=18, codecs=(0,), parameter=0):
    """Parameters of a dense node for these stored plane-blocks."""
    fixed = bytes([transform, log2, len(codecs), parameter, *codecs])
    entries = b"".join(struct.pack("<II", len(data), zlib.crc32(data)) for data in stored)
    return fixed.ljust(up8(len(fixed)), b"\0") + entries


def dense(dtype, shape, data, *, role=0, **options):
    """A dense node of raw blocks of 2^18 bytes, which is cells for uint8."""
    blocks = [data[at : at + (1 << 18)] for at in range(0, len(data), 1 << 18)]
    return node(DENSE, dtype, shape, stream(blocks, **options), role=role)


@dataclass
class Part:
    """One section before it has a place."""

    type: int
    name: bytes = b""
    body: bytes = b""
    payload: bytes = b""
    flags: int = 0
    alignment: int = 3
    listed: dict = field(default_factory=dict)
    """What the directory says otherwise."""

    def head(self, offset):
        name = self.name.ljust(up8(len(self.name)), b"\0")
        length = 32 + len(name) + len(self.body)
        fixed = struct.pack("<4sHHIHBBQII", b"\x89SEC", self.type, self.flags, length, len(self.name),
                            self.alignment, 0, len(self.payload), 0, 0)  # fmt: skip
        whole = fixed + name + self.body
        crc = zlib.crc32(whole, zlib.crc32(struct.pack("<Q", offset)))
        return whole[:28] + struct.pack("<I", crc) + whole[32:]


def tensor(name, tree, payload=b"", **options):
    return Part(TENSOR, name.encode() if isinstance(name, str) else name, tree, payload, **options)


def floats(name, *values, **options):
    data = struct.pack(f"<{len(values)}f", *values)
    return tensor(name, dense(FLOAT32, (len(values),), data), data, **options)


def text(kind, name, data):
    return Part(kind, name, dense(UINT8, (len(data),), data), data)


def alias(name, target):
    raw = struct.pack("<H", len(target)) + target
    return Part(ALIAS, name, raw.ljust(up8(len(raw)), b"\0"))


def assemble(*parts, header=HEADER, listing=None):
    """The file; `listing` changes the decoded directory before it is stored."""
    out, rows = bytearray(header), []
    for part in parts:
        offset = len(out)
        out += part.head(offset)
        unit = 1 << part.alignment
        out += bytes(-len(out) % unit) + part.payload
        out += bytes(-len(out) & 7)
        seen = replace(
            part, **{k: v for k, v in part.listed.items() if k not in {"offset", "length"}}
        )
        length = part.listed.get("length", len(seen.payload))
        rows.append((part.listed.get("offset", offset), length, seen))
    columns = [struct.pack("<Q", len(rows))]
    for form, value in (
        ("Q", lambda r: r[0]), ("Q", lambda r: r[1]),
        ("I", lambda r: 32 + up8(len(r[2].name)) + len(r[2].body)),
        ("H", lambda r: r[2].type), ("H", lambda r: r[2].flags),
        ("H", lambda r: len(r[2].name)), ("B", lambda r: r[2].alignment),
    ):  # fmt: skip
        columns.append(struct.pack(f"<{len(rows)}{form}", *map(value, rows)))
    columns += [b"\n".join(r[2].name for r in rows), *(r[2].body for r in rows)]
    data = b"".join(columns)
    return finish(out, listing(data) if listing else data)


def finish(out, data):
    """Append directory section and trailer."""
    offset = len(out)
    section = Part(DIRECTORY, b"", dense(UINT8, (len(data),), data), data)
    out += section.head(offset) + data
    out += bytes(-len(out) & 7)
    pointers = struct.pack("<QQ", offset, len(out) - offset)
    crc = zlib.crc32(out[:16] + out[offset:] + pointers)
    return bytes(out + pointers + struct.pack("<II", crc, 0) + b"\x89NNPEND\n")
