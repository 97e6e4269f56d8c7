"""Searches side by side: what their tables say, and the model of recorded runs from which searches are replayed."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from statistics import stdev

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]

from search_bench.model import Landscape, Model, checked, descriptions, features, fitted, rank_correlation  # noqa: E402
from search_bench.policies import POLICIES, World, gains  # noqa: E402
from search_bench.recording import Recorded, Table, drawn_constant, read_table, source_of  # noqa: E402
from search_bench.results import Claim, FreshRun, Kept, Point, Search, append_search, read_searches  # noqa: E402
from search_bench.tables import against, curve, percent, speed, spread, summary  # noqa: E402

from node.proposers.catalogue import Idea, read_ideas  # noqa: E402

TINYLM = REPOSITORY / "objectives" / "tinylm"
BASELINE = (TINYLM / "train.py").read_text("utf-8")
IDEAS = {idea.title: idea for idea in read_ideas(TINYLM / "ideas")}


# ---- what searches came to -------------------------------------------------------------------------------------------


def fresh(*values: float | None, cpu_seconds: float = 1.0, holdout: float = 1.0) -> tuple[FreshRun, ...]:
    """The runs of a source at fresh seeds with these values."""
    return tuple(
        FreshRun(value, None if value is None else holdout * value, 0.0 if value is None else cpu_seconds)
        for value in values
    )


def search(rule: str = "this node", cpu_seconds_per_run: float = 2.0) -> Search:
    """Two edits were kept: "a" is better, "b" is not better than "a"; "c" came when the runs were used up."""
    sources = ("base", "base", "a", "a", "b", "c")
    points = tuple(Point(runs, cpu_seconds_per_run * runs, runs, name) for runs, name in enumerate(sources))
    kept = tuple(Kept(*pair, 0.1, "an idea", "schedule", "catalogue") for pair in (("base", "a"), ("a", "b")))
    claims = (Claim("base", "a", 0.2), Claim("a", "b", 0.1))
    runs = {"base": fresh(4.0, 4.2), "a": fresh(3.0, 3.15), "b": fresh(3.1, 3.2), "c": fresh(2.0, 2.1)}
    return Search(rule, 1, 4, points, kept, claims, runs)


def test_a_gain_is_that_of_the_same_seeds() -> None:
    assert search().real_gain("base", "a") == pytest.approx(math.log(4 / 3))
    assert percent(search().real_gain("base", "a")) == pytest.approx(25)


def test_a_source_that_takes_twice_the_time_pays_for_it() -> None:
    slow, as_fast = (fresh(3.0, 3.0, cpu_seconds=seconds) for seconds in (2.0, 1.04))
    runs = {"base": fresh(4.0, 4.0), "slow": slow, "as fast": as_fast}
    found = Search("this node", 1, 4, (Point(0, 0, 0, "base"),), (), (), runs)
    assert found.real_gain("base", "slow") == pytest.approx(math.log(4 / 3) - 0.15 * math.log(2))
    assert found.real_gain("base", "as fast") == pytest.approx(math.log(4 / 3))
    assert found.holdout_gain("base", "slow") == pytest.approx(math.log(4 / 3))


def test_a_source_that_fails_at_a_fresh_seed_is_no_gain() -> None:
    runs = {"base": fresh(4.0, 4.0), "unstable": fresh(3.0, None)}
    found = Search("this node", 1, 4, (), (Kept("base", "unstable", 0.1, "", "", ""),), (), runs)
    assert found.no_gain == 1


def test_kept_edits_and_claims_that_are_no_better_are_counted() -> None:
    found = search()
    assert (found.no_gain, found.false_claims) == (1, 1)
    assert found.real_over_claimed == pytest.approx(found.real_gain("base", "b") / 0.3)


def test_what_is_compared_is_what_the_runs_and_the_seconds_had_bought() -> None:
    found = search()
    assert found.at_runs(4).incumbent == "b"
    assert found.at_cpu(9.9).incumbent == "b"
    assert found.at_cpu(10.0).incumbent == "c"
    assert found.at_cpu(-1).incumbent == "base"


def test_a_search_that_gets_there_in_half_the_seconds_is_twice_as_fast() -> None:
    slow, fast = search("keep if lower"), search(cpu_seconds_per_run=1.0)
    assert speed(slow, slow) == 1.0
    assert speed(fast, slow) == 0.5
    assert against(fast, slow)[2] == pytest.approx(percent(slow.real_gain("base", "c")))  # at equal CPU seconds


def test_a_curve_shows_the_gain_after_shares_of_the_seconds() -> None:
    found = search()
    of_a, of_b = (percent(found.real_gain("base", name)) for name in ("a", "b"))
    assert curve(found, found) == pytest.approx([0, 0, of_a, of_a, of_b])


def test_a_search_that_never_gets_there_has_no_speed() -> None:
    never = Search("this node", 1, 4, (Point(0, 0, 0, "base"),), (), (), {"base": fresh(4.0, 4.2)})
    assert speed(never, search("keep if lower")) is None
    assert summary([never], {1: search("keep if lower")})[-2] == "–, 1 not"


def test_a_spread_is_the_median_and_the_range() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2.0 (1.0 to 3.0)"
    assert spread([None, 1.0]) == "1.0"
    assert spread([None]) == "–"


def test_an_interrupted_file_of_searches_is_read_up_to_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    append_search(path, search())
    append_search(path, search("bare loop"))
    path.write_bytes(path.read_bytes()[:-9])
    assert read_searches(path) == [search()]


# ---- recorded runs ---------------------------------------------------------------------------------------------------


def test_a_recorded_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs = [Recorded(("Squared ReLU", "LR=0.003"), 1, 3.25, 0.5, (5.5, 4.25)), Recorded((), 2, None, 0.0)]
    table = Table.open(tmp_path)
    for run in runs:
        table.add(run)
    assert read_table(tmp_path) == runs


def test_a_table_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    Table.open(tmp_path).add(Recorded((), 1, 5.0, 0.5))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('[["Squ')
    Table.open(tmp_path).add(Recorded((), 2, 5.1, 0.5))
    assert [run.seed for run in read_table(tmp_path)] == [1, 2]


def test_a_drawn_constant_is_an_edit_of_the_source() -> None:
    dice = random.Random(1)
    drawn = [edit for edit in (drawn_constant(BASELINE, dice) for _ in range(20)) if edit is not None]
    assert drawn
    assert all(source_of([edit], IDEAS, BASELINE) != BASELINE for edit in drawn)


# ---- the model -------------------------------------------------------------------------------------------------------


def made_up_runs(effects: dict[str, float], noise: float, count: int) -> list[Recorded]:
    """Runs of random combinations of ideas whose effects on ln(value) add up, at two seeds each."""
    dice = random.Random(3)
    runs = []
    for number in range(count):
        edits = tuple(title for title in effects if number and dice.random() < 0.4)
        for seed in (1, 2):
            value = math.exp(1.5 + sum(effects[title] for title in edits) + 0.01 * seed + dice.gauss(0, noise))
            runs.append(Recorded(edits, seed, value, 1.0, tuple(value + 1 / part for part in range(1, 9))))
    return runs


def some_ideas(count: int) -> dict[str, Idea]:
    """Ideas that all change another definition, so that their effects can be told apart."""
    found: dict[str, Idea] = {}
    taken: set[str] = set()
    for title, idea in IDEAS.items():
        names = {each.name for each in idea.edits if hasattr(each, "name")}
        if len(idea.edits) == 1 and names and not names & taken and hasattr(idea.edits[0], "code"):
            found[title], taken = idea, taken | names
    return dict(list(found.items())[:count])


@pytest.fixture(scope="module")
def effects() -> dict[str, float]:
    return dict(zip(some_ideas(4), (-0.2, 0.1, -0.05, 0.0), strict=True))


@pytest.fixture(scope="module")
def model(effects: dict[str, float]) -> Model:
    runs = made_up_runs(effects, 0.005, 80)
    return fitted(runs, descriptions(runs, IDEAS, BASELINE), BASELINE)


def test_a_source_is_described_by_what_it_changed() -> None:
    assert features(BASELINE, BASELINE) == {}
    faster = source_of(["LR=0.002"], IDEAS, BASELINE)
    assert features(faster, BASELINE) == pytest.approx({"LR": math.log(2)})


def test_the_model_finds_the_effects_of_edits(model: Model, effects: dict[str, float]) -> None:
    landscape = Landscape(model, 1)
    for title, effect in effects.items():
        source = source_of([title], IDEAS, BASELINE)
        assert landscape.gain(source) == pytest.approx(-effect, abs=0.02)


def test_the_model_measures_the_noise_of_seeds(model: Model) -> None:
    assert model.seed_error[0, 0] == pytest.approx(0.005, rel=0.4)


def test_the_model_predicts_sources_that_it_was_not_fitted_to(effects: dict[str, float]) -> None:
    runs = made_up_runs(effects, 0.005, 80)
    check = checked(runs, descriptions(runs, IDEAS, BASELINE), BASELINE)
    assert check.explained > 0.9
    assert check.rank > 0.8


def test_the_same_source_and_seed_give_the_same_run(model: Model) -> None:
    assert Landscape(model, 7).run(BASELINE, 3) == Landscape(model, 7).run(BASELINE, 3)
    assert Landscape(model, 7).run(BASELINE, 3) != Landscape(model, 7).run(BASELINE, 4)


def test_an_edit_follows_its_parent_at_a_seed(model: Model, effects: dict[str, float]) -> None:
    landscape, (first, *_, last) = Landscape(model, 1), effects
    parent, child = (source_of(edits, IDEAS, BASELINE) for edits in ([first], [first, last]))
    alone = [math.log(landscape.run(child, seed).value or 0) for seed in range(200)]
    paired = [value - math.log(landscape.run(parent, seed).value or 0) for seed, value in enumerate(alone)]
    assert stdev(paired) < 0.8 * stdev(alone)


def test_a_rank_correlation_is_of_the_order_alone() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 10.0, 11.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_gets_somewhere(policy: str, model: Model, effects: dict[str, float]) -> None:
    ideas = {title: IDEAS[title] for title in effects}
    found = gains(policy, World(Landscape(model, 1), ideas, random.Random(1)), [5, 20])
    assert found[-1] > 0.1
