"""What a sandboxed program may have and for how long: a plain statement, without a word on how it is enforced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.execution.sandbox.orders import Processes


@dataclass(frozen=True)
class Policy:
    """Limits of one program, and the paths it may read and write.

    Memory, tasks, output, disk and CPU are those of the whole process tree. Besides `read_only` the program reads the
    system's libraries (/usr and its like) and this Python with its packages. Without `writable` it can write nowhere.
    Its environment is `env` and a handful of fixed variables, never the node's.

    A program that starts other programs, as a repository's command does, needs more (all absolute paths): `programs`
    are read like `read_only`, and what is in them may be executed. `directory`, in `writable`, is where it starts. For
    one that `builds`, files in `writable` can be `locked`, which are mounted read-only where the tier has mounts of its
    own, and a folder of `stand_ins`, in `writable`, is seen there in the place of a system's folder.
    """

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    tasks: int  # processes and threads together
    output_bytes: int  # stdout and stderr together
    read_only: tuple[Path, ...] = ()  # files or directories
    programs: tuple[Path, ...] = ()  # files or directories
    writable: Path | None = None  # one directory; also the working directory and HOME of the program
    directory: Path | None = None
    locked: tuple[Path, ...] = ()
    stand_ins: Mapping[str, Path] = field(default_factory=dict)  # by the system's folder: "/tmp"
    writable_bytes: int = 0  # in `writable`; also the longest that a file may get that it was given to write to
    # Of one GPU: the device files a program uses it through. They may be opened, written and asked what its driver is
    # asked by ioctl, and the program may make the local socket that CUDA listens on. The driver's libraries are shown.
    devices: tuple[Path, ...] = ()
    # Beneath what is shown to read, also of the system and of Python: files or directories that cannot be read, though
    # not in tier "unsafe". Where the tier has no mounts of its own, their names can be listed.
    hidden: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1  # what numerical libraries are told to use
    # "any" means threads only where the tier has no PID namespace, except for a program that `builds` and is a user of
    # its own. The CPU time of short-lived children can be hidden from a meter that reads /proc, so what is paid for by
    # CPU time may make none: "threads" or "none".
    processes: Processes = "any"
    # Whether files may be locked and processes wait for each other in shared memory, as databases and build tools do. A
    # lock on a file that all can read tells something to every process that asks for it.
    locks: bool = False
    # Whether it makes programs, as compilers and build tools do: what is in `writable` may be executed, its processes
    # may talk to each other through local sockets where the tier shows no file of others (bwrap), and it may change
    # modes and times of files and make links there. Modes and times can be changed of any file that the program's user
    # owns and that is not mounted read-only, so this takes a user, or mounts, of the program's own; else it may only
    # execute.
    builds: bool = False
    # A port of the program's own loopback at which the node answers, and nobody else: the program may make TCP
    # connections there, and there is nothing else in its network. Only where the tier is bwrap.
    node_at: int | None = None
