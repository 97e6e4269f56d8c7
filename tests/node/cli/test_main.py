"""The reading commands: tables for people, the same as data with --json, and one clear sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli.main import duration, main
from node.ledger.store import Ledger
from node.objective.schema import Prior
from node.platform.home import Home
from node.proposers.beliefs import Arm, Machine
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from node.view.model import leaderboard as data
from protocol.records import Effect, Record
from tests.node.records_for_tests import BASELINE, OBJECTIVE, Author, experiment, replication, source

PARENT_TEXT, CHILD_TEXT = b"LR = 1e-3\n", b"LR = 3e-3\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def records(home: Path) -> list[Record]:
    """A home where alice claimed something and bob replicated and adopted it."""
    ledger = Ledger.open(home / "ledger.sqlite", OBJECTIVE)
    ledger.set_meta("objective", OBJECTIVE)
    ledger.set_meta("objective name", b"tinylm")
    ledger.set_meta("metric", b"val_bpb")
    ledger.set_meta("baseline", BASELINE)
    alice, bob = Author("alice"), Author("bob")
    ledger.set_meta("author", alice.identity.author)
    body = experiment(parent=ledger.put_blob(PARENT_TEXT), child=ledger.put_blob(CHILD_TEXT))
    claim = alice.write(body)
    report = bob.write(replication(claim, adopted=body.child, by=bob.identity))
    for record in (claim, report):
        ledger.add(record, "peer")
    ledger.close()
    return [claim, report]


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_report_is_listed_by_the_title_of_what_it_is_about(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ask(capsys, "records", "--home", str(home)).splitlines()
    assert [kind for line in lines if "Smaller initialisation" in line for kind in line.split()[1:2]] == [
        "experiment",
        "replication",
    ]


def test_leaderboard_shows_claimed_and_replicated_apart(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    board = json.loads(ask(capsys, "leaderboard", "--json", "--home", str(home)))
    row = board["discoveries"][0]
    assert row["id"] == records[0].id.hex()
    assert row["claimed"]["mean"] == -0.2
    assert row["replicated"] is None  # nothing of it was run again here
    assert row["unchecked"]["mean"] == pytest.approx(-0.19)
    assert row["seeds"] == [2]
    assert {node["experiments"] for node in board["nodes"]} == {0, 1}
    assert "Smaller initialisation" in ask(capsys, "leaderboard", "--home", str(home))


def test_strategy_says_what_is_believed_and_why(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no hypothesis was chosen" in complaint(capsys, "strategy", "--home", str(home))
    arms = [Arm("initialisation", "catalogue"), Arm("batch", "catalogue"), Arm("numeric", "numeric")]
    machine = Machine("laptop-cpu", 12.0, 0.01, 6, {"numeric": 0.5})
    snapshot = StrategySnapshot(machine, {"batch": Prior(0.3, 0.03)}, tuple(arms), frozenset(arms[2:]))
    ledger = Ledger.open(home / "ledger.sqlite", OBJECTIVE)
    ledger.settings.strategy_snapshot = pack_snapshot(snapshot)
    ledger.close()
    told = json.loads(ask(capsys, "strategy", "--json", "--home", str(home)))
    believed = {arm["category"]: arm for arm in told["arms"]}
    assert (believed["initialisation"]["tried"], believed["initialisation"]["kept"]) == (1, 1)
    assert believed["initialisation"]["already_percent"] == pytest.approx(18.1, abs=0.1)
    assert believed["batch"]["next"] > 0.5
    assert believed["numeric"]["next"] == 0
    assert sum(arm["next"] for arm in told["arms"]) == pytest.approx(1.0)
    assert told["why"].startswith("batch by catalogue is likeliest next")
    text = ask(capsys, "strategy", "--home", str(home))
    assert "no idea left" in text
    assert "batch by catalogue is likeliest next" in text


def test_show_gives_record_diff_runs_and_replications(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(ask(capsys, "show", records[0].id.hex()[:8], "--json", "--home", str(home)))
    assert "+LR = 3e-3" in shown["diff"]
    assert [run["of"] for run in shown["runs"]] == ["screening", "pair 1"]
    assert shown["replications"][0]["decision"] == "supports"
    text = ask(capsys, "show", records[0].id.hex()[:8], "--home", str(home))
    assert "LR = 3e-3" in text
    assert "replications" in text
    assert shown["replay"] is None


def test_show_of_a_replication_names_its_claim(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(ask(capsys, "show", records[1].id.hex(), "--json", "--home", str(home)))
    assert shown["claim"]["id"] == records[0].id.hex()


def test_show_tells_what_of_a_gain_is_the_metrics_and_what_is_owed_to_cost(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(ask(capsys, "show", records[1].id.hex(), "--json", "--home", str(home)))["effect"]
    assert found["metric"]["mean"] + found["cost"]["mean"] == pytest.approx(found["mean"])
    assert found["metric"]["gain_percent"] > 0
    assert found["cost"]["ratio"] == records[1].body.cost_ratio
    assert found["cost"]["measure"].startswith("CPU")
    text = ask(capsys, "show", records[1].id.hex(), "--home", str(home))
    assert f"gain: +{found['gain_percent']:.1f} %" in text
    assert f": {found['parts_text']}" in text


def test_show_of_a_record_without_its_pairs_shows_the_sum_alone(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "metric" not in json.loads(ask(capsys, "show", records[0].id.hex(), "--json", "--home", str(home)))["effect"]
    assert "gain: +18.1 % ± 0.8 (2 pairs)\n" in ask(capsys, "show", records[0].id.hex(), "--home", str(home))


def test_records_lists_everything_held(home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(ask(capsys, "records", "--json", "--home", str(home)))
    assert [row["id"] for row in rows] == [record.id.hex() for record in records]
    assert ask(capsys, "records", "--home", str(home))


def test_status_of_a_home_without_a_running_node(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    status = json.loads(ask(capsys, "status", "--json", "--home", str(home)))
    assert status["running"] is False
    assert status["records"] == 2
    assert status["gain"]["pairs"] == Effect(-0.2, 0.01, 2).n
    assert "autoresearch-node join" in ask(capsys, "status", "--home", str(home))


def test_markup_in_a_peers_title_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    ledger.set_meta("objective", OBJECTIVE)
    ledger.add(Author("mallory").write(experiment("[red]bold[/] claim[/red]")), "peer")
    ledger.close()
    assert "[red]bold" in ask(capsys, "leaderboard", "--home", str(tmp_path)).replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status"], "autoresearch-node join"),
        (["log"], "autoresearch-node join"),
        (["join", "not-an-invite"], "this is not an invite"),
        (["join", "--objective", "no-such-objective"], "tinylm"),
    ],
)
def test_mistakes_end_with_a_sentence_that_says_what_to_do(
    home: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in complaint(capsys, *arguments, "--home", str(home))


@pytest.mark.parametrize("arguments", [["pause", "1h"], ["resume"], ["log"]])
def test_a_file_in_place_of_a_home_is_named(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    told = complaint(capsys, *arguments, "--home", str(tmp_path / "file"))
    assert str(tmp_path / "file") in told
    assert "is a file, where a folder should be: move it away" in told


@pytest.mark.parametrize("arguments", [["leaderboard"], ["status"], ["join", "--for", "1s"]])
def test_a_folder_in_place_of_the_ledger_is_named(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    told = complaint(capsys, *arguments, "--home", str(tmp_path))
    assert "ledger.sqlite is a folder, where a file should be: move it away" in told


def test_a_pause_that_no_calendar_has_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "too long; at most 3650d" in complaint(capsys, "pause", "9999999d", "--home", str(home))


def test_an_unknown_record_id_points_to_the_list(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "autoresearch-node records" in complaint(capsys, "show", "ffff", "--home", str(home))


def test_inviting_needs_a_running_node(home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no node is running" in complaint(capsys, "invite", "--home", str(home))


def test_two_nodes_cannot_share_a_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Home(home)
    first.make()
    with first.locked():
        assert "another node is running" in complaint(capsys, "join", "--home", str(home))


def test_durations_are_written_as_people_write_them() -> None:
    assert [duration(text) for text in ("90", "90s", "15m", "2h", "1d")] == [90, 90, 900, 7200, 86400]


def test_a_new_identity_comes_when_a_person_says_so_and_keeps_the_former_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    first = home.identity()
    assert home.identity() == first  # also without a ledger: the mark says that the key has signed nothing
    told = json.loads(ask(capsys, "key", "new", "--json", "--home", str(tmp_path)))
    assert told == {"peer_id": home.identity().peer_id, "former_key": str(tmp_path / "identity.key.1")}
    assert home.identity() != first
    assert bytes.fromhex((tmp_path / "identity.key.1").read_text()) == first.seed
    assert home.key.stat().st_mode & 0o777 == 0o600
    assert json.loads(ask(capsys, "key", "show", "--json", "--home", str(tmp_path)))["known"]


def test_a_damaged_ledger_is_checked_repaired_and_exported(
    home: Path, records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "ledger", "export", str(tmp_path / "all.jsonl"), "--home", str(home))
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [record.id.hex() for record in records]
    assert json.loads(ask(capsys, "ledger", "check", "--json", "--home", str(home)))["whole"]
    with (home / "ledger.sqlite").open("r+b") as file:
        file.write(b"x" * 100)
    assert "`autoresearch-node ledger repair`" in complaint(capsys, "status", "--home", str(home))
    assert "is kept as" in ask(capsys, "ledger", "repair", "--home", str(home))
    assert [row["id"] for row in json.loads(ask(capsys, "records", "--json", "--home", str(home)))]


def test_source_ids_in_the_leaderboard_are_hexadecimal(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    board = json.loads(ask(capsys, "leaderboard", "--json", "--home", str(home)))
    assert source("x").hex() not in {node["best_source"] for node in board["nodes"]}
    assert all(len(bytes.fromhex(node["best_source"])) == 32 for node in board["nodes"])


def test_pause_and_resume_leave_their_word_in_the_home(
    home: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "pause", "10m", "--home", str(home))
    assert Home(home).paused_until() is not None
    ask(capsys, "resume", "--home", str(home))
    assert Home(home).paused_until() is None
    assert "no node home" in complaint(capsys, "pause", "--home", str(home / "elsewhere"))


def test_a_private_swarm_is_begun_once_per_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "private swarm" in ask(capsys, "swarm", "new", "--private", "--home", str(home))
    key = Home(home).swarm_key(None)
    assert key is not None
    assert len(key) == 32
    assert (home / "swarm.key").stat().st_mode & 0o777 == 0o600
    assert "already" in complaint(capsys, "swarm", "new", "--private", "--home", str(home))


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), BaseExceptionGroup("tasks", [KeyboardInterrupt()])])
def test_an_interruption_ends_without_a_traceback(
    home: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    def interrupted(*_: object) -> None:
        raise interrupt

    monkeypatch.setattr(data, "status", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--home", str(home)])
    assert ended.value.code == 130
