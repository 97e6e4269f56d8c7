"""At each of its scales nanolm's source builds the model that its page says, and the objective gives it room."""

from __future__ import annotations

import json

import pytest

from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.objectives.nanolm.objective_files import NANOLM
from tests.torch_processes import python

# On torch's device "meta", which has shapes and no numbers.
SIZES = """
import json, sys, types, torch

found = {}
for scale, context in json.load(sys.stdin).items():
    module = types.ModuleType("candidate")
    exec(compile(open(sys.argv[1]).read(), "train.py", "exec"), module.__dict__)
    task = types.SimpleNamespace(scale=scale, context=context, vocabulary=8192)
    with torch.device("meta"):
        model = module.build(task)
    block, batch = model.blocks[0], module.at_scale(task, module.BATCH, 0.5)
    parameters = sum(each.numel() for each in model.parameters())
    found[scale] = [len(model.blocks), block.attention.out.in_features, parameters, batch]
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def objective() -> Objective:
    return load_objective(NANOLM, NANOLM)


@pytest.fixture(scope="module")
def sizes(objective: Objective) -> dict[str, list[int]]:
    """By scale: layers, width, parameters, windows a step."""
    contexts = {"": objective.context} | {each.name: objective.at_scale(each.name).context for each in objective.scales}
    done = python(SIZES, str(NANOLM / "train.py"), given=json.dumps(contexts))
    assert done.returncode == 0, done.stderr
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


def test_the_model_has_the_size_of_its_scale(sizes: dict[str, list[int]]) -> None:
    assert sizes == {
        "": [8, 512, 33_563_136, 64],
        "cpu": [2, 128, 2_491_008, 8],
        "large": [12, 768, 97_536_768, 32],
        "long": [8, 512, 33_563_136, 64],
    }


def test_its_page_says_so(sizes: dict[str, list[int]]) -> None:
    page = (NANOLM.parents[1] / "docs" / "nanolm.md").read_text()
    for scale, (depth, width, parameters, windows) in sizes.items():
        label = f"| `{scale}` |" if scale else "| (its own) |"
        row = next(line for line in page.splitlines() if line.startswith(label))
        says = f"{depth} layers of width {width}, {parameters / 1e6:.1f} million parameters, {windows} windows a step"
        assert says in row or "as its own" in row


def test_what_it_hands_out_fits_at_every_scale(objective: Objective, sizes: dict[str, list[int]]) -> None:
    for scale, (_, _, parameters, _) in sizes.items():
        at_scale = objective.at_scale(scale) if scale else objective
        assert 2 * 4 * parameters < at_scale.budget.weights_bytes, scale


def test_a_discovery_goes_to_the_larger_model_first_and_then_to_the_longer_run(objective: Objective) -> None:
    assert [each.name for each in objective.larger_scales] == ["large", "long"]
