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
from node.ledger.store import Added
from node.objective.edits import fingerprint
from node.objective.schema import Prior
from node.proposers.proposer import Context, Lesson, Proposal, runs_of
from node.proposers.strategy import SUGGESTED, Strategy
from node.proposers.strategy_snapshot import open_snapshot
from node.research.candidates import PATIENCE_RUNS, Candidate
from node.research.incumbent import Incumbent
from node.research.leased_runs import LEASE_LEAST_SECONDS, expected_run_seconds
from node.research.loop import Research
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.opportunity_cost import EXPECTED_RUNS, RECENT_TRIALS
from protocol.messages import Lease
from protocol.records import Effect, Experiment, Pair, Run, sign_record
from tests.node.conftest import ignore, made_before, outcome
from tests.node.records_for_tests import Author, experiment, published_seeds, refuters, replication


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
    workspace = Workspace.open(folder / "workspace", editable, source, lambda discovery: "", Description(), ignore)
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


async def test_what_peers_say_for_long_that_they_are_trying_is_tried_here_too(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research = research_on(cached_runner, tmp_path, "A = 1\n", "A = 2\n")
    lease, now = Lease(cached_runner.objective.source_id, fingerprint("A = 1\n"), 600), time.monotonic()
    patience = PATIENCE_RUNS * expected_run_seconds(cached_runner)
    cached_runner.ledger.leases.hear("one key", lease, now - patience - 1)
    cached_runner.ledger.leases.hear("another key", lease, now)
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert record.body.fingerprint == lease.fingerprint


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


async def test_gains_are_gone_on_from_after_one_run_and_claimed_on_a_fresh_seed(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """Each is screened at the seed at which its parent was run, which after a claim is the claim's own."""
    baseline = cached_runner.objective.source
    texts = ["A = 1\n", "A = 2\n"]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    trainer = Trainer(cached_runner, dict(zip([baseline, *texts], (4.0, 3.5, 3.0), strict=True)))
    cached_runner.runner = cast(Runner, trainer)
    research.recent_gain_per_run = lambda: 0.001  # type: ignore[method-assign]
    bet, claim, second, again = [await body_of(research) for _ in range(4)]
    first, fresh = cached_runner.seeds.of_screening(cached_runner.objective.source_id), claim.pairs[0].seed
    assert (bet.is_bet, bet.decision, len(bet.pairs), len(bet.chain)) == (True, "unclear", 0, 0)
    assert (claim.decision, claim.parent, claim.child) == ("improved", bet.parent, bet.child)
    assert [(step.category, round(step.mean, 3)) for step in claim.chain] == [("batch", -0.134)]
    assert claim.reason == "r Proven on seeds that did not choose it."
    assert (second.is_bet, again.decision, again.parent) == (True, "improved", claim.child)
    newest = again.pairs[0].seed
    assert trainer.made == [
        (baseline, first),
        (texts[0], first),
        (baseline, fresh),
        (texts[0], fresh),
        (texts[1], fresh),
        (texts[0], newest),
        (texts[1], newest),
    ]
    assert research.incumbent.screening_seed() == newest


async def test_bets_are_claimed_together_once_that_costs_little_beside_them(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    texts = ["A = 1\n", "A = 2\n", "A = 3\n"]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    values = dict(zip([cached_runner.objective.source, *texts], (4.0, 3.8, 3.6, 3.4), strict=True))
    cached_runner.runner = cast(Runner, Trainer(cached_runner, values))
    research.recent_gain_per_run = lambda: 0.005  # type: ignore[method-assign]
    bodies = [await body_of(research) for _ in range(4)]
    assert [body.is_bet for body in bodies] == [True, True, True, False]
    assert len({body.screening.seed for body in bodies[:3] if body.screening}) == 1, "the same luck in all of them"
    claim = bodies[3]
    assert (claim.decision, claim.parent) == ("improved", cached_runner.objective.source_id)
    assert claim.title == "t + t + t"
    assert claim.reason == "What 3 edits one after the other gained together, on seeds that chose none of them. r r r"
    assert claim.effect is not None
    assert math.fsum(step.mean for step in claim.chain) == pytest.approx(claim.effect.mean)


async def test_what_does_not_hold_on_fresh_seeds_is_cut_at_the_step_that_fails(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """A step that is good at the screening seed alone, after one that is good at all of them."""
    texts = ["A = 1\n", "A = 2\n"]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    first = cached_runner.seeds.of_screening(cached_runner.objective.source_id)

    class Lucky(Trainer):
        async def run(self, text: str, seed: int, _: object = None, incumbent: str | None = None) -> Outcome:
            return outcome(3.2 if text == texts[1] and seed == first else self.values[text])

    values = dict(zip([cached_runner.objective.source, *texts], (4.0, 3.97, 4.05), strict=True))
    cached_runner.runner = cast(Runner, Lucky(cached_runner, values))
    costs = iter((0.02, 0.02, 0.02, 0.02, 0.0))
    research.recent_gain_per_run = lambda: next(costs, 0.0)  # type: ignore[method-assign]
    bodies = [await body_of(research) for _ in range(3)]
    assert [body.is_bet for body in bodies[:2]] == [True, True]
    assert (bodies[2].decision, len(bodies[2].chain)) == ("no_gain", 1)
    assert (bodies[2].parent, research.incumbent.source()) == (bodies[0].child, bodies[0].child)
    assert (tmp_path / "workspace" / cached_runner.objective.editable[0]).read_text() == texts[0]


async def test_a_chain_that_others_doubt_is_verified_once_more_and_claimed_no_more(
    cached_runner: CachedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.node.records_for_tests.OBJECTIVE", cached_runner.objective.id)
    texts = ["A = 1\n"]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    values = dict(zip([cached_runner.objective.source, *texts], (4.0, 3.5), strict=True))
    cached_runner.runner = cast(Runner, Trainer(cached_runner, values))
    _, claim = [await research.turn() for _ in range(2)]
    assert claim is not None
    assert isinstance(claim.body, Experiment)
    ledger, identity = cached_runner.ledger, research.identity
    for refutation in refuters(claim, lambda body: ledger.append_own(identity, body, 1)):
        assert ledger.add(refutation, "a peer") is Added.NEW
    assert research.incumbent.source() == claim.body.child, "nobody's word makes it go back"
    again = await body_of(research)
    assert (again.decision, len(again.chain)) == ("unclear", 1)
    assert again.pairs[0].seed not in {pair.seed for pair in claim.body.pairs}, "on seeds that are not known yet"
    assert research.incumbent.source() == claim.body.child, "which its own runs bear out"
    assert await research.turn() is None


async def body_of(research: Research) -> Experiment:
    """What the next turn records."""
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    return record.body


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
@pytest.mark.parametrize("parallel_runs", [1, 3])
async def test_of_a_source_that_knows_the_text_of_every_published_seed_nothing_is_claimed(
    cached_runner: CachedRunner, tmp_path: Path, proposer: str, restarted: bool, parallel_runs: int
) -> None:
    """The first record shows the seed of the screening; the search may go on from those after it, until fresh pairs
    find them out."""
    texts = [f"A = {number}\n" for number in range(4)]
    research = unmeasured_research(cached_runner, tmp_path, *texts)
    forger = Forger(cached_runner)
    forger.parallel_runs = parallel_runs
    bodies: list[Experiment] = []
    for _ in range(8 * len(texts)):
        if restarted:
            research = unmeasured_research(cached_runner, tmp_path, *texts)
        research.strategy.proposers[0].name = proposer  # type: ignore[misc]
        cached_runner.runner = cast(Runner, forger)
        record = await research.turn()
        if record is None:
            break
        assert isinstance(record.body, Experiment)
        bodies.append(record.body)
    assert {body.decision for body in bodies if not body.is_bet} == {"no_gain"}
    assert len({body.child for body in bodies if not body.chain}) == len(texts)
    bets, cuts = [body for body in bodies if body.is_bet], [body for body in bodies if body.chain]
    assert bets
    assert cuts
    assert {cut.child for cut in cuts} <= {bet.child for bet in bets}
    assert research.incumbent.source() == cached_runner.objective.source_id


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


async def test_peers_records_cannot_make_a_node_give_up_small_gains(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """The expected gain of other ideas is capped by what this node's own runs have gained, whatever records say."""
    ledger, identity = cached_runner.ledger, Author("alice").identity
    research = unmeasured_research(cached_runner, tmp_path)
    idea = Proposal("t", "batch", "r", "suggestions", "A = 1\n")
    promising = Candidate(idea, bytes(32), expected_gain_rate=1.0)
    common = replace(promising, expected_gain_rate=1e-4)
    expected = research._opportunity_cost_of(promising)
    assert 0 < expected < 0.01, "what the objective expects of a run"
    gain = experiment("a gain", decision="improved", effect=Effect(-0.06, 0.01, 1))
    ledger.append_own(identity, gain, 1)
    own = (0.06 + EXPECTED_RUNS * expected) / (runs_of(gain) + EXPECTED_RUNS)
    assert research._opportunity_cost_of(promising) == pytest.approx(own, rel=0.01)
    assert research._opportunity_cost_of(common) == pytest.approx(1e-4 * research.machine().seconds_per_run)
    a_persons = replace(promising, proposal=replace(idea, proposer=SUGGESTED))
    assert research._opportunity_cost_of(a_persons) < research._opportunity_cost_of(promising) / 5
    for number in range(RECENT_TRIALS):
        ledger.append_own(identity, experiment(f"nothing {number}", decision="no_gain"), 1)
    assert research._opportunity_cost_of(promising) < expected / 5


async def test_an_idea_that_was_dropped_for_others_comes_again_when_these_bring_nothing(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    """Its screening is not made again."""
    baseline, identity = cached_runner.objective.source, Author("alice").identity
    research = unmeasured_research(cached_runner, tmp_path, "A = 1\n")
    trainer = Trainer(cached_runner, {baseline: 4.0, "A = 1\n": 3.99})
    cached_runner.runner = cast(Runner, trainer)
    gain = experiment("a gain", decision="improved", effect=Effect(-0.6, 0.01, 1), parent=b"e" * 32, child=b"f" * 32)
    cached_runner.ledger.append_own(identity, gain, 1)
    research.incumbent.source = lambda: cached_runner.objective.source_id  # type: ignore[method-assign]
    first = await body_of(research)
    assert (first.decision, first.pairs) == ("no_gain", ())
    assert await research.turn() is None, "it was tried"
    for number in range(RECENT_TRIALS):
        cached_runner.ledger.append_own(identity, experiment(f"nothing {number}", decision="no_gain"), 1)
    made = len(trainer.made)
    again = await body_of(research)
    assert again.is_bet or again.pairs, "which is looked at again"
    assert len(trainer.made) == made + 2 * len(again.pairs)


async def test_where_several_runs_are_made_at_once_as_many_ideas_are_screened_side_by_side(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    cached_runner.runner.parallel_runs = 3
    texts = [f"A = {number}\n" for number in range(4)]
    research = research_on(cached_runner, tmp_path, *texts)
    made_before(
        cached_runner, texts[1], cached_runner.seeds.of_screening(cached_runner.objective.source_id), outcome(3.4965)
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
