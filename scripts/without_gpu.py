"""Run a Python file that was written for one CUDA GPU on the CPU instead, and smaller; the file stays as it is.

    python without_gpu.py train.py

It is what `karpathy_unchanged` puts in the place of a virtual environment's `python`. It knows the names of constants
that say how large a training is, and what code for a GPU asks of torch; it knows nothing of objectives or nodes, and
imports nothing of theirs. What is run, and each module that is imported from the working folder, is changed between
being read and being compiled:

- A constant in SCALES is divided by its number. So a run takes seconds, and an edit of the constant still counts: twice
  the depth is still twice the depth.
- "cuda" is "cpu", and memory is not pinned.

torch.compile gives back what it is given, and time.time is the processor's time: a GPU has no neighbours who take turns
with it, and a training that ends by the clock is to get as far on a busy machine as on an idle one.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

# By these the sizes fit each other as they did before: a step is still two batches.
SCALES = {
    "DEPTH": 4,
    "DEVICE_BATCH_SIZE": 16,
    "MAX_SEQ_LEN": 16,
    "TOTAL_BATCH_SIZE": 16 * 16,
    "EVAL_TOKENS": 1280,
    "TIME_BUDGET": 100,
    "VOCAB_SIZE": 8,
}
HOPPER = (9, 0)


class _Smaller(ast.NodeTransformer):
    """The changes to a file's syntax tree."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        match node.targets:
            case [ast.Name(id=name)] if name in SCALES:
                node.value = ast.parse(f"max(1, ({ast.unparse(node.value)}) // {SCALES[name]})", mode="eval").body
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.copy_location(ast.Constant("cpu"), node) if node.value == "cuda" else node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg == "pin_memory":
            node.value = ast.Constant(False)
        return node


class _Loader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]
        return compiled(data, os.fspath(path))


class Finder:
    """Finds modules in one folder, before all others do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        file = self._folder / f"{name}.py"
        if path is not None or not file.is_file():
            return None
        return spec_from_file_location(name, file, loader=_Loader(name, str(file)))


def compiled(source: bytes | str, path: str) -> Any:
    """The code of a file, for the CPU and smaller."""
    return compile(ast.fix_missing_locations(_Smaller().visit(ast.parse(source, path))), path, "exec")


def _as_it_is(model: Any = None, **options: object) -> Any:
    """torch.compile, as a function and as a decorator."""
    return model if model is not None else lambda function: function


def _nothing(*arguments: object) -> None:
    """torch.cuda.synchronize: a CPU is never behind."""


def main() -> None:
    stand_ins: dict[str, Callable[..., Any]] = {
        "compile": _as_it_is,
        "cuda.get_device_capability": lambda *device: HOPPER,
        "cuda.synchronize": _nothing,
    }
    for name, stand_in in stand_ins.items():
        *inner, last = name.split(".")
        setattr(torch.cuda if inner else torch, last, stand_in)
    torch.set_num_threads(1)
    begun = time.time()
    time.time = lambda: begun + time.process_time()
    sys.dont_write_bytecode = True
    sys.argv = sys.argv[1:]
    path = Path(sys.argv[0])
    sys.path[0] = str(path.resolve().parent)
    sys.meta_path.insert(0, Finder(path.resolve().parent))
    module = ModuleType("__main__")
    vars(module)["__file__"] = str(path)
    sys.modules["__main__"] = module
    exec(compiled(path.read_bytes(), str(path)), vars(module))


if __name__ == "__main__":
    main()
