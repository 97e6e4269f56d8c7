"""The weights of runs: in a file of the run's own, from the candidate to the examination, and kept for a while."""

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from node.execution import weights as module
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe
from node.execution.weights import RunWeights, WeightsSet, WeightsStore
from node.objective.schema import Objective
from tests.node.execution.cheats import BASELINE
from tests.node.execution.small_objective import small_objective


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    return small_objective(tmp_path_factory.mktemp("tinylm"), whole_judge=False, wall_seconds=120, memory_mb=2400)


def ignore(*_: object, **__: object) -> None:
    pass


def written(folder: Path, *contents: bytes) -> RunWeights:
    weights = RunWeights(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    descriptor = weights.for_candidate()
    offset = 0
    for number, content in enumerate(contents):
        os.write(descriptor, content)
        step = number + 1 if number < len(contents) - 1 else 0
        weights.sets.append(WeightsSet(step, offset, len(content)))
        offset += len(content)
    os.close(descriptor)
    return weights


def test_the_final_weights_are_kept_under_a_name(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    weights = written(tmp_path, b"early", b"final!")
    store.keep("a run", weights)
    weights.close()
    kept = store.kept("a run")
    assert kept is not None
    assert kept.sets == [WeightsSet(0, 0, 6)]
    reading = kept.for_examination()
    assert os.read(reading, 100) == b"final!"
    os.close(reading)
    kept.close()
    assert store.kept("another run") is None


def test_every_worker_has_a_place_in_the_file_of_its_own(tmp_path: Path) -> None:
    weights = written(tmp_path, b"final")
    first, second = weights.for_examination(), weights.for_examination()
    assert (os.read(first, 3), os.read(second, 5)) == (b"fin", b"final")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(first, b"x")
    for descriptor in (first, second):
        os.close(descriptor)
    weights.close()


def test_a_file_that_is_shorter_than_it_was_said_is_not_kept(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    weights = written(tmp_path, b"final")
    weights.sets = [WeightsSet(0, 0, 6)]
    store.keep("a run", weights)
    weights.close()
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WEIGHTS_KEPT_BYTES", 25)
    monkeypatch.setattr(module, "RUNS_KEPT", 2)
    store = WeightsStore(tmp_path)
    for number in range(4):
        store.put(f"{number}", bytes(10))
        os.utime(tmp_path / f"{number}", (number, number))
    store.put("last", bytes(10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "last"]


def test_of_large_weights_the_last_few_stay_while_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WEIGHTS_KEPT_BYTES", 5)
    monkeypatch.setattr(module, "RUNS_KEPT", 3)
    monkeypatch.setattr(module, "SPARE_DISK", 0)
    store = WeightsStore(tmp_path)
    for number in range(5):
        store.put(f"{number}", bytes(10))
        os.utime(tmp_path / f"{number}", (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4"]
    monkeypatch.setattr(module, "SPARE_DISK", 1 << 60)
    store.put("5", bytes(4))
    assert [path.name for path in tmp_path.iterdir()] == ["5"]


# A model of 200 MB, of which training touches half a megabyte.
LARGE = (
    BASELINE
    + """

build_small = build


def build(task):
    model = build_small(task)
    model.register_buffer("ballast", torch.full((50 << 20,), 0.5))
    return model
"""
)


@pytest.mark.long
@pytest.mark.sandbox
async def test_weights_of_200_mb_reach_the_examination_past_the_node(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    roomy = replace(objective, budget=replace(objective.budget, weights_bytes=256 << 20))
    before = psutil.Process().memory_info().rss
    async with Runner(roomy, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(LARGE, 1, ignore)
        again = await runner.examine(LARGE, 1, "holdout")
        small = await runner.run(objective.source, 1, ignore)
    assert outcome.value is not None, outcome.log_tail
    assert again.value is not None, again.log_tail
    assert outcome.metrics["bits"] == small.metrics["bits"]  # the value has the price of a longer source, too
    assert psutil.Process().memory_info().rss - before < 100 << 20
    assert max(path.stat().st_size for path in tmp_path.iterdir()) > 200 << 20


@pytest.mark.sandbox
async def test_a_candidate_cannot_write_more_than_its_file_may_hold(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """Whatever it says of it: the kernel refuses what is longer."""
    flood = BASELINE.replace(
        "    return finish(model, state)\n",
        "    import os, sys\n    os.lseek(int(sys.argv[3]), 1 << 30, 0)\n    os.write(int(sys.argv[3]), b'x')\n",
    )
    assert flood != BASELINE
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(flood, 1, ignore)
    assert (outcome.value, outcome.failure) == (None, "exception")
    assert "File too large" in outcome.log_tail
