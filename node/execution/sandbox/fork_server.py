"""A fork server: imports what its forks need once, then makes one fork after the other, each sealed before it runs.

    python -P -s -B fork_server.py SERVER_ORDERS

Theory of operation. The server is a program in a sandbox like any other (`stage` has confined it), but it runs our code
only: the preload script, then this loop. For each request it forks. The fork seals itself: it closes every descriptor
that it was not given, enters a Landlock domain of its own and a second, narrower seccomp filter, and only then runs the
program it was asked for, which may run a stranger's code. It can then do less than any process here could, and never
more. The server waits for it, so there is one fork at a time, and reads nothing of it but the exit status.

Nothing that a fork does can reach the next one: memory is copied on write, no memory is shared, no open file is either
(an open file's position and flags belong to all who inherited it). The server checks this before it serves. It does not
know sources, data or scores: these go to a fork through descriptors that only the fork reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback
import types
from typing import NoReturn


def _make_package(name: str, folder: str) -> None:
    """A package whose modules are in this folder. Of ours two folders can be read here, and no package above them."""
    for length in range(1, name.count(".") + 2):
        parent = ".".join(name.split(".")[:length])
        sys.modules.setdefault(parent, types.ModuleType(parent)).__path__ = []
    sys.modules[name].__path__ = [folder]


if __name__ == "__main__":
    _make_package("node.execution.sandbox", os.path.dirname(os.path.abspath(__file__)))

from node.execution.sandbox import hidden, landlock, orders, seccomp  # noqa: E402

FAILED = 120  # exit status of a fork that could not be sealed, as `stage` has it
_SET_DEATH_SIGNAL, _SET_DUMPABLE = 1, 4  # prctl(2)
_HIGH = 64  # descriptors from here on are free for moving others about: a server holds few
_LAST_DESCRIPTOR = 65536
# All of /proc and /sys is left out. There a program could read counters that others move, and what a fork could read
# of "/proc/self" by the server's domain is the server's.
_DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero")
_KERNELS = "/sys/"


def main() -> None:
    given = orders.ServerOrders(**json.loads(sys.argv[1]))
    requests = socket.socket(fileno=given.socket)
    programs = {os.path.splitext(os.path.basename(path))[0]: _compiled(path) for path in given.programs}
    _make_package("node.execution.workers", os.path.dirname(given.preload))
    _run(_compiled(given.preload))
    if given.seal:
        _confirm_nothing_shared(given.socket)
    # Nobody of the same user may trace it or read its memory; forks inherit this.
    _prctl(_SET_DUMPABLE, 0)
    ruleset, truncate_guarded = None, given.mounts_private
    if given.seal and landlock.abi() > 0:
        ruleset, version = landlock.make_ruleset(_rules(given.readable, given.hidden))
        truncate_guarded |= version >= landlock.ABI_TRUNCATE
    gc.collect()
    gc.freeze()  # collections in a fork then leave the server's objects alone, and do not copy their pages
    requests.send(orders.READY)
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, orders.MOST_REQUEST_BYTES, orders.MOST_DESCRIPTORS)
        if not message:
            return  # the node has closed its end
        request = orders.ForkRequest(**json.loads(message))
        _serve(request, programs[request.program], descriptors, ruleset, truncate_guarded, seal=given.seal)


def _serve(
    request: orders.ForkRequest,
    program: types.CodeType,
    descriptors: list[int],
    ruleset: int | None,
    truncate_guarded: bool,
    *,
    seal: bool,
) -> None:
    """Fork, wait for the fork's end, and tell it on the control socket, the first of the descriptors."""
    server = os.getpid()
    control = socket.socket(fileno=descriptors[0])
    try:
        pid = os.fork()
    except OSError as refusal:
        pid = -1
        control.send(json.dumps({"refused": refusal.errno}).encode())
    if pid == 0:
        try:
            moved = [*descriptors[1:2], descriptors[2], *descriptors[2:], descriptors[0]]
            _place([*moved, ruleset] if ruleset is not None else moved)
            last = len(moved) - 1
            _seal(request, server, last, last + 1 if ruleset is not None else None, truncate_guarded, seal=seal)
        except BaseException as problem:
            with contextlib.suppress(OSError):
                os.write(2, f"the fork could not be sealed: {type(problem).__name__}: {problem}\n".encode())
            os._exit(FAILED)
        _become(request, program)
    for descriptor in descriptors[1:]:
        os.close(descriptor)
    if pid > 0:
        if not seal:
            # Without a sandbox it may have started others: end its session before its number is free.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        _, status, used = os.wait4(pid, 0)
        with contextlib.suppress(OSError):  # the node has lost interest
            control.send(json.dumps([status, used.ru_utime + used.ru_stime]).encode())
    control.close()


def _place(descriptors: list[int]) -> None:
    """Make these the descriptors 0, 1, 2, and so on, and close all others."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in descriptors]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number)
    os.closerange(len(descriptors), _LAST_DESCRIPTOR)


def _seal(
    request: orders.ForkRequest, server: int, control: int, ruleset: int | None, truncate_guarded: bool, *, seal: bool
) -> None:
    """Give up, with no way back, whatever a fork does not need. Returns only when everything was applied."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(FAILED)  # the server died before the death signal was set
    # The node learns our number from the kernel, and takes hold of us before anything untrusted runs. Nothing comes
    # when it gave up.
    with socket.socket(fileno=control) as node:
        node.send(orders.HERE)
        if node.recv(len(orders.GO)) != orders.GO:
            os._exit(FAILED)
        for name, limit in request.limits.items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (allowed, allowed))
        if not seal:
            os.setsid()  # by which everything that it starts can be ended
        if ruleset is not None:
            landlock.enforce(ruleset)
            os.close(ruleset)
        if seal:
            filter_program = seccomp.program(
                processes=request.processes,
                own_pid=os.getpid(),
                truncate_guarded=truncate_guarded,
                execute=False,
            )
            seccomp.install(filter_program)
        node.send(orders.SEALED)


def _become(request: orders.ForkRequest, program: types.CodeType) -> NoReturn:
    """Be the program, as if it had been started by itself."""
    status = 1
    try:
        sys.argv = [program.co_filename, *request.arguments]
        _run(program)
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else 0 if asked.code is None else 1
        if not isinstance(asked.code, int | None):
            print(asked.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status & 0xFF)


def _compiled(path: str) -> types.CodeType:
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


def _run(program: types.CodeType) -> None:
    """Run a script as Python would."""
    module = types.ModuleType("__main__")
    module.__file__ = program.co_filename
    sys.modules["__main__"] = module
    exec(program, module.__dict__)


def _confirm_nothing_shared(requests: int) -> None:
    """End here when the preload script left something that forks would share with each other, or lack."""
    tasks = os.listdir("/proc/self/task")
    if len(tasks) != 1:
        sys.exit(f"the fork server has {len(tasks)} threads; a fork of it would have one, and locks held for ever")
    with open("/proc/self/maps") as maps:
        shared = [line.split(maxsplit=5)[-1].strip() for line in maps if line.split()[1][1::2] == "ws"]
    if shared:
        sys.exit(f"the fork server shares memory that can be written: {shared}")
    # The listing shows the descriptor by which it was made, which is closed by now.
    unknown = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, requests}
    opened = sorted(number for number in unknown if _is_open(number))
    if opened:
        sys.exit(f"the fork server has descriptors open that nobody gave to it: {opened}")


def _is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _rules(readable: list[str], concealed: list[str]) -> list[landlock.Rule]:
    rules = []
    for path in hidden.outside((path for path in readable if not path.startswith(_KERNELS)), concealed):
        whole, listed = hidden.split(path, concealed)
        rules += [(one, landlock.READ) for one in whole] + [(one, landlock.READ_DIR) for one in listed]
    rules += [(path, landlock.READ_FILE) for path in _DEVICES]
    return [*rules, ("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE)]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main()
