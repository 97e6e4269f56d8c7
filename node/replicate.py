"""The replication loop's one turn: re-run a peer's discovery here, record what was found, adopt it if it is better;
or run one pair of a peer's report again, as an audit. What this machine failed at is tried again later, and after some
tries left alone: it says nothing of the claim.

Nothing of a peer's is believed or run outside the sandbox. A replication measures the claim as it was made (its child
against its parent, fresh seeds of this node's own); adoption then asks another question: is it better than what this
node already has? Where peers' reports vouch for a claim and others are drawn to check it, only that is asked: a look.
What was adopted after a look is reported on when the discovery is refuted, and falls if that does not support it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from node.experiment.edits import merge
from node.experiment.laboratory import Laboratory, Log
from node.experiment.run import OF_THE_MACHINE
from node.experiment.statistics import cost_ratio
from node.experiment.trial import SequentialTest, Trial, paired_runs, replicate_trial, unscreened_trial
from node.experiment.workspace import Entry, Workspace
from node.fold import Fold
from node.queue import IDLE_WAITS, Standpoint, Task, tasks
from node.research import Research
from node.views import ancestry, banked, effect_text, made_from
from protocol.audits import Turn, repeats
from protocol.identity import Identity, short
from protocol.records import Audit, Experiment, Pair, Record, Replication

TRIES = 3  # of one claim or report that this machine fails to run, until the next start
AGAIN_MS = 600_000  # before the second try; the third waits twice as long
LOOK = b"look"  # what distinguishes the seeds of a look from those of a report
NOT_RUN = Trial("unclear", None, None, None, ())
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
    present: frozenset[bytes] = frozenset()  # peers of this compute class that are connected
    heard: dict[bytes, int] = field(default_factory=dict)  # since when there is something to do for a claim, in ms

    def __post_init__(self) -> None:
        self._tasks = Fold(self.laboratory.ledger, self._all_tasks)

    def meet(self, present: frozenset[bytes]) -> None:
        """Take into account who of this node's compute class is here, and could be drawn to replicate."""
        if present != self.present:
            self.present = present
            self._tasks = Fold(self.laboratory.ledger, self._all_tasks)

    def next_task(self) -> Task | None:
        """The most needed replication or audit whose sources have arrived; of rivals the one that promises most."""
        now, found, patience = self.now_ms(), self._tasks(), self._patience_ms()
        self.heard = {task.claim.id: self.heard.get(task.claim.id, now) for task in found}
        possible = [task for task in found if self._can_run(task, now)]
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

    def _can_run(self, task: Task, now: int) -> bool:
        """Whether its sources are here, and this machine has not failed at it lately."""
        claim = task.claim.body
        assert isinstance(claim, Experiment)
        here = all(self.laboratory.ledger.has_blob(source) for source in (claim.parent, claim.child))
        return here and self.put_off.get(_about(task), PutOff()).until <= now

    def _patience_ms(self) -> float:
        """How long a claim that others are drawn to re-run is left to them."""
        expected = PATIENCE_RUNS * self.laboratory.seconds_per_run()
        return 1000 * (expected if expected > PATIENCE_LEAST_SECONDS else PATIENCE_LEAST_SECONDS)  # NaN is not

    def _all_tasks(self) -> list[Task]:
        records = self.laboratory.ledger.all_records()
        standpoint = Standpoint(self.research.best(), banked(records, self.research.steps()))
        return tasks(records, self.identity.author, self.laboratory.compute_class, standpoint, self.present)

    async def turn(self, task: Task) -> Record | None:
        """Do what is due and record it. None when this machine failed at it."""
        self.research.roll_back()
        if task.audit is not None:
            return await self._audit(task.claim, task.audit)
        return await (self._look(task.claim) if task.vouched else self._replicate(task.claim))

    async def _replicate(self, claimed: Record) -> Record | None:
        """Report on one claim, and adopt it if it holds and is better than what this node has."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(claimed.author)}
        self.log("re-run", **about, claimed=effect_text(claim.effect))
        with self.laboratory.working_on(f"re-run: {claim.title}"):
            trial = await self._report(claim)
            if trial.machine_failure is not None:
                self._try_again_later(claimed.id, "re-run", trial.machine_failure, **about)
                return None
            attempts = await self._attempts(claim, reported=True) if trial.decision == "supports" else []
        adoption = next((attempt for attempt in attempts if attempt.holds), None)
        record = self._record(claimed, trial, adoption)
        self._tell(record, claimed, trial, adoption)
        return record

    async def _look(self, claimed: Record) -> Record | None:
        """See whether a claim that reports vouch for is better than what this node has, and adopt it if it is."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        about = {"title": claim.title, "peer": short(claimed.author)}
        self.log("look", **about, claimed=effect_text(claim.effect), why="peers' reports speak for it")
        with self.laboratory.working_on(f"look: {claim.title}"):
            attempts = await self._attempts(claim, reported=False)
        adoption = next((attempt for attempt in attempts if attempt.holds), None)
        own = next((attempt.trial for attempt in attempts if attempt.route == "child"), NOT_RUN)
        if adoption is None and own.machine_failure is not None:
            self._try_again_later(_looked_at(claimed.id), "look", own.machine_failure, **about)
            return None
        record = self._record(claimed, replace(own, decision="unclear"), adoption)
        if adoption is not None:
            self._tell_adoption(record, claim, adoption)
        else:
            found = [effect_text(attempt.trial.effect) for attempt in attempts]
            why = "it proved no better than this node's best"
            self.log("not adopted", title=claim.title, record=record.id.hex()[:10], found=", ".join(found), why=why)
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

    async def _attempts(self, claim: Experiment, reported: bool) -> list[Attempt]:
        """What could be taken over, tried against this node's own best, the most likely first, until something holds.

        reported: the pairs of a report, which looked well, are made already. A look has seeds of its own: a report
        that begins with pairs that were worth going on from would be biased.
        """
        await self.laboratory.runner.rest.over()
        best = self.research.best()
        test = SequentialTest(self.research.noise(), self.laboratory.objective.statistics, claimed=True)
        salt = self.identity.author if reported else LOOK + self.identity.author
        attempts: list[Attempt] = []
        for source, route in await self._candidates(claim, best):
            trial = await unscreened_trial(self.laboratory.run, best, source, test, salt, self.laboratory.at_once)
            attempts.append(Attempt(source, best, route, trial))
            if attempts[-1].holds:
                break
        return attempts

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

    def _tell(self, record: Record, claimed: Record, trial: Trial, adoption: Attempt | None) -> None:
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
        if adoption is not None:
            self._tell_adoption(record, claim, adoption)
        elif trial.decision == "supports":
            self.log("not adopted", **about, why="it holds, but is no better than this node's best")
        elif trial.decision == "failed":
            self.log("refuted", **about, failure=trial.failure, log_tail=trial.log_tail)
        elif trial.decision == "contradicts":
            self.log("refuted", **about, effect=effect_text(trial.effect))

    def _tell_adoption(self, record: Record, claim: Experiment, adoption: Attempt) -> None:
        effect = effect_text(adoption.trial.effect)
        self.log("adopted", title=claim.title, record=record.id.hex()[:10], effect=effect, route=adoption.route)


def _about(task: Task) -> bytes:
    """What is put off when this machine fails at a task: a claim, a look at it, or somebody's report."""
    if task.audit is not None:
        return task.audit.report.id
    return _looked_at(task.claim.id) if task.vouched else task.claim.id


def _looked_at(claim: bytes) -> bytes:
    return LOOK + claim


def _values(pair: Pair) -> str:
    """Parent's and child's value as a log line shows them, and the child's cost, in which reports may differ too."""
    runs, cost = (pair.parent, pair.child), cost_ratio([pair])
    values = " → ".join(f"{run.value:.5f}" if run.value is not None else str(run.failure) for run in runs)
    return values if cost is None else f"{values} at ×{cost:.2f} the cost"
