"""Landlock through its three system calls: which files may be touched, no TCP, no abstract sockets or signals outwards.

Needs Linux 5.13 or later, no library and no privilege (landlock(7)). What the kernel is too old for is left out here
and must be covered by `seccomp`; the version that `restrict` returns says what that is.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on x86_64 and aarch64
_VERSION_QUESTION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH, _NET_PORT = 1, 2  # LANDLOCK_RULE_*

# linux/landlock.h, LANDLOCK_ACCESS_FS_*, in the order of their bits
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REGULAR, MAKE_SOCKET, MAKE_SYMLINK = 1 << 7, 1 << 8, 1 << 9, 1 << 12
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE

READ = READ_FILE | READ_DIR
READ_AND_EXECUTE = READ | EXECUTE
# Regular files and directories: no symbolic links, FIFOs, sockets or devices can be made.
READ_AND_WRITE = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REGULAR | REFER

# The versions from which on Landlock knows renaming between directories, truncation, TCP, ioctl on devices, and scopes.
_ABI_REFER, ABI_TRUNCATE, _ABI_NETWORK, _ABI_DEVICES, ABI_SCOPES = 2, 3, 4, 5, 6
_TCP_BIND_AND_CONNECT, _TCP_CONNECT = 0b11, 0b10  # LANDLOCK_ACCESS_NET_*
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # LANDLOCK_SCOPE_*

Rule = tuple[str, int]  # path, rights


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi() -> int:
    """The version of Landlock this kernel offers; 0 where it is absent or switched off."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_QUESTION))
    except OSError:
        return 0


def restrict(rules: Iterable[Rule], connect_to: int | None = None) -> int:
    """Refuse this thread, with no way back, every file access that no rule grants, and TCP, and signals outwards.

    connect_to: a port to which TCP connections may be made all the same.
    Returns the version of Landlock that is enforced. Below ABI_TRUNCATE, truncation is not restricted; below
    ABI_SCOPES, abstract sockets and signals are not. Paths that do not exist are passed over. No_new_privs must be set.
    Raises OSError when the kernel refuses.
    """
    ruleset, version = make_ruleset(rules)
    try:
        if connect_to is not None and version >= _ABI_NETWORK:
            rule = _NetPort(_TCP_CONNECT, connect_to)
            _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_NET_PORT), ctypes.byref(rule), ctypes.c_uint32(0))
        enforce(ruleset)
    finally:
        os.close(ruleset)
    return version


def make_ruleset(rules: Iterable[Rule]) -> tuple[int, int]:
    """(descriptor of a ruleset to `enforce`, version of Landlock), as `restrict`. The caller closes the descriptor."""
    version = abi()
    handled = _rights_known(version)
    wanted = _Ruleset(
        handled,
        _TCP_BIND_AND_CONNECT if version >= _ABI_NETWORK else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= ABI_SCOPES else 0,
    )
    # Older kernels know a shorter structure and refuse a longer one.
    size = 8 if version < _ABI_NETWORK else 16 if version < ABI_SCOPES else 24
    ruleset = _call(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            _grant(ruleset, path, rights & handled)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset, version


def enforce(ruleset: int) -> None:
    """Enter a domain of one's own, made from the ruleset, with no way back. Every call makes a new one."""
    _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


def _rights_known(version: int) -> int:
    """The rights that a version knows, as a mask: 13 bits in version 1, and one more in each of three later ones."""
    bits = 13 + (version >= _ABI_REFER) + (version >= ABI_TRUNCATE) + (version >= _ABI_DEVICES)
    return (1 << bits) - 1


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, parent)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
