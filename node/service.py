"""The service: one trio nursery that is the node. It opens the ledger, starts network, research, replication and views.

It knows who must be running and in which order things start and stop; what each part does is the part's own business.
Cancelling the nursery (Ctrl-C, a limit reached) is the one way out, and it loses nothing: records are durable when
they are made, and finished runs are in the ledger.
"""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

import trio

from node import hardware
from node.blob_files import BlobFiles
from node.config import Config
from node.experiment.laboratory import Laboratory, Log, ProgressView
from node.experiment.objective import Objective
from node.experiment.run import Runner
from node.experiment.sandbox.layers import Layers, probe, tier
from node.experiment.workspace import Entry, Workspace
from node.home import Home
from node.hypothesis.configured import configured
from node.hypothesis.strategy import Strategy
from node.idle import Manners
from node.ledger import MAX_SOURCE_BYTES, Arrived, Ledger, LedgerError, Quota
from node.network import Network, Settings, open_network
from node.pace import Pace, first_class
from node.provision import provide_data
from node.replicate import Replicator
from node.research import Research, parent_seed
from node.suggestions import keep_taking_up
from node.views import best_source, chain, effect_text, pending_replications
from protocol.identity import Identity, peer_id_of, short
from protocol.messages import Presence
from protocol.records import Experiment, Hypothesis, Replication

IDLE_SECONDS = 2.0  # how often a worker with nothing to do looks again
FETCH_RETRY_SECONDS = 20.0
STATUS_SECONDS = 2.0
MANNERS_SECONDS = 1.0  # how often we look whether we may work


@dataclass(frozen=True)
class Stop:
    """When to stop by itself."""

    experiments: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Summary:
    """What a session came to."""

    seconds: float
    experiments: int
    kept: int
    replications: int
    adopted: int
    runs: int
    records: int
    gain: str
    overhead: float | None  # share of wall time not spent in candidate or judge while research was on
    error: str | None


class StartError(Exception):
    """The node cannot start; the text says what to do."""


@dataclass
class Node:
    """The parts of a running node, wired."""

    config: Config
    home: Home
    identity: Identity
    ledger: Ledger
    laboratory: Laboratory
    research: Research
    replicator: Replicator
    pace: Pace
    log: Log
    no_research: bool
    stop: Stop
    network: Network | None = None
    doing: str = "starting"
    resting: str | None = None  # why, in words
    own_experiments: int = 0
    replicated: int = 0
    replication_seconds: float = 0.0
    research_seconds: float = 0.0
    error: str | None = None

    # ---- work --------------------------------------------------------------------------------------------------

    async def work(self, done: trio.CancelScope) -> None:
        """Research and replicate by turns until the stop condition; then cancel the node."""
        if not await self._measure_baseline():
            done.cancel()
            return
        while self.stop.experiments is None or self.own_experiments < self.stop.experiments:
            if self.resting is not None:
                await trio.sleep(MANNERS_SECONDS)
                continue
            try:
                if self.pace.due(time.monotonic()):
                    await self.pace.measure(time.monotonic())
                busy = await self._turn()
            except LedgerError as error:
                self.error = str(error)
                self.log("cannot go on", level="error", why=str(error))
                break
            if not busy:
                self.doing = "waiting for peers' discoveries"
                await trio.sleep(IDLE_SECONDS)
        done.cancel()

    async def _turn(self) -> bool:
        """One turn of replication or research; False when there was nothing to do."""
        task = self.replicator.next_task() if self._replication_is_due() else None
        started = time.monotonic()
        if task is not None:
            self.doing = "re-running a peer's discovery" if task.audit is None else "auditing a peer's report"
            record = await self.replicator.turn(task)
            self.replicated += record is not None and isinstance(record.body, Replication)
            self.replication_seconds += time.monotonic() - started
            return True
        if self.no_research:
            return False
        self.doing = "research"
        experiment = await self.research.turn()
        self.research_seconds += time.monotonic() - started
        self.own_experiments += experiment is not None
        if experiment is None and self.stop.experiments is not None:
            self.log("out of ideas", hint="every known edit was tried; a peer's discovery opens new ones")
        return experiment is not None

    def _replication_is_due(self) -> bool:
        """Whether replication has had less than its share of the time; without research all time is its own."""
        total = self.replication_seconds + self.research_seconds
        return self.no_research or self.replication_seconds <= self.config.replicate_share * total

    async def _measure_baseline(self) -> bool:
        """The first run of the session: what everything is compared with, and the proof that runs work here."""
        objective = self.laboratory.objective
        self.doing = "measuring the baseline"
        seed = parent_seed(objective.source_id)
        cached = self.laboratory.cached(objective.source_id, seed)
        if cached is not None:
            if not self.pace.known:
                self.pace.take(cached)
            return True
        started = time.monotonic()
        with self.laboratory.working_on("baseline"):
            outcome = await self.laboratory.run(objective.source_id, seed)
        self.research_seconds += time.monotonic() - started
        if outcome.value is None:
            self.error = f"the baseline does not run here ({outcome.failure}); see `autoresearch-node doctor`"
            self.log("baseline failed", level="error", failure=outcome.failure, log_tail=outcome.log_tail)
            return False
        self.log(
            "baseline",
            **{objective.metric: round(outcome.value, 4)},
            cpu_seconds=round(outcome.cpu_seconds, 1),
            tokens_per_second=round(outcome.tokens / max(outcome.cpu_seconds, 1e-9)),
            sandbox=outcome.tier,
        )
        self.pace.take(outcome)
        return True

    async def keep_manners(self) -> None:
        """Rest while something is against working: the run under way is frozen where it stands, and goes on later."""
        manners = Manners(self.config, self.home)
        while True:
            reason = manners.reason_not_to_work()
            if (reason is None) != (self.resting is None):
                if reason is not None:
                    self.log("resting", why=reason)
                    self.laboratory.runner.freeze()
                else:
                    self.log("working again")
                    self.laboratory.runner.thaw()
            self.resting = reason
            await trio.sleep(MANNERS_SECONDS)

    # ---- what arrives ------------------------------------------------------------------------------------------

    async def tell_arrivals(self, arrivals: trio.MemoryReceiveChannel[Arrived]) -> None:
        """Log the records a person waits for as they come."""
        async for arrived in arrivals:
            record, body = arrived.record, arrived.record.body
            own = record.author == self.identity.author
            match body:
                case Experiment(decision="improved") if own:
                    peers = len(self.network.peers()) if self.network else 0
                    if peers:  # whoever comes later gets it by sync
                        self.log("discovery sent", title=body.title, effect=effect_text(body.effect), peers=peers)
                case Experiment(decision="improved"):
                    self.log(
                        "discovery heard",
                        title=body.title,
                        claimed=effect_text(body.effect),
                        peer=short(record.author),
                        compute_class=body.compute_class,
                    )
                case Hypothesis() if not own:
                    self.log("suggestion heard", title=body.title, peer=short(record.author))
                case Replication() if not own:
                    claimed = next((d for d in self.ledger.all_records() if d.id == body.discovery), None)
                    if claimed is not None and claimed.author == self.identity.author:
                        assert isinstance(claimed.body, Experiment)
                        self.log(
                            "replication heard",
                            title=claimed.body.title,
                            effect=effect_text(body.effect),
                            decision=body.decision,
                            peer=short(record.author),
                        )

    async def fetch_sources(self, network: Network) -> None:
        """Bring in the sources that records refer to, discoveries' first, asking again later for what nobody had."""
        not_before: dict[bytes, float] = {}
        while True:
            now = time.monotonic()
            wanted = [blob for blob in self._sources_by_need() if not_before.get(blob, 0.0) <= now]
            fetched = 0
            for blob in wanted if network.peers() else []:
                data = await network.fetch_blob(blob, max_bytes=MAX_SOURCE_BYTES)
                if data is None:
                    not_before[blob] = time.monotonic() + FETCH_RETRY_SECONDS
                    continue
                try:
                    self.ledger.put_blob(data)
                except LedgerError as error:
                    self.log("source not kept", level="warning", why=str(error))
                    not_before[blob] = time.monotonic() + FETCH_RETRY_SECONDS
                    continue
                not_before.pop(blob, None)
                fetched += 1
            if fetched:
                self.log("sources fetched", count=fetched)
            await trio.sleep(0.5)

    def _sources_by_need(self) -> list[bytes]:
        wanted = self.ledger.wanted_blobs()
        if not wanted:
            return []
        claims = pending_replications(self.ledger.all_records(), self.identity.author)
        urgent = [s for r in claims if isinstance(r.body, Experiment) for s in (r.body.parent, r.body.child)]
        first = [source for source in dict.fromkeys(urgent) if source in set(wanted)]
        return first + [source for source in wanted if source not in set(first)]

    # ---- what it shows -----------------------------------------------------------------------------------------

    async def keep_status(self) -> None:
        """Write status.json every few seconds and say over the network that this node is here."""
        while True:
            self.home.write_status(self.status())
            if self.network is not None:
                self.network.announce(self._presence())
            await trio.sleep(STATUS_SECONDS)

    def _presence(self) -> Presence:
        return Presence(
            compute_class=self.laboratory.compute_class,
            best=self.research.best(),
            feeds=len(self.ledger.vector()),
            records=self.ledger.count(),
        )

    def status(self) -> dict[str, Any]:
        network = self.network
        return {
            "peer_id": peer_id_of(self.identity.author),
            "objective": self.laboratory.objective.id.hex(),
            "doing": f"resting: {self.resting}" if self.resting else self.doing,
            "title": self.laboratory.title,
            "compute_class": self.laboratory.compute_class,
            "device": self.laboratory.device,
            "addresses": network.advertised() if network else [],
            "reach": network.reach() if network else "alone",
            "peers": [
                {"peer": peer.peer_id, "address": peer.address, "compute_class": _class_of(peer.presence)}
                for peer in (network.peers() if network else [])
            ],
            "waiting_replications": len(pending_replications(self.ledger.all_records(), self.identity.author)),
        }

    def summary(self, seconds: float) -> Summary:
        own = self.ledger.feed(self.identity.author)
        gain = chain(step.effect for step in self.research.steps())
        timing = self.laboratory.runner.timing
        working = self.research_seconds + self.replication_seconds
        return Summary(
            seconds=seconds,
            experiments=self.own_experiments,
            kept=sum(isinstance(r.body, Experiment) and r.body.decision == "improved" for r in own),
            replications=self.replicated,
            adopted=sum(isinstance(r.body, Replication) and r.body.adopted is not None for r in own),
            runs=self.laboratory.runs_made,
            records=self.ledger.count(),
            gain=effect_text(gain) if gain else "none yet",
            overhead=max(0.0, 1 - (timing.train_seconds + timing.judge_seconds) / working) if working else None,
            error=self.error,
        )


def _class_of(presence: Presence | None) -> str:
    return presence.compute_class if presence else ""


async def run_node(
    config: Config,
    home: Home,
    objective: Objective,
    bootstrap: Sequence[str],
    *,
    stop: Stop,
    no_research: bool,
    unsafe: bool,
    log: Log,
    view: ProgressView,
) -> Summary:
    """Run the node until its stop condition or a signal. The caller holds the home's lock.

    Raises StartError when it cannot start; the text says what to do.
    """
    layers = replace(probe(), unsafe=unsafe)
    if tier(layers) is None:
        raise StartError("this machine offers no sandbox, so nothing can be run; see `autoresearch-node doctor`")
    if tier(layers) == "unsafe":
        log("NO SANDBOX", level="warning", why="peers' code runs as you and can read your files, as you asked for")
    identity = home.identity()
    ledger = Ledger.open(
        home.ledger,
        objective.id,
        Quota(config.blob_quota_bytes, config.records_per_author, config.authors),
    )
    try:
        _keep_objective(ledger, objective, identity)
        freed = ledger.drop_unreferred_blobs()
        if freed:
            log("content dropped", why="nothing refers to it", kilobytes=round(freed / 1024))
        about = {"title": objective.name, "id": objective.id.hex()[:10], "metric": objective.metric}
        log("objective", **about, home=str(home.root), sandbox=tier(layers))
        files = BlobFiles(home.blobs, config.data_quota_bytes)
        settings = _settings(config, home, bootstrap)

        def network() -> AbstractAsyncContextManager[Network]:
            return open_network(identity, ledger, settings, log, files)

        somebody = bootstrap or ledger.addresses()
        await provide_data(objective, layers, files, network if somebody else None, log)
        node = _assemble(config, home, identity, ledger, objective, layers, log, view, stop, no_research)
        return await _run(node, network, alone=not somebody)
    finally:
        ledger.close()


def _keep_objective(ledger: Ledger, objective: Objective, identity: Identity) -> None:
    """Make the objective's files available to peers and to the reading commands."""
    for content in (objective.manifest_bytes, *objective.files.values()):
        ledger.put_blob(content)
    ledger.set_meta("objective", objective.id)
    ledger.set_meta("author", identity.author)
    ledger.set_meta("objective name", objective.name.encode())
    ledger.set_meta("baseline", objective.source_id)
    ledger.set_meta("metric", objective.metric.encode())


def _assemble(
    config: Config,
    home: Home,
    identity: Identity,
    ledger: Ledger,
    objective: Objective,
    layers: Layers,
    log: Log,
    view: ProgressView,
    stop: Stop,
    no_research: bool,
) -> Node:
    machine = hardware.measure()
    laboratory = Laboratory(
        objective=objective,
        ledger=ledger,
        runner=Runner(objective, layers, home.weights, log),
        compute_class=first_class(machine).name,
        device=machine.device,
        platform=hardware.platform_name(),
        sandbox=tier(layers) or "",
        log=log,
        view=view,
    )

    def title_of(discovery: bytes) -> str:
        claimed = ledger.get(discovery.hex())
        return claimed.body.title if claimed is not None and isinstance(claimed.body, Experiment) else "a discovery"

    workspace = Workspace.open(home.workspace, objective.editable, objective.source, title_of)
    rng = random.Random(config.seed if config.seed else identity.author)
    pace = Pace(machine, laboratory, log)  # before whoever tells of the compute class
    proposers = configured(config, laboratory, layers, identity.author, log)
    strategy = Strategy(proposers, objective.priors_for, log)

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    research = Research(identity, laboratory, strategy, workspace, rng, now_ms, log)
    replicator = Replicator(identity, laboratory, research, workspace, now_ms, log)
    steps = research.steps()
    best_text = laboratory.source_text(research.best())
    workspace.reconcile(_entries(laboratory, identity), best_text, steps[-1].record.id if steps else None)
    return Node(
        config, home, identity, ledger, laboratory, research, replicator, pace, log, no_research=no_research, stop=stop
    )


def _entries(laboratory: Laboratory, identity: Identity) -> list[tuple[Entry, str]]:
    """Own records that have a source of their own, each with its parent's text, in order."""
    entries = []
    best = laboratory.objective.source_id
    for record in laboratory.ledger.feed(identity.author):
        body = record.body
        if isinstance(body, Experiment):
            parent, source = body.parent, body.child
        elif isinstance(body, Replication) and body.adopted is not None:
            parent, source = body.base or best, body.adopted
        else:
            continue
        entry = Entry(record, body, laboratory.source_text(source), laboratory.memory_of(source))
        entries.append((entry, laboratory.source_text(parent)))
        best = best_source([record], best)
    return entries


async def _run(node: Node, open_it: Callable[[], AbstractAsyncContextManager[Network]], alone: bool) -> Summary:
    started = time.monotonic()
    with trio.CancelScope() as done:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, done)
            if node.stop.seconds is not None:
                done.deadline = trio.current_time() + node.stop.seconds
            async with (
                open_it() as network,
                node.laboratory.runner,
                node.ledger.subscribe() as arrivals,
            ):
                node.network = network
                _remember_port(node.home, network)
                if alone:
                    node.log("alone for now", hint="`autoresearch-node invite` prints what another machine needs")
                nursery.start_soon(node.tell_arrivals, arrivals)
                nursery.start_soon(node.fetch_sources, network)
                nursery.start_soon(node.keep_status)
                nursery.start_soon(keep_taking_up, node.home.suggestions, node.ledger, node.identity, node.log)
                nursery.start_soon(node.keep_manners)
                await node.work(done)
    return node.summary(time.monotonic() - started)


def _settings(config: Config, home: Home, bootstrap: Sequence[str]) -> Settings:
    return Settings(
        _listen(config, home),
        bootstrap,
        swarm_key=home.swarm_key(),
        allow=frozenset(config.allow),
        block=frozenset(config.block),
        lan=config.lan,
    )


def _listen(config: Config, home: Home) -> list[str]:
    """The configured addresses; where any port will do, the one of last time, so that invites keep working."""
    port = home.remembered_port()
    if port is None or not _port_is_free(port):
        return list(config.listen)
    return [address.replace("/tcp/0", f"/tcp/{port}") for address in config.listen]


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _remember_port(home: Home, network: Network) -> None:
    for address in network.addresses():
        parts = address.split("/")
        if "tcp" in parts:
            home.remember_port(int(parts[parts.index("tcp") + 1]))
            return


async def _stop_on_signal(done: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            done.cancel()
