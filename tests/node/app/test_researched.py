"""A home remembers what it researched: it goes on with it, and changing over to another objective loses nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from node.app.researched import (
    asked_for,
    descriptions,
    give_files_to_objectives,
    held,
    last_researched,
    log_changed_folder,
    log_configured,
    remembered,
    use,
)
from node.cli.main import main
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.catalog import EMBEDDED, CatalogError, description_of, named_objective
from node.objective.schema import Objective
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import short_id
from protocol.metric import LOSS, Direction, Metric, Scale
from protocol.objective import Invite, encode_invite
from tests.node.execution.small_objective import copy_in_files
from tests.node.records_for_tests import Author, experiment

COMMAND = """
kind = "command"
name = "sorting"
summary = "Sort fast."
editable = "sort.py"
categories = ["algorithm"]
files = ["*.py"]
[metric]
name = "score"
unit = "points"
direction = "higher"
scale = "linear"
[command]
run = ".venv/bin/python bench.py"
[environment]
paths = [".venv"]
[budget]
wall_seconds = 20
threads = 1
memory_mb = 500
[statistics]
s0 = 0.1
minimum_effect = 0.05
max_pairs = 4
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's folder with an objective that is called "in files"."""
    return copy_in_files(tmp_path)


@pytest.fixture
def sorting(tmp_path: Path) -> Path:
    """A person's repository, whose command measures itself in an environment beside the files."""
    root = tmp_path / "sorting"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / "objective.toml").write_text(COMMAND)
    (root / "sort.py").write_text("pass\n")
    (root / "bench.py").write_text("print('METRIC score=-0.5')\n")
    return root


def told(home: Home, text: str) -> str:
    """What is said to somebody who asks for what there is not."""
    with pytest.raises(HomeError) as refused:
        use(home, text)
    return str(refused.value)


def last(home: Home) -> tuple[Objective, str]:
    """What `join` goes on with: the objective and the person's folder."""
    with remembered(home) as ledger:
        assert ledger is not None
        assert ledger.settings.objective is not None
        chosen = held(home, ledger.settings.objective, ledger)
        return chosen.objective, chosen.folder


def known(home: Home) -> dict[str, Description]:
    with remembered(home) as ledger:
        return {about.name: about for about in descriptions(ledger).values()}


def log_of(home: Home, text: str) -> list[tuple[str, dict[str, Any]]]:
    """What the log says when a person joins with this objective, or with none."""
    said: list[tuple[str, dict[str, Any]]] = []

    def log(event: str, **details: Any) -> None:
        said.append((event, details))

    with remembered(home) as ledger:
        assert ledger is not None
        chosen = asked_for(text, home, ledger) if text else held(home, ledger.settings.objective or b"", ledger)
        log_changed_folder(chosen, ledger, log)
    return said


# ---- going on -------------------------------------------------------------------------------------------------------


def test_a_folder_is_remembered_with_its_files(home: Home, folder: Path) -> None:
    given = use(home, str(folder)).objective
    assert last(home) == (given, str(folder))
    shutil.rmtree(folder)
    objective, path = last(home)
    assert (objective.id, objective.files, path) == (given.id, given.files, str(folder))
    assert objective.root == home.objective(given.id)


def test_files_that_are_gone_from_the_home_too_are_taken_from_the_ledger(home: Home, folder: Path) -> None:
    given = use(home, str(folder)).objective
    ledger = Ledger.open(home.ledger, given.id)
    for content in (given.manifest_bytes, *given.files.values()):
        ledger.put_blob(content)
    ledger.drop_unreferred_blobs()
    ledger.close()
    shutil.rmtree(folder)
    shutil.rmtree(home.objective(given.id))
    assert last(home)[0].files == given.files


def test_where_the_files_are_nowhere_it_says_to_give_the_folder(home: Home, folder: Path) -> None:
    given = use(home, str(folder)).objective
    shutil.rmtree(folder)
    shutil.rmtree(home.objective(given.id))
    with pytest.raises(CatalogError, match="give their folder once more"):
        last(home)


def test_an_edited_folder_is_not_joined_unawares(home: Home, folder: Path) -> None:
    given = use(home, str(folder)).objective
    (folder / "program.md").write_text("Another direction.\n")
    assert last(home)[0].id == given.id
    ((event, details),) = log_of(home, "")
    assert event == "objective folder changed"
    assert "the node goes on with those it kept" in details["why"]
    assert f"join --objective '{folder}'" in details["hint"]
    ((event, details),) = log_of(home, str(folder))
    assert "another objective than" in details["why"]
    assert f"objective use {given.id.hex()[:10]}" in details["hint"]


def test_what_was_found_before_a_folder_changed_is_named_and_shown(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def board(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["leaderboard", "--home", str(home.root), *arguments])
        told = capsys.readouterr()
        return told.err if ended.value.code else told.out

    before = use(home, str(folder)).objective
    ledger = Ledger.open(home.ledger, before.id)
    alice = Author("alice").identity
    for _ in range(3):
        ledger.append_own(alice, experiment(), 1)
    ledger.close()
    former = short_id(before.id)
    assert "other files" not in board()
    (folder / "program.md").write_text("Another direction.\n")
    ((_, details),) = log_of(home, str(folder))
    assert "3 records stand under the former id" in details["why"]
    assert f"leaderboard --objective {former}" in details["hint"]
    use(home, str(folder))
    assert f"3 records stand under the id {former}" in " ".join(board().split())
    assert json.loads(board("--json"))["same_folder"] == [{"id": before.id.hex(), "records": 3}]
    assert json.loads(board("--json", "--objective", former))["records"] == 3
    assert "names several" in board("--objective", "in files")
    assert "has researched no 'nothing'" in board("--objective", "nothing")


def test_a_folder_that_cannot_be_read_any_more_is_no_obstacle(home: Home, folder: Path) -> None:
    given = use(home, str(folder)).objective
    (folder / "objective.toml").write_text("kind = ")
    assert last(home)[0].id == given.id
    ((_, details),) = log_of(home, "")
    assert "cannot be read now" in details["why"]


def test_an_unchanged_folder_is_no_news(home: Home, folder: Path) -> None:
    use(home, str(folder))
    assert log_of(home, "") == log_of(home, str(folder)) == []


def test_an_environment_stays_in_the_folder_that_was_given(home: Home, sorting: Path) -> None:
    use(home, str(sorting))
    (sorting / "bench.py").write_text("print('METRIC score=9')\n")
    objective, _ = last(home)
    assert objective.root == sorting
    assert objective.files["bench.py"] == b"print('METRIC score=-0.5')\n"
    moved = sorting.with_name("elsewhere")
    sorting.rename(moved)
    with pytest.raises(CatalogError, match=r"needs \.venv in .*sorting, and that folder is gone"):
        last(home)


def test_what_swarm_toml_names_is_told_where_it_is_another_objective(home: Home, folder: Path) -> None:
    said: list[tuple[str, dict[str, Any]]] = []

    def log(event: str, **details: Any) -> None:
        said.append((event, details))

    chosen = use(home, str(folder))
    log_configured(chosen, str(folder), log)
    log_configured(chosen, "no such folder", log)
    assert said == []
    log_configured(chosen, "template", log)
    assert "swarm.toml names template" in said[0][1]["why"]
    assert "objective use template" in said[0][1]["hint"]


def earlier_template(folder: Path) -> Path:
    """The template as an earlier version of the program had it."""
    root = folder / "earlier"
    shutil.copytree(EMBEDDED / "template", root)
    (root / "program.md").write_text("The direction of an earlier version.\n")
    return root


def joined(home: Home) -> tuple[bytes, list[str]]:
    """What `join` goes on with, and what it says of it."""
    said: list[str] = []

    def log(event: str, **details: Any) -> None:
        said.append(f"{event}: {details['why']}; {details['hint']}")

    with remembered(home) as ledger:
        assert ledger is not None
        chosen = last_researched(home, ledger, log)
        assert chosen is not None
        return chosen.objective.id, said


def test_what_came_with_an_earlier_version_of_the_program_goes_on_as_in_this_one(home: Home, tmp_path: Path) -> None:
    earlier, template = named_objective(str(earlier_template(tmp_path))), named_objective("template")
    old_home(home, earlier)
    assert joined(home)[0] == template.id
    assert f"objective use {earlier.id.hex()[:10]}" in joined(home)[1][0]
    use(home, earlier.id.hex())  # the person wants that one
    assert joined(home) == (earlier.id, [])


def test_what_was_joined_by_invite_stays_when_the_program_changes(home: Home, tmp_path: Path) -> None:
    earlier = named_objective(str(earlier_template(tmp_path)))
    old_home(home, earlier)
    home.keep_invite(earlier.id, "the invite")
    assert joined(home) == (earlier.id, [])


def test_a_home_that_researched_nothing_has_nothing_to_go_on_with(home: Home) -> None:
    home.make()
    ledger = Ledger.open(home.ledger, bytes(32))
    assert last_researched(home, ledger, lambda event, **_: None) is None
    ledger.close()


# ---- changing over --------------------------------------------------------------------------------------------------


def test_one_objective_or_another_is_chosen_by_name_id_or_folder(home: Home, folder: Path) -> None:
    first = use(home, str(folder)).objective
    tinylm = use(home, "tinylm").objective
    assert last(home)[0].id == tinylm.id
    assert use(home, "in files").objective.id == first.id
    assert use(home, tinylm.id.hex()[:8]).objective.id == tinylm.id
    assert last(home) == (use(home, tinylm.id.hex()).objective, "")
    assert known(home).keys() == {"in files", "tinylm"}
    assert known(home)["in files"].folder == str(folder)


def test_what_names_two_or_nothing_is_refused_with_the_choices(home: Home, folder: Path) -> None:
    first = use(home, str(folder)).objective
    (folder / "program.md").write_text("Another direction.\n")
    second = use(home, str(folder)).objective
    said = told(home, "in files")
    assert first.id.hex()[:10] in said
    assert second.id.hex()[:10] in said
    assert "objective list" in told(home, "out of files")
    assert "no objective" in told(home, first.id.hex()[:3])
    assert use(home, first.id.hex()[:10]).objective.id == first.id


def test_it_is_refused_while_a_node_runs(home: Home) -> None:
    home.make()
    with home.locked():
        assert "a node is running" in told(home, "template")


def test_what_belongs_to_an_objective_stays_with_it(home: Home, sorting: Path) -> None:
    use(home, "tinylm")
    first, second = named_objective("tinylm"), use(home, str(sorting)).objective
    for objective, speeds in ((first, b"first"), (second, b"second")):
        ledger = Ledger.open(home.ledger, objective.id)
        ledger.settings.machine_speeds = ledger.settings.strategy_snapshot = speeds
        ledger.close()
    ledger = Ledger.read(home.ledger)
    assert ledger.settings.objective == second.id
    assert ledger.settings.machine_speeds == b"second"
    assert ledger.settings.measure.direction == Direction.HIGHER
    assert ledger.settings.trust == "self-measured"
    earlier = Ledger.read(home.ledger, first.id).settings
    assert (earlier.machine_speeds, earlier.strategy_snapshot) == (b"first", b"first")
    assert (earlier.measure, earlier.metric, earlier.trust) == (LOSS, "val_bpb", "judged")


def test_each_objective_has_a_workspace_of_its_own(home: Home) -> None:
    home.make()
    first, second = bytes([1]) * 32, bytes([2]) * 32
    for objective in (first, second):
        (home.workspace(objective) / ".git").mkdir(parents=True)
        home.mark_workspace(objective)
    assert home.workspace(first) == home.root / "workspace"
    assert home.workspace(second) == home.root / "workspaces" / second.hex()[:16]
    shutil.rmtree(home.workspace(first))
    assert home.workspace(second).exists()  # it does not move into the place that is free now


def test_a_workspace_that_nobody_knows_is_left_alone(home: Home) -> None:
    home.make()
    (home.root / "workspace" / ".git").mkdir(parents=True)
    assert home.workspace(bytes(32)) == home.root / "workspaces" / bytes(32).hex()[:16]


def test_a_key_belongs_to_one_objectives_swarm(home: Home) -> None:
    home.make()
    first, second = bytes([1]) * 32, bytes([2]) * 32
    home.keep_swarm_key(None, b"k" * 32)
    assert home.swarm_key(first) == home.swarm_key(second) == b"k" * 32  # nobody's yet: none is open by mistake
    home.give_swarm("swarm.key", first)
    assert home.swarm_key(first) == b"k" * 32
    assert home.swarm_key(second) is None
    assert home.has_private_swarm()


# ---- homes of the first version -------------------------------------------------------------------------------------


def old_home(home: Home, objective: Objective) -> None:
    """What the first version left behind: keys without an id, one invite, one swarm key, one workspace."""
    home.make()
    ledger = Ledger.open(home.ledger, objective.id)
    for key, value in (
        ("objective", objective.id),
        ("objective name", objective.name.encode()),
        ("metric", b"val_bpb"),
        ("baseline", objective.source_id),
        ("outlook", b"snapshot"),
        ("speeds", b"speeds"),
        ("author", Author("alice").identity.author),
    ):
        ledger.set_meta(key, value)
    for content in (objective.manifest_bytes, *objective.files.values()):
        ledger.put_blob(content)
    ledger.close()
    (home.root / "workspace" / ".git").mkdir(parents=True)


def test_an_old_home_goes_on_with_the_objective_that_was_given_as_a_folder(home: Home, folder: Path) -> None:
    objective = named_objective(str(folder))
    old_home(home, objective)
    shutil.rmtree(folder)
    assert last(home)[0].files == objective.files


def test_an_old_home_keeps_everything_when_it_changes_over(home: Home, folder: Path) -> None:
    objective = named_objective(str(folder))
    old_home(home, objective)
    invite = encode_invite(Invite(objective.id, ("/ip4/127.0.0.1/tcp/1/p2p/x",), b"k" * 32))
    (home.root / "invite").write_text(invite + "\n")
    home.keep_swarm_key(None, b"k" * 32)
    other = use(home, "template").objective
    assert home.swarm_key(other.id) is None
    assert home.swarm_key(objective.id) == b"k" * 32
    assert (home.invite(objective.id) or Path("nowhere")).read_text().strip() == invite
    assert home.workspace(objective.id) == home.root / "workspace"
    assert home.workspace(other.id) != home.root / "workspace"
    assert use(home, "in files").objective.id == objective.id
    settings = Ledger.read(home.ledger).settings
    assert (settings.metric, settings.baseline) == ("val_bpb", objective.source_id)
    assert (settings.strategy_snapshot, settings.machine_speeds) == (b"snapshot", b"speeds")
    assert settings.author == Author("alice").identity.author


def test_an_old_homes_own_swarm_stays_private(home: Home, folder: Path) -> None:
    objective = named_objective(str(folder))
    old_home(home, objective)
    home.keep_swarm_key(None, b"k" * 32)
    give_files_to_objectives(home)
    assert home.swarm_key(objective.id) == b"k" * 32
    assert not (home.root / "swarm.key").exists()


def test_records_of_an_objective_before_the_last_are_found_by_its_id(home: Home, folder: Path) -> None:
    objective = named_objective(str(folder))
    old_home(home, objective)
    ledger = Ledger.open(home.ledger, bytes([7]) * 32)
    ledger.append_own(Author("alice").identity, experiment(), 1)
    ledger.close()
    assert "the files of objective 0707070707 are not in" in told(home, "0707")
    assert set(known(home)) == {"in files", ""}


def test_a_description_is_read_as_it_was_written(home: Home, sorting: Path) -> None:
    objective = use(home, str(sorting)).objective
    about = known(home)["sorting"]
    assert about == description_of(objective, str(sorting))
    assert about.measure == Metric(Direction.HIGHER, Scale.LINEAR, pytest.approx(25.0), pytest.approx(0.004))
    assert about.measured_suffix == ", self-measured"
