"""How this program is typed by the person who started it, and how more is installed: for every hint that says so.

`./scripts/join` starts it from a `.venv` that is not on the PATH, so that a bare `autoresearch-node` is not found.
Texts name commands as "`autoresearch-node COMMAND`"; where they are printed, `in_hints` puts in what can be typed. A
program that was started for another home than the usual one names that home in every command, which would else act on
the usual one.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

NAME = "autoresearch-node"
QUOTED = re.compile(rf"`{NAME} ([^`]*)`")
USUAL_HOME = Path("~/.autoresearch-node")
CLONE = Path(__file__).parents[2]
CONSTRAINTS = "constraints.txt"


def typed(words: str = "") -> str:
    """A command as it can be typed here: the program by its name if that is found on the PATH, else by its path.

    words: the command and what follows it; "" for the program alone.
    """
    return f"{_program()} {_for_the_home(words)}" if words else _program()


def in_hints(text: str) -> str:
    """A text for the terminal, its commands as they can be typed here."""
    return QUOTED.sub(lambda found: f"`{typed(found[1])}`", text)


def home_given() -> str | None:
    """The home that was named on the command line, as it was; None where that is the usual one, or none was named."""
    given, found = iter(sys.argv[1:]), None
    for word in given:
        if word == "--":
            break
        if word == "--home":
            found = next(given, None)
        elif word.startswith("--home="):
            found = word.removeprefix("--home=")
    return found if found and Path(found).absolute() != _usual_home() else None


def _for_the_home(words: str) -> str:
    """A command's words with the home that was named; as they are where they name one, or ask for help."""
    home = home_given()
    if home is None or words.startswith("-") or {"--home", "--help"} & set(words.split()):
        return words
    before, dashes, after = words.partition(" -- ")  # what follows is for another command
    return f"{before} --home {shlex.quote(home)}{dashes}{after}"


def _usual_home() -> Path | None:
    try:
        return USUAL_HOME.expanduser()
    except RuntimeError:  # no home folder is known for this user
        return None


def _program() -> str:
    program = started_from()
    if program is None:
        return NAME
    found = shutil.which(NAME)
    if found is not None and Path(found).resolve() == program.resolve():
        return NAME
    return shlex.quote(_shortest(program))


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
