"""What of a stranger's folder belongs to an objective; seeds in several lines; a direction in another file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.objective.load import complaints, load_objective
from node.objective.schema import Objective, ObjectiveError

SETTINGS = """
kind = "command"
name = "sorting"
summary = "Sorts."
editable = "sort.py"
categories = ["algorithm"]
files = ["*.py", "*.md"]
[metric]
name = "ms"
unit = "ms"
direction = "lower"
[budget]
wall_seconds = 20
threads = 1
memory_mb = 500
[command]
run = "python3 sort.py"
[environment]
paths = [".venv"]
[statistics]
s0 = 0.02
minimum_effect = 0.01
max_pairs = 4
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "objective"
    folder.mkdir()
    (folder / "sort.py").write_text("x = 1\nseed(42)\ny = 2\nseed(42)\n")
    (folder / "objective.toml").write_text(SETTINGS)
    return folder


def load(root: Path, more: str = "", before: str = "[metric]") -> Objective:
    """The objective with more settings, which stand before a table."""
    (root / "objective.toml").write_text(SETTINGS.replace(before, f"{more}\n{before}"))
    return load_objective(root, root)


def test_a_link_that_leads_out_of_the_folder_is_none_of_its_files(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (root / "notes.py").symlink_to(tmp_path / "secret")
    (root / "again.py").symlink_to("sort.py")
    files = load(root).files
    assert "notes.py" not in files
    assert files["again.py"] == files["sort.py"]


def test_folders_of_the_environment_are_none_of_its_files(root: Path) -> None:
    (root / ".venv").mkdir()
    (root / ".venv" / "site.py").write_text("x")
    assert set(load(root).files) == {"objective.toml", "sort.py"}


def test_a_place_for_a_seed_may_have_several_lines(root: Path) -> None:
    rewrite = r'{ file = "sort.py", find = "x = 1\nseed(42)", replace = "x = 1\nseed({seed})" }'
    seed = f"[command.seed]\nrewrite = [{rewrite}]"
    command = load(root, seed, "[environment]").command
    assert command is not None
    assert command.seed_rewrites[0].find == "x = 1\nseed(42)"
    with pytest.raises(ObjectiveError, match="plain text"):
        load(root, seed.replace(r"x = 1\n", r"\u001b\n"), "[environment]")


def test_the_direction_for_the_search_may_be_another_file(root: Path) -> None:
    assert load(root).direction == "program.md"
    (root / "goal.md").write_text("Faster.")
    assert load(root, 'direction = "goal.md"').direction == "goal.md"
    with pytest.raises(ObjectiveError, match=r"names absent\.md"):
        load(root, 'direction = "absent.md"')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "sorting"', f"name.{'.'.join(['a'] * 2000)} = 1"),
        ('editable = "sort.py"', f"editable = [0x{'f' * 6000}]"),
        ('editable = "sort.py"', f"editable = ['{chr(0x20000) * 190}']"),
        ('run = "python3 sort.py"', f'run = "true"\nfailed_by = {["x"] * 17}'),
        ('run = "python3 sort.py"', 'run = "true"\nfailed_by = [""]'),
        ('run = "python3 sort.py"', 'run = "true"\n[command.require]\n"a\\u001b[31m" = "b"'),
        # What no record could hold.
        ('["algorithm"]', f"['{'a' * 41}']"),
        ('["algorithm"]', '["a\\u001b[31m"]'),
        ("max_pairs = 4", "max_pairs = 17"),
        ("max_pairs = 4", "max_pairs = 4\nslope = 1e18"),
        ("max_pairs = 4", "max_pairs = 4\ncost_s0 = 1e18"),
    ],
)
def test_absurd_settings_are_refused_like_any_others(root: Path, old: str, new: str) -> None:
    (root / "objective.toml").write_text(SETTINGS.replace(old, new))
    with pytest.raises(ObjectiveError):
        load_objective(root, root)
    assert complaints(root)


@pytest.mark.parametrize("name", [b"\xff.py", b"a\nb.py"])
def test_a_file_whose_name_is_no_text_is_named(root: Path, name: bytes) -> None:
    (root / os.fsdecode(name)).touch()
    with pytest.raises(ObjectiveError, match="a file whose name no objective can have: '"):
        load(root)


def test_folders_deeper_than_a_path_can_say_are_not_looked_into(root: Path) -> None:
    script = "import os\nfor n in range(1900): os.mkdir('a'); os.chdir('a')"
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)
    assert set(load(root).files) == {"objective.toml", "sort.py"}
    subprocess.run(["rm", "-r", root / "a"], check=True)  # pytest cannot


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_settings_that_never_end_are_none(root: Path, make: Callable[[Path], None]) -> None:
    (root / "objective.toml").unlink()
    make(root / "objective.toml")
    with pytest.raises(ObjectiveError, match="that can be read"):
        load_objective(root, root)
    assert complaints(root)
