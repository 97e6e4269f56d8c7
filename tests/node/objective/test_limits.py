"""An objective's demands against the host's limits: each has its limit, and a refusal names the setting to raise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.objective.catalog import EMBEDDED
from node.objective.limits import HostLimits, demands, excesses, gpus_for, host_limits, limits_of_runs, refuse_beyond
from node.objective.load import load_objective
from node.objective.schema import Kind, Objective, ObjectiveError
from node.platform import gpus, hardware
from node.platform.config import Config, load_config
from node.platform.gpus import Gpu
from tests.node.execution.command.folders import command_objective
from tests.node.execution.small_objective import copy_in_files

IT_TAKES = HostLimits(memory_bytes=2000 << 20, wall_seconds=120.0, threads=1, data_bytes=265_536)


def asking(folder: Path, **replaced: int) -> Objective:
    return load_objective(copy_in_files(folder, **replaced), folder / "data")


def config_with(folder: Path, limits: str) -> Config:
    (folder / "swarm.toml").write_text(f"[limits]\n{limits}\n")
    return load_config(folder / "swarm.toml", {})


def test_what_is_asked_may_be_all_that_there_is(tmp_path: Path) -> None:
    assert excesses(asking(tmp_path), IT_TAKES) == []


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (
            replace(IT_TAKES, memory_bytes=1999 << 20),
            "budget.memory_mb in objective.toml is 2000, the most here is 1999 "
            "(raise [limits] objective_memory_mb in swarm.toml)",
        ),
        (
            replace(IT_TAKES, wall_seconds=60.0),
            "budget.wall_seconds in objective.toml is 120, the most here is 60 "
            "(raise [limits] objective_wall_minutes in swarm.toml)",
        ),
        (
            replace(IT_TAKES, threads=0),
            "budget.threads in objective.toml is 1, the most here is 0 "
            "(raise [limits] objective_threads in swarm.toml)",
        ),
        (
            replace(IT_TAKES, data_bytes=100_000),
            "the sum of data.size in objective.toml is 0.3 MB, the most here is 0.1 MB "
            "(raise [limits] data_quota_mb in swarm.toml)",
        ),
    ],
    ids=["memory", "wall time", "threads", "data"],
)
def test_each_demand_has_a_limit_and_a_sentence(tmp_path: Path, limits: HostLimits, sentence: str) -> None:
    assert excesses(asking(tmp_path), limits) == [sentence]


def test_checks_have_a_limit_as_a_run_has(tmp_path: Path) -> None:
    command = 'run = "true"\nchecks = "true"\nchecks_seconds = 61'
    objective = command_objective(tmp_path / "folder", {}, command=command, wall_seconds=60)
    assert excesses(objective, replace(IT_TAKES, wall_seconds=60.0)) == [
        "command.checks_seconds in objective.toml is 61, the most here is 60 "
        "(raise [limits] objective_wall_minutes in swarm.toml)"
    ]


def test_a_refusal_names_everything_that_is_too_much(tmp_path: Path) -> None:
    greedy = asking(tmp_path, memory_mb=8_000_000, wall_seconds=31_536_000, threads=64, size=15 << 30)
    with pytest.raises(ObjectiveError) as refused:
        refuse_beyond(greedy, host_limits(load_config(None, {})))
    text = str(refused.value)
    assert text.startswith("in files asks for more than this node gives: ")
    for setting in ("objective_memory_mb", "objective_wall_minutes", "data_quota_mb"):
        assert f"raise [limits] {setting} in swarm.toml" in text
    assert "\n" not in text


def test_the_log_shows_what_is_asked(tmp_path: Path) -> None:
    assert demands(asking(tmp_path)) == {"memory_mb": 2000, "wall_seconds": 120.0, "threads": 1, "data_mb": 0.3}


@pytest.mark.parametrize("memory", [1 << 30, 4 << 30, 1 << 40])
def test_the_embedded_objectives_are_within_the_defaults_of_any_machine(
    monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(hardware, "memory_bytes", lambda: memory)
    monkeypatch.setattr(hardware, "cores", lambda: 1)
    limits = host_limits(load_config(None, {}))
    for name in ("tinylm", "template"):
        refuse_beyond(load_objective(EMBEDDED / name, EMBEDDED / name), limits)


def test_what_the_settings_leave_open_follows_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 32 << 30)
    monkeypatch.setattr(hardware, "cores", lambda: 12)
    limits = host_limits(load_config(None, {}))
    assert limits == HostLimits(24 << 30, 3600.0, 12, 4096 << 20)


def test_the_settings_win_over_the_machine(tmp_path: Path) -> None:
    config = config_with(
        tmp_path,
        "objective_memory_mb = 512\nobjective_wall_minutes = 5\nobjective_threads = 3\ndata_quota_mb = 100",
    )
    assert host_limits(config) == HostLimits(512 << 20, 300.0, 3, 100 << 20)


GPU = Gpu(0, "a card", 12 << 30, "nvidia", "GPU-0", "580", ("/dev/nvidia0",))


@pytest.mark.parametrize(
    ("kind", "found", "wrong", "setting", "reason"),
    [
        ("model", (), (), True, "there is no GPU"),
        ("model", (), ("the driver does not answer",), True, "the driver does not answer"),
        ("model", (GPU,), (), True, "the installed torch 2.13.0+cpu is a build for processors only"),
        ("command", (GPU,), (), True, None),
        ("command", (GPU,), (), False, "[research] gpu = false in swarm.toml keeps runs off it"),
        ("command", (replace(GPU, problem="it is divided"),), (), True, "a card: it is divided"),
        ("program", (GPU,), (), True, "the installed torch 2.13.0+cpu is a build for processors only"),
    ],
)
def test_an_objective_for_gpus_is_refused_only_where_none_can_be_used_and_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: Kind,
    found: tuple[Gpu, ...],
    wrong: tuple[str, ...],
    setting: bool,
    reason: str | None,
) -> None:
    monkeypatch.setattr(gpus, "installed", lambda: (found, wrong))
    monkeypatch.setattr(hardware, "torch_version", lambda: "2.13.0+cpu")
    objective = replace(asking(tmp_path), device="gpu", kind=kind)
    refusals = excesses(objective, replace(IT_TAKES, gpu=setting))
    if reason is None:
        assert refusals == []
        assert gpus_for(objective, IT_TAKES) == (found, ())
    else:
        (refusal,) = refusals
        assert reason in refusal
        assert 'device in objective.toml is "gpu", and no run here can use one' in refusal


def test_no_driver_is_asked_for_an_objective_for_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "installed", lambda: pytest.fail("it was asked"))
    assert gpus_for(asking(tmp_path), IT_TAKES) == ((), ())


def test_where_workers_elsewhere_make_the_runs_only_what_the_settings_say_is_a_limit(tmp_path: Path) -> None:
    workers = '[workers]\ncommand = ["srun", "autoresearch-node", "worker"]'
    objective = replace(asking(tmp_path, memory_mb=10**6, threads=1000), device="gpu")
    assert excesses(objective, limits_of_runs(config_with(tmp_path, workers))) == []
    limited = limits_of_runs(config_with(tmp_path, f"objective_memory_mb = 100\nobjective_threads = 2\n{workers}"))
    assert [sentence.partition(" ")[0] for sentence in excesses(objective, limited)] == [
        "budget.memory_mb",
        "budget.threads",
    ]
    assert limits_of_runs(config_with(tmp_path, "")) == host_limits(config_with(tmp_path, ""))
