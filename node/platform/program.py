"""How this program is typed by the person who started it, and how more is installed: for every hint that says so.

`./scripts/join` starts it from a `.venv` that is not on the PATH, so that a bare `autoresearch-node` is not found.
Texts name commands as "`autoresearch-node COMMAND`"; where they are printed, `in_hints` puts in what can be typed.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

NAME = "autoresearch-node"
QUOTED = f"`{NAME} "
CLONE = Path(__file__).parents[2]
CONSTRAINTS = "constraints.txt"


def typed() -> str:
    """The program as it can be typed here: by its name if that is found on the PATH, else by its path."""
    program = started_from()
    if program is None:
        return NAME
    found = shutil.which(NAME)
    if found is not None and Path(found).resolve() == program.resolve():
        return NAME
    return shlex.quote(_shortest(program))


def in_hints(text: str) -> str:
    """A text for the terminal, its commands as they can be typed here."""
    return text.replace(QUOTED, f"`{typed()} ") if QUOTED in text else text


def installing(extra: str) -> str:
    """The command that adds an extra of this program (pyproject.toml) to where it is installed."""
    what, limits = ".", CONSTRAINTS
    if not (CLONE / "pyproject.toml").is_file():  # a wheel: where its clone is, nobody knows
        return f"{_python()} -m pip install -c {limits} '.[{extra}]' (in a clone of {NAME})"
    if Path.cwd() != CLONE:
        what, limits = str(CLONE), str(CLONE / CONSTRAINTS)
    return f"{_python()} -m pip install -c {shlex.quote(limits)} -e {shlex.quote(f'{what}[{extra}]')}"


def started_from() -> Path | None:
    """Where it was started from, or where it is installed beside the Python that runs."""
    for path in (Path(sys.argv[0]), Path(sys.executable).with_name(NAME)):
        if path.name == NAME and path.is_file():
            return path.absolute()
    return None


def _python() -> str:
    return shlex.quote(_shortest(Path(sys.executable)))


def _shortest(path: Path) -> str:
    """From the current folder where it lies in a folder below that, else in full."""
    here = Path.cwd()
    is_below = path.is_relative_to(here) and path.parent != here and here != Path(here.anchor)
    return str(path.relative_to(here)) if is_below else str(path)
