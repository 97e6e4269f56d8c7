"""A file for a GPU is read as one for the CPU, and smaller, but what is edited in it still counts."""

from __future__ import annotations

from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest

from scripts.without_gpu import Finder, compiled


def result(source: str) -> dict[str, Any]:
    """The names that a file defines when it is run."""
    names: dict[str, Any] = {}
    exec(compiled(source, "train.py"), names)
    return names


@pytest.mark.parametrize(
    ("line", "value"), [("DEPTH = 8", 2), ("DEPTH = 16", 4), ("DEPTH = 2 * 4 + 4  # deep", 3), ("DEPTH = 1", 1)]
)
def test_a_size_is_divided_whatever_it_is_edited_to(line: str, value: int) -> None:
    assert result(line)["DEPTH"] == value


def test_what_is_no_size_stays_as_it_is() -> None:
    found = result("MATRIX_LR = 0.04\nsizes = {'DEPTH': 8}\ndef deep(DEPTH=8):\n    return DEPTH\nfound = deep()\n")
    assert (found["MATRIX_LR"], found["sizes"], found["found"]) == (0.04, {"DEPTH": 8}, 8)


def test_a_gpu_is_the_cpu_and_memory_is_not_pinned() -> None:
    found = result("import torch\nx = torch.empty(3, pin_memory=True, device='cuda')\n")["x"]
    assert (found.device.type, found.is_pinned()) == ("cpu", False)


def test_modules_of_the_folder_are_smaller_too_and_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "prepare.py").write_text("TIME_BUDGET = 300\n")
    finder = Finder(tmp_path)
    spec = finder.find_spec("prepare", None)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    assert found.TIME_BUDGET == 3
    assert finder.find_spec("json", None) is None
