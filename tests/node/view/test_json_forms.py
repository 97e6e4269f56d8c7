"""What commands print with --json has the form that docs/schema promises: every field that is there is described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.cli.main import main
from node.view.model.forms import FORMS as ONE_THING
from node.view.model.overview_forms import OVERVIEW_FORMS
from tests.node.records_for_tests import reporters, transfer
from tests.node.view.conftest import Swarm

FORMS = ONE_THING | OVERVIEW_FORMS
SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"


def printed(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json", "--home", str(home)])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def hold(command: str, value: Any) -> None:
    """The value has the form, and nothing besides: what is not described is lost on the way there and back."""
    form = FORMS[command]
    assert json.loads(msgspec.json.encode(msgspec.convert(value, form, strict=True))) == value


@pytest.mark.parametrize(
    "command", ["leaderboard", "status", "records", "watch", *sorted(OVERVIEW_FORMS.keys() - {"compare"})]
)
def test_what_is_printed_of_a_loss_has_its_form(swarm: Swarm, capsys: pytest.CaptureFixture[str], command: str) -> None:
    hold(command, printed(capsys, swarm.home, command))


@pytest.mark.parametrize("command", ["leaderboard", "status", "watch", "contribution", "map", "progress"])
def test_what_is_printed_in_units_of_a_metric_has_the_same_form(
    returns: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    hold(command, printed(capsys, returns, command))


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


def test_records_of_different_kinds_are_compared_in_the_form(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    claim, (report, experiment, _) = swarm.authors["alice"].records[0], swarm.authors["bob"].records
    for other in (report, experiment):
        hold("compare", printed(capsys, swarm.home, "compare", claim.id.hex(), other.id.hex()))


def test_what_publish_says_has_its_form(swarm: Swarm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hold("publish", printed(capsys, swarm.home, "publish", str(tmp_path / "site")))


def test_the_schemas_are_those_of_the_forms() -> None:
    kept = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    assert kept.keys() == FORMS.keys()
    for command, form in FORMS.items():
        assert msgspec.json.schema(form).items() <= kept[command].items(), "run scripts/json_schemas.py"
        assert command in kept[command]["title"]
