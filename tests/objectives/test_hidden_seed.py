"""From what a text was drawn with, nobody comes back to the seed: a source that did could draw what it is scored on."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from tests.objectives.mersenne_twister import Recorded, seed_of

OBJECTIVES = Path(__file__).parents[2] / "objectives"
SEED = 2**62 + 987_654_321
STATE_BITS = 19_937
BITS_OF_A_DRAW = 53


def load(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawing", OBJECTIVES / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generators(monkeypatch: pytest.MonkeyPatch, file: str, name: str) -> list[Recorded]:
    """All that a text was drawn with."""
    made: list[Recorded] = []
    kind = type("Generator", (Recorded,), {"made": made})
    module = load(file)
    with monkeypatch.context() as patch:
        patch.setattr(random, "Random", kind)
        module.draw(SEED, name)
    return made


def test_a_generator_gives_away_what_it_was_seeded_with() -> None:
    for seed in (f"train {SEED}", b"\1" * 32, "x"):
        began_with = random.Random(seed).getstate()[1][:-1]
        assert seed_of(began_with) == (seed.encode() if isinstance(seed, str) else seed)


@pytest.mark.parametrize("file", ["tinylm/language.py", "template/draw.py"])
def test_the_state_behind_a_text_leads_to_no_seed(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    made = generators(monkeypatch, file, "train")
    assert len(made) == 2  # for the language, and for the text in it
    found = [seed_of(one.first_state) for one in made]
    assert all(28 < len(seed) <= 32 for seed in found)  # hashes, without the zeros in front
    assert not [seed for seed in found if str(SEED).encode() in seed]
    assert not set(found) & {seed_of(one.first_state) for one in generators(monkeypatch, file, "val")[1:9]}


@pytest.mark.parametrize("file", ["tinylm/language.py", "template/draw.py"])
def test_no_scored_window_says_enough_to_foretell_another(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    _, *of_windows = generators(monkeypatch, file, "val")
    assert len(of_windows) > 1000
    assert len({one.first_state for one in of_windows}) == len(of_windows)
    assert max(one.draws for one in of_windows) * BITS_OF_A_DRAW < STATE_BITS
