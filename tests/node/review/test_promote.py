"""A confirmed discovery is run at a larger scale, and what comes of it is signed, on seeds that nobody could choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from node.ledger.store import Ledger
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.review.promote import Promoter, Promotion, wanted
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import OwnSeeds
from protocol.records import Effect, Failure, Record, Transfer
from protocol.seeds import seeds_of
from scripts.swarm_here import judge_less
from tests.node.conftest import NOTHING_RUNS, NoView, ignore
from tests.node.execution.small_objective import copy_tinylm
from tests.node.records_for_tests import OBJECTIVE, Author, audit, checked, experiment, transfer

SCALES = ("medium", "large")
CARRIED, LOST = Effect(-0.1, 0.01, 2), Effect(0.1, 0.01, 2)


class Swarm:
    """Alice's claims, with the reports that confirm them."""

    def __init__(self) -> None:
        self.alice, self.me = Author("alice"), Author("me")
        self.peers = [Author(name) for name in ("bob", "carol", "dave")]
        checked(self.me.write, *self.peers)

    def confirmed(self, title: str, mean: float = -0.19) -> Record:
        claim = self.alice.write(experiment(title))
        reports = [peer.report(claim, mean) for peer in self.peers]
        self.me.write(audit(reports[0]))
        return claim

    def wanted(self, same_budget: Callable[[str], bool] = lambda _: True) -> list[Promotion]:
        records = [record for author in (self.alice, self.me, *self.peers) for record in author.records]
        return wanted(records, self.me.key, SCALES, same_budget)


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


def test_what_is_confirmed_is_promoted_to_the_smallest_scale_the_largest_gain_first(swarm: Swarm) -> None:
    small, large = swarm.confirmed("small", -0.1), swarm.confirmed("large", -0.2)
    swarm.alice.write(experiment("only claimed"))
    assert swarm.wanted() == [Promotion(large, "medium"), Promotion(small, "medium")]


def test_what_carried_over_goes_to_the_next_scale_and_what_was_lost_does_not(swarm: Swarm) -> None:
    carried, lost = swarm.confirmed("carried"), swarm.confirmed("lost")
    swarm.me.write(transfer(carried, CARRIED, "medium", by=swarm.me.identity))
    swarm.me.write(transfer(lost, LOST, "medium", by=swarm.me.identity))
    assert swarm.wanted() == [Promotion(carried, "large")]


def test_what_two_others_have_promoted_is_left_and_so_are_claims_of_another_budget(swarm: Swarm) -> None:
    claim = swarm.confirmed("better")
    assert swarm.wanted(same_budget=lambda _: False) == []
    swarm.peers[0].write(transfer(claim, LOST, "medium", by=swarm.peers[0].identity))
    assert swarm.wanted() == [Promotion(claim, "medium")]
    swarm.peers[1].write(transfer(claim, LOST, "medium", by=swarm.peers[1].identity))
    assert swarm.wanted() == []


class House:
    """A node's promoter on tinylm with a budget of a few steps, and what it logged."""

    def __init__(self, root: Path, layers: Layers) -> None:
        folder = copy_tinylm(root, tokens=4096, wall_seconds=60)
        judge_less(folder)
        self.objective = load_objective(folder, root / "data")
        self.ledger = Ledger.open(root / "ledger.sqlite", OBJECTIVE)
        self.me, self.events = Author("me"), list[tuple[str, dict[str, object]]]()
        self.scales_run: list[str] = []

        def runs_at(objective: Objective) -> Runner:
            self.scales_run.append(objective.scale)
            return Runner(objective, layers, root / "weights", ignore)

        own = CachedRunner(
            self.objective,
            self.ledger,
            Runner(self.objective, layers, root / "weights", ignore),
            OwnSeeds(self.me.identity, self.objective.id),
            "cpu",
            "a processor",
            "a platform",
            "bwrap",
            self.log,
            NoView(),
        )
        self.promoter = Promoter(self.me.identity, own, SCALES, runs_at, lambda: 1, self.log)

    def log(self, event: str, **details: object) -> None:
        self.events.append((event, details))

    def claim(self, *lines: tuple[str, str]) -> Record:
        """A discovery of Alice's whose child has these lines of the baseline changed; its sources have arrived."""
        text = self.objective.source
        for old, new in lines:
            assert old in text
            text = text.replace(old, new)
        child = self.ledger.put_blob(text.encode())
        parent = self.ledger.put_blob(self.objective.source.encode())
        record = Author("alice").write(experiment("better", parent=parent, child=child))
        self.ledger.add(record, "a peer")
        return record


@pytest.mark.sandbox
async def test_a_discovery_is_run_at_the_larger_scale_and_signed_with_its_proof(tmp_path: Path) -> None:
    house = House(tmp_path, probe())
    claim = house.claim(("INIT_STD = 0.3", "INIT_STD = 0.05"))
    record = await house.promoter.promote(Promotion(claim, "large"))
    assert record is not None
    body = record.body
    assert isinstance(body, Transfer)
    assert (body.discovery, body.scale, body.decision) == (claim.id, "large", "carries_over")
    assert body.effect is not None
    assert body.effect.mean < -0.05
    assert record.proven_value is not None
    assert [pair.seed for pair in body.pairs] == seeds_of(record.proven_value, len(body.pairs))
    cached = house.ledger.cached_run
    assert all(cached(body.child, pair.seed, "cpu, large") for pair in body.pairs)
    assert not any(cached(body.child, pair.seed, "cpu") for pair in body.pairs)
    assert [event for event, _ in house.events if event.startswith("promotion")] == ["promotion", "promotion result"]
    assert house.scales_run == ["large"]
    assert house.promoter.cached_runner.runs_made == 2 * len(body.pairs)
    house.ledger.close()


class Failing(Runner):
    """Makes runs that are all killed, and no workers."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def run_pair(self, *_: object) -> tuple[Outcome, Outcome]:
        failed = Outcome(None, {}, (), 0, 0.0, 0.0, 0, Failure.KILLED, "", "bwrap")
        return failed, failed


async def test_what_this_machine_fails_at_is_given_up_and_says_nothing_of_the_discovery(tmp_path: Path) -> None:
    house = House(tmp_path, NOTHING_RUNS)
    claim = house.claim(("INIT_STD = 0.3", "INIT_STD = 0.05"))
    house.promoter.runs_at = lambda objective: Failing(objective, NOTHING_RUNS, tmp_path / "weights", ignore)
    promotion = Promotion(claim, "medium")
    assert await house.promoter.promote(promotion) is None
    assert house.ledger.feed(house.me.key) == []
    assert promotion in house.promoter.given_up
    assert [event for event, _ in house.events if event.startswith("promotion")] == ["promotion", "promotion given up"]
    house.ledger.close()
