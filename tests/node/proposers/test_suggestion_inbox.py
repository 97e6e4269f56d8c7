"""A person's idea on its way from the command line into the node's feed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from node.cli.main import main
from node.execution.parsing.parser import SourceParser
from node.ledger.store import Ledger
from node.platform.home import Home
from node.proposers.suggestion_inbox import MAX_WAITING, take_up
from protocol.identity import Identity
from protocol.records import Effect, Hypothesis, Record
from tests.node.records_for_tests import OBJECTIVE, experiment

BASELINE = "import random\n\nLR = 1\nDEPTH = 2\nrandom.seed(3)\n\n\ndef rate():\n    return 1\n"
BEST = BASELINE.replace("LR = 1", "LR = 2")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that has improved its source once."""
    home = Home(tmp_path / "home")
    home.make()
    identity = Identity.from_seed(os.urandom(32))
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    (home.root / "identity.key").write_text(identity.seed.hex())
    ledger.set_meta("objective", OBJECTIVE)
    ledger.set_meta("author", identity.author)
    known = [ledger.put_blob(text.encode()) for text in (BASELINE, BEST)]
    ledger.set_meta("baseline", known[0])
    ledger.append_own(identity, experiment("Faster", known[0], known[1], effect=Effect(-0.1, 0.01, 2)), 0)
    ledger.close()
    return home


def suggest(home: Home, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["suggest", *arguments, "--home", str(home.root)])
    assert not ended.value.code


def refused(home: Home, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["suggest", *arguments, "--home", str(home.root)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def taken(home: Home, events: list[str] | None = None) -> list[Record]:
    """What a node that starts in this home makes of what waits there."""
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    logged = events if events is not None else []
    made = trio.run(
        take_up, home.suggestions, ledger, home.identity(), 0, SourceParser(), lambda event, **_: logged.append(event)
    )
    ledger.close()
    return made


def edited(tmp_path: Path, text: str) -> str:
    path = tmp_path / "edited.py"
    path.write_text(text)
    return str(path)


def test_an_idea_in_words_becomes_a_record_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    suggest(home, "  Try a cosine\n schedule ")
    assert "when it next starts" in capsys.readouterr().out
    (record,) = taken(home)
    assert record.body == Hypothesis("Try a cosine schedule", "suggestion", "", None, None)
    assert taken(home) == []


def test_a_long_idea_keeps_its_words_as_the_reason(home: Home) -> None:
    suggest(home, "word " * 90)
    (record,) = taken(home)
    assert isinstance(record.body, Hypothesis)
    assert len(record.body.title) <= 120
    assert record.body.title.endswith("…")
    assert record.body.reason == ("word " * 90).strip()


@pytest.mark.parametrize(("copied", "base"), [(BASELINE, 0), (BEST, 1)])
def test_an_edit_is_based_on_the_best_it_was_copied_from(home: Home, tmp_path: Path, copied: str, base: int) -> None:
    suggest(home, "Deeper", "--edit", edited(tmp_path, copied.replace("DEPTH = 2", "DEPTH = 3")))
    (record,) = taken(home)
    assert isinstance(record.body, Hypothesis)
    ledger = Ledger.read(home.ledger)
    assert record.body.edit is not None
    assert ledger.get_blob(record.body.edit) == copied.replace("DEPTH = 2", "DEPTH = 3").encode()
    assert record.body.base is not None
    assert ledger.get_blob(record.body.base) == (BASELINE, BEST)[base].encode()
    ledger.close()


def test_a_node_killed_after_writing_the_record_does_not_write_it_again(home: Home) -> None:
    suggest(home, "Try a cosine")
    (waiting,) = home.suggestions.glob("*.json")
    content = waiting.read_bytes()
    assert len(taken(home)) == 1
    waiting.write_bytes(content)
    assert taken(home) == []
    assert not list(home.suggestions.glob("*.json"))


def test_a_suggestion_for_another_objective_waits(home: Home) -> None:
    suggest(home, "Try a cosine")
    (waiting,) = home.suggestions.glob("*.json")
    waiting.write_text(json.dumps({**json.loads(waiting.read_text()), "objective": "00" * 32}))
    assert taken(home) == []
    assert waiting.exists()


NO_EDIT = '{"text": "x", "edit": 3, "base": null, "objective": "%s"}'


@pytest.mark.parametrize("content", ["", "[]", "{", '{"text": 3}', "[" * 100_000, NO_EDIT])
def test_a_file_that_is_no_suggestion_is_set_aside(home: Home, content: str) -> None:
    home.suggestions.mkdir()
    (home.suggestions / "1.json").write_text(content.replace("%s", "00" * 32))
    events: list[str] = []
    assert taken(home, events) == []
    assert events == ["suggestion refused"]
    assert (home.suggestions / "1.refused").exists()


def test_what_cannot_be_taken_is_refused_at_once(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "say in a sentence" in refused(home, capsys, " \n ")
    assert "600 characters, 500 are allowed" in refused(home, capsys, "x" * 600)
    assert "does not parse" in refused(home, capsys, "x", "--edit", edited(tmp_path, "def ("))
    assert "apart from comments" in refused(home, capsys, "x", "--edit", edited(tmp_path, BEST + "# hello\n"))
    assert "nothing but chance" in refused(home, capsys, "x", "--edit", edited(tmp_path, BEST.replace("(3)", "(4)")))
    assert "No such file" in refused(home, capsys, "x", "--edit", str(tmp_path / "absent.py"))
    assert "256 KiB" in refused(home, capsys, "x", "--edit", edited(tmp_path, "#" * (300 << 10)))
    (tmp_path / "edited.py").write_bytes(b"\xff")
    assert "not UTF-8" in refused(home, capsys, "x", "--edit", str(tmp_path / "edited.py"))


def test_no_more_wait_than_a_person_can_mean(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.suggestions.mkdir()
    for number in range(MAX_WAITING):
        (home.suggestions / f"{number}.json").touch()
    assert "wait already" in refused(home, capsys, "one more")


def test_suggesting_needs_a_home_that_has_joined_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "autoresearch-node join" in refused(Home(tmp_path / "nowhere"), capsys, "x")
