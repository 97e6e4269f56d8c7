"""The adversaries' table: what counts as a goal that was missed, and that honest nodes read what attackers write."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]

import adversaries  # noqa: E402
from attacks import honest  # noqa: E402
from attacks.attack import MEASURES, Attack, Figures, Outcome  # noqa: E402
from attacks.floods import feed, new_key  # noqa: E402
from attacks.scene import LENGTH_BYTES, Scene  # noqa: E402

from protocol.records import Unknown  # noqa: E402
from tests.node.records_for_tests import BASELINE, Author, experiment, source  # noqa: E402


async def nothing(scene: Scene) -> Figures:
    return {}


def outcome(**figures: float | None) -> Outcome:
    return Outcome(Attack("a flood", "much of it", nothing, limits={"memory": 30.0}), figures, 10, 2_000_000, 1.25)


def test_a_goal_is_missed_beyond_its_limit_and_by_what_never_comes() -> None:
    assert outcome(newcomer=4.9, fold=0.9, memory=29.0).missed == []
    assert outcome(newcomer=None, fold=1.1, memory=31.0).missed == ["newcomer", "fold", "memory"]


def test_a_row_shows_what_was_missed_beside_what_it_was_before_and_what_it_cost() -> None:
    row = adversaries.row(outcome(newcomer=0.43, fold=0.01), outcome(newcomer=None))
    assert row == (
        "| **a flood**: much of it | **newcomer heard after never** | newcomer heard after 0.43 s; what is held folds "
        "in 0.01 s | 10 keys, 2.0 MB, 1.2 s | reached |"
    )
    assert "missed: fold" in adversaries.row(outcome(fold=2.0), None)


def test_the_same_is_there_as_data() -> None:
    data = json.loads(json.dumps(adversaries.as_data(outcome(newcomer=None, memory=1.0))))
    assert data["missed"] == ["newcomer"]
    assert data["goals"] == {"newcomer": 5.0, "memory": 30.0}
    assert data["attacker"] == {"keys": 10, "bytes": 2_000_000, "cpu_seconds": 1.25}


def test_attacks_are_chosen_by_name_and_an_unknown_one_is_told_of_the_others() -> None:
    names = [attack.name for attack in adversaries.ATTACKS]
    assert len(set(names)) == len(names)
    assert [attack.name for attack in adversaries.chosen(["chain", "seats"])] == ["chain", "seats"]
    assert adversaries.chosen([]) == list(adversaries.ATTACKS)
    with pytest.raises(SystemExit, match=r"no attack 'sets'; there are: .*seats"):
        adversaries.chosen(["sets"])
    assert all(limit in MEASURES for attack in adversaries.ATTACKS for limit in attack.limits)


def test_an_honest_node_folds_the_records_that_an_attacker_left_in_a_file(tmp_path: Path) -> None:
    chain = feed(new_key(), [experiment("one"), experiment("two", source("one")), Unknown("x", {"x": [1, 2]})])
    wires = [record.wire() for record in chain]
    (tmp_path / "records").write_bytes(b"".join(len(wire).to_bytes(LENGTH_BYTES, "big") + wire for wire in wires))
    read = honest.records_in(tmp_path / "records")
    assert [record.id for record in read] == [record.id for record in chain]
    assert honest.BASELINE == BASELINE
    assert honest.fold(read, Author("me").key) < 1.0
