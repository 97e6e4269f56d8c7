"""Files that only their owner can read, written whole or not at all.

It knows how a file gets onto the disk so that a power cut leaves the former content or the new one. It does not know
what is in the files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DRAFT = ".new"  # the end of the name of a file that is being written


def write_private(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file that only its owner can read, whole or not at all, even if others write it at the same time.

    durable: when this returns, the content outlives a power cut. Without it, a power cut may leave the previous
    content, or none. Raises OSError.
    """
    with drafted(path, content, durable) as put_in_place:
        put_in_place()


@contextmanager
def drafted(path: Path, content: bytes, durable: bool = True) -> Iterator[Callable[[], None]]:
    """Write a draft beside `path`; calling what is given puts it in the file's place. Uncalled, nothing is changed.

    The draft has its room on the disk, so what remains to be done hardly fails. Raises OSError.
    """
    handle, draft = tempfile.mkstemp(DRAFT, f".{path.name}-", path.parent)

    def put_in_place() -> None:
        os.replace(draft, path)
        if durable:
            sync(path.parent)

    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        yield put_in_place
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and those above it that are missing; they outlive a power cut.

    Raises OSError.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in missing:
        with suppress(PermissionError):  # of a folder that one may write to and not list, nothing more can be done
            sync(each.parent)


def sync(path: Path) -> None:
    """Have a file's content outlive a power cut, or of a folder the names in it, of which files say nothing.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
