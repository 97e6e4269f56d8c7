"""The service: one trio nursery that is the node. It opens the ledger, starts network, research, replication and views.

It knows who must be running and in which order things start and stop; what each part does is the part's own business.
Cancelling the nursery (Ctrl-C, a limit reached) is the one way out, and it loses nothing: records are durable when
they are made, and finished runs are in the ledger.
"""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from node.app.gpu_manners import GpuManners
from node.app.notify import notify_of_confirmed
from node.app.objective_data import provide_data
from node.app.promotions import runs_at_scale, scales_here
from node.app.running import Node, Stop, Summary
from node.app.signing_watch import tell_of_another_key
from node.execution.remote.remote_runs import RemoteRuns, command_environment
from node.execution.remote.worker_link import Command
from node.execution.runs import runner_for
from node.execution.sandbox.container import remove_left_over
from node.execution.sandbox.engine import EngineError
from node.execution.sandbox.layers import Layers, probe, tier
from node.ledger.files import BlobFiles
from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.steps import best_source
from node.ledger.projections.transfers import carry_over, comparisons, expected_ratios
from node.ledger.signing import Signing
from node.ledger.store import Ledger, Quota
from node.network import Network, Settings, open_network
from node.network.downloads.store import DownloadStore
from node.objective.catalog import description_of
from node.objective.limits import demands, gpus_for, host_limits
from node.objective.schema import Objective, Trust
from node.platform import hardware
from node.platform.config import Config
from node.platform.gpus import InstalledDrivers
from node.platform.home import Home, Lock
from node.platform.listening import at_one_port, obstacle, refuse_obstacles, with_port, without_missing_ipv6
from node.platform.log import Log, short_id
from node.proposers.configured import configured
from node.proposers.strategy import Strategy
from node.proposers.suggested import Suggested
from node.proposers.suggestion_inbox import keep_taking_up
from node.research.incumbent import Incumbent
from node.research.loop import Research
from node.research.workspace import Entry, History, Workspace
from node.review.promote import Promoter
from node.review.proven import settle_proven
from node.review.reviewer import Reviewer
from node.review.workbench import Workbench
from node.trials.cached_runner import CachedRunner, ProgressView
from node.trials.compute_class import ComputeClassEstimator, first_class
from node.trials.own_seeds import OwnSeeds
from protocol.identity import Identity
from protocol.records import Experiment, Replication

OPEN_FILES = 65_536
OTHER_PORT = "another node or program has the port of last time, so this node takes another one"
FIRST_PEER_SECONDS = 20.0  # a peer that is there answers within a few, also over a slow line


class StartError(Exception):
    """The node cannot start; the text says what to do."""


@dataclass(frozen=True)
class NodeSetup:
    """What a node is started with.

    folder: where a person keeps the objective's files, if they just said so. unsafe: run peers' code without a sandbox
    where there is none. view: shows the run that is going on. lock: the home's, to be kept while the node runs.
    """

    config: Config
    home: Home
    objective: Objective
    log: Log
    view: ProgressView
    stop: Stop = field(default_factory=Stop)
    folder: str = ""
    no_research: bool = False
    unsafe: bool = False
    lock: Lock | None = None


async def run_node(
    setup: NodeSetup, bootstrap: Sequence[str], dashboard: Callable[[], Awaitable[None]] | None
) -> Summary:
    """Run the node until its stop condition or a signal. The caller holds the home's lock.

    bootstrap: multiaddrs of peers to dial first. dashboard: shows the node to a person for as long as it runs; it reads
    the home and the ledger by itself.

    Raises StartError when it cannot start; the text says what to do.
    """
    config, home, objective, log = setup.config, setup.home, setup.objective, setup.log
    _allow_open_files()
    layers = replace(probe(config.sandbox), unsafe=setup.unsafe)
    if tier(layers) is None:
        raise StartError("this machine offers no sandbox, so nothing can be run; see `autoresearch-node doctor`")
    _remove_left_over_containers(layers, log)
    if tier(layers) == "unsafe":
        log("NO SANDBOX", level="warning", why="peers' code runs as you and can read your files, as you asked for")
    identity = home.identity()
    ledger = Ledger.open(
        home.ledger,
        objective.id,
        Quota(config.blob_quota_bytes, config.records_per_author, config.authors, config.unproven_bytes),
        objective.measure,
        home.key_mark(identity),
    )
    try:
        if ledger.signing is Signing.FORKED:
            raise StartError(Signing.FORKED.value)
        tell_of_another_key(ledger, identity, log)
        _keep_objective(ledger, objective, setup.folder, identity)
        settle_proven(ledger, identity.author)
        freed = ledger.drop_unreferred_blobs()
        if freed:
            log("unused sources removed", why="nothing refers to it", kilobytes=round(freed / 1024))
        about = {"title": objective.name, "id": short_id(objective.id), "metric": objective.metric}
        if objective.trust == Trust.SELF_MEASURED:
            about["measured"] = objective.trust
        log("objective", **about, **demands(objective), home=str(home.root), sandbox=tier(layers))
        files = BlobFiles(home.blobs, config.data_quota_bytes)
        settings = _settings(config, home, objective, bootstrap, log)

        def network() -> AbstractAsyncContextManager[Network]:
            return open_network(identity, ledger, settings, log, files)

        known_peers = bootstrap or ledger.addresses()
        store = DownloadStore(home.downloads)
        await provide_data(objective, layers, host_limits(config), files, store, network if known_peers else None, log)
        node = assemble(setup, identity, ledger, layers)
        if node.cached_runner.parallel_runs > 1 and node.remote_runs is None:
            log("parallel runs", runs=node.cached_runner.parallel_runs, hint="`workers` below [research] in swarm.toml")
        return await _run(node, network, dashboard, alone=not known_peers)
    finally:
        ledger.close()


def _allow_open_files() -> None:
    """Raise this process's own limit to what it may have: runs side by side and many peers need descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remove_left_over_containers(layers: Layers, log: Log) -> None:
    if layers.engine is not None:
        try:
            removed = remove_left_over(layers.engine)
        except EngineError as error:
            log("containers left over", level="warning", why=str(error))
            return
        if removed:
            log("containers removed", why="their node was killed", count=removed)


def _keep_objective(ledger: Ledger, objective: Objective, folder: str, identity: Identity) -> None:
    """Make the objective's files available to peers and to the reading commands."""
    # The baseline is one of the files, or a tree of several.
    for content in (objective.manifest_bytes, *objective.files.values(), objective.source.encode()):
        ledger.put_blob(content)
    ledger.settings.choose(description_of(objective, folder, time.time()))
    ledger.settings.author = identity.author


def assemble(setup: NodeSetup, identity: Identity, ledger: Ledger, layers: Layers) -> Node:
    """The parts of a node, wired, without a network; the objective's source is in the ledger."""
    config, home, objective, log = setup.config, setup.home, setup.objective, setup.log
    budget = objective.budget
    limits, drivers = host_limits(config), InstalledDrivers()
    remote_runs = _remote_runs(config, objective, log)
    here = partial(runner_for, objective, layers, home.weights, log)
    gpus, _ = gpus_for(objective, limits) if remote_runs is None else ((), ())
    machine = hardware.measure(gpus)
    bearable = len(gpus) or hardware.bearable_runs(machine, budget.threads, budget.memory_bytes)
    parallel_runs = config.workers or bearable
    cached_runner = CachedRunner(
        objective=objective,
        ledger=ledger,
        runner=remote_runs
        or here(parallel_runs, limits.data_bytes, gpus, drivers, gpu_keep_free=config.gpu_free_mb << 20),
        seeds=OwnSeeds(identity, objective.id),
        compute_class=first_class(machine, objective.device).name,
        device=gpus[0].name if gpus else machine.device,
        platform=hardware.platform_name(),
        sandbox=tier(layers) or "",
        log=log,
        view=setup.view,
    )

    def title_of(discovery: bytes) -> str:
        claimed = ledger.get(discovery.hex())
        return claimed.body.title if claimed is not None and isinstance(claimed.body, Experiment) else "a discovery"

    workspace = Workspace.open(
        home.workspace(objective.id), objective.editable, objective.source, title_of, ledger.settings.description, log
    )
    home.mark_workspace(objective.id)
    rng = random.Random(config.seed if config.seed else identity.author)
    class_estimator = ComputeClassEstimator(machine, cached_runner, log)  # before anything that names the compute class
    proposers = configured(config, cached_runner, layers, identity.author, log)
    strategy = Strategy(proposers, objective.priors_for, log, cached_runner.runner.pause_gate.clock)
    strategy.asked_for = next((each for each in proposers if isinstance(each, Suggested)), None)
    if config.scale in {scale.name for scale in objective.larger_scales}:
        strategy.scale, strategy.carry_over = config.scale, ratios_to(config.scale, ledger)

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    incumbent = Incumbent(identity.author, cached_runner, workspace, log)
    research = Research(identity, cached_runner, incumbent, strategy, workspace, rng, now_ms, log)
    reviewer = Reviewer(Workbench(identity, cached_runner, incumbent, workspace, now_ms, log))
    scales = scales_here(objective, config, limits, log)
    runs_at = runs_at_scale(layers, home, limits, log)

    def history() -> History:
        steps = incumbent.steps()
        best_text = cached_runner.source_text(incumbent.source())
        return _entries(cached_runner, identity), best_text, steps[-1].record.id if steps else None

    workspace.follow(history)
    return Node(
        config,
        home,
        identity,
        ledger,
        cached_runner,
        research,
        reviewer,
        class_estimator,
        log,
        gpu_manners=GpuManners(config, gpus, drivers) if gpus else None,
        no_research=setup.no_research,
        stop=setup.stop,
        lock=setup.lock,
        remote_runs=remote_runs,
        promoter=Promoter(identity, cached_runner, scales, runs_at, now_ms, log) if remote_runs is None else None,
    )


def ratios_to(scale: str, ledger: Ledger) -> Callable[[], Mapping[str, float]]:
    """By category the gain expected at a scale for one here, as the transfers in the ledger have it by then."""
    return CachedProjection(
        ledger, lambda: expected_ratios(carry_over(comparisons(ledger.all_records(), ledger.is_proven), scale))
    )


def _remote_runs(config: Config, objective: Objective, log: Log) -> RemoteRuns | None:
    """Runs by the workers of `[workers]`; None where runs are made on this machine. Raises ObjectiveError."""
    if not config.worker_command:
        return None
    environment = command_environment(config.worker_environment)
    return RemoteRuns(objective, Command(config.worker_command, environment), config.worker_count, log)


def _entries(cached_runner: CachedRunner, identity: Identity) -> list[tuple[Entry, str]]:
    """Own records that have a source of their own, each with its parent's text, in order."""
    entries = []
    best = cached_runner.objective.source_id
    for record in cached_runner.ledger.feed(identity.author):
        body = record.body
        if isinstance(body, Experiment):
            parent, source = body.parent, body.child
        elif isinstance(body, Replication) and body.adopted is not None:
            parent, source = body.base or best, body.adopted
        else:
            continue
        entry = Entry(record, body, cached_runner.source_text(source), cached_runner.memory_of(source))
        entries.append((entry, cached_runner.source_text(parent)))
        best = best_source([record], best)
    return entries


async def _run(
    node: Node,
    open_it: Callable[[], AbstractAsyncContextManager[Network]],
    dashboard: Callable[[], Awaitable[None]] | None,
    alone: bool,
) -> Summary:
    started = time.monotonic()
    with trio.CancelScope() as done:
        if node.stop.seconds is not None:
            done.deadline = trio.current_time() + node.stop.seconds
        async with (
            open_it() as network,  # outside of any nursery here, which would wrap a ListenError in a group
            node.cached_runner.runner,
            node.ledger.subscribe() as arrivals,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_stop_on_signal, done)
            node.network = network
            _remember_port(node.home, network, node.log)
            if alone:
                node.log("no peers yet", hint="`autoresearch-node invite` prints what another machine needs")
            else:
                nursery.start_soon(say_if_nobody_answers, node, network)
            nursery.start_soon(node.log_arrivals, arrivals)
            nursery.start_soon(notify_of_confirmed, node.ledger, node.config, node.log)
            nursery.start_soon(node.fetch_sources, network)
            nursery.start_soon(node.keep_status)
            nursery.start_soon(node.watch_ledger, done)
            nursery.start_soon(node.keep_present, network)
            nursery.start_soon(
                keep_taking_up,
                node.home.suggestions,
                node.ledger,
                node.identity,
                node.cached_runner.parser,
                node.log,
            )
            nursery.start_soon(node.watch_availability)
            if dashboard is not None:
                nursery.start_soon(dashboard)
            if node.config.metrics_listen is not None:
                from node.view.web import metrics  # brings prometheus_client

                nursery.start_soon(metrics.beside, node.home.root, *node.config.metrics_listen, node.log)
            await node.work(done)
    return node.summary(time.monotonic() - started)


async def say_if_nobody_answers(node: Node, network: Network) -> None:
    """Log, once, that none of the peers that this node knows of was reached."""
    await trio.sleep(FIRST_PEER_SECONDS)
    if not network.peers():
        hint = (
            "the node goes on alone and keeps trying. Is the inviting node running, and can this machine reach it? Its "
            "address may have changed: ask for a fresh invite"
        )
        node.log("no peer reached", level="warning", seconds=round(FIRST_PEER_SECONDS), hint=hint)


def _settings(config: Config, home: Home, objective: Objective, bootstrap: Sequence[str], log: Log) -> Settings:
    return Settings(
        _listen(config, home, log),
        bootstrap,
        swarm_key=home.swarm_key(objective.id),
        allow=frozenset(config.allow),
        block=frozenset(config.block),
        lan=config.lan,
        upnp=config.upnp,
        public=bool(config.public),
        dht_bootstrap=config.dht_bootstrap,
    )


def _listen(config: Config, home: Home, log: Log) -> list[str]:
    """The configured addresses; where any port will do, the one of last time, so that invites keep working.

    Raises ListenError where one that was asked for cannot be had. The port of last time was not asked for: when another
    node or program has it by now, any other will do.
    """
    asked = without_missing_ipv6(config.listen)
    refuse_obstacles(asked)
    port = home.remembered_port()
    if port is None:
        return at_one_port(asked)
    again = with_port(asked, port)
    taken = next((address for address in again if address not in asked and obstacle(address) is not None), None)
    if taken is None:
        return again
    hint = "invites given out before lead to the other program now: `autoresearch-node invite` prints a new one"
    log("port taken", level="warning", address=taken, why=OTHER_PORT, hint=hint)
    return at_one_port(asked)


def _remember_port(home: Home, network: Network, log: Log) -> None:
    for address in network.addresses():
        parts = address.split("/")
        if "tcp" in parts:
            why_not = home.remember_port(int(parts[parts.index("tcp") + 1]))
            if why_not is not None:
                hint = "the next start may take another port, and invites given out now would lead nowhere"
                log("port not remembered", level="warning", why=why_not, hint=hint)
            return


async def _stop_on_signal(done: trio.CancelScope) -> None:
    """End the node when it is told to, or its terminal is closed; nohup(1) has it ignore the latter."""
    hang_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hang_up) as signals:
        async for _ in signals:
            done.cancel()
