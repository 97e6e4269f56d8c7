"""Wrong disks and clocks for programs that the other scripts start: `faults.c`, compiled and switched, and a file
system that is cut off.

Of falsified errors and clocks only programs know that get `environment`. A node gives its own programs no such
variables, so for git there is a stand-in of its name that comes first on the PATH.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "faults.c"
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of the kernel's fs/ext4/ext4.h, _IOR('X', 125, __u32)
CLONE_NEWNS = 0x00020000  # of unshare(2)
NOTHING_MORE = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH


@dataclass(frozen=True)
class Faults:
    """What falsifies, once compiled. library: for LD_PRELOAD; programs: a folder for the PATH."""

    library: Path
    programs: Path

    @classmethod
    def compiled(cls, folder: Path) -> Faults:
        library, programs = folder / "faults.so", folder / "programs"
        subprocess.run(["gcc", "-O1", "-w", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        programs.mkdir()
        git = shutil.which("git")
        (programs / "git").write_text(f'#!/bin/sh\nLD_PRELOAD={library} FAULT="$HOME/fault" exec {git} "$@"\n')
        (programs / "git").chmod(0o755)
        return cls(library, programs)

    def environment(self, place: Path) -> dict[str, str]:
        """For a program whose HOME is a place, and is wrong about what the files `fault` and `clock` there say."""
        return {
            "LD_PRELOAD": str(self.library),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(place),
            "FAULT": str(place / "fault"),
            "CLOCK_OFFSET": str(place / "clock"),
        }


def fail(place: Path, path: Path, error: int) -> None:
    """From now on, let what is done at or below a path fail with an error."""
    draft = place / "fault.new"
    draft.write_text(f"{path}\n{error}\n")
    draft.replace(place / "fault")


def set_clock(place: Path, seconds: float) -> None:
    """From now on, let the time of day be off by so much."""
    draft = place / "clock.new"
    draft.write_text(f"{seconds}\n")
    draft.replace(place / "clock")


def cut_off(folder: Path) -> None:
    """Let nothing more get to the disk of an ext4 file system, as when its power is cut: all use of it fails from now
    on, and after it is mounted again it has what was synced, and of the rest what was written by chance. Needs root.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NOTHING_MORE))
    finally:
        os.close(handle)


def have_own_mounts() -> None:
    """From now on, what this process mounts is its own. What another has too, as every new sandbox would, cannot be
    mounted afresh after it was cut off. Needs root.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mounts of its own for this process")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
