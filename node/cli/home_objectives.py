"""The commands `objective list`, `use` and `prepare`: what a home has researched, and what it researches next.

Thin: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.cli.terminal import agrees, console
from node.platform.config import Config
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.program import typed

if TYPE_CHECKING:
    from node.objective.schema import Objective

Command = Callable[..., argparse.ArgumentParser]
PIPE_COLUMNS = 160


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `objective`."""
    command("list", _list, "what this home has researched, and what else it could join on this machine")
    ready = command(
        "prepare", _prepare, "fetch what an objective is made from, or run the command its author names", reads=False
    )
    ready.add_argument("objective", metavar="FOLDER|NAME|ID", help="as `objective list` shows it, or its folder")
    ready.add_argument("--yes", action="store_true", help="fetch, or run the command, without asking")
    use = command("use", _use, "choose what the next `join` researches; what was found before stays", reads=False)
    use.add_argument(
        "objective", metavar="NAME|ID|FOLDER", help="as `objective list` shows it; the start of an id is enough"
    )


def _prepare(options: argparse.Namespace, config: Config) -> int:
    from node.app.environment import prepare, refuse_unprepared
    from node.app.researched import asked_for, remembered
    from node.authoring.check import usable
    from node.objective.schema import SETTINGS, ObjectiveError

    home, folder = Home(config.home), Path(options.objective).expanduser()
    try:
        if (folder / SETTINGS).is_file():
            if not _fetched(folder, None, options, config):
                return 1
            why_not = usable(folder, folder)
            if isinstance(why_not, str):  # a maker's folder in which sums of data are open, too
                print(f"nothing is missing of what it is made from; it cannot be joined yet ({why_not})")
                print(f"next: {typed(f'objective check --fix {folder}')}")
                return 0
        with remembered(home) as ledger:
            objective = asked_for(options.objective, home, ledger).objective
    except ObjectiveError as error:
        raise HomeError(str(error)) from None
    if not _fetched(objective.root, objective, options, config):
        return 1
    environment = objective.environment
    if environment is None or environment.prepare is None:
        refuse_unprepared(objective)
        print(f"{objective.name} needs nothing more")
        return 0
    print(f"In {objective.root} this command of the objective's author would run, as you, with the network:")
    print(f"\n    {environment.prepare}\n")
    if not options.yes and not agrees("It is in no sandbox. Run it? [y/N] "):
        print("nothing was run")
        return 1
    prepare(objective)
    print(f"{objective.name} has what it needs")
    return 0


def _fetched(root: Path, objective: Objective | None, options: argparse.Namespace, config: Config) -> bool:
    """Fetch what an objective, or the one in a maker's folder, is made from, if a person agrees; False where not."""
    from node.app.downloads import fetch_all, missing, question, sources_in, sources_of
    from node.network.downloads.store import DownloadStore
    from node.objective.limits import host_limits
    from node.platform.log import open_log

    home, limits = Home(config.home), host_limits(config)
    store = DownloadStore(home.downloads)
    sources = sources_in(root, limits) if objective is None else sources_of(objective)
    wanted = missing(sources, store)
    if not wanted:
        return True
    print(question(wanted, store))
    if not options.yes and not agrees("Fetch them? [y/N] "):
        print("nothing was fetched")
        return False
    home.make()
    with home.locked():
        log = open_log(home.root, config.log_level)

        def write(event: str, level: str = "info", **details: object) -> None:
            getattr(log, level)(event, **details)

        fetch_all(sources, root, store, limits, write)
    return True


def _use(options: argparse.Namespace, config: Config) -> int:
    from node.app.researched import use
    from node.app.this_machine import on_this_machine
    from node.objective.data import missing_data
    from node.objective.scales import scale_here
    from node.objective.schema import ObjectiveError
    from node.platform.log import short_id

    home = Home(config.home)
    try:
        chosen = use(home, options.objective)
    except ObjectiveError as error:
        raise HomeError(str(error)) from None
    objective = chosen.objective
    print(f"{objective.name} {short_id(objective.id)} is what `{typed('join')}` researches next")
    here = on_this_machine(objective, config)
    if here.why:
        print(f"here it runs at its scale {scale_here(here.objective)}: {here.why}")
    missing = missing_data(objective) if objective.prepare is not None else []
    if missing:
        size = sum(data.entry.size for data in missing)
        print(f"its data, {size / 1e6:.0f} MB, are made or fetched when it is joined, once")
    print(f"what it keeps is in {home.workspace(objective.id)}")
    if home.swarm_key(objective.id) is not None:
        print("its swarm is private")
    return 0


def _list(options: argparse.Namespace, config: Config) -> int:
    from node.app.inventory import listed_objectives
    from node.cli import objective_tables
    from node.execution.sandbox.layers import probe

    home = Home(config.home)
    found = listed_objectives(home, probe(config.sandbox), config)
    if options.json:
        print(json.dumps([each.as_json() for each in found], indent=2))
        return 0
    out = console(PIPE_COLUMNS)
    researched = [each for each in found if each.researched is not None]
    if researched:
        out.print(objective_tables.researched(researched, home))
    others = [each for each in found if each.researched is None]
    if others:
        out.print(objective_tables.others(others))
    return 0
