"""docs/log-events.md against the code: every event that a node can log, with its level and keys, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "log-events.md"
LOGS = ("log", "_log")  # what the code calls a Log (node/platform/log.py)
ROW = re.compile(r"\| `([^`]+)` \| (debug|info|warning|error) \| .+ \| ([^|]*) ?\|")


@dataclass(frozen=True)
class Logged:
    """One event at one place in the code. keys: those that are spelled out there, without those of `**details`."""

    event: str
    level: str
    keys: frozenset[str]
    where: str


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Level and keys of each event on the page."""
    rows = ROW.findall(PAGE.read_text())
    assert len({event for event, *_ in rows}) == len(rows), "an event stands on the page twice"
    return {event: (level, frozenset(keys.strip().split(", "))) for event, level, keys in rows}


def logged() -> list[Logged]:
    found = [each for path in sorted((ROOT / "node").rglob("*.py")) for each in logged_in(path)]
    assert len(found) > 50  # or the code calls its logs something else now
    return found


def logged_in(path: Path) -> Iterator[Logged]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_log(node.func) and node.args:
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
            (level,) = texts(given.pop("level"), tree) if "level" in given else ("info",)
            events = texts(node.args[0], tree)
            assert events, f"{where}: write the event as a literal, or take it from a table of literals"
            for event in events:
                yield Logged(event, level, frozenset(given), where)
        elif isinstance(node, ast.Dict):  # the log's own event does not come through a Log
            entries = {text(key): value for key, value in zip(node.keys, node.values, strict=True)}
            if {"level", "event"} <= entries.keys() and (event := text(entries["event"])) is not None:
                keys = entries.keys() - {"time", "level", "event"}
                yield Logged(event, str(text(entries["level"])), frozenset(map(str, keys)), path.name)


def is_log(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id in LOGS
    of_math = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "math"
    return isinstance(called, ast.Attribute) and called.attr in LOGS and not of_math


def texts(value: ast.expr, tree: ast.Module) -> list[str]:
    """What the first argument can be: a literal, one of two, or any value of a table at the top of the module."""
    match value:
        case ast.Constant(value=str(event)):
            return [event]
        case ast.IfExp(body=one, orelse=other):
            return texts(one, tree) + texts(other, tree)
        case ast.Subscript(value=ast.Name(id=name)):
            return [event for event in map(text, table(name, tree)) if event is not None]
    return []


def table(name: str, tree: ast.Module) -> list[ast.expr]:
    """The values of the dictionary that a module binds to a name."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.value.values if isinstance(node.value, ast.Dict) else []
    return []


def text(value: ast.expr | None) -> str | None:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def test_every_event_that_the_code_logs_is_on_the_page_and_no_other() -> None:
    assert {each.event for each in logged()} == documented().keys()


def test_each_event_has_the_level_that_the_page_says() -> None:
    page = documented()
    assert [each for each in logged() if each.level != page[each.event][0]] == []


def test_each_key_that_the_code_spells_out_is_on_the_page() -> None:
    page = documented()
    missing = [(each.where, each.event, each.keys - page[each.event][1]) for each in logged()]
    assert [each for each in missing if each[2]] == []
