"""How long the node has held this process, as the node says. Part of the worker that trains; imports nothing of ours.

A clock on the wall goes on while a process is stopped, and nothing inside the process can see why. So the node says
before it lets the process go on, on the pipe by which the job came: the seconds in all, as <f64>, little-endian.
"""

import os
import select
import struct

SAYS = struct.Struct("<d")
READ_BYTES = 1 << 16


class Pauses:
    """Reads what the node says of the time in which it held this process."""

    def __init__(self, descriptor: int) -> None:
        """descriptor: the pipe by which the job came, after the job was read from it."""
        self._descriptor: int | None = descriptor
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)
        self._unread = b""
        self._seconds = 0.0

    def seconds(self) -> float:
        """The seconds in which the process was held, up to now."""
        while self._descriptor is not None and self._poller.poll(0):
            said = os.read(self._descriptor, READ_BYTES)
            if not said:  # the node has closed the pipe, and says no more
                self._descriptor = None
            self._unread += said
        whole = len(self._unread) // SAYS.size * SAYS.size
        if whole:
            (self._seconds,) = SAYS.unpack(self._unread[whole - SAYS.size : whole])
            self._unread = self._unread[whole:]
        return self._seconds
