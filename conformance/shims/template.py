"""A testee to start from: copy it, or write the same in your language.

    python conformance/run.py -- python conformance/shims/template.py

It can do nothing yet: nothing passes. PROTOCOL.md says what the answers hold.
"""

import json
import sys


def hello():
    """Say who you are. Claim little: each word here is a promise that the vectors hold you to."""
    return {
        "ok": True,
        "protocol": 1,
        "implementation": {"name": "my-reader", "version": "0", "language": "Python"},
        "profile": "R0",  # R0 lists, R1 raw tensors, R2 zstd and csr, R3 everything (SPEC 4.2)
        "features": [],  # "sequential", "slice", "parts", "limits", "encode", "codec.snappy", ...
    }


def decode(question):
    """Read and check all of the file question["path"], and only then answer.

    A valid file:  {"ok": True, "model": {"tensors": [{"name", "dtype", "shape", "kind", "image",
                    "logical"}, ...], "aliases": {}, "metadata": None, "graphs": {}, "blobs": {}}}
    `image` is the hex of the decoded elements, little-endian, in C order (SPEC 2.4), None in R0;
    in a tensor that your profile leaves out it is None, beside "unsupported" with a few words.
    Any other file: {"ok": False, "error": {"class": "bad-checksum"}}, a class of SPEC 14.1.
    Let every other exception end the process: the runner must see it.
    """
    return {"ok": False, "error": {"class": "not-implemented"}}


ANSWERS = {"decode": decode, "hello": lambda _: hello(), "bye": lambda _: {"ok": True}}
"""Later "slice" and "encode"; decode's `access` and `limits` by features, `expect` in R3."""


def answer(question):
    """Answer a question; one that is not known here is not implemented."""
    known = ANSWERS.get(question["op"])
    return known(question) if known else {"ok": False, "error": {"class": "not-implemented"}}


def main():
    """Serve a question a line; or answer one: exit with 0, 1, or 2 for `not-implemented`."""
    op, *arguments = sys.argv[1:]
    if op == "serve":
        for line in sys.stdin:
            question = json.loads(line)
            print(json.dumps({"seq": question["seq"], **answer(question)}), flush=True)
        return 0
    said = answer({"op": op, "path": arguments[0] if arguments else None, "access": "random"})
    print(json.dumps(said))
    return 0 if said["ok"] else 2 if said["error"]["class"] == "not-implemented" else 1


sys.exit(main())
