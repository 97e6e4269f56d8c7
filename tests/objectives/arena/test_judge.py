"""arena's judge: the same games at one seed, nothing to be read ahead, and no quotes that earn without trading well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.objective.load import load_objective
from protocol.records import Failure
from tests.objectives.arena.in_process import ARENA, BASELINE, Session, load_judge, scores

SEED = 2**52 + 3
JUDGE = load_judge()
QUOTES = """
import numpy as np

def answer(task, inputs):
    task.step = getattr(task, "step", -1) + 1
    index, held, left = inputs["index"], inputs["inventory"], inputs["steps_left"]
    middle = (inputs["house_bid"] + inputs["house_ask"]) / 2
    bid, ask = index - 0.2 * held - 5, index - 0.2 * held + 5
    bid_size, ask_size = np.full(512, 3.0), np.full(512, 3.0)
    {change}
    return {{"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size}}
"""


def quoting(change: str) -> str:
    """A plain maker, but for this change."""
    return QUOTES.format(change=change)


def test_a_run_repeats_and_another_seed_or_split_has_other_games() -> None:
    first = scores(BASELINE)
    assert scores(BASELINE) == first
    assert len({first["value"], scores(BASELINE, seed=2)["value"], scores(BASELINE, split="holdout")["value"]}) == 3
    assert 0.2 < first["value"] < 0.6
    assert 0 < first["error"] < 0.03


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("bid[7] = np.nan", "bid is not finite"),
        ("ask[:] = np.inf", "ask is not finite"),
        ("bid_size[3] = np.nan", "bid_size is not finite"),
        ("ask = ask + 1e9", "beyond 1e"),
        ("bid = bid - 1e300", "beyond 1e"),
        ("ask_size[0] = -1", "from 0 to 10"),
        ("bid_size[0] = 1e18", "from 0 to 10"),
        ("bid, ask = ask, bid", "cannot trade with itself"),
        ("bid[5] = ask[5]; ask[5] = np.floor(bid[5]); bid[5] = ask[5]", "cannot trade with itself"),
    ],
)
def test_quotes_that_are_none_end_the_run(change: str, why: str) -> None:
    with pytest.raises(JUDGE.Rejected, match=why):
        scores(quoting(change), judge=JUDGE)


def test_fractions_are_rounded_against_the_program() -> None:
    given = {"bid": [9.99], "ask": [10.01], "bid_size": [0.99], "ask_size": [9.99]}
    rounded = JUDGE.quotes({name: np.array(value) for name, value in given.items()})
    assert {name: value[0] for name, value in rounded.items()} == {
        "bid": 9.0, "ask": 11.0, "bid_size": 0.0, "ask_size": 9.0
    }  # fmt: skip


def test_what_a_step_shows_does_not_depend_on_what_comes_after() -> None:
    """The same games, but for everything that is drawn of steps after the hundredth."""
    shown = []
    for change in (0.0, 500.0):
        judge = load_judge()
        drawn = judge.Games

        def games(*given: object, change: float = change, drawn: type = drawn) -> object:
            made = drawn(*given)
            for later in (made.value[101:], made.index[101:], made.house.news[101:], made.buyers[100:]):
                later += change
            return made

        judge.Games = games
        session = Session(BASELINE, SEED)
        judge.judge(session, SEED, "val")
        shown.append(session.asked)
    same = [all((first[name] == other[name]).all() for name in first) for first, other in zip(*shown, strict=True)]
    assert same == [True] * 101 + [False] * 149


def test_what_is_shown_at_one_seed_says_nothing_of_another() -> None:
    first, other = Session(BASELINE, 1), Session(BASELINE, 2)
    for seed, session in ((1, first), (2, other)):
        JUDGE.judge(session, seed, "val")
    moves = [np.diff([step["index"] for step in session.asked], axis=0).ravel() for session in (first, other)]
    assert abs(np.corrcoef(moves)[0, 1]) < 0.02


def test_there_is_room_above_the_baseline() -> None:
    """Somebody who was told the value would earn far more."""
    dice = np.random.default_rng(1)
    games = JUDGE.Games(dice, JUDGE.Climate(dice), 128)
    market = JUDGE.Market(games)
    for value in games.value[1:]:
        centre, lots = value - 0.3 * market.inventory, np.full(128, 3.0)
        market.play({"bid": np.floor(centre - 3), "ask": np.ceil(centre + 3), "bid_size": lots, "ask_size": lots})
    assert np.log(market.closed() / JUDGE.CAPITAL).mean() > scores(BASELINE)["value"] + 0.1


# What tries to earn by the house or by chance, and not by making a market. Each against the same maker without it.
SCHEMES = {
    "doubles what loses": "losing = inputs['cash'] + held * index < 1000; centre = index + 4 * np.sign(held);"
    " bid = np.where(losing, centre - 6, bid); ask = np.where(losing, centre + 6, ask)",
    "holds as much as is allowed": "bid = index + 3; ask = index + 12; bid_size[:] = 10",
    "bets all that is left when it is nearly ruined": "poor = inputs['cash'] + held * index < 500;"
    " bid = np.where(poor, index + 4, bid); ask = np.where(poor, index + 14, ask); bid_size = np.where(poor, 10, 3)",
    "fills the house up, then takes it back": "push = left % 20 > 10; bid = np.where(push, middle - 12, middle + 8);"
    " ask = np.where(push, middle - 8, middle + 12); bid_size[:] = 10; ask_size[:] = 10",
    "lures the house to undercut": "up = left % 2 == 0; bid = np.where(up, middle + 2, middle - 3);"
    " ask = np.where(up, middle + 20, middle - 2); bid_size = np.where(up, 1, 0); ask_size = np.where(up, 0, 10)",
    "crosses the house in the middle": "bid = middle + 30; ask = middle + 31; ask_size[:] = 0",
    "quotes far beyond": "bid = index - 1e5; ask = index + 1e5",
}


@pytest.fixture(scope="module")
def plain() -> dict[str, float]:
    return scores(quoting("held = 0"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_scheme_earns_more_than_a_plain_market(scheme: str, plain: dict[str, float]) -> None:
    assert scores(quoting(SCHEMES[scheme]))["value"] < plain["value"]


def test_ruin_is_seen_and_priced(plain: dict[str, float]) -> None:
    found = scores(quoting(SCHEMES["doubles what loses"]))
    assert found["ruined"] > plain["ruined"] + 0.02
    assert found["worst_twentieth"] < plain["worst_twentieth"] - 0.5


def test_the_replay_is_of_the_first_game() -> None:
    session = Session(BASELINE, SEED)
    JUDGE.judge(session, SEED, "val")
    assert {name: sorted(rows) for name, rows in session.recorded.items()} == {
        "prices": ["ask", "bid", "house ask", "house bid", "value"],
        "inventory": ["lots"],
        "capital": ["ticks times lots"],
    }
    assert session.recorded["inventory"]["lots"][-2] == session.asked[-1]["inventory"][0]


@pytest.mark.sandbox
async def test_in_the_sandbox_a_maker_is_scored_and_who_leaves_or_holds_the_game_up_is_not(tmp_path: Path) -> None:
    objective = load_objective(ARENA, tmp_path)
    short = replace(objective, budget=replace(objective.budget, seconds=1.0))
    leaves = quoting("if task.step == 50: raise SystemExit")
    waits = quoting("while task.step == 50: pass")
    async with ProgramRunner(short, probe(), lambda *_, **__: None) as runner:
        made = await runner.run(objective.source, SEED, lambda _: None)
        gone = await runner.run(leaves, SEED, lambda _: None)
        late = await runner.run(waits, SEED, lambda _: None)
    assert made.failure is None, made.log_tail
    assert made.replay is not None
    assert (gone.value, gone.failure) == (None, Failure.EXCEPTION)
    assert (late.value, late.failure) == (None, Failure.TIMEOUT)
