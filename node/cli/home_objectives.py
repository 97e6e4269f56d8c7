"""The commands `objective list`, `use` and `prepare`: what a home has researched, and what it researches next.

Thin: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from node.cli.terminal import agrees, console
from node.ledger.settings import JUDGED
from node.platform.config import Config
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import open_log, short_id
from node.platform.program import typed
from node.view.terminal.tables import gain_with_unit, plain_table

if TYPE_CHECKING:
    from node.app.inventory import ListedObjective
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
                print(f"next: {typed()} objective check --fix {folder}")
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

    home = Home(config.home)
    try:
        chosen = use(home, options.objective)
    except ObjectiveError as error:
        raise HomeError(str(error)) from None
    objective = chosen.objective
    print(f"{objective.name} {short_id(objective.id)} is what `{typed()} join` researches next")
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
    from node.execution.sandbox.layers import probe

    home = Home(config.home)
    found = listed_objectives(home, probe(config.sandbox), config)
    if options.json:
        print(json.dumps([each.as_json() for each in found], indent=2))
        return 0
    out = console(PIPE_COLUMNS)
    researched = [each for each in found if each.researched is not None]
    if researched:
        out.print(_researched(researched, home))
    others = [each for each in found if each.researched is None]
    if others:
        out.print(_others(others))
    return 0


def _researched(found: list[ListedObjective], home: Home) -> Table:
    title = f"researched in {escape(str(home.root))} (* is what `join` goes on with)"
    table = plain_table(
        title, "", "name", "id", "metric", "records", "own experiments", "discoveries", "best gain", "last", "files",
        "join it here",
    )  # fmt: skip
    for each in found:
        about = each.researched
        assert about is not None
        table.add_row(
            "*" if each.current else "",
            escape(each.name) or "–",
            short_id(each.id),
            _metric(each),
            str(about.records),
            str(about.experiments),
            str(about.discoveries),
            gain_with_unit(about.gain)
            + ("" if each.measured == JUDGED or about.gain is None else f", {each.measured}"),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(about.joined)) if about.joined else "–",
            escape(each.place),
            _joinable(each),
        )
    return table


def _others(found: list[ListedObjective]) -> Table:
    table = plain_table("others on this machine", "name", "id", "metric", "a run", "files", "join it here")
    for each in found:
        table.add_row(
            escape(each.name), short_id(each.id), _metric(each), _run(each), escape(each.place), _joinable(each)
        )
    return table


def _metric(each: ListedObjective) -> str:
    measured = "" if each.measured == JUDGED else each.measured
    return escape(", ".join(filter(None, (each.metric, each.unit, measured))))


def _run(each: ListedObjective) -> str:
    if not each.wall_seconds:
        return "–"
    budget = f"{each.tokens:,} tokens, " if each.tokens else f"{each.seconds:g} s, " if each.seconds else ""
    here = f", at its scale {escape(each.scale)}" if each.scale else ""
    others = f"; scales: {escape(', '.join(each.scales))}" if each.scales else ""
    return f"{budget}at most {each.wall_seconds:g} s{here}{others}"


def _joinable(each: ListedObjective) -> str:
    return "yes" if each.joinable else f"no: {escape(each.why_not)}"
