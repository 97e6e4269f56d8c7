"""What is wrong with the ideas of an objective: those that apply to nothing, change nothing, or have no category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from node.authoring.fault import Fault
from node.execution.parsing.parser import SourceParser
from node.objective.edits import Edit, EditError
from node.objective.schema import SETTINGS
from node.objective.trees import TreeError, pack
from node.proposers.catalogue import CatalogueError, Idea, ideas_in


async def idea_faults(root: Path, values: Mapping[str, Any], parser: SourceParser) -> list[Fault]:
    """Everything wrong with the files in ideas/, by the settings as they were read."""
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
    baseline = _baseline(root, values.get("editable")) if read else None
    if baseline is not None:
        named = values["editable"] if isinstance(values["editable"], str) else "the editable files"
        faults += await _edits(read, baseline, named, parser)
    return faults


def _baseline(root: Path, editable: Any) -> str | None:
    """The objective's own source; None where it cannot be read, which is reported elsewhere."""
    paths = [editable] if isinstance(editable, str) else editable
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        return None
    try:
        texts = {path: (root / path).read_text("utf-8") for path in paths}
        return pack(texts) if len(texts) > 1 else texts[paths[0]]
    except (OSError, UnicodeDecodeError, TreeError):
        return None


async def _edits(read: Sequence[tuple[str, Idea]], baseline: str, editable: str, parser: SourceParser) -> list[Fault]:
    """Ideas that change nothing, and ideas that apply neither to the baseline nor to it after one other idea."""
    facts = await parser.facts(baseline)
    if facts.error is not None:
        return []  # reported with the code
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
