"""Forks of a clean process inside a sandbox, from the node's side: the server, and each fork of it.

It knows how a fork is asked for, taken hold of, watched and ended. What happens inside the sandbox is in `fork_server`.
What the forked programs do, and what is in the descriptors they get, it does not know.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from node.execution.sandbox import landlock, launch, readable_paths
from node.execution.sandbox.cgroup import Cgroup
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.orders import (
    GO,
    HERE,
    MOST_REQUEST_BYTES,
    READY,
    SEALED,
    ForkRequest,
    ServerOrders,
)
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import SandboxedProcess
from node.execution.sandbox.tree import Meter
from node.execution.sandbox.watch import Watched, readable

_PROGRAM = Path(__file__).with_name("fork_server.py")
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))
_READY_SECONDS = 600.0  # to import everything: seconds; minutes on a machine whose other programs leave little
_END_SECONDS = 2.0  # for the server to end, or to report the end of a fork; a server that is stuck is ended then


class ServerLostError(Exception):
    """The fork server has ended, or did not do as agreed, and is to be replaced. The text is what it said last."""


class ForkServer:
    """A process that has imported what its forks need, and never runs what they run. Make one with `start`.

    It makes one fork at a time: the next one begins when the last has ended.
    """

    def __init__(self, process: SandboxedProcess, requests: socket.socket, layers: Layers) -> None:
        self.process = process
        self._place = layers.cgroup
        # A fork's processes may signal each other. They may not signal the server, which has the same user: this needs
        # Landlock to keep signals inside, besides a control group that counts and ends all of them.
        scoped = layers.landlock >= landlock.ABI_SCOPES
        self.may_fork_again = scoped and layers.cgroup is not None and launch.has_own_processes(process.tier)
        self._requests = requests
        self._ready = False
        self._turn = trio.Lock()
        self.ended = trio.Event()

    @classmethod
    def start(cls, preload: Path, programs: Sequence[Path], policy: Policy, layers: Layers) -> ForkServer:
        """Start a server that runs the script `preload` and then forks on request, to run one of the scripts.

        What is beside these scripts they may import as `node.execution.workers`: the server, before it forks.
        policy: what the server itself may use. A fork is held to less of each by a policy of its own. Call on the main
        thread; then run `supervise` in a nursery. Raises as SandboxedProcess.start does.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        name = tier(layers)
        orders = ServerOrders(
            socket=theirs.fileno(),
            preload=str(preload),
            programs=[str(path) for path in programs],
            readable=[*readable_paths.system(), *readable_paths.python()],
            hidden=[str(path.resolve()) for path in policy.hidden],
            seal=name != "unsafe",
            mounts_private=name is not None and launch.has_own_mounts(name),
        )
        policy = replace(
            policy,
            processes="forks",
            read_only=(_PROGRAM.parent, *sorted({path.parent for path in (preload, *programs)})),
        )
        try:
            command = [*launch.python(_PROGRAM), json.dumps(orders._asdict())]
            process = SandboxedProcess.start(command, policy, layers, keep=(theirs.fileno(),))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours, layers)

    async def supervise(self) -> None:
        """Watch the server until it ends. Cancelling ends it, and with it a fork that is left."""
        try:
            await self.process.supervise()
        finally:
            self.ended.set()
            trio.lowlevel.notify_closing(self._requests.fileno())
            self._requests.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked for another fork, as far as the kernel knows now."""
        if self.process.outcome is not None or self.process.dying:
            return False
        poller = select.poll()
        poller.register(self._requests, 0)  # POLLHUP is always told: the server has closed its end, in dying
        return not poller.poll(0)

    async def wait_ready(self) -> None:
        """Return when everything is imported. Raises ServerLostError when the server has ended, or takes too long."""
        async with self._turn:
            with trio.move_on_after(_READY_SECONDS):
                if not self._ready:
                    self._ready = (await _receive(self._requests))[0] == READY
        if not self._ready:
            with trio.move_on_after(_END_SECONDS):  # it is to say why before it ends
                await self.ended.wait()
            self.process.kill()
            await self.ended.wait()
        if self.process.outcome is not None:
            raise ServerLostError(self.process.log_tail() or "the fork server has ended")

    async def fork(
        self, program: str, arguments: Sequence[str], descriptors: Sequence[int], policy: Policy
    ) -> ForkedProcess:
        """A fork that runs one of the server's programs, sealed. Run its `supervise` in a nursery at once.

        descriptors: the fork gets copies of them as 3, 4 and so on, and the caller closes its own. Each is to be opened
        for this fork alone, since whoever has a descriptor of the same opening shares its position and flags. Of the
        policy, paths and environment are the server's; `processes` is "threads" or "none", or "any" where
        `may_fork_again`.
        Raises ServerLostError when the server has ended, OSError when no process or descriptor is free.
        """
        if policy.processes == "forks" or (policy.processes == "any" and not self.may_fork_again):
            raise ValueError("a fork makes no processes here: its meter would not see them all")
        await self.wait_ready()
        request = ForkRequest(program, list(arguments), policy.processes, launch.fork_limits(policy))
        with contextlib.ExitStack() as undo:
            ours, log = undo.enter_context(_Ends()).send(self._requests, request, descriptors)
            pid = await _expect(HERE, ours, log)
            held = os.pidfd_open(pid)
            undo.callback(os.close, held)
            group = Cgroup.make(self._place) if self._place is not None else None
            if group is not None:
                undo.callback(group.remove)
                group.add(pid)
            # Created while the fork waits, so the meter knows its start.
            fork = ForkedProcess(self, pid, held, policy, log, ours, group)
            undo.callback(signal.pidfd_send_signal, held, signal.SIGKILL)
            ours.send(GO)
            # The number could have been a stranger's, if the fork had died before we took hold of it. It has not:
            # it is the fork with this number that answers now.
            if await _expect(SEALED, ours, log) != pid:
                raise ServerLostError("the fork server's fork is not who it was")
            undo.pop_all()
        return fork


class ForkedProcess(Watched):
    """One fork of a server: one process, and what it starts where it may. Made by `ForkServer.fork`."""

    def __init__(
        self,
        server: ForkServer,
        pid: int,
        held: int,
        policy: Policy,
        log_pipe: int,
        control: socket.socket,
        cgroup: Cgroup | None,
    ) -> None:
        super().__init__(pid, server.process.tier, policy, log_pipe, Meter(pid, cgroup=cgroup))
        self._cgroup = cgroup
        self._server = server
        self._held = held  # pidfd
        self._control = control
        self._status: int | None = None

    @property
    def _running(self) -> bool:
        return self._status is None

    def _stop(self) -> None:
        if self._cgroup is not None:
            self._cgroup.freeze(True)
        else:
            self._signal(signal.SIGSTOP)

    def _go_on(self) -> None:
        if self._cgroup is not None:
            self._cgroup.freeze(False)
        else:
            self._signal(signal.SIGCONT)

    def _end(self) -> None:
        self._signal(signal.SIGKILL)
        if self._cgroup is not None:
            self._cgroup.kill()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._held, number)

    async def dead(self) -> None:
        with trio.move_on_after(_END_SECONDS):
            await self._gone()
            return
        self._server.process.kill()
        await self._gone()

    async def _gone(self) -> None:
        if self._status is not None:
            return
        await readable(os.dup(self._held))
        report, _ = await _receive(self._control)
        if report:
            status, cpu_seconds = json.loads(report)
            self._meter.settle(cpu_seconds)
            self._status = os.waitstatus_to_exitcode(status)
        else:  # the server has ended, and a fork dies with it
            self._status = -signal.SIGKILL

    def _close(self) -> int:
        if self._cgroup is not None:
            self._cgroup.kill()  # what it has left behind
            self._meter.read()
            self._cgroup.remove()
        os.close(self._log_pipe)
        os.close(self._held)
        self._control.close()
        assert self._status is not None
        return self._status


class _Ends:
    """The ends of a fork's control socket and log while it is asked for. Closes all that were not taken on leaving."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def __enter__(self) -> _Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def send(
        self, requests: socket.socket, request: ForkRequest, descriptors: Sequence[int]
    ) -> tuple[socket.socket, int]:
        """Ask for a fork; returns the node's ends, control socket and log. Raises ServerLostError, OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._open.callback(ours.close)
        with theirs, contextlib.ExitStack() as sent:
            # The kernel then says beside each message who sent it, by the number that process has for us.
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.setblocking(False)
            nothing = os.open(os.devnull, os.O_RDONLY)
            sent.callback(os.close, nothing)
            log, writes = os.pipe()
            self._open.callback(os.close, log)
            sent.callback(os.close, writes)
            given = [theirs.fileno(), nothing, writes, *descriptors]
            try:
                socket.send_fds(requests, [json.dumps(request._asdict()).encode()], given)
            except (BrokenPipeError, ConnectionResetError) as lost:
                raise ServerLostError("the fork server has ended") from lost
        return ours, log


async def _receive(end: socket.socket) -> tuple[bytes, int]:
    """(message, number of the process that sent it); (b"", 0) when there will be none."""
    while True:
        try:
            message, extra, _, _ = end.recvmsg(MOST_REQUEST_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            break
        except BlockingIOError:
            with contextlib.suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(end.fileno())
        except OSError:  # one of the ends is closed
            return b"", 0
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return message, _CREDENTIALS.unpack(data)[0]
    return message, 0


async def _expect(word: bytes, control: socket.socket, log: int) -> int:
    """The number of the fork that says this word. Raises OSError when it could not be made, ServerLostError else."""
    message, pid = await _receive(control)
    if message == word:
        return pid
    report = json.loads(message) if message else None
    if isinstance(report, dict):
        raise OSError(report["refused"], os.strerror(report["refused"]))
    os.set_blocking(log, False)
    with contextlib.suppress(BlockingIOError):
        raise ServerLostError(
            os.read(log, MOST_REQUEST_BYTES).decode("utf-8", "replace") or "the fork server has ended"
        )
    raise ServerLostError("the fork server has ended")
