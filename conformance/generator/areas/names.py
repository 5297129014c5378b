"""Names of sections (SPEC 5.4)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from conformance.generator import assemble as a
from conformance.generator import operations as o
from conformance.generator.areas.sections import (
    ALIAS,
    ANY,
    BLOB,
    GRAPH,
    METADATA,
    MIXED,
    T,
    tensor,
)
from conformance.generator.areas.start import EMPTY
from conformance.generator.vector import Vector, invalid, other, valid

ALLOWED = {
    "spaces": [" ", "  a b ", "\u00a0", "\u3000"],
    "paths": ["..", "/", "a/../../b", "C:\\", "con", ".", "~", "-rf", "a\\b"],
    "keys": ["__proto__", "constructor", "__class__", "null", "0", "%s", "{0}", "$(x)", '"', "'"],
    "beyond-ascii": ["\u00e9", "\u4e2d", "\U0001f600", "\U0010ffff", "\uffff", "\ufffd"],
    "beside-the-forbidden": [
        " ", "~", "\u00a0", "\u061b", "\u061d", "\u200b", "\u200d", "\u2010", "\u2027", "\u202f",
        "\u2065", "\u206a", "\ufefe", "\uff00",
    ],
    "twins": ["\u00e9", "e\u0301", "A", "a", "\u0410", "\u212b", "\u00c5", "\ufb01", "fi", "a ",
              "a\u200d"],
}  # fmt: skip
"""Names that a file may have, by what they tempt a reader to do."""
WHY = {
    "spaces": "Names are spaces, begin or end with them.",
    "paths": "Names look like paths, drives, devices and options.",
    "keys": "Names look like keys of an object's internals, numbers and formats.",
    "beyond-ascii": "Names lie beyond ASCII, beyond 16 bits, and among the noncharacters.",
    "beside-the-forbidden": "Names are the neighbours of the forbidden characters.",
    "twins": "Names differ in their bytes alone: by normalisation, case or script.",
}
FORBIDDEN = (
    range(0x20), range(0x7F, 0xA0), [0x061C, 0x200E, 0x200F], range(0x2028, 0x202F),
    range(0x2066, 0x206A), [0xFEFF],
)  # fmt: skip
"""The code points of R-NAM-013."""
MALFORMED = (
    ("ff", b"\xff", "a byte that UTF-8 never has"),
    ("continuation", b"\x80", "a continuation byte alone"),
    ("latin-1", b"\xe9t\xe9", "Latin-1 text"),
    ("overlong-zero", b"\xc0\x80", "U+0000 in two bytes"),
    ("overlong-slash", b"\xc0\xaf", "a slash in two bytes"),
    ("overlong-two", b"\xc1\xbf", "U+007F in two bytes"),
    ("overlong-three", b"\xe0\x9f\xbf", "U+07FF in three bytes"),
    ("overlong-four", b"\xf0\x8f\xbf\xbf", "U+FFFF in four bytes"),
    ("surrogate-high", b"\xed\xa0\x80", "the surrogate U+D800"),
    ("surrogate-low", b"\xed\xbf\xbf", "the surrogate U+DFFF"),
    ("surrogate-pair", b"\xed\xa0\xbd\xed\xb8\x80", "a surrogate pair, three bytes each"),
    ("above-unicode", b"\xf4\x90\x80\x80", "a code point above U+10FFFF"),
    ("five-bytes", b"\xf8\x88\x80\x80\x80", "a sequence of five bytes"),
    ("cut-short", b"a\xe2\x82", "a sequence that ends too early"),
    ("cut-long", b"a\xf0\x9f\x98", "a sequence of four bytes that lacks the last"),
)
LONGEST = valid(
    "names/longest",
    "A name has 1024 bytes, the most.",
    ["R-SEC-005", "R-SEC-011", "R-NAM-012"],
    [tensor("\u4e2d" * 341 + "n", 1)],
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    for slug, names in ALLOWED.items():
        contents = [tensor(name, at) for at, name in enumerate(names)]
        yield valid(f"names/{slug}", WHY[slug], ["R-NAM-014", "R-NAM-013"], contents,
                    flags=["over-validation", "ambiguity"])  # fmt: skip
    yield LONGEST
    note = a.Section(9, b"t", b"", flags=1)
    yield valid(
        "names/unknown-sections-apart",
        "Two sections of an unknown type have the name of a tensor, a third has none.",
        ["R-NAM-016", "R-NAM-015"],
        [other(note), tensor("t", 1), other(note), other(a.Section(9, b"", b"", flags=1))],
        flags=["over-validation"],
    )
    for code in chain.from_iterable(FORBIDDEN):
        yield invalid(
            f"names/u+{code:04x}",
            f"A tensor's name contains U+{code:04X}.",
            ["R-NAM-013", "R-SEC-011", "R-DIR-009"],
            "bad-text",
            MIXED,
            [o.section(T, "name", f"a{chr(code)}b".encode().hex()), o.drop(ALIAS)],
            profile="R0",
        )
    for slug, name, what in MALFORMED:
        yield invalid(f"names/{slug}", f"A tensor's name contains {what}.", ["R-NAM-012"],
                      "bad-text", MIXED, [o.section(T, "name", name.hex()), o.drop(ALIAS)],
                      profile="R0")  # fmt: skip
    yield from _places()
    yield from _duplicates()


def _places() -> Iterator[Vector]:
    for slug, index, name, ids, why in (
        ("of-alias", ALIAS, b"\xff", ["R-NAM-012"], "An alias's name is no UTF-8."),
        ("of-blob", BLOB, b"\xff", ["R-NAM-012"], "A blob's name is no UTF-8."),
        ("of-graph", GRAPH, b"a\0b", ["R-NAM-013"], "A graph's name contains U+0000."),
        ("of-unknown", ANY, b"\xff", ["R-NAM-016"],
         "The name of a section of an unknown type is no UTF-8."),
        ("of-unknown-hidden", ANY, b"a\xe2\x80\xae", ["R-NAM-016", "R-NAM-013"],
         "The name of a section of an unknown type contains U+202E."),
    ):  # fmt: skip
        yield invalid(f"names/{slug}", why, ids, "bad-text", MIXED,
                      [o.section(index, "name", name.hex())], profile="R0")  # fmt: skip
    for slug, base, index, what in (
        ("1025-bytes", LONGEST, 0, "tensor"),
        ("unknown-1025-bytes", MIXED, ANY, "section of an unknown type"),
    ):
        yield invalid(f"names/{slug}", f"The name of a {what} has 1025 bytes.",
                      ["R-SEC-005", "R-NAM-012"], "bad-text", base,
                      [o.section(index, "name", (b"n" * 1025).hex())], flags=["oom"],
                      profile="R0")  # fmt: skip
    yield invalid("names/65535-bytes", "The name of a tensor has 65535 bytes.", ["R-SEC-005"],
                  "bad-text", LONGEST, o.both(0, "name_length", 65535), flags=["out-of-bounds"],
                  profile="R0", also=["bad-layout"])  # fmt: skip
    yield invalid("names/of-directory", "The directory has a name.", ["R-SEC-018"], "bad-text",
                  EMPTY, [o.last("name", b"d".hex())], profile="R0")  # fmt: skip


def _duplicates() -> Iterator[Vector]:
    for slug, index, name, what in (
        ("blob-and-tensor", BLOB, b"t", "a blob and a tensor"),
        ("alias-and-tensor", ALIAS, b"t", "an alias and its tensor"),
        ("graph-and-tensor", GRAPH, b"t", "a graph and a tensor"),
        ("graph-and-blob", GRAPH, b"file", "a graph and a blob"),
        ("blob-and-alias", BLOB, b"s", "a blob and an alias"),
    ):  # fmt: skip
        yield invalid(f"names/{slug}", f"The names of {what} are equal.", ["R-NAM-015"],
                      "duplicate", MIXED, [o.section(index, "name", name.hex())],
                      flags=["ambiguity"], profile="R0")  # fmt: skip
    yield invalid("names/two-tensors", "The names of two tensors are equal.", ["R-NAM-015"],
                  "duplicate", MIXED, [o.copy(T, METADATA)], flags=["ambiguity"],
                  profile="R0")  # fmt: skip
