"""objective.toml for what was recognised: written beside the stranger's files, whole and readable, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from node.authoring.importing.families import family_of
from node.authoring.importing.folder import Folder
from node.authoring.importing.given import prints_own_score
from node.authoring.importing.recognised import Choice, ImportRefusedError, Recognised
from node.authoring.template import NAME
from node.objective.history import History, read_history
from node.objective.load import load_objective
from node.objective.schema import SETTINGS, Objective, ObjectiveError
from node.objective.table import MAX_ROWS, MAX_TEXT
from protocol.fields import is_plain
from protocol.objective import MAX_FILES

MOST_NAMED = 60  # files that are listed one by one; of more, whole folders stand in `files`
NAME_CHARACTERS, SUMMARY_CHARACTERS = 60, 300


@dataclass(frozen=True)
class Imported:
    """What was written, and the objective as a node reads it."""

    recognised: Recognised
    others: tuple[str, ...]  # what else the folder could be
    objective: Objective
    locked: tuple[str, ...]
    left_out: tuple[str, ...]
    history: History


def import_folder(root: Path, choice: Choice, force: bool = False) -> Imported:
    """Recognise a folder and write its objective.toml. Raises ImportRefusedError; nothing is changed then."""
    target = root / SETTINGS
    _refuse_no_file(target)
    before = target.read_bytes() if target.is_file() else None
    if before is not None and not force:
        raise ImportRefusedError(f"{target} is there already, and is not overwritten; --force writes a new one")
    recognised, others = family_of(Folder(root, choice.files), choice)
    folder = Folder(root, choice.files, needed_files(recognised))
    absent = [path for path in folder.always if not folder.has(path)]
    if absent:
        raise ImportRefusedError(f"{root} has no file {absent[0]}")
    own = prints_own_score(folder, recognised.editable, recognised.metric.name)
    recognised = replace(recognised, notes=(*recognised.notes, own)) if own else recognised
    patterns = patterns_for(folder.files, folder.present)
    try:
        target.write_text(settings_text(recognised, patterns, _sha256(root, recognised)), "utf-8")
        objective = load_objective(root, root)
    except (OSError, ObjectiveError) as error:
        if before is None:
            target.unlink(missing_ok=True)
        else:
            target.write_bytes(before)
        raise ImportRefusedError(f"{recognised.family} was recognised, but {error}") from None
    locked = tuple(path for path in objective.files if path not in (*objective.editable, SETTINGS))
    past = objective.files.get(recognised.history or "", b"")
    return Imported(recognised, others, objective, locked, folder.left_out, read_history(past, objective.metric))


def _refuse_no_file(target: Path) -> None:
    """Raise where something is in the place of objective.toml that is no file.

    A stranger's repository may have a link there: what is written through it would overwrite a file of the person's, or
    make one that their shell reads.
    """
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise ImportRefusedError(f"{target} is a link or no regular file, so nothing is written there; remove it first")


def needed_files(found: Recognised) -> tuple[str, ...]:
    """The files that belong to the objective whatever git or the walk says."""
    named = [*found.editable, *found.needed, found.history, found.direction, found.environment.lock]
    named += [rewrite.file for rewrite in found.seeds.rewrites]
    return tuple(dict.fromkeys(path for path in named if path is not None))


def patterns_for(wanted: Collection[str], present: Collection[str]) -> list[str]:
    """Globs that match the wanted files and no others that are there: each by its name, or whole folders of many.

    Raises ImportRefusedError where there are more than an objective can have.
    """
    if len(wanted) > MAX_FILES - 1:
        raise ImportRefusedError(
            f"{len(wanted)} files would belong to the objective, and it can have {MAX_FILES - 1}; name those that a "
            "run needs: --files 'src/*' 'bench/*.py' ..."
        )
    found = [escape(path) for path in sorted(wanted)]
    if len(found) > MOST_NAMED:
        found = [*_cover("", frozenset(wanted), sorted(present))]
    if len(found) > MAX_ROWS:
        raise ImportRefusedError(
            f"the files of this folder take {len(found)} patterns, and {MAX_ROWS} can be given; name what a run needs: "
            "--files 'src/*' 'bench/*.py' ..."
        )
    return found


def _cover(folder: str, wanted: frozenset[str], present: Sequence[str]) -> Iterator[str]:
    """Patterns for a folder ("" or with a slash at its end): all of it where all is wanted, else piece by piece."""
    inside = [path for path in present if path.startswith(folder)]
    if folder and all(path in wanted for path in inside):
        yield f"{escape(folder)}*"
        return
    for name in sorted({path.removeprefix(folder).split("/")[0] for path in inside}):
        path = f"{folder}{name}"
        if path in wanted:
            yield escape(path)
        elif any(each.startswith(f"{path}/") and each in wanted for each in inside):
            yield from _cover(f"{path}/", wanted, inside)


def _sha256(root: Path, found: Recognised) -> str | None:
    lock = found.environment.lock
    return hashlib.sha256((root / lock).read_bytes()).hexdigest() if lock else None


# ---- the text ------------------------------------------------------------------------------------------------------


def settings_text(found: Recognised, patterns: Sequence[str], lock_sha256: str | None) -> str:
    """objective.toml for what was recognised."""
    parts = [
        [
            f"# Made by `objective import`: {found.family}, by {_plain(found.why, 200)}.",
            "# All files under `files` are part of its id: whoever has the same bytes is in the same swarm.",
            "# After a change: `autoresearch-node objective check FOLDER`.",
            "",
            'kind = "command"',
            f"name = {_text(_name(found.name))}",
            f"summary = {_text(_plain(found.summary, SUMMARY_CHARACTERS) or found.family)}",
            "# What research edits. All other files are locked: a run that changes one has failed.",
            f"editable = {_list(found.editable)}",
            f"files = {_list(patterns)}",
            "# Kinds of ideas. A node learns for each how often it pays here.",
            f"categories = {_list(found.categories)}",
            *([f"device = {_text(found.device)}"] if found.device != "cpu" else []),
            *(["# Results from before, which models and agents are shown.", f"history = {_text(found.history)}"]
              if found.history else []),
            *(["# A person's direction for the search.", f"direction = {_text(found.direction)}"]
              if found.direction else []),
        ],
        _metric(found),
        _command(found),
        _environment(found, lock_sha256),
        _budget(found),
        _statistics(found),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _metric(found: Recognised) -> list[str]:
    metric = found.metric
    return [
        "[metric]",
        f"# Read from {_plain(metric.reading, 200)}.",
        f"name = {_text(metric.name)}",
        f"unit = {_text(_plain(metric.unit, 20))}",
        f"direction = {_text(metric.direction)}",
        '# "log" for what is always above 0: differences are per cent. "linear" for what may be 0 or less.',
        f"scale = {_text(metric.scale)}",
    ]


def _command(found: Recognised) -> list[str]:
    command = dict(found.command)
    require: Mapping[str, str] = command.pop("require", {})
    lines = ["[command]", "# In the sandbox, without network, in a copy of this folder."]
    lines += [
        f"{name} = {_list(value) if isinstance(value, list) else _text(value)}" for name, value in command.items()
    ]
    if require:
        lines += ["", "[command.require]", *(f"{name} = {_text(value)}" for name, value in require.items())]
    seeds = found.seeds
    if seeds.variable or seeds.rewrites:
        lines += ["", "[command.seed]"]
        lines += [f"variable = {_text(seeds.variable)}"] if seeds.variable else []
        rows = (
            f"    {{ file = {_text(row.file)}, find = {_text(row.find)}, replace = {_text(row.replace)} }},"
            for row in seeds.rewrites
        )
        lines += ["rewrite = [", *rows, "]"] if seeds.rewrites else []
    return lines


def _environment(found: Recognised, lock_sha256: str | None) -> list[str]:
    environment = found.environment
    if not environment:
        return []
    lines = [
        "[environment]",
        "# Folders that runs may read. A person makes them with `prepare`, here, with the network.",
    ]
    lines += [f"paths = {_list(environment.paths)}"] if environment.paths else []
    if environment.lock:
        lines += [f"lock = {_text(environment.lock)}", f"lock_sha256 = {_text(lock_sha256)}"]
    lines += [f"prepare = {_text(environment.prepare)}"] if environment.prepare else []
    return lines


def _budget(found: Recognised) -> list[str]:
    budget = found.budget
    lines = ["[budget]"]
    if budget.seconds is not None:
        lines += ["# In which a run computes, as the repository has it.", f"seconds = {budget.seconds:g}"]
    if budget.warmup_seconds is not None:
        lines += ["# Of compiling, which does not count among those.", f"warmup_seconds = {budget.warmup_seconds:g}"]
    lines += ["# A run that takes longer is ended and counts as failed.", f"wall_seconds = {budget.wall_seconds:g}"]
    return [*lines, f"threads = {budget.threads}", f"memory_mb = {budget.memory_mb}"]


def _statistics(found: Recognised) -> list[str]:
    unit = "of the metric's logarithm: 0.01 is 1 %" if found.metric.scale == "log" else "in units of the metric"
    return [
        "[statistics]",
        f"# A guess, {unit}; `objective check --fix` measures it.",
        f"s0 = {found.spread:g}",
        f"# The smallest effect worth telling anybody, {unit}.",
        f"minimum_effect = {found.minimum_effect:g}",
        "max_pairs = 6",
    ]


def _text(value: Any) -> str:
    """A TOML string. JSON's are TOML's too, but for one character."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    one = f"[{', '.join(map(_text, values))}]"
    return one if len(one) <= 100 else "[\n" + "".join(f"    {_text(value)},\n" for value in values) + "]"


def _plain(text: str, most: int) -> str:
    """A stranger's text on one line, cut, without characters that a terminal would not show as themselves."""
    kept = "".join(character if is_plain(character) else " " for character in text[: 4 * most])
    return " ".join(kept.split())[: min(most, MAX_TEXT)]


def _name(text: str) -> str:
    """A name that an objective may have, after a stranger's."""
    kept = "".join(character if NAME.fullmatch(f"a{character}") else "-" for character in text).strip("-._ ")
    return kept[:NAME_CHARACTERS].strip("-._ ") or "imported"
