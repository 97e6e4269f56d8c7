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
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

from node.platform.program import NAME, typed

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
NO_COMMAND = "the following arguments are required: COMMAND"
MOST_OWNERS = 4
WORD = re.compile(r"invalid choice: '([^']*)'|unrecognized arguments: (\S+)")


class UsageError(Exception):
    """The command cannot be carried out as given; the text says what to do."""


def console(pipe_columns: int = PIPE_COLUMNS) -> Console:
    """Standard output for tables. A pipe has no width of its own: there tables get so much."""
    from rich.console import Console

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
    """An argument parser that says which word was probably meant, and shows its help where no command is given.

    That is no success, since nothing was done: its status is 2, as that of other wrong usage.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = list(args) if args is not None else []
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if message == NO_COMMAND:
            self.print_help(sys.stderr)
            self.exit(2)
        found = WORD.search(message)
        if found:
            word = (found[1] or found[2]).partition("=")[0]
            if found[1] is not None:
                message = f"there is no {word!r}"
            message += f"; {self._meant(word, is_option=word.startswith('-'))}"
        super().error(message)

    def _meant(self, word: str, is_option: bool) -> str:
        """What to type instead of a word that is not known."""
        asked = self._asked() if is_option else self
        close = difflib.get_close_matches(word, list(asked._words(is_option)), 1)
        owners = [one.prog.removeprefix(NAME).strip() for one in self._below() if word in one._words(is_option)]
        if close and not (is_option and owners):
            return f"did you mean {close[0]!r}?"
        if is_option and owners:
            more = " and others" if len(owners) > MOST_OWNERS else ""
            return f"it is an option of {', '.join(f'`{name}`' for name in owners[:MOST_OWNERS])}{more}"
        return f"`{typed(f'{asked.prog.removeprefix(NAME)} --help'.strip())}` lists what there is"

    def _asked(self) -> CommandParser:
        """The parser of the command that was given."""
        parser = self
        for word in self._given:
            parser = parser._commands().get(word, parser)
        return parser

    def _commands(self) -> dict[str, CommandParser]:
        """The parsers of the commands below this one."""
        tables = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        return {name: below for table in tables for name, below in table.items() if isinstance(below, CommandParser)}

    def _below(self) -> Iterator[CommandParser]:
        """Those of all commands that can be given, however deep."""
        commands = self._commands()
        if not commands:
            yield self
        for parser in commands.values():
            yield from parser._below()

    def _words(self, options: bool) -> Iterator[str]:
        """The options of this command, or what may be given in their place: names of commands, or other choices."""
        for action in self._actions:
            if options:
                yield from action.option_strings
            elif action.choices is not None:
                yield from map(str, action.choices)


def agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there to answer
        print()
        return False
