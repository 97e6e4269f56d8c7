"""The judge believes numbers that hold, and there is no way to a good score but prediction."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.objectives.tinylm.objective_files import load

SEED = 2**62 + 3
CONTEXT = 64
WINDOWS = 3 * 256 + 2048

Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Answer = Callable[[Tokens], Logits]

judge, language = load("judge"), load("language")
LETTERS = np.frombuffer(b"abcdefgh", dtype=np.uint8)
DICE = np.random.default_rng(1)
TEXT = DICE.choice(LETTERS, size=WINDOWS * 65).tobytes()


class Rooms:
    """One room that answers with a function of the tokens; it notes which weights were asked and what was sent."""

    def __init__(self, answer: Answer, steps: tuple[int, ...] = (), source_growth: int = 0) -> None:
        self.steps, self.weights = steps, len(steps) + 1
        self.source_growth = source_growth
        self._answer = answer
        self.opened = 0
        self.selected: list[int] = []
        self.sent: list[tuple[Tokens, Tokens]] = []

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        self.opened += 1
        yield self

    def select(self, number: int) -> None:
        self.selected.append(number)

    def next_token(self, batches: Sequence[tuple[Tokens, Tokens]]) -> Iterator[Logits]:
        for tokens, places in batches:
            self.sent.append((tokens.copy(), places.copy()))
            yield self._answer(tokens)[np.arange(len(tokens)), places]


def uniform(tokens: Tokens) -> Logits:
    return np.zeros((*tokens.shape, 256), dtype=np.float32)


def knows_letters(tokens: Tokens) -> Logits:
    """An honest model: it knows which eight letters there are."""
    logits = np.full((*tokens.shape, 256), -20.0, dtype=np.float32)
    logits[..., LETTERS] = 0.0
    return logits


def score(rooms: Rooms, text: bytes = TEXT, seed: int = SEED) -> dict[str, float]:
    metrics: dict[str, float] = judge.judge(text, rooms, seed)
    return metrics


def asked(rooms: Rooms) -> tuple[Tokens, Tokens]:
    return np.concatenate([t for t, _ in rooms.sent]), np.concatenate([p for _, p in rooms.sent])


def test_a_model_that_knows_nothing_needs_eight_bits_per_byte() -> None:
    rooms = Rooms(uniform)
    assert score(rooms)["value"] == pytest.approx(8.0, abs=1e-12)
    assert rooms.opened == 1


def test_a_model_that_knows_the_letters_needs_three() -> None:
    assert score(Rooms(knows_letters))["value"] == pytest.approx(3.0, abs=1e-5)


def test_large_equal_logits_do_not_swallow_the_logarithm() -> None:
    large = Rooms(lambda tokens: uniform(tokens) + np.float32(9999))
    assert score(large)["value"] == pytest.approx(8.0, abs=1e-9)


def test_a_source_pays_for_what_it_has_grown_by() -> None:
    """An edit pays next to nothing, and the weights of a whole model more than they could gain."""
    text = language.draw(SEED, "val")
    plain, edited, loaded = (score(Rooms(uniform, source_growth=grown), text) for grown in (0, 50, 96_000))
    assert (plain["price"], plain["value"]) == (0.0, plain["bits"])
    assert edited["value"] - plain["value"] == pytest.approx(edited["price"])
    assert 0 < edited["price"] < 0.002
    assert loaded["value"] - plain["value"] > 2.5


def test_the_same_seed_asks_the_same_and_another_for_other_places_and_other_noise() -> None:
    first, again, other = Rooms(uniform), Rooms(uniform), Rooms(uniform)
    for rooms, seed in ((first, SEED), (again, SEED), (other, SEED + 1)):
        score(rooms, seed=seed)
    assert all(np.array_equal(*both) for both in zip(asked(first), asked(again), strict=True))
    tokens, places = asked(other)
    assert (places == asked(first)[1]).mean() < 0.05
    assert not np.array_equal(tokens, asked(first)[0])


def test_checkpoints_are_scored_on_windows_of_their_own() -> None:
    rooms = Rooms(uniform, steps=(20, 50))
    assert set(score(rooms)) == {"checkpoint_20", "checkpoint_50", "value", "bits", "price", "windows"}
    assert rooms.selected == [0, 1, 2]
    tokens, places = asked(rooms)
    prefixes = [row[: place + 1].tobytes() + bytes([place]) for row, place in zip(tokens, places, strict=True)]
    assert Counter(len(prefix) > 40 for prefix in prefixes)[True] > 1000
    assert max(Counter(prefix for prefix in prefixes if len(prefix) > 40).values()) == 1


# ---- causal by construction ------------------------------------------------------------------------------------------


def windows_of(text: bytes) -> Tokens:
    return np.frombuffer(text, dtype=np.uint8).reshape(-1, CONTEXT + 1).astype(np.uint16)[3 * 256 :]


def test_a_window_is_shown_up_to_its_place_and_then_noise_that_says_nothing_of_the_truth() -> None:
    rooms = Rooms(uniform)
    text = language.draw(SEED, "val")
    score(rooms, text)
    windows, (tokens, places) = windows_of(text), asked(rooms)
    ahead = np.arange(CONTEXT) > places[:, None]
    assert np.array_equal(tokens[~ahead], windows[:, :-1][~ahead])
    noise = tokens[ahead]
    assert np.ptp(np.bincount(noise, minlength=256)) < 0.4 * len(noise) / 256
    # Not even that it is another token: it is the true one as often as any.
    true = noise == windows[:, :-1][ahead]
    assert true.mean() == pytest.approx(1 / 256, rel=0.15)


def test_all_places_are_asked_for_equally_often() -> None:
    rooms = Rooms(uniform)
    score(rooms, language.draw(SEED, "val"))
    assert np.ptp(np.bincount(asked(rooms)[1], minlength=CONTEXT)) == 0


def sees_ahead(by: float) -> Answer:
    """Prefers the token that it sees behind each place by so much."""

    def answer(tokens: Tokens) -> Logits:
        logits = knows_letters(tokens)
        rows, places = np.indices(tokens[:, 1:].shape)
        logits[rows, places, tokens[:, 1:]] += np.float32(by)
        return logits

    return answer


@pytest.mark.parametrize("by", [-1.0, 0.1, 1.0, 20.0])
def test_looking_ahead_gains_nothing(by: float) -> None:
    assert score(Rooms(sees_ahead(by)))["value"] >= 3.0 - 0.002


class Remembers:
    """Keeps every passage it was ever shown with what followed there, and bets on what followed the same passage."""

    def __init__(self, order: int = 4) -> None:
        self._order = order
        self._after: defaultdict[bytes, Counter[int]] = defaultdict(Counter)

    def __call__(self, tokens: Tokens) -> Logits:
        """It reads the whole batch first: windows that are shown together could tell of each other too."""
        for window in tokens.astype(np.uint8):
            for place in range(self._order, CONTEXT):
                self._after[window[place - self._order : place].tobytes()][int(window[place])] += 1
        logits = np.zeros((*tokens.shape, 256), dtype=np.float32)
        for row, window in enumerate(tokens.astype(np.uint8)):
            for place in range(self._order - 1, CONTEXT):
                followed = self._after[window[place + 1 - self._order : place + 1].tobytes()]
                if place + 1 < CONTEXT:  # what this window itself shows behind the place may be noise
                    followed = followed - Counter([int(window[place + 1])])
                for token, times in followed.items():
                    logits[row, place, token] += math.log1p(255 * times)
        return logits


def test_a_room_that_remembers_everything_it_was_shown_knows_nothing_of_what_it_is_asked() -> None:
    """Documents of chance: the only way to know a target is to have been shown it, here or in any other window."""
    documents = np.random.default_rng(2).integers(0, 256, (3 * 256 + 1024, 65), dtype=np.uint8).tobytes()
    assert score(Rooms(Remembers()), documents)["value"] >= 8.0 - 1e-3


def test_the_same_room_finds_what_windows_side_by_side_would_give_away() -> None:
    """The cheater can cheat: where a document is shown in two windows, it knows what the other one was asked."""
    documents = np.random.default_rng(2).integers(0, 256, (3 * 256 + 512, 65), dtype=np.uint8)
    twice = np.concatenate([documents[: 3 * 256], documents[3 * 256 :], documents[3 * 256 :]])
    assert score(Rooms(Remembers()), twice.tobytes())["value"] < 7.0


@pytest.mark.long
def test_windows_of_the_language_share_the_language_and_nothing_else() -> None:
    """What is remembered of other windows is worth the same in whatever order they come."""
    ratios = []
    for seed in range(SEED, SEED + 8):  # other windows are asked elsewhere, so a ratio differs from 1 by 4 % by chance
        text = language.draw(seed, "val")[: (3 * 256 + 1024) * 65]
        early, late = text[: 3 * 256 * 65], windows_of(text).astype(np.uint8)
        shuffled = early + np.random.default_rng(3).permutation(late).tobytes()
        in_order, mixed = (score(Rooms(Remembers()), one)["value"] for one in (text, shuffled))
        ratios.append(in_order / mixed)
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)


# ---- what is refused -------------------------------------------------------------------------------------------------


def nan_somewhere(tokens: Tokens) -> Logits:
    logits = uniform(tokens)
    logits[-1, :, -1] = np.nan
    return logits


REFUSED: dict[str, Answer] = {
    "not a number": nan_somewhere,
    "infinite": lambda tokens: uniform(tokens) + np.float32(np.inf),
    "beyond the limit": lambda tokens: uniform(tokens) + np.float32(20_000),
    "another vocabulary": lambda tokens: uniform(tokens)[..., :255],
    "another type": lambda tokens: uniform(tokens).astype(np.float64),
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_logits_is_refused(answer: Answer) -> None:
    with pytest.raises(judge.Rejected, match="logit"):
        score(Rooms(answer))
