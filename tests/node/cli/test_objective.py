"""`objective new`, `check`, `list` and `use`: from nothing to an objective that runs here, in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli.main import main
from node.ledger.store import Ledger
from node.objective.catalog import embedded_names, named_objective
from tests.node.execution.small_objective import copy_in_files
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import Author, experiment


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


@pytest.mark.long
@pytest.mark.sandbox
def test_a_new_objective_passes_its_check_with_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sums"
    assert ask(capsys, "objective", "new", str(folder), "--name", "sums of mine")[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, text = ask(capsys, "objective", "check", str(folder), "--json", "--home", str(tmp_path / "home"))
    found = json.loads(text)
    hold("objective check", found)
    assert (status, found["faults"]) == (0, [])
    assert 0.5 < found["baseline"]["value"] < 8
    assert found["baseline"]["holdout"] == pytest.approx(found["baseline"]["value"], rel=0.1)
    assert 0 < found["baseline"]["cpu_seconds"] < 30
    assert found["baseline"]["tokens_per_second"] > 0
    assert found["baseline"]["memory_bytes"] > 10_000_000
    assert found["baseline"]["suggested_s0"] > 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_new_objective_is_one_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        ask(capsys, "objective", "new", str(tmp_path / name))
    ids = set()
    for name in ("one", "two"):
        status, text = ask(capsys, "objective", "check", str(tmp_path / name), "--quick", "--json")
        assert status == 0
        ids.add(json.loads(text)["id"])
    assert len(ids) == 2


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    status, text = ask(capsys, "objective", "new", str(tmp_path))
    assert status == 2
    assert "is not an empty folder" in text
    assert ask(capsys, "objective", "new", str(tmp_path / "a"), "--name", 'a "quoted" name')[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_check_that_finds_something_ends_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "objective", "new", str(tmp_path / "own"))
    (tmp_path / "own" / "program.md").unlink()
    (tmp_path / "own" / "judge.py").write_text("class Rejected(Exception): pass\n")
    status, text = ask(capsys, "objective", "check", str(tmp_path / "own"))
    assert status == 1
    assert "program.md: is missing" in text
    assert "judge.py: needs a function judge" in text
    assert "2 faults in" in text


def test_a_check_warns_of_what_this_host_would_refuse_and_makes_no_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "objective", "new", str(tmp_path / "own"))
    (tmp_path / "swarm.toml").write_text("[limits]\nobjective_memory_mb = 1999\n")
    check = ("objective", "check", str(tmp_path / "own"), "--config", str(tmp_path / "swarm.toml"))
    status, text = ask(capsys, *check)
    assert status == 0
    assert "warning: this machine would refuse it: budget.memory_mb in objective.toml is 2000" in text
    assert "its baseline is not run here" in text
    found = json.loads(ask(capsys, *check, "--json")[1])
    assert len(found["warnings"]) == 1
    assert found["baseline"] is None


@pytest.mark.sandbox
def test_data_with_other_hashes_are_reported_with_the_hashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_in_files(tmp_path)
    prepare = root / "prepare.py"
    prepare.write_text(prepare.read_text().replace("{left}+{right}", "{right}+{left}"))
    status, text = ask(capsys, "objective", "check", str(root))
    assert status == 1
    assert text.count("made with sha256 = ") == 3


def test_a_folder_that_is_not_there_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = ask(capsys, "objective", "check", "/no/such/folder")
    assert status == 2
    assert "there is no folder" in text


@pytest.mark.sandbox
def test_the_list_has_what_comes_with_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = ask(capsys, "objective", "list", "--json", "--home", str(tmp_path))
    hold("objective list", json.loads(text))
    found = {row["name"]: row for row in json.loads(text)}
    assert status == 0
    assert found["tinylm"]["joinable"]
    assert found["tinylm"]["tokens"] == 524_288
    assert found["template"]["place"] == "embedded"
    assert "val_bpb" in ask(capsys, "objective", "list", "--home", str(tmp_path))[1]


@pytest.mark.sandbox
def test_the_list_says_which_setting_keeps_an_objective_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "swarm.toml").write_text("[limits]\nobjective_wall_minutes = 2\n")
    rows = json.loads(ask(capsys, "objective", "list", "--json", "--home", str(tmp_path))[1])
    found = {row["name"]: row for row in rows}
    assert found["template"]["joinable"]
    assert not found["tinylm"]["joinable"]
    assert "objective_wall_minutes" in found["tinylm"]["why_not"]


@pytest.mark.sandbox
def test_the_list_has_what_this_home_researches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite", b"\x07" * 32)
    for key, value in (("objective", b"\x07" * 32), ("objective name", b"from a folder"), ("metric", b"loss")):
        ledger.set_meta(key, value)
    ledger.close()
    rows = json.loads(ask(capsys, "objective", "list", "--json", "--home", str(tmp_path))[1])
    assert [(row["name"], row["id"], row["joinable"]) for row in rows if row["current"]] == [
        ("from a folder", "07" * 32, False)
    ]


@pytest.mark.sandbox
def test_the_list_has_what_came_from_peers_and_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "objectives" / "0123456789abcdef"
    held.parent.mkdir()
    copy_in_files(tmp_path).rename(held)
    settings = held / "objective.toml"
    settings.write_text(settings.read_text().replace('prepare = "prepare.py"\n', ""))
    (row,) = [
        row
        for row in json.loads(ask(capsys, "objective", "list", "--json", "--home", str(tmp_path))[1])
        if row["name"] == "in files"
    ]
    assert not row["joinable"]
    assert "its data cannot be made" in row["why_not"]


@pytest.mark.sandbox
def test_the_list_shows_what_came_of_each_objective(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, home = copy_in_files(tmp_path), tmp_path / "home"
    assert "in files" in ask(capsys, "objective", "use", str(folder), "--home", str(home))[1]
    ledger, alice = Ledger.open(home / "ledger.sqlite", named_objective(str(folder)).id), Author("alice").identity
    ledger.settings.author = alice.author
    ledger.append_own(alice, experiment(parent=ledger.settings.baseline), 1_700_000_000_000)
    ledger.append_own(alice, experiment("Another", decision="no_gain"), 1_700_000_100_000)
    ledger.close()
    assert "tinylm" in ask(capsys, "objective", "use", "tinylm", "--home", str(home))[1]
    rows = json.loads(ask(capsys, "objective", "list", "--json", "--home", str(home))[1])
    assert [row["name"] for row in rows if row["current"]] == ["tinylm"]
    others = sorted(set(embedded_names()) - {"tinylm"})
    assert [row["name"] for row in rows] == ["tinylm", "in files", *others]
    mine = rows[1]
    assert [mine[key] for key in ("records", "experiments", "discoveries", "measured")] == [2, 2, 1, "judged"]
    assert mine["gain"]["text"] == "+18.1 % ± 0.8 (2 pairs)"
    assert (mine["joined"], mine["place"]) == (1_700_000_100.0, str(folder))
    assert [row["researched"] for row in rows] == [True, True, *(len(others) * [False])]
    text = ask(capsys, "objective", "list", "--home", str(home))[1]
    assert "+18.1 % ± 0.8" in text
    assert "others on this machine" in text


def test_what_cannot_be_used_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = ask(capsys, "objective", "use", "nothing of the kind", "--home", str(tmp_path))
    assert status == 2
    assert "objective list" in text
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "objective.toml").write_text("name = 3")
    assert ask(capsys, "objective", "use", str(broken), "--home", str(tmp_path))[0] == 2


def test_a_check_warns_of_hidden_packages_that_are_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "own"
    ask(capsys, "objective", "new", str(root))
    settings = root / "objective.toml"
    settings.write_text('hidden = ["dnspython", "dns"]\n' + settings.read_text())
    status, text = ask(capsys, "objective", "check", "--quick", str(root))
    assert status == 0
    assert "hidden names 'dnspython', and nothing here has that name" in text
    assert "hidden names 'dns'" not in text


def test_choosing_an_objective_tells_its_scale_here_and_what_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "swarm.toml"
    settings.write_text("[research]\ngpu = false\n")
    home = ("--home", str(tmp_path / "home"), "--config", str(settings))
    _, text = ask(capsys, "objective", "use", "nanolm", *home)
    assert "here it runs at its scale cpu (131,072 tokens): " in text
    assert "its data, 43 MB, are made or fetched when it is joined, once" in text
    assert "scale" not in ask(capsys, "objective", "use", "tinylm", *home)[1]
