"""The replication loop's one turn: re-run a peer's discovery here, record what was found, adopt it if it is better;
or run one pair of a peer's report again, as an audit. What this machine failed at is tried again later, and after some
tries left alone: it says nothing of the claim.

Nothing of a peer's is believed or run outside the sandbox. A replication measures the claim as it was made (its child
against its parent, fresh seeds of this node's own); adoption then asks another question: is it better than what this
node already has? Where peers' reports vouch for a claim and others are drawn to check it, that question alone is asked,
and one run that bears the claim out is enough: what is adopted so falls when the discovery does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from node.experiment.edits import merge
from node.experiment.laboratory import Laboratory, Log
from node.experiment.run import OF_THE_MACHINE
from node.experiment.statistics import cost_ratio, effect_of
from node.experiment.trial import (
    REPLICATION_PAIRS,
    SequentialTest,
    Trial,
    judged,
    paired_runs,
    replicate_trial,
    run_trial,
    unscreened_trial,
)
from node.experiment.workspace import Entry, Workspace
from node.fold import Fold
from node.queue import Standpoint, Task, tasks
from node.research import Research, parent_seed
from node.views import ancestry, banked, effect_text, made_from
from protocol.audits import Turn, repeats
from protocol.identity import Identity, short
from protocol.records import Audit, Experiment, Pair, Record, Replication

TRIES = 3  # of one claim or report that this machine fails to run, until the next start
AGAIN_MS = 600_000  # before the second try; the third waits twice as long
PATIENCE_RUNS, PATIENCE_LEAST_SECONDS = 20, 60.0  # a report and an audit take six runs, and a trial was under way


@dataclass(frozen=True)
class Attempt:
    """A source that might be taken over, how it was made, and what it came to against this node's best before."""

    source: bytes
    before: bytes
    route: str
    trial: Trial

    @property
    def holds(self) -> bool:
        return self.trial.decision == "improved"


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
    heard: dict[bytes, int] = field(default_factory=dict)  # since when a claim waits for others here (ms since 1970)

    def __post_init__(self) -> None:
        self._tasks = Fold(self.laboratory.ledger, self._all_tasks)

    def next_task(self) -> Task | None:
        """The most needed replication or audit whose sources have arrived."""
        ledger, now = self.laboratory.ledger, self.now_ms()
        for task in self._tasks():
            claim = task.claim.body
            assert isinstance(claim, Experiment)
            here = ledger.has_blob(claim.parent) and ledger.has_blob(claim.child)
            until = self.put_off.get(_about(task).id, PutOff()).until
            if task.waits:
                until = max(until, self.heard.setdefault(task.claim.id, now) + self._patience_ms())
            if here and until <= now:
                return task
        return None

    def _patience_ms(self) -> float:
        """How long a claim that others are drawn to re-run is left to them."""
        seconds = PATIENCE_RUNS * self.research.machine().seconds_per_run
        return 1000 * max(seconds, PATIENCE_LEAST_SECONDS)

    def _all_tasks(self) -> list[Task]:
        records = self.laboratory.ledger.all_records()
        standpoint = Standpoint(self.research.best(), banked(records, self.research.steps()))
        return tasks(records, self.identity.author, self.laboratory.compute_class, standpoint)

    async def turn(self, task: Task) -> Record | None:
        """Do what is due and record it. None when this machine failed at it."""
        self.research.roll_back()
        if task.audit is not None:
            return await self._audit(task.claim, task.audit)
        return await self._replicate(task.claim, task.vouched)

    async def _replicate(self, claimed: Record, vouched: bool) -> Record | None:
        """Re-run one claim and record it, with the adoption if there was one."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(claimed.author)}
        self.log("re-run", **about, claimed=effect_text(claim.effect), **({"vouched_for": True} if vouched else {}))
        with self.laboratory.working_on(f"re-run: {claim.title}"):
            if vouched:
                attempts = await self._attempts(claim, screened=True)
                trial = self._seen(attempts)
            else:
                trial = await self._report(claim)
                supports = trial.decision == "supports"
                attempts = await self._attempts(claim, screened=False) if supports else []
            failure = trial.machine_failure
        if failure is not None:
            self._try_again_later(claimed, "re-run", failure, **about)
            return None
        adoption = next((attempt for attempt in attempts if attempt.holds), None)
        body = self._replication(claimed, claim, trial, adoption)
        record = self.laboratory.ledger.append_own(self.identity, body, self.now_ms())
        self._tell(record, claimed, claim, trial, adoption)
        if adoption is not None:
            text = self.laboratory.source_text
            entry = Entry(record, body, text(adoption.source), self.laboratory.memory_of(adoption.source))
            self.workspace.add(entry, text(adoption.before))
        return record

    async def _report(self, claim: Experiment) -> Trial:
        """The claim as it was made, on fresh seeds of this node's own."""
        return await replicate_trial(
            self.laboratory.run,
            claim.parent,
            claim.child,
            self.research.noise(),
            self.laboratory.objective.statistics,
            salt=self.identity.author,
            at_once=self.laboratory.at_once,
        )

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
            self._try_again_later(turn.report, "audit", failure, **about)
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

    def _try_again_later(self, record: Record, what: str, failure: str, **about: object) -> None:
        """Leave a claim or report alone, for a while or until the next start, and say so."""
        tries = self.put_off.get(record.id, PutOff()).tries + 1
        why = "it says more of this machine than of what was to be run"
        if tries == TRIES:
            self.put_off[record.id] = PutOff(tries, math.inf)
            self.log(f"{what} given up", **about, failure=failure, tries=tries, why=why)
            return
        wait = AGAIN_MS * tries
        self.put_off[record.id] = PutOff(tries, self.now_ms() + wait)
        self.log(f"{what} put off", **about, failure=failure, again_in_seconds=wait // 1000, why=why)

    async def _attempts(self, claim: Experiment, screened: bool) -> list[Attempt]:
        """What could be taken over, tried against this node's own best, the most likely first, until something holds.

        screened: whether the claim's own child is to be screened too, for it has not been run here yet.
        """
        await self.laboratory.runner.rest.over()
        best = self.research.best()
        test = SequentialTest(self.research.noise(), self.laboratory.objective.statistics, claimed=True)
        run, at_once, author = self.laboratory.run, self.laboratory.at_once, self.identity.author
        attempts: list[Attempt] = []
        for source, route in await self._candidates(claim, best):
            if route == "child" and not screened:  # its first pairs are those of the report, and these looked well
                trial = await unscreened_trial(run, best, source, test, author, at_once)
            else:
                trial = await run_trial(run, best, source, parent_seed(best), test, author, at_once)
            attempts.append(Attempt(source, best, route, trial))
            if attempts[-1].holds:
                break
        return attempts

    def _seen(self, attempts: Sequence[Attempt]) -> Trial:
        """What attempts tell of the claim itself: something only where they ran its child against its parent."""
        tried = [attempt.trial for attempt in attempts]
        by_machine = [trial for trial in tried if trial.machine_failure is not None]
        if by_machine and not any(attempt.holds for attempt in attempts):
            return by_machine[0]
        trial = next((attempt.trial for attempt in attempts if attempt.route == "child"), None)
        if trial is None or trial.screening is None:
            return Trial("unclear", None, None, None, ())
        pairs = trial.pairs[:REPLICATION_PAIRS] or (trial.screening,)
        effect = effect_of(pairs, self.research.noise(), self.laboratory.objective.statistics)
        decision = "supports" if trial.decision == "improved" else "unclear"
        if trial.decision == "failed":
            decision = "failed"
        elif effect is not None and effect.n == REPLICATION_PAIRS:
            decision = judged(effect)  # as it happens, a whole report
        return Trial(decision, effect, cost_ratio(pairs), None, pairs, trial.failure, trial.log_tail)

    async def _candidates(self, claim: Experiment, best: bytes) -> list[tuple[bytes, str]]:
        """What could be taken over, the most likely first.

        Where the child goes back to this node's best by way of other changes, the whole has these too.
        """
        if claim.child == best:
            return []
        if claim.parent == best:
            return [(claim.child, "child")]
        text = self.laboratory.source_text
        merged = await merge(text(claim.parent), text(best), text(claim.child))
        found = [(claim.child, "whole")]
        if merged is not None and merged not in (text(best), text(claim.child)):
            source = self.laboratory.ledger.put_blob(merged.encode())
            leap = best in ancestry(made_from(self.laboratory.ledger.all_records()), claim.child)
            found.insert(1 if leap else 0, (source, "merge"))
        return found

    def _replication(self, claimed: Record, claim: Experiment, trial: Trial, adoption: Attempt | None) -> Replication:
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

    def _tell(self, record: Record, claimed: Record, claim: Experiment, trial: Trial, adoption: Attempt | None) -> None:
        about = {"title": claim.title, "record": record.id.hex()[:10]}
        self.log(
            "re-run result",
            **about,
            effect=effect_text(trial.effect),
            claimed=effect_text(claim.effect),
            peer=short(claimed.author),
            decision=trial.decision,
        )
        if adoption is not None:
            self.log("adopted", **about, effect=effect_text(adoption.trial.effect), route=adoption.route)
        elif trial.decision == "supports":
            self.log("not adopted", **about, why="it holds, but is no better than this node's best")
        elif trial.decision == "unclear" and len(trial.pairs) < REPLICATION_PAIRS:
            self.log("not adopted", **about, why="one look showed nothing better than this node's best")
        elif trial.decision == "failed":
            self.log("refuted", **about, failure=trial.failure, log_tail=trial.log_tail)
        elif trial.decision == "contradicts":
            self.log("refuted", **about, effect=effect_text(trial.effect))


def _about(task: Task) -> Record:
    """The record that a task is to check."""
    return task.claim if task.audit is None else task.audit.report


def _values(pair: Pair) -> str:
    """Parent's and child's value as a log line shows them, and the child's cost, in which reports may differ too."""
    runs, cost = (pair.parent, pair.child), cost_ratio([pair])
    values = " → ".join(f"{run.value:.5f}" if run.value is not None else str(run.failure) for run in runs)
    return values if cost is None else f"{values} at ×{cost:.2f} the cost"
