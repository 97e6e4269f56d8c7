"""What an edit changes is the same however it is written, and another where it does something else."""

from __future__ import annotations

import pytest

from node.objective.changes import Change, change_between
from node.objective.edits import EditError

SOURCE = """import torch
from torch.nn import functional as F

RATE = 1e-3


def activation(x):
    return F.gelu(x)


class Model:
    def __init__(self, width):
        self.width = width

    def forward(self, x):
        return activation(x) * RATE
"""


def change(old: str, new: str, source: str = SOURCE) -> Change:
    assert source.count(old) == 1
    return change_between(source, source.replace(old, new))


@pytest.mark.parametrize(
    ("old", "one", "other"),
    [
        ("RATE = 1e-3", "RATE = 3e-3", "RATE = 0.003  # faster"),
        ("F.gelu(x)", "F.relu(x).square()", "torch.relu( x ).square()"),
        (
            "    return F.gelu(x)",
            "    y = F.relu(x)\n    return y * y",
            '    """Squared."""\n    positive = F.relu(x)\n    return positive * positive',
        ),
        ("self.width = width", "self.width, self.gain = width, 2.0", "self.width, self.factor = width, 2.0"),
        ("RATE = 1e-3", "RATE = 1e-3\nDECAY = 0.1", "RATE = 1e-3\nWEIGHT_DECAY = 0.1"),
    ],
)
def test_names_layout_and_the_spelling_of_numbers_do_not_matter(old: str, one: str, other: str) -> None:
    first, second = change(old, one), change(old, other)
    assert (first.added, first.numbers) == (second.added, second.numbers)


@pytest.mark.parametrize(
    ("old", "one", "other"),
    [
        ("RATE = 1e-3", "RATE = 3e-3", "RATE = 4e-3"),
        ("F.gelu(x)", "F.relu(x)", "F.silu(x)"),
        ("activation(x) * RATE", "activation(x * RATE)", "activation(x) / RATE"),
    ],
)
def test_another_edit_is_another_change(old: str, one: str, other: str) -> None:
    assert change(old, one) != change(old, other)


def test_it_says_where_and_what() -> None:
    found = change("F.gelu(x)", "F.relu(x) ** 2")
    assert found.places == ("activation",)
    assert found.added == {"relu": 1, "**": 1, "relu **": 1}
    assert found.removed == {"gelu": 1}
    assert found.numbers == (2.0,)


def test_the_same_edit_of_another_source_is_the_same_change() -> None:
    other = SOURCE.replace("F.gelu(x)", "F.silu(x)")
    one, two = change("F.gelu(x)", "F.relu(x)"), change("F.silu(x)", "F.relu(x)", other)
    assert (one.added, one.numbers, one.places) == (two.added, two.numbers, two.places)


def test_files_that_are_no_python_are_read_by_their_words() -> None:
    found = change_between("rate: 1e-3\nsteps: 10\n", "rate:  0.003\nsteps: 10\n", ("settings.yaml",))
    assert (found.added, found.numbers, found.numbers_removed) == ({"rate": 1}, (0.003,), (0.001,))


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(EditError):
        change_between("a = 1\n", "a = (\n")
