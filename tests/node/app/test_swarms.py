"""A private swarm leaves the open one behind: that is said first, told at every start, and can be taken back."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest

from node.app.swarms import begin_private, open_again, tell_cut_off
from node.cli.main import main
from node.ledger.store import Ledger
from node.objective.catalog import description_of, keep_files
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from protocol.objective import Invite, encode_invite
from protocol.records import sign_record
from tests.node.execution.small_objective import copy_in_files
from tests.node.network.conftest import Log, identity_of
from tests.node.records_for_tests import experiment


def researched(tmp_path: Path, others: int, shared: bool = True) -> tuple[Home, Objective]:
    """A home that has a record of each of so many other authors."""
    root = copy_in_files(tmp_path)
    if not shared:
        settings = (root / "objective.toml").read_text()
        (root / "objective.toml").write_text(settings.replace("[[data]]\n", "[[data]]\nshared = false\n"))
    objective, home = load_objective(root, root), Home(tmp_path / "home")
    home.make()
    keep_files(home, objective)
    ledger = Ledger.open(home.ledger, objective.id)
    ledger.settings.choose(description_of(objective))
    ledger.settings.author = home.identity().author
    for number in range(others):
        identity = identity_of(f"author {number}")
        ledger.add(sign_record(identity, objective.id, 0, bytes(32), 1_700_000_000_000, experiment("found")), "peer")
    ledger.close()
    return home, objective


def nobody(question: str) -> bool:
    raise AssertionError(f"nobody is to be asked {question}")


def test_a_home_that_met_nobody_is_not_asked(tmp_path: Path) -> None:
    home, objective = researched(tmp_path, others=0)
    log = Log()
    assert begin_private(home, nobody) == "in files"
    tell_cut_off(home, objective.id, "in files", log)
    assert home.swarm_key(objective.id) is not None
    assert not log.lines


def test_whom_a_key_cuts_off_is_said_before_and_at_every_start(tmp_path: Path) -> None:
    home, objective = researched(tmp_path, others=3)
    said: list[str] = []
    log = Log()
    assert begin_private(home, lambda text: bool(said.append(text))) is None
    assert home.swarm_key(objective.id) is None
    assert "of the 3 records here 3 are by 3 other authors" in said[0]
    begin_private(home, lambda _: True)
    tell_cut_off(home, objective.id, "in files", log)
    assert "swarm open" in log.of("left the open swarm")[0]["hint"]
    home.keep_invite(objective.id, encode_invite(Invite(objective.id, (), b"k" * 32)))  # and joins another private one
    tell_cut_off(home, objective.id, "in files", log)
    assert len(log.lines) == 1


def test_one_can_go_back_and_the_key_is_kept(tmp_path: Path) -> None:
    home, objective = researched(tmp_path, others=1)
    begin_private(home, lambda _: True)
    key, log = home.swarm_key(objective.id), Log()
    assert open_again(home, lambda _: False) is None
    assert home.swarm_key(objective.id) == key
    done = open_again(home, lambda text: "records of" in text or "all records" in text)
    assert done is not None
    assert home.swarm_key(objective.id) is None
    tell_cut_off(home, objective.id, "in files", log)
    assert not log.lines
    (kept,) = home.root.glob("swarms/*/swarm.key.set-aside-*")
    assert str(kept) in done
    assert key is not None
    assert kept.read_text().strip() == key.hex()
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(HomeError, match="in no private swarm"):
        open_again(home, nobody)


def test_data_that_are_not_for_everybody_stay_private(tmp_path: Path) -> None:
    home, _ = researched(tmp_path, others=0, shared=False)
    begin_private(home, nobody)
    with pytest.raises(HomeError, match="stays private"):
        open_again(home, nobody)


def test_the_commands_ask_unless_they_are_told_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())  # nobody is there to answer
    home, objective = researched(tmp_path, others=1)

    def said(*arguments: str) -> tuple[str, object]:
        with pytest.raises(SystemExit) as ended:
            main(["swarm", *arguments, "--home", str(home.root)])
        return capsys.readouterr().out, ended.value.code

    text, status = said("new", "--private")
    assert "nothing was changed" in text
    assert (status, home.swarm_key(objective.id)) == (1, None)
    assert said("new", "--private", "--yes")[1] == 0
    assert home.swarm_key(objective.id) is not None
    assert said("open", "--yes")[1] == 0
    assert home.swarm_key(objective.id) is None
