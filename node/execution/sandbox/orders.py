"""What the node passes to `stage` and `fork_server` across the process boundary, and what comes back.

Small and without imports of weight: the child loads it too, at every start.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
SIGNAL_BASE = 128  # an init whose program was ended by signal n exits with status 128 + n, as shells do

# What a program may make. "any": processes, and it may signal them; only inside a PID namespace, which ends as a whole,
# or as a user of its own under a supervisor that ends all of this user.
# "forks": forks of itself, each of which it seals before anything untrusted runs in it, and no signals. "threads":
# threads only. "none": not even these, for what must leave no trace in the numbers that the kernel gives to processes.
Processes = Literal["any", "forks", "threads", "none"]


class Mounts(NamedTuple):
    """What a program's own mounts are, besides `writable`: everything else is read-only then. Passed as JSON."""

    folders: list[str]  # in `writable`, that may not be renamed: those in which locked files lie
    locked: list[str]  # files in `writable` that are read-only
    stand_ins: list[tuple[str, str]]  # (folder in `writable`, folder of the system in whose place it is seen)


class Orders(NamedTuple):
    """What the stage is to do before it executes the program. Passed as JSON: lists, numbers and strings only."""

    system: list[str]  # paths to read and execute
    read_only: list[str]  # paths to read
    programs: list[str]  # the same, to read and execute
    devices: list[str]  # device files of one GPU, to read, write and ask by ioctl
    groups: list[int]  # that the program's own user needs to open them
    hidden: list[str]  # paths without symbolic links, beneath others, that cannot be read
    writable: str | None  # the one directory to read and write
    directory: str  # to start in
    mounts: Mounts | None  # the program's own; made by bwrap, or else by the stage
    keep: list[int]  # descriptors the program inherits besides 0, 1, 2
    lifeline: int  # read end of a pipe whose other end only the node holds
    door: str | None  # in a container: the socket over which descriptors come, and the end is reported
    node_at: int | None  # port of the program's own loopback whose listening socket the node gets, over `listener`
    listener: int | None  # one end of a pair of local sockets
    limits: dict[str, int]  # resource.RLIMIT_* name -> soft and hard limit
    uid: int | None  # user to become; None to keep the node's
    supervise: (
        bool  # the stage stays as the supervisor of a program without a PID namespace; a child becomes the program
    )
    init: bool  # the stage is PID 1 of its namespace: it stays there, and a child of it becomes the program
    processes: Processes  # what the program may make
    locks: bool  # files may be locked
    builds: bool  # what is in `writable` may be executed
    own_files: bool  # modes and times of files may be changed: the program's user owns no others
    mounts_private: bool  # the tree sees only its own mounts, so nothing else can be truncated
    environment: dict[str, str]


class ServerOrders(NamedTuple):
    """What a fork server is to do before it serves. Passed as JSON."""

    socket: int  # descriptor on which requests come
    preload: str  # the script that imports what all forks need
    programs: list[str]  # the scripts a fork may be asked to run
    readable: list[str]  # paths that forks read
    hidden: list[str]  # as in Orders
    seal: bool  # False only in tier "unsafe", which protects nothing
    mounts_private: bool  # as in Orders


class ForkRequest(NamedTuple):
    """One fork. Passed as JSON beside its descriptors: the control socket, standard input, the log, and what it gets.

    The fork finds what it gets as descriptors 3, 4, and so on.
    """

    program: str  # name of one of the server's programs, without suffix
    arguments: list[str]
    processes: Processes  # "threads" or "none"
    limits: dict[str, int]  # as in Orders; only ever lower than the server's


# On the control socket of a fork: the fork says HERE, the node GO, the fork SEALED, and at last the server how it
# ended, as JSON [wait status, CPU seconds].
HERE, GO, SEALED = b"here", b"go", b"sealed"
READY = b"ready"  # from a server, on its own socket
FIRST_GIVEN = 3  # descriptor under which a fork finds the first of what it gets
MOST_REQUEST_BYTES = 8192
MOST_DESCRIPTORS = 16  # of a request
