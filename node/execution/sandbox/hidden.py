"""What is left of the paths that a program is shown when some files or folders beneath them are hidden from it.

Landlock grants a folder with all that is beneath it and can take nothing back, so instead of a folder with something
hidden in it, everything beside that is granted. Mounts can cover a path, under every name by which it is reached. Runs
in the child too, so it imports nothing of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def outside(paths: Iterable[str], hidden: Sequence[str]) -> list[str]:
    """The paths that are not hidden themselves, nor beneath what is. hidden: without symbolic links."""
    return [path for path in paths if not any(_within(os.path.realpath(path), one) for one in hidden)]


def names(shown: Iterable[str], hidden: Sequence[str]) -> list[str]:
    """Every path by which something hidden is reached through what is shown.

    For example with /opt/python shown and a link to it, /home/me/python, shown as well, a hidden /opt/python/lib/x has
    two names.
    """
    found = set()
    for path in shown:
        real = os.path.realpath(path)
        found |= {path + one.removeprefix(real) for one in hidden if _within(one, real)}
    return sorted(found)


def split(path: str, hidden: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is to be granted instead of this path, folders that are to be listed only).

    A folder on the way to something hidden is listed: Python finds no module in a folder that it cannot list. So the
    names of hidden files can be read where Landlock alone hides them, and nothing that is in them.
    """
    real = os.path.realpath(path)
    inside = [one for one in hidden if _within(one, real)]
    if not inside:
        return [path], []
    if real in inside:
        return [], []
    whole, listed = [], [real]
    for entry in sorted(os.scandir(real), key=lambda entry: entry.name):
        if entry.is_symlink():
            continue  # Landlock judges what a link leads to, and that is granted where it is
        more, folders = split(entry.path, inside)
        whole += more
        listed += folders
    return whole, listed


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
