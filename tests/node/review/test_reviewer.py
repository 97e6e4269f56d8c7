"""A node audits by training the same pair again, signs nothing of what only its own machine failed at, and leaves a
source that peers have refuted. It tries what is expected to gain something, and keeps what proves better until its own
report speaks against it.

The ledger is real, and so are the sandbox and the training of audits; in local trials and failures the runs come out as
the test says, and the peers' records are written here.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome, PairOutcome
from node.ledger.settings import Description
from node.ledger.store import Added, Ledger
from node.objective.schema import Objective
from node.proposers.strategy import Strategy
from node.research.incumbent import Incumbent
from node.research.loop import Research
from node.research.workspace import Entry, Workspace
from node.review.case import DRAWN_REPORT, TURNS_BEFORE_UNNEEDED_REPORT, ReviewTask, Turn
from node.review.reviewer import RETRY_MS, TRIES, TURN_LEAST_SECONDS, Postponed, Reviewer
from node.review.schedule import LocalTrial
from node.review.workbench import Workbench
from node.trials.bet_rule import least_bet
from node.trials.cached_runner import CachedRunner
from node.trials.gain_posterior import posterior
from node.trials.own_seeds import OwnSeeds
from node.trials.trial import MakePair
from protocol.audits import is_report
from protocol.draw import lot, pair_seed
from protocol.records import Audit, ChainStep, Effect, Experiment, Pair, Record, Replication
from tests.node.conftest import ignore, outcome
from tests.node.execution.small_objective import small_objective
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, published_seeds, refuters, replication


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory, layers: Layers) -> Objective:
    folder = tmp_path_factory.mktemp("tinylm")
    return small_objective(folder, whole_judge=False, tokens=4096)


class Silent:
    def show(self, *_: object) -> None:
        pass

    def clear(self) -> None:
        pass


@dataclass
class House:
    """The working half of a node, with what it logged."""

    name: str
    root: Path
    objective: Objective
    runner: Runner
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = Author(self.name).identity
        self.ledger = Ledger.open(self.root / self.name / "ledger.sqlite", OBJECTIVE)
        self.ledger.put_blob(self.objective.source.encode())
        self.workspace = Workspace.open(
            self.root / self.name / "workspace",
            self.objective.editable,
            self.objective.source,
            lambda _: "a discovery",
            Description(),
            ignore,
        )
        self.cached_runner = CachedRunner(
            self.objective,
            self.ledger,
            self.runner,
            OwnSeeds(self.identity, self.objective.id),
            "cpu",
            "a processor",
            "a platform",
            "",
            self.log,
            Silent(),
        )
        rng = random.Random(1)
        self.incumbent = Incumbent(self.identity.author, self.cached_runner, self.workspace, self.log)
        self.research = Research(
            self.identity,
            self.cached_runner,
            self.incumbent,
            Strategy([], self.objective.priors_for, self.log),
            self.workspace,
            rng,
            lambda: 1,
            self.log,
        )
        self.now_ms = 1
        self.reviewer = Reviewer(
            Workbench(self.identity, self.cached_runner, self.incumbent, self.workspace, lambda: self.now_ms, self.log)
        )

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [details for name, details in self.events if name == event]


async def test_an_audit_trains_the_pair_again_and_compares(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with Runner(objective, layers, tmp_path / "weights", lambda event, **_: None) as runner:
        carol, bob = House("carol", tmp_path, objective, runner), Author("bob")
        child = carol.ledger.put_blob((objective.source + "\n# the same by another name\n").encode())
        claim = Author("alice").write(experiment("a comment", parent=objective.source_id, child=child))
        body = structs.replace(
            replication(claim, by=bob.identity, effect=Effect(0.0, 0.01, 2)),
            device="a processor",
            platform="a platform",
        )

        async def audited(pair: Pair) -> Audit:
            report = bob.write(structs.replace(body, pairs=(pair, body.pairs[1])))
            record = await carol.reviewer.run_task(ReviewTask(claim, Turn(report, pair), (0, 0, 0.0, claim.id)))
            assert record is not None
            assert isinstance(record.body, Audit)
            return record.body

        found = (await audited(body.pairs[0])).pair  # invented
        assert (await audited(found)).pair == found  # and what the same seed gives (test_run) on the same platform
    assert None not in (found.parent.value, found.child.value)
    assert [details["agrees"] for details in carol.logged("audited")] == [False, True]
    assert carol.cached_runner.runs_made == 4  # once more for what differed; the second audit asked for the same runs


async def test_nobody_is_blamed_for_a_source_whose_runs_differ_every_time(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """Else a claim could be written that makes honest nodes find each other wrong."""
    values = itertools.count()

    def run(source: bytes, seed: int) -> Outcome:
        return outcome(4.0 + next(values) / 100)

    carol, bob = made_up(objective, layers, tmp_path, run), Author("bob")
    child = carol.ledger.put_blob((objective.source + "\n# random\n").encode())
    claim = Author("alice").write(experiment("random", parent=objective.source_id, child=child))
    report = bob.write(structs.replace(replication(claim, by=bob.identity), device="a processor"))
    assert isinstance(report.body, Replication)
    task = ReviewTask(claim, Turn(report, report.body.pairs[0]), (0, 0, 0.0, claim.id))
    assert await carol.reviewer.run_task(task) is None
    assert carol.ledger.feed(carol.identity.author) == []
    assert [details["title"] for details in carol.logged("claim does not repeat")] == ["random"]


async def test_what_this_machine_fails_at_is_tried_again_later_and_then_given_up_but_never_signed(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    failures: dict[bytes, str] = {}

    def run(source: bytes, seed: int) -> Outcome:
        failure = failures.get(source)
        return replace(outcome(None if failure else 4.0), failure=failure)

    carol, alice = made_up(objective, layers, tmp_path, run), Author("alice")
    slow, broken = carol.ledger.put_blob(b"slow"), carol.ledger.put_blob(b"broken")
    failures.update({slow: "timeout", broken: "exception"})

    def claim(title: str, child: bytes) -> None:
        record = alice.write(experiment(title, parent=objective.source_id, child=child))
        assert carol.ledger.add(record, "a peer") is Added.NEW

    claim("slow", slow)
    for _ in range(TRIES):
        task = carol.reviewer.next_task()
        assert task is not None
        assert await carol.reviewer.run_task(task) is None
        assert carol.reviewer.next_task() is None
        carol.now_ms += TRIES * RETRY_MS
    assert carol.reviewer.next_task() is None
    assert [details["failure"] for details in carol.logged("replication postponed")] == ["timeout"] * (TRIES - 1)
    assert [details["failure"] for details in carol.logged("replication given up")] == ["timeout"]
    assert carol.ledger.feed(carol.identity.author) == []

    claim("broken", broken)
    task = carol.reviewer.next_task()
    assert task is not None
    record = await carol.reviewer.run_task(task)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert record.body.decision == "failed"


def resting(name: str, root: Path, objective: Objective, layers: Layers) -> House:
    """A house whose rooms are not open: nothing is trained there."""
    return House(name, root, objective, Runner(objective, layers, root / "weights", lambda _, **__: None))


def made_up(objective: Objective, layers: Layers, tmp_path: Path, run: Callable[[bytes, int], Outcome]) -> House:
    """Carol with a machine whose runs come out so."""
    house = resting("carol", tmp_path, objective, layers)
    makes(house.cached_runner, run)
    return house


def makes(cached_runner: CachedRunner, run: Callable[[bytes, int], Outcome]) -> None:
    """Let the outcomes of this cached runner be these; the runs of its pairs take turns."""

    async def made(source: bytes, seed: int, incumbent: bytes | None = None) -> Outcome:
        return run(source, seed)

    cached_runner.run = made  # type: ignore[method-assign]
    cached_runner.run_anew = made  # type: ignore[method-assign]
    cached_runner.run_pair = pair_of_runs(run)  # type: ignore[method-assign]


def pair_of_runs(run: Callable[[bytes, int], Outcome]) -> MakePair:
    async def made(parent: bytes, child: bytes, seed: int) -> PairOutcome:
        return PairOutcome(run(parent, seed), run(child, seed), alternated=True)

    return made


async def no_bets() -> None:
    """There is nothing to prove before something is adopted."""


def no_run(source: bytes, seed: int) -> Outcome:
    raise AssertionError("nothing is run yet")


def trying(
    objective: Objective, layers: Layers, tmp_path: Path, run: Callable[[bytes, int], Outcome]
) -> tuple[House, Record]:
    """Carol on such a machine, and a claim of another source that she may try."""
    house = made_up(objective, layers, tmp_path, run)
    child = house.ledger.put_blob(b"another source")
    claim = Author("alice").write(experiment("smaller", objective.source_id, child, effect=Effect(-9, 1, 2)))
    assert house.ledger.add(claim, "alice") is Added.NEW
    return house, claim


def better_by(gain: float, objective: Objective) -> Callable[[bytes, int], Outcome]:
    """Runs in which every other source is better than the objective's by this much (in ln) at every seed."""
    return lambda source, seed: outcome(4.0 * math.exp(-gain if source != objective.source_id else 0.0))


def a_trial(claim: Record, supported: bool = True) -> LocalTrial:
    return LocalTrial(claim, 0.1, 1.0, supported, (0.0, claim.id))


async def test_what_proves_better_at_the_first_run_is_adopted_and_falls_by_an_own_report(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    runs = []

    def run(source: bytes, seed: int) -> Outcome:
        runs.append((source, seed))
        return outcome(4.0 if source == objective.source_id else 3.6)

    carol, claim = trying(objective, layers, tmp_path, run)
    assert isinstance(claim.body, Experiment)
    trial = carol.reviewer.next_local_trial(carol.research.opportunity_cost())
    assert trial is not None
    assert (trial.claim, trial.supported) == (claim, False)
    record = await carol.reviewer.try_here(trial, 0.0, no_bets)
    assert record is not None
    body = record.body
    assert isinstance(body, Replication)
    assert (body.pairs, body.effect, body.decision) == ((), None, "unclear")
    assert (body.adopted, body.route, body.base) == (claim.body.child, "child", objective.source_id)
    assert body.adoption is not None
    assert (round(body.adoption.mean, 3), body.adoption.n) == (-0.105, 1)
    assert carol.incumbent.source() == claim.body.child
    assert carol.logged("adopted")
    assert not is_report(record)
    assert [source for source, _ in runs] == [objective.source_id, claim.body.child]
    (seed,) = {seed for _, seed in runs}
    assert seed != carol.cached_runner.seeds.of_screening(objective.source_id)
    assert carol.incumbent.screening_seed() == seed, "its own source was run there"
    later = Author("bob").write(experiment("later", claim.body.child, carol.ledger.put_blob(b"a later source")))
    assert await carol.reviewer.try_here(a_trial(later), 0.0, no_bets) is not None
    assert seed not in {seed for _, seed in runs[2:]}, "by now others may know it"
    assert carol.reviewer.next_local_trial(carol.research.opportunity_cost()) is None

    for refutation in refuters(claim, lambda body: carol.ledger.append_own(carol.identity, body, 1)):
        assert carol.ledger.add(refutation, "a peer") is Added.NEW
    carol.incumbent.roll_back()
    assert carol.incumbent.source() == claim.body.child, "not before it has reported itself"
    task = carol.reviewer.next_task()
    assert task is not None
    assert (task.claim, task.audit, task.order[0]) == (claim, None, DRAWN_REPORT)
    contradiction = replication(claim, decision="contradicts", effect=Effect(0.02, 0.01, 2), by=carol.identity)
    carol.ledger.append_own(carol.identity, contradiction, 1)
    carol.incumbent.roll_back()
    assert carol.incumbent.source() == objective.source_id
    assert [details["title"] for details in carol.logged("rolled back")] == ["smaller"]


async def test_a_report_is_made_of_two_pairs_whatever_came_of_the_local_trial(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    carol, claim = trying(objective, layers, tmp_path, lambda source, seed: outcome(4.0))
    record = await carol.reviewer.try_here(a_trial(claim), 0.01, no_bets)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert (record.body.adopted, record.body.decision, record.body.pairs) == (None, "unclear", ())
    assert not is_report(record)
    assert carol.incumbent.source() == objective.source_id
    assert [details["found"] for details in carol.logged("not adopted")] == ["child: +0.0 % ± 1.0 (1 pair)"]

    assert carol.reviewer.next_task() is None
    carol.now_ms += int(1000 * TURNS_BEFORE_UNNEEDED_REPORT * TURN_LEAST_SECONDS)
    task = carol.reviewer.next_task()
    assert task is not None
    report = await carol.reviewer.run_task(task)
    assert report is not None
    assert isinstance(report.body, Replication)
    assert (len(report.body.pairs), report.body.decision, report.body.adopted) == (2, "contradicts", None)
    assert is_report(report)


@pytest.mark.parametrize("supported", [True, False])
async def test_what_nothing_speaks_for_yet_is_looked_at_again_where_that_is_worth_its_runs(
    objective: Objective, layers: Layers, tmp_path: Path, supported: bool
) -> None:
    runs: list[bytes] = []

    def run(source: bytes, seed: int) -> Outcome:
        runs.append(source)
        return better_by(0.012, objective)(source, seed)

    carol, claim = trying(objective, layers, tmp_path, run)
    assert isinstance(claim.body, Experiment)
    record = await carol.reviewer.try_here(a_trial(claim, supported), 0.00004, no_bets)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert record.body.adopted == claim.body.child
    assert (runs.count(claim.body.child) == 1) == supported


async def test_nothing_is_adopted_for_its_word_where_the_runs_here_show_no_gain(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """A little worse, and so well spoken for that enough of a gain would still be expected of it."""
    carol, claim = trying(objective, layers, tmp_path, better_by(-0.0003, objective))
    trial = LocalTrial(claim, 0.01, 1.0, True, (0.0, claim.id))
    statistics = carol.cached_runner.objective.statistics
    assert posterior(trial.prior, -0.0003, statistics.s0).mean > least_bet(statistics)
    record = await carol.reviewer.try_here(trial, 0.05, no_bets)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert record.body.adopted is None


@pytest.mark.parametrize("they_hold", [True, False])
async def test_bets_are_proven_before_something_is_adopted_on_top_of_them(
    objective: Objective, layers: Layers, tmp_path: Path, they_hold: bool
) -> None:
    """Where they do not hold, what was compared with them says nothing, and is tried again."""
    carol = made_up(objective, layers, tmp_path, no_run)
    source = carol.ledger.put_blob((objective.source + "\n# a bet\n").encode())
    bet = experiment("a bet", objective.source_id, source, decision="unclear")
    record = carol.ledger.append_own(carol.identity, structs.replace(bet, bet=True), 1)
    assert carol.incumbent.source() == source

    async def prove_bets() -> None:
        decision = "improved" if they_hold else "no_gain"
        told = experiment("a bet", objective.source_id, source, decision=decision)
        chain = (ChainStep(record.id, bet.category, -0.1),)
        carol.ledger.append_own(carol.identity, structs.replace(told, steps=chain), 1)

    child = carol.ledger.put_blob((objective.source + "\n# a peer's\n").encode())
    later = Author("bob").write(experiment("on top of it", source, child))
    assert carol.ledger.add(later, "bob") is Added.NEW
    carol.cached_runner.run_pair = pair_of_runs(lambda which, seed: outcome(3.0 if which == child else 4.0))  # type: ignore[method-assign]
    found = await carol.reviewer.try_here(a_trial(later), 0.0, prove_bets)
    if they_hold:
        assert found is not None
        assert carol.incumbent.source() == child
        assert [step.is_bet for step in carol.incumbent.steps()] == [False, False]
    else:
        assert found is None
        assert carol.incumbent.source() == objective.source_id


async def test_a_source_that_is_good_only_at_seeds_that_its_author_can_work_out_is_not_adopted(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    known: set[int] = set()

    def run(source: bytes, seed: int) -> Outcome:
        return outcome(2.0 if seed in known and source != objective.source_id else 4.0)

    carol, claim = trying(objective, layers, tmp_path, run)
    assert isinstance(claim.body, Experiment)
    salts = (b"", carol.identity.author, claim.id, claim.id + carol.identity.author, b"look" + carol.identity.author)
    source_ids = (objective.source_id, claim.body.child)
    known |= {pair_seed(a, b, n, salt) for a in source_ids for b in source_ids for n in range(9) for salt in salts}
    record = await carol.reviewer.try_here(a_trial(claim), 0.0, no_bets)
    assert record is not None
    assert isinstance(record.body, Replication)
    assert record.body.adopted is None


async def test_a_source_that_knows_the_text_of_every_published_seed_is_neither_adopted_nor_supported(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """Mallory reads all records before she writes a source. Only an audit repeats a seed that a record shows, and it
    counts for nothing else."""
    carol = made_up(objective, layers, tmp_path, no_run)
    alice, bob, mallory = (Author(name) for name in ("alice", "bob", "mallory"))
    good = carol.ledger.put_blob(b"a real gain")
    runs: list[int] = []

    def run(source: bytes, seed: int) -> Outcome:
        runs.append(seed)
        if source in (objective.source_id, good):
            return outcome(4.0 if source == objective.source_id else 3.0)
        return outcome(1.0 if seed in published_seeds(carol.ledger.all_records()) else 4.0)

    makes(carol.cached_runner, run)

    async def forge(title: str, parent: bytes) -> None:
        """A claim of a source that is written now: it is not adopted, and the report on it speaks against it."""
        before = carol.incumbent.source()
        child = carol.ledger.put_blob(title.encode())
        claim = mallory.write(experiment(title, parent, child, effect=Effect(-1, 0.01, 1)))
        assert carol.ledger.add(claim, "mallory") is Added.NEW
        assert await carol.reviewer.try_here(a_trial(claim), 0.0, no_bets) is not None
        assert carol.incumbent.source() == before
        report = await carol.reviewer.run_task(ReviewTask(claim, None, (0, 0, 0.0, claim.id)))
        assert report is not None
        assert isinstance(report.body, Replication)
        assert (report.body.decision, is_report(report)) == ("contradicts", True)

    await forge("before anything", objective.source_id)
    claim = alice.write(experiment("honest", objective.source_id, good, effect=Effect(-0.28, 0.01, 1)))
    assert carol.ledger.add(claim, "alice") is Added.NEW
    report = bob.write(replication(claim, effect=Effect(-0.28, 0.01, 2), by=bob.identity))
    assert carol.ledger.add(report, "bob") is Added.NEW
    assert isinstance(report.body, Replication)
    assert await carol.reviewer.try_here(a_trial(claim), 0.0, no_bets) is not None
    assert carol.incumbent.source() == good
    await carol.reviewer.run_task(ReviewTask(claim, None, (0, 0, 0.0, claim.id)))
    runs.clear()
    turn = Turn(report, report.body.pairs[0])
    await carol.reviewer.run_task(ReviewTask(claim, turn, (0, 0, 0.0, claim.id)))
    assert set(runs) == {report.body.pairs[0].seed}

    # Carol's own research makes the seed public at which what she adopted was run.
    seed, shown = carol.incumbent.screening_seed(), experiment("own", good, decision="no_gain", effect=None)
    assert seed not in published_seeds(carol.ledger.all_records())
    screening = structs.replace(shown.pairs[0], seed=seed)
    carol.ledger.append_own(carol.identity, structs.replace(shown, screening=screening, pairs=()), 1)
    assert seed in published_seeds(carol.ledger.all_records())
    await forge("after all that", good)
    await forge("of the first source", objective.source_id)
    assert carol.incumbent.source() == good


async def test_a_small_expected_gain_is_tried_when_own_ideas_are_expected_to_gain_less(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    carol = resting("carol", tmp_path, objective, layers)
    claim = experiment("small", objective.source_id, carol.ledger.put_blob(b"another"), effect=Effect(-0.02, 0.01, 2))
    assert carol.ledger.add(Author("alice").write(structs.replace(claim, category="batch")), "alice") is Added.NEW
    assert carol.reviewer.next_local_trial(0.03) is None
    assert carol.reviewer.next_local_trial(0.004) is not None


async def test_a_local_trial_that_this_machine_failed_is_made_again_later(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    def run(source: bytes, seed: int) -> Outcome:
        return outcome(4.0) if source == objective.source_id else replace(outcome(None), failure="timeout")

    carol, claim = trying(objective, layers, tmp_path, run)
    assert await carol.reviewer.try_here(a_trial(claim), 0.0, no_bets) is None
    assert [details["failure"] for details in carol.logged("local trial postponed")] == ["timeout"]
    assert carol.ledger.feed(carol.identity.author) == []


def test_a_claim_that_is_left_to_others_is_taken_up_when_they_had_their_time(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    house = resting("carol", tmp_path, objective, layers)
    peers = [Author(name) for name in ("bob", "dave", "eve", "frank", "grace")]
    for peer in peers:
        assert house.ledger.add(peer.write(experiment("tried", decision="no_gain")), peer.name) is Added.NEW
    house.reviewer.meet(frozenset(peer.key for peer in peers))
    child = house.ledger.put_blob(b"another source")
    claim = next(
        record
        for number in range(99)
        for record in [Author("alice").write(experiment(f"claim {number}", objective.source_id, child))]
        if lot(house.reviewer.bench.secret, record.id) * 6 >= 3
    )
    assert house.ledger.add(claim, "alice") is Added.NEW
    assert house.reviewer.next_task() is None
    house.now_ms += int(1000 * TURN_LEAST_SECONDS) - 1
    assert house.reviewer.next_task() is None
    house.now_ms += 1
    task = house.reviewer.next_task()
    assert task is not None
    assert task.claim == claim


def test_of_rivals_the_largest_claim_whose_source_is_here_comes_first_and_the_others_after_it(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    house = resting("carol", tmp_path, objective, layers)
    alice = Author("alice")

    def claim(title: str, gain: float, category: str, child: bytes | None = None) -> Record:
        child = child or house.ledger.put_blob(title.encode())
        effect = Effect(-gain, 0.01, 2)
        record = alice.write(experiment(title, objective.source_id, child, effect=effect, category=category))
        assert house.ledger.add(record, "alice") is Added.NEW
        return record

    def next_claim() -> Record:
        task = house.reviewer.next_task()
        assert task is not None
        return task.claim

    small = claim("small", 0.1, "batch")
    assert next_claim() == small
    claim("wild, and nobody has its source", 5.0, "batch", bytes(32))
    assert next_claim() == small
    other = claim("other", 0.05, "schedule")
    large = claim("large", 0.2, "batch")
    assert next_claim() == large
    house.reviewer.postponed[large.id] = Postponed(TRIES, math.inf)
    assert next_claim() == small
    house.reviewer.postponed = {}
    report = replication(large, by=house.identity)
    house.ledger.append_own(house.identity, structs.replace(report, decision="failed"), 1)
    assert next_claim() == small
    house.reviewer.postponed[small.id] = Postponed(TRIES, math.inf)
    assert next_claim() == other


def test_no_word_of_others_makes_a_node_roll_back(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    house = resting("alice", tmp_path, objective, layers)
    parent, texts = objective.source, [objective.source + f"\n# {number}\n" for number in (1, 2, 3)]
    claims = []
    for number, text in enumerate(texts):
        body = experiment(
            f"step {number}", house.ledger.put_blob(parent.encode()), house.ledger.put_blob(text.encode())
        )
        claims.append(house.ledger.append_own(house.identity, body, 1))
        house.workspace.add(Entry(claims[-1], body, text), parent)
        parent = text
    assert house.cached_runner.source_text(house.incumbent.source()) == texts[2]

    for record in refuters(claims[1], lambda body: house.ledger.append_own(house.identity, body, 1)):
        assert house.ledger.add(record, "a peer") is Added.NEW
    for _ in range(2):
        house.incumbent.roll_back()
    assert house.cached_runner.source_text(house.incumbent.source()) == texts[2]
    assert (tmp_path / "alice" / "workspace" / objective.editable[0]).read_text() == texts[2]
    assert house.logged("rolled back") == []
    assert [details["title"] for details in house.logged("claim doubted")] == ["step 1"]
