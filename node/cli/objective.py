"""The commands `objective new|check`. Thin: they read arguments, call the part that does the work, and print.

What makes runs is imported when a command needs it: every start of the program imports this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.cli.home_objectives import add_commands as add_home_commands
from node.platform.config import Config
from node.platform.home import HomeError

if TYPE_CHECKING:
    from node.authoring.baseline import Baseline
    from node.authoring.check import Fault
    from node.objective.limits import HostLimits
    from node.objective.schema import Objective

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `objective`."""
    new = command(
        "new", _new, "create an objective of your own: a complete one to change, in a new folder", reads=False
    )
    new.add_argument("folder", type=Path, metavar="FOLDER", help="an empty folder, or one that does not exist yet")
    new.add_argument("--name", metavar="NAME", help="what tables and logs call it (default: the folder's name)")
    check = command("check", _check, "report everything that is wrong with an objective, and run its baseline")
    check.add_argument("folder", metavar="FOLDER|NAME", help="an objective's folder, or the name of an embedded one")
    check.add_argument("--quick", action="store_true", help="check the files only; make no data and no runs")
    add_home_commands(command)


def _new(options: argparse.Namespace, config: Config) -> int:
    from node.authoring.template import begin

    name = begin(options.folder, options.name)
    print(f"{options.folder} has the objective {name!r}, which works as it stands. Next:")
    print("  what each file is for, and how to make it yours:  docs/objective.md")
    print(f"  autoresearch-node objective check {options.folder}")
    print(f"  autoresearch-node join --objective {options.folder}")
    return 0


def _check(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.authoring.baseline import advice, seed_warning
    from node.authoring.check import faults
    from node.objective.limits import excesses, host_limits
    from node.objective.load import load_objective

    root, limits = _folder(options.folder), host_limits(config)
    found, baseline, objective = trio.run(faults, root), None, None
    refusals: list[str] = []
    warnings: list[str] = []
    if not found:
        objective = load_objective(root, root)
        refusals = excesses(objective, limits)
        if not options.quick and not refusals:  # what this host would not join it does not run either
            baseline, found = _run_baseline(objective, limits)
        chance = trio.run(seed_warning, objective, baseline)
        warnings = [f"this machine would refuse it: {text}" for text in refusals] + ([chance] if chance else [])
    value = {
        "folder": str(root),
        "id": objective.id.hex() if objective else None,
        "faults": [asdict(fault) for fault in found],
        "warnings": warnings,
        "refused": bool(refusals),
        "baseline": asdict(baseline) if baseline else None,
        "advice": advice(objective, baseline) if objective and baseline else None,
    }
    print(json.dumps(value, indent=2) if options.json else _summary(objective, found, baseline, value))
    return 1 if found else 0


def _folder(name: str) -> Path:
    from node.objective.catalog import EMBEDDED

    for root in (EMBEDDED / name, Path(name).expanduser()):
        if root.is_dir():
            return root.resolve()
    raise HomeError(f"there is no folder {name}; `autoresearch-node objective new {name}` begins one")


def _run_baseline(objective: Objective, limits: HostLimits) -> tuple[Baseline | None, list[Fault]]:
    import trio

    from node.authoring.baseline import measure
    from node.authoring.check import Fault
    from node.execution.sandbox.layers import probe, remedy, tier
    from node.objective.schema import SETTINGS, ObjectiveError
    from node.view.terminal.run_bar import RunBar

    layers = probe()
    if tier(layers) is None:
        raise HomeError("; ".join(remedy(layers)) + " (`--quick` checks without making runs)")
    with RunBar() as view:
        try:
            return trio.run(measure, objective, layers, limits, view.show)
        except ObjectiveError as error:
            return None, [Fault(objective.prepare or SETTINGS, str(error))]


def _summary(objective: Objective | None, found: list[Fault], baseline: Baseline | None, value: dict[str, Any]) -> str:
    lines = [f"{fault.file}: {fault.says}" for fault in found]
    lines += [f"warning: {text}" for text in value["warnings"]]
    if baseline is not None and objective is not None:
        lines += [
            f"{objective.metric} {baseline.value:.4f} ({objective.unit}), holdout {baseline.holdout:.4f}",
            f"a run takes {baseline.wall_seconds:.1f} s, of CPU time for training {baseline.cpu_seconds:.1f} s, and "
            f"{baseline.memory_bytes / 1e6:.0f} MB: {baseline.tokens_per_second:,.0f} tokens a CPU second (sandbox: "
            f"{baseline.sandbox})",
            f"another seed changes {objective.metric} by {100 * baseline.noise:.2f} %, from one pair: s0 is about "
            f"{baseline.suggested_s0:g}",
        ]
        lines += [f"advice: {value['advice']}"] if value["advice"] else []
    if found:
        lines.append(f"{len(found)} {'fault' if len(found) == 1 else 'faults'} in {value['folder']}")
    elif baseline is not None:
        lines.append("no faults: the same seed gave the same bits twice, and the judge scored validation and holdout")
    elif value["refused"]:
        lines.append("no faults in the files; its baseline is not run here")
    else:
        lines.append("no faults in the files; without --quick its baseline is run as well")
    return "\n".join(lines)
