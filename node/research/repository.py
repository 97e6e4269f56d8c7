"""Git as the workspace uses it: repositories that are taken as they are, trees without a checkout, and what goes wrong.

It knows GitPython, and nothing of what is kept in a repository.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import git
from git import GitCommandError, InvalidGitRepositoryError, Repo
from git.index.base import IndexFile
from git.objects import Blob, Tree
from gitdb import IStream
from gitdb.exc import BadName, BadObject

from node.platform.file_trouble import HomeError

# Of GitPython and gitdb, which also assert what a damaged repository, or one of another kind, does not fulfil.
DAMAGE = (
    GitCommandError, InvalidGitRepositoryError, BadName, BadObject, AssertionError, zlib.error, ValueError, OSError,
)  # fmt: skip
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class Git(git.Git):
    """Git, started in the folder that is named. GitPython's own takes "$HOME" in a path for a variable."""

    def __init__(self, working_dir: str | os.PathLike[str] | None = None) -> None:
        super().__init__(working_dir)
        self._working_dir = None if working_dir is None else os.path.abspath(working_dir)


class Repository(Repo):
    """A repository whose path is taken as it is, if it is opened without expand_vars."""

    GitCommandWrapperType = Git


def tree_of(repo: Repo, files: Mapping[str, str]) -> Tree:
    """A tree of git's that holds these files, by path. Nothing is checked out."""
    index = IndexFile(repo, file_path=Path(repo.git_dir) / "index-of-a-tree")
    index.entries.clear()
    for path, text in files.items():
        data = text.encode()
        stored = repo.odb.store(IStream(Blob.type, len(data), BytesIO(data)))
        index.add([Blob(repo, stored.binsha, Blob.file_mode, path)], write=False)
    return index.write_tree()


def is_of_the_machine(error: Exception) -> bool:
    """Whether a fresh repository would fail in the same way: no room, or no right to write."""
    if isinstance(error, OSError):
        return error.errno in OF_THE_MACHINE
    said = error.stderr if isinstance(error, GitCommandError) else ""
    return any(os.strerror(number) in said for number in OF_THE_MACHINE)


def refuse_without_git() -> None:
    """Raise HomeError where git cannot be started."""
    if shutil.which("git") is None:
        raise HomeError("git is not on the PATH: install it, for example with `apt install git`")


def first_line(error: Exception) -> str:
    """What an error of DAMAGE says, in a line."""
    said = error.stderr if isinstance(error, GitCommandError) else str(error)
    if isinstance(error, InvalidGitRepositoryError) and Path(said).is_absolute():  # GitPython says no more than where
        return "git does not take it for a repository"
    return next((line.strip() for line in said.splitlines() if line.strip(" '")), type(error).__name__)
