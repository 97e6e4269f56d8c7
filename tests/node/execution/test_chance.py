"""Whatever a source seeds is another draw in every run, the same draw again in the same run, and alike for like seeds.

Every case runs in a process of its own, since chance is mixed in for the whole of one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.torch_processes import python

CHANCE = Path(__file__).parents[3] / "node" / "execution" / "workers" / "chance.py"
PRELUDE = """
import importlib.util, json, random, sys
spec = importlib.util.spec_from_file_location("chance", sys.argv[1])
chance = importlib.util.module_from_spec(spec)
spec.loader.exec_module(chance)
import numpy as np, torch
written_down = torch.Generator().manual_seed(5).get_state(), random.Random(5).getstate()  # as a source could have them
if sys.argv[2]:
    chance.mix_in(sys.argv[2].encode())
drawn = []
"""
SEEDED = {  # every way to seed, and what it draws
    "torch.manual_seed": "torch.manual_seed(5); drawn = torch.rand(2).tolist()",
    "torch.random.manual_seed": "torch.random.manual_seed(5); drawn = torch.rand(2).tolist()",
    "the default generator": "torch.default_generator.manual_seed(5); drawn = torch.rand(2).tolist()",
    "a generator": "drawn = torch.rand(2, generator=torch.Generator().manual_seed(5)).tolist()",
    "in place": "drawn = torch.empty(2).normal_(generator=torch.Generator().manual_seed(5)).tolist()",
    "a module's initialisation": "torch.manual_seed(5); drawn = torch.nn.Linear(2, 2).weight.flatten().tolist()",
    "a state of torch": "torch.set_rng_state(written_down[0]); drawn = torch.rand(2).tolist()",
    "numpy.random.seed": "np.random.seed(5); drawn = np.random.rand(2).tolist()",
    "numpy.random.default_rng": "drawn = np.random.default_rng(5).random(2).tolist()",
    "numpy.random.default_rng of several": "drawn = np.random.default_rng([5, 6]).random(2).tolist()",
    "numpy.random.RandomState": "drawn = np.random.RandomState(5).rand(2).tolist()",
    "RandomState.seed": "r = np.random.RandomState(); r.seed(5); drawn = r.rand(2).tolist()",
    "numpy.random.SeedSequence": "drawn = np.random.SeedSequence(entropy=5).generate_state(2).tolist()",
    **{
        name: f"drawn = np.random.Generator(np.random.{name}(5)).random(2).tolist()"
        for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
    },
    "random.seed": "random.seed(5); drawn = [random.random()]",
    "random.seed of a text": "random.seed('five'); drawn = [random.random()]",
    "random.Random": "drawn = [random.Random(5).random()]",
    "a state of random": "random.setstate(written_down[1]); drawn = [random.random()]",
}
STAYS = """
torch.manual_seed(5)
one = torch.rand(3)
torch.manual_seed(5)
assert torch.equal(one, torch.rand(3)), "seeded alike"
assert torch.equal(one, torch.rand(3, generator=torch.Generator().manual_seed(5))), "seeded alike elsewhere"
torch.manual_seed(6)
assert not torch.equal(one, torch.rand(3)), "seeded otherwise"
state = torch.get_rng_state()
two = torch.rand(3)
torch.set_rng_state(state)
assert torch.equal(two, torch.rand(3)), "a state that was read"
with torch.random.fork_rng():
    torch.manual_seed(9)
    torch.rand(5)
three = torch.rand(3)
generator = torch.Generator().manual_seed(5)
assert torch.equal(one, torch.rand(3, generator=torch.Generator().manual_seed(generator.initial_seed()))), "told again"
assert np.random.default_rng(5).random() == np.random.default_rng(np.int64(5)).random(), "the same number"
assert isinstance(np.random.RandomState(5), np.random.RandomState)
assert np.random.default_rng(np.random.default_rng(5)).random() == np.random.default_rng(5).random(), "handed on"
before = random.getstate()
four = random.random()
random.setstate(before)
assert random.random() == four, "a state that was read"
assert random.Random(5).random() == random.Random(5).random(), "seeded alike"
assert 0 <= random.SystemRandom().random() < 1
"""


def run(code: str, entropy: str) -> dict[str, list[float]]:
    done = python(PRELUDE + code, str(CHANCE), entropy)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[float]] = json.loads(done.stdout or "{}")
    return found


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, list[float]]]:
    """What each way of seeding draws, by entropy; "": without any."""
    code = "found = {}\n" + "".join(f"{how}\nfound[{name!r}] = drawn\n" for name, how in SEEDED.items())
    first = {entropy: run(code + "print(json.dumps(found))", entropy) for entropy in ("", "one run", "another")}
    return first | {"one run again": run(code + "print(json.dumps(found))", "one run")}


@pytest.mark.parametrize("name", SEEDED)
def test_a_fixed_seed_is_another_draw_in_every_run_and_the_same_in_the_same(
    name: str, drawn: dict[str, dict[str, list[float]]]
) -> None:
    assert drawn["one run"][name] == drawn["one run again"][name]
    assert len({json.dumps(drawn[entropy][name]) for entropy in ("", "one run", "another")}) == 3


def test_within_a_run_generators_do_what_they_always_do() -> None:
    run(STAYS, "one run")
