"""What the helper process can be asked about sources: a name, plain values in, a plain value out.

Each is a function of texts alone. Only the helper calls them: some take seconds for hostile texts, and all may need
more memory than the node can spare. Answers are bounded here, whatever the texts are.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from node.objective.edits import EditError, apply, changes_nothing, constants, fingerprint, names_read, parse_edit
from node.objective.seeds import changes_only_chance, overrides_seed, seed_constants

MAX_NUMBERS = 200  # of one source, in its order: an ordinary source has some twenty, and the node remembers them all
MAX_NAME_CHARACTERS = 100  # of a constant that is told of; the titles of proposals have room for about that much
MAX_SENTENCE = 500  # characters of a refusal, which may quote a name from the source
MAX_WHOLE = 1 << 53  # whole constants above this are no sizes, and a float does not hold them


def facts(source: str) -> dict[str, Any]:
    """The fingerprint of a source, its numeric constants, and why it does not parse (None where it does)."""
    try:
        found = [
            [constant.name, constant.value, constant.line]
            for constant in constants(source)
            if _is_number(constant.value)
        ]
        error = None
    except EditError as refusal:
        found, error = [], str(refusal)[:MAX_SENTENCE]
    shown = [each for each in found if len(each[0]) <= MAX_NAME_CHARACTERS][:MAX_NUMBERS]
    return {"fingerprint": fingerprint(source).hex(), "numbers": shown, "error": error}


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return abs(value) <= sys.float_info.max
    return isinstance(value, int) and abs(value) <= MAX_WHOLE


def seeds(source: str) -> list[str]:
    """The constants that do nothing but seed."""
    return _short(seed_constants(source))


def fixes_seed(source: str) -> bool:
    """Whether a source seeds generators without the run's own seed."""
    return overrides_seed(source)


def idle(baseline: str, source: str) -> list[str]:
    """The constants that the baseline reads and the source no longer."""
    return _short(names_read(baseline) - names_read(source))


def _short(names: Iterable[str]) -> list[str]:
    """Those that `facts` could tell of, too: others are never searched."""
    return sorted(name for name in names if len(name) <= MAX_NAME_CHARACTERS)


def compare(source: str, child: str, unread: list[str]) -> list[bool]:
    """Whether a child changes nothing, and whether it changes nothing but chance. unread: constants nothing reads."""
    names = frozenset(unread)
    return [changes_nothing(source, child, names), changes_only_chance(source, child, names)]


def edited(source: str, edits: list[Mapping[str, Any]]) -> str:
    """The source after edits, each given as its table in an ideas file."""
    return apply(source, [parse_edit(edit) for edit in edits])


def diff(before: list[str], after: list[str], names: list[str], most: int) -> list[str]:
    """A unified diff of two texts given as lines, cut after `most` lines."""
    lines: list[str] = []
    for line in difflib.unified_diff(before, after, names[0], names[1], lineterm=""):
        if len(lines) == most:
            lines.append("(cut)")
            break
        lines.append(line)
    return lines


def lines_changed(before: str, after: str) -> int:
    """How many lines were taken away or added between two texts."""
    differences = difflib.ndiff(before.splitlines(), after.splitlines())
    return sum(line[:1] in "+-" for line in differences)


QUESTIONS: Mapping[str, Callable[..., Any]] = {
    question.__name__: question for question in (facts, seeds, fixes_seed, idle, compare, edited, diff, lines_changed)
}
