"""The compute class is what the machine was measured to do, lastingly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.platform.gpus import Gpu
from node.platform.hardware import Hardware, compute_class
from node.trials.cached_runner import CachedRunner
from node.trials.compute_class import RECHECK_SECONDS, ComputeClassEstimator
from node.trials.own_seeds import Use
from tests.node.conftest import ignore, made_before, outcome

GIB = 1 << 30


def gpu(name: str, memory_bytes: int) -> Gpu:
    return Gpu(0, name, memory_bytes, "nvidia", "GPU-1", "580", ("/dev/nvidia0",))


LAPTOP, SERVER = Hardware("a processor", 8, 16 * GIB, ()), Hardware("a processor", 64, 256 * GIB, ())
DESKTOP = Hardware("a processor", 8, 32 * GIB, (gpu("a gaming card", 12 * GIB),))
DATACENTRE = Hardware("a processor", 64, 512 * GIB, (gpu("a large card", 80 * GIB),))


def test_tinylm_tells_the_four_kinds_of_machine_apart(cached_runner: CachedRunner) -> None:
    classes = cached_runner.objective.classes
    assert compute_class(LAPTOP, classes, 50_000).name == "laptop-cpu"
    assert compute_class(SERVER, classes, 50_000).name == "server-cpu"
    assert compute_class(SERVER, classes, 5_000).name == "laptop-cpu"
    assert compute_class(DESKTOP, classes, 400_000, "gpu").name == "consumer-gpu"
    assert compute_class(DATACENTRE, classes, 5_000_000, "gpu").name == "datacentre-gpu"
    assert compute_class(DATACENTRE, classes, 50_000).name == "server-cpu"


def test_without_classes_a_machine_is_named_after_what_it_trains_on() -> None:
    assert compute_class(LAPTOP, (), 1.0).name == "cpu"
    assert compute_class(DESKTOP, (), 1.0, "gpu").name == "gpu"


def test_the_first_run_of_the_baseline_gives_the_class_and_says_so(cached_runner: CachedRunner) -> None:
    logged = []
    class_estimator = ComputeClassEstimator(
        SERVER, cached_runner, lambda event, **details: logged.append((event, details))
    )
    assert not class_estimator.known
    class_estimator.take(outcome(tokens_per_second=50_000))
    assert cached_runner.compute_class == "server-cpu"
    assert logged == [("compute class", {"compute_class": "server-cpu", "tokens_per_second": 50_000})]


def test_the_class_is_remembered_over_a_restart(cached_runner: CachedRunner) -> None:
    ComputeClassEstimator(SERVER, cached_runner, ignore).take(outcome(tokens_per_second=50_000))
    cached_runner.compute_class = "cpu"
    assert ComputeClassEstimator(SERVER, cached_runner, ignore).known
    assert cached_runner.compute_class == "server-cpu"


async def test_a_slow_hour_changes_nothing_and_a_lasting_change_does(cached_runner: CachedRunner) -> None:
    logged = []
    class_estimator = ComputeClassEstimator(
        SERVER, cached_runner, lambda event, **details: logged.append(details["compute_class"])
    )
    baseline = cached_runner.objective.source_id
    seeds = [cached_runner.seeds.seed(Use.SPEED, baseline, baseline, number) for number in range(2, 6)]
    for seed, speed in zip(seeds, (50_000, 9_000, 50_000, 9_000), strict=True):
        made_before(cached_runner, cached_runner.objective.source, seed, outcome(tokens_per_second=speed))
    class_estimator.take(outcome(tokens_per_second=50_000))
    for _ in range(3):
        await class_estimator.measure(now=0.0)
        assert cached_runner.compute_class == "server-cpu"
    await class_estimator.measure(now=0.0)
    assert cached_runner.compute_class == "laptop-cpu"
    assert logged == ["server-cpu", "laptop-cpu"]


@pytest.mark.parametrize(("device", "name"), [("cpu", "server-cpu"), ("gpu", "datacentre-gpu")])
def test_a_machine_with_a_gpu_is_of_the_class_of_what_the_objective_is_for(
    cached_runner: CachedRunner, device: str, name: str
) -> None:
    cached_runner.objective = replace(cached_runner.objective, device=device)
    speed = 50_000 if device == "cpu" else 5_000_000
    ComputeClassEstimator(DATACENTRE, cached_runner, ignore).take(outcome(tokens_per_second=speed))
    assert cached_runner.compute_class == name


def test_of_two_gpus_the_smaller_one_counts_since_a_run_may_get_either(cached_runner: CachedRunner) -> None:
    both = replace(DATACENTRE, gpus=(*DATACENTRE.gpus, *DESKTOP.gpus))
    assert compute_class(both, cached_runner.objective.classes, 5_000_000, "gpu").name == "consumer-gpu"


def test_a_failed_run_says_nothing_of_the_speed(cached_runner: CachedRunner) -> None:
    class_estimator = ComputeClassEstimator(SERVER, cached_runner, ignore)
    class_estimator.take(outcome(value=None))
    assert not class_estimator.known


def test_it_is_measured_again_after_some_hours(cached_runner: CachedRunner) -> None:
    class_estimator = ComputeClassEstimator(SERVER, cached_runner, ignore)
    assert not class_estimator.due(100.0)
    assert not class_estimator.due(100.0 + RECHECK_SECONDS - 1)
    assert class_estimator.due(100.0 + RECHECK_SECONDS)


def test_speeds_under_another_budget_are_not_counted_with_those_under_this_one(cached_runner: CachedRunner) -> None:
    ComputeClassEstimator(SERVER, cached_runner, ignore).take(outcome(tokens_per_second=50_000))
    cached_runner.objective = replace(cached_runner.objective, scale="small")
    elsewhere = ComputeClassEstimator(SERVER, cached_runner, ignore)
    assert not elsewhere.known
    elsewhere.take(outcome(tokens_per_second=5_000))
    assert cached_runner.compute_class == "laptop-cpu"
