"""A seccomp filter: the list of system calls a sandboxed program may make, as a BPF program the kernel runs per call.

Written by hand as classic BPF (seccomp(2), Documentation/networking/filter.rst of the kernel) and installed through
prctl, so that no library is needed. Each instruction is (code, jump if true, jump if false, constant); jumps are the
number of instructions to skip. What a rule protects is said beside it. Nothing of the machine but its architecture is
read here: the caller says which variant is wanted.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterable

from node.execution.sandbox import syscalls
from node.execution.sandbox.orders import Processes

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # audit number, column in the tables
_X32_BIT = 0x40000000

# Classic BPF (linux/bpf_common.h): load a word; jump if equal, greater or equal, greater, any bit set; and with; return
_LOAD, _EQUAL, _AT_LEAST, _ABOVE, _BITS, _AND, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EACCES, _EINVAL, _ENOSYS = 1, 13, 22, 38

_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE_THREAD = 0x00010000
_AF_UNIX, _AF_INET, _SOCK_STREAM, _SOCK_SEQPACKET, _SOCKET_TYPE_MASK = 1, 2, 1, 5, 0xF
_OPEN_TRUNCATES, _OPEN_WRITES = 0o1000, 0o3
# Reading a terminal's settings (TCGETS, TIOCGWINSZ) and descriptor flags (FIOCLEX, FIONCLEX, FIONBIO, FIONREAD).
# Everything else is refused, above all TIOCSTI, which types into a terminal.
_IOCTLS = (0x5401, 0x5413, 0x5451, 0x5450, 0x5421, 0x541B)
# What drivers of GPUs are asked, as their headers have it (NVIDIA's open-gpu-kernel-modules, linux/kfd_ioctl.h,
# drm/drm.h): a letter in the second byte, but for nvidia-uvm, which has numbers below 256, and two to begin and end.
_REQUEST_LETTER, _DRIVER_LETTERS = 0xFF00, (ord("F") << 8, ord("K") << 8, ord("d") << 8)
_UVM_NUMBERS, _UVM_BEGIN_AND_END = 0x100, (0x30000001, 0x30000002)
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_QUERY, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: of one's own descriptors.
# The others have signals sent (F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY), or leave on a file that was opened only for
# reading what every process can ask for: a lock, a lease, a hint of its use (F_SET_RW_HINT).
_FCNTLS = (0, 1, 2, 3, 4, 1027, 1030, 1032)
_FCNTL_LOCKS = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and the same of open file descriptions (F_OFD_*)
# What concerns only the program's own memory: NORMAL, DONTNEED, FREE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, DONTDUMP,
# DODUMP, WIPEONFORK, KEEPONFORK, GUARD_INSTALL, GUARD_REMOVE. Other advice moves the pages of a mapped file into or out
# of the cache that all share (WILLNEED, POPULATE_READ, COLD, PAGEOUT, COLLAPSE), has memory shared with whoever has
# the same bytes (MERGEABLE), or makes reading a page at a time cheap (RANDOM).
_ADVICE = (0, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 102, 103)
# FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME; FUTEX_WAIT and FUTEX_WAIT_BITSET, which pthread_join uses without the flag.
_MODE_ARGUMENTS = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}  # which argument is the mode
_SET_ID_MODES = 0o6000  # a program would run as another user, or group
_FUTEX_PRIVATE, _FUTEX_REALTIME, _FUTEX_WAITS = 0x80, 0x100, (0, 9)
_CLOCKS_BY_PID = 0x80000000  # the clock of a process or thread that is named by its id is a negative number
# Getting and setting names, reading the dumpable flag and capabilities, transparent huge pages, naming of memory. Not
# the parent-death signal, by which the child dies with the node, and not PR_SET_PTRACER.
_PRCTLS = (2, 3, 15, 16, 21, 23, 39, 41, 42, 0x53564D41)
# PR_SET_PDEATHSIG: coding agents have what they start die with them. Only where a PID namespace ends as a whole.
_DEATH_SIGNAL = (1,)
# What a fork server needs for sealing a fork: PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP.
_SEALING_PRCTLS = (1, 4, 22)

_SET_SECCOMP, _FILTER_MODE = 22, 2
_EFAULT = 14

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant: struct sock_filter


def supported() -> bool:
    """Whether the kernel takes filters and this architecture has a table.

    Asks with a null pointer as filter, which changes nothing: EFAULT means that the kernel would have read a filter.
    """
    if platform.machine() not in _ARCHITECTURES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_SECCOMP, _FILTER_MODE, None, 0, 0)
    return ctypes.get_errno() == _EFAULT


def program(
    *,
    processes: Processes,
    own_pid: int,
    truncate_guarded: bool,
    locks: bool = False,
    execute: bool = True,
    own_files: bool = False,
    local_sockets: bool = False,
    gpu: bool = False,
    connects: bool = False,
) -> bytes:
    """The filter as an array of `struct sock_filter` (8 bytes each).

    processes: see `Processes`. With "threads" and "none" only `own_pid` may be signalled. The filter of a fork is added
    to that of its server, so the server's has to allow what any fork of it may do.
    execute: other programs may be executed, and sessions and process groups made. Not in a fork: a new session would
    have a niceness of its own.
    truncate_guarded: Landlock (ABI 3) or read-only mounts decide on truncation; otherwise opening a file that was not
    opened for writing with O_TRUNC is refused here.
    locks: files may be locked, and processes may wait for each other in shared memory (futexes that are not private).
    Both reach every process that can read the same file, related or not.
    local_sockets: sockets of the family AF_UNIX may be made and connected. By its path a program could reach one of
    another's, so only where no other's path is seen.
    gpu: the drivers of GPUs may be asked by ioctl; on which device files is up to Landlock and the mounts. A socket of
    the family AF_UNIX and the type SOCK_SEQPACKET, which sends nothing before it is connected, may listen.
    connects: TCP connections over IPv4 may be made, in a network in which there is nothing but what answers there; and
    processes may ask to die with their parents.
    own_files: modes (but set-user-id) and times of files may be changed, and links made.
    """
    audit, column = _ARCHITECTURES[platform.machine()]
    code: list[_Instruction] = [
        # A 32-bit call (int 0x80) has other numbers, so this list would judge it wrongly: kill.
        (_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0),
    ]  # fmt: skip
    if column == 0:
        code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]

    allowed = dict(syscalls.ALWAYS)
    checks = _checks(processes, own_pid, locks)
    if locks:
        allowed |= syscalls.FILE_LOCKS
    if own_files:
        allowed |= syscalls.OWN_FILES
        checks |= {name: _none_of_bits(index, _SET_ID_MODES) for name, index in _MODE_ARGUMENTS.items()}
    if local_sockets:
        allowed |= syscalls.LOCAL_SOCKETS
        checks |= {"socket": _one_of(0, (_AF_UNIX,))}
    if connects:
        allowed |= syscalls.CONNECTING
        tcp = _of_kind(_SOCK_STREAM, _errno(_EACCES), _AF_INET)
        local = [(_LOAD, 0, 0, _argument(0)), (_EQUAL, 0, 1, _AF_UNIX), _allow()] if local_sockets else []
        checks |= {"socket": [*local, *tcp], "prctl": _one_of(0, (*_PRCTLS, *_DEATH_SIGNAL))}
    if gpu:
        checks |= {"ioctl": _driver_requests()}
        if not local_sockets:
            allowed |= syscalls.LISTENING
            checks |= {"socket": _of_kind(_SOCK_SEQPACKET, _errno(_EACCES))}
    if not execute:
        allowed = {name: numbers for name, numbers in allowed.items() if name not in syscalls.EXECUTING}
    if processes in ("any", "forks"):
        allowed |= syscalls.FORKING | syscalls.SIGNALLING
        if processes == "forks":
            allowed |= syscalls.SEALING
    else:
        checks |= {"kill": _one_of(0, (own_pid,)), "tgkill": _one_of(0, (own_pid,))}
    if not truncate_guarded:
        checks |= {"open": _no_reading_truncation(1), "openat": _no_reading_truncation(2)}
        checks |= {"truncate": [_errno(_EPERM)]}

    numbers = {**syscalls.ALWAYS, **syscalls.SIGNALLING, **syscalls.CHECKED, **syscalls.MODES, **syscalls.SOCKET}
    for name, body in checks.items():
        number = numbers[name][column]
        if number is not None:
            code += [(_EQUAL, 0, len(body), number), *body]
    plain = (pair[column] for name, pair in allowed.items() if name not in checks)
    code += _ranges({number for number in plain if number is not None})
    absent = syscalls.SHARED_STATE if locks else syscalls.SHARED_STATE | syscalls.FILE_LOCKS
    for pair in absent.values():
        if (number := pair[column]) is not None:
            code += [(_EQUAL, 0, 1, number), _errno(_ENOSYS)]
    code += [(_ABOVE, 0, 1, syscalls.NEWEST_KNOWN), _errno(_ENOSYS), _errno(_EPERM)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def install(filter_program: bytes) -> None:
    """Put the filter on this thread and all that it executes or forks, with no way back. No_new_privs must be set.

    Raises OSError when the kernel refuses.
    """

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(filter_program, len(filter_program))
    whole = Filter(len(filter_program) // 8, ctypes.addressof(instructions))
    if libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(whole), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused the seccomp filter")


def _checks(processes: Processes, own_pid: int, locks: bool) -> dict[str, list[_Instruction]]:
    fork = processes in ("any", "forks")
    clone: list[_Instruction] = [(_LOAD, 0, 0, _argument(0)), (_BITS, 0, 1, _NAMESPACE_FLAGS), _errno(_EPERM)]
    if processes == "threads":
        clone += [(_BITS, 1, 0, _CLONE_THREAD), _errno(_EPERM)]
    # Outside a PID namespace a program could ask what any process has set for itself (a process group) or has used of
    # the processor. Inside it there is no process but its own.
    clock = [_allow()] if fork else _below(0, _CLOCKS_BY_PID)
    group = [_allow()] if fork else _one_of(0, (0, own_pid))
    return {
        **dict.fromkeys(("clock_getres", "clock_gettime", "clock_nanosleep", "timer_create"), clock),
        **dict.fromkeys(("getpgid", "getsid"), group),
        "clone": [_errno(_EPERM)] if processes == "none" else [*clone, _allow()],
        "clone3": [_errno(_ENOSYS)],  # its flags are in memory, which a filter cannot read; C libraries use clone then
        "fcntl": _one_of(1, _FCNTLS + _FCNTL_LOCKS if locks else _FCNTLS),
        # A futex in a page of a file is the same one for all who map that file, also for reading only.
        "futex": [_allow()] if locks else [
            (_LOAD, 0, 0, _argument(1)), (_BITS, 0, 1, _FUTEX_PRIVATE), _allow(),
            (_AND, 0, 0, 0xFFFFFFFF ^ _FUTEX_REALTIME),
            (_EQUAL, 2, 0, _FUTEX_WAITS[0]), (_EQUAL, 1, 0, _FUTEX_WAITS[1]), _errno(_ENOSYS), _allow(),
        ],
        "madvise": _compare(2, _ADVICE, _errno(_EINVAL), _allow()),  # as a kernel answers that does not know the advice
        "ioctl": _one_of(1, _IOCTLS),
        "prctl": _one_of(0, _PRCTLS + _SEALING_PRCTLS if processes == "forks" else _PRCTLS),
        # In a PID namespace a forked child may name its own pid only as 0.
        "prlimit64": _one_of(0, (0,) if fork else (0, own_pid)),
        # socket() is refused altogether. A connected pair of stream sockets reaches no other process; an end of a
        # datagram pair could send to any socket by its path.
        "socketpair": _of_kind(_SOCK_STREAM, _errno(_EACCES)),
        "sendto": [  # only without an address: both halves of the 64-bit pointer are zero
            (_LOAD, 0, 0, _argument(4)), (_EQUAL, 1, 0, 0), _errno(_EACCES),
            (_LOAD, 0, 0, _argument(4) + 4), (_EQUAL, 1, 0, 0), _errno(_EACCES),
            _allow(),
        ],
    }  # fmt: skip


def _argument(index: int) -> int:
    """Offset of the low half of an argument in `struct seccomp_data` (little-endian architectures)."""
    return 16 + 8 * index


def _errno(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _allow() -> _Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _one_of(index: int, values: Iterable[int]) -> list[_Instruction]:
    return _compare(index, tuple(values), _errno(_EPERM), _allow())


def _of_kind(kind: int, otherwise: _Instruction, family: int = _AF_UNIX) -> list[_Instruction]:
    """For a call that makes sockets: of this family and this type only."""
    return [
        (_LOAD, 0, 0, _argument(0)), (_EQUAL, 1, 0, family), otherwise,
        (_LOAD, 0, 0, _argument(1)), (_AND, 0, 0, _SOCKET_TYPE_MASK), (_EQUAL, 1, 0, kind), otherwise, _allow(),
    ]  # fmt: skip


def _driver_requests() -> list[_Instruction]:
    code: list[_Instruction] = [(_LOAD, 0, 0, _argument(1)), (_AT_LEAST, 1, 0, _UVM_NUMBERS), _allow()]
    for request in (*_IOCTLS, *_UVM_BEGIN_AND_END):
        code += [(_EQUAL, 0, 1, request), _allow()]
    code += [(_AND, 0, 0, _REQUEST_LETTER)]
    for letter in _DRIVER_LETTERS:
        code += [(_EQUAL, 0, 1, letter), _allow()]
    return [*code, _errno(_EPERM)]


def _none_of_bits(index: int, bits: int) -> list[_Instruction]:
    return [(_LOAD, 0, 0, _argument(index)), (_BITS, 0, 1, bits), _errno(_EPERM), _allow()]


def _below(index: int, bound: int) -> list[_Instruction]:
    return [(_LOAD, 0, 0, _argument(index)), (_AT_LEAST, 0, 1, bound), _errno(_EINVAL), _allow()]


def _compare(index: int, values: tuple[int, ...], otherwise: _Instruction, match: _Instruction) -> list[_Instruction]:
    """Compare an argument with each value. The k-th of n comparisons (from 0) skips n - k instructions to `match`."""
    jumps: list[_Instruction] = [(_EQUAL, len(values) - k, 0, value) for k, value in enumerate(values)]
    return [(_LOAD, 0, 0, _argument(index)), *jumps, otherwise, match]


def _no_reading_truncation(flags_index: int) -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _argument(flags_index)), (_AND, 0, 0, _OPEN_TRUNCATES | _OPEN_WRITES),
        (_EQUAL, 0, 1, _OPEN_TRUNCATES), _errno(_EPERM), _allow(),
    ]  # fmt: skip


def _ranges(numbers: set[int]) -> list[_Instruction]:
    """Allow these calls. Consecutive numbers share a comparison, since the kernel walks the list at every call.

    For example {0, 1, 2, 5} becomes two ranges, 0 to 2 and 5 to 5, of three instructions each.
    """
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    code: list[_Instruction] = []
    for first, last in ranges:
        code += [(_AT_LEAST, 0, 2, first), (_ABOVE, 1, 0, last), _allow()]
    return code
