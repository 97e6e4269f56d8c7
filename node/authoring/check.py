"""What is wrong with an objective's folder: everything that can be seen without running it, all at once.

It reads settings, code (as a syntax tree, once the helper process has shown that this takes no time), ideas and data;
it runs nothing and changes nothing. Every fault names a
file and says what to do. What a node would refuse is found by the node's own `load.complaints`. Added here is what a
node accepts and what would show only later: misspelt settings, absurd limits, ideas that apply to nothing, hashes that
do not match.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from node.execution.parsing.parser import SourceParser
from node.objective.edits import Edit, EditError
from node.objective.kinds import fields_of
from node.objective.load import complaints, load_objective
from node.objective.schema import SETTINGS, Kind, Objective, ObjectiveError
from node.proposers.catalogue import CATEGORY_CHARACTERS, CatalogueError, Idea, ideas_in
from node.proposers.numeric import CATEGORY as NUMERIC
from node.proposers.strategy import EXTERNAL_PRIORS
from node.trials.statistics import ALPHA_SHARES, MAX_NOISE

PROGRAM = "program.md"
LISTS = {
    "data": ("name", "path", "sha256", "size", "room"),
    "scales": ("name", "tokens", "seconds", "warmup_seconds", "wall_seconds", "threads", "memory_mb"),
    "classes": ("name", "device", "tokens_per_second", "memory_mb", "budget_tokens", "priors"),
}
PRIOR = ("success", "gain")
# table, setting, least and greatest sensible value, and what the number means
RANGES = (
    ("budget", "tokens", 1000, 10**12, "training tokens of one run"),
    ("budget", "wall_seconds", 1, 86_400, "seconds after which a run is ended; leave room for slow machines"),
    ("budget", "threads", 1, 64, "threads of one run"),
    ("budget", "memory_mb", 512, 1_000_000, "MB of a whole run; Python with torch alone takes about 300"),
    ("task", "context", 1, 65_535, "tokens the model sees at once"),
    ("task", "vocabulary", 2, 256, "different tokens; texts are read byte by byte"),
    ("statistics", "s0", 1e-6, MAX_NOISE, "the standard deviation of a pair's Δ ln(metric); 0.01 is 1 %"),
    ("statistics", "cost_s0", 1e-6, MAX_NOISE, "the standard deviation of a pair's Δ ln(cost)"),
    ("statistics", "slope", 0, 2, "ln(metric) lost per ln(tokens)"),
    ("statistics", "cost_deadband", 0, 1, "the |ln(cost ratio)| that is noise"),
    ("statistics", "minimum_effect", 0, 0.5, "in ln(metric); 0.002 is 0.2 %"),
    ("statistics", "max_pairs", 1, len(ALPHA_SHARES), "fresh pairs of runs of one trial"),
)
CONTRACT = {"train": 1, "build": 1}  # functions of the editable file, and how many arguments each takes
DRAW_ARGUMENTS = ("seed", "name")
JUDGE_ARGUMENTS = ("text", "rooms", "seed")  # where the run's seed is secret
JUDGE_ARGUMENTS_WITH_A_PLAIN_SEED = ("data", "rooms", "seed", "split", "train_sample", "incumbent")


@dataclass(frozen=True)
class Fault:
    """Something wrong: the file of the folder, and a sentence about it that says what to do."""

    file: str
    says: str


async def faults(root: Path) -> list[Fault]:
    """Everything wrong with an objective's folder; empty when nothing is."""
    refused = [Fault(SETTINGS, text.removeprefix(f"{SETTINGS}: ")) for text in complaints(root)]
    try:
        values = tomllib.loads((root / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return refused
    parser = SourceParser()
    found = [*refused, *_settings(values), *await _code(root, values, parser), *await _ideas(root, values, parser)]
    if not refused:
        objective = load_objective(root, root)
        found += [*_data(objective), *_classes(objective), *_priors(objective)]
    if not (root / PROGRAM).is_file():
        found.append(Fault(PROGRAM, "is missing; say in it, in words, where the search should go"))
    return list(dict.fromkeys(found))


# ---- settings ------------------------------------------------------------------------------------------------------


def _settings(values: Mapping[str, Any]) -> Iterator[Fault]:
    kind = values.get("kind", Kind.MODEL)
    fields = fields_of(Kind(kind)) if kind in Kind else {}
    tables = [name for name in fields if name]
    yield from _unknown("", values, (*fields.get("", {}), "program", *tables, *LISTS, "priors"))
    for name in tables:
        yield from _unknown(name, values.get(name), fields[name])
    for name, known in LISTS.items():
        rows = values.get(name)
        for row in rows if isinstance(rows, list) else ():
            yield from _unknown(f"[{name}]", row, known)
            yield from _unknown_priors(f"classes {row.get('name')!r}", row) if isinstance(row, dict) else ()
    yield from _unknown_priors("", values)
    yield from _ranges(values)
    categories = values.get("categories")
    if isinstance(categories, list):
        yield from _categories([category for category in categories if isinstance(category, str)])


def _unknown_priors(where: str, values: Mapping[str, Any]) -> Iterator[Fault]:
    priors = values.get("priors")
    for category, row in priors.items() if isinstance(priors, dict) else ():
        yield from _unknown(f"{where} priors.{category}".strip(), row, PRIOR)


def _unknown(where: str, values: Any, known: Iterable[str]) -> Iterator[Fault]:
    for name in values if isinstance(values, dict) else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else "remove it; known here are " + ", ".join(known)
            yield Fault(SETTINGS, f"{f'[{where}]' if where else 'the top of the file'} has no {name!r}; {advice}")


def _ranges(values: Mapping[str, Any]) -> Iterator[Fault]:
    for where, name, least, most, meaning in RANGES:
        table = values.get(where)
        value = table.get(name) if isinstance(table, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            yield Fault(SETTINGS, f"{where}.{name} is {value}; give a number from {least:g} to {most:g}: {meaning}")
    task = values.get("task")
    steps = task.get("checkpoints") if isinstance(task, dict) else None
    if isinstance(steps, list) and all(isinstance(step, int) for step in steps) and steps != sorted(set(steps)):
        yield Fault(SETTINGS, f"task.checkpoints are {steps}; write each step once, in rising order")


def _categories(categories: Sequence[str]) -> Iterator[Fault]:
    for category, times in Counter(categories).items():
        if times > 1:
            yield Fault(SETTINGS, f"categories has {category!r} {times} times; write it once")
        if not 0 < len(category.strip()) <= CATEGORY_CHARACTERS:
            yield Fault(SETTINGS, f"category {category!r:.80} needs 1 to {CATEGORY_CHARACTERS} characters")
    if not categories:
        yield Fault(SETTINGS, "categories is empty; name at least one kind of idea")


def _classes(objective: Objective) -> Iterator[Fault]:
    for position, one in enumerate(objective.classes):
        for later in objective.classes[position + 1 :]:
            if later.name == one.name:
                yield Fault(SETTINGS, f"there are two classes named {one.name!r}; give one of them another name")
            elif (
                later.device == one.device
                and later.tokens_per_second <= one.tokens_per_second
                and later.memory_bytes <= one.memory_bytes
            ):
                yield Fault(
                    SETTINGS,
                    f"no machine can be of class {one.name!r}: {later.name!r} comes after it and asks for no more; put "
                    "the class with the higher needs last",
                )


def _priors(objective: Objective) -> Iterator[Fault]:
    known = {*objective.categories, NUMERIC, *EXTERNAL_PRIORS}
    tables = {"priors": objective.priors} | {f"priors of {name}": p for name, p in objective.class_priors.items()}
    for where, priors in tables.items():
        for category in priors:
            if category not in known:
                yield Fault(SETTINGS, f"[{where}] {category!r} is not in categories; add it there, or remove it here")


# ---- code ----------------------------------------------------------------------------------------------------------


async def _code(root: Path, values: Mapping[str, Any], parser: SourceParser) -> list[Fault]:
    """What the editable file and the judge must offer, as far as the syntax tree shows it."""
    task = values.get("task")
    secret_seed = "draw" in values or (isinstance(task, dict) and task.get("secret_seed") is True)
    checks: dict[str, Callable[[str, ast.Module], Iterable[Fault]]] = {
        "editable": _check_source,
        "judge": partial(_check_judge, secret_seed),
        "draw": _check_draw,
        "prepare": lambda file, tree: (),
    }
    found: list[Fault] = []
    for name, check in checks.items():
        file = values.get(name)
        if not isinstance(file, str) or not (root / file).is_file():
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


def _check_source(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    returns = {"train": "a trained torch module", "build": "the same module with fresh weights"}
    for name, count in CONTRACT.items():
        if name not in functions:
            yield Fault(file, f"has no function {name}(task); add one that returns {returns[name]}")
        elif not _takes(functions[name], count):
            yield Fault(file, f"{name} must take one argument, the task; write: def {name}(task)")


def _check_judge(secret_seed: bool, file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    arguments = JUDGE_ARGUMENTS if secret_seed else JUDGE_ARGUMENTS_WITH_A_PLAIN_SEED
    if "judge" not in functions or not _takes(functions["judge"], len(arguments)):
        made = "metrics" if secret_seed else "(metrics, bytes)"
        yield Fault(file, f"needs a function judge({', '.join(arguments)}) that returns {made}")
    if not any(isinstance(node, ast.ClassDef) and node.name == "Rejected" for node in tree.body):
        yield Fault(file, "needs an exception for what is no honest prediction; write: class Rejected(Exception)")


def _check_draw(file: str, tree: ast.Module) -> Iterator[Fault]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "draw" not in functions or not _takes(functions["draw"], len(DRAW_ARGUMENTS)):
        yield Fault(file, f"needs a function draw({', '.join(DRAW_ARGUMENTS)}) that returns the text as bytes")


def _takes(function: ast.FunctionDef, count: int) -> bool:
    """Whether a function can be called with `count` positional arguments and nothing else."""
    given = function.args
    positional = len(given.posonlyargs) + len(given.args)
    enough = positional >= count or given.vararg is not None
    return enough and positional - len(given.defaults) <= count and len(given.kw_defaults) == 0


# ---- data ----------------------------------------------------------------------------------------------------------


def _data(objective: Objective) -> Iterator[Fault]:
    if objective.draw is not None:
        return
    for item in objective.data:
        declared, path = item.entry, objective.root / item.entry.path
        if not path.exists():
            if objective.prepare is None:
                yield Fault(declared.path, f"is not in {objective.root}, and there is no prepare step to make it")
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        if (size, found) != (declared.size, declared.sha256.hex()):
            yield Fault(
                declared.path,
                f"is not what {SETTINGS} declares for {item.name!r}: remove it, or write there sha256 = "
                f'"{found}" and size = {size}',
            )
    names = Counter(item.name for item in objective.data)
    yield from (
        Fault(SETTINGS, f"there are {times} [[data]] named {name!r}; a name is used once")
        for name, times in names.items()
        if times > 1
    )
    for split in ("val", "holdout"):
        if not any(item.name == split and item.room == "judge" for item in objective.data):
            yield Fault(SETTINGS, f'there is no [[data]] named "{split}" with room = "judge"; add it')
    for item in objective.data:
        if item.room == "candidate" and item.entry.size < 2 * (objective.context + 1):
            yield Fault(SETTINGS, f"{item.entry.path} is too short for a context of {objective.context}; declare more")


# ---- ideas ---------------------------------------------------------------------------------------------------------


async def _ideas(root: Path, values: Mapping[str, Any], parser: SourceParser) -> list[Fault]:
    faults: list[Fault] = []
    read: list[tuple[str, Idea]] = []
    for path in sorted((root / "ideas").glob("*.toml")):
        file = path.relative_to(root).as_posix()
        for found in ideas_in(path):
            if isinstance(found, CatalogueError):
                faults.append(Fault(file, str(found).removeprefix(str(path)).lstrip(":, ")))
            else:
                read.append((file, found))
    categories = values.get("categories")
    if isinstance(categories, list):
        for file, category in dict.fromkeys((file, idea.category) for file, idea in read):
            if category not in categories:
                says = f"its category {category!r} is not in categories of {SETTINGS}; add it there"
                faults.append(Fault(file, says))
    for title, times in Counter(idea.title for _, idea in read).items():
        if times > 1:
            faults.append(Fault("ideas", f"{times} ideas are titled {title!r}; a title is used once"))
    editable = values.get("editable")
    if isinstance(editable, str) and (root / editable).is_file():
        try:
            faults += await _edits(read, (root / editable).read_text("utf-8"), editable, parser)
        except UnicodeDecodeError:
            return faults  # reported by _code
    return faults


async def _edits(read: Sequence[tuple[str, Idea]], baseline: str, editable: str, parser: SourceParser) -> list[Fault]:
    """Ideas that change nothing, and ideas that apply neither to the baseline nor to it after one other idea."""
    facts = await parser.facts(baseline)
    if facts.error is not None:
        return []  # reported by _code
    faults: list[Fault] = []
    results = [await _applied(baseline, idea.edits, parser) for _, idea in read]
    applied: dict[str, str] = {}  # the baseline after each idea that applies to it, by the idea's title
    for (_, idea), result in zip(read, results, strict=True):
        if isinstance(result, str):
            applied[idea.title] = result
    for (file, idea), result in zip(read, results, strict=True):
        if isinstance(result, str):
            try:
                nothing, chance = await parser.compare(baseline, result)
            except EditError as error:
                faults.append(Fault(file, f"idea {idea.title!r} is refused: {error}; remove it"))
                continue
            if nothing:
                says = f"idea {idea.title!r} changes nothing in {editable}; remove it, or correct its edit"
                faults.append(Fault(file, says))
            elif chance:
                faults.append(Fault(file, f"idea {idea.title!r} changes nothing but a seed in {editable}; remove it"))
        elif not await _applies_after_one(applied.values(), idea.edits, parser):
            says = f"idea {idea.title!r} does not apply to {editable}: {result}; correct its edit"
            faults.append(Fault(file, says))
    return faults


async def _applies_after_one(sources: Iterable[str], edits: Sequence[Edit], parser: SourceParser) -> bool:
    for source in sources:
        if isinstance(await _applied(source, edits, parser), str):
            return True
    return False


async def _applied(source: str, edits: Sequence[Edit], parser: SourceParser) -> str | EditError:
    try:
        return await parser.apply(source, edits)
    except EditError as error:
        return error


def usable(root: Path, data_dir: Path) -> Objective | str:
    """The objective in a folder, or a text that says why a node would refuse it."""
    try:
        return load_objective(root, data_dir)
    except ObjectiveError as error:
        return str(error)
