"""From what a command printed, or wrote to files, to values: pure functions, which never raise for what they read.

Three ways of saying a value are understood: lines `METRIC name=value`, lines `key: value`, and JSON. A number counts
only as it is usually written; what other readers would take for one (nan, inf, 0x10, 1_000) is refused with a sentence,
and so is what can be read in two ways (1,234). Of several values of one name the last counts. What a command says is
untrusted: sizes and depths are bounded, and a bad value is a `Refusal`, which names what was seen.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.execution.command.output import LINE_ENDS
from protocol.fields import is_plain
from protocol.records import Failure

MOST_METRICS = 32  # of a run, besides the one that is compared: enough for a table, and a record stays small
MOST_JSON_BYTES = 1 << 20  # of one result file
_MOST_NAMES = 10_000  # that are remembered of an output: one that prints more is no report of values
_LONGEST_NAME, _LONGEST_LINE, _LONGEST_SHOWN = 64, 2000, 60
_MOST_NAMED = 12  # names that a refusal lists

# As pi-autoresearch has it: \w is ASCII, as in JavaScript, and µ is the micro sign.
_METRIC_LINE = re.compile(r"METRIC\s+([\w.µ]+)=(\S+)\s*", re.ASCII)
_BLOCK_LINE = re.compile(r"([A-Za-z_][\w./-]*)\s*:\s+(\S.*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_OTHER_BASE = re.compile(r"[+-]?0[xXoObB][0-9a-fA-F_]+", re.ASCII)
_WITH_COMMAS = re.compile(r"[+-]?\d+(?:,\d+)+(?:\.\d+)?", re.ASCII)
_SUFFIXES = ("x", "×", "%")


class Text(str):
    """A value that JSON says is a text, and so no number, whatever it looks like."""

    __slots__ = ()


Value = float | bool | str  # a str that is no Text is what a line says, a number perhaps


@dataclass(frozen=True)
class Measured:
    """The value of the objective's metric, and the other numbers by name."""

    value: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Refusal:
    """Why a run has no value, in a sentence for a person."""

    failure: Failure
    sentence: str


def in_lines(text: str) -> dict[str, Value]:
    """The values of the lines `METRIC name=value`."""
    found: dict[str, Value] = {}
    for line in LINE_ENDS.split(text):
        match = _METRIC_LINE.fullmatch(line) if line.startswith("METRIC") else None
        if match is not None:
            _note(found, match[1], match[2])
    return found


def in_block(text: str) -> dict[str, Value]:
    """The values of the lines `key: value`, wherever they stand."""
    found: dict[str, Value] = {}
    for line in LINE_ENDS.split(text):
        match = _BLOCK_LINE.fullmatch(line.strip()) if ":" in line and len(line) < _LONGEST_LINE else None
        if match is not None:
            _note(found, match[1], match[2])
    return found


def in_json(name: str, data: bytes) -> dict[str, Value] | Refusal:
    """The values of one JSON file: the fields of its object, and those of the objects "public" and "private" in it."""
    if len(data) > MOST_JSON_BYTES:
        return Refusal(Failure.OUTPUT, f"{name} is too long; results have at most {MOST_JSON_BYTES >> 20} MiB")
    try:
        # A whole number of a million digits would take Python minutes; as a float it takes none.
        document = json.loads(data, parse_int=float)
    except RecursionError:
        return Refusal(Failure.INVALID, f"{name} is nested too deeply to be a result")
    except (ValueError, UnicodeDecodeError) as problem:
        return Refusal(Failure.INVALID, f"{name} is not valid JSON: {_shown(str(problem), 200)}")
    if not isinstance(document, dict):
        return Refusal(Failure.INVALID, f"{name} holds no object, but {_kind(document)}")
    return values_of(document)


def of_evaluator(data: bytes, metric: str) -> dict[str, Value] | Refusal:
    """The values of an evaluator's dict. It says by "error" that it failed: a text, or anything without the metric."""
    if not data:
        return Refusal(Failure.EXCEPTION, "evaluate() returned nothing: the process ended before")
    found = in_json("what evaluate() returned", data)
    if isinstance(found, Refusal):
        return found
    error = found.get("error")
    if (isinstance(error, Text) and error.strip() not in ("", "null")) or (error is not None and metric not in found):
        timeout = found.get("timeout")
        late = isinstance(timeout, bool) and timeout
        return Refusal(
            Failure.TIMEOUT if late else Failure.EXCEPTION, f"the evaluator says error: {_shown(_as_text(error), 500)}"
        )
    return found


def values_of(document: Mapping[str, Any]) -> dict[str, Value]:
    """The values in an object, as it was read from JSON with every number a float."""
    found: dict[str, Value] = {}
    for name, value in document.items():
        if isinstance(value, dict) and name in ("public", "private"):
            for inner, nested in value.items():
                _note_json(found, inner, nested)
        else:
            _note_json(found, name, value)
    return found


def merged(parts: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """All values, of one name the last."""
    return {name: value for part in parts for name, value in part.items()}


def measured(
    found: Mapping[str, Value], metric: str, unit: str = "", require: Mapping[str, str] | None = None
) -> Measured | Refusal:
    """The value named `metric`, if there is one and what must hold does."""
    for name, wanted in (require or {}).items():
        if (refusal := _missing(found, name, f"{name} must be there, and is not")) is not None:
            return refusal
        if _as_text(found[name]).casefold() != wanted.casefold():
            told = f"{name} is {_shown(_as_text(found[name]))}, and must be {wanted}"
            why = _as_text(found.get("error", "")).strip()
            return Refusal(Failure.INVALID, f"{told}: {_shown(why, 500)}" if why else told)
    if (refusal := _missing(found, metric, f"there is no {metric}")) is not None:
        return refusal
    value = number(found[metric], unit)
    if isinstance(value, str):
        shown = _shown(_as_text(found[metric]))
        diverged = _NOT_FINITE.fullmatch(shown) is not None and not isinstance(found[metric], Text)
        return Refusal(Failure.DIVERGED if diverged else Failure.INVALID, f"{metric} is {shown}: {value}")
    others = ((name, number(other, unit)) for name, other in found.items() if name != metric)
    numbers = [(name, other) for name, other in others if isinstance(other, float)]
    return Measured(value, dict(numbers[:MOST_METRICS]))


def number(value: Value, unit: str = "") -> float | str:
    """A value as a finite number; else what is wrong with it.

    "0.5", "1.5x", "39.8%", "12 ms" where the unit is ms: 0.5, 1.5, 39.8, 12.
    """
    if isinstance(value, bool):
        return "true and false are no numbers"
    if isinstance(value, float):
        return value if math.isfinite(value) else "it is not finite"
    if isinstance(value, Text):
        return "it is null" if value == "null" else "it is a text, not a number"
    text = value.strip()
    for suffix in (*_SUFFIXES, unit):
        if suffix and text.endswith(suffix) and _NUMBER.fullmatch(text.removesuffix(suffix).rstrip()):
            text = text.removesuffix(suffix).rstrip()
            break
    if _NUMBER.fullmatch(text):
        found = float(text)
        return found if math.isfinite(found) else "it is too large for a number of 64 bits"
    return _not_a_number(text, unit)


def _not_a_number(text: str, unit: str) -> str:
    if _NOT_FINITE.fullmatch(text):
        return "it is not finite"
    if _OTHER_BASE.fullmatch(text):
        return "a number must be decimal"
    if "_" in text and _NUMBER.fullmatch(text.replace("_", "")):
        return "a number must have no underscores"
    if _WITH_COMMAS.fullmatch(text):
        return "a comma may stand for thousands or for the decimal point, so print it without one"
    if (begun := _NUMBER.match(text)) is not None:
        known = f", the metric's unit {unit}" if unit else ""
        return f"{_shown(text[begun.end() :].strip())} is no suffix that is known here (x, %{known})"
    return "it is no number"


def _missing(found: Mapping[str, Value], name: str, what: str) -> Refusal | None:
    if name in found:
        return None
    names = sorted(found)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    there = ", ".join(map(_shown, names[:_MOST_NAMED]))
    seen = f"the names there are: {there}{more}" if names else "no value was found"
    return Refusal(Failure.EXCEPTION, f"{what}; {seen}")


def _note(found: dict[str, Value], name: str, value: Value) -> None:
    if len(name) <= _LONGEST_NAME and (len(found) < _MOST_NAMES or name in found):
        found.pop(name, None)  # the last counts, in its place too
        found[name] = value


def _note_json(found: dict[str, Value], name: str, value: object) -> None:
    if not is_plain(name):  # the ledger could not keep it (half a character), or a terminal not show it
        return
    if isinstance(value, float | bool):
        _note(found, name, value)
    elif isinstance(value, str) or value is None:
        _note(found, name, Text("null" if value is None else value))


def _as_text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _kind(value: object) -> str:
    names: Sequence[tuple[type, str]] = (
        (list, "a list"),
        (bool, "true or false"),
        (str, "a text"),
        (float, "a number"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _shown(text: str, most: int = _LONGEST_SHOWN) -> str:
    """A text of the command's, safe and short enough to stand in a sentence."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= most else f"{plain[:most]}…"
