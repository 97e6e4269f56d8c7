"""Runs by workers elsewhere end as they would here, whatever happens to a worker; and no command can harm the node.

Workers are real processes behind real commands, with the sandbox and tinylm at a few steps; those that misbehave are
`fake_worker`, which speaks the real protocol.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from node.execution.remote import remote_runs, worker_link
from node.execution.remote.remote_runs import RemoteRuns, WorkersLostError, command_environment
from node.execution.remote.worker_link import Command
from node.execution.run_progress import EndRun, Progress, RunProgress
from node.execution.runs import runner_for
from node.execution.sandbox.layers import Layers, probe
from node.ledger.outcome import Outcome
from node.objective.schema import Objective, ObjectiveError
from tests.node.execution.command.folders import command_objective
from tests.node.execution.kept_servers import workers_left
from tests.node.execution.small_objective import small_in_files, small_objective
from tests.node.objective.test_scales import load as load_for_a_gpu
from tests.node.objective.test_scales import scaled

PROGRAM = [sys.executable, "-m", "node", "worker"]
FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]
PATIENCE = 120.0


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    return small_objective(tmp_path_factory.mktemp("tinylm"), whole_judge=False, wall_seconds=120, memory_mb=1200)


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory, layers: Layers) -> Objective:
    """Its text is in files of data."""
    return small_in_files(tmp_path_factory.mktemp("in files"), layers)


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_runs, "BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(worker_link, "CLOSE_SECONDS", 3.0)
    monkeypatch.setattr(worker_link, "TERMINATE_SECONDS", 0.5)


@dataclass
class Events:
    """What was logged."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, **details: Any) -> None:
        self.seen.append((event, details))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [details for event, details in self.seen if event == name]

    async def wait_for(self, name: str) -> dict[str, Any]:
        with trio.fail_after(PATIENCE):
            while not self.of(name):
                await trio.sleep(0.02)
        return self.of(name)[0]


@dataclass
class Share:
    """How far a run is."""

    latest: float = 0.0

    def __call__(self, progress: Progress) -> None:
        self.latest = progress.share

    async def wait_for(self, share: float) -> None:
        with trio.fail_after(PATIENCE):
            while self.latest < share:
                await trio.sleep(0.01)


@asynccontextmanager
async def workers(objective: Objective, words: list[str], count: int = 1) -> AsyncIterator[tuple[RemoteRuns, Events]]:
    """Runs by workers behind a command; afterwards nothing of them may be left."""
    events = Events()
    before = set(workers_left())
    command = Command(words, command_environment(["PYTHONPATH"]))
    async with RemoteRuns(objective, command, count, events) as runs:
        yield runs, events
    with trio.fail_after(20):
        while set(workers_left()) - before:
            await trio.sleep(0.1)


def worker_pids(cache: Path) -> list[int]:
    found = []
    for pid in workers_left():
        try:
            if str(cache) in (words := psutil.Process(pid).cmdline()) and "worker" in words:
                found.append(pid)
        except psutil.Error:
            continue
    return found


def unread(progress: Progress) -> None:
    """Progress that no test reads."""


async def made_here(objective: Objective, layers: Layers, folder: Path, seed: int) -> Outcome:
    async with runner_for(objective, layers, folder, lambda *_, **__: None) as runner:
        return await runner.run(objective.source, seed, unread)


# ---- what comes of a run ---------------------------------------------------------------------------------------------


async def test_a_run_elsewhere_ends_in_the_same_digits_as_here(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    here = await made_here(objective, layers, tmp_path / "weights", seed=5)
    cache = tmp_path / "cache"
    async with workers(objective, [*PROGRAM, "--cache", str(cache)]) as (runs, events):
        share = Share()
        there = await runs.run(objective.source, 5, share)
        parent, child = await runs.run_pair(objective.source, f"{objective.source}\n# more", 6, unread, unread)
        holdout = await runs.examine(objective.source, 5, "holdout")
        failed = await runs.run("raise ValueError('as it should')", 5, unread)
        unknown = await runs.examine(objective.source, 99, "holdout")
        assert runs.can_alternate()
    assert (there.value, there.checkpoints, there.metrics) == (here.value, here.checkpoints, here.metrics)
    assert (there.tokens, there.tier, share.latest) == (here.tokens, here.tier, 1.0)
    assert holdout.value is not None
    assert parent.value is not None
    assert child.value is not None
    assert "as it should" in failed.log_tail
    assert unknown.failure is not None
    assert "no weights of this run are kept" in unknown.log_tail
    assert events.of("files sent")[0]["files"] > 0
    assert runs.timing.runs >= 4

    async with workers(objective, [*PROGRAM, "--cache", str(cache)]) as (runs, events):
        again = await runs.examine(objective.source, 5, "holdout")  # of a run that a worker before it made
    assert again.value == holdout.value
    assert not events.of("files sent")  # they travel once


@pytest.mark.long
async def test_data_travel_too_and_only_to_a_cache_that_lacks_them(
    in_files: Objective, layers: Layers, tmp_path: Path
) -> None:
    here = await made_here(in_files, layers, tmp_path / "weights", seed=5)
    words = [*PROGRAM, "--cache", str(tmp_path / "cache")]
    async with workers(in_files, words) as (runs, events):
        there = await runs.run(in_files.source, 5, unread)
    assert (there.value, there.checkpoints) == (here.value, here.checkpoints)
    size = sum(map(len, in_files.files.values())) + sum(data.entry.size for data in in_files.data)
    (sent,) = events.of("files sent")
    assert sent["megabytes"] == pytest.approx(size / 1e6, abs=0.05)
    (tmp_path / "cache" / "content" / in_files.data[0].entry.sha256.hex()).unlink()
    async with workers(in_files, words) as (runs, events):
        await events.wait_for("worker ready")
    assert [each["files"] for each in events.of("files sent")] == [1]


async def test_a_command_is_run_elsewhere_as_here(layers: Layers, tmp_path: Path) -> None:
    bench = {"bench.sh": "echo METRIC score=$(wc -c < source.txt); echo METRIC other=3"}
    objective = command_objective(tmp_path / "folder", bench, command='run = "bash bench.sh"\nvalues = "lines"')
    async with workers(objective, [*PROGRAM, "--cache", str(tmp_path / "cache")]) as (runs, _):
        outcome = await runs.run("twelve bytes", 5, unread)
    assert (outcome.value, outcome.metrics, outcome.failure) == (12.0, {"other": 3.0}, None)


def test_an_objective_that_needs_its_own_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    rest = '[environment]\npaths = [".venv"]\nprepare = "make"'
    objective = command_objective(tmp_path / "folder", {"bench.sh": "true"}, rest=rest)
    with pytest.raises(ObjectiveError, match=r"needs .venv in its own folder, which workers elsewhere do not have"):
        RemoteRuns(objective, Command(["srun"], {}), 1, Events())


async def test_a_login_that_greets_does_no_harm(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    line = " ".join(["echo Welcome to the cluster;", "exec", *PROGRAM, "--cache", str(tmp_path)])
    async with workers(objective, ["sh", "-c", line]) as (runs, _):
        with trio.fail_after(PATIENCE):
            place = await runs.place()
    assert place.platform.startswith("torch ")
    assert place.hardware.cores >= 1


# ---- workers that end ------------------------------------------------------------------------------------------------


async def end_during_a_run(objective: Objective, cache: Path, how: signal.Signals) -> tuple[Outcome, Events]:
    """The outcome of a run during which the first worker got a signal."""
    outcome: list[Outcome] = []
    async with workers(objective, [*PROGRAM, "--cache", str(cache)]) as (runs, events):
        share = Share()

        async def run() -> None:
            outcome.append(await runs.run(objective.source, 5, share))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await share.wait_for(0.1)
            (worker,) = worker_pids(cache)
            os.kill(worker, how)
    return outcome[0], events


@pytest.mark.long
@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)], ids=lambda how: how.name
)
async def test_a_worker_that_is_killed_during_a_run_costs_nothing_but_time(
    objective: Objective, layers: Layers, tmp_path: Path, how: signal.Signals
) -> None:
    here = await made_here(objective, layers, tmp_path / "weights", seed=5)
    outcome, events = await end_during_a_run(objective, tmp_path / "cache", how)
    assert (outcome.value, outcome.failure) == (here.value, None)
    assert [lost["tries"] for lost in events.of("run lost")] == [1]
    assert len(events.of("worker ready")) == 2


@pytest.mark.long
async def test_a_worker_that_hangs_is_ended_and_its_run_made_again(
    objective: Objective, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "HUNG_SECONDS", 12.0)
    monkeypatch.setattr(worker_link, "TERMINATE_SECONDS", 0.5)
    outcome, events = await end_during_a_run(objective, tmp_path, signal.SIGSTOP)
    assert outcome.value is not None
    assert "no word of it for 12 s" in events.of("run lost")[0]["why"]


@pytest.mark.long
async def test_a_worker_that_only_says_that_it_is_there_is_ended(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(worker_link, "STUCK_SECONDS", 2.0)
    monkeypatch.setattr(worker_link, "STUCK_RUNS", 0)
    async with workers(objective, [*FAKE, "stalls"]) as (runs, events):
        with trio.fail_after(PATIENCE), pytest.raises(WorkersLostError):
            await runs.run("source", 5, unread)
    assert events.of("run lost")[0]["why"] == "it has been running for 2 s, and comes to no end"


async def test_a_run_over_which_every_worker_ends_is_left_with_what_to_do(objective: Objective) -> None:
    async with workers(objective, [*FAKE, "dies"], count=2) as (runs, events):
        with trio.fail_after(PATIENCE), pytest.raises(WorkersLostError, match=r"3 workers ended over one run .*enough"):
            await runs.run("source", 5, unread)
    assert [lost["tries"] for lost in events.of("run lost")] == [1, 2, 3]


@pytest.mark.long
async def test_cancelling_a_run_ends_it_and_the_worker_makes_the_next(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with workers(objective, [*PROGRAM, "--cache", str(tmp_path)]) as (runs, events):
        share = Share()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runs.run, objective.source, 5, share)
            await share.wait_for(0.1)
            nursery.cancel_scope.cancel()
        outcome = await runs.run(objective.source, 6, unread)
    assert outcome.value is not None
    assert len(events.of("worker ready")) == 1


@pytest.mark.long
async def test_a_run_that_is_ended_early_is_an_outcome_and_the_worker_makes_the_next(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    under_way = RunProgress(b"")

    def end_it(progress: Progress) -> None:
        under_way.note(progress)
        if progress.phase == "train" and progress.share >= 0.5:
            raise EndRun(progress.share)

    async with workers(objective, [*PROGRAM, "--cache", str(tmp_path)]) as (runs, events):
        ended = await runs.run(objective.source, 5, end_it)
        whole = RunProgress(b"")
        outcome = await runs.run(objective.source, 5, whole.note)
    assert ended.ended_at is not None
    assert (ended.value, ended.failure) == (None, None)
    assert 0 < ended.cpu_seconds < outcome.cpu_seconds
    assert outcome.value is not None
    assert len(events.of("worker ready")) == 1
    # What a worker tells of a curve is the same every time, whatever it leaves out of what is said too often.
    curves = [[(point.share, point.loss) for point in one.curve] for one in (under_way, whole)]
    assert len(curves[0]) > 8
    assert curves[0][:-1] == curves[1][: len(curves[0]) - 1]


@pytest.mark.long
async def test_a_pause_freezes_the_run_and_begins_no_other(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with workers(objective, [*PROGRAM, "--cache", str(tmp_path)]) as (runs, _):
        share = Share()
        outcomes: list[Outcome] = []

        async def run() -> None:
            outcomes.append(await runs.run(objective.source, 5, share))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await share.wait_for(0.1)
            runs.pause_gate.pause()
            await trio.sleep(1.0)
            stood_at = share.latest
            await trio.sleep(2.0)
            assert share.latest == stood_at < 1.0
            assert not outcomes
            runs.pause_gate.resume()
        assert outcomes[0].value is not None


# ---- commands that start no worker of this node ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("ends", "no such partition: gpu"),
        ("prints", "prints something else than frames: 'Usage: something else"),
        ("garbage", "what it says is not understood: not valid msgpack"),
        ("oversized", "what it says is not understood: a frame of 1073741824 bytes"),
    ],
)
async def test_a_command_that_is_no_worker_is_told_of_and_tried_again(
    objective: Objective, behaviour: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "CLOSE_SECONDS", 0.3)
    async with workers(objective, [*FAKE, behaviour]) as (runs, events):
        lost = await events.wait_for("worker lost")
        assert told in lost["why"]
        assert runs.workers()[0]["state"] in ("lost", "waiting", "starting")
        with trio.fail_after(PATIENCE):
            while len(events.of("worker lost")) < 2:
                await trio.sleep(0.05)


async def test_a_command_that_is_not_there_is_told_of(objective: Objective) -> None:
    async with workers(objective, ["/no/such/srun"]) as (_, events):
        lost = await events.wait_for("worker lost")
    assert lost["why"] == "`/no/such/srun` cannot be started (No such file or directory): correct [workers] command"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("other version", "install the same version of autoresearch-node there (it has 0.0.9)"),
        (
            "other platform",
            "fake-other-platform has the platform torch 1.0 x86_64, and the first worker had torch 2.13",
        ),
    ],
)
async def test_a_worker_that_is_not_like_the_others_is_refused(objective: Objective, behaviour: str, told: str) -> None:
    script = f'if [ "$0" = 0 ]; then exec {" ".join(FAKE)} good; else sleep 1; exec {" ".join(FAKE)} "{behaviour}"; fi'
    async with workers(objective, ["sh", "-c", script, "{number}"], count=2) as (runs, events):
        refused = await events.wait_for("worker refused")
        assert told in refused["why"]
        assert refused["worker"] == 1
        assert (await runs.run("source", 5, unread)).value == 1.5
        assert [worker["state"] for worker in runs.workers()] == ["idle", "refused"]
        assert runs.in_words() in ("1 idle, 1 refused", "1 refused, 1 idle")


async def test_an_outcome_that_the_metric_cannot_have_is_no_outcome(objective: Objective) -> None:
    async with workers(objective, [*FAKE, "impossible"]) as (runs, events):
        with trio.fail_after(PATIENCE), pytest.raises(WorkersLostError):
            await runs.run("source", 5, unread)
    assert "an outcome whose value the objective's metric cannot have" in events.of("run lost")[0]["why"]


async def test_a_worker_that_has_too_little_for_the_objective_says_so(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with workers(objective, [*PROGRAM, "--cache", str(tmp_path), "--config", str(little(tmp_path))]) as (
        _,
        events,
    ):
        refused = await events.wait_for("worker refused")
    assert "budget.memory_mb in objective.toml is 1200, the most here is 100" in refused["why"]


async def test_a_worker_without_a_gpu_tells_how_the_objective_runs_without_one(tmp_path: Path) -> None:
    for_gpus, settings = load_for_a_gpu(scaled(tmp_path)), tmp_path / "no-gpu.toml"
    settings.write_text("[research]\ngpu = false\n")
    command = [*PROGRAM, "--cache", str(tmp_path / "cache"), "--config", str(settings)]
    async with workers(for_gpus, command) as (_, events):
        refused = await events.wait_for("worker refused")
    assert "set gpu = false below [research] in the node's swarm.toml" in refused["why"]


def little(folder: Path) -> Path:
    path = folder / "swarm.toml"
    path.write_text("[limits]\nobjective_memory_mb = 100\n")
    return path


# ---- what a command gets ---------------------------------------------------------------------------------------------


def test_a_command_gets_what_it_needs_to_reach_elsewhere_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "HOME": "/home/me", "PATH": "/bin", "SSH_AUTH_SOCK": "/tmp/agent", "SLURM_CONF": "/etc/slurm.conf",
        "KUBECONFIG": "/k", "LC_ALL": "C", "OPENAI_API_KEY": "secret", "AWS_PROFILE": "site", "PYTHONPATH": "/x",
    }  # fmt: skip
    for name in set(os.environ) - given.keys():
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert command_environment(["AWS_PROFILE"]).keys() == given.keys() - {"OPENAI_API_KEY", "PYTHONPATH"}


async def test_standard_error_is_logged_up_to_a_limit(objective: Objective) -> None:
    script = "for i in $(seq 1000); do echo line $i >&2; done; sleep 60"
    async with workers(objective, ["sh", "-c", script]) as (_, events):
        await events.wait_for("worker says")
        await trio.sleep(0.5)
    said = [details["why"] for details in events.of("worker says")]
    assert said[0] == "line 1"
    assert (len(said), said[-1]) == (21, "more lines, which are left out for a minute")
