"""One untrusted program with a sandbox of its own: started, and ended with everything it started.

A sandboxed process is started on the main thread. The kernel ties the child's parent-death signal (prctl(2),
PR_SET_PDEATHSIG) to the thread that made the child, not to the process: a child made on one of trio's worker threads
would be killed when that thread ends from idleness. A kill -9 of the node leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Sequence

import trio

from node.execution.sandbox import launch
from node.execution.sandbox.cgroup import Cgroup, group_of
from node.execution.sandbox.container import Container
from node.execution.sandbox.handover import Door
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.orders import SIGNAL_BASE
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.tree import Meter, children, descendants
from node.execution.sandbox.watch import ProcessEnd, Reason, Watched, readable

_END_SECONDS = 2.0  # how long the namespaces may take to end before the process that holds them is killed too
_LAST_SIGNAL = 64  # SIGRTMAX: the highest number a signal has on Linux
# When something other than us killed the init with SIGKILL, unshare tries to die of the same signal. In util-linux 2.38
# that fails with this message, and unshare exits with status 1.
_UNSHARE_SAW_SIGKILL = b"unshare: sigprocmask unblock failed: Invalid argument"
# Processes of the tree that are not the program's: bwrap or unshare outside, and the init inside.
_KEEPERS = {"bwrap": 2, "unshare": 2, "docker": 1, "podman": 1}
# A container starts within a second; where the machine is busy, or its engine makes up for something, it takes longer.
_START_SECONDS = 120.0


NO_NETWORK_OF_ITS_OWN = (
    "a program that asks a service through the node needs the sandbox bwrap, with a network of its own;"
    " `autoresearch-node doctor` says what is missing"
)


class NoSandboxError(RuntimeError):
    """This machine offers no sandbox, so nothing may be run. `layers.remedy` says what to do."""


class SandboxedProcess(Watched):
    """A program started behind a tier, and everything it starts. Make one with `start`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        policy: Policy,
        tier_name: str,
        lifeline: int,
        log: int,
        cgroup: Cgroup | None,
        inside: tuple[Container, Door] | None,
        on_output: Callable[[bytes], None] | None,
        listener: socket.socket | None = None,
    ) -> None:
        self._supervised = launch.is_supervised(tier_name, policy)
        keepers = 1 if self._supervised else _KEEPERS.get(tier_name, 0)
        # Of a container nothing is known until its first process comes to the door.
        root = process.pid if inside is None else 0
        meter = Meter(root, keepers=keepers, follow=policy.processes != "forks", cgroup=cgroup)
        super().__init__(root, tier_name, policy, log, meter, on_output)
        self._process = process
        self._keepers = keepers
        self._cgroup = cgroup
        self._inside = inside
        self._processors: Collection[int] | None = None  # that were named before there was a process to pin
        self._lifeline: int | None = lifeline
        self._listener = listener
        self._inner: int | None = None  # pidfd of the first process inside the PID namespace

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        policy: Policy,
        layers: Layers,
        keep: Sequence[int] = (),
        stdin: int | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> SandboxedProcess:
        """Start `argv` (absolute program path first) behind the strongest tier of `layers`. Does not wait for it.

        keep: descriptors the program inherits under the same numbers; the caller closes its own copies afterwards.
        on_output: see `Watched`.
        Call on the main thread. Raises NoSandboxError where no tier works, launch.UnavailableError when a tier's tool
        is gone, FileNotFoundError when a path of the policy does not exist, RuntimeError on another thread,
        CgroupError when the control groups that `layers` found are gone.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a sandboxed program must be started on the main thread, or it dies with the thread")
        name = tier(layers)
        if name is None:
            raise NoSandboxError("this machine offers no sandbox; `autoresearch-node doctor` says what is missing")
        if policy.node_at is not None and name != "bwrap":
            raise NoSandboxError(NO_NETWORK_OF_ITS_OWN)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as handed:
            lifeline, held = os.pipe()
            handed.callback(os.close, lifeline)
            undo.callback(os.close, held)
            log, writes = os.pipe()
            undo.callback(os.close, log)
            handed.callback(os.close, writes)
            reads = os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin)
            handed.callback(os.close, reads)
            inside, cgroup = None, None
            ours, theirs = (None, None) if policy.node_at is None else socket.socketpair()
            if ours is not None and theirs is not None:
                undo.callback(ours.close)
                handed.callback(theirs.close)
            given = (*keep, lifeline) if theirs is None else (*keep, lifeline, theirs.fileno())
            if layers.engine is not None and name == layers.engine.name:
                container = Container.make(layers.engine)
                undo.callback(container.remove_folder)
                inside = container, Door(container.door, [reads, writes, lifeline, *keep])
                undo.callback(inside[1].close)
            command = launch.command(
                name, argv, policy, keep=keep, lifeline=lifeline, inside=None if inside is None else inside[0],
                listener=None if theirs is None else theirs.fileno(),
            )  # fmt: skip
            if layers.cgroup is not None:
                cgroup = Cgroup.make(layers.cgroup)
                undo.callback(cgroup.remove)
                command = cgroup.entering(command)
            said = writes
            if inside is not None:
                said = inside[0].open_said()
                handed.callback(os.close, said)
            process = subprocess.Popen(
                command,
                stdin=reads if inside is None else subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=given if inside is None else (),
                start_new_session=True,  # Ctrl-C in the terminal is the node's to handle
                env=launch.OUTER_ENVIRONMENT if inside is None else inside[0].engine.environment,
                cwd="/",
            )
            undo.pop_all()
        return cls(process, policy, name, held, log, cgroup, inside, on_output, ours)

    async def listener(self) -> trio.SocketListener | None:
        """Where the node answers the program, in the program's own network; None where the program never came so far.

        For a policy with `node_at`, once. The caller closes it.
        """
        assert self._listener is not None
        with self._listener as connection:
            connection.setblocking(False)
            await trio.lowlevel.wait_readable(connection.fileno())
            _, found, _, _ = socket.recv_fds(connection, 16, 1)
        if not found:
            return None
        return trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=found[0])))

    async def supervise(self) -> None:
        if self._inside is None:
            await super().supervise()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_hold, *self._inside)
            await super().supervise()
            nursery.cancel_scope.cancel()

    async def _take_hold(self, inside: Container, door: Door) -> None:
        """Wait for the container's first process, give it what is for it, and know it from now on."""
        if not door.is_open:
            return  # it was ended at once
        try:
            with trio.move_on_after(_START_SECONDS) as patience:
                try:
                    await trio.lowlevel.wait_readable(door.fileno())
                except trio.ClosedResourceError:
                    return
            while self._frozen_at is not None and door.is_open:
                await self._thawed.wait()  # until then it waits at the door
            if not door.is_open:
                return
            if patience.cancelled_caught:
                raise OSError(f"no container came within {_START_SECONDS:g} s")
            pid = door.hand_over()
            self._inner = os.pidfd_open(pid)
        except OSError as error:
            self._log += b"%bthe container could not be used: %b" % (inside.said(), str(error).encode())
            self.kill()
            return
        self.pid = pid
        follow = self._policy.processes != "forks"
        self._meter = Meter(pid, keepers=self._keepers, follow=follow, cgroup=group_of(pid))
        if self._processors is not None:
            self.pin(self._processors)

    def pin(self, processors: Collection[int]) -> None:
        self._processors = processors
        super().pin(processors)

    @property
    def _running(self) -> bool:
        return self._process.returncode is None

    def _stop(self) -> None:
        self._stop_all()

    def _go_on(self) -> None:
        self._signal(set(descendants(self.pid)), signal.SIGCONT)

    def _stop_all(self) -> set[int]:
        """Stop every process of the tree and return their pids."""
        # A supervisor, or a container's init, goes on, so that it can still end the others when this node does.
        stopped: set[int] = {self.pid} if self._supervised or self._inside is not None else set()
        # A process that was not stopped yet may have forked since the list was made: repeat until nothing is new.
        while new := set(descendants(self.pid)) - stopped:
            self._signal(new, signal.SIGSTOP)
            stopped |= new
        return stopped

    def _signal(self, pids: set[int], number: signal.Signals) -> None:
        for pid in pids - {0}:  # 0 would be our own process group
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self) -> None:
        if self._frozen_at is not None:  # bwrap or unshare must run in order to see its namespace end
            self._signal({self.pid}, signal.SIGCONT)
        self._cut_lifeline()
        if self._inside is not None and self._inner is None:
            # What comes now finds the door shut, and ends; what does not come is removed in the end.
            self._shut(self._inside[1])
            self._process.kill()
            return
        if self._supervised:
            return  # the supervisor has seen it, and ends the program and all that belongs to it
        if self._find_inner():
            # Killing the namespace's first process ends all others in it. bwrap or unshare, which made it, then reaps
            # it and exits, so no zombie is left to another parent.
            assert self._inner is not None
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, signal.SIGKILL)
        else:
            self._signal(self._stop_all(), signal.SIGKILL)  # stopped first, so that none forks in the meantime
            self._kill_session()

    def _kill_session(self) -> None:
        """End what is left of the program's process group.

        To be called before the program is reaped: until then the kernel cannot give its pid, which is the group's
        number, to a stranger.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._cgroup is not None:  # also what has left the process group
            self._cgroup.kill()

    async def dead(self) -> None:
        """Return when the program and everything it started no longer run. After `kill` this takes milliseconds."""
        with trio.move_on_after(_END_SECONDS if self._reason else math.inf):
            await self._gone()
            return
        # bwrap or unshare did not follow its child, or a supervisor has not come to it: end them as well.
        if self._supervised:
            self._signal(self._stop_all(), signal.SIGKILL)
        if self._process.returncode is None:
            self._process.kill()
        await self._gone()

    async def _gone(self) -> None:
        if self._process.returncode is None:
            await readable(os.pidfd_open(self._process.pid))
            self._reap()
        if self._inner is not None:
            # Its end is seen only after every process of its namespace has ended.
            await readable(os.dup(self._inner))

    def _reap(self) -> None:
        if self._process.returncode is not None:
            return
        self._meter.read()
        if not self._keepers:  # a PID namespace ends with all its processes; without one we must end them
            self._kill_session()
        pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return
        if self._inside is None:  # else it is what the engine's command used
            self._meter.settle(used.ru_utime + used.ru_stime)
        self._process.returncode = os.waitstatus_to_exitcode(status)

    def _breach(self) -> Reason | None:
        self._find_inner()
        if self._inside is not None and self._frozen_at is not None and self._reason is None:
            self._stop()  # also what its init was just starting when the others were stopped
        return super()._breach()

    def _find_inner(self) -> bool:
        """Whether the first process inside the PID namespace is known; it appears a moment after the start."""
        if self._inner is None and self._keepers and self._inside is None and self._process.returncode is None:
            inside = children(self.pid)
            if inside:
                with contextlib.suppress(ProcessLookupError):
                    self._inner = os.pidfd_open(inside[0])
        return self._inner is not None

    def _close(self) -> int:
        self._cut_lifeline()
        if self._cgroup is not None:
            self._meter.read()
            self._cgroup.remove()
        if self._inner is not None:
            os.close(self._inner)
            self._inner = None
        os.close(self._log_pipe)
        status: int = self._process.returncode
        if self._inside is not None:
            status = self._leave_container(*self._inside, status)
        if self._keepers and SIGNAL_BASE < status <= SIGNAL_BASE + _LAST_SIGNAL:
            status = SIGNAL_BASE - status
        if self._log.rstrip().endswith(_UNSHARE_SAW_SIGKILL) and self.tier == "unshare":
            del self._log[self._log.rindex(_UNSHARE_SAW_SIGKILL) :]
            status = -signal.SIGKILL
        return status

    def _leave_container(self, container: Container, door: Door, status: int) -> int:
        """Give back what the container needed; returns the program's exit status, of which the engine's is the last
        resort.
        """
        report = door.report()
        self._shut(door)
        door.close()
        if self._inner is None and self._reason is None:
            self._log += container.said()
        container.remove_folder()
        if self._process.returncode < 0:  # its command was ended, so nobody has removed it
            container.remove()
        if report is None:
            return status
        self._meter.settle(report[1])
        code = os.waitstatus_to_exitcode(report[0])
        return code if code >= 0 else SIGNAL_BASE - code

    def _shut(self, door: Door) -> None:
        if door.is_open:
            trio.lowlevel.notify_closing(door.fileno())
            door.shut()

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


async def run_once(argv: Sequence[str], policy: Policy, layers: Layers, keep: Sequence[int] = ()) -> ProcessEnd:
    """Run a program to its end under a policy, the clock running from the start. Call on the main thread."""
    process = SandboxedProcess.start(argv, policy, layers, keep)
    process.start_clock()
    await process.supervise()
    assert process.outcome is not None
    return process.outcome
