"""An import writes objective.toml and nothing else; what belongs to the objective is chosen with care."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import Choice, ImportRefusedError
from node.authoring.importing.report import as_data, as_lines
from node.authoring.importing.writing import import_folder, patterns_for
from node.cli.main import main
from node.objective.load import load_objective, write_objective
from node.objective.schema import SETTINGS
from protocol.metric import Direction
from tests.node.authoring.importing.examples import EXAMPLES, PLAIN, example, imported, state


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_nothing_but_the_settings_is_written(tmp_path: Path, name: str) -> None:
    root = example(name, tmp_path)
    before = state(root)
    choice = replace(PLAIN, direction=Direction.LOWER) if name == "plain" else Choice()
    found = import_folder(root, choice)
    assert state(root) == before
    assert load_objective(root, root).id == found.objective.id
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_objective(found.objective.files, tmp_path / "of a peer")
    assert load_objective(tmp_path / "of a peer", tmp_path).id == found.objective.id


def test_settings_that_are_there_are_overwritten_only_by_force(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    (root / SETTINGS).write_text("# mine")
    with pytest.raises(ImportRefusedError, match="--force"):
        import_folder(root, Choice())
    assert (root / SETTINGS).read_text() == "# mine"
    import_folder(root, Choice(), force=True)
    assert 'kind = "command"' in (root / SETTINGS).read_text()


@pytest.mark.parametrize("before", ["# mine", None])
def test_an_import_that_fails_leaves_things_as_they_were(tmp_path: Path, before: str | None) -> None:
    root = example("shinka", tmp_path)
    if before is not None:
        (root / SETTINGS).write_text(before)
    (root / "initial.py").write_text("x = 1\n" * 100_000)  # too long to be a source
    with pytest.raises(ImportRefusedError, match="ShinkaEvolve was recognised, but"):
        import_folder(root, Choice(), force=True)
    assert ((root / SETTINGS).read_text() if before else (root / SETTINGS).exists()) == (before or False)


def test_a_file_that_is_not_there_cannot_be_edited(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match=r"has no file absent\.py"):
        imported("shinka", tmp_path, Choice(editable=("absent.py",)))


def test_everything_that_was_recognised_is_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = example("pi", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["objective", "import", str(root), "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["editable"] == ["src/order.py", "src/join.py"]
    assert found["history"] == {
        "file": ".auto/log.jsonl", "results": 4, "skipped": 1, "kept": 1, "discarded": 1, "crashed": 2, "tried": 0,
    }  # fmt: skip
    assert found["metric"]["direction"] == "lower"
    assert found["prepare"] is None


def test_a_person_is_told_what_was_taken_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["objective", "import", str(example("karpathy", tmp_path))])
    text = capsys.readouterr().out
    for line in (
        "editable     train.py",
        "locked       prepare.py, program.md, results.tsv",
        "metric       val_bpb (bits per byte), lower is better",
        "seed         rewritten for each run: random.seed(42) in train.py",
        "prepare      python3 prepare.py   (once, with the network)",
        "history      3 results in results.tsv (1 kept, 1 discarded, 1 crashed)",
        "changed nothing else",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("code", "warned"),
    [
        ("print(f'METRIC ms={took}')", True),
        ("print('METRIC {}={}'.format('ms', took))", True),
        ("print(f'ms: {took}')", True),
        ("print('ms:', took)", True),
        ("ms: float = 1.0\nprint('forms: 3')", False),
    ],
)
def test_a_file_that_may_be_edited_and_prints_its_own_score_is_warned_of(
    tmp_path: Path, code: str, warned: bool
) -> None:
    (tmp_path / "train.py").write_text(f"took = 3\n{code}\n")
    choice = Choice(command="python3 train.py", metric="ms", direction=Direction.LOWER, editable=("train.py",))
    told = as_lines(import_folder(tmp_path, choice))
    assert ("note: train.py may be edited and prints its own score, ms, so an edit can change" in told) == warned
    assert ("starts train.py, name that one in the command, and leave it out of --editable" in told) == warned


@pytest.mark.parametrize("given", ["./src/order.py", "pi/src/order.py", "{root}/src/order.py"])
def test_a_file_may_be_named_from_the_folder_or_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    root = example("pi", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["objective", "import", "pi", "--editable", given.format(root=root), "--json"])
    assert json.loads(capsys.readouterr().out)["editable"] == ["src/order.py"]


def test_a_folder_that_is_nothing_ends_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, told in ((tmp_path, "looked for"), (tmp_path / "absent", "there is no folder")):
        with pytest.raises(SystemExit) as ended:
            main(["objective", "import", str(folder)])
        assert ended.value.code == 2
        assert told in capsys.readouterr().err


# ---- which files belong to it ---------------------------------------------------------------------------------------


def test_caches_results_and_secrets_are_left_out(tmp_path: Path) -> None:
    root = example("karpathy", tmp_path)
    for path in (
        ".venv/bin/python",
        "node_modules/x.js",
        "results/1.json",
        "run.log",
        "w.safetensors",
        ".env",
        "my.pem",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    assert set(import_folder(root, Choice()).objective.files) == {
        "objective.toml", "prepare.py", "program.md", "results.tsv", "train.py",
    }  # fmt: skip


def test_a_link_that_leads_outside_belongs_to_no_objective(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine alone")
    root = example("shinka", tmp_path)
    os.symlink(tmp_path / "private", root / "notes.txt")
    os.symlink(root / "initial.py", root / "inside.py")
    files = import_folder(root, Choice()).objective.files
    assert "notes.txt" not in files
    assert "inside.py" in files


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(root), *arguments],
        check=True,
        capture_output=True,
    )


def test_in_a_repository_git_says_what_belongs(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    git(root, "init")
    (root / ".gitignore").write_text("scratch.txt\n")
    (root / "results").mkdir()
    (root / "results" / "expected.json").write_text("{}")
    git(root, "add", "-f", ".")
    git(root, "commit", "-m", "x")
    for name in ("scratch.txt", "fresh.py", "fresh.log"):
        (root / name).write_text("x = 1\n")
    before = state(root)
    files = Folder(root).files
    assert {"results/expected.json", "fresh.py", "initial.py"} <= set(files)
    assert not {"scratch.txt", "fresh.log"} & set(files)
    assert state(root) == before


def test_a_repositorys_own_settings_make_git_run_nothing(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    git(root, "init")
    hook = root / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(hook))
    import_folder(root, Choice())
    assert not (tmp_path / "ran").exists()


def test_many_files_are_given_as_folders_and_match_nothing_else() -> None:
    wanted = {f"src/{number}/part.c" for number in range(200)} | {"a[1].py", "data/keep.txt"}
    patterns = patterns_for(wanted, [*wanted, "data/other.txt", "b.py"])
    assert patterns == ["a[[]1].py", "data/keep.txt", "src/*"]


def test_too_many_files_are_refused_with_what_to_do() -> None:
    wanted = {f"src/{number}.c" for number in range(600)}
    with pytest.raises(ImportRefusedError, match="--files"):
        patterns_for(wanted, wanted)


def test_a_person_may_say_which_files_belong(tmp_path: Path) -> None:
    root = example("pi", tmp_path)
    for number in range(600):
        (root / f"page{number}.html").write_text("x")
    with pytest.raises(ImportRefusedError, match="--files"):
        import_folder(root, Choice())
    found = import_folder(root, Choice(files=("src/*", "tests/*")))
    assert {".auto/measure.sh", "src/order.py", "tests/test_order.py"} <= set(found.objective.files)


def test_a_strangers_texts_stay_on_one_line_and_plain(tmp_path: Path) -> None:
    root = example("pi", tmp_path)
    log = root / ".auto" / "log.jsonl"
    log.write_text(log.read_text().replace("Sort two halves", "x\\u001b[31m\\n# y\\n[budget]\\u202e" + "z" * 900))
    objective = import_folder(root, Choice()).objective
    assert objective.summary.startswith("x [31m # y [budget] zzz")
    assert len(objective.summary) <= 300
    assert as_data(import_folder(root, Choice(), force=True))["name"] == "pi"


# Hostile folders


@pytest.mark.parametrize("to", ["shell.rc", "/dev/zero", "pipe"])
def test_nothing_is_written_or_read_through_what_is_no_file(tmp_path: Path, to: str) -> None:
    root = example("shinka", tmp_path)
    os.mkfifo(root / "pipe")
    (root / SETTINGS).symlink_to(to if to == "pipe" else Path("..", to))
    with pytest.raises(ImportRefusedError, match="link or no regular file"):
        import_folder(root, Choice(), force=True)
    assert not (tmp_path / "shell.rc").exists()
    (root / SETTINGS).unlink()
    os.mkfifo(root / SETTINGS)
    with pytest.raises(ImportRefusedError, match="link or no regular file"):
        import_folder(root, Choice(), force=True)


def test_git_fetches_nothing_by_a_repository_s_own_program(tmp_path: Path) -> None:
    """A partial clone names a program that brings what it lacks, and a sparse index lacks what ls-files lists."""
    origin = example("shinka", tmp_path)
    (origin / "apart").mkdir()
    (origin / "apart" / "file").write_text("x")
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "all")
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=tree:0", "--sparse", f"file://{origin}", "clone")
    clone = tmp_path / "clone"
    git(clone, "sparse-checkout", "set", "--cone", "--sparse-index", "none")
    git(clone, "config", "remote.origin.uploadpack", f"touch {tmp_path}/ran; git-upload-pack")
    for pack in (clone / ".git" / "objects" / "pack").iterdir():
        pack.unlink()
    import_folder(clone, Choice())
    assert not (tmp_path / "ran").exists()
    git(clone, "ls-files")
    assert (tmp_path / "ran").exists()  # so it would have run


def test_a_repository_that_keeps_git_waiting_is_refused_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.authoring.importing.folder.GIT_SECONDS", 1)
    root = example("shinka", tmp_path)
    git(root, "init", "-q")
    os.mkfifo(root / ".git" / "pipe")
    with (root / ".git" / "config").open("a") as config:
        config.write("[include]\n\tpath = pipe\n")
    begun = time.monotonic()
    with pytest.raises(ImportRefusedError, match="git did not list"):
        import_folder(root, Choice())
    assert time.monotonic() - begun < 3  # seconds
