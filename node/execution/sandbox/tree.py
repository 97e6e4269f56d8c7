"""What a process tree uses, read from outside: CPU time, memory, tasks, and bytes in a directory.

All of it is read through /proc; where the tree has a control group of its own, its CPU time is the group's.

Nothing here trusts or asks the processes that are measured.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass

from node.execution.sandbox.cgroup import Cgroup

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_PROCESSES = 5000  # a tree larger than this is over any limit of tasks, so the rest need not be listed
_SMALLEST_ENTRY = 4096  # bytes that an empty file counts for: it takes an inode and a name, though no block
_BLOCK = 512  # bytes in the unit of st_blocks, whatever the file system's (stat(2))


@dataclass(frozen=True)
class Usage:
    """A tree at one moment. Memory is resident bytes; a page that processes share counts in each (never too little).

    Memory and tasks leave out the tree's keepers (bwrap or unshare, and the init). CPU time includes them, since a
    program can make an init work, by leaving it orphans to reap.
    """

    cpu_seconds: float
    memory: int
    tasks: int


@dataclass(frozen=True)
class _Process:
    started: int
    own: float  # CPU seconds of the process itself
    reaped: float  # CPU seconds of descendants it has waited for


class Meter:
    """Follows the tree under one process. `read` may be called at any time, also when the tree is gone. Of the pid 0,
    which no process has, nothing is ever used.

    keepers: how many processes at the top of the tree are ours, each the only child of the one before. `descendants`
    lists them first. follow: what the program forks belongs to it; else only the program itself is counted, as each of
    its forks has a meter of its own. cgroup: the tree's own, from which nothing escapes.
    """

    def __init__(self, pid: int, *, keepers: int = 0, follow: bool = True, cgroup: Cgroup | None = None) -> None:
        self.pid = pid
        self._cgroup = cgroup
        self._keepers = keepers
        self._follow = follow
        root = _process(pid)
        self._started = root.started if root is not None else None
        self._cpu = 0.0
        self._alive: dict[tuple[int, int], float] = {}
        self._vanished = 0.0

    def read(self) -> Usage:
        """What the tree uses now, and the CPU seconds it has used so far, which never fall.

        Two counts are kept, and the larger is taken. One is the kernel's: the living processes and the children they
        have waited for. The other is the sum over every process as last seen, because the kernel adds a child's time to
        no parent that ignores SIGCHLD. For example, a parent that used 1 s and ignores a child seen last at 2 s: once
        the child has ended the kernel's count is 1 s, and the other 3 s. Of many short-lived children neither sees
        much. A control group sees all, and is the larger then.
        """
        counted, memory, tasks = 0.0, 0, 0
        alive: dict[tuple[int, int], float] = {}
        tree = descendants(self.pid)
        if self._cgroup is not None:
            known = set(tree)  # one whose parent has ended may have left the tree, but not the group
            tree += [pid for pid in self._cgroup.processes() if pid not in known]
            self._cpu = max(self._cpu, self._cgroup.cpu_seconds())
        for depth, pid in enumerate(tree if self._follow else tree[: self._keepers + 1]):
            process = _process(pid)
            if process is None:
                continue
            if pid == self.pid and process.started != self._started:
                break  # the program has ended, and its number was given to a stranger
            alive[pid, process.started] = process.own
            counted += process.own + (process.reaped if self._follow else 0.0)
            if depth >= self._keepers:
                memory += _resident(pid)
                tasks += len(_names(f"/proc/{pid}/task"))
        self._vanished += sum(own for key, own in self._alive.items() if key not in alive)
        self._alive = alive
        self._cpu = max(self._cpu, counted, self._vanished + sum(alive.values()))
        return Usage(self._cpu, memory, tasks)

    def settle(self, cpu_seconds: float) -> None:
        """Take in the kernel's final account of the tree, when its root has been waited for."""
        self._cpu = max(self._cpu, cpu_seconds)


def threads(pid: int) -> list[int]:
    """The thread ids of a process; none when it is gone."""
    return [int(name) for name in _names(f"/proc/{pid}/task")]


def children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads made them."""
    found: list[int] = []
    for thread in threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """The process and everything under it, parents before children."""
    found: list[int] = []
    waiting = [pid]
    while waiting and len(found) < _MOST_PROCESSES:
        process = waiting.pop()
        found.append(process)
        waiting += children(process)
    return found


def bytes_in(directory: str, enough: int) -> int:
    """Bytes on disk under a directory; counting ends once they are more than `enough`. Links are not followed.

    A folder that cannot be looked into, as its path is too long or its owner closed it, counts as more than enough:
    else a program could fill the disk there.
    """
    total, waiting = 0, [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += max(_SMALLEST_ENTRY, entry.stat(follow_symlinks=False).st_blocks * _BLOCK)
                    if total > enough:
                        return total
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return enough + 1
            continue  # removed while it was read
    return total


def _process(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The fields after the process's name (proc_pid_stat(5)). The name is in brackets and may hold any bytes.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    user, system, reaped_user, reaped_system = (int(field) / _TICKS_PER_SECOND for field in fields[11:15])
    own = user + system
    with contextlib.suppress(OSError):  # it is being reaped
        own = time.clock_gettime(
            _cpu_clock(pid)
        )  # to the nanosecond, where the fields above have hundredths of seconds
    return _Process(int(fields[19]), own, reaped_user + reaped_system)


def _cpu_clock(pid: int) -> int:
    """The id of the clock of the CPU time of a process and all its threads (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
