"""The last code of ours in a sandboxed child: closes every door, then becomes the untrusted program.

    python -I -S -B stage.py ORDERS -- program argument...

ORDERS is the JSON of `Orders`. Runs alone in its process, single-threaded, started by `box` directly or inside the
namespaces that bwrap or unshare made. Whatever fails here ends the process: the program is never run half closed in.
As the first process of a PID namespace it leaves itself behind as init, and becomes the program in a child.
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
NICENESS = 19  # whoever else uses this machine goes first, at the processor and at the disk
_SET_IO_PRIORITY = {"x86_64": 251, "aarch64": 30}  # ioprio_set, which the C library has no name for
_THIS_PROCESS, _IO_IDLE = 1, 3 << 13  # IOPRIO_WHO_PROCESS; IOPRIO_CLASS_IDLE in its place
_TRIES, _SOON = 10, 0.1

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_KEEP_CAPABILITIES, _DROP_BOUND, _SET_NO_NEW_PRIVILEGES = 1, 4, 8, 24, 38
_AMBIENT = 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_LAST_DESCRIPTOR = 65536

# What libraries ask of the kernel besides their own files. Of /proc only the process itself: cpu and memory totals are
# what OpenMP and torch size their pools by.
_KERNEL_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems",
    "/proc/sys/vm/overcommit_memory", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip


def main() -> None:
    """Close the doors in the order in which they stay closable, then execve."""
    split = sys.argv.index("--")
    orders, program = Orders(**json.loads(sys.argv[1])), sys.argv[split + 1 :]
    _close_descriptors([*orders.keep, orders.lifeline])
    # The kernel takes the likeliest culprit first when memory runs out, and it is not the node.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for name, limit in orders.limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    init_is_closed_in = _leave_init_behind(orders) if orders.init else None
    _go_last()
    os.umask(0o077)
    os.chdir(orders.writable or "/")
    _give_up_power(orders)
    os.close(orders.lifeline)
    truncate_guarded = orders.mounts_private
    if landlock.abi() > 0:
        truncate_guarded |= landlock.restrict(_rules(orders)) >= landlock.ABI_TRUNCATE
    if init_is_closed_in is not None:
        os.read(init_is_closed_in, 1)  # returns at the end of the pipe; the descriptor itself is closed on exec
    seccomp.install(
        seccomp.program(
            fork=orders.fork,
            own_pid=os.getpid(),
            truncate_guarded=truncate_guarded,
        )
    )
    os.execve(program[0], program, orders.environment)


def _leave_init_behind(orders: Orders) -> int:
    """Stay as PID 1 and return in a child: a pipe that ends once PID 1 can do nothing but wait.

    The kernel drops every signal to PID 1 that has no handler, even its own, and hands it all orphans: a program in
    that place would not die of what kills it elsewhere. bwrap's init is the model: it forwards nothing, since the node
    signals each process itself. When it ends, by itself or killed, the kernel ends everything in the namespace.
    """
    # Python's handler would make this the one signal by which the program could end its init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    closed_in, open_yet = os.pipe()
    program = os.fork()
    if program:
        _be_init(orders, program)
    os.close(open_yet)
    return closed_in


def _be_init(orders: Orders, program: int) -> NoReturn:
    """Give up everything, reap whoever is left to us, end as the program ends.

    The Landlock domain is one of its own, without a single right: on Linux 6.12 or later the program cannot even send a
    signal into it, and on none can it trace what lies outside its own domain.
    """
    _give_up_power(orders)
    _set_capabilities(0)
    _prctl(_SET_DUMPABLE, 0)  # else as the same user as the program (where nobody was root) we could be looked into
    landlock.restrict([])
    seccomp.install(seccomp.program(fork=False, own_pid=os.getpid(), truncate_guarded=True))
    # The ends of the program's pipes too, whose other ends wait for the last holder to go.
    os.closerange(0, _LAST_DESCRIPTOR)
    ended = 0
    while ended != program:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else SIGNAL_BASE - code)


def _give_up_power(orders: Orders) -> None:
    """Become who we are to be, for good, and die with whoever started us."""
    _drop_privileges(orders.uid)
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    # After the change of user, which clears it.
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if _has_ended(orders.lifeline):
        os._exit(FAILED)  # the node died, or gave up on us, before the line above


def _has_ended(lifeline: int) -> bool:
    """Whether the node's end of the pipe is closed; the number of ours may be beyond what select(2) takes."""
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    return bool(poller.poll(0))


def _go_last() -> None:
    """Let every other program on this machine go first.

    A kernel with autogroup schedules sessions against each other and heeds niceness only within one (sched(7)). Each
    room is a session of its own: without a word to the group, four nice rooms would take four fifths from their user.
    """
    os.nice(NICENESS)
    if os.getsid(0) != os.getpid():
        os.setsid()  # else the word would be about whoever started us
    for _ in range(_TRIES):
        try:
            with open("/proc/self/autogroup", "w") as file:
                file.write(str(NICENESS))
            break
        except BlockingIOError:
            time.sleep(_SOON)  # the kernel takes ten such orders a second from all users together
        except OSError:
            break  # there are no such groups
    if (number := _SET_IO_PRIORITY.get(os.uname().machine)) is not None:
        _libc().syscall(number, _THIS_PROCESS, 0, _IO_IDLE)  # a kernel without it has no such classes


def _rules(orders: Orders) -> list[landlock.Rule]:
    rules = [(path, landlock.READ_AND_EXECUTE) for path in orders.system]
    rules += [(path, landlock.READ) for path in [*orders.read_only, "/proc/self"]]
    rules += [(path, landlock.READ_FILE) for path in _KERNEL_FILES]
    rules += [("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE)]
    if orders.writable is not None:
        rules += [(orders.writable, landlock.READ_AND_WRITE)]
    return rules


def _close_descriptors(keep: list[int]) -> None:
    first = 3
    for descriptor in sorted(keep):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _LAST_DESCRIPTOR)


def _drop_privileges(uid: int | None) -> None:
    """Become `uid` where one is given, and give up every capability.

    One stays where root had it: reading files whatever their mode. A Python under /root (0700) or files the node wrote
    for itself (0600) would be out of reach for the new user, and what may be read is Landlock's and the mounts' to say.
    """
    keep = READ_ANY_FILE & _permitted() if uid is not None else 0
    for capability in range(_CAPABILITIES):
        if not keep >> capability & 1:
            # Fails past the last capability, and without CAP_SETPCAP; then no_new_privs is what bounds us.
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
