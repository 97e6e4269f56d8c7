"""The judge of a corpus against sources that would score without predicting: none does."""

from __future__ import annotations

import base64
import lzma
import math
import random
import re
import tomllib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from node.authoring.corpus.making import ON_CPU, ON_GPU, SPARE
from tests.objectives.corpus.objective_files import CORPUS, load

SEED = 2**62 + 3
CONTEXT, VOCABULARY, WINDOWS, EARLY = 64, 1024, 1024, 64
STEPS = (20, 50, 100)

Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Answer = Callable[[Tokens, Tokens], Logits]

judge = load("judge")
BYTES = np.array([1] * 256 + [3] * 768, dtype=np.uint8)
KNOWN = np.arange(500, 508)  # the only tokens of TEXT
TEXT = np.random.default_rng(1).choice(KNOWN, size=200_000).astype("<u2")
NUMBERED = (np.arange(200_000) % VOCABULARY).astype("<u2")  # tells where in the text a window is


class Rooms:
    """One room that answers with a function of tokens and places; it notes what it was asked and by which weights."""

    def __init__(self, answer: Answer, steps: tuple[int, ...] = (), source_growth: int = 0) -> None:
        self.steps, self.weights, self.scale = steps, len(steps) + 1, ""
        self.source_growth, self.token_bytes = source_growth, BYTES
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
            yield self._answer(tokens, places)


def uniform(tokens: Tokens, places: Tokens) -> Logits:
    return np.zeros((len(tokens), VOCABULARY), dtype=np.float32)


def knows_tokens(tokens: Tokens, places: Tokens) -> Logits:
    """An honest model: it knows which eight tokens there are."""
    logits = np.full((len(tokens), VOCABULARY), -40.0, dtype=np.float32)
    logits[:, KNOWN] = 0.0
    return logits


def looks_ahead(tokens: Tokens, places: Tokens) -> Logits:
    """Says that the token shown behind the place is the next one."""
    logits = knows_tokens(tokens, places)
    behind = np.minimum(places.astype(np.int64) + 1, CONTEXT - 1)
    logits[np.arange(len(tokens)), tokens[np.arange(len(tokens)), behind]] += 6.0
    return logits


def score(rooms: Rooms, text: Tokens = TEXT, seed: int = SEED) -> dict[str, float]:
    metrics: dict[str, float] = judge.judge(text.tobytes(), rooms, seed)
    return metrics


def asked(rooms: Rooms) -> tuple[Tokens, Tokens]:
    return np.concatenate([t for t, _ in rooms.sent]), np.concatenate([p for _, p in rooms.sent])


def test_a_model_that_knows_the_tokens_needs_three_bits_each_spread_over_their_bytes() -> None:
    assert score(Rooms(knows_tokens))["value"] == pytest.approx(3.0 / 3)
    assert score(Rooms(uniform))["value"] == pytest.approx(10.0 / 3)


def test_a_model_that_looks_ahead_sees_noise_and_loses_by_it() -> None:
    assert score(Rooms(looks_ahead))["value"] > score(Rooms(knows_tokens))["value"] + 0.01


def test_no_target_is_shown_anywhere_and_what_is_behind_a_place_is_noise() -> None:
    rooms = Rooms(uniform, STEPS)
    windows = judge.drawn_windows(np.arange(200_000), WINDOWS + 3 * EARLY, np.random.default_rng(SEED))
    assert len(np.unique(windows)) == windows.size  # no two windows share a token of the text
    score(rooms, NUMBERED)
    tokens, places = asked(rooms)
    ahead = np.arange(CONTEXT) > places[:, None]
    follows = (tokens[:, :1].astype(np.int64) + np.arange(CONTEXT)) % VOCABULARY
    assert np.array_equal(tokens[~ahead], follows[~ahead])  # up to the place it is the text
    assert (tokens[ahead] == follows[ahead]).mean() < 0.01  # and behind it anything
    assert np.bincount(places, minlength=CONTEXT).min() > 0


def test_large_equal_logits_do_not_swallow_the_logarithm() -> None:
    large = Rooms(lambda tokens, places: uniform(tokens, places) + np.float32(9999))
    assert score(large)["value"] == pytest.approx(score(Rooms(uniform))["value"], abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2e4])
def test_a_logit_that_is_no_number_or_too_large_is_rejected(bad: float) -> None:
    def answer(tokens: Tokens, places: Tokens) -> Logits:
        logits = uniform(tokens, places)
        logits[-1, -1] = bad
        return logits

    with pytest.raises(judge.Rejected, match="not finite or beyond"):
        score(Rooms(answer))


def test_logits_of_another_width_are_rejected() -> None:
    with pytest.raises(judge.Rejected, match="1024 float32"):
        score(Rooms(lambda tokens, places: uniform(tokens, places)[:, :512]))


@pytest.mark.parametrize("pack", [zlib.compress, lzma.compress], ids=["zlib", "lzma"])
def test_a_source_that_carries_the_text_pays_more_than_it_could_ever_gain(pack: Callable[[bytes], bytes]) -> None:
    words = ["".join(random.Random(f"{word}").choices("etaoinshrdlu", k=5)) for word in range(400)]
    dice = random.Random(1)
    text = " ".join(dice.choices(words, weights=[1 / (rank + 1) for rank in range(400)], k=120_000)).encode()
    pool = np.frombuffer(text, dtype=np.uint8)[: 600 * 1024].astype("<u2")  # a byte each, about the least a split has
    for share in (0.05, 0.25):
        held = text[: int(share * len(pool))]
        growth = len(zlib.compress(base64.b85encode(pack(held)), 9))
        price = score(Rooms(uniform, source_growth=growth), pool)["price"]
        honest = 8 * len(lzma.compress(text)) / len(text)  # bits per byte of a model as good as that packer
        assert price > 2 * share * honest  # where what is held costs nothing at all any more
    edit = score(Rooms(uniform, source_growth=100), pool)["price"]
    assert 0 < edit < 0.006


def test_the_same_seed_asks_the_same_and_another_asks_elsewhere() -> None:
    first, again, other = Rooms(uniform), Rooms(uniform), Rooms(uniform)
    for rooms, seed in ((first, SEED), (again, SEED), (other, SEED + 1)):
        score(rooms, seed=seed)
    assert all(np.array_equal(*both) for both in zip(asked(first), asked(again), strict=True))
    assert (asked(other)[1] == asked(first)[1]).mean() < 0.05


def test_checkpoints_are_scored_on_windows_of_their_own() -> None:
    rooms = Rooms(uniform, steps=(20, 50))
    assert set(score(rooms)) == {"checkpoint_20", "checkpoint_50", "value", "bits", "price", "windows"}
    assert rooms.selected == [0, 1, 2]
    assert len(asked(rooms)[0]) == WINDOWS + 2 * EARLY


def test_it_asks_what_the_settings_say_at_either_size_and_a_split_has_room_for_it() -> None:
    text = (CORPUS / "judge.py").read_text()
    own = {name: int(value) for name, value in re.findall(r"(?m)^([A-Z_]+) = (\d+)", text)}
    settings = tomllib.loads((CORPUS / "objective.toml").read_text())
    for size in (ON_CPU, ON_GPU):
        task = settings["task"] | size.settings.get("task", {})
        has = own | size.constants.get("judge.py", {})
        assert (has["CONTEXT"], has["VOCABULARY"]) == (task["context"], task["vocabulary"])
        windows = has["WINDOWS"] + has["CHECKPOINT_WINDOWS"] * len(task["checkpoints"])
        assert size.scored_tokens == windows * (task["context"] + 1)
        least = np.zeros(int(SPARE * size.scored_tokens), dtype="<u2")
        assert len(least) // windows > task["context"] + 1
        assert size.least.scored >= 2 * 256 << 10
