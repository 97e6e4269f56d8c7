"""No program gets more of the environment than it is given on purpose, and no library reads past the settings."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import node
from node.platform.environment import (
    child_environment,
    forget_what_libraries_read,
    git_environment,
    variable,
    variables,
)

PACKAGE = Path(node.__file__).parent
DOOR = "platform/environment.py"
STARTS = {
    "subprocess": ("run", "Popen", "call", "check_call", "check_output"),
    "trio": ("run_process",),
    "trio.lowlevel": ("open_process",),
    "os": ("execve", "execvpe", "spawnve", "posix_spawn"),
}
WITHOUT_ENVIRONMENT = ("execv", "execvp", "execl", "execlp", "spawnv", "spawnl", "system", "popen", "startfile")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_bytes())


def test_no_variable_of_gits_and_none_of_the_model_clients_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GIT_INDEX_FILE": "/elsewhere", "OPENAI_ORG_ID": "o", "OPENAI_API_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    forget_what_libraries_read()
    assert {"GIT_INDEX_FILE", "OPENAI_ORG_ID"}.isdisjoint(os.environ)
    assert (os.environ["GITHUB_ACTIONS"], os.environ["OPENAI_API_KEY"]) == ("true", "k")


def test_a_program_gets_what_is_named_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A_TOKEN", "LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "DISPLAY"):
        monkeypatch.setenv(name, "here")
    monkeypatch.setenv("LC_ALL", "de_DE.ISO-8859-1")
    given = child_environment("DISPLAY", "NOT_SET", EXTRA="1")
    assert given.keys() <= {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LC_ALL", "DISPLAY", "EXTRA"}
    assert (given["LC_ALL"], given["DISPLAY"], given["EXTRA"]) == ("C.UTF-8", "here", "1")
    assert "A_TOKEN" not in git_environment()


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    assert variable("XDG_CONFIG_HOME", "else") == "else"
    assert variables(["XDG_CONFIG_HOME"]) == {"XDG_CONFIG_HOME": ""}


def test_only_one_module_reads_the_environment() -> None:
    readers = {
        path
        for path, module in modules()
        for found in ast.walk(module)
        if (isinstance(found, ast.Attribute) and found.attr in ("environ", "environb", "getenv", "putenv"))
        or (isinstance(found, ast.alias) and found.name in ("environ", "getenv"))
    }
    assert readers == {DOOR}


def test_every_program_that_is_started_is_given_an_environment() -> None:
    started, without = 0, []
    for path, module in modules():
        for call in ast.walk(module):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            owner, name = ast.unparse(call.func.value), call.func.attr
            if owner == "os" and name in WITHOUT_ENVIRONMENT:
                without.append(f"{path}:{call.lineno}")
            elif name in STARTS.get(owner, ()):
                started += 1
                named = any(word.arg == "env" for word in call.keywords) or (owner == "os" and len(call.args) == 3)
                without += [] if named else [f"{path}:{call.lineno}"]
    assert without == []
    assert started > 10  # the search finds those that are there
