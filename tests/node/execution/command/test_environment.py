"""What a command needs beside its folder is read-only, at the path it has, and nothing of a person's beyond that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.execution.command.environment import NotPreparedError, surroundings
from node.execution.sandbox.layers import Layers
from tests.node.execution.command.folders import command_objective, run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


def make_environment(root: Path) -> Path:
    """A virtual environment in a folder, with a module and a program, as an installer would have made them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    packages = next((root / ".venv" / "lib").glob("python*/site-packages"))
    (packages / "installed.py").write_text("VALUE = 40\n")
    program = root / ".venv" / "bin" / "measure"
    program.write_text(f"#!{root}/.venv/bin/python\nimport installed\nprint(f'METRIC score={{installed.VALUE}}')\n")
    program.chmod(0o755)
    return packages


def a_python(prefix: Path) -> Path:
    """A folder that has in it what tells a Python's folder from others."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib/python3.14").mkdir(parents=True)
    (prefix / "lib/python3.14/os.py").touch()
    return prefix


def name_base(root: Path, program_folder: Path | str) -> None:
    """Let an environment say that the Python it was made from is elsewhere."""
    settings = root / ".venv/pyvenv.cfg"
    settings.write_text(re.sub(r"(?m)^home = .*$", f"home = {program_folder}", settings.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "measure",
        ".venv/bin/measure",
        "python -c 'import measured'",
        "uv run measured.py",
        "uv run -q python measured.py",
    ],
)
async def test_a_virtual_environment_is_found_first(line: str, machine: Layers, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    make_environment(root)
    objective = command_objective(
        root,
        {"measured.py": "import installed\nprint(f'METRIC score={installed.VALUE}')"},
        command=f"""run = "{line}" """,
        rest='[environment]\npaths = [".venv"]\nprepare = "uv sync"',
    )
    outcome = await run(objective, machine)
    assert outcome.value == 40, outcome.log_tail


def test_the_python_of_an_environment_that_holds_a_copy_of_it_is_shown(tmp_path: Path) -> None:
    base, root = a_python(tmp_path / "python"), tmp_path / "folder"
    make_environment(root)
    name_base(root, base / "bin")
    for program in ("python", "python3"):
        (root / ".venv/bin" / program).unlink()
    (root / ".venv/bin/python").write_bytes(b"a copy")
    shown = surroundings(root, [".venv"]).shown
    assert {base / "bin", base / "lib"} <= set(shown)


@pytest.mark.parametrize("named", ["home/.local/bin", "home/bin", "home/python/../.local/bin", "nowhere/bin"])
def test_a_folder_that_is_no_python_s_is_not_shown_as_one(named: str, tmp_path: Path) -> None:
    a_python(tmp_path / "home/python")
    for private in ("home/.local/bin", "home/.local/share/keyrings", "home/.local/lib/python3.11/site-packages"):
        (tmp_path / private).mkdir(parents=True)
    (tmp_path / "home/bin").mkdir()
    root = tmp_path / "folder"
    make_environment(root)
    before = surroundings(root, [".venv"]).shown
    name_base(root, f"{tmp_path}/{named}")
    assert [path for path in surroundings(root, [".venv"]).shown if path not in before] == []


async def test_a_package_that_is_installed_from_the_folder_is_the_run_s_own(machine: Layers, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    (make_environment(root) / "_ours.pth").write_text(f"{root}/src\n")
    objective = command_objective(
        root,
        {"src/ours/__init__.py": "VALUE = 1\n"},
        command="""run = "python -c 'import ours; print(f\\"METRIC score={ours.VALUE}\\")'" """,
        editable=["src/ours/__init__.py"],
        rest='[environment]\npaths = [".venv"]',
    )
    assert (await run(objective, machine, "VALUE = 2\n")).value == 2


async def test_the_node_s_own_environment_will_do(layers: Layers, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    (root / ".venv").symlink_to(sys.prefix)
    objective = command_objective(
        root,
        {"a.py": "import trio; print('METRIC score=1')"},
        command='run = "uv run a.py"',
        rest='[environment]\npaths = [".venv"]',
    )
    outcome = await run(objective, layers)
    assert outcome.value == 1, outcome.log_tail


async def test_a_cache_is_where_a_home_has_it_and_cannot_be_written(layers: Layers, home: Path, tmp_path: Path) -> None:
    (home / ".cache" / "autoresearch").mkdir()
    (home / ".cache" / "autoresearch" / "data").write_text("3")
    (home / ".cache" / "other").write_text("secret")
    shell = """cd ~/.cache/autoresearch && echo METRIC score=$(cat data)
    (echo 4 > data || touch new || rm -f data || chmod 777 .) 2> /dev/null && exit 1
    cat ../other && exit 2; touch ../mine && exit 3; true"""
    objective = command_objective(
        tmp_path / "folder", {"bench.sh": shell}, rest='[environment]\npaths = ["~/.cache/autoresearch"]'
    )
    outcome = await run(objective, layers)
    assert outcome.value == 3, outcome.log_tail
    assert sorted(path.name for path in (home / ".cache").iterdir()) == ["autoresearch", "other"]


async def test_what_is_not_prepared_is_said_with_the_command(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder", {"bench.sh": "true"}, rest='[environment]\npaths = [".venv"]\nprepare = "uv sync"'
    )
    outcome = await run(objective, machine)
    assert outcome.failure == "killed"  # so that it is tried again
    assert outcome.log_tail == f"the objective needs .venv, which is not here; in {objective.root}, run: uv sync"


@pytest.mark.parametrize(
    "declared",
    [
        "~",
        "~/.ssh",
        "~/.cache",
        "~/.cache/../.ssh",
        "~root/.cache/x",
        "/etc",
        "/",
        ".",
        "..",
        "a/../..",
        "~/.cache/huggingface",
        "~/.cache/huggingface/token",
        "keys",
        "keys/inner",
        "cache",
        "tokens",
    ],
)
def test_a_stranger_s_objective_cannot_ask_for_what_is_a_person_s(declared: str, home: Path, tmp_path: Path) -> None:
    for folder in (home / ".ssh" / "inner", home / ".cache" / "huggingface" / "hub", tmp_path / "folder"):
        folder.mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("secret")
    for name, to in (("keys", ".ssh"), ("cache", ".cache"), ("tokens", ".cache/huggingface")):
        (tmp_path / "folder" / name).symlink_to(home / to)
    with pytest.raises(NotPreparedError, match="the objective asks for"):
        surroundings(tmp_path / "folder", [declared])


def test_a_link_of_the_person_s_leads_to_what_it_shows(home: Path, tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (home / ".cache" / "data").symlink_to(tmp_path / "large disk")
    found = surroundings(tmp_path / "folder", ["~/.cache/data"])
    assert found.shown == (home / ".cache" / "data", tmp_path / "large disk")
    assert found.home_links == {".cache/data": home / ".cache" / "data"}


def test_a_link_in_the_folder_may_lead_to_a_cache(home: Path, tmp_path: Path) -> None:
    (home / ".cache" / "data").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").symlink_to(home / ".cache" / "data")
    assert home / ".cache" / "data" in surroundings(tmp_path / "folder", ["data"]).shown


def test_a_stranger_s_environment_shows_no_folder_that_is_no_python_s(home: Path, tmp_path: Path) -> None:
    (home / ".local" / "share" / "keyrings").mkdir(parents=True)
    (home / ".local" / "bin").mkdir()
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("")
    python = environment / "bin" / "python"
    python.symlink_to(home / ".local" / "bin" / "python3")
    assert set(surroundings(tmp_path, [".venv"]).shown) == {environment}
    (home / ".local" / "bin" / "python3").symlink_to(sys.executable)
    found = surroundings(tmp_path, [".venv"]).shown
    assert home / ".local" / "bin" / "python3" in found
    assert Path(sys.executable).resolve().parent.parent / "lib" in found
    assert home / ".local" / "share" not in found


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_that_never_ends_keeps_nobody_waiting(make: Callable[[Path], None], tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("")
    make(packages / "a.pth")
    assert surroundings(tmp_path, [".venv"]).import_folders == ()


def test_a_name_that_no_file_can_have_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(NotPreparedError, match="which is not here"):
        surroundings(tmp_path, ["\U00020000" * 190])
