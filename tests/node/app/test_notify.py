"""Notification of a confirmed discovery: once, in the log and by a person's own program, at no cost to the node."""

from __future__ import annotations

import ast
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.app import notify
from node.app.notify import keep_notifying
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.platform.config import ConfigError, load_config
from protocol.records import Record
from tests.node.records_for_tests import OBJECTIVE, Author, audit, checked, experiment

REPLICATORS = ("bob", "carol", "dave")
WRITE = "import os, sys; open(sys.argv[1], 'a').write(repr((sys.argv[2:], sorted(os.environ))) + chr(10))"


class Swarm:
    """A ledger, the authors whose records it holds, and what was logged."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.authors = {name: Author(name) for name in ("alice", "me", *REPLICATORS)}
        ledger.settings.author = self.authors["me"].key
        checked(self.authors["me"].write, *(self.authors[name] for name in REPLICATORS))
        for author in self.authors.values():
            for record in author.records:
                ledger.add(record, "peer")
        self.events: list[tuple[str, dict[str, Any]]] = []

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))

    def told(self, event: str) -> list[Any]:
        return [details.get("title") for name, details in self.events if name == event]

    def claim(self, title: str) -> Record:
        record = self.authors["alice"].write(experiment(title))
        self.ledger.add(record, "peer")
        return record

    def confirm(self, claim: Record, mean: float = -0.19) -> None:
        """Three reports of this effect, of which this node runs one again."""
        reports = [self.authors[name].report(claim, mean) for name in REPLICATORS]
        for record in (*reports, self.authors["me"].write(audit(reports[0]))):
            self.ledger.add(record, "peer")


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swarm]:
    monkeypatch.setattr(notify, "CHECK_SECONDS", 0.01)
    ledger = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE)
    yield Swarm(ledger)
    ledger.close()


@asynccontextmanager
async def telling(swarm: Swarm, *command: str) -> AsyncIterator[None]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_notifying, swarm.ledger, command, swarm.log)
            await trio.testing.wait_all_tasks_blocked(0.005)  # what was there is old news
            yield
            nursery.cancel_scope.cancel()


async def until(ready: Any) -> None:
    while not ready():
        await trio.sleep(0.005)


async def test_a_confirmed_discovery_is_logged_once_with_what_others_found(swarm: Swarm) -> None:
    claim = swarm.claim("Better")
    async with telling(swarm):
        swarm.confirm(claim)
        await until(lambda: swarm.events)
        erin = Author("erin")
        swarm.ledger.add(erin.report(claim), "peer")
        swarm.confirm(swarm.claim("Better still"))
        await until(lambda: len(swarm.events) > 1)
    assert swarm.told("discovery confirmed") == ["Better", "Better still"]
    details = swarm.events[0][1]
    assert details["gain"].startswith("+17.3 %")
    assert details["peers"] == 3


async def test_of_an_objective_that_measures_itself_the_program_is_told_so(swarm: Swarm, tmp_path: Path) -> None:
    swarm.ledger.settings.choose(Description(trust="self-measured"))
    file, script = tmp_path / "told", tmp_path / "tell.py"
    script.write_text(WRITE)
    async with telling(swarm, sys.executable, str(script), str(file), "{effect}"):
        swarm.confirm(swarm.claim("Better"))
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
    assert ast.literal_eval(file.read_text())[0][0].endswith("pairs), self-measured")


async def test_what_was_confirmed_before_the_start_and_what_is_refuted_is_not_logged(swarm: Swarm) -> None:
    swarm.confirm(swarm.claim("Known for long"))
    async with telling(swarm):
        swarm.confirm(swarm.claim("Worse"), mean=0.05)
        swarm.confirm(swarm.claim("New"))
        await until(lambda: swarm.events)
    assert swarm.told("discovery confirmed") == ["New"]


async def test_the_program_gets_the_words_in_its_arguments_and_little_else(
    swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    monkeypatch.setenv("DISPLAY", ":0")
    file, script = tmp_path / "told", tmp_path / "tell.py"
    script.write_text(WRITE)
    title = "--help $(touch x); `id` <b> {effect}"
    async with telling(swarm, sys.executable, str(script), str(file), "{title}", "{gain}", "-x={title}"):
        swarm.confirm(swarm.claim(title))
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
    arguments, names = ast.literal_eval(file.read_text())
    said = "--help $(touch x); `id` ‹b› {effect}"
    assert arguments[0] == f" {said}"  # it cannot pass for an option
    assert arguments[1].startswith("+17.3 % ± ")
    assert arguments[2] == f"-x={said}"
    assert "DISPLAY" in names
    assert "OPENAI_API_KEY" not in names
    assert swarm.told("notification failed") == []


async def test_a_program_that_fails_hangs_or_is_not_there_costs_a_line_in_the_log(
    swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "RUN_SECONDS", 0.3)
    child = tmp_path / "child"
    for title, command in {
        "fails": ("false",),
        "is not there": (str(tmp_path / "nothing"),),
        "hangs": ("sh", "-c", f"sleep 100 & echo $! > {child}; wait"),
    }.items():
        before = len(swarm.events)
        async with telling(swarm, *command):
            swarm.confirm(swarm.claim(title))
            await until(lambda before=before: len(swarm.events) == before + 2)
        assert [name for name, _ in swarm.events[before:]] == ["discovery confirmed", "notification failed"]
    await until(lambda: not Path(f"/proc/{child.read_text().strip()}").exists() or _is_dead(child))


def _is_dead(child: Path) -> bool:
    """Whether a process is gone but for its entry, which waits for a parent to look at it."""
    try:
        return Path(f"/proc/{child.read_text().strip()}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


async def test_a_whole_history_at_once_runs_few_programs(swarm: Swarm, tmp_path: Path) -> None:
    file, script = tmp_path / "told", tmp_path / "tell.py"
    script.write_text(WRITE)
    async with telling(swarm, sys.executable, str(script), str(file), "{title}"):
        for number in range(8):
            swarm.confirm(swarm.claim(f"Idea {number}"))
        await until(lambda: len(swarm.events) == 8 and file.exists() and len(file.read_text().splitlines()) == 3)
    assert len(file.read_text().splitlines()) == notify.MAX_TOLD_AT_ONCE


@pytest.mark.parametrize(
    "command", ['["{title}"]', '["sh", "-c", "echo {title}"]', '["bash", "-lc", "echo {effect}"]', '"notify-send"']
)
def test_strangers_words_are_never_a_program_or_a_script(tmp_path: Path, command: str) -> None:
    path = tmp_path / "swarm.toml"
    path.write_text(f"[notify]\ncommand = {command}\n")
    with pytest.raises(ConfigError, match="nor in a script after -c"):
        load_config(path, {})


def test_the_example_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "swarm.toml"
    path.write_text('[notify]\ncommand = ["notify-send", "{title}", "{effect}"]\n')
    assert load_config(path, {}).notify_command == ("notify-send", "{title}", "{effect}")
