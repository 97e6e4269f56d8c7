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
    """

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    tasks: int  # processes and threads together
    output_bytes: int  # stdout and stderr together
    read_only: tuple[Path, ...] = ()  # files or directories
    writable: Path | None = None  # one directory; also the working directory and HOME of the program
    writable_bytes: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1  # what numerical libraries are told to use
    # "any" means threads only where the tier has no PID namespace. The CPU time of short-lived children can be hidden
    # from a meter that reads /proc, so what is paid for by CPU time may make none: "threads" or "none".
    processes: Processes = "any"
    # Whether files may be locked and processes wait for each other in shared memory, as databases and build tools do. A
    # lock on a file that all can read tells something to every process that asks for it.
    locks: bool = False
