"""What a running node does beside its work: whatever peers' records say, it goes on."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node import hardware
from node.config import load_config
from node.experiment.course import Course
from node.experiment.laboratory import Laboratory
from node.experiment.run import Progress
from node.home import Home
from node.network import ListenError, Settings, open_network
from node.pace import Pace
from node.replicate import Replicator
from node.running import NO_ROOM_SECONDS, Node, Stop
from node.service import _run
from protocol.records import Body, Hypothesis, sign_record
from tests.node.records_for_tests import Author, experiment, replication
from tests.node.test_research import research_on

MALLORY = Author("mallory")


class House:
    """A node that has not been started, with what it logged."""

    def __init__(self, laboratory: Laboratory, root: Path, *ideas: str) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        (root / "swarm.toml").write_text("")
        home = Home(root / "home")
        home.make()
        research = research_on(laboratory, root, *ideas)
        self.node = Node(
            load_config(root / "swarm.toml", {"home": str(home.root)}),
            home,
            research.identity,
            laboratory.ledger,
            laboratory,
            research,
            Replicator(research.identity, laboratory, research, research.workspace, lambda: 1, self.log),
            Pace(hardware.measure(), laboratory, self.log),
            self.log,
            no_research=False,
            stop=Stop(experiments=1),
        )

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))

    def hear(self, *bodies: Body) -> None:
        """Take in a peer's records."""
        ledger = self.node.ledger
        for body in bodies:
            feed = ledger.feed(MALLORY.key)
            prev = feed[-1].id if feed else bytes(32)
            ledger.add(sign_record(MALLORY.identity, ledger.objective, len(feed), prev, 1, body), "a peer")


@pytest.fixture
def house(laboratory: Laboratory, tmp_path: Path) -> House:
    return House(laboratory, tmp_path)


async def test_that_there_are_no_ideas_left_is_said_once(house: House) -> None:
    assert [await house.node._turn() for _ in range(3)] == [False, False, False]
    assert [event for event, _ in house.events].count("out of ideas") == 1


async def test_only_a_replication_of_a_claim_is_told_of(house: House) -> None:
    node = house.node
    idea = node.ledger.append_own(node.identity, Hypothesis("an idea", "suggestion", "", None, None), 1)
    claim = node.ledger.append_own(node.identity, experiment("better"), 1)
    async with node.ledger.subscribe() as arrivals, trio.open_nursery() as nursery:
        nursery.start_soon(node.tell_arrivals, arrivals)
        good = replication(claim, by=MALLORY.key)
        house.hear(replace(good, discovery=idea.id), replace(good, discovery=bytes(32)), good)
        with trio.fail_after(5):
            while not house.events:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [event for event, _ in house.events] == ["replication heard"]


async def test_work_waits_while_the_disk_is_full_and_goes_on_when_it_is_not(
    laboratory: Laboratory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    house = House(laboratory, tmp_path, f"A = {'1' * 100_000!r}\n")
    pages = laboratory.ledger._db.execute("PRAGMA page_count").fetchone()[0]
    laboratory.ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # to SQLite, this is a full disk
    with trio.CancelScope() as done:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.node.work, done)
            await trio.sleep(2.5 * NO_ROOM_SECONDS)
            assert [event for event, _ in house.events].count("work waits") == 3
            laboratory.ledger._db.execute("PRAGMA max_page_count = 1000000")
    assert house.node.own_experiments == 1
    assert house.node.error is None


async def test_rest_is_no_time_at_work(laboratory: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(laboratory, tmp_path, "A = 1\n")
    rest = laboratory.runner.rest
    monkeypatch.setattr(house.node.replicator, "next_task", lambda: None)
    rest.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.node.work, trio.CancelScope())
        await trio.sleep(1.0)
        rest.end()
    assert house.node.own_experiments == 1
    assert house.node.research_seconds < 0.9


async def test_a_port_that_is_taken_is_told_in_words(house: House) -> None:
    node = house.node
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings([f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"])
        with pytest.raises(ListenError, match="is the port taken"):
            await _run(node, lambda: open_network(node.identity, node.ledger, settings, house.log), None, alone=True)


async def test_the_status_tells_of_the_run_under_way_and_why_it_rests(house: House) -> None:
    node = house.node
    assert (node.status()["run"], node.status()["resting"]) == (None, None)
    node.laboratory.courses = [Course(bytes(32), 3)]
    node.laboratory.courses[0].note(Progress(0.25, 4.5, 2.0, "train"))
    node.resting = "on battery"
    status = node.status()
    assert (status["run"]["share"], status["run"]["curve"]) == (0.25, [[0.25, 4.5]])
    assert (status["doing"], status["resting"]) == ("resting: on battery", "on battery")
