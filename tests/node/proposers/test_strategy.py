"""The strategy tries what is expected to gain most per second of this machine and learns from every record."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node.execution.parsing.parser import SourceParser
from node.objective.edits import fingerprint
from node.objective.load import load_objective
from node.objective.schema import Prior
from node.proposers.beliefs import Arm, Belief, Machine, beliefs, chances, closed, ranking
from node.proposers.catalogue import Catalogue, read_ideas
from node.proposers.numeric import Numeric
from node.proposers.prompt import ResearchBrief, brief, question
from node.proposers.proposer import Context, Lesson, Proposal, TriedResult
from node.proposers.reopening import Distance
from node.proposers.strategy import Strategy
from protocol.metric import LOSS, Direction, Metric, Scale

TINYLM = Path(__file__).parents[3] / "objectives" / "tinylm"
SOURCE, HERE, ELSEWHERE = "A = 0", b"h" * 32, b"e" * 32
MACHINE = Machine("laptop-cpu", 10.0, 0.01, 6, {})
PRIORS = {"a": Prior(0.3, 0.05), "b": Prior(0.3, 0.05)}


def result(
    category: str = "a",
    effect: float | None = 0.0,
    parent: bytes = HERE,
    compute_class: str = "laptop-cpu",
    proposer: str = "catalogue",
    runs: int = 1,
    cost_ratio: float | None = 1.0,
) -> TriedResult:
    decision = "failed" if effect is None else "improved" if effect < 0 else "no_gain"
    child = b"c" * 32
    return TriedResult(parent, child, category, "t", proposer, effect, decision, {}, compute_class, runs, cost_ratio)


def belief(
    results: Sequence[TriedResult] = (), present_gain: float = 0.0, machine: Machine = MACHINE, arm: str = "a"
) -> Belief:
    return beliefs([Arm(arm, "catalogue")], PRIORS, results, HERE, {arm: present_gain}, machine)[0]


def of_a_stranger(effect: float) -> TriedResult:
    return replace(result(effect=effect), proven=False)


# ---- what is believed ------------------------------------------------------------------------------------------------


def test_before_anything_was_tried_the_belief_is_the_prior() -> None:
    believed = belief()
    assert believed.chance == pytest.approx(0.3)
    assert believed.gain == pytest.approx(0.05)
    assert 0.1 < believed.deviation < 0.25
    assert believed.tried == believed.kept == 0


def test_a_result_counts_less_from_another_class_an_old_parent_or_another_proposer() -> None:
    def weight(**how: object) -> float:
        return belief([result(**how)]).failures - belief().failures  # type: ignore[arg-type]

    assert weight() == pytest.approx(1.0)
    assert weight(compute_class="datacentre-gpu") == pytest.approx(0.3)
    assert weight(parent=ELSEWHERE) == pytest.approx(0.5)
    assert weight(parent=ELSEWHERE, compute_class="datacentre-gpu") == pytest.approx(0.15)
    assert weight(proposer="llm") == pytest.approx(0.3)
    assert weight(category="b") == 0


def test_gains_are_learnt_and_shrunk_towards_the_prior() -> None:
    one, many = belief([result(effect=-0.2)]), belief([result(effect=-0.2)] * 20)
    assert 0.05 < one.gain < many.gain < 0.2
    assert many.chance > one.chance > belief().chance
    assert (many.tried, many.kept) == (20, 20)


def test_a_crash_is_a_failure() -> None:
    assert belief([result(effect=None)]).failures == belief([result(effect=0.01)]).failures


def test_a_result_is_a_success_by_its_chance_to_be_one() -> None:
    def added(effect: float, error: float) -> float:
        return belief([replace(result(effect=effect), error=error)]).successes - belief().successes

    assert added(-0.05, 0.002) > 0.99
    assert added(-0.01, 0.01) == pytest.approx(0.4, abs=0.15)
    assert added(0.05, 0.002) < 0.01
    assert added(-0.05, 0.002) > added(-0.05, 0.05) > added(0.0, 0.05)


def test_a_gain_teaches_by_what_is_left_of_it_beside_its_error() -> None:
    sure, unsure = (belief([replace(result(effect=-0.2), error=error)] * 5).gain for error in (0.01, 0.1))
    assert 0.05 < unsure < sure < 0.2


def test_an_unproven_bet_is_a_success_like_a_claim() -> None:
    bet = replace(result(effect=-0.05), decision="unclear", bet=True, error=0.005)
    assert belief([bet]).successes > belief().successes + 0.95
    assert belief([bet]).kept == 1


def test_a_run_that_was_ended_early_is_a_failure_that_costs_less_than_a_run() -> None:
    early = replace(result(effect=None), decision="no_gain", ended_early=True, runs=0.5)
    assert belief([early]).failures == belief([result(effect=None)]).failures
    assert belief([early]).seconds < belief([result(effect=None)]).seconds


def test_a_gain_the_source_already_has_is_not_expected_again() -> None:
    found = result(effect=-0.2, parent=ELSEWHERE)
    fresh, gained = belief([found]), belief([found], present_gain=0.2)
    assert fresh.chance > belief().chance
    assert gained.chance < 0.05
    assert gained.gain == pytest.approx(0.05)
    assert belief([found], present_gain=0.15).gain == pytest.approx(0.05)  # what it is better by is what counts
    assert belief([found], present_gain=0.15).successes > belief(present_gain=0.15).successes


def test_a_trial_costs_its_runs_and_the_thinking_on_this_machine() -> None:
    cheap = belief([result(runs=1)] * 20)
    expensive = belief([result(runs=9)] * 20)
    slow = belief([result(runs=1, cost_ratio=2.0)] * 20)
    thoughtful = belief([result(runs=1)] * 20, machine=replace(MACHINE, thinking={"catalogue": 30.0}))
    assert expensive.seconds > 4 * cheap.seconds
    assert 1.6 * cheap.seconds < slow.seconds < 2 * cheap.seconds
    assert thoughtful.seconds == pytest.approx(cheap.seconds + 30)
    assert belief(machine=replace(MACHINE, seconds_per_run=1.0)).seconds == pytest.approx(belief().seconds / 10)


def test_small_gains_in_much_noise_are_expected_to_take_more_runs() -> None:
    assert belief(machine=replace(MACHINE, noise=0.05)).runs > belief().runs


def test_one_wild_claim_cannot_make_an_arm_irresistible() -> None:
    wild = [result(effect=-100.0, cost_ratio=1e-9, proposer="llm")]
    assert belief(wild).gain < 0.3
    assert belief(wild).seconds > belief().seconds / 3


# ---- what is chosen --------------------------------------------------------------------------------------------------


def test_however_many_strangers_say_that_a_category_is_worthless_it_is_not_closed_by_that() -> None:
    told = [of_a_stranger(0.1) for _ in range(10_000)]
    few, many = belief(told[:4]), belief(told)
    assert many.failures == pytest.approx(few.failures)
    assert many.chance > belief().chance / 3
    assert not closed(beliefs([Arm("a", "catalogue"), Arm("b", "catalogue")], PRIORS, told, HERE, {}, MACHINE))
    own = [*told, *(result(effect=-0.05) for _ in range(10))]
    assert belief(own).chance > belief().chance, "what this node found outweighs it"


def test_however_many_strangers_praise_a_category_it_soon_shows_that_they_lie() -> None:
    praised = [of_a_stranger(-0.5) for _ in range(10_000)]
    assert belief(praised).gain <= 2 * belief().gain
    in_vain = [result(effect=0.01) for _ in range(20)]
    assert belief([*praised, *in_vain]).score < 1.25 * belief().score


def test_a_laptop_and_a_fast_gpu_choose_differently_from_the_same_evidence() -> None:
    """Thinking is expensive beside a run of a second, and cheap beside one of half a minute."""
    arms = [Arm("a", "llm"), Arm("b", "numeric")]
    priors = {"a": Prior(0.3, 0.03), "b": Prior(0.3, 0.01)}
    evidence = [result("b", proposer="numeric", runs=7)] * 4 + [result("a", proposer="llm", runs=3)] * 4
    thinking = {"llm": 20.0, "numeric": 0.3}

    def share(compute_class: str, seconds: float) -> float:
        machine = Machine(compute_class, seconds, 0.01, 6, thinking)
        return chances(beliefs(arms, priors, evidence, HERE, {}, machine), random.Random(1))[arms[0]]

    laptop, gpu = share("laptop-cpu", 30.0), share("datacentre-gpu", 1.0)
    assert laptop > gpu + 0.15


def test_an_arm_far_below_the_best_is_closed_and_yet_never_given_up() -> None:
    results = [result("a", -0.2)] * 30 + [result("b")] * 200
    believed = beliefs([Arm("a", "catalogue"), Arm("b", "catalogue")], PRIORS, results, HERE, {}, MACHINE)
    assert closed(believed) == {Arm("b", "catalogue")}
    rng = random.Random(1)
    orders = [ranking(believed, rng) for _ in range(4000)]
    assert all(len(order) == 2 for order in orders), "it is asked when the other has no idea"
    assert 0.005 < sum(order[0].category == "b" for order in orders) / 4000 < 0.015


def test_a_closed_arm_is_open_again_after_a_big_change() -> None:
    failures = [result("b", parent=ELSEWHERE)] * 80

    def shut(distance: Distance) -> frozenset[Arm]:
        arms, results = [Arm("a", "catalogue"), Arm("b", "catalogue")], [result("a", -0.2)] * 5 + failures
        return closed(beliefs(arms, PRIORS, results, HERE, {}, MACHINE, {ELSEWHERE: distance}))

    assert shut(Distance(1, 0.01))
    assert not shut(Distance(1, 0.5))


def test_a_category_that_many_peers_are_trying_is_tried_less_often() -> None:
    believed = beliefs([Arm("a", "catalogue"), Arm("b", "catalogue")], PRIORS, [], HERE, {}, MACHINE)

    def share(peers_by_category: dict[str, int]) -> float:
        rng = random.Random(1)
        return sum(ranking(believed, rng, peers_by_category)[0].category == "a" for _ in range(2000)) / 2000

    assert share({}) > share({"a": 1}) + 0.05 > share({"a": 4}) + 0.15
    assert share({"b": 4}) > share({})
    assert share({"a": 10**6}) > 0.05, "whatever peers say"


def test_chances_are_those_with_which_arms_are_asked_first() -> None:
    believed = beliefs([Arm("a", "catalogue"), Arm("b", "catalogue")], PRIORS, [result("b")] * 3, HERE, {}, MACHINE)
    rng = random.Random(1)
    first = Counter(ranking(believed, rng)[0] for _ in range(3000))
    estimated = chances(believed, random.Random(2))
    assert sum(estimated.values()) == pytest.approx(1.0)
    assert estimated[Arm("a", "catalogue")] == pytest.approx(first[Arm("a", "catalogue")] / 3000, abs=0.04)
    assert chances([], rng) == {}


# ---- which proposer it asks ------------------------------------------------------------------------------------------


class Scripted:
    """A proposer with a list of ideas; one that is an exception is raised."""

    def __init__(
        self, name: str, *ideas: str | Exception | None, categories: Sequence[str] = ("a",), costly: bool = False
    ) -> None:
        self.name = name
        self.costly = costly
        self.categories = categories
        self.asked: list[str | None] = []
        self._ideas = list(ideas)
        self.learnt: list[tuple[str, str]] = []

    async def propose(self, context: Context) -> Proposal | None:
        self.asked.append(context.category)
        following = self._ideas.pop(0) if self._ideas else None
        if isinstance(following, Exception):
            raise following
        return Proposal(following, "c", "r", self.name, following) if following is not None else None

    def learn(self, proposal: Proposal, lesson: Lesson) -> None:
        self.learnt.append((proposal.title, lesson.decision))


def ignore(*_: object, **__: object) -> None:
    pass


def strategy_of(*proposers: Scripted) -> Strategy:
    return Strategy(list(proposers), lambda compute_class: PRIORS, ignore)


def context(tried: Sequence[str] = (), results: Sequence[TriedResult] = (), seed: int = 1) -> Context:
    known = frozenset(fingerprint(text) for text in (SOURCE, *tried))
    return Context(SOURCE, HERE, known, tuple(results), random.Random(seed), SourceParser())


async def test_an_arm_without_an_idea_is_passed_over_and_known_to_be_empty() -> None:
    strategy = strategy_of(Scripted("one", *[None] * 3, categories=("a", "b", "c")), Scripted("two", "A = 1"))
    proposal = await strategy.propose(context(), MACHINE)
    assert proposal is not None
    assert proposal.proposer == "two"
    assert await strategy.propose(context(), MACHINE) is None
    assert len(strategy.empty) == 4


async def test_a_recheck_is_of_an_idea_that_others_say_they_tried_whatever_is_believed_of_its_arm() -> None:
    class Knowing(Scripted):
        def to_recheck(self, context: Context) -> set[str]:
            return {"b"} if context.hearsay else set()

    for seed in range(6):
        knowing = Knowing("known", *["A = 1"] * 9, categories=("a", "b"))
        strategy = strategy_of(Scripted("other", *["A = 2"] * 9), knowing)
        asked = replace(context(seed=seed), hearsay=frozenset({"said"}), recheck=True)
        assert await strategy.propose(asked, MACHINE) is not None
        assert knowing.asked == ["b"]


async def test_a_proposer_that_waits_for_others_ideas_is_known_to_be_empty_before_its_turn() -> None:
    class Waiting(Scripted):
        def has_stock(self, context: Context) -> bool:
            return bool(self._ideas)

    for ideas, is_empty in ([], True), (["A = 2"], False):
        strategy = strategy_of(Scripted("one", *["A = 1"] * 9), Waiting("suggested", *ideas, categories=()))
        for seed in range(3):
            waiting = strategy.proposers[1]
            assert isinstance(waiting, Waiting)
            waiting._ideas = list(ideas)
            await strategy.propose(context(seed=seed), MACHINE)
            assert (Arm("whatever", "suggested") in strategy.empty) == is_empty


async def test_a_proposer_that_fails_is_logged_and_asked_no_more_this_turn() -> None:
    logged = []
    broken = Scripted("broken", *[ValueError("no")] * 9, categories=("a", "b", "c"))
    strategy = Strategy(
        [broken, Scripted("well", "A = 1")],
        lambda compute_class: PRIORS,
        lambda event, **details: logged.append((event, details["proposer"], details["why"])),
    )
    proposals = [await strategy.propose(context(seed=seed), MACHINE) for seed in range(8)]
    assert [p.proposer for p in proposals if p] == ["well"]
    assert set(logged) == {("proposer failed", "broken", "ValueError: no")}
    assert len(broken.asked) <= 8


def test_a_prompt_says_which_direction_is_better_and_in_what_gains_are() -> None:
    metric = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.0)
    task = ResearchBrief("o", "s", "return", metric, ("train.py",), "", ("batch",), "laptop-cpu", "a processor")
    said = question(task, context(results=[result("batch", effect=-0.08)]), ())[-1]["content"]
    assert "Metric: return, higher is better. Gains are in units of the metric." in said
    assert '"+0.2"' in said


def test_a_prompt_names_the_category_that_is_asked_for() -> None:
    task = ResearchBrief("o", "s", "m", LOSS, ("train.py",), "", ("batch", "optimizer"), "laptop-cpu", "a processor")
    asked_for = question(task, replace(context(), category="batch"), ())[-1]["content"]
    assert asked_for.endswith('Propose the next edit, in the category "batch".')
    assert question(task, context(), ())[-1]["content"].endswith("Propose the next edit.")
    asked = brief(task, replace(context(), category="batch"), (), "", "words.json")
    assert 'one idea, in the category "batch", so' in asked


async def test_a_costly_proposer_is_asked_once_for_each_hypothesis() -> None:
    model = Scripted("llm", categories=("a", "b", "c"), costly=True)
    strategy = strategy_of(model, Scripted("free", categories=("a", "b")))
    for seed in range(5):
        assert await strategy.propose(context(seed=seed), MACHINE) is None
    assert len(model.asked) == 5


async def test_an_answer_that_a_peer_is_trying_is_postponed_and_not_paid_for_twice() -> None:
    model = Scripted("llm", "A = 1", "A = 2", costly=True)
    strategy = strategy_of(model, Scripted("well", *[None, "A = 3", None] * 9))
    leased = replace(context(), leased=frozenset({fingerprint("A = 1")}))
    first = await strategy.propose(leased, MACHINE)  # nobody has another idea, so it is tried all the same
    assert first is not None
    assert (first.source, len(model.asked)) == ("A = 1", 1)

    model = Scripted("llm", "A = 1", "A = 2", costly=True)
    strategy = strategy_of(model, Scripted("well", *["A = 3"] * 9))
    while not model.asked:
        other = await strategy.propose(leased, MACHINE)
        assert other is not None
        assert other.source == "A = 3"
    strategy = replace(strategy, proposers=[model])
    later = await strategy.propose(context(), MACHINE)  # the lease is over
    assert later is not None
    assert (later.source, len(model.asked)) == ("A = 1", 1)
    tried = await strategy.propose(context(tried=["A = 1"]), MACHINE)
    assert tried is not None
    assert (tried.source, len(model.asked)) == ("A = 2", 2)


async def test_a_proposer_without_categories_is_asked_for_none_and_its_ideas_keep_theirs() -> None:
    suggested = Scripted("suggested", "A = 1", categories=())
    strategy = strategy_of(suggested)
    proposal = await strategy.propose(context(), MACHINE)
    assert proposal is not None
    assert (proposal.category, suggested.asked) == ("c", [None])
    results = [result("c", -0.1, proposer="suggested"), result("a", proposer="suggested")]
    believed = beliefs(strategy.arms(), strategy.priors("any"), results, HERE, {}, MACHINE)[0]
    assert (believed.tried, believed.kept) == (2, 1)
    assert believed.chance == pytest.approx(0.5, abs=0.01)


async def test_a_proposer_that_repeats_itself_is_passed_over() -> None:
    strategy = strategy_of(Scripted("forgetful", SOURCE), Scripted("well", "A = 1"))
    proposal = await strategy.propose(context(), MACHINE)
    assert proposal is not None
    assert proposal.proposer == "well"


async def test_an_idea_is_filed_under_what_was_asked_for_unless_its_proposer_has_that_category() -> None:
    strategy = strategy_of(Scripted("one", "A = 1", categories=("b",)), Scripted("two", "A = 2", categories=("c",)))
    found = [await strategy.propose(context(seed=seed), MACHINE) for seed in range(2)]
    assert {(p.proposer, p.category) for p in found if p} == {("one", "b"), ("two", "c")}


async def test_only_the_proposer_of_an_idea_learns_what_became_of_it() -> None:
    one, two = Scripted("one", "A = 1"), Scripted("two", "A = 2")
    strategy = strategy_of(one, two)
    proposal = Proposal("t", "a", "r", "one", "A = 1")
    strategy.learn(proposal, Lesson("failed", None, "exception", "ZeroDivisionError"))
    assert one.learnt == [("t", "failed")]
    assert not two.learnt


@pytest.mark.parametrize("seed", range(1, 9))
async def test_a_fresh_node_on_tinylm_begins_with_initialisation(seed: int) -> None:
    """By its priors alone: within the first three trials."""
    objective = load_objective(TINYLM, TINYLM)
    strategy = Strategy([Catalogue(read_ideas(TINYLM / "ideas")), Numeric()], objective.priors_for, ignore)
    rng, tried, results = random.Random(seed), {fingerprint(objective.source)}, list[TriedResult]()
    for _ in range(3):
        now = Context(objective.source, HERE, frozenset(tried), tuple(results), rng, SourceParser())
        proposal = await strategy.propose(now, MACHINE)
        assert proposal is not None
        if proposal.category == "initialisation":
            break
        tried.add(fingerprint(proposal.source))
        results.append(result(proposal.category, proposer=proposal.proposer))
    assert proposal.category == "initialisation"
