"""Each template is an objective that works as it is, and its own ideas show that there is something to find."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.authoring.template import TEMPLATES, begin
from node.cli.main import main
from node.execution.parsing.parser import SourceParser
from node.execution.runs import runner_for
from node.execution.sandbox.layers import probe
from node.objective.catalog import CatalogError
from node.objective.load import load_objective
from node.objective.schema import SETTINGS, Kind, Objective
from node.proposers.catalogue import Idea, ideas_in

SEEDS = (3, 4)
# Those are made of files that are fetched (test_climbmix.py), of texts (corpus/), of prices (test_portfolio.py).
COMPLETE = sorted(set(TEMPLATES) - {"climbmix", "corpus", "portfolio"})


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


def ideas_of(objective: Objective) -> list[Idea]:
    found = [idea for path in sorted((objective.root / "ideas").glob("*.toml")) for idea in ideas_in(path)]
    assert all(isinstance(idea, Idea) for idea in found)
    return [idea for idea in found if isinstance(idea, Idea)]


async def gains(objective: Objective) -> dict[str, float]:
    """The gain of each of the objective's own ideas over its baseline, the mean over seeds, as an effect."""
    parser = SourceParser(editable=objective.editable)
    async with runner_for(objective, probe(), objective.root / "weights", ignore) as runner:

        async def values(source: str) -> list[float]:
            found = []
            for seed in SEEDS:
                outcome = await runner.run(source, seed, ignore)
                assert outcome.value is not None, outcome.log_tail
                found.append(outcome.value)
            return found

        baseline = await values(objective.source)
        assert len(set(baseline)) == len(SEEDS)
        found = {}
        for idea in ideas_of(objective):
            tried = await values(await parser.apply(objective.source, idea.edits))
            effects = [objective.measure.difference(*pair) for pair in zip(baseline, tried, strict=True)]
            found[idea.title] = -sum(effects) / len(effects)
    return found


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "template",
    ["program", *(pytest.param(name, marks=pytest.mark.long) for name in ("classification", "regression", "bpe"))],
)
def test_a_templates_own_ideas_improve_it(tmp_path: Path, template: str) -> None:
    begin(tmp_path / "own", None, template)
    objective = load_objective(tmp_path / "own", tmp_path / "data")
    found = trio.run(gains, objective)
    noticeable = 5 * objective.statistics.minimum_effect
    assert sum(gain > noticeable for gain in found.values()) >= 2 or template == "classification"
    assert max(found.values()) > noticeable
    assert 2 <= len(found) <= 4


@pytest.mark.long
@pytest.mark.sandbox
@pytest.mark.parametrize("template", sorted(set(COMPLETE) - {"model"}))  # that one has a test of its own
def test_a_template_passes_its_check_with_real_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], template: str
) -> None:
    begin(tmp_path / "own", None, template)
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", str(tmp_path / "own"), "--json", "--home", str(tmp_path / "home")])
    found = json.loads(capsys.readouterr().out)
    assert (ended.value.code or 0, found["faults"], found["warnings"]) == (0, [], [])
    assert found["baseline"]["wall_seconds"] > 0


def measured(folder: Path, seed: int) -> float:
    """What the command template's own commands say of what is in a folder."""
    environment = {"SEED": str(seed), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    run = [[sys.executable, name] for name in ("bench.py", "check.py")]
    bench, check = (subprocess.run(each, cwd=folder, env=environment, capture_output=True, text=True) for each in run)
    assert (bench.returncode, check.returncode) == (0, 0), bench.stderr + check.stderr
    line = next(line for line in bench.stdout.splitlines() if line.startswith("METRIC ms="))
    return float(line.removeprefix("METRIC ms="))


def test_the_ideas_of_the_command_template_make_it_quicker_and_a_wrong_one_is_found(tmp_path: Path) -> None:
    begin(tmp_path / "own", None, "command")
    objective = load_objective(tmp_path / "own", tmp_path)
    assert objective.kind == Kind.COMMAND
    baseline = min(measured(objective.root, seed) for seed in SEEDS)
    quicker = []
    for idea in ideas_of(objective):
        source = trio.run(SourceParser(editable=objective.editable).apply, objective.source, idea.edits)
        (objective.root / "near.py").write_text(source)
        quicker.append(min(measured(objective.root, seed) for seed in SEEDS) < 0.8 * baseline)
    assert sum(quicker) >= 2  # the third gains less than other programs may take
    (objective.root / "near.py").write_text("def count_near(points, distance):\n    return 7\n")
    with pytest.raises(AssertionError, match="count_near says 7"):
        measured(objective.root, 3)


@pytest.mark.parametrize("template", COMPLETE)
def test_a_template_becomes_an_objective_of_its_own(tmp_path: Path, template: str) -> None:
    assert begin(tmp_path / "mine", "mine and no other", template) == "mine and no other"
    objective = load_objective(tmp_path / "mine", tmp_path)
    assert objective.name == "mine and no other"
    assert objective.id != load_objective(TEMPLATES[template], tmp_path).id
    assert not (tmp_path / "mine" / SETTINGS).read_text().startswith("# A small objective to begin")
    assert (tmp_path / "mine" / "program.md").is_file()
    assert {idea.category for idea in ideas_of(objective)} == set(objective.categories)


def test_a_template_that_there_is_not_is_said_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["objective", "new", str(tmp_path / "own"), "--template", "music"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert (
        "there is no template 'music'; give one of model, bpe, classification, climbmix, command, corpus, portfolio, "
        "program, regression" in said
    )
    assert not (tmp_path / "own").exists()
    (tmp_path / "own").mkdir()
    shutil.copy(__file__, tmp_path / "own")
    with pytest.raises(CatalogError, match="is not an empty folder"):
        begin(tmp_path / "own", None, "program")
