"""What of the environment this program was started in is not meant for it."""

from __future__ import annotations

import os


def forget_git() -> None:
    """Drop the variables by which a shell or a hook points git at a repository of its own: GIT_DIR, GIT_INDEX_FILE, ...

    The git that this program runs is for the repositories that it names, and would write to the other one.
    """
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
