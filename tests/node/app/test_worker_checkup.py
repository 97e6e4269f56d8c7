"""The check-up of workers elsewhere: the command is tried, and what it came to is said with what to do."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from node.app.worker_checkup import worker_findings
from node.execution.remote.command_trial import try_command
from node.platform.config import Config, load_config


def with_workers(tmp_path: Path, *command: str) -> Config:
    (tmp_path / "swarm.toml").write_text(f"[workers]\ncommand = {json.dumps(command)}\n")
    return load_config(tmp_path / "swarm.toml", {"home": str(tmp_path / "home")})


@pytest.mark.sandbox
def test_the_command_that_starts_workers_is_tried(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "worker", "--cache", str(tmp_path / "cache")]
    (finding,) = worker_findings(with_workers(tmp_path, *command))
    assert finding.ok == "ok"
    assert "cores" in finding.found
    assert "sandbox" in finding.found


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/no/such/srun"], "`/no/such/srun` cannot be started: No such file or directory"),
        (["sh", "-c", "echo srun: no such partition >&2; exit 3"], "`sh` ended with status 3: srun: no such partition"),
        (["sh", "-c", "yes Welcome"], "it prints something else than frames: 'Welcome Welcome"),
        (["true"], "it ended without a word, and printed nothing on standard error"),
    ],
)
def test_a_command_that_starts_no_worker_is_reported_with_what_it_said(
    tmp_path: Path, command: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.execution.remote.worker_link.CLOSE_SECONDS", 0.2)
    monkeypatch.setattr("node.execution.remote.worker_link.TERMINATE_SECONDS", 0.2)
    (finding,) = worker_findings(with_workers(tmp_path, *command))
    assert finding.ok == "missing"
    assert finding.found.startswith(told)
    assert "correct [workers] command in swarm.toml" in finding.remedy


def test_a_command_that_waits_in_a_queue_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.execution.remote.command_trial.try_command", partial(try_command, seconds=1.0))
    monkeypatch.setattr("node.execution.remote.worker_link.CLOSE_SECONDS", 0.2)
    command = "echo srun: job 4 queued and waiting for resources >&2; sleep 60"
    (finding,) = worker_findings(with_workers(tmp_path, "sh", "-c", command))
    assert finding.ok == "warn"
    assert "may hold it in its queue: srun: job 4 queued and waiting for resources" in finding.found


def test_without_workers_elsewhere_nothing_is_tried(tmp_path: Path) -> None:
    assert worker_findings(load_config(None, {"home": str(tmp_path)})) == []
