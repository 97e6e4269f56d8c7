"""How a program in a container gets its descriptors, and the node gets hold of it: through one socket.

An engine starts containers from a process of its own. So a program there is no child of ours: it inherits nothing, and
the node does not know its number. Therefore the node listens on a socket in a folder of its own, which the container is
shown under one name, and the stage, the first process in the container, connects before it runs anything else. The
kernel says who that is, by the number the process has for us (SO_PEERCRED, unix(7)), and takes descriptors across
(SCM_RIGHTS). Then nobody listens any more, and the socket has no name. Over the same connection the stage reports at
last how the program has ended.

Runs in the child too, so it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Sequence

DOOR = "/door"  # where a container is shown the socket
_HIGH = 128  # descriptors from here on are free for moving others about, where the node's own numbers are lower
_MOST_DESCRIPTORS = 64
_MOST_REPORT_BYTES = 256
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))


class Door:
    """The node's end: listens until one process has come, and gives it what is for it."""

    def __init__(self, path: str, descriptors: Sequence[int]) -> None:
        """descriptors: to be given; the caller may close its own."""
        self._path = path
        self._given = [os.dup(descriptor) for descriptor in descriptors]
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection: socket.socket | None = None
        self._listener.bind(path)
        os.chmod(path, 0o666)  # it lies in a folder that only we can enter
        self._listener.listen(1)
        self._listener.setblocking(False)

    @property
    def is_open(self) -> bool:
        """Whether somebody may still come."""
        return self._listener is not None

    def fileno(self) -> int:
        """Readable when somebody has come."""
        assert self._listener is not None
        return self._listener.fileno()

    def hand_over(self) -> int:
        """Give the descriptors to the process that has come; returns its number. Raises OSError."""
        assert self._listener is not None
        self._connection, _ = self._listener.accept()
        self._connection.setblocking(False)
        size = _CREDENTIALS.size
        pid, _, _ = _CREDENTIALS.unpack(self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        if pid <= 0:
            raise OSError("the container's processes have no numbers here: its engine is in another namespace")
        socket.send_fds(self._connection, [b"given"], self._given)
        self.shut()
        return int(pid)

    def shut(self) -> None:
        """Let nobody in any more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            for descriptor in self._given:
                os.close(descriptor)

    def report(self) -> tuple[int, float] | None:
        """(wait status of the program, CPU seconds of all that was waited for); None where nobody said."""
        if self._connection is None:
            return None
        try:
            status, cpu_seconds = json.loads(self._connection.recv(_MOST_REPORT_BYTES))
        except (OSError, ValueError):
            return None
        return int(status), float(cpu_seconds)

    def close(self) -> None:
        self.shut()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def take(path: str, numbers: Sequence[int]) -> int:
    """In the container: get what is given, under these numbers; returns the connection, which is closed by an exec.

    Raises OSError when the node does not listen any more, or wants nothing of us.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as node:
        node.connect(path)
        _, given, _, _ = socket.recv_fds(node, _MOST_REPORT_BYTES, _MOST_DESCRIPTORS)
        if len(given) != len(numbers):
            raise OSError(f"{len(given)} descriptors came instead of {len(numbers)}")
        high = max(_HIGH, *numbers) + 1
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, high) for descriptor in [*given, node.fileno()]]
        for descriptor in given:
            os.close(descriptor)
    for descriptor, number in zip(moved[:-1], numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return moved[-1]


def tell(connection: int, status: int, cpu_seconds: float) -> None:
    """In the container: say how the program has ended."""
    with contextlib.suppress(OSError):  # the node has gone
        os.write(connection, json.dumps([status, cpu_seconds]).encode())
