"""The filter refuses what it does not know, and its numbers are the kernel's."""

from __future__ import annotations

import re
import struct
from itertools import chain
from pathlib import Path

import pytest

from node.execution.sandbox import seccomp, syscalls

GROUPS = (
    syscalls.MEMORY, syscalls.READING_FILES, syscalls.WRITING_FILES, syscalls.PIPES_AND_POLLING, syscalls.TIME,
    syscalls.SIGNALS_AND_THREADS, syscalls.PROCESS, syscalls.FACTS, syscalls.FORKING, syscalls.SIGNALLING,
    syscalls.CHECKED,
)  # fmt: skip
NEVER = (
    "socket", "connect", "bind", "listen", "accept", "accept4", "sendmmsg", "ptrace", "process_vm_readv", "mount",
    "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open", "keyctl", "add_key",
    "request_key", "io_uring_setup", "io_uring_enter", "userfaultfd", "memfd_create", "open_by_handle_at", "symlink",
    "symlinkat", "link", "linkat", "mknod", "mknodat", "chmod", "fchmodat", "chown", "setuid", "setresuid",
    "pidfd_open", "pidfd_send_signal", "pidfd_getfd", "shmget", "mq_open", "inotify_init1", "setpriority",
    "sched_setaffinity", "personality", "kcmp", "clock_settime", "reboot", "init_module", "kexec_load", "swapon",
)  # fmt: skip
_X86_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


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


ALLOW, KILL, EPERM, EACCES, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x0005000D, 0x00050026


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return seccomp.program(fork=False, own_pid=77, truncate_guarded=True)


def number(name: str) -> int:
    pair = {**syscalls.ALWAYS, **syscalls.SIGNALLING, **syscalls.FORKING, **syscalls.CHECKED}[name]
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


@pytest.mark.skipif(not _X86_HEADER.exists(), reason="the kernel's headers: apt install linux-libc-dev")
def test_numbers_are_the_kernels() -> None:
    header = dict(re.findall(r"#define __NR_(\w+) (\d+)", _X86_HEADER.read_text()))
    for name, (x86, _) in chain.from_iterable(group.items() for group in GROUPS):
        if name in header:
            assert x86 == int(header[name]), name


def test_every_call_of_the_groups_is_allowed_and_every_other_refused(filtered: bytes) -> None:
    allowed = {pair[0] for pair in syscalls.ALWAYS.values()}
    checked = {pair[0] for pair in (*syscalls.CHECKED.values(), *syscalls.SIGNALLING.values())}
    for candidate in range(syscalls.NEWEST_KNOWN + 1):
        if candidate in allowed:
            assert run(filtered, candidate) == ALLOW, candidate
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
    forking = seccomp.program(fork=True, own_pid=77, truncate_guarded=True)
    assert run(forking, number("clone"), (17,)) == ALLOW
    assert run(forking, number("clone"), (17 | 0x10000000,)) == EPERM


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
    program = seccomp.program(fork=False, own_pid=77, truncate_guarded=False)
    assert run(program, number("openat"), (0, 0, 0o0)) == ALLOW
    assert run(program, number("openat"), (0, 0, 0o1001)) == ALLOW  # for writing: Landlock decides
    assert run(program, number("openat"), (0, 0, 0o1000)) == EPERM
    assert run(program, number("truncate")) == EPERM
    assert run(program, number("openat2")) == ENOSYS
