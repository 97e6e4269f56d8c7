"""Taking home: a branch per kept idea, with what was claimed and what others found, and patches that apply."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from git import Repo
from msgspec import structs

from node.app.finalize import FinalizeError, finalize
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.trees import pack
from node.research.workspace import Workspace
from protocol.records import ChainStep
from tests.node.conftest import ignore
from tests.node.json_forms_for_tests import hold
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

BASELINE, BETTER, BEST = b"LR = 1\nWIDTH = 1\n", b"LR = 3\nWIDTH = 1\n", b"LR = 3\nWIDTH = 2\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Alice kept two ideas and dropped one; Bob re-ran the first."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    baseline, better, best = (ledger.put_blob(source) for source in (BASELINE, BETTER, BEST))
    ledger.settings.choose(Description(baseline=baseline))
    alice, bob = Author("alice"), Author("bob")
    first = alice.write(experiment("Three times the rate!", baseline, better))
    dropped = alice.write(experiment("No", better, baseline, decision="no_gain"))
    second = alice.write(experiment("Wider", better, best))
    for record in (first, dropped, second, bob.report(first)):
        ledger.add(record, "peer")
    return ledger


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    repo = Repo.init(tmp_path / "workspace", initial_branch="best")
    (tmp_path / "workspace" / "train.py").write_bytes(BEST)
    repo.index.add(["train.py"])
    repo.index.commit("what the node stands on")
    return tmp_path / "workspace"


def author(name: str) -> bytes:
    return Author(name).identity.author


def test_every_kept_idea_has_a_branch_with_its_edit_and_its_evidence(ledger: Ledger, workspace: Path) -> None:
    made = finalize(ledger, author("alice"), workspace)
    assert [each.branch for each in made] == ["kept/01-three-times-the-rate", "kept/02-wider"]
    hold("finalize", [asdict(each) for each in made])
    repo = Repo(workspace)
    first, second = (repo.commit(each.branch) for each in made)
    assert second.parents == (first,)
    assert (second.tree / "train.py").data_stream.read() == BEST
    assert "Claimed gain: +18.1 % ± 0.8 (2 pairs)" in first.message
    assert "Replicated: +17.3 %" in first.message
    assert "by 1, not checked here: open" in first.message
    assert "supports" in first.message
    assert repo.active_branch.name == "best"


def test_each_edit_of_a_chain_has_a_branch_and_the_last_has_the_evidence(ledger: Ledger, workspace: Path) -> None:
    carol = Author("carol")
    baseline, better, best = (ledger.put_blob(source) for source in (BASELINE, BETTER, BEST))
    bets = [
        carol.write(structs.replace(experiment(title, *sources, decision="unclear"), bet=True))
        for title, *sources in (("Faster", baseline, better), ("Wider", better, best))
    ]
    steps = tuple(ChainStep(bet.id, "initialisation", -0.1) for bet in bets)
    carol.write(structs.replace(experiment("Faster + Wider", baseline, best), steps=steps))
    carol.write(structs.replace(experiment("Unproven", best, baseline, decision="unclear"), bet=True))
    for record in carol.records:
        ledger.add(record, "peer")
    made = finalize(ledger, carol.key, workspace)
    assert [each.branch for each in made] == ["kept/01-faster", "kept/02-wider"], "a bet that is not proven has none"
    first, second = (Repo(workspace).commit(each.branch) for each in made)
    assert (first.tree / "train.py").data_stream.read() == BETTER
    assert "Believed gain: +9.5 % of the chain; alone +18.1 % ± 0.8 (2 pairs)" in first.message
    assert first.committed_date == first.authored_date == bets[0].time // 1000
    assert "Proven together with the edits before it:\n\nFaster + Wider" in second.message
    assert "Claimed gain: +18.1 % ± 0.8 (2 pairs)" in second.message


def test_the_patches_lead_from_the_baseline_to_the_best(ledger: Ledger, workspace: Path, tmp_path: Path) -> None:
    made = finalize(ledger, author("alice"), workspace)
    elsewhere = Repo.init(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "train.py").write_bytes(BASELINE)
    elsewhere.index.add(["train.py"])
    elsewhere.index.commit("the baseline")
    patches = [str(workspace / "patches" / each.patch) for each in made]
    elsewhere.git.execute(["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "am", *patches])
    assert (tmp_path / "elsewhere" / "train.py").read_bytes() == BEST


def test_made_again_it_is_the_same(ledger: Ledger, workspace: Path) -> None:
    def commits() -> list[str]:
        return [Repo(workspace).commit(each.branch).hexsha for each in finalize(ledger, author("alice"), workspace)]

    assert commits() == commits()


def test_a_persons_settings_of_git_and_patches_are_left_alone(
    ledger: Ledger, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text("[diff]\n\tnoprefix = true\n[format]\n\tnumbered = true\n\tsuffix = .txt\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    (workspace / "patches").mkdir()
    (workspace / "patches" / "mine.patch").write_text("mine")
    made = finalize(ledger, author("alice"), workspace)
    assert "--- a/train.py" in (workspace / "patches" / made[0].patch).read_text()
    assert (workspace / "patches" / "mine.patch").read_text() == "mine"


def test_a_damaged_workspace_is_a_sentence(ledger: Ledger, workspace: Path) -> None:
    shutil.rmtree(workspace / ".git" / "objects")
    with pytest.raises(FinalizeError, match="start the node once in this home"):
        finalize(ledger, author("alice"), workspace)


def test_without_anything_kept_it_says_so(ledger: Ledger, workspace: Path) -> None:
    with pytest.raises(FinalizeError, match="nothing has been claimed"):
        finalize(ledger, author("bob"), workspace)


def test_patches_of_several_files_apply(tmp_path: Path) -> None:
    versions = [
        {"train.py": "LR = 1\n", "kernels/add.cu": "a + b\n"},
        {"train.py": "LR = 1\n", "kernels/add.cu": "b + a\n"},
        {"train.py": "LR = 2\n", "kernels/add.cu": "b + a + 0\n"},
    ]
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    baseline, better, best = (ledger.put_blob(pack(files).encode()) for files in versions)
    ledger.settings.choose(Description(baseline=baseline, editable=("train.py", "kernels/add.cu")))
    alice = Author("alice")
    for record in (alice.write(experiment("First", baseline, better)), alice.write(experiment("Second", better, best))):
        ledger.add(record, "peer")
    about = ledger.settings.description
    Workspace.open(tmp_path / "workspace", about.editable, pack(versions[0]), lambda discovery: "", about, ignore)
    made = finalize(ledger, author("alice"), tmp_path / "workspace")
    elsewhere = Repo.init(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "kernels").mkdir()
    for path, text in versions[0].items():
        (tmp_path / "elsewhere" / path).write_text(text)
    elsewhere.index.add(list(versions[0]))
    elsewhere.index.commit("the baseline")
    patches = [str(tmp_path / "workspace" / "patches" / each.patch) for each in made]
    elsewhere.git.execute(["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "am", *patches])
    assert {path: (tmp_path / "elsewhere" / path).read_text() for path in versions[2]} == versions[2]
