"""The last code of ours in a sandboxed child: applies every restriction, then executes the untrusted program.

    python -I -S -B stage.py ORDERS -- program argument...

ORDERS is the JSON of `Orders`. Runs alone in its process, single-threaded, started by `process` directly or inside the
namespaces that bwrap or unshare made. Any failure here ends the process: the program never runs half confined. As the
first process of a PID namespace it stays as the init, and a child of it becomes the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from typing import NoReturn

# Isolated mode has no path to our package; appended last, so that nothing beside it can stand in for the library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

from node.execution.sandbox import landlock, seccomp
from node.execution.sandbox.orders import READ_ANY_FILE, SIGNAL_BASE, Orders

FAILED = 120  # exit status when the sandbox could not be closed
NICENESS = 19  # the weakest priority: every other program on this machine goes first
_SET_IO_PRIORITY = {"x86_64": 251, "aarch64": 30}  # ioprio_set, which the C library has no name for
_THIS_PROCESS = 1  # IOPRIO_WHO_PROCESS
_IO_IDLE = 3 << 13  # IOPRIO_CLASS_IDLE in the bits of the class (linux/ioprio.h)
_TRIES, _RETRY_SECONDS = 10, 0.1  # the kernel limits writes to autogroup to ten a second, from all users together

# Options of prctl(2), from linux/prctl.h, and the version of capset(2), from linux/capability.h.
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_KEEP_CAPABILITIES, _DROP_BOUND, _SET_NO_NEW_PRIVILEGES = 1, 4, 8, 24, 38
_AMBIENT = 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64  # bits of a capability set; Linux 6 defines 41 of them
_LAST_DESCRIPTOR = 65536  # inherited descriptors below this are closed: far more than a node has open

# What libraries read from the kernel besides their own files. OpenMP and torch size their pools by the totals of
# processors and memory.
_KERNEL_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems",
    "/proc/sys/vm/overcommit_memory", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
# Of the processes in /proc only the program's own is readable, and of its files those that say what is the program's.
# Not mounts, mountinfo and mountstats (the host's paths), net (counters of all connections), pagemap, smaps and io
# (what was in the page cache), nor the same files once more under task, where only threads' numbers can be listed.
_OWN_FILES = ("auxv", "autogroup", "cmdline", "comm", "environ", "limits", "maps", "stat", "statm", "status")


def main() -> None:
    """Apply the restrictions, each before one that would forbid applying it, then execve.

    The order matters: resource limits and the change of user need privileges; Landlock and seccomp come last, since
    seccomp forbids the calls that set up everything else.
    """
    orders = Orders(**json.loads(sys.argv[1]))
    program = sys.argv[sys.argv.index("--") + 1 :]
    _close_descriptors([*orders.keep, orders.lifeline])
    _reset_signals()
    # When memory runs out, the kernel is to end this process first (1000 is the highest score), and not the node.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for name, limit in orders.limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    init_is_confined = _leave_init_behind(orders) if orders.init else None
    _go_last()
    os.umask(0o077)
    os.chdir(orders.writable or "/")
    _give_up_power(orders)
    os.close(orders.lifeline)
    truncate_guarded = orders.mounts_private
    if landlock.abi() > 0:
        truncate_guarded |= landlock.restrict(_rules(orders)) >= landlock.ABI_TRUNCATE
    if init_is_confined is not None:
        # Wait for the init: its end of the pipe closes once it is confined. Our descriptor is closed on exec.
        os.read(init_is_confined, 1)
    seccomp.install(
        seccomp.program(
            processes=orders.processes,
            own_pid=os.getpid(),
            truncate_guarded=truncate_guarded,
            locks=orders.locks,
        )
    )
    os.execve(program[0], program, orders.environment)


def _reset_signals() -> None:
    """Have no signal ignored or blocked that was so in the node: both outlive an exec.

    A node that is started by nohup(1) ignores SIGHUP, and Python ignores SIGPIPE and SIGXFSZ.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_init_behind(orders: Orders) -> int:
    """Stay as PID 1, and return in a child. Returns a pipe that closes once PID 1 can do nothing but wait.

    The kernel drops every signal to PID 1 that has no handler, even one it sends itself, and makes it the parent of all
    orphans (pid_namespaces(7)). A program that is PID 1 would survive signals that kill it otherwise. bwrap's init is
    the model for ours: it forwards nothing, since the node signals each process itself. When the init ends, by itself
    or killed, the kernel ends everything in the namespace.
    """
    # Python's handler for SIGINT would make this the one signal by which the program could end its init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    confined, held_until_confined = os.pipe()
    program = os.fork()
    if program:
        _be_init(orders, program)
    os.close(held_until_confined)
    return confined


def _be_init(orders: Orders, program: int) -> NoReturn:
    """Give up every right, reap orphans, and end as the program ends.

    The init has a Landlock domain of its own that grants nothing. On Linux 6.12 or later the program cannot even send a
    signal into another domain, and on no version can it trace a process outside its own.
    """
    _give_up_power(orders)
    _set_capabilities(0)
    # Where the node is not root, the program has our user, and could read our memory if we were dumpable.
    _prctl(_SET_DUMPABLE, 0)
    landlock.restrict([])
    seccomp.install(seccomp.program(processes="none", own_pid=os.getpid(), truncate_guarded=True))
    # Our copies of the program's pipes too: readers at the other ends see the end only when no copy is open. This also
    # closes the pipe on which the program waits until we are confined.
    os.closerange(0, _LAST_DESCRIPTOR)
    ended = 0
    while ended != program:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else SIGNAL_BASE - code)


def _give_up_power(orders: Orders) -> None:
    """Take the program's user and capabilities, with no way back, and die when the process that started us dies."""
    _drop_privileges(orders.uid)
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    # Only now: a change of user clears the death signal.
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if _has_ended(orders.lifeline):
        os._exit(FAILED)  # the node died, or gave up on us, before the death signal was set


def _has_ended(lifeline: int) -> bool:
    """Whether the node's end of the pipe is closed. By poll(2): select(2) takes descriptors below 1024 only."""
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    return bool(poller.poll(0))


def _go_last() -> None:
    """Let every other program on this machine go first.

    A kernel with autogroup shares the processor among sessions, and niceness counts only within one (sched(7)). Each
    sandboxed process is a session of its own. If the session's own niceness were not set as well, four of them on one
    core would leave the user's session a fifth.
    """
    os.nice(NICENESS)
    if os.getsid(0) != os.getpid():
        os.setsid()  # without it, the niceness would be that of the session that started us
    for _ in range(_TRIES):
        try:
            with open("/proc/self/autogroup", "w") as file:
                file.write(str(NICENESS))
            break
        except BlockingIOError:
            time.sleep(_RETRY_SECONDS)
        except OSError:
            break  # this kernel has no autogroups
    if (number := _SET_IO_PRIORITY.get(os.uname().machine)) is not None:
        _libc().syscall(number, _THIS_PROCESS, 0, _IO_IDLE)  # a failure means a kernel without I/O priorities


def _rules(orders: Orders) -> list[landlock.Rule]:
    rules = [(path, landlock.READ_AND_EXECUTE) for path in orders.system]
    rules += [(path, landlock.READ) for path in orders.read_only]
    rules += [("/proc/self", landlock.READ_DIR)]
    rules += [(path, landlock.READ_FILE) for path in (*_KERNEL_FILES, *(f"/proc/self/{name}" for name in _OWN_FILES))]
    rules += [("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE)]
    if orders.writable is not None:
        rules += [(orders.writable, landlock.READ_AND_WRITE)]
    return rules


def _close_descriptors(keep: list[int]) -> None:
    """Close all but 0, 1, 2 and `keep`: with keep = [5], those are 3, 4, and 6 upwards."""
    first = 3
    for descriptor in sorted(keep):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _LAST_DESCRIPTOR)


def _drop_privileges(uid: int | None) -> None:
    """Become `uid` where one is given, and give up every capability but one.

    Where root had it, CAP_DAC_READ_SEARCH stays: it reads files whatever their mode. Without it the new user could not
    reach a Python under /root (mode 0700) or files that the node wrote for itself (0600). Which files may be read is
    decided by Landlock and the mounts, not by modes.
    """
    keep = READ_ANY_FILE & _permitted() if uid is not None else 0
    for capability in range(_CAPABILITIES):
        if not keep >> capability & 1:
            # Fails past the last capability, and without CAP_SETPCAP. Then no_new_privs is the bound: nothing that is
            # executed later can gain a capability.
            _libc().prctl(_DROP_BOUND, capability, 0, 0, 0)
    if uid is not None:
        _prctl(_SET_KEEP_CAPABILITIES, 1)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _libc().prctl(_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)
    _set_capabilities(keep)
    if keep:
        _prctl(_AMBIENT, _AMBIENT_RAISE, keep.bit_length() - 1)


def _permitted() -> int:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    if _libc().capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    return int(sets[1]) | int(sets[4]) << 32


def _set_capabilities(keep: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(keep, keep, keep, 0, 0, 0)  # effective, permitted, inheritable: low words, high words
    if _libc().capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, value: int, more: int = 0) -> None:
    if _libc().prctl(option, value, more, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    try:
        main()
    except BaseException as problem:
        os.write(2, f"the sandbox could not be closed: {type(problem).__name__}: {problem}\n".encode())
        os._exit(FAILED)
