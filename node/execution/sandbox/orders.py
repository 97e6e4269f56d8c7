"""What `launch` passes to `stage` across the process boundary, and the meaning of an exit status on the way back.

Small and without imports of weight: the child loads it too, at every start.
"""

from __future__ import annotations

from typing import NamedTuple

READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
SIGNAL_BASE = 128  # an init whose program was ended by signal n exits with status 128 + n, as shells do


class Orders(NamedTuple):
    """What the stage is to do before it executes the program. Passed as JSON: lists, numbers and strings only."""

    system: list[str]  # paths to read and execute
    read_only: list[str]  # paths to read
    writable: str | None  # the one directory to read and write
    keep: list[int]  # descriptors the program inherits besides 0, 1, 2
    lifeline: int  # read end of a pipe whose other end only the node holds
    limits: dict[str, int]  # resource.RLIMIT_* name -> soft and hard limit
    uid: int | None  # user to become; None to keep the node's
    init: bool  # the stage is PID 1 of its namespace: it stays there, and a child of it becomes the program
    fork: bool  # a PID namespace holds the tree, so processes may be made
    locks: bool  # files may be locked
    mounts_private: bool  # the tree sees only its own mounts, so nothing else can be truncated
    environment: dict[str, str]
