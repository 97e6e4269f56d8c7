"""ranking in the real workers, with the docstrings of one package: a run is scored, and no run can read the text."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from node.execution.program.program_runner import ProgramRunner
from node.execution.sandbox.layers import probe
from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.objectives.ranking.small_collections import BASELINE, RANKING, small_data

SEED = 2**61 + 7
pytestmark = pytest.mark.sandbox
READS_THE_PACKAGES = """
import sysconfig
from pathlib import Path

FOUND = [
    path
    for name in ("purelib", "platlib")
    for package in ("alembic", "sqlalchemy", "openai")
    for path in Path(sysconfig.get_path(name), package).rglob("*.py")
    if path.read_bytes()
]
assert Path(sysconfig.get_path("purelib"), "numpy", "__init__.py").read_bytes()
if FOUND:
    raise RuntimeError(f"{len(FOUND)} files of the packages can be read")
"""


def small_objective(folder: Path) -> Objective:
    root = folder / "ranking"
    shutil.copytree(RANKING, root, ignore=shutil.ignore_patterns("__pycache__", "ideas"))
    settings = (root / "objective.toml").read_text()
    for name, content in small_data().items():
        (root / f"{name}.json").write_bytes(content)
        declared = f'path = "{name}.json"\nsha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
        settings = re.sub(rf'path = "{name}.json"\nsha256 = .*\nsize = .*\n', declared, settings)
    (root / "objective.toml").write_text(settings)
    judge = (root / "judge.py").read_text()
    (root / "judge.py").write_text(judge.replace("QUERIES = 1500", "QUERIES = 100"))
    return load_objective(root, root)


async def test_a_run_is_scored_on_both_splits_and_what_it_grew_by_is_paid(tmp_path: Path) -> None:
    objective = small_objective(tmp_path)
    longer = BASELINE + f"\nNOISE = {hashlib.sha512(b'1').hexdigest()!r}\n"
    async with ProgramRunner(objective, probe(), lambda *_, **__: None) as runner:
        run = await runner.run(BASELINE, SEED, lambda progress: None)
        assert run.failure is None, run.log_tail
        holdout = await runner.examine(BASELINE, SEED, "holdout")
        grown = await runner.run(longer, SEED, lambda progress: None)
    assert run.value is not None
    assert grown.value is not None
    assert 0.2 < run.value < 0.9
    assert run.value == run.metrics["ndcg"]
    assert holdout.value != run.value
    assert grown.metrics["ndcg"] == run.metrics["ndcg"]
    assert 0.001 < run.value - grown.value < 0.004


async def test_a_source_finds_none_of_the_packages(tmp_path: Path) -> None:
    objective = small_objective(tmp_path)
    async with ProgramRunner(objective, probe(), lambda *_, **__: None) as runner:
        run = await runner.run(BASELINE + READS_THE_PACKAGES, SEED, lambda progress: None)
    assert run.failure is None, run.log_tail
