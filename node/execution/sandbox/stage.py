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
from collections.abc import Iterable
from typing import NoReturn

# Isolated mode has no path to our package; appended last, so that nothing beside it can stand in for the library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

from node.execution.sandbox import handover, hidden, landlock, seccomp
from node.execution.sandbox.orders import READ_ANY_FILE, SIGNAL_BASE, Mounts, Orders

FAILED = 120  # exit status when the sandbox could not be closed
NICENESS = 19  # the weakest priority: every other program on this machine goes first
_SET_IO_PRIORITY = {"x86_64": 251, "aarch64": 30}  # ioprio_set, which the C library has no name for
_THIS_PROCESS = 1  # IOPRIO_WHO_PROCESS
_IO_IDLE = 3 << 13  # IOPRIO_CLASS_IDLE in the bits of the class (linux/ioprio.h)
_TRIES, _RETRY_SECONDS = 10, 0.1  # the kernel limits writes to autogroup to ten a second, from all users together

# Options of prctl(2), from linux/prctl.h, and the version of capset(2), from linux/capability.h.
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_KEEP_CAPABILITIES, _DROP_BOUND, _SET_NO_NEW_PRIVILEGES = 1, 4, 8, 24, 38
_SET_CHILD_SUBREAPER = 36
_AMBIENT = 47
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CHANGE_USER = 1 << 7  # CAP_SETUID
_CAPABILITIES = 64  # bits of a capability set; Linux 6 defines 41 of them
# mount(2): a bind mount. mount_setattr(2), which the C library may have no name for: its number on x86_64 and aarch64,
# the folder that relative paths are of, all mounts beneath a path, and the attribute of mounts that are read-only.
_BIND, _SET_ATTRIBUTES, _HERE, _RECURSIVE, _READ_ONLY = 4096, 442, -100, 0x8000, 1
_WAKE_BYTES = 4096
_END_SECONDS = 0.005  # between two looks at whether all of a user's processes have ended
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
    mounts = None if orders.mounts is None else Mounts(*orders.mounts)
    program = sys.argv[sys.argv.index("--") + 1 :]
    node = None if orders.door is None else handover.take(orders.door, [0, 1, orders.lifeline, *orders.keep])
    if node is not None:
        os.dup2(1, 2)
    _close_descriptors([*orders.keep, orders.lifeline, *(one for one in (node, orders.listener) if one is not None)])
    if orders.node_at is not None and orders.listener is not None:
        _let_the_node_listen(orders.node_at, orders.listener)
    _reset_signals()
    # When memory runs out, the kernel is to end this process first (1000 is the highest score), and not the node.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for name, limit in orders.limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    init_is_confined = _leave_init_behind(orders, node) if orders.init else None
    if orders.supervise:
        _leave_supervisor_behind(orders)
    _go_last()
    os.umask(0o077)
    if mounts is not None and not orders.mounts_private:
        assert orders.writable is not None
        _mount(orders.writable, mounts)
        if orders.devices:  # for the names of threads, see _rules; all else there is refused by Landlock
            _set_read_only("/proc", False)
    os.chdir(orders.directory)
    _give_up_power(orders)
    os.close(orders.lifeline)
    truncate_guarded = orders.mounts_private
    if landlock.abi() > 0:
        truncate_guarded |= landlock.restrict(_rules(orders), orders.node_at) >= landlock.ABI_TRUNCATE
    if init_is_confined is not None:
        # Wait for the init: its end of the pipe closes once it is confined. Our descriptor is closed on exec.
        os.read(init_is_confined, 1)
    seccomp.install(
        seccomp.program(
            processes=orders.processes,
            own_pid=os.getpid(),
            truncate_guarded=truncate_guarded,
            locks=orders.locks,
            own_files=orders.own_files,
            # Of other programs' sockets no path is seen there.
            local_sockets=orders.builds and orders.mounts_private,
            gpu=bool(orders.devices),
            connects=orders.node_at is not None,
        )
    )
    os.execve(program[0], program, orders.environment)


def _let_the_node_listen(port: int, node: int) -> None:
    """Give the node a socket that listens on the loopback of this program's own network, and keep nothing of it.

    So the node answers in a network in which there is nothing else, and no process in the sandbox stands between.
    """
    import socket  # a heavy import that few programs need

    with socket.socket() as listener, socket.socket(fileno=node) as connection:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        socket.send_fds(connection, [b"listens"], [listener.fileno()])


def _reset_signals() -> None:
    """Have no signal ignored or blocked that was so in the node: both outlive an exec.

    A node that is started by nohup(1) ignores SIGHUP, and Python ignores SIGPIPE and SIGXFSZ.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_init_behind(orders: Orders, node: int | None) -> int:
    """Stay as PID 1, and return in a child. Returns a pipe that closes once PID 1 can do nothing but wait.

    node: in a container, the connection on which PID 1 reports how the program has ended.

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
        _be_init(orders, program, node)
    os.close(held_until_confined)
    return confined


def _be_init(orders: Orders, program: int, node: int | None) -> NoReturn:
    """Give up every right, reap orphans, and end as the program ends.

    The init has a Landlock domain of its own that grants nothing. On Linux 6.12 or later the program cannot even send a
    signal into another domain, and on no version can it trace a process outside its own.
    """
    woken = _wake_on_children() if node is not None else None
    _give_up_power(orders)
    _set_capabilities(0)
    # Where the node is not root, the program has our user, and could read our memory if we were dumpable.
    _prctl(_SET_DUMPABLE, 0)
    landlock.restrict([])
    seccomp.install(seccomp.program(processes="none", own_pid=os.getpid(), truncate_guarded=True))
    # Our copies of the program's pipes too: readers at the other ends see the end only when no copy is open. This also
    # closes the pipe on which the program waits until we are confined.
    if node is None or woken is None:
        os.closerange(0, _LAST_DESCRIPTOR)
        ended = 0
        while ended != program:
            ended, status = os.wait()
    else:
        # Its parent is the engine's, and lives on when the node has ended: so the init watches for that.
        _close_descriptors(sorted({orders.lifeline, node, *woken}))
        os.closerange(0, 3)
        status = _outlive(program, orders.lifeline, woken[0])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        handover.tell(node, status, used.ru_utime + used.ru_stime)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else SIGNAL_BASE - code)


def _leave_supervisor_behind(orders: Orders) -> None:
    """Stay as the supervisor, and return in a child.

    Where there is no PID namespace a program's orphans would outlive it. The program is a user of its own here, so the
    supervisor, which that user can neither signal nor trace, ends every process of this user: when the program has
    ended, and when the node has, whose end of the lifeline then closes.
    """
    program = os.fork()
    if program:
        try:
            _supervise(orders, program)
        finally:
            os._exit(FAILED)


def _supervise(orders: Orders, program: int) -> NoReturn:
    assert orders.uid is not None
    _prctl(_SET_CHILD_SUBREAPER, 1)  # orphans become our children
    _set_capabilities(_CHANGE_USER)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")  # when memory runs out, the program is to end first
    woken = _wake_on_children()
    _close_descriptors(sorted({orders.lifeline, *woken}))
    os.closerange(0, 3)  # the program's pipes: readers at the other ends see the end only when no copy is open
    code = os.waitstatus_to_exitcode(_outlive(program, orders.lifeline, woken[0]))
    _end_all_of(orders.uid)
    os._exit(code if code >= 0 else SIGNAL_BASE - code)


def _wake_on_children() -> tuple[int, int]:
    """Both ends of a pipe into which something is written whenever a child ends, from now on."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writes)
    return reads, writes


def _outlive(program: int, lifeline: int, woken: int) -> int:
    """Reap children until the program has ended, or the node, whose end of the lifeline then closes.

    Returns the program's wait status: in the second case that of one that was killed.
    """
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    poller.register(woken, select.POLLIN)
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0] not in (0, program):
            pass  # an orphan
        if ended[0] == program:
            return ended[1]
        if lifeline in (descriptor for descriptor, _ in poller.poll()):
            return signal.SIGKILL
        os.read(woken, _WAKE_BYTES)  # a child has ended


def _end_all_of(uid: int) -> None:
    """Kill every process of a user, and return when none is left. They are our children, or will be as orphans."""
    with contextlib.suppress(ChildProcessError):
        while True:
            killer = os.fork()
            if killer == 0:
                try:
                    os.setresuid(uid, uid, uid)
                    os.kill(-1, signal.SIGKILL)  # all that we may signal, but ourselves
                finally:
                    os._exit(0)
            os.waitpid(killer, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(_END_SECONDS)


def _give_up_power(orders: Orders) -> None:
    """Take the program's user and capabilities, with no way back, and die when the process that started us dies."""
    _drop_privileges(orders.uid, orders.groups)
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


def _mount(writable: str, mounts: Mounts) -> None:
    """Make everything read-only in this namespace of mounts but `writable`, and in it the locked files."""
    _set_read_only("/", True, _RECURSIVE)
    _bind(writable, writable)
    _set_read_only(writable, False)
    for folder, place in mounts.stand_ins:
        _bind(folder, place)
    for folder in mounts.folders:
        _bind(folder, folder)
    for path in mounts.locked:
        _bind(path, path)
        _set_read_only(path, True)


def _bind(folder: str, place: str) -> None:
    if _libc().mount(os.fsencode(folder), os.fsencode(place), None, _BIND, None) != 0:
        raise OSError(ctypes.get_errno(), f"mounting {folder} on {place}")


def _set_read_only(path: str, read_only: bool, flags: int = 0) -> None:
    # struct mount_attr: attributes to set, to clear, propagation, user namespace
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY * read_only, _READ_ONLY * (not read_only), 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    if _libc().syscall(_SET_ATTRIBUTES, _HERE, os.fsencode(path), flags, ctypes.byref(attributes), size) != 0:
        raise OSError(ctypes.get_errno(), f"making {path} {'read-only' if read_only else 'writable'}")


def _rules(orders: Orders) -> list[landlock.Rule]:
    rules = _shown((*orders.system, *orders.programs), landlock.READ_AND_EXECUTE, orders.hidden)
    rules += _shown(orders.read_only, landlock.READ, orders.hidden)
    rules += [("/proc/self", landlock.READ_DIR)]
    rules += [(path, landlock.READ_FILE) for path in (*_KERNEL_FILES, *(f"/proc/self/{name}" for name in _OWN_FILES))]
    rules += [("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE)]
    if orders.devices:
        rules += [(path, landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEVICE) for path in orders.devices]
        # CUDA gives its threads names, through files there that it opens as if it made them.
        rules += [("/proc/self/task", landlock.READ | landlock.WRITE_FILE | landlock.TRUNCATE)]
    if orders.writable is not None:
        made = landlock.EXECUTE | landlock.MAKE_SYMLINK | landlock.MAKE_SOCKET if orders.builds else 0
        stand_ins = [place for _, place in Mounts(*orders.mounts).stand_ins] if orders.mounts is not None else []
        rules += [(path, landlock.READ_AND_WRITE | made) for path in (orders.writable, *stand_ins)]
    return rules


def _shown(paths: Iterable[str], rights: int, concealed: list[str]) -> list[landlock.Rule]:
    rules = []
    for path in paths:
        whole, listed = hidden.split(path, concealed)
        rules += [(one, rights) for one in whole] + [(one, landlock.READ_DIR) for one in listed]
    return rules


def _close_descriptors(keep: list[int]) -> None:
    """Close all but 0, 1, 2 and `keep`: with keep = [5], those are 3, 4, and 6 upwards."""
    first = 3
    for descriptor in sorted(keep):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _LAST_DESCRIPTOR)


def _drop_privileges(uid: int | None, groups: list[int]) -> None:
    """Become `uid`, in these groups, where one is given, and give up every capability but one.

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
        os.setgroups(groups)
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
