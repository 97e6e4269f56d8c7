"""A running node: research and review by turns, pausing, fetching sources, logging what arrives, reporting its status.

It knows when each part gets its turn. How the parts are made and stopped is `service`'s.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from node.app import promotions
from node.app.availability import Availability
from node.app.gpu_manners import GpuManners
from node.app.signing_watch import SigningWatch
from node.app.under_way import UnderWay
from node.execution.remote.remote_runs import RemoteRuns, WorkersLostError
from node.ledger.error import LedgerError
from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.conclusions import tally
from node.ledger.projections.discoveries import is_conclusive, pending_replications
from node.ledger.projections.effects import gain_text
from node.ledger.projections.leaderboard import best_gain
from node.ledger.signing import NotSigningError
from node.ledger.store import Arrived, Ledger
from node.network import Network, Reach
from node.network.content.missing import MissingSources
from node.objective.scales import scale_here
from node.platform.concurrency import in_thread
from node.platform.config import FILE_NAME, Config
from node.platform.file_trouble import CHANGING, HomeError
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.home import Home, Lock
from node.platform.log import Log
from node.platform.settings import SettingsInUse, values_of
from node.proposers.plateau import PLATEAU_IDEAS, is_plateau, what_would_help
from node.research.loop import Research
from node.review.promote import Promoter
from node.review.proven import settle_proven
from node.review.reviewer import Reviewer
from node.trials.cached_runner import CachedRunner
from node.trials.compute_class import ComputeClassEstimator, speed_of
from node.trials.effect_parts import measured_parts_text, parts_of
from protocol.identity import Identity, peer_id_of, short
from protocol.messages import Presence
from protocol.records import Decision, Experiment, Hypothesis, Record, Replication, Transfer, metric_of

IDLE_SECONDS = 2.0  # between two checks for work while there is none
NO_ROOM_SECONDS = 60.0  # until the next try, when the disk, a quota or the memory is full
STATUS_SECONDS = 1.0  # between two versions of status.json; readers take one as dead after 30 s
PRESENCE_SECONDS = 2.0  # between two announcements of this node to its peers
AVAILABILITY_SECONDS = 1.0  # between two checks whether this machine may be used


@dataclass(frozen=True)
class Stop:
    """When to stop by itself."""

    experiments: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Summary:
    """What a session came to. `records` and `best_gain` are those of the home, with what earlier sessions brought."""

    seconds: float
    experiments: int
    kept: int
    claims: int
    replications: int
    adopted: int
    runs: int
    records: int
    best_gain: str  # of the best source of which something is claimed, over the baseline
    overhead: (
        float | None
    )  # share of the working time, pauses left out, spent outside of training and judging; of one worker
    error: str | None


@dataclass
class Node:
    """The parts of a running node, wired."""

    config: Config
    home: Home
    identity: Identity
    ledger: Ledger
    cached_runner: CachedRunner
    research: Research
    reviewer: Reviewer
    class_estimator: ComputeClassEstimator
    log: Log
    no_research: bool
    stop: Stop
    lock: Lock | None = None  # of the home, to be kept
    gpu_manners: GpuManners | None = None  # where runs use GPUs
    remote_runs: RemoteRuns | None = None  # what makes the runs, where workers elsewhere do
    promoter: Promoter | None = None  # None where workers elsewhere make the runs
    network: Network | None = None
    doing: str = "starting"
    pause_reason: str | None = None  # in words, while work is paused
    own_experiments: int = 0
    kept: int = 0
    claims: int = 0
    replicated: int = 0
    adopted: int = 0
    local_trial_seconds: float = 0.0  # of peers' claims, that led to no adoption
    replication_seconds: float = 0.0  # reports and audits
    promotion_seconds: float = 0.0  # discoveries run at larger scales
    research_seconds: float = 0.0
    out_of_ideas: bool = False
    _told_out_of_ideas_on: bytes = b""  # the source on which it was logged: chance may still find an idea there
    _told_of_plateau: bool = False
    error: str | None = None

    def __post_init__(self) -> None:
        ledger, author = self.ledger, self.identity.author
        waiting, incumbent = self.research.candidates, self.research.incumbent
        self._under_way = UnderWay(self.cached_runner, lambda: waiting.waiting, incumbent.source, self._gpu_uses)
        self._signing = SigningWatch(ledger, self.identity, self.log)
        self._waiting = CachedProjection(ledger, lambda: pending_replications(ledger.all_records(), author))

    # ---- work --------------------------------------------------------------------------------------------------

    async def work(self, done: trio.CancelScope) -> None:
        """Research and replicate by turns until the stop condition; then cancel the node."""
        await self._meet_workers()
        measured = False
        while True:
            try:
                if self._rests():
                    await trio.sleep(AVAILABILITY_SECONDS)
                    continue
                if self.stop.experiments is not None and self.own_experiments >= self.stop.experiments:
                    if measured and await self._prove_what_is_left():
                        continue
                    break
                if not measured and not await self._measure_baseline():
                    break
                measured = True
                if self.class_estimator.due(time.monotonic()):
                    await self.class_estimator.measure(time.monotonic())
                busy = await self._turn()
            except NotSigningError:
                continue
            except LedgerError as error:
                self._give_up(error)
                break
            except WorkersLostError as error:
                self.doing = "waiting after workers were lost"
                self.log("work interrupted", level="error", why=str(error), hint=f"again in {NO_ROOM_SECONDS:.0f} s")
                await trio.sleep(NO_ROOM_SECONDS)
                continue
            except (OSError, sqlite3.OperationalError) as error:
                if isinstance(error, OSError) and error.errno not in CHANGING:
                    raise
                self.doing = "waiting until its files can be written"
                self.log(
                    "work interrupted",
                    level="error",
                    why=self.ledger.trouble(error),
                    hint="the node tries again in a minute",
                )
                await trio.sleep(NO_ROOM_SECONDS)
                continue
            if not busy:
                self.doing = "waiting for peers' discoveries"
                await trio.sleep(IDLE_SECONDS)
        done.cancel()

    def _give_up(self, error: LedgerError) -> None:
        self.error = str(error)
        self.log("ledger failed", level="error", why=self.error)

    async def watch_ledger(self, done: trio.CancelScope) -> None:
        """End the node soon when its ledger's file is moved or removed under it: nothing written then would stay.

        And when its lock is, and another node has begun here: both would sign.
        """
        while True:
            await trio.sleep(STATUS_SECONDS)
            try:
                self.ledger.refuse_another_file()
                with suppress(OSError):  # in a folder that cannot be written to, nobody can have taken the lock
                    if self.lock is not None:
                        self.lock.keep()
            except LedgerError as error:
                self._give_up(error)
                done.cancel()
            except HomeError as error:
                self.error = str(error)
                self.log("home lost", level="error", why=self.error)
                done.cancel()

    def _rests(self) -> bool:
        """Whether nothing is to be run now: a pause, or what is found could not be signed."""
        why_not = self._signing.why_not()
        self.doing = why_not or self.doing
        return self.pause_reason is not None or why_not is not None

    async def _meet_workers(self) -> None:
        """Wait for the first worker elsewhere, which says what runs are made on. A scheduler may take its time."""
        if self.remote_runs is None:
            return
        self.doing = "waiting for a worker"
        place = await self.remote_runs.place()
        gpus = place.hardware.gpus
        self.cached_runner.device = gpus[0].name if gpus else place.hardware.device
        self.cached_runner.platform = place.platform
        self.cached_runner.sandbox = place.sandbox
        self.class_estimator.move_to(place.hardware)

    async def _turn(self) -> bool:
        """One turn of review or research; False when there was nothing to do."""
        busy = (self._review_is_due() and await self._review()) or await self._promote()
        if self.no_research or (busy and not self.out_of_ideas):
            return busy
        clock = self.cached_runner.runner.pause_gate.clock
        started = clock()
        self.doing = "research"
        try:
            remaining = self.stop.experiments and self.stop.experiments - self.own_experiments
            own = len(self.ledger.feed(self.identity.author))
            experiment = await self.research.turn(remaining)
        finally:  # an interrupted turn has taken its time too
            self.research_seconds += clock() - started
        if experiment is not None:
            # Of a design there are several; and a person's suggestion may have been signed meanwhile.
            for record in self.ledger.feed(self.identity.author)[own:]:
                self._count(record)
            self._tell_of_plateau()
        elif self._told_out_of_ideas_on != (source := self.research.incumbent.source()):
            self._told_out_of_ideas_on = source
            self.log("out of ideas", hint=self._hint_for_ideas())
        self.out_of_ideas = experiment is None
        return busy or experiment is not None

    def _tell_of_plateau(self) -> None:
        """Log that own ideas bring hardly anything any more, with what would help; again only after they did."""
        flat = is_plateau(self.cached_runner.ledger.feed(self.identity.author))
        if flat and not self._told_of_plateau:
            has_peers = self.network is not None and bool(self.network.peers())
            self.log("plateau", ideas=PLATEAU_IDEAS, hint=what_would_help(self.config.has_model, has_peers))
        self._told_of_plateau = flat

    def _count(self, record: Record) -> None:
        """Count an own experiment, or the claim of a chain. Other records are nothing of the research."""
        counted = tally([record])
        self.claims += counted.claims
        self.own_experiments += counted.experiments
        self.kept += counted.kept

    async def _prove_what_is_left(self) -> bool:
        """Prove the bets since the last claim at the end of a session; False where nothing can be proven."""
        clock = self.cached_runner.runner.pause_gate.clock
        started = clock()
        try:
            return await self._prove_bets()
        finally:
            self.research_seconds += clock() - started

    async def _prove_bets(self) -> bool:
        """Prove the bets since the last claim, where that was not tried yet; False where nothing can be proven."""
        self.doing = "verifying what was kept"
        record = await self.research.claim(last=True)
        if record is not None:
            self._count(record)
        return record is not None

    def _hint_for_ideas(self) -> str:
        """What brings new ideas, which depends on whether there ever was one."""
        feed = self.cached_runner.ledger.feed(self.identity.author)
        if any(isinstance(record.body, Experiment) for record in feed):
            return (
                "no proposer found an edit of this source that was not tried; the search over numbers looks again, and "
                "a peer's discovery or a suggestion makes new ones possible"
            )
        editable = ", ".join(self.cached_runner.objective.editable)
        return (
            f"{editable} has no numbers in capitals to vary, and the objective no ideas/*.toml: `autoresearch-node "
            f"suggest` an edit, or set up a language model or a coding agent in {FILE_NAME} (docs/proposers.md)"
        )

    def _review_is_due(self) -> bool:
        """Whether reviews have had less than their share of the working time; without own ideas they get all of it.

        With a share of 0.2, 60 s of reviews are followed by research until 240 s were spent on that. Time that led
        to an adoption counts as research: it has made this node's best better.
        """
        reviewing = self.local_trial_seconds + self.replication_seconds
        idle = self.no_research or self.out_of_ideas
        return idle or reviewing <= self.config.replicate_share * (reviewing + self.research_seconds)

    async def _review(self) -> bool:
        """Try a peer's claim here, or replicate or audit for the swarm, by turns; False when there was nothing to do.

        Whichever of the two has had less time goes first.
        """
        opportunity_cost = 0.0 if self.no_research else self.research.opportunity_cost()
        trial = self.reviewer.next_local_trial(opportunity_cost)
        task = self.reviewer.next_task()
        if trial is None and task is None:
            return False
        clock = self.cached_runner.runner.pause_gate.clock
        started = clock()
        record = None
        try:
            if trial is not None and (task is None or self.local_trial_seconds <= self.replication_seconds):
                task = None
                self.doing = "trying a peer's discovery"
                record = await self.reviewer.try_here(trial, opportunity_cost, self._prove_bets)
            elif task is not None:
                self.doing = "re-running a peer's discovery" if task.audit is None else "auditing a peer's report"
                record = await self.reviewer.run_task(task)
        finally:
            found = record.body if record is not None else None
            adopted = isinstance(found, Replication) and found.adopted is not None
            if adopted:
                self.research_seconds += clock() - started
            elif task is None:
                self.local_trial_seconds += clock() - started
            else:
                self.replication_seconds += clock() - started
        self.replicated += isinstance(found, Replication)
        self.adopted += adopted
        return True

    async def _promote(self) -> bool:
        """Run a discovery at a larger scale: one that a person names, or one that is confirmed while that is due.

        False when there was none. Nothing is promoted before the machine is known.
        """
        if self.promoter is None:
            return False
        ledger, objective = self.ledger, self.cached_runner.objective
        request = promotions.asked_for(self.home.promotions, ledger, objective, self.log)
        promotion = request[1] if request else self.promoter.next() if self._promotion_is_due() else None
        if promotion is None:
            return False
        clock = self.cached_runner.runner.pause_gate.clock
        started = clock()
        self.doing = f"running a discovery at the scale {promotion.scale}"
        try:
            if promotions.promoted_before(ledger, self.identity.author, promotion) is None:
                await self.promoter.promote(promotion)
        finally:
            if request is None:
                self.promotion_seconds += clock() - started
        if request:
            request[0].unlink(missing_ok=True)
        return True

    def _promotion_is_due(self) -> bool:
        """Whether promotions have had less than their share of the working time, as reviews have theirs."""
        working = self.local_trial_seconds + self.replication_seconds + self.promotion_seconds + self.research_seconds
        idle = self.no_research or self.out_of_ideas
        return idle or self.promotion_seconds <= self.config.promote_share * working

    async def _measure_baseline(self) -> bool:
        """The first run of the session: what everything is compared with, and the proof that runs work here."""
        objective = self.cached_runner.objective
        self.doing = "measuring the baseline"
        seed = self.cached_runner.seeds.of_screening(objective.source_id)
        cached = self.cached_runner.cached(objective.source_id, seed)
        if cached is not None:
            if not self.class_estimator.known:
                self.class_estimator.take(cached)
            return True
        clock = self.cached_runner.runner.pause_gate.clock
        started = clock()
        with self.cached_runner.working_on("baseline"):
            outcome = await self.cached_runner.run(objective.source_id, seed)
        self.research_seconds += clock() - started
        if outcome.value is None:
            self.error = f"the baseline does not run here ({outcome.failure}); see `autoresearch-node doctor`"
            self.log("baseline failed", level="error", failure=outcome.failure, log_tail=outcome.log_tail)
            return False
        self.log(
            "baseline",
            metric=objective.metric,
            value=float(f"{outcome.value:.6g}"),
            cpu_seconds=round(outcome.cpu_seconds, 1),
            **speed_of(objective, self.class_estimator.speed(outcome)),
            sandbox=outcome.tier,
        )
        self.class_estimator.take(outcome)
        return True

    async def watch_availability(self) -> None:
        """Pause while this machine must not be used: runs under way are frozen where they stand, and go on later."""
        availability = Availability(self.config, self.home, self.gpu_manners)
        in_use = SettingsInUse(self.config, self.log)
        while True:
            self.config = availability.config = in_use.now()
            if self.gpu_manners is not None:
                self.gpu_manners.config = self.config
            reason = await in_thread(availability.reason_not_to_work)
            if (reason is None) != (self.pause_reason is None):
                if reason is not None:
                    self.log("paused", why=reason)
                    self.cached_runner.runner.pause_gate.pause()
                    await self.cached_runner.runner.cool_down()
                else:
                    self.log("resumed")
                    self.cached_runner.runner.pause_gate.resume()
            self.pause_reason = reason
            await trio.sleep(AVAILABILITY_SECONDS)

    # ---- what arrives ------------------------------------------------------------------------------------------

    async def log_arrivals(self, arrivals: trio.MemoryReceiveChannel[Arrived]) -> None:
        """Log arriving records that a person wants to know of: discoveries, suggestions, reports on own discoveries."""
        async for arrived in arrivals:
            record, body = arrived.record, arrived.record.body
            own = record.author == self.identity.author
            if own:
                self._signing.why_not()  # a record of this key that was signed elsewhere is told at once
                settle_proven(self.ledger, self.identity.author)
            match body:
                case Experiment(decision=Decision.IMPROVED) if own:
                    peers = len(self.network.peers()) if self.network else 0
                    if peers:  # a peer that connects later gets it by sync
                        gain = gain_text(body.effect, metric_of(body))
                        self.log("discovery sent", title=body.title, gain=gain, peers=peers)
                case Experiment(decision=Decision.IMPROVED):
                    self.log(
                        "discovery received",
                        title=body.title,
                        claimed=gain_text(body.effect, metric_of(body)),
                        peer=short(record.author),
                        compute_class=body.compute_class,
                    )
                case Transfer() if not own:
                    claimed = self.ledger.record(body.discovery)
                    if claimed is not None and isinstance(claimed.body, Experiment):
                        about = {"title": claimed.body.title, "peer": short(record.author), "scale": body.scale}
                        gain = gain_text(body.effect, metric_of(body))
                        self.log("transfer received", **about, gain=gain, decision=body.decision)
                case Hypothesis() if not own:
                    self.log("suggestion received", title=body.title, peer=short(record.author))
                case Replication() if not own:
                    claimed = self.ledger.record(body.discovery)
                    if claimed is None or claimed.author != self.identity.author:
                        continue
                    if isinstance(claimed.body, Experiment):  # a peer may name any record as the one it replicated
                        about = {"title": claimed.body.title, "peer": short(record.author)}
                        if body.adopted is not None:
                            gain = gain_text(body.adoption, metric_of(body))
                            self.log("adopted by a peer", **about, gain=gain, route=body.route)
                        elif is_conclusive(record):
                            gain = gain_text(body.effect, metric_of(body))
                            parts = measured_parts_text(parts_of(body), metric_of(body))
                            self.log("replication received", **about, gain=gain, parts=parts, decision=body.decision)

    async def fetch_sources(self, network: Network) -> None:
        """Fetch the sources that records refer to, until cancelled; first those of claims it may try, then of leads."""
        await MissingSources(self.ledger, network, self._most_needed_sources, self.log).run()

    def _most_needed_sources(self) -> list[bytes]:
        """Of peers' claims, the largest first, and of leads (their bets), the newest first: these may be merged."""
        claims = [record.body for record in self._waiting() if isinstance(record.body, Experiment)]
        held = [record.body for record in reversed(self.ledger.all_records())]
        leads = [body for body in held if isinstance(body, Experiment) and body.is_bet]
        return [source for body in (*claims, *leads) for source in (body.parent, body.child)]

    # ---- status ------------------------------------------------------------------------------------------------

    async def keep_status(self) -> None:
        """Write status.json every STATUS_SECONDS."""
        told: str | None = None
        while True:
            why_not = self.home.write_status(self.status())
            if why_not != told and why_not is not None:
                self.log(
                    "status not written", level="warning", why=why_not, hint="until then, `status` shows an old one"
                )
            told = why_not
            await trio.sleep(STATUS_SECONDS)

    # ---- presence ----------------------------------------------------------------------------------------------

    async def keep_present(self, network: Network) -> None:
        """Announce this node every PRESENCE_SECONDS, and give the reviewer the peers that can be chosen to report."""
        while True:
            network.announce(self._presence())
            self.reviewer.meet(network.authors(self.cached_runner.compute_class))
            await trio.sleep(PRESENCE_SECONDS)

    def _presence(self) -> Presence:
        return Presence(
            compute_class=self.cached_runner.compute_class,
            best=self.research.incumbent.source(),
            feeds=len(self.ledger.heads),
            records=self.ledger.count(),
            addresses=(),
        )

    def status(self) -> dict[str, Any]:
        network = self.network
        return {
            "peer_id": peer_id_of(self.identity.author),
            "objective": self.cached_runner.objective.id.hex(),
            "scale": scale_here(self.cached_runner.objective),
            "doing": f"paused: {self.pause_reason}" if self.pause_reason else self._doing_in_words(),
            "resting": self.pause_reason,
            "title": self.cached_runner.title,
            "run": self.cached_runner.runs_under_way[0].as_json() if self.cached_runner.runs_under_way else None,
            "runs_at_once": self.cached_runner.runs_at_once,
            **self._under_way.as_json(),
            "settings": values_of(self.config),
            "researches": not self.no_research,
            "more_experiments": self._more_experiments(),
            "compute_class": self.cached_runner.compute_class,
            "device": self.cached_runner.device,
            "addresses": network.advertised() if network else [],
            "reach": network.reach() if network else Reach.ALONE,
            "peers": [
                {"peer": peer.peer_id, "address": peer.address, "compute_class": _class_of(peer.presence)}
                for peer in (network.peers() if network else [])
            ],
            "workers": self.remote_runs.workers() if self.remote_runs is not None else [],
            "waiting_replications": len(self._waiting()),
        }

    def _more_experiments(self) -> int | None:
        """How many experiments this session begins after those under way; None where it is not told when to stop."""
        if self.stop.experiments is None:
            return None
        begun = max(self._under_way.ideas_running(), bool(self.research.candidates.waiting))
        return max(0, self.stop.experiments - self.own_experiments - begun)

    def _gpu_uses(self) -> Mapping[Gpu, GpuUse]:
        return dict(self.gpu_manners.uses) if self.gpu_manners is not None else {}

    def _doing_in_words(self) -> str:
        runs = self.cached_runner.under_way_in_words()
        doing = f"{self.doing}, {runs}" if runs else self.doing
        return doing if self.remote_runs is None else f"{doing} (workers: {self.remote_runs.in_words()})"

    def summary(self, seconds: float) -> Summary:
        best = best_gain(self.research.incumbent.steps())
        timing = self.cached_runner.runner.timing
        working = self.research_seconds + self.local_trial_seconds + self.replication_seconds
        spent = timing.train_seconds + timing.judge_seconds
        return Summary(
            seconds=seconds,
            experiments=self.own_experiments,
            kept=self.kept,
            claims=self.claims,
            replications=self.replicated,
            adopted=self.adopted,
            runs=self.cached_runner.runs_made,
            records=self.ledger.count(),
            best_gain=gain_text(best, self.cached_runner.objective.measure) if best else "none yet",
            overhead=max(0.0, 1 - spent / working) if working and self.cached_runner.parallel_runs == 1 else None,
            error=self.error,
        )


def _class_of(presence: Presence | None) -> str:
    return presence.compute_class if presence else ""
