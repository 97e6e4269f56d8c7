"""The objective's Python files as modules, small collections of one package's docstrings, and a stand-in session."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

RANKING = Path(__file__).parents[3] / "objectives" / "ranking"
BASELINE = (RANKING / "search.py").read_text()
SOURCES: dict[str, dict[str, str]] = json.loads((RANKING / "sources.json").read_text())
Answer = Callable[[Any, Any], Any]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ranking_{name}", RANKING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(source: str) -> Any:
    module = ModuleType("source")
    exec(compile(source, "source", "exec"), module.__dict__)
    return module


@cache
def small_data() -> dict[str, bytes]:
    """The three collections, of alembic's docstrings alone, as prepare.py makes them of all packages."""
    prepare: Any = load("prepare")
    with tempfile.TemporaryDirectory() as name:
        prepare.HERE = Path(name)
        alembic = {package: files for package, files in SOURCES.items() if package.startswith("alembic")}
        (prepare.HERE / "sources.json").write_text(json.dumps(alembic))
        prepare.main(Path(name))
        return {use: Path(name, f"{use}.json").read_bytes() for use in prepare.USES}


class Session:
    """Asks a program in this process what a judge would ask one in a sandbox."""

    def __init__(self, asked: Any, seed: int = 1, source_growth: int = 0) -> None:
        self.data, self.source_growth = small_data(), source_growth
        self.queries: list[str] = []
        self._asked, self._seed = asked, seed
        self.task = SimpleNamespace(arrays={}, seed=seed, threads=1)

    def generator(self, label: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{label}\0{self._seed}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))

    def prepare(self, **given: Any) -> None:
        self.task.arrays = given
        self._asked.prepare(self.task)

    def stream(self, steps: list[Any], shape: tuple[int, ...]) -> Iterator[Any]:
        for step in steps:
            self.queries.append(step.tobytes().decode())
            answer = np.asarray(self._asked.answer(self.task, step))
            assert answer.shape == shape
            yield answer
