"""The replication loop's one turn: re-run a peer's discovery here, record what was found, adopt it if it is better;
or run one pair of a peer's report again, as an audit. What this machine failed at is tried again later, and after some
tries left alone: it says nothing of the claim.

Nothing of a peer's is believed or run outside the sandbox. A replication measures the claim as it was made (its child
against its parent, fresh seeds of this node's own); adoption then asks another question: is it better than what this
node already has?
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from node.experiment.edits import merge
from node.experiment.laboratory import Laboratory, Log
from node.experiment.run import OF_THE_MACHINE
from node.experiment.statistics import cost_ratio
from node.experiment.trial import SequentialTest, Trial, paired_runs, replicate_trial, run_trial, unscreened_trial
from node.experiment.workspace import Entry, Workspace
from node.fold import Fold
from node.queue import Standpoint, Task, tasks
from node.research import Research, parent_seed
from node.views import ancestry, banked, effect_text, made_from
from protocol.audits import Turn, repeats
from protocol.identity import Identity, short
from protocol.records import Audit, Effect, Experiment, Pair, Record, Replication

TRIES = 3  # of one claim or report that this machine fails to run, until the next start
AGAIN_MS = 600_000  # before the second try; the third waits twice as long


@dataclass(frozen=True)
class Adoption:
    """The source that was better than this node's best, how it was made, and by how much."""

    source: bytes
    before: bytes
    route: str
    effect: Effect | None


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

    def __post_init__(self) -> None:
        self._tasks = Fold(self.laboratory.ledger, self._all_tasks)

    def next_task(self) -> Task | None:
        """The most needed replication or audit whose sources have arrived."""
        ledger = self.laboratory.ledger
        for task in self._tasks():
            claim = task.claim.body
            assert isinstance(claim, Experiment)
            here = ledger.has_blob(claim.parent) and ledger.has_blob(claim.child)
            if here and self.put_off.get(_about(task).id, PutOff()).until <= self.now_ms():
                return task
        return None

    def _all_tasks(self) -> list[Task]:
        records = self.laboratory.ledger.all_records()
        standpoint = Standpoint(self.research.best(), banked(records, self.research.steps()))
        return tasks(records, self.identity.author, self.laboratory.compute_class, standpoint)

    async def turn(self, task: Task) -> Record | None:
        """Do what is due and record it. None when this machine failed at it."""
        self.research.roll_back()
        if task.audit is None:
            return await self._replicate(task.claim)
        return await self._audit(task.claim, task.audit)

    async def _replicate(self, claimed: Record) -> Record | None:
        """Re-run one claim and record it, with the adoption if there was one."""
        claim = claimed.body
        assert isinstance(claim, Experiment)
        self.log("re-run", title=claim.title, peer=short(claimed.author), claimed=effect_text(claim.effect))
        with self.laboratory.working_on(f"re-run: {claim.title}"):
            trial = await replicate_trial(
                self.laboratory.run,
                claim.parent,
                claim.child,
                self.research.noise(),
                self.laboratory.objective.statistics,
                salt=self.identity.author,
                at_once=self.laboratory.at_once,
            )
            if trial.machine_failure is not None:
                about = {"title": claim.title, "peer": short(claimed.author)}
                self._try_again_later(claimed, "re-run", trial.machine_failure, **about)
                return None
            adoption = await self._adopt(claim) if trial.decision == "supports" else None
        body = self._replication(claimed, claim, trial, adoption)
        record = self.laboratory.ledger.append_own(self.identity, body, self.now_ms())
        self._tell(record, claimed, claim, trial, adoption)
        if adoption is not None:
            text = self.laboratory.source_text
            entry = Entry(record, body, text(adoption.source), self.laboratory.memory_of(adoption.source))
            self.workspace.add(entry, text(adoption.before))
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

    async def _adopt(self, claim: Experiment) -> Adoption | None:
        """Try what could be taken over, the most likely first, against this node's own best."""
        await self.laboratory.runner.rest.over()
        best = self.research.best()
        test = SequentialTest(self.research.noise(), self.laboratory.objective.statistics)
        run, at_once, author = self.laboratory.run, self.laboratory.at_once, self.identity.author
        for source, route in await self._candidates(claim, best):
            if route == "child":  # its first pairs are those of the replication, and these looked well
                trial = await unscreened_trial(run, best, source, test, author, at_once)
            else:
                seed = parent_seed(best)
                trial = await run_trial(run, best, source, seed, test.noise, test.statistics, author, at_once)
            if trial.decision == "improved":
                return Adoption(source, best, route, trial.effect)
        return None

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

    def _replication(self, claimed: Record, claim: Experiment, trial: Trial, adoption: Adoption | None) -> Replication:
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
            adoption=adoption.effect if adoption else None,
            base=adoption.before if adoption else None,
            platform=self.laboratory.platform,
        )

    def _tell(
        self, record: Record, claimed: Record, claim: Experiment, trial: Trial, adoption: Adoption | None
    ) -> None:
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
            self.log("adopted", **about, effect=effect_text(adoption.effect), route=adoption.route)
        elif trial.decision == "supports":
            self.log("not adopted", **about, why="it holds, but is no better than this node's best")
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
