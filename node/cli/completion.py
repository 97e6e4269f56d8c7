"""The command `completion`: a script with which a shell completes this program's commands and options at TAB.

The script is made once by shtab from the parser itself, so that no Python starts at a TAB, and is a person's to put
where the shell looks for it. It does not complete ids: they change while a node runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("DIR", "FOLDER")  # how a folder is called in the help


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell. parser: of the whole program, with a help text for every command that is to be shown."""
    import shtab

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.DIRECTORY if action.metavar in FOLDERS else shtab.FILE  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    return text


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _actions(below)
