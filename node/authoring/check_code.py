"""What is wrong with an objective's code, as far as its syntax trees show it: which functions each kind needs.

Only Python files are read; a command objective may be in any language. A tree is made here only of a text that the
helper process has parsed before, so that it takes no time.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from node.authoring.fault import Fault
from node.execution.parsing.parser import SourceParser
from node.objective.schema import Kind

DRAW_ARGUMENTS = ("seed", "name")
JUDGE_ARGUMENTS = ("text", "rooms", "seed")  # where the run's seed is secret
PROGRAM_JUDGE_ARGUMENTS = ("session", "seed", "split")
JUDGE_ARGUMENTS_WITH_A_PLAIN_SEED = ("data", "rooms", "seed", "split", "train_sample", "incumbent")
PYTHON = ".py"

Check = Callable[[str, ast.Module], Iterable[Fault]]


async def code_faults(root: Path, values: Mapping[str, Any], kind: Kind, parser: SourceParser) -> list[Fault]:
    """What is wrong with the Python files that the settings name."""
    found: list[Fault] = []
    for file, check in _checks(values, kind).items():
        if not file.endswith(PYTHON) or not (root / file).is_file():
            continue
        try:
            text = (root / file).read_text("utf-8")
        except UnicodeDecodeError as error:
            found.append(Fault(file, f"is not Python: {error}; correct that line"))
            continue
        wrong = (await parser.facts(text)).error
        if wrong is not None:
            found.append(Fault(file, f"is not Python: {wrong}; correct that line"))
        else:
            found += check(file, ast.parse(text))
    return found


def _checks(values: Mapping[str, Any], kind: Kind) -> dict[str, Check]:
    """Which file is held to what. Of several editable files the first is the one that a judge or a command meets."""
    editable = values.get("editable")
    first, *others = [editable] if not isinstance(editable, list) else editable or [None]
    named: list[tuple[Any, Check]] = [(file, _nothing) for file in others]
    if kind == Kind.COMMAND:
        command = values.get("command")
        evaluator = command.get("evaluator") if isinstance(command, dict) else None
        named += [(first, _nothing), (evaluator, _check_evaluator)]
    elif kind == Kind.PROGRAM:
        named += [(first, _check_program), (values.get("judge"), _check_program_judge)]
    else:
        task = values.get("task")
        secret_seed = "draw" in values or (isinstance(task, dict) and task.get("secret_seed") is True)
        named += [(first, _check_model), (values.get("judge"), partial(_check_judge, secret_seed))]
    if kind != Kind.COMMAND:
        named += [(values.get("draw"), _check_draw), (values.get("prepare"), _nothing)]
    return {file: check for file, check in named if isinstance(file, str)}


def _nothing(file: str, tree: ast.Module) -> Iterable[Fault]:
    """No function is needed: that it is Python is enough."""
    return ()


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _check_model(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = _functions(tree)
    for name, returns in (("train", "a trained torch module"), ("build", "the same module with fresh weights")):
        if name not in functions:
            yield Fault(file, f"has no function {name}(task); add one that returns {returns}")
        elif not _takes(functions[name], 1):
            yield Fault(file, f"{name} must take one argument, the task; write: def {name}(task)")


def _check_program(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = _functions(tree)
    if "answer" not in functions:
        yield Fault(file, "has no function answer(task, inputs); add one that returns the outputs as arrays")
    elif not _takes(functions["answer"], 2):
        yield Fault(file, "answer must take two arguments; write: def answer(task, inputs)")
    if "prepare" in functions and not _takes(functions["prepare"], 1):
        yield Fault(file, "prepare must take one argument, the task; write: def prepare(task)")


def _check_judge(secret_seed: bool, file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = _functions(tree)
    arguments = JUDGE_ARGUMENTS if secret_seed else JUDGE_ARGUMENTS_WITH_A_PLAIN_SEED
    if "judge" not in functions or not _takes(functions["judge"], len(arguments)):
        made = "metrics" if secret_seed else "(metrics, bytes)"
        yield Fault(file, f"needs a function judge({', '.join(arguments)}) that returns {made}")
    yield from _check_rejected(tree, file, "no honest prediction")


def _check_program_judge(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = _functions(tree)
    if "judge" not in functions or not _takes(functions["judge"], len(PROGRAM_JUDGE_ARGUMENTS)):
        yield Fault(file, f"needs a function judge({', '.join(PROGRAM_JUDGE_ARGUMENTS)}) that returns metrics")
    yield from _check_rejected(tree, file, "no honest answer")


def _check_rejected(tree: ast.Module, file: str, what: str) -> Iterator[Fault]:
    if not any(isinstance(node, ast.ClassDef) and node.name == "Rejected" for node in tree.body):
        yield Fault(file, f"needs an exception for what is {what}; write: class Rejected(Exception)")


def _check_evaluator(file: str, tree: ast.Module) -> Iterator[Fault]:
    """A stranger's evaluator may have its function from elsewhere; then only a run shows whether it is one."""
    functions = _functions(tree)
    if "evaluate" in functions and not _takes(functions["evaluate"], 1):
        yield Fault(file, "evaluate must take one argument, the program's path; write: def evaluate(path)")
    elif "evaluate" not in functions and "evaluate" not in _names(tree):
        yield Fault(file, "needs a function evaluate(path), which is not async and returns a dict of values")


def _names(tree: ast.Module) -> set[str]:
    """What is imported or assigned at the top of a module."""
    imported = [alias for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import) for alias in node.names]
    assigned = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    names = {alias.asname or alias.name for alias in imported}
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


def _check_draw(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = _functions(tree)
    if "draw" not in functions or not _takes(functions["draw"], len(DRAW_ARGUMENTS)):
        yield Fault(file, f"needs a function draw({', '.join(DRAW_ARGUMENTS)}) that returns the text as bytes")


def _takes(function: ast.FunctionDef, count: int) -> bool:
    """Whether a function can be called with `count` positional arguments and nothing else."""
    given = function.args
    positional = len(given.posonlyargs) + len(given.args)
    enough = positional >= count or given.vararg is not None
    return enough and positional - len(given.defaults) <= count and None not in given.kw_defaults
