"""The replication loop: see whether a peer's discovery makes this node's best better, and adopt it if it does; re-run
claims for all, or one pair of a peer's report as an audit; record what was found. What this machine failed at is tried
again later, and after some tries left alone: it says nothing of the claim.

Nothing of a peer's is believed or run outside the sandbox. A **look** asks whether what was found is better here than
what this node already has. It is a trial like that of an own idea, and as cheap: one run where that leaves nothing to
chance. A **report** measures the claim as it was made (its child against its parent, fresh seeds of this node's own),
for everybody to judge it by, whatever came of the look. What was adopted is reported on when the discovery is refuted,
and falls if that does not support it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from node.ledger.outcome import OF_THE_MACHINE
from node.ledger.projections.cached import Fold
from node.ledger.projections.discoveries import effect_text
from node.ledger.projections.lineage import banked
from node.ledger.store import LedgerError
from node.research.loop import Research
from node.research.workspace import Entry, Workspace
from node.review.adopt import Attempt, ways
from node.review.schedule import IDLE_WAITS, Look, Queue, Standpoint, Task
from node.trials.cached_runner import Laboratory, Log
from node.trials.statistics import OPPORTUNITY_SHARE, Z_ONE_SIDED, Z_UNSUPPORTED, cost_ratio
from node.trials.trial import SequentialTest, Trial, owes_little_to_chance, paired_runs, replicate_trial, run_trial
from protocol.audits import Turn, repeats, report_seeds
from protocol.draw import pair_seed
from protocol.identity import Identity, short
from protocol.records import Audit, Experiment, Pair, Record, Replication

TRIES = 3  # of one claim or report that this machine fails to run, until the next start
AGAIN_MS = 600_000  # before the second try; the third waits twice as long
LOOK = b"look"  # what is put off: a look
SALT = "salt of looks"  # in the ledger; nobody else knows it
LOOK_RUNS = 2  # that a look takes about
NO_REPORT = Trial("unclear", None, None, None, ())
PATIENCE_RUNS, PATIENCE_LEAST_SECONDS = 20, 60.0  # a report and an audit take six runs, and a trial was under way


@dataclass(frozen=True)
class PutOff:
    """Something this machine failed to run: how often so far, and before when (ms since 1970) it is left alone."""

    tries: int = 0
    until: float = 0.0


@dataclass
class Replicator:
    """Turns peers' claims into signed replications, one at a time."""

    identity: Identity
    laboratory: Laboratory
    research: Research
    workspace: Workspace
    now_ms: Callable[[], int]
    log: Log
    put_off: dict[bytes, PutOff] = field(default_factory=dict)  # claims and reports, by record id
    present: frozenset[bytes] = frozenset()  # peers of this compute class that are connected
    left: dict[tuple[bytes, bytes], float] = field(default_factory=dict)  # claims by id, and the best: until own ideas
    # promise no more than this (−J)
    heard: dict[bytes, int] = field(default_factory=dict)  # since when there is something to do for a claim, in ms

    def __post_init__(self) -> None:
        self._queue = Fold(self.laboratory.ledger, self._all_waiting)
        ledger = self.laboratory.ledger
        self._salt = ledger.meta(SALT) or secrets.token_bytes(32)
        if ledger.meta(SALT) is None:
            ledger.set_meta(SALT, self._salt)

    def meet(self, present: frozenset[bytes]) -> None:
        """Take into account who of this node's compute class is here, and could be drawn to replicate."""
        if present != self.present:
            self.present = present
            self._queue = Fold(self.laboratory.ledger, self._all_waiting)

    def next_look(self, opportunity_cost: float) -> Look | None:
        """The most promising discovery whose source has arrived, if it promises as much as a run for own ideas does.

        That is half as much by the run, for it has passed a test elsewhere. elsewhere: the gain (−J) that a run has in
        store when it is spent on own ideas.
        """
        best = self.research.best()
        for look in self._queue().looks:
            enough = look.promise * look.hope >= OPPORTUNITY_SHARE * LOOK_RUNS * opportunity_cost
            if enough and opportunity_cost <= self.left.get((look.claim.id, best), math.inf) and self._can_run(look):
                return look
        return None

    def next_task(self) -> Task | None:
        """The most needed report or audit whose sources have arrived; of rivals the leading one."""
        now, found, patience = self.now_ms(), self._queue().tasks, self._patience_ms()
        self.heard = {task.claim.id: self.heard.get(task.claim.id, now) for task in found}
        possible = [task for task in found if self._can_run(task)]
        leading: dict[tuple[bytes, str], Task] = {}
        for task in sorted(possible, key=lambda task: task.order[1:]):
            if task.rivalry is not None:
                leading.setdefault(task.rivalry, task)
        for task in possible:
            outdone = task.rivalry is not None and leading[task.rivalry] is not task
            waits = max(task.waits, IDLE_WAITS) if outdone else task.waits
            if self.heard[task.claim.id] + waits * patience <= now:
                return task
        return None

    def _can_run(self, what: Look | Task) -> bool:
        """Whether its sources are here, and this machine has not failed at it lately."""
        claim = what.claim.body
        assert isinstance(claim, Experiment)
        here = all(self.laboratory.ledger.has_blob(source) for source in (claim.parent, claim.child))
        return here and self.put_off.get(_about(what), PutOff()).until <= self.now_ms()

    def _patience_ms(self) -> float:
        """How long a claim that others are drawn to re-run is left to them."""
        expected = PATIENCE_RUNS * self.laboratory.seconds_per_run()
        return 1000 * (expected if expected > PATIENCE_LEAST_SECONDS else PATIENCE_LEAST_SECONDS)  # NaN is not

    def _all_waiting(self) -> Queue:
        records = self.laboratory.ledger.all_records()
        steps = self.research.steps()
        standpoint = Standpoint(self.research.best(), banked(records, steps), {step.record.id for step in steps})
        return Queue(records, self.identity.author, self.laboratory.compute_class, standpoint, self.present)

    async def turn(self, task: Task) -> Record | None:
        """Report or audit, and record what came out. None when this machine failed at it."""
        self.research.roll_back()
        return await (self._report(task.claim) if task.audit is None else self._audit(task.claim, task.audit))

    async def look(self, look: Look, opportunity_cost: float) -> Record | None:
        """See whether a claim makes this node's best better, and adopt it if it does.

        None when this machine failed, and when it was left for own ideas, until these promise half as much. elsewhere:
        as in `next_look`.
        """
        self.research.roll_back()
        claim = look.claim.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(look.claim.author)}
        self.log(
            "look", **about, claimed=effect_text(claim.effect), promises=f"{-100 * math.expm1(-look.promise):.1f} %"
        )
        with self.laboratory.working_on(f"look: {claim.title}"):
            enough = Z_ONE_SIDED if look.believed else Z_UNSUPPORTED
            test = SequentialTest(self.research.noise(), self.laboratory.objective.statistics, enough, opportunity_cost)
            best = self.research.best()
            try:
                attempts = await self._attempts(look.claim, best, test)
            except LedgerError:  # what a peer found is not worth stopping for
                self._try_again_later(_about(look), "look", "no room", **about)
                return None
        adoption = next((attempt for attempt in attempts if attempt.holds), None)
        failure = attempts[-1].trial.machine_failure if attempts else None
        if adoption is None and failure is not None:
            self._try_again_later(_about(look), "look", failure, **about)
            return None
        if adoption is None and any(test.stopped_for_opportunity_cost(attempt.trial) for attempt in attempts):
            self.left[look.claim.id, best] = opportunity_cost / 2
            self.log("look left", **about, found=_found(attempts), why="other ideas promise more")
            return None
        record = self._record(look.claim, NO_REPORT, adoption)
        self._tell_look(record, claim, attempts, adoption)
        return record

    def _record(self, claimed: Record, trial: Trial, adoption: Attempt | None) -> Record:
        """Sign what was found, and stand on what was adopted."""
        body = self._replication(claimed, trial, adoption)
        record = self.laboratory.ledger.append_own(self.identity, body, self.now_ms())
        if adoption is not None:
            text = self.laboratory.source_text
            entry = Entry(record, body, text(adoption.source), self.laboratory.memory_of(adoption.source))
            self.workspace.add(entry, text(adoption.before))
        self.research.roll_back()
        return record

    async def _report(self, claimed: Record) -> Record | None:
        """Run the claim again as it was made, on fresh seeds of this node's own."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(claimed.author)}
        self.log("re-run", **about, claimed=effect_text(claim.effect))
        with self.laboratory.working_on(f"re-run: {claim.title}"):
            trial = await replicate_trial(
                self.laboratory.run,
                claim.parent,
                claim.child,
                self.research.noise(),
                self.laboratory.objective.statistics,
                report_seeds(claimed.id, claim.parent, claim.child, self.identity.author),
                self.laboratory.at_once,
            )
        if trial.machine_failure is not None:
            self._try_again_later(claimed.id, "re-run", trial.machine_failure, **about)
            return None
        record = self._record(claimed, trial, None)
        self._tell_report(record, claimed, trial)
        return record

    async def _audit(self, claimed: Record, turn: Turn) -> Record | None:
        """Run one pair of a peer's report again, with its seed, and say what came out."""
        claim, report = claimed.body, turn.report.body
        assert isinstance(claim, Experiment)
        assert isinstance(report, Replication)
        about = {"title": claim.title, "peer": short(turn.report.author), "seed": turn.pair.seed}
        with self.laboratory.working_on(f"audit: {claim.title}"):
            pair, tried = await paired_runs(self.laboratory.run, claim.parent, claim.child, turn.pair.seed)
        failure = tried.failure or pair.parent.failure
        if failure in OF_THE_MACHINE:
            self._try_again_later(turn.report.id, "audit", failure, **about)
            return None
        body = Audit(
            discovery=claimed.id,
            report=turn.report.id,
            compute_class=self.laboratory.compute_class,
            device=self.laboratory.device,
            platform=self.laboratory.platform,
            sandbox=self.laboratory.sandbox,
            pair=pair,
        )
        record = self.laboratory.ledger.append_own(self.identity, body, self.now_ms())
        event = "arbitrated" if turn.arbitration else "audited"
        agrees = repeats(report, body)
        self.log(event, **about, agrees=agrees, reported=_values(turn.pair), found=_values(pair))
        return record

    def _try_again_later(self, key: bytes, what: str, failure: str, **about: object) -> None:
        """Leave a claim or report alone, for a while or until the next start, and say so."""
        tries = self.put_off.get(key, PutOff()).tries + 1
        why = "it says more of this machine than of what was to be run"
        if tries == TRIES:
            self.put_off[key] = PutOff(tries, math.inf)
            self.log(f"{what} given up", **about, failure=failure, tries=tries, why=why)
            return
        wait = AGAIN_MS * tries
        self.put_off[key] = PutOff(tries, self.now_ms() + wait)
        self.log(f"{what} put off", **about, failure=failure, again_in_seconds=wait // 1000, why=why)

    async def _attempts(self, claim: Record, best: bytes, test: SequentialTest) -> list[Attempt]:
        """What could be taken over, tried against this node's own best, until something holds or the machine fails.

        Like an own idea each is screened where the best was run already, and left where other ideas promise more. As it
        has passed the test of own ideas elsewhere, less is enough here, and least where somebody vouches for it. That
        its cost was measured there is why the screening may decide though the best's run is old. All seeds are secret,
        for a source could be good at those that its author can work out, and nowhere else.
        """
        await self.laboratory.runner.rest.over()
        seed = self._look_seed(best)
        attempts: list[Attempt] = []
        async with aclosing(ways(self.laboratory, claim, self.identity.author, best)) as found:
            async for source, route in found:
                trial = await run_trial(
                    self.laboratory.run,
                    best,
                    source,
                    seed,
                    test,
                    salt=self._salt,
                    at_once=self.laboratory.at_once,
                    parent_is_fresh=self.laboratory.at_once == 1,
                )
                attempts.append(Attempt(source, best, route, trial))
                if self.laboratory.at_once == 1 and owes_little_to_chance(trial.effect):
                    self.research.run_at[source] = seed  # looks will be made at others
                if attempts[-1].holds or trial.machine_failure is not None:
                    break
        return attempts

    def _look_seed(self, best: bytes) -> int:
        """The seed at which this node's best is held against what it might take over: a new one after every adoption.

        For a source that was adopted has seen the seed, and could tell it by how well it does.
        """
        feed = self.laboratory.ledger.feed(self.identity.author)
        adopted = sum(isinstance(record.body, Replication) and record.body.adopted is not None for record in feed)
        return pair_seed(best, best, adopted, self._salt)

    def _replication(self, claimed: Record, trial: Trial, adoption: Attempt | None) -> Replication:
        claim = claimed.body
        assert isinstance(claim, Experiment)
        return Replication(
            discovery=claimed.id,
            parent=claim.parent,
            child=claim.child,
            compute_class=self.laboratory.compute_class,
            device=self.laboratory.device,
            sandbox=self.laboratory.sandbox,
            decision=trial.decision,
            effect=trial.effect,
            cost_ratio=trial.cost_ratio,
            pairs=trial.pairs,
            adopted=adoption.source if adoption else None,
            route=adoption.route if adoption else "",
            adoption=adoption.trial.effect if adoption else None,
            base=adoption.before if adoption else None,
            platform=self.laboratory.platform,
        )

    def _tell_report(self, record: Record, claimed: Record, trial: Trial) -> None:
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "record": record.id.hex()[:10]}
        self.log(
            "re-run result",
            **about,
            effect=effect_text(trial.effect),
            claimed=effect_text(claim.effect),
            peer=short(claimed.author),
            decision=trial.decision,
        )
        if trial.decision == "failed":
            self.log("refuted", **about, failure=trial.failure, log_tail=trial.log_tail)
        elif trial.decision == "contradicts":
            self.log("refuted", **about, effect=effect_text(trial.effect))

    def _tell_look(self, record: Record, claim: Experiment, attempts: list[Attempt], adoption: Attempt | None) -> None:
        about = {"title": claim.title, "record": record.id.hex()[:10]}
        if adoption is not None:
            self.log("adopted", **about, effect=effect_text(adoption.trial.effect), route=adoption.route)
            return
        why = "it proved no better than this node's best" if attempts else "it cannot be merged with this node's best"
        self.log("not adopted", **about, found=_found(attempts), why=why)


def _about(what: Look | Task) -> bytes:
    """What is put off when this machine fails at it: a claim, a look at it, or somebody's report."""
    if isinstance(what, Look):
        return LOOK + what.claim.id
    return what.audit.report.id if what.audit is not None else what.claim.id


def _found(attempts: list[Attempt]) -> str:
    """What the ways to take it over came to, as a log line shows it."""
    return ", ".join(f"{each.route}: {each.trial.failure or effect_text(each.trial.effect)}" for each in attempts)


def _values(pair: Pair) -> str:
    """Parent's and child's value as a log line shows them, and the child's cost, in which reports may differ too."""
    runs, cost = (pair.parent, pair.child), cost_ratio([pair])
    values = " → ".join(f"{run.value:.5f}" if run.value is not None else str(run.failure) for run in runs)
    return values if cost is None else f"{values} at ×{cost:.2f} the cost"
