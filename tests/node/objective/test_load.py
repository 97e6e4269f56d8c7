"""An objective's folder is read once, with errors that name the setting; a peer's is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.objective.load import load_objective, write_objective
from node.objective.schema import Objective, ObjectiveError
from protocol.objective import decode_manifest, objective_id
from tests.node.execution.small_objective import TINYLM, copy_in_files, copy_tinylm


def load(folder: Path) -> Objective:
    return load_objective(folder, folder / "data")


def change(root: Path, old: str, new: str) -> None:
    settings = root / "objective.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new, 1))


def test_tinylm_is_read_into_what_its_settings_say() -> None:
    objective = load(TINYLM)
    assert (objective.name, objective.metric, objective.editable) == ("tinylm", "val_bpb", ("train.py",))
    assert objective.budget.tokens == 524_288
    assert objective.statistics.slope == 0.15
    assert objective.checkpoints == (20, 50, 100)
    assert objective.source == (TINYLM / "train.py").read_text()
    assert (objective.draw, objective.secret_seed, objective.data) == ("language.py", True, ())


def test_data_that_lie_in_the_folder_are_no_part_of_its_files(tmp_path: Path) -> None:
    root = copy_in_files(tmp_path)
    before = load(root).id
    (root / "val.bin").write_bytes(b"data made here by hand")
    assert load(root).id == before


def test_an_objective_may_have_its_text_in_files_and_a_plain_seed(tmp_path: Path) -> None:
    objective = load(copy_in_files(tmp_path))
    assert (objective.draw, objective.secret_seed) == (None, False)
    assert [name for name, _ in objective.data_for("candidate")] == ["train"]
    assert [name for name, _ in objective.data_for("judge")] == ["val", "holdout"]


def test_with_text_in_files_the_seed_may_be_secret_too(tmp_path: Path) -> None:
    root = copy_in_files(tmp_path)
    for flag in (True, False):
        change(root, "[task]\n", f"[task]\nsecret_seed = {str(flag).lower()}\n")
        assert load(root).secret_seed == flag
        change(root, f"secret_seed = {str(flag).lower()}\n", "")


def test_a_class_may_have_priors_of_its_own(tmp_path: Path) -> None:
    root = copy_tinylm(tmp_path)
    own = "priors = { batch = { success = 0.4, gain = 0.03 } }"
    change(root, "memory_mb = 38000", f"memory_mb = 38000\n{own}")
    objective = load(root)
    assert objective.priors_for("datacentre-gpu")["batch"].gain == 0.03
    assert objective.priors_for("datacentre-gpu")["optimizer"] == objective.priors["optimizer"]
    assert objective.priors_for("laptop-cpu") == objective.priors_for("a class of another version") == objective.priors
    assert set(objective.categories) <= set(objective.priors)


def test_the_id_is_that_of_the_manifest_and_depends_on_every_file_only(tmp_path: Path) -> None:
    root = copy_tinylm(tmp_path)
    objective = load(root)
    assert objective.id == objective_id(objective.manifest_bytes)
    listed = decode_manifest(objective.manifest_bytes)
    assert {entry.path for entry in listed.files} == set(objective.files)
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "train.pyc").write_bytes(b"compiled")
    (root / ".hidden").write_text("an editor's")
    assert load(root).id == objective.id
    (root / "program.md").write_text("another direction")
    assert load(root).id != objective.id


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("tokens = 524288", 'tokens = "many"', "tokens"),
        ("tokens = 524288", "tokens = -1", "tokens"),
        ("threads = 1", "threads = true", "threads"),
        ("s0 = 0.01", "", "s0"),
        ("checkpoints = [20, 50, 100]", 'checkpoints = ["early"]', "checkpoints"),
        ('direction = "lower"', 'direction = "up"', "direction"),
        ('judge = "judge.py"', 'judge = "nobody.py"', "nobody.py"),
        ("[metric]", "[metrics]", "metric"),
        ('name = "tinylm"', "name = ", "objective.toml"),
        ("success = 0.5, gain = 0.1", "success = 1.5, gain = 0.1", "initialisation"),
        ("success = 0.5, gain = 0.1", "success = 0.5, gain = 0", "initialisation"),
        ("initialisation = {", "initialisation = 3 # {", "initialisation"),
        ('device = "gpu"', 'device = "abacus"', "consumer-gpu"),
        ("tokens_per_second = 20000", "tokens_per_second = -1", "server-cpu"),
        ("memory_mb = 30000", "memory_mb = inf", r"classes\.memory_mb"),
        ("wall_seconds = 180", "wall_seconds = nan", r"budget\.wall_seconds"),
        ("wall_seconds = 180", "wall_seconds = " + "9" * 400, r"budget\.wall_seconds"),
        ("memory_mb = 3000", "memory_mb = 0x" + "f" * 9999, r"budget\.memory_mb"),
        ('direction = "lower"', "direction = 0x" + "f" * 9999, r"direction must be text"),
        ('draw = "language.py"', 'draw = "nobody.py"', "nobody.py"),
        ('draw = "language.py"', "draw = 3", "draw must be text"),
        (
            'draw = "language.py"',
            'draw = "language.py"\nprepare = "language.py"',
            "with draw there is no",
        ),
        ('draw = "language.py"', "", r"\[\[data\]\] is missing"),
        ("[task]", "[task]\nsecret_seed = 1", "secret_seed must be true or false"),
        ("[task]", "[task]\nsecret_seed = false", "the seed is always secret"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    root = copy_tinylm(tmp_path)
    change(root, old, new)
    with pytest.raises(ObjectiveError, match=named):
        load(root)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('path = "val.bin"', 'path = "../val.bin"', "path"),
        ('room = "candidate"', 'room = "everyone"', "room"),
        ('sha256 = "2e01', 'sha256 = "xx01', "sha256"),
        ("size = 32768", "size = 99999999999999999999", r"data\.size"),
    ],
)
def test_a_wrong_declaration_of_data_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    root = copy_in_files(tmp_path)
    change(root, old, new)
    with pytest.raises(ObjectiveError, match=named):
        load(root)


def test_a_folder_without_settings_is_no_objective(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"objective\.toml"):
        load(tmp_path)


def test_an_objective_from_a_peer_arrives_whole_and_with_the_same_id(tmp_path: Path) -> None:
    original = load(TINYLM)
    write_objective(original.files, tmp_path / "arrived")
    assert load(tmp_path / "arrived").id == original.id
    assert [path.name for path in tmp_path.iterdir()] == ["arrived"]


@pytest.mark.parametrize("path", ["../escape.py", "/etc/escape.py", "a/../../escape.py", "C:\\escape.py", ""])
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path: Path, path: str) -> None:
    files = {"fine.py": b"", path: b"bad"}
    with pytest.raises(ObjectiveError, match="unsafe"):
        write_objective(files, tmp_path / "arrived")
    assert not (tmp_path / "arrived").exists()


def test_paths_that_cannot_exist_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match="cannot be written"):
        write_objective({"a": b"", "a/b": b""}, tmp_path / "arrived")
    assert not list(tmp_path.iterdir())
