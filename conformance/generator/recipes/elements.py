"""Blocks of the usual and the largest size; counts and tables of 16 bits and more (SPEC 8, 9)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator import dtypes
from conformance.generator import operations as o
from conformance.generator.areas.canonical import canonical
from conformance.generator.areas.sections import tensor
from conformance.generator.coded import bad, noise, one, some
from conformance.generator.derive import broken, having, of_tree
from conformance.generator.encoders import transforms, zstd
from conformance.generator.encoders.leaf import RAW, leaf, of, zstd_runs
from conformance.generator.kinds import codebook, csr
from conformance.generator.kinds import of as dense_of
from conformance.generator.tree import dense, raw
from conformance.generator.vector import Content, Vector, blob_of, tensor_of

USUAL = 1 << 18
"""Cells of the block that a writer should use."""
MOST = 8 << 20
"""Bytes of a plane-block."""


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from counts()
    yield _full_table()
    yield from _usual()
    yield from _largest()
    yield _canonical()


def counts() -> Iterator[Vector]:
    """Return rows with more elements than 16 bits count."""
    stored = 70_000 + 65_536
    distances = dense_of("uint1", [i & 1 for i in range(70_000)] + [0] * 65_536)
    values = dense("uint8", (stored,), noise("csr", stored))
    tree = csr((2, 1 << 17), 1 << 17, b"\x07", dense_of("uint32", [70_000, 65_536]), distances,
               values)  # fmt: skip
    base = of_tree("large/counts", "Two rows have 70,000 and 65,536 stored elements.",
                   ["R-CSR-008", "R-CSR-009"], tree, ([0, 104_990], [2, 105_010]),
                   ([1, 65_530], [2, 65_540]), flags=["integer-overflow"])  # fmt: skip
    yield base
    for slug, why, wrong in (
        ("low", "In 16 bits the counts add up to what is stored.", [4464, 65_536]),
        ("high", "The second row counts one element more than is stored.", [70_000, 65_537]),
    ):
        yield broken(f"large/counts-{slug}", why, ["R-CSR-008"], "bad-index", base,
                     having(tree, counts=dense_of("uint32", wrong)),
                     flags=["out-of-bounds", "integer-overflow"])  # fmt: skip


def _full_table() -> Vector:
    entries, many = 1 << 16, 1 << 17
    table = dense("float32", (1, entries), noise("table", 4 * entries))
    indices = dense_of("uint16", [i * 40_503 & 65_535 for i in range(many)])
    tree = codebook((many,), table, indices)
    return of_tree("large/full-uint16", "65,536 entries for indices of 16 bits.",
                   ["R-CBK-008", "R-CBK-010"], tree, ([many - 3], [many]),
                   flags=["over-validation"])  # fmt: skip


def _usual() -> Iterator[Vector]:
    ids = ["R-STR-008", "R-STR-016"]
    many = 3 * USUAL + 5
    image = noise("floats", 4 * many)
    yield one("large/blocks", "Four raw blocks, the last of five cells.", ids, "float32", image,
              raw("float32", image), alignment=6,
              slices=[(USUAL - 2, USUAL + 2), (3 * USUAL - 1, many), (many - 1, many)])  # fmt: skip
    image = some("int4", 4 * USUAL + 3)
    yield one("large/blocks-of-int4", "Four blocks of 128 KiB and one of three cells.", ids,
              "int4", image, raw("int4", image),
              slices=[(USUAL - 3, USUAL + 3), (4 * USUAL - 1, 4 * USUAL + 2)])  # fmt: skip
    bits = noise("coded", 3 * many)
    image = b"".join(bits[at : at + 3] + b"\x3f" for at in range(0, len(bits), 3))
    coders = [RAW, RAW, RAW, zstd_runs()]
    yield one("large/blocks-coded", "In four planes of four blocks, the last plane is coded.",
              ["R-STR-008", "R-STR-017"], "float32", image,
              leaf("float32", image, transforms.BYTES, coders),
              slices=[(2 * USUAL - 2, 2 * USUAL + 2)])  # fmt: skip


def _largest() -> Iterator[Vector]:
    many = 1 << 20
    image = noise("cells", many + 3)
    yield one("large/most-cells", "A block of 2^20 cells, the most, and one of three.",
              ["R-STR-002"], "uint8", image, raw("uint8", image, log2=20),
              slices=[(many - 2, many + 2)])  # fmt: skip
    image = noise("bytes", MOST + 8)
    whole = one("large/most-bytes", "A raw plane-block of 8 MiB, the most, and one of eight "
                "bytes.", ["R-STR-002", "R-STR-009"], "float64", image,
                raw("float64", image, log2=20), slices=[(many - 1, many + 1)],
                flags=["over-validation"])  # fmt: skip
    yield whole
    yield bad("large/stored-above", "A plane-block has 8 MiB and one byte.", "R-STR-009",
              "bad-value", whole, o.store(0, 0, MOST, b"", b"\0"), flags=["oom"],
              profile="R0")  # fmt: skip
    image = noise("complex", MOST)
    yield one("large/most-complex", "A raw plane-block of 2^19 cells of 16 bytes.", ["R-STR-002"],
              "complex128", image, raw("complex128", image, log2=19),
              slices=[((1 << 19) - 1, 1 << 19)])  # fmt: skip
    yield _nearly_raw()


def _nearly_raw() -> Vector:
    """Return a frame that is one byte shorter than its plane."""
    run = 206  # so many zeros, in a block of four bytes, make up for all heads but one byte
    image = noise("nearly", MOST - run) + bytes(run)
    rest = range(0, MOST - run, 1 << 17)
    frame = zstd.header(MOST, width=4)
    frame += b"".join(zstd.block(zstd.RAW, image[at : min(at + (1 << 17), MOST - run)])
                      for at in rest)  # fmt: skip
    frame += zstd.block(zstd.RLE, b"\0", run, last=True)
    if len(frame) != MOST - 1:
        raise ValueError(f"the frame has {len(frame)} bytes")
    return one("large/nearly-raw", "A coded plane-block of one byte less than its 8 MiB.",
               ["R-STR-012", "R-STR-011"], "float64", image,
               leaf("float64", image, log2=20, coders=[of(1, frame, profile="R2")]),
               flags=["over-validation"])  # fmt: skip


def _canonical() -> Vector:
    blocks = "Leaves of 1 and 8 bits and a blob are a few cells longer than a block."
    data = noise("canonical", USUAL + 3)
    bits = dtypes.image("bool", (byte & 1 for byte in noise("bits", USUAL + 9)))
    blob = blob_of("blob", data)
    return canonical(
        "blocks", blocks, ["R-CAN-006", "R-CAN-005"],
        _in_hex(tensor_of("bytes", dense("uint8", (len(data),), data), alignment=6), data),
        _in_hex(tensor_of("bits", dense("bool", (len(bits),), bits), alignment=6), bits),
        Content(blob.section, {"blobs": {"blob": data.hex()}}, blob.profile),
        tensor("few", 1), area="large",
    )  # fmt: skip


def _in_hex(content: Content, image: bytes) -> Content:
    """Return a tensor whose image stands in hex, as an encoder needs it."""
    (said,) = content.model["tensors"]
    return Content(content.section, {"tensors": [{**said, "image": image.hex()}]}, content.profile)
