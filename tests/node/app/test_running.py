"""What a running node does beside its work: whatever peers' records say, it goes on."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from node.app.running import NO_ROOM_SECONDS, Node, Stop
from node.app.service import _run
from node.execution.run_progress import Progress, RunProgress
from node.network import ListenError, Settings, open_network
from node.platform import hardware
from node.platform.config import load_config
from node.platform.home import Home
from node.proposers.plateau import PLATEAU_IDEAS
from node.review.case import ReviewTask
from node.review.reviewer import Reviewer
from node.review.schedule import LocalTrial
from node.review.workbench import Workbench
from node.trials.cached_runner import CachedRunner
from node.trials.compute_class import ComputeClassEstimator
from protocol.records import Body, Effect, Hypothesis, Record, sign_record
from tests.node.records_for_tests import Author, experiment, replication, source
from tests.node.research.test_loop import research_on

MALLORY = Author("mallory")


class House:
    """A node that has not been started, with what it logged."""

    def __init__(self, cached_runner: CachedRunner, root: Path, *ideas: str) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        (root / "swarm.toml").write_text("")
        home = Home(root / "home")
        home.make()
        research = research_on(cached_runner, root, *ideas)
        self.node = Node(
            load_config(root / "swarm.toml", {"home": str(home.root)}),
            home,
            research.identity,
            cached_runner.ledger,
            cached_runner,
            research,
            Reviewer(
                Workbench(research.identity, cached_runner, research.incumbent, research.workspace, lambda: 1, self.log)
            ),
            ComputeClassEstimator(hardware.measure(), cached_runner, self.log),
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
def house(cached_runner: CachedRunner, tmp_path: Path) -> House:
    return House(cached_runner, tmp_path)


async def test_that_there_are_no_ideas_left_is_logged_once(house: House) -> None:
    assert [await house.node._turn() for _ in range(3)] == [False, False, False]
    assert [event for event, _ in house.events].count("out of ideas") == 1


async def test_where_there_never_was_an_idea_it_is_told_what_brings_one(house: House) -> None:
    await house.node._turn()
    assert "suggest" in dict(house.events)["out of ideas"]["hint"]
    house.node.ledger.append_own(house.node.identity, experiment("tried", decision="no_gain"), 1)
    house.node._told_out_of_ideas_on = b""
    await house.node._turn()
    assert "that was not tried" in house.events[-1][1]["hint"]


async def test_a_suggestion_that_is_signed_during_a_turn_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = house.node

    async def turn(_: int | None) -> Record:
        node.ledger.append_own(node.identity, Hypothesis("an idea", "suggestion", "", None, None), 1)
        return node.ledger.append_own(node.identity, experiment("tried", decision="no_gain"), 1)

    monkeypatch.setattr(node.research, "turn", turn)
    assert await node._turn()
    assert node.own_experiments == 1


async def test_it_says_how_many_experiments_it_will_begin(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which a person's suggestion is told whether this session still tries it."""
    node, under_way = house.node, 0
    monkeypatch.setattr(node._under_way, "ideas_running", lambda: under_way)
    assert node.status()["more_experiments"] == 1
    under_way = 1
    assert node.status()["more_experiments"] == 0
    node.own_experiments, under_way = 1, 0
    assert node.status()["more_experiments"] == 0
    node.stop = Stop()
    assert node.status()["more_experiments"] is None


async def test_a_plateau_is_told_once_with_what_would_help(house: House) -> None:
    node = house.node
    for number in range(PLATEAU_IDEAS):
        small = replace(experiment(f"idea {number}", effect=Effect(-0.003, 0.01, 1)), bet=True, decision="unclear")
        node._tell_of_plateau()
        assert house.events == []
        node.ledger.append_own(node.identity, small, 1)
    node._tell_of_plateau()
    node._tell_of_plateau()
    ((event, details),) = house.events
    assert event == "plateau"
    assert "suggest" in details["hint"]
    assert "language model" in details["hint"]
    large = replace(experiment("a gain", effect=Effect(-0.03, 0.003, 1)), bet=True, decision="unclear")
    node.ledger.append_own(node.identity, large, 1)
    node._tell_of_plateau()
    for number in range(PLATEAU_IDEAS):
        node.ledger.append_own(node.identity, experiment(f"vain {number}", decision="no_gain", effect=None), 1)
    node._tell_of_plateau()
    assert len(house.events) == 2


async def test_only_a_replication_of_a_claim_is_logged(house: House) -> None:
    node = house.node
    idea = node.ledger.append_own(node.identity, Hypothesis("an idea", "suggestion", "", None, None), 1)
    claim = node.ledger.append_own(node.identity, experiment("better"), 1)
    async with node.ledger.subscribe() as arrivals, trio.open_nursery() as nursery:
        nursery.start_soon(node.log_arrivals, arrivals)
        good = replication(claim, by=MALLORY.identity)
        vain = replace(good, pairs=(), effect=None, decision="unclear")
        adopted = replace(vain, adopted=good.child, route="child", adoption=good.effect)
        house.hear(replace(good, discovery=idea.id), replace(good, discovery=bytes(32)), good, vain, adopted)
        with trio.fail_after(5):
            while len(house.events) < 2:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [event for event, _ in house.events] == ["replication received", "adopted by a peer"]


async def test_work_waits_while_the_disk_is_full_and_goes_on_when_it_is_not(
    cached_runner: CachedRunner, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    house = House(cached_runner, tmp_path, f"A = {'1' * 100_000!r}\n")
    autojump_clock.autojump_threshold = 0.1  # the answers of the process that parses sources take real time
    pages = cached_runner.ledger._db.execute("PRAGMA page_count").fetchone()[0]
    cached_runner.ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # to SQLite, this is a full disk
    with trio.CancelScope() as done:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.node.work, done)
            await trio.sleep(2.5 * NO_ROOM_SECONDS)
            assert [event for event, _ in house.events].count("work interrupted") == 3
            cached_runner.ledger._db.execute("PRAGMA max_page_count = 1000000")
    assert house.node.own_experiments == 1
    assert house.node.error is None


async def test_a_pause_is_no_working_time(
    cached_runner: CachedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(cached_runner, tmp_path, "A = 1\n")
    pause_gate = cached_runner.runner.pause_gate
    monkeypatch.setattr(house.node.reviewer, "next_local_trial", lambda opportunity_cost: None)
    monkeypatch.setattr(house.node.reviewer, "next_task", lambda: None)
    pause_gate.pause()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.node.work, trio.CancelScope())
        await trio.sleep(1.0)
        pause_gate.resume()
    assert house.node.own_experiments == 1
    assert house.node.research_seconds < 0.9


@dataclass
class Work:
    """A reviewer that always has something to do, every turn of which takes a second."""

    claim: Record
    clock: float = 0.0
    adopts: bool = False
    done: list[str] = field(default_factory=list)
    opportunity_cost: list[float] = field(default_factory=list)

    def next_local_trial(self, opportunity_cost: float) -> LocalTrial:
        self.opportunity_cost.append(opportunity_cost)
        return LocalTrial(self.claim, 0.1, 1.0, True, (0.0, self.claim.id))

    def next_task(self) -> ReviewTask:
        return ReviewTask(self.claim, None, (0, 0, 0.0, self.claim.id))

    async def try_here(self, trial: LocalTrial, opportunity_cost: float, prove_bets: object) -> Record:
        return self._told("trial", adopted=source("better") if self.adopts else None)

    async def run_task(self, task: ReviewTask) -> Record:
        return self._told("report", adopted=None)

    def _told(self, what: str, adopted: bytes | None) -> Record:
        self.clock += 1.0
        self.done.append(what)
        return MALLORY.write(replication(self.claim, adopted=adopted))


def at_work(house: House, monkeypatch: pytest.MonkeyPatch, adopts: bool = False) -> Work:
    work = Work(Author("alice").write(experiment("better")), adopts=adopts)
    monkeypatch.setattr(house.node, "reviewer", work)
    monkeypatch.setattr(house.node.cached_runner.runner.pause_gate, "clock", lambda: work.clock)
    return work


async def test_local_trials_in_vain_and_reports_take_turns_within_their_share_of_the_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, work = house.node, at_work(house, monkeypatch)
    node.research_seconds = 12.0  # 3 of 15 are a fifth; the fourth turn begins there
    while node._review_is_due():
        assert await node._review()
    assert work.done == ["trial", "report", "trial", "report"]
    assert (node.local_trial_seconds, node.replication_seconds, node.research_seconds) == (2.0, 2.0, 12.0)
    assert (node.replicated, node.adopted) == (4, 0)


async def test_what_leads_to_an_adoption_counts_as_research(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    node, work = house.node, at_work(house, monkeypatch, adopts=True)
    node.research_seconds = 10.0
    for _ in range(6):
        assert await node._review()
    assert (node.adopted, node.local_trial_seconds, node.research_seconds) == (6, 0.0, 16.0)
    assert set(work.done) == {"trial"}


async def test_without_ideas_all_time_goes_to_what_peers_found_and_nothing_is_too_small(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = house.node
    assert not await node._turn()
    assert node.out_of_ideas
    work = at_work(house, monkeypatch)
    monkeypatch.setattr(node.research, "recent_gain_per_run", lambda: 0.5)
    for _ in range(4):
        assert await node._turn()
    assert work.done == ["trial", "report", "trial", "report"]
    assert set(work.opportunity_cost) == {0.0}
    assert node.out_of_ideas, "it has asked for ideas every time"


async def test_sources_of_claims_are_fetched_before_those_of_leads_and_the_largest_and_newest_first(
    house: House,
) -> None:
    """A lead is a peer's bet: nobody asks for its replication, and its source is there to be merged."""

    def heard(title: str, gain: float, decision: str) -> None:
        body = experiment(title, source("before"), source(title), decision=decision, effect=Effect(-gain, 0.01, 2))
        house.hear(replace(body, bet=True) if decision == "unclear" else body)

    for title, gain, decision in (
        ("old lead", 0.09, "unclear"),
        ("small claim", 0.02, "improved"),
        ("large claim", 0.05, "improved"),
        ("new lead", 0.01, "unclear"),
        ("nothing", 0.0, "no_gain"),
    ):
        heard(title, gain, decision)
    needed = dict.fromkeys(house.node._most_needed_sources())
    before, *children = needed
    assert before == source("before")
    assert children == [source(title) for title in ("large claim", "small claim", "new lead", "old lead")]
    assert [getattr(record.body, "title", None) for record in house.node._waiting()] == ["large claim", "small claim"]
    assert house.node.reviewer.next_task() is None


@pytest.mark.sockets
async def test_a_port_that_is_taken_is_an_error_with_a_remedy(house: House) -> None:
    node = house.node
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings([f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"])
        with pytest.raises(ListenError, match="another node or program has this port"):
            await _run(node, lambda: open_network(node.identity, node.ledger, settings, house.log), None, alone=True)


async def test_the_status_has_the_run_under_way_and_why_it_is_paused(house: House) -> None:
    node = house.node
    assert (node.status()["run"], node.status()["resting"], node.status()["scale"]) == (None, None, "")
    node.cached_runner.runs_under_way = [RunProgress(bytes(32))]
    node.cached_runner.runs_under_way[0].note(Progress(0.25, 4.5, 2.0, "train"))
    node.pause_reason = "on battery"
    status = node.status()
    assert (status["run"]["share"], status["run"]["curve"]) == (0.25, [[0.25, 4.5]])
    assert (status["doing"], status["resting"]) == ("paused: on battery", "on battery")
