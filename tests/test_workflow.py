"""The workflow file runs what must hold on both kinds of machine, with others' actions pinned and few rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    workflow: dict[str, Any] = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    found: dict[str, Any] = workflow["jobs"]
    return found


def test_tests_and_images_are_made_on_x86_64_and_on_arm64(jobs: dict[str, Any]) -> None:
    for name in ("test", "image"):
        assert jobs[name]["strategy"]["matrix"]["machine"] == ["ubuntu-24.04", "ubuntu-24.04-arm"]
    commands = [step.get("run", "") for step in jobs["test"]["steps"]]
    assert commands[-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").exists()


def test_actions_of_others_are_pinned_by_the_hash_of_a_commit(jobs: dict[str, Any]) -> None:
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each) for each in used)


def test_only_the_job_that_publishes_may_write(jobs: dict[str, Any]) -> None:
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert "refs/tags/v" in jobs["publish"]["if"]
