"""A judge of whole windows: an honest model gets its bits per byte, one that looks ahead or answers nonsense nothing.

Rooms are stood in for by functions of tokens, as a judge sees nothing else of them.
"""

from __future__ import annotations

import importlib.util
import tomllib
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.node.execution.small_objective import IN_FILES

Tokens = NDArray[np.uint16]
Logits = NDArray[np.float32]
Model = Callable[[Tokens], Logits]


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"in_files_{name}", IN_FILES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JUDGE = load("judge")
TEXT = load("prepare").sums(1, 20_000)


class Room:
    def __init__(self, model: Model) -> None:
        self._model = model

    def select(self, number: int) -> None:
        pass

    def each(self, batches: Sequence[Tokens]) -> Iterator[Logits]:
        return (self._model(tokens) for tokens in batches)


class Rooms:
    steps = (20, 50)
    weights = 3

    def __init__(self, model: Model) -> None:
        self._model = model

    @contextmanager
    def open(self) -> Iterator[Room]:
        yield Room(self._model)


def uniform(tokens: Tokens) -> Logits:
    return np.zeros((*tokens.shape, 128), dtype=np.float32)


def looking_ahead(tokens: Tokens) -> Logits:
    """Is sure of the byte that comes next, which it can see everywhere but in the last place."""
    logits = uniform(tokens)
    np.put_along_axis(logits[:, :-1], tokens[:, 1:, None].astype(np.int64), 9.0, axis=-1)
    return logits


def narrow(tokens: Tokens) -> Logits:
    return uniform(tokens)[..., :100]


def without_end(tokens: Tokens) -> Logits:
    return np.full((*tokens.shape, 128), np.nan, dtype=np.float32)


def judged(model: Model, split: str = "val") -> tuple[dict[str, float], bytes]:
    data = {"val": TEXT, "holdout": TEXT}
    found: tuple[dict[str, float], bytes] = JUDGE.judge(data, Rooms(model), 1, split, TEXT, b"")
    return found


def test_a_model_that_knows_nothing_needs_seven_bits_of_128() -> None:
    metrics, _ = judged(uniform)
    assert metrics == {name: pytest.approx(7.0) for name in ("value", "checkpoint_20", "checkpoint_50")}
    assert set(judged(uniform, "holdout")[0]) == {"value"}


@pytest.mark.parametrize("model", [looking_ahead, narrow, without_end])
def test_what_is_no_honest_prediction_is_rejected(model: Model) -> None:
    with pytest.raises(JUDGE.Rejected):
        judged(model)


def test_the_judge_and_the_settings_speak_of_the_same_windows() -> None:
    task = tomllib.loads((IN_FILES / "objective.toml").read_text())["task"]
    assert (task["context"], task["vocabulary"]) == (JUDGE.CONTEXT, JUDGE.VOCABULARY)
