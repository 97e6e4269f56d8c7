"""One untrusted program, running: started, watched from outside, ended with everything it started.

A sandboxed process is started on the main thread. The kernel ties the child's parent-death signal (prctl(2),
PR_SET_PDEATHSIG) to the thread that made the child, not to the process: a child made on one of trio's worker threads
would be killed when that thread ends from idleness. All waiting is done with trio. A kill -9 of the node leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from node.execution.sandbox import launch
from node.execution.sandbox.layers import Layers, tier
from node.execution.sandbox.orders import SIGNAL_BASE
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.tree import Meter, bytes_in, children, descendants, threads

Reason = Literal["exit", "time", "cpu", "memory", "tasks", "output", "disk", "killed"]

# How often the limits are checked: see `poll_seconds`.
_POLL_SECONDS = 0.05
_POLL_SHARE = 0.01  # of the node's time that checks may take, so that many nodes on one machine leave it to their runs
_SLOWEST_POLL_SECONDS = 0.1  # however long a check takes: a limit is enforced no later than this
_WAITING_POLL_SECONDS = 1.0  # before the clock starts: the process is idle, and several wait ahead of need
_LOG_BYTES = 4096  # kept of the output: its end, which says why a program failed
_READ_BYTES = 65536  # in one read: the capacity of a pipe (pipe(7))
_MOST_READS = 64  # of the log pipe in one go (4 MiB), so that a flood does not keep the node from its other work
_END_SECONDS = 2.0  # how long the namespaces may take to end before the process that holds them is killed too
_LAST_SIGNAL = 64  # SIGRTMAX: the highest number a signal has on Linux
# When something other than us killed the init with SIGKILL, unshare tries to die of the same signal. In util-linux 2.38
# that fails with this message, and unshare exits with status 1.
_UNSHARE_SAW_SIGKILL = b"unshare: sigprocmask unblock failed: Invalid argument"
# Signals that say more than "it crashed": SIGKILL comes from the kernel when memory ran out (or from a person), SIGXCPU
# when the limit of CPU time was reached.
_REASONS_OF_SIGNALS: dict[int | None, Reason] = {signal.SIGKILL: "killed", signal.SIGXCPU: "cpu"}


class NoSandboxError(RuntimeError):
    """This machine offers no sandbox, so nothing may be run. `layers.remedy` says what to do."""


@dataclass(frozen=True)
class ProcessEnd:
    """How a program ended. `code` when it exited, `signal` when it was killed.

    reason: "exit", by itself; the limit it went over: "time", "cpu", "memory", "tasks", "output", "disk"; or "killed",
    by the node or by something else on this machine (the kernel, when memory runs out). Sizes are in bytes.
    """

    reason: Reason
    code: int | None
    signal: int | None
    wall_seconds: float
    cpu_seconds: float
    peak_memory: int
    log_tail: str
    tier: str


class SandboxedProcess:
    """A running program. Make one with `start`, then run `supervise` in a nursery from the beginning."""

    def __init__(self, process: subprocess.Popen[bytes], policy: Policy, tier_name: str, lifeline: int) -> None:
        self.pid = process.pid
        self.tier = tier_name
        self.outcome: ProcessEnd | None = None
        self.peak_memory = 0
        self._process = process
        self._policy = policy
        self._lifeline: int | None = lifeline
        self._meter = Meter(process.pid, keepers=self._keepers())
        self._inner: int | None = None  # pidfd of the first process inside the PID namespace
        self._started = time.monotonic()
        self._deadline = math.inf
        self._clock_started = trio.Event()
        self._reason: Reason | None = None
        self._log = bytearray()
        self._output = 0
        assert process.stdout is not None
        self._log_pipe = process.stdout.fileno()
        os.set_blocking(self._log_pipe, False)
        self._next_disk_check = 0.0
        self._frozen_at: float | None = None
        self._thawed = trio.Event()
        self.frozen_seconds = 0.0  # so far

    @classmethod
    def start(
        cls, argv: Sequence[str], policy: Policy, layers: Layers, keep: Sequence[int] = (), stdin: int | None = None
    ) -> SandboxedProcess:
        """Start `argv` (absolute program path first) behind the strongest tier of `layers`. Does not wait for it.

        keep: descriptors the program inherits under the same numbers; the caller closes its own copies afterwards.
        Call on the main thread. Raises NoSandboxError where no tier works, launch.UnavailableError when a tier's tool
        is gone, FileNotFoundError when a path of the policy does not exist, RuntimeError on another thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a sandboxed program must be started on the main thread, or it dies with the thread")
        name = tier(layers)
        if name is None:
            raise NoSandboxError("this machine offers no sandbox; `autoresearch-node doctor` says what is missing")
        lifeline, held = os.pipe()
        try:
            process = subprocess.Popen(
                launch.command(name, argv, policy, keep=keep, lifeline=lifeline),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(*keep, lifeline),
                start_new_session=True,  # Ctrl-C in the terminal is the node's to handle
                env=launch.OUTER_ENVIRONMENT,
                cwd="/",
            )
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(lifeline)
        return cls(process, policy, name, held)

    def start_clock(self, seconds: float | None = None) -> None:
        """From now the program has `seconds` of wall time (None: the policy's). Before, it may wait for ever."""
        self._deadline = time.monotonic() + (self._policy.wall_seconds if seconds is None else seconds)
        self._clock_started.set()

    def log_tail(self) -> str:
        """The last lines of what the program printed (about 4 KB), safe to show on a terminal."""
        text = bytes(self._log).decode("utf-8", "replace").replace("\r", "\n").replace("\t", "    ")
        return "".join(c for c in text if c == "\n" or not unicodedata.category(c).startswith("C")).strip("\n")

    def cpu_seconds(self) -> float:
        """User and system CPU seconds of the whole tree so far, including what has ended; as seen from outside."""
        return self._meter.read().cpu_seconds

    def freeze(self) -> None:
        """Stop every process of the tree (SIGSTOP); its wall clock stands still too, until `thaw` or `kill`."""
        if self._process.returncode is not None or self._frozen_at is not None:
            return
        self._frozen_at = time.monotonic()
        self._thawed = trio.Event()
        self._stop_all()

    def thaw(self) -> None:
        """Let a frozen tree go on."""
        if self._frozen_at is None:
            return
        frozen = time.monotonic() - self._frozen_at
        self._deadline += frozen
        self.frozen_seconds += frozen
        self._frozen_at = None
        self._thawed.set()
        if self._process.returncode is None:
            self._signal(set(descendants(self.pid)), signal.SIGCONT)

    def pin(self, processors: Collection[int]) -> None:
        """Let every thread of the tree, and all it starts, run on these processors only. The tree cannot undo it."""
        for pid in descendants(self.pid):
            for thread in threads(pid):
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(thread, processors)

    def _stop_all(self) -> set[int]:
        """Stop every process of the tree and return their pids."""
        stopped: set[int] = set()
        # A process that was not stopped yet may have forked since the list was made: repeat until nothing is new.
        while new := set(descendants(self.pid)) - stopped:
            self._signal(new, signal.SIGSTOP)
            stopped |= new
        return stopped

    def _signal(self, pids: set[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, reason: Reason = "killed") -> None:
        """End the whole tree; it is dead or dying when this returns. The first reason given is the outcome's."""
        if self._process.returncode is not None:
            return
        if self._frozen_at is not None:  # bwrap or unshare must run in order to see its namespace end
            self._signal({self.pid}, signal.SIGCONT)
        self._reason = self._reason or reason
        self._meter.read()
        self._cut_lifeline()
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

    async def supervise(self) -> None:
        """Watch until the program and all it started are gone; end it when it goes over a limit.

        Its output is read continuously, so printing never blocks it. Cancelling kills the program and returns when it
        is dead. Afterwards `outcome` is set.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_output)
                nursery.start_soon(self._watch)
                await self._gone()
                nursery.cancel_scope.cancel()
        finally:
            self.kill()
            with trio.CancelScope(shield=True):
                await self.dead()
            self._close()

    async def dead(self) -> None:
        """Return when the program and everything it started no longer run. After `kill` this takes milliseconds."""
        with trio.move_on_after(_END_SECONDS if self._reason else math.inf):
            await self._gone()
            return
        # bwrap or unshare did not follow its child: end it as well.
        if self._process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
        await self._gone()

    async def _gone(self) -> None:
        if self._process.returncode is None:
            await _readable(os.pidfd_open(self.pid))
            self._reap()
        if self._inner is not None:
            # Its end is seen only after every process of its namespace has ended.
            await _readable(os.dup(self._inner))

    def _reap(self) -> None:
        if self._process.returncode is not None:
            return
        self._meter.read()
        if not self._keepers():  # a PID namespace ends with all its processes; without one we must end them
            self._kill_session()
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return
        self._meter.settle(used.ru_utime + used.ru_stime)
        self._process.returncode = os.waitstatus_to_exitcode(status)

    async def _drain_output(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._log_pipe)
            if not self._read_output():
                return
            await trio.lowlevel.checkpoint()

    def _read_output(self) -> bool:
        """Read what is in the log pipe; False when every writing end is closed."""
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._log_pipe, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._output += len(data)
            self._log += data
            del self._log[:-_LOG_BYTES]
            if self._output > self._policy.output_bytes:
                self.kill("output")
        return True

    async def _watch(self) -> None:
        while True:
            begun = time.monotonic()
            breach = self._breach()
            if breach is not None:
                self.kill(breach)
                return
            if self._frozen_at is not None:
                with trio.move_on_after(_WAITING_POLL_SECONDS):
                    await self._thawed.wait()
            elif self._clock_started.is_set():
                await trio.sleep(poll_seconds(time.monotonic() - begun))
            else:
                with trio.move_on_after(_WAITING_POLL_SECONDS):
                    await self._clock_started.wait()

    def _breach(self) -> Reason | None:
        policy, usage = self._policy, self._meter.read()
        self.peak_memory = max(self.peak_memory, usage.memory)
        self._find_inner()
        if time.monotonic() > self._deadline and self._frozen_at is None:
            return "time"
        if usage.memory > policy.memory_bytes:
            return "memory"
        if usage.tasks > policy.tasks:
            return "tasks"
        if usage.cpu_seconds > policy.cpu_seconds:
            return "cpu"
        if policy.writable is not None and self._too_much_on_disk(str(policy.writable)):
            return "disk"
        return None

    def _too_much_on_disk(self, directory: str) -> bool:
        now = time.monotonic()
        if now < self._next_disk_check:
            return False
        found = bytes_in(directory, self._policy.writable_bytes)
        # Many files take long to count. Counting starts at most once in five times as long as it took, so it takes
        # no more than a fifth of the node's time: if it took 0.2 s, the next count starts 1 s after this one did.
        self._next_disk_check = now + 5 * (time.monotonic() - now)
        return found > self._policy.writable_bytes

    def _keepers(self) -> int:
        """How many processes of the tree are not the program's: bwrap or unshare outside, and the init inside."""
        return {"bwrap": 2, "unshare": 2}.get(self.tier, 0)

    def _find_inner(self) -> bool:
        """Whether the first process inside the PID namespace is known; it appears a moment after the start."""
        if self._inner is None and self._keepers() and self._process.returncode is None:
            inside = children(self.pid)
            if inside:
                with contextlib.suppress(ProcessLookupError):
                    self._inner = os.pidfd_open(inside[0])
        return self._inner is not None

    def _close(self) -> None:
        self._read_output()
        self._cut_lifeline()
        if self._inner is not None:
            os.close(self._inner)
            self._inner = None
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.outcome = self._ending(self._process.returncode)

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _ending(self, status: int) -> ProcessEnd:
        number = -status if status < 0 else None
        if self._keepers() and SIGNAL_BASE < status <= SIGNAL_BASE + _LAST_SIGNAL:
            number = status - SIGNAL_BASE
        if self._log.rstrip().endswith(_UNSHARE_SAW_SIGKILL) and self.tier == "unshare":
            del self._log[self._log.rindex(_UNSHARE_SAW_SIGKILL) :]
            number = signal.SIGKILL
        reason = self._reason
        if reason is not None:
            number = signal.SIGKILL  # we sent it, whatever exit status bwrap or unshare made of it
        elif number in _REASONS_OF_SIGNALS:
            reason = _REASONS_OF_SIGNALS[number]
        else:
            reason = "exit"
        return ProcessEnd(
            reason=reason,
            code=None if number is not None else status,
            signal=number,
            wall_seconds=time.monotonic() - self._started,
            cpu_seconds=self._meter.read().cpu_seconds,
            peak_memory=self.peak_memory,
            log_tail=self.log_tail(),
            tier=self.tier,
        )


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor is readable, and close it. It is the caller's own: trio lets one task wait on each."""
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


async def run_once(argv: Sequence[str], policy: Policy, layers: Layers, keep: Sequence[int] = ()) -> ProcessEnd:
    """Run a program to its end under a policy, the clock running from the start. Call on the main thread."""
    process = SandboxedProcess.start(argv, policy, layers, keep)
    process.start_clock()
    await process.supervise()
    assert process.outcome is not None
    return process.outcome


def poll_seconds(took: float) -> float:
    """Seconds to wait after a check of a tree that took `took` seconds, so that checks take a share of _POLL_SHARE.

    A check of 0.2 ms is followed by 50 ms (the least), one of 0.8 ms by 80 ms, one of 5 ms by 100 ms (the most).
    """
    return min(max(_POLL_SECONDS, took / _POLL_SHARE), _SLOWEST_POLL_SECONDS)
