"""What is wrong with an objective's folder: everything that can be seen without running it, all at once.

It reads settings, code (as a syntax tree, once the helper process has shown that this takes no time), ideas and data;
it runs nothing and changes nothing. Every fault names a
file and says what to do. What a node would refuse is found by the node's own `load.complaints`. Added here is what a
node accepts and what would show only later: misspelt settings, absurd limits, hashes that do not match; and, in modules
of their own, what is wrong with code, with a command and with ideas.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from node.authoring.check_code import code_faults
from node.authoring.check_command import command_faults
from node.authoring.check_hidden import hidden_faults
from node.authoring.check_ideas import idea_faults
from node.authoring.fault import Fault
from node.execution.parsing.parser import SourceParser
from node.objective.downloads import FIELDS as DOWNLOAD_FIELDS
from node.objective.kinds import fields_of
from node.objective.load import complaints, load_objective, settings_text
from node.objective.scales import FIELDS as SCALE_FIELDS
from node.objective.schema import DIRECTION, SETTINGS, Kind, Objective, ObjectiveError
from node.proposers.catalogue import CATEGORY_CHARACTERS
from node.proposers.numeric import CATEGORY as NUMERIC
from node.proposers.strategy import EXTERNAL_PRIORS
from node.trials.statistics import ALPHA_SHARES, MAX_NOISE
from protocol.metric import SMALLEST_EFFECT, Scale

LISTS = {
    "data": ("name", "path", "sha256", "size", "room", "shared"),
    "downloads": DOWNLOAD_FIELDS,
    "classes": ("name", "device", "tokens_per_second", "memory_mb", "priors"),
}
INNER = {  # tables within tables, which `load` reads by themselves
    ("command", "seed"): ("variable", "rewrite"),
}
PRIOR = ("success", "gain")
MOST_VOCABULARY = 65_536
LEAST_MEMORY_MB = {Kind.MODEL: 512, Kind.PROGRAM: 64, Kind.COMMAND: 16}
# table, setting, least and greatest sensible value, and what the number means
RANGES = (
    ("budget", "tokens", 1000, 10**12, "training tokens of one run"),
    ("budget", "seconds", 0.1, 86_400, "seconds of the device in which a run computes"),
    ("budget", "warmup_seconds", 0.1, 86_400, "seconds of compiling that do not count"),
    ("budget", "wall_seconds", 1, 86_400, "seconds after which a run is ended; leave room for slow machines"),
    ("budget", "threads", 1, 64, "threads of one run"),
    ("task", "context", 1, 65_535, "tokens the model sees at once"),
    ("task", "vocabulary", 2, MOST_VOCABULARY, "different tokens"),
    ("command", "checks_seconds", 0.1, 86_400, "seconds after which the checks are ended"),
    ("statistics", "cost_s0", 1e-6, MAX_NOISE, "the standard deviation of a pair's Δ ln(cost)"),
    ("statistics", "cost_deadband", 0, 1, "the |ln(cost ratio)| that is noise"),
    ("statistics", "max_pairs", 1, len(ALPHA_SHARES), "fresh pairs of runs of one trial"),
)
LOG_RANGES = (  # where effects are differences of logarithms
    ("statistics", "s0", 1e-6, MAX_NOISE, "the standard deviation of a pair's Δ ln(metric); 0.01 is 1 %"),
    ("statistics", "slope", 0, 2, "ln(metric) lost per ln(tokens)"),
    ("statistics", "minimum_effect", 0, 0.5, "in ln(metric); 0.002 is 0.2 %"),
)


async def faults(root: Path) -> list[Fault]:
    """Everything wrong with an objective's folder; empty when nothing is."""
    refused = [Fault(SETTINGS, text.removeprefix(f"{SETTINGS}: ")) for text in complaints(root)]
    try:
        values = tomllib.loads(settings_text(root))
    except (OSError, ValueError, RecursionError):
        return refused
    kind = _kind(values)
    if kind is None:
        return refused
    parser = SourceParser()
    found = [*refused, *_settings(values, kind), *await code_faults(root, values, kind, parser)]
    found += await idea_faults(root, values, parser)
    if not refused:
        objective = load_objective(root, root)
        found += [*_data(objective), *_classes(objective), *_priors(objective), *_noise(objective)]
        found += [*command_faults(objective), *hidden_faults(objective)]
    if kind != Kind.COMMAND and not (root / str(values.get("direction", DIRECTION))).is_file():
        found.append(Fault(DIRECTION, "is missing; say in it, in words, where the search should go"))
    return list(dict.fromkeys(found))


def _kind(values: Mapping[str, Any]) -> Kind | None:
    """The objective's kind; None where it has none that is known, which `complaints` reports."""
    try:
        return Kind(values.get("kind", Kind.MODEL))
    except ValueError:
        return None


# ---- settings ------------------------------------------------------------------------------------------------------


def _settings(values: Mapping[str, Any], kind: Kind) -> Iterator[Fault]:
    fields = fields_of(kind)
    tables = [name for name in fields if name]
    yield from _unknown("", values, (*fields.get("", {}), "program", *tables, *LISTS, "scales", "priors"))
    for (outer, inner), names in INNER.items():
        table = values.get(outer)
        yield from _unknown(f"{outer}.{inner}", table.get(inner) if isinstance(table, dict) else None, names)
    for name in tables:
        yield from _unknown(name, values.get(name), fields[name])
    lists = {**LISTS, "scales": ("name", *SCALE_FIELDS[kind])}
    for name, known in lists.items():
        rows = values.get(name)
        for row in rows if isinstance(rows, list) else ():
            yield from _unknown(f"[{name}]", row, known)
            yield from _unknown_priors(f"classes {row.get('name')!r}", row) if isinstance(row, dict) else ()
    yield from _unknown_priors("", values)
    yield from _ranges(values, kind)
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


def _ranges(values: Mapping[str, Any], kind: Kind) -> Iterator[Fault]:
    metric = values.get("metric")
    linear = isinstance(metric, dict) and metric.get("scale") == Scale.LINEAR
    least = LEAST_MEMORY_MB[kind]
    takes = "; Python with torch alone takes about 300" if kind == Kind.MODEL else ""
    memory = ("budget", "memory_mb", least, 1_000_000, f"MB of a whole run{takes}")
    for where, name, least, most, meaning in (*RANGES, memory, *(() if linear else LOG_RANGES)):
        table = values.get(where)
        value = table.get(name) if isinstance(table, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value <= most:
            yield Fault(SETTINGS, f"{where}.{name} is {value}; give a number from {least:g} to {most:g}: {meaning}")
    task = values.get("task")
    steps = task.get("checkpoints") if isinstance(task, dict) else None
    if isinstance(steps, list) and all(isinstance(step, int) for step in steps) and steps != sorted(set(steps)):
        yield Fault(SETTINGS, f"task.checkpoints are {steps}; write each step once, in rising order")


def _noise(objective: Objective) -> Iterator[Fault]:
    """Noise of a linear metric against the smallest effect, which gives it its unit."""
    statistics, metric = objective.statistics, objective.measure
    if metric.scale == Scale.LINEAR and not 1e-6 <= statistics.s0 <= MAX_NOISE:
        most = MAX_NOISE / SMALLEST_EFFECT
        yield Fault(
            SETTINGS,
            f"statistics.s0 is {statistics.s0 * metric.unit:g}, and minimum_effect {SMALLEST_EFFECT * metric.unit:g}; "
            f"s0 may be up to {most:g} times as large: an effect so far below the noise takes too many runs to be seen",
        )


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
            if (
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


# ---- data ----------------------------------------------------------------------------------------------------------


def _data(objective: Objective) -> Iterator[Fault]:
    if objective.draw is not None or objective.kind == Kind.COMMAND:
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
    for split in ("val", "holdout") if objective.kind == Kind.MODEL else ():
        if not any(item.name == split and item.room == "judge" for item in objective.data):
            yield Fault(SETTINGS, f'there is no [[data]] named "{split}" with room = "judge"; add it')
    for item in objective.data:
        if item.room == "candidate" and item.entry.size < 2 * (objective.context + 1):
            yield Fault(SETTINGS, f"{item.entry.path} is too short for a context of {objective.context}; declare more")


def usable(root: Path, data_dir: Path) -> Objective | str:
    """The objective in a folder, or a text that says why a node would refuse it."""
    try:
        return load_objective(root, data_dir)
    except ObjectiveError as error:
        return str(error)
