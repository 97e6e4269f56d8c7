"""The judge believes numbers that hold, and refuses every way to a good score that is not prediction."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

TINYLM = Path(__file__).parents[3] / "objectives" / "tinylm"
SEED = 3

Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Answer = Callable[[Tokens], Logits]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tinylm_{name}", TINYLM / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge = load("judge")
LETTERS = np.frombuffer(b"abcdefgh", dtype=np.uint8)
TEXT = np.random.default_rng(1).choice(LETTERS, size=1100 * 65).tobytes()
DATA = {"val": TEXT, "holdout": TEXT[: 200 * 65]}


class Rooms:
    """Two rooms that answer with functions of the tokens; they note which weights were asked and what was sent."""

    def __init__(self, first: Answer, second: Answer | None = None, steps: tuple[int, ...] = ()) -> None:
        self.steps, self.weights = steps, len(steps) + 1
        self._answers = [first, second or first]
        self.open_now, self.opened = 0, 0
        self.selected: list[int] = []
        self.sent: list[Tokens] = []

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        assert self.open_now == 0, "the first room is dead before the second one opens"
        self.open_now, self.opened = 1, self.opened + 1
        yield self
        self.open_now = 0

    def select(self, number: int) -> None:
        self.selected.append(number)

    def logits(self, tokens: Tokens) -> Logits:
        self.sent.append(tokens.copy())
        return self._answers[self.opened - 1](tokens)

    def each(self, batches: Sequence[Tokens]) -> Iterator[Logits]:
        return map(self.logits, batches)


def uniform(tokens: Tokens) -> Logits:
    return np.zeros((*tokens.shape, 256), dtype=np.float32)


def knows_letters(tokens: Tokens) -> Logits:
    """An honest model: it knows which eight letters there are."""
    logits = np.full((*tokens.shape, 256), -20.0, dtype=np.float32)
    logits[..., LETTERS] = 0.0
    return logits


def judged(rooms: Rooms, split: str = "val", incumbent: bytes = b"") -> tuple[dict[str, float], bytes]:
    metrics, losses = judge.judge(DATA, rooms, SEED, split, TEXT, incumbent)
    return metrics, losses


def score(rooms: Rooms, split: str = "val") -> dict[str, float]:
    return judged(rooms, split)[0]


def test_a_model_that_knows_nothing_needs_eight_bits_per_byte() -> None:
    assert score(Rooms(uniform))["value"] == pytest.approx(8.0, abs=1e-12)


def test_a_model_that_knows_the_letters_needs_three() -> None:
    assert score(Rooms(knows_letters))["value"] == pytest.approx(3.0, abs=1e-5)


def test_large_equal_logits_do_not_swallow_the_logarithm() -> None:
    large = Rooms(lambda tokens: uniform(tokens) + np.float32(9999))
    assert score(large)["value"] == pytest.approx(8.0, abs=1e-9)


def test_the_same_seed_asks_for_the_same_windows_and_another_for_others() -> None:
    first, again, other = Rooms(uniform), Rooms(uniform), Rooms(uniform)
    score(first)
    score(again)
    judge.judge(DATA, other, SEED + 1, "val", TEXT, b"")
    assert np.array_equal(first.sent[0], again.sent[0])
    assert not np.array_equal(first.sent[0], other.sent[0])


def test_the_last_target_of_a_window_is_never_sent() -> None:
    rooms = Rooms(uniform)
    score(rooms)
    assert {sent.shape[1] for sent in rooms.sent} == {64}


def test_checkpoints_are_scored_on_val_only() -> None:
    rooms = Rooms(uniform, steps=(20, 50))
    assert set(score(rooms)) >= {"checkpoint_20", "checkpoint_50", "value"}
    assert rooms.selected == [0, 1, 2, 2]
    rooms = Rooms(uniform, steps=(20, 50))
    assert "checkpoint_20" not in score(rooms, "holdout")
    assert rooms.selected == [2, 2]


def test_the_holdout_is_scored_whole() -> None:
    assert score(Rooms(uniform), "holdout")["windows"] == 200


def test_a_holdout_examination_streams_some_windows_token_by_token() -> None:
    rooms = Rooms(knows_letters)
    assert score(rooms, "holdout")["stream_max_difference"] == 0.0
    *_, before, last = rooms.sent
    assert len(last) == judge.STREAMED
    assert (before != last).sum(axis=0).tolist()[:-1] == [0] * 63
    assert "stream_max_difference" not in score(Rooms(knows_letters))


# ---- what is refused -------------------------------------------------------------------------------------------------


def nan_somewhere(tokens: Tokens) -> Logits:
    logits = uniform(tokens)
    logits[-1, -1, -1] = np.nan
    return logits


REFUSED: dict[str, Answer] = {
    "not a number": nan_somewhere,
    "infinite": lambda tokens: uniform(tokens) + np.float32(np.inf),
    "beyond the limit": lambda tokens: uniform(tokens) + np.float32(20_000),
    "another vocabulary": lambda tokens: uniform(tokens)[..., :255],
    "another length": lambda tokens: uniform(tokens)[:, :-1],
    "another type": lambda tokens: uniform(tokens).astype(np.float64),
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_logits_is_refused(answer: Answer) -> None:
    with pytest.raises(judge.Rejected, match="logit"):
        score(Rooms(answer))


def sees_ahead(share: float, by: float) -> Answer:
    """Knows the next token at a share of the positions, and prefers it by so much."""

    def answer(tokens: Tokens) -> Logits:
        logits = knows_letters(tokens)
        windows, places = np.nonzero(np.random.default_rng(0).random(tokens[:, 1:].shape) < share)
        logits[windows, places, tokens[windows, places + 1]] += np.float32(by)
        return logits

    return answer


@pytest.mark.parametrize(("share", "by"), [(1.0, 20.0), (1.0, 0.1), (0.05, 20.0), (0.3, 0.5)])
def test_looking_ahead_is_found_out(share: float, by: float) -> None:
    with pytest.raises(judge.Rejected, match="looks ahead"):
        score(Rooms(sees_ahead(share, by)))


def test_looking_ahead_a_little_everywhere_is_found_out() -> None:
    with pytest.raises(judge.Rejected, match="looks ahead"):
        score(Rooms(sees_ahead(1.0, 0.015)))


def memorising() -> Answer:
    """Learns from the windows it is asked about: what it has seen once it knows the second time."""
    seen: dict[bytes, Any] = {}

    def answer(tokens: Tokens) -> Logits:
        logits = knows_letters(tokens)
        for row, window in enumerate(tokens):
            for place in range(8, len(window) - 1):
                known = seen.get(window[place - 8 : place].tobytes())
                if known is not None:
                    logits[row, place - 1, known] += 20.0
                seen[window[place - 8 : place].tobytes()] = window[place]
        return logits

    return answer


def test_what_was_learnt_during_the_examination_is_not_known_in_the_second_room() -> None:
    rooms = Rooms(memorising(), memorising(), steps=(20,))
    rooms.weights = 2
    with pytest.raises(judge.Rejected, match="looks ahead"):
        score_repeated(rooms)


def score_repeated(rooms: Rooms) -> None:
    """Score on a text that repeats itself, as when checkpoints are scored on the windows of the final examination."""
    text = TEXT[: 300 * 65]
    judge.judge({"val": text}, rooms, SEED, "val", TEXT, b"")


def test_honest_predictions_of_rare_places_are_not_refused() -> None:
    """A model that is very sure where the text repeats itself passes: its prefix says so."""

    def copies(tokens: Tokens) -> Logits:
        logits = knows_letters(tokens)
        for row, window in enumerate(tokens):
            last: dict[bytes, int] = {}
            for place in range(3, len(window) + 1):
                suffix = window[place - 3 : place].tobytes()
                if suffix in last:
                    logits[row, place - 1, last[suffix]] += 5.0
                if place < len(window):
                    last[suffix] = int(window[place])
        return logits

    metrics = score(Rooms(copies), "holdout")
    assert metrics["probe_max_difference"] == 0.0
    assert math.isfinite(metrics["value"])


# ---- what an incumbent's losses are for ------------------------------------------------------------------------------


def test_the_losses_handed_out_are_those_that_make_the_value() -> None:
    metrics, losses = judged(Rooms(knows_letters))
    nats = np.frombuffer(losses, dtype="<f4").reshape(1024, 64)
    assert nats.mean(dtype=np.float64) / math.log(2) == pytest.approx(metrics["value"], rel=1e-6)
    _, losses = judged(Rooms(knows_letters), "holdout")
    assert len(losses) == 4 * 200 * 64


def test_an_incumbent_moves_probes_and_never_the_value() -> None:
    _, incumbent = judged(Rooms(uniform))
    alone, beside = judged(Rooms(knows_letters)), judged(Rooms(knows_letters), incumbent=incumbent)
    assert beside[0]["value"] == alone[0]["value"]
    assert beside[1] == alone[1]
    assert beside[0]["probes"] == alone[0]["probes"] == judge.PROBES


@pytest.mark.parametrize(
    "kept",
    [b"", b"x", bytes(4 * 1024 * 64 - 4), bytes(4 * 1024 * 64 + 4), np.full(1024 * 64, np.nan, "<f4").tobytes()],
    ids=["none", "a byte", "too short", "too long", "not a number"],
)
def test_what_is_no_incumbent_of_these_windows_is_as_good_as_none(kept: bytes) -> None:
    assert judge.incumbent_losses(kept, judge.cut(TEXT)[:1024]) == []
    assert judged(Rooms(knows_letters), incumbent=kept) == judged(Rooms(knows_letters))


def test_the_incumbent_itself_with_a_few_looks_ahead_is_always_found_out() -> None:
    """Where all else is as it was, every place with a gain is probed."""
    _, incumbent = judged(Rooms(knows_letters))

    def looks(tokens: Tokens) -> Logits:
        logits = knows_letters(tokens)
        rows = np.flatnonzero((tokens[:, 10:12] == LETTERS[0]).all(axis=1))
        logits[rows, 20, tokens[rows, 21]] += np.float32(20)
        return logits

    for _ in range(5):
        with pytest.raises(judge.Rejected, match="looks ahead"):
            judged(Rooms(looks), incumbent=incumbent)


# A good model and its child, much as they were measured, in nats: the parent loses 1.2 a place, a bigram 1.1 more, and
# the child differs from the parent by up to 0.33 on average, either way. The gain that is no
# prediction comes to 0.003 bits per byte.
DISHONEST_BITS = 0.003
DRAWS = 60


def simulated_losses(dice: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What child, parent and bigram lose per target, all of them honest."""
    shape = (judge.WINDOWS, judge.CONTEXT)
    parent = dice.gamma(0.55, 2.2, shape)
    child = np.abs(parent + dice.laplace(0.0, 0.33, shape) * np.minimum(1.0, parent))
    return child, parent, np.abs(parent + dice.laplace(1.1, 1.2, shape))


def look_ahead(child: NDArray[np.float64], by: float, dice: np.random.Generator) -> NDArray[np.bool_]:
    """Take `by` nats off the losses at so few places that it comes to DISHONEST_BITS on average; returns where."""
    few = round(DISHONEST_BITS * math.log(2) * child.size / by)
    places = dice.choice(np.flatnonzero(child > by), size=few, replace=False)
    child.flat[places] -= by
    where = np.zeros(child.shape, dtype=np.bool_)
    where.flat[places] = True
    return where


@pytest.mark.parametrize("by", [4.0, 2.0, 1.0])
def test_a_small_dishonest_gain_is_rarely_missed_beside_a_good_incumbent(by: float) -> None:
    dice = np.random.default_rng(1)
    found = {"bigram": 0, "incumbent": 0}
    child, parent, bigram = simulated_losses(dice)
    for _ in range(DRAWS):
        claimed = child.copy()
        where = look_ahead(claimed, by, dice)
        for name, expectations in (("bigram", [bigram]), ("incumbent", [parent, bigram])):
            probes = judge.draw_probes(claimed, expectations, dice)
            assert len(np.unique(probes, axis=0)) == judge.PROBES
            found[name] += bool(where[probes[:, 0], probes[:, 1]].any())
    assert found["incumbent"] > 0.9 * DRAWS
    assert found["bigram"] < found["incumbent"] - 0.05 * DRAWS, found
