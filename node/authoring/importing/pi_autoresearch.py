"""pi-autoresearch: a session in `.auto/` (measure.sh, checks.sh, prompt.md, log.jsonl), or in the older flat layout.

measure.sh prints `METRIC name=value` lines; which of them is researched, and which way, the log's first line says.
prompt.md says in words which files may be edited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from node.authoring.importing.environment import description_of, find_environment
from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import (
    PROGRAMS,
    BudgetFound,
    Choice,
    ImportRefusedError,
    MetricFound,
    Recognised,
)
from node.authoring.importing.seeds import find_seeds
from node.objective.history import read_history
from node.objective.trees import MAX_FILES, MAX_SOURCE_CHARACTERS
from protocol.metric import Direction, Scale

FAMILY = "pi-autoresearch"
RUN_SECONDS = 600.0  # its own limit of a run, and that of its checks
CHECKS_SECONDS = 300.0
MOST_IN_SCOPE, LONGEST_PATH = 200, 300  # of what prompt.md names
SPREAD = 0.02  # of ln(metric): most sessions time programs

_BULLET = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+(.*)")
_PATH = re.compile(r"`([^`\s]+)`")
_SEPARATOR = re.compile(r"\s[—–-]\s|:\s")  # between a path and what is said of it
_METRIC_LINE = re.compile(r"METRIC\s+([\w.µ]+)=", re.ASCII)
# "- **Primary**: `sort_ms` (ms, lower is better)": the name, what stands in brackets, the rest of the line.
_PRIMARY = re.compile(r"\*\*Primary:?\*\*:?[ \t]*`?([\w.µ]+)`?[ \t]*(?:\(([^)]{0,200})\))?(.{0,200})", re.ASCII)
_TESTS = re.compile(r"(^|/)(tests?|specs?|__tests__)(/|$)|(^|/)test_[^/]*$|[._]test\.[^/]*$|_spec\.[^/]*$")


@dataclass(frozen=True)
class Layout:
    """Where a session has its files."""

    measure: str
    checks: str
    prompt: str
    log: str
    config: str
    folder: str  # with a slash; "" for the flat layout


CURRENT = Layout(
    ".auto/measure.sh", ".auto/checks.sh", ".auto/prompt.md", ".auto/log.jsonl", ".auto/config.json", ".auto/"
)
FLAT = Layout(
    "autoresearch.sh",
    "autoresearch.checks.sh",
    "autoresearch.md",
    "autoresearch.jsonl",
    "autoresearch.config.json",
    "",
)
# What the tool writes while it searches. It is no part of what measures.
_TOOLS_OWN = ("ideas.md", "hooks/", "autoresearch.ideas.md", "autoresearch.hooks/")


def recognise(folder: Folder, choice: Choice) -> Recognised | None:
    """The folder as a session; None where it is none. Raises ImportRefusedError where a session lacks what it needs."""
    layout = next((each for each in (CURRENT, FLAT) if folder.has(each.measure)), None)
    if layout is None:
        return None
    _refuse_elsewhere(folder, layout)
    words, log = folder.text(layout.prompt), folder.text(layout.log)
    measure = folder.text(layout.measure)
    if layout is FLAT and not _METRIC_LINE.search(measure) and not words and not log:
        return None  # a script that only happens to have this name
    metric = _metric(words, log, measure, choice.metric)
    kept = _own_files(folder, layout)
    checked = folder.has(layout.checks)
    editable, notes = (choice.editable, ()) if choice.editable else _editable(folder, layout, words, checked)
    name, description = description_of(folder)
    return Recognised(
        family=FAMILY + (" (flat layout)" if layout is FLAT else ""),
        certain=True,
        why=layout.measure + (f", {layout.log}" if log else "") + (f", {layout.prompt}" if words else ""),
        name=name or folder.root.name,
        summary=_title(words, log) or description or "A program that is made better by its own measure.",
        editable=editable,
        metric=metric,
        command={
            "run": f"bash {layout.measure}",
            "values": "lines",
            **({"checks": f"bash {layout.checks}"} if folder.has(layout.checks) else {}),
        },
        seeds=find_seeds(folder, editable, (layout.measure,)),
        environment=find_environment(folder),
        budget=BudgetFound(wall_seconds=RUN_SECONDS),
        device="cpu",
        categories=PROGRAMS,
        spread=SPREAD,
        minimum_effect=0.005,
        needed=kept,
        history=layout.log if folder.has(layout.log) else None,
        direction=layout.prompt if words else None,
        notes=notes,
    )


def _refuse_elsewhere(folder: Folder, layout: Layout) -> None:
    """Raise where the session's settings say that the work is in another folder."""
    try:
        elsewhere = json.loads(folder.text(layout.config) or "{}").get("workingDir")
    except (ValueError, RecursionError, AttributeError):
        return
    if isinstance(elsewhere, str) and elsewhere not in ("", ".", "./") and (folder.root / elsewhere) != folder.root:
        raise ImportRefusedError(f"{layout.config} says that the work is in {elsewhere!r:.200}; import that folder")


def _own_files(folder: Folder, layout: Layout) -> tuple[str, ...]:
    """The session's files that a run needs: scripts and what lies beside them, hidden or not."""
    named = [layout.measure, layout.checks, layout.prompt, layout.log]
    beside = [path for path in folder.present if layout.folder and path.startswith(layout.folder)]
    beside = [path for path in beside if not path.removeprefix(layout.folder).startswith(_TOOLS_OWN)]
    return tuple(dict.fromkeys(path for path in [*named, *beside] if folder.has(path) and path != layout.config))


def _metric(words: str, log: str, measure: str, chosen: str | None) -> MetricFound:
    """The last configuration in the log; where there is none what prompt.md says, else the first metric printed."""
    name, unit, direction = "", "", ""
    for line in log.split("\n"):
        if '"config"' in line:
            entry = _entry(line)
            if entry.get("type") == "config":
                name, unit, direction = (
                    str(entry.get(key) or "")[:60] for key in ("metricName", "metricUnit", "bestDirection")
                )
    told = _PRIMARY.search(words)
    if not name and told is not None:
        bracket = told[2] or ""
        name, direction = told[1], f"{bracket} {told[3]}"
        unit = "" if "better" in (first := bracket.partition(",")[0]) else first
    printed = _METRIC_LINE.findall(measure)
    name = chosen or name or next(iter(printed), "")
    if not name:
        raise ImportRefusedError("the session says nowhere which metric it is about; give --metric NAME, and --higher")
    values = [result.value for result in read_history(log.encode(), name).results if result.value is not None]
    linear = any(value <= 0 for value in values)
    return MetricFound(
        name,
        unit.strip() if len(unit) <= 20 else "",
        Direction.HIGHER if "higher" in direction else Direction.LOWER,
        Scale.LINEAR if linear else Scale.LOG,
        f"the last line `METRIC {name}=NUMBER` that the run prints",
    )


def _entry(line: str) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _editable(folder: Folder, layout: Layout, words: str, checked: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the files in scope, notes about those that stay locked)."""
    found: dict[str, None] = {}
    locked: dict[str, None] = {}
    for named in islice(scope(words), MOST_IN_SCOPE):
        for path in [named] if folder.has(named) else folder.matching(named):
            if path.startswith(".auto/") or path in (layout.measure, layout.checks, layout.prompt, layout.log):
                continue
            size = (folder.root / path).stat().st_size
            if size > MAX_SOURCE_CHARACTERS or (size and not folder.text(path)):  # too long, or no text
                continue
            (locked if checked and _TESTS.search(path) else found)[path] = None
    if not found:
        told = "names no file of this folder under 'Files in Scope'" if words else "is not there"
        raise ImportRefusedError(f"{layout.prompt} {told}; say which files may be edited: --editable FILE ...")
    if len(found) > MAX_FILES:
        raise ImportRefusedError(
            f"{layout.prompt} puts {len(found)} files in scope, and at most {MAX_FILES} can be edited; name those that "
            "matter: --editable FILE ..."
        )
    notes = [f"in scope, but locked, because the checks judge by them: {', '.join([*locked][:5])}"] if locked else []
    return tuple(found), tuple(notes)


def scope(words: str) -> Iterator[str]:
    """The paths that stand in the list below "Files in Scope"."""
    inside = False
    for line in words.splitlines():
        if line.startswith("#"):
            inside = "in scope" in line.lower()
        elif inside and (bullet := _BULLET.match(line)):
            head = _SEPARATOR.split(bullet[1], maxsplit=1)[0]
            quoted = _PATH.findall(head)
            plain = [word for word in head.replace(",", " ").split() if "." in word or "/" in word]
            named = (path.removeprefix("./").removesuffix(".") for path in quoted or plain)
            yield from (path for path in named if len(path) <= LONGEST_PATH)


def _title(words: str, log: str) -> str:
    for line in log.split("\n", 1)[:1]:
        if name := _entry(line).get("name"):
            return str(name)
    heading = next((line for line in words.splitlines() if line.startswith("# ")), "")
    return heading.removeprefix("# ").removeprefix("Autoresearch:").strip()
