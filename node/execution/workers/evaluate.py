"""The program in the sandbox that calls an evaluator: a Python file whose `evaluate(path)` returns a dict of values.

    python evaluate.py DESCRIPTOR EVALUATOR PROGRAM

This is the contract of OpenEvolve. What the evaluator returns is written as JSON to DESCRIPTOR, a pipe that only this
process holds; what it prints goes where prints go. It runs with the Python of the objective's environment, whatever
version that is, and imports nothing of ours. An evaluator runs the program that it evaluates as it likes, often in this
process, so what it returns is that program's word as much as its own.
"""

import importlib.util
import json
import os
import sys
import types


def main() -> None:
    descriptor, evaluator, program = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.set_inheritable(descriptor, False)
    sys.argv[:] = [evaluator]
    sys.path[0] = os.path.dirname(evaluator)  # instead of the folder of this file
    _stand_in_for_openevolve()
    spec = importlib.util.spec_from_file_location("evaluator", evaluator)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluator"] = module
    spec.loader.exec_module(module)
    found = module.evaluate(program)
    values = getattr(found, "metrics", found)
    if not isinstance(values, dict):
        raise SystemExit(f"evaluate() returned {type(values).__name__}, and is to return a dict of values")
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({str(name): value for name, value in values.items()}, file, default=_plain)


def _plain(value: object) -> object:
    """A number of a library's (numpy, torch) as a number, anything else as text: what is no number is refused then."""
    kind = str(getattr(value, "dtype", ""))
    if kind in ("bool", "torch.bool"):
        return str(value)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)


def _stand_in_for_openevolve() -> None:
    """Make the one class that evaluators import, where the package itself is not installed."""
    try:
        if importlib.util.find_spec("openevolve") is not None:
            return
    except (ImportError, ValueError):
        pass

    class EvaluationResult:
        def __init__(self, metrics: dict, artifacts: "dict | None" = None) -> None:  # type: ignore[type-arg]
            self.metrics, self.artifacts = metrics, artifacts or {}

        @classmethod
        def from_dict(cls, metrics: dict) -> "EvaluationResult":  # type: ignore[type-arg]
            return cls(metrics)

        def to_dict(self) -> dict:  # type: ignore[type-arg]
            return self.metrics

    package, inner = types.ModuleType("openevolve"), types.ModuleType("openevolve.evaluation_result")
    package.__path__ = []
    inner.EvaluationResult = EvaluationResult  # type: ignore[attr-defined]
    package.evaluation_result = inner  # type: ignore[attr-defined]
    sys.modules["openevolve"], sys.modules["openevolve.evaluation_result"] = package, inner


if __name__ == "__main__":
    main()
