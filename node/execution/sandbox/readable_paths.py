"""The paths of this machine that every sandboxed Python program reads: the system's libraries and Python's own trees.

Of a Python prefix only the parts Python needs are named, so that a virtual environment made in a home directory does
not expose the home.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

_SYSTEM_DIRECTORIES = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_CPU_TOPOLOGY = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # OpenMP and torch count cores here
_PREFIX_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")


def system() -> tuple[str, ...]:
    """Paths of the system's programs and libraries that exist here; some are symbolic links."""
    return tuple(path for path in (*_SYSTEM_DIRECTORIES, *_SYSTEM_FILES, *_CPU_TOPOLOGY) if os.path.exists(path))


def python() -> tuple[str, ...]:
    """Paths of the running interpreter and its virtual environment, outside the system directories."""
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    # An interpreter reached through symbolic links (uv, pyenv) finds its libraries by its resolved path.
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes}
    prefixes.add(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))))
    parts = (os.path.join(prefix, part) for prefix in prefixes for part in _PREFIX_PARTS)
    return tuple(sorted(part for part in parts if os.path.exists(part) and not _within(part, _SYSTEM_DIRECTORIES)))


def given(paths: Iterable[Path]) -> tuple[str, ...]:
    """A policy's paths, made absolute. Raises FileNotFoundError when one does not exist."""
    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"the sandbox was to show {path}, which does not exist")
        found.append(os.path.abspath(path))
    return tuple(found)


def open_to_others(paths: Iterable[str]) -> bool:
    """Whether a user who owns none of these paths could reach and read all of them, by their permission bits."""
    return all(_open_to_others(Path(os.path.realpath(path))) for path in paths)


def _open_to_others(path: Path) -> bool:
    mode = path.stat().st_mode
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return mode & wanted == wanted and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def _within(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)
