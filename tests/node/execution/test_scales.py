"""A run at one of the objective's scales has that scale's budget, and everything in it is told which scale it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli.main import main
from node.execution.runner import Runner
from node.execution.sandbox.layers import probe
from node.objective.load import load_objective
from scripts.swarm_here import judge_less
from tests.node.conftest import ignore
from tests.node.objective.test_scales import scaled

SMALLER = """
[[scales]]
name = "small"
device = "cpu"
tokens = 8192
wall_seconds = 120
memory_mb = 2048
checkpoints = [4]
"""


def small(folder: Path) -> Path:
    """tinylm for a GPU, whose source and judge refuse every run but those of the scale named small."""
    root = scaled(folder, SMALLER)
    for name, function in (("train.py", "def train(task"), ("train.py", "def build(task"), ("judge.py", "def judge(")):
        text = (root / name).read_text()
        begin = text.index(":\n", text.index(function)) + 2
        who = "rooms" if name == "judge.py" else "task"
        check = f"    if {who}.scale != 'small':\n        raise ValueError(repr({who}.scale))\n"
        (root / name).write_text(text[:begin] + _after_docstring(text[begin:], check))
    judge_less(root)
    return root


def _after_docstring(body: str, check: str) -> str:
    if not body.lstrip().startswith('"""'):
        return check + body
    end = body.index('"""', body.index('"""') + 3) + 4
    return body[:end] + check + body[end:]


@pytest.mark.sandbox
async def test_the_source_and_the_judge_are_told_the_scale_and_the_budget_is_the_scales(tmp_path: Path) -> None:
    objective = load_objective(small(tmp_path), tmp_path / "data").at_scale("small")
    async with Runner(objective, probe(), tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(objective.source, 1, ignore)
    assert (outcome.failure, outcome.log_tail, outcome.tokens) == (None, "", 8192)
    assert [step for step, _ in outcome.checkpoints] == [4]


@pytest.mark.long
@pytest.mark.sandbox
async def test_weights_of_one_scale_are_never_scored_as_those_of_another(tmp_path: Path) -> None:
    less = SMALLER.replace('"small"', '"less"').replace("8192", "4096")
    root = scaled(tmp_path, SMALLER + less)
    judge_less(root)
    objective = load_objective(root, tmp_path / "data")
    async with Runner(objective.at_scale("small"), probe(), tmp_path / "weights", ignore) as runner:
        assert (await runner.run(objective.source, 1, ignore)).failure is None
        before = await runner.examine(objective.source, 1, "holdout")
    async with Runner(objective.at_scale("less"), probe(), tmp_path / "weights", ignore) as runner:
        assert (await runner.run(objective.source, 1, ignore)).failure is None
    async with Runner(objective.at_scale("small"), probe(), tmp_path / "weights", ignore) as runner:
        after = await runner.examine(objective.source, 1, "holdout")
    assert (before.value, before.failure) == (after.value, None)


@pytest.mark.sandbox
@pytest.mark.sockets
def test_a_machine_without_a_gpu_joins_at_the_scale_for_a_cpu_and_says_so(tmp_path: Path) -> None:
    home, root = tmp_path / "home", small(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["join", "--home", str(home), "--no-dashboard", "--for", "2s", "--objective", str(root)])
    assert ended.value.code == 0
    first, second, *_ = [json.loads(line) for line in (home / "node.log.jsonl").read_text().splitlines()]
    assert (first["event"], first["scale"], first["device"]) == ("scale", "small", "cpu")
    assert (first["why"], first["budget"]) == ("there is no GPU", "8,192 tokens")
    assert (second["event"], second["memory_mb"]) == ("objective", 2048)


@pytest.mark.sandbox
def test_the_list_and_the_check_show_scales_and_the_one_that_would_be_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small(tmp_path)
    with pytest.raises(SystemExit):
        main(["objective", "check", "--quick", "--json", str(root)])
    shown = json.loads(capsys.readouterr().out)
    assert shown["scales"] == ["small (cpu, 8,192 tokens)"]
    assert shown["scale"] == {"name": "small", "why": "there is no GPU"}
    assert not shown["refused"]
    home = tmp_path / "home"
    (home / "objectives").mkdir(parents=True)
    root.rename(home / "objectives" / "here")
    with pytest.raises(SystemExit):
        main(["objective", "list", "--json", "--home", str(home)])
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["place"] != "embedded"]
    assert (row["scale"], row["scales"], row["tokens"]) == ("small", ["small (cpu, 8,192 tokens)"], 8192)
