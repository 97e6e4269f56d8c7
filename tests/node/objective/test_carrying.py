"""An edit is carried over to a source of another objective where both have what it changes, and nowhere else."""

from __future__ import annotations

import pytest

from node.objective.carrying import carried
from node.objective.edits import EditError

OTHER = """import torch

LR = 1e-3
SIZES = (8, 2)


def activation(x):
    return torch.relu(x)


class Block:
    width = 4

    def forward(self, x):
        return activation(x)

    def finish(self, x):
        return x


def train(task):
    return Block()
"""
# Another header, another order of what stands around, a comment, another `finish`.
SOURCE = """# mine
import torch
LR = 3e-4  # found here
SIZES = 5
def activation(x):
    # the plain one
    return torch.relu(x)
DEPTH = 3
class Block:
    def finish(self, x):
        return 2 * x
    def forward(self, x):
        return activation(x)
def train(task):
    return Block()
"""


@pytest.mark.parametrize(
    ("old", "new", "carried_old", "carried_new"),
    [
        ("LR = 1e-3", "LR = 2e-3", "LR = 3e-4", "LR = 0.002"),
        (
            "def activation(x):\n    return torch.relu(x)",
            "def activation(x):\n    return x.square()",
            "def activation(x):\n    # the plain one\n    return torch.relu(x)",
            "def activation(x):\n    return x.square()",
        ),
        (
            "        return activation(x)",
            "        return x + activation(x)",
            "        return activation(x)",
            "        return x + activation(x)",
        ),
        (
            "def train(task):",
            "MORE = 2\n\n\ndef helper():\n    return MORE\n\n\ndef train(task):",
            "def train(task):",
            "MORE = 2\n\n\ndef helper():\n    return MORE\n\n\ndef train(task):",
        ),
    ],
)
def test_what_both_have_is_changed(old: str, new: str, carried_old: str, carried_new: str) -> None:
    found = carried(OTHER, OTHER.replace(old, new), SOURCE)
    assert found == SOURCE.replace(carried_old, carried_new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        return x\n", "        return 3 * x\n"),  # `finish` is another here
        ("SIZES = (8, 2)", "SIZES = (4, 1)"),  # a number here
        ("    width = 4", "    width = 8"),  # not in a method
        ("import torch", "import math\nimport torch"),
        ("def train(task):\n    return Block()", "def train(task):\n    return Block()\n\n\nprint(1)"),
    ],
)
def test_what_is_not_the_same_in_both_is_refused(old: str, new: str) -> None:
    assert OTHER.count(old) == 1
    with pytest.raises(EditError):
        carried(OTHER, OTHER.replace(old, new), SOURCE)


def test_files_that_are_no_python_are_refused() -> None:
    with pytest.raises(EditError):
        carried("a: 1", "a: 2", "a: 1", ("settings.yaml",))
