"""An evaluator is a Python file whose `evaluate` returns a dict: the contract of OpenEvolve, run unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from protocol.records import Failure
from tests.node.execution.command.folders import command_objective, run

IMPORTS = "import importlib.util, os\nfrom openevolve.evaluation_result import EvaluationResult\n"
LOADS = """
def load(path):
    spec = importlib.util.spec_from_file_location("program", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
"""


async def evaluated(layers: Layers, folder: Path, returned: str, program: str = "def solve(): return 1.5") -> Outcome:
    evaluator = f"{IMPORTS}{LOADS}def evaluate(path):\n    print('evaluating', path)\n    return {returned}\n"
    objective = command_objective(
        folder / "folder",
        {"initial_program.py": program, "tools/evaluator.py": evaluator, "tools/beside.py": "FACTOR = 2.0"},
        command='evaluator = "tools/evaluator.py"',
        editable=["initial_program.py"],
        rest="",
        scale="linear",
    )
    return await run(objective, layers)


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        ("{'score': load(path).solve(), 'runs': 3, 'note': 'fine', 'ok': True}", {"runs": 3.0}),
        ("EvaluationResult(metrics={'score': load(path).solve()}, artifacts={'log': 'x' * 10**6})", {}),
        ("{'score': load(path).solve() * __import__('beside').FACTOR / 2, 'error': 0.25}", {"error": 0.25}),
        ("{'score': type('Float32', (), {'__float__': lambda self: 1.5})()}", {}),
    ],
)
async def test_the_metric_is_taken_by_its_name(
    returned: str, metrics: dict[str, float], machine: Layers, tmp_path: Path
) -> None:
    outcome = await evaluated(machine, tmp_path, returned)
    assert (outcome.value, outcome.metrics) == (1.5, metrics), outcome.log_tail


@pytest.mark.parametrize(
    ("returned", "failure", "says"),
    [
        ("{'error': 0.0}", Failure.EXCEPTION, "the evaluator says error: 0"),
        ("{'error': 0.0, 'timeout': True}", Failure.TIMEOUT, "the evaluator says error"),
        ("{'score': 0.0, 'error': 'no solve()'}", Failure.EXCEPTION, "the evaluator says error: no solve()"),
        ("{'combined_score': 1.0}", Failure.EXCEPTION, "there is no score; the names there are: combined_score"),
        ("{'score': float('nan')}", Failure.DIVERGED, "score is nan"),
        ("{'score': True}", Failure.INVALID, "no numbers"),
        ("[1.0]", Failure.EXCEPTION, "evaluate() returned list"),
        ("1 / 0", Failure.EXCEPTION, "ZeroDivisionError"),
        ("{'score': 1.0, 'much': 'x' * 2_000_000}", Failure.OUTPUT, "at most 1 MiB"),
        ("os._exit(0)", Failure.EXCEPTION, "returned nothing"),
    ],
)
async def test_what_is_no_value_is_a_failure_with_its_reason(
    returned: str, failure: Failure, says: str, machine: Layers, tmp_path: Path
) -> None:
    outcome = await evaluated(machine, tmp_path, returned)
    assert (outcome.value, outcome.failure) == (None, failure), outcome.log_tail
    assert says in outcome.log_tail


async def test_a_program_that_prints_values_and_starts_others_has_not_said_a_value(
    machine: Layers, tmp_path: Path
) -> None:
    program = "import os\nos.system('echo METRIC score=9 >&3; echo METRIC score=9')\ndef solve(): return 1.5"
    outcome = await evaluated(machine, tmp_path, "{'score': load(path).solve()}", program)
    assert outcome.value == 1.5, outcome.log_tail
