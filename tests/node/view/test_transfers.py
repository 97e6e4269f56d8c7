"""What carries over to larger scales is shown wherever a person looks: page, report, strategy, and as data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from node.cli.main import main
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.schema import Prior
from node.platform.config import load_config
from node.platform.home import Home
from node.proposers.beliefs import Arm, Machine
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from node.view.files.report import as_markdown, report
from node.view.model.dashboard import DashboardModel
from node.view.model.strategy import strategy
from node.view.terminal.transfer_table import promoted
from protocol.records import Effect, Origin, Record
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import BASELINE, OBJECTIVE, Author, experiment, source, transfer

ARMS = (Arm("batch", "catalogue"), Arm("initialisation", "catalogue"))
PRIORS = {"batch": Prior(0.3, 0.03), "initialisation": Prior(0.3, 0.03)}
OWN_SCALE = StrategySnapshot(Machine("cpu", 10.0, 0.01, 6, {}), PRIORS, ARMS, frozenset())
HALF = Effect(math.log(2.8 / 3.5) / 2, 0.01, 2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Bob's initialisation kept half of its gain at the scale large, as alice found, whose home it is."""
    home = Home(tmp_path / "home")
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    for name, value in (("objective", OBJECTIVE), ("baseline", BASELINE), ("metric", b"val_bpb")):
        ledger.set_meta(name, value)
    alice, bob = Author("alice"), Author("bob")
    ledger.settings.author = alice.identity.author
    alice.write(transfer(bob.write(experiment()), HALF, by=alice.identity))
    for record in (*alice.records, *bob.records):
        ledger.add(record, "a peer")
    ledger.settings.strategy_snapshot = pack_snapshot(replace(OWN_SCALE, scale="large"))
    ledger.close()
    return home


OTHER = source("another objective")


@pytest.fixture
def home_with_two(home: Home) -> Home:
    """Carol researched tinylm, too, and tried two ideas of it here, of which one gained."""
    carol = Author("carol")
    ledger = Ledger.open(home.ledger, OTHER)
    ledger.settings.choose(Description("tinylm"))
    ledger.close()
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    ledger.settings.choose(ledger.settings.description)
    for title, decision, gain in (("One", "improved", 0.04), ("Two", "no_gain", -0.02)):
        body = experiment(title, decision=decision, effect=Effect(-gain, 0.01, 2))
        ledger.add(carol.write(structs.replace(body, origin=Origin(OTHER, source(title)))), "a peer")
    ledger.close()
    return home


async def test_what_came_of_ideas_from_another_objective_is_shown_everywhere(
    home_with_two: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger.read(home_with_two.ledger)
    shown = strategy(ledger)["from_objectives"]
    assert [(row["name"], row["category"], row["tried"], row["gained"]) for row in shown] == [
        ("tinylm", "all", 2, 1),
        ("tinylm", "initialisation", 2, 1),
    ]
    assert shown[0]["text"] == "1 of 2 gain here too, +1.0 % ± 3.0 on average"
    model = DashboardModel(ledger, load_config(None, {"home": str(home_with_two.root)}))
    model.refresh()
    assert model.board()["transfers"]["objectives"] == shown
    text = as_markdown(await report(ledger), lambda _: "a picture")
    assert "## What carries over from other objectives" in text
    ledger.close()
    with pytest.raises(SystemExit):
        main(["strategy", "--home", str(home_with_two.root)])
    out = capsys.readouterr().out
    assert "what carries over from other objectives" in out
    assert "+1.0 % ± 3.0" in out


def the_transfer(ledger: Ledger) -> Record:
    return next(record for record in ledger.all_records() if record.kind == "transfer")


def test_the_page_has_categories_and_transfers_and_a_row_for_each(home: Home) -> None:
    ledger = Ledger.read(home.ledger)
    model = DashboardModel(ledger, load_config(None, {"home": str(home.root)}))
    model.refresh()
    shown = model.board()["transfers"]
    assert [(row["category"], row["carried"], round(row["ratio"], 3)) for row in shown["categories"]] == [
        ("all", 1.0, 0.5),
        ("initialisation", 1.0, 0.5),
    ]
    (one,) = shown["transfers"]
    assert (one["title"], one["scale"], one["decision"]) == ("Smaller initialisation", "large", "carries_over")
    row = next(row for row in model.rows(0) if row["kind"] == "transfer")
    assert (row["of"], row["scale"]) == (one["discovery"], "large")
    ledger.close()


async def test_the_report_has_what_carries_over(home: Home) -> None:
    ledger = Ledger.read(home.ledger)
    text = as_markdown(await report(ledger), lambda _: "a picture")
    assert "## What carries over to larger scales" in text
    assert "1 of 1 carry over, at 0.50 ± " in text
    ledger.close()


def test_the_strategy_weighs_gains_by_it_for_who_researches_for_that_scale(home: Home) -> None:
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    weighed = {arm["category"]: arm["gain"] for arm in strategy(ledger)["arms"]}
    why = strategy(ledger)["why"]
    ledger.settings.strategy_snapshot = pack_snapshot(OWN_SCALE)
    plain = {arm["category"]: arm["gain"] for arm in strategy(ledger)["arms"]}
    ledger.close()
    assert weighed["initialisation"] < 0.8 * plain["initialisation"]
    assert "expected at the scale large" in why


def test_the_commands_show_it_and_promote_says_what_came_of_it_before(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["strategy", "--home", str(home.root)])
    assert "what carries over to larger scales" in capsys.readouterr().out
    ledger = Ledger.read(home.ledger)
    with pytest.raises(SystemExit):
        main(["show", the_transfer(ledger).id.hex()[:10], "--home", str(home.root), "--json"])
    assert json.loads(capsys.readouterr().out)["record"]["body"]["scale"] == "large"
    model = DashboardModel(ledger, load_config(None, {"home": str(home.root)}))
    model.refresh()
    (one,) = model.board()["transfers"]["transfers"]
    hold("promote", {"waiting": False} | one)
    assert "carries over at the scale large: +10.6 % ± 0.9 (2 pairs)" in str(promoted({"waiting": False} | one))
    ledger.close()
