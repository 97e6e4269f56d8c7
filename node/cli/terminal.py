"""What a person types and what is printed for it, on any terminal: misspelt words, and output that is no UTF-8, full or
closed."""

from __future__ import annotations

import argparse
import codecs
import difflib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console, RenderableType

SPELLED = "autoresearch-node.spelled"
SPELLINGS = {
    "±": "+/-",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "µ": "u",
    "μ": "u",
    "×": "x",
    "·": "-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "‹": "<",
    "›": ">",
    "“": '"',
    "”": '"',
    "’": "'",
    "²": "^2",
    "³": "^3",
}
BOX_DRAWING, BLOCKS = range(0x2500, 0x2580), range(0x2580, 0x25A0)
PIPE_COLUMNS = 140
WORD = re.compile(r"invalid choice: '([^']*)'|unrecognized arguments: (\S+)")


def console(pipe_columns: int = PIPE_COLUMNS) -> Console:
    """Standard output for tables. A pipe has no width of its own: there tables get so much."""
    return Console(width=None if sys.stdout.isatty() else pipe_columns)


def print_value(
    options: argparse.Namespace, value: Any, table: Callable[[], RenderableType], pipe_columns: int = PIPE_COLUMNS
) -> None:
    """Print what a reading command found: as JSON where --json was given, else as a table."""
    if options.json:
        print(json.dumps(value, indent=2, sort_keys=True))
    else:
        console(pipe_columns).print(table())


def show_all_characters() -> None:
    """Let standard output and error spell what their encoding lacks: "+/-" for "±" where it is ASCII."""
    _open_what_is_closed()
    codecs.register_error(SPELLED, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)


def _open_what_is_closed() -> None:
    """Let descriptors 0, 1 and 2 lead nowhere where a shell has closed them: the next file opened would get the number,
    and what any program prints would be written into it."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_spelling, error.object[error.start : error.end])), error.end


def _spelling(character: str) -> str:
    if ord(character) in BOX_DRAWING:
        return "|" if character in "│┃║" else "-"
    return SPELLINGS.get(character) or ("#" if ord(character) in BLOCKS else "?")


def where_it_failed(error: OSError) -> str:
    """The file that an error is about, or standard output where that cannot be written; "" where nobody knows."""
    if error.filename is not None:
        return f"{error.filename}: "
    try:
        os.write(1, b"\n")
    except OSError:
        write_no_more()
        return "standard output: "
    return ""


@contextmanager
def written_out() -> Iterator[None]:
    """Have all that is printed in the block written by its end, however a command ends it.

    At the very end Python would write it, too late to say what is wrong, or for an exit status that tells it.
    """
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def write_no_more() -> None:
    """Let what is left in standard output's buffer lead nowhere: Python would complain of it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that says which word was probably meant."""

    def error(self, message: str) -> NoReturn:
        found = WORD.search(message)
        if found:
            word = (found[1] or found[2]).partition("=")[0]
            known = list(self._words(options=word.startswith("-")))
            close = difflib.get_close_matches(word, known, 1)
            if found[1] is not None:
                message = f"there is no {word!r}"
            asked = f"`{self.prog} --help` lists what there is"
            message += f"; did you mean {close[0]!r}?" if close else f"; {asked}"
        super().error(message)

    def _words(self, options: bool) -> Iterator[str]:
        """The options, of this command and of those below it, or the names of the commands below it."""
        for action in self._actions:
            if options:
                yield from action.option_strings
            if isinstance(action.choices, dict):
                if not options:
                    yield from action.choices
                for below in action.choices.values():
                    if options and isinstance(below, CommandParser):
                        yield from below._words(options)
            elif not options and action.choices is not None:
                yield from map(str, action.choices)


def agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there to answer
        print()
        return False
