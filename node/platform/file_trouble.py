"""Why a file or folder of the home cannot be used, and what to do, in a sentence.

The kernel's errors name a cause and no remedy, and some name the wrong cause: a disk without free inodes is "full", and
a link to a disk that is not mounted is "not there". It does not know what the files are for.
"""

from __future__ import annotations

import errno
import os
import pwd
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CHANGING = {  # what a person or the machine may mend while the node runs
    errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO,
    errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ELOOP,
}  # fmt: skip
# What may be free again by the time that an error is told, since what was begun has been taken back.
FEW_INODES, FEW_BYTES = 16, 1 << 20
PROBE_BYTES = 64 << 10  # the index of SQLite's log begins with 32 KiB


class HomeError(Exception):
    """The home cannot be used as it is; the text says what to do."""


def read_file(path: Path, most_bytes: int) -> bytes | None:
    """The content of a small file of the home; None where there is none. Raises HomeError with a remedy."""
    try:
        if not path.is_file() and (path.is_symlink() or path.exists()):
            raise HomeError(_wrong_kind(path))
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HomeError(trouble(path, error)) from None
    if len(content) > most_bytes:
        raise HomeError(f"{path} has more than {most_bytes} bytes, so it is none of this program's; move it away")
    return content


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """The beginning of a file. A pipe that lies in its place is not waited for: nobody need ever write to it.

    Raises OSError.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(most_bytes) or b""


def broken_link(path: Path) -> str | None:
    """What to do about a link to a file that is not there; None where the path is no such link."""
    return _wrong_kind(path) if path.is_symlink() and not path.exists() else None


def trouble(path: Path, error: OSError) -> str:
    """What an error at a path stands for, with a remedy."""
    match error.errno:
        case errno.ENOSPC:
            what = "has no free inodes: remove files" if _lacks_inodes(path) else "is full: make room"
            return f"the disk of {path} {what}, then start again"
        case errno.EDQUOT:
            return f"your disk quota at {path} is used up: make room, or have it raised"
        case errno.EROFS:
            return f"{path} is on a read-only file system: mount it writable, or choose another --home"
        case errno.EACCES | errno.EPERM:
            return f"no permission for {_forbidden(path)}: run the node as its owner, or change owner or mode"
        case errno.EIO | errno.ENXIO | errno.ENODEV | errno.ESTALE:
            return f"the disk of {path} does not answer ({error.strerror}): see what `dmesg` says of it"
        case errno.ELOOP:
            return f"{path} is a link that leads in a circle: remove it"
        case errno.EMFILE | errno.ENFILE:
            return f"too many files are open to open {path}: raise the limit (`ulimit -n`), or end other programs"
        case errno.EISDIR | errno.ENOTDIR | errno.EEXIST | errno.ENOENT if _is_odd(path):
            return _wrong_kind(_odd_part(path))
        case errno.ENAMETOOLONG:
            return f"{path} is too long for a path: choose a shorter --home"
        case errno.ENOENT:
            return f"{path} is not there any more: was it removed? Put it back; what the node makes, it makes again"
    return f"{path} cannot be used ({error.strerror or error}); see what it is, and whose"


def in_words(error: OSError | sqlite3.Error, path: Path) -> str:
    """What went wrong with a file of the home while the node ran. path: where, if the error does not say it."""
    if isinstance(error, sqlite3.Error):
        return database_trouble(path / "ledger.sqlite" if path.is_dir() else path, error)
    named = error.filename2 or error.filename  # of a renaming, the place that was to be taken
    return trouble(Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else path, error)


def database_trouble(path: Path, error: sqlite3.Error) -> str:
    """What an error of SQLite stands for. Only a file that is no ledger is to be repaired; else all is whole."""
    found = str(getattr(error, "sqlite_errorname", ""))
    if found.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program has {path} locked; the ledger is whole: end that program (`fuser {path}` names it)"
    denied = None if found.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) else _denied(path)
    if denied is not None:
        told = trouble(Path(denied.filename), denied)
        return f"{told}; the ledger is whole" if path.is_file() else told
    if found.startswith("SQLITE_FULL"):
        return f"{trouble(path, OSError(errno.ENOSPC, 'full'))}; the ledger is whole"
    if found.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return (
            f"{path} cannot be opened ({error}); see who owns it and its folder, and whether its disk is read-only or "
            "full, or your quota used up"
        )
    if found.startswith("SQLITE_IOERR"):
        return f"{path} cannot be read or written ({error}); see what `dmesg` says of its disk, and whether it has room"
    return (
        f"{path} is no usable ledger ({error}); `autoresearch-node ledger repair` takes out of it what can be had, and "
        "keeps it"
    )


def _denied(path: Path) -> OSError | None:
    """What the kernel says when the database, its log or its folder is to be written; None where it may be."""
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if each.is_symlink() or each.exists():
            try:
                os.close(os.open(each, os.O_RDWR | os.O_CLOEXEC))
            except OSError as error:
                return error
    folder = path.parent
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        return OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return _no_room(folder)


def _no_room(folder: Path) -> OSError | None:
    """What the kernel says to a file of some pages there: a quota is seen in no other way. None where it has room."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, os.strerror(error.errno or 0), str(folder))
    return None


def _lacks_inodes(path: Path) -> bool:
    for each in (path, *path.parents):
        with suppress(OSError):
            found = os.statvfs(each)
            few = found.f_favail < FEW_INODES and found.f_bavail * found.f_frsize > FEW_BYTES
            return found.f_files > 0 and found.f_bavail > 0 and (found.f_favail == 0 or few)
    return False


def _forbidden(path: Path) -> str:
    """The part of a path that denies access, with its owner and mode."""
    for each in (*reversed(path.parents), path):
        try:
            found = each.stat()
        except OSError:
            continue
        needed = os.X_OK | os.R_OK if stat.S_ISDIR(found.st_mode) and each != path else os.R_OK | os.W_OK
        if each == path or not os.access(each, needed):
            return f"{each} (of {_name_of(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):03o})"
    return str(path)


def _name_of(user: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(user).pw_name
    return f"user {user}"


def _parts(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


def _is_odd(path: Path) -> bool:
    return any(_is_wrong_kind(each, each == path) for each in _parts(path))


def _odd_part(path: Path) -> Path:
    return next(each for each in _parts(path) if _is_wrong_kind(each, each == path))


def _is_wrong_kind(path: Path, last: bool) -> bool:
    with suppress(OSError):
        return (path.is_symlink() and not path.exists()) or (path.exists() and (last or not path.is_dir()))
    return False


def _wrong_kind(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {os.readlink(path)}, which is not there: mount or restore that, or remove the link"
    if path.is_dir():
        return f"{path} is a folder, where a file should be: move it away"
    if path.is_file():
        return f"{path} is a file, where a folder should be: move it away"
    return f"{path} is no ordinary file: move it away"
