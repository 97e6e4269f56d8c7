"""The commands `swarm new` and `swarm open`. Thin: they read arguments, call the part that does the work, and print."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from node.cli.terminal import agrees
from node.platform.config import Config
from node.platform.home import Home
from node.platform.program import typed

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `swarm`."""
    new = command("new", _new, "begin a private swarm for what this home researches", reads=False)
    new.add_argument("--private", action="store_true", required=True, help="only those with an invite can connect")
    back = command("open", _open, "go back from a private swarm to the open one; the key is kept", reads=False)
    for each in (new, back):
        each.add_argument("--yes", action="store_true", help="without asking, whoever is left or let in by it")


def _asking(options: argparse.Namespace) -> Callable[[str], bool]:
    def ask(what_it_means: str) -> bool:
        print(what_it_means)
        return options.yes or agrees("Do it? [y/N] ")

    return ask


def _new(options: argparse.Namespace, config: Config) -> int:
    from node.app.swarms import begin_private

    home = Home(config.home)
    name = begin_private(home, _asking(options))
    if name is None:
        print("nothing was changed")
        return 1
    print(f"private swarm for {name}: `{typed('join')}` starts it, then `{typed('invite')}` whom you like")
    return 0


def _open(options: argparse.Namespace, config: Config) -> int:
    from node.app.swarms import open_again

    done = open_again(Home(config.home), _asking(options))
    print(done or "nothing was changed")
    return 0 if done else 1
