"""Trees of several kinds: schemes in use, and faults deep inside (SPEC 8, appendix B)."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.generator.derive import broken, having, of_tree, within
from conformance.generator.kinds import codebook, concat, csr, of, quantized, real, same
from conformance.generator.tree import Tree
from conformance.generator.vector import Vector

F32, F16 = "float32", "float16"


def double() -> Tree:
    """Return NF4 with double quantization: both nodes flat, the inner one with a bias."""
    nf4 = real(F32, "-1", "-0.6961928", "-0.5250731", "-0.3949175", "-0.2844414", "-0.1847734",
               "-0.0910500", 0, "0.0795803", "0.1609302", "0.2461123", "0.3379152", "0.4407098",
               "0.5626170", "0.7229568", 1, shape=(1, 1, 16))  # fmt: skip
    codes = codebook((3, 4), nf4, of("uint4", [i * 5 % 16 for i in range(12)], (3, 4)))
    dynamic = real(F32, *(f"{i}/255" for i in range(256)), shape=(1, 256))
    absmax = quantized(F32, codebook((3,), dynamic, of("uint8", [255, 3, 128])),
                       real(F32, "0.37", "0.021"), flat_block=2,
                       bias=same(F32, (2,), 0x3DCCCCCD))  # fmt: skip
    return quantized("bfloat16", codes, absmax, flat_block=5)


def pruned() -> Tree:
    """Return csr of codebook indices: values shared, positions sparse, then a scale a row."""
    values = codebook((4,), of("int8", [-100, 3, 50], (1, 3)), of("uint2", [2, 0, 1, 2]))
    sparse = csr((3, 4), 4, b"\0", of("uint2", [1, 0, 3]), of("uint2", [3, 0, 0, 1]), values)
    return quantized(F16, sparse, real(F16, "0.1", 2, "-0.3", shape=(3, 1)), block=[1, 0])


def schemes() -> Iterator[Vector]:
    """Return trees that schemes in use need."""
    e8, e4 = "float8_e8m0fnu", "float8_e4m3fn"
    fours = of("float4_e2m1fn", range(16), (2, 8))
    table = of("uint16", range(1, 17), (1, 1, 16))
    zero = codebook((2, 2), table, of("uint4", [7, 15, 0, 8], (2, 2)))
    m = quantized(F32, of("uint6", [5, 60, 0, 33], (1, 4)), real(F16, "0.0071", "0.3",
                  shape=(1, 2)), block=[0, 2])  # fmt: skip
    scale = quantized(F32, of("uint6", [63, 1, 17, 32], (1, 4)), real(F16, "0.013", "0.2",
                      shape=(1, 2)), block=[0, 2])  # fmt: skip
    signs = codebook((2, 4), of("int8", [1, -1], (1, 1, 2)), of("uint1", [0, 1] * 4, (2, 4)))
    grid = codebook((2, 4), of("int8", [8, 25, 43, 8], (1, 1, 2, 2)), of("uint1", [0, 1, 1, 0],
                    (2, 2)), None, 2, 1)  # fmt: skip
    scales = codebook((3,), real(F16, "0.5", "0.1", shape=(1, 2)), of("uint1", [0, 1, 1]))
    zeros = codebook((3,), of("int8", [0, 7], (1, 2)), of("uint1", [1, 1, 0]))
    stored = quantized(F32, of("int8", [5, -3, 100]), scales, block=[1], zero=zeros)
    cases = (
        ("mxfp4", "float4 codes with float8_e8m0fnu scales.",
         quantized(F32, fours, of(e8, [0, 127, 128, 254], (2, 2)), block=[1, 4])),
        ("nvfp4", "float4 codes, scales of float8 divided by one float32.",
         quantized("bfloat16", fours, quantized(F32, of(e4, [0x38, 0x7E, 1, 0x45], (2, 2)),
                                                real(F32, "37.5", shape=(1, 1)), divide=True),
                   block=[1, 4])),
        ("gptq", "Zero points through a codebook and groups in any order.",
         quantized(F16, of("uint4", [i * 7 % 16 for i in range(8)], (4, 2)),
                   real(F16, "0.1", "0.2", "0.3", "0.4", shape=(2, 2)), block=[2, 1], zero=zero,
                   group_index=of("uint8", [1, 0, 0, 1]))),
        ("q4-k", "Scales and minima that are quantized themselves.",
         quantized(F32, of("uint4", range(16), (1, 16)), scale, min=m, block=[0, 4])),
        ("iq", "Codes that are signs times magnitudes, an inner block of one element.",
         quantized(F32, quantized(F32, signs, grid, block=[1, 1]), real(F32, "0.1", "0.7",
                   shape=(2, 1)), block=[1, 0])),
        ("nf4-double", "Codebooks for codes and scales, flat runs over both.", double()),
        ("joint-sparsity", "A csr whose values are quantized with operands by codebook.",
         csr((2, 4), 4, bytes(4), of("uint8", [1, 2]), of("uint8", [2, 0, 1]), stored)),
        ("pruned", "Quantized over csr over codebook.", pruned()),
        ("csr-of-codebook", "A csr whose values are a codebook of a constant table.",
         csr((6,), 6, b"\x05", of("uint3", [3]), of("uint3", [0, 0, 2]),
             codebook((3,), same("uint8", (1, 2), 8), of("uint1", [0, 1, 1])))),
        ("codebook-of-constant", "A constant index into a quantized table.",
         codebook((2, 2), quantized(F16, of("int4", [-8, 7], (1, 1, 2)),
                                    real(F16, "0.1", shape=(1, 1, 1))), same("uint1", (2, 2), 1))),
        ("concat-of-quantized", "Rows quantized in two ways, side by side.",
         concat(0, quantized(F32, of("int8", [1, -2, 3, -4], (2, 2)), real(F32, "0.1", "0.2",
                             shape=(2, 1)), block=[1, 0]),
                quantized(F32, of("uint4", [15, 1], (1, 2)), real(F16, 3, shape=(1, 1)),
                          zero=of("uint4", [8], (1, 1))))),
        ("fill-is-code", "The fill of a csr of codes is a code, which the zero point cancels.",
         quantized(F32, csr((5,), 5, b"\x08", of("uint4", [2]), of("uint4", [1, 1]),
                            of("uint4", [0, 15])), real(F32, "-0.5"), zero=of("uint4", [8]))),
    )  # fmt: skip
    for slug, why, tree in cases:
        whole = ([0] * len(tree.shape), tree.shape)
        yield of_tree(f"nesting/{slug}", why, ["R-QNT-018", "R-QNT-014"], tree, whole,
                      flags=["silent-wrong-value"])  # fmt: skip
    yield of_tree("nesting/levels-8", "Quantized over quantized, eight levels deep.",
                  ["R-NOD-013", "R-QNT-018"], tower(), flags=["silent-wrong-value"])  # fmt: skip


def tower() -> Tree:
    """Return seven quantized nodes on a leaf, rounded to another type at each."""
    tree = of("int8", [77, -33, 101, 1])
    for level in range(7):
        dtype = ("float16", "bfloat16", F32)[level % 3]
        tree = quantized(dtype, tree, real(F32, f"1.{level + 1}"))
    return tree


def faults() -> Iterator[Vector]:
    """Return faults of inner nodes."""
    tree = pruned()
    base = of_tree("nesting/base", "Four kinds in one tree.", ["R-QNT-018"], tree,
                   ([2, 1], [3, 4]))  # fmt: skip
    yield base
    cases = (
        ("index", "An index of the codebook in the csr in the codes is K.", ["R-CBK-010"],
         "bad-index", within_part(tree, "codes/values", indices=of("uint2", [2, 0, 1, 3]))),
        ("column", "A column of the codes' csr is out of its row.", ["R-CSR-008"], "bad-index",
         within_part(tree, "codes", gaps=of("uint2", [3, 0, 0, 3]))),
        ("inner-shape", "The codes' csr counts two rows of three.", ["R-CSR-005"], "bad-shape",
         within_part(tree, "codes", counts=of("uint2", [1, 3]))),
        ("inner-dtype", "The table of the inner codebook is uint8.", ["R-NOD-016"], "bad-dtype",
         within(tree, "codes/values/table", dtype_id=0x18)),
        ("inner-reserved", "A reserved byte of the innermost node is set.", ["R-NOD-006"],
         "reserved-nonzero", within(tree, "codes/values/indices",
                                    override={"zeros": b"\0\0\1"})),
    )  # fmt: skip
    for slug, why, rules, error, wrong in cases:
        yield broken(f"nesting/{slug}", why, rules, error, base, wrong)


def within_part(tree: Tree, path: str, **parts: Tree) -> Tree:
    """Return a tree with other parts in the node at a path."""
    node = tree
    for name in path.split("/"):
        node = node.parts[name][1]
    return within(tree, path, parts=having(node, **parts).parts)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield from schemes()
    yield from faults()
