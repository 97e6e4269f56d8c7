"""The filter refuses what it does not know, and its numbers are the kernel's."""

from __future__ import annotations

import platform
import re
import struct
from itertools import chain
from pathlib import Path

import pytest

from node.execution.sandbox import seccomp, syscalls

GROUPS = (
    syscalls.MEMORY, syscalls.READING_FILES, syscalls.WRITING_FILES, syscalls.PIPES_AND_POLLING, syscalls.TIME,
    syscalls.SIGNALS_AND_THREADS, syscalls.PROCESS, syscalls.EXECUTING, syscalls.FACTS, syscalls.FORKING,
    syscalls.SEALING, syscalls.SIGNALLING, syscalls.FILE_LOCKS, syscalls.CHECKED, syscalls.SHARED_STATE,
)  # fmt: skip
NEVER = (
    "socket", "connect", "bind", "listen", "accept", "accept4", "sendmmsg", "ptrace", "process_vm_readv", "mount",
    "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open", "keyctl", "add_key",
    "request_key", "io_uring_setup", "io_uring_enter", "userfaultfd", "memfd_create", "open_by_handle_at", "symlink",
    "symlinkat", "link", "linkat", "mknod", "mknodat", "chmod", "fchmodat", "chown", "setuid", "setresuid",
    "pidfd_open", "pidfd_send_signal", "pidfd_getfd", "shmget", "mq_open", "inotify_init1", "setpriority",
    "sched_setaffinity", "personality", "kcmp", "clock_settime", "reboot", "init_module", "kexec_load", "swapon",
    "process_vm_writev", "process_madvise", "msgget", "semget", "fanotify_init", "utimensat", "setxattr", "vmsplice",
    "name_to_handle_at", "remap_file_pages", "ioprio_set", "sched_setattr", "mbind", "quotactl", "syncfs",
)  # fmt: skip
_X86_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
_GENERIC_HEADER = Path("/usr/include/asm-generic/unistd.h")  # the numbers of aarch64


def run(program: bytes, number: int, arguments: tuple[int, ...] = (), architecture: int = 0xC000003E) -> int:
    """What the kernel would answer: classic BPF, interpreted."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(value & (1 << 64) - 1 for value in padded))
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x06:
            return int(constant)
        else:
            holds = {
                0x15: accumulator == constant, 0x35: accumulator >= constant,
                0x25: accumulator > constant, 0x45: bool(accumulator & constant),
            }[operation]  # fmt: skip
            at += if_true if holds else if_false


ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, EACCES, EINVAL, ENOSYS = 0x00050001, 0x0005000D, 0x00050016, 0x00050026


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return seccomp.program(processes="threads", own_pid=77, truncate_guarded=True)


def number(name: str) -> int:
    groups = syscalls.ALWAYS | syscalls.SIGNALLING | syscalls.FORKING | syscalls.FILE_LOCKS | syscalls.CHECKED
    pair = (groups | syscalls.SEALING)[name]
    assert pair[0] is not None
    return pair[0]


def test_no_call_is_in_two_groups_and_no_number_twice() -> None:
    names = list(chain.from_iterable(GROUPS))
    assert len(names) == len(set(names))
    for column in (0, 1):
        numbers = [pair[column] for group in GROUPS for pair in group.values() if pair[column] is not None]
        assert len(numbers) == len(set(numbers))
        assert max(numbers) <= syscalls.NEWEST_KNOWN


def test_dangerous_calls_are_in_no_group() -> None:
    assert not set(NEVER) & set(chain.from_iterable(GROUPS))


if platform.machine() == "x86_64":  # elsewhere there is no such header

    @pytest.mark.skipif(not _X86_HEADER.exists(), reason="the kernel's headers: apt install linux-libc-dev")
    def test_numbers_are_the_kernels() -> None:
        header = dict(re.findall(r"#define __NR_(\w+) (\d+)", _X86_HEADER.read_text()))
        for name, (x86, _) in chain.from_iterable(group.items() for group in GROUPS):
            if name in header:
                assert x86 == int(header[name]), name


@pytest.mark.skipif(not _GENERIC_HEADER.exists(), reason="the kernel's headers: apt install linux-libc-dev")
def test_numbers_of_aarch64_are_the_kernels() -> None:
    header = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", _GENERIC_HEADER.read_text()))
    names = {"fstatat": "newfstatat", "fadvise64_64": "fadvise64"}  # called otherwise where a word has 64 bits
    newer = int(header.pop("syscalls"))  # the first number after those of this header
    known = {names.get(name, name): int(number) for name, number in header.items()}
    for name, (_, aarch64) in chain.from_iterable(group.items() for group in GROUPS):
        assert aarch64 == known.get(name) or int(aarch64 or 0) >= newer, name


def test_every_call_of_the_groups_is_allowed_and_every_other_refused(filtered: bytes) -> None:
    allowed = {pair[0] for pair in syscalls.ALWAYS.values()}
    checked = {pair[0] for pair in (*syscalls.CHECKED.values(), *syscalls.SIGNALLING.values())}
    absent = {pair[0] for pair in (*syscalls.SHARED_STATE.values(), *syscalls.FILE_LOCKS.values())}
    for candidate in range(syscalls.NEWEST_KNOWN + 1):
        if candidate in allowed:
            assert run(filtered, candidate) == ALLOW, candidate
        elif candidate in absent:
            assert run(filtered, candidate) == ENOSYS, candidate
        elif candidate not in checked:
            assert run(filtered, candidate) == EPERM, candidate


def test_calls_newer_than_the_tables_do_not_exist(filtered: bytes) -> None:
    assert run(filtered, syscalls.NEWEST_KNOWN + 1) == ENOSYS


def test_other_instruction_sets_are_killed(filtered: bytes) -> None:
    assert run(filtered, number("read"), architecture=0x40000003) == KILL  # i386
    assert run(filtered, 0x40000000 | number("read")) == KILL  # x32


def test_threads_may_be_made_and_processes_and_namespaces_not(filtered: bytes) -> None:
    thread = 0x3D0F00
    assert run(filtered, number("clone"), (thread,)) == ALLOW
    assert run(filtered, number("clone"), (17,)) == EPERM
    assert run(filtered, number("clone"), (thread | 0x10000000,)) == EPERM
    assert run(filtered, number("clone3")) == ENOSYS
    forking = seccomp.program(processes="any", own_pid=77, truncate_guarded=True)
    assert run(forking, number("clone"), (17,)) == ALLOW
    assert run(forking, number("clone"), (17 | 0x10000000,)) == EPERM


def test_a_fork_server_may_fork_and_seal_and_its_forks_may_neither_fork_nor_execute(filtered: bytes) -> None:
    server = seccomp.program(processes="forks", own_pid=77, truncate_guarded=True)
    sealing = [(name, ()) for name in syscalls.SEALING] + [("prctl", (option,)) for option in (1, 4, 22)]
    for name, arguments in (*sealing, ("clone", (17,)), ("kill", (78,)), ("execve", ())):
        assert run(server, number(name), arguments) == ALLOW, name
    thread = 0x3D0F00
    for processes, threads in (("threads", ALLOW), ("none", EPERM)):
        fork = seccomp.program(processes=processes, own_pid=78, truncate_guarded=True, execute=False)
        refused = [*sealing, ("clone", (17,)), ("fork", ()), ("vfork", ()), ("kill", (77,)), ("setsid", ())]
        for name, arguments in (*refused, ("execve", ()), ("execveat", ()), ("setpgid", ())):
            assert run(fork, number(name), arguments) == EPERM, name
        assert run(fork, number("clone"), (thread,)) == threads
        assert run(fork, number("tgkill"), (78, 79)) == ALLOW
    assert run(filtered, number("landlock_restrict_self")) == EPERM


def test_only_oneself_may_be_signalled_and_limited(filtered: bytes) -> None:
    for name in ("kill", "tgkill", "prlimit64"):
        assert run(filtered, number(name), (77,)) == ALLOW
        assert run(filtered, number(name), (78,)) == EPERM
        assert run(filtered, number(name), (-1,)) == EPERM
    assert run(filtered, number("tkill"), (77,)) == EPERM


def test_only_connected_pairs_of_streams_talk(filtered: bytes) -> None:
    assert run(filtered, number("socketpair"), (1, 1 | 0x80000)) == ALLOW
    assert run(filtered, number("socketpair"), (1, 2)) == EACCES
    assert run(filtered, number("socketpair"), (2, 1)) == EACCES
    assert run(filtered, number("sendto"), (3, 0, 0, 0, 0)) == ALLOW
    assert run(filtered, number("sendto"), (3, 0, 0, 0, 1)) == EACCES
    assert run(filtered, number("sendto"), (3, 0, 0, 0, 1 << 32)) == EACCES


def test_the_death_signal_and_the_terminal_are_out_of_reach(filtered: bytes) -> None:
    assert run(filtered, number("prctl"), (15,)) == ALLOW
    assert run(filtered, number("prctl"), (1,)) == EPERM
    assert run(filtered, number("ioctl"), (0, 0x5401)) == ALLOW
    assert run(filtered, number("ioctl"), (0, 0x5412)) == EPERM
    assert run(filtered, number("fcntl"), (0, 3)) == ALLOW
    assert run(filtered, number("fcntl"), (0, 8)) == EPERM


def test_an_old_landlock_is_covered_where_it_does_not_see_truncation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    program = seccomp.program(processes="threads", own_pid=77, truncate_guarded=False)
    assert run(program, number("openat"), (0, 0, 0o0)) == ALLOW
    assert run(program, number("openat"), (0, 0, 0o1001)) == ALLOW  # for writing: Landlock decides
    assert run(program, number("openat"), (0, 0, 0o1000)) == EPERM
    assert run(program, number("truncate")) == EPERM


def test_locks_and_shared_futexes_are_for_those_who_need_them(filtered: bytes) -> None:
    locking = seccomp.program(processes="threads", own_pid=77, truncate_guarded=True, locks=True)
    assert run(filtered, number("flock")) == ENOSYS
    assert run(locking, number("flock")) == ALLOW
    for command in (5, 6, 7, 36, 37, 38):
        assert run(filtered, number("fcntl"), (0, command)) == EPERM
        assert run(locking, number("fcntl"), (0, command)) == ALLOW
    wait, wake, requeue, private, realtime = 0, 1, 3, 0x80, 0x100
    for operation in (wait, 9 | realtime, wake | private, requeue | private):  # a thread is joined by a shared wait
        assert run(filtered, number("futex"), (0, operation)) == ALLOW
    for operation in (wake, requeue, wake | realtime, 10):
        assert run(filtered, number("futex"), (0, operation)) == ENOSYS
        assert run(locking, number("futex"), (0, operation)) == ALLOW
    for program in (filtered, locking):
        for hint in (1024, 1025, 1035, 1036):  # leases, and what a file is said to be used for
            assert run(program, number("fcntl"), (0, hint)) == EPERM


def test_a_gpus_driver_is_asked_by_its_own_requests_only(filtered: bytes) -> None:
    with_gpu = seccomp.program(processes="threads", own_pid=77, truncate_guarded=True, gpu=True)
    of_drivers = {
        "NV_ESC_RM_CONTROL": 0xC020462A, "NV_ESC_CARD_INFO": 0xCA0046C8, "UVM_INITIALIZE": 0x30000001,
        "UVM_DEINITIALIZE": 0x30000002, "UVM_REGISTER_GPU": 37, "UVM_MM_INITIALIZE": 75,
        "AMDKFD_IOC_CREATE_QUEUE": 0xC0584B02, "DRM_IOCTL_VERSION": 0xC0406400,
    }  # fmt: skip
    for request in of_drivers.values():
        assert run(filtered, number("ioctl"), (3, request)) == EPERM
        assert run(with_gpu, number("ioctl"), (3, request)) == ALLOW
        assert run(with_gpu, number("ioctl"), (3, request | 1 << 40)) == ALLOW, "the kernel reads 32 bits only"
    of_others = {
        "TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "FS_IOC_FIEMAP": 0xC020660B, "FICLONE": 0x40049409,
        "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_ADD_ENCRYPTION_KEY": 0xC0506617, "SIOCGIFCONF": 0x8912,
        "RNDADDENTROPY": 0x40085203, "LOOP_SET_FD": 0x4C00, "KVM_CREATE_VM": 0xAE01, "TUNSETIFF": 0x400454CA,
        "BTRFS_IOC_SNAP_CREATE": 0x50009401, "UFFDIO_API": 0xC018AA3F, "beyond UVM": 0x100, "none of UVM": 0x30000003,
    }  # fmt: skip
    for name, request in of_others.items():
        assert run(with_gpu, number("ioctl"), (3, request)) == EPERM, name
    assert run(with_gpu, number("ioctl"), (3, 0x5401)) == ALLOW


def test_with_a_gpu_a_socket_may_listen_and_no_more(filtered: bytes) -> None:
    with_gpu = seccomp.program(processes="threads", own_pid=77, truncate_guarded=True, gpu=True)
    socket, bind, listen, connect, accept = 41, 49, 50, 42, 43
    local, internet, stream, datagram, packets, cloexec = 1, 2, 1, 2, 5, 0o2000000
    assert run(filtered, socket, (local, packets)) == EPERM
    assert run(with_gpu, socket, (local, packets)) == run(with_gpu, socket, (local, packets | cloexec)) == ALLOW
    for family, kind in ((local, stream), (local, datagram), (internet, packets), (internet, stream)):
        assert run(with_gpu, socket, (family, kind)) == EACCES
    for call, allowed in ((bind, True), (listen, True), (connect, False), (accept, False)):
        assert (run(with_gpu, call) == ALLOW) is allowed
        assert run(filtered, call) == EPERM


def test_advice_is_for_ones_own_memory(filtered: bytes) -> None:
    for advice in (4, 8, 14):  # DONTNEED, FREE, HUGEPAGE: what allocators and numpy ask for
        assert run(filtered, number("madvise"), (0, 0, advice)) == ALLOW
    for advice in (1, 3, 12, 20, 21, 22, 25):  # RANDOM, WILLNEED, MERGEABLE, COLD, PAGEOUT, POPULATE_READ, COLLAPSE
        assert run(filtered, number("madvise"), (0, 0, advice)) == EINVAL


def test_other_processes_clocks_and_groups_are_seen_only_in_ones_own_pid_namespace(filtered: bytes) -> None:
    forking = seccomp.program(processes="any", own_pid=77, truncate_guarded=True)
    another = (~78 << 3) | 2
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"):
        assert run(filtered, number(name), (3,)) == ALLOW
        assert run(filtered, number(name), (another,)) == EINVAL
        assert run(forking, number(name), (another,)) == ALLOW
    for name in ("getpgid", "getsid"):
        assert run(filtered, number(name), (0,)) == run(filtered, number(name), (77,)) == ALLOW
        assert run(filtered, number(name), (78,)) == EPERM
        assert run(forking, number(name), (78,)) == ALLOW
