"""Run a command as Docker would confine it by default: its few capabilities, and without the system calls it denies.

    python3 scripts/like_docker.py COMMAND [ARGUMENT ...]       (as root)

For trying the sandbox where there is no Docker. The denied calls are those that Docker's documentation of its default
seccomp profile lists (docs.docker.com/engine/security/seccomp), the capabilities those that it lists for containers.
Namespaces, masked paths and AppArmor are not imitated. x86_64 only; Python's own library only.
"""

import ctypes
import os
import struct
import sys

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
# AUDIT_WRITE, SETFCAP
CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
DENIED = {
    "acct": 163, "add_key": 248, "bpf": 321, "clock_settime": 227, "delete_module": 176, "finit_module": 313,
    "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433, "init_module": 175, "io_uring_enter": 426,
    "io_uring_register": 427, "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kexec_file_load": 320,
    "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mount": 165, "mount_setattr": 442, "move_mount": 429,
    "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "pivot_root": 155, "quotactl": 179,
    "reboot": 169, "request_key": 249, "setns": 308, "settimeofday": 164, "swapoff": 168, "swapon": 167, "sysfs": 139,
    "umount2": 166, "unshare": 272, "userfaultfd": 323, "ustat": 136, "vhangup": 153,
}  # fmt: skip
CLONE, CLONE3, NAMESPACE_FLAGS = 56, 435, 0x7E020000
LOAD, EQUAL, BITS, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
PR_CAPBSET_DROP, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 24, 22, 2
CAPABILITY_VERSION_3 = 0x20080522


def deny_calls(libc: ctypes.CDLL) -> None:
    code = [(LOAD, 0, 0, 0)]
    for number in DENIED.values():
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, EPERM)]
    code += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ENOSYS)]
    code += [(EQUAL, 0, 3, CLONE), (LOAD, 0, 0, 16), (BITS, 0, 1, NAMESPACE_FLAGS), (RETURN, 0, 0, EPERM)]
    code += [(RETURN, 0, 0, ALLOW)]
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(instructions))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the seccomp filter was refused")


def drop_capabilities(libc: ctypes.CDLL) -> None:
    for capability in range(64):
        if capability not in CAPABILITIES and libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no more
    mask = sum(1 << capability for capability in CAPABILITIES)
    header = struct.pack("<II", CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", mask, mask, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def main() -> None:
    if len(sys.argv) < 2 or os.geteuid() != 0:
        sys.exit(__doc__)
    libc = ctypes.CDLL(None, use_errno=True)
    deny_calls(libc)
    drop_capabilities(libc)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
