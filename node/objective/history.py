"""Results from before a swarm: another tool's results.tsv or log.jsonl as what was tried, and what came of it.

Read are the table of karpathy/autoresearch and its forks, AutoKernel's, and the log of pi-autoresearch. Such a file is
a stranger's, so it is decoded once, here: sizes and numbers of rows are bounded, a line that cannot be read is counted
and passed over, and a value is a finite number or none. Titles are cut and stay a stranger's text: whoever shows them
cleans them for the place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_RESULTS = 2000  # the latest ones; a thousand experiments is a long search of one agent
MAX_BYTES = 8 << 20  # as of any file of an objective
MAX_LINE = 1 << 16  # characters; notes of an agent stand in them too
TITLE_CHARACTERS = 200


class Status(StrEnum):
    """What became of something that was tried."""

    KEPT = "kept"
    DISCARDED = "discarded"
    CRASHED = "crashed"  # it has no value
    TRIED = "tried"  # whether it was kept is not said


@dataclass(frozen=True)
class PastResult:
    """One thing that was tried. value: of the objective's metric; None where there was none."""

    title: str
    value: float | None
    status: Status


@dataclass(frozen=True)
class History:
    """What a file says was tried, oldest first. skipped: lines that could not be read."""

    results: tuple[PastResult, ...] = ()
    skipped: int = 0

    def count(self, status: Status) -> int:
        return sum(result.status == status for result in self.results)


_STATUSES = {
    "keep": Status.KEPT,
    "kept": Status.KEPT,
    "discard": Status.DISCARDED,
    "discarded": Status.DISCARDED,
    "revert": Status.DISCARDED,
    "checks_failed": Status.CRASHED,  # measured, but what it computed was wrong
    "crash": Status.CRASHED,
    "crashed": Status.CRASHED,
    "pass": Status.TRIED,
    "fail": Status.CRASHED,
    "timeout": Status.CRASHED,
}
_TITLES = ("description", "title", "change", "hypothesis", "idea")
_NOT_VALUES = ("commit", "status", "experiment", "tag", "kernel_type", "correctness", "memory_gb", *_TITLES)
_PLAIN_HEADER = ("commit", "value", "memory_gb", "status", "description")  # of a table without one


def read_history(data: bytes, metric: str) -> History:
    """What was tried, by the content of a history file. metric: the name of the objective's metric. Never raises."""
    text = data[:MAX_BYTES].decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = [line.rstrip("\r") for line in text.split("\n")]  # no other line ends: a title may hold them
    lines = [line for line in lines if line.strip()]
    first = next((line for line in lines if len(line) <= MAX_LINE), "")
    read = _in_json(lines) if first.lstrip().startswith("{") else _in_table(lines, metric)
    rows = list(read)
    results = [row for row in rows if row is not None]
    return History(tuple(results[-MAX_RESULTS:]), len(rows) - len(results))


def _in_json(lines: Sequence[str]) -> Iterator[PastResult | None]:
    """A line of JSON for each experiment; those that configure a session are none."""
    for line in lines:
        try:
            entry = json.loads(line) if len(line) <= MAX_LINE else None
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            yield None
        elif "run" in entry or "metric" in entry:
            yield _result(entry.get("description"), entry.get("metric"), entry.get("status", "keep"))


def _in_table(lines: Sequence[str], metric: str) -> Iterator[PastResult | None]:
    """A line of tab-separated values for each experiment, below a line with the names of the columns."""
    names = [name.strip() for name in lines[0].split("\t")] if lines else []
    headed = "description" in names or "status" in names
    columns = _columns(names if headed else _PLAIN_HEADER, metric)
    for line in lines[1:] if headed else lines:
        cells = line.split("\t", max(columns.values())) if len(line) <= MAX_LINE else []
        if len(cells) <= max(columns.values()):
            yield None
            continue
        cell = {name: cells[place].strip() for name, place in columns.items()}
        yield _result(cell.get("title"), cell.get("value"), cell.get("status"))


def _columns(names: Sequence[str], metric: str) -> Mapping[str, int]:
    """Where a table has titles, values and statuses."""
    places = {name: place for place, name in reversed([*enumerate(names)])}
    value = places.get(metric, next((place for place, name in enumerate(names) if name not in _NOT_VALUES), 0))
    title = next((places[name] for name in _TITLES if name in places), len(names) - 1)
    status = places.get("status", places.get("correctness"))
    return {"title": title, "value": value} | ({} if status is None else {"status": status})


def _result(title: Any, value: Any, status: Any) -> PastResult | None:
    """One row; None where it says nothing. A value of 0 stands for none, unless the row was kept."""
    known = _STATUSES.get(str(status).strip().lower(), Status.TRIED)
    number = _number(value)
    if known == Status.CRASHED or (number == 0 and known != Status.KEPT):
        known, number = Status.CRASHED, None
    shown = str(title or "").strip()[:TITLE_CHARACTERS]
    if not shown and number is None:
        return None
    return PastResult(shown, number, known)


def _number(value: Any) -> float | None:
    """A finite number, from JSON or from a cell such as "0.9979", "1.5x" or "12 %"; None for anything else."""
    if isinstance(value, str) and len(value) <= 40 and "_" not in value:  # float() takes underscores
        value = value.rstrip("x% ")
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
