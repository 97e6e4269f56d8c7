"""What commands print with --json has the form that docs/schema promises: every field that is there is described.

What only larger tests print is held there by `hold`: of `doctor`, `finalize`, `objective list`, `promote`,
`reproduce`, `service status` and `peer check`.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.cli.main import _parser, main
from node.live.folder import read_folder
from node.platform.home import Home
from node.platform.log import open_log
from node.view.model.forms.commands import FORMS
from tests.node.authoring.importing.examples import example
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import OBJECTIVE, reporters, transfer
from tests.node.view.conftest import Swarm

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert not ended.value.code
    return capsys.readouterr().out


def printed(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> Any:
    return json.loads(ask(capsys, *arguments, "--json", "--home", str(home)))


OVERVIEWS = ("contribution", "map", "progress", "swarm graph")


@pytest.mark.parametrize(
    "command",
    ["leaderboard", "status", "records", "watch", "objective show", "settings", "suggestions", *OVERVIEWS],
)
def test_what_is_printed_of_a_loss_has_its_form(swarm: Swarm, capsys: pytest.CaptureFixture[str], command: str) -> None:
    hold(command, printed(capsys, swarm.home, *command.split()))


@pytest.mark.parametrize("command", ["leaderboard", "status", "watch", "progress", "map", "objective show", "strategy"])
def test_what_is_printed_in_units_of_a_metric_has_the_same_form(
    returns: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    hold(command, printed(capsys, returns, *command.split()))


def test_every_kind_of_record_is_shown_in_the_form(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    claim = swarm.authors["alice"].records[0]
    for record in reporters(claim, lambda body: swarm.write("alice", body)):
        swarm.ledger.add(record, "peer")
    carol = swarm.authors["carol"]
    assert claim.body.effect is not None
    swarm.write("carol", transfer(claim, claim.body.effect, by=carol.identity))
    records = {record.kind: record for author in swarm.authors.values() for record in author.records}
    assert records.keys() == {"experiment", "replication", "audit", "hypothesis", "transfer"}
    for record in (claim, *records.values()):
        hold("show", printed(capsys, swarm.home, "show", record.id.hex()))
    both = [records[kind].id.hex() for kind in ("experiment", "replication")]
    hold("compare", printed(capsys, swarm.home, "compare", *both))
    for author in swarm.authors.values():
        if author.records:
            hold("peer show", printed(capsys, swarm.home, "peer", "show", author.identity.peer_id))
    for command in OVERVIEWS:
        hold(command, printed(capsys, swarm.home, *command.split()))


def test_records_of_different_kinds_are_compared_in_the_form(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    claim, (report, experiment, _) = swarm.authors["alice"].records[0], swarm.authors["bob"].records
    for other in (report, experiment):
        hold("compare", printed(capsys, swarm.home, "compare", claim.id.hex(), other.id.hex()))
    itself = printed(capsys, swarm.home, "compare", claim.id.hex(), claim.id.hex())
    assert (itself["difference"], itself["difference_text"]) == (None, "a and b are the same record")


def test_what_publish_says_has_its_form(swarm: Swarm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold("publish", printed(capsys, swarm.home, "publish", str(tmp_path / "site")))


def test_a_change_of_a_setting_has_the_form_of_all(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    hold("settings", printed(capsys, swarm.home, "settings", "on_battery", "yes"))
    hold("settings", printed(capsys, swarm.home, "settings", "hours", "22:00-07:00"))


def test_a_key_and_a_ledger_have_their_forms(swarm: Swarm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Home(swarm.home).identity()
    hold("key show", printed(capsys, swarm.home, "key", "show"))
    hold("key new", printed(capsys, swarm.home, "key", "new"))
    hold("ledger check", printed(capsys, swarm.home, "ledger", "check"))
    hold("ledger repair", printed(capsys, swarm.home, "ledger", "repair"))
    hold("ledger export", printed(capsys, swarm.home, "ledger", "export", str(tmp_path / "all.jsonl")))


def test_an_invite_and_the_log_have_their_forms(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(swarm.home)
    with home.locked():
        home.write_status({"objective": OBJECTIVE.hex(), "addresses": ["/ip4/192.0.2.1/tcp/4001"], "peer": ""})
        hold("invite", printed(capsys, swarm.home, "invite"))
    open_log(swarm.home, "info").info("adopted", title="Smaller initialisation", of=3)
    lines = ask(capsys, "log", "--json", "--home", str(swarm.home)).splitlines()
    event = json.loads(lines[-1])
    assert event["title"] == "Smaller initialisation"
    hold("log", {name: event[name] for name in FORMS["log"].__struct_fields__})


@pytest.mark.parametrize("name", ["pi", "karpathy", "shinka"])
def test_an_objective_is_imported_and_checked_in_the_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    root = example(name, tmp_path)
    hold("objective import", printed(capsys, tmp_path / "home", "objective", "import", str(root)))
    check = ("objective", "check", "--quick", "--fix", "--json", str(root))
    hold("objective check", json.loads(ask(capsys, *check)))


def test_a_live_test_is_told_in_the_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "garden")
    ask(capsys, "objective", "new", "live", folder)

    def live(command: str, *arguments: str) -> Any:
        value = printed(capsys, tmp_path / "home", "live", command, folder, *arguments)
        hold(f"live {command}", value)
        return value

    for name, variant in read_folder(Path(folder)).variants.items():
        live("approve", name, "--sha256", variant.sha256)
    recipients, results = tmp_path / "recipients.csv", tmp_path / "results.csv"
    recipients.write_text("recipient\n" + "\n".join(f"reader{number}" for number in range(60)))
    sent = live("assign", str(recipients))
    answer = read_folder(Path(folder)).settings.answer.name
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("recipient", "variant", answer))
        writer.writeheader()
        for number, row in enumerate(sent):
            writer.writerow({"recipient": row["recipient"], "variant": row["variant"], answer: number % 2})
    live("import", str(results))
    live("show", "control")
    assert "visitors" in next(row for row in live("status")["variants"] if row["name"] != "control")
    assert live("export")["tried"]
    live("withdraw", "control")
    settings = Path(folder) / "live.toml"
    settings.write_text(settings.read_text().replace("share_themes = false", "share_themes = true"))
    live("export", "--for-peers")
    assert live("status")["stopped"]


def with_json(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """The commands that have --json."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for word, below in action.choices.items():
                yield from with_json(below, f"{name} {word}".strip())
    if any("--json" in action.option_strings for action in parser._actions):
        yield name


def test_every_command_with_json_has_a_schema_and_a_row_in_the_docs() -> None:
    commands = set(with_json(_parser()))
    assert commands == FORMS.keys()
    page = (SCHEMAS.parent / "json.md").read_text()
    for command in commands:
        assert f"`autoresearch-node {command}" in page
        assert f"(schema/{command.replace(' ', '-')}.json)" in page


def test_the_schemas_are_those_of_the_forms() -> None:
    kept = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    assert kept.keys() == {command.replace(" ", "-") for command in FORMS}
    for command, form in FORMS.items():
        schema = kept[command.replace(" ", "-")]
        assert msgspec.json.schema(form).items() <= schema.items(), "run scripts/json_schemas.py"
        assert f" {command} " in schema["title"]
