"""What several commands show is the same figure in each: the baseline's value, the best gain, how much was tried."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.app.inventory import _researched
from node.cli.main import main
from node.ledger.outcome import Outcome
from node.ledger.screenings import ScreenedRun
from node.ledger.store import Ledger
from node.platform.home import Home
from node.view.model.dashboard import DashboardModel
from node.view.model.rows import row
from protocol.identity import peer_id_of
from protocol.records import ChainStep, Effect, Experiment
from tests.node.records_for_tests import OBJECTIVE, experiment, replication, source
from tests.node.view.conftest import Swarm
from tests.node.view.web.test_site import settings

FIRST, LATER = 4.0, 3.0


def told(capsys: pytest.CaptureFixture[str], swarm: Swarm, *command: str) -> str:
    """The same for a person."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--home", str(swarm.home)])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.fixture
def searched(tmp_path: Path) -> Swarm:
    """Alice has run the baseline twice, kept and claimed one edit, dropped one, and kept another since."""
    made = Swarm(tmp_path / "home")
    for seed, value in enumerate((FIRST, LATER)):
        outcome = Outcome(value, {}, (), 100, 10.0, 10.0, 1 << 20, None, "", "bwrap")
        made.ledger.store_run(made.parent, seed, "cpu", outcome)
    child, effect = source("Kept"), Effect(-0.1, 0.01, 1)
    kept = replace(experiment("Kept", made.parent, child, "unclear", effect), bet=True, pairs=())
    bet = made.write("alice", kept)
    claim = experiment("Kept", made.parent, child, "improved", Effect(-0.08, 0.01, 2))
    steps = (ChainStep(bet.id, "initialisation", -0.08),)
    made.write("alice", replace(claim, screening=None, steps=steps))
    made.write("alice", experiment("Dropped", child, decision="no_gain", effect=Effect(0.01, 0.01, 1)))
    ahead = experiment("Ahead", child, decision="unclear", effect=Effect(-0.05, 0.01, 1))
    made.write("alice", replace(ahead, bet=True, pairs=()))
    return made


def printed(capsys: pytest.CaptureFixture[str], swarm: Swarm, *command: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--json", "--home", str(swarm.home)])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def test_the_value_of_the_baseline_is_that_of_its_first_run(
    searched: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, objective = printed(capsys, searched, "progress"), printed(capsys, searched, "objective", "show")
    (of_class,) = printed(capsys, searched, "watch")["classes"]
    model = DashboardModel(Ledger.read(searched.home / "ledger.sqlite"), settings(searched.home))
    model.refresh()
    chart = model.rows(0)[0]["level_from"]
    assert {
        progress["baseline"]["value"], progress["you"][0]["value"], objective["baseline"]["value"],
        of_class["values"][0], chart,
    } == {FIRST}  # fmt: skip
    assert progress["baseline"]["mean"] == (FIRST + LATER) / 2


def test_charts_begin_anew_when_the_baseline_is_first_run_here(tmp_path: Path) -> None:
    """Until then the value is that of the first record that shows one."""
    made = Swarm(tmp_path / "home")
    model = DashboardModel(Ledger.read(made.home / "ledger.sqlite"), settings(made.home))
    made.write("bob", experiment("Theirs", made.parent))
    model.refresh()
    begun = model.dropped
    assert model.rows(0)[0]["level_from"] == 3.5
    made.ledger.store_run(made.parent, 1, "cpu", Outcome(FIRST, {}, (), 100, 1.0, 1.0, 1, None, "", "bwrap"))
    model.refresh()
    assert model.rows(0)[0]["level_from"] == FIRST
    assert model.dropped > begun, "who has the rows is told to ask for them again"
    model.refresh()
    assert len(model.rows(0)) == 1


def test_the_best_gain_is_what_is_claimed_and_what_was_kept_since_stands_apart(
    searched: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    status, progress = printed(capsys, searched, "status"), printed(capsys, searched, "progress")
    (node,) = printed(capsys, searched, "leaderboard")["nodes"]
    listed = _researched(Home(searched.home), OBJECTIVE, searched.ledger.settings.description)
    best = {
        status["gain"]["text"], node["gain"]["text"], progress["best"]["gain_text"], progress["you"][1]["gain_text"],
        (listed.gain or {})["text"], printed(capsys, searched, "objective", "show")["best"]["gain_text"],
    }  # fmt: skip
    assert best == {"+7.7 % ± 0.9 (2 pairs)"}
    assert node["ahead"]["gain"]["text"] == "+4.9 % ± 1.0 (1 pair)"
    assert progress["you"][-1]["what"] == "bet"


def test_the_proof_of_a_chain_is_no_experiment_in_any_count(
    searched: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = printed(capsys, searched, "contribution")
    (node,) = printed(capsys, searched, "leaderboard")["nodes"]
    peer = printed(capsys, searched, "peer", "show", node["peer"])
    listed = _researched(Home(searched.home), OBJECTIVE, searched.ledger.settings.description)
    mapped = printed(capsys, searched, "map")["categories"]
    assert {
        totals["experiments"], totals["swarm"]["experiments"], node["experiments"], peer["experiments"],
        listed.experiments, sum(one["tried"] for one in mapped),
        printed(capsys, searched, "swarm", "graph")["nodes"][0]["experiments"],
    } == {3}  # fmt: skip
    assert (totals["kept"], peer["kept"], totals["claims"]) == (2, 2, 1)


def test_a_run_that_was_ended_early_is_explained_and_is_no_gain_in_a_mean(
    searched: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    (before,) = printed(capsys, searched, "map")["categories"]
    worse = experiment("Worse", searched.parent, decision="no_gain", effect=None)
    record = searched.write("alice", replace(worse, ended_at=0.76, screening=None, pairs=()))
    assert isinstance(record.body, Experiment)
    ran = ScreenedRun(record.body.child, searched.parent, 1, "cpu")
    outcome = Outcome(None, {}, (), 76, 7.6, 7.6, 1 << 20, None, "", "bwrap", ended_at=0.76, behind=math.log(1.025))
    searched.ledger.screenings.keep_ended(ran, "initialisation", [0.01], outcome)
    said = "ended early at 76 % of the budget"
    shown = printed(capsys, searched, "show", record.id.hex()[:10])
    assert shown["conclusion_text"] == f"dropped, {said}, 2.5 % behind its parent"
    (mapped,) = printed(capsys, searched, "map")["categories"]
    assert (mapped["tried"], mapped["measured"], mapped["gain"]) == (4, 3, before["gain"])
    (idea,) = [one for one in mapped["ideas"] if one["title"] == "Worse"]
    assert (idea["gain"], idea["gain_text"]) == (None, said)
    assert "Worse" not in told(capsys, searched, "map")
    assert row(record)["gain_text"] == said


def test_an_adoption_without_a_report_is_told_as_one_with_what_it_gained(
    searched: Swarm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    claim = searched.authors["alice"].records[1]
    assert isinstance(claim.body, Experiment)
    adopted = replication(claim, "unclear", None, claim.body.child, by=searched.authors["bob"].identity)
    adopted = replace(adopted, adoption=Effect(-0.4, 0.01, 2))
    record = searched.write("bob", adopted)
    of_claim = told(capsys, searched, "show", claim.id.hex()[:10])
    assert "+33.0 ±0.7 (2)" in of_claim
    assert "unclear" not in of_claim
    assert "decision: adopted" in told(capsys, searched, "show", record.id.hex()[:10])
    assert "unclear" not in told(capsys, searched, "records")


def test_re_runs_and_adoptions_are_counted_alike_and_a_copy_stands_behind_its_author(
    swarm: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bob has reported on a claim of alice's and adopted it by that; now also another, by a trial of his own."""
    swarm.ledger.set_meta("author", swarm.authors["bob"].identity.author)
    claim = swarm.write("alice", experiment("Further", swarm.child, source("Further")))
    by_trial = replication(claim, "unclear", None, source("Further"), by=swarm.authors["bob"].identity)
    swarm.write("bob", replace(by_trial, adoption=Effect(-0.9, 0.01, 2), pairs=()))
    alice, bob = printed(capsys, swarm, "leaderboard")["nodes"]
    assert (alice["best_source"], alice["place"], bob["place"]) == (bob["best_source"], 1, 1)
    assert alice["gain"]["gain"] < bob["gain"]["gain"], "by luck alone"
    assert alice["peer"] == peer_id_of(swarm.authors["alice"].identity.author)
    peer, totals = printed(capsys, swarm, "peer", "show", bob["peer"]), printed(capsys, swarm, "contribution")
    graph = {node["peer"]: node for node in printed(capsys, swarm, "swarm", "graph")["nodes"]}[bob["peer"]]
    assert {
        bob["replications"], peer["reports"]["made"], graph["reports"], totals["replications"],
        totals["swarm"]["replications"],
    } == {1}  # fmt: skip
    assert {len(peer["adopted"]), graph["adopted"], totals["adopted"], totals["swarm"]["adoptions"]} == {2}
