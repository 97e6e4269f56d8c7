"""Every run has a language of its own: its texts belong together, share no document, and need so many bits."""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.objectives.tinylm.objective_files import TINYLM, load

language = load("language")
SEEDS = (1, 2, 2**63 - 1)
SIZES = {"train": 525_000, "val": (4096 + 3 * 256) * 65, "holdout": (4096 + 3 * 256) * 65}
FLOOR_BYTES = 300_000
Parts = Sequence[tuple[int, Sequence[Any] | None, Sequence[int]]]


class Counting(language.Dice):  # type: ignore[misc,name-defined]
    """Charges every choice -log2 of its probability: the code length of the text's derivation."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.bits = 0.0

    def uniform(self, n: int) -> int:
        self.bits += math.log2(n)
        return int(super().uniform(n))

    def chance(self, per_mille: int) -> bool:
        hit = bool(super().chance(per_mille))
        self.bits -= math.log2((per_mille if hit else 1000 - per_mille) / 1000)
        return hit

    def pick(self, cumulative: Sequence[int]) -> int:
        index = int(super().pick(cumulative))
        self.bits -= math.log2(share(cumulative, index))
        return index

    def mixture(self, parts: Parts) -> Any:
        """An item that several lists have costs by its probability in all of them together."""
        before = self.bits
        item = super().mixture(parts)
        probability = 0.0
        for per_mille, items, cumulative in parts:
            places = [item] if items is None else [place for place, other in enumerate(items) if other == item]
            probability += sum(per_mille / 1000 * share(cumulative, place) for place in places)
        self.bits = before - math.log2(probability)
        return item


def share(cumulative: Sequence[int], index: int) -> float:
    return (cumulative[index] - (cumulative[index - 1] if index else 0)) / cumulative[-1]


def readable(seed: int, name: str) -> str:
    """A text in letters instead of the bytes that stand for them."""
    letters = np.argsort(np.frombuffer(language.Language(seed).bytes, dtype=np.uint8)).astype(np.uint8).tobytes()
    text: bytes = language.draw(seed, name)
    return text.translate(letters).decode("ascii")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_perfect_model_would_need_so_many_bits(seed: int) -> None:
    dice = Counting(f"a floor {seed}")
    text = language.documents(language.Language(seed), dice, FLOOR_BYTES)
    assert 0.66 < dice.bits / len(text) < 0.72


def test_texts_are_as_long_as_a_run_and_the_judge_need_them() -> None:
    settings = tomllib.loads((TINYLM / "objective.toml").read_text())
    judge = load("judge")
    assert {name: len(language.draw(1, name)) for name in SIZES} == SIZES
    budgets = {"": settings["budget"], **{scale["name"]: scale for scale in settings["scales"]}}
    assert budgets.keys() == language.TRAIN_BYTES.keys()
    for scale, budget in budgets.items():
        assert budget["tokens"] + settings["task"]["context"] < language.TRAIN_BYTES[scale]
        assert len(language.draw(1, "train", scale)) == language.TRAIN_BYTES[scale]
    assert (settings["task"]["context"], settings["task"]["vocabulary"]) == (judge.CONTEXT, judge.VOCABULARY)
    assert (language.CONTEXT, language.CHECKPOINTS, language.CHECKPOINT_WINDOWS) == (
        judge.CONTEXT,
        judge.CHECKPOINTS,
        judge.CHECKPOINT_WINDOWS,
    )
    assert len(settings["task"]["checkpoints"]) <= judge.CHECKPOINTS


def test_the_same_seed_and_name_give_the_same_text_and_any_others_another() -> None:
    texts = [language.draw(seed, name) for seed in SEEDS for name in SIZES]
    assert len(set(texts)) == len(texts)
    assert language.draw(SEEDS[0], "val") == texts[1]


def test_the_three_texts_of_a_run_are_in_one_language_and_share_no_passage() -> None:
    train, val, holdout = (readable(1, name) for name in SIZES)
    words = set(train.lower().split())
    for scored in (val, holdout):
        windows = [scored[start : start + 65] for start in range(0, len(scored), 65)]
        inner = [word for window in windows for word in window.lower().split()[1:-1] if word.isalpha()]
        assert sum(word in words for word in inner) > 0.95 * len(inner)
        assert not [window for window in windows[::10] if window in train]
    assert not {val[start : start + 65] for start in range(0, len(val), 65)} & {
        holdout[start : start + 65] for start in range(0, len(holdout), 65)
    }


def test_two_runs_share_neither_words_nor_script() -> None:
    ours, theirs = (readable(seed, "train").lower().split() for seed in (1, 2))
    long_words = [{word for word in words if len(word) > 7 and word.isalpha()} for words in (ours, theirs)]
    assert len(long_words[0] & long_words[1]) < 0.01 * min(map(len, long_words))
    frequent = [top(np.frombuffer(language.draw(seed, "train"), dtype=np.uint8)) for seed in range(3, 9)]
    assert len(set(frequent)) == len(frequent)


def top(text: NDArray[np.uint8]) -> int:
    """The most frequent byte: what stands for a space."""
    return int(np.bincount(text, minlength=256).argmax())


def test_windows_are_from_running_text() -> None:
    """Their letters are as frequent as in documents, and a title is as likely."""
    train, val = readable(5, "train"), readable(5, "val")
    for letter in " aeiou.,\n":
        assert val.count(letter) / len(val) == pytest.approx(train.count(letter) / len(train), rel=0.25), letter
    assert 0.3 < (val.count("==") / len(val)) / (train.count("==") / len(train)) < 3


def test_drawing_takes_little_beside_a_run() -> None:
    took = []
    for _ in range(3):
        begun = time.process_time()
        language.draw(7, "train")
        took.append(time.process_time() - begun)
    assert min(took) < 0.4
