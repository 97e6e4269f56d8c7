"""The template's text and judge: what is drawn fits what is scored, and only prediction earns a good score.

The room is stood in for by a function of tokens, as a judge sees nothing else of it.
"""

from __future__ import annotations

import importlib.util
import tomllib
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

TEMPLATE = Path(__file__).parents[3] / "objectives" / "template"
Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Model = Callable[[Tokens], Logits]


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"template_{name}", TEMPLATE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JUDGE, DRAW = load("judge"), load("draw")
SEED = 2**62 + 1


class Rooms:
    """One room that answers with a function of the tokens; it notes what was sent."""

    def __init__(self, model: Model, steps: tuple[int, ...] = (20, 50)) -> None:
        self.steps, self.weights = steps, len(steps) + 1
        self._model = model
        self.selected: list[int] = []
        self.sent: list[tuple[Tokens, Tokens]] = []

    @contextmanager
    def open(self) -> Iterator[Rooms]:
        yield self

    def select(self, number: int) -> None:
        self.selected.append(number)

    def next_token(self, batches: Sequence[tuple[Tokens, Tokens]]) -> Iterator[Logits]:
        for tokens, places in batches:
            self.sent.append((tokens, places))
            yield self._model(tokens)[np.arange(len(tokens)), places]


def uniform(tokens: Tokens) -> Logits:
    return np.zeros((*tokens.shape, 128), dtype=np.float32)


def looking_ahead(tokens: Tokens) -> Logits:
    """Is sure of the byte that comes next, which it can see everywhere but in the last place."""
    logits = uniform(tokens)
    np.put_along_axis(logits[:, :-1], tokens[:, 1:, None].astype(np.int64), 9.0, axis=-1)
    return logits


def judged(rooms: Rooms, split: str = "val") -> dict[str, float]:
    found: dict[str, float] = JUDGE.judge(DRAW.draw(SEED, split), rooms, SEED)
    return found


def test_a_model_that_knows_nothing_needs_seven_bits_of_128() -> None:
    rooms = Rooms(uniform)
    assert judged(rooms) == {name: pytest.approx(7.0) for name in ("value", "checkpoint_20", "checkpoint_50")}
    assert rooms.selected == [0, 1, 2]
    assert set(judged(Rooms(uniform, steps=()), "holdout")) == {"value"}


def test_what_a_model_sees_ahead_is_noise() -> None:
    """Being sure of it costs far more than knowing nothing."""
    assert judged(Rooms(looking_ahead))["value"] > 12.0


def test_every_window_is_shown_once_and_its_target_never() -> None:
    rooms = Rooms(uniform)
    judged(rooms)
    shown = np.concatenate([tokens for tokens, _ in rooms.sent])
    places = np.concatenate([places for _, places in rooms.sent])
    windows = np.frombuffer(DRAW.draw(SEED, "val"), dtype=np.uint8).reshape(-1, 33)
    used = np.concatenate([windows[:256], windows[384:]])  # two checkpoints of three
    ahead = np.arange(32) > places[:, None]
    assert np.array_equal(shown[~ahead], used[:, :-1][~ahead])
    assert abs((shown == used[:, :-1])[ahead].mean() - 1 / 128) < 0.002
    assert np.ptp(np.bincount(places[256:])) <= 1


@pytest.mark.parametrize("wrong", [lambda logits: logits[..., :100], lambda logits: np.full_like(logits, np.nan)])
def test_what_is_no_prediction_is_rejected(wrong: Callable[[Logits], Logits]) -> None:
    with pytest.raises(JUDGE.Rejected):
        judged(Rooms(lambda tokens: wrong(uniform(tokens))))


def test_a_text_belongs_to_one_seed_and_one_split() -> None:
    texts = [DRAW.draw(seed, name) for seed in (SEED, SEED + 1) for name in ("train", "val", "holdout")]
    assert texts[0] == DRAW.draw(SEED, "train")
    assert len(set(texts)) == 6
    assert [len(text) for text in texts[:3]] == [132_000, 1408 * 33, 1408 * 33]


def test_an_alphabet_belongs_to_one_seed() -> None:
    """Both texts have the same most frequent letter; those of another run have others."""

    def frequent(seed: int, name: str) -> list[int]:
        counts = np.bincount(np.frombuffer(DRAW.draw(seed, name), dtype=np.uint8), minlength=128)
        return [int(letter) for letter in np.argsort(-counts)[:3]]

    assert sorted(frequent(1, "train")) == sorted(frequent(1, "val"))
    assert len({letter for seed in range(4) for letter in frequent(seed, "val")}) > 6


def test_the_judge_the_text_and_the_settings_speak_of_the_same_windows() -> None:
    settings = tomllib.loads((TEMPLATE / "objective.toml").read_text())
    task = settings["task"]
    assert (task["context"], task["vocabulary"]) == (JUDGE.CONTEXT, JUDGE.VOCABULARY) == (DRAW.CONTEXT, DRAW.VOCABULARY)
    assert len(task["checkpoints"]) <= JUDGE.CHECKPOINTS
    assert settings["budget"]["tokens"] < DRAW.TRAIN_BYTES
