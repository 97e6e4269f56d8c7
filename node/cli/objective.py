"""The commands `objective new|import|check`. Thin: they read arguments, call what does the work, and print.

What makes runs is imported when a command needs it: every start of the program imports this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from node.cli.home_objectives import add_commands as add_home_commands
from node.platform.config import Config, SandboxBackend
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.program import typed

if TYPE_CHECKING:
    from node.authoring.baseline import Baseline
    from node.authoring.fault import Fault
    from node.authoring.fixing import Change
    from node.network.downloads.store import DownloadStore
    from node.objective.limits import HostLimits
    from node.objective.schema import Objective

FAMILY_NAMES = ("pi", "karpathy", "autokernel", "shinka", "openevolve")  # as node.authoring.importing.families has them

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `objective`."""
    new = command(
        "new", _new, "create an objective of your own: a complete one to change, in a new folder", reads=False
    )
    new.add_argument("begun", nargs="?", metavar="TEMPLATE", help="what to begin from, as --template has it")
    new.add_argument("folder", type=Path, metavar="FOLDER", help="an empty folder, or one that does not exist yet")
    new.add_argument("--name", metavar="NAME", help="what tables and logs call it (default: the folder's name)")
    new.add_argument(
        "--template",
        metavar="NAME",
        help="what to begin from: model, classification, regression, bpe, climbmix, corpus, program, command, "
        "portfolio or live (default: model)",
    )
    new.add_argument("--texts", type=Path, metavar="TEXTS", help="of a corpus: the folder with your texts")
    new.add_argument(
        "--share", action="store_true", help="of a corpus: let peers be given the texts (default: nobody is)"
    )
    new.add_argument(
        "--data",
        type=Path,
        metavar="FILE.csv",
        help="of a portfolio: prices of your own, a column of dates and one of closes for each asset",
    )
    check = command("check", _check, "report everything that is wrong with an objective, and run its baseline")
    check.add_argument("folder", metavar="FOLDER|NAME", help="an objective's folder, or the name of an embedded one")
    check.add_argument("--quick", action="store_true", help="check the files only; make no data and no runs")
    _add_import(command)
    check.add_argument(
        "--fix", action="store_true", help="write into objective.toml what can be worked out: sums, and measured noise"
    )
    add_home_commands(command)


def _add_import(command: Command) -> None:
    take = command(
        "import", _import, "take somebody's repository as it is: recognise what it is, and write objective.toml"
    )
    take.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a checkout; nothing but its objective.toml is written"
    )
    take.add_argument(
        "--command", dest="line", metavar="LINE", help="what measures it, for bash, where nothing is recognised"
    )
    take.add_argument("--metric", metavar="NAME", help="the number that counts, by the name with which it is printed")
    direction = take.add_mutually_exclusive_group()
    for name in ("lower", "higher"):
        direction.add_argument(
            f"--{name}", dest="direction", action="store_const", const=name, help=f"{name} is better"
        )
    take.add_argument("--editable", nargs="+", default=[], metavar="FILE", help="what research may edit")
    take.add_argument("--seconds", type=float, metavar="N", help="how long a run computes")
    take.add_argument(
        "--files", nargs="+", default=[], metavar="GLOB", help="what else a run needs, where too much is there"
    )
    take.add_argument(
        "--as", dest="family", metavar="NAME", choices=FAMILY_NAMES, help=f"one of {', '.join(FAMILY_NAMES)}"
    )
    take.add_argument("--force", action="store_true", help="write a new objective.toml where there is one")


def _import(options: argparse.Namespace, config: Config) -> int:
    from node.authoring.importing.recognised import Choice, ImportRefusedError
    from node.authoring.importing.report import as_data, as_lines
    from node.authoring.importing.writing import import_folder
    from protocol.metric import Direction

    root = options.folder.expanduser().resolve()
    if not root.is_dir():
        raise HomeError(f"there is no folder {options.folder}")
    choice = Choice(
        options.line,
        options.metric,
        Direction(options.direction) if options.direction else None,
        tuple(_inside(root, path) for path in options.editable),
        options.seconds,
        tuple(options.files),
        options.family,
    )
    try:
        imported = import_folder(root, choice, options.force)
    except ImportRefusedError as error:
        raise HomeError(str(error)) from None
    print(json.dumps(as_data(imported), indent=2) if options.json else as_lines(imported))
    return 0


def _inside(root: Path, given: str) -> str:
    """A file of the folder by its path in it, however it was typed: from the folder, or from where the person is."""
    for path in (root / given, Path(given)):
        if path.is_file() and path.resolve().is_relative_to(root):
            return path.resolve().relative_to(root).as_posix()
    return given


def _new(options: argparse.Namespace, config: Config) -> int:
    from node.app.downloads import sources_in
    from node.authoring.template import TEMPLATES, begin
    from node.objective.limits import host_limits

    template = options.begun or options.template or _implied_template(options)
    if template == "live":
        return _new_live(options)
    if template not in TEMPLATES:
        raise HomeError(f"there is no template {template!r}; give one of {', '.join(TEMPLATES)}, live")
    if (template == "corpus") != (options.texts is not None):
        raise HomeError("a corpus is made of texts: `autoresearch-node objective new corpus FOLDER --texts TEXTS`")
    if (template == "portfolio") != (options.data is not None):
        raise HomeError(f"a portfolio is made of prices: `{typed('objective new portfolio FOLDER --data FILE.csv')}`")
    if options.texts is not None:
        return _new_corpus(options, config)
    if options.data is not None:
        return _new_portfolio(options)
    name = begin(options.folder, options.name, template)
    fetches = sources_in(options.folder, host_limits(config))
    works = f"made from {len(fetches)} files that are fetched first" if fetches else "which works as it stands"
    folder, fix = quote(str(options.folder)), "--fix " if fetches else ""
    print(f"{options.folder} has the objective {name!r}, {works}. Next:")
    print("  what each file is for, and how to make it yours:  docs/objective.md")
    if fetches:
        print(f"  {typed(f'objective prepare {folder}')}")
    print(f"  {typed(f'objective check {fix}{folder}')}")
    print(f"  {typed(f'join --objective {folder}')}")
    return 0


def _implied_template(options: argparse.Namespace) -> str:
    """What is made of what a person gave, where they did not say it."""
    return "corpus" if options.texts is not None else "portfolio" if options.data is not None else "model"


def _new_live(options: argparse.Namespace) -> int:
    from node.authoring.live import begin_live

    name = begin_live(options.folder, options.name)
    print(f"{options.folder} has the live test {name!r}. Nobody sees anything of it before you approve it. Next:")
    print("  what is measured, and what the law and decency ask:  docs/live.md")
    folder = quote(str(options.folder))
    print(f"  {typed(f'live dashboard {folder}')}      look at the variants, and approve them")
    print(f"  {typed(f'live serve {folder} --port 8080')}")
    return 0


def _new_corpus(options: argparse.Namespace, config: Config) -> int:
    from node.authoring.corpus.making import make
    from node.authoring.corpus.report import as_lines
    from node.objective.limits import host_limits, usable_gpus
    from node.objective.schema import Kind

    gpus, _ = usable_gpus(Kind.MODEL, host_limits(config))

    def show(doing: str) -> None:
        print(f"{doing} ...", file=sys.stderr, flush=True)

    texts = options.texts.expanduser()
    made = make(options.folder, options.name, texts, bool(gpus), options.share, show)
    print("\n".join(as_lines(made.report)))
    print(f"{made.path} names every file that was passed over; it is yours alone")
    who = "whoever joins is given the texts" if options.share else "peers are given neither texts nor names of files"
    print(f"{options.folder} has the objective {made.name!r}; {who}. Next:")
    print("  what is measured, and what peers see:  docs/corpus.md")
    folder = quote(str(options.folder))
    print(f"  {typed(f'objective check --fix {folder}')}")
    print(f"  {typed(f'join --objective {folder}')}")
    return 0


def _new_portfolio(options: argparse.Namespace) -> int:
    from node.authoring.portfolio import begin_portfolio
    from node.authoring.prices import PricesError, read_prices

    try:
        prices = read_prices(options.data)
    except PricesError as error:
        raise HomeError(f"{options.data.name}: {error}") from None
    begun = begin_portfolio(options.folder, options.name, prices)
    print(
        f"{options.folder} has the objective {begun.name!r}: {len(prices.assets)} assets, {len(prices.rows)} days from "
        f"{prices.dates[0]} to {prices.dates[-1]}, {prices.days_a_year:.0f} a year"
    )
    for jump in prices.jumps[:5]:
        print(f"  a split that was not adjusted for?  {jump}")
    print(f"  {begun.years:.1f} years of validation: nothing below a gain of {begun.minimum_effect:g} is claimed,")
    print(
        "  since chance makes as much of two strategies that are alike. There is one history, and what is found in it"
    )
    print("  was looked for in it; see docs/portfolio.md. This is research into methods, and no advice.")
    folder = quote(str(options.folder))
    print(f"  {typed(f'objective check {folder}')}")
    print(f"  {typed(f'join --objective {folder}')}")
    return 0


def _check(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.app.this_machine import on_this_machine
    from node.authoring.baseline import advice, noise_faults, seed_warning
    from node.authoring.check import faults
    from node.authoring.check_command import lacking
    from node.authoring.check_hidden import hides_nothing
    from node.authoring.fixing import difference, fix_noise
    from node.live.folder import is_live
    from node.network.downloads.store import DownloadStore
    from node.objective.limits import excesses, host_limits
    from node.objective.load import load_objective
    from node.objective.scales import scale_text
    from node.objective.schema import SETTINGS

    root, limits = _folder(options.folder), host_limits(config)
    if is_live(root):
        raise HomeError(f"{options.folder} is a live test; `autoresearch-node live status` tells what is wrong with it")
    before, former = _text_of(root / SETTINGS), _id_of(root)
    store = DownloadStore(Home(config.home).downloads)
    changes = _fix_sums(root, limits, store, None if options.quick else config.sandbox) if options.fix else []
    found, baseline, objective = trio.run(faults, root), None, None
    refusals: list[str] = []
    lacks: list[str] = []
    warnings: list[str] = []
    if not found:
        at_scale = on_this_machine(load_objective(root, root), config)
        objective = at_scale.objective
        refusals, lacks = excesses(objective, limits), lacking(objective)
        if not options.quick and not refusals and not lacks:  # what this host would not join it does not run either
            baseline, found = _run_baseline(objective, limits, store, config.sandbox)
        chance = trio.run(seed_warning, objective, baseline)
        warnings = [f"this machine would refuse it: {text}" for text in refusals] + lacks + ([chance] if chance else [])
        warnings += hides_nothing(objective)
        if options.fix and baseline is not None and not objective.scale:
            changes += fix_noise(objective, baseline)
            objective = load_objective(root, root)
        found += noise_faults(objective, baseline) if baseline is not None else []
    value = {
        "folder": str(root),
        "id": objective.id.hex() if objective else None,
        "former_id": former if changes and objective and objective.id.hex() != former else None,
        "scale": {"name": objective.scale, "why": at_scale.why} if objective and objective.scale else None,
        "scales": [scale_text(scale) for scale in objective.scales] if objective else [],
        "faults": [asdict(fault) for fault in found],
        "warnings": warnings,
        "refused": bool(refusals),
        "prepared": not lacks,
        "baseline": asdict(baseline) if baseline else None,
        "advice": advice(objective, baseline) if objective and baseline else None,
        "fixed": [asdict(change) for change in changes],
    }
    if options.json:
        print(json.dumps(value, indent=2))
    else:
        if changes:
            print(difference(before, _text_of(root / SETTINGS)))
        print(_summary(objective, found, baseline, value, options.fix))
    return 1 if found or (lacks and not options.quick) else 0  # what cannot be run is not checked


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _id_of(root: Path) -> str | None:
    """An objective's id; None where its folder cannot be read as one, so that nobody can have joined it."""
    from node.objective.load import load_objective
    from node.objective.schema import ObjectiveError

    try:
        return load_objective(root, root).id.hex()
    except ObjectiveError:
        return None


def _fix_sums(root: Path, limits: HostLimits, store: DownloadStore, backend: SandboxBackend | None) -> list[Change]:
    """backend: of the sandbox in which data are made; None makes none."""
    import trio

    from node.authoring.fixing import fix_made_data, fix_sums
    from node.execution.sandbox.layers import probe, tier
    from node.objective.schema import ObjectiveError

    try:
        changes = fix_sums(root)
        layers = None if backend is None else probe(backend)
        if layers is not None and tier(layers) is not None:
            changes += trio.run(fix_made_data, root, layers, limits, store)
    except ObjectiveError as error:
        raise HomeError(str(error)) from None
    return changes


def _folder(name: str) -> Path:
    from node.objective.catalog import EMBEDDED, embedded_names

    root = EMBEDDED / name if name in embedded_names() else Path(name).expanduser()
    if root.is_dir():
        return root.resolve()
    raise HomeError(f"there is no folder {name}; `autoresearch-node objective new {quote(name)}` begins one")


def _run_baseline(
    objective: Objective, limits: HostLimits, store: DownloadStore, backend: SandboxBackend
) -> tuple[Baseline | None, list[Fault]]:
    import trio

    from node.authoring.baseline import fresh_seeds, measure
    from node.authoring.fault import Fault
    from node.execution.sandbox.layers import probe, remedy, tier
    from node.objective.schema import SETTINGS, ObjectiveError
    from node.view.terminal.run_bar import RunBar

    layers = probe(backend)
    if tier(layers) is None:
        raise HomeError("; ".join(remedy(layers)) + " (`--quick` checks without making runs)")
    with RunBar() as view:
        try:
            return trio.run(measure, objective, layers, limits, view.show, store, fresh_seeds())
        except ObjectiveError as error:
            return None, [Fault(objective.prepare or SETTINGS, str(error))]


def _summary(
    objective: Objective | None, found: list[Fault], baseline: Baseline | None, value: dict[str, Any], fixing: bool
) -> str:
    lines = [f"{fault.file}: {fault.says}" for fault in found]
    lines += [f"warning: {text}" for text in value["warnings"]]
    if value["scales"]:
        lines.append(f"beside its own budget it has these scales: {', '.join(value['scales'])}")
    if value["scale"]:
        here = value["scale"]
        lines.append(f"it would be run here at its scale {here['name']}: {here['why']}")
    if baseline is not None and objective is not None:
        lines += _measured(objective, baseline)
        lines += [f"advice: {value['advice']}"] if value["advice"] else []
    if found:
        lines.append(f"{len(found)} {'fault' if len(found) == 1 else 'faults'} in {value['folder']}")
    elif baseline is not None:
        lines.append(f"no faults: {_shown_by_runs(objective, baseline.runs)}")
    elif not value["prepared"]:
        lines.append("no faults in the files, but nothing was run: first put in place what the warning names")
    elif value["refused"]:
        lines.append("no faults in the files; its baseline is not run here")
    else:
        lines.append("no faults in the files; without --quick its baseline is run as well")
    if value["former_id"]:
        lines.append(
            f"the objective's id is {value['id']} now: what was found under the former id, {value['former_id']}, "
            "stands there"
        )
    if fixing and not value["fixed"]:
        lines.append("nothing to fix")
    return "\n".join(lines)


def _measured(objective: Objective, baseline: Baseline) -> list[str]:
    from node.authoring.baseline import noise_text

    unit = f" ({objective.unit})" if objective.unit else ""
    holdout = "" if baseline.holdout is None else f", holdout {baseline.holdout:.4f}"
    speed = f": {baseline.tokens_per_second:,.0f} tokens a CPU second" if baseline.tokens_per_second else ""
    of_what = "for training " if objective.kind == "model" else ""
    return [
        f"{objective.metric} {baseline.value:.4f}{unit}{holdout}" + (f", {objective.trust}" if not speed else ""),
        f"a run takes {baseline.wall_seconds:.1f} s, of CPU time {of_what}{baseline.cpu_seconds:.1f} s, and "
        f"{baseline.memory_bytes / 1e6:.0f} MB{speed} (sandbox: {baseline.sandbox})",
        noise_text(objective, baseline),
    ]


def _shown_by_runs(objective: Objective | None, runs: int) -> str:
    """What the runs have shown, in words."""
    if objective is None or objective.judge is None:
        return f"{runs} runs gave a value each; nobody but the command itself measured it"
    if objective.measure.spread == 0:
        return "the same seed gave the same bits twice, and the judge scored validation and holdout"
    return f"{runs} runs gave a value each, and the judge scored the holdout"
