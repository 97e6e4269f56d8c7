"""The reviewer: chooses what of peers' work this node does next, has it done, signs what was found, and adopts.

Nothing of a peer's is believed, or run outside the sandbox. A **local trial** asks whether what was found is better
here than what this node already has (`evaluate`). A **report** measures the claim as it was made (`replicate`), an
**audit** a pair of another node's report (`audit`). What was adopted is reported on when others doubt the discovery,
and is rolled back if that report is against it. What this machine failed to run is tried again later, three times at
most; such a failure says nothing of the claim.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from node.ledger.error import LedgerError
from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.effects import bare_gain_text, gain_text
from node.ledger.projections.lineage import measured_gain_by_category
from node.platform.log import short_id
from node.review.adopt import Attempt
from node.review.audit import audit
from node.review.case import TURNS_BEFORE_UNNEEDED_REPORT, ReviewTask, Turn
from node.review.evaluate import Evaluation, evaluate
from node.review.replicate import replicate
from node.review.schedule import LocalTrial, Schedule, SearchPosition
from node.review.workbench import Workbench
from node.trials.effect_parts import measured_parts_text, split
from node.trials.gain_posterior import value_of_new_idea
from node.trials.statistics import cost_ratio
from node.trials.trial import Trial
from protocol.audits import repeats
from protocol.identity import short
from protocol.metric import Metric
from protocol.records import Experiment, Pair, Record, Replication, ReplicationDecision, metric_of

TRIES = 3  # of one claim or report that this machine fails to run, until the next start
RETRY_MS = 600_000  # before the second try; the third waits twice as long
Work = Literal["local trial", "replication", "audit"]
POSTPONED: dict[Work, str] = {  # the event in the log when this machine fails at it, and will try again
    "local trial": "local trial postponed",
    "replication": "replication postponed",
    "audit": "audit postponed",
}
GIVEN_UP: dict[Work, str] = {  # and when it has failed too often
    "local trial": "local trial given up",
    "replication": "replication given up",
    "audit": "audit given up",
}
LOCAL_TRIAL = b"local trial"  # before the id of a claim: what is postponed is the local trial, not a report on it
# Runs, and seconds at least, for which a claim is left to the nodes chosen to report on it: a report and an audit take
# six runs, and they may have had a trial of their own under way.
TURN_RUNS, TURN_LEAST_SECONDS = 20, 60.0
NO_REPORT = Trial(ReplicationDecision.UNCLEAR, None, None, None, ())


@dataclass(frozen=True)
class Postponed:
    """Something this machine failed to run: how often so far, and before when (ms since 1970) it is left alone."""

    tries: int = 0
    until: float = 0.0


@dataclass
class Reviewer:
    """Turns peers' claims into local trials, adoptions and signed reports, one at a time."""

    bench: Workbench
    postponed: dict[bytes, Postponed] = field(default_factory=dict)  # by record id, of local trials with LOCAL_TRIAL
    present: frozenset[bytes] = frozenset()  # peers of this compute class that are connected
    first_seen: dict[bytes, int] = field(default_factory=dict)  # since when (ms) there is a task for a claim
    unrepeatable: set[bytes] = field(
        default_factory=set
    )  # claims (ids) of which no pair is audited until the next start

    def __post_init__(self) -> None:
        self._schedule = CachedProjection(self.bench.cached_runner.ledger, self._work_out_schedule)

    def meet(self, present: frozenset[bytes]) -> None:
        """Take into account who of this node's compute class is connected, and could be drawn to report."""
        if present != self.present:
            self.present = present
            self._schedule.forget()

    def _work_out_schedule(self) -> Schedule:
        cached_runner, incumbent = self.bench.cached_runner, self.bench.incumbent
        records = cached_runner.ledger.all_records()
        steps = incumbent.steps()
        gained = measured_gain_by_category(records, steps)
        position = SearchPosition(incumbent.source(), gained, {step.record.id for step in steps})
        author = self.bench.identity.author
        same_budget = cached_runner.objective.same_budget
        secret = self.bench.secret
        weights = cached_runner.ledger.weights(author)
        return Schedule(
            records, author, cached_runner.compute_class, position, weights, secret, self.present, same_budget
        )

    # ---- what is next ----------------------------------------------------------------------------------------------

    def next_local_trial(self, opportunity_cost: float) -> LocalTrial | None:
        """The claim of the largest expected gain whose source has arrived, if a run of it is worth one
        for own ideas.

        opportunity_cost: the gain (ln) expected of a run that is spent on own ideas.
        """
        noise = self.bench.cached_runner.noise(self.bench.identity.author).metric
        for trial in self._schedule().local_trials:
            worth = value_of_new_idea(trial.prior, noise)
            if worth >= opportunity_cost and self._can_run(trial):
                return trial
        return None

    def next_task(self) -> ReviewTask | None:
        """The most needed report or audit whose sources have arrived; of rival claims the leading one first."""
        now = self.bench.now_ms()
        tasks = self._schedule().tasks
        self.first_seen = {task.claim.id: self.first_seen.get(task.claim.id, now) for task in tasks}
        possible = [task for task in tasks if self._can_run(task)]
        leading: dict[tuple[bytes, str], ReviewTask] = {}
        for task in sorted(possible, key=lambda task: task.order[1:]):
            if task.rivalry is not None:
                leading.setdefault(task.rivalry, task)
        turn_ms = self._turn_ms()
        for task in possible:
            outdone = task.rivalry is not None and leading[task.rivalry] is not task
            waits = max(task.waits, TURNS_BEFORE_UNNEEDED_REPORT) if outdone else task.waits
            if self.first_seen[task.claim.id] + waits * turn_ms <= now:
                return task
        return None

    def _can_run(self, what: LocalTrial | ReviewTask) -> bool:
        """Whether its sources are here, and this machine has not failed at it recently."""
        claim = what.claim.body
        assert isinstance(claim, Experiment)
        if isinstance(what, ReviewTask) and what.audit is not None and what.claim.id in self.unrepeatable:
            return False
        here = all(self.bench.cached_runner.ledger.has_blob(source) for source in (claim.parent, claim.child))
        return here and self.postponed.get(_key(what), Postponed()).until <= self.bench.now_ms()

    def _turn_ms(self) -> float:
        """Seconds for which a claim is left to the nodes that are chosen to report on it."""
        expected = TURN_RUNS * self.bench.cached_runner.seconds_per_run()
        return 1000 * (expected if expected > TURN_LEAST_SECONDS else TURN_LEAST_SECONDS)  # NaN is not larger

    # ---- doing it --------------------------------------------------------------------------------------------------

    async def run_task(self, task: ReviewTask) -> Record | None:
        """Report or audit, and sign what came out. None when this machine failed at it."""
        self.bench.incumbent.roll_back()
        return await (self._report(task) if task.audit is None else self._audit(task, task.audit))

    async def try_here(
        self, trial: LocalTrial, opportunity_cost: float, prove_bets: Callable[[], Awaitable[object]]
    ) -> Record | None:
        """See whether a claim makes this node's best better, and adopt it if it does.

        opportunity_cost: as in `next_local_trial`. prove_bets: called before something is adopted: what it is merged
        with could not be claimed by itself any more. None when this machine failed, and when what was to be adopted was
        compared with bets that turn out not to hold; it is then tried again.
        """
        self.bench.incumbent.roll_back()
        claim = trial.claim.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(trial.claim.author)}
        expected = bare_gain_text(-trial.expected_gain, metric_of(claim))
        claimed = gain_text(claim.effect, metric_of(claim))
        self.bench.log("local trial", **about, claimed=claimed, expected_gain=expected)
        best = self.bench.incumbent.source()
        with self.bench.cached_runner.working_on(f"trying a peer's: {claim.title}"):
            try:
                found = await evaluate(self.bench, trial, opportunity_cost)
            except LedgerError:  # what a peer found is not worth stopping for
                self._postpone(_key(trial), "local trial", "no room", **about)
                return None
        if found.adoption is None and found.machine_failure is not None:
            self._postpone(_key(trial), "local trial", found.machine_failure, **about)
            return None
        if found.adoption is not None:
            await prove_bets()
            if self.bench.incumbent.source() != best:
                return None
        record = self.bench.sign_replication(trial.claim, NO_REPORT, found.adoption)
        self._log_evaluation(record, claim, found)
        return record

    async def _report(self, task: ReviewTask) -> Record | None:
        claim = task.claim.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(task.claim.author)}
        self.bench.log("replication", **about, claimed=gain_text(claim.effect, metric_of(claim)))
        with self.bench.cached_runner.working_on(f"re-run: {claim.title}"):
            trial = await replicate(self.bench, task.claim)
        if trial.machine_failure is not None:
            self._postpone(_key(task), "replication", trial.machine_failure, **about)
            return None
        record = self.bench.sign_replication(task.claim, trial, None)
        self._log_report(record, task.claim, trial)
        return record

    async def _audit(self, task: ReviewTask, turn: Turn) -> Record | None:
        claim, report = task.claim.body, turn.report.body
        assert isinstance(claim, Experiment)
        assert isinstance(report, Replication)
        about = {"title": claim.title, "peer": short(turn.report.author)}
        with self.bench.cached_runner.working_on(f"audit: {claim.title}"):
            found = await audit(self.bench, task.claim, turn)
        if found.unrepeatable:
            self.unrepeatable.add(task.claim.id)
            why = "its runs come out differently every time here, so a report on it cannot be told from an invention"
            self.bench.log("claim does not repeat", **about, why=why)
            return None
        if found.body is None:
            self._postpone(_key(task), "audit", str(found.machine_failure), **about)
            return None
        record = self.bench.sign(found.body)
        agrees = repeats(report, found.body)
        values = {"reported": _pair_text(turn.pair), "found": _pair_text(found.body.pair)}
        self.bench.log("audited", **about, agrees=agrees, **values)
        return record

    def _postpone(self, key: bytes, what: Work, failure: str, **about: object) -> None:
        """Leave a claim or report alone, for a while or until the next start, and say so."""
        tries = self.postponed.get(key, Postponed()).tries + 1
        why = "this machine failed, which says nothing of the claim or report"
        if tries == TRIES:
            self.postponed[key] = Postponed(tries, math.inf)
            self.bench.log(GIVEN_UP[what], **about, failure=failure, tries=tries, why=why)
            return
        wait = RETRY_MS * tries
        self.postponed[key] = Postponed(tries, self.bench.now_ms() + wait)
        self.bench.log(POSTPONED[what], **about, failure=failure, again_in_seconds=wait // 1000, why=why)

    # ---- what is logged --------------------------------------------------------------------------------------------

    def _log_report(self, record: Record, claimed: Record, trial: Trial) -> None:
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "record": short_id(record.id)}
        metric = metric_of(claim)
        gain = gain_text(trial.effect, metric)
        parts = split(trial.effect, trial.pairs, trial.cost_ratio, trial.alternated, metric)
        self.bench.log(
            "replication result",
            **about,
            gain=gain,
            parts=measured_parts_text(parts, metric),
            claimed=gain_text(claim.effect, metric),
            peer=short(claimed.author),
            decision=trial.decision,
        )
        if trial.decision == ReplicationDecision.FAILED:
            self.bench.log("claim contradicted", **about, failure=trial.failure, log_tail=trial.log_tail)
        elif trial.decision == ReplicationDecision.CONTRADICTS:
            self.bench.log("claim contradicted", **about, gain=gain)

    def _log_evaluation(self, record: Record, claim: Experiment, found: Evaluation) -> None:
        about = {"title": claim.title, "record": short_id(record.id)}
        adoption = found.adoption
        if adoption is not None:
            gain = gain_text(adoption.trial.effect, metric_of(claim))
            self.bench.log("adopted", **about, gain=gain, route=adoption.route)
            return
        tried = "it proved no better than this node's best"
        why = tried if found.attempts else "it cannot be merged with this node's best"
        self.bench.log("not adopted", **about, found=_attempts_text(found.attempts, metric_of(claim)), why=why)


def _key(what: LocalTrial | ReviewTask) -> bytes:
    """What is postponed when this machine fails at it: a local trial of a claim, a report on it, or an audit."""
    if isinstance(what, LocalTrial):
        return LOCAL_TRIAL + what.claim.id
    return what.audit.report.id if what.audit is not None else what.claim.id


def _attempts_text(attempts: tuple[Attempt, ...], metric: Metric) -> str:
    """What the ways to adopt it came to, as a log line shows it."""
    return ", ".join(f"{each.route}: {each.trial.failure or gain_text(each.trial.effect, metric)}" for each in attempts)


def _pair_text(pair: Pair) -> str:
    """Parent's and child's value as a log line shows them, and the child's cost, in which reports may differ too."""
    cost = cost_ratio([pair])
    values = [str(run.failure) if run.value is None else f"{run.value:.6g}" for run in (pair.parent, pair.child)]
    text = " → ".join(values)
    return text if cost is None else f"{text} at ×{cost:.2f} the cost"
