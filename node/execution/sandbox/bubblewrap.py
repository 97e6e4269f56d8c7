"""The command line of bubblewrap: a file system of its own that holds only what is shown, and namespaces of its own.

Knows bwrap's options and their traps. What is restricted inside the new namespaces is up to `stage`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from node.execution.sandbox.hidden import names
from node.execution.sandbox.orders import Mounts

_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")


def command(
    bwrap: str,
    *,
    root: bool,
    read_any_file: bool,
    system: Sequence[str],
    read_only: Sequence[str],
    writable: str | None,
    mounts: Mounts | None = None,
    devices: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> list[str]:
    """The part of the command line before the program's own, ending in "--".

    root: the node runs as root, which needs no user namespace. `stage` then changes to an unused user; a program that
    stayed root could write to the host's /proc/sys. read_any_file: root has CAP_DAC_READ_SEARCH, which `stage` keeps.
    hidden: paths beneath the others, without symbolic links, over which something empty is mounted.
    """
    words = [bwrap, *_NAMESPACES, "--cap-drop", "ALL"]
    if root:
        for capability in ("SETUID", "SETGID", "SETPCAP", *(("DAC_READ_SEARCH",) if read_any_file else ())):
            words += ["--cap-add", f"CAP_{capability}"]
    else:
        # --disable-userns needs --unshare-user itself; --unshare-all does not count for it.
        words += ["--unshare-user", "--disable-userns"]
    words += ["--die-with-parent", "--new-session", "--hostname", "box", "--proc", "/proc", "--dev", "/dev"]
    given = {*system, *read_only}
    # A link in a folder that is shown is there with it.
    given -= {path for path in given if os.path.islink(path) and not given.isdisjoint(parents(path))}
    links = [path for path in system if path in given and os.path.islink(path)]
    shown = given - set(links)
    made = {path: ["--ro-bind", path, path] for path in shown}
    made |= {path: ["--symlink", os.readlink(path), path] for path in links}
    if writable is not None:
        made[writable] = ["--bind", writable, writable]
    if mounts is not None:
        made |= {place: ["--bind", folder, place] for folder, place in mounts.stand_ins}
        made |= {folder: ["--bind", folder, folder] for folder in mounts.folders}
        made |= {path: ["--ro-bind", path, path] for path in mounts.locked}
    made |= {path: ["--dev-bind", path, path] for path in devices}
    made |= {path: _covered(path) for path in names(shown, hidden)}
    there = [*shown, *([writable] if writable is not None else [])]
    for folder in {parent for path in made for parent in parents(path)} - made.keys() - {"/dev"}:
        if not any(_beneath(folder, path) for path in there):
            # Made explicitly: bwrap makes missing parents with mode 0700, which the new user could not traverse.
            made[folder] = ["--perms", "0755", "--dir", folder]
    for path in sorted(made):  # in this order a folder is made before what lies in it
        words += made[path]
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]


def _covered(path: str) -> list[str]:
    # A device behind such a mount cannot be opened, so nothing can be read from a file that is covered by one.
    return ["--tmpfs", path, "--remount-ro", path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]


def parents(path: str) -> list[str]:
    """The folders above an absolute path, without the root."""
    found = []
    while (path := os.path.dirname(path)) != "/":
        found.append(path)
    return found


def _beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
