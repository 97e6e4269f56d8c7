"""Hints name the program as the person who started it can type it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from node.platform import program
from node.platform.environment import FOR_EVERY_PROGRAM, variables
from node.platform.log import render_line
from node.platform.program import started_from

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in an environment of its own, from which this one was started, as by ./scripts/join."""
    monkeypatch.setattr(program, "started_from", started_from)
    made = tmp_path / "a clone" / ".venv" / "bin" / program.NAME
    made.parent.mkdir(parents=True)
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(made)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return made


def test_what_is_not_on_the_path_is_named_by_its_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.parents[2])
    assert program.typed() == ".venv/bin/autoresearch-node"
    monkeypatch.chdir("/")
    assert program.typed() == f"'{place}'"  # its path has a space


def test_what_is_on_the_path_is_named_by_its_name_unless_that_is_another_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{place.parent}:/usr/bin")
    assert program.typed() == "autoresearch-node"
    other = place.parents[3] / "bin" / program.NAME
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert program.typed() == f"'{place}'"


def test_a_hint_of_the_log_can_be_typed_and_the_file_keeps_the_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.parents[2])
    event = {"event": "no peers yet", "hint": "`autoresearch-node invite` prints what another machine needs"}
    assert "`.venv/bin/autoresearch-node invite`" in render_line(event, colour=False)
    assert program.in_hints("the same version of autoresearch-node") == "the same version of autoresearch-node"


def test_more_is_installed_with_the_python_that_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert program.installing("mcp").endswith("-m pip install -c constraints.txt -e '.[mcp]'")
    monkeypatch.chdir("/")
    assert f"-c {ROOT}/constraints.txt -e '{ROOT}[mcp]'" in program.installing("mcp").replace('"', "'")
    assert not re.match(r"pip\b", program.installing("mcp"))


def test_no_text_that_is_printed_has_the_bare_name_before_a_command() -> None:
    bare = re.compile(r"""print\(.*["`\s]autoresearch-node [a-z]""")
    for folder in ("cli", "view/terminal"):
        for path in (ROOT / "node" / folder).glob("*.py"):
            assert not [line for line in path.read_text().splitlines() if bare.search(line)], path


def test_a_real_start_by_path_says_that_path_in_its_complaint(tmp_path: Path) -> None:
    started = Path(sys.executable).with_name(program.NAME)
    env = {**variables(FOR_EVERY_PROGRAM), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    said = subprocess.run([started, "status"], capture_output=True, text=True, cwd=started.parents[2], env=env)
    assert said.returncode == 2
    assert f"`{started.relative_to(started.parents[2])} join`" in said.stderr


@pytest.mark.parametrize("given", [["--home", "a third"], ["--home=a third"]])
def test_a_hint_acts_on_the_home_that_was_named(place: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]) -> None:
    monkeypatch.chdir(place.parents[2])
    monkeypatch.setattr(sys, "argv", [str(place), "join", *given])
    by, home = ".venv/bin/autoresearch-node", "--home 'a third'"
    assert program.typed() == by
    assert program.typed("suggestions") == f"{by} suggestions {home}"
    assert program.typed("--help") == f"{by} --help"
    assert program.typed("service install -- --no-research") == f"{by} service install {home} -- --no-research"
    hint = "`autoresearch-node invite` prints it, `autoresearch-node leaderboard --objective 2aa6338b13` shows them"
    assert program.in_hints(hint) == f"`{by} invite {home}` prints it, " + (
        f"`{by} leaderboard --objective 2aa6338b13 {home}` shows them"
    )
    event = {"event": "objective folder changed", "hint": hint}
    assert f"`{by} invite {home}`" in render_line(event, colour=False)


def test_the_usual_home_is_not_named_in_hints(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(place.parents[2])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(place), "join", "--home", str(tmp_path / ".autoresearch-node")])
    assert program.typed("invite") == ".venv/bin/autoresearch-node invite"
