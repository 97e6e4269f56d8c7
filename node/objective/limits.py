"""What an objective may take of this machine: the host's limits, and whether an objective asks for more.

An objective says in objective.toml what its runs use, and its author may be a stranger. The most that it gets is for
the machine's owner to say, in [limits] of swarm.toml. The door asks here before anything of an objective is used,
wherever the objective came from. What no objective can set, such as the processes and the output of a run, is not here
but beside the code that starts it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from node.objective.schema import SETTINGS, Kind, Objective, ObjectiveError
from node.platform import gpus, hardware
from node.platform.config import FILE_NAME, Config

MEMORY_SHARE = 0.75  # of the machine's memory, where the settings leave it open: the rest is for the judge and the user
# What tinylm asks for, rounded up. A machine with less than 4 GiB joins it all the same: its baseline takes far less.
LEAST_MEMORY = 3 << 30  # bytes


@dataclass(frozen=True)
class HostLimits:
    """The most that an objective may ask for on this machine."""

    memory_bytes: int  # of one run's candidate, and of prepare.py
    wall_seconds: float  # of one run's training, and of prepare.py
    threads: int  # of one run
    data_bytes: int  # of all its data, while they are made and afterwards
    gpu: bool | tuple[int, ...] = True  # whether runs may use GPUs, or which of them
    elsewhere: bool = False  # runs are made by workers elsewhere, so this machine's GPUs say nothing


def host_limits(config: Config) -> HostLimits:
    """The limits that the settings give; 0 there stands for what this machine can bear."""
    memory = config.objective_memory_mb << 20
    return HostLimits(
        memory_bytes=memory or max(LEAST_MEMORY, int(MEMORY_SHARE * hardware.memory_bytes())),
        wall_seconds=60.0 * config.objective_wall_minutes,
        threads=config.objective_threads or hardware.cores(),
        data_bytes=config.data_quota_bytes,
        gpu=config.gpu,
    )


def gpus_for(objective: Objective, limits: HostLimits) -> tuple[tuple[gpus.Gpu, ...], tuple[str, ...]]:
    """The GPUs that runs of an objective get here, and why not the others; none where it is for processors.

    Drivers are asked only for an objective that is for GPUs: where nothing keeps them loaded, that takes seconds.
    """
    return usable_gpus(objective.kind, limits) if objective.device == "gpu" else ((), ())


def usable_gpus(kind: Kind, limits: HostLimits) -> tuple[tuple[gpus.Gpu, ...], tuple[str, ...]]:
    """The GPUs that runs of objectives of a kind can use here, and why not the others, at least one reason for none."""
    found, wrong = gpus.installed()
    # A command's environment has a torch of its own, or none.
    torch_version = None if kind == Kind.COMMAND else hardware.torch_version()
    some, reasons = gpus.usable(found, limits, torch_version)
    if not found and not wrong:
        wrong = ("there is no GPU",)
    return some, (*reasons, *wrong)


def limits_of_runs(config: Config) -> HostLimits:
    """The limits for an objective whose runs this node makes: where workers elsewhere make them, what the settings say.

    A worker knows its own machine, and refuses what is beyond that.
    """
    here = host_limits(config)
    if not config.worker_command:
        return here
    return replace(
        here,
        memory_bytes=config.objective_memory_mb << 20 or sys.maxsize,
        threads=config.objective_threads or sys.maxsize,
        elsewhere=True,
    )


def demands(objective: Objective) -> dict[str, object]:
    """What an objective asks for, as the log shows it before it is joined: a command's line and what it reads, too."""
    command, environment = objective.command, objective.environment
    asked: dict[str, object] = {}
    if command is not None:
        asked["runs"] = command.run or f"evaluate() of {command.evaluator}"
    if environment is not None and environment.paths:
        asked["reads"] = ", ".join(environment.paths)
    if objective.hidden:
        asked["hides"] = ", ".join(objective.hidden)
    if objective.downloads:
        hosts = dict.fromkeys(urlsplit(url).netloc for each in objective.downloads for url in each.urls)
        asked["fetches"] = f"{round(download_bytes(objective) / 1e6)} MB from {', '.join(hosts)}"
    return asked | {
        "memory_mb": objective.budget.memory_bytes >> 20,
        "wall_seconds": objective.budget.wall_seconds,
        "threads": objective.budget.threads,
        "data_mb": round(data_bytes(objective) / 1e6, 1),
    }


def data_bytes(objective: Objective) -> int:
    """The size of all data that an objective declares."""
    return sum(data.entry.size for data in objective.data)


def download_bytes(objective: Objective) -> int:
    """The size of all files from which its data are made."""
    return sum(download.entry.size for download in objective.downloads)


def refuse_beyond(objective: Objective, limits: HostLimits) -> None:
    """Raise ObjectiveError, which says what to do, when an objective asks for more than this host gives."""
    found = "; ".join(excesses(objective, limits))
    if found:
        raise ObjectiveError(f"{objective.name} asks for more than this node gives: {found}")


def excesses(objective: Objective, limits: HostLimits) -> list[str]:
    """For each field by which an objective asks for too much: the field, what it asks, the limit and its setting."""
    return list(_excesses(objective, limits))


def _excesses(objective: Objective, limits: HostLimits) -> Iterator[str]:
    budget, size = objective.budget, data_bytes(objective) + download_bytes(objective)
    usable, reasons = gpus_for(objective, limits) if not limits.elsewhere else ((), ())
    if objective.device == "gpu" and not usable and not limits.elsewhere:
        why = f"{'; '.join(reasons)} (`autoresearch-node doctor` says more)"
        yield f'device in {SETTINGS} is "gpu", and no run here can use one: {why}'
    if budget.memory_bytes > limits.memory_bytes:
        asked, most = budget.memory_bytes >> 20, limits.memory_bytes >> 20
        yield _excess("budget.memory_mb", f"{asked}", f"{most}", "objective_memory_mb")
    if budget.wall_seconds > limits.wall_seconds:
        asked, most = round(budget.wall_seconds), round(limits.wall_seconds)
        yield _excess("budget.wall_seconds", f"{asked}", f"{most}", "objective_wall_minutes")
    command = objective.command
    if command is not None and command.checks is not None and command.checks_seconds > limits.wall_seconds:
        asked, most = round(command.checks_seconds), round(limits.wall_seconds)
        yield _excess("command.checks_seconds", f"{asked}", f"{most}", "objective_wall_minutes")
    if budget.threads > limits.threads:
        yield _excess("budget.threads", f"{budget.threads}", f"{limits.threads}", "objective_threads")
    if size > limits.data_bytes:
        sizes = (f"{size / 1e6:.1f} MB", f"{limits.data_bytes / 1e6:.1f} MB")
        what = "the sum of data.size and downloads.size" if objective.downloads else "the sum of data.size"
        yield _excess(what, *sizes, "data_quota_mb")


def _excess(field: str, asked: str, most: str, setting: str) -> str:
    return f"{field} in {SETTINGS} is {asked}, the most here is {most} (raise [limits] {setting} in {FILE_NAME})"
