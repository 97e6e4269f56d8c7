"""The judge believes numbers that hold, asks by bytes, and shows no target anywhere."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.objectives.nanolm.objective_files import NANOLM, load

SEED = 2**62 + 3
CONTEXT, WINDOWS, EARLY = 128, 1024, 128  # at the scale "cpu"

Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Answer = Callable[[Tokens], Logits]

judge = load("judge")
BYTES = np.frombuffer((NANOLM / "token_bytes.u8").read_bytes(), dtype=np.uint8)
KNOWN = np.arange(1000, 1008)  # the only tokens of TEXT
TEXT = np.random.default_rng(1).choice(KNOWN, size=300_000).astype("<u2")
NUMBERED = (np.arange(300_000) % 8192).astype("<u2")  # tells where in the text a window is


class Rooms:
    """One room that answers with a function of the tokens; it notes which weights were asked and what was sent."""

    def __init__(self, answer: Answer, steps: tuple[int, ...] = (), source_growth: int = 0, scale: str = "cpu") -> None:
        self.steps, self.weights = steps, len(steps) + 1
        self.source_growth, self.scale, self.token_bytes = source_growth, scale, BYTES
        self._answer = answer
        self.selected: list[int] = []
        self.sent: list[tuple[Tokens, Tokens]] = []

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        yield self

    def select(self, number: int) -> None:
        self.selected.append(number)

    def next_token(self, batches: Sequence[tuple[Tokens, Tokens]]) -> Iterator[Logits]:
        for tokens, places in batches:
            self.sent.append((tokens.copy(), places.copy()))
            yield self._answer(tokens)


def uniform(tokens: Tokens) -> Logits:
    return np.zeros((len(tokens), 8192), dtype=np.float32)


def knows_tokens(tokens: Tokens) -> Logits:
    """An honest model: it knows which eight tokens there are."""
    logits = np.full((len(tokens), 8192), -40.0, dtype=np.float32)
    logits[:, KNOWN] = 0.0
    return logits


def score(rooms: Rooms, text: Tokens = TEXT, seed: int = SEED) -> dict[str, float]:
    metrics: dict[str, float] = judge.judge(text.tobytes(), rooms, seed)
    return metrics


def asked(rooms: Rooms) -> tuple[Tokens, Tokens]:
    return np.concatenate([t for t, _ in rooms.sent]), np.concatenate([p for _, p in rooms.sent])


def test_a_model_that_knows_the_tokens_needs_three_bits_each_spread_over_their_bytes() -> None:
    by_token = 3.0 / BYTES[KNOWN].mean()
    assert score(Rooms(knows_tokens))["value"] == pytest.approx(by_token, rel=0.03)
    assert score(Rooms(uniform))["value"] == pytest.approx(13.0 / BYTES[KNOWN].mean(), rel=0.03)


def test_large_equal_logits_do_not_swallow_the_logarithm() -> None:
    large = Rooms(lambda tokens: uniform(tokens) + np.float32(9999))
    assert score(large)["value"] == pytest.approx(score(Rooms(uniform))["value"], abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2e4])
def test_a_logit_that_is_no_number_or_too_large_is_rejected(bad: float) -> None:
    def answer(tokens: Tokens) -> Logits:
        logits = uniform(tokens)
        logits[-1, -1] = bad
        return logits

    with pytest.raises(judge.Rejected, match="not finite or beyond"):
        score(Rooms(answer))


def test_logits_of_another_width_are_rejected() -> None:
    with pytest.raises(judge.Rejected, match="8192 float32"):
        score(Rooms(lambda tokens: uniform(tokens)[:, :4096]))


def test_a_source_pays_for_what_it_has_grown_by() -> None:
    plain, edited, loaded = (score(Rooms(uniform, source_growth=grown)) for grown in (0, 300, 200_000))
    assert (plain["price"], plain["value"]) == (0.0, plain["bits"])
    assert edited["value"] - plain["value"] == pytest.approx(edited["price"])
    assert 0 < edited["price"] < 0.002
    assert loaded["price"] > 0.6


def test_the_same_seed_asks_the_same_and_another_asks_elsewhere() -> None:
    first, again, other = Rooms(uniform), Rooms(uniform), Rooms(uniform)
    for rooms, seed in ((first, SEED), (again, SEED), (other, SEED + 1)):
        score(rooms, seed=seed)
    assert all(np.array_equal(*both) for both in zip(asked(first), asked(again), strict=True))
    assert (asked(other)[1] == asked(first)[1]).mean() < 0.05


def test_no_target_is_shown_anywhere_and_what_is_behind_a_place_is_noise() -> None:
    rooms = Rooms(uniform, steps=(20, 50, 100))
    places_in_text = judge.drawn_windows(np.arange(300_000), WINDOWS + 3 * EARLY, CONTEXT, np.random.default_rng(SEED))
    assert len(np.unique(places_in_text)) == places_in_text.size  # no two windows share a token of the text
    score(rooms, NUMBERED)
    tokens, places = asked(rooms)
    ahead = np.arange(CONTEXT) > places[:, None]
    follows = (tokens[:, :1].astype(np.int64) + np.arange(CONTEXT)) % 8192
    assert np.array_equal(tokens[~ahead], follows[~ahead])  # up to the place it is the text
    assert (tokens[ahead] == follows[ahead]).mean() < 0.001  # and behind it anything
    assert np.bincount(places, minlength=CONTEXT).min() > 0


def test_checkpoints_are_scored_on_windows_of_their_own() -> None:
    rooms = Rooms(uniform, steps=(20, 50))
    assert set(score(rooms)) == {"checkpoint_20", "checkpoint_50", "value", "bits", "price", "windows"}
    assert rooms.selected == [0, 1, 2]
    assert len(asked(rooms)[0]) == WINDOWS + 2 * EARLY


def test_on_a_gpu_the_windows_have_1024_tokens_and_fit_the_smaller_split() -> None:
    rooms = Rooms(uniform, scale="")
    score(rooms, (np.arange(2_263_475) % 8192).astype("<u2"))
    assert asked(rooms)[0].shape == (2048, 1024)


def test_it_knows_what_to_ask_at_every_scale_of_the_objective() -> None:
    settings = tomllib.loads((NANOLM / "objective.toml").read_text())
    context = {"": settings["task"]["context"]}
    context |= {scale["name"]: scale.get("context", context[""]) for scale in settings["scales"]}
    assert {name: size[0] for name, size in judge.SIZES.items()} == context
