"""The research loop's one turn: propose, try, keep or revert, record.

It stands on the own feed (which source is best, what was tried) and meets the network only in the ledger. A turn that
is interrupted leaves nothing behind but cached runs, so it can be taken again at no cost.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from node.experiment.edits import Constant, EditError, constants, fingerprint
from node.experiment.laboratory import Laboratory, Log
from node.experiment.run import Outcome
from node.experiment.statistics import Noise, pooled_noise
from node.experiment.trial import Runs, Trial, run_trial
from node.experiment.workspace import Entry, Workspace
from node.fold import Fold
from node.hypothesis.beliefs import Machine
from node.hypothesis.outlook import OUTLOOK, Outlook, pack_outlook
from node.hypothesis.proposer import Context, Lesson, Proposal, TriedResult, tried_result
from node.hypothesis.strategy import Strategy
from node.together import together
from node.views import Step, banked, discoveries, effect_text, refuted, steps_of
from protocol.draw import pair_seed
from protocol.identity import Identity
from protocol.messages import MAX_LEASE_SECONDS, Lease
from protocol.records import Effect, Experiment, Record, Replication

LEASE_RUNS = 3  # a lease is taken for so many expected runs, and again while the trial goes on
LEASE_LEAST_SECONDS = 60.0  # the record of a trial may be that long on its way
UNMEASURED_SECONDS = 10.0  # a run, before the first


def parent_seed(source: bytes) -> int:
    """The seed a parent is screened at: its own, the same on every node, and new with every new parent."""
    return pair_seed(source, source, 0)


@dataclass
class Research:
    """Turns ideas into signed experiments, one at a time."""

    identity: Identity
    laboratory: Laboratory
    strategy: Strategy
    workspace: Workspace
    rng: random.Random
    now_ms: Callable[[], int]
    log: Log
    known_constants: dict[bytes, dict[str, float]] = field(default_factory=dict)
    rolled_back: frozenset[bytes] = frozenset()
    _screened: list[Proposal] = field(default_factory=list)
    _screened_on: bytes = b""

    def __post_init__(self) -> None:
        ledger, author = self.laboratory.ledger, self.identity.author
        self._refuted = Fold(ledger, lambda: refuted(ledger.all_records(), author))
        self._steps = Fold(ledger, lambda: steps_of(ledger.feed(author), self._refuted()))
        self.rolled_back = self._refuted()

    def steps(self) -> Sequence[Step]:
        """How this node got to the source it stands on; what peers refuted is left out, with what stood on it."""
        return self._steps()

    def best(self) -> bytes:
        """The source this node's next hypothesis will edit."""
        steps = self.steps()
        return steps[-1].source if steps else self.laboratory.objective.source_id

    def roll_back(self) -> None:
        """Return to the last parent that is not refuted, if peers have refuted one since the last look."""
        news = self._refuted() - self.rolled_back
        if not news:
            return
        self.rolled_back |= news
        steps = self.steps()
        for found in discoveries(self.laboratory.ledger.all_records(), self.identity.author):
            if found.record.id in news:
                self.log(
                    "rolled back",
                    title=found.claim.title,
                    record=found.record.id.hex()[:10],
                    claimed=effect_text(found.claim.effect),
                    others_found=effect_text(found.standing.effect),
                    reports=found.standing.reports,
                    best=self.best().hex()[:10],
                )
        self.workspace.stand_on(self.laboratory.source_text(self.best()), steps[-1].record.id if steps else None)

    async def turn(self) -> Record | None:
        """Try one hypothesis and record what came of it. None when nobody has an idea left."""
        ledger = self.laboratory.ledger
        await self.laboratory.runner.rest.over()
        self.roll_back()
        parent = self.best()
        proposal = await self._next(parent)
        if proposal is None:
            return None
        self.log("hypothesis", title=proposal.title, category=proposal.category, proposer=proposal.proposer)
        child = ledger.put_blob(proposal.source.encode())
        with self.laboratory.working_on(proposal.title):
            noise = self.noise()
            trial = await run_trial(
                self._leasing(parent, fingerprint(proposal.source)),
                parent,
                child,
                parent_seed(parent),
                noise,
                self.laboratory.objective.statistics,
                salt=self.identity.author,
                at_once=self.laboratory.at_once,
            )
            holdout = None
            if trial.decision == "improved":
                holdout = await self.laboratory.holdout(parent, child, trial.pairs, noise.metric)
        body = self._experiment(proposal, parent, child, trial, holdout)
        record = ledger.append_own(self.identity, body, self.now_ms())
        self._tell(record, body, trial)
        effect = trial.effect.mean if trial.effect else None
        self.strategy.learn(proposal, Lesson(trial.decision, effect, trial.failure, trial.log_tail))
        entry = Entry(record, body, proposal.source, self.laboratory.memory_of(child))
        self.workspace.add(entry, self.laboratory.source_text(parent))
        return record

    async def _next(self, parent: bytes) -> Proposal | None:
        """The next idea. Where several runs are made at once it is one of several that were screened side by side.

        What was screened on another source says nothing of this one, and is forgotten.
        """
        if self._screened_on != parent:
            self._screened, self._screened_on = [], parent
        if not self._screened:
            proposals = await self._several(parent)
            self._screened = await self._screen(parent, proposals) if len(proposals) > 1 else proposals
        return self._screened.pop(0) if self._screened else None

    async def _several(self, parent: bytes) -> list[Proposal]:
        """Different ideas, one for each run that is made at once; at most one of them from a proposer that costs."""
        proposals: list[Proposal] = []
        for _ in range(self.laboratory.at_once):
            also = frozenset(fingerprint(proposal.source) for proposal in proposals)
            proposal = await self._propose(parent, also)
            if proposal is None:
                break
            proposals.append(proposal)
        return proposals

    async def _propose(self, parent: bytes, also: frozenset[bytes]) -> Proposal | None:
        """The next idea besides `also`, which are about to be tried; one that a peer is trying is left for last."""
        context = self._context(parent)
        leased = self.laboratory.ledger.leases.taken(parent, time.monotonic())
        context = replace(context, leased=leased, tried=context.tried | also)
        proposal = await self.strategy.propose(context, self.machine(), cheap=bool(also))
        self.note_outlook()
        return proposal

    async def _screen(self, parent: bytes, proposals: list[Proposal]) -> list[Proposal]:
        """Make the screening runs of these ideas side by side, for their trials to find.

        Returned are first those that did no better than the parent, whose trials end there, then the best first.
        """
        seed, ledger = parent_seed(parent), self.laboratory.ledger
        with self.laboratory.working_on(f"screening {len(proposals)} ideas"):
            before = await self.laboratory.run(parent, seed)

            async def screen(proposal: Proposal) -> float:
                child = ledger.put_blob(proposal.source.encode())
                run = self._leasing(parent, fingerprint(proposal.source))
                value = (await run(child, seed, parent)).value
                return math.inf if value is None or before.value is None or value >= before.value else value

            values = await together([partial(screen, proposal) for proposal in proposals])
        order = sorted(range(len(proposals)), key=lambda k: (values[k] < math.inf, values[k]))
        return [proposals[k] for k in order]

    def _leasing(self, parent: bytes, tried: bytes) -> Runs:
        """Runs of a trial, before each of which peers are told again what is being tried, if it is time to."""
        due = 0.0

        async def run(source: bytes, seed: int, incumbent: bytes | None = None, /) -> Outcome:
            nonlocal due
            seconds = max(LEASE_RUNS * self.machine().seconds_per_run, LEASE_LEAST_SECONDS)
            if time.monotonic() >= due:
                self.laboratory.ledger.leases.take(Lease(parent, tried, min(MAX_LEASE_SECONDS, math.ceil(seconds))))
                due = time.monotonic() + seconds / LEASE_RUNS
            return await self.laboratory.run(source, seed, incumbent)

        return run

    def machine(self) -> Machine:
        """What a trial costs here, as far as it was measured."""
        seconds = self.laboratory.seconds_per_run()
        return Machine(
            compute_class=self.laboratory.compute_class,
            seconds_per_run=seconds if seconds > 0 else UNMEASURED_SECONDS,
            noise=self.noise().metric,
            max_pairs=self.laboratory.objective.statistics.max_pairs,
            thinking=self.strategy.thinking,
        )

    def note_outlook(self) -> None:
        """Leave in the ledger what the strategy goes by besides the records, for whoever wants to look at it."""
        strategy, machine = self.strategy, self.machine()
        priors = strategy.priors(machine.compute_class)
        outlook = Outlook(machine, priors, tuple(strategy.arms()), frozenset(strategy.empty))
        self.laboratory.ledger.set_meta(OUTLOOK, pack_outlook(outlook))

    def noise(self) -> Noise:
        """How much paired runs differ by chance on this machine, learnt from this node's own trials."""
        trials = [
            record.body.pairs
            for record in self.laboratory.ledger.feed(self.identity.author)
            if isinstance(record.body, Experiment | Replication)
        ]
        return pooled_noise(trials, self.laboratory.objective.statistics)

    def _experiment(
        self, proposal: Proposal, parent: bytes, child: bytes, trial: Trial, holdout: Effect | None
    ) -> Experiment:
        return Experiment(
            title=proposal.title,
            category=proposal.category,
            reason=proposal.reason,
            proposer=proposal.proposer,
            parent=parent,
            child=child,
            fingerprint=fingerprint(proposal.source),
            compute_class=self.laboratory.compute_class,
            device=self.laboratory.device,
            sandbox=self.laboratory.sandbox,
            decision=trial.decision,
            effect=trial.effect,
            holdout=holdout,
            cost_ratio=trial.cost_ratio,
            screening=trial.screening,
            pairs=trial.pairs,
        )

    def _tell(self, record: Record, body: Experiment, trial: Trial) -> None:
        about = {"title": body.title, "record": record.id.hex()[:10]}
        if body.decision == "failed":
            self.log("failed", **about, failure=trial.failure, log_tail=trial.log_tail)
        else:
            screened = not body.pairs
            self.log(
                "result",
                **about,
                effect=effect_text(body.effect),
                decision="dropped at screening" if screened else body.decision.replace("_", " "),
            )
        if body.decision == "improved":
            self.log("kept", **about, effect=effect_text(body.effect), holdout=effect_text(body.holdout))

    def _context(self, parent: bytes) -> Context:
        ledger = self.laboratory.ledger
        experiments = [r.body for r in ledger.all_records() if isinstance(r.body, Experiment)]
        text = self.laboratory.source_text(parent)
        tried = {body.fingerprint for body in experiments if body.parent == parent}
        tried.add(fingerprint(text))
        tried |= {body.fingerprint for body in self._on_the_way()}
        return Context(
            source=text,
            source_id=parent,
            tried=frozenset(tried),
            results=self._results(experiments),
            rng=self.rng,
            banked=banked(ledger.all_records(), self.steps()),
        )

    def _on_the_way(self) -> list[Experiment]:
        own = self.laboratory.ledger.feed(self.identity.author)
        return [r.body for r in own if isinstance(r.body, Experiment) and r.body.decision == "improved"]

    def _results(self, experiments: Sequence[Experiment]) -> tuple[TriedResult, ...]:
        return tuple(tried_result(body, self._changed(body)) for body in experiments)

    def _changed(self, body: Experiment) -> dict[str, float]:
        before, after = self._constants(body.parent), self._constants(body.child)
        return {name: value for name, value in after.items() if before.get(name) != value}

    def _constants(self, source: bytes) -> dict[str, float]:
        """The numeric constants of a source, worked out once; none of a source that is not here or does not parse."""
        if source not in self.known_constants:
            data = self.laboratory.ledger.get_blob(source)
            if data is None:
                return {}
            try:
                found = constants(data.decode("utf-8", errors="replace"))
            except EditError:
                found = []
            self.known_constants[source] = _numbers(found)
        return self.known_constants[source]


def _numbers(found: Sequence[Constant]) -> dict[str, float]:
    """Those that are finite numbers: a stranger's source may hold an integer that no float can."""
    numbers = {}
    for constant in found:
        if isinstance(constant.value, int | float) and abs(constant.value) <= sys.float_info.max:
            numbers[constant.name] = float(constant.value)
    return numbers
