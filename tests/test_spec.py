"""SPEC.md is what nnpack does: its examples, its registries, its limits, its rules' numbers."""

import io
import json
import re
import runpy
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import nnpack
from nnpack import container, convert, digest, errors, limits, memory, salvage, source
from nnpack.bindings import NAME_CLASSES
from nnpack.codecs import CODECS
from nnpack.dtypes import BY_NAME, DTYPES
from nnpack.nodes import KINDS, quantized
from nnpack.transforms import TRANSFORMS
from nnpack.verify import verify
from tests.schemes import check, constant

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "SPEC.md").read_text()
PROSE = re.sub(r"```.*?```", "", SPEC, flags=re.DOTALL)
FENCE = re.compile(
    r"```nnpack-example id=(\S+) profile=R[0-3]\n(.*?)```\n\n```nnpack-values id=\1\n(.*?)```",
    re.DOTALL,
)
EXAMPLES = {name: (dump, json.loads(values)) for name, dump, values in FENCE.findall(SPEC)}
LINE = re.compile(r"([0-9a-f]{4})  ([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:   +\S.*)?")
REQUIREMENT = re.compile(r"\[(R-[A-Z]{3})-(\d{3})\]")
every_example = pytest.mark.parametrize("name", EXAMPLES)


def example(name):
    """The bytes of an example's hexdump, whose offsets must be right."""
    data = b""
    for line in EXAMPLES[name][0].splitlines():
        offset, digits = LINE.fullmatch(line).groups()
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(digits)
    return data


def section(heading):
    """The text under a heading, up to the next one."""
    return re.search(
        rf"^#+ {re.escape(heading)}\b.*?\n(.*?)(?=^#|\Z)", PROSE, re.MULTILINE | re.DOTALL
    )[1]


def tables(heading):
    """The rows of a section's tables, without their heads."""
    found = re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", section(heading) + "\n", re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]
        for rows in found
    ]


def registry(heading):
    """The assigned ids of a registry, with the other columns."""
    rows = {row[0]: row[1:] for row in tables(heading)[0]}
    return {
        int(key): row
        for key, row in rows.items()
        if key.isdecimal() and not re.match("reserved|never", row[0])
    }


def numbers(text):
    """The numbers in a cell."""
    found = re.findall(r"(\d[\d,]*)(?:\^(\d+))?( - 1)?(?: ([KMGT])iB)?", text)
    return [
        int(base.replace(",", "")) ** int(power or 1) - bool(less)
        << 10 * "_KMGT".index(unit or "_")
        for base, power, less, unit in found
    ]


# Examples


def told(call):
    """What a method returns, None where this reader has not what it takes."""
    try:
        return call()
    except nnpack.UnsupportedError:
        return None


def described(tensor):
    read = told(tensor.read)
    return {
        "dtype": tensor.dtype,
        "shape": [*tensor.shape],
        "kind": tensor.kind,
        "image": None if read is None else read.tobytes().hex(),
        "logical": told(tensor.digest),
    }


def opened(data):
    with nnpack.open(data) as reader:
        aliases = reader.aliases
        return {
            "tensors": {
                name: described(tensor) for name, tensor in reader.items() if name not in aliases
            },
            "aliases": aliases,
            "metadata": reader.metadata,
            "graphs": dict(reader.graphs),
            "root": reader.root,
        }


def streamed(data):
    found = {"tensor": {}, "alias": {}, "graph": {}, "metadata": {}}
    for kind, name, value in nnpack.read_stream(io.BytesIO(data)):
        found[kind][name] = described(value) if kind == "tensor" else value
    return {
        "tensors": found["tensor"],
        "aliases": found["alias"],
        "metadata": found["metadata"].get("", {}),
        "graphs": found["graph"],
    }


@every_example
def test_examples_hold_what_their_values_say(name):
    data, values = example(name), EXAMPLES[name][1]
    wanted = {"aliases": {}, "metadata": {}, "graphs": {}, "root": None} | values
    assert opened(data) == wanted
    assert streamed(data) == {key: wanted[key] for key in wanted if key != "root"}
    assert verify(data).verdict == "intact"
    if wanted["root"]:
        assert verify(data, expect=wanted["root"]).verdict == "authentic"


def detected(data):
    """Whether a full check finds something, and raises nothing but our errors."""
    try:
        return verify(data).verdict == "damaged"
    except nnpack.NnpackError:
        return True


def flipped(data, bit):
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@every_example
def test_damage_to_examples_is_found(name):
    data = example(name)
    for size in range(len(data)):
        with pytest.raises(nnpack.NnpackError):
            nnpack.open(data[:size])
    with nnpack.open(data) as reader:
        sections = range(8 * container.HEADER_SIZE, 8 * reader.directory.offset)
    for bit in range(8 * len(data)):
        if bit not in sections:
            with pytest.raises(nnpack.NnpackError):
                nnpack.open(flipped(data, bit))
    # A check of all takes a millisecond, so one bit in eleven; the small reader takes the others.
    for bit in sections[::11]:
        assert detected(flipped(data, bit)), f"bit {bit % 8} of byte {bit // 8:#x}"


@pytest.fixture(scope="module")
def small_reader(tmp_path_factory):
    """The reader of appendix D.1."""
    path = tmp_path_factory.mktemp("spec") / "small_reader.py"
    path.write_text(re.search(r"### D\.1 .*?```python\n(.*?)```", SPEC, re.DOTALL)[1])
    return runpy.run_path(str(path))


@every_example
def test_the_small_reader_reads_raw_leaves_and_finds_every_flip(small_reader, name):
    """Every bit of a file counts, in sections of unknown types too."""
    walk, check_payload, bad = (small_reader[key] for key in ("walk", "check", "Bad"))

    def read(data):
        found = {}
        for _, label, body, payload, align in walk(data):
            if payload:
                (kind, _, _, shape, *_), stored = check_payload(body, payload, align)
                if kind == KINDS[1].id and stored[0] is not None:
                    found[label.decode()] = [*shape], stored[0].hex()
        return found

    data = example(name)
    for label, (shape, cells) in read(data).items():
        tensor = EXAMPLES[name][1]["tensors"].get(label)
        if tensor and not BY_NAME[tensor["dtype"]].packed:
            assert (shape, cells) == (tensor["shape"], tensor["image"])
    for bit in range(8 * len(data)):
        with pytest.raises(bad) as caught:
            read(flipped(data, bit))
        assert caught.value.args[0] in errors.ERROR_CLASSES


# Requirements


def test_requirements_are_numbered_without_gaps():
    """Ids are never given anew, so that a later rule may stand before an earlier one."""
    found = {}
    for area, number in REQUIREMENT.findall(PROSE):
        found.setdefault(area, []).append(int(number))
    assert all(sorted(numbers) == [*range(1, len(numbers) + 1)] for numbers in found.values())
    named = {*re.findall(r"R-[A-Z]{3}-\d{3}", SPEC)}
    assert named == {f"{area}-{number}" for area, number in REQUIREMENT.findall(PROSE)}


def test_each_requirement_has_one_id():
    for line in PROSE.splitlines():
        for sentence in re.split(r"(?<=\])\s", line):
            words = re.findall(r"(?<!\")\b(?:MUST|SHOULD|MAY)\b", sentence)
            if words:
                assert len(REQUIREMENT.findall(sentence)) == len(words) == 1, sentence


def test_sections_that_are_referred_to_exist():
    headings = {*re.findall(r"^#+ (?:Appendix )?([0-9A-D](?:\.?\d+)*)", PROSE, re.MULTILINE)}
    places = r" ((?:\d+(?:\.\d+)*(?:,? and |, | to )?)+)"
    texts = {
        "SPEC.md": re.findall(
            "[Ss]ections?" + places, re.sub("^    .*", "", PROSE, flags=re.MULTILINE)
        )
    }
    texts |= {
        path.name: re.findall("SPEC" + places, path.read_text())
        for path in ROOT.glob("nnpack/**/*.py")
    }
    for file, found in texts.items():
        for text in found:
            assert {*re.findall(r"\d+(?:\.\d+)*", text)} <= headings, f"{file}: {text}"


# Lists


def test_error_classes():
    dispositions = {row[0].strip("`"): row[1] for row in tables("14.1")[0]}
    assert dispositions == {
        **dict.fromkeys(errors.CORRUPT, "corrupt"),
        **dict.fromkeys(errors.UNSUPPORTED, "unsupported"),
        **dict.fromkeys(errors.LIMIT, "limit"),
    }
    assert dispositions.keys() == errors.ERROR_CLASSES
    used = re.findall(r"\(`([a-z-]+)`[,;) ]|\| `([a-z-]+)` \|$", PROSE, re.MULTILINE)
    assert {name for names in used for name in names if name} <= errors.ERROR_CLASSES


def test_section_types_and_classes_of_names():
    assert {
        key: row[0].split(" (")[0] for key, row in registry("18.1").items()
    } == container.TYPE_NAMES
    classes = {key: row[0].replace("data type", "dtype") for key, row in registry("18.6").items()}
    assert classes == NAME_CLASSES


def test_kinds_and_roles():
    found = registry("18.2")
    assert {key: row[0] for key, row in found.items()} == {
        key: kind.name for key, kind in KINDS.items()
    }
    for key, (name, roles) in found.items():
        wanted = {int(role): what for role, what in re.findall(r"(\d+) ([a-z_]+)(?:,|$)", roles)}
        if name == "concat":
            assert roles == "1 to 63 by position"
            wanted = {role: f"part {role}" for role in range(1, 64)}
        assert wanted == KINDS[key].roles


def test_data_types():
    cells = re.findall(r"\| (0x[0-9A-F]{2}) \| (\w+) \| (\d+) (?=\|)", section("6.1"))
    wanted = sorted((dtype.id, dtype.name, dtype.bits) for dtype in DTYPES)
    assert sorted((int(key, 16), name, int(bits)) for key, name, bits in cells) == wanted
    listed = []
    for ids, names in tables("18.3")[0]:
        first, *last = (int(key, 16) for key in re.findall("0x[0-9A-F]{2}", ids))
        if not re.search("unassigned|private", names):
            keys = range(first, last[0] + 1) if " to " in ids else [first, *last]
            listed += zip(keys, names.split(", "), strict=True)
    assert sorted(listed) == [(key, name) for key, name, _ in wanted]
    groups = dict(tables("6.1")[1])
    assert groups["result"].split(", ") == sorted(
        quantized.RESULTS, key=["float16", "bfloat16", "float32"].index
    )
    assert set(re.findall("[a-z]+", groups["operand"])) >= {"bool", "integers", "floats"}


def test_transforms_and_codecs():
    for heading, things in (("18.4", TRANSFORMS), ("18.5", CODECS)):
        names = {key: row[0] for key, row in registry(heading).items() if row[0].isalnum()}
        assert names == {key: thing.name for key, thing in things.items()}


def test_other_lists():
    text = section("18.7")
    keys = {*re.findall(r"`(nnpack\.\w+)`", text)}
    assert keys == {convert.model.ORIGIN, salvage.KEY}
    assert f"bit {container.ANCILLARY.bit_length() - 1}, ancillary." in text
    assert f"bit {quantized.FLAT - 1}, flat; bit {quantized.DIVIDE - 1}, divide." in text
    prefixes = [prefix.encode() + b"\n" for prefix in re.findall(r"`(nnpack \w+ 1)`", text)]
    assert prefixes == [source.ROOT_PREFIX, digest.PREFIX]


def test_limits_of_the_format():
    assert {row[0]: numbers(row[1]) for row in tables("15.1")[0]} == {
        "u64 fields": [limits.MAX_U64],
        "sections": [limits.MAX_SECTIONS],
        "head": [limits.MAX_HEAD],
        "name": [limits.MAX_NAME],
        "rank": [limits.MAX_RANK],
        "levels of a tree": [limits.MAX_DEPTH],
        "nodes of a tree": [limits.MAX_NODES],
        "shape in bytes": [limits.MAX_U64],
        "cells of a block": [
            1 << limits.MIN_BLOCK_LOG2,
            1 << limits.MAX_BLOCK_LOG2,
            limits.MAX_PLANE_BLOCK,
        ],
        "plane-block": [limits.MAX_PLANE_BLOCK],
        "planes": [limits.MAX_PLANES],
        "zstd window": [limits.MAX_WINDOW],
        "vector length of a codebook": [limits.MAX_VECTOR],
        "directory, decoded": [],
        "JSON nesting": [limits.MAX_JSON_DEPTH],
        "JSON integers": [limits.MAX_JSON_INT],
    }


def test_policy_limits():
    default = limits.Limits()
    assert {row[0]: numbers(row[1]) for row in tables("15.2")[0]} == {
        "directory bytes": [default.directory_bytes],
        "sections": [default.sections],
        "JSON bytes": [default.json_bytes],
        "tensor charge": [default.tensor_bytes],
        "request charge": [100 * memory.SHARE],
        "expansion": [default.expansion_bytes, default.expansion_ratio],
    }
    assert default.memory is None


# Schemes


def test_schemes_name_their_tests():
    rows = [row for heading in ("B.1", "B.2") for row in tables(heading)[0]]
    named = {tuple(re.fullmatch(r"`(\w+)::(\w+)`", row[-1]).groups()) for row in rows}
    files = {name: f"test_schemes_{name}.py" for name in ("gguf", "gpu", "graph")} | {
        "spec": "test_spec.py"
    }
    there = {
        (name, test)
        for name, file in files.items()
        for test in re.findall(
            r"^def (test_\w+)", (ROOT / "tests" / file).read_text(), re.MULTILINE
        )
    }
    assert named <= there
    assert {pair for pair in there if pair[0] != "spec"} <= named


def test_fp8_in_square_blocks():
    """FP8 per block: float8_e4m3fn codes, a float32 scale for each 128 by 128, the last ones short."""
    codes = np.arange(130 * 200, dtype=np.uint8).reshape(130, 200).view(ml_dtypes.float8_e4m3fn)
    scale = np.array([[0.1, -3.0], [1e-40, np.inf]], np.float32)
    with np.errstate(invalid="ignore"):
        want = codes.astype(np.float32) * scale.repeat(128, 0).repeat(128, 1)[:130, :200]
    want = np.where(np.isnan(want), 0x7FC00000, want.view(np.uint32)).astype(np.uint32)
    check(nnpack.Quantized(codes, scale, block=(128, 128)), want)


def test_quantized_over_csr():
    """Pruned, then quantized: csr of codes whose fill is the zero point, scales by dense position."""
    codes = np.where(np.arange(96).reshape(4, 24) % 5, 7, np.arange(96).reshape(4, 24) % 16).astype(
        np.uint8
    )
    scale = np.array([0.1, -2.0, 3e-39, 5.0], np.float32).reshape(4, 1)
    stored = nnpack.Csr.from_numpy(codes.astype(ml_dtypes.uint4), fill=7)
    value = nnpack.Quantized(stored, scale, zero=constant(7, (4, 1), 4), block=(1, 0))
    want = (codes.astype(np.int32) - 7).astype(np.float32) * scale
    check(value, want.view(np.uint32))
