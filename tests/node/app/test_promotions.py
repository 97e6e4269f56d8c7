"""A node promotes what a person names at once, and what is confirmed in a share of its time; scales it cannot bear it
leaves alone and says so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.app.promotions import (
    PromoteError,
    asked_for,
    leave,
    promotion_of,
    refuse_too_large,
    scale_asked_for,
    scales_here,
)
from node.app.researched import use
from node.cli.main import main
from node.ledger.store import Ledger
from node.objective.limits import HostLimits
from node.objective.schema import Objective
from node.platform.config import Config, load_config
from node.platform.home import Home
from node.review.promote import Promoter, Promotion
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Record, sign_record
from tests.node.app.test_running import House
from tests.node.execution.small_objective import ENOUGH
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import Author, experiment, transfer

CARRIED = Effect(-0.1, 0.01, 2)


def configured(tmp_path: Path, text: str = "") -> Config:
    (tmp_path / "set.toml").write_text(f"[research]\n{text}")
    return load_config(tmp_path / "set.toml", {"home": str(tmp_path / "home")})


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **details: Any) -> None:
        self.events.append((event, details))


@pytest.fixture
def objective(cached_runner: CachedRunner) -> Objective:
    return cached_runner.objective


@pytest.mark.parametrize(
    ("settings", "scales"),
    [("", ("medium", "large")), ('scale = "large"', ("large",)), ('promote = "off"', ()), ('scale = "huge"', ())],
)
def test_the_settings_say_to_which_scales_a_node_promotes(
    objective: Objective, tmp_path: Path, settings: str, scales: tuple[str, ...]
) -> None:
    told = Told()
    assert scales_here(objective, configured(tmp_path, settings), ENOUGH, told) == scales
    assert [event for event, _ in told.events] == (["scale unknown"] if "huge" in settings else [])


def test_a_scale_that_this_machine_cannot_bear_is_left_alone(objective: Objective, tmp_path: Path) -> None:
    told, little = Told(), HostLimits(memory_bytes=4 << 30, wall_seconds=400, threads=4, data_bytes=64 << 20)
    assert scales_here(objective, configured(tmp_path), little, told) == ("medium",)
    ((event, details),) = told.events
    assert (event, details["scale"]) == ("scale too large", "large")
    assert "objective_wall_minutes" in details["why"]


def test_without_a_name_a_discovery_goes_to_the_scale_researched_for_or_the_smallest(objective: Objective) -> None:
    assert scale_asked_for(objective, None, "") == "medium"
    assert scale_asked_for(objective, None, "large") == "large"
    assert scale_asked_for(objective, "large", "") == "large"
    with pytest.raises(PromoteError, match=r"it has medium .cpu, 786,432 tokens., large"):
        scale_asked_for(objective, "huge", "")
    with pytest.raises(PromoteError, match="no larger scale for this machine"):
        scale_asked_for(replace(objective, scales=()), None, "")


# ---- a running node -------------------------------------------------------------------------------------------------


class Promoting(House):
    """A node whose promotions make no runs and are only noted."""

    def __init__(self, cached_runner: CachedRunner, root: Path) -> None:
        super().__init__(cached_runner, root)
        self.done: list[Promotion] = []
        self.confirmed: list[Promotion] = []
        house = self

        class Noting(Promoter):
            def next(self) -> Promotion | None:
                return next((each for each in house.confirmed if each not in house.done), None)

            async def promote(self, promotion: Promotion) -> Record | None:
                house.done.append(promotion)
                return None

        node = self.node
        node.promoter = Noting(node.identity, cached_runner, (), lambda _: cached_runner.runner, lambda: 1, self.log)

    def discovery(self, title: str) -> Record:
        ledger, author = self.node.ledger, Author(title)
        child = ledger.put_blob(title.encode())
        body = experiment(title, parent=self.node.cached_runner.objective.source_id, child=child)
        record = sign_record(author.identity, ledger.objective, 0, bytes(32), 1, body)
        ledger.add(record, "a peer")
        return record


@pytest.fixture
def house(cached_runner: CachedRunner, tmp_path: Path) -> Promoting:
    return Promoting(cached_runner, tmp_path)


async def test_what_a_person_names_is_promoted_at_once_and_asked_for_no_more(house: Promoting) -> None:
    claim = house.discovery("better")
    leave(house.node.home.promotions, house.node.ledger.objective, Promotion(claim, "large"))
    house.node.promotion_seconds = 1000.0  # more than its share, which is for what is confirmed
    assert await house.node._promote()
    assert house.done == [Promotion(claim, "large")]
    assert list(house.node.home.promotions.iterdir()) == []
    assert not await house.node._promote()


async def test_what_is_confirmed_is_promoted_in_its_share_of_the_time(house: Promoting) -> None:
    node = house.node
    house.confirmed = [Promotion(house.discovery(title), "medium") for title in ("one", "two", "three")]
    node.research_seconds, node.promotion_seconds = 80.0, 10.0
    assert not await node._promote()  # 10 of 90 s are more than a tenth
    node.research_seconds = 100.0
    assert await node._promote()
    node.promotion_seconds, node.out_of_ideas = 1000.0, True
    assert await node._promote()
    assert house.done == house.confirmed[:2]


def test_a_request_that_makes_no_sense_is_set_aside(house: Promoting) -> None:
    node = house.node
    folder, claim = node.home.promotions, house.discovery("better")
    folder.mkdir()
    wrong = ["", "{}", '{"objective": 1, "claim": 2, "scale": 3}', "[" * 100_000]
    of = node.ledger.objective.hex()
    wrong.append(f'{{"objective": "{of}", "claim": "00", "scale": "large"}}')
    wrong.append(f'{{"objective": "{of}", "claim": "{claim.id.hex()}", "scale": "huge"}}')
    for number, text in enumerate(wrong):
        (folder / f"{number}.json").write_text(text)
    elsewhere = folder / "9.json"
    elsewhere.write_text(f'{{"objective": "{"00" * 32}", "claim": "00", "scale": "large"}}')
    assert asked_for(folder, node.ledger, node.cached_runner.objective, house.log) is None
    assert [event for event, _ in house.events] == ["promotion refused"] * len(wrong)
    assert [path.name for path in folder.glob("*.json")] == [elsewhere.name]


async def test_what_this_node_has_promoted_is_not_run_again(house: Promoting) -> None:
    node, claim = house.node, house.discovery("better")
    node.ledger.append_own(node.identity, transfer(claim, CARRIED, by=node.identity), 1)
    leave(node.home.promotions, node.ledger.objective, Promotion(claim, "large"))
    assert await node._promote()
    assert house.done == []
    assert list(node.home.promotions.iterdir()) == []


def test_what_is_no_discovery_or_has_not_arrived_is_refused_in_words(house: Promoting) -> None:
    ledger, objective = house.node.ledger, house.node.cached_runner.objective
    trial = ledger.append_own(house.node.identity, experiment("tried", decision="no_gain"), 1)
    with pytest.raises(PromoteError, match="is no discovery"):
        promotion_of(ledger, trial.id.hex()[:8], "large", objective)
    with pytest.raises(PromoteError, match="no single record"):
        promotion_of(ledger, "00", "large", objective)
    claim = sign_record(Author("far").identity, ledger.objective, 0, bytes(32), 1, experiment("far"))
    ledger.add(claim, "a peer")
    with pytest.raises(PromoteError, match="has not arrived"):
        promotion_of(ledger, claim.id.hex(), "large", objective)


def test_a_machine_whose_limits_or_workers_say_not_to_is_not_asked(objective: Objective, tmp_path: Path) -> None:
    refuse_too_large(objective, "large", configured(tmp_path))
    (tmp_path / "set.toml").write_text("[limits]\nobjective_wall_minutes = 5\n")
    with pytest.raises(PromoteError, match=r"scale large is too large for this machine: budget.wall_seconds"):
        refuse_too_large(objective, "large", load_config(tmp_path / "set.toml", {}))
    (tmp_path / "set.toml").write_text('[workers]\ncommand = ["srun", "autoresearch-node", "worker"]\n')
    with pytest.raises(PromoteError, match="workers"):
        refuse_too_large(objective, "large", load_config(tmp_path / "set.toml", {}))


def test_the_command_leaves_a_request_while_a_node_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home")
    objective = use(home, "tinylm").objective
    ledger = Ledger.open(home.ledger, objective.id)
    child = ledger.put_blob(b"better")
    ledger.put_blob(objective.source.encode())
    claim = sign_record(
        Author("alice").identity, objective.id, 0, bytes(32), 1, experiment("better", objective.source_id, child)
    )
    ledger.add(claim, "a peer")
    with home.locked(), pytest.raises(SystemExit) as ended:
        main(["promote", claim.id.hex()[:10], "--home", str(home.root), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    hold("promote", told)
    assert told == {"waiting": True, "discovery": claim.id.hex(), "scale": "medium"}
    found = asked_for(home.promotions, ledger, objective, Told())
    assert found is not None
    assert found[1] == Promotion(claim, "medium")
    ledger.close()
