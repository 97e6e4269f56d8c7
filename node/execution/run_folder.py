"""The folder of one run: the objective's files with the source among them, made afresh and removed afterwards.

It has the folder in which the command starts, a home, a folder for temporary files, and one that stands in for
shared memory. It is the only place where a run may write. What a run leaves there is a stranger's: names are opened one
by one and no link is followed, since the node can read more than the run could.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Mapping
from itertools import count
from pathlib import Path

_PROGRAM_STARTS = (b"#!", b"\x7fELF")  # of files that can be executed; a manifest has no modes
# Where the node runs as root, the run's user is another one, so that folders are root's and open to all. In those with
# the sticky bit nobody removes or renames what belongs to somebody else: the objective's files.
_FOLDER_MODE = 0o1777
_LONGEST_PATH = 2000  # bytes; the kernel takes 4095, and a name may have 255 of them
_SYSTEM_PLACE = "/var/tmp"  # on a disk, where /tmp may be memory


class RunFolder:
    """Made by `make`; `remove` it when its run is over. Both take time, so call them in a thread."""

    def __init__(self, root: Path, locked: Mapping[str, bytes], edited: Mapping[str, bytes]) -> None:
        self.root = root
        self.work, self.home, self.programs = root / "work", root / "home", root / "bin"
        self.temporary, self.shared_memory = root / "tmp", root / "shm"
        self._locked, self._edited = locked, edited  # by path in `root`

    @classmethod
    def make(
        cls,
        parent: Path,
        files: Mapping[str, bytes],
        editable: Collection[str],
        links: Mapping[str, Path],
        home_links: Mapping[str, Path],
        programs: Mapping[str, str],
    ) -> RunFolder:
        """A folder with these files by relative path, of which those in `editable` may be changed. Raises OSError.

        links, home_links: what else is to be found in the folder, and in the home, by relative path. programs: scripts
        of ours by name.
        """
        parent.mkdir(parents=True, exist_ok=True)
        locked = {f"work/{path}": data for path, data in files.items() if path not in editable}
        locked |= {f"bin/{name}": script.encode() for name, script in programs.items()}
        edited = {f"work/{path}": files[path] for path in editable}
        made = cls(Path(tempfile.mkdtemp(dir=parent)), locked, edited)  # with mode 0700: nobody else here enters it
        try:
            for folder in (made.work, made.home, made.programs, made.temporary, made.shared_memory):
                _make_folder(folder)
            for path, data in locked.items():
                _write(made.root / path, data, 0o444)
            for path, data in edited.items():
                _write(made.root / path, data, 0o666)
            # Links come last, so that nothing is ever written through one.
            for folder, found in ((made.work, links), (made.home, home_links)):
                for path in _outermost(found):
                    _make_folder((folder / path).parent)
                    (folder / path).symlink_to(found[path])
        except OSError:
            made.remove()
            raise
        return made

    @property
    def locked_paths(self) -> tuple[Path, ...]:
        """The files that the run may not change."""
        return tuple(self.root / path for path in sorted(self._locked))

    def changed(self) -> str | None:
        """The first of the locked files that is not as it was; None where all are."""
        return self._changed(self._locked)

    def changed_source(self) -> str | None:
        """The first of the editable files that the run has changed; None where it changed none."""
        return self._changed(self._edited)

    def _changed(self, files: Mapping[str, bytes]) -> str | None:
        for path, data in files.items():
            try:
                same = self._read(path, len(data)) == data
            except OSError:
                same = False
            if not same:
                return path.partition("/")[2]
        return None

    def read(self, path: str, most: int) -> bytes:
        """A file by its path in the folder, at most one byte more than `most`. Raises OSError: no such regular file."""
        return self._read(f"work/{path}", most)

    def _read(self, path: str, most: int) -> bytes:
        opened = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        *folders, name = Path(path).parts
        try:
            for folder in folders:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
                os.close(opened)
                opened = inner
            # Not blocking: opening a FIFO would wait for a writer.
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened)
        finally:
            os.close(opened)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise FileNotFoundError("it is no regular file")
        with open(file, "rb") as content:
            return content.read(most + 1)

    def remove(self) -> None:
        """Remove everything. What cannot be removed stays until the next start, which tries again."""
        _remove_tree(self.root)


def _outermost(paths: Collection[str]) -> list[str]:
    """The paths without those that lie below another of them, and are found by its link."""
    return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def place_of_folders(wanted: Path) -> Path:
    """Where folders are made: the wanted folder, or one of the system's that a run's user can come to.

    Where the node is root and its home is closed to others (/root), a run could open its files all the same, by a
    capability. But access(2) asks without it, and compilers and shells ask by access(2) for a folder to work in.
    """
    wanted = wanted.absolute()
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in wanted.parents if parent.exists()):
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    place = Path(_SYSTEM_PLACE, f"autoresearch-node-{name}")
    with contextlib.suppress(OSError):
        place.mkdir(0o711)
    found = place.lstat()
    return place if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 else wanted  # not a stranger's, made before ours


def remove_left_over(parent: Path) -> None:
    """Remove the folders of runs whose node was killed."""
    with contextlib.suppress(FileNotFoundError):
        for path in parent.iterdir():
            if path.is_dir() and not path.is_symlink():
                _remove_tree(path)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(_FOLDER_MODE)  # not by mkdir, which takes away what the umask says


def _write(path: Path, data: bytes, mode: int) -> None:
    _make_folder(path.parent)
    path.write_bytes(data)
    path.chmod(mode | 0o111 if data.startswith(_PROGRAM_STARTS) else mode)


def _remove_tree(root: Path) -> None:
    """Remove a folder, however deep it is; what cannot be removed stays.

    Nothing recurses, and what lies deep is moved up beside the others: with 3000 folders in each other Python's rmtree
    ends with RecursionError, and their path is longer than the kernel takes.
    """
    token, numbers = secrets.token_hex(8), count()  # names that a run cannot have taken
    waiting, emptied = [str(root)], []
    while waiting:
        folder = waiting.pop()
        emptied.append(folder)
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            for entry in [*found]:
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)  # a run may have taken the rights from its user, who can be ours
                    inner = entry.path
                    if len(os.fsencode(inner)) > _LONGEST_PATH:
                        inner = os.path.join(root, f"{token}-{next(numbers)}")
                        os.rename(entry.path, inner)
                    waiting.append(inner)
    for folder in reversed(emptied):  # those in a folder before it, wherever they are now
        with contextlib.suppress(OSError):
            os.rmdir(folder)
