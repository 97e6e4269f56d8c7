"""The fork server leaves torch's compiler out until a source asks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node.execution import workers

PRELOAD = Path(workers.__file__).parent / "preload_torch.py"
SCRIPT = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("preload", {str(PRELOAD)!r})
preload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(preload)
preload.compile_on_request()
preload.warm_up()
assert "sympy" not in sys.modules, "the compiler came with the optimizer"

import torch
from torch.func import grad
assert grad(lambda x: x**3)(torch.tensor(2.0)) == 12
compiled = torch.compile(lambda x: x + 1, backend="eager")
assert compiled(torch.ones(2)).tolist() == [2, 2]
assert "sympy" in sys.modules
"""


def test_the_compiler_is_imported_when_a_source_uses_it_and_not_before() -> None:
    done = subprocess.run([sys.executable, "-I", "-B", "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
