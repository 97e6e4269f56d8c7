"""Every command's help page teaches by example, and every example is one that the command line understands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from node.cli.examples import EXAMPLES, HEADINGS
from node.cli.main import _parser


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, sub in action.choices.items():
                yield f"{name} {word}".strip(), sub
                yield from commands(sub, f"{name} {word}".strip())


COMMANDS = dict(commands(_parser()))


def lines() -> Iterator[tuple[str, str]]:
    """Every example with the command whose page it is on, without the remark beside it or what comes after a pipe."""
    for command, text in EXAMPLES.items():
        for line in text.strip().splitlines():
            yield command, line.strip().split("  ")[0].split(" | ")[0].split(" > ")[0].strip()


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_help_page_has_an_example(command: str) -> None:
    page = COMMANDS[command].format_help()
    assert "examples:" in page
    assert f"  autoresearch-node {command}" in page


def test_the_overview_lists_every_command_once_under_a_heading() -> None:
    listed = [name for names in HEADINGS.values() for name in names]
    assert sorted(listed) == sorted(name for name in COMMANDS if " " not in name)
    overview = _parser().format_help()
    for name in listed:
        assert f"\n  {name} " in overview


def test_no_example_is_of_a_command_that_is_gone() -> None:
    assert set(EXAMPLES) <= set(COMMANDS)


@pytest.mark.parametrize(("command", "line"), list(lines()))
def test_every_example_is_understood(command: str, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "autoresearch-node"
    assert " ".join(words).startswith(command)
    given = words[: words.index("--")] if "--" in words else words
    _parser().parse_args(given)
