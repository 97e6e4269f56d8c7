"""The workspace shows in git what the ledger knows, and is repaired from it after any damage."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from git import GitCommandError
from msgspec.structs import replace

from node.ledger.settings import Description
from node.objective.history import Status, read_history
from node.objective.trees import pack
from node.platform.file_trouble import HomeError
from node.research.workspace import Entry, Workspace
from protocol.records import Effect, Record
from tests.node.records_for_tests import Author, experiment, replication, source

ABOUT = Description(metric="val_bpb", trust="self-measured")
BASELINE, BETTER, WORSE = "A = 1\n", "A = 2\n", "A = 3\n"
IMPROVED, NO_GAIN = Effect(-0.1, 0.01, 2), Effect(0.02, 0.01, 1)


class Home:
    """A workspace, and git as a person would use it there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.author = Author("somebody")
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.workspace = self.open()

    def open(self) -> Workspace:
        self.workspace = Workspace.open(
            self.path, ["train.py"], BASELINE, lambda discovery: "A discovery", ABOUT, self.log
        )
        return self.workspace

    def log(self, event: str, level: str = "info", **details: Any) -> None:
        self.said.append((event, details))

    def git(self, *arguments: str) -> str:
        person = ("-c", "user.name=A person", "-c", "user.email=person@localhost")
        command = ["git", *person, "-C", str(self.path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    def subjects(self) -> list[str]:
        return self.git("log", "--format=%s", "best").splitlines()

    def tried(self, title: str, text: str, kept: bool) -> Entry:
        decision, effect = ("improved", IMPROVED) if kept else ("no_gain", NO_GAIN)
        body = experiment(title, child=source(text), decision=decision, effect=effect)
        return Entry(self.author.write(body), body, text, 3 << 30)

    def clean(self) -> bool:
        return self.git("status", "--porcelain") == ""

    def file(self) -> str:
        return (self.path / "train.py").read_text()

    def results(self) -> list[list[str]]:
        return [line.split("\t") for line in (self.path / "results.tsv").read_text().splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "workspace")


def record_id(record: Record) -> str:
    return record.id.hex()


def test_what_is_kept_moves_best_and_the_file(home: Home) -> None:
    home.workspace.reconcile([], BASELINE, None)
    assert home.file() == BASELINE
    better = home.tried("Better", BETTER, kept=True)
    home.workspace.add(better, BASELINE)
    assert home.file() == BETTER
    assert home.subjects() == ["Better", "Baseline"]
    message = home.git("log", "-1", "--format=%B", "best")
    assert "Category: initialisation" in message
    assert "Gain: +9.5 % ± 0.9 (2 pairs), self-measured\n" in message
    assert f"Record: {record_id(better.record)}" in message
    assert home.clean()


def test_what_is_dropped_is_a_commit_beside(home: Home) -> None:
    worse = home.tried("Worse", WORSE, kept=False)
    home.workspace.reconcile([], BASELINE, None)
    home.workspace.add(worse, BASELINE)
    assert home.file() == BASELINE
    assert home.subjects() == ["Baseline"]
    tried = f"refs/tried/{record_id(worse.record)[:16]}"
    assert home.git("log", "--format=%s", tried).splitlines() == ["Worse", "Baseline"]
    assert home.git("show", f"{tried}:train.py") == WORSE
    assert "Worse" in home.git("log", "--all", "--format=%s")


def test_only_a_crash_has_the_value_0_and_what_was_ended_early_has_none(home: Home) -> None:
    home.workspace.reconcile([], BASELINE, None)
    home.workspace.add(home.tried("Better", BETTER, kept=True), BASELINE)
    ended = experiment("Ended", child=source(WORSE), decision="no_gain", effect=None)
    ended = replace(ended, ended_at=0.76, screening=None, pairs=())
    crashed = experiment("Crashed", child=source("crash\n"), decision="failed", effect=None)
    for body, text in ((ended, WORSE), (crashed, "crash\n")):
        home.workspace.add(Entry(home.author.write(body), body, text, 0), BETTER)
    *_, first, second = home.results()
    assert (first[1], first[3]) == ("nan", "discard")
    assert (second[1], second[3]) == ("0.000000", "crash")
    *_, first, second = read_history((home.path / "results.tsv").read_bytes(), "val_bpb").results
    assert (first.value, first.status) == (None, Status.DISCARDED)
    assert (second.value, second.status) == (None, Status.CRASHED)


def test_results_are_the_table_of_five_columns(home: Home) -> None:
    home.workspace.reconcile([], BASELINE, None)
    home.workspace.add(home.tried("Better", BETTER, kept=True), BASELINE)
    home.workspace.add(home.tried("Worse", WORSE, kept=False), BETTER)
    header, baseline, better, worse = home.results()
    assert header == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert baseline[2:] == ["0.0", "keep", "baseline"]
    assert better[2:] == ["3.0", "keep", "Better"]
    assert worse[3:] == ["discard", "Worse"]
    assert float(better[1]) < float(baseline[1]) < float(worse[1])  # whatever their seeds happened to come to
    assert home.git("rev-parse", "--short=7", "best~1").strip() == baseline[0]
    assert home.git("rev-parse", "--short=7", "best").strip() == better[0]


def test_an_adoption_names_the_discovery(home: Home) -> None:
    claimed = Author("a peer").write(experiment("Theirs", child=source(BETTER)))
    body = replication(claimed, adopted=source(BETTER))
    home.workspace.reconcile([], BASELINE, None)
    home.workspace.add(Entry(home.author.write(body), body, BETTER), BASELINE)
    assert home.subjects() == ["Adopt: A discovery", "Baseline"]
    assert home.results()[1][3:] == ["keep", "adopt: A discovery"]


def test_a_lost_workspace_is_made_again_from_the_ledger(home: Home) -> None:
    entries = [
        (home.tried("Better", BETTER, kept=True), BASELINE),
        (home.tried("Worse", WORSE, kept=False), BETTER),
    ]
    home.workspace.reconcile(entries, BETTER, entries[0][0].record.id)
    before = home.git("for-each-ref", "--format=%(refname) %(tree)"), home.file(), home.results()[1][1:]
    shutil.rmtree(home.path)
    home.open().reconcile(entries, BETTER, entries[0][0].record.id)
    assert (home.git("for-each-ref", "--format=%(refname) %(tree)"), home.file(), home.results()[1][1:]) == before
    assert home.clean()


@pytest.mark.parametrize("damage", ["index.lock", "edited", "best elsewhere", "results", "empty object", "no HEAD"])
def test_what_a_crash_left_half_done_is_repaired(home: Home, damage: str) -> None:
    entries = [(home.tried("Better", BETTER, kept=True), BASELINE)]
    home.workspace.reconcile(entries, BETTER, entries[0][0].record.id)
    git = home.path / ".git"
    match damage:
        case "index.lock":
            (git / "index.lock").touch()
            (git / "refs" / "heads" / "best.lock").touch()
        case "edited":
            (home.path / "train.py").write_text("half a fi")
        case "best elsewhere":
            home.git("update-ref", "refs/heads/best", "best~1")
        case "results":
            (home.path / "results.tsv").write_text("torn")
        case "empty object":
            commit = home.git("rev-parse", "best").strip()
            lost = git / "objects" / commit[:2] / commit[2:]
            lost.chmod(0o644)
            lost.write_bytes(b"")
        case "no HEAD":
            (git / "HEAD").unlink()
    home.open().reconcile(entries, BETTER, entries[0][0].record.id)
    assert home.file() == BETTER
    assert home.subjects() == ["Better", "Baseline"]
    assert home.results()[2][3:] == ["keep", "Better"]
    assert home.clean()


def test_a_power_cut_leaves_a_repository(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that was written and not synced is an empty file after one; so all are on the disk when it is told."""
    synced: set[int] = set()

    def sync(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", sync)
    before = set((home.path / ".git" / "objects").glob("??/*"))
    home.workspace.add(home.tried("Better", BETTER, True), BASELINE)
    made = set((home.path / ".git" / "objects").glob("??/*")) - before
    assert len(made) == 3  # a commit, its tree, and the file in it
    assert {path.stat().st_ino for path in made} <= synced


def test_an_object_that_a_power_cut_left_empty_is_written_again(home: Home) -> None:
    entry = home.tried("Better", BETTER, True)
    home.workspace.add(entry, BASELINE)
    tried = home.git("rev-parse", f"refs/tried/{record_id(entry.record)[:16]}:train.py").strip()
    shutil.rmtree(home.path / ".git" / "refs" / "tried")
    home.git("reset", "--hard", "-q", "best~1")
    left = home.path / ".git" / "objects" / tried[:2] / tried[2:]
    left.chmod(0o600)
    left.write_bytes(b"")
    home.open().reconcile([(entry, BASELINE)], BETTER, entry.record.id)
    assert home.file() == BETTER
    assert not home.path.with_name("workspace.1").exists()


def test_reconciling_twice_changes_nothing(home: Home) -> None:
    entries = [(home.tried("Better", BETTER, kept=True), BASELINE)]
    home.workspace.reconcile(entries, BETTER, entries[0][0].record.id)
    before = home.git("for-each-ref")
    home.open().reconcile(entries, BETTER, entries[0][0].record.id)
    assert home.git("for-each-ref") == before


def test_a_source_of_several_files_is_shown_as_its_files(tmp_path: Path) -> None:
    editable = ["train.py", "kernels/add.cu"]

    def files(**changes: str) -> str:
        return pack({"train.py": "A = 1\n", "kernels/add.cu": "a + b\r\n"} | changes)

    home = Home(tmp_path / "workspace")
    home.path = tmp_path / "of several"
    home.workspace = Workspace.open(home.path, editable, files(), lambda discovery: "A discovery", ABOUT, home.log)
    home.workspace.reconcile([], files(), None)
    better = files(**{"kernels/add.cu": "b + a\r\n"})
    home.workspace.add(home.tried("Better", better, kept=True), files())
    assert (home.path / "kernels" / "add.cu").read_bytes() == b"b + a\r\n"
    assert home.file() == "A = 1\n"
    assert home.git("show", "--stat", "--format=", "best").splitlines()[0].split() == ["kernels/add.cu", "|", "2", "+-"]
    home.workspace.stand_on(files(), None)
    assert (home.path / "kernels" / "add.cu").read_bytes() == b"a + b\r\n"
    assert home.clean()
    broken = home.tried("A peer's", "no tree\n", kept=False)
    home.workspace.add(broken, files())
    assert home.git("show", f"refs/tried/{record_id(broken.record)[:16]}:train.py") == "no tree\n"


def test_what_a_person_changed_is_kept_on_a_branch(home: Home) -> None:
    home.workspace.add(home.tried("Better", BETTER, kept=True), BASELINE)
    (home.path / "train.py").write_text("A = 4  # by hand\n")
    (home.path / "notes.txt").write_text("mine")
    home.workspace.add(home.tried("Worse", WORSE, kept=True), BETTER)
    assert home.file() == WORSE
    assert (home.path / "notes.txt").read_text() == "mine"
    assert home.said == [("work set aside", {"branch": "set-aside/1", "what": "files that were changed"})]
    assert home.git("show", "set-aside/1:train.py") == "A = 4  # by hand\n"


def test_what_a_person_committed_is_kept_on_a_branch(home: Home) -> None:
    entry = home.tried("Better", BETTER, kept=True)
    home.workspace.add(entry, BASELINE)
    (home.path / "train.py").write_text("A = 4\n")
    home.git("commit", "-qam", "By hand")
    home.git("switch", "-qc", "mine")
    home.git("commit", "-q", "--allow-empty", "-m", "On a branch of my own")
    for _ in range(2):  # the branch that they are on now keeps them, and is left alone
        home.open().reconcile([(entry, BASELINE)], BETTER, entry.record.id)
    assert home.said == []
    assert home.git("log", "--format=%s", "mine").splitlines()[:2] == ["On a branch of my own", "By hand"]
    home.git("commit", "-q", "--allow-empty", "-m", "On best, by hand")
    home.open().reconcile([(entry, BASELINE)], BETTER, entry.record.id)
    assert home.said == [("work set aside", {"branch": "set-aside/1", "what": "commits on best"})]
    assert home.git("log", "-1", "--format=%s by %an", "set-aside/1").strip() == "On best, by hand by A person"
    assert home.git("log", "-1", "--format=%an", "best").strip() == "autoresearch-node"
    assert "[user]" not in (home.path / ".git" / "config").read_text()
    assert home.subjects() == ["Better", "Baseline"]


def test_what_a_person_committed_on_no_branch_is_kept_on_one(home: Home) -> None:
    entry = home.tried("Better", BETTER, kept=True)
    home.workspace.add(entry, BASELINE)
    home.git("switch", "-q", "--detach", "best~1")
    home.git("commit", "-q", "--allow-empty", "-m", "Tried on the side")
    for _ in range(2):
        home.open().reconcile([(entry, BASELINE)], BETTER, entry.record.id)
    assert home.said == [("work set aside", {"branch": "set-aside/1", "what": "commits on no branch"})]
    assert home.git("log", "-1", "--format=%s", "set-aside/1").strip() == "Tried on the side"
    assert home.subjects() == ["Better", "Baseline"]


DAMAGED = {
    "HEAD is gone": lambda git: (git / "HEAD").unlink(),
    "HEAD is garbage": lambda git: (git / "HEAD").write_bytes(b"\x00\xff"),
    "best is empty": lambda git: (git / "refs" / "heads" / "best").write_text(""),
    "best names what is not there": lambda git: (git / "refs" / "heads" / "best").write_text("1" * 40 + "\n"),
    "the index is garbage": lambda git: (git / "index").write_bytes(b"garbage"),
    "the settings are garbage": lambda git: (git / "config").write_text("[core\n"),
    "packed refs are garbage": lambda git: (git / "packed-refs").write_bytes(b"garbage\n"),
    "the objects are gone": lambda git: shutil.rmtree(git / "objects"),
    "the refs are gone": lambda git: shutil.rmtree(git / "refs"),
    "it has other hashes": lambda git: (git / "config").write_text(
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"
    ),
    "it is a file": lambda git: (shutil.rmtree(git), git.write_text("gitdir: nowhere")),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_repository_is_moved_beside_with_all_that_is_in_it(home: Home, what: str) -> None:
    entry = home.tried("Better", BETTER, kept=True)
    home.workspace.add(entry, BASELINE)
    (home.path / "notes.txt").write_text("mine")
    DAMAGED[what](home.path / ".git")
    home.open().reconcile([(entry, BASELINE)], BETTER, entry.record.id)
    assert home.file() == BETTER
    assert home.subjects() == ["Better", "Baseline"]
    ((event, details),) = home.said
    assert event == "workspace set aside"
    assert details["reason"]
    assert details["reason"] != str(home.path)
    assert (Path(details["kept_in"]) / "notes.txt").read_text() == "mine"


BEFALLS = {
    **{name: lambda path, damage=damage: damage(path / ".git") for name, damage in DAMAGED.items()},
    "it is deleted": shutil.rmtree,
    "only git is deleted": lambda path: shutil.rmtree(path / ".git"),
    "it is a file": lambda path: (shutil.rmtree(path), path.write_text("mine")),
    "a folder is where the file belongs": lambda path: ((path / "train.py").unlink(), (path / "train.py").mkdir()),
    "the table is a folder": lambda path: ((path / "results.tsv").unlink(), (path / "results.tsv").mkdir()),
}


@pytest.mark.parametrize("what", BEFALLS)
def test_whatever_befalls_the_workspace_of_a_running_node_what_is_found_next_is_shown(home: Home, what: str) -> None:
    entry = home.tried("Better", BETTER, kept=True)
    history = [(entry, BASELINE)]
    home.workspace.follow(lambda: (history, history[-1][0].source, history[-1][0].record.id))
    (home.path / "notes.txt").write_text("mine")
    BEFALLS[what](home.path)
    history.append((home.tried("Better still", "A = 5\n", kept=True), BETTER))
    home.workspace.add(*history[-1])
    assert home.file() == "A = 5\n"
    assert home.subjects() == ["Better still", "Better", "Baseline"]
    assert [row[4] for row in home.results()[1:]] == ["baseline", "Better", "Better still"]
    if what != "it is deleted":
        assert any(path.read_text() == "mine" for path in home.path.parent.glob("workspace*/notes.txt")) or (
            home.path.with_name("workspace.1").read_text() == "mine"
        )


def test_what_befalls_the_new_repository_too_is_told_in_a_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise GitCommandError("reset", 128, b"error: unable to write file train.py")

    workspace = home.open()
    monkeypatch.setattr(Workspace, "_check_out", failing)
    with pytest.raises(HomeError, match=r"unable to write file train\.py.*see whether its disk is whole"):
        workspace.reconcile([], BASELINE, None)


def test_a_person_who_is_committing_is_left_alone_and_the_workspace_catches_up(home: Home) -> None:
    entry = home.tried("Better", BETTER, kept=True)
    history = [(entry, BASELINE)]
    home.workspace.follow(lambda: (history, history[-1][0].source, history[-1][0].record.id))
    lock = home.path / ".git" / "index.lock"
    lock.touch()
    for number in (5, 6):
        history.append((home.tried(f"A is {number}", f"A = {number}\n", kept=True), history[-1][0].source))
        home.workspace.add(*history[-1])
    assert lock.exists()
    assert home.file() == BETTER
    lock.unlink()
    history.append((home.tried("A is 7", "A = 7\n", kept=True), history[-1][0].source))
    home.workspace.add(*history[-1])
    assert home.file() == "A = 7\n"
    assert home.subjects() == ["A is 7", "A is 6", "A is 5", "Better", "Baseline"]
    assert [event for event, _ in home.said] == ["workspace behind", "workspace up to date"]


def test_a_disk_without_room_for_the_workspace_does_not_end_research(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    entry = home.tried("Better", BETTER, kept=True)
    home.workspace.follow(lambda: ([(entry, BASELINE)], BETTER, entry.record.id))
    monkeypatch.setattr(Workspace, "_commit", full)
    home.workspace.add(home.tried("Worse", WORSE, kept=False), BETTER)
    ((event, details),) = home.said
    assert event == "workspace behind"
    assert details["why"]


def test_a_folder_where_a_file_belongs_is_moved_beside(home: Home) -> None:
    home.workspace.reconcile([], BASELINE, None)
    (home.path / "train.py").unlink()
    (home.path / "train.py").mkdir()
    (home.path / "train.py" / "notes.txt").write_text("mine")
    home.open().reconcile([], BASELINE, None)
    assert home.file() == BASELINE
    ((event, details),) = home.said
    assert event == "work set aside"
    assert (Path(details["kept_in"]) / "notes.txt").read_text() == "mine"


def test_a_dollar_sign_in_the_path_is_no_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    home = Home(tmp_path / "$HOME" / "workspace")
    home.open().reconcile([], BASELINE, None)
    assert home.file() == BASELINE
    assert home.said == []


def test_without_git_a_person_is_told_to_install_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HomeError, match="git is not on the PATH: install it"):
        home.open()
    assert home.said == []


def test_a_full_disk_is_no_damage(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Workspace, "_make", full)
    monkeypatch.setattr(Workspace, "_tried", full)
    with pytest.raises(HomeError, match="make room"):
        home.open()
    assert home.said == []
    assert [path.name for path in home.path.parent.iterdir()] == ["workspace"]


def test_settings_for_all_repositories_of_a_person_change_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text("[core]\n\tautocrlf = true\n[commit]\n\tgpgsign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    home.open().add(home.tried("Better", BETTER, kept=True), BASELINE)
    assert (home.path / "train.py").read_bytes() == BETTER.encode()
