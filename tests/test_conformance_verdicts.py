"""What an answer is worth: comparisons of every value, and a verdict on any answer at all."""

import hashlib
import json
from copy import deepcopy
from pathlib import Path

import pytest

from conformance.runner.compare import Difference, compare_model, same_image, same_json
from conformance.runner.testee import checked
from conformance.runner.vectors import PROFILES, load
from conformance.runner.verdict import STATUSES, Claims, judge, questions, unasked
from tests.test_conformance_runner import VECTORS, write_vector

KIT = Path(__file__).parent.parent / "conformance"
CODECS = ("codec.snappy", "codec.brotli", "codec.lzo1x", "codec.gzip", "codec.lzw")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    for key, (data, profile, said) in VECTORS.items():
        write_vector(folder, key, data, profile, said)
    return {one.id: one for one in load(folder)}


EQUAL = [
    (123456789012345680000, 1.2345678901234568e20),
    (1, 1.0),
    ({"a": [1, "x", None]}, {"a": [1.0, "x", None]}),
    (2**53 - 1, 2**53 - 1),
    (True, True),
    (-0.0, 0),
]
DIFFERENT = [(True, 1), (1, True), (0, False), (0, None), (2**53, 2**53 + 1), ("1", 1.0), (10**400, 1e300), (None, 0.0), ("1", 1), ([1], [1, 2]), (-0.0, 0.0),
             ({"a": 1}, {"b": 1}), ({}, []), ("e\u0301", "\u00e9")]  # fmt: skip


def test_json_is_compared_by_value():
    for a, b in EQUAL:
        assert same_json(a, b), (a, b)
    for a, b in DIFFERENT:
        assert not same_json(a, b), (a, b)


def test_images_are_compared_in_either_form():
    digest = f"sha256:{hashlib.sha256(bytes([1, 0xAB])).hexdigest()}"
    assert same_image("01ab", "01AB")
    assert same_image("01ab", digest)
    assert same_image(digest, "01ab")
    for other in ("01aa", "01abx", "", None, 1, digest[:-1] + "g"):
        assert not same_image("01ab", other)
        assert not same_image(digest, other)


# Every value of a model


def places(value):
    """Where something stands in a value: containers and keys."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


OTHER = {
    type(None): lambda _: "00",
    bool: lambda value: not value,
    float: lambda value: -value or 1.0,
    int: lambda value: value + 1,
    str: lambda value: value + "00",
    list: lambda value: [*value, 1],
    dict: lambda value: {**value, "x": "00"},
}
"""Another value, by type."""


def answer_of(said):
    """A reader's answer: without what sidecars alone have, and what nobody needs to tell."""
    answer = {key: value for key, value in deepcopy(said).items() if key != "contents"}
    for tensor in answer["tensors"]:
        del tensor["profile"], tensor["features"]
        if tensor["image"] is None:
            tensor["unsupported"] = "no elements"
            if tensor["kind"] != "opaque":
                del tensor["parts"], tensor["parameters"]
    return answer


CLOSED = {"tensors", "aliases", "blobs", "graphs", "parts", "parameters", "shape", "block"}
"""What holds nothing more than is expected."""
COMPARED = CLOSED | {
    "name", "dtype", "kind", "image", "logical", "metadata", "root", "element", "row_length", "fill",
    "vector_length", "vector_axis", "flat", "group_axis", "scale_op", "step", "axis", "format",
}  # fmt: skip


def test_each_value_of_a_model_is_compared():
    claims = {"profile": "R3", "features": ("parts", "encode", *CODECS), "covered": True}
    seen = set()
    for path in sorted((KIT / "vectors").rglob("*.json")):
        expected = json.loads(path.read_text()).get("model")
        if expected is None:
            continue
        answer = answer_of(expected)
        compare_model(expected, answer, **claims, access="random")
        for place, key in [*places(answer)]:
            right = place[key]
            within = isinstance(right, dict | list) and right and key not in CLOSED
            if not within and key != "unsupported":
                seen.add(key)
                place[key] = OTHER[type(right)](right)
                with pytest.raises(Difference):
                    compare_model(expected, answer, **claims, access="random")
                place[key] = right
    assert seen >= COMPARED


# A file that a reader cannot see the fault of


def taken(kit, key, profile, **tensor):
    """The status of taking a damaged file, by a reader that claims little."""
    answer = {"ok": True, "model": {"tensors": [{"name": "w", **tensor}]}}
    claims = Claims({"name": "small"}, profile, frozenset())
    question = next(questions(kit[key], claims, Path()))
    return judge(question, answer, claims, kit).status


def test_what_may_hold_the_fault_is_left_out(kit):
    left = {"image": None, "unsupported": "a codec"}
    for key, declined in {"invalid/codec/bit": "R1", "invalid/spec/bit": "R0"}.items():
        assert taken(kit, key, declined, **left) == "declined"
        assert taken(kit, key, "R3", **left) == "fail-verdict"
        assert taken(kit, key, declined, image="00") == "fail-verdict"
        assert taken(kit, key, declined, **left | {"name": "another"}) == "fail-verdict"
    assert taken(kit, "invalid/spec/bit", "R0", image=None) == "declined"
    assert taken(kit, "invalid/codec/bit", "R1", image=None) == "fail-verdict"
    # The base has nothing that R2 does not cover: the fault is in its metadata, say.
    assert taken(kit, "invalid/beyond/bit", "R2", image="00") == "declined"
    assert taken(kit, "invalid/beyond/bit", "R3", image="00") == "fail-verdict"


# What a profile has not


@pytest.fixture(scope="module")
def real():
    return {one.id: one for one in load(KIT / "vectors")}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_directory_in_zstd_may_be_refused_below_r2(real, profile):
    claims, error = Claims({"name": "any"}, profile, frozenset()), {"class": "unsupported"}

    def status(key, answer):
        question = next(questions(real[key], claims, Path()))
        return judge(question, answer, claims, real).status

    small, refusal = profile < "R2", {"ok": False, "error": error}
    for key in ("valid/directory/zstd", "valid/policy/directory-zstd"):
        assert status(key, refusal) == ("declined" if small else "fail-verdict")
    for slug in ("byte-behind", "cut", "magic", "size-higher", "size-lower"):
        key = f"invalid/directory/zstd-{slug}"
        assert status(key, refusal) == ("declined" if small else "fail-disposition")
        image = None if profile == "R0" else "010203"
        walked = {"ok": True, "model": {"tensors": [{"name": "w", "image": image}]}}
        assert status(key, walked) == ("declined" if small else "fail-verdict")
    assert status("valid/directory/roomy", refusal) == "fail-verdict"
    assert status("invalid/byte-leaf/directory-lz4", refusal) == "fail-disposition"
    assert status("invalid/trailer/byte-behind", refusal) == "fail-disposition"


def test_roots_are_for_readers_that_have_digests(real):
    with_root = [one for one in real.values() if "expect" in one.sidecar]
    assert len(with_root) > 2
    for vector in with_root:
        for profile in PROFILES:
            claims = Claims({"name": "any"}, profile, frozenset({"sequential"}))
            asked = [one.message["expect"] for one in questions(vector, claims, Path())]
            assert asked == ([vector.sidecar["expect"]] if profile == "R3" else [])
            found = unasked(vector, claims)
            assert (found and found.status) == (None if profile == "R3" else "declined")


# Classes that are said in one way of asking only


def status_of(real, key, word, answer):
    claims = Claims({"name": "any"}, "R3", frozenset({"sequential", "slice"}))
    asked = [one for one in questions(real[key], claims, Path()) if word in one.label]
    (found,) = {judge(one, answer, claims, real).status for one in asked}
    return found


def refused(name):
    return {"ok": False, "error": {"class": name}}


def test_a_sequential_reader_names_what_follows_the_trailer(real):
    behind, cut = "invalid/trailer/byte-behind", "invalid/trailer/cut-last-byte"
    for word, key, name, status in (
        ("sequential", behind, "trailing-data", "pass"),
        ("sequential", behind, "truncated", "fail-class"),
        ("sequential", behind, "limit-exceeded", "fail-disposition"),
        ("random", behind, "trailing-data", "pass"),
        ("random", behind, "truncated", "pass"),
        ("random", behind, "bad-layout", "fail-class"),
        ("sequential", cut, "bad-layout", "pass"),
        ("sequential", cut, "bad-luck", "fail-class"),
        ("random", cut, "bad-layout", "fail-class"),
    ):
        assert status_of(real, key, word, refused(name)) == status, (word, key, name)
    accepted = {"ok": True, "model": real["valid/directory/zstd"].sidecar["model"]}
    assert status_of(real, behind, "sequential", accepted) == "fail-verdict"


def test_a_slice_of_what_no_reader_decodes_is_unsupported(real):
    for key in ("valid/node/unknown-kind", "valid/opaque/blocks", "valid/streams/private-codec"):
        assert status_of(real, key, "slice", refused("unsupported")) == "pass"
        assert status_of(real, key, "slice", refused("bad-node")) == "fail-disposition"
        assert status_of(real, key, "slice", {"ok": True, "image": "00"}) == "fail-verdict"


# Any answer


ODD = (
    None, True, 7, -1, 1e999, 10**4000, "", "\ud800", "9" * 5000, "sha256:", [], ["w"], [[]], {},
    {"class": 1},
)  # fmt: skip


def answers(said, op):
    """An answer in which everything that is looked at stands."""
    if op == "slice":
        return {"ok": True, "image": said["slices"][0].get("image", "00")}
    if said["result"] == "accept":
        return {"ok": True, "model": deepcopy(said["model"])}
    error = {"class": said["error"], "offset": 1, "section": "w", "detail": "words"}
    return {"ok": False, "error": error, "released": [{"name": "w", "image": "00"}]}


@pytest.mark.parametrize("key", VECTORS)
@pytest.mark.parametrize("profile", ["R0", "R3"])
def test_any_answer_has_a_verdict(kit, key, profile, tmp_path):
    features = frozenset({"sequential", "slice", "parts", "limits", "encode"})
    claims = Claims({"name": "any"}, profile, features)
    for question in questions(kit[key], claims, tmp_path):
        answer = answers(kit[key].sidecar, question.message["op"])
        for place, inner in [*places(answer)]:
            right = place[inner]
            for place[inner] in ODD:
                try:
                    found = judge(question, checked(answer), claims, kit)
                except ValueError:  # `checked` does not take it
                    continue
                assert found.status in STATUSES
                str(found).encode()
            place[inner] = right
