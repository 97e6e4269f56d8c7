"""The commands that show one view of the whole each: contribution, progress, map, `swarm graph`, `objective show`.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print. What they
print with --json is what the dashboard's page is given. What they need is imported when they run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from node.cli.terminal import print_value
from node.platform.config import Config
from node.platform.home import Home

if TYPE_CHECKING:
    from rich.console import RenderableType

    from node.platform.log import Json
    from node.view.model.dashboard import DashboardModel

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    command(
        "contribution",
        _contribution,
        "all that this node has done: runs, hours, finds, and which of them live on in others' best",
    )
    command(
        "progress",
        _progress,
        "each step of this node from the baseline to its best, with its error, and the best of anybody",
    )
    command("map", _map, "what was tried by kind of idea: how often, what was kept, what it gained")


def add_swarm_command(command: Command) -> None:
    """Make `swarm graph` known; `command` adds one below `swarm`."""
    command("graph", _graph, "who is in the swarm, and who re-ran and adopted whose discoveries")


def add_objective_command(command: Command) -> None:
    """Make `objective show` known; `command` adds one below `objective`."""
    command("show", _objective, "what this home researches: metric, budget, who measures, baseline, direction")


def _contribution(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.overview_tables import contribution

    return _print(options, _model(config).totals(), contribution)


def _progress(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.overview_tables import progress

    return _print(options, _model(config).progress(), progress)


def _map(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.overview_tables import idea_map

    return _print(options, _model(config).map(), idea_map)


def _graph(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.overview_tables import swarm

    return _print(options, _model(config).swarm(), swarm)


def _objective(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.overview_tables import objective

    return _print(options, _model(config).objective(), objective)


def _model(config: Config) -> DashboardModel:
    from node.ledger.store import Ledger
    from node.view.model.dashboard import DashboardModel

    model = DashboardModel(Ledger.read(Home(config.home).ledger), config)
    model.refresh()
    return model


def _print(options: argparse.Namespace, found: Json, table: Callable[[Json], RenderableType]) -> int:
    value = {name: each for name, each in found.items() if name not in ("of", "rest")}
    print_value(options, value, lambda: table(value))
    return 0
