"""Reports of one run, for people and for the programs of others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement

from . import matrix
from .known import KNOWN, UNEXPECTED
from .results import Results, counted, write
from .vectors import Vector
from .words import line

AREAS, WAYS, MEMBERS, WIDE = 20, 12, 8, 240
"""On a terminal: areas, ways to fail, vectors that fail in one of them, characters of a line."""


Line = dict[str, Any]
"""Of a vector, in results."""


def named(implementation: Mapping[str, Any]) -> str:
    """Return an implementation's name and version."""
    return f"{implementation['name']} {implementation.get('version', '')}".rstrip()


def areas(lines: Iterable[Line], depth: int = 2) -> dict[str, dict[str, int]]:
    """Return counts by status for each area, or folder with depth 1."""
    found: dict[str, list[str]] = {}
    for one in lines:
        area = "/".join(one["id"].split("/")[:-1][:depth])
        found.setdefault(area, []).append(one["status"])
    return {area: counted(statuses) for area, statuses in found.items()}


def table(results: Results, depth: int = 2) -> list[list[str]]:
    """Return the table by area and status, its head and its sum included."""
    statuses = [*results.counts]
    rows = [["area", *statuses]]
    for area, counts in [*areas(results.vectors, depth).items(), ("all", results.counts)]:
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


def terminal(results: Results, vectors: Iterable[Vector], again: str, folder: Path | None) -> str:
    """Return what a run prints at its end: where something fails, and in which ways."""
    known = {vector.id: vector for vector in vectors}
    ways = _ways(results.failures)
    lines: list[str] = []
    if ways:
        depth = 2 if len(areas(results.failures)) <= AREAS else 1
        failing = {"area", "all", *areas(results.failures, depth)}
        rows = [row for row in table(results, depth) if row[0] in failing]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["  ".join([row[0].ljust(wide[0]), *map(str.rjust, row[1:], wide[1:])])
                  for row in rows]  # fmt: skip
        lines.insert(1, "-" * len(lines[0]))
    for way in ways[:WAYS]:
        lines += ["", *_way(way, known)]
    if len(ways) > WAYS:
        more = sum(map(len, ways[WAYS:]))
        lines += ["", f"and {more} that fail in {len(ways) - WAYS} other ways"]
    stale = results.footer["stale"]
    lines += [""] * bool(stale)
    lines += [f"in the list of known failures, {one} matches nothing" for one in stale]
    if ways:
        where = f"{folder / 'summary.md'} has" if folder else "--report FOLDER writes"
        lines += ["", f"{where} all that fail", f"one again: {again}"]
    return "\n".join([*lines, "", verdict(results), ""]).lstrip("\n")


def _ways(failures: Iterable[Line]) -> list[list[Line]]:
    """Return failures that look the same together, the most first."""
    found: dict[tuple[str, ...], list[Line]] = {}
    for one in failures:
        wrong = one["status"].startswith("fail")  # an answer, so that the right one matters
        last = one.get("stderr", "").rpartition("\n")[2]
        key = (one["status"], one.get("got", ""), last, one.get("expected", "") if wrong else "")
        found.setdefault(key, []).append(one)
    return sorted(found.values(), key=len, reverse=True)


def _way(way: Sequence[Line], known: Mapping[str, Vector]) -> list[str]:
    """Return one failure, or several that look the same, in words."""
    one, alone = way[0], len(way) == 1
    status = one["status"] if one["status"] != UNEXPECTED else "no failure any more"
    asked = {other.get("question", "") for other in way}
    head = f"{one['id'] if alone else f'{len(way)} vectors'}: {status} ({', '.join(sorted(asked))})"
    same = {key for key in ("expected", "got") if len({other.get(key) for other in way}) == 1}
    lines = [head, *(f"    {key:8} {line(one[key], WIDE)}" for key in ("expected", "got")
                     if key in one and key in same)]  # fmt: skip
    lines += [f"    | {words}" for words in one.get("stderr", "").splitlines()[-4:]]
    for member in way[:MEMBERS]:
        vector = known[member["id"]]
        why, needs = vector.sidecar["why"], ", ".join(vector.sidecar["requirements"])
        if alone:
            lines += [f"    why      {why}", f"    read     SPEC {needs}; {_near(vector)}"]
        else:
            lines.append(line(f"    {vector.id} ({needs.partition(',')[0]}): {why}", WIDE))
    return lines + [f"    and {len(way) - MEMBERS} more"] * (len(way) > MEMBERS)


def _near(vector: Vector) -> Path:
    """Return a sidecar's path from here, if it is below."""
    path = vector.file.with_suffix(".json").absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def summary(results: Results, known: Mapping[str, Vector]) -> str:
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
        vector = known[one["id"]].sidecar
        lines += [f"- {vector['why']} SPEC {', '.join(vector['requirements'])}"]
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
    known = {vector.id: vector for vector in vectors}
    texts: Mapping[str, str] = {
        "summary.md": summary(results, known),
        "matrix.html": matrix.page([results], known.values()),
        "badge.json": json.dumps(badge(results)) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    ElementTree(junit(results)).write(folder / "junit.xml", "utf-8", xml_declaration=True)
