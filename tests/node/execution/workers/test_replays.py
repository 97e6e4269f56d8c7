"""A replay passes from judge to node as it was recorded; what is beyond a limit passes neither end."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from node.execution.workers import replays

PRICES = {"bid": [99.0, 98.5], "ask": [101.0, 102.0]}


def test_what_was_recorded_is_what_people_see() -> None:
    announced, content = replays.packed({"prices": PRICES, "lots": {"held": [1, 0, -2]}})
    assert len(content) == replays.length_of(announced) == 7 * 4
    expected = {"prices": {"bid": (99.0, 98.5), "ask": (101.0, 102.0)}, "lots": {"held": (1.0, 0.0, -2.0)}}
    assert replays.opened(announced, content) == expected


@pytest.mark.parametrize(
    ("pictures", "why"),
    [
        ({"<img src=x>": PRICES}, "names such as"),
        ({"prices": {"a" * 31: [1.0]}}, "names such as"),
        ({"prices": {"": [1.0]}}, "names such as"),
        ({"prices": {"bid": [1.0], "ask": [1.0, 2.0]}}, "equally long"),
        ({"prices": {"bid": []}}, "equally long"),
        ({"prices": {"bid": [float("nan")]}}, "finite"),
        ({"prices": {"bid": [1e31]}}, "finite"),
        ({"prices": {"bid": [0.0] * 2049}}, "at most 2048 numbers"),
        ({"prices": {f"row {n}": [0.0] for n in range(17)}}, "at most 16 rows"),
    ],
    ids=str,
)
def test_what_is_beyond_a_limit_is_refused_with_the_limit(pictures: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replays.packed(pictures)


@pytest.mark.parametrize(
    "announced",
    [
        None,
        "prices",
        [["prices", "bid"]],
        [["prices", "bid", -1]],
        [["prices", "bid", 2.0]],
        [["prices", "bid", 1 << 40]],
        [[["prices"], "bid", 1]],
        [["prices", "bid", 1], ["prices", "bid", 1]],
        [["prices", "bid\n", 1]],
    ],
    ids=str,
)
def test_an_announcement_that_no_judge_of_ours_makes_is_refused(announced: object) -> None:
    with pytest.raises(ValueError, match="replay"):
        replays.length_of(announced)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        replays.opened([["prices", "bid", 1]], struct.pack("<f", float("inf")))
