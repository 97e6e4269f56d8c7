"""From a stranger's repository to a measured baseline: import, check, real runs in the sandbox, and a better source."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from node.authoring.importing.recognised import NO_CHOICE, Choice
from node.authoring.importing.writing import import_folder
from node.cli.main import main
from node.execution.runs import runner_for
from node.execution.sandbox.layers import probe
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.objective.trees import files_of, pack
from protocol.metric import Direction
from protocol.records import Failure
from tests.node.authoring.importing.examples import PLAIN, example, state

# What is edited, and the edit that makes it better.
BETTER = {
    "karpathy": ("train.py", "ORDER = 0", "ORDER = 1"),
    "pi": (
        "src/order.py",
        "    left, found = list(numbers), []\n",
        "    return sorted(numbers)\n    found = []\n",
    ),
    "pi_flat": ("player.py", "NUMBER = 0.0", "NUMBER = 2.9"),
    "autokernel": ("kernel.py", "    total = 0.0\n", "    return sum(x * y for x, y in zip(a, b))\n    total = 0.0\n"),
    "openevolve": ("initial_program.py", "STEPS = 30", "STEPS = 3000"),
    "shinka": ("initial.py", "ROUNDS = 2", "ROUNDS = 9"),
    "plain": ("search.py", "SLOPE = 0.3", "SLOPE = 0.5"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home folder, below which caches lie."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def prepared(name: str, tmp_path: Path) -> Path:
    """An example, imported, with what it needs prepared by its own command."""
    root = example(name, tmp_path)
    choice = replace(PLAIN, direction=Direction.LOWER) if name == "plain" else NO_CHOICE
    objective = import_folder(root, choice).objective
    if objective.environment is not None and objective.environment.prepare is not None:
        assert objective.environment.prepare == "python3 prepare.py"
        subprocess.run([sys.executable, "prepare.py"], cwd=root, check=True, capture_output=True)
    return root


def edited(objective: Objective, file: str, old: str, new: str) -> str:
    files = dict(files_of(objective.source, objective.editable))
    assert old in files[file]
    files[file] = files[file].replace(old, new)
    return pack(files) if len(files) > 1 else files[file]


@pytest.mark.sandbox
def test_what_the_readme_imports_passes_the_check(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my-repository"
    root.mkdir()
    (root / "sort.py").write_text("def order(numbers):\n    return sorted(numbers)\n")
    (root / "bench.py").write_text('from sort import order\n\nx = 1.0 + len(order([3, 1, 2]))\nprint("ms:", x)\n')
    given = ("--command", "python bench.py", "--metric", "ms", "--lower", "--editable", str(root / "sort.py"))
    for command in (("objective", "import", str(root), *given), ("objective", "check", str(root), "--json")):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
    told = capsys.readouterr().out
    found = json.loads(told[told.index("{\n") :])
    assert (found["faults"], found["baseline"]["value"]) == ([], 4.0)


def test_a_command_that_is_not_here_is_no_success(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sort.py").write_text("order = sorted\n")
    given = Choice(command="no-such-bench sort.py", metric="ms", direction=Direction.LOWER, editable=("sort.py",))
    import_folder(tmp_path, given)
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", str(tmp_path)])
    assert ended.value.code == 1
    assert "'no-such-bench', which is not installed here" in capsys.readouterr().out


async def outcomes(objective: Objective, folder: Path, *sources: str) -> list[Outcome]:
    async with runner_for(objective, probe(), folder / "weights", lambda *_, **__: None) as runner:
        return [await runner.run(source, 1, lambda progress: None) for source in sources]


@pytest.mark.sandbox
@pytest.mark.parametrize("name", sorted(BETTER))
def test_it_is_imported_checked_and_made_better(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    root = prepared(name, tmp_path)
    before = state(root)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", str(root), "--fix", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (ended.value.code, found["faults"], found["prepared"]) == (0, [], True)
    assert found["baseline"]["runs"] >= 3
    assert found["baseline"]["holdout"] is None
    assert state(root) == before

    objective = load_objective(root, root)
    baseline, better = trio.run(outcomes, objective, tmp_path, objective.source, edited(objective, *BETTER[name]))
    assert baseline.value is not None
    assert better.value is not None, better.log_tail
    effect = objective.measure.difference(baseline.value, better.value)
    assert effect < -objective.statistics.s0  # a bound, by seeds that are drawn at random
    assert state(root) == before


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("name", "file", "old", "new", "failure"),
    [
        # a check that fails, though the score is better
        ("pi", "src/join.py", "    return found + first + second\n", "    return sorted(found + first + second)[:1]\n",
         Failure.EXCEPTION),
        # it prints FAIL at the end of the line of progress
        ("karpathy", "train.py", "step > 10_000_000", "step > 10", Failure.EXCEPTION),
        # it ends with status 0, and computes wrongly
        ("autokernel", "kernel.py", "range(len(a))", "range(len(a) // 2)", Failure.INVALID),
    ],
)  # fmt: skip
def test_what_computes_wrongly_has_no_score(
    tmp_path: Path, home: Path, name: str, file: str, old: str, new: str, failure: Failure
) -> None:
    root = prepared(name, tmp_path)
    objective = load_objective(root, root)
    (outcome,) = trio.run(outcomes, objective, tmp_path, edited(objective, file, old, new))
    assert (outcome.value, outcome.failure) == (None, failure)
