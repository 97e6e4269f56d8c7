"""The settings that a person may change on the dashboard or with the command `settings`: which, how, and what is now.

They are changed in one place, with the checks of swarm.toml itself (`config.SETTINGS`), as a layer over that file
(`changed_settings`). A running node takes most of them up within a second (`SettingsInUse`), the rest when it starts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from node.platform import changed_settings
from node.platform.changed_settings import Change, ChangedSettings
from node.platform.config import CHANGEABLE, Config, ConfigError, load_config
from node.platform.log import Json, Log
from node.platform.settings_file import Setting, in_words, shown

MOST_TEXT = 1000  # characters of a value
WORDS = {"on": True, "yes": True, "off": False, "no": False}
AT_ONCE, NEXT_START = "at once", "next start"


@dataclass(frozen=True)
class About:
    """How a person is shown a setting. least, most: of a number."""

    text: str
    kind: str  # "flag", "number", "share", "hours" or "gpus"
    least: float | None = None
    most: float | None = None
    takes_effect: str = AT_ONCE


ABOUT: Mapping[str, About] = {
    "hours": About("When to work, as spans of local time; none: always.", "hours"),
    "others_cpu_percent": About(
        "Pause while other programs use more than this per cent of all cores; 100 never pauses for them.",
        "number",
        1,
        100,
    ),
    "user_idle_minutes": About(
        "Work only when this machine was not used for so many minutes; 0 works beside its user.", "number", 0, 1440
    ),
    "on_battery": About("Work while this machine is on battery.", "flag"),
    "max_celsius": About("Pause while this machine is hotter than this, in °C; 0 does not look.", "number", 0, 150),
    "gpu_others": About("Run on a GPU on which other programs compute.", "flag"),
    "gpu_max_celsius": About("Pause while a GPU is hotter than this, in °C; 0 does not look.", "number", 0, 150),
    "replicate_share": About("Share of the time for peers' claims that cannot help this node.", "share", 0, 1),
    "workers": About("How many runs at once; 0: as many as this machine bears.", "number", 0, 64, NEXT_START),
    "gpu": About("Whether runs may use this machine's GPUs, or which.", "gpus", takes_effect=NEXT_START),
}


class SettingError(Exception):
    """A setting cannot be changed like that; the text says what is wrong and what to do."""


# ---- what is now ---------------------------------------------------------------------------------------------------


def settings(config: Config, running: Json | None) -> Json:
    """Every setting that can be changed: its value, where it comes from, and what a running node goes by.

    config: as it is now, read again. running: status.json; None where no node runs here.
    """
    told = running.get("settings") if running is not None else None
    in_use = told if isinstance(told, dict) else {}
    undo = ChangedSettings(config.home).undo()
    return {
        "settings": [_setting(config, name, in_use) for name in ABOUT],
        "file": str(config.origin.file) if config.origin.file is not None else None,
        "undo": None if undo is None else _undo(config, undo.name, undo.change),
    }


def values_of(config: Config) -> Json:
    """The values of all of them as TOML has them, for status.json."""
    return {name: as_written(name, getattr(config, name)) for name in ABOUT}


def as_written(name: str, value: Any) -> Any:
    """A setting's value as it stands in swarm.toml: hours as "22:00-07:00"."""
    if name == "hours":
        return [f"{_clock(begin)}-{_clock(end)}" for begin, end in value]
    return list(value) if isinstance(value, tuple) else value


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _setting(config: Config, name: str, in_use: Json) -> Json:
    setting, about, origin = CHANGEABLE[name], ABOUT[name], config.origin
    value = as_written(name, getattr(config, name))
    running = in_use.get(name)
    return {
        "name": name,
        "table": setting.table,
        "value": value,
        "default": setting.default,
        "file_value": as_written(name, origin.in_file[name]) if name in origin.in_file else None,
        "from": _from(config, name),
        "expected": setting.expected,
        "kind": about.kind,
        "least": about.least,
        "most": about.most,
        "about": about.text,
        "takes_effect": about.takes_effect,
        "running": running,
        "pending": name in in_use and running != value,
        "changeable": name not in origin.options,
        "why_not": f"the node was started with --{name.replace('_', '-')}" if name in origin.options else None,
    }


def _from(config: Config, name: str) -> str:
    if name in config.origin.options:
        return "option"
    if name in config.origin.changed:
        return "changed"
    return "swarm.toml" if name in config.origin.in_file else "default"


def _undo(config: Config, name: str, change: Change | None) -> Json:
    below = as_written(name, config.origin.below[name]) if name in config.origin.below else None
    value = change.value if change is not None else below
    return {"name": name, "to": value, "text": f"{name} back to {in_words(value)}"}


# ---- changing ------------------------------------------------------------------------------------------------------


def change(config: Config, name: str, text: str) -> str:
    """Change a setting; returns a sentence. text: the value as in swarm.toml, or "on", "22:00-07:00" without quotes.

    Raises SettingError.
    """
    setting = _changeable(config, name)
    value = _value(setting, text)
    try:
        read = setting.read(value)
    except ValueError:
        raise SettingError(f"{setting.path} is {shown(value)}, expected {setting.expected}") from None
    below = config.origin.below[name]
    if getattr(config, name) == read:
        return f"{name} is {in_words(as_written(name, read))} already"
    changed = Change(as_written(name, read), as_written(name, below)) if read != below else None
    _kept(lambda: ChangedSettings(config.home).change(name, changed))
    return f"{name} is {in_words(as_written(name, read))} {_when(name)}"


def reset(config: Config, name: str) -> str:
    """Leave one setting, or with "" all of them, to swarm.toml and the defaults again. Raises SettingError."""
    kept = ChangedSettings(config.home)
    if not name:
        count = len(kept.read())
        _kept(kept.reset)
        return (
            f"{count} changed {'setting is' if count == 1 else 'settings are'} as swarm.toml and the defaults say again"
        )
    _changeable(config, name)
    if name not in kept.read():
        return f"{name} was not changed"
    _kept(lambda: kept.change(name, None))
    return f"{name} is {in_words(as_written(name, config.origin.below[name]))} again {_when(name)}"


def undo(config: Config) -> str:
    """Take the last change back. Raises SettingError."""
    kept = ChangedSettings(config.home)
    last = kept.undo()
    if last is None:
        raise SettingError("nothing was changed that could be taken back")
    _kept(kept.take_back)
    return str(_undo(config, last.name, last.change)["text"])


def _when(name: str) -> str:
    return "from now on" if ABOUT[name].takes_effect == AT_ONCE else "from the node's next start on"


def _changeable(config: Config, name: str) -> Setting:
    if name not in ABOUT:
        raise SettingError(f"there is no setting {name[:80]!r} to change here; they are {', '.join(ABOUT)}")
    if name in config.origin.options:
        raise SettingError(f"{name} was given as an option of the command, which holds until the node stops")
    return CHANGEABLE[name]


def _value(setting: Setting, text: str) -> Any:
    """A value as swarm.toml has it, or a bare word or list of spans."""
    given = text.strip()[:MOST_TEXT]
    try:
        return tomllib.loads(f"value = {given}")["value"]
    except (ValueError, RecursionError, KeyError):
        pass
    if setting.field == "hours":
        return [span for span in given.replace(",", " ").split() if span not in ("always", "none")]
    return WORDS.get(given.lower(), given)


def _kept(write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise SettingError(f"the change cannot be written into the home ({error.strerror})") from None


# ---- a running node ------------------------------------------------------------------------------------------------


@dataclass
class SettingsInUse:
    """The settings that a running node goes by: those of its start, but for what can change while it runs.

    Call `now` as often as wanted: the files are read again when they have changed.
    """

    config: Config
    log: Log
    _stamps: tuple[int, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._stamps = self._files()

    def now(self) -> Config:
        """The settings now. What is wrong in a file is logged, and the former ones hold."""
        stamps = self._files()
        if stamps == self._stamps:
            return self.config
        self._stamps = stamps
        try:
            read = load_config(self.config.origin.asked, self.config.origin.overrides)
        except ConfigError as error:
            self.log("settings not read", level="warning", why=str(error))
            return self.config
        names = [name for name, about in ABOUT.items() if about.takes_effect == AT_ONCE]
        different = {name: getattr(read, name) for name in names if getattr(read, name) != getattr(self.config, name)}
        if different:
            self.log("settings changed", **{name: shown(as_written(name, value)) for name, value in different.items()})
            self.config = replace(self.config, **different)
        return self.config

    def _files(self) -> tuple[int, ...]:
        home = self.config.home
        files = (self.config.origin.asked or home / "swarm.toml", home / changed_settings.FILE_NAME)
        return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
