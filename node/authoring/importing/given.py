"""Anything with a command: a person says what to run, which number counts, which way, and which files may be edited."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from node.authoring.importing.environment import description_of, find_environment, with_imports
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
from protocol.metric import Scale

FAMILY = "a command"
WALL_SECONDS = 600.0
SPREAD = 0.02


def as_given(folder: Folder, command: str, choice: Choice) -> Recognised:
    """The folder as a person described it. Raises ImportRefusedError, which names everything that is missing."""
    metric, direction, editable, seconds = choice.metric, choice.direction, choice.editable, choice.seconds
    missing = [
        text
        for text, given in (
            ("--metric NAME (the number that counts, as the command prints it)", metric),
            ("--lower or --higher (which way is better)", direction),
            ("--editable FILE ... (what research may edit)", editable),
        )
        if not given
    ]
    if missing or metric is None or direction is None:
        raise ImportRefusedError("with --command these are needed too: " + "; ".join(missing))
    values, seen = form_of(folder, metric, words_of(command))
    printed = f"METRIC {metric}=NUMBER" if values == "lines" else f"{metric}: NUMBER"
    other = f'if it prints `{metric}: NUMBER` instead, write values = "block"' if values == "lines" else None
    name, description = description_of(folder)
    environment, unknown = with_imports(find_environment(folder), folder, (*editable, *words_of(command)))
    measuring = [path for path in words_of(command) if folder.has(path) and path not in editable]
    notes = [f"no file here says how {metric} is printed: {other}"] if other is not None and not seen else []
    notes += [f"{', '.join(unknown)} must be installed too"] if unknown else []
    return Recognised(
        family=FAMILY,
        certain=True,
        why="--command",
        name=name or folder.root.name,
        summary=description or f"What `{command}` prints as {metric}, {direction} is better.",
        editable=editable,
        metric=MetricFound(metric, "", direction, Scale.LOG, f"the last line `{printed}` of what the command prints"),
        command={"run": command, "values": values},
        seeds=find_seeds(folder, editable, measuring),
        environment=environment,
        budget=BudgetFound(wall_seconds=WALL_SECONDS if seconds is None else 2 * seconds + 60, seconds=seconds),
        device="cpu",
        categories=PROGRAMS,
        spread=SPREAD,
        minimum_effect=0.005,
        needed=tuple(path for path in measuring if folder.has(path)),
        notes=tuple(notes),
    )


def prints_own_score(folder: Folder, editable: Sequence[str], metric: str) -> str | None:
    """What to know where a file that may be edited prints the metric itself; None elsewhere.

    Seen are `METRIC name=`, and `name:` within a string.
    """
    name = re.escape(metric)
    printed = re.compile(rf"""METRIC\s+(?:{name}=|\{{|%s|\$)|["'](?:[^"'\n]*[^"'\n\w.])?{name}:(?:\s|["'])""")
    found = [path for path in editable if printed.search(folder.text(path))]
    if not found:
        return None
    return (
        f"{', '.join(found)} may be edited and prints its own score, {metric}, so an edit can change the number "
        "instead of the thing: put what measures and prints into a file of its own that imports or starts "
        f"{found[0]}, name that one in the command, and leave it out of --editable, so that it is locked"
    )


def words_of(command: str) -> list[str]:
    """The words of a line for bash, as far as it can be told without being bash."""
    try:
        return [word.removeprefix("./") for word in shlex.split(command, comments=True)]
    except ValueError:
        return command.split()


def form_of(folder: Folder, metric: str, first: Sequence[str]) -> tuple[str, bool]:
    """(how the command prints its values, whether a file of the folder shows it). first: files to look at first."""
    block = re.compile(rf"(?<![\w.]){re.escape(metric)}:(?:\s|[\"'`]\s*,)")  # "ms: 1.5", and print("ms:", took)
    for path in dict.fromkeys([*(path for path in first if folder.has(path)), *folder.files]):
        text = folder.text(path)
        if f"METRIC {metric}=" in text or re.search(r"METRIC (?:\{|%s|\$)", text):
            return "lines", True
        if block.search(text) and not path.endswith((".md", ".txt")):
            return "block", True
    return "lines", False
