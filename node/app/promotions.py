"""Promotions on this machine: which scales it can run, a person's requests, and `promote` without a running node.

The ledger has one writer. While a node runs, the command leaves a request as a file in the home, written whole or not
at all, and the node takes it up; else the command does the work itself, under the home's lock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import trio

from node.app.researched import held
from node.app.this_machine import on_this_machine
from node.execution.prepare import prepare_data
from node.execution.runs import Runs, runner_for
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from node.ledger.store import Ledger, Quota
from node.network.downloads.store import DownloadStore
from node.objective.limits import HostLimits, excesses, gpus_for, host_limits
from node.objective.scales import scale_text
from node.objective.schema import Objective
from node.platform import hardware
from node.platform.config import FILE_NAME, Config
from node.platform.file_trouble import HomeError, read_at_most
from node.platform.gpus import InstalledDrivers
from node.platform.home import Home
from node.platform.log import Log, short_id
from node.platform.private_files import write_private
from node.review.promote import Promoter, Promotion
from node.trials.cached_runner import CachedRunner, ProgressView
from node.trials.compute_class import ComputeClassEstimator, first_class
from node.trials.own_seeds import OwnSeeds
from protocol.records import Decision, Experiment, Record, Transfer

MAX_WAITING = 100  # requests; far more than a person leaves
MAX_REQUEST_BYTES = 10_000
OFF = "off"


class PromoteError(HomeError):
    """The discovery cannot be promoted as asked; the text says what to do."""


# ---- which scale ----------------------------------------------------------------------------------------------------


def scales_here(objective: Objective, config: Config, limits: HostLimits, log: Log) -> tuple[str, ...]:
    """The scales to which this machine promotes confirmed discoveries by itself, the smallest first.

    Where a person researches for one of them it is that one alone; where this machine cannot bear one, the log says so.
    """
    names = tuple(scale.name for scale in objective.larger_scales)
    if config.promote == OFF or config.worker_command:
        return ()
    if config.scale and config.scale not in names:
        there = f"its larger scales here are {', '.join(names)}" if names else "it has no larger scale here"
        hint = f"`scale` below [research] in {FILE_NAME}; {there}"
        log("scale unknown", level="warning", title=objective.name, scale=config.scale, hint=hint)
        return ()
    found = []
    for name in (config.scale,) if config.scale else names:
        too_much = excesses(objective.at_scale(name), limits)
        if too_much:
            log("scale too large", title=objective.name, scale=name, why="; ".join(too_much))
            break
        found.append(name)
    return tuple(found)


def scale_asked_for(objective: Objective, name: str | None, configured: str) -> str:
    """The scale that a person names; else that for which they research, else the smallest. Raises PromoteError."""
    larger = {scale.name: scale for scale in objective.larger_scales}
    if not larger:
        raise PromoteError(f"{objective.name} has no larger scale for this machine (docs/objective.md, Scales)")
    if name is None:
        return configured if configured in larger else next(iter(larger))
    if name not in larger:
        raise PromoteError(
            f"{objective.name} has no larger scale {name!r}; it has {', '.join(map(scale_text, larger.values()))}"
        )
    return name


def refuse_too_large(objective: Objective, scale: str, config: Config) -> None:
    """Raise PromoteError where this machine makes no runs at a scale."""
    if config.worker_command:
        raise PromoteError(f"runs at larger scales are made on this machine, and [workers] in {FILE_NAME} says not to")
    too_much = "; ".join(excesses(objective.at_scale(scale), host_limits(config)))
    if too_much:
        raise PromoteError(f"the scale {scale} is too large for this machine: {too_much}")


def promotion_of(ledger: Ledger, prefix: str, scale: str, objective: Objective) -> Promotion:
    """The promotion of the discovery whose id begins so. Raises PromoteError."""
    record = ledger.get(prefix)
    if record is None:
        raise PromoteError(
            f"no single record starts with {prefix!r}; `autoresearch-node leaderboard` lists discoveries"
        )
    body = record.body
    if not isinstance(body, Experiment) or body.decision != Decision.IMPROVED:
        raise PromoteError(f"record {short_id(record.id)} is no discovery; `autoresearch-node leaderboard` lists them")
    if not objective.same_budget(body.compute_class):
        raise PromoteError(
            f"record {short_id(record.id)} is of the compute class {body.compute_class}, whose budget is not the one "
            "from which this machine promotes"
        )
    missing = [source for source in (body.parent, body.child) if not ledger.has_blob(source)]
    if missing:
        raise PromoteError(
            f"source {short_id(missing[0])} has not arrived here; let the node run with peers connected and ask again"
        )
    return Promotion(record, scale)


def promoted_before(ledger: Ledger, author: bytes | None, promotion: Promotion) -> Record | None:
    """This node's own transfer of the discovery to that scale, if there is one."""
    for record in ledger.feed(author) if author is not None else ():
        body = record.body
        if isinstance(body, Transfer) and (body.discovery, body.scale) == (promotion.claim.id, promotion.scale):
            return record
    return None


# ---- requests -------------------------------------------------------------------------------------------------------


def leave(folder: Path, objective: bytes, promotion: Promotion) -> None:
    """Ask the running node for a promotion. Raises PromoteError when too many wait."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if len(list(folder.glob("*.json"))) >= MAX_WAITING:
        raise PromoteError(f"{MAX_WAITING} promotions wait already; the node takes them up one after the other")
    fields = {"objective": objective.hex(), "claim": promotion.claim.id.hex(), "scale": promotion.scale}
    write_private(folder / f"{time.time_ns()}.json", json.dumps(fields).encode())


def asked_for(folder: Path, ledger: Ledger, objective: Objective, log: Log) -> tuple[Path, Promotion] | None:
    """The promotion that a person asked for first, and the file that says so; None for none.

    A file that asks for nothing this node can do is set aside and logged; one for another objective stays.
    """
    for path in sorted(folder.glob("*.json"))[:MAX_WAITING]:
        try:
            fields = json.loads(read_at_most(path, MAX_REQUEST_BYTES))
            of, claim, scale = (fields[name] for name in ("objective", "claim", "scale"))
            if bytes.fromhex(of) != ledger.objective:
                continue
            return path, promotion_of(ledger, str(claim), scale_asked_for(objective, str(scale), ""), objective)
        except (OSError, ValueError, RecursionError, LookupError, TypeError, PromoteError) as error:
            why = str(error) if isinstance(error, PromoteError) else f"this is no request ({type(error).__name__})"
            with suppress(OSError):
                path.replace(path.with_suffix(".refused"))
            log("promotion refused", level="warning", why=why, file=path.name)
    return None


# ---- without a running node -----------------------------------------------------------------------------------------


def promote_now(config: Config, prefix: str, scale: str | None, view: ProgressView, log: Log) -> Record:
    """Promote a discovery in this process; the caller holds the home's lock. Raises HomeError and LedgerError.

    What was promoted by this node before is not run again: its record is the answer.
    """
    home, limits, layers = Home(config.home), host_limits(config), probe(config.sandbox)
    with closing(Ledger.read(home.ledger)) as memory:
        objective = on_this_machine(held(home, memory.objective, memory).objective, config).objective
    quota = Quota(config.blob_quota_bytes, config.records_per_author, config.authors, config.unproven_bytes)
    mark = home.key_mark(home.identity())
    ledger = Ledger.open(home.ledger, objective.id, quota, objective.measure, mark)
    try:
        promotion = promotion_of(ledger, prefix, scale_asked_for(objective, scale, config.scale), objective)
        before = promoted_before(ledger, home.identity().author, promotion)
        if before is not None:
            return before
        if tier(layers) is None:
            raise PromoteError("; ".join(remedy(layers)))
        record = trio.run(_promote_here, home, objective, ledger, layers, limits, promotion, view, log)
    finally:
        ledger.close()
    if record is None:
        raise PromoteError("this machine failed at the runs, which says nothing of the discovery; the log says how")
    return record


async def _promote_here(
    home: Home,
    objective: Objective,
    ledger: Ledger,
    layers: Layers,
    limits: HostLimits,
    promotion: Promotion,
    view: ProgressView,
    log: Log,
) -> Record | None:
    store = DownloadStore(home.downloads)
    await prepare_data(objective, layers, limits, log, store.paths(objective.downloads))
    gpus, _ = gpus_for(objective, limits)
    machine, identity = hardware.measure(gpus), home.identity()
    runs_at = runs_at_scale(layers, home, limits, log)
    own = CachedRunner(
        objective=objective,
        ledger=ledger,
        runner=runs_at(objective),  # makes no runs: it is never entered
        seeds=OwnSeeds(identity, objective.id),
        compute_class=first_class(machine, objective.device).name,
        device=gpus[0].name if gpus else machine.device,
        platform=hardware.platform_name(),
        sandbox=tier(layers) or "",
        log=log,
        view=view,
    )
    ComputeClassEstimator(machine, own, log)  # gives the cached runner the class that this home has measured
    return await Promoter(identity, own, (), runs_at, lambda: time.time_ns() // 1_000_000, log).promote(promotion)


def runs_at_scale(layers: Layers, home: Home, limits: HostLimits, log: Log) -> Callable[[Objective], Runs]:
    """What makes the runs of an objective at a larger scale: one at a time, so that the machine can bear it."""

    def runs(objective: Objective) -> Runs:
        gpus, _ = gpus_for(objective, limits)
        return runner_for(objective, layers, home.weights, log, 1, limits.data_bytes, gpus[:1], InstalledDrivers())

    return runs
