"""What only seeds a random generator is told from what does more, by where it goes in the syntax tree."""

from __future__ import annotations

import time

import pytest

from node.objective import sources
from node.objective.edits import SetConstant, apply, fingerprint
from node.objective.seeds import MAX_FOLLOWED_CHARACTERS


def seed_constants(source: str) -> frozenset[str]:
    return sources.seed_constants({"train.py": source})


def changes_only_chance(source: str, child: str, idle: frozenset[str] = frozenset()) -> bool:
    return sources.changes_only_chance({"train.py": source}, {"train.py": child}, idle)


def overrides_seed(source: str) -> bool:
    return sources.overrides_seed({"train.py": source})


IMPORTS = "import random\nimport numpy as np\nimport numpy\nimport torch\nfrom numpy.random import default_rng\n"

SEEDS = [
    "torch.manual_seed(SEED)",
    "torch.cuda.manual_seed(SEED)",
    "torch.cuda.manual_seed_all(SEED)",
    "torch.Generator(device='cpu').manual_seed(SEED)",
    "generator = torch.Generator(); generator.manual_seed(SEED)",
    "random.seed(SEED)",
    "random.seed(a=SEED, version=2)",
    "dice = random.Random(SEED)",
    "dice = random.Random(); dice.seed(SEED)",
    "numpy.random.seed(SEED)",
    "np.random.seed(seed=SEED)",
    "np.random.default_rng(SEED)",
    "default_rng(SEED)",
    "np.random.default_rng(np.random.SeedSequence(SEED))",
    "np.random.SeedSequence(entropy=SEED)",
    "np.random.RandomState(SEED).rand(3)",
    "np.random.Generator(np.random.PCG64(SEED))",
    "np.random.default_rng([SEED, 20])",
    "shuffled = split(data, random_state=SEED)",
    "noise = torch_noise(seed=SEED)",
    "rows = split(data, generator=torch.Generator().manual_seed(SEED))",
    "torch.manual_seed(SEED + 1)",
    "torch.manual_seed(SEED * 1000 + task.seed)",
    "torch.manual_seed(task.seed ^ -SEED)",
    "torch.manual_seed(int(SEED))",
    "torch.manual_seed(SEED if SEED > 0 else 1)",
    "own = SEED; torch.manual_seed(own)",
    "own: int = SEED + 1; other = own; random.seed(other); torch.manual_seed(own)",
    "own = task.seed; own += SEED; torch.manual_seed(own)",
    "seed_all(SEED)",
    "seed_all(seed=SEED)",
    "drawn = Noise(seed=SEED)",
    "torch.manual_seed(SEED); random.seed(SEED)",
]
OWN = """

def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed + 1)


class Noise:
    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
"""

MORE = [
    "torch.manual_seed(SEED); layers = SEED",
    "print(SEED)",
    "return SEED",
    "self.seed = SEED",
    "if SEED: torch.manual_seed(SEED)",
    "for step in range(SEED): torch.manual_seed(step)",
    "for own in [SEED]: rate = own",
    "own = SEED; torch.manual_seed(own); rate = own",
    "torch.manual_seed(globals()['SEED'])",
    "torch.manual_seed(SEED); rate = eval('SEED / 7')",
    "torch.manual_seed(task.seed)",
    "own = own + SEED",
    "torch.rand(SEED)",
    "np.random.default_rng(7).normal(SEED)",
    "random.Random(7).choice(SEED)",
    "torch.Generator(SEED).manual_seed(7)",
    "model.scale(SEED)",
    "scaled(SEED)",
    "scaled(seed=SEED)",
    "step(SEED)",
    "Settings(seed=SEED)",
    "numbers(**{'x': SEED})",
    "numbers(*[SEED])",
    "torch.manual_seed(rate := SEED)",
    "rate = lambda: SEED",
    "rate = [SEED for _ in rows]",
    "manual_seed(SEED)",
]
SCALED = """

def scaled(seed):
    return 0.1 * seed


@cached
def step(size):
    torch.manual_seed(size)


def manual_seed(rate):
    return rate


class Settings:
    seed: float = 0.1
"""


def source(body: str, more: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.split("; "))
    return f"{IMPORTS}\nSEED = 1337\nRATE = 3e-3\n\n\ndef train(task):\n{lines}\n    return RATE\n{more}"


@pytest.mark.parametrize("body", SEEDS)
def test_a_constant_that_only_seeds_is_a_seed(body: str) -> None:
    text = source(body, OWN)
    assert seed_constants(text) == {"SEED"}
    assert changes_only_chance(text, apply(text, [SetConstant("SEED", "7")]))
    assert changes_only_chance(text, apply(text, [SetConstant("SEED", "-7")]))
    assert not changes_only_chance(text, apply(text, [SetConstant("RATE", "1e-3")]))
    assert not changes_only_chance(text, apply(text, [SetConstant("SEED", "7"), SetConstant("RATE", "1e-3")]))


@pytest.mark.parametrize("body", MORE)
def test_a_constant_that_goes_elsewhere_too_is_none(body: str) -> None:
    text = source(body, SCALED)
    assert seed_constants(text) == frozenset()
    assert not changes_only_chance(text, apply(text, [SetConstant("SEED", "7")]))


@pytest.mark.parametrize("body", SEEDS)
def test_a_literal_in_the_place_of_the_constant_is_a_seed_too(body: str) -> None:
    text = source(body.replace("SEED", "4711"), OWN)
    assert changes_only_chance(text, text.replace("4711", "7"))


@pytest.mark.parametrize("body", [body for body in MORE if "SEED" in body and "'SEED" not in body])
def test_a_literal_that_goes_elsewhere_too_is_none(body: str) -> None:
    text = source(body.replace("SEED", "4711"), SCALED)
    assert not changes_only_chance(text, text.replace("4711", "7"))


def test_a_default_of_a_parameter_that_seeds_is_a_seed() -> None:
    text = source("seed_all()", OWN.replace("def seed_all(seed)", "def seed_all(seed=42)"))
    assert changes_only_chance(text, text.replace("seed=42", "seed=43"))
    scaled = source("scaled()", SCALED.replace("def scaled(seed)", "def scaled(seed=42)"))
    assert not changes_only_chance(scaled, scaled.replace("seed=42", "seed=43"))


def test_what_is_computed_from_a_constant_is_followed() -> None:
    text = "import torch\nSEED = 1\nOTHER = SEED + 1\nHELD = 3\n\n\ndef f():\n    torch.manual_seed(OTHER)\n"
    assert seed_constants(text) == {"SEED"}
    assert seed_constants(text + "    return OTHER\n") == frozenset()


def test_code_that_changes_with_the_seed_is_more_than_chance() -> None:
    text = source("torch.manual_seed(SEED)")
    assert not changes_only_chance(text, text.replace("manual_seed(SEED)", "manual_seed(SEED + task.seed)"))
    assert not changes_only_chance(text, text.replace("    torch.manual_seed(SEED)\n", ""))
    assert not changes_only_chance(text, "def f(:")
    unread = text.replace("RATE = 3e-3", "RATE = 3e-3\nIDLE = 1")
    both = unread.replace("IDLE = 1", "IDLE = 2").replace("1337", "7")
    assert changes_only_chance(unread, both, frozenset({"IDLE"}))
    assert not changes_only_chance(unread, both)


@pytest.mark.parametrize(
    ("body", "overrides"),
    [
        ("torch.manual_seed(SEED)", True),
        ("random.seed(7)", True),
        ("torch.manual_seed(1000 + task.seed)", False),
        ("seed_all(seed=task.seed)", False),
        ("torch.manual_seed(torch.initial_seed() + SEED)", False),
        ("return RATE", False),
    ],
)
def test_a_source_that_seeds_without_the_runs_seed_is_known(body: str, overrides: bool) -> None:
    assert overrides_seed(source(body, OWN if "seed_all" in body else "")) is overrides


def test_a_long_or_deep_source_is_read_in_time_that_grows_with_its_length() -> None:
    chain = "".join(f"a{n + 1} = a{n}\n" for n in range(4_000))
    text = f"import torch\nSEED = 1\na0 = SEED\n{chain}torch.manual_seed(a4000)\n"
    assert seed_constants(text) == {"SEED"}
    assert fingerprint(text) != fingerprint(text.replace("SEED = 1", "SEED = 2"))
    assert changes_only_chance(text, text.replace("SEED = 1", "SEED = 2"))
    nested = "x = " + " + ".join(["[" * 80 + "1" + "]" * 80] * 200) + "\n"  # 33 KB
    assert not changes_only_chance(nested, nested.replace("1", "2"))
    deep = "A = " + "(" * 150 + "1" + ",)" * 150 + "\n"
    assert not changes_only_chance(deep, deep.replace("1", "2"))


def test_many_calls_of_a_function_with_many_parameters_are_followed_in_little_time() -> None:
    names = ",".join(f"p{number}" for number in range(4000))
    source = f"SEED = 1\ndef f({names}): 0\n" + "f();" * 8000 + "\n"
    started = time.process_time()
    assert seed_constants(source) == frozenset()
    assert time.process_time() - started < 2.0  # .3 here; working the parameters out at each call took 4


def test_a_source_too_long_to_follow_has_no_seeds() -> None:
    text = source("torch.manual_seed(SEED)") + "#" * MAX_FOLLOWED_CHARACTERS
    assert seed_constants(text) == frozenset()
    assert not changes_only_chance(text, text.replace("1337", "7"))
