"""Which layers of protection this machine offers, found by running a program behind each of them.

Settings and versions do not suffice (a sysctl may allow user namespaces while AppArmor denies them), so every tier is
tried with the command line that runs use. Nothing is cached here: the caller keeps the answer.
"""

from __future__ import annotations

import contextlib
import os
import platform
import select
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from node.execution.sandbox import cgroup, engine, landlock, launch, seccomp
from node.execution.sandbox.container import Container
from node.execution.sandbox.engine import ENGINES, Engine, EngineError, EngineName
from node.execution.sandbox.handover import Door
from node.execution.sandbox.policy import Policy
from node.platform.config import SandboxBackend

Tier = Literal["bwrap", "unshare", "inproc", "docker", "podman", "unsafe"]

_PROBE_SAYS = "in the sandbox"
_PROBE_PROGRAM = f"print({_PROBE_SAYS!r})"
_MOST_OUTPUT = 65536  # of a probe: the capacity of a pipe (pipe(7))
_START_SECONDS = 60.0  # a container takes about half a second
_PATIENCE_SECONDS = 20.0  # a tier takes about 0.1 s; a busy machine may take many times that
_PROBE_POLICY = Policy(wall_seconds=20, cpu_seconds=20, memory_bytes=1 << 30, tasks=16, output_bytes=1 << 16)


@dataclass(frozen=True)
class Layers:
    """What works here. `refusals` has (tier, last line of its output) of each tier that does not, for `remedy`."""

    bwrap: bool  # bubblewrap: own file system, processes, network; then everything below
    unshare: bool  # own processes and network; then everything below
    inproc: bool  # Landlock, seccomp, limits, another user where the node runs as root
    landlock: int  # version the kernel offers, 0 for none
    seccomp: bool
    root: bool
    refusals: tuple[tuple[str, str], ...] = ()
    cgroup: str | None = None  # where a control group can be made for each program; else its CPU time is polled
    unsafe: bool = False  # the person at this node wants programs run without protection where no tier works
    backend: SandboxBackend = "bwrap"  # what the person chose: "bwrap" stands for the first three tiers
    engine: Engine | None = None  # that makes containers, where a person wants them and it works


def probe(backend: SandboxBackend = "bwrap") -> Layers:
    """Try every tier that the backend stands for (about a third of a second). Starts processes; ends them."""
    if sys.platform != "linux":
        return Layers(False, False, False, landlock=0, seccomp=False, root=os.geteuid() == 0)
    version, filters = landlock.abi(), seccomp.supported()
    if backend in ENGINES:
        return _probe_engine(backend, version, filters)
    refusals: dict[str, str] = {}
    if not filters:
        refusals = dict.fromkeys(("bwrap", "unshare", "inproc"), "no seccomp")
    elif version == 0:
        # Only bwrap's own file system can stand in for Landlock.
        refusals = dict.fromkeys(("unshare", "inproc"), "no Landlock")
    works: dict[str, bool] = {}
    for name in ("bwrap", "unshare", "inproc"):
        if name not in refusals and (refusal := _try(name)) is not None:
            refusals[name] = refusal
        works[name] = name not in refusals
    root = os.geteuid() == 0
    return Layers(
        works["bwrap"],
        works["unshare"],
        works["inproc"],
        landlock=version,
        seccomp=filters,
        root=root,
        refusals=tuple(refusals.items()),
        cgroup=cgroup.find(),
    )


def _probe_engine(backend: EngineName, landlock_version: int, filters: bool) -> Layers:
    """No other tier is tried: who wants containers is not given something else."""
    found = Layers(
        False, False, False, landlock=landlock_version, seccomp=filters, root=os.geteuid() == 0, backend=backend
    )
    try:
        one = engine.find(backend)
    except EngineError as error:
        return replace(found, refusals=((backend, str(error)),))
    refusal = _try_container(one) if filters else "no seccomp"
    return replace(found, refusals=((backend, refusal),)) if refusal is not None else replace(found, engine=one)


def tier(layers: Layers) -> Tier | None:
    """The strongest tier that works here; None when untrusted code must not be run."""
    if layers.engine is not None:
        return layers.engine.name
    if layers.bwrap:
        return "bwrap"
    if layers.unshare:
        return "unshare"
    if layers.inproc:
        return "inproc"
    return "unsafe" if layers.unsafe else None


def remedy(layers: Layers) -> list[str]:
    """What a person can do for a better sandbox, the most important first; empty when nothing is missing."""
    if sys.platform != "linux":
        return [
            f"{sys.platform}: there is no sandbox for objectives' and peers' code yet, so none is run;"
            " use Linux, or Docker"
        ]
    if layers.backend in ENGINES:
        return _remedy_for_engine(layers.backend, dict(layers.refusals).get(layers.backend))
    advice = []
    if tier(layers) is None:
        advice.append(
            "no sandbox works here, so no objective's and no peer's code is run: it needs seccomp, and either"
            " Landlock (Linux 5.13 or later) or bubblewrap; `join --unsafe-run-peer-code` runs it all the same, as you,"
            " with your files in reach"
        )
    if not layers.seccomp:
        kernel = f"{platform.machine()}, {platform.release()}"
        advice.append(f"seccomp filters are not available ({kernel}): use a kernel for x86_64 or aarch64 that has them")
    if layers.landlock == 0:
        advice.append("Landlock is absent or off: Linux 5.13 or later, with landlock in the kernel's lsm= list")
    elif layers.landlock < landlock.ABI_SCOPES:
        advice.append(
            f"Landlock is version {layers.landlock}: Linux 6.12 or later also confines signals and abstract sockets"
        )
    if not layers.bwrap and layers.seccomp:
        advice.append(_remedy_for_bwrap(dict(layers.refusals).get("bwrap", "")))
    return advice


def _remedy_for_bwrap(refusal: str) -> str:
    if refusal == launch.NOT_INSTALLED:
        return (
            "bubblewrap, the strongest sandbox, is not installed: apt install bubblewrap (dnf, pacman: the same name)"
        )
    return (
        f"bubblewrap does not work here ({refusal}): user namespaces are probably forbidden; on Ubuntu 24.04 install"
        " the AppArmor profile bwrap-userns-restrict; inside Docker this is usual and the weaker sandbox is used,"
        " unless the container is started with the options in docs/install.md"
    )


_REMEDIES = (  # (what an engine says, what to do), the first that fits
    ("not installed", "install it, and for podman without root newuidmap (package uidmap) as well"),
    ("another machine", "use an engine of this one"),
    ("trying to connect", "let this user speak to its daemon (group docker), or use podman without root"),
    ("cannot connect", "start its daemon: systemctl start docker"),
    ("subuid", 'give this user ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$USER", as root'),
    ("newuidmap", "install newuidmap (package uidmap)"),
    ("cgroup", "its runtime cannot limit containers here, which needs control groups of version 2, or runc and root"),
)


def _remedy_for_engine(name: EngineName, refusal: str | None) -> list[str]:
    if refusal is None:
        return []
    lower = refusal.lower()
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in lower), f"see what `{name} run` says")
    return [
        f"no container can be started with {name} ({refusal}), so no objective's and no peer's code is run: {remedy};"
        ' or write backend = "bwrap" below [sandbox]'
    ]


def _try_container(one: Engine) -> str | None:
    """None when a program runs in a container, and owns what we own; else what went wrong."""
    with tempfile.TemporaryDirectory(prefix="probe-") as folder, contextlib.ExitStack() as undo:
        made = Path(folder, "made")
        program = [sys.executable, "-I", "-S", "-c", f"open({str(made)!r}, 'w'); {_PROBE_PROGRAM}"]
        lifeline, held = os.pipe()
        reads, writes = os.pipe()
        undo.callback(os.close, held)
        undo.callback(os.close, reads)
        try:
            container = Container.make(one)
            undo.callback(container.remove_folder)
            door = Door(container.door, [lifeline, writes, lifeline])  # it reads nothing
            undo.callback(door.close)
            policy = replace(_PROBE_POLICY, writable=Path(folder))
            command = launch.command(one.name, program, policy, keep=(), lifeline=lifeline, inside=container)
            said = container.open_said()
            undo.callback(os.close, said)
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=one.environment, cwd="/"
            )
        except OSError as problem:
            return str(problem)
        finally:
            os.close(lifeline)
            os.close(writes)
        undo.callback(process.wait)
        undo.callback(process.kill)
        answer = _answer(container, door, process, reads)
        if answer != _PROBE_SAYS:
            return answer or "no container came"
        owner = made.stat().st_uid
        if owner != os.geteuid() and (one.rootless or os.geteuid() != 0):  # root can do with any owner
            return f"files made in a container belong to user {owner}"
    return None


def _answer(container: Container, door: Door, process: subprocess.Popen[bytes], reads: int) -> str:
    """The last line of what the program says, or of what kept it from that."""
    poller, ended = select.poll(), os.pidfd_open(process.pid)
    poller.register(door, select.POLLIN)
    poller.register(ended, select.POLLIN)
    came = [descriptor for descriptor, _ in poller.poll(_START_SECONDS * 1000)]
    os.close(ended)
    if door.fileno() not in came:
        return _last_line(container.said())
    os.set_blocking(reads, False)
    try:
        door.hand_over()
        process.wait(_PATIENCE_SECONDS)
        return _last_line(os.read(reads, _MOST_OUTPUT))
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)


def _last_line(output: bytes) -> str:
    return "".join(output.decode("utf-8", "replace").strip().splitlines()[-1:])


def _try(name: Tier) -> str | None:
    """None when a program runs behind this tier, else the last line of what went wrong."""
    program = [sys.executable, "-I", "-S", "-c", _PROBE_PROGRAM]
    lifeline, held = os.pipe()
    try:
        command = launch.command(name, program, _PROBE_POLICY, keep=(), lifeline=lifeline)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_SECONDS,
            pass_fds=(lifeline,), env=launch.OUTER_ENVIRONMENT, check=False,
        )  # fmt: skip
    except launch.UnavailableError as missing:
        return str(missing)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    finally:
        os.close(lifeline)
        os.close(held)
    if done.returncode == 0 and done.stdout == f"{_PROBE_SAYS}\n":
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
