"""Reports of one run, for people and for the programs of others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement

from . import matrix
from .known import KNOWN
from .results import Results, counted, write
from .vectors import Vector

SHOWN = 40
"""Failing vectors that a terminal shows."""


def named(implementation: Mapping[str, Any]) -> str:
    """Return an implementation's name and version."""
    return f"{implementation['name']} {implementation.get('version', '')}".rstrip()


def areas(results: Results) -> dict[str, dict[str, int]]:
    """Return counts by status for each area."""
    found: dict[str, list[str]] = {}
    for one in results.vectors:
        found.setdefault(one["id"].rpartition("/")[0], []).append(one["status"])
    return {area: counted(statuses) for area, statuses in found.items()}


def table(results: Results) -> list[list[str]]:
    """Return the table by area and status, its head and its sum included."""
    statuses = [*results.counts]
    rows = [["area", *statuses]]
    for area, counts in [*areas(results).items(), ("all", results.counts)]:
        rows.append([area, *(str(counts.get(status, "")) for status in statuses)])
    return rows


def verdict(results: Results) -> str:
    """Return the outcome of a run in a line."""
    counts = results.counts
    asked = f"{results.footer['vectors']} vectors: {counts.get('pass', 0)} pass"
    parts = [f"{counts[status]} {status}" for status in ("declined", KNOWN) if status in counts]
    parts += [f"{len(results.failures)} FAIL"] if results.failures else []
    mapped = results.footer["mapped"]
    parts += [f"{mapped} error names translated"] if results.header["error_map"] else []
    return ", ".join([asked, *parts]) + f"; {results.footer['seconds']} s"


def terminal(results: Results, again: str) -> str:
    """Return what a run prints at its end."""
    rows = table(results)
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(wide[0]), *(cell.rjust(size) for cell, size in
             zip(row[1:], wide[1:], strict=True))]) for row in rows]  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    for one in results.failures[:SHOWN]:
        lines += ["", f"{one['id']}: {one['status']} ({one.get('question', '')})"]
        lines += [f"    {key:8} {one[key]}" for key in ("expected", "got") if key in one]
        lines += [f"    {key}" for key in one.get("stderr", "").splitlines()[-4:]]
    if len(results.failures) > SHOWN:
        lines += ["", f"and {len(results.failures) - SHOWN} more"]
    lines += [f"the list of known failures has {one}, which matches nothing"
              for one in results.footer["stale"]]  # fmt: skip
    lines += ["", f"one again: {again}"] if results.failures else []
    return "\n".join([*lines, "", verdict(results), ""])


def summary(results: Results) -> str:
    """Return a page of Markdown."""
    rows = table(results)
    name = re.sub(r"([\\`*_\[\]<>&#])", r"\\\1", named(results.header["implementation"]))
    lines = [f"# {name}", ""]
    features = ", ".join(results.header["features"]) or "none"
    lines += [f"SPEC 1.0, profile {results.header['profile']}, features: {features}.", ""]
    lines += [verdict(results) + ".", ""]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(-len(rows) + 1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    for one in results.failures:
        lines += ["", f"**{one['id']}**: {one['status']} ({one.get('question', '')})", ""]
        said = {key: one[key].replace("`", "'") for key in ("expected", "got") if key in one}
        lines += [f"- {key}: `{words}`" for key, words in said.items()]
    return "\n".join([*lines, ""])


def junit(results: Results) -> Element:
    """Return the run as JUnit's XML."""
    suite = Element(
        "testsuite",
        name=f"nnpack conformance: {named(results.header['implementation'])}",
        tests=str(len(results.vectors)),
        failures=str(len(results.failures)),
        time=str(results.footer["seconds"]),
    )
    for one in results.vectors:
        area, _, name = one["id"].rpartition("/")
        case = SubElement(suite, "testcase", classname=area.replace("/", "."), name=name,
                          time=str(one["seconds"]))  # fmt: skip
        if one["status"] in {"declined", KNOWN}:
            SubElement(case, "skipped", message=one.get("got", "") or one["status"])
        elif one["status"] != "pass":
            failure = SubElement(case, "failure", type=one["status"], message=one.get("got", ""))
            failure.text = (f"{one.get('question')}: expected {one.get('expected')}\n"
                            f"{one.get('stderr', '')}")  # fmt: skip
    return suite


def badge(results: Results) -> dict[str, object]:
    """Return a badge for shields; green with no failure, known or not, in a whole run."""
    counts, failing = results.counts, len(results.failures) + len(results.footer["stale"])
    covered = results.footer["vectors"] - counts.get("declined", 0)
    colour = "red" if failing else "yellow" if KNOWN in counts else "brightgreen"
    message = f"{counts.get('pass', 0)}/{covered}"
    if results.header["partial"]:
        colour, message = "lightgrey", f"{message} of a part"
    label = f"nnpack {results.header['profile']} 1.0"
    return {"schemaVersion": 1, "label": label, "message": message, "color": colour}


def write_all(results: Results, folder: Path, vectors: Iterable[Vector]) -> None:
    """Write all reports into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write(results, folder / "results.ndjson")
    texts: Mapping[str, str] = {
        "summary.md": summary(results),
        "matrix.html": matrix.page([results], vectors),
        "badge.json": json.dumps(badge(results)) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    ElementTree(junit(results)).write(folder / "junit.xml", "utf-8", xml_declaration=True)
