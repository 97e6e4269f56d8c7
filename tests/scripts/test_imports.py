"""What a script imports of ours is looked up here, since mypy follows no import from one script to another."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = sorted((REPOSITORY / "scripts").rglob("*.py"))
OURS = ("node", "protocol", "tests", "simulation", "search_bench", "attacks")


def lacking(module: str, name: str) -> bool:
    """Whether `from module import name` would fail."""
    if hasattr(importlib.import_module(module), name):
        return False
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return True
    return False


def defined(file: Path) -> set[str]:
    """The names that a script defines at its top."""
    names: set[str] = set()
    for statement in ast.parse(file.read_text()).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.relative_to(REPOSITORY).as_posix())
def test_what_a_script_imports_of_ours_exists(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    beside = {path.stem: path for path in SCRIPTS if path.parent == REPOSITORY / "scripts"}
    missing = []
    for statement in ast.walk(ast.parse(script.read_text())):
        if not isinstance(statement, ast.ImportFrom) or statement.module is None:
            continue
        module = statement.module
        names = [each.name for each in statement.names]
        if module.partition(".")[0] in OURS:
            missing += [f"{module}.{name}" for name in names if lacking(module, name)]
        elif module in beside:  # not imported here: some patch the program as they are
            missing += [f"{module}.{name}" for name in names if name not in defined(beside[module])]
    assert missing == []
