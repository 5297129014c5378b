"""What a reader is asked about a vector, and what its answers are worth (PROTOCOL.md, Verdicts)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .compare import Difference, compare_model, same_image
from .testee import NOT_IMPLEMENTED
from .vectors import CLASSES, PROFILES, KitError, Vector, covers
from .words import line, lines, meant

STATUSES = (
    "crash", "oom", "timeout", "protocol", "fail-release", "fail-verdict", "fail-value",
    "fail-bytes", "fail-disposition", "fail-class", "declined", "pass",
)  # fmt: skip
"""The worst first: of several answers about one vector the worst counts."""
GOOD = frozenset({"pass", "declined"})
FEATURES = ("sequential", "slice", "parts", "limits", "encode")
_CODEC = re.compile(r"codec\.[a-z0-9.-]+")
"""Besides `FEATURES`; with a word that is misspelt a feature would never be asked about."""


@dataclass(frozen=True)
class Claims:
    """What a testee says of itself.

    Attributes:
        implementation: name, version, language.
        profile: the highest reader profile that it claims.
        features: that it claims.
        error_map: native class -> class of SPEC 14.1.
    """

    implementation: dict[str, Any]
    profile: str
    features: frozenset[str]
    error_map: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: dict[str, Any], error_map: Mapping[str, str]) -> Claims:
        """Read the answer to `hello`; KitError if it is none."""
        who, features = answer.get("implementation"), answer.get("features")
        if not answer["ok"]:
            raise KitError(f"hello: answered with {answer['error']['class']!r}")
        if answer.get("protocol") != 1:
            raise KitError(f"hello: protocol 1 is asked for, not {answer.get('protocol')!r}")
        if not isinstance(who, dict) or not who.get("name"):
            raise KitError("hello: `implementation` needs a name")
        who = {key: who[key] for key in ("name", "version", "language") if key in who}
        if not all(isinstance(one, str) for one in who.values()):
            raise KitError("hello: name, version and language are strings")
        if answer.get("profile") not in PROFILES:
            raise KitError(f"hello: the profile is one of {', '.join(PROFILES)}")
        if not isinstance(features, list):
            raise KitError("hello: `features` is an array")
        for one in features:
            if not isinstance(one, str) or not (one in FEATURES or _CODEC.fullmatch(one)):
                raise KitError(f"hello: no feature is called {one!r}{meant(str(one), FEATURES)}")
        who = {key: line(words, 80) for key, words in who.items()}
        return cls(who, answer["profile"], frozenset(features), error_map)


@dataclass(frozen=True)
class Question:
    """One question about a vector.

    Attributes:
        vector: that it is about.
        label: what it is called in reports.
        message: as it is sent, but for what the transport adds.
        expected: of a slice, the image.
        error: of a slice, the class that refuses it.
    """

    vector: Vector
    label: str
    message: dict[str, Any]
    expected: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What an answer is worth.

    Attributes:
        status: one of `STATUSES`.
        question: its label.
        expected: what should have come, in words.
        got: what came.
        stderr: the end of the standard error, where the testee died.
        mapped: native error class that was translated, if one was.
    """

    status: str
    question: str
    expected: str = ""
    got: str = ""
    stderr: str = ""
    mapped: str | None = None

    def __post_init__(self) -> None:
        """Hold words that every report can hold: a testee is not trusted."""
        for key in ("question", "expected", "got"):
            object.__setattr__(self, key, line(getattr(self, key)))
        object.__setattr__(self, "stderr", lines(self.stderr))

    @property
    def rank(self) -> int:
        """Its place among the statuses."""
        return STATUSES.index(self.status)


def questions(vector: Vector, claims: Claims, folder: Path) -> Iterator[Question]:
    """Yield all that a testee with these claims is asked; `folder` takes what it encodes.

    An expected root is for random access alone: a sequential reader meets the digests last, and
    cannot compare a piece before it uses it.
    """
    said, has = vector.sidecar, claims.features
    if vector.folder != "encode" and unasked(vector, claims):  # encode vectors are also decoded
        return
    path = str(vector.file.resolve())
    expect = said.get("expect")
    for access in ("random", "sequential"):
        if access == "random" or ("sequential" in has and not expect):
            yield Question(vector, f"decode {access}", {
                "op": "decode", "path": path, "access": access,
                "limits": said.get("limits", {}), "expect": expect,
            })  # fmt: skip
    for box in said.get("slices", ()) if "slice" in has else ():
        ranges = ", ".join(f"{a}:{b}" for a, b in zip(box["start"], box["stop"], strict=True))
        yield Question(vector, f"slice {box['tensor']}[{ranges}]", {
            "op": "slice", "path": path, "tensor": box["tensor"],
            "start": box["start"], "stop": box["stop"],
        }, box.get("image"), box.get("error"))  # fmt: skip
    if vector.folder == "encode" and "encode" in has:
        out = str(folder / vector.id.replace("/", "-"))
        message = {"op": "encode", "model": said["model"], "out": out}
        yield Question(vector, "encode", message)


def unasked(vector: Vector, claims: Claims) -> Verdict | None:
    """Return the verdict on what a vector is for and the testee does not claim to do."""
    if vector.sidecar.get("expect") and claims.profile < "R3":
        return Verdict("declined", "expect", got="not asked: digests are for profile R3")
    if vector.folder in {"limits", "encode"} - claims.features:
        return Verdict("declined", vector.folder, got=f"not asked: no feature {vector.folder}")
    return None


def judge(question: Question, answer: dict[str, Any], claims: Claims, bases: Bases) -> Verdict:
    """Return what an answer is worth."""
    native: str | None = None if answer["ok"] else answer["error"]["class"]
    name = native if native is None or native in CLASSES else claims.error_map.get(native, native)
    mapped = native if name != native else None
    op = question.message["op"]
    if native == NOT_IMPLEMENTED:
        whose = "every reader has" if op == "decode" else "hello claims"
        return Verdict("protocol", question.label, f"{op}, which {whose}", native)
    if name == "unsupported" and claims.profile < "R2" and question.vector.has_zstd_directory:
        return Verdict("declined", question.label, got="a directory in zstd", mapped=mapped)
    try:
        if op == "decode":
            status = _decode(question, answer, name, claims, bases)
        elif op == "slice":
            status = _slice(question, answer, name, claims)
        else:
            status = _encode(question, answer, name, claims)
    except _Wrong as bad:
        return Verdict(bad.status, question.label, bad.expected, bad.got, mapped=mapped)
    return Verdict(status, question.label, mapped=mapped)


Bases = Mapping[str, Vector]
"""Vectors by id, in which an invalid one finds what it was made from."""


class _Wrong(Exception):  # noqa: N818 - a verdict
    def __init__(self, status: str, expected: str, got: str) -> None:
        super().__init__(status)
        self.status, self.expected, self.got = status, expected, got


def _decode(question: Question, answer: dict[str, Any], name: str | None, claims: Claims,
            bases: Bases) -> str:  # fmt: skip
    vector, said = question.vector, question.vector.sidecar
    covered = vector.covered_by(claims.profile, claims.features)
    if answer["ok"] and not isinstance(answer.get("model"), dict):
        raise _Wrong("protocol", "a model", repr(answer.get("model")))
    if said["result"] == "accept":
        if not answer["ok"]:
            raise _Wrong("fail-verdict", wanted(vector), _told(answer, name))
        try:
            left = compare_model(said["model"], answer["model"], profile=claims.profile,
                                 features=claims.features, covered=covered,
                                 access=question.message["access"])  # fmt: skip
        except Difference as bad:
            raise _Wrong("fail-value", f"{bad.where}: {bad.expected}", bad.got) from None
        return "declined" if left else "pass"
    if not answer["ok"]:
        _released(vector, answer.get("released"), bases)
        if question.message["access"] == "sequential":  # R-RDR-018
            return _rejected(said.get("sequential"), answer, name)
        return _rejected(said["error"], answer, name, said.get("also", ()))
    if not covered and _leaves_out(answer["model"], claims, _base_of(vector, bases)):
        return "declined"
    raise _Wrong("fail-verdict", wanted(vector), "accepted")


def _rejected(error: str | None, answer: dict[str, Any], name: str | None,
              also: Iterable[str] = ()) -> str:  # fmt: skip
    """Compare a class with the one that is right, None where every class of SPEC 14.1 is."""
    expected = f"{error} ({CLASSES[error]})" if error else "rejected"
    if name not in CLASSES:
        raise _Wrong("fail-class", expected, f"{_told(answer, name)}; no class of SPEC 14.1")
    if error is None or name in {error, *also}:
        return "pass"
    status = "fail-class" if CLASSES[name] == CLASSES[error] else "fail-disposition"
    raise _Wrong(status, expected, _told(answer, name))


def _base_of(vector: Vector, bases: Bases) -> list[dict[str, Any]]:
    """Return the tensors of the valid file that an invalid one was made from."""
    base = bases.get(vector.base)
    return base.sidecar["model"]["tensors"] if base and "model" in base.sidecar else []


def _leaves_out(model: dict[str, Any], claims: Claims, base: Iterable[dict[str, Any]]) -> bool:
    """Return whether a model of an invalid file leaves out all tensors that may hold the fault.

    Where claims cover all tensors, the fault is in what they do not look into: in JSON, in
    digests, in a directory that is not decoded (R-RDR-010).
    """
    tensors = model.get("tensors")
    if not isinstance(tensors, list):
        return False
    out = [one.get("name") for one in tensors if isinstance(one, dict) and one.get("image") is None
           and (claims.profile == "R0" or isinstance(one.get("unsupported"), str))]  # fmt: skip
    uncovered = [one for one in base if not covers(one, claims.profile, claims.features)]
    return all(one["name"] in out for one in uncovered)


def _released(vector: Vector, released: Any, bases: Bases) -> None:
    """Compare what was handed out before a fault with what the file holds.

    That is what the valid file has from which this one was made, or, where stored bytes were
    changed together with their checksums, these bytes.
    """
    if released is None:
        return
    if not isinstance(released, list) or not all(
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("image"), str | None)
        for one in released
    ):
        raise _Wrong("protocol", "released: an array of names and images", repr(released))
    held = {one["name"]: one["image"] for one in _base_of(vector, bases)}
    for one in released:
        name, image = one["name"], one.get("image")
        if name not in held or image is None or same_image(held[name], image):
            continue
        if not vector.sidecar["derived"]["repair"] or not _stored(vector, image, held[name]):
            raise _Wrong("fail-release", f"tensor {name}: {held[name]}"[:200], image[:200])


def _stored(vector: Vector, image: str, other: str | None) -> bool:
    """Return whether the file holds these very bytes, as many as there were before."""
    try:
        data = bytes.fromhex(image)
    except ValueError:
        return False
    return len(image) == len(other or "") and data in vector.file.read_bytes()


def _slice(question: Question, answer: dict[str, Any], name: str | None, claims: Claims) -> str:
    if not answer["ok"]:
        concerned = _concerned(question)
        if name == "unsupported" and not covers(concerned, claims.profile, claims.features):
            return "declined"
        if question.error:
            return _rejected(question.error, answer, name, question.vector.sidecar.get("also", ()))
        raise _Wrong("fail-verdict", "a slice", _told(answer, name))
    if question.error:
        expected = f"{question.error} ({CLASSES[question.error]})"
        raise _Wrong("fail-verdict", expected, f"a slice: {answer.get('image')}"[:200])
    if not isinstance(answer.get("image"), str):
        raise _Wrong("protocol", "an image", repr(answer.get("image")))
    if not same_image(question.expected, answer["image"]):
        raise _Wrong("fail-value", str(question.expected)[:200], answer["image"][:200])
    return "pass"


def _concerned(question: Question) -> dict[str, Any]:
    """Return what states the profile and the features that a slice needs."""
    said, name = question.vector.sidecar, question.message["tensor"]
    if "model" not in said:
        return said
    name = said["model"]["aliases"].get(name, name)
    return next(one for one in said["model"]["tensors"] if one["name"] == name)


def _encode(question: Question, answer: dict[str, Any], name: str | None, claims: Claims) -> str:
    vector = question.vector
    if not answer["ok"]:
        covered = vector.covered_by(claims.profile, claims.features)
        if name == "unsupported" and not covered:
            return "declined"
        raise _Wrong("fail-verdict", "encoded", _told(answer, name))
    wanted = vector.file.read_bytes()
    size, data = _written(Path(question.message["out"]), len(wanted) + 16)
    if data != wanted:
        pairs = enumerate(zip(data, wanted, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(data), len(wanted)))
        raise _Wrong(
            "fail-bytes",
            f"{len(wanted)} bytes, at {at:#x}: {wanted[at : at + 16].hex(' ')}",
            f"{size} bytes, at {at:#x}: {data[at : at + 16].hex(' ')}",
        )
    return "pass"


def _written(out: Path, most: int) -> tuple[int, bytes]:
    """Take the file that a testee wrote: its size, and its first bytes."""
    try:
        if out.is_symlink() or not out.is_file():  # a pipe would not end
            raise _Wrong("protocol", "a file", "a link" if out.is_symlink() else "none")
        with out.open("rb") as file:
            found = out.stat().st_size, file.read(most)
        out.unlink()
    except OSError as bad:
        raise _Wrong("protocol", "a file", str(bad)) from None
    return found


def _told(answer: dict[str, Any], name: str | None) -> str:
    """Return a rejection in words."""
    error = answer["error"]
    words = f"{name} ({CLASSES[name]})" if name in CLASSES else str(name)
    for key in ("offset", "section"):
        words += "" if error.get(key) is None else f", {key} {error[key]}"
    return words + (f": {error['detail']}" if error.get("detail") else "")


def wanted(vector: Vector) -> str:
    """Return the right answer about a file in words."""
    said = vector.sidecar
    return "accepted" if said["result"] == "accept" else f"{said['error']} ({said['disposition']})"
