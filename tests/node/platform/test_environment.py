"""Variables that point git at another repository are dropped before any git is run."""

from __future__ import annotations

import os

import pytest

from node.platform.environment import forget_git


def test_no_variable_of_gits_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_INDEX_FILE", "/somewhere/.git/index")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    forget_git()
    assert "GIT_INDEX_FILE" not in os.environ
    assert os.environ["GITHUB_ACTIONS"] == "true"
