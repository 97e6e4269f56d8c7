"""The command `settings`: what this node goes by, where that comes from, and a change of it with a way back.

Thin like the rest of the command line: it reads arguments, calls the part that does the work, and prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from node.cli.terminal import print_value
from node.ledger.error import LedgerError
from node.platform.config import Config, load_config
from node.platform.home import Home

Command = Callable[..., argparse.ArgumentParser]
PIPE_COLUMNS = 160


class RefusedSettingError(LedgerError):
    """A setting cannot be changed like that; the text says what is wrong and what to do."""


def add_command(command: Command) -> None:
    """Make the command known; `command` is the command line's own way to add one."""
    asked = command("settings", _settings, "what this node goes by, and a change of it that a running node takes up")
    asked.add_argument("name", nargs="?", metavar="NAME", help="one of them, such as hours (default: all)")
    asked.add_argument("value", nargs="?", metavar="VALUE", help="its new value, such as 22:00-07:00, 50 or on")
    back = asked.add_mutually_exclusive_group()
    back.add_argument("--reset", action="store_true", help="leave NAME, or all, to swarm.toml again")
    back.add_argument("--undo", action="store_true", help="take the last change back")


def _settings(options: argparse.Namespace, config: Config) -> int:
    from node.platform.settings import SettingError, settings
    from node.view.terminal import settings_table

    home = Home(config.home)
    try:
        said = _changed(options, config)
    except SettingError as error:
        raise RefusedSettingError(str(error)) from None
    if said:
        print(said, file=sys.stderr)
        config = load_config(config.origin.asked, config.origin.overrides)
    value = settings(config, home.read_status())
    if options.name is not None:
        value["settings"] = [one for one in value["settings"] if one["name"] == options.name]
        if not value["settings"]:
            raise RefusedSettingError(f"there is no setting {options.name!r} to change here; `settings` lists them")
    print_value(options, value, lambda: settings_table.table(value), PIPE_COLUMNS)
    return 0


def _changed(options: argparse.Namespace, config: Config) -> str:
    """What was done, in a sentence; "" where a person only looks. Raises SettingError."""
    from node.platform.settings import SettingError, change, reset, undo

    if options.undo:
        return undo(config)
    if options.reset:
        return reset(config, options.name or "")
    if options.value is not None:
        if not config.home.exists():
            raise SettingError(f"there is no node home at {config.home}; run `autoresearch-node join` first")
        return change(config, options.name, options.value)
    return ""
