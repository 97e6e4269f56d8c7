"""Consent: nobody is found by strangers who has not said so, and a person is asked once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from node.app.consent import is_public
from node.platform.config import load_config
from node.platform.home import Home

OBJECTIVE = b"o" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Have a person at the terminal who gives these answers; the questions that were put."""
    asked: list[str] = []
    left = list(answers)

    def answer(question: str) -> str:
        asked.append(question)
        return left.pop(0)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    return asked


@pytest.mark.parametrize(("answers", "public"), [(["y"], True), ([""], False), (["what?", "YES"], True)])
def test_a_person_is_asked_once_and_no_is_the_default(
    home: Home, monkeypatch: pytest.MonkeyPatch, answers: list[str], public: bool
) -> None:
    asked = on_a_terminal(monkeypatch, *answers)
    config = load_config(None, {"home": str(home.root)})
    assert is_public(config, home, OBJECTIVE) is public
    assert is_public(config, home, OBJECTIVE) is public
    assert len(asked) == len(answers)


def test_without_a_terminal_nobody_is_asked_and_a_later_start_on_one_asks(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(None, {"home": str(home.root)})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert is_public(config, home, OBJECTIVE) is False
    assert home.public_answer() is None
    on_a_terminal(monkeypatch, "y")
    assert is_public(config, home, OBJECTIVE) is True


def test_the_settings_file_decides_without_a_question(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch)
    settings = home.root / "swarm.toml"
    settings.write_text("[network]\npublic = true\n")
    assert is_public(load_config(settings, {"home": str(home.root)}), home, OBJECTIVE) is True
    assert asked == []


def test_a_private_swarm_is_never_public(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch)
    home.keep_public_answer(True)
    home.keep_swarm_key(OBJECTIVE, b"k" * 32)
    assert is_public(load_config(None, {"home": str(home.root)}), home, OBJECTIVE) is False
    assert asked == []
