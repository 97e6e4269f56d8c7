"""Runs inside the sandbox and tries to get out: each attempt is one function, and its result is written as JSON.

    python -I hostile.py '{"secret": path, "scratch": path, "data": path, "node": pid, "descriptor": number}'

Without "node" it is a fork, and attacks its parent in place of the node. With "device" it has been given that device
file as a GPU's, and not "other device".

"done" means the attempt succeeded; anything else is the name of what stopped it. Knows nothing of the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

TARGET = json.loads(sys.argv[1])
SECRET, SCRATCH, NODE = TARGET["secret"], TARGET["scratch"], TARGET.get("node", os.getppid())
libc = ctypes.CDLL(None, use_errno=True)
CAP_SYS_ADMIN, CAPABILITY_VERSION_3 = 21, 0x20080522  # linux/capability.h


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


OPEN_AT_FIRST = [number for number in range(4096) if is_open(number)]


class Refused(Exception):
    pass


def call(number: int, *arguments: object) -> None:
    if libc.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def expect(condition: bool) -> None:
    if not condition:
        raise Refused


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def read(path: str) -> None:
    with open(path, "rb") as file:
        expect(len(file.read(1)) == 1)


def read_truncating() -> None:
    os.close(os.open(SECRET, os.O_RDONLY | os.O_TRUNC))


def connect_to(family: int, kind: int, address: object) -> None:
    socket.socket(family, kind).connect(address)  # type: ignore[arg-type]


def send_datagram_from_pair() -> None:
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", SECRET + ".socket")


def through_a_link(make: Callable[[str, str], None]) -> None:
    path = os.path.join(SCRATCH, "link-" + make.__name__)
    make(SECRET, path)
    read(path)


def escape_death_signal() -> None:
    if libc.prctl(1, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "refused")


def raise_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))


def inherited_secrets() -> None:
    open_ones = {int(name) for name in os.listdir("/proc/self/fd")}
    expect(TARGET["descriptor"] in open_ones)
    os.pread(TARGET["descriptor"], 1, 0)


def see_other_processes() -> None:
    mine = str(os.getpid())
    expect(any(name.isdigit() and name != mine and os.listdir(f"/proc/{name}/fd") for name in os.listdir("/proc")))


def environment_of_the_node() -> None:
    expect(any("SECRET" in name for name in os.environ))


def signal_node() -> None:
    os.kill(NODE, 0)


def with_library(attempt: Callable[[int], object]) -> None:
    """A file that every process here can read, opened for reading."""
    library = os.open(os.__file__, os.O_RDONLY)
    try:
        attempt(library)
    finally:
        os.close(library)


def with_library_mapped(attempt: Callable[[int], object]) -> None:
    """The address of its first page in memory. Private, since ctypes takes the address of writable memory only."""

    def mapped(library: int) -> None:
        page = mmap.mmap(library, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        byte = ctypes.c_char.from_buffer(page)
        expect(page[:1] != b"")  # brings it in
        try:
            attempt(ctypes.addressof(byte))
        finally:
            del byte
            page.close()

    with_library(mapped)


def advise(advice: int) -> None:
    """To the memory a library is mapped into."""
    with_library_mapped(lambda address: call(MADVISE, ctypes.c_void_p(address), ctypes.c_size_t(4096), advice))


def ask_what_is_cached(address: int) -> None:
    call(MINCORE, ctypes.c_void_p(address), ctypes.c_size_t(4096), ctypes.create_string_buffer(1))


def ask_the_cache_for_counts(library: int) -> None:
    call(451, library, (ctypes.c_uint64 * 2)(0, 4096), (ctypes.c_uint64 * 5)(), 0)


def read_only_what_is_cached(library: int) -> None:
    with contextlib.suppress(BlockingIOError):  # it is not there, which is an answer too
        os.preadv(library, [bytearray(1)], 0, NOWAIT)


def look_up_only_what_is_cached() -> None:
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0x20)  # RESOLVE_CACHED
    call(437, -100, os.path.dirname(os.__file__).encode(), how, 24)


def lock_its_share(library: int) -> None:
    fcntl.lockf(library, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)


def make_queue() -> None:
    queue = libc.syscall(ctypes.c_long(MSGGET), 0, 0o1666)
    expect(queue >= 0)
    libc.msgctl(queue, 0, None)  # a queue outlives its maker


def thread_works() -> None:
    done = threading.Event()
    threading.Thread(target=done.set).start()
    expect(done.wait(5))


def pair_works() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(b"x")
    expect(theirs.recv(1) == b"x")


def scratch_works() -> None:
    folder = os.path.join(SCRATCH, "folder")
    os.mkdir(folder)
    write(os.path.join(folder, "a"))
    os.rename(os.path.join(folder, "a"), os.path.join(folder, "b"))
    read(os.path.join(folder, "b"))
    os.unlink(os.path.join(folder, "b"))


def fork_and_end(fork: Callable[[], int]) -> None:
    pid = fork()
    if pid == 0:
        os._exit(0)
    expect(pid > 0)
    os.waitpid(pid, 0)


def prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "refused")


def read_of_parent(name: str) -> None:
    read(f"/proc/{NODE}/{name}")


def use_descriptors_of_the_server() -> None:
    """Besides what was given: input, output twice, and where the results go."""
    expect(any(number > 3 for number in OPEN_AT_FIRST))


def ask(path: str, request: int, flags: int = os.O_RDWR) -> None:
    device = os.open(path, flags)
    try:
        fcntl.ioctl(device, request, bytes(128))
    finally:
        os.close(device)


def make_device(path: str) -> None:
    os.mknod(path, 0o020666, os.makedev(1, 7))


def rewrite(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def listening_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def listen() -> None:
    with listening_socket() as ours:
        ours.bind(f"\0cuda-{os.getpid()}")
        ours.listen()


def fifo() -> None:
    os.mkfifo(os.path.join(SCRATCH, "fifo"))


X86 = os.uname().machine == "x86_64"
PTRACE, PROCESS_VM_READV = (101, 310) if X86 else (117, 270)
UNSHARE, KEYCTL, BPF, PERF, USERFAULTFD, MEMFD, MOUNT, ADD_KEY, SHMGET = (
    (272, 250, 321, 298, 323, 319, 165, 248, 29) if X86 else (97, 219, 280, 241, 282, 279, 40, 217, 194)
)
MADVISE, MINCORE, READAHEAD, FUTEX, INOTIFY_INIT1, MSGGET, SYNC_FILE_RANGE = (
    (28, 27, 187, 202, 294, 68, 277) if X86 else (233, 232, 213, 98, 26, 186, 84)
)
UVM_REQUEST = 0x30000001  # what NVIDIA's driver is asked first
NOWAIT, WAKE = 8, 1  # RWF_NOWAIT of preadv2, FUTEX_WAKE without FUTEX_PRIVATE_FLAG
IO_URING_SETUP, PIDFD_OPEN, CLONE3 = 425, 434, 435
CLONE = 56 if X86 else 220
OF_PARENT = ("auxv", "cmdline", "comm", "environ", "limits", "maps", "stat", "statm", "status")

ATTEMPTS: dict[str, Callable[[], object]] = {
    "read a secret": lambda: read(SECRET),
    "read a secret through the parent of given data": lambda: read(os.path.join(TARGET["data"], "../secret")),
    "list the folder of the secret": lambda: os.listdir(os.path.dirname(SECRET)),
    "list root's home": lambda: os.listdir("/root"),
    "list homes": lambda: os.listdir("/home"),
    "read the users": lambda: read("/etc/passwd"),
    "read the machine's id": lambda: read("/etc/machine-id"),
    "read the node's environment": lambda: read(f"/proc/{NODE}/environ"),
    "read the node's memory": lambda: read(f"/proc/{NODE}/mem"),
    "find the node's secrets in the environment": environment_of_the_node,
    "look at other processes": see_other_processes,
    "use an inherited descriptor": inherited_secrets,
    "read a secret through a symbolic link": lambda: through_a_link(os.symlink),
    "read a secret through a hard link": lambda: through_a_link(os.link),
    "make a FIFO": fifo,
    "write over a secret": lambda: write(SECRET),
    "truncate a secret": lambda: os.truncate(SECRET, 0),
    "truncate a secret while reading": read_truncating,
    "change a secret's mode": lambda: os.chmod(SECRET, 0o777),
    "change a secret's times": lambda: os.utime(SECRET),
    "remove a secret": lambda: os.unlink(SECRET),
    "write over given data": lambda: write(os.path.join(TARGET["data"], "given")),
    "write beside a secret": lambda: write(SECRET + ".new"),
    "write to /tmp": lambda: write("/tmp/sandbox-was-here"),
    "write to shared memory": lambda: write("/dev/shm/sandbox-was-here"),
    "write to the root": lambda: write("/sandbox-was-here"),
    "write into Python's library": lambda: write(os.path.join(os.path.dirname(os.__file__), "sandbox_was_here.py")),
    "write to the kernel's settings": lambda: write("/proc/sys/kernel/core_pattern"),
    "connect over TCP": lambda: connect_to(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", TARGET["port"])),
    "connect over TCP6": lambda: connect_to(socket.AF_INET6, socket.SOCK_STREAM, ("::1", TARGET["port"])),
    "listen on TCP": lambda: socket.create_server(("127.0.0.1", 0)),
    "send over UDP": lambda: connect_to(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 53)),
    "ask for a name": lambda: socket.getaddrinfo("example.org", 80),
    "connect to a unix socket": lambda: connect_to(socket.AF_UNIX, socket.SOCK_STREAM, SECRET + ".socket"),
    "connect to an abstract socket": lambda: connect_to(socket.AF_UNIX, socket.SOCK_STREAM, "\0sandbox"),
    "send from a datagram pair": send_datagram_from_pair,
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "signal the node": signal_node,
    "renice the node": lambda: os.setpriority(os.PRIO_PROCESS, NODE, 19),
    "limit the node": lambda: resource.prlimit(NODE, resource.RLIMIT_CORE, (0, 0)),
    "move the node to another core": lambda: os.sched_setaffinity(NODE, {0}),
    "trace the node": lambda: call(PTRACE, 16, NODE, 0, 0),
    "read another process": lambda: call(PROCESS_VM_READV, NODE, None, 0, None, 0, 0),
    "take hold of the node": lambda: call(PIDFD_OPEN, NODE, 0),
    "outlive the node": escape_death_signal,
    "raise a limit": raise_limit,
    "become root": lambda: os.setuid(0),
    "change the root": lambda: os.chroot("/"),
    "mount": lambda: call(MOUNT, b"none", b"/tmp", b"tmpfs", 0, None),
    "make a user namespace": lambda: call(UNSHARE, 0x10000000),
    "use io_uring": lambda: call(IO_URING_SETUP, 1, ctypes.create_string_buffer(120)),
    "use clone3": lambda: call(CLONE3, None, 0),
    "use the kernel's keys": lambda: call(KEYCTL, 0, -3, 0),
    "add a key": lambda: call(ADD_KEY, b"user", b"x", b"x", 1, -3),
    "use bpf": lambda: call(BPF, 0, None, 0),
    "use perf": lambda: call(PERF, None, 0, -1, -1, 0),
    "use userfaultfd": lambda: call(USERFAULTFD, 0),
    "make a file in memory": lambda: call(MEMFD, b"x", 0),
    "share memory with strangers": lambda: call(SHMGET, 1, 4096, 0o1666),
    "type into a terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
    "have signals sent": lambda: fcntl.fcntl(0, 8, NODE),
    "drop a library from the page cache": lambda: with_library(lambda fd: os.posix_fadvise(fd, 0, 0, 4)),
    "bring a library into the page cache": lambda: with_library(lambda fd: call(READAHEAD, fd, 0, 4096)),
    "write a library's pages back": lambda: with_library(lambda fd: call(SYNC_FILE_RANGE, fd, 0, 4096, 2)),
    "read only what is in the page cache": lambda: with_library(read_only_what_is_cached),
    "ask which pages of a library are in memory": lambda: with_library_mapped(ask_what_is_cached),
    "ask the page cache for its counts": lambda: with_library(ask_the_cache_for_counts),
    "advise that a mapped library is needed": lambda: advise(3),
    "advise that a mapped library is not needed": lambda: advise(20),
    "page a mapped library out": lambda: advise(21),
    "have equal memory merged": lambda: advise(12),
    "look up only names in the cache": look_up_only_what_is_cached,
    "lock a library": lambda: with_library(lambda fd: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)),
    "lock a part of a library": lambda: with_library(lock_its_share),
    "lock what all event descriptors share": lambda: fcntl.flock(os.eventfd(0), fcntl.LOCK_EX | fcntl.LOCK_NB),
    "ask for a lease on a library": lambda: with_library(lambda fd: fcntl.fcntl(fd, 1025)),
    "ask what a library is said to be used for": lambda: with_library(lambda fd: fcntl.fcntl(fd, 1035, bytes(8))),
    "wake who waits in a library": lambda: with_library_mapped(
        lambda address: call(FUTEX, ctypes.c_void_p(address), WAKE, 1)
    ),
    "change a library's times": lambda: os.utime(os.__file__),
    "watch files": lambda: call(INOTIFY_INIT1, 0),
    "make a queue of messages": make_queue,
    "ask how full the disk is": lambda: os.statvfs(os.__file__),
    "read the mounts": lambda: read("/proc/self/mountinfo"),
    "read the mounts by another name": lambda: read("/proc/mounts"),
    "read the mounts of a thread": lambda: read(f"/proc/self/task/{threading.get_native_id()}/mountinfo"),
    "read which pages are mapped": lambda: read("/proc/self/pagemap"),
    "read what was read from the disk": lambda: read("/proc/self/io"),
    "read the network's counters": lambda: read("/proc/self/net/dev"),
    "read the node's CPU clock": lambda: time.clock_gettime((~NODE << 3) | 2),
    "ask for the node's process group": lambda: os.getpgid(NODE),
}
# What only a fork of a fork server is refused. The parent is the server, the only other process in a fork's reach.
FORK_ATTEMPTS: dict[str, Callable[[], object]] = {
    "fork": lambda: fork_and_end(os.fork),
    "fork through clone": lambda: fork_and_end(lambda: libc.syscall(ctypes.c_long(CLONE), 17, 0, 0, 0, 0)),
    "execute a program": lambda: os.execv("/bin/true", ["true"]),
    "spawn a program": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "make a session": os.setsid,
    "make a process group": lambda: os.setpgid(0, 0),
    "become dumpable": lambda: prctl(4, 1),
    "ask for another Landlock domain": lambda: call(444, None, 0, 1),
    "look into its own descriptors": lambda: os.listdir("/proc/self/fd"),
    "read its own map": lambda: read("/proc/self/maps"),
    "list its threads": lambda: os.listdir("/proc/self/task"),
    **{f"read the parent's {name}": functools.partial(read_of_parent, name) for name in OF_PARENT},
    "write the parent's memory": lambda: os.close(os.open(f"/proc/{NODE}/mem", os.O_WRONLY)),
    "read the counters of the kernel": lambda: read("/proc/stat"),
    "read the memory of the machine": lambda: read("/proc/meminfo"),
    "read the state of processors": lambda: read("/sys/devices/system/cpu/online"),
    "read the server's program": lambda: read(TARGET["program"]),
    "read its own program": lambda: read(__file__),
    "signal the group": lambda: os.kill(0, 0),
    "use a descriptor of the server": use_descriptors_of_the_server,
}
# What only a program that has a GPU's doors open could reach through them.
GPU_ATTEMPTS: dict[str, Callable[[], object]] = {
    "open a GPU that was not given": lambda: ask(TARGET["other device"], UVM_REQUEST),
    "make a device file of its own": lambda: make_device(os.path.join(SCRATCH, "device")),
    "type into a terminal through a device": lambda: ask(TARGET["device"], 0x5412),
    "ask a device that everybody has": lambda: ask("/dev/null", UVM_REQUEST),
    "ask the kernel's randomness": lambda: ask("/dev/urandom", UVM_REQUEST, os.O_RDONLY),
    "ask a file where its blocks are": lambda: ask(os.__file__, 0xC020660B, os.O_RDONLY),
    "add a key to a file system": lambda: ask(os.__file__, 0xC0506617, os.O_RDONLY),
    "ask a socket for this machine's addresses": lambda: fcntl.ioctl(listening_socket(), 0x8912, bytes(16)),
    "connect a socket that may listen": lambda: listening_socket().connect("\0sandbox"),
    "send from a socket that may listen": lambda: listening_socket().sendmsg([b"x"], [], 0, "\0sandbox"),
    "listen where all of this machine could see it": lambda: listening_socket().bind(SECRET + ".listening"),
    "make a stream socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "make a datagram socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "name a thread of the node": lambda: write(f"/proc/{NODE}/task/{NODE}/comm"),
    "read the node's memory by its thread": lambda: read(f"/proc/{NODE}/task/{NODE}/mem"),
    "outlive others when memory runs out": lambda: rewrite(f"/proc/self/task/{os.getpid()}/oom_score_adj", "0"),
}
GPU_RIGHTS: dict[str, Callable[[], object]] = {
    "ask the GPU's driver": lambda: expect(outcome(lambda: ask(TARGET["device"], UVM_REQUEST)) == os.strerror(25)),
    "name its threads": lambda: write(f"/proc/self/task/{threading.get_native_id()}/comm"),
    "listen as CUDA does": listen,
}
# The kernel may answer "done" and have reached no process: whether these worked is seen from outside.
SEEN_OUTSIDE: dict[str, Callable[[], object]] = {
    "wake everybody": lambda: os.kill(-1, signal.SIGCONT),
}
RIGHTS: dict[str, Callable[[], object]] = {
    "read given data": lambda: read(os.path.join(TARGET["data"], "given")),
    "write in the scratch folder": scratch_works,
    "use threads": thread_works,
    "talk through a pair of streams": pair_works,
    "read randomness": lambda: read("/dev/urandom"),
}


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as refusal:
        return refusal.strerror or type(refusal).__name__
    except Exception as refusal:
        return type(refusal).__name__
    return "done"


def refuse_power() -> None:
    """Do nothing where the attempts would really succeed: as root outside of a sandbox they damage the machine."""
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) != 0 or sets[0] & (1 << CAP_SYS_ADMIN):
        sys.exit("these attempts are made inside a sandbox only: here they would have the power to succeed")


def main() -> None:
    refuse_power()
    attempts = {**ATTEMPTS, **SEEN_OUTSIDE, **RIGHTS} if "node" in TARGET else {**ATTEMPTS, **RIGHTS, **FORK_ATTEMPTS}
    if "device" in TARGET:
        attempts |= {**GPU_ATTEMPTS, **GPU_RIGHTS}
    results = {name: outcome(attempt) for name, attempt in attempts.items()}
    with open(TARGET["result"], "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
