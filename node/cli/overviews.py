"""The commands that show one view of the whole each: contribution, progress, map, `swarm graph`, `objective show`.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print. What they
print with --json is what the dashboard's page is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.console import RenderableType

from node.cli.terminal import print_value
from node.ledger.store import Ledger
from node.platform.config import Config
from node.platform.home import Home
from node.platform.log import Json
from node.view.model.dashboard import DashboardModel
from node.view.terminal import overview_tables

Command = Callable[..., argparse.ArgumentParser]
View = Callable[[DashboardModel], Json]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    command(
        "contribution",
        _showing(lambda model: model.totals(), overview_tables.contribution),
        "all that this node has done: runs, hours, finds, and which of them live on in others' best",
    )
    command(
        "progress",
        _showing(lambda model: model.progress(), overview_tables.progress),
        "each step of this node from the baseline to its best, with its error, and the best of anybody",
    )
    command(
        "map",
        _showing(lambda model: model.map(), overview_tables.idea_map),
        "what was tried by kind of idea: how often, what was kept, what it gained",
    )


def add_swarm_command(command: Command) -> None:
    """Make `swarm graph` known; `command` adds one below `swarm`."""
    command(
        "graph",
        _showing(lambda model: model.swarm(), overview_tables.swarm),
        "who is in the swarm, and who re-ran and adopted whose discoveries",
    )


def add_objective_command(command: Command) -> None:
    """Make `objective show` known; `command` adds one below `objective`."""
    command(
        "show",
        _showing(lambda model: model.objective(), overview_tables.objective),
        "what this home researches: metric, budget, who measures, baseline, direction",
    )


def _showing(view: View, table: Callable[[Json], RenderableType]) -> Callable[[argparse.Namespace, Config], int]:
    def show(options: argparse.Namespace, config: Config) -> int:
        ledger = Ledger.read(Home(config.home).ledger)
        model = DashboardModel(ledger, config)
        model.refresh()
        value = {name: each for name, each in view(model).items() if name not in ("of", "rest")}
        print_value(options, value, lambda: table(value))
        return 0

    return show
