"""A source that carries a part of a public text really knows it, and still does not win: it pays for what it holds."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import zlib
from pathlib import Path

import pytest

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.objective.data import data_in_place
from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.node.execution.small_objective import copy_in_files
from tests.objectives.tinylm.objective_files import load

TOKENS = 12_288
POOL = 400_000  # bytes of validation text
HELD = 60_000  # of them in the source
SEED = 2**61 + 7
MEMORY = """

import base64, zlib

TEXT = zlib.decompress(base64.b85decode({held!r}))
KNOWN = {{TEXT[at - 16 : at]: TEXT[at] for at in range(16, len(TEXT))}}


def known(tokens, y):
    for row, window in enumerate(tokens.tolist()):
        for place in range(15, len(window)):
            follows = KNOWN.get(bytes(window[place - 15 : place + 1]))
            if follows is not None:
                y[row, place, follows] += 6.0
    return y
"""


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    """Text in one language, which lies in the folder for all to see."""
    folder = tmp_path_factory.mktemp("public")
    root = copy_in_files(folder, tokens=TOKENS)
    shutil.copy(Path(__file__).with_name("judge.py"), root / "judge.py")
    (root / "prepare.py").unlink()
    language = load("language")
    text = language.documents(language.Language(1), language.Dice("public"), 3 * POOL).encode("ascii")
    settings = re.sub(r"(?m)^prepare = .*$", "", (root / "objective.toml").read_text())
    settings = settings.replace("[task]\n", "[task]\nsecret_seed = true\n")
    for number, name in enumerate(("train", "val", "holdout")):
        part = text[number * POOL : (number + 1) * POOL]
        (root / f"{name}.bin").write_bytes(part)
        declared = f'path = "{name}.bin"\nsha256 = "{hashlib.sha256(part).hexdigest()}"\nsize = {POOL}\n'
        settings = re.sub(rf'path = "{name}.bin"\nsha256 = .*\nsize = .*\n', declared, settings)
    (root / "objective.toml").write_text(settings)
    found = load_objective(root, folder / "data")
    assert data_in_place(found)
    return found


async def test_what_is_held_is_known_and_costs_more_than_it_gains(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    held = base64.b85encode(zlib.compress((objective.root / "val.bin").read_bytes()[:HELD], 9))
    answer = "        return self.head(states)\n"
    assert answer in objective.source
    knows = "        y = self.head(states)\n        return y if self.training else known(tokens, y)\n"
    memoriser = objective.source.replace(answer, knows) + MEMORY.format(held=held)
    longer = objective.source.replace("WIDTH = 32\n", "WIDTH = 32  # an honest edit\nTEMPERATURE = 1.0\n")
    async with Runner(objective, layers, tmp_path, lambda *_, **__: None) as runner:
        sources = (objective.source, memoriser, longer)
        runs = [await runner.run(source, SEED, lambda progress: None) for source in sources]
    honest, cheat, edited = (one.metrics for one in runs)
    assert all(one.failure is None for one in runs), [one.log_tail for one in runs]
    assert (honest["price"], honest["bits"]) == (0.0, runs[0].value)
    assert cheat["bits"] < 0.97 * honest["bits"]  # it is really known
    assert cheat["price"] > 2 * (honest["bits"] - cheat["bits"])  # with room to spare
    assert runs[1].value is not None
    assert runs[0].value is not None
    assert runs[1].value > runs[0].value
    assert 0 < edited["price"] < 0.01 * honest["bits"]
