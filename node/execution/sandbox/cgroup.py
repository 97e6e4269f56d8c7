"""Control groups: a group of its own for each sandboxed program, which counts its CPU time and is ended as a whole.

A program can hide CPU time from whoever reads /proc now and then: children that end between two looks, of a parent that
ignores SIGCHLD, are in nobody's account. The kernel's control groups (version 2, cgroups(7)) count every process in the
group, to the microsecond, and no process can leave the group without writing to their file system, which no sandbox
shows. They need no controller: `cpu.stat` and `cgroup.kill` are there in every group.

Groups can be made where the group that this process is in was given to it (delegated): in a service of systemd with
`Delegate=yes`, in a login's own services, or as root. They are made in there, side by side, and only those with our
name are ever touched. Whoever made a group holds a lock on it, so that one whose maker was killed can be told from one
in use, whatever process numbers mean here.

The group limits nothing: limits are watched (`watch`), and the group only says what was used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from node.platform.environment import child_environment

NICENESS = 19  # of a group among others, as that of the programs in it
PREFIX = "autoresearch-node-"  # of the names of groups
_TRIES, _RETRY_SECONDS = 20, 0.005  # a group whose last process is ending is busy for a moment
_PATIENCE_SECONDS = 10.0  # for a shell to enter a group and end: milliseconds, but on a very busy machine
_SHELL = "/bin/sh"
# A shell enters the group and becomes the program, which is so in it from its first instruction on.
_ENTER = 'echo 0 > "$0" && exec "$@"'


class CgroupError(OSError):
    """A group could not be made or entered."""


class Cgroup:
    """One group, made by `make`. It is removed by `remove`, or after this process ended by the next `find`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, place: str) -> Cgroup:
        """A new empty group in a place that `find` found. Raises CgroupError."""
        for _ in range(_TRIES):
            path = Path(place, f"{PREFIX}{secrets.token_hex(8)}")
            try:
                path.mkdir()
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # `find` of another process took it for left over before it was locked
            except OSError as error:
                raise CgroupError(error.errno, f"no control group can be made in {place}: {error.strerror}") from None
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                # Where processors are shared out among groups, a program's own niceness counts only inside of its own.
                with contextlib.suppress(OSError):
                    (path / "cpu.weight.nice").write_text(str(NICENESS))
                return cls(path, lock)
            os.close(lock)
        raise CgroupError(f"control groups in {place} vanish")

    def entering(self, command: Sequence[str]) -> list[str]:
        """A command line that enters the group and becomes `command`; it ends at once where it cannot enter."""
        return [_SHELL, "-c", _ENTER, str(self.path / "cgroup.procs"), *command]

    def add(self, pid: int) -> None:
        """Move a process into the group. Its CPU time counts from now on. Raises CgroupError."""
        try:
            (self.path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise CgroupError(error.errno, f"process {pid} cannot enter its control group: {error.strerror}") from None

    def cpu_seconds(self) -> float:
        """User and system CPU seconds of every process that is or was in the group; 0 once it is removed."""
        with contextlib.suppress(OSError):
            for line in (self.path / "cpu.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "usage_usec":
                    return int(value) / 1e6
        return 0.0

    def processes(self) -> list[int]:
        """The processes in the group, by the numbers that they have for us."""
        with contextlib.suppress(OSError):
            return [int(word) for word in (self.path / "cgroup.procs").read_text().split() if word != "0"]
        return []

    def freeze(self, frozen: bool) -> None:
        """Stop every process in the group, and those they make; or let them go on."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.freeze").write_text("1" if frozen else "0")

    def kill(self) -> None:
        """End every process in the group, and those they are just making. They are dead or dying when this returns."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove the group, once its processes have ended; those that have not are ended. For a moment it may block."""
        for _ in range(_TRIES):
            try:
                self.path.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                self.kill()
                time.sleep(_RETRY_SECONDS)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def find() -> str | None:
    """Where this process can make groups: found by making one, and running a program in it. None where it cannot.

    Groups of ours that are left over of killed processes are removed there.
    """
    place = own_group()
    if place is None or not os.access(place, os.W_OK):
        return None
    remove_left_over(place)
    try:
        group = Cgroup.make(place)
    except CgroupError:
        return None
    try:
        command = group.entering(
            [_SHELL, "-c", 'read -r only < "$0" && [ "$only" = "$$" ]', str(group.path / "cgroup.procs")]
        )
        done = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE_SECONDS, env=child_environment(), check=False
        )
        usable = done.returncode == 0 and group.cpu_seconds() > 0 and (group.path / "cgroup.kill").exists()
    except (OSError, subprocess.TimeoutExpired):
        usable = False
    finally:
        group.remove()
    return place if usable else None


def group_of(pid: int) -> Cgroup | None:
    """The group of a process in a container, which its engine made: to be read only. None where it has none to itself.

    As in one of ours, nothing in there can leave it.
    """
    place = own_group(str(pid))
    if place is None or place in (own_group(), own_group("1")):
        return None
    group = Cgroup(Path(place), lock=-1)
    return group if pid in group.processes() else None


def own_group(process: str = "self") -> str | None:
    """The folder of the group that a process is in; None where there is no version 2 in sight."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    group = next((line[3:] for line in lines if line.startswith("0::/")), None)
    for line in mounts if group is not None else ():
        fields = line.split()
        if "cgroup2" in fields[fields.index("-") :][1:2]:
            root, point = fields[3], fields[4]
            assert group is not None
            if group == root or group.startswith(root.rstrip("/") + "/"):
                return point + group[len(root.rstrip("/")) :].rstrip("/")
    return None


def remove_left_over(place: str) -> int:
    """End and remove the groups in a place whose makers have ended; returns how many there were."""
    removed = 0
    for path in Path(place).glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue  # in use
        group = Cgroup(path, lock)
        group.kill()
        group.remove()
        removed += 1
    return removed
