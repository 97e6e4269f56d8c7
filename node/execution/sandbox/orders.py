"""What `box` and `stage` tell each other across the process boundary. Small and light: it is imported in both."""

from __future__ import annotations

from typing import NamedTuple

READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
SIGNAL_BASE = 128  # an init tells the signal n that ended its program as exit status 128 + n, as shells do


class Orders(NamedTuple):
    """Travels as JSON: lists, numbers and strings only."""

    system: list[str]  # read and execute
    read_only: list[str]  # read
    writable: str | None
    keep: list[int]  # descriptors the program inherits besides 0, 1, 2
    lifeline: int  # read end of a pipe whose other end only the node holds
    limits: dict[str, int]  # resource.RLIMIT_* name -> soft and hard limit
    uid: int | None  # user to become; None to stay who we are
    init: bool  # the stage is PID 1 of its namespace: it stays there, and a child of it becomes the program
    fork: bool  # a PID namespace holds the tree, so processes may be made
    mounts_private: bool  # the tree sees only its own mounts, so nothing else can be truncated
    environment: dict[str, str]
