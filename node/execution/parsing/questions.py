"""What the helper process can be asked about sources: a name, plain values in, a plain value out.

Each is a function of texts alone. Only the helper calls them: some take seconds for hostile texts, and all may need
more memory than the node can spare. Answers are bounded here, whatever the texts are.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from node.objective import carrying, changes, sources
from node.objective.edits import EditError, parse_edit
from node.objective.trees import TreeError, source_of

MAX_NUMBERS = 200  # of one source, in its order: an ordinary source has some twenty, and the node remembers them all
MAX_NAME_CHARACTERS = 100  # of a constant that is told of; the titles of proposals have room for about that much
MAX_SENTENCE = 500  # characters of a refusal, which may quote a name from the source
MAX_WHOLE = 1 << 53  # whole constants above this are no sizes, and a float does not hold them


def facts(source: str, editable: list[str]) -> dict[str, Any]:
    """The fingerprint of a source, its numeric constants, and why it cannot be read (None where it can).

    editable: here and below, the objective's editable files; none where they are not known.
    """
    try:
        files = sources.read(source, editable)
    except EditError as refusal:
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass"))
        return {"fingerprint": digest.hexdigest(), "numbers": [], "error": str(refusal)[:MAX_SENTENCE]}
    try:
        found = [
            [constant.name, constant.value, constant.line, constant.file]
            for constant in sources.constants(files)
            if _is_number(constant.value)
        ]
        error = None
    except EditError as refusal:
        found, error = [], str(refusal)[:MAX_SENTENCE]
    shown = [each for each in found if len(each[0]) <= MAX_NAME_CHARACTERS][:MAX_NUMBERS]
    return {"fingerprint": sources.fingerprint(files).hex(), "numbers": shown, "error": error}


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return abs(value) <= sys.float_info.max
    return isinstance(value, int) and abs(value) <= MAX_WHOLE


def seeds(source: str, editable: list[str]) -> list[str]:
    """The constants that do nothing but seed."""
    return _short(sources.seed_constants(sources.read(source, editable)))


def fixes_seed(source: str, editable: list[str]) -> bool:
    """Whether a source seeds generators without the run's own seed."""
    return sources.overrides_seed(sources.read(source, editable))


def idle(baseline: str, source: str, editable: list[str]) -> list[str]:
    """The constants that the baseline reads and the source no longer."""
    before, after = sources.read(baseline, editable), sources.read(source, editable)
    return _short(sources.names_read(before) - sources.names_read(after))


def _short(names: Iterable[str]) -> list[str]:
    """Those that `facts` could tell of, too: others are never searched."""
    return sorted(name for name in names if len(name) <= MAX_NAME_CHARACTERS)


def lacks(source: str, names: list[str], editable: list[str]) -> list[str]:
    """Which of these names no Python file of the source binds, by a function, an assignment or an import."""
    return [name for name in names if not sources.binds(sources.read(source, editable), name)]


def compare(source: str, child: str, unread: list[str], editable: list[str]) -> list[bool]:
    """Whether a child changes nothing, and whether it changes nothing but chance. unread: constants nothing reads."""
    names = frozenset(unread)
    try:
        before, after = sources.read(source, editable), sources.read(child, editable)
    except EditError:
        return [source == child, False]
    return [sources.changes_nothing(before, after, names), sources.changes_only_chance(before, after, names)]


def edited(source: str, edits: list[Mapping[str, Any]], editable: list[str]) -> str:
    """The source after edits, each given as its table in an ideas file."""
    try:
        return source_of(sources.apply(sources.read(source, editable), [parse_edit(edit) for edit in edits]))
    except TreeError as error:
        raise EditError(str(error)) from None


def diff(before: str, after: str, names: list[str], most: int, editable: list[str]) -> list[str]:
    """A unified diff of two sources, of several files one after the other, cut after `most` lines."""
    lines: list[str] = []
    for path, old, new in _changed_files(before, after, editable):
        parent, child = (f"{name}: {path}" if path else name for name in names)
        for line in difflib.unified_diff(old, new, parent, child, lineterm=""):
            if len(lines) == most:
                return [*lines, "(cut)"]
            lines.append(line)
    return lines


def lines_changed(before: str, after: str, editable: list[str]) -> int:
    """How many lines were taken away or added between two sources."""
    return sum(
        line[:1] in "+-" for _, old, new in _changed_files(before, after, editable) for line in difflib.ndiff(old, new)
    )


def change(before: str, after: str, editable: list[str]) -> dict[str, Any]:
    """What an edit changes, without what may be written another way."""
    return changes.as_fields(changes.change_between(before, after, editable))


def carried(before: str, after: str, source: str, editable: list[str]) -> str:
    """A source with the edit between two others, carried over by the names of what it changes."""
    return carrying.carried(before, after, source, editable)


def _changed_files(before: str, after: str, editable: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """(path, lines before, lines after) of each file that differs; the path of a source's only file is ""."""
    try:
        old, new = sources.read(before, editable), sources.read(after, editable)
    except EditError:  # a peer's source that is no tree is shown as it is
        old, new = {"": before}, {"": after}
    several = len(old | new) > 1
    for path in sorted(old | new):
        if old.get(path) != new.get(path):
            yield path if several else "", old.get(path, "").splitlines(), new.get(path, "").splitlines()


QUESTIONS: Mapping[str, Callable[..., Any]] = {
    question.__name__: question
    for question in (facts, seeds, fixes_seed, idle, lacks, compare, edited, diff, lines_changed, change, carried)
}
