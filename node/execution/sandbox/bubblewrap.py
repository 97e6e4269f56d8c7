"""The command line of bubblewrap: a file system of its own that holds only what is shown, and namespaces of its own.

Knows bwrap's options and their traps. What is restricted inside the new namespaces is up to `stage`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")


def command(
    bwrap: str,
    *,
    root: bool,
    read_any_file: bool,
    system: Sequence[str],
    read_only: Sequence[str],
    writable: str | None,
) -> list[str]:
    """The part of the command line before the program's own, ending in "--".

    root: the node runs as root, which needs no user namespace. `stage` then changes to an unused user; a program that
    stayed root could write to the host's /proc/sys. read_any_file: root has CAP_DAC_READ_SEARCH, which `stage` keeps.
    """
    words = [bwrap, *_NAMESPACES, "--cap-drop", "ALL"]
    if root:
        for capability in ("SETUID", "SETGID", "SETPCAP", *(("DAC_READ_SEARCH",) if read_any_file else ())):
            words += ["--cap-add", f"CAP_{capability}"]
    else:
        # --disable-userns needs --unshare-user itself; --unshare-all does not count for it.
        words += ["--unshare-user", "--disable-userns"]
    words += ["--die-with-parent", "--new-session", "--hostname", "box", "--proc", "/proc", "--dev", "/dev"]
    links = [path for path in system if os.path.islink(path)]
    shown = sorted({*system, *read_only} - set(links))  # in this order a folder is mounted before what lies in it
    binds = [("--ro-bind", path) for path in shown]
    if writable is not None:
        binds.append(("--bind", writable))
    parents: set[str] = set()
    for path in (*links, *(path for _, path in binds)):
        parents.update(_parents(path))
    for folder in sorted(parents):
        if not any(_beneath(folder, path) for path in shown):
            # Made explicitly: bwrap makes missing parents with mode 0700, which the new user could not traverse.
            words += ["--perms", "0755", "--dir", folder]
    for path in links:
        words += ["--symlink", os.readlink(path), path]
    for option, path in binds:
        words += [option, path, path]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]


def _parents(path: str) -> list[str]:
    parents = []
    while (path := os.path.dirname(path)) != "/":
        parents.append(path)
    return parents


def _beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
