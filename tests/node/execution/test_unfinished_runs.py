"""A run of a model that is interrupted goes on: stopped, paused for long, killed, alone or in a pair.

Budgets in tokens repeat to the last bit, so a run that went on must have the value of one that did not stop.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from node.execution import long_pauses, snapshots
from node.execution.run_progress import EndRun, Progress
from node.execution.runner import UNFINISHED, Runner
from node.execution.sandbox.layers import Layers, probe
from node.execution.snapshots import (
    NOTE,
    NOTHING,
    SNAPSHOTS,
    WEIGHTS,
    Snapshot,
    UnfinishedRun,
    UnfinishedRuns,
    half_bytes,
)
from node.ledger.files import DISK_RESERVE
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from node.objective.schema import Objective
from tests.node.execution.drawn_objective import TEMPLATE

SEED = 12


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    """The template with 40 steps a run, and checkpoints before and after the middle of them."""
    folder = tmp_path_factory.mktemp("objective")
    shutil.copytree(TEMPLATE, folder / "objective", ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "objective" / "objective.toml"
    text = settings.read_text().replace("tokens = 131072", "tokens = 20480").replace("[20, 50, 100]", "[10, 25, 38]")
    settings.write_text(text.replace("wall_seconds = 120", "wall_seconds = 900"))
    return load_objective(folder / "objective", folder / "data")


@pytest.fixture
def resumable(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(snapshots, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "MOST_SHARE", 1.0)
    text = objective.source.replace(
        "    for inputs, targets in task.batches",
        "    task.resumable(model=model, optimizer=optimizer)\n    for inputs, targets in task.batches",
    )
    assert text != objective.source
    # Else forty steps are over in the time between two looks at them, on a machine that has nothing else to do.
    slower = text.replace(
        "        loss.backward()\n", "        loss.backward()\n        __import__('time').sleep(0.05)\n"
    )
    assert slower != text
    return slower


@pytest.fixture(scope="module")
def whole(objective: Objective, layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run without an interruption."""

    async def run() -> Outcome:
        async with Runner(objective, layers, tmp_path_factory.mktemp("whole"), ignore) as runner:
            return await runner.run(objective.source, SEED, ignore)

    outcome = trio.run(run)
    assert outcome.failure is None, outcome.log_tail
    assert len(outcome.checkpoints) == 3
    return outcome


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


@dataclass
class Usage:
    """Of a disk."""

    free: int


class Events:
    """Notes what is logged."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, event: str, *, level: str = "info", **details: Any) -> None:
        self.names.append(event)


def notes(weights: Path) -> list[Path]:
    return sorted((weights / UNFINISHED).glob(f"*/{NOTE}"))


async def interrupted(runner: Runner, source: str, weights: Path, share: float = 0.4) -> None:
    """Begin a run, and end it as Ctrl-C does once there is a snapshot of at least this share of it."""
    with trio.CancelScope() as stop:

        def stop_in_the_middle(progress: Progress) -> None:
            if progress.share >= share and notes(weights):
                stop.cancel()

        await runner.run(source, SEED, stop_in_the_middle)
    assert stop.cancelled_caught


@pytest.mark.long
async def test_of_a_run_that_is_ended_early_nothing_is_left_to_go_on_from(
    objective: Objective, layers: Layers, resumable: str, tmp_path: Path
) -> None:
    def end_it(progress: Progress) -> None:
        if progress.share >= 0.4 and notes(tmp_path):
            raise EndRun(progress.share)

    async with Runner(objective, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(resumable, SEED, end_it)
    assert outcome.ended_at is not None
    assert (outcome.value, outcome.failure) == (None, None)
    assert outcome.cpu_seconds > 0
    assert list((tmp_path / UNFINISHED).iterdir()) == []


def is_the_same(found: Outcome, whole: Outcome) -> None:
    assert found.failure is None, found.log_tail
    assert (found.value, found.checkpoints, found.tokens) == (whole.value, whole.checkpoints, whole.tokens)


@pytest.mark.sandbox
async def test_a_run_that_was_stopped_goes_on_in_another_session(
    objective: Objective, layers: Layers, tmp_path: Path, resumable: str, whole: Outcome
) -> None:
    events = Events()
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        await interrupted(runner, resumable, tmp_path)
    [note] = notes(tmp_path)
    first_part = msgspec.json.decode(note.read_bytes(), type=Snapshot)
    assert first_part.cpu_seconds > 0
    began_at: list[float] = []
    async with Runner(objective, layers, tmp_path, events) as runner:
        outcome = await runner.run(resumable, SEED, lambda progress: began_at.append(progress.share))
    is_the_same(outcome, whole)
    assert events.names == ["run goes on"]
    assert began_at[0] > 0.2
    assert outcome.cpu_seconds > first_part.cpu_seconds + 0.1 * whole.cpu_seconds, "both parts are paid for"
    assert not list((tmp_path / UNFINISHED).iterdir())


@pytest.mark.long
@pytest.mark.sandbox
async def test_a_long_pause_ends_the_process_and_the_run_goes_on_later(
    objective: Objective,
    layers: Layers,
    tmp_path: Path,
    resumable: str,
    whole: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_pauses, "LONG_PAUSE_SECONDS", 0.5)
    events, outcomes, of_other_tests = Events(), [], children_of_this_process()
    async with Runner(objective, layers, tmp_path, events) as runner, trio.open_nursery() as nursery:

        def pause_in_the_middle(progress: Progress) -> None:
            if progress.phase == "train" and progress.share > 0.2 and notes(tmp_path) and not events.names:
                events("pause")
                runner.pause_gate.pause()

        async def run() -> None:
            outcomes.append(await runner.run(resumable, SEED, pause_in_the_middle))

        nursery.start_soon(run)
        while not events.names:
            assert not outcomes, "the run was over before there was a snapshot to pause at"
            await trio.sleep(0.05)
        await runner.cool_down()
        while children_of_this_process() - of_other_tests:
            assert not outcomes, "the training was over before the pause took hold"
            await trio.sleep(0.05)
        runner.pause_gate.resume()
    is_the_same(outcomes[0], whole)
    assert events.names == ["pause", "run goes on"]


def children_of_this_process() -> set[int]:
    """The processes that this one started and that run. Another test may have left one, as git for its objects."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in children.split()}


@pytest.mark.sandbox
@pytest.mark.long
async def test_both_runs_of_a_pair_go_on(
    objective: Objective, layers: Layers, tmp_path: Path, resumable: str, whole: Outcome
) -> None:
    child = resumable.replace("LR = 3e-3", "LR = 4e-3")
    events = Events()
    async with Runner(objective, layers, tmp_path, events) as runner:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run_pair, resumable, child, SEED, ignore, ignore)
            with trio.fail_after(120):
                while len(notes(tmp_path)) < 2:
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        first, second = await runner.run_pair(resumable, child, SEED, ignore, ignore)
    is_the_same(first, whole)
    assert second.value not in (None, first.value)
    assert events.names == ["run goes on", "run goes on"]
    assert not list((tmp_path / UNFINISHED).iterdir())


@pytest.mark.long
@pytest.mark.sandbox
async def test_a_damaged_snapshot_costs_the_time_and_not_the_run(
    objective: Objective, layers: Layers, tmp_path: Path, resumable: str, whole: Outcome
) -> None:
    events = Events()
    async with Runner(objective, layers, tmp_path, events) as runner:
        await interrupted(runner, resumable, tmp_path)
        file = notes(tmp_path)[0].with_name(SNAPSHOTS)
        file.write_bytes(bytes(file.stat().st_size))
        outcome = await runner.run(resumable, SEED, ignore)
    is_the_same(outcome, whole)
    assert events.names == ["run begun anew"]


@pytest.mark.long
@pytest.mark.sandbox
async def test_a_run_that_names_nothing_leaves_nothing_and_begins_anew(
    objective: Objective, layers: Layers, tmp_path: Path, whole: Outcome
) -> None:
    events = Events()
    async with Runner(objective, layers, tmp_path, events) as runner:
        with trio.CancelScope() as stop:
            await runner.run(objective.source, SEED, lambda progress: stop.cancel() if progress.share > 0.5 else None)
        assert not list((tmp_path / UNFINISHED).iterdir())
        is_the_same(await runner.run(objective.source, SEED, ignore), whole)
    assert events.names == []


@pytest.mark.sandbox
async def test_a_source_that_says_too_much_of_snapshots_fails(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    lies = objective.source.replace(
        "    return model\n",
        "    import os, struct\n    os.write(4, struct.pack('<cxxxIQQd', b'S', 24, 1 << 40, 9, 0))\n    return model\n",
    )
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(lies, SEED, ignore)
    assert outcome.failure == "invalid"
    assert "a snapshot lies outside of its file" in outcome.log_tail


@pytest.mark.sandbox
@pytest.mark.long
async def test_snapshots_that_come_too_soon_are_not_kept(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    flood = objective.source.replace(
        "    return model\n",
        "    import os, struct\n"
        "    told = task.snapshots._told\n"
        "    os.pwrite(told['file'], b'x' * 100, 0)\n"
        "    os.write(4, 10_000 * struct.pack('<cxxxIQQd', b'S', 24, 0, 100, 0))\n"
        "    return model\n",
    )
    async with Runner(objective, layers, tmp_path, ignore) as runner, trio.open_nursery() as nursery:
        found: list[Path] = []

        async def look() -> None:
            while True:
                found.extend(notes(tmp_path))
                await trio.sleep(0)

        nursery.start_soon(look)
        outcome = await runner.run(flood, SEED, ignore)
        nursery.cancel_scope.cancel()
    assert outcome.failure is None, outcome.log_tail
    assert not found


@pytest.mark.long
@pytest.mark.sandbox
async def test_a_source_that_fills_the_disk_leaves_the_ledger_its_room(
    objective: Objective, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fills = objective.source.replace(
        "    return model\n", "    import os\n    while True:\n        os.write(5, bytes(1 << 20))\n    return model\n"
    )
    monkeypatch.setattr(snapshots.shutil, "disk_usage", lambda folder: Usage(free=DISK_RESERVE + (1 << 20)))
    sizes: list[int] = []
    async with Runner(objective, layers, tmp_path, ignore) as runner, trio.open_nursery() as nursery:

        async def look() -> None:
            while True:
                sizes.extend(path.stat().st_size for path in (tmp_path / UNFINISHED).glob(f"*/{WEIGHTS}"))
                await trio.sleep(0.01)

        nursery.start_soon(look)
        outcome = await runner.run(fills, SEED, ignore)
        nursery.cancel_scope.cancel()
    assert (outcome.failure, "is full" in outcome.log_tail) == ("killed", True)
    assert max(sizes) <= 17 << 20  # the kernel's limit lies 16 MiB above ours


# ---- the files -------------------------------------------------------------------------------------------------------


def kept(runs: UnfinishedRuns, seed: int, size: int = 100) -> None:
    """Have a run leave a snapshot of this size."""
    with runs.run("source", seed) as run:
        descriptor = run.for_candidate()
        os.write(descriptor, b"x" * size)
        os.close(descriptor)
        run.keep(Snapshot(0, size, 1.0, 1.0, 1))


def went_on(runs: UnfinishedRuns, source: str, seed: int) -> bool:
    with runs.run(source, seed) as run:
        return run.latest is not None


def test_a_snapshot_is_for_exactly_its_run(objective: Objective, tmp_path: Path) -> None:
    runs = UnfinishedRuns(tmp_path, objective)
    kept(runs, seed=1)
    assert not went_on(runs, "another source", 1)
    assert not went_on(runs, "source", 2)
    other = UnfinishedRuns(tmp_path, replace(objective, scale="large"))
    assert not went_on(other, "source", 1)
    assert went_on(runs, "source", 1)
    with runs.run("source", 1), runs.run("source", 1) as beside:
        assert beside.latest is None  # two candidates never share a file
    assert went_on(runs, "source", 1)
    runs.over("source", 1)
    assert not list(tmp_path.iterdir())


def written(run: UnfinishedRun, content: bytes, place: int) -> None:
    """Write to the file of snapshots as a candidate does."""
    descriptor = run.for_candidate()
    os.pwrite(descriptor, content, place)
    os.close(descriptor)


def read_by_a_candidate(run: UnfinishedRun) -> bytes:
    """All that a candidate finds in the file of snapshots but zeros."""
    descriptor = run.for_candidate()
    with open(descriptor, "rb") as file:
        return file.read().replace(b"\0", b"")


@pytest.mark.parametrize("half", [0, 1])
def test_a_candidate_finds_nothing_that_was_not_paid_for(objective: Objective, tmp_path: Path, half: int) -> None:
    runs, offset = UnfinishedRuns(tmp_path, objective), half * half_bytes(objective)
    with runs.run("source", 1) as run:
        run.begin_part()
        written(run, b"paid for", offset)
        run.keep(Snapshot(offset, 8, 1.0, 1.0, 1))
        for place in (0 if half else half_bytes(objective), offset + 8, offset + 5000, 2 * half_bytes(objective)):
            written(run, b"and after that trained on", place)
    with runs.run("source", 1) as run:
        run.begin_part()
        assert (run.start.offset, run.start.length) == (offset, 8)
        assert read_by_a_candidate(run) == b"paid for"
        run.begin_anew()
        run.begin_part()
        assert (run.start, read_by_a_candidate(run)) == (NOTHING, b"")


def test_a_snapshot_that_was_changed_after_it_was_told_of_is_dropped(objective: Objective, tmp_path: Path) -> None:
    runs = UnfinishedRuns(tmp_path, objective)
    with runs.run("source", 1) as run:
        run.begin_part()
        written(run, b"paid for", 0)
        run.keep(Snapshot(0, 8, 1.0, 1.0, 1))
        written(run, b"not paid", 0)
    with runs.run("source", 1) as run:
        run.begin_part()
        assert (run.start, run.latest, read_by_a_candidate(run)) == (NOTHING, None, b"")


def test_nothing_is_left_of_a_part_without_a_snapshot(objective: Objective, tmp_path: Path) -> None:
    with UnfinishedRuns(tmp_path, objective).run("source", 1) as run:
        run.begin_part()
        written(run, b"trained on, and put away", 0)
        run.begin_part()
        assert read_by_a_candidate(run) == b""


def test_where_the_disk_is_short_no_candidate_writes_snapshots(
    objective: Objective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SPARE_DISK", 1 << 60)
    with UnfinishedRuns(tmp_path, objective).run("source", 1) as run:
        run.begin_part()
        assert run.told("5") is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            written(run, b"a gigabyte", 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / NOTE).write_text("{"),
        lambda folder: (folder / NOTE).write_text('{"offset": -5, "length": 9}'),
        lambda folder: (folder / SNAPSHOTS).write_bytes(b""),
        lambda folder: (folder / SNAPSHOTS).unlink(),
    ],
    ids=["half a note", "another note", "no content", "no file"],
)
def test_what_is_left_in_pieces_is_not_used(
    objective: Objective, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    runs = UnfinishedRuns(tmp_path, objective)
    kept(runs, seed=1)
    spoil(next(tmp_path.iterdir()))
    assert not went_on(UnfinishedRuns(tmp_path, objective), "source", 1)
    assert not list(tmp_path.iterdir())


def test_few_unfinished_runs_are_kept(objective: Objective, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_KEPT", 3)
    runs = UnfinishedRuns(tmp_path, objective)
    (tmp_path / "left by a kill").mkdir()
    (tmp_path / "left by a kill" / WEIGHTS).write_bytes(b"x" * 1000)
    for seed in range(5):
        kept(runs, seed)
    with runs.run("another", 1):
        assert len(list(tmp_path.iterdir())) == 1 + 3
    assert [went_on(runs, "source", seed) for seed in range(5)] == [False, False, True, True, True]
    for note in tmp_path.glob(f"*/{NOTE}"):
        os.utime(note, (1e9, 1e9))  # years ago
    with runs.run("another", 1):
        assert len(list(tmp_path.iterdir())) == 1
