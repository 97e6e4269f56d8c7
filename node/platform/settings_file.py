"""Reading a settings file: which settings stand in it, each checked, and for a wrong one where it is and what to do.

It knows TOML and how a setting is described, and none of the settings.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.platform.file_trouble import read_at_most, trouble

MAX_FILE_BYTES = 1 << 20  # far above any settings file, so that a wrong path does not fill the memory


class ConfigError(Exception):
    """A setting cannot be used; the text says where it stands, what was expected and what to do."""


@dataclass(frozen=True)
class Setting:
    """One setting: where it stands in swarm.toml ("" is before any table) and which values it takes."""

    table: str
    key: str
    field: str  # its name in Config and, with hyphens, among the command line's options
    default: Any
    expected: str  # completes the sentence "expected ..."
    read: Callable[[object], Any]  # turns the value into what Config holds; raises ValueError when it is wrong

    @property
    def path(self) -> str:
        return f"[{self.table}] {self.key}" if self.table else self.key


def values_in(path: Path, known: Sequence[Setting]) -> dict[str, Any]:
    """The settings that stand in a file, by their names in Config. Raises ConfigError for any unknown or wrong one."""
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}; correct that line") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets thousands deep
        raise ConfigError(f"{path} cannot be read: {error}; correct what is so long or so deep") from None
    tables = {setting.table for setting in known}
    values: dict[str, Any] = {}
    for name, content in document.items():
        if name not in tables:
            values |= _one(known, path, text, "", name, content)
        elif not isinstance(content, dict):
            raise ConfigError(f"{_at(path, text, '', name)}: {name} is a table; write its settings below [{name}]")
        else:
            for key, value in content.items():
                values |= _one(known, path, text, name, key, value)
    return values


def _text(path: Path) -> str:
    try:
        data = read_at_most(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"cannot read the settings file {path} ({error.strerror}); check --config") from None
    except OSError as error:
        raise ConfigError(f"cannot read the settings: {trouble(path, error)}; or check --config") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"the settings file {path} is over 1 MiB; this is not a swarm.toml")
    try:
        return data.decode("utf-8-sig")  # Windows editors put a byte order mark first
    except UnicodeDecodeError:
        raise ConfigError(f"the settings file {path} is not UTF-8 text; save it as UTF-8") from None


def _one(known: Sequence[Setting], path: Path, text: str, table: str, key: str, value: object) -> dict[str, Any]:
    setting = next((s for s in known if (s.table, s.key) == (table, key)), None)
    if setting is None:
        raise ConfigError(f"{_at(path, text, table, key)}: {_unknown(known, table, key, value)}")
    try:
        return {setting.field: setting.read(value)}
    except ValueError:
        raise ConfigError(
            f"{_at(path, text, table, key)}: {setting.path} is {shown(value)}, expected {setting.expected}; correct "
            f"it, or remove the line to use the default {shown(setting.default)}"
        ) from None


def shown(value: object) -> str:
    """A value the way TOML writes it, cut to a readable length."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def in_words(value: object) -> str:
    """A value as a person reads it, and may type it: "on", "22:00-07:00, 12:00-13:00", "none"."""
    match value:
        case bool():
            return "on" if value else "off"
        case None | "" | [] | ():
            return "none"
        case list() | tuple():
            return ", ".join(map(in_words, value))
    return str(value)


def _unknown(known: Sequence[Setting], table: str, key: str, value: object) -> str:
    if isinstance(value, dict):
        tables = sorted({s.table for s in known if s.table})
        near = difflib.get_close_matches(key, tables, 1)
        advice = f"did you mean [{near[0]}]?" if near else "the tables are " + ", ".join(f"[{name}]" for name in tables)
        return f"there is no table [{f'{table}.{key}' if table else key}]; {advice}"
    misplaced = next((s for s in known if s.key == key), None)
    near = difflib.get_close_matches(key, [s.key for s in known if s.table == table], 1)
    if misplaced is not None:
        advice = f"it belongs below [{misplaced.table}]" if misplaced.table else "it belongs above the first table"
    elif near:
        advice = f"did you mean {near[0]!r}?"
    else:
        advice = "the settings there are " + ", ".join(s.key for s in known if s.table == table)
    return f"{f'[{table}]' if table else 'the top of the file'} has no setting {key!r}; {advice}"


def _at(path: Path, text: str, table: str, key: str) -> str:
    """The file and, where it can be found, the line of a setting or a table.

    TOML can be written in ways (inline tables, dotted keys) that this search does not find; then the file alone is
    named.
    """
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            current = header[1]
            if not table and current.split(".")[0] == key:
                return f"{path}, line {number}"
        elif current == table and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line):
            return f"{path}, line {number}"
    return str(path)
