"""The check-up behind `doctor`: what this machine has and lacks for a node, with a remedy for each.

It changes nothing. Torch is looked up, not imported: only the processes of runs load it.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from node.app.gpu_checkup import gpu_findings
from node.app.notify import NotifyError, missing_program, webhook_of
from node.app.this_machine import objective_for_this_machine, on_this_machine
from node.app.worker_checkup import worker_findings
from node.objective.catalog import CatalogError, named_objective
from node.objective.scales import scale_here
from node.objective.schema import ObjectiveError
from node.platform import hardware
from node.platform.config import AUTO, FILE_NAME, Config
from node.platform.environment import git_environment
from node.platform.home import Home
from node.platform.listening import obstacle, remedy_of, with_port, without_missing_ipv6
from node.view.model.findings import Finding, Grade

if TYPE_CHECKING:
    from node.execution.sandbox.engine import Engine
    from node.execution.sandbox.layers import Layers

PROJECT = "autoresearch-node"
MIN_PYTHON = (3, 11)
GIT_SECONDS = 10.0  # for git to answer
GIB = 1 << 30
MEMORY_ENOUGH = 4 * GIB  # a run may take 3 GB, next to the node and the judge
DISK_ENOUGH = GIB  # beyond the quota for sources: ledger, workspace, data, weights of recent runs
DISK_LEAST = GIB // 8  # with less than this free, a node is not advised to start at all

SET_UP_AGAIN = "run ./scripts/join, which installs what is missing"


def checkup(config: Config) -> list[Finding]:
    """Check everything that a node with these settings needs. Takes a few seconds, mostly for trying the sandbox."""
    machine = hardware.measure()
    return [
        _python(),
        _git(),
        _packages(),
        _torch(),
        *_sandbox(config),
        _memory(machine),
        *gpu_findings(config),
        _objective(config),
        *worker_findings(config),
        *_ports(config),
        *_notifications(config),
        _disk(config),
        *_models_and_agents(config),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        return Finding("python", "missing", found, "install Python 3.11 or newer, remove .venv, run ./scripts/join")
    return Finding("python", "ok", found, "")


def _git() -> Finding:
    remedy = "install git, for example with: apt install git"
    try:
        answer = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, timeout=GIT_SECONDS, env=git_environment()
        )
    except FileNotFoundError:
        return Finding("git", "missing", "not on the PATH", remedy)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("git", "missing", f"does not answer ({error})", remedy)
    if answer.returncode:
        return Finding("git", "missing", f"ends with status {answer.returncode}", remedy)
    return Finding("git", "ok", answer.stdout.strip(), "")


def _packages() -> Finding:
    """The installed packages against the versions this project is pinned to; torch has a line of its own."""
    try:
        needs = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", "warn", f"{PROJECT} is not installed, only its files are here", SET_UP_AGAIN)
    pinned = [pin for need in needs if (pin := re.fullmatch(r"([\w.-]+)==([\w.]+)", need)) and pin[1] != "torch"]
    wrong = []
    for pin in pinned:
        version = _version(pin[1])
        if version != pin[2]:
            wrong.append(f"{pin[1]} {version or 'is missing'}, needs {pin[2]}")
    if wrong:
        return Finding("packages", "missing", "; ".join(wrong), SET_UP_AGAIN)
    return Finding("packages", "ok", f"{len(pinned)} in the pinned versions", "")


def _torch() -> Finding:
    version = _version("torch")
    if version is None:
        return Finding("torch", "missing", "not installed", SET_UP_AGAIN)
    return Finding("torch", "ok", version, "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sandbox(config: Config) -> list[Finding]:
    """The sandbox, and how the CPU time of what runs in it is measured."""
    from node.execution.sandbox.layers import probe, remedy, tier  # tries each layer: only when asked

    layers = probe(config.sandbox)
    chosen = tier(layers)
    parts: list[str] = [chosen or "none that is enough"]
    parts += [f"Landlock version {layers.landlock}"] if layers.landlock else []
    parts += ["seccomp"] if layers.seccomp else []
    advice = remedy(layers)
    if layers.engine is not None:
        parts += ["without root"] if layers.engine.rootless else []
        advice += _left_over(layers.engine)
    grade: Grade = "missing" if chosen is None else "warn" if advice else "ok"
    return [Finding("sandbox", grade, ", ".join(parts), "; ".join(advice)), _meter(layers)]


def _models_and_agents(config: Config) -> list[Finding]:
    from node.app.model_checkup import agent_findings, model_findings  # with an HTTP client, which is needed only here
    from node.execution.sandbox.layers import probe, tier

    chosen = tier(probe(config.sandbox)) if config.agent_use else None
    return [*model_findings(config), *agent_findings(config, chosen)]


def _left_over(engine: Engine) -> list[str]:
    from node.execution.sandbox.engine import EngineError, left_over

    try:
        found = len(left_over(engine))
    except EngineError as error:
        return [f"its containers cannot be listed: {error}"]
    return [f"containers of nodes that were killed: {found}; the next `join` removes them"] if found else []


def _meter(layers: Layers) -> Finding:
    place = layers.cgroup
    if layers.engine is not None:
        found = "polling; of a container also what its engine's control group counts, where that is of version 2"
        return Finding("cpu meter", "ok", found, "")
    if place is not None:
        return Finding("cpu meter", "ok", f"a control group for each program, in {place}", "")
    found = "polling, so forked workers may make no processes; a node that runs as a service has control groups"
    return Finding("cpu meter", "ok", found, "")


def _memory(machine: hardware.Hardware) -> Finding:
    total = machine.memory_bytes
    if total < MEMORY_ENOUGH:
        advice = "runs may end for lack of memory; use a machine with 4 GiB or more"
        return Finding("memory", "warn", _gib(total), advice)
    return Finding("memory", "ok", _gib(total), "")


def _objective(config: Config) -> Finding:
    """What a new home begins with here, and at which scale."""
    if config.objective == AUTO:
        name, why = objective_for_this_machine(config)
        return Finding("objective", "ok", f"a new home begins with {name}, as {why}", "")
    try:
        here = on_this_machine(named_objective(config.objective), config)
    except (CatalogError, ObjectiveError) as error:
        remedy = f'correct `objective` below [swarm] in {FILE_NAME}, or write "{AUTO}"'
        return Finding("objective", "missing", str(error), remedy)
    found = f"a new home begins with {here.objective.name}, as the settings say"
    if here.why:
        found += f"; here at its scale {scale_here(here.objective)}: {here.why}"
    return Finding("objective", "ok", found, "")


def _ports(config: Config) -> list[Finding]:
    home = Home(config.home)
    return [_port(address, home.in_use(), home.remembered_port()) for address in without_missing_ipv6(config.listen)]


def _port(address: str, running: bool, last: int | None) -> Finding:
    """Whether a listen address of the settings can be listened on, at the port of last time where any will do."""
    name = "port"
    error = obstacle(address)
    if error is not None:
        if error.errno == errno.EADDRINUSE and running:
            return Finding(name, "ok", f"{address} is in use, a node runs in this home", "")
        return Finding(name, "missing", f"{address}: {os.strerror(error.errno or 0)}", remedy_of(error))
    if not address.endswith("/tcp/0"):
        return Finding(name, "ok", f"{address} is free", "")
    if last is not None and not running and obstacle(with_port([address], last)[0]) is not None:
        found = f"{address}: any free one, as another node or program has the one of last time, {last}"
        return Finding(name, "warn", found, "invites given out before lead to the other program; give out new ones")
    return Finding(name, "ok", f"{address}: any free one", "")


def _notifications(config: Config) -> list[Finding]:
    """Whether what `[notify]` asks for can be done, where it asks for anything."""
    if not config.notify_command and not config.notify_url:
        return []
    why = missing_program(config.notify_command)
    try:
        webhook = webhook_of(config)
    except NotifyError as error:
        return [
            Finding("notify", "warn", str(error), f"set it where the node is started, or see [notify] in {FILE_NAME}")
        ]
    if why is not None:
        return [Finding("notify", "warn", why, f"install it, or correct `command` below [notify] in {FILE_NAME}")]
    told = [*config.notify_command[:1], *([webhook.host] if webhook is not None else [])]
    signed = "" if webhook is None else ", signed" if webhook.secret is not None else ", not signed"
    return [Finding("notify", "ok", f"of confirmed discoveries: {', '.join(told)}{signed}", "")]


def _disk(config: Config) -> Finding:
    """Space and permission at the home, or where it would be made."""
    folder = _nearest(config.home)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Finding("disk", "missing", f"cannot write to {folder}", "choose another folder with --home")
    free = shutil.disk_usage(folder).free
    found = f"{_gib(free)} free at {config.home}"
    if free < DISK_ENOUGH + config.blob_quota_bytes:
        grade: Grade = "missing" if free < DISK_LEAST else "warn"
        return Finding("disk", grade, found, "make room, lower blob_quota_mb in swarm.toml, or choose another --home")
    return Finding("disk", "ok", found, "")


def _nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
