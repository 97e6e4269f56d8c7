"""System call numbers and which calls a sandboxed program may make, grouped by what they are for.

Numbers are the kernel's (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h) for x86_64 and
aarch64, in this order; None where an architecture has no such call. A call that is not named here is refused, so a call
is added to the group that says what it is for. Calls that depend on their arguments are in `seccomp`.
"""

from __future__ import annotations

Numbers = dict[str, tuple[int | None, int | None]]

MEMORY: Numbers = {
    "brk": (12, 214), "membarrier": (324, 283), "mlock": (149, 228), "mlock2": (325, 284), "mmap": (9, 222),
    "mprotect": (10, 226), "mremap": (25, 216), "msync": (26, 227), "munlock": (150, 229), "munmap": (11, 215),
    "pkey_alloc": (330, 289), "pkey_free": (331, 290), "pkey_mprotect": (329, 288),
}  # fmt: skip
READING_FILES: Numbers = {
    "access": (21, None), "chdir": (80, 49), "faccessat": (269, 48), "faccessat2": (439, 439), "fchdir": (81, 50),
    "fgetxattr": (193, 10), "fstat": (5, 80), "getcwd": (79, 17), "getdents": (78, None), "getdents64": (217, 61),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "lseek": (8, 62), "lstat": (6, None), "newfstatat": (262, 79),
    "open": (2, None), "openat": (257, 56), "pread64": (17, 67), "preadv": (295, 69), "read": (0, 63),
    "readlink": (89, None), "readlinkat": (267, 78), "readv": (19, 65), "stat": (4, None), "statx": (332, 291),
    "umask": (95, 166),
}  # fmt: skip
# Landlock and the mounts decide where files may be opened for writing. Making links, devices or FIFOs and changing
# modes, owners or times is refused everywhere, so those calls are missing here.
WRITING_FILES: Numbers = {
    "copy_file_range": (326, 285), "creat": (85, None), "fallocate": (285, 47), "fdatasync": (75, 83),
    "fsync": (74, 82), "ftruncate": (77, 46), "mkdir": (83, None), "mkdirat": (258, 34), "pwrite64": (18, 68),
    "pwritev": (296, 70), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "rmdir": (84, None),
    "sendfile": (40, 71), "truncate": (76, 45), "unlink": (87, None), "unlinkat": (263, 35), "write": (1, 64),
    "writev": (20, 66),
}  # fmt: skip
PIPES_AND_POLLING: Numbers = {
    "close": (3, 57), "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "epoll_create": (213, None), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "epoll_wait": (232, None), "eventfd": (284, None), "eventfd2": (290, 19),
    "getpeername": (52, 205), "getsockname": (51, 204), "getsockopt": (55, 209), "pipe": (22, None),
    "pipe2": (293, 59), "poll": (7, None), "ppoll": (271, 73), "pselect6": (270, 72), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "select": (23, None), "sendmsg": (46, 211), "setsockopt": (54, 208), "shutdown": (48, 210),
}  # fmt: skip
TIME: Numbers = {
    "alarm": (37, None), "getitimer": (36, 102), "gettimeofday": (96, 169), "nanosleep": (35, 101),
    "setitimer": (38, 103), "time": (201, None), "timer_delete": (226, 111), "timer_getoverrun": (225, 109),
    "timer_gettime": (224, 108), "timer_settime": (223, 110), "timerfd_create": (283, 85),
    "timerfd_gettime": (287, 87), "timerfd_settime": (286, 86), "times": (100, 153),
}  # fmt: skip
SIGNALS_AND_THREADS: Numbers = {
    "arch_prctl": (158, None), "get_robust_list": (274, 100), "pause": (34, None), "restart_syscall": (219, 128),
    "rseq": (334, 293), "rt_sigaction": (13, 134), "rt_sigpending": (127, 136), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sched_yield": (24, 124),
    "set_robust_list": (273, 99), "set_tid_address": (218, 96), "sigaltstack": (131, 132), "signalfd": (282, None),
    "signalfd4": (289, 74),
}  # fmt: skip
PROCESS: Numbers = {"exit": (60, 93), "exit_group": (231, 94), "wait4": (61, 260), "waitid": (247, 95)}
EXECUTING: Numbers = {"execve": (59, 221), "execveat": (322, 281), "setpgid": (109, 154), "setsid": (112, 157)}
FACTS: Numbers = {
    "capget": (125, 90), "getcpu": (309, 168), "getegid": (108, 177), "geteuid": (107, 175), "getgid": (104, 176),
    "getgroups": (115, 158), "getpgrp": (111, None), "getpid": (39, 172), "getppid": (110, 173),
    "getpriority": (140, 141), "getrandom": (318, 278), "getresgid": (120, 150), "getresuid": (118, 148),
    "getrlimit": (97, 163), "getrusage": (98, 165), "gettid": (186, 178), "getuid": (102, 174),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "sched_getaffinity": (204, 123),
    "sched_getattr": (315, 275), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sysinfo": (99, 179), "uname": (63, 160),
}  # fmt: skip

ALWAYS: Numbers = {
    **MEMORY, **READING_FILES, **WRITING_FILES, **PIPES_AND_POLLING, **TIME, **SIGNALS_AND_THREADS, **PROCESS,
    **EXECUTING, **FACTS,
}  # fmt: skip
FORKING: Numbers = {"fork": (57, None), "vfork": (58, None)}
# By which a fork server restricts its forks further, besides prctl. They can only ever take rights away.
SEALING: Numbers = {
    "landlock_add_rule": (445, 445), "landlock_create_ruleset": (444, 444), "landlock_restrict_self": (446, 446),
}  # fmt: skip
# Of files that lie where the program may write; Landlock and the mounts do not decide on modes and times.
OWN_FILES: Numbers = {
    "futimesat": (261, None), "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "utime": (132, None), "utimensat": (280, 88), "utimes": (235, None),
}  # fmt: skip
MODES: Numbers = {  # decided by the mode in `seccomp`
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
}  # fmt: skip
# Of sockets of the family AF_UNIX, by which processes of one program pass each other descriptors. `socket` is decided
# by the family in `seccomp`.
LISTENING: Numbers = {"bind": (49, 200), "listen": (50, 201)}
LOCAL_SOCKETS: Numbers = {**LISTENING, "accept": (43, 202), "accept4": (288, 242), "connect": (42, 203)}
CONNECTING: Numbers = {"connect": (42, 203)}
SOCKET: Numbers = {"socket": (41, 198)}
SIGNALLING: Numbers = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131)}
FILE_LOCKS: Numbers = {"flock": (73, 32)}  # and commands of fcntl
# Decided by their arguments in `seccomp`.
CHECKED: Numbers = {
    "clock_getres": (229, 114), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "clone": (56, 220),
    "clone3": (435, 435), "fcntl": (72, 25), "futex": (202, 98), "getpgid": (121, 155), "getsid": (124, 156),
    "ioctl": (16, 29), "madvise": (28, 233), "prctl": (157, 167), "prlimit64": (302, 261), "sendto": (44, 206),
    "socketpair": (53, 199), "timer_create": (222, 107),
}  # fmt: skip
# What the kernel keeps for all processes together: which parts of files are in memory (the page cache), which names it
# has looked up, how full a disk is, and futexes, whose newer calls hide their flags from a filter. Through it two
# programs that can only read the same file send each other messages. Answered "no such call": C libraries, Python and
# tools have a second way from the time before each of these calls, and take it on this answer only.
SHARED_STATE: Numbers = {
    "cachestat": (451, 451), "fadvise64": (221, 223), "fstatfs": (138, 44), "futex_requeue": (456, 456),
    "futex_wait": (455, 455), "futex_waitv": (449, 449), "futex_wake": (454, 454), "mincore": (27, 232),
    "openat2": (437, 437), "preadv2": (327, 286), "pwritev2": (328, 287), "readahead": (187, 213),
    "splice": (275, 76), "statfs": (137, 43), "sync_file_range": (277, 84), "tee": (276, 77),
}  # fmt: skip
# The newest call the tables above were written against. Later ones are answered "no such call", so that a C library
# that probes for them falls back instead of failing.
NEWEST_KNOWN = 456
