"""Everything in a person's folder: the documents that could be read, and what was passed over, each with its reason.

Links are not followed, so nothing outside the folder is read. Names and places stay in what is returned here, which
goes into the report for the person and nowhere else.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from node.authoring.corpus.licences import is_licence_file, licence_in
from node.authoring.corpus.reader import Reader

MOST_FILES = 200_000
MOST_BYTES = 1 << 30  # of text in all; what comes after it is passed over
MOST_PARQUET = 8 << 30
PASSED_FOLDERS = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Document:
    """A text with what is known of it. dated_by: "itself" or "file"; place: its file, as the person sees it."""

    text: bytes
    place: str
    date: float
    dated_by: str
    licence: str  # "" where nothing says it


@dataclass(frozen=True)
class Skipped:
    place: str
    why: str


@dataclass(frozen=True)
class Contents:
    """What a folder has."""

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...]
    files: int  # that were looked at


def contents_of(root: Path, reader: Reader, show: Callable[[int], None]) -> Contents:
    """Read everything in a folder. show: is told now and then how many files were read."""
    documents: list[Document] = []
    skipped: list[Skipped] = []
    licences: dict[str, str] = {}
    count = size = 0
    for path, why in _files(root):
        place = os.path.relpath(path, root)
        count += 1
        if not why and count > MOST_FILES:
            why = f"beyond the first {MOST_FILES:,} files"
        if not why and size > MOST_BYTES:
            why = f"beyond the first {MOST_BYTES >> 20} MiB of text"
        if why:
            skipped.append(Skipped(place, why))
            continue
        answer = reader.read(path)
        if answer.skipped or not answer.documents:
            skipped.append(Skipped(place, answer.skipped or "no row of it is a text"))
        modified, now = path.stat().st_mtime, time.time()
        for found in answer.documents:
            text = found.text.encode("utf-8", "ignore")
            size += len(text)
            dated = (modified, "file") if found.date is None or found.date > now else (found.date, "itself")
            documents.append(Document(text, place, *dated, found.licence))
        if answer.documents and is_licence_file(path.name):
            licences[os.path.dirname(place)] = licence_in(answer.documents[0].text)
        if count % 500 == 0:
            show(count)
    licensed = [replace(each, licence=each.licence or _licence_of(each.place, licences)) for each in documents]
    return Contents(tuple(licensed), tuple(skipped), count)


def _licence_of(place: str, licences: dict[str, str]) -> str:
    """What the licence file says that is nearest to a file, in its folder or one around it."""
    folder = os.path.dirname(place)
    while folder not in licences and folder:
        folder = os.path.dirname(folder)
    return licences.get(folder, "")


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder in the order of its path, with why it is not to be read; "" where it is."""
    for folder, folders, names in os.walk(root):
        for name in sorted(folders):
            path = Path(folder, name)
            if path.is_symlink():
                yield path, "a symbolic link"
            elif _is_passed(name):
                yield path, "a hidden folder or a cache"
        folders[:] = sorted(name for name in folders if not _is_passed(name))
        for name in sorted(names):
            yield Path(folder, name), _why_not(Path(folder, name))


def _is_passed(name: str) -> bool:
    return name.startswith(".") or name in PASSED_FOLDERS


def _why_not(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "no file, but a pipe, a socket or a device"
    if path.name.startswith("."):
        return "a hidden file"
    if status.st_size == 0:
        return "empty"
    if path.suffix.lower() == ".parquet" and status.st_size > MOST_PARQUET:
        return f"larger than {MOST_PARQUET >> 30} GiB"
    return ""
