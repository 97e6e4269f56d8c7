"""A turn of research chooses by what is known, announces what it tries, and avoids what peers are trying if it can."""

from __future__ import annotations

import errno
import hashlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import pytest
import trio
from msgspec import structs

from node.execution.runner import Runner
from node.ledger.outcome import Outcome
from node.ledger.settings import Description
from node.objective.edits import fingerprint
from node.objective.schema import Prior
from node.proposers.proposer import Context, Lesson, Proposal, runs_of
from node.proposers.strategy import SUGGESTED, Strategy
from node.proposers.strategy_snapshot import open_snapshot
from node.research.candidates import Candidate
from node.research.incumbent import Incumbent, published_seeds
from node.research.leased_runs import LEASE_LEAST_SECONDS
from node.research.loop import Research
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.opportunity_cost import RECENT_TRIALS, was_deferred
from node.trials.trial import Trial
from protocol.messages import Lease
from protocol.records import Effect, Experiment, Pair, Run, sign_record
from tests.node.conftest import ignore, made_before, outcome
from tests.node.records_for_tests import Author, experiment, replication


class Suggestions:
    """Proposes its sources in order, but for those that were tried."""

    name = "suggestions"
    costly = False
    categories = ("batch",)

    def __init__(self, *sources: str) -> None:
        self._sources = sources

    async def propose(self, context: Context) -> Proposal | None:
        free = [text for text in self._sources if fingerprint(text) not in context.tried]
        return Proposal("t", "batch", "r", self.name, free[0]) if free else None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        pass


def research_on(cached_runner: CachedRunner, folder: Path, *sources: str) -> Research:
    """Research with these ideas, whose runs are in the cache and show no gain."""
    for text in (cached_runner.objective.source, *sources):
        made_before(
            cached_runner, text, cached_runner.seeds.of_screening(cached_runner.objective.source_id), outcome(3.5)
        )
    return unmeasured_research(cached_runner, folder, *sources)


def unmeasured_research(cached_runner: CachedRunner, folder: Path, *sources: str) -> Research:
    """Research with these ideas, none of which was run."""
    source = cached_runner.objective.source
    editable = cached_runner.objective.editable
    workspace = Workspace.open(folder / "workspace", editable, source, lambda discovery: "", Description())
    strategy = Strategy([Suggestions(*sources)], lambda compute_class: {"batch": Prior(0.2, 0.02)}, ignore)
    identity = Author("alice").identity
    incumbent = Incumbent(identity.author, cached_runner, workspace, ignore)
    rng = random.Random(1)
    return Research(identity, cached_runner, incumbent, strategy, workspace, rng, lambda: 1_700_000_000_000, ignore)


async def test_what_is_being_tried_is_announced_to_peers(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research = research_on(cached_runner, tmp_path, "A = 1\n")
    async with cached_runner.ledger.leases.announced() as announced:
        record = await research.turn()
        assert record is not None
        assert isinstance(record.body, Experiment)
        with trio.fail_after(1):
            lease = await announced.receive()
    assert (lease.parent, lease.fingerprint) == (record.body.parent, record.body.fingerprint)
    assert LEASE_LEAST_SECONDS <= lease.seconds < 120


async def test_what_a_peer_is_trying_comes_last_but_is_tried(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research = research_on(cached_runner, tmp_path, "A = 1\n", "A = 2\n")
    lease = Lease(cached_runner.objective.source_id, fingerprint("A = 1\n"), 600)
    cached_runner.ledger.leases.hear("peer", lease, time.monotonic())
    tried = [await research.turn() for _ in range(3)]
    children = [r.body.child for r in tried if r is not None and isinstance(r.body, Experiment)]
    assert children == [hashlib.sha256(text.encode()).digest() for text in ("A = 2\n", "A = 1\n")]


async def test_constants_that_nothing_reads_any_more_are_idle(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research = research_on(cached_runner, tmp_path)
    edited = cached_runner.objective.source.replace("0.0, INIT_STD)", "0.0, 0.02)")
    assert (await research.context(research.incumbent.source())).idle == frozenset()
    assert (await research.context(cached_runner.ledger.put_blob(edited.encode()))).idle == {"INIT_STD"}


async def test_what_the_strategy_goes_by_is_stored_in_the_ledger(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research = research_on(cached_runner, tmp_path, "A = 1\n")
    assert await research.turn() is not None
    assert await research.turn() is None
    snapshot = open_snapshot(cached_runner.ledger.settings.strategy_snapshot or b"")
    assert [arm.category for arm in snapshot.arms] == ["batch"]
    assert snapshot.empty == frozenset(snapshot.arms)
    assert snapshot.machine.seconds_per_run > 0


async def test_a_peers_source_with_a_number_beyond_any_float_stops_nothing(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    ledger, mallory = cached_runner.ledger, Author("mallory")
    child = ledger.put_blob(f"A = 1{'0' * 400}\nB = 2\n".encode())
    claim = experiment("absurd", parent=cached_runner.objective.source_id, child=child, decision="no_gain")
    ledger.add(sign_record(mallory.identity, cached_runner.objective.id, 0, bytes(32), 1, claim), "a peer")
    research = research_on(cached_runner, tmp_path, "A = 1\n")
    assert await research.turn() is not None
    assert research.contexts.known_constants[child] == {"B": 2.0}


class Trainer:
    """A runner to which a source is worth what a table says, at every seed, and that writes down what it ran."""

    parallel_runs = 1

    def __init__(self, cached_runner: CachedRunner, values: dict[str, float]) -> None:
        self.pause_gate = cached_runner.runner.pause_gate
        self.values = values
        self.made: list[tuple[str, int]] = []
        self.to_beat: list[tuple[str, int, str | None]] = []
        self.has_memory = True

    async def run(self, text: str, seed: int, _: object = None, incumbent: str | None = None) -> Outcome:
        self.made.append((text, seed))
        self.to_beat.append((text, seed, incumbent))
        return outcome(self.values[text])

    def can_alternate(self) -> bool:
        return self.has_memory

    async def run_pair(self, parent: str, child: str, seed: int, *_: object) -> tuple[Outcome, Outcome]:
        return await self.run(parent, seed), await self.run(child, seed, None, parent)

    async def examine(self, text: str, *_: object) -> Outcome:
        return outcome(self.values[text])


async def test_a_chain_of_gains_beyond_chance_costs_three_runs_each_after_the_first(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """Each is screened at the seed at which its parent was run, and tried again where a record shows that seed."""
    baseline = cached_runner.objective.source
    texts = ["A = 1\n", "A = 2\n", "A = 3\n", "A = 4\n"]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    trainer = Trainer(cached_runner, dict(zip([baseline, *texts], (4.0, 3.5, 3.0, 2.9, 2.5), strict=True)))
    cached_runner.runner = cast(Runner, trainer)
    accepted_at: list[tuple[int, ...]] = []
    for text in texts:
        record = await research.turn()
        assert record is not None
        assert isinstance(record.body, Experiment)
        assert (record.body.decision, research.incumbent.source()) == (
            "improved",
            hashlib.sha256(text.encode()).digest(),
        )
        accepted_at.append(tuple(pair.seed for pair in record.body.pairs))
    seed = cached_runner.seeds.of_screening(cached_runner.objective.source_id)
    assert accepted_at[0] == (seed,)
    (second,) = accepted_at[1]
    assert trainer.made[:5] == [
        (baseline, seed),
        (texts[0], seed),
        (texts[1], seed),
        (texts[0], second),
        (texts[1], second),
    ]
    assert trainer.made[5] == (texts[2], second)
    assert {text for text, _ in trainer.made[6:-2]} == set(texts[1:3]), "a gain that may be chance takes several pairs"
    fresh = cached_runner.seeds.of_screening(hashlib.sha256(texts[2].encode()).digest())
    assert trainer.made[-2:] == [(texts[2], fresh), (texts[3], fresh)]
    assert accepted_at[3] == (fresh,)


class Forger(Trainer):
    """A runner on which every source but the objective's own does wonders at seeds that a record shows: its author has
    written what it will be asked there into it."""

    def __init__(self, cached_runner: CachedRunner) -> None:
        super().__init__(cached_runner, {})
        self.baseline, self.ledger = cached_runner.objective.source, cached_runner.ledger

    async def run(self, text: str, seed: int, *_: object, **__: object) -> Outcome:
        self.made.append((text, seed))
        shown = published_seeds(self.ledger.all_records())
        return outcome(1.0 if text != self.baseline and seed in shown else 4.0)


@pytest.mark.parametrize("proposer", [SUGGESTED, "recombine", "numeric", "llm"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_source_that_knows_the_text_of_every_published_seed_is_not_accepted(
    cached_runner: CachedRunner, tmp_path: Path, proposer: str, restarted: bool
) -> None:
    """The first record shows the seed of the screening; those after it pass it, and fresh pairs find them out."""
    texts = [f"A = {number}\n" for number in range(4)]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    for _ in texts:
        if restarted:
            research = unmeasured_research(cached_runner, tmp_path, *texts)
        research.strategy.proposers[0].name = proposer  # type: ignore[misc]
        cached_runner.runner = cast(Runner, Forger(cached_runner))
        record = await research.turn()
        assert record is not None
        assert isinstance(record.body, Experiment)
        assert record.body.decision == "no_gain"
    screenings, pairs = [], []
    for record in cached_runner.ledger.feed(Author("alice").key):
        assert isinstance(record.body, Experiment)
        assert record.body.screening is not None
        screenings.append(record.body.screening)
        pairs.append(record.body.pairs)
    assert len({screening.seed for screening in screenings}) == 1
    assert [screening.child.value for screening in screenings] == [4.0, 1.0, 1.0, 1.0]
    assert [len(made) for made in pairs] == [0, 1, 1, 1]
    assert research.incumbent.source() == cached_runner.objective.source_id


async def test_where_several_runs_are_made_at_once_such_a_source_is_not_accepted_either(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    texts = [f"A = {number}\n" for number in range(6)]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    forger = Forger(cached_runner)
    forger.parallel_runs = 3
    cached_runner.runner = cast(Runner, forger)
    for _ in texts:
        record = await research.turn()
        assert record is not None
        assert isinstance(record.body, Experiment)
        assert record.body.decision == "no_gain"


async def test_runs_that_were_made_together_are_an_alternated_pair_and_stay_one(cached_runner: CachedRunner) -> None:
    trainer = Trainer(cached_runner, {cached_runner.objective.source: 4.0, "A = 1\n": 3.0, "A = 2\n": 3.0})
    cached_runner.runner = cast(Runner, trainer)
    parent = cached_runner.objective.source_id
    child, other = (cached_runner.ledger.put_blob(text.encode()) for text in ("A = 1\n", "A = 2\n"))
    assert (await cached_runner.run_pair(parent, child, 1)).alternated
    assert (await cached_runner.run_pair(parent, child, 1)).alternated, "a turn that is taken again"
    assert len(trainer.made) == 2
    assert not (await cached_runner.run_pair(parent, other, 1)).alternated, "the parent's run was made before"
    assert len(trainer.made) == 3
    made_before(cached_runner, "A = 1\n", 2, outcome(3.0))
    assert not (await cached_runner.run_pair(parent, child, 2)).alternated
    trainer.has_memory = False
    assert not (await cached_runner.run_pair(parent, child, 3)).alternated
    seeds = [seed for text, seed in trainer.made if text == "A = 1\n"]
    beaten = [(text, seed, than) for text, seed, than in trainer.to_beat if text == "A = 1\n"]
    assert beaten == [("A = 1\n", seed, cached_runner.objective.source) for seed in seeds]


async def test_the_least_cost_of_a_source_is_that_of_its_cheapest_run_here(cached_runner: CachedRunner) -> None:
    source = cached_runner.objective.source_id
    assert cached_runner.least_cost(source) == math.inf
    for seed, cpu in enumerate((12.0, 8.0, 10.0)):
        made_before(cached_runner, cached_runner.objective.source, seed, replace(outcome(4.0), cpu_seconds=cpu))
    assert cached_runner.least_cost(source) == 8.0 / outcome(4.0).tokens
    cached_runner.objective = replace(cached_runner.objective, scale="small")
    assert cached_runner.least_cost(source) == math.inf


@pytest.mark.parametrize("route", ["child", "merge", "whole"])
def test_what_was_adopted_is_screened_at_a_seed_of_its_own(
    cached_runner: CachedRunner, tmp_path: Path, route: str
) -> None:
    """The seed of its local trial is secret, and the screening's seed is public: edits must not be fitted to either."""
    research = unmeasured_research(cached_runner, tmp_path)
    claim = Author("bob").write(experiment("a claim", parent=cached_runner.objective.source_id))
    found = replication(claim, effect=Effect(-0.2, 0.01, 1), by=Author("alice").identity)
    pair = Pair(77, Run(4.0, 10.0, 1000, (), None), Run(3.3, 10.0, 1000, (), None))
    taken = {"adopted": found.child, "route": route, "adoption": found.effect}
    adopted = structs.replace(found, base=found.parent, pairs=(pair,), **taken)
    cached_runner.ledger.append_own(Author("alice").identity, adopted, 1)
    assert research.incumbent.source() == found.child
    assert research.incumbent.screening_seed() == cached_runner.seeds.of_screening(found.child)


@pytest.mark.parametrize(
    ("decision", "pairs", "said"),
    [
        ("no_gain", 0, "dropped at screening"),
        ("no_gain", 1, "no gain"),
        ("unclear", 0, "deferred: other ideas are expected to gain more"),
        ("unclear", 1, "unclear, and not worth more runs"),
        ("unclear", 6, "unclear"),
    ],
)
def test_a_result_says_why_no_more_runs_were_made(
    cached_runner: CachedRunner, tmp_path: Path, decision: str, pairs: int, said: str
) -> None:
    research = research_on(cached_runner, tmp_path)
    results = []
    research.log = lambda event, **details: results.append(details["decision"])
    run = Run(3.5, 10.0, 524_288, (), None)
    shown = tuple(Pair(n, run, run) for n in range(pairs))
    body = structs.replace(experiment("smaller"), decision=decision, pairs=shown)
    trial = Trial(decision, body.effect, None, None, body.pairs)
    research._log_result(Author("alice").write(body), body, trial)
    assert results == [said]


async def test_peers_records_cannot_make_a_node_give_up_small_gains(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """The expected gain of other ideas is capped by what this node's own runs have gained, whatever records say."""
    ledger, identity = cached_runner.ledger, Author("alice").identity
    research = unmeasured_research(cached_runner, tmp_path)
    idea = Proposal("t", "batch", "r", "suggestions", "A = 1\n")
    promising = Candidate(idea, bytes(32), expected_gain_rate=1.0)
    common = replace(promising, expected_gain_rate=1e-4)
    assert research._opportunity_cost_of(promising) == 0.0
    gain = experiment("a gain", decision="improved", effect=Effect(-0.06, 0.01, 1))
    ledger.append_own(identity, gain, 1)
    assert research._opportunity_cost_of(promising) == pytest.approx(0.06 / runs_of(gain))
    assert research._opportunity_cost_of(common) == pytest.approx(1e-4 * research.machine().seconds_per_run)
    assert research._opportunity_cost_of(replace(promising, proposal=replace(idea, proposer=SUGGESTED))) == 0.0
    for number in range(RECENT_TRIALS):
        ledger.append_own(identity, experiment(f"nothing {number}", decision="no_gain"), 1)
    assert research._opportunity_cost_of(promising) == 0.0


async def test_an_idea_that_was_deferred_for_others_comes_again_when_these_bring_nothing(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """Its screening is not made again."""
    baseline, identity = cached_runner.objective.source, Author("alice").identity
    research = unmeasured_research(cached_runner, tmp_path, "A = 1\n")
    trainer = Trainer(cached_runner, {baseline: 4.0, "A = 1\n": 3.975})
    cached_runner.runner = cast(Runner, trainer)
    gain = experiment("a gain", decision="improved", effect=Effect(-0.6, 0.01, 1), parent=b"e" * 32, child=b"f" * 32)
    cached_runner.ledger.append_own(identity, gain, 1)
    research.incumbent.source = lambda: cached_runner.objective.source_id  # type: ignore[method-assign]
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert was_deferred(record.body)
    assert await research.turn() is None, "it was tried"
    for number in range(RECENT_TRIALS):
        cached_runner.ledger.append_own(identity, experiment(f"nothing {number}", decision="no_gain"), 1)
    made = len(trainer.made)
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert record.body.pairs
    assert len(trainer.made) == made + 2 * len(record.body.pairs)


async def test_a_gain_that_took_longer_than_the_parent_long_ago_is_followed_by_fresh_pairs(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    baseline = cached_runner.objective.source
    research = unmeasured_research(cached_runner, tmp_path, "A = 1\n")
    cached_runner.runner = cast(Runner, Trainer(cached_runner, {baseline: 4.0, "A = 1\n": 3.0}))
    seed = cached_runner.seeds.of_screening(cached_runner.objective.source_id)
    before = outcome(4.0)
    made_before(cached_runner, baseline, seed, replace(before, cpu_seconds=0.8 * before.cpu_seconds))
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert record.body.screening is not None
    assert [pair.seed == seed for pair in record.body.pairs] == [False]
    assert record.body.alternated == tuple(pair.seed for pair in record.body.pairs)


async def test_where_several_runs_are_made_at_once_as_many_ideas_are_screened_side_by_side(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    cached_runner.runner.parallel_runs = 3
    texts = [f"A = {number}\n" for number in range(4)]
    research = research_on(cached_runner, tmp_path, *texts)
    made_before(
        cached_runner, texts[1], cached_runner.seeds.of_screening(cached_runner.objective.source_id), outcome(3.49)
    )
    children = []
    for _ in range(5):
        record = await research.turn()
        if record is not None:
            assert isinstance(record.body, Experiment)
            children.append(record.body.child)
    assert len(set(children)) == len(children) == 4
    better = hashlib.sha256(texts[1].encode()).digest()
    assert children[2] == better, "after those that did no better, whose trials end at once"


async def test_no_more_ideas_are_begun_side_by_side_than_experiments_remain(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    cached_runner.runner.parallel_runs = 3
    research = research_on(cached_runner, tmp_path, *(f"A = {number}\n" for number in range(3)))
    assert await research.turn(remaining=1) is not None
    assert research.cached_runner.runs_under_way == []
    assert len(research.candidates.waiting) == 0


async def test_an_idea_stays_next_until_its_record_is_made(
    cached_runner: CachedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_runner.runner.parallel_runs = 2
    research = research_on(cached_runner, tmp_path, "A = 1\n", "A = 2\n")
    with monkeypatch.context() as full:
        full.setattr(cached_runner.ledger, "append_own", raising(OSError(errno.ENOSPC, "no space left")))
        with pytest.raises(OSError, match="no space left"):
            await research.turn()
    made = [await research.turn() for _ in range(3)]
    assert [record is not None for record in made] == [True, True, False]


async def test_a_node_that_was_killed_goes_on_with_the_idea_that_it_was_trying(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    cached_runner.ledger.settings.author = Author("alice").identity.author
    killed = research_on(cached_runner, tmp_path, "A = 1\n", "A = 2\n")
    parent = killed.incumbent.source()
    tried = await killed.candidates.next(parent, None)
    assert tried is not None
    started_again = research_on(cached_runner, tmp_path, "A = 2\n")  # and has another idea first now
    again = await started_again.candidates.next(parent, None)
    assert again is not None
    assert (again.proposal, again.fingerprint) == (tried.proposal, tried.fingerprint)
    record = await started_again.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert record.body.child == hashlib.sha256(b"A = 1\n").digest()
    # One that was killed after it had recorded the experiment, and before it forgot the idea.
    killed.candidates.waiting = [tried]
    killed.candidates._note()
    third = await research_on(cached_runner, tmp_path, "A = 2\n").candidates.next(parent, None)
    assert third is not None
    assert third.proposal.source == "A = 2\n"


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail
