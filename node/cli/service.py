"""The commands `service install|uninstall|status`. Thin: they read arguments, call `autostart`, and print."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import node
from node.app.autostart import (
    ENVIRONMENT,
    AutostartError,
    Program,
    ServiceManager,
    install,
    lingers,
    service_manager,
    status,
    uninstall,
)
from node.platform.config import Config
from node.platform.home import Home
from node.platform.program import typed

Command = Callable[..., argparse.ArgumentParser]
PROGRAM = Path(node.__file__).parents[1]
PATHS = ("--objective", "--config")  # options of `join` whose value may be a path that only means something here


def add_commands(command: Command, check_join: Callable[[Sequence[str]], argparse.Namespace]) -> None:
    """Make the commands known. `command` adds one below `service`; `check_join` reads arguments as `join` would."""

    def installing(options: argparse.Namespace, config: Config) -> int:
        given = check_join(options.join_options)
        if given.invite is not None:
            raise AutostartError(
                "join with the invite once by hand: the home remembers it, and it need not stand in the unit's file"
            )
        if given.home is not None:
            raise AutostartError("give --home before the --, so that it names the service too")
        return _install(options, config)

    about = "start the node now and with the computer; options of `join` come after --"
    add = command("install", installing, about, reads=False)
    add.add_argument("--dry-run", action="store_true", help="print what would be written and run, without doing it")
    command("uninstall", _uninstall, "stop it and no longer start it with the computer; its home stays", reads=False)
    command("status", _status, "whether it is installed and running")


def _manager(options: argparse.Namespace, config: Config) -> ServiceManager:
    settings = [] if options.config is None else ["--config", str(options.config)]
    chosen = tuple(absolute([*settings, *options.join_options]))
    return service_manager(Program(Path(sys.executable), PROGRAM, config.home, chosen))


def absolute(options: Sequence[str]) -> list[str]:
    """The same options of `join` with existing relative paths written out, as a service starts in another folder."""
    found = []
    for before, word in zip(["", *options], options, strict=False):
        name, equals, value = word.partition("=")
        if before in PATHS:
            word = _absolute(word)
        elif equals and name in PATHS:
            word = f"{name}={_absolute(value)}"
        found.append(word)
    return found


def _absolute(given: str) -> str:
    path = Path(given).expanduser()
    embedded = (
        PROGRAM / "objectives" / given
    ).exists()  # that name means the embedded objective, even beside a folder of the same name
    return str(path.absolute()) if path.exists() and not embedded else given


def _install(options: argparse.Namespace, config: Config) -> int:
    manager = _manager(options, config)
    if options.dry_run:
        print(f"# {manager.unit}\n{manager.content}")
        print("\n".join(f"$ {shlex.join(command)}" for command in manager.install_commands))
        return 0
    _check_sandbox(options.join_options, config)
    Home(config.home).make()
    install(manager)
    print(f"installed and started: {manager.unit}")
    print(f"`{typed('status')}` shows what it does, `{typed('pause')}` pauses it")
    print(f"an API key goes into {config.home / ENVIRONMENT} (mode 600), as a line like OPENAI_API_KEY=...")
    if not lingers():
        print("it runs while you are logged in; to have it run always:  loginctl enable-linger")
    return 0


def _check_sandbox(options: Sequence[str], config: Config) -> None:
    """A node that cannot start here would be started again and again. Raises AutostartError."""
    from node.execution.sandbox.layers import probe, remedy, tier  # tries each layer: only when asked

    layers = probe(config.sandbox)
    if tier(layers) is None and "--unsafe-run-peer-code" not in options:
        raise AutostartError(f"the node would not start here: {'; '.join(remedy(layers))}")


def _uninstall(options: argparse.Namespace, config: Config) -> int:
    manager = _manager(options, config)
    uninstall(manager)
    print(f"stopped and removed: {manager.unit}; what it found is still in {config.home}")
    return 0


def _status(options: argparse.Namespace, config: Config) -> int:
    found = status(_manager(options, config))
    if options.json:
        print(json.dumps(found, indent=2))
    elif not found["installed"]:
        print(f"not installed; `{typed('service install')}` starts the node with the computer")
    else:
        print(f"installed ({found['unit']}), {'running' if found['running'] else 'not running'}: {found['said']}")
    return 0
