"""A testee that reads the sidecars and spoils the right answer in a way of its own.

`python stub.py MODE ...`: what is wrong the runner must find (tests/test_conformance_runner.py).
The vectors' folder is named by the environment variable NNPACK_VECTORS.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FEATURES = ["sequential", "slice", "parts", "limits", "encode"]


def sidecar(question: Json) -> Json:
    """Return what is known about the file."""
    return json.loads(Path(question["path"]).with_suffix(".json").read_text())


def rejected(name: str, **more: Any) -> Json:
    """Return a rejection."""
    return {"ok": False, "error": {"class": name}, **more}


def right(question: Json) -> Json:
    """Return the right answer."""
    op = question["op"]
    if op == "hello":
        return {"ok": True, "protocol": 1, "implementation": {"name": "stub"}, "profile": "R3",
                "features": FEATURES}  # fmt: skip
    if op == "decode":
        said = sidecar(question)
        accepted = said["result"] == "accept"
        return {"ok": True, "model": said["model"]} if accepted else rejected(said["error"])
    if op == "slice":
        keys = ("tensor", "start", "stop")
        for box in sidecar(question).get("slices", ()):
            if all(box[key] == question[key] for key in keys):
                wrong = box.get("error")
                return rejected(wrong) if wrong else {"ok": True, "image": box["image"]}
    if op == "encode":
        for path in Path(os.environ["NNPACK_VECTORS"]).rglob("*.json"):
            if json.loads(path.read_text()).get("model") == question["model"]:
                Path(question["out"]).write_bytes(path.with_suffix(".nnpk").read_bytes())
    return {"ok": True}


def about_files(change: Callable[[Json, Json], Json]) -> Callable[[Json], Json]:
    """Return an answerer that changes its answers to all but hello and bye."""

    def answer(question: Json) -> Json:
        said = right(question)
        return said if question["op"] in {"hello", "bye"} else change(question, said)

    return answer


def accept_all(_: Json, said: Json) -> Json:
    """Accept what is to be rejected."""
    nothing = {"tensors": [], "aliases": {}, "metadata": None, "graphs": {}, "blobs": {}}
    return said if said["ok"] else {"ok": True, "model": nothing}


def slice_all(question: Json, said: Json) -> Json:
    """Hand out slices of damaged files."""
    return said if said["ok"] or question["op"] != "slice" else {"ok": True, "image": ""}


def minimal(question: Json) -> Json:
    """Claim little, and leave out what is not claimed."""
    said = right(question)
    if question["op"] == "hello":
        return {**said, "profile": "R1", "features": []}
    if question["op"] == "decode" and sidecar(question)["profile"] > "R1":
        if not said["ok"]:
            said = accept_all(question, said)
            said["model"]["tensors"] = [{"name": "w", "image": None, "unsupported": "a codec"}]
        said["model"] |= {"metadata": None, "graphs": {}, "root": None}
        for tensor in said["model"]["tensors"]:
            if tensor.get("profile", "R1") > "R1":
                tensor.update(image=None, unsupported="a codec")
    return said


def forgetful(question: Json) -> Json:
    """Answer rightly about a file the first time, and then not."""
    said = right(question)
    key = json.dumps({**question, "seq": 0})
    if question["op"] == "decode" and key in ASKED:
        said = each_tensor(other_bit)(question, said)
    ASKED.add(key)
    return said


ASKED: set[str] = set()


def each_tensor(change: Callable[[Json], Json]) -> Callable[[Json, Json], Json]:
    """Change all tensors of a model."""

    def changed(_: Json, said: Json) -> Json:
        for tensor in said.get("model", {}).get("tensors", ()):
            tensor.update(change(tensor))
        return said

    return changed


def other_bit(tensor: Json) -> Json:
    """Flip the lowest bit of the first element."""
    image = tensor["image"]
    return {"image": f"{int(image[:2], 16) ^ 1:02x}{image[2:]}"} if image else {}


def release(image: str, name: Any = "w") -> Callable[[Json, Json], Json]:
    """Hand out a tensor before a file is rejected."""
    handed = [{"name": name, "image": image}]
    return lambda _, said: said if said["ok"] else {**said, "released": handed}


def say_twice(question: Json, said: Json) -> Json:
    """Answer something that nobody asked, before the answer."""
    write({**said, "seq": question.get("seq")})
    return said


def take_memory(question: Json, said: Json) -> Json:
    """Take memory until there is no more."""
    del question, said
    taken = []
    while True:
        taken.append(b"x" * (64 << 20))


def hang(question: Json, said: Json) -> Json:
    """Think for too long."""
    del question
    time.sleep(600)
    return said


def crash(question: Json, said: Json) -> Json:
    """Die by a signal."""
    del question, said
    os.abort()


def panic(question: Json, said: Json) -> Json:
    """End as programs in some languages do that met a bug."""
    del question, said
    sys.stderr.write("panic: index out of range\n")
    raise SystemExit(2)


def odd_signal(question: Json, said: Json) -> Json:
    """Die by a signal that has no name."""
    del question
    os.kill(os.getpid(), signal.SIGRTMIN + 6)
    return said


def dribble(question: Json, said: Json) -> Json:
    """Begin an answer, and never come to its end."""
    del question, said
    while True:
        os.write(1, b" ")


def write_folder(question: Json, said: Json) -> Json:
    """Make a folder where a file is to be written."""
    if question["op"] == "encode":
        Path(question["out"]).unlink()
        Path(question["out"]).mkdir()
    return said


def write_link(question: Json, said: Json) -> Json:
    """Link to the file that is to be written."""
    if question["op"] == "encode":
        out = Path(question["out"])
        out.symlink_to(out.rename(out.with_name("elsewhere")))
    return said


def talk(question: Json, said: Json) -> Json:
    """Tell people what it does where answers are read."""
    sys.stdout.write(f"opening {Path(question.get('path', '')).name}\n")
    return said


def cut(question: Json, said: Json) -> Json:
    """Say half an answer, and nothing more."""
    text = json.dumps({**said, "seq": question.get("seq")})
    sys.stdout.write(text[: len(text) // 2] + "\n")
    sys.stdout.flush()
    raise SystemExit(0)


def encode_otherwise(question: Json, said: Json) -> Json:
    """Write another byte at the end."""
    if question["op"] == "encode":
        with Path(question["out"]).open("ab") as file:
            file.write(b"\0")
    return said


ODD = "\ud800\uffff\x1b[31m\u2028<script>`\n"
"""Characters that some report has not, or takes for something else."""
GREETINGS: dict[str, Json] = {
    "hello-of-tomorrow": {"protocol": 2},
    "hello-odd": {"implementation": {"name": f"../{ODD}", "version": ODD, "more": [ODD]}},
    "hello-version": {"implementation": {"name": "stub", "version": 1}},
    "hello-nobody": {"implementation": "stub"},
    "hello-features": {"features": [["sequential"]]},
    "hello-slices": {"features": ["slices"]},
    "hello-profile": {"profile": ["R3"]},
}
TEXTS = {
    "key-twice": '{"seq": %d, "ok": true, "ok": false, "error": {"class": "bad-checksum"}}',
    "long-number": '{"seq": %d, "ok": false, "error": {"class": "", "offset": ' + "9" * 5000 + "}}",
    "deep": '{"seq": %d, "ok": true, "model": ' + "[" * 80 + "]" * 80 + "}",
    "very-deep": '{"seq": %d, "ok": true, "model": ' + "[" * 10**6,
    "many-values": '{"seq": %d, "ok": true, "model": [' + "0," * (5 << 20) + "0]}",
    "not-a-number": '{"seq": %d, "ok": NaN}',
}
"""Answers that no encoder would give."""
MODES: dict[str, Callable[[Json], Json]] = {
    "right": right,
    "minimal": minimal,
    "forgetful": forgetful,
    "accept-all": about_files(accept_all),
    "reject-all": about_files(lambda *_: rejected("bad-checksum")),
    "reject-unsupported": about_files(lambda *_: rejected("unsupported")),
    "slice-all": about_files(slice_all),
    "own-names": about_files(
        lambda _, said: said if said["ok"] else rejected("E_" + said["error"]["class"])
    ),
    "wrong-bits": about_files(each_tensor(other_bit)),
    "lies-unsupported": about_files(each_tensor(lambda _: {"image": None, "unsupported": "no"})),
    "releases-wrong": about_files(release("0100803f000020c00100a07f")),
    "wrong-slices": about_files(
        lambda question, said: (
            {**said, **other_bit(said)} if question["op"] == "slice" and said["ok"] else said
        )
    ),
    "releases-oddly": about_files(release("00", ["w"])),
    "releases-right": about_files(release("0000803f000020c00100a07f")),
    "encodes-otherwise": about_files(encode_otherwise),
    "odd-words": about_files(
        lambda *_: {"ok": False, "error": {"class": ODD, "detail": ODD * 9999, "offset": [ODD]}}
    ),
    "odd-names": about_files(each_tensor(lambda _: {"name": ODD})),
    "long-dimension": about_files(each_tensor(lambda _: {"shape": ["9" * 5000]})),
    "short-strings": about_files(
        each_tensor(lambda tensor: {"shape": [str(size) for size in tensor["shape"]]})
    ),
    "writes-link": about_files(write_link),
    "talks": about_files(talk),
    "writes-folder": about_files(write_folder),
    "crash": about_files(crash),
    "panic": about_files(panic),
    "odd-signal": about_files(odd_signal),
    "dribble": about_files(dribble),
    "hang": about_files(hang),
    "cut": about_files(cut),
    "wrong-seq": about_files(lambda question, said: {**said, "seq": question.get("seq", 0) + 1}),
    "says-twice": about_files(say_twice),
    "takes-memory": about_files(take_memory),
    "no-class": about_files(lambda *_: {"ok": False, "error": {}}),
    "no-model": about_files(lambda *_: {"ok": True}),
    "not-implemented": about_files(lambda *_: rejected("not-implemented")),
    **{
        name: lambda question, change=change: {**right(question), **change}
        for name, change in GREETINGS.items()
    },
    **{
        name: about_files(lambda _, said, text=text: {**said, "text": text})
        for name, text in TEXTS.items()
    },
}


def write(said: Json) -> None:
    """Write an answer, or its text."""
    text = said["text"] % said.get("seq", 0) if "text" in said else json.dumps(said)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve(mode: str) -> int:
    """Answer a question a line."""
    for line in sys.stdin:
        question = json.loads(line)
        write({"seq": question["seq"], **MODES[mode](question)})
        if question["op"] == "bye":
            break
    return 0


def one(mode: str, op: str, arguments: list[str]) -> int:
    """Answer the question of a command line."""
    question: Json = {"op": op}
    if op == "decode":
        question |= {"path": arguments[0]}
    elif op == "slice":
        start, stop = (json.loads(text) for text in arguments[2:])
        question |= {"path": arguments[0], "tensor": arguments[1], "start": start, "stop": stop}
    elif op == "encode":
        question |= {"model": json.loads(Path(arguments[0]).read_text()), "out": arguments[1]}
    said = MODES[mode](question)
    write(said)
    return 0 if said["ok"] else 2 if said["error"].get("class") == "not-implemented" else 1


if __name__ == "__main__":
    mode, op, *arguments = sys.argv[1:]
    raise SystemExit(serve(mode) if op == "serve" else one(mode, op, arguments))
