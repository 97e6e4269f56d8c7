"""Which layers of protection this machine offers, found by running a program behind each of them.

Settings and versions do not suffice (a sysctl may allow user namespaces while AppArmor denies them), so every tier is
tried with the command line that runs use. Nothing is cached here: the caller keeps the answer.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from node.execution.sandbox import cgroup, landlock, launch, seccomp
from node.execution.sandbox.policy import Policy

Tier = Literal["bwrap", "unshare", "inproc", "unsafe"]

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


def probe() -> Layers:
    """Try every tier (about a third of a second in all). Starts processes; ends them."""
    if sys.platform != "linux":
        return Layers(False, False, False, landlock=0, seccomp=False, root=os.geteuid() == 0)
    version, filters = landlock.abi(), seccomp.supported()
    refusals: dict[str, str] = {}
    if not filters:
        refusals = dict.fromkeys(("bwrap", "unshare", "inproc"), "no seccomp")
    elif version == 0:
        # Only bwrap's own file system can stand in for Landlock.
        refusals = dict.fromkeys(("unshare", "inproc"), "no Landlock")
    works = {}
    for name in ("bwrap", "unshare", "inproc"):
        if name not in refusals and (refusal := _try(name)) is not None:
            refusals[name] = refusal
        works[name] = name not in refusals
    root = os.geteuid() == 0
    return Layers(
        **works, landlock=version, seccomp=filters, root=root, refusals=tuple(refusals.items()), cgroup=cgroup.find()
    )


def tier(layers: Layers) -> Tier | None:
    """The strongest tier that works here; None when untrusted code must not be run."""
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
        " the AppArmor profile bwrap-userns-restrict; inside Docker this is usual and the weaker sandbox is used"
    )


def _try(name: Tier) -> str | None:
    """None when a program runs behind this tier, else the last line of what went wrong."""
    program = [sys.executable, "-I", "-S", "-c", "print('in the sandbox')"]
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
    if done.returncode == 0 and done.stdout == "in the sandbox\n":
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
