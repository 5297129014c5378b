"""JSON texts, as metadata (SPEC 12.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conformance.generator import operations as o
from conformance.generator.areas.sections import tensor
from conformance.generator.vector import Vector, alias_of, invalid, metadata_of, valid

MOST = 2**53 - 1
ALLOWED: tuple[tuple[str, bytes, dict[str, Any], str], ...] = (
    ("empty", b"{}", {}, "The text is an empty object."),
    ("white-space", b' \t\r\n{ \n"a"\t:\r[ 1 , 2 ] } \n\n', {"a": [1, 2]},
     "All four kinds of white space stand around every token."),
    ("empty-key", b'{"":{"":[]}}', {"": {"": []}}, "Keys are empty."),
    ("literals", b'{"t":true,"f":false,"n":null}', {"t": True, "f": False, "n": None},
     "Values are true, false and null."),
    ("integers", b'{"a":9007199254740991,"b":-9007199254740991,"c":0,"d":-1}',
     {"a": MOST, "b": -MOST, "c": 0, "d": -1}, "Integers are the largest and the smallest."),
    ("minus-zero", b'{"a":-0}', {"a": 0}, "The integer -0 is 0."),
    ("floats", b'{"a":1.0,"b":-0.0,"c":1e3,"d":1E+2,"e":2.5e-1,"f":0e5,"g":1.7976931348623157e308}',
     {"a": 1.0, "b": -0.0, "c": 1e3, "d": 1e2, "e": 0.25, "f": 0.0, "g": 1.7976931348623157e308},
     "Floats have a fraction, an exponent or both."),
    ("negative-zeros", b'{"a":-0.0,"b":[-0e0,0.0,-0.000E+9],"c":{"d":-0.0e-5}}',
     {"a": -0.0, "b": [-0.0, 0.0, -0.0], "c": {"d": -0.0}}, "Floats are zeros with a sign."),
    ("floats-beyond-integers", b'{"a":9007199254740993.0,"b":1e30,"c":123456789012345678901e0}',
     {"a": 9007199254740992.0, "b": 1e30, "c": 123456789012345680000.0},
     "Floats lie beyond what integers may, and one is rounded to an even neighbour."),
    ("floats-tiny", b'{"a":5e-324,"b":2e-324,"c":1e-400,"d":-1e-999999999,"e":0e999999999}',
     {"a": 5e-324, "b": 0.0, "c": 0.0, "d": -0.0, "e": 0.0},
     "Floats are the smallest, and below it; an exponent has nine digits."),
    ("float-below-halfway", b'{"a":1.7976931348623158e308}', {"a": 1.7976931348623157e308},
     "A float above the largest number is rounded to it."),
    ("float-of-many-digits", b'{"a":0.' + b"1" * 600 + b"}", {"a": 0.1111111111111111},
     "A float has 600 digits."),
    ("escapes", rb'{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\u2028\u0000\uFEFF"}',
     {"a": '"\\/\b\f\n\r\tA\u00e9\u2028\0\ufeff'}, "All escapes occur."),
    ("surrogate-pair", rb'{"\ud83d\ude00":"\uD83D\uDE00\udbff\udfff\ud800\udc00"}',
     {"\U0001f600": "\U0001f600\U0010ffff\U00010000"},
     "Characters beyond 16 bits are escaped as pairs."),
    ("raw-text", '{"\U0001f600":"\u2028\u2029\x7f\u0085\ufeff\uffff\U0010ffff"}'.encode(),
     {"\U0001f600": "\u2028\u2029\x7f\u0085\ufeff\uffff\U0010ffff"},
     "A string has characters beyond ASCII, none of them escaped."),
    ("twin-keys", '{"\u00e9":1,"e\u0301":2,"A":3,"a":4}'.encode(),
     {"\u00e9": 1, "e\u0301": 2, "A": 3, "a": 4},
     "Keys differ by normalisation or case alone."),
    ("one-key-in-two-objects", b'{"a":{"a":1},"b":[{"a":2},{"a":3}]}',
     {"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}, "One key occurs in several objects."),
    ("words-in-strings", b'{"a":"NaN","Infinity":"-Infinity"}',
     {"a": "NaN", "Infinity": "-Infinity"}, "Strings spell what no number may be."),
    ("internals", b'{"__proto__":{"x":1},"constructor":"y","__class__":null}',
     {"__proto__": {"x": 1}, "constructor": "y", "__class__": None},
     "Keys are names of an object's internals."),
    ("origin", (b'{"nnpack.origin":{"t":{"format":"gguf","type":"Q4_0","packing":"low first",'
                b'"other":[1]},"s":{"deduplicated":true}}}'),
     {"nnpack.origin": {"t": {"format": "gguf", "type": "Q4_0", "packing": "low first",
                              "other": [1]}, "s": {"deduplicated": True}}},
     "nnpack.origin says where a tensor and an alias came from."),
    ("salvaged", (b'{"nnpack.salvaged":{"kept":2,"lost":["x",4096],"more":1,'
                  b'"behind_damage":[["y",8192]]}}'),
     {"nnpack.salvaged": {"kept": 2, "lost": ["x", 4096], "more": 1,
                          "behind_damage": [["y", 8192]]}},
     "nnpack.salvaged says what a damaged file lost."),
    ("strange-origin", b'{"nnpack.origin":[7],"nnpack.salvaged":"no"}',
     {"nnpack.origin": [7], "nnpack.salvaged": "no"},
     "Values of the keys nnpack.origin and nnpack.salvaged are of other types."),
    ("origin-of-nothing", b'{"nnpack.origin":{"not there":{"format":1}}}',
     {"nnpack.origin": {"not there": {"format": 1}}},
     "nnpack.origin names a tensor that the file does not have."),
    ("key-of-the-future", b'{"nnpack.later":{"x":null}}', {"nnpack.later": {"x": None}},
     "A key begins with nnpack. and is not defined."),
)  # fmt: skip
GRAMMAR = (
    ("nothing", b"", "The text has no bytes."),
    ("spaces-alone", b"  ", "The text is white space."),
    ("array", b'[{"a":1}]', "The text is an array."),
    ("string", b'"a"', "The text is a string."),
    ("null", b"null", "The text is null."),
    ("two-objects", b"{}{}", "Two objects stand in the text."),
    ("comma-behind", b"{},", "A comma follows the object."),
    ("zero-behind", b"{}\0", "A zero byte follows the object."),
    ("form-feed-behind", b"{}\f", "A form feed follows the object."),
    ("form-feed-inside", b'{"a":\f1}', "A form feed stands between tokens."),
    ("no-break-space", b'{"a":\xc2\xa01}', "A no-break space stands between tokens."),
    ("cut", b'{"a":1', "The object is not closed."),
    ("cut-string", b'{"a":"b}', "A string is not closed."),
    ("cut-escape", b'{"a":"\\', "The text ends inside an escape."),
    ("trailing-comma", b'{"a":1,}', "A comma stands behind the last member."),
    ("trailing-comma-array", b'{"a":[1,]}', "A comma stands behind the last element."),
    ("no-comma", b'{"a":1 "b":2}', "No comma stands between two members."),
    ("no-colon", b'{"a" 1}', "No colon stands behind a key."),
    ("no-value", b'{"a":}', "A key has no value."),
    ("number-key", b"{1:2}", "A key is a number."),
    ("bare-key", b"{a:2}", "A key has no quotes."),
    ("single-quotes", b"{'a':2}", "A key stands in single quotes."),
    ("comment", b'{"a":1/* one */}', "A comment stands in the text."),
    ("line-comment", b'{"a":1}//one', "A comment stands behind the object."),
    ("tab-in-string", b'{"a":"\t"}', "A tab stands in a string unescaped."),
    ("line-in-string", b'{"a":"\n"}', "A line feed stands in a string unescaped."),
    ("zero-in-string", b'{"a":"\0"}', "A zero byte stands in a string unescaped."),
    ("escape-unknown", rb'{"a":"\x41"}', "An escape is none of JSON's."),
    ("escape-short", rb'{"a":"\u41"}', "An escape has two hexadecimal digits."),
    ("escape-signed", rb'{"a":"\u+041"}', "An escape has a sign among its digits."),
    ("escape-letters", rb'{"a":"\u00g1"}', "An escape has a digit that is none."),
    ("leading-zero", b'{"a":01}', "A number begins with a zero."),
    ("minus-leading-zero", b'{"a":-01}', "A negative number begins with a zero."),
    ("plus", b'{"a":+1}', "A number begins with a plus."),
    ("no-digit-before", b'{"a":.5}', "A number has no digit before the point."),
    ("no-digit-behind", b'{"a":1.}', "A number has no digit behind the point."),
    ("no-digit-in-exponent", b'{"a":1e}', "An exponent has no digits."),
    ("minus-alone", b'{"a":-}', "A number is a minus alone."),
    ("hexadecimal", b'{"a":0x10}', "A number is hexadecimal."),
    ("underscore", b'{"a":1_000}', "A number has an underscore."),
    ("digits-of-unicode", '{"a":\u0661}'.encode(), "A number is an Arabic-Indic digit."),
    ("word-in-capitals", b'{"a":True}', "A word is written with a capital."),
    ("undefined", b'{"a":undefined}', "A value is the word undefined."),
)  # fmt: skip
RULES = (
    ("utf-8", "R-JSN-001", b'{"a":"\xff"}', "A string has a byte that UTF-8 never has."),
    ("utf-8-overlong", "R-JSN-001", b'{"a":"\xc0\xaf"}', "A string has an overlong slash."),
    ("utf-8-surrogate", "R-JSN-001", b'{"a":"\xed\xa0\x80"}',
     "A string has a surrogate in three bytes."),
    ("utf-8-cut", "R-JSN-001", b'{"a":"\xe2\x82"}', "A string ends inside a character."),
    ("utf-8-key", "R-JSN-001", b'{"\x80":1}', "A key has a continuation byte alone."),
    ("mark", "R-JSN-001", b"\xef\xbb\xbf{}", "A byte order mark stands before the object."),
    ("utf-16", "R-JSN-001", '{"a":1}'.encode("utf-16-le"), "The text is UTF-16."),
    ("key-twice", "R-JSN-003", b'{"a":1,"b":2,"a":1}', "A key occurs twice with one value."),
    ("key-twice-escaped", "R-JSN-003", rb'{"a":1,"\u0061":2}',
     "A key occurs twice, once with an escape."),
    ("key-twice-beyond", "R-JSN-003", b'{"\xf0\x9f\x98\x80":1,"\\ud83d\\ude00":2}',
     "A key beyond 16 bits occurs twice, once as a pair of escapes."),
    ("key-twice-inside", "R-JSN-003", b'{"a":[{"b":{"c":1,"c":2}}]}',
     "A key of an inner object occurs twice."),
    ("key-twice-empty", "R-JSN-003", b'{"":1,"":2}', "The empty key occurs twice."),
    ("integer-large", "R-JSN-004", b'{"a":9007199254740992}', "An integer is 2^53."),
    ("integer-small", "R-JSN-004", b'{"a":-9007199254740992}', "An integer is -2^53."),
    ("integer-inside", "R-JSN-004", b'{"a":[[18446744073709551616]]}',
     "An integer in an array is 2^64."),
    ("integer-long", "R-JSN-004", b'{"a":1' + b"0" * 700 + b"}", "An integer has 701 digits."),
    ("float-large", "R-JSN-005", b'{"a":1e309}', "A float is rounded to infinity."),
    ("float-negative", "R-JSN-005", b'{"a":-1.8e308}', "A float is rounded to -infinity."),
    ("float-halfway", "R-JSN-005", b'{"a":1.797693134862315808e308}',
     "A float lies just above the middle between the largest number and 2^1024."),
    ("float-huge", "R-JSN-005", b'{"a":1e999999999}', "A float has an exponent of nine digits."),
    ("nan", "R-JSN-006", b'{"a":NaN}', "A value is NaN."),
    ("infinity", "R-JSN-006", b'{"a":Infinity}', "A value is Infinity."),
    ("minus-infinity", "R-JSN-006", b'{"a":-Infinity}', "A value is -Infinity."),
    ("surrogate-high", "R-JSN-007", rb'{"a":"\ud800"}', "A high surrogate stands alone."),
    ("surrogate-high-inside", "R-JSN-007", rb'{"a":"\ud800x"}',
     "A letter follows a high surrogate."),
    ("surrogate-high-escape", "R-JSN-007", rb'{"a":"\ud83d\u0041"}',
     "An escape of a letter follows a high surrogate."),
    ("surrogate-low", "R-JSN-007", rb'{"a":"\ude00"}', "A low surrogate stands alone."),
    ("surrogates-reversed", "R-JSN-007", rb'{"a":"\ude00\ud83d"}',
     "A low surrogate stands before a high one."),
    ("surrogates-two-high", "R-JSN-007", rb'{"a":"\ud83d\ud83d\ude00"}',
     "A pair follows a high surrogate."),
    ("surrogate-in-key", "R-JSN-007", rb'{"\udfff":1}', "A key is a low surrogate."),
)  # fmt: skip


def nested(levels: int, form: str) -> tuple[bytes, dict[str, Any]]:
    """Return a text of so many levels, of arrays or of objects, and its value."""
    value: Any = {} if form == "objects" else []
    for _ in range(levels - 2):
        value = {"a": value} if form == "objects" else [value]
    before, behind = (b'{"a":', b"}") if form == "objects" else (b"[", b"]")
    inner = before * (levels - 2) + (b"{}" if form == "objects" else b"[]") + behind * (levels - 2)
    return b'{"a":' + inner + b"}", {"a": value}


BASE = valid(
    "metadata/beside-tensors",
    "Metadata stands between a tensor and its alias.",
    ["R-JSN-002"],
    [tensor("t", 1), metadata_of(b'{"a":1}', {"a": 1}), alias_of("s", "t")],
)


def vectors() -> Iterator[Vector]:
    """Return the area's vectors."""
    yield BASE
    for slug, text, value, why in ALLOWED:
        ids = ["R-JSN-013"] if b"nnpack." in text else ["R-JSN-002"]
        yield valid(f"metadata/{slug}", why, [*ids, "R-JSN-010"], [metadata_of(text, value)],
                    flags=["over-validation"])  # fmt: skip
    for form in ("arrays", "objects"):
        text, value = nested(32, form)
        yield valid(f"metadata/32-levels-of-{form}", f"The text nests 32 levels of {form}.",
                    ["R-JSN-008"], [metadata_of(text, value)],
                    flags=["over-validation"])  # fmt: skip
    wide = b'{"a":' + b"[" + b"[]," * 99 + b'[]],"b":{}}'
    yield valid("metadata/hundred-arrays", "A hundred arrays stand beside each other.",
                ["R-JSN-008"], [metadata_of(wide, {"a": [[]] * 100, "b": {}})],
                flags=["over-validation"])  # fmt: skip
    for slug, text, why in GRAMMAR:
        yield _bad(slug, ["R-JSN-002"], text, why)
    for slug, id, text, why in RULES:
        yield _bad(slug, [id], text, why)
    for form in ("arrays", "objects"):
        yield _bad(f"33-levels-of-{form}", ["R-JSN-008"], nested(33, form)[0],
                   f"The text nests 33 levels of {form}.")  # fmt: skip
    strings = (
        ("behind-backslash", b'"\\\\"', "a string that ends in an escaped backslash"),
        ("behind-quote", b'"\\\\\\""', "a string that ends in an escaped quote"),
        ("behind-brackets", b'"]]]]\\"}}"', "a string of closing brackets"),
    )
    for slug, string, what in strings:
        held = json.loads(string)
        for levels in (31, 32):
            text = b'{"a":%s,"b":%s}' % (string, b"[" * levels + b"]" * levels)
            if levels == 32:
                yield _bad(f"33-levels-{slug}", ["R-JSN-008", "R-JSN-009"], text,
                           f"33 levels stand behind {what}.")  # fmt: skip
                continue
            deep: list[Any] = []
            for _ in range(levels - 1):
                deep = [deep]
            yield valid(f"metadata/32-levels-{slug}", f"32 levels stand behind {what}.",
                        ["R-JSN-008", "R-JSN-009"], [metadata_of(text, {"a": held, "b": deep})],
                        flags=["over-validation"])  # fmt: skip
    brackets = "[" * 40 + '"' + "{" * 40
    yield valid("metadata/brackets-in-string", "80 brackets stand in a string and nest nothing.",
                ["R-JSN-008"], [metadata_of(json.dumps({"a": brackets}).encode(), {"a": brackets})],
                flags=["over-validation"])  # fmt: skip
    yield _bad("many-levels", ["R-JSN-009", "R-JSN-008"], nested(20000, "arrays")[0],
               "The text nests 20,000 levels.", "cpu-bomb")  # fmt: skip
    yield _bad("many-levels-open", ["R-JSN-009", "R-JSN-008"], b'{"a":' * 4000,
               "The text opens 4,000 objects and closes none.", "cpu-bomb")  # fmt: skip


def _bad(slug: str, ids: list[str], text: bytes, why: str, flag: str = "ambiguity") -> Vector:
    return invalid(f"metadata/{slug}", why, [*ids, "R-JSN-010"], "bad-json", BASE,
                   [o.text(1, text)], flags=[flag], profile="R3")  # fmt: skip
