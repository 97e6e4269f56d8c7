"""What the page asks for beside rows and boards: contribution, the swarm, a peer, progress, the map, two records."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from node.cli.main import main
from node.ledger.outcome import CurvePoint, Outcome
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.platform.home import Home
from node.view.model.dashboard import DashboardModel
from node.view.model.idea_map import MOST_CATEGORIES, MOST_IDEAS
from node.view.model.swarm import MOST_NEWS, MOST_NODES
from protocol.identity import peer_id_of
from protocol.records import ChainStep, Effect, Experiment
from tests.node.records_for_tests import (
    OBJECTIVE,
    Author,
    audit,
    experiment,
    replication,
    reporters,
    source,
    transfer,
)
from tests.node.view.conftest import HOSTILE, NAMED, Swarm
from tests.node.view.web.test_site import settings, showing

pytestmark = pytest.mark.sockets
MOST_SECONDS = 3.0  # for any answer about ten thousand records, on a busy machine; on an idle one all take under 0.6 s


def peer(swarm: Swarm, name: str) -> str:
    return peer_id_of(swarm.authors[name].key)


def model(home: Path) -> DashboardModel:
    found = DashboardModel(Ledger.read(home / "ledger.sqlite"), settings(home))
    found.refresh()
    return found


def outcome(value: float, cpu_seconds: float = 1800.0) -> Outcome:
    curve = (CurvePoint(0.25, value + 1, 1.0), CurvePoint(1.0, value, 4.0))
    return Outcome(value, {"loss": value}, (), 100, cpu_seconds, 3600.0, 1 << 30, None, "", "bwrap", curve=curve)


def test_the_contribution_counts_runs_and_what_lives_on_in_others(swarm: Swarm) -> None:
    for seed in (1, 2):
        swarm.ledger.store_run(swarm.parent, seed, "cpu", outcome(3.5))
    totals = model(swarm.home).totals()
    assert (totals["runs"], totals["cpu_hours"], totals["wall_hours"]) == (2, 1.0, 2.0)
    assert (totals["experiments"], totals["claims"], totals["replications"]) == (1, 1, 0)
    found = totals["found"]
    assert (found["claims"], found["open"], found["adopted"], found["live_on"]) == (1, 1, 1, 1)
    assert (found["in_bests_of"], found["others"]) == (1, 1)
    (line,) = totals["discoveries"]
    assert (line["title"], line["adopted_by"], line["lives_in"]) == ("Smaller initialisation", 1, 1)


def test_each_objective_has_totals_of_its_own(swarm: Swarm) -> None:
    other = hashlib.sha256(b"another objective").digest()
    swarm.ledger.store_run(swarm.parent, 1, "cpu", outcome(3.5))
    with closing(Ledger.open(swarm.home / "ledger.sqlite", other)) as ledger:
        ledger.settings.choose(Description("cartpole", baseline=swarm.parent))
        ledger.add(Author("alice", objective=other).write(experiment(decision="no_gain")), NAMED)
        ledger.store_run(swarm.parent, 1, "cpu", outcome(0.5))
        ledger.store_run(swarm.parent, 2, "cpu", outcome(0.6))
    swarm.ledger.set_meta("objective", OBJECTIVE)  # which was joined last
    totals = model(swarm.home).totals()
    rows = {row["name"]: row for row in totals["objectives"]}
    assert [row["current"] for row in totals["objectives"]] == [True, False]
    assert (rows["tinylm"]["runs"], rows["tinylm"]["experiments"], rows["tinylm"]["claims"]) == (1, 1, 1)
    assert (rows["cartpole"]["runs"], rows["cartpole"]["experiments"], rows["cartpole"]["claims"]) == (2, 1, 0)
    assert (totals["runs"], totals["all"]["runs"], totals["all"]["cpu_hours"]) == (1, 3, 1.5)


def test_runs_are_counted_on_and_never_twice(swarm: Swarm) -> None:
    shown = model(swarm.home)
    assert shown.totals()["runs"] == 0
    swarm.ledger.store_run(swarm.parent, 1, "cpu", outcome(3.5))
    swarm.write("bob", experiment("Another", child=source("another")))
    shown.refresh()
    shown._folds._due = 0.0
    assert shown.totals()["runs"] == 1


def test_the_graph_says_who_re_ran_and_adopted_whose(swarm: Swarm) -> None:
    graph = model(swarm.home).swarm()
    alice, bob = peer(swarm, "alice"), peer(swarm, "bob")
    (edge,) = graph["edges"]
    assert (edge["from"], edge["to"], edge["reports"], edge["adopted"], edge["supports"]) == (bob, alice, 1, 1, 1)
    nodes = {node["peer"]: node for node in graph["nodes"]}
    assert nodes[alice]["you"]
    assert (nodes[alice]["standing"], nodes[bob]["standing"]) == ("you", "unknown")
    assert [one["what"] for one in graph["news"]] == ["claimed", "adopted", "claimed", "suggested"]
    assert graph["news"][1]["to"] == alice
    assert [one["number"] for one in graph["news"]] == [0, 1, 2, 3]


def test_the_graph_has_promotions_and_no_edge_that_counts_nothing(swarm: Swarm) -> None:
    claim, other = swarm.authors["alice"].records[0], swarm.authors["carol"]
    swarm.write("carol", transfer(claim, Effect(-0.1, 0.01, 2), by=other.identity))
    swarm.write("dave", replace(replication(claim), pairs=()))  # a trial that shows no runs, and adopts nothing
    edges = {edge["from"]: edge for edge in model(swarm.home).swarm()["edges"]}
    assert edges.keys() == {peer(swarm, "bob"), peer(swarm, "carol")}
    assert (edges[peer(swarm, "carol")]["transfers"], edges[peer(swarm, "carol")]["reports"]) == (1, 0)


def test_the_graph_is_bounded_and_sums_up_the_rest(tmp_path: Path) -> None:
    made = Swarm(tmp_path / "home")
    for number in range(MOST_NODES + 30):
        made.authors["alice"] = Author(f"author {number}")
        made.write("alice", experiment(f"idea {number}", child=source(f"{number}")))
    graph = model(made.home).swarm()
    assert len(graph["nodes"]) == MOST_NODES
    assert (graph["left_out"]["nodes"], graph["left_out"]["discoveries"]) == (30, 30)
    assert len(graph["news"]) == MOST_NEWS


def test_a_peer_s_page_says_on_whose_word_its_weight_rests(swarm: Swarm) -> None:
    bob = swarm.authors["bob"]
    claim = swarm.authors["alice"].records[0]
    shown = model(swarm.home).peer(peer(swarm, "bob"))
    assert shown is not None
    assert (shown["standing"], shown["weight"]) == ("unknown", 0.0)
    assert "its word counts nothing" in shown["because"]
    assert (shown["claims"]["total"], shown["reports"]["made"], shown["suggestions"]) == (1, 1, 1)
    assert [(one["from"], one["route"]) for one in shown["adopted"]] == [(peer(swarm, "alice"), "child")]
    report = next(record for record in bob.records if record.kind == "replication")
    assert report.body.discovery == claim.id  # type: ignore[union-attr]
    swarm.write("alice", audit(report))
    shown = model(swarm.home).peer(peer(swarm, "bob")[-8:])
    assert shown is not None
    assert (shown["standing"], shown["reports"]["audited_here"], shown["reports"]["agreed"]) == ("checked", 1, 1)
    assert shown["weight"] == pytest.approx(1 / 3, abs=1e-3)


def test_progress_begins_at_the_baseline_and_adds_errors_up(tmp_path: Path) -> None:
    made = Swarm(tmp_path / "home")
    made.ledger.store_run(made.parent, 1, "cpu", outcome(4.0))
    made.ledger.store_run(made.parent, 2, "cpu", outcome(3.0))
    made.ledger.store_run(made.parent, 3, "cpu, large", outcome(1.0))  # another scale is another measure
    first = made.write("alice", experiment("First", made.parent, effect=Effect(-0.1, 0.03, 2)))
    made.write("alice", experiment("Second", first.body.child, effect=Effect(-0.05, 0.04, 3)))  # type: ignore[union-attr]
    shown = model(made.home).progress()
    told = shown["baseline"]
    assert (told["value"], told["mean"], told["n"]) == (
        4.0,
        3.5,
        2,
    )  # as in the log, whose is the first
    assert told["mean_se"] == pytest.approx(0.5)
    assert [step["what"] for step in shown["you"]] == ["baseline", "claim", "claim"]
    assert shown["you"][2]["gain"] == pytest.approx(100 * (1 - 2.718281828**-0.15), rel=1e-6)
    assert shown["you"][2]["se"] == pytest.approx(5 * 2.718281828**-0.15, rel=1e-6)
    assert shown["best"]["by"] == peer(made, "alice")
    assert [step["title"] for step in shown["swarm"]] == ["First", "Second"]


def test_the_map_has_each_category_with_its_gain_and_ideas(tmp_path: Path) -> None:
    made = Swarm(tmp_path / "home")
    for title, mean in (("a", -0.02), ("a", -0.04), ("b", 0.01)):
        made.write("alice", experiment(title, decision="no_gain", effect=Effect(mean, 0.001, 1), category="schedule"))
    for number in range(MOST_CATEGORIES + 2):
        made.write("bob", experiment(f"{number}", decision="failed", effect=None, category=f"c-{number:02}"))
    shown = model(made.home).map()
    schedule = shown["categories"][0]
    assert (schedule["category"], schedule["tried"], schedule["kept"]) == ("schedule", 3, 0)
    assert schedule["gain"][0] == pytest.approx((1.98 + 3.92 - 1.005) / 3, abs=0.01)
    assert [(idea["title"], idea["times"]) for idea in schedule["ideas"]] == [("a", 2), ("b", 1)]
    assert schedule["ideas"][0]["gain"][0] == pytest.approx(3.92, abs=0.01)
    assert (len(shown["categories"]), shown["rest_categories"]) == (MOST_CATEGORIES, 3)


def test_a_claim_of_a_chain_counts_in_the_categories_of_its_steps(swarm: Swarm) -> None:
    bets = [
        swarm.write("carol", replace(experiment(name, category=name, decision="unclear"), bet=True))
        for name in ("optimizer", "schedule")
    ]
    steps = tuple(ChainStep(bet.id, bet.body.category, -0.1) for bet in bets if isinstance(bet.body, Experiment))
    chain = swarm.write("carol", replace(experiment("optimizer + schedule", category="schedule"), steps=steps))
    for record in reporters(chain, lambda body: swarm.write("alice", body)):
        swarm.ledger.add(record, NAMED)
    shown = {row["category"]: row for row in model(swarm.home).map()["categories"]}
    for name in ("optimizer", "schedule"):
        assert (shown[name]["tried"], shown[name]["claims"], shown[name]["confirmed"]) == (1, 1, 1)
    assert shown["initialisation"]["claims"] == 2


async def test_two_records_side_by_side(swarm: Swarm) -> None:
    (claim,) = swarm.authors["alice"].records
    swarm.ledger.store_run(swarm.child, 2, "cpu", outcome(2.8))
    swarm.ledger.store_run(swarm.child, 77, "cpu", outcome(2.9))  # at a seed that no record tells
    other = swarm.write("bob", replace(experiment("Other", swarm.parent), effect=Effect(-0.1, 0.01, 2)))
    async with showing(swarm.home) as browser:
        answer = await browser.ask(f"/api/compare?a={claim.id.hex()[:10]}&b={other.id.hex()}")
        unknown = await browser.ask("/api/compare?a=000000&b=" + other.id.hex())
        idea = await browser.ask(f"/api/compare?a={claim.id.hex()}&b={swarm.authors['bob'].records[2].id.hex()}")
    shown = answer.json
    assert shown["same_parent"]
    assert shown["difference"]["mean"] == pytest.approx(0.1)
    assert shown["difference_text"].startswith("b − a: ")
    assert [curve["seed"] for curve in shown["a"]["curves"]] == [2]
    assert shown["a"]["curves"][0]["curve"] == [[0.25, 3.8], [1.0, 2.8]]
    assert shown["shared_seeds"] == [1, 2]
    assert unknown.status == 404
    assert (idea.status, b"shows no runs" in idea.body) == (409, True)


@pytest.mark.parametrize("path", ["totals", "swarm", "progress", "map", "objective", "live"])
async def test_every_projection_is_served_behind_the_token(swarm: Swarm, path: str) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.ask(f"/api/{path}")).status == 200
        assert (await browser.ask(f"/api/{path}", cookie="none=1")).status == 403


@pytest.mark.long
async def test_ten_thousand_records_are_worked_out_in_time(crowded: Swarm) -> None:
    shown = model(crowded.home)
    alice = peer(crowded, "alice")
    views = (shown.totals, shown.board, shown.swarm, shown.progress, shown.map, shown.objective)
    for ask in (*views, shown.settings, shown.suggestions, shown.live, lambda: shown.peer(alice)):
        began = time.monotonic()
        size = len(json.dumps(ask()))
        assert time.monotonic() - began < MOST_SECONDS
        assert size < 1 << 20
    assert all(len(category["ideas"]) <= MOST_IDEAS for category in shown.map()["categories"])


async def test_settings_are_changed_by_the_page_and_taken_back(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        done = await browser.do("set", 'hours ["22:00-07:00"]')
        wrong = await browser.do("set", "workers 99")
        hours = next(one for one in (await browser.ask("/api/settings")).json["settings"] if one["name"] == "hours")
        undone = await browser.do("undo")
        shown = (await browser.ask("/api/settings")).json
    assert done.json["said"] == "hours is 22:00-07:00 from now on"
    assert (wrong.status, b"expected a whole number from 0 to 64" in wrong.body) == (400, True)
    assert (hours["value"], hours["from"], hours["running"]) == (["22:00-07:00"], "changed", None)
    assert undone.json["said"] == "hours back to none"
    assert shown["undo"] is None
    assert all(one["from"] == "default" for one in shown["settings"])


async def test_a_pause_has_an_end_if_a_person_says_so(swarm: Swarm) -> None:
    async with showing(swarm.home) as browser:
        assert (await browser.do("pause", "90m")).json["said"].startswith("paused until ")
        assert (await browser.ask("/api/live")).json["pause"]["until"] == pytest.approx(time.time() + 5400, abs=60)
        assert (await browser.do("pause", "tomorrow")).status == 400
        assert (await browser.do("pause")).json["said"] == "paused"
        assert (await browser.ask("/api/live")).json["pause"] == {"until": None, "by": "you", "why": ""}


async def test_the_page_decides_on_suggestions_and_is_told_what_becomes_of_them(swarm: Swarm) -> None:
    idea = swarm.authors["bob"].records[2].id.hex()
    async with showing(swarm.home) as browser:
        (one,) = (await browser.ask("/api/suggestions")).json["suggestions"]
        assert (one["id"], one["state"], one["can"]) == (idea, "needs_model", ["veto"])
        assert "never tries it" in (await browser.do("suggestion-veto", idea)).json["said"]
        assert (await browser.do("suggestion-take-back", idea)).status == 400
        (one,) = (await browser.ask("/api/suggestions")).json["suggestions"]
        assert (one["state"], one["can"]) == ("vetoed", ["allow"])
        said = (await browser.do("suggest", "Try a cosine")).json["said"]
    assert "needs a model" in said


async def test_a_stream_tells_what_runs_as_soon_as_that_changes(swarm: Swarm) -> None:
    run = {"source": "ab", "role": "idea", "title": HOSTILE, "phase": "train", "share": 0.5, "curve": [[0.5, 3.0]]}
    home = Home(swarm.home)
    with home.locked():
        async with showing(swarm.home) as browser, await trio.open_tcp_stream("127.0.0.1", browser.port) as stream:
            host = f"Host: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
            await stream.send_all(f"GET /api/events?after=4 HTTP/1.1\r\n{host}".encode())
            received = b""
            with trio.fail_after(5):
                while b"event: live" not in received:
                    received += await stream.receive_some()
                home.write_status({"objective": OBJECTIVE.hex(), "runs": [run], "doing": "research"})
                while b'"share": 0.5' not in received:
                    received += await stream.receive_some()
    told = json.loads(received.split(b"data: ")[-1].split(b"\n")[0])
    assert (told["state"], told["doing"]) == ("running", "research")
    assert told["runs"][0]["curve"] == [[0.5, 3.0]]
    assert told["runs"][0]["beside"] is None


@pytest.mark.parametrize("status", [{}, {"runs": 3}, {"runs": [4, {"curve": None}]}, {"machine": [], "next": {"a": 1}}])
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(swarm: Swarm, status: dict[str, object]) -> None:
    home = Home(swarm.home)
    with home.locked():
        home.write_status({"objective": OBJECTIVE.hex(), **status})
        assert model(swarm.home).live()["state"] in ("idle", "running")


VIEWS = {
    "totals": ["contribution"],
    "progress": ["progress"],
    "map": ["map"],
    "swarm": ["swarm", "graph"],
    "objective": ["objective", "show"],
}


@pytest.mark.parametrize("path", VIEWS)
async def test_all_that_the_page_is_given_is_printed_too(
    swarm: Swarm, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with showing(swarm.home) as browser:
        served = (await browser.ask(f"/api/{path}")).json
    for form in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*VIEWS[path], "--home", str(swarm.home), *form])
        assert not ended.value.code
    printed = capsys.readouterr().out
    told = json.loads(printed[printed.index("\n{") :])
    assert told == {name: value for name, value in served.items() if name not in ("of", "rest")}


def test_a_connected_peer_without_records_is_shown_as_that(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = peer_id_of(Author("stranger").identity.author)
    told = {"peers": [{"peer": stranger, "address": "/ip4/192.0.2.2/tcp/4001", "compute_class": "laptop-cpu"}]}
    monkeypatch.setattr(Home, "read_status", lambda home: told)
    for more, status in (((stranger[-8:],), 0), ((f"…{stranger[-8:]}", "--json"), 0), (("nobody",), 2)):
        with pytest.raises(SystemExit) as ended:
            main(["peer", "show", *more, "--home", str(swarm.home)])
        assert ended.value.code == status
    text, _, data = capsys.readouterr().out.partition("{")
    assert f"peer       {stranger}" in text
    assert "connected  yes, at /ip4/192.0.2.2/tcp/4001" in text
    assert json.loads("{" + data)["records"] == 0
