"""What is wrong with a command objective, and what this machine lacks for it, without running it.

A fault is the objective's: it would fail everywhere. What is lacking is this machine's, which can be prepared.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from node.authoring.fault import Fault
from node.execution.command.environment import NotPreparedError, Surroundings, is_here, surroundings
from node.objective.history import History, read_history
from node.objective.schema import SETTINGS, Command, Objective

# Before the program on a line for bash; what runs it is the word after these.
_PREFIXES = ("env", "time", "nohup", "exec", "command")
# fmt: off
# Words of bash itself, or programs that take options before the one they run: nothing is said about what follows.
_UNCLEAR = {
    "if", "for", "while", "until", "case", "[", "[[", "!", "cd", "set", "export", "source", ".", "eval", "trap", "test",
    "echo", "printf", "true", "timeout", "taskset", "nice", "stdbuf",
}
# fmt: on
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LOCAL_IMPORT = re.compile(r"^(?:from|import)[ \t]+(\w+)", re.MULTILINE)
_WORD = re.compile(r"[\w./-]+")
_SHELL, _PYTHON = (".sh", ".bash"), ".py"


def command_faults(objective: Objective) -> list[Fault]:
    """What is wrong with a command objective."""
    command = objective.command
    if command is None:
        return []
    return [*_rewrites(objective, command), *_left_out(objective, command), *_history(objective)]


def lacking(objective: Objective) -> list[str]:
    """What this machine lacks for a run, each with what to do about it; empty where nothing is known to be missing."""
    command, environment = objective.command, objective.environment
    if command is None:
        return []
    missing = [path for path in environment.paths if not is_here(_place(objective.root, path))] if environment else []
    if environment is not None and missing:
        todo = f"in {objective.root}, run: {environment.prepare}" if environment.prepare else "put them there"
        return [f"not here: {', '.join(missing)}; {todo}"]
    try:
        beside = surroundings(objective.root, environment.paths if environment else ())
    except NotPreparedError as problem:
        return [str(problem)]
    found = []
    for name, line in (("run", command.run), ("checks", command.checks)):
        program = program_of(line) if line else None
        if program is not None and not _is_there(program, objective, beside):
            found.append(f"command.{name} begins with {program!r}, which is not installed here")
    return found


def program_of(line: str) -> str | None:
    """The program that a line for bash begins with; None where only bash could tell."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    while words and (words[0] in _PREFIXES or _ASSIGNMENT.match(words[0]) or words[0].startswith("-")):
        words = words[1:]
    if not words or words[0] in _UNCLEAR or words[0].startswith(("(", "{", "$", "`")):
        return None
    return words[0].removesuffix(";")


def _is_there(program: str, objective: Objective, beside: Surroundings) -> bool:
    if "/" in program:
        inside = program.removeprefix("./")
        return inside in objective.files or (objective.root / inside).exists() or Path(program).exists()
    return program == "uv" or beside.find(program) is not None  # `uv run` has a stand-in in the sandbox


def _place(root: Path, path: str) -> Path:
    return Path.home() / path[2:] if path.startswith("~/") else root / path


def _rewrites(objective: Objective, command: Command) -> Iterator[Fault]:
    for row in command.seed_rewrites:
        text = objective.files[row.file].decode("utf-8", errors="replace")
        if (times := text.count(row.find)) != 1:
            shown = row.find.replace("\n", "\\n")
            yield Fault(
                row.file,
                f"command.seed.rewrite finds {shown!r:.80} {times} times; copy a text that stands there exactly once",
            )


def _history(objective: Objective) -> Iterator[Fault]:
    if objective.history is None:
        return
    history = history_of(objective)
    if history.skipped and not history.results:  # a table that has only a line of names has no results yet
        yield Fault(
            objective.history,
            f"no result could be read from it ({history.skipped} lines were tried); it must be a table with tabs and a "
            "line of names, or a line of JSON for each experiment; or take history out",
        )


def history_of(objective: Objective) -> History:
    """What was tried before, by the objective's history file."""
    if objective.history is None:
        return History()
    return read_history(objective.files[objective.history], objective.metric)


# ---- what `files` leaves out -----------------------------------------------------------------------------------------


def _left_out(objective: Objective, command: Command) -> Iterator[Fault]:
    """Files of the folder that the command, its scripts or its Python files name, and that no peer would get."""
    done: set[str] = set()
    told: set[str] = set()
    lines = [line for line in (command.run, command.checks) if line]
    waiting = [path for line in lines for path in _named_in(line, "", objective)]
    waiting += [path for path in (command.evaluator, *objective.editable) if path]
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        if path not in objective.files:
            if path not in told and not _apart(path, objective, command):
                told.add(path)
                yield Fault(SETTINGS, f"`files` leaves out {path}, which a run needs; add it there")
            continue
        text = objective.files[path].decode("utf-8", errors="replace")
        if path.endswith(_SHELL):
            waiting += _named_in(text, path, objective)
        elif path.endswith(_PYTHON):
            waiting += _imported_in(text, path, objective)


def _named_in(text: str, path: str, objective: Objective) -> list[str]:
    """The files of the folder that a line or a script names, in the folder or beside the script."""
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    beside = Path(path).parent.as_posix() if path else "."
    found = []
    for word in dict.fromkeys(_WORD.findall(code)):
        for candidate in (word, f"{beside}/{word}"):
            normal = Path(candidate).as_posix().removeprefix("./")
            if "." in word and not normal.startswith(("/", "..")) and (objective.root / normal).is_file():
                found.append(normal)
                break
    return found


def _imported_in(text: str, path: str, objective: Objective) -> list[str]:
    """The modules beside a Python file, or in the folder, that it imports."""
    folders = dict.fromkeys((Path(path).parent.as_posix(), "."))
    found = []
    for name in dict.fromkeys(_LOCAL_IMPORT.findall(text)):
        for folder in folders:
            for candidate in (f"{folder}/{name}.py", f"{folder}/{name}/__init__.py"):
                normal = candidate.removeprefix("./")
                if (objective.root / normal).is_file():
                    found.append(normal)
    return found


def _apart(path: str, objective: Objective, command: Command) -> bool:
    """Whether a file comes from the environment, or is a result that a run writes."""
    folders: Sequence[str] = objective.environment.paths if objective.environment else ()
    return path in command.files or any(path == folder or path.startswith(f"{folder}/") for folder in folders)
